/*
 * tokenizer: text -> features of the static encoder.
 *
 *   "The Dressing's"  --NFKC, case folding-->  the | dressing's
 *                     --features-->  word #the, #dressing's
 *                                    grams <dr dre res ... (3 to 5 characters)
 *
 * A feature is a bucket number in [0, TOKENIZER_BUCKETS) and a weight. The word
 * carries weight 1 and its character n-grams GRAM_SHARE together, so that
 * inflected and misspelt words stay close (Bojanowski et al. 2017, "Enriching
 * word vectors with subword information"; differs: the buckets hash words,
 * too). Function words weigh a tenth: they say little about a passage. A
 * feature that occurs t times gets sqrt(t) times its weight.
 *
 * Pure: the same text gives the same features on every machine.
 */
#ifndef TACIT_MODEL_TOKENIZER_H
#define TACIT_MODEL_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum {
    TOKENIZER_BUCKETS = 1 << 15,
    TOKENIZER_VERSION = 1,
    TOKENIZER_TEXT_MAX = 1 << 16, /* bytes; the rest of a text is not read */
    TOKENIZER_WORD_MAX = 64       /* bytes of a folded word; longer are cut */
};

struct features {
    uint32_t *id;  /* [n], rising, each once */
    float *weight; /* [n] */
    size_t n;
};

/* Features of n bytes of text into out (arena). Bytes that are not UTF-8
 * separate words. A text without any word gives n = 0. */
TACIT_CHECKED enum tacit_err tokenizer_features(struct arena *a,
                                                const char *text, size_t n,
                                                struct features *out);

/* Words of a text as search terms: each folded word as [from, to) into folded,
 * `weak` marks function words. */
struct word {
    const char *text; /* folded, NUL-terminated, arena */
    int weak;
};
TACIT_CHECKED enum tacit_err tokenizer_words(struct arena *a, const char *text,
                                             size_t n, struct word **out,
                                             size_t *out_n);

/* How many words tokenizer_words() would find, but for what case folding
 * changes: for the size of a text in the encoder's own terms. */
size_t tokenizer_count(const char *text, size_t n);

#endif
