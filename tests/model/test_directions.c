/* Learning by forward passes: small models and tiny networks, of their weights
 * and along directions; what is rebuilt, kept and refused. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/model/directions.h"
#include "common/model/model.h"
#include "tests/model/tiny_rows.h"

enum { ROWS = 200, INPUTS = 6, SEEDS = 40 };

static float x[ROWS * INPUTS], y[ROWS];
static struct examples table;

static int setup(void **state)
{
    struct rng r;
    (void)state;
    rng_init(&r, 2, 0, 0);
    for (size_t i = 0; i < ROWS; i++) {
        float z = 0;
        for (size_t k = 0; k < INPUTS; k++) {
            x[i * INPUTS + k] = rng_normal(&r);
            z += (k % 2 ? 1.5f : -1.0f) * x[i * INPUTS + k];
        }
        y[i] = z + 0.5f * rng_normal(&r) > 0;
    }
    table = (struct examples){.n_rows = ROWS, .x_dim = INPUTS, .x = x, .y = y};
    return 0;
}

static struct model_training mezo(uint32_t steps, double rate)
{
    return (struct model_training){.optimizer = "mezo",
                                   .steps = steps,
                                   .batch = 16,
                                   .learning_rate = rate,
                                   .seed = 3,
                                   .round = 1};
}

static struct model *open_small(const char *kind, uint32_t seeds)
{
    const struct model_spec s = {.kind = kind,
                                 .task = MODEL_CLASSIFY,
                                 .n_inputs = INPUTS,
                                 .n_hidden = strcmp(kind, "mlp") == 0,
                                 .hidden = {8},
                                 .along = {seeds, 77}};
    struct model *m;
    check_ok(model_new(&s, &m));
    model_init(m, 77);
    return m;
}

static double loss_of(struct model *m, const struct examples *ex)
{
    struct model_metrics got;
    check_ok(model_evaluate(m, ex, &got));
    return got.loss;
}

static void small_models_learn_by_forward_passes_alone(void **state)
{
    (void)state;
    static const char *const kinds[] = {"logistic", "mlp"};
    for (int k = 0; k < 2; k++)
        for (uint32_t seeds = 0; seeds <= SEEDS; seeds += SEEDS) {
            struct model *m = open_small(kinds[k], seeds);
            double losses[2], before = loss_of(m, &table);
            uint32_t steps = 0;
            struct model_training how = mezo(600, 0.02);
            how.out_losses = losses;
            how.out_steps = &steps;
            check_ok(model_train(m, &how, &table));
            double after = loss_of(m, &table);
            if (!(after < 0.75 * before))
                fail_msg("%s, %u directions: %g, then %g", kinds[k], seeds,
                         before, after);
            assert_int_equal(steps, 600);
            check(losses[1] < losses[0] && losses[0] < before + 0.1);
            model_free(m);
        }
}

static void along_directions_the_model_is_its_numbers(void **state)
{
    (void)state;
    struct model *m = open_small("mlp", SEEDS), *again;
    const struct params *p = model_params(m);
    assert_int_equal(p->n_flat, SEEDS);
    assert_int_equal(p->n_params, 1);
    assert_string_equal(p->list[0].name, DIRECTIONS_NAME);
    for (size_t i = 0; i < SEEDS; i++) check(p->flat[i] == 0);

    /* It begins where the weights themselves would. */
    struct model *plain = open_small("mlp", 0);
    const struct params *w = model_weights(m);
    assert_int_equal(w->n_flat, model_params(plain)->n_flat);
    check(memcmp(w->flat, model_params(plain)->flat,
                 w->n_flat * sizeof *w->flat) == 0);

    /* Whoever has the numbers has the bits of all its weights. */
    const struct model_training how = mezo(50, 0.02);
    check_ok(model_train(m, &how, &table));
    again = open_small("mlp", SEEDS);
    memcpy(model_params(again)->flat, p->flat, SEEDS * sizeof *p->flat);
    w = model_weights(m);
    check(memcmp(w->flat, model_weights(again)->flat,
                 w->n_flat * sizeof *w->flat) == 0);
    check(memcmp(w->flat, model_params(plain)->flat,
                 w->n_flat * sizeof *w->flat) != 0);
    check(loss_of(m, &table) == loss_of(again, &table));
    model_free(m);
    model_free(again);
    model_free(plain);
}

static void the_same_training_gives_the_same_numbers(void **state)
{
    (void)state;
    struct model *a = open_small("mlp", SEEDS), *b = open_small("mlp", SEEDS);
    struct model_training how = mezo(30, 0.02);
    check_ok(model_train(a, &how, &table));
    check_ok(model_train(b, &how, &table));
    check(memcmp(model_params(a)->flat, model_params(b)->flat,
                 SEEDS * sizeof(float)) == 0);
    how.client = 1;
    check_ok(model_train(b, &how, &table));
    check(memcmp(model_params(a)->flat, model_params(b)->flat,
                 SEEDS * sizeof(float)) != 0);
    model_free(a);
    model_free(b);
}

static void what_diverges_is_put_back(void **state)
{
    (void)state;
    for (uint32_t seeds = 0; seeds <= SEEDS; seeds += SEEDS) {
        struct model *m = open_small("mlp", seeds);
        const struct params *p = model_params(m);
        float before[SEEDS + 100];
        const struct model_training how = mezo(500, 1e30);
        assert_true(p->n_flat <= SEEDS + 100);
        memcpy(before, p->flat, p->n_flat * sizeof *before);
        check_code(model_train(m, &how, &table), E_LOSS_NAN);
        check(memcmp(before, p->flat, p->n_flat * sizeof *before) == 0);
        check(isfinite(loss_of(m, &table)));
        model_free(m);
    }
}

static void a_loss_alone_is_that_of_the_gradient(void **state)
{
    (void)state;
    struct model *m = open_small("mlp", 0);
    uint32_t idx[20];
    float with = 0, alone = 0, grad[100];
    for (uint32_t i = 0; i < 20; i++) idx[i] = 7 * i;
    check_ok(model_gradient(m, &table, idx, 20, grad, &with));
    check_ok(model_loss(m, &table, idx, 20, &alone));
    check(with == alone);
    check_err(model_loss(m, &table, idx, 0, &alone), TACIT_SHAPE);
    model_free(m);
}

static void add_nothing(void *ctx, const float *w, float *g)
{
    (void)ctx;
    (void)w;
    (void)g;
}

static void what_wants_a_gradient_is_refused(void **state)
{
    (void)state;
    struct model *m = open_small("logistic", SEEDS);
    uint32_t row = 0;
    float grad[SEEDS], loss;
    check_err(model_gradient(m, &table, &row, 1, grad, &loss),
              TACIT_UNSUPPORTED);
    struct model_training how = mezo(5, 0.01);
    how.gradient = add_nothing;
    check_err(model_train(m, &how, &table), TACIT_UNSUPPORTED);
    model_free(m);
    const struct model_spec batch = {.kind = "cnn",
                                     .task = MODEL_CLASSIFY,
                                     .classes = 3,
                                     .n_hidden = 3,
                                     .hidden = {2, 3, 8},
                                     .channels = 1,
                                     .height = 16,
                                     .width = 16,
                                     .norm = "batch",
                                     .along = {SEEDS, 1}};
    check_err(model_new(&batch, &m), TACIT_UNSUPPORTED);
}

/* ---- networks ----------------------------------------------------------- */

static const enum model_task tasks[] = {MODEL_RETRIEVER, MODEL_READER,
                                        MODEL_CLASSIFY, MODEL_LM};
static const enum model_adapter ways[] = {MODEL_FFA, MODEL_LORA, MODEL_FULL};

static struct model *open_net(struct world *w, enum model_task task,
                              enum model_adapter way, uint32_t seeds)
{
    struct model_spec s = spec_of(w, task, way);
    struct model *m;
    s.along = (struct model_along){seeds, 4};
    check_ok(model_new(&s, &m));
    model_init(m, 4);
    make_rows_for(w, task);
    return m;
}

static void every_task_learns_along_directions_of_adapters_and_of_all(void **s)
{
    (void)s;
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) {
            struct world w;
            begin(&w, tasks[i], QUANT_Q8_0);
            struct model *m = open_net(&w, tasks[i], ways[k], 64);
            struct model_training how =
                mezo(150, ways[k] == MODEL_FULL ? 3e-5 : 1e-3);
            how.batch = N;
            double before = loss_of(m, &w.ex);
            check_ok(model_train(m, &how, &w.ex));
            double after = loss_of(m, &w.ex);
            if (!(after < before))
                fail_msg("task %d, way %d: %g, then %g", (int)tasks[i],
                         (int)ways[k], before, after);
            assert_int_equal(model_params(m)->n_flat, 64);
            model_free(m);
            end(&w);
        }
}

static void threads_do_not_change_what_is_learnt(void **state)
{
    (void)state;
    float first[32];
    for (unsigned threads = 1; threads <= 3; threads++) {
        struct world w;
        struct pool *pool;
        begin(&w, MODEL_RETRIEVER, QUANT_Q8_0);
        struct model *m = open_net(&w, MODEL_RETRIEVER, MODEL_FFA, 32);
        check_ok(pool_new(&pool, threads));
        model_use_pool(m, pool);
        const struct model_training how = mezo(12, 1e-3);
        check_ok(model_train(m, &how, &w.ex));
        if (threads == 1) memcpy(first, model_params(m)->flat, sizeof first);
        check(memcmp(first, model_params(m)->flat, sizeof first) == 0);
        model_free(m);
        pool_free(pool);
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_models_learn_by_forward_passes_alone),
        cmocka_unit_test(along_directions_the_model_is_its_numbers),
        cmocka_unit_test(the_same_training_gives_the_same_numbers),
        cmocka_unit_test(what_diverges_is_put_back),
        cmocka_unit_test(a_loss_alone_is_that_of_the_gradient),
        cmocka_unit_test(what_wants_a_gradient_is_refused),
        cmocka_unit_test(
            every_task_learns_along_directions_of_adapters_and_of_all),
        cmocka_unit_test(threads_do_not_change_what_is_learnt),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
