/*
 * words_gather: the words of passages, gathered in memory, become a segment of
 * the word index.
 *
 *   text ─stem.h─> tokens ─> numbers of their terms, in the order of the texts
 *                            4 7 1 4 9 │ 7 2 …         4 bytes a token
 *          end: terms sorted, tokens put to their terms (a counting sort),
 *               each term's rows written ─words_segment.h─> leaves
 *
 * Adding a token touches one place that is not at hand, that of its word, where
 * the stem and the number of its term stand (stem_word.note); FTS5's hash table
 * touches some for each: of the term, of its last row, of its last place.
 *
 * What it finds and how it ranks is what FTS5 would have written itself, to the
 * bit: the same tokens, cut where FTS5 cuts them, the same counts.
 *
 * Bounds: 12 bytes of memory a token, and the terms; LIMIT above
 * WORDS_GATHER_MAX tokens. Thread rule: one at a time.
 */
#ifndef TACIT_RETRIEVAL_WORDS_GATHER_H
#define TACIT_RETRIEVAL_WORDS_GATHER_H

#include "common/model/encoder.h"
#include "retrieval/stem.h"
#include "retrieval/words_segment.h"

enum {
    WORDS_GATHER_BYTES = 1 << 20, /* of one text, at most */
    WORDS_GATHER_MAX = 8 << 20
};

/* A passage that was added. */
struct words_row {
    int64_t id;
    uint32_t n_words[WORDS_COLUMNS];
    uint32_t n_tokens[WORDS_COLUMNS]; /* with marks, which are beside words */
};

struct words_gather; /* owned */

/* The connection outlives it. UNSUPPORTED when SQLite has no FTS5, or was built
 * for one thread; NOMEM. */
TACIT_CHECKED enum tacit_err words_gather_new(struct db *db, size_t page_bytes,
                                              struct words_gather **out);
/* Nothing is gathered. */
void words_gather_clear(struct words_gather *g);
/* The words of a passage, whose id is positive and larger than that before it.
 * NOMEM, LIMIT: then it can only be cleared. */
TACIT_CHECKED enum tacit_err words_gather_add(
    struct words_gather *g, int64_t id,
    const struct text column[WORDS_COLUMNS]);
size_t words_gather_tokens(const struct words_gather *g);
/* Make the segment of all that was added, once. NOMEM. */
TACIT_CHECKED enum tacit_err words_gather_end(struct words_gather *g);
/* Then, borrowed until it is cleared: the segment, and what was added. */
const struct words_segment *words_gather_segment(const struct words_gather *g);
const struct words_row *words_gather_rows(const struct words_gather *g,
                                          size_t *n);
void words_gather_free(struct words_gather *g);

#endif
