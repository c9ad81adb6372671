/* jobs: rounds in groups, buffers at once, and what a restart leaves. */
#include "tests/coordinator/members.h"

#include <math.h>

#include "common/base/log.h"

enum { WEIGHTS = 4 };

#define PLAN(cohort, rounds, strategy)                                         \
 "name: heart\n"                                                               \
 "task: classify\n"                                                            \
 "model: {kind: logistic}\n"                                                   \
 "data:\n"                                                                     \
 "  source: patients\n"                                                        \
 "  label: sick\n"                                                             \
 "  columns: [{name: a}, {name: b}, {name: c}]\n"                              \
 "  standardise: none\n"                                                       \
 "rounds: " rounds "\n"                                                        \
 "cohort: " cohort "\n"                                                        \
 "clip: 3\n"                                                                   \
 "deadline: {stage: 10s, train: 60s}\n"                                        \
 "seed: 7\n"                                                                   \
 "strategy: " strategy "\n"

static struct members w;
static unsigned bad_group; /* 1 …; 0: none */
static uint32_t bad_round; /* 0: every round */

static int teardown(void **state)
{
    (void)state;
    members_end(&w);
    bad_group = 0;
    bad_round = 0;
    return 0;
}

static int is_bad(const struct store_round *row)
{
    return row->group == bad_group && bad_group &&
           (!bad_round || (row->round == bad_round && row->attempt == 0));
}

/* Half of the way to (1, 2, 3, 4). */
static void honest(struct members *x, struct device *d,
                   const struct store_round *row, const float *weights,
                   size_t n)
{
    (void)x;
    (void)row;
    check(n == WEIGHTS);
    for (size_t i = 0; i < n; i++)
        d->up[i] = 0.5f * ((float)(i + 1) - weights[i]);
}

static void poisoned(struct members *x, struct device *d,
                     const struct store_round *row, const float *weights,
                     size_t n)
{
    honest(x, d, row, weights, n);
    for (size_t i = 0; is_bad(row) && i < n; i++) d->up[i] *= -9;
}

static void dying(struct members *x, struct device *d,
                  const struct store_round *row, const float *weights, size_t n)
{
    honest(x, d, row, weights, n);
    d->dead = is_bad(row);
}

static const struct store_round *row_of(uint32_t round, uint32_t attempt,
                                        unsigned group)
{
    for (unsigned i = 0; i < w.n_rows; i++)
        if (w.rows[i].round == round && w.rows[i].attempt == attempt &&
            w.rows[i].group == group)
            return &w.rows[i];
    fail_msg("no row of round %u, attempt %u, group %u", round, attempt, group);
    return NULL;
}

/* Submit the only plan and note where its model starts. */
static float start[WEIGHTS];

static void submit(const char *plan)
{
    members_submit(&w, plan);
    members_model(&w, start, WEIGHTS);
}

/* The newest model after n steps of the honest. */
static void check_model(uint32_t version, uint32_t n_clients, int n)
{
    float got[WEIGHTS];
    struct models_version v = members_model(&w, got, WEIGHTS);
    check(v.version == version && v.n_clients == n_clients);
    for (int i = 0; i < WEIGHTS; i++) {
        double goal = i + 1.0;
        check_near(got[i], goal - (goal - (double)start[i]) * ldexp(1, -n),
                   1e-4);
    }
}

/* ---- groups ------------------------------------------------------------- */

static void follows_the_honest(const char *plan, unsigned n)
{
    members_begin(&w, n);
    w.train = poisoned;
    bad_group = 2;
    submit(plan);
    members_run(&w, members_all_done);
    check_model(6, n, 6);
}

static void a_poisoned_group_does_not_move_the_median(void **unused)
{
    (void)unused;
    follows_the_honest(PLAN("{size: 9, min_reports: 3, over_select: 1}", "6",
                            "{kind: median, groups: 3}"),
                       9);
    check(members_rows(&w, "committed") == 18 && w.n_rows == 18);
    for (uint32_t round = 1; round <= 6; round++)
        for (unsigned g = 1; g <= 3; g++) {
            const struct store_round *r = row_of(round, 0, g);
            check(r->n_inputs == 3 && r->n_invited == 3);
            check(r->base == round - 1 && r->weight > 0);
            check_near(r->metrics[0], 0.7, 1e-4);
        }
    /* One seat in a round for each device. */
    for (int i = 0; i < 9; i++) check(w.d[i].n_debits == 6);
}

static void a_poisoned_group_is_not_chosen_by_krum(void **unused)
{
    (void)unused;
    follows_the_honest(PLAN("{size: 10, min_reports: 2, over_select: 1}", "6",
                            "{kind: krum, groups: 5, byzantine: 1}"),
                       10);
}

static void a_group_that_dies_does_not_stop_the_round(void **unused)
{
    (void)unused;
    members_begin(&w, 9);
    w.train = dying;
    bad_group = 3;
    bad_round = 1;
    submit(PLAN("{size: 9, min_reports: 3, over_select: 1}", "1",
                "{kind: median, groups: 3}"));
    members_run(&w, members_all_done);
    check(members_rows(&w, "committed") == 2 && w.n_rows == 3);
    const struct store_round *lost = row_of(1, 0, 3);
    assert_string_equal(lost->state, "aborted");
    check(lost->code == E_ROUND_TOO_FEW && lost->n_inputs == 0);
    check(lost->ended < row_of(1, 0, 1)->ended);
    check_model(1, 6, 1);
    unsigned n_dead = 0;
    for (int i = 0; i < 9; i++) {
        const struct device *d = &w.d[i];
        n_dead += d->dead != 0;
        /* The others were held, told to wait, and then told the end. */
        check(d->dead || (d->n_waits >= 5 && d->n_lost == 0));
    }
    check(n_dead == 3);
}

static void below_half_of_the_groups_the_round_is_tried_again(void **unused)
{
    (void)unused;
    members_begin(&w, 10);
    w.train = dying;
    bad_group = 1;
    bad_round = 1;
    submit(PLAN("{size: 6, min_reports: 3, over_select: 1}", "2",
                "{kind: geomedian, groups: 2}"));
    members_run(&w, members_all_done);
    check(members_rows(&w, "aborted") == 2 && w.n_rows == 6);
    check(row_of(1, 0, 1)->code == E_ROUND_TOO_FEW);
    check(row_of(1, 0, 2)->code == E_ROUND_TOO_FEW);
    assert_string_equal(row_of(1, 0, 2)->reason,
                        "1 of 2 groups are left; 2 are needed");
    assert_string_equal(row_of(1, 1, 1)->state, "committed");
    assert_string_equal(row_of(2, 0, 2)->state, "committed");
}

static void two_die(struct members *x, struct device *d,
                    const struct store_round *row, const float *weights,
                    size_t n)
{
    honest(x, d, row, weights, n);
    d->dead = row->group > 3 && row->attempt == 0;
}

static int all_five_have_ended(struct members *x)
{
    return members_rows(x, "aborted") == 5;
}

static void fewer_groups_than_the_rule_wants_are_no_step(void **unused)
{
    (void)unused;
    members_begin(&w, 10);
    w.train = two_die;
    submit(PLAN("{size: 10, min_reports: 2, over_select: 1}", "1",
                "{kind: krum, groups: 5, byzantine: 1}"));
    members_run(&w, all_five_have_ended);
    check(row_of(1, 0, 4)->code == E_ROUND_TOO_FEW);
    check(row_of(1, 0, 1)->code == E_STRATEGY_FEW);
    check_model(0, 0, 0);
    for (unsigned i = 0; i < w.n; i++)
        if (w.d[i].dead) members_wake(&w, &w.d[i]);
    members_run(&w, members_all_done);
    check(members_rows(&w, "committed") == 5 && w.n_rows == 10);
    check(row_of(1, 1, 5)->n_inputs == 2);
    check_model(1, 10, 1);
}

static void a_round_of_groups_is_told_by_any_of_its_sessions(void **unused)
{
    (void)unused;
    struct message m;
    members_begin(&w, 9);
    w.train = honest;
    submit(PLAN("{size: 9, min_reports: 3, over_select: 1}", "2",
                "{kind: trimmed, groups: 3, trim: 0.4}"));
    members_run(&w, members_all_done);
    check(members_rows(&w, "committed") == 6);
    for (unsigned i = 0; i < w.n_rows; i++) {
        const struct store_round *r = &w.rows[i];
        uint8_t statement[MSG_STATEMENT_BYTES];
        requests_over(&w.store, r->session, &m);
        const struct msg_over *o = &m.u.over;
        check(m.type == MSG_OVER && o->outcome == OUTCOME_COMMITTED);
        check(o->model_version == r->round && o->n_clients == 9);
        check(memcmp(o->session, r->session, 32) == 0);
        check(digest_equal(&o->model_hash, &r->model_hash));
        msg_over_statement(o, statement);
        check_ok(keys_verify(w.keys.sign_public, "tacit model v1", statement,
                             sizeof statement, o->signature));
    }
    check(digest_equal(&row_of(2, 0, 2)->parent_hash,
                       &row_of(1, 0, 1)->model_hash));
}

/* ---- a trusted group ---------------------------------------------------- */

static void seats_of_the_trusted(struct members *x, struct device *d,
                                 const struct store_round *row,
                                 const float *weights, size_t n)
{
    check((row->group == 1) == (d - x->d < 3));
    poisoned(x, d, row, weights, n);
}

static void the_first_that_enrolled_are_the_trusted_group(void **unused)
{
    (void)unused;
    members_begin(&w, 9);
    w.train = seats_of_the_trusted;
    bad_group = 3;
    w.d[1].dead = 1;
    submit(PLAN("{size: 9, min_reports: 3, over_select: 1}", "3",
                "{kind: fltrust, groups: 3, trusted: 3}"));
    for (int i = 0; i < 2000; i++)
        if (!members_turn(&w)) w.now_ms += MEMBERS_TURN_MS;
    check(members_rows(&w, "running") == 0 && w.n_rows == 0); /* it waits */
    members_wake(&w, &w.d[1]);
    members_run(&w, members_all_done);
    check_model(3, 9, 3);
}

/* ---- buffers ------------------------------------------------------------ */

/* An eighth each; the second buffer takes 25 s, the first one 10. */
static void eighths(struct members *x, struct device *d,
                    const struct store_round *row, const float *weights,
                    size_t n)
{
    (void)weights;
    for (size_t i = 0; i < n; i++) d->up[i] = 0.125f;
    d->busy_until_ms = x->now_ms + (row->group == 2 ? 25000 : 10000);
}

static unsigned most_running;

static int all_done_and_counted(struct members *x)
{
    unsigned n = members_rows(x, "running");
    if (n > most_running) most_running = n;
    return members_all_done(x);
}

#define BUFFERS                                                                \
 PLAN("{size: 3, min_reports: 3, over_select: 1}", "9",                        \
      "{kind: fedbuff, concurrent: 2}")

/* Versions in one chain, each with the staleness that its row shows. */
static void check_buffers(void)
{
    double want = 0;
    float got[WEIGHTS];
    unsigned n_stale = 0, n_slow = 0;
    int64_t ended = 0;
    struct models_version v = members_model(&w, got, WEIGHTS);
    check(members_rows(&w, "committed") == 9 && v.version == 9);
    check(members_rows(&w, "running") == 0);
    for (uint32_t round = 1; round <= 9; round++) {
        const struct store_round *r = NULL;
        for (unsigned i = 0; i < w.n_rows; i++)
            if (w.rows[i].round == round && w.rows[i].code == 0) {
                check(r == NULL); /* one row made this version */
                r = &w.rows[i];
            }
        check(r && r->base < round && r->n_inputs == 3);
        check(r->ended > ended);
        ended = r->ended;
        unsigned staleness = round - 1 - r->base;
        n_stale += staleness > 0;
        n_slow += r->group == 2;
        want += 0.125 / sqrt(1.0 + staleness);
    }
    check(n_stale > 0 && n_slow > 0);
    for (int i = 0; i < WEIGHTS; i++)
        check_near(got[i], (double)start[i] + want, 1e-4);
}

static void two_buffers_run_at_once_and_count_their_staleness(void **unused)
{
    (void)unused;
    members_begin(&w, 6);
    w.train = eighths;
    most_running = 0;
    submit(BUFFERS);
    members_run(&w, all_done_and_counted);
    check(most_running == 2);
    check_buffers();
    check(members_rows(&w, "aborted") == 0);
    unsigned n_inputs = 0;
    for (int i = 0; i < 6; i++) n_inputs += w.d[i].n_debits;
    check(n_inputs == 27); /* nobody trained for a version too many */
}

/* ---- restarts ----------------------------------------------------------- */

static int three_versions_and_two_run(struct members *x)
{
    return members_rows(x, "running") == 2 && members_rows(x, "committed") == 3;
}

static void buffers_go_on_after_a_kill(void **unused)
{
    (void)unused;
    members_begin(&w, 6);
    w.train = eighths;
    submit(BUFFERS);
    members_run(&w, three_versions_and_two_run);
    members_kill(&w);
    members_start(&w);
    check(members_rows(&w, "aborted") == 2);
    members_run(&w, members_all_done);
    check_buffers();
    check(members_rows(&w, "aborted") == 2);
    unsigned n_lost = 0;
    for (int i = 0; i < 6; i++) {
        n_lost += w.d[i].n_lost;
        check(w.d[i].n_lost == 0 || w.d[i].lost_code == E_ROUND_RESTARTED);
    }
    check(n_lost > 0);
}

static int some_wait_for_a_group(struct members *x)
{
    unsigned n = 0;
    for (unsigned i = 0; i < x->n; i++) n += x->d[i].n_waits > 0;
    return n == 6;
}

static void groups_go_on_after_a_kill(void **unused)
{
    (void)unused;
    members_begin(&w, 9);
    w.train = dying;
    bad_group = 2;
    bad_round = 1;
    submit(PLAN("{size: 9, min_reports: 3, over_select: 1}", "2",
                "{kind: median, groups: 3}"));
    members_run(&w, some_wait_for_a_group); /* two have revealed */
    check(members_rows(&w, "running") == 3);
    members_kill(&w);
    members_start(&w);
    for (unsigned i = 0; i < w.n; i++)
        if (w.d[i].dead) members_wake(&w, &w.d[i]);
    members_run(&w, members_all_done);
    check(members_rows(&w, "aborted") == 3);
    check(members_rows(&w, "committed") == 6 && w.n_rows == 9);
    for (unsigned g = 1; g <= 3; g++) {
        check(row_of(1, 0, g)->code == E_ROUND_RESTARTED);
        assert_string_equal(row_of(1, 1, g)->state, "committed");
    }
    check_model(2, 9, 2);
}

/* ---- the queue ---------------------------------------------------------- */

static void plans_run_one_after_the_other(void **unused)
{
    (void)unused;
    members_begin(&w, 6);
    w.train = honest;
    submit(PLAN("{size: 6, min_reports: 3, over_select: 1}", "2",
                "{kind: fedavg}"));
    submit(PLAN("{size: 6, min_reports: 3, over_select: 1}", "2",
                "{kind: median, groups: 2}"));
    submit(PLAN("{size: 3, min_reports: 3, over_select: 1}", "2",
                "{kind: fedbuff, concurrent: 2}"));
    members_run(&w, members_all_done);
    check(members_rows(&w, "committed") == 8 && w.n_rows == 8);
    static const unsigned groups[] = {0, 0, 1, 2, 1, 2};
    for (int i = 0; i < 6; i++) check(w.rows[i].group == groups[i]);
    for (int i = 0; i < 6; i++) check(w.d[i].n_lost == 0);
}

static void a_stop_is_told_in_every_group(void **unused)
{
    (void)unused;
    members_begin(&w, 9);
    w.train = dying;
    bad_group = 2;
    submit(PLAN("{size: 9, min_reports: 3, over_select: 1}", "2",
                "{kind: median, groups: 3}"));
    members_run(&w, some_wait_for_a_group);
    jobs_stop(w.jobs, w.now_ms);
    check(members_rows(&w, "aborted") == 3);
    for (unsigned i = 0; i < w.n_rows; i++)
        check(w.rows[i].code == E_COORDINATOR_STOPPING);
}

int main(void)
{
    rng_setup();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
        T(a_poisoned_group_does_not_move_the_median),
        T(a_poisoned_group_is_not_chosen_by_krum),
        T(a_group_that_dies_does_not_stop_the_round),
        T(below_half_of_the_groups_the_round_is_tried_again),
        T(fewer_groups_than_the_rule_wants_are_no_step),
        T(a_round_of_groups_is_told_by_any_of_its_sessions),
        T(the_first_that_enrolled_are_the_trusted_group),
        T(two_buffers_run_at_once_and_count_their_staleness),
        T(buffers_go_on_after_a_kill),
        T(groups_go_on_after_a_kill),
        T(plans_run_one_after_the_other),
        T(a_stop_is_told_in_every_group),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
