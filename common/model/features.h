/*
 * features: text -> rows of a word table. The tokenizer of the built-in
 * encoder and of all that `tacit model distill` makes.
 *
 *   words ──in the lexicon?── yes ──> its own row
 *   (tokenizer.h)            └ no ──> <dr dre res …: a row for each of its
 *                                     n-grams of 3 to 5 characters, hashed into
 *                                     the rows behind the words
 *
 * An unknown word is about as long as one row: each of its n n-grams weighs
 * 1 / sqrt(n) (Bojanowski et al. 2017, "Enriching word vectors with subword
 * information"; differs: known words have no n-grams). A row that is met t
 * times weighs sqrt(t) times its weight.
 *
 * Pure: the same text gives the same features on every machine.
 */
#ifndef TACIT_MODEL_FEATURES_H
#define TACIT_MODEL_FEATURES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum {
    FEATURES_VERSION = 2, /* 1 hashed all words */
    FEATURES_ROWS_MAX = 1 << 20
};

struct features {
    uint32_t *id;  /* [n], rising, each once */
    float *weight; /* [n] */
    size_t n;
};

struct lexicon; /* owned */

/* n words, copied, each once, of 1 to TOKENIZER_WORD_MAX bytes; n_buckets rows
 * for n-grams behind theirs. FORMAT, LIMIT: a list that is none. */
TACIT_CHECKED enum tacit_err lexicon_new(const char *const *words,
                                         const size_t *n_bytes, size_t n,
                                         size_t n_buckets,
                                         struct lexicon **out);
void lexicon_free(struct lexicon *l);
size_t lexicon_words(const struct lexicon *l);
/* Words and buckets. */
size_t lexicon_rows(const struct lexicon *l);
/* Word i and its length. */
const char *lexicon_word(const struct lexicon *l, size_t i, size_t *n_bytes);
/* Which one a folded word is; lexicon_words() when it is not known. */
size_t lexicon_find(const struct lexicon *l, const char *word);

/* AS_UNKNOWN: as if the lexicon had no words (for training the n-grams). */
enum features_mode { FEATURES_OF_TEXT, FEATURES_AS_UNKNOWN };

/* Features of n bytes of text into out (arena). A text without any word gives
 * n = 0. */
TACIT_CHECKED enum tacit_err features_of(const struct lexicon *l,
                                         struct arena *a,
                                         enum features_mode mode,
                                         const char *text, size_t n,
                                         struct features *out);

#endif
