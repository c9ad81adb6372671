#include "common/model/distill_pca.h"

#include <math.h>
#include <stdlib.h>

enum { SWEEPS_MAX = 30 };

/* Rotate rows p and q of m [., n]. */
static void rotate_rows(double *m, size_t n, size_t p, size_t q, double c,
                        double s)
{
    double *x = m + p * n, *y = m + q * n;
    for (size_t k = 0; k < n; k++) {
        double a = x[k], b = y[k];
        x[k] = c * a - s * b;
        y[k] = s * a + c * b;
    }
}

/* The rotation that makes m[p][q] zero, on both sides; v gathers it. */
static void rotate(double *m, double *v, size_t n, size_t p, size_t q)
{
    double off = m[p * n + q], gap = m[q * n + q] - m[p * n + p];
    double theta = gap / (2 * off);
    double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    rotate_rows(m, n, p, q, c, s);
    for (size_t k = 0; k < n; k++) {
        double *row = m + k * n, a = row[p], b = row[q];
        row[p] = c * a - s * b;
        row[q] = s * a + c * b;
    }
    rotate_rows(v, n, p, q, c, s);
}

static double off_diagonal(const double *m, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) sum += m[i * n + j] * m[i * n + j];
    return sum;
}

static void diagonalise(double *m, double *v, size_t n)
{
    double whole = 0;
    for (size_t i = 0; i < n * n; i++) whole += m[i] * m[i];
    for (size_t i = 0; i < n; i++) v[i * n + i] = 1;
    const double small = 1e-13 * sqrt(whole) / (double)n;
    for (int k = 0; k < SWEEPS_MAX && off_diagonal(m, n) > 1e-22 * whole; k++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++)
                if (fabs(m[p * n + q]) > small) rotate(m, v, n, p, q);
}

/* The largest first; its largest number is positive, so that a sign does not
 * hang on rounding. */
static void take(const double *m, const double *v, size_t n, size_t dim,
                 float *out)
{
    for (size_t d = 0; d < dim; d++) {
        size_t best = 0, top = 0;
        for (size_t i = 0; i < n; i++) {
            size_t above = 0;
            for (size_t j = 0; j < n; j++)
                above += m[j * n + j] > m[i * n + i] ||
                         (m[j * n + j] == m[i * n + i] && j < i);
            if (above == d) best = i;
        }
        const double *row = v + best * n;
        for (size_t k = 0; k < n; k++)
            if (fabs(row[k]) > fabs(row[top])) top = k;
        for (size_t k = 0; k < n; k++)
            out[d * n + k] = (float)(row[top] < 0 ? -row[k] : row[k]);
    }
}

enum tacit_err distill_pca(const float *x, size_t rows, size_t n, size_t dim,
                           float *out)
{
    double *m = calloc(n * n, sizeof *m), *v = calloc(n * n, sizeof *v);
    if (!m || !v) {
        free(m);
        free(v);
        return fail(TACIT_NOMEM, "no memory for %zu x %zu numbers", n, n);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                m[i * n + j] += (double)x[r * n + i] * x[r * n + j];
    diagonalise(m, v, n);
    take(m, v, n, dim, out);
    free(m);
    free(v);
    return TACIT_OK;
}
