/* Segments that a transaction keeps in memory: what is read, undone and
 * committed is as if each change had been written at once. */
#include "tests/retrieval/vectable.h"

enum { DIM = 32, ROWS = 1500, WIDE = 4096, WIDE_ROWS = 900, CHANGES = 4 };

#define CREATE                                                                 \
 "CREATE VIRTUAL TABLE v USING tacit_vec(e float[32], kind int filter)"

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

static void a_transaction_writes_what_single_rows_would(void **state)
{
    sqlite3 *one = made(), *many = made();
    (void)state;
    change(one, 1, ROWS);
    vectable_run(many, "BEGIN");
    change(many, 1, ROWS);
    vectable_run(many, "COMMIT");
    assert_true(vectable_int(one, "SELECT count(*) FROM v_list") > 4);
    check_same(one, many);
    vectable_sound(many, "main");
    sqlite3_close(one);
    sqlite3_close(many);
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
    check_same(one, many);
    vectable_run(many, "BEGIN");
    change(many, ROWS, ROWS + 100);
    vectable_run(many, "ROLLBACK");
    check_same(one, many);
    vectable_sound(many, "main");
    sqlite3_close(one);
    sqlite3_close(many);
}

#define NEAR                                                                   \
 "SELECT group_concat(rowid) FROM (SELECT rowid FROM v WHERE e MATCH (SELECT"  \
 " e FROM v WHERE rowid = 31) AND k = 50 ORDER BY distance, rowid)"

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
    check_same(one, many);
    vectable_sound(many, "main");
    vectable_run(many, "BEGIN");
    change(many, 1200, 1300);
    vectable_run(many, "DROP TABLE v; ROLLBACK");
    check_same(one, many);
    sqlite3_close(one);
    sqlite3_close(many);
}

/* More than are kept at once: 16 MiB. */
static void more_than_memory_may_hold_is_written_before_the_end(void **state)
{
    sqlite3 *db[2];
    float *v = calloc(WIDE, sizeof *v);
    (void)state;
    assert_non_null(v);
    for (int k = 0; k < 2; k++) {
        db[k] = vectable_open(":memory:");
        vectable_run(db[k],
                     "PRAGMA page_size = 65536;"
                     "CREATE VIRTUAL TABLE v USING tacit_vec(e float[4096],"
                     " store=f32); CREATE TABLE other(x)");
        if (k == 1) vectable_run(db[k], "BEGIN");
        for (int i = 1; i <= WIDE_ROWS; i++) {
            char sql[64];
            draw(v, WIDE, (uint64_t)i);
            snprintf(sql, sizeof sql, "INSERT INTO v(rowid, e) VALUES (%d, ?1)",
                     i);
            vectable_bind(db[k], sql, v, WIDE);
        }
        if (k == 1) vectable_run(db[k], "COMMIT");
    }
    check_same(db[0], db[1]);
    for (int k = 0; k < 2; k++) sqlite3_close(db[k]);
    free(v);
}

/* Segments that a row which is added to list 1 changes in the table itself,
 * before its transaction ends; each list is a partition. */
static int64_t changed_at_once(int lists)
{
    sqlite3 *db = vectable_open(":memory:");
    float v[DIM];
    char sql[96];
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[32],"
                     " tenant int partition key); BEGIN");
    for (int i = 1; i <= lists + 1; i++) {
        if (i > lists)
            vectable_run(db, "COMMIT; CREATE TEMP TABLE old AS"
                             " SELECT * FROM v_seg; BEGIN");
        draw(v, DIM, (uint64_t)i);
        snprintf(sql, sizeof sql,
                 "INSERT INTO v(rowid, e, tenant) VALUES (%d, ?1, %d)", i,
                 i > lists ? 1 : i);
        vectable_bind(db, sql, v, DIM);
    }
    int64_t n = vectable_int(db, "SELECT count(*) FROM v_seg JOIN old USING(id)"
                                 " WHERE v_seg.data <> old.data");
    vectable_run(db, "COMMIT");
    vectable_sound(db, "main");
    sqlite3_close(db);
    return n;
}

static void of_many_lists_nothing_is_kept_in_memory(void **state)
{
    (void)state;
    check(changed_at_once(1000) == 0);
    check(changed_at_once(1100) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_writes_what_single_rows_would),
        cmocka_unit_test(savepoints_undo_what_was_kept_in_memory),
        cmocka_unit_test(a_transaction_reads_its_own_changes),
        cmocka_unit_test(more_than_memory_may_hold_is_written_before_the_end),
        cmocka_unit_test(of_many_lists_nothing_is_kept_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
