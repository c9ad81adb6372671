/* What measuring, learning by forward passes and learning by gradients take of
 * memory, counted before they run, over the tiny networks of test_tuned. */
#include "tests/check.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/model/model.h"
#include "tests/model/tiny_rows.h"

enum { LEAST_KIB = 64, MOST_KIB = 16384 };

static const enum model_task tasks[] = {MODEL_RETRIEVER, MODEL_READER,
                                        MODEL_CLASSIFY, MODEL_LM};

static struct model *bounded(struct world *w, enum model_task task,
                             enum model_adapter adapter, uint64_t bytes)
{
    struct model_spec s = spec_of(w, task, adapter);
    struct model *m;
    s.base.memory_bytes = bytes;
    check_ok(model_new(&s, &m));
    return m;
}

static void open_world(struct world *w, enum model_task task)
{
    begin(w, task, GGUF_PACKED + QUANT_Q8_0);
    make_rows_for(w, task);
}

/* The least bound, in KiB, under which `what` goes well. What is refused for
 * any other reason than memory, or for that above one that went well, fails. */
typedef enum tacit_err (*act)(struct model *m, const struct world *w,
                              void *ctx);

static uint64_t least_bound(struct world *w, enum model_task task,
                            enum model_adapter adapter, act what, void *ctx)
{
    uint64_t least = 0;
    for (uint64_t kib = LEAST_KIB; kib < MOST_KIB; kib += 32) {
        struct model *m = bounded(w, task, adapter, kib << 10);
        enum tacit_err err = what(m, w, ctx);
        model_free(m);
        if (err) {
            check(!least);
            check_code(err, E_TRAIN_MEMORY);
            err_clear();
        } else if (!least) {
            least = kib;
        }
        if (least && kib > least + 512) break;
    }
    check(least > LEAST_KIB);
    return least;
}

/* ---- measuring ---- */

static enum tacit_err measure(struct model *m, const struct world *w, void *ctx)
{
    struct model_metrics got;
    const struct model_metrics *want = ctx;
    TRY(model_evaluate(m, &w->ex, &got));
    if (!want) return TACIT_OK;
    check_near(got.loss, want->loss, 1e-5 * (1 + fabs(want->loss)));
    check_near(got.metric, want->metric, 1e-9);
    return TACIT_OK;
}

static enum tacit_err learn_once(struct model *m, const struct world *w,
                                 void *ctx)
{
    static const uint32_t idx[] = {3, 0, 17, 9, 6, 1, 2, 4};
    static float grad[1 << 18];
    float loss;
    (void)ctx;
    check(model_params(m)->n_flat <= sizeof grad / sizeof *grad);
    return model_gradient(m, &w->ex, idx, 8, grad, &loss);
}

static void measuring_takes_fewer_rows_at_a_time_under_a_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int adapter = MODEL_FFA; adapter <= MODEL_FULL; adapter++) {
            struct world w;
            struct model_metrics want;
            enum model_adapter a = (enum model_adapter)adapter;
            open_world(&w, tasks[i]);
            struct model *m = bounded(&w, tasks[i], a, 0);
            check_ok(model_evaluate(m, &w.ex, &want));
            model_free(m);
            uint64_t kib = least_bound(&w, tasks[i], a, measure, &want);
            /* What can be learnt on can be measured. */
            check(kib <= least_bound(&w, tasks[i], a, learn_once, NULL));
            end(&w);
        }
}

static enum tacit_err by_forward_passes(struct model *m, const struct world *w,
                                        void *ctx)
{
    static const uint32_t idx[] = {3, 0, 17, 9, 6, 1, 2, 4};
    float loss;
    const float *want = ctx;
    TRY(model_loss(m, &w->ex, idx, 8, &loss));
    if (want) check_near(loss, *want, 1e-6);
    return TACIT_OK;
}

static void forward_passes_keep_to_the_bound_in_less_than_gradients(
    void **state)
{
    static const uint32_t idx[] = {3, 0, 17, 9, 6, 1, 2, 4};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int adapter = MODEL_FFA; adapter <= MODEL_FULL; adapter++) {
            struct world w;
            float want;
            enum model_adapter a = (enum model_adapter)adapter;
            open_world(&w, tasks[i]);
            struct model *m = bounded(&w, tasks[i], a, 0);
            check_ok(model_loss(m, &w.ex, idx, 8, &want));
            model_free(m);
            uint64_t least =
                least_bound(&w, tasks[i], a, by_forward_passes, &want);
            check(least <= least_bound(&w, tasks[i], a, learn_once, NULL));
            end(&w);
        }
}

/* ---- before anything runs ---- */

static struct model_training training(const char *optimizer, uint32_t batch)
{
    return (struct model_training){.optimizer = optimizer,
                                   .steps = 6,
                                   .batch = batch,
                                   .learning_rate = 1e-4};
}

static enum tacit_err fits(struct model *m, const struct world *w, void *ctx)
{
    const struct model_training how = training(ctx, 8);
    struct model_metrics got;
    uint64_t bytes;
    TRY(model_fits(m, &how, &w->ex, &bytes));
    /* It does, then: no batch is refused later. */
    check(bytes > 0);
    check_ok(model_train(m, &how, &w->ex));
    check_ok(model_evaluate(m, &w->ex, &got));
    check_ok(model_train(m, &how, &w->ex));
    return TACIT_OK;
}

static void what_fits_is_said_before_and_kept(void **state)
{
    static char mezo[] = "mezo", adamw[] = "adamw";
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct world w;
        open_world(&w, tasks[i]);
        uint64_t by_gradient =
            least_bound(&w, tasks[i], MODEL_LORA, fits, adamw);
        uint64_t by_looking = least_bound(&w, tasks[i], MODEL_LORA, fits, mezo);
        check(by_looking <= by_gradient);
        end(&w);
    }
}

/* ---- batches that differ ---- */

enum { LONG_ROWS = 12, LONGEST = 40, SHORTER = 3, BATCHES = 60, PER_BATCH = 4 };

/* The longest rows, then others, drawn. */
static enum tacit_err learn_drawn(struct model *m, const struct world *w,
                                  void *ctx)
{
    static float grad[1 << 18];
    uint32_t token[LONG_ROWS * LONGEST],
        start[LONG_ROWS + 1] = {0}, second[LONG_ROWS], span[2 * LONG_ROWS];
    const struct token_rows text = {token, start, second, span};
    const struct examples ex = {.n_rows = LONG_ROWS, .text = &text};
    float loss;
    check(model_params(m)->n_flat <= sizeof grad / sizeof *grad);
    for (uint32_t i = 0; i < LONG_ROWS; i++) {
        start[i + 1] = start[i] + LONGEST - SHORTER * i;
        second[i] = span[2 * i] = span[2 * i + 1] = 3;
        for (uint32_t k = start[i]; k < start[i + 1]; k++)
            token[k] = w->token[k % w->start[N]];
    }
    struct rng r;
    rng_init(&r, 11, 0, 0);
    for (int i = 0; i < BATCHES; i++) {
        uint32_t idx[PER_BATCH] = {0, 1, 2, 3};
        size_t n = i ? 1 + (size_t)rng_below(&r, PER_BATCH) : PER_BATCH;
        for (size_t k = 0; i && k < n; k++)
            idx[k] = (uint32_t)rng_below(&r, LONG_ROWS);
        enum tacit_err err = model_gradient(m, &ex, idx, n, grad, &loss);
        if (i == 0 && (err || !ctx)) return err;
        check_ok(err);
    }
    return TACIT_OK;
}

static void a_smaller_batch_fits_after_a_larger_one(void **state)
{
    int and_smaller = 1;
    (void)state;
    for (int adapter = MODEL_FFA; adapter <= MODEL_FULL; adapter++) {
        struct world w;
        enum model_adapter a = (enum model_adapter)adapter;
        open_world(&w, MODEL_READER);
        uint64_t least = least_bound(&w, MODEL_READER, a, learn_drawn, NULL);
        check(least_bound(&w, MODEL_READER, a, learn_drawn, &and_smaller) ==
              least);
        end(&w);
    }
}

static void a_batch_that_would_fit_is_named(void **state)
{
    struct world w;
    uint64_t bytes;
    (void)state;
    open_world(&w, MODEL_READER);
    struct model *m = bounded(&w, MODEL_READER, MODEL_LORA, 0);
    const struct model_training few = training("adamw", 2),
                                many = training("adamw", 24);
    check_ok(model_fits(m, &few, &w.ex, &bytes));
    model_free(m);
    m = bounded(&w, MODEL_READER, MODEL_LORA, bytes);
    uint64_t told;
    enum tacit_err err = model_fits(m, &many, &w.ex, &told);
    unsigned n = 0;
    const char *at = strstr(err_message(), "local.batch of ");
    check(at && sscanf(at, "local.batch of %u", &n) == 1 && n >= 2 && n < 24);
    check_code(err, E_TRAIN_MEMORY);
    err_clear();
    const struct model_training that = training("adamw", n),
                                next = training("adamw", n + 1);
    check_ok(model_fits(m, &that, &w.ex, &told));
    check(told <= bytes);
    check_code(model_fits(m, &next, &w.ex, &told), E_TRAIN_MEMORY);
    err_clear();
    model_free(m);

    m = bounded(&w, MODEL_READER, MODEL_LORA, 1 << 16);
    err = model_fits(m, &few, &w.ex, &told);
    check(strstr(err_message(), "even with one row") != NULL);
    check_code(err, E_TRAIN_MEMORY);
    model_free(m);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measuring_takes_fewer_rows_at_a_time_under_a_bound),
        cmocka_unit_test(
            forward_passes_keep_to_the_bound_in_less_than_gradients),
        cmocka_unit_test(what_fits_is_said_before_and_kept),
        cmocka_unit_test(a_smaller_batch_fits_after_a_larger_one),
        cmocka_unit_test(a_batch_that_would_fit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
