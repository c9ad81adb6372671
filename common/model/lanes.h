/*
 * lanes: batches for a network, spread over threads, each of which has a tape
 * of its own.
 *
 *   pool_run ──> batch i, worker w ──> run(ctx, i, tape of w)
 *
 * Thread rule: one lanes_run() of them at a time.
 */
#ifndef TACIT_MODEL_LANES_H
#define TACIT_MODEL_LANES_H

#include "common/base/pool.h"
#include "common/tensor/tape.h"

struct lane; /* a tape, and what became of its batches */

/* Zeroed before the first use. */
struct lanes {
    struct lane *list; /* [n] owned */
    size_t n;
};

typedef enum tacit_err lanes_batch(void *ctx, size_t i, struct tape *t);

/* There are n at least, each with a tape of bytes_max. NOMEM. */
TACIT_CHECKED enum tacit_err lanes_add(struct lanes *l, size_t n,
                                       size_t bytes_max);
/* Run batches 0 … n - 1 on the pool's threads, no more than there are lanes;
 * pool NULL: on this one. A lane stops at its first failure. The code of one is
 * returned without a message, which is its thread's. */
TACIT_CHECKED enum tacit_err lanes_run(struct lanes *l, struct pool *pool,
                                       size_t n, lanes_batch *run, void *ctx);
void lanes_release(struct lanes *l);

#endif
