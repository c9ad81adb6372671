#include "common/tensor/vectorise.h"

#include "common/tensor/ops_product.h"

#include <string.h>

#include "common/base/pool.h"
#include "common/tensor/kernels.h"

/* Outputs, or columns of a gradient, that one worker takes at a time: few where
 * many wait for work, and else many, since each slab reads all rows anew; rows
 * up to which reading the matrix is the work, not the products. */
enum { SLAB_LEAST = 192, SLAB_MOST = 512, SLAB_STEP = 64, FEW = 16 };
enum { NARROW_ROWS = 128 }; /* of a narrow product, for one worker */

struct product {
    float *c;       /* what is written */
    const float *a; /* [rows, …] */
    const struct var *w;
    size_t rows;
    enum gemm_mode mode;
    const ptrdiff_t *row; /* [w->rows] where each begins, for few rows */
    int by_rows;          /* few, or all to have the bits of one alone */
    enum gemm_numbers numbers;
    size_t slab;
};

static size_t slab_of(const struct tape *t, size_t n)
{
    size_t parts = pool_threads(t->pool) > 1 ? 2 * pool_threads(t->pool) : 1;
    size_t slab = (n / parts + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;
    if (slab < SLAB_LEAST) return SLAB_LEAST;
    return slab < SLAB_MOST ? slab : SLAB_MOST;
}

static size_t n_slabs(size_t n, size_t slab)
{
    return (n + slab - 1) / slab;
}

/* Numbers from place `from` on that are in its slab. */
static size_t slab_from(size_t from, size_t n, size_t slab)
{
    return n - from < slab ? n - from : slab;
}

/* c [rows, out] (+)= a [rows, in] w^T, some of the outputs. */
static void forward_slab(void *ctx, size_t i, unsigned worker)
{
    const struct product *p = ctx;
    const struct var *w = p->w;
    size_t from = i * p->slab, k = w->cols;
    size_t n = slab_from(from, w->rows, p->slab);
    (void)worker;
    if (!p->by_rows) {
        gemm_run_in(p->numbers,
                    &(struct gemm){p->rows, n, k, p->a, k, 1, w->v + from * k,
                                   1, k, p->c + from, w->rows, p->mode});
        return;
    }
    for (size_t r = 0; p->mode == GEMM_SET && r < p->rows; r++)
        memset(p->c + r * w->rows + from, 0, n * sizeof *p->c);
    kernel_reduce(&(struct kernel_window){.rows = p->rows,
                                          .n_offsets = n,
                                          .n_points = k,
                                          .a = p->a,
                                          .a_row = k,
                                          .b = w->v,
                                          .offset = p->row + from,
                                          .c = p->c + from,
                                          .c_row = w->rows,
                                          .n_images = 1});
}

/* c [rows, in] (+)= a [rows, out] w, some of the columns. */
static void back_slab(void *ctx, size_t i, unsigned worker)
{
    const struct product *p = ctx;
    size_t from = i * p->slab, k = p->w->cols;
    size_t n = slab_from(from, k, p->slab);
    (void)worker;
    gemm_run_in(p->numbers,
                &(struct gemm){p->rows, n, p->w->rows, p->a, p->w->rows, 1,
                               p->w->v + from, k, 1, p->c + from, k, p->mode});
}

struct narrow {
    const struct gemm *g;
    enum gemm_numbers numbers;
};

static void narrow_slab(void *ctx, size_t i, unsigned worker)
{
    const struct narrow *p = ctx;
    struct gemm g = *p->g;
    size_t from = i * NARROW_ROWS;
    (void)worker;
    g.m = slab_from(from, g.m, NARROW_ROWS);
    g.a += from * g.a_row;
    g.c += from * g.c_row;
    gemm_run_in(p->numbers, &g);
}

struct outer {
    const float *dy, *x;
    const struct var *w;
    size_t rows;
    enum gemm_numbers numbers;
    size_t slab;
};

/* dw [out, in] += dy^T x, some of the outputs. */
static void outer_slab(void *ctx, size_t i, unsigned worker)
{
    const struct outer *o = ctx;
    size_t from = i * o->slab, k = o->w->cols;
    size_t m = slab_from(from, o->w->rows, o->slab);
    (void)worker;
    gemm_run_in(o->numbers,
                &(struct gemm){m, k, o->rows, o->dy + from, 1, o->w->rows, o->x,
                               k, 1, o->w->grad + from * k, k, GEMM_ADD});
}

void product_rows(struct tape *t, const struct var *w, const ptrdiff_t *row,
                  const float *x, float *y, size_t rows, enum gemm_mode mode)
{
    struct product p = {.c = y,
                        .a = x,
                        .w = w,
                        .rows = rows,
                        .mode = mode,
                        .row = row,
                        .by_rows = rows <= FEW || t->rows == WEIGHT_ROWS_ALIKE,
                        .numbers = t->numbers,
                        .slab = slab_of(t, w->rows)};
    pool_run(t->pool, n_slabs(w->rows, p.slab), forward_slab, &p);
}

void product_back(struct tape *t, const struct var *w, const float *dy,
                  float *dx, size_t rows, enum gemm_mode mode)
{
    struct product p = {.c = dx,
                        .a = dy,
                        .w = w,
                        .rows = rows,
                        .mode = mode,
                        .numbers = t->numbers,
                        .slab = slab_of(t, w->cols)};
    pool_run(t->pool, n_slabs(w->cols, p.slab), back_slab, &p);
}

void product_outer(struct tape *t, const struct var *w, const float *dy,
                   const float *x, size_t rows)
{
    struct outer o = {dy, x, w, rows, t->numbers, slab_of(t, w->rows)};
    pool_run(t->pool, n_slabs(w->rows, o.slab), outer_slab, &o);
}

void product_narrow(struct tape *t, const struct gemm *g)
{
    struct narrow p = {g, t->numbers};
    pool_run(t->pool, n_slabs(g->m, NARROW_ROWS), narrow_slab, &p);
}

ptrdiff_t *product_places(struct tape *t, const struct var *w)
{
    ptrdiff_t *row = tape_raw(t, w->rows, sizeof *row);
    for (size_t i = 0; row && i < w->rows; i++)
        row[i] = (ptrdiff_t)(i * w->cols);
    return row;
}
