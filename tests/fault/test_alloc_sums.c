/* Out of memory in the coordinator while rounds in groups, or buffers, are
 * under way: what is lost is tried again, and the model comes out as if nothing
 * had been. */
#include "tests/coordinator/members.h"

#include <math.h>

#include "common/base/log.h"
#include "tests/fault/failing.h"

enum {
    WEIGHTS = 4,
    DEVICES = 4,
    ROUNDS = 2,
    SAMPLES = 30,
    HOURS_MS = 4 * 3600 * 1000
};

#define PLAN(strategy)                                                         \
 "name: heart\n"                                                               \
 "task: classify\n"                                                            \
 "model: {kind: logistic}\n"                                                   \
 "data:\n"                                                                     \
 "  source: patients\n"                                                        \
 "  label: sick\n"                                                             \
 "  columns: [{name: a}, {name: b}, {name: c}]\n"                              \
 "  standardise: none\n"                                                       \
 "rounds: 2\n"                                                                 \
 "cohort: {size: 4, min_reports: 2, over_select: 1}\n"                         \
 "clip: 3\n"                                                                   \
 "deadline: {stage: 10s, train: 60s}\n"                                        \
 "seed: 7\n"                                                                   \
 "strategy: " strategy "\n"

static struct members w;
static enum failing_mode mode;
static long at;   /* the request that fails */
static int begun; /* it was armed */
static int done;  /* no more of it: memory is there again */
static float start[WEIGHTS];

static void enter(void)
{
    if (done) return;
    if (begun)
        failing_go(1);
    else
        failing_arm(at, mode);
    begun = 1;
}

/* Memory that is gone is back for the next call. */
static void leave(void)
{
    failing_hold();
    done |= memory.result.fired;
    err_clear();
}

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

/* 20 tries of a round take minutes: after hours, none goes on. */
static int finished(struct members *x)
{
    if (x->now_ms > HOURS_MS)
        fail_msg("request %ld fails (%s): the plan never ends", at,
                 mode == FAIL_ONCE ? "once" : "with all that follow");
    return members_all_done(x);
}

/* A whole plan; the requests that there were. */
static struct failing_result run(const char *plan, long n, enum failing_mode m)
{
    float got[WEIGHTS];
    at = n;
    mode = m;
    begun = done = 0;
    members_begin(&w, DEVICES);
    w.train = honest;
    w.may_err = 1;
    members_submit(&w, plan);
    members_model(&w, start, WEIGHTS);
    w.enter = enter;
    w.leave = leave;
    w.hold = failing_hold;
    w.go = failing_go;
    members_run(&w, finished);
    struct failing_result r = failing_disarm();
    struct models_version v = members_model(&w, got, WEIGHTS);
    check(members_rows(&w, "committed") >= ROUNDS);
    if (v.version != ROUNDS) fail_msg("request %ld: version %u", n, v.version);
    for (int i = 0; i < WEIGHTS; i++) {
        double goal = i + 1.0, left = ldexp(goal - (double)start[i], -ROUNDS);
        check_near(got[i], goal - left, 1e-3);
    }
    members_end(&w);
    return r;
}

/* Some of all requests, evenly, so that no kind of them is left out. */
static void survives(const char *plan)
{
    static const enum failing_mode modes[] = {FAIL_ONCE, FAIL_FROM_HERE};
    long all = run(plan, 1L << 40, FAIL_ONCE).requests;
    long step = all / SAMPLES + 1;
    unsigned n_fired = 0;
    for (size_t m = 0; m < 2; m++)
        for (long n = 1 + (long)m; n <= all; n += step)
            n_fired += (unsigned)run(plan, n, modes[m]).fired;
    print_message("%ld requests, %u of them failed\n", all, n_fired);
    check(all > 100 && n_fired > SAMPLES);
}

static void rounds_in_groups_outlive_it(void **state)
{
    (void)state;
    survives(PLAN("{kind: median, groups: 2}"));
}

static void a_round_of_one_sum_outlives_it(void **state)
{
    (void)state;
    survives(PLAN("{kind: fedavg}"));
}

int main(void)
{
    rng_setup();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_in_groups_outlive_it),
        cmocka_unit_test(a_round_of_one_sum_outlives_it),
    };
#ifdef __SANITIZE_THREAD__
    puts("memory cannot be made to run out under TSan");
    return 77;
#endif
    return cmocka_run_group_tests(tests, failing_begin, NULL);
}
