/*
 * measure: how good a ranking or an answer is.
 *
 * Rankings, as trec_eval counts them (log to the base 2, i from 1):
 *
 *   nDCG@k    sum over i <= k of grade_i / log(i + 1), over the same of the
 *             ideal order; a grade below 0 counts as 0
 *   recall@k  relevant (grade >= 1) among the first k / all relevant
 *   P@k       relevant among the first k / k
 *   MRR       1 / rank of the first relevant one
 *   MAP       mean over all relevant of the precision where each stands
 *
 * Answers, as SQuAD does: lower case, without punctuation, articles
 * and repeated blanks; exact match, and F1 over the multisets of words; of
 * several right answers the best one counts.
 */
#ifndef TACIT_RETRIEVAL_MEASURE_H
#define TACIT_RETRIEVAL_MEASURE_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"

struct measures {
    double ndcg, recall, precision; /* @k */
    double mrr, map;                /* of the whole ranking */
};

/* grades [n_ranked] of the documents as ranked, 0 for one without a judgement;
 * judged [n_judged] are the grades of all that were judged. k >= 1. */
TACIT_CHECKED enum tacit_err measure_ranking(const int *grades, size_t n_ranked,
                                             const int *judged, size_t n_judged,
                                             size_t k, struct arena *scratch,
                                             struct measures *out);

/* Words of an answer in normal form, joined by single spaces (arena). */
TACIT_CHECKED enum tacit_err measure_normalise(struct arena *a, const char *s,
                                               const char **out);
/* Exact match (0 or 1) and F1 of two answers in normal form. Two without words
 * match; one without does not. */
TACIT_CHECKED enum tacit_err measure_answer(struct arena *scratch,
                                            const char *got, const char *want,
                                            double *exact, double *f1);

/* Area under the ROC curve: the chance that a positive scores above a negative,
 * ties one half; 0.5 without both. Sorts nothing of the caller's. */
struct measure_scored {
    double score;
    int positive;
};
TACIT_CHECKED enum tacit_err measure_auroc(const struct measure_scored *list,
                                           size_t n, struct arena *scratch,
                                           double *out);

#endif
