/*
 * ops_linear: the matrices of a network, one row per output, as files have
 * them.
 *
 *   y = x w^T + s (x down^T) up^T + bias
 *
 * A matrix is trained (its var has a gradient) or frozen; to either, a pair of
 * low rank may be added that learns in its stead (LoRA: Hu et al. 2021).
 */
#ifndef TACIT_TENSOR_OPS_LINEAR_H
#define TACIT_TENSOR_OPS_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/tape.h"
#include "common/tensor/weights.h"

/* T = rows of x. */
struct op_matrix {
    struct var *w;               /* [out, in], or NULL: */
    const struct weight *frozen; /* packed, without a gradient; borrowed */
    struct var *bias;            /* [1, out], or NULL */
    struct var *down, *up;       /* [r, in], [out, r], or NULL */
    float scale;                 /* s */
    int unread; /* y is not made, only what the way back needs */
};

/* x [T, in] -> [T, out]. SHAPE. */
struct var *op_project(struct tape *t, struct var *x,
                       const struct op_matrix *m);
/* The same of several matrices: q, k and v; gate and up. Frozen ones are one
 * job for the workers. out [n], all NULL after an error; n <= PROJECT_MAX. */
enum { PROJECT_MAX = 4 };
void op_project_all(struct tape *t, struct var *x, const struct op_matrix *m,
                    size_t n, struct var **out);
/* gelu(x widen^T + bias) narrow^T + bias of matrices whose packed blocks and
 * biases are constants, as op_feeds_packed() says; x has no gradient. What is
 * between is never there as a whole (weight_feed). SHAPE. */
bool op_feeds_packed(const struct op_matrix *widen,
                     const struct op_matrix *narrow);
struct var *op_feed_packed(struct tape *t, struct var *x,
                           const struct op_matrix *widen,
                           const struct op_matrix *narrow);

/* Rows id[n] of the matrix, [n, in]; id is borrowed. Without bias and pair.
 * SHAPE when an id is outside. */
struct var *op_lookup(struct tape *t, const struct op_matrix *m,
                      const uint32_t *id, size_t n);
/* x [n, in] and these rows, in x's memory: x as y of op_add_over(). */
struct var *op_lookup_over(struct tape *t, const struct op_matrix *m,
                           const uint32_t *id, struct var *x);

/* Rows of a hidden state whose next token is known. Borrowed. */
struct op_labels {
    const uint32_t *row;   /* [n] below T */
    const uint32_t *label; /* [n] below the matrix's outputs */
    size_t n;
};
/* What a teacher holds likely at each label: `k` outputs and their shares,
 * which sum to one. Borrowed. */
struct op_teacher {
    const uint32_t *id; /* [n, k] below the matrix's outputs */
    const float *p;     /* [n, k] */
    size_t k;
    float share; /* of the loss, 0 to 1; the rest is the label's */
};
/* Mean cross-entropy of softmax(h m^T + bias) at the labels, [1, 1], without
 * the logits of all rows ever being in memory: a few rows at a time, and the
 * gradient of h while they are there. Matrix without a pair. SHAPE. With a
 * teacher, of the k likeliest of which it is learnt, too (Hinton, Vinyals and
 * Dean 2015, at temperature 1); NULL: none.
 *   (1 - share) ce(label) + share sum_k p_k ce(id_k) */
struct var *op_head_ce(struct tape *t, struct var *h, const struct op_matrix *m,
                       const struct op_labels *labels,
                       const struct op_teacher *teacher);
/* Bytes that it takes for so many labels over a matrix [out, in]. */
size_t op_head_bytes(size_t n_labels, size_t in, size_t out);

#endif
