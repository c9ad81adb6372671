/* Rows that a transaction holds in memory: what is read, undone and committed
 * is as if each had been written at once. */
#include "tests/retrieval/vectable.h"

enum { DIM = 32, ROWS = 1500, WIDE = 4096, WIDE_ROWS = 1100, CHANGES = 4 };

#define CREATE                                                                 \
 "CREATE VIRTUAL TABLE v USING tacit_vec(e float[32], kind int filter)"

#define NEAR                                                                   \
 "SELECT group_concat(rowid) FROM (SELECT rowid FROM v WHERE e MATCH (SELECT"  \
 " e FROM v WHERE rowid = 31) AND k = 50 AND exact = 1 ORDER BY distance)"

/* 32 numbers. */
#define ONES "'[1' || replace(hex(zeroblob(31)), '00', ',1') || ']'"

static void draw(float *v, size_t dim, uint64_t seed)
{
    struct rng r;
    rng_init(&r, 3, seed, 0);
    for (size_t i = 0; i < dim; i++)
        v[i] = (float)rng_f64(&r) + (i == seed % 7 ? 2 : 0);
}

static sqlite3 *made(void)
{
    sqlite3 *db = vectable_open(":memory:");
    vectable_run(db, CREATE);
    return db;
}

/* Rows from … to, every fourth behind a delete or an update of another. */
static void change(sqlite3 *db, int from, int to)
{
    float v[DIM];
    char sql[128];
    for (int i = from; i < to; i++) {
        draw(v, DIM, (uint64_t)i);
        snprintf(sql, sizeof sql,
                 "INSERT INTO v(rowid, e, kind) VALUES (%d, ?1, %d)", i, i % 5);
        vectable_bind(db, sql, v, DIM);
        if (i % CHANGES) continue;
        draw(v, DIM, (uint64_t)i + 1000000);
        snprintf(sql, sizeof sql,
                 i % (3 * CHANGES) ? "UPDATE v SET e = ?1 WHERE rowid = %d"
                                   : "DELETE FROM v WHERE rowid = %d",
                 i / 2);
        vectable_bind(db, sql, v, DIM);
    }
}

/* Every row of the shadow tables is the same in both. */
static void check_same(sqlite3 *a, sqlite3 *b)
{
    static const char *const all[] = {"SELECT * FROM v_info ORDER BY id",
                                      "SELECT * FROM v_list ORDER BY id",
                                      "SELECT * FROM v_seg ORDER BY id",
                                      "SELECT * FROM v_place ORDER BY id",
                                      "SELECT * FROM v_aux ORDER BY id"};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        sqlite3_stmt *x = NULL, *y = NULL;
        if (sqlite3_prepare_v2(a, all[k], -1, &x, NULL) != SQLITE_OK) continue;
        assert_int_equal(sqlite3_prepare_v2(b, all[k], -1, &y, NULL),
                         SQLITE_OK);
        int rc;
        while ((rc = sqlite3_step(x)) == SQLITE_ROW) {
            assert_int_equal(sqlite3_step(y), SQLITE_ROW);
            for (int i = 0; i < sqlite3_column_count(x); i++) {
                int n = sqlite3_column_bytes(x, i);
                assert_int_equal(sqlite3_column_bytes(y, i), n);
                if (n)
                    assert_memory_equal(sqlite3_column_blob(x, i),
                                        sqlite3_column_blob(y, i), (size_t)n);
            }
        }
        assert_int_equal(rc, SQLITE_DONE);
        assert_int_equal(sqlite3_step(y), SQLITE_DONE);
        sqlite3_finalize(x);
        sqlite3_finalize(y);
    }
}

/* The rows that a statement sees of a table, and their vectors, are the same in
 * both: how they lie may differ. */
static void check_same_rows(sqlite3 *a, sqlite3 *b)
{
    static const char all[] = "SELECT rowid, kind, e FROM v ORDER BY rowid";
    sqlite3_stmt *x = NULL, *y = NULL;
    int rc;
    assert_int_equal(sqlite3_prepare_v2(a, all, -1, &x, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(b, all, -1, &y, NULL), SQLITE_OK);
    while ((rc = sqlite3_step(x)) == SQLITE_ROW) {
        assert_int_equal(sqlite3_step(y), SQLITE_ROW);
        for (int i = 0; i < 2; i++)
            assert_int_equal(sqlite3_column_int64(x, i),
                             sqlite3_column_int64(y, i));
        assert_int_equal(sqlite3_column_bytes(y, 2), DIM * 4);
        assert_memory_equal(sqlite3_column_blob(x, 2),
                            sqlite3_column_blob(y, 2), DIM * 4);
    }
    assert_int_equal(rc, SQLITE_DONE);
    assert_int_equal(sqlite3_step(y), SQLITE_DONE);
    sqlite3_finalize(x);
    sqlite3_finalize(y);
    vectable_sound(b, "main");
}

/* Rows from … to, nothing else. */
static void add(sqlite3 *db, const char *table, int from, int to)
{
    float v[DIM];
    char sql[128];
    for (int i = from; i < to; i++) {
        draw(v, DIM, (uint64_t)i);
        snprintf(sql, sizeof sql,
                 "INSERT INTO %s(rowid, e, kind) VALUES (%d, ?1, %d)", table, i,
                 i % 5);
        vectable_bind(db, sql, v, DIM);
    }
}

/* Bytes of all segments, and how often they were changed: what is held is in
 * none of them. */
static int64_t written(sqlite3 *db)
{
    int64_t sum = 0;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT data FROM v_seg ORDER BY id",
                                        -1, &st, NULL),
                     SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        const uint8_t *b = sqlite3_column_blob(st, 0);
        for (int i = 0; i < sqlite3_column_bytes(st, 0); i++)
            sum = (sum * 31 + b[i]) % 1000000007;
    }
    sqlite3_finalize(st);
    return sum;
}

static void a_transaction_writes_what_single_rows_would(void **state)
{
    sqlite3 *one = made(), *many = made(), *again = made();
    (void)state;
    change(one, 1, ROWS);
    add(one, "v", ROWS, 2 * ROWS);
    vectable_run(many, "BEGIN");
    change(many, 1, ROWS);
    add(many, "v", ROWS, 2 * ROWS);
    vectable_run(many, "COMMIT");
    assert_true(vectable_int(many, "SELECT count(*) FROM v_list") > 4);
    check_same_rows(one, many);
    /* and the same bytes each time */
    vectable_run(again, "BEGIN");
    change(again, 1, ROWS);
    add(again, "v", ROWS, 2 * ROWS);
    vectable_run(again, "COMMIT");
    check_same(many, again);
    sqlite3_close(one);
    sqlite3_close(many);
    sqlite3_close(again);
}

static void rows_are_held_until_they_are_looked_at(void **state)
{
    static const char *const looks[] = {
        "SELECT rowid FROM v WHERE e MATCH (SELECT e FROM v WHERE rowid = 7)"
        " AND k = 1",
        "SELECT e FROM v WHERE rowid = 501",
        "SELECT tacit_vec_check('v')",
        "UPDATE v SET kind = 9 WHERE rowid = 501",
        "DELETE FROM v WHERE rowid = 502",
        "REPLACE INTO v(rowid, e, kind) SELECT 503, e, 7 FROM v"
        " WHERE rowid = 504",
        "SAVEPOINT s",
        "INSERT INTO v(v) VALUES ('optimize')",
        "COMMIT"};
    (void)state;
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        sqlite3 *db = made();
        add(db, "v", 1, 500);
        int64_t before = written(db);
        vectable_run(db, "BEGIN");
        add(db, "v", 500, 560);
        check(written(db) == before);
        vectable_is(db, "SELECT count(*), sum(rowid > 499) FROM v", "559|60");
        vectable_is(db, "SELECT kind FROM v WHERE rowid = 543", "3");
        vectable_refused(db, "INSERT INTO v(rowid, e) VALUES (510, '[]')", "");
        vectable_refused(db,
                         "INSERT INTO v(rowid, e, kind) VALUES (510,"
                         " " ONES ", 1)",
                         "UNIQUE");
        check(written(db) == before);
        vectable_text(db, looks[i]);
        check(written(db) != before);
        if (!sqlite3_get_autocommit(db)) vectable_run(db, "COMMIT");
        vectable_sound(db, "main");
        vectable_is(db, "SELECT count(*) FROM v",
                    strncmp(looks[i], "DELETE", 6) == 0 ? "558" : "559");
        sqlite3_close(db);
    }
}

/* What is written late has rowids of its own, which are nobody's. */
static void the_last_rowid_is_of_the_caller(void **state)
{
    static const char *const late[] = {NEAR, "SAVEPOINT s",
                                       "SELECT e FROM v WHERE rowid = 501",
                                       "COMMIT"};
    sqlite3 *db = made();
    (void)state;
    vectable_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY)");
    add(db, "v", 1, 500);
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        vectable_run(db, sqlite3_get_autocommit(db) ? "BEGIN" : "");
        int from = 500 + 1000 * (int)i;
        add(db, "v", from, from + 600);
        vectable_run(db, "INSERT INTO t VALUES (NULL)");
        int64_t last = vectable_int(db, "SELECT max(a) FROM t");
        vectable_text(db, late[i]);
        check(vectable_int(db, "SELECT last_insert_rowid()") == last);
    }
    sqlite3_close(db);
}

static void savepoints_undo_what_was_kept_in_memory(void **state)
{
    sqlite3 *one = made(), *many = made();
    (void)state;
    change(one, 1, 1000);
    change(one, 1200, ROWS);
    vectable_run(many, "BEGIN");
    change(many, 1, 900);
    vectable_run(many, "SAVEPOINT a");
    change(many, 900, 1000);
    vectable_run(many, "SAVEPOINT b");
    change(many, 1000, 1200);
    vectable_run(many, "ROLLBACK TO b; RELEASE b; RELEASE a");
    change(many, 1200, ROWS);
    /* undone by a statement that fails behind its first rows */
    vectable_refused(many,
                     "INSERT INTO v(rowid, e) SELECT n, '[' || n || "
                     "replace(hex(zeroblob(31)), '00', ',1') || ']' FROM"
                     " (SELECT 5001 AS n UNION ALL SELECT 5002 UNION ALL"
                     " SELECT 5001)",
                     "UNIQUE");
    vectable_is(many, "SELECT count(*) FROM v WHERE rowid > 5000", "0");
    vectable_run(many, "COMMIT");
    check_same_rows(one, many);
    vectable_run(many, "BEGIN");
    change(many, ROWS, ROWS + 100);
    vectable_run(many, "ROLLBACK");
    check_same_rows(one, many);
    vectable_sound(many, "main");
    sqlite3_close(one);
    sqlite3_close(many);
}

/* So does a statement alone: as many rows as it has are written together. */
static void one_statement_holds_its_rows(void **state)
{
    static const char all[] =
        "INSERT INTO v(rowid, e, kind) SELECT id, e, kind FROM plain";
    sqlite3 *db = made(), *want = made();
    float v[DIM];
    (void)state;
    vectable_run(db, "CREATE TABLE plain(id INTEGER PRIMARY KEY, e, kind)");
    for (int i = 500; i < 2000; i++) {
        char sql[80];
        draw(v, DIM, (uint64_t)i);
        snprintf(sql, sizeof sql, "INSERT INTO plain VALUES (%d, ?1, %d)", i,
                 i % 5);
        vectable_bind(db, sql, v, DIM);
    }
    add(db, "v", 1, 500);
    add(want, "v", 1, 500);
    vectable_run(want, "BEGIN");
    add(want, "v", 500, 2000);
    vectable_run(want, "COMMIT");
    vectable_run(db, all);
    vectable_is(db, "SELECT changes(), last_insert_rowid()", "1500|1999");
    check_same(want, db);
    vectable_run(db, "DELETE FROM v WHERE rowid BETWEEN 500 AND 1997");
    vectable_refused(db, all, "UNIQUE"); /* behind 1,498 rows */
    vectable_is(db, "SELECT count(*), max(rowid) FROM v", "501|1999");
    vectable_sound(db, "main");
    sqlite3_close(db);
    sqlite3_close(want);
}

/* A transaction sees its own changes, and its table's check and commands. */
static void a_transaction_reads_its_own_changes(void **state)
{
    sqlite3 *one = made(), *many = made();
    char want[1024];
    (void)state;
    change(one, 1, 1000);
    snprintf(want, sizeof want, "%s", vectable_text(one, NEAR));
    vectable_run(many, "BEGIN");
    change(many, 1, 1000);
    vectable_is(many, NEAR, want);
    vectable_sound(many, "main");
    change(one, 1000, 1100);
    change(many, 1000, 1100);
    vectable_run(many, "ALTER TABLE v RENAME TO w; ALTER TABLE w RENAME TO v");
    change(one, 1100, 1200);
    change(many, 1100, 1200);
    vectable_run(one, "INSERT INTO v(v) VALUES ('rebuild')");
    vectable_run(many, "INSERT INTO v(v) VALUES ('rebuild'); COMMIT");
    check_same_rows(one, many);
    vectable_sound(many, "main");
    vectable_run(many, "BEGIN");
    change(many, 1200, 1300);
    vectable_run(many, "DROP TABLE v; ROLLBACK");
    check_same_rows(one, many);
    sqlite3_close(one);
    sqlite3_close(many);
}

/* More than are held at once: 16 MiB. */
static void more_than_memory_may_hold_is_written_before_the_end(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    float *v = calloc(WIDE, sizeof *v);
    (void)state;
    assert_non_null(v);
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[4096],"
                     " store=f32, tenant int partition key); BEGIN");
    for (int i = 1; i <= WIDE_ROWS; i++) {
        char sql[80];
        draw(v, WIDE, (uint64_t)i);
        snprintf(sql, sizeof sql,
                 "INSERT INTO v(rowid, e, tenant) VALUES (%d, ?1, %d)", i,
                 i % 32);
        vectable_bind(db, sql, v, WIDE);
        if (i == 256) check(written(db) == 0);
    }
    check(written(db) != 0);
    vectable_run(db, "COMMIT");
    vectable_sound(db, "main");
    sqlite3_close(db);
    free(v);
}

/* However many of a transaction's rows are nearest to one list. */
static void lists_are_no_longer_than_those_of_single_rows(void **state)
{
    enum { MANY = 4000, MOST = 512 };
    sqlite3 *db = made();
    float v[DIM] = {1};
    (void)state;
    vectable_run(db, "BEGIN");
    for (int i = 1; i <= MANY; i++) {
        if (i % 8 == 0) draw(v, DIM, (uint64_t)i);
        vectable_bind(db, "INSERT INTO v(e) VALUES (?1)", v, DIM);
    }
    vectable_run(db, "COMMIT");
    assert_true(vectable_int(db, "SELECT max(n) FROM (SELECT count(*) AS n FROM"
                                 " v_place GROUP BY list)") <= MOST);
    vectable_sound(db, "main");
    sqlite3_close(db);
}

static void a_full_disk_at_the_commit_leaves_what_was(void **state)
{
    sqlite3 *db = made(), *want = made();
    char sql[64];
    (void)state;
    add(want, "v", 1, 700);
    add(db, "v", 1, 700);
    vectable_run(db, "BEGIN");
    add(db, "v", 700, 1000);
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld",
             (long long)vectable_int(db, "PRAGMA page_count"));
    vectable_text(db, sql);
    vectable_refused(db, "COMMIT", "full");
    if (!sqlite3_get_autocommit(db)) {
        vectable_refused(db, "COMMIT", "midway");
        vectable_run(db, "ROLLBACK");
    }
    vectable_text(db, "PRAGMA max_page_count = 1000000");
    check_same_rows(want, db);
    add(want, "v", 700, 800);
    add(db, "v", 700, 800);
    check_same_rows(want, db);
    sqlite3_close(db);
    sqlite3_close(want);
}

static void tables_of_one_transaction_hold_their_own(void **state)
{
    sqlite3 *db = made(), *want = made();
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE w USING tacit_vec(e float[32],"
                     " kind int filter); CREATE TABLE plain(id INTEGER PRIMARY"
                     " KEY, e); CREATE TRIGGER both AFTER INSERT ON plain BEGIN"
                     " INSERT INTO v(rowid, e, kind) VALUES (new.id, new.e, 1);"
                     " INSERT INTO w(rowid, e, kind) VALUES (new.id, new.e, 2);"
                     " END; BEGIN");
    add(want, "v", 1, 600);
    for (int i = 1; i < 600; i += 100) {
        add(db, "v", i, i + 100 < 600 ? i + 100 : 600);
        add(db, "w", i, i + 50);
    }
    vectable_run(db, "INSERT INTO plain SELECT n, " ONES
                     " FROM (SELECT 900 AS n UNION SELECT 901)");
    vectable_refused(db,
                     "INSERT INTO plain SELECT n, " ONES
                     " FROM (SELECT 902 AS n UNION ALL SELECT 599)",
                     "UNIQUE");
    vectable_is(db,
                "SELECT (SELECT count(*) FROM v WHERE rowid > 700),"
                " (SELECT count(*) FROM w WHERE rowid > 700)",
                "2|2");
    vectable_run(db, "DROP TABLE w; DELETE FROM v WHERE rowid > 700; COMMIT");
    check_same_rows(want, db);
    sqlite3_close(db);
    sqlite3_close(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_writes_what_single_rows_would),
        cmocka_unit_test(rows_are_held_until_they_are_looked_at),
        cmocka_unit_test(the_last_rowid_is_of_the_caller),
        cmocka_unit_test(savepoints_undo_what_was_kept_in_memory),
        cmocka_unit_test(one_statement_holds_its_rows),
        cmocka_unit_test(a_transaction_reads_its_own_changes),
        cmocka_unit_test(more_than_memory_may_hold_is_written_before_the_end),
        cmocka_unit_test(lists_are_no_longer_than_those_of_single_rows),
        cmocka_unit_test(a_full_disk_at_the_commit_leaves_what_was),
        cmocka_unit_test(tables_of_one_transaction_hold_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
