#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/model.h"
#include "tests/gradcheck.h"

enum { ROWS = 64, INPUTS = 6 };

struct set {
    float x[ROWS * INPUTS], y[ROWS], p[ROWS * INPUTS];
    struct examples ex;
};

static void make_unit(float *v, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i] * v[i];
    for (size_t i = 0; i < n; i++) v[i] /= sqrtf(sum);
}

/* y from a fixed rule plus noise; p a rotation of x. */
static void make_set(struct set *s, enum model_task task)
{
    struct rng r;
    rng_init(&r, 7, 0, 0);
    for (size_t i = 0; i < ROWS * INPUTS; i++) s->x[i] = rng_normal(&r);
    for (size_t i = 0; i < ROWS; i++) {
        const float *x = s->x + i * INPUTS;
        float z = 2 * x[0] - x[1] + 0.5f * x[2] * x[3] + 0.1f;
        s->y[i] = task == MODEL_CLASSIFY ? (float)(z > 0) : z;
        if (task == MODEL_RETRIEVER) make_unit(s->x + i * INPUTS, INPUTS);
        for (size_t j = 0; j < INPUTS; j++)
            s->p[i * INPUTS + j] = x[(j + 1) % INPUTS];
    }
    s->ex = (struct examples){.n_rows = ROWS,
                              .x_dim = INPUTS,
                              .x = s->x,
                              .y = task == MODEL_RETRIEVER ? NULL : s->y,
                              .p = task == MODEL_RETRIEVER ? s->p : NULL};
}

static const struct model_spec specs[] = {
    {.kind = "logistic", .task = MODEL_CLASSIFY, .n_inputs = INPUTS},
    {.kind = "linear", .task = MODEL_REGRESS, .n_inputs = INPUTS},
    {.kind = "mlp",
     .task = MODEL_CLASSIFY,
     .n_inputs = INPUTS,
     .n_hidden = 2,
     .hidden = {8, 5}},
    {.kind = "mlp",
     .task = MODEL_REGRESS,
     .n_inputs = INPUTS,
     .n_hidden = 1,
     .hidden = {7}},
    {.kind = "static",
     .task = MODEL_RETRIEVER,
     .n_inputs = INPUTS,
     .temperature = 0.2},
};
enum { N_SPECS = sizeof specs / sizeof *specs };

struct probe {
    struct model *m;
    struct set *s;
    uint32_t idx[ROWS];
};

static enum tacit_err probe_loss(void *ctx, double *loss)
{
    struct probe *p = ctx;
    float grad[256], l = 0;
    TRY(model_gradient(p->m, &p->s->ex, p->idx, 16, grad, &l));
    *loss = (double)l;
    return TACIT_OK;
}

static void every_gradient_agrees_with_finite_differences(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_SPECS; k++) {
        struct set s;
        struct probe p = {.s = &s};
        float grad[256], loss;
        double worst = 1;
        make_set(&s, specs[k].task);
        for (uint32_t i = 0; i < 16; i++) p.idx[i] = 3 * i;
        check_ok(model_new(&specs[k], &p.m));
        model_init(p.m, 5);
        struct params *w = model_params(p.m);
        assert_true(w->n_flat <= 256);
        /* Off the ReLU's corners and the adapter's identity. */
        for (size_t i = 0; i < w->n_flat; i++)
            w->flat[i] += 0.01f * (float)(i % 7);
        check_ok(model_gradient(p.m, &s.ex, p.idx, 16, grad, &loss));
        check_ok(gradcheck_run(probe_loss, &p, w->flat, grad, w->n_flat, 1e-2,
                               &worst));
        if (worst > 5e-3) fail_msg("%s: off by %g", specs[k].kind, worst);
        model_free(p.m);
    }
}

static void a_question_alone_learns_from_hard_negatives(void **state)
{
    static uint32_t hard[ROWS * 2];
    const struct model_spec *spec = &specs[N_SPECS - 1];
    struct set s;
    struct probe p = {.s = &s};
    float grad[256], loss;
    double worst = 1;
    (void)state;
    make_set(&s, MODEL_RETRIEVER);
    check_ok(model_new(spec, &p.m));
    model_init(p.m, 5);
    /* Among its own passage alone there is nothing to tell apart. */
    check_ok(model_gradient(p.m, &s.ex, p.idx, 1, grad, &loss));
    check_near(loss, 0, 1e-6);
    for (uint32_t i = 0; i < ROWS * 2; i++)
        hard[i] = (i / 2 + 1 + i % 2) % ROWS;
    s.ex.hard = hard;
    s.ex.n_hard = 2;
    s.ex.pool = s.p;
    s.ex.n_pool = ROWS;
    check_ok(model_gradient(p.m, &s.ex, p.idx, 1, grad, &loss));
    check(loss > 0.01f);
    struct params *w = model_params(p.m);
    for (uint32_t i = 0; i < 16; i++) p.idx[i] = 3 * i;
    for (size_t i = 0; i < w->n_flat; i++) w->flat[i] = 0.01f * (float)(i % 7);
    check_ok(model_gradient(p.m, &s.ex, p.idx, 16, grad, &loss));
    check_ok(
        gradcheck_run(probe_loss, &p, w->flat, grad, w->n_flat, 1e-2, &worst));
    if (worst > 5e-3) fail_msg("off by %g", worst);
    hard[2 * p.idx[1]] = ROWS;
    check_err(model_gradient(p.m, &s.ex, p.idx, 16, grad, &loss), TACIT_SHAPE);
    model_free(p.m);
}

static void every_model_learns_its_task(void **state)
{
    (void)state;
    const char *optimizers[] = {"sgd", "adam", "adamw"};
    for (size_t k = 0; k < N_SPECS; k++) {
        for (size_t o = 0; o < 3; o++) {
            struct set s;
            struct model *m = NULL;
            struct model_metrics before, after;
            struct model_training how = {.optimizer = optimizers[o],
                                         .steps = 400,
                                         .batch = 16,
                                         .learning_rate = o ? 0.01 : 0.05,
                                         .momentum = 0.5,
                                         .seed = 1};
            make_set(&s, specs[k].task);
            check_ok(model_new(&specs[k], &m));
            model_init(m, 3);
            check_ok(model_evaluate(m, &s.ex, &before));
            check_ok(model_train(m, &how, &s.ex));
            check_ok(model_evaluate(m, &s.ex, &after));
            if (!(after.loss < 0.7 * before.loss))
                fail_msg("%s with %s: loss %g -> %g", specs[k].kind,
                         optimizers[o], before.loss, after.loss);
            if (specs[k].task == MODEL_REGRESS)
                assert_true(after.metric < before.metric);
            else
                assert_true(after.metric >= 0.85);
            model_free(m);
        }
    }
}

static void training_replays_to_the_bit(void **state)
{
    (void)state;
    struct set s;
    struct model *m[3] = {0};
    struct model_training how = {.optimizer = "adam",
                                 .steps = 37,
                                 .batch = 10,
                                 .learning_rate = 0.01,
                                 .seed = 4,
                                 .round = 2,
                                 .client = 9};
    make_set(&s, MODEL_CLASSIFY);
    for (int i = 0; i < 3; i++) {
        check_ok(model_new(&specs[2], &m[i]));
        model_init(m[i], 1);
        how.client = i == 2 ? 10 : 9;
        check_ok(model_train(m[i], &how, &s.ex));
    }
    size_t bytes = model_params(m[0])->n_flat * sizeof(float);
    assert_memory_equal(model_params(m[0])->flat, model_params(m[1])->flat,
                        bytes);
    /* Another client draws other batches. */
    assert_memory_not_equal(model_params(m[0])->flat, model_params(m[2])->flat,
                            bytes);
    for (int i = 0; i < 3; i++) model_free(m[i]);
}

static void a_diverging_loss_is_an_error_and_restores_the_weights(void **state)
{
    (void)state;
    struct set s;
    struct model *m = NULL;
    struct model_training how = {.optimizer = "sgd",
                                 .steps = 200,
                                 .batch = 16,
                                 .learning_rate = 1e6,
                                 .seed = 1,
                                 .round = 1,
                                 .client = 1};
    make_set(&s, MODEL_REGRESS);
    check_ok(model_new(&specs[1], &m));
    model_init(m, 1);
    float before[16];
    struct params *w = model_params(m);
    memcpy(before, w->flat, w->n_flat * sizeof(float));
    check_code(model_train(m, &how, &s.ex), E_LOSS_NAN);
    assert_memory_equal(before, w->flat, w->n_flat * sizeof(float));
    model_free(m);
}

/* After so many questions. */
static int stops_in(const void *of)
{
    int *left;
    memcpy(&left, of, sizeof left);
    return --*left < 0;
}

static void a_training_that_is_stopped_restores_the_weights(void **state)
{
    static const char *const optimizers[] = {"sgd", "adamw", "mezo"};
    (void)state;
    for (size_t k = 0; k < sizeof optimizers / sizeof *optimizers; k++) {
        struct set s;
        struct model *m;
        float before[256];
        int left = 3, *of = &left;
        make_set(&s, MODEL_CLASSIFY);
        check_ok(model_new(&specs[2], &m));
        model_init(m, 5);
        const struct params *w = model_params(m);
        memcpy(before, w->flat, w->n_flat * sizeof *before);
        const struct model_training how = {.optimizer = optimizers[k],
                                           .steps = 1000000000,
                                           .batch = 8,
                                           .learning_rate = 0.01,
                                           .stopped = stops_in,
                                           .of = &of};
        enum tacit_err err = model_train(m, &how, &s.ex);
        check(strstr(err_message(), "before its step 4") != NULL);
        check_code(err, E_INTERRUPTED);
        assert_memory_equal(before, w->flat, w->n_flat * sizeof *before);
        model_free(m);
    }
}

static void an_epoch_sees_every_row_once(void **state)
{
    (void)state;
    /* With sgd, lr so small that the model hardly moves, the weight's change
     * over one epoch is the sum of batch means; every row counts alike only
     * when each is drawn once. Compare with the full-batch gradient. */
    struct set s;
    struct model *m = NULL;
    float grad[16], loss, start[16];
    uint32_t idx[ROWS];
    struct model_training how = {.optimizer = "sgd",
                                 .steps = 4,
                                 .batch = 16,
                                 .learning_rate = 1e-4,
                                 .seed = 1,
                                 .round = 1,
                                 .client = 1};
    make_set(&s, MODEL_REGRESS);
    check_ok(model_new(&specs[1], &m));
    model_init(m, 1);
    struct params *w = model_params(m);
    memcpy(start, w->flat, w->n_flat * sizeof(float));
    for (uint32_t i = 0; i < ROWS; i++) idx[i] = i;
    check_ok(model_gradient(m, &s.ex, idx, ROWS, grad, &loss));
    check_ok(model_train(m, &how, &s.ex));
    for (size_t i = 0; i < w->n_flat; i++)
        check_near((double)((start[i] - w->flat[i]) / 4e-4f), (double)grad[i],
                   0.02);
    model_free(m);
}

static void recall_counts_any_passage_of_the_right_group(void **state)
{
    (void)state;
    /* Two questions; seven passages, of which only group 9 answers. */
    const struct model_spec spec = {.kind = "static",
                                    .task = MODEL_RETRIEVER,
                                    .n_inputs = 2};
    const float x[] = {1, 0, 0, 1}, p[] = {1, 0, 1, 0};
    const float pool[] = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0.6f, 0.8f};
    const uint32_t pool_group[] = {1, 2, 3, 4, 5, 6, 9};
    const uint32_t row_group[] = {9, 9};
    struct examples ex = {.n_rows = 2,
                          .x_dim = 2,
                          .x = x,
                          .p = p,
                          .pool = pool,
                          .n_pool = 7,
                          .pool_group = pool_group,
                          .row_group = row_group};
    struct model *m = NULL;
    struct model_metrics got;
    check_ok(model_new(&spec, &m));
    model_init(m, 1);
    check_ok(model_evaluate(m, &ex, &got));
    /* Question 1 ranks it sixth, question 2 second. */
    check_near(got.metric, 0.5, 1e-9);
    float place[2];
    check_ok(model_predict(m, &ex, place));
    check(place[0] == 6 && place[1] == 2);
    ex.row_group = (const uint32_t[]){9, 10};
    check_ok(model_predict(m, &ex, place));
    check(place[0] == 6 && isinf(place[1]));
    model_free(m);
}

/* One question alone: -log of its passage's share of two, then of three. */
static void hard_negatives_stand_beside_the_passage(void **state)
{
    (void)state;
    const struct model_spec spec = {.kind = "static",
                                    .task = MODEL_RETRIEVER,
                                    .n_inputs = 2,
                                    .temperature = 0.5};
    const float x[] = {1, 0, 0, 1}, p[] = {0.6f, 0.8f, 0, 1};
    const float pool[] = {0.6f, 0.8f, 0, 1, 0.8f, 0.6f, -1, 0};
    const uint32_t group[] = {1, 2, 3, 4};
    uint32_t hard[] = {2, 3, 2, 0};
    struct examples ex = {.n_rows = 2,
                          .x_dim = 2,
                          .x = x,
                          .p = p,
                          .pool = pool,
                          .n_pool = 4,
                          .pool_group = group,
                          .row_group = group,
                          .hard = hard,
                          .n_hard = 2};
    const uint32_t row = 0, both[] = {1, 0};
    struct model *m = NULL;
    float loss, grad[4];
    check_ok(model_new(&spec, &m));
    model_init(m, 1);
    check_ok(model_loss(m, &ex, &row, 1, &loss));
    double all = exp(1.2) + exp(1.6) + exp(-2);
    check_near((double)loss, log(all) - 1.2, 1e-6);
    check_ok(model_gradient(m, &ex, &row, 1, grad, &loss));
    check_near((double)loss, log(all) - 1.2, 1e-6);
    /* Along the question its length stays 1; across it, the second numbers. */
    check_near((double)grad[0], 0, 1e-6);
    check_near((double)grad[1],
               2 * ((exp(1.2) * 0.8 + exp(1.6) * 0.6) / all - 0.8), 1e-6);
    /* In one batch each has the other's negatives as well. */
    check_ok(model_loss(m, &ex, both, 2, &loss));
    double first = exp(1.2) + 1 + exp(1.6) + exp(-2) + exp(1.6) + exp(1.2);
    double second = exp(2) + exp(1.6) + exp(1.2) + exp(1.6) + exp(1.2) + 1;
    check_near((double)loss, (log(first) - 1.2 + log(second) - 2) / 2, 1e-6);
    hard[3] = 4;
    check_err(model_loss(m, &ex, both, 2, &loss), TACIT_SHAPE);
    model_free(m);
}

static void wrong_specs_and_examples_are_named(void **state)
{
    (void)state;
    struct model *m = NULL;
    struct model_spec spec = {.kind = "logistik",
                              .task = MODEL_CLASSIFY,
                              .n_inputs = 3};
    assert_int_equal(model_new(&spec, &m), TACIT_UNSUPPORTED);
    assert_non_null(strstr(err_message(), "did you mean \"logistic\""));
    err_clear();
    spec.kind = "linear";
    check_err(model_new(&spec, &m), TACIT_UNSUPPORTED);
    spec.kind = "logistic";
    spec.n_inputs = 0;
    check_err(model_new(&spec, &m), TACIT_LIMIT);
    spec.n_inputs = 3;
    spec.n_hidden = 1;
    spec.hidden[0] = 4;
    check_err(model_new(&spec, &m), TACIT_UNSUPPORTED);
    spec.n_hidden = MODEL_HIDDEN_MAX + 1;
    check_err(model_new(&spec, &m), TACIT_LIMIT);
    spec.n_hidden = 0;
    check_ok(model_new(&spec, &m));

    struct set s;
    struct model_metrics got;
    struct model_training how = {.optimizer = "sgd",
                                 .steps = 1,
                                 .batch = 1,
                                 .learning_rate = 0.1,
                                 .seed = 1,
                                 .round = 1,
                                 .client = 1};
    make_set(&s, MODEL_CLASSIFY);
    check_err(model_evaluate(m, &s.ex, &got), TACIT_SHAPE);
    s.ex.x_dim = 3;
    s.ex.n_rows = 0;
    check_err(model_evaluate(m, &s.ex, &got), TACIT_SHAPE);
    check_err(model_train(m, &how, &s.ex), TACIT_SHAPE);
    s.ex.n_rows = 2;
    how.batch = 0;
    check_err(model_train(m, &how, &s.ex), TACIT_LIMIT);
    how.batch = 1;
    how.optimizer = "sdg";
    check_err(model_train(m, &how, &s.ex), TACIT_UNSUPPORTED);
    s.ex.y = NULL;
    check_err(model_train(m, &how, &s.ex), TACIT_SHAPE);
    model_free(m);
}

static void predictions_are_probabilities(void **state)
{
    (void)state;
    const struct model_spec spec = {.kind = "logistic",
                                    .task = MODEL_CLASSIFY,
                                    .n_inputs = 1};
    const float x[] = {0, 100, -100}, y[] = {0, 1, 0};
    const struct examples ex = {.n_rows = 3, .x_dim = 1, .x = x, .y = y};
    struct model *m = NULL;
    float out[3];
    check_ok(model_new(&spec, &m));
    model_params(m)->flat[0] = 1;
    check_ok(model_predict(m, &ex, out));
    check_near((double)out[0], 0.5, 1e-6);
    check_near((double)out[1], 1, 1e-6);
    check_near((double)out[2], 0, 1e-6);
    model_free(m);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_agrees_with_finite_differences),
        cmocka_unit_test(a_question_alone_learns_from_hard_negatives),
        cmocka_unit_test(every_model_learns_its_task),
        cmocka_unit_test(training_replays_to_the_bit),
        cmocka_unit_test(a_diverging_loss_is_an_error_and_restores_the_weights),
        cmocka_unit_test(a_training_that_is_stopped_restores_the_weights),
        cmocka_unit_test(an_epoch_sees_every_row_once),
        cmocka_unit_test(recall_counts_any_passage_of_the_right_group),
        cmocka_unit_test(hard_negatives_stand_beside_the_passage),
        cmocka_unit_test(wrong_specs_and_examples_are_named),
        cmocka_unit_test(predictions_are_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
