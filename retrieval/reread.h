/*
 * reread: the best hits of a search, read again together with the question by a
 * cross-encoder (cross.h), and put in its order.
 *
 *   hits, best first ─ the first n ─cross_scores─> by score, then the rest
 *
 * What is read is what is shown: title, headings and text, as far as the
 * network reads; how many lost their end by that is told.
 *
 * A score orders, no more. It is no chance of anything, and no threshold stands
 * on it: whether an answer is given stays with relevance.h and doubt.h, whose
 * threshold therefore means the same with a reranker and without. Of the
 * passages that reach it, those are quoted that the reranker puts first.
 *
 * Thread rule: as the cross-encoder.
 */
#ifndef TACIT_RETRIEVAL_REREAD_H
#define TACIT_RETRIEVAL_REREAD_H

#include "common/model/cross.h"
#include "retrieval/relevance.h"

enum { REREAD_DEFAULT = 20, REREAD_MAX = CROSS_PASSAGES_MAX };

/* Who reads, and how many hits. Borrowed by every query that has it. */
struct reread {
    struct cross *cross;
    size_t n; /* 1 to REREAD_MAX */
};

/* hits [n] in place; *report gets counts and time. Errors as cross_scores(). */
TACIT_CHECKED enum tacit_err reread_hits(const struct reread *r,
                                         const char *question, struct arena *a,
                                         struct search_hit *hits, size_t n,
                                         struct search_report *report);
/* Passages [n] of hits that were read again: first those whose confidence
 * reaches the threshold, both parts in the reranker's order. */
void reread_order(struct passage *list, size_t n, double threshold);

#endif
