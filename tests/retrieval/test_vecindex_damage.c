/* Shadow tables that are damaged: every statement says so or goes on, none does
 * worse; what can be made again from the rows is. */
#include "tests/retrieval/vectable.h"

#include <dlfcn.h>
#include <stddef.h>

#include "tests/retrieval/vecdamage.h"

enum { ROWS = 1000, ROUNDS = 300, BYTES = 64 };

static sqlite3 *original(void)
{
    sqlite3 *db = vectable_open(":memory:");
    vecdamage_fill(db, ROWS);
    vectable_is(db, "SELECT count(*) FROM v", "1000");
    vectable_sound(db, "main");
    return db;
}

static void drawn_damage_never_does_worse_than_an_error(void **state)
{
    sqlite3 *from = original();
    int n_found = 0;
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint8_t bytes[BYTES];
        struct rng rng;
        struct vecdamage_source s = {bytes, BYTES};
        struct ivf_report r;
        sqlite3 *db = vectable_copy(from);
        rng_init(&rng, 1, round, 0);
        for (int i = 0; i < BYTES; i++)
            bytes[i] = (uint8_t)rng_below(&rng, 256);
        /* Half of them with the centroids already read. */
        if (vecdamage_draw(&s, 2))
            vectable_is(db,
                        "SELECT count(*) FROM v WHERE e MATCH"
                        " '[1,2,3,4,5,6,7,8]' AND k = 1",
                        "1");
        vecdamage_once(db, &s);
        if (vecindex_check(db, "main", "v", &r) != TACIT_OK)
            err_clear();
        else
            n_found += r.problems > 0;
        while (s.left) vecdamage_use(db, &s);
        if (!sqlite3_get_autocommit(db)) vecdamage_run(db, "ROLLBACK");
        if (round % 4 == 0)
            vecdamage_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
        vecdamage_run(db, "DROP TABLE v");
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_string_equal(err_message(), "");
    }
    print_message("%d of %d damages found by the check\n", n_found, ROUNDS);
    /* Some change nothing: a value that was there before, a row that is not. */
    assert_true(n_found > ROUNDS / 2);
    sqlite3_close(from);
}

/* What is lost, what the check and a search say then, and that rebuilding
 * brings all rows back. */
static void what_is_made_from_rows_is_made_again(void **state)
{
    static const char *const damages[] = {
        "DELETE FROM v_info", "UPDATE v_info SET value = zeroblob(9)",
        /* an older format */
        "UPDATE v_info SET value = CAST(substr(value, 1, 8) || x'01' ||"
        " substr(value, 10) AS BLOB)",
        "DELETE FROM v_list", "UPDATE v_list SET head = zeroblob(8)",
        "DELETE FROM v_list WHERE id % 2", "UPDATE v_list SET part = 9",
        "DELETE FROM v_place", "DELETE FROM v_place WHERE id % 7 = 0",
        "UPDATE v_place SET list = 99", "DELETE FROM v_part",
        "UPDATE v_aux SET f0 = 5 WHERE id % 2", "DROP TABLE v_list",
        "DROP TABLE v_place", "DROP TABLE v_info", "DROP TABLE v_part",
        /* segments of no list, and rows of no entry */
        "INSERT INTO v_seg VALUES (-7, zeroblob(64))",
        "INSERT INTO v_seg VALUES (0x100003, x'01000000')",
        "INSERT INTO v_seg SELECT id + 40, CAST(substr(data, 1, 4) || x'2800'"
        " || substr(data, 7) AS BLOB) FROM v_seg"
        " WHERE id >> 20 & 1 AND id & 0xfffff = 0"};
    sqlite3 *from = original();
    char want[1024], sql[256];
    (void)state;
#define ALL_NEAR                                                               \
 "SELECT group_concat(rowid) FROM (SELECT rowid FROM v WHERE e MATCH"          \
 " '[1,2,3,4,5,6,7,8]' AND k = 40 AND exact = 1 AND tenant = 'b')"
    snprintf(want, sizeof want, "%s", vectable_text(from, ALL_NEAR));
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        sqlite3 *db = vectable_copy(from);
        struct ivf_report r = {0};
        vectable_run(db, damages[i]);
        enum tacit_err err = vecindex_check(db, "main", "v", &r);
        err_clear();
        if (!err && !r.problems) fail_msg("%s: not found", damages[i]);
        vectable_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
        vectable_sound(db, "main");
        vectable_is(db, ALL_NEAR, want);
        vectable_is(db, "SELECT count(*) FROM v", "1000");
        sqlite3_close(db);
    }
    /* The message says what to do. */
    vectable_run(from, "UPDATE v_info SET value = zeroblob(9)");
    snprintf(sql, sizeof sql, "%s", ALL_NEAR);
    vectable_refused(from, sql, "INSERT INTO \"v\"(\"v\") VALUES ('rebuild')");
    sqlite3_close(from);
}

/* Nothing is found fewer without a word: what is gone is missed by the search
 * that would have read it, and what is added is refused beside lists that are
 * not found. */
static void a_search_misses_what_is_gone(void **state)
{
#define ENTRIES "id IN (SELECT id FROM v_seg WHERE (id >> 20) % 2 = 0"
    static const struct {
        const char *damage;
        bool unread; /* only a search that reads every list comes by it */
    } cases[] = {
        {"DELETE FROM v_info", false},
        {"DELETE FROM v_list", false},
        {"DELETE FROM v_list WHERE part = 1", false},
        {"DELETE FROM v_list WHERE id = (SELECT max(id) FROM v_list)", false},
        {"DELETE FROM v_list WHERE id % 2", false},
        {"DELETE FROM v_seg", false},
        {"DELETE FROM v_seg WHERE " ENTRIES ")", false},
        {"DELETE FROM v_seg WHERE (id >> 20) % 2", false},
        {"DELETE FROM v_seg WHERE " ENTRIES " ORDER BY id DESC LIMIT 1)", true},
        {"DELETE FROM v_seg WHERE " ENTRIES " AND id & 1048575 = 17)", true},
        {"DELETE FROM v_seg WHERE " ENTRIES " AND id & 1048575 > 16)", true},
        {"DELETE FROM v_seg WHERE id >> 20 = (SELECT max(id) >> 20 FROM v_seg)",
         true},
    };
#define NEAR "SELECT count(*) FROM v WHERE e MATCH '[1,2,3,4,5,6,7,8]' AND k = "
    sqlite3 *from = vectable_open(":memory:");
    (void)state;
    vectable_run(from, "PRAGMA page_size = 512");
    vecdamage_fill(from, ROWS);
    vectable_is(from, "SELECT count(*) > 4 FROM v_list", "1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ivf_report r = {0};
        sqlite3 *db = vectable_copy(from);
        vectable_is(db, NEAR "1000 AND exact = 1", "1000");
        sqlite3_close(db);
        db = vectable_copy(from);
        vectable_run(db, cases[i].damage);
        vectable_is(db, "SELECT changes() > 0", "1");
        vectable_refused(db, NEAR "1000 AND exact = 1", "('rebuild')");
        vectable_refused(db, NEAR "100 AND recall = 1.0", "('rebuild')");
        if (!cases[i].unread) vectable_refused(db, NEAR "10", "('rebuild')");
        enum tacit_err err = vecindex_check(db, "main", "v", &r);
        err_clear();
        if (!err && !r.problems) fail_msg("%s: not found", cases[i].damage);
        sqlite3_close(db);
    }
    vectable_run(from, "DELETE FROM v_list WHERE id % 2");
    sqlite3 *db = vectable_copy(from);
    vectable_refused(db,
                     "INSERT INTO v(e, tenant) VALUES ('[1,1,2,3,4,5,6,7]',"
                     " 'a')",
                     "('rebuild')");
    sqlite3_close(db);
    sqlite3_close(from);
}

/* An index of format 2 counts no heads, and is read as it is. */
static void an_index_of_the_format_before_is_read_and_written(void **state)
{
    sqlite3 *db = original();
    (void)state;
    vectable_run(db, "UPDATE v_info SET value = CAST(substr(value, 1, 8) ||"
                     " x'02' || substr(value, 10, 47) || zeroblob(4) ||"
                     " substr(value, 61) AS BLOB)");
    vectable_is(db, NEAR "1000 AND exact = 1", "1000");
    vectable_sound(db, "main");
    vectable_run(db, "INSERT INTO v(e, tenant) SELECT e, tenant FROM v");
    vectable_sound(db, "main");
    vectable_is(db, NEAR "1600 AND exact = 1", "1600");
    sqlite3_close(db);
}

/* One bad value of the other columns does not stand in the way of all rows. */
static void a_value_of_another_type_is_null_to_the_index_made_anew(void **state)
{
    sqlite3 *db = original();
    (void)state;
    vectable_run(db, "UPDATE v_aux SET f0 = 'text' WHERE id = 1");
    vectable_run(db, "DELETE FROM v_info");
    vectable_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
    vectable_is(db, "SELECT count(*) FROM v", "1000");
    vectable_is(db,
                "SELECT tacit_vec_check('v') LIKE"
                " 'row 1: %: text, an integer is wanted'",
                "1");
    vectable_run(db, "UPDATE v SET dept = 3 WHERE rowid = 1");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

/* VACUUM may change it: no vector is lost, up or down. */
static void a_rebuild_keeps_all_rows_of_another_page_size(void **state)
{
    static const char *const sizes[] = {"4096", "65536", "512", "8192"};
    char folder[256], path[300], sql[64];
    (void)state;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/a.db", folder);
    sqlite3 *db = vectable_open(path);
    vectable_run(db, "PRAGMA page_size = 16384");
    vecdamage_fill(db, ROWS);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        snprintf(sql, sizeof sql, "PRAGMA page_size = %s; VACUUM", sizes[i]);
        vectable_run(db, sql);
        vectable_is(db, "PRAGMA page_size", sizes[i]);
        vectable_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
        vectable_sound(db, "main");
        vectable_is(db, "SELECT count(*) FROM v", "1000");
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    check_tmpdir_remove(folder);
}

/* A change that breaks off midway is not committed, however one tries. */
static void a_change_that_breaks_off_cannot_be_committed(void **state)
{
    sqlite3 *db = original();
    (void)state;
    vectable_run(db, "CREATE TABLE beside(x)");
    vectable_run(db, "BEGIN; INSERT INTO beside VALUES (1)");
    vectable_run(db, "CREATE TEMP TRIGGER t BEFORE INSERT ON v_place BEGIN"
                     " SELECT RAISE(FAIL, 'no place'); END");
    int rc = vecdamage_run(db, "INSERT OR FAIL INTO v(e, tenant) VALUES"
                               " ('[1,1,2,3,4,5,6,7]', 'new')");
    assert_int_not_equal(rc, SQLITE_OK);
    vectable_run(db, "DROP TRIGGER t");
    if (vecdamage_run(db, "COMMIT") != SQLITE_OK) {
        if (!sqlite3_get_autocommit(db)) vectable_run(db, "ROLLBACK");
    }
    vectable_is(db, "SELECT count(*) FROM v", "1000");
    vectable_sound(db, "main");
    vectable_run(db, "INSERT INTO v(e, tenant) VALUES ('[1,1,2,3,4,5,6,7]',"
                     " 'new')");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

struct countdown {
    uint64_t n, at;
};

static int is_due(void *arg)
{
    struct countdown *c = arg;
    return ++c->n == c->at;
}

/* SQLite's steps until sql ends; *rc is how. It is interrupted at step `at`. */
static uint64_t run_until(sqlite3 *db, const char *sql, uint64_t at, int *rc)
{
    struct countdown c = {.at = at};
    sqlite3_progress_handler(db, 1, is_due, &c);
    *rc = vecdamage_run(db, sql);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return c.n;
}

/* An interrupt, as a full disk, makes SQLite roll back where it is: also inside
 * of what a change reads and writes beneath. */
static void an_interrupt_anywhere_takes_the_change_back(void **state)
{
    static const char *const changes[] = {
        "INSERT INTO v(e, dept, tenant) SELECT e, dept, tenant FROM v",
        "UPDATE v SET e = '[1,2,3,4,5,6,7,9]' WHERE rowid % 3 = 0",
        "DELETE FROM v WHERE rowid % 3 = 0",
        "INSERT INTO v(v) VALUES ('optimize')",
        "INSERT INTO v(v) VALUES ('rebuild')"};
    enum { TIMES = 16 };
    sqlite3 *from = original();
    struct rng rng;
    (void)state;
    rng_init(&rng, 3, 1, 0);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        sqlite3 *db = vectable_copy(from);
        int rc;
        uint64_t all = run_until(db, changes[i], UINT64_MAX, &rc);
        assert_int_equal(rc, SQLITE_OK);
        sqlite3_close(db);
        db = vectable_copy(from);
        for (int k = 0; k < TIMES; k++) {
            run_until(db, changes[i], 1 + rng_below(&rng, all), &rc);
            if (rc == SQLITE_OK) { /* by now it takes fewer steps */
                sqlite3_close(db);
                db = vectable_copy(from);
                continue;
            }
            assert_int_equal(rc, SQLITE_INTERRUPT);
            assert_true(sqlite3_get_autocommit(db));
            vectable_is(db, "SELECT count(*) FROM v", "1000");
            vectable_sound(db, "main");
        }
        sqlite3_close(db);
    }
    sqlite3_close(from);
}

/* The module as it was registered last, and its table that was made last: what
 * a SQLite newer than the one here asks. */
static struct {
    const sqlite3_module *module;
    sqlite3_module watched;
    sqlite3_vtab *table;
} newer;

static int create_seen(sqlite3 *db, void *aux, int n, const char *const *args,
                       sqlite3_vtab **out, char **message)
{
    int rc = newer.module->xCreate(db, aux, n, args, out, message);
    newer.table = *out;
    return rc;
}

/* In the place of SQLite's. */
int sqlite3_create_module_v2(sqlite3 *db, const char *name,
                             const sqlite3_module *module, void *aux,
                             void (*destroy)(void *))
{
    int (*next)(sqlite3 *, const char *, const sqlite3_module *, void *,
                void (*)(void *));
    void *p = dlsym(RTLD_NEXT, "sqlite3_create_module_v2");
    memcpy(&next, &p, sizeof p);
    newer.module = module;
    newer.watched = *module;
    newer.watched.xCreate = create_seen;
    return next(db, name, &newer.watched, aux, destroy);
}

/* PRAGMA integrity_check of SQLite 3.44 and newer, of table v alone. */
static int pragma_check(int is_quick, char **problem)
{
    int (*ask)(sqlite3_vtab *, const char *, const char *, int, char **);
    size_t at = offsetof(sqlite3_module, xShadowName) + sizeof(void (*)(void));
    memcpy(&ask, (const char *)newer.module + at, sizeof ask);
    *problem = NULL;
    return ask(newer.table, "main", "v", is_quick, problem);
}

static void integrity_check_of_a_newer_sqlite_finds_damage(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    char *problem;
    (void)state;
    vecdamage_fill(db, ROWS);
    assert_true(newer.module->iVersion >= 4);
    assert_int_equal(pragma_check(0, &problem), SQLITE_OK);
    assert_null(problem);
    vectable_run(db, "DELETE FROM v_place WHERE id = 7");
    assert_int_equal(pragma_check(0, &problem), SQLITE_OK);
    assert_non_null(problem);
    assert_non_null(strstr(problem, "main.v: "));
    sqlite3_free(problem);
    assert_int_equal(pragma_check(1, &problem), SQLITE_OK);
    assert_null(problem);
    vectable_run(db, "DELETE FROM v_info");
    assert_int_equal(pragma_check(0, &problem), SQLITE_OK);
    assert_non_null(problem);
    sqlite3_free(problem);
    sqlite3_close(db);
}

/* Bytes of the file itself. */
static void damaged_pages_never_do_worse_than_an_error(void **state)
{
    char folder[256], path[300];
    static uint8_t bytes[1 << 20];
    (void)state;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/v.db", folder);
    sqlite3 *db = vectable_open(path);
    vecdamage_fill(db, ROWS);
    sqlite3_close(db);
    FILE *f = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(n > 8192 && n < sizeof bytes);
    for (uint64_t round = 0; round < 100; round++) {
        struct rng rng;
        uint8_t drawn[32];
        struct vecdamage_source s = {drawn, sizeof drawn};
        rng_init(&rng, 2, round, 0);
        for (size_t i = 0; i < sizeof drawn; i++)
            drawn[i] = (uint8_t)rng_below(&rng, 256);
        f = fopen(path, "wb");
        size_t length = round % 5 ? n : n / 4096 * 2048 + 100;
        fwrite(bytes, 1, length, f);
        for (int i = 0; i < 6; i++) {
            fseek(f, 4096 + (long)rng_below(&rng, length - 4096), SEEK_SET);
            fputc((int)rng_below(&rng, 256), f);
        }
        fclose(f);
        db = vectable_open(path);
        while (s.left) vecdamage_use(db, &s);
        vecdamage_run(db, "ROLLBACK");
        if (round % 4 == 0)
            vecdamage_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
        sqlite3_close(db);
    }
    check_tmpdir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_damage_never_does_worse_than_an_error),
        cmocka_unit_test(what_is_made_from_rows_is_made_again),
        cmocka_unit_test(a_search_misses_what_is_gone),
        cmocka_unit_test(an_index_of_the_format_before_is_read_and_written),
        cmocka_unit_test(
            a_value_of_another_type_is_null_to_the_index_made_anew),
        cmocka_unit_test(a_rebuild_keeps_all_rows_of_another_page_size),
        cmocka_unit_test(a_change_that_breaks_off_cannot_be_committed),
        cmocka_unit_test(an_interrupt_anywhere_takes_the_change_back),
        cmocka_unit_test(integrity_check_of_a_newer_sqlite_finds_damage),
        cmocka_unit_test(damaged_pages_never_do_worse_than_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
