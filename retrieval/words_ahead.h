/*
 * words_ahead: the words of a write's passages, by a second thread.
 *
 *   writer   rows, vectors ... rows, vectors ... │ adopt: copies the leaves,
 *     give │ batches │                           │ names them in the record
 *   second   v  words, stems, terms, leaves ─>  │ of segments
 *            words_gather.h
 *
 * FTS5 takes as long for a passage's words as all else of it. So a second
 * thread makes the segment that FTS5 would make of them, in half the
 * time, and the writer takes it over into its index. What the index then
 * finds, and how it ranks it, is the same to the bit.
 *
 * It only saves time: until words_ahead_adopt() says that the words are in, the
 * index is as it was, and whatever fails on the way, or has another form than
 * is known here (words_adopt.c), leaves them to be inserted as ever.
 *
 * Bounds: AHEAD_BYTES of text, or some more than AHEAD_TOKENS, 12 bytes each;
 * the segment of them; and four batches of 64 KiB and one passage each, which
 * has at most 1 MiB. Nothing of it comes to a disk but as pages of the index,
 * which a sealed store seals.
 *
 * Thread rule: the functions are called by the thread whose connection it is.
 * The second thread has a tokenizer of its own, and ends before its segment is
 * read.
 */
#ifndef TACIT_RETRIEVAL_WORDS_AHEAD_H
#define TACIT_RETRIEVAL_WORDS_AHEAD_H

#include "common/base/db.h"
#include "retrieval/stem.h"
#include "retrieval/words_gather.h"

struct words_ahead; /* owned */

struct words_text {
    int64_t id; /* larger than that of the one before */
    const char *title, *heading, *text;
    size_t text_len;
};

/* NOMEM. No thread, no other memory before the first batch is full. The
 * connection, which has the tokenizer (words_open()), is borrowed. */
TACIT_CHECKED enum tacit_err words_ahead_new(struct db *db,
                                             struct words_ahead **out);
/* Whatever was given before is forgotten. */
void words_ahead_begin(struct words_ahead *w);
/* Give a passage that is written in the same write. Borrowed for the call. */
void words_ahead_give(struct words_ahead *w, const struct words_text *t);
/* Whether as much was given as is to be adopted at once. */
int words_ahead_is_full(const struct words_ahead *w);
/* Within a write: put the words of all that was given, which is all passages
 * from `first` on, into the index. *are_in 0: they are not, the index is as
 * before, and they are to be inserted. Begins again. An error is the store's;
 * the index is as before. */
TACIT_CHECKED enum tacit_err words_ahead_adopt(struct words_ahead *w,
                                               int64_t first, int *are_in);
void words_ahead_free(struct words_ahead *w);

/* ---- words_adopt.c --------------------------------------------------------
 */

#define WORDS_TABLE                                                            \
 "CREATE VIRTUAL TABLE chunk_fts USING fts5("                                  \
 " title, heading, text, content='chunk_content',"                             \
 " content_rowid='id', tokenize='" STEM_TOKENIZER "')"

/* Within a write: take what was gathered, and ended, over into chunk_fts of
 * `db`. *are_in 0: that has another form than is known here, and nothing was
 * changed; nor was it after an error. */
TACIT_CHECKED enum tacit_err words_adopt(struct db *db,
                                         const struct words_gather *made,
                                         int *are_in);

#endif
