/*
 * opposite: whether a text holds the opposite of a word: "before" where it was
 * asked for "after", "unknown" for "known". English; of other languages'
 * words none has one.
 */
#ifndef TACIT_RETRIEVAL_OPPOSITE_H
#define TACIT_RETRIEVAL_OPPOSITE_H

#include <stddef.h>

enum { OPPOSITE_WORD_MAX = 31 }; /* bytes; a longer word is cut */

/* Next word of text [n) at or behind *i in lower case, into word
 * [OPPOSITE_WORD_MAX + 1]; 0 at the end. */
int opposite_next_word(const char *text, size_t n, size_t *i, char *word);
/* Whether two words in lower case differ in their endings alone ("signed",
 * "signs"). */
int opposite_is_same(const char *a, const char *b);
/* Whether text [n) holds the opposite of a word in lower case. */
int opposite_in(const char *word, const char *text, size_t n);

#endif
