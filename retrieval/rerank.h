/*
 * rerank: the passages that a search found, read more closely and put in order
 * of how sure each makes us that it answers.
 *
 *   hits ─relevance.h─> confidence of each ─> passages, most confident first
 *
 * Reading looks at whole questions and single sentences, which a search over
 * all passages cannot. A cross-encoder (reread.h) gives the order where there
 * is one; how sure we are is told here all the same.
 */
#ifndef TACIT_RETRIEVAL_RERANK_H
#define TACIT_RETRIEVAL_RERANK_H

#include "retrieval/relevance.h"

enum { RERANK_MAX = 20 };

/* hits [n], n <= RERANK_MAX, borrowed by out [n]; ties keep their order. */
TACIT_CHECKED enum tacit_err rerank(struct corpus *c, const struct inquiry *q,
                                    const struct search_hit *hits, size_t n,
                                    struct passage *out);

#endif
