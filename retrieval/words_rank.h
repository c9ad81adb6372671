/*
 * words_rank: BM25 (words.h) of one row after another, and the best by it. Not
 * for callers.
 */
#ifndef TACIT_RETRIEVAL_WORDS_RANK_H
#define TACIT_RETRIEVAL_WORDS_RANK_H

#include "retrieval/question.h"
#include "retrieval/words.h"
#include "retrieval/words_format.h"

/* Title, heading, text: a word in a heading says more than one in the text. */
extern const uint32_t words_weight[WORDS_COLUMNS];

/* A row that holds a term. */
struct words_held {
    int64_t id;
    double *f;          /* [n_terms] occurrences by the weight of columns */
    double n_words_min; /* it has no fewer; 0 where that is unknown */
};

struct words_ranking {
    struct words_query *q;
    size_t n_terms;
    double idf[QUESTION_TERMS_MAX];
    double mean_words;
};

/* Begin: nothing was found. */
void words_rank_begin(struct words_ranking *r, struct words_query *q);
/* Of the whole index: its rows and their words. */
void words_rank_scale(struct words_ranking *r, double n_rows, double n_words);
/* n_held of n_rows rows hold term i. */
void words_rank_term(struct words_ranking *r, size_t i, double n_rows,
                     double n_held);
/* Whether the filter lets a row through that holds a term; then it counts. */
int words_rank_lets(const struct words_ranking *r, int64_t id);
/* Whether a row's length matters: it is wanted, or could be among the best if
 * it were as short as can be; *most is its score then. */
int words_rank_needs(const struct words_ranking *r,
                     const struct words_held *row, double *most);
/* A row and its length. */
void words_rank_take(struct words_ranking *r, const struct words_held *row,
                     double n_words);
/* The end: best first. */
void words_rank_end(struct words_ranking *r);

#endif
