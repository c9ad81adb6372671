/*
 * ops_conv: convolution and pooling of images, [B, channels * height * width],
 * channel first, row by row.
 *
 * A convolution slides over the padded plane as if it were one long line: the
 * input of weight (c, y, x) for point p is padded[c][p + y W + x], so one row
 * of weights times a moving window gives a whole output plane (kernels.h,
 * correlate), and nothing is unrolled in memory.
 *
 *   padded  0 0 0 0 0 0 0      line  p ──────────────>  out, stride W
 *   [c]     0 a b c d e 0            window at +0 +1 +2 … +W +W+1 …
 *           0 f g h i j 0            the last k - 1 columns are thrown away
 */
#ifndef TACIT_TENSOR_OPS_CONV_H
#define TACIT_TENSOR_OPS_CONV_H

#include "common/tensor/tape.h"

struct op_image {
    size_t channels, height, width;
};

/* What follows the sum and bias of each point: nothing, or ReLU and the largest
 * of each 2 x 2 block (a rest of one row or column is left out). */
enum op_tail { OP_PLAIN, OP_RELU_POOL };

struct op_conv {
    struct op_image in;
    size_t side;    /* of the square kernel, odd or even */
    size_t padding; /* zeros on each side */
    enum op_tail tail;
};

/* Size of what op_conv2d gives for `channels` output channels; a height or
 * width of 0 when the kernel does not fit. */
struct op_image op_conv_size(const struct op_conv *c, size_t channels);
/* Cross-correlation with stride 1: x [B, in], w [out channels, in channels *
 * side * side], b [1, out channels] -> [B, size]. SHAPE. */
struct var *op_conv2d(struct tape *t, struct var *x, struct var *w,
                      struct var *b, const struct op_conv *c);
/* x [B, image]: the tail alone; OP_PLAIN pools without ReLU. Among equals the
 * first of a block gets the gradient. */
struct var *op_max_pool(struct tape *t, struct var *x,
                        const struct op_image *image, enum op_tail tail);

#endif
