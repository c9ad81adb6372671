/*
 * ops: the operations a tape records, forward beside backward: dense ones in
 * ops.c, losses in ops_loss.c; ops_conv.h, ops_norm.h and ops_seq.h have the
 * others. Each returns NULL after an error, which sticks in the tape; shapes
 * that do not fit are SHAPE. B = batch rows.
 */
#ifndef TACIT_TENSOR_OPS_H
#define TACIT_TENSOR_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/tape.h"

/* x [B, k] times w [k, n] -> [B, n]. */
struct var *op_matmul(struct tape *t, struct var *x, struct var *w);
/* x [B, k] times w [k, n] plus b [1, n] on every row -> [B, n]. */
struct var *op_linear(struct tape *t, struct var *x, struct var *w,
                      struct var *b);
/* The same with a row of w per output: x [B, k] times w [n, k] turned, plus b
 * [1, n] -> [B, n]. For few outputs of many inputs: its products run along k,
 * where those of op_linear() would leave lanes of a vector idle. */
struct var *op_linear_rows(struct tape *t, struct var *x, struct var *w,
                           struct var *b);
struct var *op_add(struct tape *t, struct var *x, struct var *y);
/* The same in y's memory, for a y whose numbers nothing reads any more: what
 * op_project(), op_feed() or op_lookup() has made just now. */
struct var *op_add_over(struct tape *t, struct var *x, struct var *y);
struct var *op_relu(struct tape *t, struct var *x);
struct var *op_tanh(struct tape *t, struct var *x);
/* 0.5 x (1 + erf(x / sqrt 2)), Hendrycks and Gimpel 2016. */
struct var *op_gelu(struct tape *t, struct var *x);
/* The same in x's memory where no gradient is wanted; x as y of op_add_over. */
struct var *op_gelu_over(struct tape *t, struct var *x);
/* Every row to length 1; a zero row stays zero. */
struct var *op_normalise(struct tape *t, struct var *x);
/* Bags of table rows: out[b] = sum_i weight[i] table[id[i]] for i in
 * [start[b], start[b + 1]). table [V, n]; start [B + 1]; arrays are borrowed
 * until the tape is reset. SHAPE when an id is outside the table. */
struct op_bags {
    const uint32_t *id;
    const float *weight;
    const uint32_t *start;
    size_t n_bags;
};
struct var *op_embedding_bag(struct tape *t, struct var *table,
                             const struct op_bags *bags);

/* Losses, mean over the rows (SHAPE when there are none), [1, 1]. Targets are
 * borrowed. */
/* z [B, 1] logits, y [B] in {0, 1}: binary cross-entropy. */
struct var *op_bce(struct tape *t, struct var *z, const float *y);
/* z [B, n] logits, y [B] class numbers: softmax cross-entropy. */
struct var *op_softmax_ce(struct tape *t, struct var *z, const uint32_t *y);
/* z [B, 1], y [B]: mean (z - y)^2. */
struct var *op_mse(struct tape *t, struct var *z, const float *y);
/* z [B, 1] log hazards, time [B], event [B] (1 seen, 0 censored): Cox's partial
 * likelihood with Breslow's handling of ties,
 *   -1/E sum_{i: event} (z_i - log sum_{j: time_j >= time_i} exp z_j),
 * E the number of events (Cox 1972; Breslow 1974). The batch is its own risk
 * set; one without an event costs 0. SHAPE when a time is not a number. */
struct var *op_cox(struct tape *t, struct var *z, const float *time,
                   const float *event);
/* q [B, d], p [P, d] unit rows, P >= B: softmax cross-entropy of q p^T /
 * temperature against the diagonal; the other rows are the negatives (van den
 * Oord et al. 2018, "InfoNCE", with in-batch negatives), those after B hard
 * ones that belong to no question of the batch. */
struct var *op_contrastive(struct tape *t, struct var *q, struct var *p,
                           float temperature);
/* z [T, 2]: scores of each token as the first and as the last of a span.
 * Mean over sequences and sides of the cross-entropy of the softmax over a
 * sequence's tokens (Devlin et al. 2019). span [n, 2]: within the sequence;
 * segments and span are borrowed. SHAPE for a span outside of it. */
struct op_segments;
struct var *op_span(struct tape *t, struct var *z, const struct op_segments *s,
                    const uint32_t *span);
/* Rows s [B, n] of length one against a teacher's y [B, n]:
 *   mean_i (1 - s_i . y_i) + share mean_ij (s_i . s_j - y_i . y_j)^2
 * the directions, and what is near what. */
struct var *op_imitate(struct tape *t, struct var *s, const float *y,
                       float share);

#endif
