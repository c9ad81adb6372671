/*
 * tuned_rows: rows of texts as one packed batch of a network (tuned.h), and
 * what each task's loss is worked out against. All of it lies on the tape.
 *
 * Thread rule: as the tape.
 */
#ifndef TACIT_MODEL_TUNED_ROWS_H
#define TACIT_MODEL_TUNED_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/model.h"
#include "common/model/net.h"
#include "common/tensor/ops_linear.h"
#include "common/tensor/tape.h"

struct tuned_rows {
    const struct net *net;
    const struct model_spec *spec;
    const struct examples *ex;
    const uint32_t *idx; /* NULL: from `first` on */
    size_t first, n;
    struct net_batch batch;
    uint32_t *start; /* [n + 1] */
};

/* Outputs of the task's head; 0: it has none. */
size_t tuned_outputs(const struct model_spec *s);
/* The row of the examples that is the batch's row i. */
size_t tuned_row(const struct tuned_rows *r, size_t i);
size_t tuned_row_tokens(const struct tuned_rows *r, size_t i);
/* Fills batch and start. SHAPE names a row that the network cannot read. */
TACIT_CHECKED enum tacit_err tuned_rows_gather(struct tuned_rows *r,
                                               struct tape *t);
/* What is wanted of the rows. NULL after an error of the tape. */
struct var *tuned_rows_passages(const struct tuned_rows *r, struct tape *t);
const uint32_t *tuned_rows_spans(const struct tuned_rows *r, struct tape *t);
const uint32_t *tuned_rows_classes(const struct tuned_rows *r, struct tape *t);
const float *tuned_rows_answers(const struct tuned_rows *r, struct tape *t);
/* lm: the first token of row i whose next one is predicted; all of them. */
size_t tuned_rows_first_label(const struct tuned_rows *r, size_t i);
TACIT_CHECKED enum tacit_err tuned_rows_labels(const struct tuned_rows *r,
                                               struct tape *t,
                                               struct op_labels *out);

#endif
