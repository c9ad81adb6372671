/*
 * span: the few words of a sentence that answer a question.
 *
 *   "Who composed it?"   "It was composed by Clara Schumann in 1846."
 *                                           [------------]
 *
 * Every run of at most SPAN_WORDS_MAX words is a candidate that begins and ends
 * with a content word. A linear model over what can be seen of it (its size, a
 * number or a name where the question asks for one, what stands beside it, how
 * near the question's own words are) gives each a score, a softmax over the
 * sentence its chance. A reader without a network, after the logistic
 * regression of Rajpurkar et al. 2016 (arXiv 1606.05250), without its parse
 * trees. tests/bench/calibrate_spans.py fits the weights.
 */
#ifndef TACIT_RETRIEVAL_SPAN_H
#define TACIT_RETRIEVAL_SPAN_H

#include "retrieval/relevance.h"

enum { SPAN_WORDS_MAX = 8, SPAN_TOKENS_MAX = 256, SPAN_FEATURES = 60 };

struct span {
    size_t first, end; /* bytes of the passage's text */
    double x[SPAN_FEATURES];
    double score, chance; /* chance: of all candidates of the sentence */
};

/* All candidates of one sentence with their features and scores (arena), in
 * order of their place; n may be 0. */
TACIT_CHECKED enum tacit_err span_list(const struct inquiry *q,
                                       const struct passage *p, size_t sentence,
                                       struct arena *a, struct span **out,
                                       size_t *n);
/* The best of them when it stands out, else "" (arena). */
TACIT_CHECKED enum tacit_err span_find(const struct inquiry *q,
                                       const struct passage *p, size_t sentence,
                                       struct arena *a, const char **out);

#endif
