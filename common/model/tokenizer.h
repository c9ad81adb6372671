/*
 * tokenizer: text -> words, as search and the built-in encoder know them.
 *
 *   "The Dressing's"  --NFKC, case folding-->  the | dressing's
 *                     --words-->               the (weak), dressing
 *
 * Words are runs of letters, marks and digits; of scripts without spaces each
 * character is one. Function words are weak (word_is_weak()): they say little
 * about a passage.
 *
 * Pure: the same text gives the same words on every machine.
 */
#ifndef TACIT_MODEL_TOKENIZER_H
#define TACIT_MODEL_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum {
    TOKENIZER_TEXT_MAX = 1 << 16, /* bytes; the rest of a text is not read */
    TOKENIZER_WORD_MAX = 64       /* bytes of a folded word; longer are cut */
};

/* Words of a text; bytes that are not UTF-8 separate words. */
struct word {
    const char *text; /* folded, NUL-terminated, arena */
    size_t n;         /* its bytes */
};
TACIT_CHECKED enum tacit_err tokenizer_words(struct arena *a, const char *text,
                                             size_t n, struct word **out,
                                             size_t *out_n);

/* Whether it is an English function word. */
int word_is_weak(const struct word *w);

/* How many words tokenizer_words() would find, but for what case folding
 * changes: for the size of a text in the encoder's own terms. */
size_t tokenizer_count(const char *text, size_t n);

#endif
