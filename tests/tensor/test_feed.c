/* A feed of packed matrices: the bits of its three steps. */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_linear.h"
#include "tests/tensor/drawn.h"

enum { WIDTH_MAX = 416, ROWS_MAX = 300 };

static struct weight draw(struct rng *r, enum quant_type type, size_t n_out,
                          size_t n_in)
{
    float *x = numbers(r, n_out * n_in);
    uint8_t *rows = memory(quant_bytes(type, n_out * n_in));
    uint8_t *packed = memory(weight_bytes(type, n_out, n_in));
    check_ok(quant_encode(type, x, rows, n_out * n_in));
    weight_pack(type, n_out, n_in, rows, packed);
    free(x);
    free(rows);
    return (struct weight){type, n_out, n_in, packed};
}

/* One after the other, and as one, from x [rows, in]. */
static void check_feed(struct tape *t, struct rng *r, size_t rows,
                       const struct op_matrix *widen,
                       const struct op_matrix *narrow)
{
    float *v = numbers(r, rows * widen->frozen->n_in);
    tape_reset(t);
    struct var *x = tape_constant(t, v, rows, widen->frozen->n_in);
    struct var *z = op_gelu(t, op_project(t, x, widen));
    const struct var *want = op_project(t, z, narrow);
    check(op_feeds_packed(widen, narrow));
    const struct var *got = op_feed_packed(t, x, widen, narrow);
    check_ok(t->err);
    check(got->rows == rows && got->cols == want->cols);
    check(memcmp(got->v, want->v, rows * want->cols * sizeof *got->v) == 0);
    free(v);
}

static void a_feed_of_blocks_has_the_bits_of_its_steps(void **state)
{
    (void)state;
    /* Of which some are a tile over whole chunks, some pass twice. */
    static const size_t rows[] = {1, 2, 16, 17, 31, 61, ROWS_MAX};
    static const size_t hidden[] = {32, 96, 128, WIDTH_MAX, 2048};
    static const size_t outs[] = {64, 17};
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (size_t k = 0; k < 35; k++) {
        struct pool *pool = NULL;
        struct tape t;
        size_t n = hidden[k % 5],
               in = 32 * (1 + k % 3) + (k % 7 == 6 ? 384 : 0);
        enum quant_type type = k % 2 ? QUANT_Q8_0 : QUANT_Q4_0;
        enum quant_type other = k % 3 ? QUANT_Q8_0 : QUANT_Q4_0;
        struct weight wide = draw(&r, type, n, in);
        struct weight small = draw(&r, other, outs[k % 2], n);
        float *bias = numbers(&r, n + small.n_out);
        if (k % 3) check_ok(pool_new(&pool, (unsigned)(k % 3 + 1)));
        tape_init(&t, 0);
        t.pool = pool;
        struct var b = {.rows = 1, .cols = n, .v = bias};
        struct var c = {.rows = 1, .cols = small.n_out, .v = bias + n};
        struct op_matrix widen = {.frozen = &wide, .bias = k % 4 ? &b : NULL};
        struct op_matrix narrow = {.frozen = &small,
                                   .bias = k % 4 == 1 ? NULL : &c};
        check_feed(&t, &r, rows[k % 7], &widen, &narrow);
        tape_release(&t);
        pool_free(pool);
        free(bias);
        free((void *)(uintptr_t)wide.data);
        free((void *)(uintptr_t)small.data);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 6, 0, 0);
    struct weight wide = draw(&r, QUANT_Q8_0, 64, 32);
    struct weight small = draw(&r, QUANT_Q8_0, 32, 64);
    struct weight half = draw(&r, QUANT_F16, 32, 64);
    float *v = numbers(&r, 64), slope[64];
    struct var bias = {.rows = 1, .cols = 64, .v = v}, trained = bias;
    trained.grad = slope;
    struct tape t;
    tape_init(&t, 0);
    struct op_matrix widen = {.frozen = &wide, .bias = &bias};
    struct op_matrix narrow = {.frozen = &small};
    check(op_feeds_packed(&widen, &narrow));
    check(!op_feeds_packed(&narrow, &narrow));
    check(!op_feeds_packed(&widen, &(struct op_matrix){.frozen = &half}));
    check(
        !op_feeds_packed(&(struct op_matrix){.frozen = &wide, .bias = &trained},
                         &narrow));
    struct var *x = tape_constant(&t, v, 2, 16);
    check(op_feed_packed(&t, x, &widen, &narrow) == NULL);
    check_err(t.err, TACIT_SHAPE);
    tape_reset(&t);
    x = tape_constant(&t, v, 2, 32);
    narrow.bias = &bias;
    check(op_feed_packed(&t, x, &widen, &narrow) == NULL);
    check_err(t.err, TACIT_SHAPE);
    tape_release(&t);
    free(v);
    free((void *)(uintptr_t)wide.data);
    free((void *)(uintptr_t)small.data);
    free((void *)(uintptr_t)half.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_feed_of_blocks_has_the_bits_of_its_steps),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
