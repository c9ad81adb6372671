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

/* w, trained on batches of shuffled epochs; the last of an epoch is short.
 * losses [2]: of the batches in the first and the second half of the steps. */
static void reference(double *w, uint64_t round, uint64_t client,
                      double *losses)
{
    uint32_t half = (plan.local_steps + 1) / 2;
    losses[0] = losses[1] = 0;
    size_t n = data.train.n_rows, next = n;
    uint32_t order[ROWS];
    double speed[WEIGHTS] = {0};
    struct rng r;
    rng_init(&r, plan.seed, round, client);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (uint32_t step = 0; step < plan.local_steps; step++) {
        double g[WEIGHTS] = {0}, loss = 0;
        if (next == n) {
            rng_shuffle(&r, order, n);
            next = 0;
        }
        size_t size = n - next < plan.batch ? n - next : plan.batch;
        for (size_t i = 0; i < size; i++) {
            const float *row = x + (size_t)order[next + i] * INPUTS;
            double p = predict(w, row), truth = (double)y[order[next + i]];
            double e = p - truth;
            loss -= log(truth > 0.5 ? p : 1 - p) / (double)size;
            for (int k = 0; k < INPUTS; k++)
                g[k] += e * (double)row[k] / (double)size;
            g[INPUTS] += e / (double)size;
        }
        next += size;
        if (step < half) losses[0] += loss / half;
        if (step >= plan.local_steps - half) losses[1] += loss / half;
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
    double before[WEIGHTS], after[WEIGHTS], losses[2];
    float want[WEIGHTS];
    global_weights(before);
    memcpy(after, before, sizeof after);
    reference(after, round, client, losses);
    for (int k = 0; k < WEIGHTS; k++) want[k] = (float)(after[k] - before[k]);
    struct trained t = run(round, client);
    check_tensor(t.up, want, WEIGHTS, 1e-5);
    check_near(t.metrics[TASK_LOSS_BEFORE], losses[0], 1e-5);
    check_near(t.metrics[TASK_LOSS_AFTER], losses[1], 1e-5);
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
    double w[WEIGHTS];
    plan.local_steps = 200;
    global_weights(w);
    double before = loss_of(w, &data.train);
    struct trained t = run(1, 1);
    for (int k = 0; k < WEIGHTS; k++) w[k] += (double)t.up[k];
    check(loss_of(w, &data.train) < 0.8 * before);
    check(t.metrics[TASK_LOSS_AFTER] < t.metrics[TASK_LOSS_BEFORE]);
    check(t.metrics[TASK_LOSS_BEFORE] < before);
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

/* ---- the strategy's half on a device ------------------------------------- */

static float next_state[WEIGHTS], up2[2 * WEIGHTS];

/* A round under another strategy, its numbers as given; down and state may be
 * NULL. */
static struct trained run_as(const char *kind, struct strategy_config numbers,
                             const float *down, const float *state, double work)
{
    struct trainer_task t = *task_of(1, 1);
    struct trained out = {.up = up2, .next_state = next_state};
    check_ok(strategy_find(kind, &t.strategy));
    numbers.steps = plan.local_steps;
    numbers.learning_rate = plan.learning_rate;
    numbers.loss_scale = 1;
    t.numbers = &numbers;
    t.down = down;
    t.state = state;
    t.work = work;
    check_ok(trainer_run(&t, model, &data, &out));
    return out;
}

static const struct strategy_config nothing;

static void every_strategy_without_a_pull_trains_as_fedavg(void **unused)
{
    (void)unused;
    static const char *const kinds[] = {"fedavgm", "fedadam",  "fedbuff",
                                        "ditto",   "finetune", "median",
                                        "krum",    "fltrust",  "fedprox"};
    struct trained avg = run(1, 1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct trained t = run_as(kinds[i], nothing, NULL, NULL, 1);
        check_tensor(t.up, avg.up, WEIGHTS, 0);
        check(t.weight == avg.weight);
        check_near(t.metrics[TASK_LOSS_AFTER], avg.metrics[TASK_LOSS_AFTER], 0);
    }
}

static void a_pull_shortens_the_way(void **unused)
{
    (void)unused;
    struct trained avg = run(1, 1);
    double free_norm = 0, held_norm = 0;
    const struct strategy_config held = {.mu = 5};
    struct trained t = run_as("fedprox", held, NULL, NULL, 1);
    for (int i = 0; i < WEIGHTS; i++) {
        free_norm += (double)avg.up[i] * (double)avg.up[i];
        held_norm += (double)t.up[i] * (double)t.up[i];
    }
    check(held_norm < 0.5 * free_norm);
}

static void scaffold_without_controls_is_fedavg_and_finds_its_own(void **unused)
{
    (void)unused;
    const float zeros[WEIGHTS] = {0};
    struct trained avg = run(1, 1);
    struct trained t = run_as("scaffold", nothing, zeros, NULL, 1);
    check_tensor(t.up, avg.up, WEIGHTS, 0);
    for (int i = 0; i < WEIGHTS; i++) {
        /* c_i = (x - y) / (K eta); sent times K eta. */
        check_near(t.next_state[i], -(double)avg.up[i] / (23 * 0.1), 1e-6);
        check_near(t.up[WEIGHTS + i], -(double)avg.up[i], 1e-6);
    }
    /* With c = c_i the controls cancel, and c_i+ is that of this round. */
    float c[WEIGHTS], before[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) c[i] = 0.25f * (float)(i + 1);
    memcpy(before, t.next_state, sizeof before);
    t = run_as("scaffold", nothing, c, c, 1);
    check_tensor(t.up, avg.up, WEIGHTS, 0);
    check_tensor(t.next_state, before, WEIGHTS, 1e-6);
}

static void a_device_goes_on_with_its_own_model(void **unused)
{
    (void)unused;
    const struct strategy_config c = {.lambda = 0.1, .personal = INPUTS};
    /* Ditto: v_i first starts from x, with no pull at all there. */
    struct trained t = run_as("ditto", nothing, NULL, NULL, 1);
    float v[WEIGHTS];
    memcpy(v, t.next_state, sizeof v);
    double first = t.metrics[TASK_PERSONAL];
    check(first > 0 && first <= 1);
    t = run_as("ditto", c, NULL, v, 1);
    check(memcmp(v, t.next_state, sizeof v) != 0);
    /* FedPer: its own end is where training starts, and does not leave. */
    memset(v, 0, sizeof v);
    v[INPUTS] = 3;
    t = run_as("fedper", c, NULL, v, 1);
    check(t.up[INPUTS] == 0 && t.next_state[0] == 0);
    check(t.next_state[INPUTS] > 1 && t.next_state[INPUTS] != 3);
    check(t.metrics[TASK_PERSONAL] != t.metrics[TASK_METRIC]);
    /* Fine-tuning: what the trained weights give on the held-out rows. */
    t = run_as("finetune", nothing, NULL, NULL, 1);
    double w[WEIGHTS];
    size_t n_right = 0;
    global_weights(w);
    for (int i = 0; i < WEIGHTS; i++) {
        w[i] += (double)t.up[i];
        check_near(t.next_state[i], w[i], 1e-6);
    }
    for (size_t i = 0; i < data.test.n_rows; i++)
        n_right += (predict(w, data.test.x + i * INPUTS) > 0.5) ==
                   (data.test.y[i] > 0.5f);
    check_near(t.metrics[TASK_PERSONAL], (double)n_right / 7, 1e-9);
    data.test.n_rows = 0;
    t = run_as("finetune", nothing, NULL, NULL, 1);
    check(t.metrics[TASK_PERSONAL] == 0);
}

static void a_straggler_makes_part_of_its_steps(void **unused)
{
    (void)unused;
    check(trainer_steps(&plan, 30, 1) == 23);
    check(trainer_steps(&plan, 30, 0.5) == 12);
    check(trainer_steps(&plan, 30, 0) == 1);
    plan.local_epochs = 3; /* 30 rows in batches of 8: four */
    check(trainer_steps(&plan, 30, 1) == 12);
    check(trainer_steps(&plan, 32, 1) == 12);
    check(trainer_steps(&plan, 33, 1) == 15);
    plan.local_epochs = 10000;
    plan.batch = 1;
    check(trainer_steps(&plan, (size_t)1 << 40, 1) == UINT32_MAX);
    plan.local_epochs = 0;
    plan.batch = 8;
    plan.local_steps = 40;
    struct trained t = run_as("fednova", nothing, NULL, NULL, 0.25);
    check_near(t.metrics[TASK_SCALARS], 0.25, 1e-9);
}

static void a_factor_that_the_sum_cannot_hold_is_named(void **unused)
{
    (void)unused;
    struct trainer_task t = *task_of(1, 1);
    const struct strategy_config numbers = {.steps = 1};
    struct trained out = {.up = up2};
    plan.local_steps = 65;
    t.numbers = &numbers;
    check_ok(strategy_find("fednova", &t.strategy));
    enum tacit_err err = trainer_run(&t, model, &data, &out);
    check(strstr(err_message(), "strategy fednova: a factor of 65 is out of "
                                "the sum's range of 64") != NULL);
    check_code(err, E_LOSS_NAN);
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
        T(every_strategy_without_a_pull_trains_as_fedavg),
        T(a_pull_shortens_the_way),
        T(scaffold_without_controls_is_fedavg_and_finds_its_own),
        T(a_device_goes_on_with_its_own_model),
        T(a_straggler_makes_part_of_its_steps),
        T(a_factor_that_the_sum_cannot_hold_is_named),
        T(the_spec_is_the_plans),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
