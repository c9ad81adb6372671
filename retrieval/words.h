/*
 * words: the passages by their words: FTS5's inverted index, ranked by BM25.
 *
 *   score(d) = sum over terms t of idf_t f (k1 + 1) / (f + k1 (1 - b + b L))
 *   f  occurrences of t in d, each times the weight of its column
 *   L  words of d / mean of all           idf_t = ln((N - n_t + .5)/(n_t + .5))
 *
 * Robertson and Zaragoza 2009; k1 = 1.2, b = 0.75, idf at least 1e-6: the
 * numbers of FTS5's own bm25(). Differs in the work: the index's leaves are
 * read as they lie (postings.h), or, where their form is not known, a function
 * of ours is called by FTS5 for each row; the best are kept in a heap; and a
 * row's length, which costs a look-up of its own, is read only when the row
 * could still enter the heap if it were as short as its words' places allow.
 */
#ifndef TACIT_RETRIEVAL_WORDS_H
#define TACIT_RETRIEVAL_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/db.h"

struct words_hit {
    int64_t id;
    double score; /* > 0 */
};

/* What is looked for, and what was found. */
struct words_query {
    const char *fts;         /* an FTS5 expression (question.h) */
    const char *const *term; /* [n_terms] the words that it joins by OR */
    size_t n_terms;          /* 0: it is another */
    const int64_t *only;     /* these ids, rising; NULL = all */
    size_t n_only;
    const int64_t *wanted; /* rising: scored whether among the best or not */
    size_t n_wanted;
    size_t n_best;          /* how many; at least 1 */
    struct words_hit *best; /* [n_best] out: larger score, then smaller id */
    size_t n_found;         /* out */
    double *wanted_score;   /* [n_wanted] out; 0 = not found */
    size_t n_matching;      /* out: rows that hold a term */
};

/* Make tokenizer and ranking known to a connection, and the index anew when it
 * was made with another tokenizer. UNSUPPORTED when SQLite has no FTS5. */
TACIT_CHECKED enum tacit_err words_open(struct db *db);
/* Within a write: let FTS5 gather the words of a transaction in memory before
 * it writes them. Each time that it writes is a segment of the index, which is
 * sorted, and merged with others later, when eight are there; a word that
 * stands in two of them is written twice, and looked up twice by a question.
 * FTS5 would gather one MiB, and merge four. */
TACIT_CHECKED enum tacit_err words_make_room(struct db *db);
/* Find out in which languages there are texts (bits, stem.h), and stem the
 * questions of this connection in them. */
TACIT_CHECKED enum tacit_err words_languages(struct db *db, uint32_t *out);
/* Whether the index fits the passages. E_STORE_DAMAGED. */
TACIT_CHECKED enum tacit_err words_check(struct db *db);
/* Make an index that does not fit them anew; *was_damaged says so. */
TACIT_CHECKED enum tacit_err words_mend(struct db *db, int *was_damaged);
TACIT_CHECKED enum tacit_err words_search(struct db *db, struct words_query *q);

#endif
