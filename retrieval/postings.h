/*
 * postings: the rows that hold the words of a question, read from the leaves of
 * FTS5's index as they lie (words_format.h).
 *
 *   segments, oldest first ─┐
 *   tokens of a term ───────┴─> cursors ──> a window of rows: how often each
 *                                           holds each token; next window
 *
 * FTS5 hands out one row after another through its cursors, which costs a
 * question most of its time; here a window of rows is filled token by token. A
 * row of a newer segment stands in the place of the same row of an older one;
 * one that was deleted holds nothing.
 *
 * Damage is E_STORE_DAMAGED: every length and order is checked. Thread rule:
 * that of the connection.
 */
#ifndef TACIT_RETRIEVAL_POSTINGS_H
#define TACIT_RETRIEVAL_POSTINGS_H

#include "common/base/arena.h"
#include "common/base/db.h"
#include "retrieval/words_format.h"

enum {
    POSTINGS_WINDOW = 1024,   /* rows */
    POSTINGS_TOKENS_MAX = 256 /* of one question, in all languages */
};

struct postings; /* owned */

/* A token in a row. */
struct posting {
    uint32_t held;  /* occurrences, each times the weight of its column; 0:
                     * the row has none */
    uint32_t reach; /* the row has at least so many words: the places of the
                     * token's last in each column say so */
};

/* Rows first … first + POSTINGS_WINDOW - 1. */
struct postings_window {
    int64_t first;
    /* Bits: rows that a token's list has, also such as hold none of it. */
    uint64_t there[POSTINGS_WINDOW / 64];
    /* [n_tokens][POSTINGS_WINDOW]; borrowed, and zeroed by whoever has read a
     * row. */
    struct posting (*list)[POSTINGS_WINDOW];
};

/* What is read of a row: whether it holds a token (held is 1), or all. */
enum postings_depth { POSTINGS_ROWS, POSTINGS_PLACES };

/* Open the index within a transaction of the caller. *out NULL: it has another
 * form than is known here, or some of it is in FTS5's memory alone. weight
 * [WORDS_COLUMNS] of a column's words, borrowed. NOMEM. */
TACIT_CHECKED enum tacit_err postings_open(struct db *db,
                                           const uint32_t *weight,
                                           struct postings **out);
/* The next token, bytes [n] as the tokenizer gave them. LIMIT: there are too
 * many, or it is too long. */
TACIT_CHECKED enum tacit_err postings_add(struct postings *p, const char *token,
                                          size_t n);
/* From the first row on, any number of times. */
TACIT_CHECKED enum tacit_err postings_begin(struct postings *p,
                                            enum postings_depth depth);
/* *out (borrowed) NULL: there are no more rows. */
TACIT_CHECKED enum tacit_err postings_next(struct postings *p,
                                           struct postings_window **out);
/* Rows of the index, and the words of all of them. */
TACIT_CHECKED enum tacit_err postings_totals(struct postings *p,
                                             uint64_t *n_rows,
                                             uint64_t *n_words);
/* The words of one row. */
TACIT_CHECKED enum tacit_err postings_length(struct postings *p, int64_t row,
                                             uint64_t *n_words);
void postings_close(struct postings *p);

#endif
