/*
 * search_read: candidates of a search -> hits with their text and place. A
 * candidate that stands beside an earlier hit, in the same section, joins it;
 * one that a better one is equal to or holds (twin.h) is folded into it.
 * Not for callers.
 */
#ifndef TACIT_RETRIEVAL_SEARCH_READ_H
#define TACIT_RETRIEVAL_SEARCH_READ_H

#include "retrieval/fusion.h"
#include "retrieval/search.h"

/* Candidates, best first, and the ids that the filter let through (rising;
 * NULL = all). */
struct search_found {
    const struct fused *fused;
    size_t n;
    const int64_t *only;
    size_t n_only;
    size_t n_different; /* out: passages that say something of their own */
};

/* The first q->limit hits of them, into *hits (arena). */
TACIT_CHECKED enum tacit_err search_read(
    struct corpus *c, const struct search_query *q, struct arena *a,
    struct search_found *from, struct search_hit **hits, size_t *n_hits);

#endif
