/* aggregate: from the means of sums to the next version, and never a version
 * that is half made. */
#include "tests/check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "coordinator/aggregate.h"

enum { INPUTS = 3, WEIGHTS = INPUTS + 1 };

static struct plan plan;
static struct aggregate *a;
static float first[WEIGHTS]; /* of version 0 */

static void begin(const char *strategy)
{
    plan = (struct plan){.name = "risk",
                         .task = PLAN_CLASSIFY,
                         .model = "logistic",
                         .classes = 1,
                         .n_features = INPUTS,
                         .cohort_size = 4,
                         .min_reports = 3,
                         .over_select = 1,
                         .local_steps = 10,
                         .batch = 8,
                         .optimizer = "sgd",
                         .learning_rate = 0.1,
                         .ring_bits = 32,
                         .clip = 1,
                         .seed = 5,
                         .strategy = {.server_lr = 1,
                                      .momentum = 0.5,
                                      .bound = 1,
                                      .byzantine = 1,
                                      .iterations = 1}};
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "%s", strategy);
    check_ok(aggregate_new(&plan, &a));
    check(a->n == WEIGHTS);
    memcpy(first, a->file.flat, sizeof first);
}

static int teardown(void **unused)
{
    (void)unused;
    aggregate_free(a);
    a = NULL;
    return 0;
}

/* A mean whose every weight is `value`, of n devices that weigh w in all. */
static void take(float value, unsigned n, uint64_t w)
{
    float mean[2 * WEIGHTS];
    const struct ring_mean m = {.n_clients = n, .weight = w};
    for (int i = 0; i < 2 * WEIGHTS; i++) mean[i] = value;
    check_ok(aggregate_take(a, mean, &m, 0));
}

static enum tacit_err step(uint32_t round)
{
    const struct aggregate_step s = {.round = round, .n_population = 8};
    return aggregate_step(a, &s);
}

/* Every weight of p is version 0's plus this. */
static void check_moved(const struct params *p, double by)
{
    float want[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) want[i] = first[i] + (float)by;
    check_tensor(p->flat, want, WEIGHTS, 1e-6);
}

/* ---- sums ---------------------------------------------------------------- */

static void version_0_is_drawn_from_the_plans_seed(void **unused)
{
    (void)unused;
    begin("fedavg");
    model_init(a->model, 5);
    check_tensor(first, model_params(a->model)->flat, WEIGHTS, 0);
    check(a->state.n_flat == 0 && a->file.n_flat == WEIGHTS);
    check(ring_coords(&a->layout) == WEIGHTS + 2 + TASK_METRICS + RING_CHECKS);
}

static void one_sum_moves_the_model(void **unused)
{
    (void)unused;
    begin("fedavg");
    take(0.25f, 4, 400);
    check_ok(step(1));
    check_moved(&a->next, 0.25);
    check_moved(&a->file, 0); /* nothing is current before it is durable */
    check_moved(model_params(a->model), 0);
    aggregate_adopt(a);
    check_moved(&a->file, 0.25);
    check_moved(model_params(a->model), 0.25);
    check(a->n_taken == 0 && a->n_clients == 0 && !a->stepped);
    take(0.5f, 4, 400);
    check_ok(step(2));
    aggregate_adopt(a);
    check_moved(&a->file, 0.75);
}

static void several_sums_are_averaged_by_weight(void **unused)
{
    (void)unused;
    begin("fedavg");
    for (int i = 0; i < 20; i++) take(1, 2, 100); /* more than one block */
    take(-3, 2, 6000);
    check(a->n_taken == 21 && a->n_clients == 42);
    check_ok(step(1));
    check_moved(&a->next, (2000.0 - 18000) / 8000);
}

static void nothing_taken_is_no_step(void **unused)
{
    (void)unused;
    begin("fedavg");
    check_err(step(1), TACIT_STATE);
    take(1, 2, 100);
    aggregate_drop(a);
    check_err(step(1), TACIT_STATE);
    aggregate_adopt(a); /* nothing to adopt */
    check_moved(&a->file, 0);
}

static void scalars_are_weighted_means(void **unused)
{
    (void)unused;
    begin("fednova"); /* weights += scalar * mean */
    const float mean[WEIGHTS] = {0.5f, 0.5f, 0.5f, 0.5f};
    struct ring_mean m = {.n_clients = 2, .weight = 100};
    m.metrics[TASK_SCALARS] = 2;
    check_ok(aggregate_take(a, mean, &m, 0));
    m.weight = 300;
    m.metrics[TASK_SCALARS] = 6;
    check_ok(aggregate_take(a, mean, &m, 0));
    check_ok(step(1)); /* (100 * 2 + 300 * 6) / 400 = 5 */
    check_moved(&a->next, 5 * 0.5);
}

/* ---- what a strategy keeps ----------------------------------------------- */

static void state_moves_with_the_version_or_not_at_all(void **unused)
{
    (void)unused;
    begin("fedavgm"); /* momentum 0.5 */
    take(1, 4, 400);
    check_ok(step(1));
    check(a->state.flat[0] == 0 && a->state2.flat[0] == 1);
    /* The disk was full: the same round again, with other devices. */
    aggregate_drop(a);
    take(2, 4, 400);
    check_ok(step(1));
    check(a->state2.flat[0] == 2);
    aggregate_adopt(a);
    check(a->state.flat[0] == 2);
    check_moved(&a->file, 2);
    take(0, 4, 400);
    check_ok(step(2));
    aggregate_adopt(a);
    check(a->state.flat[0] == 1);
    check_moved(&a->file, 3);
}

static void the_control_variate_goes_down_with_the_model(void **unused)
{
    (void)unused;
    begin("scaffold");
    const struct param *down = params_find(&a->file, TASK_DOWN);
    check(down && down->offset == WEIGHTS && a->file.n_flat == 2 * WEIGHTS);
    check(a->layout.n_params == 2 * WEIGHTS);
    take(0.5f, 4, 400);
    check_ok(step(1));
    aggregate_adopt(a);
    check_moved(&a->file, 0.5);
    /* 4 of 8 members, sent times K_ref eta = 1 */
    for (int i = 0; i < WEIGHTS; i++)
        check_near(a->file.flat[WEIGHTS + i], 0.25, 1e-6);
}

static void members_that_left_do_not_make_a_share_of_more_than_all(
    void **unused)
{
    (void)unused;
    begin("scaffold");
    take(0.5f, 4, 400);
    const struct aggregate_step s = {.round = 1, .n_population = 0};
    check_ok(aggregate_step(a, &s));
    check_near(a->next.flat[WEIGHTS], 0.5, 1e-6);
}

static void centred_clipping_starts_from_the_last_mean(void **unused)
{
    (void)unused;
    begin("cclip"); /* bound 1, one iteration */
    for (int i = 0; i < 3; i++) take(10, 2, 100);
    check_ok(step(1)); /* from 0 by 1 along (1, 1, 1, 1) */
    aggregate_adopt(a);
    check_moved(&a->file, 0.5);
    for (int i = 0; i < 3; i++) take(10, 2, 100);
    check_ok(step(2)); /* from 0.5 by 1 */
    aggregate_adopt(a);
    check_moved(&a->file, 0.5 + 1);
}

/* ---- groups -------------------------------------------------------------- */

static void a_robust_rule_runs_across_groups(void **unused)
{
    (void)unused;
    begin("median");
    take(1, 4, 400);
    take(2, 4, 400);
    take(1000, 4, 400000);
    check_ok(step(1));
    check_moved(&a->next, 2);
}

static void too_few_groups_keep_the_version(void **unused)
{
    (void)unused;
    begin("krum");
    for (int i = 0; i < 4; i++) take(1, 4, 400);
    enum tacit_err err = step(1);
    check(strstr(err_message(), "2f + 3 = 5") != NULL);
    check_code(err, E_STRATEGY_FEW);
    aggregate_adopt(a); /* has no effect after a step that failed */
    check_moved(&a->file, 0);
    aggregate_drop(a);
    for (int i = 0; i < 5; i++) take(1, 4, 400);
    check_ok(step(1));
    check_moved(&a->next, 1);
}

static void the_trusted_sum_is_the_root_and_nothing_else(void **unused)
{
    (void)unused;
    begin("fltrust");
    const float root[WEIGHTS] = {1, 1, 1, 1}, other[WEIGHTS] = {2, 2, 2, 2};
    const struct ring_mean m = {.n_clients = 2, .weight = 100};
    take(-5, 2, 100); /* against the root */
    check_code(step(1), E_STRATEGY_FEW);
    check_ok(aggregate_take(a, other, &m, 1));
    check_ok(aggregate_take(a, root, &m, 1)); /* the last one counts */
    check(a->n_taken == 1 && a->n_clients == 6);
    take(7, 2, 100); /* of the root's direction: brought to its length */
    check_ok(step(1));
    check_moved(&a->next, 1);
    /* To another strategy it is a sum like any. */
    teardown(NULL);
    begin("fedavg");
    check_ok(aggregate_take(a, other, &m, 1));
    check(a->n_taken == 1 && a->root == NULL);
}

/* ---- what is no number --------------------------------------------------- */

static void an_update_that_is_no_number_is_left_out_and_counted(void **unused)
{
    (void)unused;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const char *const kinds[] = {"fedavg",    "median", "trimmed",
                                        "krum",      "bulyan", "geomedian",
                                        "normbound", "cclip",  "multikrum"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        begin(kinds[k]);
        for (int i = 0; i < 7; i++) {
            take(0.125f, 1, 100);
            if (i < 3) take(bad[i], 1, 100);
        }
        check(a->n_refused == 3 && a->n_taken == 7 && a->n_clients == 7);
        check_ok(step(1));
        check_moved(&a->next, 0.125);
        aggregate_adopt(a);
        check(a->n_refused == 0);
        teardown(NULL);
    }
}

static void one_bad_weight_or_factor_is_enough(void **unused)
{
    (void)unused;
    begin("fednova");
    float mean[WEIGHTS] = {0, 0, 0, NAN};
    struct ring_mean m = {.n_clients = 2, .weight = 100};
    check_ok(aggregate_take(a, mean, &m, 0));
    check(a->n_refused == 1);
    mean[WEIGHTS - 1] = 0;
    m.metrics[TASK_SCALARS] = NAN;
    check_ok(aggregate_take(a, mean, &m, 0));
    check(a->n_refused == 2 && a->n_taken == 0);
    m.metrics[TASK_SCALARS] = 1;
    check_ok(aggregate_take(a, mean, &m, 0));
    check(a->n_refused == 2 && a->n_taken == 1);
}

static void when_none_is_a_number_the_model_stays(void **unused)
{
    (void)unused;
    begin("fedavg");
    take(NAN, 1, 100);
    take(INFINITY, 1, 100);
    enum tacit_err err = step(9);
    assert_string_equal(err_message(), "round 9: none of 2 updates is a "
                                       "number; the model stays as it was");
    check_code(err, E_LOSS_NAN);
    check_moved(&a->file, 0);
}

static void a_step_that_overflows_keeps_the_version(void **unused)
{
    (void)unused;
    begin("fedavgm");
    take(0.5f, 4, 400);
    check_ok(step(1));
    aggregate_adopt(a);
    take(FLT_MAX, 4, 400);
    check_ok(step(2)); /* still a float */
    aggregate_drop(a);
    a->numbers.server_lr = 100;
    take(FLT_MAX, 4, 400);
    enum tacit_err err = step(2);
    check(strstr(err_message(), "round 2: weight 0 would not be a number"));
    check_code(err, E_LOSS_NAN);
    aggregate_adopt(a);
    check_moved(&a->file, 0.5);
    check(a->state.flat[0] == 0.5f);
    /* The next round goes on from there. */
    aggregate_drop(a);
    a->numbers.server_lr = 1;
    take(0.25f, 4, 400);
    check_ok(step(2));
    check_moved(&a->next, 0.5 + 0.25 + 0.25);
}

/* ---- models that do not fit ---------------------------------------------- */

static void a_strategy_that_does_not_fit_the_plan_is_refused(void **unused)
{
    (void)unused;
    begin("fedavg");
    teardown(NULL);
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "scaffold");
    snprintf(plan.optimizer, sizeof plan.optimizer, "adam");
    check_code(aggregate_new(&plan, &a), E_PLAN_VALUE);
    check(a == NULL);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
        T(version_0_is_drawn_from_the_plans_seed),
        T(one_sum_moves_the_model),
        T(several_sums_are_averaged_by_weight),
        T(nothing_taken_is_no_step),
        T(scalars_are_weighted_means),
        T(state_moves_with_the_version_or_not_at_all),
        T(the_control_variate_goes_down_with_the_model),
        T(members_that_left_do_not_make_a_share_of_more_than_all),
        T(centred_clipping_starts_from_the_last_mean),
        T(a_robust_rule_runs_across_groups),
        T(too_few_groups_keep_the_version),
        T(the_trusted_sum_is_the_root_and_nothing_else),
        T(an_update_that_is_no_number_is_left_out_and_counted),
        T(one_bad_weight_or_factor_is_enough),
        T(when_none_is_a_number_the_model_stays),
        T(a_step_that_overflows_keeps_the_version),
        T(a_strategy_that_does_not_fit_the_plan_is_refused),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
