/*
 * words_segment: a segment of the word index, made in memory: terms in their
 * order, each with its rows, cut into leaves as FTS5 cuts those that it writes
 * itself (words_format.h).
 *
 *   put(term, rows) ... ──> leaves, lists of long terms' leaves, splits
 *
 * It has no number until it is stored: its rows are those of segment 0.
 * Thread rule: one at a time.
 */
#ifndef TACIT_RETRIEVAL_WORDS_SEGMENT_H
#define TACIT_RETRIEVAL_WORDS_SEGMENT_H

#include "common/base/db.h"
#include "retrieval/words_format.h"

/* A row of chunk_fts_data, its block being bytes.data[at .. at + n). */
struct words_page {
    int64_t id;
    size_t at, n;
};

/* A row of chunk_fts_idx; likewise its term. */
struct words_split {
    int64_t page;
    size_t at, n;
};

/* First rows of the leaves that the rows of a term go on in. */
struct words_list {
    struct buf bytes; /* owned */
    uint32_t page;
    uint64_t last; /* row */
};

enum { WORDS_HEIGHT_MAX = 32, WORDS_PAGE_BYTES_MAX = 16384 };

/* Between init and release; what is made is whole after words_segment_end(). */
struct words_segment {
    struct buf bytes, pages,
        splits; /* owned; [], words_page[], words_split[] */
    uint32_t n_leaves;
    /* The leaf that is being filled: */
    size_t page_bytes;
    uint8_t *leaf, *places; /* [LEAF_MAX], [page_bytes + some] owned */
    size_t n_leaf, n_places, last_place;
    int has_row;              /* a row of the leaf's, or a term, stands in it */
    struct buf term;          /* owned; the last */
    struct words_split split; /* of the last leaf with terms; page 0: none */
    struct buf split_term;    /* owned; its term */
    uint32_t n_empty;         /* leaves since then without terms */
    struct words_list list[WORDS_HEIGHT_MAX];
    size_t n_lists; /* that have been used */
};

/* page_bytes: 32 to WORDS_PAGE_BYTES_MAX. NOMEM; then nothing is owned. */
TACIT_CHECKED enum tacit_err words_segment_init(struct words_segment *s,
                                                size_t page_bytes);
/* Empty again. */
void words_segment_clear(struct words_segment *s);
/* A term [n >= 1], WORDS_MAIN included, larger than that before it, with rows
 * [n_rows] as they stand behind a term: well-formed, or it is our bug. What
 * fails is said at the end. */
void words_segment_put(struct words_segment *s, const uint8_t *term, size_t n,
                       const uint8_t *rows, size_t n_rows);
/* NOMEM. n_leaves 0: it has no terms. */
TACIT_CHECKED enum tacit_err words_segment_end(struct words_segment *s);
/* Within a write: put what is made into chunk_fts, as segment `id`. */
TACIT_CHECKED enum tacit_err words_segment_store(struct db *db,
                                                 const struct words_segment *s,
                                                 int64_t id);
void words_segment_release(struct words_segment *s);

#endif
