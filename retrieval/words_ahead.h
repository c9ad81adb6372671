/*
 * words_ahead: the words of a write's passages, by a second thread.
 *
 *   writer   rows, vectors ... rows, vectors ... │ adopt: copies the leaves,
 *     give │ batches │                           │ names them in the record
 *   second   v  words, stems, hash tables ─────> │ of segments
 *            FTS5 in a database in memory        │
 *
 * FTS5 takes as long for a passage's words as all else of it. So a thread with
 * a connection of its own has FTS5 make segments of them, of a table with the
 * same columns and the same tokenizer, in memory; the writer takes those over
 * into its index as they are, as FTS5 would have written them itself. What the
 * index then finds, and how it ranks it, is the same to the bit.
 *
 * It only saves time: until words_ahead_adopt() says that the words are in, the
 * index is as it was, and whatever fails on the way, or has another form than
 * is known here (words_adopt.c), leaves them to be inserted as ever.
 *
 * Bounds: the segments of AHEAD_BYTES of text, ROOM_BYTES of FTS5's hash table,
 * and four batches of 64 KiB and one passage each, which has at most 1 MiB.
 * Nothing of it comes to a disk but as pages of the index, which a sealed store
 * seals.
 *
 * Thread rule: the functions are called by the writer's thread. Its connection
 * and the other are each used by one thread at a time: the second thread ends
 * before its segments are read.
 */
#ifndef TACIT_RETRIEVAL_WORDS_AHEAD_H
#define TACIT_RETRIEVAL_WORDS_AHEAD_H

#include "common/base/db.h"
#include "retrieval/stem.h"

struct words_ahead; /* owned */

struct words_text {
    int64_t id; /* larger than that of the one before */
    const char *title, *heading, *text;
    size_t text_len;
};

/* NOMEM. No thread, no other memory before the first batch is full. */
TACIT_CHECKED enum tacit_err words_ahead_new(struct words_ahead **out);
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
                                               struct db *db, int64_t first,
                                               int *are_in);
void words_ahead_free(struct words_ahead *w);

/* ---- words_adopt.c --------------------------------------------------------
 */

/* What both tables are made of; the rest says where the texts are. */
#define WORDS_COLUMNS "title, heading, text"
#define WORDS_TABLE                                                            \
 "CREATE VIRTUAL TABLE chunk_fts USING fts5("                                  \
 " " WORDS_COLUMNS ", content='chunk_content',"                                \
 " content_rowid='id', tokenize='" STEM_TOKENIZER "')"

/* Within a write: take the segments of table `w` of `made` over into chunk_fts
 * of `db`. *are_in 0: either has another form than is known here, and nothing
 * was changed; nor was it after an error. */
TACIT_CHECKED enum tacit_err words_adopt(struct db *db, struct db *made,
                                         int *are_in);

#endif
