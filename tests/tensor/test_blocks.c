/* The ops of a transformer: against their definition, worked out with plain
 * loops in f64, gradients against finite differences, and what happens when
 * shapes do not fit. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_attend.h"
#include "common/tensor/ops_block.h"
#include "common/tensor/ops_feed.h"
#include "common/tensor/ops_linear.h"
#include "common/tensor/ops_norm.h"
#include "tests/tensor/layer_case.h"

static void draw(float *v, size_t n, uint64_t stream)
{
    struct rng r;
    rng_init(&r, 77, stream, 0);
    for (size_t i = 0; i < n; i++) v[i] = rng_normal(&r);
}

/* ---- attention against its definition ---- */

enum { T_MAX = 160, HEADS = 6, KV = 2, WIDTH = 8 };

struct attention {
    size_t n; /* rows of one sequence, its past included */
    size_t window;
    enum attend_mask mask;
    float q[T_MAX * HEADS * WIDTH], k[T_MAX * KV * WIDTH];
    float v[T_MAX * KV * WIDTH], out[T_MAX * HEADS * WIDTH];
};

static void attend_plainly(struct attention *a)
{
    for (size_t i = 0; i < a->n; i++)
        for (size_t h = 0; h < HEADS; h++) {
            const float *q = a->q + (i * HEADS + h) * WIDTH;
            double sum = 0, out[WIDTH] = {0};
            for (size_t j = 0; j < a->n; j++) {
                const float *k = a->k + (j * KV + h / (HEADS / KV)) * WIDTH;
                const float *v = a->v + (j * KV + h / (HEADS / KV)) * WIDTH;
                double dot = 0;
                if (a->mask == ATTEND_CAUSAL && j > i) continue;
                if (a->window && j + a->window <= i) continue;
                for (size_t c = 0; c < WIDTH; c++)
                    dot += (double)q[c] * (double)k[c];
                dot = exp(0.5 * dot);
                sum += dot;
                for (size_t c = 0; c < WIDTH; c++) out[c] += dot * (double)v[c];
            }
            for (size_t c = 0; c < WIDTH; c++)
                a->out[(i * HEADS + h) * WIDTH + c] = (float)(out[c] / sum);
        }
}

static void attention_new(struct attention *a, size_t n, size_t window,
                          enum attend_mask mask)
{
    *a = (struct attention){.n = n, .window = window, .mask = mask};
    draw(a->q, n * HEADS * WIDTH, n);
    draw(a->k, n * KV * WIDTH, n + 1000);
    draw(a->v, n * KV * WIDTH, n + 2000);
    attend_plainly(a);
}

static struct op_attend how_of(const struct attention *a, const uint32_t *start,
                               size_t n)
{
    return (struct op_attend){.heads = HEADS,
                              .kv_heads = KV,
                              .scale = 0.5f,
                              .mask = a->mask,
                              .window = a->window,
                              .segments = {start, n}};
}

static void attention_gives_what_its_definition_gives(void **state)
{
    (void)state;
    static struct attention a;
    static const size_t lengths[] = {1, 2, 63, 64, 65, 150};
    static const size_t windows[] = {0, 1, 8, 100};
    for (size_t l = 0; l < 6; l++)
        for (size_t w = 0; w < 5; w++) {
            struct tape t;
            tape_init(&t, 0);
            attention_new(&a, lengths[l], w < 4 ? windows[w] : 0,
                          w < 4 ? ATTEND_CAUSAL : ATTEND_ALL);
            const uint32_t start[] = {0, (uint32_t)a.n};
            struct op_attend how = how_of(&a, start, 1);
            struct var *out =
                op_attend(&t, tape_constant(&t, a.q, a.n, HEADS * WIDTH),
                          tape_constant(&t, a.k, a.n, KV * WIDTH),
                          tape_constant(&t, a.v, a.n, KV * WIDTH), &how);
            check_ok(t.err);
            check_tensor(out->v, a.out, a.n * HEADS * WIDTH, 2e-5);
            tape_release(&t);
        }
}

static void packed_sequences_do_not_see_each_other(void **state)
{
    (void)state;
    static const size_t lengths[] = {70, 1, 5};
    static struct attention a[3];
    static float q[T_MAX * HEADS * WIDTH], k[T_MAX * KV * WIDTH];
    static float v[T_MAX * KV * WIDTH];
    uint32_t start[4] = {0};
    struct pool *pool;
    struct tape t;
    tape_init(&t, 0);
    check_ok(pool_new(&pool, 3));
    t.pool = pool;
    for (size_t i = 0; i < 3; i++) {
        size_t at = start[i];
        attention_new(&a[i], lengths[i], 7, ATTEND_CAUSAL);
        memcpy(q + at * HEADS * WIDTH, a[i].q,
               lengths[i] * HEADS * WIDTH * sizeof *q);
        memcpy(k + at * KV * WIDTH, a[i].k,
               lengths[i] * KV * WIDTH * sizeof *k);
        memcpy(v + at * KV * WIDTH, a[i].v,
               lengths[i] * KV * WIDTH * sizeof *v);
        start[i + 1] = start[i] + (uint32_t)lengths[i];
    }
    struct op_attend how = how_of(&a[0], start, 3);
    struct var *out = op_attend(&t, tape_constant(&t, q, 76, HEADS * WIDTH),
                                tape_constant(&t, k, 76, KV * WIDTH),
                                tape_constant(&t, v, 76, KV * WIDTH), &how);
    check_ok(t.err);
    for (size_t i = 0; i < 3; i++)
        check_tensor(out->v + start[i] * HEADS * WIDTH, a[i].out,
                     lengths[i] * HEADS * WIDTH, 2e-5);
    tape_release(&t);
    pool_free(pool);
}

static void fetch(const void *ctx, size_t head, size_t from, size_t n, float *k,
                  float *v)
{
    const struct attention *a = ctx;
    check(n <= ATTEND_TILE && from + n <= a->n);
    for (size_t i = 0; i < n; i++) {
        size_t at = ((from + i) * KV + head) * WIDTH;
        memcpy(k + i * WIDTH, a->k + at, WIDTH * sizeof *k);
        memcpy(v + i * WIDTH, a->v + at, WIDTH * sizeof *v);
    }
}

static void a_sequence_goes_on_from_its_past(void **state)
{
    (void)state;
    static struct attention a;
    for (size_t window = 0; window <= 20; window += 10)
        for (size_t n_past = 1; n_past < 150; n_past += 37) {
            struct tape t;
            tape_init(&t, 0);
            attention_new(&a, 150, window, ATTEND_CAUSAL);
            size_t n = n_past == 149 ? 1 : 150 - n_past;
            const uint32_t start[] = {0, (uint32_t)n};
            const struct attend_past past = {n_past, &a, fetch};
            struct op_attend how = how_of(&a, start, 1);
            how.past = &past;
            size_t q = n_past * HEADS * WIDTH, k = n_past * KV * WIDTH;
            struct var *out =
                op_attend(&t, tape_constant(&t, a.q + q, n, HEADS * WIDTH),
                          tape_constant(&t, a.k + k, n, KV * WIDTH),
                          tape_constant(&t, a.v + k, n, KV * WIDTH), &how);
            check_ok(t.err);
            check_tensor(out->v, a.out + q, n * HEADS * WIDTH, 2e-5);
            tape_release(&t);
        }
}

/* ---- the others ---- */

static void turns_are_those_of_complex_numbers(void **state)
{
    (void)state;
    static const uint32_t position[] = {0, 5, 1000};
    static const float factors[] = {1, 8};
    struct tape t;
    float x[3 * 12];
    draw(x, 36, 1);
    tape_init(&t, 0);
    for (int layout = ROPE_PAIRS; layout <= ROPE_HALVES; layout++) {
        /* Two heads of six, of which four turn. */
        const struct op_rope rope = {(enum rope_layout)layout, 4, 500, 0.5,
                                     factors};
        struct var *y = op_turn(&t, tape_constant(&t, x, 3, 12),
                                op_turns_new(&t, &rope, position, 3), 2);
        check_ok(t.err);
        for (size_t i = 0; i < 6; i++)
            for (size_t j = 0; j < 2; j++) {
                size_t a = layout == ROPE_PAIRS ? 2 * j : j;
                size_t b = layout == ROPE_PAIRS ? a + 1 : j + 2;
                const float *from = x + i * 6, *to = y->v + i * 6;
                double angle = position[i / 2] * 0.5 *
                               pow(500, -(double)j / 2) / (double)factors[j];
                double p = (double)from[a], q = (double)from[b];
                check_near(to[a], p * cos(angle) - q * sin(angle), 1e-6);
                check_near(to[b], p * sin(angle) + q * cos(angle), 1e-6);
                check_tensor(to + 4, from + 4, 2, 0);
            }
    }
    tape_release(&t);
}

static void a_head_costs_what_its_logits_cost(void **state)
{
    (void)state;
    enum { T = 90, D = 5, V = 11, N = 70 };
    static float h[T * D], w[V * D], some[N * D];
    uint32_t row[N], label[N];
    struct tape t;
    tape_init(&t, 0);
    draw(h, T * D, 3);
    draw(w, V * D, 4);
    for (uint32_t i = 0; i < N; i++) {
        row[i] = i * 7 % T;
        label[i] = i % V;
        memcpy(some + i * D, h + row[i] * D, D * sizeof *h);
    }
    const struct op_matrix m = {.w = tape_constant(&t, w, V, D)};
    const struct op_labels labels = {row, label, N};
    struct var *loss =
        op_head_ce(&t, tape_constant(&t, h, T, D), &m, &labels, NULL);
    struct var *z = op_project(&t, tape_constant(&t, some, N, D), &m);
    struct var *want = op_softmax_ce(&t, z, label);
    check_ok(t.err);
    check_near(loss->v[0], want->v[0], 1e-6);
    tape_release(&t);
}

/* All of the loss the teacher's: the cross-entropy of its shares, and its own
 * entropy for a student that is the teacher. */
static void a_teacher_is_matched_at_its_own_logits(void **state)
{
    (void)state;
    enum { T = 140, D = 3, V = 4 };
    static float h[T * D], w[V * D], p[T * V], grad[T * D];
    static uint32_t row[T], label[T], id[T * V];
    double entropy = 0;
    struct tape t;
    tape_init(&t, 0);
    draw(h, T * D, 5);
    draw(w, V * D, 6);
    for (uint32_t i = 0; i < T; i++) {
        double e[V], sum = 0;
        row[i] = i;
        for (uint32_t v = 0; v < V; v++) {
            double z = 0;
            for (size_t d = 0; d < D; d++)
                z += (double)h[i * D + d] * (double)w[v * D + d];
            sum += e[v] = exp(z);
            id[i * V + v] = v;
        }
        for (size_t v = 0; v < V; v++) {
            p[i * V + v] = (float)(e[v] / sum);
            entropy -= e[v] / sum * log(e[v] / sum) / T;
        }
    }
    const struct op_teacher teacher = {id, p, V, 1};
    const struct op_labels labels = {row, label, T};
    const struct op_matrix m = {.w = tape_constant(&t, w, V, D)};
    struct var *loss = op_head_ce(&t, tape_parameter(&t, h, grad, T, D), &m,
                                  &labels, &teacher);
    check_ok(t.err);
    check_near(loss->v[0], entropy, 1e-5);
    check_ok(tape_backward(&t, loss));
    for (size_t i = 0; i < T * D; i++) check_near(grad[i], 0, 1e-7);
    tape_release(&t);
}

static void norms_keep_to_the_epsilon_they_get(void **state)
{
    (void)state;
    float x[] = {0.001f, -0.003f, 0.002f, 0.004f}, gain[] = {1, 2, 3, 4};
    float bias[] = {0, 0, 1, 1};
    struct tape t;
    tape_init(&t, 0);
    struct var *v = tape_constant(&t, x, 1, 4);
    struct var *g = tape_constant(&t, gain, 1, 4);
    struct var *b = tape_constant(&t, bias, 1, 4);
    static const double epsilons[] = {1e-12, 1e-5};
    for (size_t e = 0; e < 2; e++) {
        double mean = 0.001, rms = sqrt(7.5e-6 + epsilons[e]);
        double sd = sqrt(6.5e-6 + epsilons[e]);
        struct var *r = op_rms_norm(&t, v, g, epsilons[e]);
        struct var *l = op_layer_norm_eps(&t, v, g, b, epsilons[e]);
        check_ok(t.err);
        for (size_t i = 0; i < 4; i++) {
            check_near(r->v[i], (double)x[i] / rms * (double)gain[i], 1e-6);
            check_near(l->v[i],
                       ((double)x[i] - mean) / sd * (double)gain[i] +
                           (double)bias[i],
                       1e-5);
        }
    }
    tape_release(&t);
}

/* Rows enough for both ways to work a product out, outputs for two slabs. */
static void projects_are_sums_of_products_with_any_number_of_workers(
    void **state)
{
    (void)state;
    enum { IN = 37, OUT = 200, R = 3, T = 40 };
    static float x[T * IN], w[OUT * IN], b[OUT], down[R * IN], up[OUT * R];
    static float grad[2][T * IN + OUT * IN + R * IN + OUT * R];
    static float out[2][T * OUT];
    draw(x, T * IN, 5);
    draw(w, OUT * IN, 6);
    draw(b, OUT, 7);
    draw(down, R * IN, 8);
    draw(up, OUT * R, 9);
    for (size_t rows = 1; rows <= T; rows += 39)
        for (unsigned k = 0; k < 2; k++) {
            struct pool *pool = NULL;
            struct tape t;
            float *g = grad[k];
            tape_init(&t, 0);
            if (k) check_ok(pool_new(&pool, 4));
            t.pool = pool;
            memset(g, 0, sizeof grad[k]);
            const struct op_matrix m = {
                .w = tape_parameter(&t, w, g + T * IN, OUT, IN),
                .bias = tape_constant(&t, b, 1, OUT),
                .down = tape_parameter(&t, down, g + T * IN + OUT * IN, R, IN),
                .up = tape_parameter(&t, up, g + T * IN + OUT * IN + R * IN,
                                     OUT, R),
                .scale = 0.5f};
            struct var *y =
                op_project(&t, tape_parameter(&t, x, g, rows, IN), &m);
            check_ok(t.err);
            memcpy(out[k], y->v, rows * OUT * sizeof *out[k]);
            static uint32_t label[T];
            check_ok(tape_backward(&t, op_softmax_ce(&t, y, label)));
            tape_release(&t);
            pool_free(pool);
            for (size_t i = 0; i < rows * OUT; i++) {
                double want = (double)b[i % OUT], low[R] = {0};
                for (size_t c = 0; c < IN; c++) {
                    double v = (double)x[i / OUT * IN + c];
                    want += v * (double)w[i % OUT * IN + c];
                    for (size_t l = 0; l < R; l++)
                        low[l] += v * (double)down[l * IN + c];
                }
                for (size_t l = 0; l < R; l++)
                    want += 0.5 * low[l] * (double)up[i % OUT * R + l];
                check_near(out[k][i], want, 3e-5);
            }
            if (!k) continue;
            check(memcmp(out[0], out[1], rows * OUT * sizeof *x) == 0);
            check(memcmp(grad[0], grad[1], sizeof grad[0]) == 0);
        }
}

/* A packed matrix gives what its numbers give, forward and back. */
static void a_packed_matrix_gives_what_its_numbers_give(void **state)
{
    (void)state;
    enum { IN = 64, OUT = 40, T = 9 };
    static float x[T * IN], w[OUT * IN], g[2][T * IN], out[2][T * OUT];
    static uint8_t packed[1 << 14], wide[2 * OUT * IN];
    static const uint32_t row[] = {0, 8, 3}, label[] = {1, 39, 17};
    static const struct op_labels labels = {row, label, 3};
    float loss[2];
    draw(x, T * IN, 10);
    draw(w, OUT * IN, 11);
    check(weight_bytes(QUANT_BF16, OUT, IN) <= sizeof packed);
    check_ok(quant_encode(QUANT_BF16, w, wide, OUT * IN));
    quant_decode(QUANT_BF16, wide, w, OUT * IN);
    weight_pack(QUANT_BF16, OUT, IN, wide, packed);
    const struct weight frozen = {QUANT_BF16, OUT, IN, packed};
    for (int k = 0; k < 2; k++) {
        struct tape t;
        tape_init(&t, 0);
        const struct op_matrix m = {.w = k ? NULL
                                           : tape_constant(&t, w, OUT, IN),
                                    .frozen = &frozen};
        struct var *v = tape_parameter(&t, x, g[k], T, IN);
        struct var *y = op_project(&t, v, &m);
        struct var *z = op_lookup(&t, &m, label, 3);
        check_ok(t.err);
        check_tensor(z->v + IN, w + 39 * IN, IN, 0);
        struct var *over = op_lookup_over(&t, &m, label, z);
        check_ok(t.err);
        assert_ptr_equal(over->v, z->v);
        for (size_t i = 0; i < IN; i++)
            check_near(over->v[IN + i], 2 * w[39 * IN + i], 0);
        memcpy(out[k], y->v, sizeof out[k]);
        struct var *l = op_head_ce(&t, v, &m, &labels, NULL);
        check_ok(tape_backward(&t, l));
        loss[k] = l->v[0];
        tape_release(&t);
    }
    check_tensor(out[1], out[0], T * OUT, 1e-4);
    check_tensor(g[1], g[0], T * IN, 1e-5);
    check_near(loss[1], loss[0], 1e-5);
}

/* ---- gradients ---- */

static const uint32_t two[] = {0, 3, 5}, one[] = {0, 5};

static struct var *attend_with(struct tape *t, struct var *const *in,
                               enum attend_mask mask, size_t window,
                               const uint32_t *start, size_t n)
{
    const struct op_attend how = {.heads = 4,
                                  .kv_heads = 2,
                                  .scale = 0.7f,
                                  .mask = mask,
                                  .window = window,
                                  .segments = {start, n}};
    return op_attend(t, in[0], in[1], in[2], &how);
}
static struct var *attend_causal(struct tape *t, struct var *const *in)
{
    return attend_with(t, in, ATTEND_CAUSAL, 0, two, 2);
}
static struct var *attend_all(struct tape *t, struct var *const *in)
{
    return attend_with(t, in, ATTEND_ALL, 0, two, 2);
}
static struct var *attend_window(struct tape *t, struct var *const *in)
{
    return attend_with(t, in, ATTEND_CAUSAL, 2, one, 1);
}
/* More rows than a tile. */
static struct var *attend_far(struct tape *t, struct var *const *in)
{
    static const uint32_t start[] = {0, 70};
    const struct op_attend how = {.heads = 1,
                                  .kv_heads = 1,
                                  .scale = 1,
                                  .mask = ATTEND_CAUSAL,
                                  .window = 66,
                                  .segments = {start, 1}};
    return op_attend(t, in[0], in[1], in[2], &how);
}
static struct var *rms(struct tape *t, struct var *const *in)
{
    return op_rms_norm(t, in[0], in[1], 1e-3);
}
static struct var *layer_eps(struct tape *t, struct var *const *in)
{
    return op_layer_norm_eps(t, in[0], in[1], in[2], 1e-2);
}
static struct var *turn(struct tape *t, struct var *const *in,
                        enum rope_layout layout)
{
    static const uint32_t position[] = {0, 3, 9};
    const struct op_rope rope = {layout, 4, 100, 1, NULL};
    return op_turn(t, in[0], op_turns_new(t, &rope, position, 3), 2);
}
static struct var *turn_in_pairs(struct tape *t, struct var *const *in)
{
    return turn(t, in, ROPE_PAIRS);
}
static struct var *turn_in_halves(struct tape *t, struct var *const *in)
{
    return turn(t, in, ROPE_HALVES);
}
static struct var *swiglu(struct tape *t, struct var *const *in)
{
    return op_swiglu(t, in[0], in[1]);
}
static struct var *pool_mean(struct tape *t, struct var *const *in)
{
    return op_pool(t, in[0], &(struct op_segments){two, 2}, POOL_MEAN);
}
static struct var *pool_first(struct tape *t, struct var *const *in)
{
    return op_pool(t, in[0], &(struct op_segments){two, 2}, POOL_FIRST);
}
static struct var *project(struct tape *t, struct var *const *in)
{
    return op_project(t, in[0], &(struct op_matrix){.w = in[1], .bias = in[2]});
}
static struct var *project_pair(struct tape *t, struct var *const *in)
{
    return op_project(t, in[0],
                      &(struct op_matrix){.w = in[1],
                                          .bias = in[2],
                                          .down = in[3],
                                          .up = in[4],
                                          .scale = 0.5f});
}
static struct var *lookup(struct tape *t, struct var *const *in)
{
    static const uint32_t id[] = {1, 4, 1, 0};
    return op_lookup(t, &(struct op_matrix){.w = in[0]}, id, 4);
}
static struct var *lookup_over(struct tape *t, struct var *const *in)
{
    static const uint32_t id[] = {1, 0, 1, 2};
    return op_lookup_over(t, &(struct op_matrix){.w = in[1]}, id,
                          lookup(t, in));
}
static struct var *head(struct tape *t, struct var *const *in)
{
    static const uint32_t row[] = {4, 0, 4, 2}, label[] = {1, 2, 0, 1};
    static const struct op_labels labels = {row, label, 4};
    return op_head_ce(t, in[0], &(struct op_matrix){.w = in[1], .bias = in[2]},
                      &labels, NULL);
}
static struct var *taught(struct tape *t, struct var *const *in)
{
    static const uint32_t row[] = {4, 0, 4, 2}, label[] = {1, 2, 0, 1};
    static const uint32_t id[] = {0, 1, 2, 0, 1, 2, 2, 1};
    static const float p[] = {0.9f, 0.1f, 0.5f, 0.5f, 0.75f, 0.25f, 1, 0};
    static const struct op_teacher teacher = {id, p, 2, 0.75f};
    static const struct op_labels labels = {row, label, 4};
    return op_head_ce(t, in[0], &(struct op_matrix){.w = in[1], .bias = in[2]},
                      &labels, &teacher);
}

static struct var *feed(struct tape *t, struct var *const *in)
{
    const struct op_feed m = {in[1], in[2], in[3], in[4]};
    return op_feed(t, in[0], &m);
}

static struct var *add_over(struct tape *t, struct var *const *in)
{
    const struct op_matrix m = {.w = in[2]};
    return op_add_over(t, in[0], op_project(t, in[1], &m));
}

/* Of values that two ops read: who adds to the gradient first sets it, the one
 * or the other, in memory that an earlier gradient was in. */
static struct var *set_and_added(struct tape *t, struct var *const *in)
{
    const struct op_matrix m = {.w = in[1]};
    struct var *h = op_tanh(t, in[0]);
    for (int first = 0; first < 2; first++) {
        struct var *g = first ? op_gelu(t, h) : NULL;
        struct var *y = op_project(t, h, &m);
        h = op_swiglu(t, op_add(t, y, g ? g : op_gelu(t, h)), y);
    }
    return h;
}

static const struct layer_case cases[] = {
    {"attention, causal", {{5, 12}, {5, 6}, {5, 6}}, attend_causal},
    {"attention to both sides", {{5, 12}, {5, 6}, {5, 6}}, attend_all},
    {"attention in a window", {{5, 12}, {5, 6}, {5, 6}}, attend_window},
    {"attention over tiles", {{70, 2}, {70, 2}, {70, 2}}, attend_far},
    {"rms_norm", {{3, 5}, {1, 5}}, rms},
    {"layer_norm, epsilon", {{3, 5}, {1, 5}, {1, 5}}, layer_eps},
    {"turn in pairs", {{3, 12}}, turn_in_pairs},
    {"turn in halves", {{3, 12}}, turn_in_halves},
    {"swiglu", {{3, 5}, {3, 5}}, swiglu},
    {"pool, mean", {{5, 3}}, pool_mean},
    {"pool, first", {{5, 3}}, pool_first},
    {"project", {{3, 4}, {5, 4}, {1, 5}}, project},
    {"project of many rows", {{20, 4}, {5, 4}, {1, 5}}, project},
    {"project with a pair",
     {{3, 4}, {5, 4}, {1, 5}, {2, 4}, {5, 2}},
     project_pair},
    {"feed", {{3, 4}, {6, 4}, {1, 6}, {4, 6}, {1, 4}}, feed},
    {"feed of many rows", {{20, 4}, {6, 4}, {1, 6}, {4, 6}, {1, 4}}, feed},
    {"add over", {{3, 5}, {3, 4}, {5, 4}}, add_over},
    {"gradients set, then added to", {{3, 4}, {4, 4}}, set_and_added},
    {"lookup", {{5, 3}}, lookup},
    {"lookup over", {{5, 3}, {3, 3}}, lookup_over},
    {"head", {{5, 4}, {3, 4}, {1, 3}}, head},
    {"head with a teacher", {{5, 4}, {3, 4}, {1, 3}}, taught},
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* Over more rows than are there at a time: its parts one by one, in f32 and,
 * where z is kept in two bytes, near to it. */
static void a_feed_is_its_parts_one_by_one(void **state)
{
    enum { D = 8, F = 16, ROWS = FEED_ROWS + 37 };
    static float w[ROWS * D + F * D + F + D * F + D];
    static float g[3][sizeof w / sizeof *w];
    const size_t at[] = {0, ROWS * D, ROWS * D + F * D, ROWS * D + F * D + F,
                         ROWS * D + F * D + F + D * F};
    const size_t shape[][2] = {{ROWS, D}, {F, D}, {1, F}, {D, F}, {1, D}};
    float loss[3];
    (void)state;
    draw(w, sizeof w / sizeof *w, 5);
    memset(g, 0, sizeof g);
    for (int way = 0; way < 3; way++) {
        struct tape t;
        struct var *in[5], *y;
        tape_init(&t, 0);
        t.numbers = way == 2 ? GEMM_BF16 : GEMM_F32;
        for (size_t i = 0; i < 5; i++)
            in[i] = tape_parameter(&t, w + at[i], g[way] + at[i], shape[i][0],
                                   shape[i][1]);
        const struct op_matrix wide = {.w = in[1], .bias = in[2]};
        const struct op_matrix narrow = {.w = in[3], .bias = in[4]};
        y = way ? feed(&t, in)
                : op_project(&t, op_gelu(&t, op_project(&t, in[0], &wide)),
                             &narrow);
        struct op_segments all = {(const uint32_t[]){0, ROWS}, 1};
        static float ones[D] = {1, 2, -1, 3, 1, 1, -2, 1}, goal[1];
        y = op_pool(&t, y, &all, POOL_MEAN);
        struct var *l =
            op_mse(&t, op_matmul(&t, y, tape_constant(&t, ones, D, 1)), goal);
        check_ok(tape_backward(&t, l));
        loss[way] = l->v[0];
        tape_release(&t);
    }
    check_near(loss[1], loss[0], 1e-5 * (double)loss[0]);
    check_near(loss[2], loss[0], 1e-2 * (double)loss[0]);
    for (int way = 1; way < 3; way++) {
        double off = 0, size = 0;
        for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
            off += pow((double)g[way][i] - (double)g[0][i], 2);
            size += pow((double)g[0][i], 2);
        }
        check(sqrt(off / size) < (way == 1 ? 1e-5 : 2e-2));
    }
}

/* Matrices wider than the slabs of any workers, trained and packed. */
enum { SLAB_ROWS = 136, SLAB_OUT = 704, SLAB_IN = 640, SLAB_RANK = 8 };

struct slabs {
    float y[2][SLAB_ROWS * SLAB_OUT], dx[2][SLAB_ROWS * SLAB_IN];
    float dw[SLAB_OUT * SLAB_IN];
    float ddown[SLAB_RANK * SLAB_IN], dup[SLAB_OUT * SLAB_RANK];
};

static void run_slabs(const float *x, const float *w, const struct weight *q,
                      enum gemm_numbers numbers, unsigned threads,
                      struct slabs *out)
{
    struct tape t;
    memset(out, 0, sizeof *out);
    tape_init(&t, 0);
    t.numbers = numbers;
    if (threads) check_ok(pool_new(&t.pool, threads));
    for (int packed = 0; packed < 2; packed++) {
        static float in[SLAB_ROWS * SLAB_IN], m[SLAB_OUT * SLAB_IN];
        memcpy(in, x, sizeof in);
        memcpy(m, w, sizeof m);
        struct var *v =
            tape_parameter(&t, in, out->dx[packed], SLAB_ROWS, SLAB_IN);
        const struct op_matrix matrix = {
            .w = packed ? NULL
                        : tape_parameter(&t, m, out->dw, SLAB_OUT, SLAB_IN),
            .frozen = packed ? q : NULL,
            .down = tape_parameter(&t, m, out->ddown, SLAB_RANK, SLAB_IN),
            .up = tape_parameter(&t, m, out->dup, SLAB_OUT, SLAB_RANK),
            .scale = 2};
        static float goal[SLAB_ROWS], ones[SLAB_OUT];
        for (size_t i = 0; i < SLAB_OUT; i++) ones[i] = (float)(i % 5) - 2;
        struct var *y = op_project(&t, v, &matrix);
        struct var *l =
            op_mse(&t, op_matmul(&t, y, tape_constant(&t, ones, SLAB_OUT, 1)),
                   goal);
        check_ok(tape_backward(&t, l));
        memcpy(out->y[packed], y->v, sizeof out->y[packed]);
        tape_reset(&t);
    }
    struct pool *pool = t.pool;
    tape_release(&t);
    pool_free(pool);
}

static void the_slabs_of_workers_change_no_bit(void **state)
{
    static float x[SLAB_ROWS * SLAB_IN], w[SLAB_OUT * SLAB_IN];
    static struct slabs alone, shared;
    (void)state;
    draw(x, SLAB_ROWS * SLAB_IN, 1);
    draw(w, SLAB_OUT * SLAB_IN, 2);
    size_t row = quant_bytes(QUANT_Q8_0, SLAB_IN);
    uint8_t *rows = malloc(row * SLAB_OUT);
    size_t n = weight_bytes(QUANT_Q8_0, SLAB_OUT, SLAB_IN);
    uint8_t *data = aligned_alloc(64, (n + 63) / 64 * 64);
    for (size_t i = 0; i < SLAB_OUT; i++)
        check_ok(
            quant_encode(QUANT_Q8_0, w + i * SLAB_IN, rows + i * row, SLAB_IN));
    weight_pack(QUANT_Q8_0, SLAB_OUT, SLAB_IN, rows, data);
    const struct weight q = {QUANT_Q8_0, SLAB_OUT, SLAB_IN, data};
    for (int brief = 0; brief < 2; brief++) {
        enum gemm_numbers numbers = brief ? GEMM_BF16 : GEMM_F32;
        run_slabs(x, w, &q, numbers, 0, &alone);
        check(alone.dx[1][7] != 0 && alone.dw[9] != 0);
        check(alone.ddown[7] != 0 && alone.dup[9] != 0);
        for (unsigned threads = 2; threads < 6; threads++) {
            run_slabs(x, w, &q, numbers, threads, &shared);
            check(memcmp(&alone, &shared, sizeof alone) == 0);
        }
    }
    free(rows);
    free(data);
}

static void every_gradient_matches_finite_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) check_gradient(&cases[i], -1);
}

static void a_constant_input_gets_no_gradient(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++)
        for (int k = 0; k < LAYER_INPUTS_MAX && cases[i].size[1][0]; k++)
            if (cases[i].size[k][0]) check_gradient(&cases[i], k);
}

/* ---- what does not fit ---- */

static struct var *misfit(struct tape *t, int which)
{
    static float v[256], g[256];
    static const uint32_t outside[] = {9}, rising[] = {0, 2, 2, 4};
    static const uint32_t place[] = {0, 1, 2, 3}, whole[] = {0, 4};
    struct var *x = tape_constant(t, v, 4, 12), *w = tape_constant(t, v, 3, 8);
    struct var *b = tape_constant(t, v, 1, 3), *n = tape_constant(t, v, 4, 6);
    struct op_attend how = {.heads = 4, .kv_heads = 2, .segments = {whole, 1}};
    const struct op_matrix m = {.w = w}, pair = {.w = n, .down = w, .up = w};
    const struct op_labels none = {place, place, 0}, far = {place, place, 4};
    const struct op_rope rope = {ROPE_PAIRS, 8, 10, 1, NULL};
    switch (which) {
    case 0: return op_project(t, x, &m);
    case 1: return op_project(t, n, &pair);
    case 2: return op_project(t, x, &(struct op_matrix){.w = x, .bias = b});
    case 3: return op_lookup(t, &m, outside, 1);
    case 4: return op_head_ce(t, x, &m, &far, NULL);
    case 5: return op_head_ce(t, w, &m, &none, NULL);
    case 6: return op_head_ce(t, w, &m, &far, NULL);
    case 7: return op_pool(t, x, &(struct op_segments){rising, 3}, POOL_MEAN);
    case 8: return op_pool(t, w, &(struct op_segments){whole, 1}, POOL_MEAN);
    case 9: return op_swiglu(t, x, n);
    case 10: return op_rms_norm(t, x, b, 1e-5);
    case 11: return op_layer_norm_eps(t, x, b, b, 1e-5);
    case 12: return op_attend(t, x, x, x, &how);
    case 13: return op_attend(t, w, n, n, &how);
    case 14: how.segments.n = 0; return op_attend(t, x, n, n, &how);
    case 15: return op_turn(t, n, op_turns_new(t, &rope, place, 4), 1);
    case 16: return op_turn(t, x, op_turns_new(t, &rope, place, 3), 1);
    case 17: how.kv_heads = 3; return op_attend(t, x, n, n, &how);
    case 18: return op_lookup_over(t, &m, place, x);
    case 19: return op_lookup_over(t, &(struct op_matrix){.w = n}, outside, n);
    case 20: how.window = 3; return op_attend(t, x, n, n, &how);
    default:
        how.mask = ATTEND_CAUSAL;
        how.past = &(struct attend_past){1, NULL, fetch};
        return op_attend(t, tape_parameter(t, v, g, 4, 12), n, n, &how);
    }
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i <= 21; i++) {
        struct tape t;
        tape_init(&t, 0);
        if (misfit(&t, i)) fail_msg("shape %d is taken", i);
        check(err_message()[0] != '\0');
        check_err(t.err, i < 20 ? TACIT_SHAPE : TACIT_STATE);
        tape_release(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_gives_what_its_definition_gives),
        cmocka_unit_test(packed_sequences_do_not_see_each_other),
        cmocka_unit_test(a_sequence_goes_on_from_its_past),
        cmocka_unit_test(turns_are_those_of_complex_numbers),
        cmocka_unit_test(a_head_costs_what_its_logits_cost),
        cmocka_unit_test(a_teacher_is_matched_at_its_own_logits),
        cmocka_unit_test(norms_keep_to_the_epsilon_they_get),
        cmocka_unit_test(
            projects_are_sums_of_products_with_any_number_of_workers),
        cmocka_unit_test(a_packed_matrix_gives_what_its_numbers_give),
        cmocka_unit_test(a_feed_is_its_parts_one_by_one),
        cmocka_unit_test(the_slabs_of_workers_change_no_bit),
        cmocka_unit_test(every_gradient_matches_finite_differences),
        cmocka_unit_test(a_constant_input_gets_no_gradient),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
