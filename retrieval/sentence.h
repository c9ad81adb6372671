/*
 * sentence: text -> sentences, for passages that begin and end with whole ones
 * and for answers that quote them.
 *
 *   "See Fig. 2. The dose is 2.5 mg, e.g. at night. Stop at once!"
 *    [---------][----------------------------------][------------]
 *
 * A sentence ends behind . ! ? … (and closing quotes) where a blank and then
 * something that can begin one follows; not behind an abbreviation of the
 * language, a single letter ("J. Smith", "z. B.") or the number that opens it
 * ("3. Grant"), nor in German behind a number of two digits ("am 3. Mai").
 * Where a script has no blanks (Chinese, Japanese), the mark alone ends it.
 * Rules, not a model: a wrong cut costs a quote its neighbour, and nothing
 * else.
 */
#ifndef TACIT_RETRIEVAL_SENTENCE_H
#define TACIT_RETRIEVAL_SENTENCE_H

#include <stddef.h>

#include "retrieval/language.h"

/* A longer one is cut, at a blank where there is one. */
enum { SENTENCE_BYTES_MAX = 1200 };

/* Length of the first sentence of text[n] with the blanks behind it; n > 0
 * gives at least 1. UTF-8 characters stay whole. */
size_t sentence_length(enum language language, const char *text, size_t n);

#endif
