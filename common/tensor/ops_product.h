/*
 * ops_product: the products of rows with a matrix that is trained, w [out, in],
 * cut into slabs for a tape's workers and in its numbers. The ops that have
 * matrices share them. A sum goes along its inputs in order, so the bits are
 * the same for any number of workers.
 *
 *   y (+)= x w^T      dx (+)= dy w      dw += dy^T x
 */
#ifndef TACIT_TENSOR_OPS_PRODUCT_H
#define TACIT_TENSOR_OPS_PRODUCT_H

#include <stddef.h>

#include "common/tensor/tape.h"

/* Where the rows of w begin, for the first of them. NULL after an error. */
ptrdiff_t *product_places(struct tape *t, const struct var *w);
void product_rows(struct tape *t, const struct var *w, const ptrdiff_t *row,
                  const float *x, float *y, size_t rows, enum gemm_mode mode);
void product_back(struct tape *t, const struct var *w, const float *dy,
                  float *dx, size_t rows, enum gemm_mode mode);
/* Any product of many rows and few columns. */
void product_narrow(struct tape *t, const struct gemm *g);
/* Adds to w->grad. */
void product_outer(struct tape *t, const struct var *w, const float *dy,
                   const float *x, size_t rows);

#endif
