/* Ops that write over what they read: the bits of those that do not. */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/ops_attend.h"
#include "common/tensor/ops_norm.h"

enum { ROWS = 300, HEADS = 6, SHARED = 2, WIDTH = 24, COLS = HEADS * WIDTH };

static struct var *drawn(struct tape *t, struct rng *r, size_t rows,
                         size_t cols)
{
    struct var *x = tape_value(t, rows, cols, 0);
    check(x != NULL);
    for (size_t i = 0; i < rows * cols; i++) x->v[i] = rng_normal(r);
    return x;
}

static void check_over(const struct tape *t, const struct var *want,
                       const struct var *got, const struct var *x)
{
    check_ok(t->err);
    check(got->v == x->v && want->v != x->v);
    check(memcmp(got->v, want->v, want->rows * want->cols * sizeof *got->v) ==
          0);
}

static void attention_over_its_queries_has_the_same_bits(void **state)
{
    (void)state;
    static const uint32_t start[] = {0, 1, 3, 130, 131, ROWS};
    struct rng r;
    struct tape t;
    rng_init(&r, 1, 0, 0);
    tape_init(&t, 0);
    for (size_t k = 0; k < 3; k++) {
        const struct op_attend how = {.heads = HEADS,
                                      .kv_heads = k ? SHARED : HEADS,
                                      .scale = 0.3f,
                                      .mask =
                                          k == 2 ? ATTEND_CAUSAL : ATTEND_ALL,
                                      .window = k == 2 ? 50 : 0,
                                      .segments = {start, 5}};
        tape_reset(&t);
        struct var *q = drawn(&t, &r, ROWS, COLS);
        struct var *x = drawn(&t, &r, ROWS, how.kv_heads * WIDTH);
        struct var *y = drawn(&t, &r, ROWS, how.kv_heads * WIDTH);
        const struct var *want = op_attend(&t, q, x, y, &how);
        check_over(&t, want, op_attend_over(&t, q, x, y, &how), q);
    }
    tape_release(&t);
}

static void a_layer_norm_over_its_rows_has_the_same_bits(void **state)
{
    (void)state;
    struct rng r;
    struct tape t;
    rng_init(&r, 2, 0, 0);
    tape_init(&t, 0);
    struct var *x = drawn(&t, &r, ROWS, COLS);
    struct var *gain = drawn(&t, &r, 1, COLS), *bias = drawn(&t, &r, 1, COLS);
    const struct var *want = op_layer_norm_eps(&t, x, gain, bias, 1e-12);
    check_over(&t, want, op_layer_norm_over(&t, x, gain, bias, 1e-12), x);
    tape_release(&t);
}

static void what_has_a_gradient_stays(void **state)
{
    (void)state;
    static const uint32_t start[] = {0, 4};
    const struct op_attend how = {.heads = 1,
                                  .kv_heads = 1,
                                  .scale = 1,
                                  .segments = {start, 1}};
    static float slope[4 * WIDTH];
    struct rng r;
    struct tape t;
    rng_init(&r, 3, 0, 0);
    tape_init(&t, 0);
    struct var *x = drawn(&t, &r, 4, WIDTH), *y = drawn(&t, &r, 4, WIDTH);
    struct var *gain = drawn(&t, &r, 1, WIDTH), *bias = drawn(&t, &r, 1, WIDTH);
    y->grad = gain->grad = slope;
    check(op_attend_over(&t, x, y, y, &how)->v != x->v);
    check(op_layer_norm_over(&t, x, gain, bias, 1e-5)->v != x->v);
    check_ok(t.err);
    check(op_layer_norm_over(&t, x, y, bias, 1e-5) == NULL);
    check_err(t.err, TACIT_SHAPE);
    tape_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_over_its_queries_has_the_same_bits),
        cmocka_unit_test(a_layer_norm_over_its_rows_has_the_same_bits),
        cmocka_unit_test(what_has_a_gradient_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
