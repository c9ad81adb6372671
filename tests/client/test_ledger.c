/* ledger: whatever is changed, removed or put in is found and named, nothing is
 * debited behind it, and no clock gives a spent budget back. */
#include "tests/check.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ledger.h"
#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"

enum { DAY = POLICY_DAY_S, NOW = 1700000000, ROWS = 6 };

static char dir[256], path[300];
static struct db db;

static void reopen(void)
{
    if (db.sql) db_close(&db);
    check_ok(
        db_open(&db, path, DB_CREATE, ledger_migrations, LEDGER_N_MIGRATIONS));
}

static int begin(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/tacit.db", dir);
    reopen();
    return 0;
}

static int end(void **state)
{
    (void)state;
    db_close(&db);
    check_tmpdir_remove(dir);
    return 0;
}

/* Row i of a round: every field has a value of its own. */
static struct ledger_row sample(uint32_t i)
{
    struct ledger_row r = {.time_s = NOW + (int64_t)i * 60,
                           .round = 10 + i,
                           .attempt = 20 + i,
                           .bytes = 3000 + i,
                           .norm = 0.5 + i,
                           .clip = 4.25,
                           .weight = 100 + i,
                           .n_coords = 900,
                           .ring_bits = 32,
                           .min_cohort = 3};
    snprintf(r.plan, sizeof r.plan, "plan-%u", i);
    memset(r.plan_hash.b, 1, DIGEST_BYTES);
    memset(r.model_hash.b, (int)i + 2, DIGEST_BYTES);
    memset(r.session, (int)i + 50, sizeof r.session);
    return r;
}

static void fill(uint32_t n)
{
    for (uint32_t i = 1; i <= n; i++) {
        struct ledger_row r = sample(i);
        check_ok(ledger_debit(&db, &r));
        assert_int_equal(r.id, i);
    }
}

static uint64_t first_bad(void)
{
    uint64_t bad = 99;
    check_ok(ledger_walk(&db, NULL, NULL, &bad));
    return bad;
}

static struct policy_spent spent_at(int64_t now_s)
{
    struct policy_spent s = {99, 99};
    check_ok(ledger_spent(&db, now_s, &s));
    return s;
}

struct rows {
    struct ledger_row row[ROWS];
    size_t n;
};

static enum tacit_err keep(const struct ledger_row *r, void *ctx)
{
    struct rows *rows = ctx;
    check(rows->n < ROWS);
    rows->row[rows->n++] = *r;
    return TACIT_OK;
}

/* ---- the chain ----------------------------------------------------------- */

static void an_empty_ledger_is_whole(void **state)
{
    (void)state;
    assert_int_equal(first_bad(), 0);
    assert_int_equal(spent_at(NOW).updates, 0);
}

static void rows_come_back_as_they_were_written(void **state)
{
    (void)state;
    struct rows rows = {.n = 0};
    uint64_t bad = 99;
    fill(ROWS);
    reopen();
    check_ok(ledger_walk(&db, keep, &rows, &bad));
    assert_int_equal(bad, 0);
    assert_int_equal(rows.n, ROWS);
    struct digest last = {{0}};
    for (uint32_t i = 1; i <= ROWS; i++) {
        struct ledger_row want = sample(i), got = rows.row[i - 1];
        assert_int_equal(got.id, i);
        check(digest_equal(&got.previous, &last));
        last = got.hash;
        assert_int_equal(got.time_s, want.time_s);
        assert_string_equal(got.plan, want.plan);
        check(digest_equal(&got.plan_hash, &want.plan_hash));
        check(digest_equal(&got.model_hash, &want.model_hash));
        assert_int_equal(got.round, want.round);
        assert_int_equal(got.attempt, want.attempt);
        assert_memory_equal(got.session, want.session, sizeof want.session);
        assert_int_equal(got.bytes, want.bytes);
        check_near(got.norm, want.norm, 0);
        check_near(got.clip, want.clip, 0);
        assert_int_equal(got.weight, want.weight);
        assert_int_equal(got.n_coords, want.n_coords);
        assert_int_equal(got.ring_bits, want.ring_bits);
        assert_int_equal(got.min_cohort, want.min_cohort);
    }
}

/* The hash as ledger.h describes it, put together here. */
static void the_hash_is_that_of_the_fields_in_their_order(void **state)
{
    (void)state;
    struct ledger_row r = sample(1);
    struct buf b;
    struct digest want;
    uint64_t bits;
    check_ok(ledger_debit(&db, &r));
    buf_init(&b, 0);
    buf_put(&b, "\x0f\0tacit ledger v1", 2 + 15);
    for (int i = 0; i < DIGEST_BYTES; i++) buf_put(&b, "", 1);
    buf_put_u64(&b, 1);
    buf_put_u64(&b, NOW + 60);
    buf_put(&b, "\x06\0plan-1", 2 + 6);
    buf_put(&b, r.plan_hash.b, DIGEST_BYTES);
    buf_put(&b, r.model_hash.b, DIGEST_BYTES);
    buf_put_u32(&b, 11);
    buf_put_u32(&b, 21);
    buf_put(&b, r.session, sizeof r.session);
    buf_put_u64(&b, 3001);
    memcpy(&bits, &r.norm, sizeof bits);
    buf_put_u64(&b, bits);
    memcpy(&bits, &r.clip, sizeof bits);
    buf_put_u64(&b, bits);
    buf_put_u32(&b, 101);
    buf_put_u32(&b, 900);
    buf_put_u32(&b, 32);
    buf_put_u32(&b, 3);
    check_ok(buf_end(&b));
    digest_of(&want, b.data, b.len);
    buf_release(&b);
    check(digest_equal(&r.hash, &want));
}

/* The chain breaks at `id` when sql is run, and nothing is debited any more. */
static void check_broken(const char *sql, uint64_t id)
{
    struct ledger_row r = sample(9);
    char message[80];
    check_ok(db_begin(&db));
    check_ok(db_exec(&db, "DELETE FROM ledger"));
    check_ok(db_commit(&db));
    fill(ROWS);
    check_ok(db_exec(&db, sql));
    if (first_bad() != id)
        fail_msg("%s: row %" PRIu64 " was named, want %" PRIu64, sql,
                 first_bad(), id);
    enum tacit_err err = ledger_debit(&db, &r);
    snprintf(message, sizeof message, "row %" PRIu64 " was changed or removed",
             id);
    assert_string_equal(err_message(), message);
    check_code(err, E_LEDGER_BROKEN);
}

static void a_change_of_any_field_is_found_and_named(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "time_s = time_s - 86400",
        "plan = 'plan-9'",
        "plan = ''",
        "plan = plan || char(0) || 'x'",
        "plan_hash = zeroblob(32)",
        "plan_hash = zeroblob(31)",
        "plan_hash = x''",
        "model_hash = zeroblob(32)",
        "round = round + 1",
        "round = round + 4294967296",
        "attempt = 0",
        "attempt = attempt - 4294967296",
        "session = zeroblob(32)",
        "session = CAST(session || x'00' AS BLOB)",
        "bytes = 1",
        "bytes = -1",
        "norm = 0.0",
        "norm = norm + 1e-12",
        "clip = 1e300",
        "weight = 1",
        "weight = weight + 4294967296",
        "n_coords = 0",
        "ring_bits = 24",
        "ring_bits = ring_bits - 4294967296",
        "min_cohort = 100",
        "previous = zeroblob(32)",
        "hash = zeroblob(32)",
        "hash = x'00'"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char sql[160];
        snprintf(sql, sizeof sql, "UPDATE ledger SET %s WHERE id = 3",
                 changes[i]);
        check_broken(sql, 3);
    }
}

static void a_removed_row_is_found_and_named(void **state)
{
    (void)state;
    check_broken("DELETE FROM ledger WHERE id = 1", 1);
    check_broken("DELETE FROM ledger WHERE id = 4", 4);
    check_broken("DELETE FROM ledger WHERE id BETWEEN 2 AND 5", 2);
    check_broken("DELETE FROM ledger WHERE id = 4;"
                 "UPDATE ledger SET id = id - 1 WHERE id > 4",
                 4);
}

static void rows_in_another_order_are_found_and_named(void **state)
{
    (void)state;
    check_broken("UPDATE ledger SET id = 99 WHERE id = 2;"
                 "UPDATE ledger SET id = 2 WHERE id = 3;"
                 "UPDATE ledger SET id = 3 WHERE id = 99",
                 2);
    check_broken("UPDATE ledger SET id = 7 WHERE id = 6", 6);
}

#define COPY_OF_2                                                              \
 "time_s, plan, plan_hash, model_hash, round, attempt, session, bytes, norm, " \
 "clip, weight, n_coords, ring_bits, min_cohort, "

static void a_row_that_was_put_in_is_found_and_named(void **state)
{
    (void)state;
    static const struct {
        const char *id, *hash;
        uint64_t named;
    } cases[] = {{"7", "hash", 7},
                 {"0", "hash", 1},
                 /* Looks like what row 1 follows. */
                 {"0", "zeroblob(32)", 1},
                 {"-3", "zeroblob(32)", 1},
                 {"9223372036854775807", "hash", 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[400];
        snprintf(sql, sizeof sql,
                 "INSERT INTO ledger SELECT %s, " COPY_OF_2 "previous, %s "
                 "FROM ledger WHERE id = 2",
                 cases[i].id, cases[i].hash);
        check_broken(sql, cases[i].named);
    }
}

/* What ledger.h says the chain cannot show; the last hash, written down, does.
 */
static void rows_cut_off_at_the_end_change_the_last_hash(void **state)
{
    (void)state;
    struct rows before = {.n = 0}, after = {.n = 0};
    uint64_t bad;
    fill(ROWS);
    check_ok(ledger_walk(&db, keep, &before, &bad));
    check_ok(db_exec(&db, "DELETE FROM ledger WHERE id > 4"));
    check_ok(ledger_walk(&db, keep, &after, &bad));
    assert_int_equal(bad, 0);
    check(!digest_equal(&before.row[before.n - 1].hash,
                        &after.row[after.n - 1].hash));
}

static enum tacit_err stop_at_3(const struct ledger_row *r, void *ctx)
{
    *(uint64_t *)ctx = r->id;
    return r->id == 3 ? fail(TACIT_STATE, "enough") : TACIT_OK;
}

static void a_visit_that_fails_ends_the_walk(void **state)
{
    (void)state;
    uint64_t seen = 0, bad = 77;
    fill(ROWS);
    check_err(ledger_walk(&db, stop_at_3, &seen, &bad), TACIT_STATE);
    assert_int_equal(seen, 3);
    assert_int_equal(bad, 77);
}

static void values_at_their_bounds_keep_the_chain_whole(void **state)
{
    (void)state;
    static const double norms[] = {0, 5e-324, 1e-300, 1.0 / 3, 3, 1e308};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        struct ledger_row r = sample(1);
        r.norm = norms[i];
        r.round = r.attempt = r.weight = r.n_coords = UINT32_MAX;
        r.bytes = INT64_MAX;
        r.time_s = i % 2 ? INT64_MAX : 0;
        memset(r.plan, 'p', PLAN_NAME_MAX - 1);
        check_ok(ledger_debit(&db, &r));
    }
    reopen();
    assert_int_equal(first_bad(), 0);
}

/* ---- the budget ---------------------------------------------------------- */

static void the_budget_counts_ever_and_the_last_day(void **state)
{
    (void)state;
    fill(ROWS); /* one a minute, the first at NOW + 60 */
    struct policy_spent s = spent_at(NOW + 360);
    assert_int_equal(s.updates, ROWS);
    assert_int_equal(s.updates_today, ROWS);
    for (int64_t i = 0; i <= ROWS; i++) {
        s = spent_at(NOW + DAY + i * 60);
        assert_int_equal(s.updates, ROWS);
        assert_int_equal(s.updates_today, ROWS - i);
        s = spent_at(NOW + DAY + i * 60 + 59);
        assert_int_equal(s.updates_today, ROWS - i);
    }
}

static void a_clock_set_back_frees_nothing(void **state)
{
    (void)state;
    static const int64_t wrong[] = {NOW, NOW - DAY, NOW - 10 * DAY, 0, -NOW};
    fill(ROWS);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct policy_spent s = spent_at(wrong[i]);
        assert_int_equal(s.updates, ROWS);
        assert_int_equal(s.updates_today, ROWS);
    }
}

static void a_clock_far_ahead_frees_nothing_that_is_for_ever(void **state)
{
    (void)state;
    struct ledger_row r = sample(1);
    fill(3);
    assert_int_equal(spent_at(NOW + 1000 * (int64_t)DAY).updates, 3);
    /* What left under the wrong clock still counts when it is right again. */
    r.time_s = NOW + 1000 * (int64_t)DAY;
    check_ok(ledger_debit(&db, &r));
    struct policy_spent s = spent_at(NOW + 3600);
    assert_int_equal(s.updates, 4);
    assert_int_equal(s.updates_today, 4);
    s = spent_at(NOW + 3 * (int64_t)DAY);
    assert_int_equal(s.updates_today, 1);
    assert_int_equal(first_bad(), 0);
}

/* ---- the store ----------------------------------------------------------- */

/* A process that dies right after the debit has left its row behind. */
static void a_debit_is_there_after_the_process_is_killed(void **state)
{
    (void)state;
    fill(2);
    db_close(&db);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        struct ledger_row r = sample(3);
        reopen();
        if (ledger_debit(&db, &r)) _exit(1);
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    check(waitpid(child, &status, 0) == child);
    check(WIFSIGNALED(status));
    reopen();
    assert_int_equal(spent_at(NOW).updates, 3);
    assert_int_equal(first_bad(), 0);
}

static void two_that_write_at_once_make_one_chain(void **state)
{
    (void)state;
    enum { WRITERS = 3, EACH = 8 };
    pid_t child[WRITERS];
    db_close(&db);
    for (int w = 0; w < WRITERS; w++) {
        child[w] = fork();
        check(child[w] >= 0);
        if (child[w] > 0) continue;
        reopen();
        for (int i = 0; i < EACH; i++) {
            struct ledger_row r = sample((uint32_t)(w * EACH + i));
            if (ledger_debit(&db, &r)) _exit(1);
        }
        db_close(&db);
        _exit(0);
    }
    for (int w = 0; w < WRITERS; w++) {
        int status = 1;
        check(waitpid(child[w], &status, 0) == child[w]);
        assert_int_equal(status, 0);
    }
    reopen();
    assert_int_equal(spent_at(NOW).updates, WRITERS * EACH);
    assert_int_equal(first_bad(), 0);
}

static void a_failed_debit_leaves_no_row(void **state)
{
    (void)state;
    struct ledger_row r = sample(3);
    fill(2);
    check_ok(db_exec(&db, "PRAGMA query_only = 1"));
    enum tacit_err err = ledger_debit(&db, &r);
    check(err != TACIT_OK);
    err_clear();
    check_ok(db_exec(&db, "PRAGMA query_only = 0"));
    assert_int_equal(spent_at(NOW).updates, 2);
    r.norm = NAN; /* no norm at all: SQLite holds no NaN */
    check_err(ledger_debit(&db, &r), TACIT_STATE);
    assert_int_equal(spent_at(NOW).updates, 2);
    r = sample(3);
    check_ok(ledger_debit(&db, &r));
    assert_int_equal(r.id, 3);
    assert_int_equal(first_bad(), 0);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        ROW(an_empty_ledger_is_whole),
        ROW(rows_come_back_as_they_were_written),
        ROW(the_hash_is_that_of_the_fields_in_their_order),
        ROW(a_change_of_any_field_is_found_and_named),
        ROW(a_removed_row_is_found_and_named),
        ROW(rows_in_another_order_are_found_and_named),
        ROW(a_row_that_was_put_in_is_found_and_named),
        ROW(rows_cut_off_at_the_end_change_the_last_hash),
        ROW(a_visit_that_fails_ends_the_walk),
        ROW(values_at_their_bounds_keep_the_chain_whole),
        ROW(the_budget_counts_ever_and_the_last_day),
        ROW(a_clock_set_back_frees_nothing),
        ROW(a_clock_far_ahead_frees_nothing_that_is_for_ever),
        ROW(a_debit_is_there_after_the_process_is_killed),
        ROW(two_that_write_at_once_make_one_chain),
        ROW(a_failed_debit_leaves_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
