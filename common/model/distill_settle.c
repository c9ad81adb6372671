/* distill.h, the last step: what all texts share is taken out of the rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/distill_parts.h"
#include "common/model/distill_pca.h"
#include "common/tensor/kernels.h"

enum {
    LONG = 24,            /* rows of a text that is like a passage */
    LONG_MIN = 500,       /* with fewer of these, any text is taken */
    SAMPLE_MAX = 1 << 13, /* texts */
    DIRECTIONS = 12       /* and the mean */
};

#define QUIET_A 1e-3 /* a frequent word's row: sqrt(a / (a + its frequency)) */

/* A teacher's vectors of short texts say too little of how words weigh in long
 * ones. */
static void quieten(float *table, size_t dim, const struct distill_words *w)
{
    for (size_t i = 0; i < w->n; i++) {
        double p = (double)w->count[i] / (double)w->total;
        float by = (float)sqrt(QUIET_A / (QUIET_A + p));
        for (size_t j = 0; j < dim; j++) table[i * dim + j] *= by;
    }
}

static void embed(const float *table, size_t dim, const struct distill_bags *b,
                  size_t text, float *out)
{
    memset(out, 0, dim * sizeof *out);
    for (uint64_t j = b->start[text]; j < b->start[text + 1]; j++)
        kernel_axpy(out, b->weight[j], table + b->id[j] * dim, dim);
    kernel_normalise(out, dim);
}

static size_t count_long(const struct distill_bags *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->start[i + 1] - b->start[i] >= LONG;
    return n;
}

/* Some texts' vectors [*n, dim], evenly from all of the wanted ones. */
static void sample(const float *table, size_t dim, const struct distill_bags *b,
                   float *out, size_t *n)
{
    size_t n_long = count_long(b), least = n_long < LONG_MIN ? 1 : LONG;
    size_t stride = (least > 1 ? n_long : b->n) / SAMPLE_MAX + 1, met = 0;
    *n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->start[i + 1] - b->start[i] >= least && met++ % stride == 0)
            embed(table, dim, b, i, out + (*n)++ * dim);
}

/* Row of `basis` k made orthogonal to those before it. 0: nothing is left. */
static int orthogonal(float *basis, size_t k, size_t dim)
{
    float *row = basis + k * dim;
    for (size_t i = 0; i < k; i++)
        kernel_axpy(row, -kernel_dot(row, basis + i * dim, dim),
                    basis + i * dim, dim);
    return kernel_normalise(row, dim) > 0;
}

/* The mean of x [n, dim], then what x varies along most: [1 + most, dim]; x is
 * centred. Returns how many there are. */
static enum tacit_err common_basis(float *x, size_t n, size_t dim, size_t most,
                                   float *basis, size_t *n_basis)
{
    *n_basis = 0;
    memset(basis, 0, dim * sizeof *basis);
    for (size_t i = 0; i < n; i++)
        kernel_axpy(basis, 1 / (float)n, x + i * dim, dim);
    for (size_t i = 0; i < n; i++) kernel_axpy(x + i * dim, -1, basis, dim);
    TRY(distill_pca(x, n, dim, most, basis + dim));
    for (size_t k = 0; k <= most; k++) {
        memmove(basis + *n_basis * dim, basis + k * dim, dim * sizeof *basis);
        *n_basis += (size_t)orthogonal(basis, *n_basis, dim);
    }
    return TACIT_OK;
}

enum tacit_err distill_settle(float *table, size_t n_rows, size_t dim,
                              const struct distill_words *words,
                              const struct distill_bags *texts)
{
    size_t most = dim / 16 < DIRECTIONS ? dim / 16 : DIRECTIONS;
    size_t n = 0, n_basis = 0;
    float *x = malloc((2 * SAMPLE_MAX + 1) * dim * sizeof *x);
    float *basis = calloc((most + 1) * dim, sizeof *basis);
    enum tacit_err err = TACIT_OK;
    if (!x || !basis) err = fail(TACIT_NOMEM, "no memory for the table");
    if (!err) {
        quieten(table, dim, words);
        sample(table, dim, texts, x, &n);
        if (n > 0) err = common_basis(x, n, dim, most, basis, &n_basis);
    }
    for (size_t r = 0; !err && r < n_rows; r++)
        for (size_t k = 0; k < n_basis; k++)
            kernel_axpy(table + r * dim,
                        -kernel_dot(table + r * dim, basis + k * dim, dim),
                        basis + k * dim, dim);
    free(x);
    free(basis);
    return err;
}
