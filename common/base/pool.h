/*
 * pool: a fixed set of worker threads that run index ranges.
 *
 * pool_run(p, n, fn, ctx) calls fn(ctx, i, worker) for every i in [0, n), from
 * several threads, and returns when all are done. Workers get const input and
 * their own output; the result may not depend on the order.
 *
 * Each thread has a range of its own, a stretch of memory that nobody else
 * reads, and helps with what is left of the others' when that is done. A worker
 * enters a job while its gate is open; when all indices are handed out the
 * caller shuts it and waits for those inside alone. So a worker that is still
 * asleep holds nobody up, and one that something else keeps from running holds
 * up one index: the caller sees that its time stands still, has it moved to its
 * own core, and sleeps until that index is done. A worker that finds itself on
 * the caller's core goes to another, behind whatever runs there.
 *
 *   core 0   caller  0 1 2 3 6 7 sleeps [worker 5] caller, next jobs ...
 *   core 1   worker  4 5 |  another process             | worker, at its turn
 *
 *   gate   [ job number 23 | open 1 | workers inside 8 ]   one futex
 *
 * Who waits looks for 20 us, then sleeps; with more threads than usable cores
 * it sleeps at once.
 *
 * Thread rule: one pool_run of a pool at a time, and none from within fn.
 */
#ifndef TACIT_BASE_POOL_H
#define TACIT_BASE_POOL_H

#include <stddef.h>

#include "common/base/err.h"

struct pool;

/* n_threads 0 = one per usable core (at most 64). The caller works too. */
TACIT_CHECKED enum tacit_err pool_new(struct pool **out, unsigned n_threads);
void pool_free(struct pool *p);
unsigned pool_threads(const struct pool *p);
/* p may be NULL: then the calling thread does all of it. */
void pool_run(struct pool *p, size_t n,
              void (*fn)(void *ctx, size_t i, unsigned worker), void *ctx);

#endif
