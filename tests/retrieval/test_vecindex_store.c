/* The table as part of a database: several connections, files that are
 * attached, copied, vacuumed, opened for reading; and nothing is ever held. */
#include "tests/retrieval/vectable.h"

#include <math.h>
#include <unistd.h>

enum { DIM = 16, ROWS = 1500 };

struct files {
    char folder[256], a[300], b[300];
};

static struct files files_new(void)
{
    struct files f;
    check_tmpdir(f.folder);
    snprintf(f.a, sizeof f.a, "%s/a.db", f.folder);
    snprintf(f.b, sizeof f.b, "%s/b.db", f.folder);
    return f;
}

static void draw(struct rng *rng, float *v)
{
    float centre = (float)rng_below(rng, 40);
    for (int i = 0; i < DIM; i++)
        v[i] = rng_normal(rng) * 0.3F + sinf(centre * (float)(i + 1));
}

static void fill(sqlite3 *db, const char *table, int from, int n, uint64_t seed)
{
    struct rng rng;
    sqlite3_stmt *st;
    char sql[128];
    float v[DIM];
    rng_init(&rng, seed, 1, 0);
    snprintf(sql, sizeof sql, "INSERT INTO %s(rowid, e, dept) VALUES (?, ?, ?)",
             table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    for (int i = from; i < from + n; i++) {
        draw(&rng, v);
        sqlite3_bind_int(st, 1, i);
        sqlite3_bind_blob(st, 2, v, sizeof v, SQLITE_STATIC);
        sqlite3_bind_int(st, 3, i % 100);
        if (sqlite3_step(st) != SQLITE_DONE)
            fail_msg("row %d: %s", i, sqlite3_errmsg(db));
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
}

#define ANY "e MATCH '[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]'"
#define CREATE(name)                                                           \
 "CREATE VIRTUAL TABLE " name " USING tacit_vec(e float[16] metric=cosine, "   \
 "dept int filter)"

static sqlite3 *filled(const char *path)
{
    sqlite3 *db = vectable_open(path);
    vectable_run(db, "PRAGMA journal_mode = wal; PRAGMA synchronous = off");
    vectable_run(db, CREATE("v"));
    vectable_run(db, "BEGIN");
    fill(db, "v", 1, ROWS, 1);
    vectable_run(db, "COMMIT");
    return db;
}

/* The ten nearest to row 7. */
#define NEAREST(schema, table)                                                 \
 "SELECT group_concat(rowid) FROM (SELECT rowid FROM " schema "." table        \
 " WHERE e MATCH (SELECT e FROM " schema "." table " WHERE rowid = 7) AND"     \
 " k = 10 AND exact = 1)"

static void after_every_operation_a_checkpoint_truncates(void **state)
{
    static const char *const steps[] = {
        "SELECT count(*) FROM v",
        "SELECT rowid FROM v WHERE rowid = 5",
        NEAREST("main", "v"),
        "SELECT e, dept FROM v WHERE e MATCH (SELECT e FROM v WHERE rowid = 9)"
        " AND k = 3 AND dept IN (1, 2, 3)",
        "INSERT INTO v(e, dept) SELECT e, 7 FROM v WHERE rowid < 20",
        "UPDATE v SET dept = 3 WHERE rowid = 9",
        "UPDATE v SET e = (SELECT e FROM v WHERE rowid = 1) WHERE rowid = 9",
        "UPDATE v SET rowid = 100000 WHERE rowid = 9",
        "DELETE FROM v WHERE rowid % 9 = 0",
        "REPLACE INTO v(rowid, e) SELECT rowid, e FROM v WHERE rowid = 10",
        "BEGIN; DELETE FROM v WHERE rowid < 300; ROLLBACK",
        "BEGIN; SAVEPOINT s; DELETE FROM v WHERE rowid < 300; ROLLBACK TO s;"
        " RELEASE s; COMMIT",
        "INSERT INTO v(v) VALUES ('integrity-check')",
        "INSERT INTO v(v) VALUES ('optimize')",
        "INSERT INTO v(v) VALUES ('rebuild')",
        "SELECT tacit_vec_check('v')",
        "ALTER TABLE v RENAME TO w",
        "ALTER TABLE w RENAME TO v",
        "VACUUM",
        "DELETE FROM v",
        "DROP TABLE v",
    };
    struct files f = files_new();
    sqlite3 *db = filled(f.a);
    (void)state;
    vectable_checkpoint(db);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        vectable_run(db, steps[i]);
        vectable_checkpoint(db);
        /* Also behind what is refused. */
        sqlite3_exec(db, "INSERT INTO v(rowid, e) VALUES (1, '[1]')", NULL,
                     NULL, NULL);
        sqlite3_exec(db, "SELECT * FROM v WHERE e MATCH 'x' AND k = 5", NULL,
                     NULL, NULL);
        vectable_checkpoint(db);
        assert_null(sqlite3_next_stmt(db, NULL) &&
                            sqlite3_stmt_busy(sqlite3_next_stmt(db, NULL))
                        ? "busy"
                        : NULL);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    check_tmpdir_remove(f.folder);
}

static void readers_see_what_another_connection_commits(void **state)
{
    struct files f = files_new();
    sqlite3 *w = filled(f.a), *r = vectable_open(f.a),
            *old = vectable_open(f.a);
    char before[512];
    (void)state;
    snprintf(before, sizeof before, "%s",
             vectable_text(w, NEAREST("main", "v")));
    vectable_is(r, NEAREST("main", "v"), before);
    vectable_run(old, "BEGIN");
    vectable_is(old, NEAREST("main", "v"), before);
    /* Lists split and merge; then the ten nearest are gone. */
    vectable_run(w, "BEGIN");
    fill(w, "v", 10001, ROWS, 2);
    vectable_run(w, "COMMIT");
    vectable_run(w, "DELETE FROM v WHERE rowid % 3 = 0 AND rowid <> 7");
    for (int i = 0; i < 2; i++) {
        char now[512];
        snprintf(now, sizeof now, "%s", vectable_text(w, NEAREST("main", "v")));
        assert_string_not_equal(now, before);
        vectable_is(r, NEAREST("main", "v"), now);
        vectable_is(r, "SELECT tacit_vec_check('v')", "ok");
        /* Who began before sees what was. */
        vectable_is(old, NEAREST("main", "v"), before);
        vectable_is(old, "SELECT tacit_vec_check('v')", "ok");
        /* Now the reader writes and the writer reads. */
        sqlite3 *swap = w;
        w = r;
        r = swap;
        vectable_run(w, "DELETE FROM v WHERE rowid % 5 = 0");
    }
    vectable_run(old, "COMMIT");
    vectable_is(old, "SELECT count(*) FROM v WHERE rowid % 5 = 0", "0");
    vectable_is(old, "SELECT tacit_vec_check('v')", "ok");
    /* A rolled-back change that another then makes otherwise. */
    vectable_run(w, "BEGIN");
    fill(w, "v", 20001, ROWS, 3);
    vectable_run(w, "ROLLBACK; BEGIN");
    vectable_run(w, "COMMIT");
    vectable_run(r, "BEGIN");
    fill(r, "v", 20001, ROWS, 4);
    vectable_run(r, "COMMIT");
    snprintf(before, sizeof before, "%s",
             vectable_text(r, NEAREST("main", "v")));
    vectable_is(w, NEAREST("main", "v"), before);
    vectable_is(w, "SELECT tacit_vec_check('v')", "ok");
    sqlite3_close(w);
    sqlite3_close(r);
    sqlite3_close(old);
    check_tmpdir_remove(f.folder);
}

/* A search that knows a list's segments from the last one learns of new ones,
 * whoever wrote them, and forgets those that were rolled back. */
static void a_search_sees_every_segment_written_since(void **state)
{
    static const char *const all =
        "SELECT count(*) FROM v WHERE " ANY " AND k = 2000 AND recall = 1.0";
    struct files f = files_new();
    sqlite3 *db[2] = {vectable_open(f.a), vectable_open(f.a)};
    (void)state;
    vectable_run(db[0], "PRAGMA page_size = 512; PRAGMA journal_mode = WAL;"
                        "PRAGMA synchronous = OFF");
    vectable_run(db[0], CREATE("v"));
    for (int n = 7; n <= 700; n += 7) {
        sqlite3 *w = db[n / 7 % 2], *r = db[1 - n / 7 % 2];
        fill(w, "v", n - 6, 7, (uint64_t)n);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(vectable_int(r, all), n);
            assert_int_equal(vectable_int(w, all), n);
        }
        if (n % 35) continue;
        vectable_run(w, "BEGIN");
        fill(w, "v", 1001, 70, 1);
        assert_int_equal(vectable_int(w, all), n + 70);
        assert_int_equal(vectable_int(r, all), n);
        vectable_run(w, "SAVEPOINT s");
        fill(w, "v", 2001, 70, 2);
        assert_int_equal(vectable_int(w, all), n + 140);
        vectable_run(w, "ROLLBACK TO s");
        assert_int_equal(vectable_int(w, all), n + 70);
        vectable_run(w, "ROLLBACK");
        assert_int_equal(vectable_int(w, all), n);
    }
    vectable_sound(db[0], "main");
    sqlite3_close(db[0]);
    sqlite3_close(db[1]);
    check_tmpdir_remove(f.folder);
}

static void attached_temporary_and_copied_databases_work(void **state)
{
    struct files f = files_new();
    sqlite3 *db = filled(f.a), *other;
    char nearest[512], sql[512];
    (void)state;
    snprintf(nearest, sizeof nearest, "%s",
             vectable_text(db, NEAREST("main", "v")));
    snprintf(sql, sizeof sql, "ATTACH '%s' AS \"odd 'na\"\"me\"", f.b);
    vectable_run(db, sql);
    vectable_run(db, CREATE("\"odd 'na\"\"me\".v"));
    fill(db, "\"odd 'na\"\"me\".v", 1, ROWS, 1);
    vectable_is(db, NEAREST("\"odd 'na\"\"me\"", "v"), nearest);
    vectable_is(db, "SELECT tacit_vec_check('odd ''na\"me', 'v')", "ok");
    vectable_run(db, CREATE("temp.t"));
    fill(db, "temp.t", 1, ROWS, 1);
    vectable_is(db, NEAREST("temp", "t"), nearest);
    vectable_is(db, "SELECT tacit_vec_check('temp', 't')", "ok");
    vectable_run(db, "DETACH \"odd 'na\"\"me\"");

    assert_int_equal(sqlite3_open(":memory:", &other), SQLITE_OK);
    sqlite3_backup *copy = sqlite3_backup_init(other, "main", db, "main");
    assert_non_null(copy);
    assert_int_equal(sqlite3_backup_step(copy, -1), SQLITE_DONE);
    assert_int_equal(sqlite3_backup_finish(copy), SQLITE_OK);
    check_ok(vecindex_register(other));
    vectable_is(other, NEAREST("main", "v"), nearest);
    vectable_sound(other, "main");
    sqlite3_close(other);

    /* A copy over a database that is open and has its centroids cached. */
    other = vectable_open(":memory:");
    vectable_run(other, CREATE("v"));
    fill(other, "v", 1, ROWS, 9);
    assert_string_not_equal(vectable_text(other, NEAREST("main", "v")),
                            nearest);
    copy = sqlite3_backup_init(other, "main", db, "main");
    assert_int_equal(sqlite3_backup_step(copy, -1), SQLITE_DONE);
    sqlite3_backup_finish(copy);
    vectable_is(other, NEAREST("main", "v"), nearest);
    vectable_sound(other, "main");
    sqlite3_close(other);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    check_tmpdir_remove(f.folder);
}

static void a_read_only_database_is_searched_and_not_changed(void **state)
{
    struct files f = files_new();
    sqlite3 *db = filled(f.a);
    char nearest[512], uri[400];
    (void)state;
    snprintf(nearest, sizeof nearest, "%s",
             vectable_text(db, NEAREST("main", "v")));
    vectable_run(db, "PRAGMA journal_mode = delete");
    sqlite3_close(db);
    snprintf(uri, sizeof uri, "file:%s?mode=ro&immutable=1", f.a);
    assert_int_equal(sqlite3_open_v2(uri, &db,
                                     SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                                     NULL),
                     SQLITE_OK);
    check_ok(vecindex_register(db));
    vectable_is(db, NEAREST("main", "v"), nearest);
    vectable_is(db, "SELECT tacit_vec_check('v')", "ok");
    vectable_refused(db, "DELETE FROM v WHERE rowid = 1", "readonly");
    vectable_refused(db, "INSERT INTO v(v) VALUES ('rebuild')", "readonly");
    vectable_refused(db, "DROP TABLE v", "readonly");
    sqlite3_close(db);
    check_tmpdir_remove(f.folder);
}

static void a_locked_database_says_so_and_nothing_is_torn(void **state)
{
    struct files f = files_new();
    sqlite3 *a = filled(f.a), *b = vectable_open(f.a);
    (void)state;
    sqlite3_busy_timeout(b, 0);
    vectable_run(a, "BEGIN IMMEDIATE");
    vectable_refused(b, "DELETE FROM v WHERE rowid = 1", "locked");
    vectable_is(b, "SELECT count(*) FROM v", "1500");
    vectable_run(a, "COMMIT");
    vectable_run(b, "DELETE FROM v WHERE rowid = 1");
    vectable_is(a, "SELECT count(*) FROM v", "1499");
    vectable_sound(a, "main");
    sqlite3_close(a);
    sqlite3_close(b);
    check_tmpdir_remove(f.folder);
}

/* Another connection renames, drops and makes tables anew. */
static void the_schema_may_change_beneath_a_connection(void **state)
{
    struct files f = files_new();
    sqlite3 *a = filled(f.a), *b = vectable_open(f.a);
    sqlite3_stmt *kept;
    char nearest[512];
    (void)state;
    snprintf(nearest, sizeof nearest, "%s",
             vectable_text(b, NEAREST("main", "v")));
    assert_int_equal(sqlite3_prepare_v2(b, NEAREST("main", "v"), -1, &kept,
                                        NULL),
                     SQLITE_OK);
    vectable_run(a, "ALTER TABLE v RENAME TO w");
    assert_int_equal(sqlite3_step(kept), SQLITE_ERROR);
    sqlite3_reset(kept);
    vectable_refused(b, NEAREST("main", "v"), "no such table");
    vectable_is(b, NEAREST("main", "w"), nearest);
    vectable_run(a, "DROP TABLE w");
    vectable_refused(b, NEAREST("main", "w"), "no such table");
    vectable_run(a, CREATE("v"));
    fill(a, "v", 1, 20, 1);
    assert_int_equal(sqlite3_step(kept), SQLITE_ROW);
    sqlite3_finalize(kept);
    vectable_is(b, "SELECT count(*) FROM v", "20");
    /* Other columns than the index was made for. */
    vectable_run(a, "PRAGMA writable_schema = on;"
                    "UPDATE sqlite_master SET sql = replace(sql, '16', '17')"
                    " WHERE name = 'v'; PRAGMA writable_schema = reset");
    vectable_refused(a, "SELECT e FROM v", "made for other columns");
    vectable_refused(a, "DELETE FROM v", "made for other columns");
    sqlite3_close(a);
    sqlite3_close(b);
    check_tmpdir_remove(f.folder);
}

/* SQLite prepares our statements anew inside a change, and takes back what the
 * old ones began: caches and the others must outlive that. */
static void the_schema_may_change_between_changes(void **state)
{
    static const char *const changes[] = {
        "INSERT INTO v(v) VALUES ('optimize')",
        "INSERT INTO v(v) VALUES ('rebuild')",
        "DELETE FROM v WHERE rowid BETWEEN 1 AND 400",
        "INSERT INTO v(rowid, e, dept) SELECT 9000 + rowid, e, 1 FROM v",
        "UPDATE v SET e = (SELECT e FROM v WHERE rowid = 500) WHERE dept = 7",
    };
    struct files f = files_new();
    sqlite3 *db = filled(f.a);
    char sql[64];
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        snprintf(sql, sizeof sql, "CREATE TABLE beside%zu(x)", i);
        vectable_run(db, sql);
        vectable_run(db, changes[i]);
        vectable_is(db, "SELECT tacit_vec_check('v')", "ok");
    }
    vectable_is(db, "SELECT count(*) FROM v", "2200");
    sqlite3_close(db);
    check_tmpdir_remove(f.folder);
}

/* SQLite forgets the module while one of its tables is in use. */
static void a_table_outlives_its_module(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    sqlite3_stmt *st;
    (void)state;
    vectable_run(db, CREATE("v"));
    fill(db, "v", 1, 20, 1);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT rowid FROM v", -1, &st,
                                        NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    sqlite3_drop_modules(db, NULL);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Segments follow the page, also one of an unusual size with reserved bytes. */
static void every_page_size_holds_whole_segments(void **state)
{
    static const int sizes[] = {512, 1024, 4096, 16384, 65536};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sqlite3 *db = vectable_open(":memory:");
        char sql[64];
        int reserve = sizes[i] > 512 ? 40 : 0; /* 480 bytes are the least */
        snprintf(sql, sizeof sql, "PRAGMA page_size = %d", sizes[i]);
        vectable_run(db, sql);
        sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
        vectable_run(db, CREATE("v"));
        fill(db, "v", 1, ROWS, 1);
        vectable_sound(db, "main");
        /* One block is the least, whatever the page. */
        if (sizes[i] >= 1024)
            vectable_is(db,
                        "SELECT count(*) FROM dbstat WHERE name = 'v_seg' AND"
                        " pagetype = 'overflow'",
                        "0");
        sqlite3_close(db);
    }
}

enum { WIDE = 256 };

static sqlite3 *wide(int n)
{
    sqlite3 *db = vectable_open(":memory:");
    struct rng rng;
    sqlite3_stmt *st;
    float v[WIDE];
    rng_init(&rng, 5, 1, 0);
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[256]);"
                     "BEGIN");
    assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO v(e) VALUES (?)", -1,
                                        &st, NULL),
                     SQLITE_OK);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < WIDE; k += DIM) draw(&rng, v + k);
        sqlite3_bind_blob(st, 1, v, sizeof v, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    vectable_run(db, "COMMIT");
    return db;
}

/* 80 % deleted and vacuumed: not much larger than made so at once. */
static void deleted_rows_give_their_room_back(void **state)
{
    sqlite3 *db = wide(10000), *fresh = wide(2000);
    (void)state;
    vectable_run(db, "DELETE FROM v WHERE rowid % 5; VACUUM");
    vectable_run(fresh, "VACUUM");
    vectable_sound(db, "main");
    int64_t now = vectable_int(db, "PRAGMA page_count");
    int64_t want = vectable_int(fresh, "PRAGMA page_count");
    print_message("%lld pages, fresh %lld\n", (long long)now, (long long)want);
    assert_true(now * 10 <= want * 12);
    sqlite3_close(db);
    sqlite3_close(fresh);
}

/* Deleting the nearest never leaves fewer than k of the rest. */
static void k_rows_come_after_the_nearest_are_deleted(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, CREATE("v"));
    fill(db, "v", 1, ROWS, 1);
    for (int i = 0; i < 60; i++) {
        vectable_run(db, "DELETE FROM v WHERE rowid IN (SELECT rowid FROM v"
                         " WHERE e MATCH '[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]'"
                         " AND k = 10)");
        vectable_is(db,
                    "SELECT count(*), count(DISTINCT rowid) FROM v WHERE e"
                    " MATCH '[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]' AND k = 10",
                    "10|10");
    }
    vectable_is(db, "SELECT count(*) FROM v", "900");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

/* A filter that few rows pass still gives all of them. */
static void a_rare_filter_returns_all_that_pass(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, CREATE("v"));
    vectable_run(db, "BEGIN");
    fill(db, "v", 1, 6000, 1);
    vectable_run(db, "COMMIT; UPDATE v SET dept = 777 WHERE rowid IN"
                     " (17, 1017, 2017, 3017, 4017, 5017)");
    vectable_is(
        db,
        "SELECT group_concat(rowid) FROM (SELECT rowid FROM v WHERE " ANY
        " AND k = 10 AND dept = 777 ORDER BY rowid)",
        "17,1017,2017,3017,4017,5017");
    vectable_is(db,
                "SELECT count(*) FROM v WHERE " ANY " AND k = 3 AND dept = 777",
                "3");
    vectable_is(db,
                "SELECT count(*) FROM v WHERE " ANY
                " AND k = 10 AND rowid IN (4000, 1, 6000, 2, 7000)",
                "4");
    vectable_is(db,
                "SELECT count(*) FROM v WHERE " ANY
                " AND k = 10 AND dept = 778",
                "0");
    /* rowid IN keeps the order of distances. */
    vectable_is(db,
                "SELECT count(*) FROM (SELECT distance, lag(distance) OVER ()"
                " AS before FROM v WHERE " ANY
                " AND k = 50 AND rowid IN (SELECT rowid FROM v WHERE rowid %"
                " 40 = 0)) WHERE before > distance",
                "0");
    sqlite3_close(db);
}

/* Very many partitions of few rows each stay small. */
static void many_tiny_partitions_stay_small(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[16],"
                     " who int partition key)");
    vectable_run(db, "BEGIN");
    vectable_run(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                     " FROM n WHERE i < 2000) INSERT INTO v(rowid, e, who)"
                     " SELECT i, '[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,' || i || ']',"
                     " i / 2 FROM n");
    vectable_run(db, "COMMIT");
    vectable_is(
        db,
        "SELECT group_concat(rowid) FROM (SELECT rowid FROM v WHERE " ANY
        " AND k = 10 AND who = 500 ORDER BY rowid)",
        "1000,1001");
    vectable_is(db, "SELECT count(*) FROM v WHERE " ANY " AND k = 10", "10");
    vectable_is(
        db,
        "SELECT group_concat(rowid) FROM (SELECT rowid FROM v WHERE " ANY
        " AND k = 10 AND who BETWEEN 500 AND 501 ORDER BY rowid)",
        "1000,1001,1002,1003");
    vectable_sound(db, "main");
    int64_t pages = vectable_int(db, "PRAGMA page_count");
    print_message("%lld pages of 4 KiB for 1001 partitions\n",
                  (long long)pages);
    assert_true(pages <= 1001);
    sqlite3_close(db);
}

static void equal_vectors_are_all_found(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, CREATE("v"));
    vectable_run(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                     " FROM n WHERE i < 3000) INSERT INTO v(rowid, e) SELECT i,"
                     " '[1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8]' FROM n");
    vectable_is(db,
                "SELECT count(*), count(DISTINCT rowid) FROM v WHERE " ANY
                " AND k = 3000 AND recall = 1.0",
                "3000|3000");
    vectable_sound(db, "main");
    vectable_run(db, "DELETE FROM v WHERE rowid % 2");
    vectable_is(db,
                "SELECT count(*), count(DISTINCT rowid) FROM v WHERE " ANY
                " AND k = 100",
                "100|100");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_every_operation_a_checkpoint_truncates),
        cmocka_unit_test(readers_see_what_another_connection_commits),
        cmocka_unit_test(a_search_sees_every_segment_written_since),
        cmocka_unit_test(attached_temporary_and_copied_databases_work),
        cmocka_unit_test(a_read_only_database_is_searched_and_not_changed),
        cmocka_unit_test(a_locked_database_says_so_and_nothing_is_torn),
        cmocka_unit_test(the_schema_may_change_beneath_a_connection),
        cmocka_unit_test(the_schema_may_change_between_changes),
        cmocka_unit_test(a_table_outlives_its_module),
        cmocka_unit_test(every_page_size_holds_whole_segments),
        cmocka_unit_test(deleted_rows_give_their_room_back),
        cmocka_unit_test(k_rows_come_after_the_nearest_are_deleted),
        cmocka_unit_test(a_rare_filter_returns_all_that_pass),
        cmocka_unit_test(many_tiny_partitions_stay_small),
        cmocka_unit_test(equal_vectors_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
