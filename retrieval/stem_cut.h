/*
 * stem_cut: the words of a text before the stemmer, folded to lower case, as
 * FTS5's unicode61 cuts them; of scripts without spaces each ideograph.
 *
 *   "Tea & Häuser, 1984"   tea │ häuser │ 1984     each with its place and hash
 *
 * Letters and digits of ASCII are words to unicode61; where another byte of
 * ASCII stands no word goes on. So words between such bytes are cut here, and
 * stretches with bytes beyond ASCII are left to unicode61, whose categories of
 * Unicode are FTS5's: the same words at the same places, in less than half the
 * time.
 *
 * Thread rule: one at a time.
 */
#ifndef TACIT_RETRIEVAL_STEM_CUT_H
#define TACIT_RETRIEVAL_STEM_CUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/db.h"

struct stem_token {
    size_t at, n;   /* of the bytes */
    int first, end; /* of the text */
    uint32_t hash;  /* stem_hash() */
};

/* Zeroed before the first text. */
struct stem_tokens {
    char *bytes; /* owned */
    size_t n_bytes, cap_bytes;
    struct stem_token *list; /* [n] owned */
    size_t n, cap;
    int from; /* of the text: where what unicode61 is given begins */
};

/* unicode61 that leaves accents; borrowed. */
struct stem_unicode {
    fts5_tokenizer methods;
    Fts5Tokenizer *self;
};

/* The words of text [n], in their order, into *t, in place of those before.
 * `flags` are FTS5's. SQLITE_OK, SQLITE_NOMEM, or what unicode61 says. */
int stem_cut(struct stem_tokens *t, const struct stem_unicode *unicode,
             int flags, const char *text, int n);
/* A hash of bytes [n]. */
uint32_t stem_hash(const char *s, size_t n);
void stem_tokens_release(struct stem_tokens *t);

#endif
