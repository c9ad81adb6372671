/*
 * weight: how much the vectors count beside the words, learnt from questions
 * whose right documents are known.
 *
 *   per question: candidates with BM25 s, cosine c, grade
 *   w* = argmax over w in {0, 0.02, … 1} of the mean nDCG@10 of the order by
 *        (1 - w) s / max s + w (1 + c) / (1 + max c)          (fusion.h)
 *
 * One number needs few questions (Bruch, Gai and Ingber 2022 learn it from
 * some dozens), and still a little luck looks like a gain: the vectors count
 * only when their mean gain over the words alone is more than its standard
 * error. So the sum does not fall below the words by learning.
 */
#ifndef TACIT_RETRIEVAL_WEIGHT_H
#define TACIT_RETRIEVAL_WEIGHT_H

#include <stddef.h>

#include "retrieval/search.h"

enum { WEIGHT_QUESTIONS_MIN = 20, WEIGHT_QUESTIONS_MAX = 2000 };

struct weight_fit; /* owned */

TACIT_CHECKED enum tacit_err weight_fit_new(struct weight_fit **out);
void weight_fit_free(struct weight_fit *f);
/* Search for q->text with all else that q says, and take the candidates' scores
 * with their grades. Over WEIGHT_QUESTIONS_MAX questions are left out, and so
 * are those of which no right document was found. */
TACIT_CHECKED enum tacit_err weight_fit_add(
    struct weight_fit *f, struct corpus *c, const struct search_query *q,
    int (*grade)(const struct search_hit *h, void *ctx), void *ctx);

struct weight_learnt {
    double weight;         /* of the vectors */
    double ndcg, by_words; /* mean nDCG@10 on these questions */
    size_t n_questions;
};
/* E_FEW_PAIRS under WEIGHT_QUESTIONS_MIN questions. */
TACIT_CHECKED enum tacit_err weight_fit_end(struct weight_fit *f,
                                            struct weight_learnt *out);

#endif
