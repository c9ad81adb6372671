/*
 * ops_norm: values shifted to mean 0 and scaled to variance 1, then
 *
 *   y = gain (x - mean) / sqrt(var + 1e-5) + bias
 *
 * over a row (layer: Ba, Kiros and Hinton 2016), over groups of channels of one
 * image (group: Wu and He 2018), or over one channel of the whole batch (batch:
 * Ioffe and Szegedy 2015). The variance divides by n.
 */
#ifndef TACIT_TENSOR_OPS_NORM_H
#define TACIT_TENSOR_OPS_NORM_H

#include "common/tensor/ops_conv.h"
#include "common/tensor/tape.h"

/* x [B, n], gain and bias [1, n]. */
struct var *op_layer_norm(struct tape *t, struct var *x, struct var *gain,
                          struct var *bias);
/* The same with another number than 1e-5 (BERT: 1e-12). */
struct var *op_layer_norm_eps(struct tape *t, struct var *x, struct var *gain,
                              struct var *bias, double epsilon);
/* The same in x's memory where no gradient is wanted; x as y of op_add_over. */
struct var *op_layer_norm_over(struct tape *t, struct var *x, struct var *gain,
                               struct var *bias, double epsilon);
/* y = gain x / sqrt(mean x^2 + epsilon), row by row (Zhang and Sennrich
 * 2019). */
struct var *op_rms_norm(struct tape *t, struct var *x, struct var *gain,
                        double epsilon);
/* x [B, image], gain and bias [1, channels]; `groups` divides the channels. */
struct var *op_group_norm(struct tape *t, struct var *x, struct var *gain,
                          struct var *bias, const struct op_image *image,
                          size_t groups);
/* The running statistics of a batch norm, [1, channels] each. Where they have a
 * gradient, this is training: the batch's own statistics are used, and the
 * gradient gets (running - batch) at once, forward, with the unbiased variance:
 * a step of 0.1 against it is the usual exponential average. Where they have
 * none, they are used in place of the batch's. */
struct op_running {
    struct var *mean, *var;
};
/* x [B, image]; training needs more than one value per channel (SHAPE). */
struct var *op_batch_norm(struct tape *t, struct var *x, struct var *gain,
                          struct var *bias, const struct op_running *running,
                          const struct op_image *image);

#endif
