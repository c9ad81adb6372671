/* trainer: one round of local training, against the same steps written out. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/trainer.h"
#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/privacy/ring.h"

enum { ROWS = 37, INPUTS = 5, WEIGHTS = INPUTS + 1 };

static float x[ROWS * INPUTS], y[ROWS];
static struct dataset data;
static struct plan plan;
static struct model *model;
static float delta[WEIGHTS];

static int setup(void **state)
{
    struct rng r;
    struct model_spec spec;
    (void)state;
    rng_init(&r, 3, 0, 0);
    for (int i = 0; i < ROWS * INPUTS; i++) x[i] = rng_normal(&r);
    for (int i = 0; i < ROWS; i++) {
        float z = x[i * INPUTS] - 2 * x[i * INPUTS + 1] + 0.3f;
        y[i] = (float)(z + rng_normal(&r) > 0);
    }
    data.train =
        (struct examples){.n_rows = ROWS - 7, .x_dim = INPUTS, .x = x, .y = y};
    data.test = (struct examples){.n_rows = 7,
                                  .x_dim = INPUTS,
                                  .x = x + (ROWS - 7) * INPUTS,
                                  .y = y + ROWS - 7};
    plan = (struct plan){.name = "heart",
                         .task = PLAN_CLASSIFY,
                         .model = "logistic",
                         .n_features = INPUTS,
                         .local_steps = 23,
                         .batch = 8,
                         .optimizer = "sgd",
                         .learning_rate = 0.1,
                         .weighting = PLAN_BY_EXAMPLES,
                         .weight_cap = 100,
                         .seed = 42};
    task_spec(&plan, &spec);
    check_ok(model_new(&spec, &model));
    check(model_params(model)->n_flat == WEIGHTS);
    model_init(model, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_free(model);
    return 0;
}

static const struct trainer_task *task_of(uint64_t round, uint64_t client)
{
    static struct trainer_task t;
    static struct strategy_config numbers;
    snprintf(plan.strategy.kind, sizeof plan.strategy.kind, "fedavg");
    t = (struct trainer_task){.plan = &plan,
                              .numbers = &numbers,
                              .round = (uint32_t)round,
                              .client = client,
                              .work = 1};
    check_ok(task_strategy(&plan, model_params(model), &t.strategy, &numbers));
    return &t;
}

static struct trained run(uint64_t round, uint64_t client)
{
    struct trained t = {.up = delta};
    check_ok(trainer_run(task_of(round, client), model, &data, &t));
    return t;
}

/* ---- the reference ------------------------------------------------------ */

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

static double predict(const double *w, const float *row)
{
    double z = w[INPUTS];
    for (int k = 0; k < INPUTS; k++) z += w[k] * (double)row[k];
    return sigmoid(z);
}

static double loss_of(const double *w, const struct examples *e)
{
    double sum = 0;
    for (size_t i = 0; i < e->n_rows; i++) {
        double p = predict(w, e->x + i * INPUTS);
        sum -= log(e->y[i] > 0.5f ? p : 1 - p);
    }
    return sum / (double)e->n_rows;
}

/* w, trained on batches of shuffled epochs; the last of an epoch is short. */
static void reference(double *w, uint64_t round, uint64_t client)
{
    size_t n = data.train.n_rows, next = n;
    uint32_t order[ROWS];
    double speed[WEIGHTS] = {0};
    struct rng r;
    rng_init(&r, plan.seed, round, client);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (uint32_t step = 0; step < plan.local_steps; step++) {
        double g[WEIGHTS] = {0};
        if (next == n) {
            rng_shuffle(&r, order, n);
            next = 0;
        }
        size_t size = n - next < plan.batch ? n - next : plan.batch;
        for (size_t i = 0; i < size; i++) {
            const float *row = x + (size_t)order[next + i] * INPUTS;
            double e = predict(w, row) - (double)y[order[next + i]];
            for (int k = 0; k < INPUTS; k++)
                g[k] += e * (double)row[k] / (double)size;
            g[INPUTS] += e / (double)size;
        }
        next += size;
        for (int k = 0; k < WEIGHTS; k++) {
            speed[k] =
                plan.momentum * speed[k] + g[k] + plan.weight_decay * w[k];
            w[k] -= plan.learning_rate * speed[k];
        }
    }
}

static void global_weights(double *w)
{
    for (int k = 0; k < WEIGHTS; k++)
        w[k] = (double)model_params(model)->flat[k];
}

static void check_against_reference(uint64_t round, uint64_t client)
{
    double before[WEIGHTS], after[WEIGHTS];
    float want[WEIGHTS];
    global_weights(before);
    memcpy(after, before, sizeof after);
    reference(after, round, client);
    for (int k = 0; k < WEIGHTS; k++) want[k] = (float)(after[k] - before[k]);
    struct trained t = run(round, client);
    check_tensor(t.up, want, WEIGHTS, 1e-5);
    check_near(t.metrics[0], loss_of(before, &data.train), 1e-5);
    check_near(t.metrics[1], loss_of(after, &data.train), 1e-5);
}

/* ---- tests -------------------------------------------------------------- */

static void the_update_is_that_of_the_steps_written_out(void **unused)
{
    (void)unused;
    check_against_reference(1, 5);
    check_against_reference(9, 77);
    plan.batch = 4096; /* all rows at once */
    check_against_reference(1, 5);
    plan.batch = 1;
    check_against_reference(2, 5);
}

static void momentum_and_weight_decay_are_the_plans(void **unused)
{
    (void)unused;
    plan.momentum = 0.9;
    check_against_reference(1, 5);
    plan.weight_decay = 0.05;
    check_against_reference(1, 5);
}

static void the_same_round_gives_the_same_bits(void **unused)
{
    (void)unused;
    float first[WEIGHTS];
    struct trained a = run(3, 8);
    memcpy(first, a.up, sizeof first);
    struct trained b = run(3, 8);
    check(memcmp(first, b.up, sizeof first) == 0);
    check(memcmp(a.metrics, b.metrics, sizeof a.metrics) == 0);
}

static void round_client_and_seed_each_change_the_batches(void **unused)
{
    (void)unused;
    float first[WEIGHTS];
    run(3, 8);
    memcpy(first, delta, sizeof first);
    run(4, 8);
    check(memcmp(first, delta, sizeof first) != 0);
    run(3, 9);
    check(memcmp(first, delta, sizeof first) != 0);
    plan.seed++;
    run(3, 8);
    check(memcmp(first, delta, sizeof first) != 0);
}

static void the_global_weights_stay_as_they_were(void **unused)
{
    (void)unused;
    float before[WEIGHTS];
    memcpy(before, model_params(model)->flat, sizeof before);
    run(1, 1);
    check(memcmp(before, model_params(model)->flat, sizeof before) == 0);
}

static void training_lowers_the_loss(void **unused)
{
    (void)unused;
    plan.local_steps = 200;
    struct trained t = run(1, 1);
    check(t.metrics[1] < 0.8 * t.metrics[0]);
    /* And again from there. */
    for (int k = 0; k < WEIGHTS; k++) model_params(model)->flat[k] += t.up[k];
    struct trained u = run(2, 1);
    check_near(u.metrics[0], t.metrics[1], 1e-6);
}

static void metrics_tell_of_the_model_the_round_starts_from(void **unused)
{
    (void)unused;
    double w[WEIGHTS];
    size_t n_right = 0;
    global_weights(w);
    for (size_t i = 0; i < data.test.n_rows; i++)
        n_right += (predict(w, data.test.x + i * INPUTS) > 0.5) ==
                   (data.test.y[i] > 0.5f);
    struct trained t = run(1, 1);
    check_near(t.metrics[2], (double)n_right / 7, 1e-9);
    check_near(t.metrics[3], 1, 0);
    data.test.n_rows = 0; /* nothing held out: nothing told */
    t = run(1, 1);
    check_near(t.metrics[2], 0, 0);
    check_near(t.metrics[3], 0, 0);
}

static void the_weight_is_the_share_of_the_cap(void **unused)
{
    (void)unused;
    struct trained t = run(1, 1);
    check(t.n_examples == 30 && t.weight == 19661); /* 65535 * 30 / 100 */
    plan.weight_cap = 30;
    check(run(1, 1).weight == RING_WEIGHT_MAX);
    plan.weight_cap = 29; /* more rows than the cap count as the cap */
    check(run(1, 1).weight == RING_WEIGHT_MAX);
    plan.weight_cap = 1000000; /* 65535 * 30 / 1e6 */
    check(run(1, 1).weight == 2);
    plan.weight_cap = UINT32_MAX;
    data.train.n_rows = 1;
    check(run(1, 1).weight == 1);
    plan.weighting = PLAN_UNIFORM;
    check(run(1, 1).weight == RING_WEIGHT_MAX);
}

static void without_rows_there_is_nothing_to_learn(void **unused)
{
    (void)unused;
    struct trained t = {.up = delta};
    data.train.n_rows = 0;
    check_code(trainer_run(task_of(1, 1), model, &data, &t), E_NO_EXAMPLES);
}

static void check_diverges(void)
{
    float before[WEIGHTS];
    struct trained t = {.up = delta};
    memcpy(before, model_params(model)->flat, sizeof before);
    check_code(trainer_run(task_of(1, 1), model, &data, &t), E_LOSS_NAN);
    check(memcmp(before, model_params(model)->flat, sizeof before) == 0);
}

static void a_loss_that_is_no_number_is_an_error_by_name(void **unused)
{
    (void)unused;
    x[3] = NAN;
    check_diverges();
    x[3] = 0;
    x[(ROWS - 1) * INPUTS] = INFINITY; /* held out, never trained on */
    y[ROWS - 1] = 1;
    model_params(model)->flat[0] = -1;
    check_diverges();
}

static void training_that_explodes_is_an_error_by_name(void **unused)
{
    (void)unused;
    plan.learning_rate = 100;
    plan.weight_decay = 1;
    plan.local_steps = 1000;
    check_diverges();
}

static void the_spec_is_the_plans(void **unused)
{
    (void)unused;
    struct model_spec s;
    struct plan p = {.task = PLAN_REGRESS,
                     .model = "mlp",
                     .n_features = 9,
                     .n_hidden = 2,
                     .hidden = {16, 4},
                     .dim = 256};
    task_spec(&p, &s);
    check(strcmp(s.kind, "mlp") == 0 && s.task == MODEL_REGRESS);
    check(s.n_inputs == 9 && s.n_hidden == 2);
    check(s.hidden[0] == 16 && s.hidden[1] == 4);
    p = (struct plan){.task = PLAN_RETRIEVER,
                      .model = "static",
                      .n_features = 256,
                      .temperature = 0.1};
    task_spec(&p, &s);
    check(s.task == MODEL_RETRIEVER && s.n_inputs == 256);
    check_near(s.temperature, 0.1, 0);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(the_update_is_that_of_the_steps_written_out),
        T(momentum_and_weight_decay_are_the_plans),
        T(the_same_round_gives_the_same_bits),
        T(round_client_and_seed_each_change_the_batches),
        T(the_global_weights_stay_as_they_were),
        T(training_lowers_the_loss),
        T(metrics_tell_of_the_model_the_round_starts_from),
        T(the_weight_is_the_share_of_the_cap),
        T(without_rows_there_is_nothing_to_learn),
        T(a_loss_that_is_no_number_is_an_error_by_name),
        T(training_that_explodes_is_an_error_by_name),
        T(the_spec_is_the_plans),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
