/*
 * metrics: what a prediction is worth.
 */
#ifndef TACIT_MODEL_METRICS_H
#define TACIT_MODEL_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/batch.h"
#include "common/model/model.h"
#include "common/tensor/tape.h"

/* Column of the largest of z [n]; the first among equals. */
size_t metrics_argmax(const float *z, size_t n);
/* Sum over the batch's rows of what the spec's metric averages: hits, squared
 * errors, or for a sequence the share of its tokens. Not for cox. The batch's
 * first row is row `first` of the examples. */
double metrics_sum(const struct model_spec *s, const struct examples *ex,
                   size_t first, const struct batch *b, const struct var *out);
/* Place of the best answer to row r among the site's passages, from 1, where q
 * is the question's vector; ties count against it. INFINITY: none answers. */
float metrics_place(const struct examples *ex, size_t r, const float *q);
/* z [n, 2]: scores of rows as the first and last of a span; row 0 stands for
 * none. The best span of rows 1 … n - 1 of at most `longest`; 1 when it scores
 * above none. n = 1 leaves *first and *last as they are. */
int metrics_best_span(const float *z, size_t n, size_t longest, size_t *first,
                      size_t *last);
/* Harrell's c-index (Harrell et al. 1982): of the pairs in which one has its
 * event before the other's time (or at it, when the other is censored), the
 * share in which it has the higher risk; equal risks count half. 0.5 without
 * such a pair. n log n. NOMEM. */
TACIT_CHECKED enum tacit_err metrics_c_index(const float *risk,
                                             const float *time,
                                             const float *event, size_t n,
                                             double *out);

#endif
