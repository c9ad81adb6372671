/* Tables of widths whose rotation mixes, and those that were made before there
 * was that: each is read, written and made anew with its own. */
#include "tests/retrieval/vectable.h"

#include <math.h>

enum { FEW = 300, DIM = 80, BIG = 2049 };

static void table_make(sqlite3 *db, size_t dim, const char *options)
{
    char sql[160];
    snprintf(sql, sizeof sql,
             "PRAGMA page_size = 8192; CREATE VIRTUAL TABLE v USING"
             " tacit_vec(e float[%zu] %s)",
             dim, options);
    vectable_run(db, sql);
}

/* Make the table of no rows one of the program before: format 3, and a seed
 * without RABITQ_MIXING. */
static void table_age(sqlite3 *db)
{
    vectable_is(db,
                "SELECT hex(substr(value, 9, 1)), hex(substr(value, 40, 1))"
                " FROM v_info",
                "04|80");
    vectable_run(db, "UPDATE v_info SET value = CAST(substr(value, 1, 8) ||"
                     " x'03' || substr(value, 10, 30) || x'00' ||"
                     " substr(value, 41) AS BLOB)");
}

/* 20 to 35 numbers, most of them of one of 40 topics of 60. */
static void draw_sparse(struct rng *r, float *v, size_t dim)
{
    struct rng topic;
    memset(v, 0, dim * sizeof *v);
    rng_init(&topic, 8, rng_below(r, 40), dim);
    uint64_t places[60], n = 20 + rng_below(r, 16);
    for (size_t i = 0; i < 60; i++) places[i] = rng_below(&topic, dim);
    for (uint64_t i = 0; i < n; i++) {
        size_t at =
            rng_below(r, 5) ? places[rng_below(r, 60)] : rng_below(r, dim);
        v[at] = fabsf(rng_normal(r)) + 0.1F;
    }
}

static void fill(sqlite3 *db, size_t dim, size_t n, uint64_t seed)
{
    static float v[BIG];
    struct rng r;
    rng_init(&r, seed, dim, 0);
    sqlite3_stmt *st = NULL;
    vectable_run(db, "BEGIN");
    sqlite3_prepare_v2(db, "INSERT INTO v(e) VALUES (?1)", -1, &st, NULL);
    for (size_t i = 0; i < n; i++) {
        draw_sparse(&r, v, dim);
        sqlite3_bind_blob(st, 1, v, (int)(dim * sizeof *v), SQLITE_STATIC);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    vectable_run(db, "COMMIT");
}

/* The share of the ten nearest of sparse queries that a search by default
 * finds. */
static double recall(sqlite3 *db, size_t dim, size_t n)
{
    static float v[BIG];
    static const char sql[] =
        "SELECT count(*) FROM (SELECT rowid r FROM v WHERE e MATCH ?1 AND"
        " k = 10) WHERE +r IN (SELECT rowid FROM v WHERE e MATCH ?1 AND k = 10"
        " AND exact = 1)";
    struct rng r;
    sqlite3_stmt *st = NULL;
    int found = 0;
    rng_init(&r, 99, dim, 0);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    for (size_t i = 0; i < n; i++) {
        draw_sparse(&r, v, dim);
        sqlite3_bind_blob(st, 1, v, (int)(dim * sizeof *v), SQLITE_STATIC);
        assert_int_equal(sqlite3_step(st), SQLITE_ROW);
        found += sqlite3_column_int(st, 0);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    return found / (10.0 * (double)n);
}

static void sparse_vectors_are_found_little_above_a_power_of_two(void **state)
{
    static const size_t dims[] = {513, 1025, 1152, BIG};
    (void)state;
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        sqlite3 *db = vectable_open(":memory:");
        table_make(db, dims[i], "");
        fill(db, dims[i], 6000, 1);
        double got = recall(db, dims[i], 100);
        print_message("recall at %zu: %.4f\n", dims[i], got);
        assert_true(got >= 0.95);
        sqlite3_close(db);
    }
}

#define MARKS                                                                  \
 "SELECT DISTINCT substr(data, 8, 1) >= x'80' FROM v_seg WHERE id >> 20 & 1"
#define FORMAT  "SELECT hex(substr(value, 9, 1)) FROM v_info"
#define REBUILD "INSERT INTO v(v) VALUES ('rebuild')"

/* A number that stands for all vectors, to the bit. */
static int64_t all_vectors(sqlite3 *db)
{
    uint64_t h = 1469598103934665603U;
    sqlite3_stmt *st = NULL;
    sqlite3_prepare_v2(db, "SELECT e FROM v ORDER BY rowid", -1, &st, NULL);
    while (sqlite3_step(st) == SQLITE_ROW) {
        const uint8_t *b = sqlite3_column_blob(st, 0);
        for (int i = 0; i < sqlite3_column_bytes(st, 0); i++)
            h = (h ^ b[i]) * 1099511628211U;
    }
    sqlite3_finalize(st);
    return (int64_t)h;
}

/* Write to a table, lose its settings, make it anew: `mark` is in its rows and
 * `format` in its settings before and after, and its vectors stay. */
static void table_lives(sqlite3 *db, const char *mark, const char *format)
{
    fill(db, DIM, FEW, 1);
    fill(db, DIM, FEW, 2);
    vectable_run(db, "DELETE FROM v WHERE rowid % 3 = 0;"
                     "UPDATE v SET e = (SELECT e FROM v WHERE rowid = 1)"
                     " WHERE rowid % 50 = 2");
    vectable_is(db, MARKS, mark);
    vectable_is(db, FORMAT, format);
    vectable_sound(db, "main");
    double before = recall(db, DIM, 20);
    int64_t vectors = all_vectors(db);
    vectable_run(db, "DELETE FROM v_info");
    vectable_run(db, REBUILD);
    vectable_is(db, MARKS, mark);
    vectable_is(db, FORMAT, format);
    vectable_sound(db, "main");
    assert_int_equal(vectable_int(db, "SELECT count(*) FROM v"),
                     2 * FEW / 3 * 2);
    assert_true(all_vectors(db) == vectors);
    assert_true(recall(db, DIM, 20) >= before - 0.02);
    fill(db, DIM, 20, 3);
    vectable_sound(db, "main");
}

static void a_table_keeps_its_rotation_when_its_settings_are_lost(void **state)
{
    static const char *const options[] = {"", "store=f32", "metric=dot"};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof options / sizeof *options; i++) {
        sqlite3 *db = vectable_open(":memory:");
        table_make(db, DIM, options[i / 2]);
        if (i % 2) table_age(db);
        table_lives(db, i % 2 ? "0" : "1", i % 2 ? "03" : "04");
        sqlite3_close(db);
    }
}

/* The rows of three vectors [65], number i of vector r being
 * i (r + 2) % 13 - 6, as the program before wrote them:
 *   CREATE VIRTUAL TABLE v USING tacit_vec(e float[65]), three INSERTs,
 *   SELECT hex(data) FROM v_seg WHERE id >> 20 = 3 */
static const char rows_before[] =
    "030000000000040001000000000000006454F1419C970C3B0F28803FC84431103A13810F0C"
    "3539053EC42555E519DACAA9880FB896FCC609C95BC6FAF5F2E443001503A79C29DA3E52CC"
    "3DF9F1150D2C69342800BBB528E930B9E80E1FC8180A34EFC8F02EF6F2E9DC3F0901020000"
    "00000000006454F141BF002E3B3F21803F1FEF28DF390CF841F9E6D11722182C0CE40243E1"
    "F3C9EFDDFAE5DCC818E2179DF45539FF0A0AE9FCCAF4ED05F82D7FC46B04E93ABF4C1DB70C"
    "172640EFC3F9F312F2053739C208CC0AF307FE1AFAD9E803000000000000006454F141ACEC"
    "283B760C803FE61FFB1A02C3B10E14302A260F4B0ADD07CBE0F80A29FDF9261EB73A0FC645"
    "E826A6DED01901E0FD33B9811D062EC9EC4C30120AF9F1B020F9FA08E33AE1490F0117FEF6"
    "DCBA033AF40D2A1D222CF79700000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000"
    "00";

static void rows_of_the_program_before_are_read(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    char sql[sizeof rows_before + 80];
    (void)state;
    table_make(db, 65, "");
    snprintf(sql, sizeof sql, "INSERT INTO v_seg VALUES (3 << 20, x'%s')",
             rows_before);
    vectable_run(db, sql);
    vectable_run(db, REBUILD);
    vectable_is(db, FORMAT, "03");
    vectable_is(db, MARKS, "0");
    vectable_sound(db, "main");
    for (int r = 1; r <= 3; r++) {
        float v[65];
        snprintf(sql, sizeof sql, "SELECT e FROM v WHERE rowid = %d", r);
        sqlite3_stmt *st = NULL;
        sqlite3_prepare_v2(db, sql, -1, &st, NULL);
        assert_int_equal(sqlite3_step(st), SQLITE_ROW);
        assert_int_equal(sqlite3_column_bytes(st, 0), sizeof v);
        memcpy(v, sqlite3_column_blob(st, 0), sizeof v);
        for (int i = 0; i < 65; i++)
            check_near(v[i], i * (r + 2) % 13 - 6, 0.1);
        sqlite3_finalize(st);
    }
    sqlite3_close(db);
}

/* The first segment of rows says the other rotation. */
static void mark_turn(sqlite3 *db)
{
    vectable_run(db,
                 "UPDATE v_seg SET data = CAST(substr(data, 1, 7) ||"
                 " CASE WHEN substr(data, 8, 1) >= x'80' THEN x'00' ELSE x'80'"
                 " END || substr(data, 9) AS BLOB) WHERE id = (SELECT min(id)"
                 " FROM v_seg WHERE id >> 20 & 1)");
}

static void most_rows_say_how_they_are_rotated(void **state)
{
    (void)state;
    for (int old = 0; old < 2; old++) {
        struct ivf_report report;
        sqlite3 *db = vectable_open(":memory:");
        table_make(db, DIM, "");
        if (old) table_age(db);
        fill(db, DIM, FEW, 1);
        vectable_run(db, "CREATE TABLE was AS SELECT rowid AS id, e FROM v");
        mark_turn(db);
        check_ok(vecindex_check(db, "main", "v", &report));
        assert_true(report.problems > 0);
        vectable_run(db, "DELETE FROM v_info");
        vectable_run(db, REBUILD);
        vectable_is(db, MARKS, old ? "0" : "1");
        vectable_sound(db, "main");
        /* but for that segment's, they are there and the same */
        assert_true(vectable_int(db, "SELECT count(*) FROM v") > FEW / 2);
        vectable_is(db,
                    "SELECT count(*) FROM v JOIN was ON v.rowid = was.id"
                    " WHERE v.e <> was.e",
                    "0");
        sqlite3_close(db);
    }
}

/* Settings that name the other rotation are damage, one or both of them. */
static void settings_of_another_rotation_are_damage(void **state)
{
    static const char *const flips[] = {
        "substr(value, 1, 8) || x'03' || substr(value, 10)",
        "substr(value, 1, 39) || x'00' || substr(value, 41)",
        "substr(value, 1, 8) || x'03' || substr(value, 10, 30) || x'00' ||"
        " substr(value, 41)"};
    (void)state;
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        char sql[200];
        sqlite3 *from = vectable_open(":memory:");
        table_make(from, DIM, "");
        fill(from, DIM, FEW, 1);
        int64_t vectors = all_vectors(from);
        snprintf(sql, sizeof sql, "UPDATE v_info SET value = CAST(%s AS BLOB)",
                 flips[i]);
        vectable_run(from, sql);
        sqlite3 *db = vectable_copy(from);
        sqlite3_close(from);
        vectable_refused(db, "INSERT INTO v(v) VALUES ('integrity-check')",
                         "('rebuild')");
        vectable_run(db, REBUILD);
        vectable_is(db, FORMAT, "04");
        vectable_sound(db, "main");
        assert_true(all_vectors(db) == vectors);
        sqlite3_close(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sparse_vectors_are_found_little_above_a_power_of_two),
        cmocka_unit_test(a_table_keeps_its_rotation_when_its_settings_are_lost),
        cmocka_unit_test(rows_of_the_program_before_are_read),
        cmocka_unit_test(most_rows_say_how_they_are_rotated),
        cmocka_unit_test(settings_of_another_rotation_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
