/* Adapters over tiny networks (tests/golden/net_golden.py): what is trained,
 * that its gradient is one, that every task learns, and what is refused. */
#include "tests/check.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/model/model.h"
#include "common/tensor/kernel_choice.h"
#include "tests/gradcheck.h"
#include "tests/model/tiny_rows.h"

static struct model *open_model(struct world *w, enum model_task task,
                                enum model_adapter adapter)
{
    struct model_spec s = spec_of(w, task, adapter);
    struct model *m;
    check_ok(model_new(&s, &m));
    make_rows_for(w, task);
    return m;
}

static const enum model_task tasks[] = {MODEL_RETRIEVER, MODEL_READER,
                                        MODEL_CLASSIFY, MODEL_LM};

/* The same over a base with a head of one output (or none): pairs of texts that
 * fit or do not. */
static struct model *open_judge(struct world *w, size_t family, uint32_t type,
                                enum model_adapter adapter)
{
    struct model *m;
    memset(w, 0, sizeof *w);
    check_tmpdir(w->dir);
    if (family < TINY_FAMILIES)
        put_base(w, &tiny_families[family], type);
    else
        put_base(w, &tiny_cross, type);
    struct model_spec s = spec_of(w, MODEL_CLASSIFY, adapter);
    s.classes = 1;
    check_ok(model_new(&s, &m));
    make_rows(w, 32);
    for (size_t i = 0; i < N; i++) w->y[i] = (float)(i % 4 < 2);
    return m;
}
enum { BERT = 3 };

struct probe {
    struct model *m;
    const struct examples *ex;
    const uint32_t *idx;
    float *scratch;
};

static enum tacit_err probe_loss(void *ctx, double *loss)
{
    const struct probe *p = ctx;
    float l = 0;
    TRY(model_gradient(p->m, p->ex, p->idx, 5, p->scratch, &l));
    *loss = (double)l;
    return TACIT_OK;
}

static void the_gradient_of_every_task_and_adapter_is_one(void **state)
{
    static const uint32_t idx[] = {3, 0, 17, 9, 6};
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int adapter = MODEL_FFA; adapter <= MODEL_LORA; adapter++) {
            struct world w;
            struct rng r;
            begin(&w, tasks[i], QUANT_F32);
            struct model *m =
                open_model(&w, tasks[i], (enum model_adapter)adapter);
            struct params *p = model_params(m);
            float *g = calloc(p->n_flat, sizeof *g), loss;
            struct probe probe = {m, &w.ex, idx, calloc(p->n_flat, sizeof *g)};
            /* Away from the zeros that pairs begin with. */
            rng_init(&r, 3, 0, 0);
            for (size_t k = 0; k < p->n_flat; k++)
                p->flat[k] += 0.1f * rng_normal(&r);
            check_ok(model_gradient(m, &w.ex, idx, 5, g, &loss));
            double worst;
            for (size_t k = 0; k < p->n_flat; k += p->n_flat / 23) {
                check_ok(gradcheck_run(probe_loss, &probe, p->flat + k, g + k,
                                       1, 4e-3, &worst));
                if (worst > 3e-3)
                    fail_msg("task %zu adapter %d weight %zu: %g", i, adapter,
                             k, worst);
            }
            free(g);
            free(probe.scratch);
            model_free(m);
            end(&w);
        }
}

static void every_task_learns_over_a_packed_base_of_q8(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int adapter = MODEL_FFA; adapter <= MODEL_FULL; adapter++) {
            struct world w;
            struct model_metrics before, after;
            begin(&w, tasks[i], GGUF_PACKED + QUANT_Q8_0);
            struct model *m =
                open_model(&w, tasks[i], (enum model_adapter)adapter);
            const struct model_training how = {.optimizer = "adamw",
                                               .steps = 60,
                                               .batch = 8,
                                               .learning_rate = 0.01,
                                               .seed = 4};
            check_ok(model_evaluate(m, &w.ex, &before));
            check_ok(model_train(m, &how, &w.ex));
            check_ok(model_evaluate(m, &w.ex, &after));
            if (!(after.loss < 0.9 * before.loss))
                fail_msg("task %zu adapter %d: %g then %g", i, adapter,
                         before.loss, after.loss);
            model_free(m);
            end(&w);
        }
}

static void yes_or_no_is_one_output_with_a_gradient(void **state)
{
    static const uint32_t idx[] = {3, 0, 17, 9, 6};
    (void)state;
    for (size_t family = BERT; family <= TINY_FAMILIES; family++) {
        struct world w;
        struct rng r;
        double worst;
        struct model *m = open_judge(&w, family, QUANT_F32, MODEL_LORA);
        struct params *p = model_params(m);
        float *g = calloc(p->n_flat, sizeof *g), loss;
        struct probe probe = {m, &w.ex, idx, calloc(p->n_flat, sizeof *g)};
        const struct param *head = params_find(p, "head.weight");
        check(head && head->len == 32);
        rng_init(&r, 3, 0, 0);
        for (size_t k = 0; k < p->n_flat; k++)
            p->flat[k] += 0.1f * rng_normal(&r);
        check_ok(model_gradient(m, &w.ex, idx, 5, g, &loss));
        for (size_t k = 0; k < p->n_flat; k += p->n_flat / 23) {
            check_ok(gradcheck_run(probe_loss, &probe, p->flat + k, g + k, 1,
                                   4e-3, &worst));
            if (worst > 3e-3)
                fail_msg("family %zu weight %zu: %g", family, k, worst);
        }
        free(g);
        free(probe.scratch);
        model_free(m);
        end(&w);
    }
}

static void a_head_goes_on_from_the_bases_or_begins_at_zero(void **state)
{
    (void)state;
    for (size_t family = BERT; family <= TINY_FAMILIES; family++) {
        struct world w;
        struct model *m =
            open_judge(&w, family, GGUF_PACKED + QUANT_Q8_0, MODEL_FFA);
        struct params *p = model_params(m);
        static float want[32];
        const float *head = params_data(p, params_find(p, "head.weight"));
        tiny_draw("cls.output.weight", "", want, 32);
        for (size_t i = 0; family == TINY_FAMILIES && i < 32; i++)
            check_near(head[i], 0.3f * want[i], 1e-6);
        for (size_t i = 0; family < TINY_FAMILIES && i < 32; i++)
            check(head[i] == 0);
        /* It begins so again, and learns. */
        struct model_metrics before, after;
        const struct model_training how = {.optimizer = "adamw",
                                           .steps = 60,
                                           .batch = 8,
                                           .learning_rate = 0.01,
                                           .seed = 4};
        float first = head[0];
        check_ok(model_evaluate(m, &w.ex, &before));
        check_ok(model_train(m, &how, &w.ex));
        check_ok(model_evaluate(m, &w.ex, &after));
        check(after.loss < 0.9 * before.loss && after.metric > 0.8);
        model_init(m, 0);
        check_near(head[0], first, 0);
        w.y[2] = 2;
        check_err(model_evaluate(m, &w.ex, &after), TACIT_SHAPE);
        model_free(m);
        end(&w);
    }
}

static void training_twice_gives_the_same_bits(void **state)
{
    struct world w;
    float *first = NULL;
    (void)state;
    begin(&w, MODEL_RETRIEVER, GGUF_PACKED + QUANT_Q8_0);
    for (int i = 0; i < 2; i++) {
        struct model *m = open_model(&w, MODEL_RETRIEVER, MODEL_FFA);
        struct params *p = model_params(m);
        const struct model_training how = {.optimizer = "adamw",
                                           .steps = 5,
                                           .batch = 8,
                                           .learning_rate = 0.01};
        check_ok(model_train(m, &how, &w.ex));
        if (!first) {
            first = malloc(p->n_flat * sizeof *first);
            memcpy(first, p->flat, p->n_flat * sizeof *first);
        } else {
            assert_memory_equal(first, p->flat, p->n_flat * sizeof *first);
        }
        model_init(m, 0);
        for (size_t k = 0; k < p->n_flat; k++) check(p->flat[k] == 0);
        model_free(m);
    }
    free(first);
    end(&w);
}

static void workers_come_and_go_without_a_changed_bit(void **state)
{
    struct world w;
    (void)state;
    begin(&w, MODEL_RETRIEVER, GGUF_PACKED + QUANT_Q8_0);
    struct model *a = open_model(&w, MODEL_RETRIEVER, MODEL_LORA);
    struct model *b = open_model(&w, MODEL_RETRIEVER, MODEL_LORA);
    const struct params *p = model_params(a), *q = model_params(b);
    for (unsigned round = 0; round < 6; round++) {
        const struct model_training how = {.optimizer = "adamw",
                                           .steps = 3,
                                           .batch = 16,
                                           .round = round,
                                           .learning_rate = 0.01};
        struct pool *pool = NULL;
        check_ok(model_train(a, &how, &w.ex));
        /* None, then one worker, then four, each time another pool. */
        if (round % 3) check_ok(pool_new(&pool, round % 3 == 1 ? 1 : 4));
        model_use_pool(b, pool);
        check_ok(model_train(b, &how, &w.ex));
        model_use_pool(b, NULL);
        pool_free(pool);
        assert_memory_equal(p->flat, q->flat, p->n_flat * sizeof *p->flat);
    }
    model_free(a);
    model_free(b);
    end(&w);
}

/* Gradient of five rows under a bound of memory and in given numbers. */
static enum tacit_err gradient_in(struct world *w, enum model_task task,
                                  enum model_adapter adapter,
                                  uint64_t memory_bytes, int fast, float **out,
                                  size_t *n)
{
    static const uint32_t idx[] = {3, 0, 17, 9, 6};
    struct model_spec s = spec_of(w, task, adapter);
    struct model *m = open_model(w, task, adapter);
    struct rng r;
    float loss;
    model_free(m);
    s.base.memory_bytes = memory_bytes;
    s.base.fast = fast;
    check_ok(model_new(&s, &m));
    struct params *p = model_params(m);
    rng_init(&r, 3, 0, 0);
    for (size_t k = 0; k < p->n_flat; k++) p->flat[k] += 0.1f * rng_normal(&r);
    *n = p->n_flat;
    *out = calloc(p->n_flat, sizeof **out);
    enum tacit_err err = model_gradient(m, &w->ex, idx, 5, *out, &loss);
    model_free(m);
    return err;
}

static void keep_to_bounds(enum model_task task, enum model_adapter adapter)
{
    struct world w;
    float *want, *got = NULL;
    size_t n, fits = 0;
    begin(&w, task, GGUF_PACKED + QUANT_Q8_0);
    check_ok(gradient_in(&w, task, adapter, 0, 0, &want, &n));
    for (uint64_t kib = 64; kib < 8192; kib += 16) {
        enum tacit_err err =
            gradient_in(&w, task, adapter, kib << 10, 0, &got, &n);
        if (err) {
            check(!fits); /* what fits into less fits into more */
            check_code(err, E_TRAIN_MEMORY);
            err_clear();
        } else {
            assert_memory_equal(want, got, n * sizeof *want);
            fits++;
        }
        free(got);
        if (fits > 24) break;
    }
    check(fits > 24);
    free(want);
    end(&w);
}

static void a_bound_of_memory_is_kept_without_a_changed_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        keep_to_bounds(tasks[i], MODEL_LORA);
        keep_to_bounds(tasks[i], MODEL_FULL);
    }
}

static void fast_numbers_are_asked_for_and_stay_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct world w;
        float *exact, *fast;
        double dot = 0, a = 0, b = 0;
        size_t n;
        begin(&w, tasks[i], GGUF_PACKED + QUANT_Q8_0);
        check_ok(gradient_in(&w, tasks[i], MODEL_LORA, 0, 0, &exact, &n));
        check_ok(gradient_in(&w, tasks[i], MODEL_LORA, 0, 1, &fast, &n));
        for (size_t k = 0; k < n; k++) {
            dot += (double)exact[k] * (double)fast[k];
            a += (double)exact[k] * (double)exact[k];
            b += (double)fast[k] * (double)fast[k];
        }
        check(dot > 0.999 * sqrt(a * b));
        check(kernel_may(KERNEL_AVX512BF16) ==
              (memcmp(exact, fast, n * sizeof *exact) != 0));
        free(exact);
        free(fast);
        end(&w);
    }
}

static void of_ffa_only_the_outer_matrices_travel(void **state)
{
    struct world w;
    (void)state;
    begin(&w, MODEL_RETRIEVER, QUANT_Q8_0);
    struct model *half = open_model(&w, MODEL_RETRIEVER, MODEL_FFA);
    struct model *whole = open_model(&w, MODEL_RETRIEVER, MODEL_LORA);
    const struct params *a = model_params(half), *b = model_params(whole);
    for (size_t i = 0; i < a->n_params; i++) {
        check(strstr(a->list[i].name, ".lora_b") != NULL);
        check(params_find(b, a->list[i].name) != NULL);
    }
    check(b->n_params == 2 * a->n_params);
    check(a->n_flat < b->n_flat);
    model_free(half);
    model_free(whole);
    end(&w);
}

static void targets_name_the_matrices_that_have_pairs(void **state)
{
    struct world w;
    (void)state;
    begin(&w, MODEL_RETRIEVER, QUANT_Q8_0);
    struct model_spec s = spec_of(&w, MODEL_RETRIEVER, MODEL_FFA);
    struct model *m;
    s.base.targets = NET_Q | NET_DOWN;
    check_ok(model_new(&s, &m));
    const struct params *p = model_params(m);
    for (size_t i = 0; i < p->n_params; i++)
        check(strstr(p->list[i].name, ".attn_q.") ||
              strstr(p->list[i].name, ".ffn_down."));
    check(p->n_params % 2 == 0 && p->n_params > 0);
    model_free(m);
    end(&w);
}

static void language_is_learnt_at_the_second_part_alone(void **state)
{
    struct world w;
    float *a, *b, loss[2];
    const uint32_t row = 0;
    (void)state;
    begin(&w, MODEL_LM, QUANT_F32);
    struct model *m = open_model(&w, MODEL_LM, MODEL_LORA);
    size_t n = model_params(m)->n_flat;
    a = calloc(n, sizeof *a);
    b = calloc(n, sizeof *b);
    /* Without its last token, and with that one token as all there is to
     * predict: together they are the row, in the shares of their labels. */
    uint32_t end_was = w.start[1], seconds = end_was - 3;
    float all;
    check_ok(model_gradient(m, &w.ex, &row, 1, a, &all));
    w.second[0] = end_was - 1;
    check_ok(model_gradient(m, &w.ex, &row, 1, b, &loss[1]));
    w.second[0] = 3;
    memmove(w.token + end_was - 1, w.token + end_was,
            (w.start[N] - end_was) * sizeof *w.token);
    for (size_t i = 1; i <= N; i++) w.start[i]--;
    check_ok(model_gradient(m, &w.ex, &row, 1, b, &loss[0]));
    check_near(((double)loss[0] * (seconds - 1) + (double)loss[1]) / seconds,
               all, 1e-5);
    free(a);
    free(b);
    model_free(m);
    end(&w);
}

/* Whether there is room does not depend on which rows there are. */
static void room_for_the_longest_row_is_room_for_all(void **state)
{
    struct world w;
    float *grad, loss;
    size_t fits = 0;
    (void)state;
    begin(&w, MODEL_RETRIEVER, QUANT_F32);
    model_free(open_model(&w, MODEL_RETRIEVER, MODEL_LORA)); /* its rows */
    for (uint64_t kib = 64; kib < 8192 && fits < 4; kib += 64) {
        struct model_spec s = spec_of(&w, MODEL_RETRIEVER, MODEL_LORA);
        struct model *m;
        s.base.memory_bytes = kib << 10;
        check_ok(model_new(&s, &m));
        grad = calloc(model_params(m)->n_flat, sizeof *grad);
        enum tacit_err err = model_room(m, &w.ex, MOST);
        if (err) {
            check_code(err, E_TRAIN_MEMORY);
        } else {
            for (uint32_t i = 0; i < N; i++)
                check_ok(model_gradient(m, &w.ex, &i, 1, grad, &loss));
            check_code(model_room(m, &w.ex, 4096), E_TRAIN_MEMORY);
            fits++;
        }
        free(grad);
        model_free(m);
    }
    assert_int_equal(fits, 4);
    end(&w);
}

static void hard_negatives_make_the_task_harder(void **state)
{
    struct world w;
    struct model_metrics with, without;
    (void)state;
    begin(&w, MODEL_RETRIEVER, QUANT_F32);
    struct model *m = open_model(&w, MODEL_RETRIEVER, MODEL_FFA);
    check_ok(model_evaluate(m, &w.ex, &with));
    float place[N];
    double found = 0;
    check_ok(model_predict(m, &w.ex, place));
    for (size_t i = 0; i < N; i++) found += place[i] <= 5;
    check_near(found / N, with.metric, 1e-9);
    w.ex.hard = NULL;
    check_ok(model_evaluate(m, &w.ex, &without));
    check(with.loss > without.loss);
    check_near(with.metric, without.metric, 0);
    model_free(m);
    end(&w);
}

static void a_base_that_is_missing_or_another_is_refused(void **state)
{
    struct world w;
    struct model *m;
    (void)state;
    begin(&w, MODEL_LM, QUANT_F32);
    struct model_spec s = spec_of(&w, MODEL_LM, MODEL_FFA);
    s.base.where = NULL;
    check_code(model_new(&s, &m), E_BASE_MISSING);
    s.base.where = w.dir; /* holds none of that name */
    check_code(model_new(&s, &m), E_BASE_MISSING);
    s.base.where = w.path;
    s.base.hash.b[0] ^= 1;
    check_err(model_new(&s, &m), TACIT_FORMAT);
    s.base.hash.b[0] ^= 1;
    s.task = MODEL_READER;
    check_err(model_new(&s, &m), TACIT_UNSUPPORTED);
    end(&w);
}

static void rows_that_the_network_cannot_read_are_named(void **state)
{
    struct world w;
    struct model_metrics got;
    (void)state;
    begin(&w, MODEL_READER, QUANT_F32);
    struct model *m = open_model(&w, MODEL_READER, MODEL_FFA);
    w.token[w.start[2]] = 1u << 30;
    check_err(model_evaluate(m, &w.ex, &got), TACIT_SHAPE);
    make_rows(&w, w.ex.x_dim);
    w.span[3] = MOST;
    check_err(model_evaluate(m, &w.ex, &got), TACIT_SHAPE);
    make_rows(&w, w.ex.x_dim);
    w.second[1] = MOST;
    check_err(model_evaluate(m, &w.ex, &got), TACIT_SHAPE);
    make_rows(&w, w.ex.x_dim);
    w.ex.text = NULL;
    check_err(model_evaluate(m, &w.ex, &got), TACIT_SHAPE);
    model_free(m);
    end(&w);
}

/* ---- what a merge writes ---- */

static void hidden_of(const struct net *n, float *out, size_t *cols)
{
    struct tape t;
    struct tiny_batch tokens;
    tape_init(&t, 0);
    tiny_tokens(&tokens);
    const struct net_run run = {.net = n, .tape = &t};
    const struct net_batch b = tiny_packed(&tokens);
    const struct var *h = net_hidden(&run, &b);
    check(h && h->rows == TINY_ROWS && h->cols <= WIDTH);
    *cols = h->cols;
    memcpy(out, h->v, h->rows * h->cols * sizeof *out);
    tape_release(&t);
}

static void pairs_added_to_their_matrices_are_the_same_network(void **state)
{
    (void)state;
    for (size_t f = 0; f < TINY_FAMILIES; f++) {
        static float with[TINY_ROWS * WIDTH], whole[TINY_ROWS * WIDTH];
        const struct net_options pairs = {.train = NET_PAIRS_UP,
                                          .rank = 3,
                                          .alpha = 6,
                                          .seed = 2};
        const struct net_options full = {.train = NET_FULL};
        struct tiny_net a, b;
        struct rng r;
        size_t cols;
        tiny_open(&a, &tiny_families[f], QUANT_F32, &pairs);
        tiny_open(&b, &tiny_families[f], QUANT_F32, &full);
        rng_init(&r, 1, 0, 0);
        struct params *p = net_params(a.net);
        for (size_t i = 0; i < p->n_flat; i++) p->flat[i] = rng_normal(&r) / 9;
        size_t n = net_n_pairs(a.net);
        check(n == p->n_params && n > 0);
        for (size_t i = 0; i < n; i++) {
            struct net_pair x;
            net_pair_at(a.net, i, &x);
            const struct param *w = params_find(net_params(b.net), x.name);
            check(w && w->len == x.rows * x.cols && x.rank == 3);
            float *v = params_data(net_params(b.net), w);
            for (size_t k = 0; k < w->len; k++)
                for (size_t j = 0; j < x.rank; j++)
                    v[k] += x.scale * x.up[k / x.cols * x.rank + j] *
                            x.down[j * x.cols + k % x.cols];
        }
        hidden_of(a.net, with, &cols);
        hidden_of(b.net, whole, &cols);
        check_tensor(with, whole, TINY_ROWS * cols, 1e-4);
        tiny_close(&a);
        tiny_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_every_task_and_adapter_is_one),
        cmocka_unit_test(every_task_learns_over_a_packed_base_of_q8),
        cmocka_unit_test(yes_or_no_is_one_output_with_a_gradient),
        cmocka_unit_test(a_head_goes_on_from_the_bases_or_begins_at_zero),
        cmocka_unit_test(training_twice_gives_the_same_bits),
        cmocka_unit_test(workers_come_and_go_without_a_changed_bit),
        cmocka_unit_test(a_bound_of_memory_is_kept_without_a_changed_bit),
        cmocka_unit_test(fast_numbers_are_asked_for_and_stay_near),
        cmocka_unit_test(of_ffa_only_the_outer_matrices_travel),
        cmocka_unit_test(targets_name_the_matrices_that_have_pairs),
        cmocka_unit_test(language_is_learnt_at_the_second_part_alone),
        cmocka_unit_test(room_for_the_longest_row_is_room_for_all),
        cmocka_unit_test(hard_negatives_make_the_task_harder),
        cmocka_unit_test(a_base_that_is_missing_or_another_is_refused),
        cmocka_unit_test(rows_that_the_network_cannot_read_are_named),
        cmocka_unit_test(pairs_added_to_their_matrices_are_the_same_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
