/*
 * search_read: candidates of a search -> hits with their text and place. A
 * candidate that stands beside an earlier hit, in the same section, joins it.
 * Not for callers.
 */
#ifndef TACIT_RETRIEVAL_SEARCH_READ_H
#define TACIT_RETRIEVAL_SEARCH_READ_H

#include "retrieval/fusion.h"
#include "retrieval/search.h"

/* The first q->limit hits of list [n], into *hits (arena). */
TACIT_CHECKED enum tacit_err search_read(struct corpus *c,
                                         const struct search_query *q,
                                         struct arena *a,
                                         const struct fused *list, size_t n,
                                         struct search_hit **hits,
                                         size_t *n_hits);

#endif
