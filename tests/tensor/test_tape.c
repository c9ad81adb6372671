/* tape and ops: values against NumPy (tests/golden/ops_golden.py), gradients
 * against finite differences, and what happens when shapes do not fit. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_block.h"
#include "common/tensor/tape.h"
#include "tests/golden/ops_golden.h"
#include "tests/gradcheck.h"

enum { B = 4, K = 3, N = 5, V = 7, FLAT = 64 };

/* The golden arrays are const; a constant of the tape is not written to, but
 * its type says that it might be. */
static struct var *constant(struct tape *t, const float *v, size_t rows,
                            size_t cols)
{
    float *copy = tape_scratch(t, rows * cols, sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, v, rows * cols * sizeof *copy);
    return tape_constant(t, copy, rows, cols);
}

static const struct op_bags bags = {g_bag_id, g_bag_weight, g_bag_start, B};

/* ---- values -------------------------------------------------------------- */

static void check_var(const struct tape *t, const struct var *got, size_t rows,
                      size_t cols, const float *want, double tol)
{
    check_ok(t->err);
    check(got != NULL);
    check(got->rows == rows && got->cols == cols);
    check(got->grad == NULL);
    check_tensor(got->v, want, rows * cols, tol);
}

static void every_op_gives_what_numpy_gives(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    struct var *x = constant(&t, g_x, B, K), *w = constant(&t, g_w, K, N);
    struct var *xw = op_matmul(&t, x, w);
    float turned[N * K];
    for (size_t i = 0; i < N * K; i++) turned[i] = g_w[i % K * N + i / K];
    check_var(&t,
              op_linear_rows(&t, x, constant(&t, turned, N, K),
                             constant(&t, g_b, 1, N)),
              B, N, g_add_bias, 1e-5);
    check_var(&t, xw, B, N, g_matmul, 1e-5);
    check_var(&t, op_linear(&t, x, w, constant(&t, g_b, 1, N)), B, N,
              g_add_bias, 1e-5);
    check_var(&t, op_add(&t, x, constant(&t, g_y, B, K)), B, K, g_add, 1e-6);
    check_var(&t, op_relu(&t, x), B, K, g_relu, 0);
    check_var(&t, op_tanh(&t, x), B, K, g_tanh, 1e-6);
    check_var(&t, op_gelu(&t, x), B, K, g_gelu, 1e-6);
    check_var(&t, op_normalise(&t, constant(&t, g_x_zero_row, B, K)), B, K,
              g_normalise, 1e-6);
    check_var(&t, op_embedding_bag(&t, constant(&t, g_table, V, K), &bags), B,
              K, g_bags, 1e-5);
    tape_release(&t);
}

static void every_loss_gives_what_numpy_gives(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    struct var *z = constant(&t, g_z, B, 1);
    check_var(&t, op_bce(&t, z, g_labels), 1, 1, g_bce, 1e-6);
    check_var(&t, op_mse(&t, z, g_mse_target), 1, 1, g_mse, 1e-5);
    check_var(&t, op_softmax_ce(&t, constant(&t, g_matmul, B, N), g_classes), 1,
              1, g_softmax_ce, 1e-5);
    check_var(&t,
              op_contrastive(&t, constant(&t, g_q, B, K),
                             constant(&t, g_d, B, K), 0.07F),
              1, 1, g_contrastive, 1e-4);
    tape_release(&t);
}

static void imitation_is_directions_and_similarities(void **state)
{
    (void)state;
    /* Rows against themselves: nothing is left. Swapped: both directions are
     * wrong, and what is near what is as it should be. */
    float s[4] = {1, 0, 0, 1}, swapped[4] = {0, 1, 1, 0}, one[4] = {1, 0, 1, 0};
    struct tape t;
    tape_init(&t, 0);
    struct var *v = tape_constant(&t, s, 2, 2);
    check_near(op_imitate(&t, v, s, 2)->v[0], 0, 1e-7);
    check_near(op_imitate(&t, v, swapped, 2)->v[0], 1, 1e-7);
    /* 1 - 1/2, and 2 of 4 similarities are 1 off: 2 x 2/4. */
    check_near(op_imitate(&t, v, one, 2)->v[0], 1.5, 1e-7);
    assert_null(op_imitate(&t, tape_constant(&t, s, 0, 2), s, 2));
    check_err(t.err, TACIT_SHAPE);
    tape_release(&t);
}

static void losses_of_extreme_logits_stay_finite(void **state)
{
    (void)state;
    static const float z[4] = {1000, -1000, 1000, -1000};
    static const float y[4] = {1, 0, 0, 1};
    static const float rows[6] = {1000, 0, -1000, -1000, 0, 1000};
    static const uint32_t c[2] = {0, 1};
    struct tape t;
    tape_init(&t, 0);
    check_near(op_bce(&t, constant(&t, z, 4, 1), y)->v[0], 500, 1e-3);
    check_near(op_softmax_ce(&t, constant(&t, rows, 2, 3), c)->v[0], 500, 1e-3);
    float s[4];
    map_sigmoid(s, z, 4);
    check(s[0] == 1 && s[1] >= 0 && s[1] < 1e-30F);
    tape_release(&t);
}

/* ---- gradients ----------------------------------------------------------- */

/* Two inputs that lie one behind the other in w; b_rows 0 = one input. */
struct op_case {
    const char *name;
    size_t a_rows, a_cols, b_rows, b_cols;
    struct var *(*apply)(struct tape *t, struct var *a, struct var *b);
};

static struct var *one_relu(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_relu(t, a);
}
static struct var *one_tanh(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_tanh(t, a);
}
static struct var *one_gelu(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_gelu(t, a);
}
static struct var *one_normalise(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_normalise(t, a);
}
static struct var *one_bags(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_embedding_bag(t, a, &bags);
}
static struct var *one_bce(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_bce(t, a, g_labels);
}
static struct var *one_mse(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_mse(t, a, g_mse_target);
}
static struct var *one_softmax_ce(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_softmax_ce(t, a, g_classes);
}
static struct var *two_contrastive(struct tape *t, struct var *a, struct var *b)
{
    return op_contrastive(t, a, b, 0.5F);
}
static struct var *rows_of_two(struct tape *t, struct var *a, struct var *b)
{
    static float bias[N] = {1, -2, 3, 0.5f, -1};
    return op_linear_rows(t, a, b, tape_constant(t, bias, 1, b->rows));
}
static struct var *rows_and_bias(struct tape *t, struct var *a, struct var *b)
{
    return op_linear_rows(t, a, a, b);
}
static struct var *same_add(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_add(t, a, a);
}
static struct var *same_matmul(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_matmul(t, a, a);
}
/* Two sequences of two rows and the rest. */
static struct var *one_span(struct tape *t, struct var *a, struct var *b)
{
    static const uint32_t start[] = {0, 2, B};
    static const struct op_segments s = {start, 2};
    static const uint32_t span[] = {0, 1, 1, 1};
    (void)b;
    return op_span(t, a, &s, span);
}

static struct var *same_contrastive(struct tape *t, struct var *a,
                                    struct var *b)
{
    (void)b;
    return op_contrastive(t, a, op_tanh(t, a), 0.5F);
}
static struct var *one_imitate(struct tape *t, struct var *a, struct var *b)
{
    (void)b;
    return op_imitate(t, a, g_q, 3);
}
/* A value used twice gets both contributions. */
static struct var *forked(struct tape *t, struct var *a, struct var *b)
{
    struct var *h = op_tanh(t, op_matmul(t, a, b));
    return op_add(t, op_relu(t, h), op_gelu(t, h));
}

static const struct op_case cases[] = {
    {"matmul", B, K, K, N, op_matmul},
    {"matmul of one row", 1, 7, 7, 1, op_matmul},
    {"matmul of one column", 6, 1, 1, 5, op_matmul},
    {"add", B, K, B, K, op_add},
    {"add to itself", B, K, 0, 0, same_add},
    {"matmul with itself", 3, 3, 0, 0, same_matmul},
    {"linear_rows", B, K, N, K, rows_of_two},
    {"linear_rows with itself, and its bias", 3, 19, 1, 3, rows_and_bias},
    {"relu", B, K, 0, 0, one_relu},
    {"tanh", B, K, 0, 0, one_tanh},
    {"gelu", B, K, 0, 0, one_gelu},
    {"normalise", B, K, 0, 0, one_normalise},
    {"embedding_bag", V, K, 0, 0, one_bags},
    {"bce", B, 1, 0, 0, one_bce},
    {"mse", B, 1, 0, 0, one_mse},
    {"softmax_ce", B, N, 0, 0, one_softmax_ce},
    {"contrastive", B, K, B, K, two_contrastive},
    {"contrastive with hard negatives", B, K, B + 3, K, two_contrastive},
    {"span", B, 2, 0, 0, one_span},
    {"contrastive with itself", B, K, 0, 0, same_contrastive},
    {"imitate", B, K, 0, 0, one_imitate},
    {"a value used twice", B, K, K, N, forked},
};

struct scene {
    const struct op_case *op;
    struct tape tape;
    float w[FLAT], g[FLAT];
    int fixed; /* input that is a constant: 0 none, 1 the first, 2 the second */
};

static struct var *input(struct scene *s, int which, size_t at, size_t rows,
                         size_t cols)
{
    if (s->fixed == which)
        return tape_constant(&s->tape, s->w + at, rows, cols);
    return tape_parameter(&s->tape, s->w + at, s->g + at, rows, cols);
}

/* u^T op(a, b) r with fixed u and r, so that every output counts differently;
 * a loss is taken as it is. */
static struct var *build(struct scene *s)
{
    const struct op_case *c = s->op;
    struct tape *t = &s->tape;
    struct var *a = input(s, 1, 0, c->a_rows, c->a_cols), *b = NULL;
    if (c->b_rows) b = input(s, 2, c->a_rows * c->a_cols, c->b_rows, c->b_cols);
    struct var *out = c->apply(t, a, b);
    check_ok(t->err);
    if (out->rows == 1 && out->cols == 1) return out;
    struct var *right = op_matmul(t, out, constant(t, g_w, out->cols, 1));
    return op_matmul(t, constant(t, g_table, 1, out->rows), right);
}

static enum tacit_err loss_now(void *ctx, double *loss)
{
    struct scene *s = ctx;
    tape_reset(&s->tape);
    struct var *out = build(s);
    if (!out) return s->tape.err;
    *loss = (double)out->v[0];
    return TACIT_OK;
}

static void check_gradient(const struct op_case *c, int fixed)
{
    struct scene s = {.op = c, .fixed = fixed};
    struct rng r;
    double worst = 0;
    size_t n_a = c->a_rows * c->a_cols, n = n_a + c->b_rows * c->b_cols;
    check(n <= FLAT);
    rng_init(&r, 3, n, 0);
    for (size_t i = 0; i < n; i++) {
        /* Away from ReLU's corner. */
        float v = rng_normal(&r);
        s.w[i] = v < 0 ? v - 0.1F : v + 0.1F;
    }
    tape_init(&s.tape, 0);
    check_ok(tape_backward(&s.tape, build(&s)));
    size_t from = fixed == 1 ? n_a : 0, to = fixed == 2 ? n_a : n;
    for (size_t i = 0; i < n; i++)
        if (i < from || i >= to) check(s.g[i] == 0);
    check_ok(gradcheck_run(loss_now, &s, s.w + from, s.g + from, to - from,
                           1e-2, &worst));
    if (worst > 2e-3) print_error("%s: off by %g\n", c->name, worst);
    check(worst <= 2e-3);
    tape_release(&s.tape);
}

static void every_gradient_matches_finite_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_gradient(&cases[i], 0);
}

static void a_constant_input_gets_no_gradient(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!cases[i].b_rows) continue;
        check_gradient(&cases[i], 1);
        check_gradient(&cases[i], 2);
    }
}

/* x W1 + b1 -> gelu -> W2 + b2 -> softmax_ce; all of it is trained. */
enum { MLP = K * 4 + 4 + 4 * N + N };

static struct var *mlp(struct scene *s)
{
    struct tape *t = &s->tape;
    float *w = s->w, *g = s->g;
    struct var *x = constant(t, g_x, B, K);
    struct var *w1 = tape_parameter(t, w, g, K, 4);
    struct var *b1 = tape_parameter(t, w + 12, g + 12, 1, 4);
    struct var *w2 = tape_parameter(t, w + 16, g + 16, 4, N);
    struct var *b2 = tape_parameter(t, w + 36, g + 36, 1, N);
    struct var *h = op_gelu(t, op_linear(t, x, w1, b1));
    return op_softmax_ce(t, op_linear(t, h, w2, b2), g_classes);
}

static enum tacit_err mlp_loss(void *ctx, double *loss)
{
    struct scene *s = ctx;
    tape_reset(&s->tape);
    *loss = (double)mlp(s)->v[0];
    return s->tape.err;
}

static void a_whole_network_matches_finite_differences(void **state)
{
    (void)state;
    struct scene s = {0};
    struct rng r;
    double worst = 0, before = 0, after = 0;
    rng_init(&r, 4, 0, 0);
    for (size_t i = 0; i < MLP; i++) s.w[i] = rng_normal(&r) / 2;
    tape_init(&s.tape, 0);
    check_ok(tape_backward(&s.tape, mlp(&s)));
    check_ok(gradcheck_run(mlp_loss, &s, s.w, s.g, MLP, 1e-2, &worst));
    check(worst < 1e-3);
    check_ok(mlp_loss(&s, &before));
    for (size_t i = 0; i < MLP; i++) s.w[i] -= 0.1F * s.g[i];
    check_ok(mlp_loss(&s, &after));
    check(after < before);
    tape_release(&s.tape);
}

/* ---- the tape itself ----------------------------------------------------- */

static void backward_adds_to_the_gradient(void **state)
{
    (void)state;
    float w = 3, g = 10;
    struct tape t;
    tape_init(&t, 0);
    struct var *p = tape_parameter(&t, &w, &g, 1, 1);
    check_ok(tape_backward(&t, op_add(&t, p, p)));
    check(g == 12);
    tape_release(&t);
}

static void constants_alone_leave_no_nodes(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    struct var *loss = op_mse(&t, constant(&t, g_z, B, 1), g_mse_target);
    check(t.n_nodes == 0);
    check_ok(tape_backward(&t, loss));
    tape_release(&t);
}

static void a_warm_tape_takes_no_memory(void **state)
{
    (void)state;
    static float table[1000 * 32], g[1000 * 32], w[32], gw[32];
    static const float target[B];
    struct tape t;
    const struct arena_block *block = NULL;
    tape_init(&t, 0);
    for (int step = 0; step < 10; step++) {
        tape_reset(&t);
        struct op_bags ids = bags;
        struct var *v = tape_parameter(&t, table, g, 1000, 32);
        struct var *h = op_tanh(&t, op_embedding_bag(&t, v, &ids));
        struct var *z = op_matmul(&t, h, tape_parameter(&t, w, gw, 32, 1));
        check_ok(tape_backward(&t, op_mse(&t, z, target)));
        if (step >= 3) check(t.arena.head == block);
        block = t.arena.head;
    }
    tape_release(&t);
}

static void equal_steps_give_equal_bits(void **state)
{
    (void)state;
    static float x[96 * 80], w[80 * 72], g[2][80 * 72];
    static uint32_t y[96];
    float loss[2];
    struct rng r;
    rng_init(&r, 9, 0, 0);
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) x[i] = rng_normal(&r);
    for (size_t i = 0; i < sizeof w / sizeof w[0]; i++) w[i] = rng_normal(&r);
    for (size_t i = 0; i < 96; i++) y[i] = (uint32_t)rng_below(&r, 72);
    for (int k = 0; k < 2; k++) {
        struct tape t;
        tape_init(&t, 0);
        struct var *z = op_matmul(&t, tape_constant(&t, x, 96, 80),
                                  tape_parameter(&t, w, g[k], 80, 72));
        struct var *l = op_softmax_ce(&t, op_gelu(&t, z), y);
        check_ok(tape_backward(&t, l));
        loss[k] = l->v[0];
        tape_release(&t);
    }
    check(memcmp(&loss[0], &loss[1], sizeof loss[0]) == 0);
    check(memcmp(g[0], g[1], sizeof g[0]) == 0);
}

/* ---- what does not fit --------------------------------------------------- */

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static float v[16], y[4];
    static const uint32_t outside[2] = {0, 4}, start[2] = {0, 2};
    static const float ones[2] = {1, 1};
    static const struct op_bags bad = {outside, ones, start, 1};
    static const uint32_t classes[2] = {1, 2};
    for (int i = 0; i < 14; i++) {
        struct tape t;
        tape_init(&t, 0);
        struct var *a = tape_constant(&t, v, 2, 3);
        struct var *b = tape_constant(&t, v, 2, 2);
        struct var *c = tape_constant(&t, v, 4, 2);
        struct var *none = tape_constant(&t, v, 0, 1);
        struct var *out = a;
        switch (i) {
        case 0: out = op_matmul(&t, a, b); break;
        case 1: out = op_add(&t, a, b); break;
        case 2: out = op_add(&t, b, c); break;
        case 3: out = op_linear(&t, a, b, b); break;
        case 4: out = op_linear(&t, b, b, tape_constant(&t, v, 1, 3)); break;
        case 5: out = op_bce(&t, a, y); break;
        case 6: out = op_mse(&t, b, y); break;
        case 7: out = op_contrastive(&t, a, b, 1); break;
        case 8: out = op_contrastive(&t, c, b, 1); break;
        case 9: out = op_embedding_bag(&t, c, &bad); break;
        case 10: out = op_softmax_ce(&t, b, classes); break;
        case 11: out = op_bce(&t, none, y); break;
        case 12: out = op_mse(&t, none, y); break;
        default: out = op_softmax_ce(&t, none, classes); break;
        }
        check(out == NULL);
        check(err_message()[0] != '\0');
        /* The first failure sticks; what follows does nothing. */
        check(op_relu(&t, out) == NULL);
        check(op_relu(&t, b) == NULL);
        check_err(tape_backward(&t, out), TACIT_SHAPE);
        tape_reset(&t);
        check(t.err == TACIT_OK);
        tape_release(&t);
    }
}

static void an_op_without_inputs_is_no_op(void **state)
{
    (void)state;
    struct tape t;
    tape_init(&t, 0);
    check(!op_matmul(&t, NULL, NULL) && !op_add(&t, NULL, NULL));
    check(!op_linear(&t, NULL, NULL, NULL) && !op_normalise(&t, NULL));
    check(!op_gelu(&t, NULL) && !op_embedding_bag(&t, NULL, &bags));
    check(!op_bce(&t, NULL, NULL) && !op_softmax_ce(&t, NULL, NULL));
    check(!op_mse(&t, NULL, NULL) && !op_contrastive(&t, NULL, NULL, 1));
    check(t.n_nodes == 0);
    tape_release(&t);
}

static void a_loss_is_one_number(void **state)
{
    (void)state;
    float w[2] = {1, 2}, g[2] = {0};
    struct tape t;
    tape_init(&t, 0);
    struct var *out = op_relu(&t, tape_parameter(&t, w, g, 1, 2));
    check_err(tape_backward(&t, out), TACIT_SHAPE);
    tape_release(&t);
}

static void a_tape_has_a_longest_length(void **state)
{
    (void)state;
    float w = 1, g = 0;
    struct tape t;
    tape_init(&t, 0);
    struct var *x = tape_parameter(&t, &w, &g, 1, 1);
    for (int i = 0; i <= TAPE_NODES_MAX; i++) x = op_relu(&t, x);
    check(t.n_nodes == TAPE_NODES_MAX);
    check_err(t.err, TACIT_LIMIT);
    tape_release(&t);
}

static void a_tape_keeps_to_its_memory(void **state)
{
    (void)state;
    static float v[64 * 64];
    struct tape t;
    tape_init(&t, 8192);
    struct var *x = tape_constant(&t, v, 64, 64);
    check(op_relu(&t, x) == NULL);
    check_err(t.err, TACIT_LIMIT);
    tape_reset(&t);
    check(op_relu(&t, tape_constant(&t, v, 8, 8)) != NULL);
    tape_release(&t);
}

static void layers_that_pass_share_their_memory(void **state)
{
    (void)state;
    static float v[64 * 64], w[64], g[64];
    struct tape t;
    tape_init(&t, 8 * sizeof v); /* of a hundred layers' values */
    struct var *x = tape_constant(&t, v, 64, 64);
    v[5] = 3;
    for (int layer = 0; layer < 100; layer++) {
        tape_pass_begin(&t);
        struct var *y = op_relu(&t, op_relu(&t, x));
        check(y != NULL && y->v[5] == 3);
        tape_pass_end(&t);
    }
    check_ok(t.err);
    check(x->v[5] == 3);
    tape_pass_begin(&t);
    check(!op_relu(&t, tape_parameter(&t, w, g, 8, 8)));
    check_err(t.err, TACIT_STATE);
    tape_release(&t);
}

/* ---- gradcheck ----------------------------------------------------------- */

static enum tacit_err square(void *ctx, double *loss)
{
    const float *w = ctx;
    if (isnan(w[0])) return fail(TACIT_FORMAT, "no");
    *loss = (double)w[0] * (double)w[0] + 3 * (double)w[1];
    return TACIT_OK;
}

static void gradcheck_tells_right_from_wrong(void **state)
{
    (void)state;
    float w[2] = {1.5F, -2};
    const float right[2] = {3, 3}, wrong[2] = {3, 2.5F};
    const float broken[2] = {NAN, 3};
    double worst = -1;
    check_ok(gradcheck_run(square, w, w, right, 2, 1e-3, &worst));
    check(worst < 1e-4);
    check_ok(gradcheck_run(square, w, w, wrong, 2, 1e-3, &worst));
    check_near(worst, 0.125, 1e-3);
    check_ok(gradcheck_run(square, w, w, broken, 2, 1e-3, &worst));
    check(!(worst < 1e-4));
    check(w[0] == 1.5F && w[1] == -2);
    w[0] = NAN;
    worst = -1;
    check_err(gradcheck_run(square, w, w, right, 2, 1e-3, &worst),
              TACIT_FORMAT);
    check(worst == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_gives_what_numpy_gives),
        cmocka_unit_test(every_loss_gives_what_numpy_gives),
        cmocka_unit_test(imitation_is_directions_and_similarities),
        cmocka_unit_test(losses_of_extreme_logits_stay_finite),
        cmocka_unit_test(every_gradient_matches_finite_differences),
        cmocka_unit_test(a_constant_input_gets_no_gradient),
        cmocka_unit_test(a_whole_network_matches_finite_differences),
        cmocka_unit_test(backward_adds_to_the_gradient),
        cmocka_unit_test(constants_alone_leave_no_nodes),
        cmocka_unit_test(a_warm_tape_takes_no_memory),
        cmocka_unit_test(equal_steps_give_equal_bits),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(an_op_without_inputs_is_no_op),
        cmocka_unit_test(a_loss_is_one_number),
        cmocka_unit_test(a_tape_has_a_longest_length),
        cmocka_unit_test(a_tape_keeps_to_its_memory),
        cmocka_unit_test(layers_that_pass_share_their_memory),
        cmocka_unit_test(gradcheck_tells_right_from_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
