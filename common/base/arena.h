/*
 * arena: memory with one lifetime (process, model, round, request), freed
 * whole.
 *
 *   block 0            block 1 (at least twice as large)
 *   [used####|free...] [used##|free.............]
 *              ^ arena_alloc moves this mark forward, aligned to 64 bytes
 *
 * Thread rule: one thread at a time.
 */
#ifndef TACIT_BASE_ARENA_H
#define TACIT_BASE_ARENA_H

#include <stddef.h>

#include "common/base/err.h"

struct arena_block;
struct arena {
    struct arena_block *head; /* newest block, owned */
    size_t used_bytes;        /* handed out, alignment included */
    size_t limit_bytes;       /* 0 = none */
};

/* An empty arena that refuses to grow past limit_bytes (0 = no limit). */
void arena_init(struct arena *a, size_t limit_bytes);
/* Free every block; the arena can be used again. */
void arena_release(struct arena *a);
/* Forget all allocations but keep the newest block for reuse. */
void arena_reset(struct arena *a);

/* One block for the next n bytes, where it is known that they will be wanted:
 * no memory is taken before they are written. NOMEM. */
TACIT_CHECKED enum tacit_err arena_reserve(struct arena *a, size_t n);

/* n*size zeroed bytes aligned to 64; NOMEM (also on overflow) or LIMIT. */
TACIT_CHECKED enum tacit_err arena_alloc(struct arena *a, size_t n, size_t size,
                                         void *out_ptr);
/* The same, but what the bytes hold is left open. */
TACIT_CHECKED enum tacit_err arena_alloc_raw(struct arena *a, size_t n,
                                             size_t size, void *out_ptr);
/* A NUL-terminated copy of the n bytes at s. */
TACIT_CHECKED enum tacit_err arena_strdup(struct arena *a, const char *s,
                                          size_t n, char **out);
/* Walk all blocks and check their marks; INTERNAL when one is damaged. */
TACIT_CHECKED enum tacit_err arena_check(const struct arena *a);

#endif
