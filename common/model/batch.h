/*
 * batch: some rows of the examples as a forward pass and a loss read them.
 *
 *   x, y of the caller  ──gather──>  x [n, x_dim], labels as losses want them
 *
 * Labels arrive as floats and are hostile: a class must be a whole number below
 * the number of classes, an event 0 or 1, a time a number.
 */
#ifndef TACIT_MODEL_BATCH_H
#define TACIT_MODEL_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/model.h"
#include "common/tensor/ops_block.h"
#include "common/tensor/tape.h"

/* Rows of a sequence batch: by row, then token; or by token, then row. */
enum batch_order { BATCH_BY_ROW, BATCH_BY_STEP };

/* Texts of the built-in reader, their rows packed, and walked step by step from
 * the front and from behind. */
struct batch_texts {
    size_t rows, steps;
    float *signs;          /* [rows, READER_SIGNS] */
    float *vector, *focus; /* [rows, READER_DIM], [n, READER_DIM] */
    uint32_t *first, *end; /* [rows] bytes of the passage */
    uint32_t *start;       /* [n + 1] first row of each text */
    struct op_segments segments;
    uint32_t *owner;          /* [rows] its text */
    uint32_t *ahead, *behind; /* [steps n] row at a step; any behind its end */
    uint32_t *ahead_at, *behind_at; /* [rows] step of a row */
    uint32_t *span;                 /* [n, 2] */
};

struct batch {
    size_t n;
    struct batch_texts texts; /* reader */
    float *x;                 /* [n, x_dim]; NULL for lm */
    float *y;                 /* [n] value, 0 or 1, or time */
    float *event;             /* [n], cox */
    uint32_t *class;          /* [n], classes; lm: [n T] next tokens */
    uint32_t *token;          /* [n T], lm */
    struct batch_passages {
        float *v; /* [n, x_dim] those that answer, then the hard negatives */
        size_t n;
    } p; /* retriever */
};

/* Numbers of y per row that a spec wants; 0 for a retriever. */
size_t batch_targets(const struct model_spec *s);
/* Rows idx[n], or first … first + n - 1 when idx is NULL, in the tape's memory;
 * rows that lie together are borrowed. SHAPE names a label that is none. */
TACIT_CHECKED enum tacit_err batch_gather(struct tape *t,
                                          const struct model_spec *s,
                                          enum batch_order order,
                                          const struct examples *ex,
                                          const uint32_t *idx, size_t first,
                                          size_t n, struct batch *out);

/* Their passages alone: of each row the one that answers, then row by row its
 * hard negatives, which batch_check_hard() has seen. v NULL: no memory. */
struct batch_passages batch_passages(struct tape *t, const struct examples *ex,
                                     const uint32_t *idx, size_t first,
                                     size_t n);
/* SHAPE when a hard negative of row i is not in the pool. */
TACIT_CHECKED enum tacit_err batch_check_hard(const struct examples *ex,
                                              size_t i);
/* Their classes alone. */
TACIT_CHECKED enum tacit_err batch_classes(struct tape *t,
                                           const struct model_spec *s,
                                           const struct examples *ex,
                                           const uint32_t *idx, size_t n,
                                           uint32_t **out);

#endif
