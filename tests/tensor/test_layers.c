/* Convolution, norms, sequences and the Cox loss: values against NumPy
 * (tests/golden/seq_golden.py), gradients against finite differences, and what
 * happens when shapes do not fit. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_conv.h"
#include "common/tensor/ops_norm.h"
#include "common/tensor/ops_seq.h"
#include "tests/golden/seq_golden.h"
#include "tests/tensor/layer_case.h"

static void check_var(const struct tape *t, const struct var *got, size_t rows,
                      size_t cols, const float *want, size_t n)
{
    check_ok(t->err);
    check(got != NULL);
    check(got->rows == rows && got->cols == cols && rows * cols == n);
    check_tensor(got->v, want, n, 2e-5);
}

#define check_golden(t, got, rows, cols, want)                                 \
 check_var(t, got, rows, cols, want, sizeof(want) / sizeof *(want))

/* ---- values ---- */

static void convolutions_and_pools_give_what_numpy_gives(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    struct op_conv c = {{3, 7, 9}, 3, 0, OP_PLAIN};
    struct var *x = constant(&t, c_x, 2, 189), *w = constant(&t, c_w, 4, 27);
    struct var *b = constant(&t, c_b, 1, 4);
    check_golden(&t, op_conv2d(&t, x, w, b, &c), 2, 4 * 5 * 7, c_valid);
    c.padding = 1;
    check_golden(&t, op_conv2d(&t, x, w, b, &c), 2, 4 * 7 * 9, c_padded);
    c.tail = OP_RELU_POOL;
    check_golden(&t, op_conv2d(&t, x, w, b, &c), 2, 4 * 3 * 4, c_pooled);
    check_golden(&t, op_max_pool(&t, x, &c.in, OP_PLAIN), 2, 3 * 3 * 4, c_pool);
    tape_release(&t);
}

static void norms_give_what_numpy_gives(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    const struct op_image image = {4, 2, 3};
    static float zero[4], quarter[4] = {0.25f, 0.25f, 0.25f, 0.25f};
    static float two[4] = {2, 2, 2, 2};
    float g_mean[4] = {0}, g_var[4] = {0};
    struct var *x = constant(&t, n_x, 3, 24);
    struct var *gain = constant(&t, n_gain, 1, 4);
    struct var *bias = constant(&t, n_bias, 1, 4);
    struct op_running running = {tape_parameter(&t, zero, g_mean, 1, 4),
                                 tape_parameter(&t, zero, g_var, 1, 4)};
    check_golden(&t, op_batch_norm(&t, x, gain, bias, &running, &image), 3, 24,
                 n_batch);
    /* The running statistics' gradient is their distance from the batch's. */
    for (size_t i = 0; i < 4; i++) {
        check_near(g_mean[i], -n_mean[i], 1e-6);
        check_near(g_var[i], -n_var[i], 1e-5);
    }
    running = (struct op_running){tape_constant(&t, quarter, 1, 4),
                                  tape_constant(&t, two, 1, 4)};
    check_golden(&t, op_batch_norm(&t, x, gain, bias, &running, &image), 3, 24,
                 n_fixed);
    check_golden(&t, op_group_norm(&t, x, gain, bias, &image, 2), 3, 24,
                 n_group);
    check_golden(&t, op_layer_norm(&t, constant(&t, n_x, 18, 4), gain, bias),
                 18, 4, n_layer);
    tape_release(&t);
}

static void sequences_give_what_numpy_gives(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    struct var *x = constant(&t, s_x, 6, 4);
    struct op_cell gru = {constant(&t, s_gru_w, 4, 9),
                          constant(&t, s_gru_u, 3, 9),
                          constant(&t, s_gru_b, 1, 9),
                          constant(&t, s_gru_c, 1, 9)};
    struct op_cell lstm = {constant(&t, s_lstm_w, 4, 12),
                           constant(&t, s_lstm_u, 3, 12),
                           constant(&t, s_lstm_b, 1, 12), NULL};
    check_golden(&t, op_gru(&t, x, &gru, 3), 6, 3, s_gru);
    check_golden(&t, op_lstm(&t, x, &lstm, 3), 6, 3, s_lstm);
    check_golden(&t, op_attention(&t, constant(&t, a_qkv, 10, 18), 5, 2), 10, 6,
                 a_out);
    static const uint32_t id[] = {3, 0, 3};
    struct var *rows = op_embedding(&t, constant(&t, s_x, 6, 4), id, 3);
    check_tensor(rows->v, s_x + 12, 4, 0);
    check_tensor(rows->v + 4, s_x, 4, 0);
    check_tensor(rows->v + 8, s_x + 12, 4, 0);
    tape_release(&t);
}

static void cox_gives_what_numpy_gives(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    struct var *z = constant(&t, x_z, 8, 1);
    check_golden(&t, op_cox(&t, z, x_time, x_event), 1, 1, x_loss);
    static const float none[8];
    check(op_cox(&t, z, x_time, none)->v[0] == 0);
    /* Hazards that no float holds: the later subject's is the smaller. */
    static const float far[2] = {500, -500}, time[2] = {1, 2}, both[2] = {1, 1};
    z = constant(&t, far, 2, 1);
    check_near(op_cox(&t, z, time, both)->v[0], 0, 1e-6);
    static const float turned[2] = {2, 1};
    check_near(op_cox(&t, z, turned, both)->v[0], 500, 1e-3);
    tape_release(&t);
}

static void maps_are_within_a_few_units_of_libm(void **state)
{
    (void)state;
    enum { N = 4001 };
    static float x[N], y[N];
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) * 0.01f;
    map_exp(y, x, 0, N);
    for (int i = 0; i < N; i++)
        check(fabs((double)y[i] / exp((double)x[i]) - 1) < 3e-7);
    map_tanh(y, x, N);
    for (int i = 0; i < N; i++) check_near(y[i], tanh((double)x[i]), 3e-7);
    map_sigmoid(y, x, N);
    for (int i = 0; i < N; i++)
        check_near(y[i], 1 / (1 + exp(-(double)x[i])), 3e-7);
    map_gelu(y, x, N);
    for (int i = 0; i < N; i++) {
        double v = (double)x[i];
        check_near(y[i], v * 0.5 * (1 + erf(v / sqrt(2))), 4e-6);
    }
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    float got[3];
    map_exp(got, odd, 0, 3);
    check(isnan(got[0]) && got[1] > 1e38f && got[2] < 1e-37f);
    map_relu(got, odd, 3);
    check(isnan(got[0]) && got[1] > 1e38f && got[2] >= 0 && got[2] <= 0);
    check(map_finite(x, N) && !map_finite(odd, 1) && !map_finite(odd + 1, 1));
    check(map_max(x, N) >= x[N - 1]);
    check_near(map_sum(x, N), 0, 1e-3);
    check_near(map_squares(x, 1, 2), 2 * 441 - 0.42, 0.01);
}

/* ---- gradients ---- */

static struct var *conv_plain(struct tape *t, struct var *const *in)
{
    const struct op_conv c = {{2, 5, 4}, 3, 1, OP_PLAIN};
    return op_conv2d(t, in[0], in[1], in[2], &c);
}
/* Five images are more than one group of the weights' gradient. */
static struct var *conv_pooled(struct tape *t, struct var *const *in)
{
    const struct op_conv c = {{2, 7, 6}, 2, 0, OP_RELU_POOL};
    return op_conv2d(t, in[0], in[1], in[2], &c);
}
static struct var *conv_wide(struct tape *t, struct var *const *in)
{
    const struct op_conv c = {{1, 5, 21}, 5, 2, OP_RELU_POOL};
    return op_conv2d(t, in[0], in[1], in[2], &c);
}
static struct var *pool_plain(struct tape *t, struct var *const *in)
{
    const struct op_image image = {2, 5, 7};
    return op_max_pool(t, in[0], &image, OP_PLAIN);
}
static struct var *pool_relu(struct tape *t, struct var *const *in)
{
    const struct op_image image = {1, 4, 20};
    return op_max_pool(t, in[0], &image, OP_RELU_POOL);
}
static struct var *norm_batch(struct tape *t, struct var *const *in)
{
    static float v[3], g[3];
    const struct op_image image = {3, 2, 2};
    const struct op_running running = {tape_parameter(t, v, g, 1, 3),
                                       tape_parameter(t, v, g, 1, 3)};
    return op_batch_norm(t, in[0], in[1], in[2], &running, &image);
}
static struct var *norm_fixed(struct tape *t, struct var *const *in)
{
    static float mean[3] = {0.1f, -0.2f, 0.3f}, var[3] = {1, 2, 0.5f};
    const struct op_image image = {3, 2, 2};
    const struct op_running running = {tape_constant(t, mean, 1, 3),
                                       tape_constant(t, var, 1, 3)};
    return op_batch_norm(t, in[0], in[1], in[2], &running, &image);
}
static struct var *norm_group(struct tape *t, struct var *const *in)
{
    const struct op_image image = {4, 2, 2};
    return op_group_norm(t, in[0], in[1], in[2], &image, 2);
}
static struct var *norm_layer(struct tape *t, struct var *const *in)
{
    return op_layer_norm(t, in[0], in[1], in[2]);
}
static struct var *cell_gru(struct tape *t, struct var *const *in)
{
    const struct op_cell cell = {in[1], in[2], in[3], in[4]};
    return op_gru(t, in[0], &cell, 4);
}
static struct var *cell_lstm(struct tape *t, struct var *const *in)
{
    const struct op_cell cell = {in[1], in[2], in[3], NULL};
    return op_lstm(t, in[0], &cell, 4);
}
static struct var *attend(struct tape *t, struct var *const *in)
{
    return op_attention(t, in[0], 3, 2);
}
static struct var *embed(struct tape *t, struct var *const *in)
{
    static const uint32_t id[] = {1, 4, 1, 0};
    return op_embedding(t, in[0], id, 4);
}
static struct var *survive(struct tape *t, struct var *const *in)
{
    return op_cox(t, in[0], x_time, x_event);
}
static struct var *linear(struct tape *t, struct var *const *in)
{
    return op_linear(t, in[0], in[1], in[2]);
}

static const struct layer_case cases[] = {
    {"linear", {{3, 4}, {4, 5}, {1, 5}}, linear},
    {"conv", {{2, 40}, {3, 18}, {1, 3}}, conv_plain},
    {"conv with relu and pool", {{5, 84}, {3, 8}, {1, 3}}, conv_pooled},
    {"conv over wide rows", {{1, 105}, {2, 25}, {1, 2}}, conv_wide},
    {"max_pool", {{2, 70}}, pool_plain},
    {"max_pool with relu", {{1, 80}}, pool_relu},
    {"batch_norm", {{3, 12}, {1, 3}, {1, 3}}, norm_batch},
    {"batch_norm, fixed", {{3, 12}, {1, 3}, {1, 3}}, norm_fixed},
    {"group_norm", {{2, 16}, {1, 4}, {1, 4}}, norm_group},
    {"layer_norm", {{4, 5}, {1, 5}, {1, 5}}, norm_layer},
    {"gru", {{12, 2}, {2, 9}, {3, 9}, {1, 9}, {1, 9}}, cell_gru},
    {"lstm", {{12, 2}, {2, 12}, {3, 12}, {1, 12}}, cell_lstm},
    {"attention", {{6, 12}}, attend},
    {"embedding", {{5, 3}}, embed},
    {"cox", {{8, 1}}, survive},
};
enum { N_CASES = sizeof cases / sizeof *cases };

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

/* ---- windows against their definition ---- */

static void windows_agree_with_their_definition(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 13, 0, 0);
    for (size_t rows = 1; rows <= 14; rows++) {
        enum { REACH = 7, IMAGES = 3, LINE = 160 };
        static float a[IMAGES * 14 * LINE], b[IMAGES * LINE];
        static float c[14 * LINE], want[14 * LINE];
        ptrdiff_t offset[REACH];
        size_t n = 5 + 9 * rows;
        for (size_t i = 0; i < REACH; i++) offset[i] = (ptrdiff_t)(3 * i % 11);
        for (size_t i = 0; i < IMAGES * LINE; i++) b[i] = rng_normal(&r);
        for (size_t i = 0; i < IMAGES * 14 * LINE; i++)
            a[i] = i % LINE < n ? rng_normal(&r) : NAN; /* is not read */
        struct kernel_window w = {.rows = rows,
                                  .n_offsets = REACH,
                                  .n_points = n,
                                  .a = a,
                                  .a_row = LINE,
                                  .b = b,
                                  .offset = offset,
                                  .c = c,
                                  .c_row = LINE,
                                  .n_images = IMAGES,
                                  .a_image = 14 * LINE,
                                  .b_image = LINE};
        memset(want, 0, sizeof want);
        for (size_t i = 0; i < rows; i++)
            for (size_t p = 0; p < n; p++)
                for (size_t l = 0; l < REACH; l++)
                    want[i * LINE + p] +=
                        a[i * LINE + l] * b[(size_t)offset[l] + p];
        kernel_correlate(&w);
        for (size_t i = 0; i < rows; i++)
            check_tensor(c + i * LINE, want + i * LINE, n, 1e-4);
        for (size_t i = 0; i < rows; i++) /* what is there is stepped from */
            for (size_t p = 0; p < LINE; p++) {
                float from = c[i * LINE + p] = rng_normal(&r);
                want[i * LINE + p] =
                    p < n ? from - 0.1f * (want[i * LINE + p] + 0.5f * from)
                          : from;
            }
        w.rate = 0.1f;
        w.decay = 0.5f;
        kernel_descend(&w);
        check_tensor(c, want, rows * LINE, 1e-4);
        memset(c, 0, sizeof c);
        memset(want, 0, sizeof want);
        for (size_t m = 0; m < IMAGES; m++)
            for (size_t i = 0; i < rows; i++)
                for (size_t l = 0; l < REACH; l++)
                    for (size_t p = 0; p < n; p++)
                        want[i * LINE + l] +=
                            a[(m * 14 + i) * LINE + p] *
                            b[m * LINE + (size_t)offset[l] + p];
        kernel_reduce(&w);
        for (size_t i = 0; i < rows; i++)
            check_tensor(c + i * LINE, want + i * LINE, REACH, 1e-3);
    }
}

/* ---- what does not fit ---- */

static struct var *misfit(struct tape *t, int which)
{
    static float v[256];
    static const uint32_t outside[] = {9};
    static const float times[4] = {1, NAN, 2, 3}, events[4];
    const struct op_conv conv = {{2, 3, 3}, 2, 0, OP_PLAIN};
    const struct op_conv large = {{2, 3, 3}, 4, 0, OP_PLAIN};
    const struct op_image image = {2, 3, 3}, line = {2, 1, 9};
    struct var *x = tape_constant(t, v, 4, 18), *w = tape_constant(t, v, 3, 8);
    struct var *b = tape_constant(t, v, 1, 3), *c2 = tape_constant(t, v, 1, 2);
    const struct op_running running = {c2, c2}, wrong = {b, b};
    struct op_running moving = {tape_parameter(t, v, v, 1, 18),
                                tape_parameter(t, v, v, 1, 18)};
    struct op_cell gru = {tape_constant(t, v, 18, 6), tape_constant(t, v, 2, 6),
                          b, b};
    switch (which) {
    case 0: return op_conv2d(t, b, w, b, &conv);
    case 1: return op_conv2d(t, x, x, b, &conv);
    case 2: return op_conv2d(t, x, w, c2, &conv);
    case 3: return op_conv2d(t, x, tape_constant(t, v, 3, 32), b, &large);
    case 4: return op_max_pool(t, b, &image, OP_PLAIN);
    case 5: return op_max_pool(t, x, &line, OP_PLAIN);
    case 6: return op_layer_norm(t, x, b, b);
    case 7: return op_group_norm(t, x, c2, c2, &image, 3);
    case 8: return op_group_norm(t, x, b, b, &image, 2);
    case 9: return op_batch_norm(t, x, c2, c2, &wrong, &image);
    case 10: return op_batch_norm(t, x, b, b, &running, &image);
    case 11:
        return op_batch_norm(t, tape_constant(t, v, 1, 18), moving.mean,
                             moving.mean, &moving,
                             &(struct op_image){18, 1, 1});
    case 12: return op_gru(t, x, &gru, 3);
    case 13: return op_gru(t, x, &gru, 2);
    case 14: return op_lstm(t, x, &gru, 2);
    case 15: return op_attention(t, x, 3, 1);
    case 16: return op_attention(t, x, 2, 4);
    case 17: return op_attention(t, w, 3, 1);
    case 18: return op_embedding(t, w, outside, 1);
    case 19: return op_cox(t, x, times, events);
    case 20: return op_cox(t, tape_constant(t, v, 4, 1), times, events);
    case 21: return op_linear(t, x, w, b);
    default: return op_linear(t, x, tape_constant(t, v, 18, 2), b);
    }
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i <= 22; i++) {
        struct tape t;
        tape_init(&t, 0);
        if (misfit(&t, i)) fail_msg("shape %d is taken", i);
        check(err_message()[0] != '\0');
        check_err(t.err, TACIT_SHAPE);
        tape_release(&t);
    }
}

static void an_op_without_inputs_is_no_op(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    const struct op_conv c = {{1, 5, 5}, 3, 0, OP_PLAIN};
    const struct op_running none = {0};
    const struct op_cell cell = {0};
    check(!op_conv2d(&t, NULL, NULL, NULL, &c));
    check(!op_max_pool(&t, NULL, &c.in, OP_PLAIN));
    check(!op_layer_norm(&t, NULL, NULL, NULL));
    check(!op_group_norm(&t, NULL, NULL, NULL, &c.in, 1));
    check(!op_batch_norm(&t, NULL, NULL, NULL, &none, &c.in));
    check(!op_gru(&t, NULL, &cell, 1) && !op_lstm(&t, NULL, &cell, 1));
    check(!op_attention(&t, NULL, 1, 1) && !op_embedding(&t, NULL, NULL, 0));
    check(!op_cox(&t, NULL, NULL, NULL) && !op_linear(&t, NULL, NULL, NULL));
    check(t.n_nodes == 0 && t.err == TACIT_OK);
    tape_release(&t);
}

static void gelu_over_its_input_has_the_same_numbers(void **state)
{
    (void)state;
    enum { N = 21 };
    float v[N], grad[N] = {0}, want[N];
    struct tape t;
    tape_init(&t, 0);
    for (size_t i = 0; i < N; i++) v[i] = ((float)i - 10) / 3;
    memcpy(want, op_gelu(&t, tape_constant(&t, v, 1, N))->v, sizeof want);
    struct var *kept = tape_parameter(&t, v, grad, 1, N);
    check_tensor(op_gelu_over(&t, kept)->v, want, N, 0);
    check(v[0] < -3 && v[0] > -4); /* a way back reads it again */
    check(op_gelu_over(&t, tape_constant(&t, v, 1, N))->v == v);
    check_tensor(v, want, N, 0);
    tape_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_and_pools_give_what_numpy_gives),
        cmocka_unit_test(norms_give_what_numpy_gives),
        cmocka_unit_test(sequences_give_what_numpy_gives),
        cmocka_unit_test(cox_gives_what_numpy_gives),
        cmocka_unit_test(maps_are_within_a_few_units_of_libm),
        cmocka_unit_test(every_gradient_matches_finite_differences),
        cmocka_unit_test(a_constant_input_gets_no_gradient),
        cmocka_unit_test(windows_agree_with_their_definition),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(an_op_without_inputs_is_no_op),
        cmocka_unit_test(gelu_over_its_input_has_the_same_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
