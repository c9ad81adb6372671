/*
 * distill_pca: the directions that hold most of many vectors' length.
 *
 *   M = sum_i x_i x_i^T   [n, n]   ──Jacobi──> eigenvectors, the largest first
 *
 * Cyclic Jacobi rotations (Golub and Van Loan, 8.5) in f64: exact to rounding,
 * in a fixed order, for n of at most some hundreds. The mean is not taken off:
 * cosines between vectors are what counts.
 */
#ifndef TACIT_MODEL_DISTILL_PCA_H
#define TACIT_MODEL_DISTILL_PCA_H

#include <stddef.h>

#include "common/base/err.h"

/* x [rows, n]; out [dim, n], rows of length one, dim <= n. */
TACIT_CHECKED enum tacit_err distill_pca(const float *x, size_t rows, size_t n,
                                         size_t dim, float *out);

#endif
