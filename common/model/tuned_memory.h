/*
 * tuned_memory: what a batch of a network's rows takes, before it runs.
 *
 *   rows ─> tokens, sequences, labels ─┬ way back:  net_train_plan()
 *                                      └ forward:   net_forward_estimate()
 *                                                        │
 *        bound (memory_mib of the plan or the policy) ───┴─> fits | LIMIT
 *
 * Counted are the base, the model's copies of what is trained, the optimiser
 * and the batch; not the program around it, nor the rows themselves.
 *
 * Thread rule: pure functions.
 */
#ifndef TACIT_MODEL_TUNED_MEMORY_H
#define TACIT_MODEL_TUNED_MEMORY_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/model/model.h"
#include "common/model/net_train.h"

struct pool;

enum tuned_way {
    TUNED_LEARNS, /* with a way back */
    TUNED_LOOKS   /* forward alone: measuring, and learning without gradient */
};

/* Of one batch. */
struct tuned_batch {
    enum tuned_way way;
    size_t rows, tokens;
    size_t labels; /* lm: tokens whose next one is predicted at a time */
    size_t hard;   /* retriever: hard negatives of a row */
};

struct tuned_count {
    struct net *net;
    const struct model_spec *spec;
    struct pool *pool; /* NULL: one thread */
};

/* Passages of a batch and their scores, on its tape. */
size_t tuned_passages_bytes(const struct tuned_count *c,
                            const struct tuned_batch *b);
/* Of this batch: under the spec's bound, or else with as many blocks kept as
 * TUNED_KEPT_BYTES hold. E_TRAIN_MEMORY. */
TACIT_CHECKED enum tacit_err tuned_count_batch(const struct tuned_count *c,
                                               const struct tuned_batch *b,
                                               struct net_memory *out);
/* Of the largest batch of b.rows rows of ex; b.tokens and b.labels are not
 * read. E_TRAIN_MEMORY, with a number of rows that would fit. */
TACIT_CHECKED enum tacit_err tuned_count_largest(const struct tuned_count *c,
                                                 const struct tuned_batch *b,
                                                 const struct examples *ex,
                                                 struct net_memory *out);

#endif
