/*
 * words_merge: segments of the word index become one.
 *
 *   oldest ─┐ the same term: its rows in their order, of a row that several
 *     ...  ─┼─ have the newest ──words_segment.h──> leaves
 *   newest ─┘
 *
 * FTS5 does that for each row by the comparisons and buffers that any question
 * needs; here rows are copied as they stand. What is read is not trusted: a
 * form that is not known here ends it.
 *
 * Bounds: a leaf of each segment, a megabyte of leaves, and all rows of one
 * term. Thread rule: that of the connection.
 */
#ifndef TACIT_RETRIEVAL_WORDS_MERGE_H
#define TACIT_RETRIEVAL_WORDS_MERGE_H

#include "retrieval/words_record.h"
#include "retrieval/words_segment.h"

/* Segments of a level that become one: with FTS5's 4 a word is written half as
 * often again. */
enum { WORDS_MERGED = 8, WORDS_MERGED_MAX = 16 };

/* Within a savepoint that the caller undoes when *is_done is 0, or after an
 * error: make segment `out` of chunk_fts from those in from[n], oldest first,
 * and remove them. is_oldest: no older segments are left, so rows that are only
 * deleted stand for nothing. out->leaf_last 0: there was nothing to keep. */
TACIT_CHECKED enum tacit_err words_merge(struct words_rows *rows,
                                         const struct words_span *from,
                                         size_t n, int is_oldest,
                                         struct words_span *out, int *is_done);

#endif
