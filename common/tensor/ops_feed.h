/*
 * ops_feed: the two matrices of a block that are trained, and the GELU between
 * them, as one op.
 *
 *   z = x w^T + b      y = gelu(z) u^T + c
 *
 *      x [T, d] ──w──> z [some rows, f] ──gelu──> a ──u──> y [T, d]
 *                      kept: bf16 or f32          worked out again on the way
 *                                                 back
 *
 * f is four times d, so what is wide is most of a block's memory. It is there
 * for FEED_ROWS rows at a time, forward and back; of it all, z alone is kept,
 * in two bytes a number where the tape multiplies in bf16 (only the slope is
 * read from it), in four elsewhere.
 */
#ifndef TACIT_TENSOR_OPS_FEED_H
#define TACIT_TENSOR_OPS_FEED_H

#include "common/tensor/tape.h"

enum { FEED_ROWS = 256 };

struct op_feed {
    struct var *wide, *wide_bias;     /* [f, d], [1, f] */
    struct var *narrow, *narrow_bias; /* [d, f], [1, d] */
};

/* x [T, d] -> [T, d]. SHAPE. */
struct var *op_feed(struct tape *t, struct var *x, const struct op_feed *m);
/* Bytes that it keeps of so many rows, and shares with other calls. */
size_t op_feed_kept(size_t rows, size_t feed, enum gemm_numbers numbers);
size_t op_feed_shared(size_t rows, size_t feed);

#endif
