/*
 * stem: the tokenizer `tacit` of the word index: Unicode words, each reduced to
 * its stem by the rules of the language that the text is in.
 *
 *   "Die Häuser wurden geräumt"   die  haus  wurd  geraumt  + mark "\1de"
 *   "The houses were cleared"     the  hous  were  clear
 *
 *   text ─unicode61─> folded words ─which language?─> Snowball ─no accents─>
 *
 * language.h guesses a text's language. That depends on the text alone, so a
 * row is deleted and checked with the tokens it was inserted with. A text in
 * another language than English carries a mark beside its first word: the index
 * itself knows which languages there are, and a question's words are stemmed in
 * each of them (as synonyms of one another).
 *
 * Scripts without spaces: every ideograph is a word of its own.
 * Stemming: Porter 1980 and his Snowball; stem.c is the door to libstemmer.
 */
#ifndef TACIT_RETRIEVAL_STEM_H
#define TACIT_RETRIEVAL_STEM_H

#include <stdint.h>

#include "common/base/db.h"
#include "retrieval/language.h"

/* Part of every store: another version makes the word index anew. */
#define STEM_TOKENIZER "tacit 1"

enum { STEM_MARK_BYTES = 3 };

/* What marks a text in a language: not a word of any text. */
void stem_mark(enum language l, char out[STEM_MARK_BYTES + 1]);

/* Make the tokenizer known to a connection. UNSUPPORTED when its SQLite has no
 * FTS5. */
TACIT_CHECKED enum tacit_err stem_register(struct db *db);
/* The languages (bits) that questions on this connection are stemmed in;
 * English always is. */
TACIT_CHECKED enum tacit_err stem_ask_in(struct db *db, uint32_t languages);

/* ---- the same tokens without FTS5 -----------------------------------------
 */

struct stem_reader; /* owned */

struct stem_word {
    const char *bytes; /* [n] borrowed for the call */
    size_t n;
    int first, end; /* of the text */
    int is_beside;  /* a mark, where the word before it stands */
    /* Of the word that was stemmed: 0, or what was left here when it came
     * before, unless it was forgotten. NULL: nothing is kept of it. */
    uint32_t *note;
};
/* SQLITE_OK, or what ends the reading. */
typedef int stem_on_word(void *ctx, const struct stem_word *w);

/* The connection outlives it; another thread may use it. UNSUPPORTED, NOMEM. */
TACIT_CHECKED enum tacit_err stem_reader_new(struct db *db,
                                             struct stem_reader **out);
/* The tokens of text[n] as FTS5 would index them. SQLITE_OK, SQLITE_NOMEM or
 * what on() says. */
int stem_reader_read(struct stem_reader *r, const char *text, size_t n,
                     stem_on_word *on, void *ctx);
/* All notes are 0. */
void stem_reader_forget(struct stem_reader *r);
void stem_reader_free(struct stem_reader *r);

/* The door to FTS5's functions of a connection. UNSUPPORTED as above. */
TACIT_CHECKED enum tacit_err stem_fts5(struct db *db, fts5_api **out);

#endif
