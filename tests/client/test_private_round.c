/* private_round: what leaves is the clipped sum written out and its noise, no
 * row counts for more than the unit, and nothing else is told. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/private_round.h"
#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/privacy/dgauss.h"
#include "common/privacy/ring.h"

enum { ROWS = 60, INPUTS = 5, WEIGHTS = INPUTS + 1 };

static float x[ROWS * INPUTS], y[ROWS];
static struct plan plan;
static struct model *model;
static struct task_privacy privacy;
static const struct strategy *strategy;
static struct strategy_config numbers;
static const uint8_t key[32] = {8, 1, 3};

static int begin(void **state)
{
    struct rng r;
    struct model_spec spec;
    struct ring_layout l;
    (void)state;
    rng_init(&r, 3, 0, 0);
    for (int i = 0; i < ROWS * INPUTS; i++)
        x[i] = rng_normal(&r) * (i % 7 ? 1.0f : 100.0f);
    for (int i = 0; i < ROWS; i++) y[i] = (float)(i % 2);
    plan = (struct plan){.name = "heart",
                         .task = PLAN_CLASSIFY,
                         .model = "logistic",
                         .n_features = INPUTS,
                         .batch = 8,
                         .rounds = 10,
                         .cohort_size = 4,
                         .min_reports = 3,
                         .over_select = 1,
                         .ring_bits = 32,
                         .clip = 1,
                         .privacy = {.record = 1,
                                     .epsilon = 8,
                                     .delta = 1e-5,
                                     .clip = 1,
                                     .sample = 1,
                                     .colluders = 1}};
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "fedavg");
    snprintf(plan.optimizer, sizeof plan.optimizer, "sgd");
    task_spec(&plan, &spec);
    check_ok(model_new(&spec, &model));
    model_init(model, 1);
    check_ok(task_strategy(&plan, model_params(model), &strategy, &numbers));
    task_layout(&plan, strategy, WEIGHTS, &l);
    check_ok(task_privacy(&plan, &l, &privacy));
    return 0;
}

static int end(void **state)
{
    (void)state;
    model_free(model);
    return 0;
}

static void round_of(const uint8_t secret[32], size_t n_rows,
                     int32_t out[WEIGHTS], struct trained *t)
{
    const struct dataset d = {
        .train = {.n_rows = n_rows, .x_dim = INPUTS, .x = x, .y = y}};
    const struct trainer_task task = {.plan = &plan,
                                      .strategy = strategy,
                                      .numbers = &numbers,
                                      .round = 1,
                                      .work = 1,
                                      .privacy = &privacy,
                                      .secret = secret};
    check_ok(trained_new(strategy, WEIGHTS, t));
    check_ok(trainer_run(&task, model, &d, t));
    memcpy(out, t->whole, WEIGHTS * sizeof *out);
    trained_release(t, strategy, WEIGHTS);
}

static void the_update_is_the_clipped_sum_and_its_noise(void **state)
{
    (void)state;
    const struct examples ex = {.n_rows = ROWS,
                                .x_dim = INPUTS,
                                .x = x,
                                .y = y};
    int32_t got[WEIGHTS], noise[WEIGHTS], scratch[WEIGHTS];
    int64_t sum[WEIGHTS] = {0};
    struct trained t;
    struct rng r;
    unsigned clipped = 0;
    round_of(key, ROWS, got, &t);
    rng_keyed(&r, key);
    dgauss_draw(&r, privacy.bounds.variance, noise, WEIGHTS);
    for (uint32_t i = 0; i < ROWS; i++) {
        float g[WEIGHTS], loss;
        check_ok(model_gradient(model, &ex, &i, 1, g, &loss));
        clipped +=
            rowsum_add(&privacy.bounds, g, WEIGHTS, scratch, sum) > plan.clip;
    }
    check(clipped > 10 && clipped < ROWS);
    for (int k = 0; k < WEIGHTS; k++)
        assert_int_equal(got[k], noise[k] - sum[k]);
}

static void one_row_moves_it_by_at_most_the_unit(void **state)
{
    (void)state;
    struct trained t;
    unsigned moved = 0;
    for (size_t n = 1; n < ROWS; n++) {
        int32_t with[WEIGHTS], without[WEIGHTS];
        double sum = 0;
        round_of(key, n + 1, with, &t);
        round_of(key, n, without, &t);
        for (int k = 0; k < WEIGHTS; k++) {
            double d = (double)with[k] - (double)without[k];
            sum += d * d;
        }
        check(sqrt(sum) <= privacy.bounds.unit);
        moved += sum > 0;
    }
    check(moved > ROWS / 2);
}

/* Losses and counts are of rows, and have no noise. */
static void nothing_but_the_noisy_sum_depends_on_the_rows(void **state)
{
    (void)state;
    for (size_t n = 1; n < ROWS; n += 13) {
        struct trained t;
        const struct dataset d = {
            .train = {.n_rows = n, .x_dim = INPUTS, .x = x, .y = y},
            .test = {.n_rows = n, .x_dim = INPUTS, .x = x, .y = y}};
        const struct trainer_task task = {.plan = &plan,
                                          .strategy = strategy,
                                          .numbers = &numbers,
                                          .work = 1,
                                          .privacy = &privacy,
                                          .secret = key};
        check_ok(trained_new(strategy, WEIGHTS, &t));
        check_ok(trainer_run(&task, model, &d, &t));
        for (int i = 0; i < TASK_METRICS; i++) check_near(t.metrics[i], 0, 0);
        assert_int_equal(t.weight, RING_WEIGHT_MAX);
        for (int i = 0; i < WEIGHTS; i++) check_near(t.up[i], 0, 0);
        trained_release(&t, strategy, WEIGHTS);
    }
}

static void the_noise_has_the_variance_that_was_worked_out(void **state)
{
    (void)state;
    enum { TIMES = 2000 };
    static int32_t out[TIMES][WEIGHTS];
    struct trained t;
    double mean[WEIGHTS] = {0}, var = 0;
    for (int i = 0; i < TIMES; i++) {
        uint8_t secret[32] = {(uint8_t)i, (uint8_t)(i >> 8), 7};
        round_of(secret, ROWS, out[i], &t);
        for (int k = 0; k < WEIGHTS; k++) mean[k] += out[i][k];
    }
    for (int k = 0; k < WEIGHTS; k++) mean[k] /= TIMES;
    for (int i = 0; i < TIMES; i++)
        for (int k = 0; k < WEIGHTS; k++)
            var +=
                ((double)out[i][k] - mean[k]) * ((double)out[i][k] - mean[k]);
    var /= (double)TIMES * WEIGHTS;
    double want = (double)privacy.bounds.variance;
    check(fabs(var / want - 1) < 5 * sqrt(2.0 / TIMES / WEIGHTS));
}

/* A secret of its own for every update: else two of them differ by the rows
 * alone. */
static void another_secret_is_another_sample(void **state)
{
    (void)state;
    enum { TIMES = 400 };
    struct trained t;
    double taken = 0;
    plan.privacy.sample = 0.25;
    for (int i = 0; i < TIMES; i++) {
        uint8_t secret[32] = {(uint8_t)i, (uint8_t)(i >> 8), 9};
        int32_t with[WEIGHTS], none[WEIGHTS];
        struct rng r;
        round_of(secret, 1, with, &t);
        rng_keyed(&r, secret);
        dgauss_draw(&r, privacy.bounds.variance, none, WEIGHTS);
        taken += memcmp(with, none, sizeof none) != 0;
    }
    plan.privacy.sample = 1;
    check(fabs(taken / TIMES - 0.25) < 4 * sqrt(0.25 * 0.75 / TIMES));
}

/* A device that left the round for a row would tell of it. */
static void a_row_without_a_gradient_counts_as_zeros(void **state)
{
    (void)state;
    const uint8_t other[32] = {4};
    int32_t without[WEIGHTS], with[WEIGHTS], noise[WEIGHTS];
    struct trained t;
    struct rng r;
    float kept = y[9], cell = x[8 * INPUTS];
    round_of(other, 8, without, &t);
    y[9] = NAN;
    x[8 * INPUTS] = INFINITY;
    round_of(other, 10, with, &t);
    y[9] = kept;
    x[8 * INPUTS] = cell;
    check(memcmp(without, with, sizeof with) == 0);
    /* … and so is a site without any row: its part is noise. */
    round_of(other, 0, with, &t);
    rng_keyed(&r, other);
    dgauss_draw(&r, privacy.bounds.variance, noise, WEIGHTS);
    check(memcmp(noise, with, sizeof with) == 0);
    /* Several classes: the label is refused before there is a gradient. */
    struct model_spec spec = {.kind = "softmax",
                              .task = MODEL_CLASSIFY,
                              .n_inputs = INPUTS,
                              .classes = 3};
    const struct examples ex = {.n_rows = 1,
                                .x_dim = INPUTS,
                                .x = x,
                                .y = (float[]){NAN}};
    const struct dataset d = {.train = ex};
    struct model *many = NULL;
    check_ok(model_new(&spec, &many));
    const struct trainer_task task = {.plan = &plan,
                                      .strategy = strategy,
                                      .numbers = &numbers,
                                      .work = 1,
                                      .privacy = &privacy,
                                      .secret = other};
    check_ok(trained_new(strategy, model_params(many)->n_flat, &t));
    check_ok(trainer_run(&task, many, &d, &t));
    assert_int_equal(t.n_left_out, 1);
    trained_release(&t, strategy, model_params(many)->n_flat);
    model_free(many);
}

/* strategy.kind: finetune: the sum is what it was, and what is kept is what the
 * plan's steps from the round's model come to. */
static void an_own_model_is_trained_beside_the_sum_and_kept(void **state)
{
    (void)state;
    static float w[WEIGHTS], before[WEIGHTS], kept[WEIGHTS];
    const struct strategy *shared = strategy;
    struct params *p = model_params(model);
    int32_t want[WEIGHTS];
    struct trained t;
    float label = y[9];
    round_of(key, ROWS, want, &t);
    memcpy(before, p->flat, sizeof before);
    plan.local_steps = 20;
    plan.learning_rate = 0.001;
    check_ok(strategy_find("finetune", &strategy));
    /* A row that cannot be trained on is no reason to stay out. */
    for (int broken = 0; broken < 2; broken++) {
        y[9] = broken ? NAN : label;
        const struct dataset d = {
            .train = {.n_rows = ROWS, .x_dim = INPUTS, .x = x, .y = y}};
        const struct trainer_task task = {.plan = &plan,
                                          .strategy = strategy,
                                          .numbers = &numbers,
                                          .round = 1,
                                          .work = 1,
                                          .privacy = &privacy,
                                          .secret = key};
        check_ok(trained_new(strategy, WEIGHTS, &t));
        check_ok(trainer_run(&task, model, &d, &t));
        if (!broken) check(memcmp(t.whole, want, sizeof want) == 0);
        for (int i = 0; i < TASK_METRICS; i++) check_near(t.metrics[i], 0, 0);
        check(memcmp(p->flat, before, sizeof before) == 0);
        check(t.without_own == broken);
        memcpy(kept, t.next_state, broken ? 0 : sizeof kept);
        trained_release(&t, strategy, WEIGHTS);
    }
    y[9] = label;
    const struct examples ex = {.n_rows = ROWS,
                                .x_dim = INPUTS,
                                .x = x,
                                .y = y};
    const struct model_training how = {.optimizer = plan.optimizer,
                                       .steps = 20,
                                       .batch = plan.batch,
                                       .learning_rate = 0.001,
                                       .seed = plan.seed,
                                       .round = 1};
    check_ok(model_train(model, &how, &ex));
    memcpy(w, p->flat, sizeof w);
    memcpy(p->flat, before, sizeof before);
    check(memcmp(w, before, sizeof w) != 0);
    check(memcmp(kept, w, sizeof w) == 0);
    strategy = shared;
}

static void a_retriever_without_documents_is_refused(void **state)
{
    (void)state;
    struct trained t;
    const struct dataset d = {
        .train = {.n_rows = 3, .x_dim = INPUTS, .x = x, .y = y}};
    const struct trainer_task task = {.plan = &plan,
                                      .strategy = strategy,
                                      .numbers = &numbers,
                                      .work = 1,
                                      .privacy = &privacy,
                                      .secret = key};
    plan.task = PLAN_RETRIEVER;
    check_ok(trained_new(strategy, WEIGHTS, &t));
    check_code(trainer_run(&task, model, &d, &t), E_PRIVACY_NEGATIVES);
    plan.task = PLAN_CLASSIFY;
    trained_release(&t, strategy, WEIGHTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_update_is_the_clipped_sum_and_its_noise),
        cmocka_unit_test(one_row_moves_it_by_at_most_the_unit),
        cmocka_unit_test(nothing_but_the_noisy_sum_depends_on_the_rows),
        cmocka_unit_test(the_noise_has_the_variance_that_was_worked_out),
        cmocka_unit_test(another_secret_is_another_sample),
        cmocka_unit_test(a_row_without_a_gradient_counts_as_zeros),
        cmocka_unit_test(an_own_model_is_trained_beside_the_sum_and_kept),
        cmocka_unit_test(a_retriever_without_documents_is_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
