/*
 * text: what may stand in a name or a sentence that crosses the wire: UTF-8 as
 * Unicode 15 defines it (shortest form, no surrogates, at most U+10FFFF),
 * without control characters (U+0000-1F, U+7F-9F) and without the marks that
 * turn the direction of what follows (U+202A-2E, U+2066-69). So a peer's text
 * cannot move the cursor, fake a line of log or reorder what a person reads.
 */
#ifndef TACIT_WIRE_TEXT_H
#define TACIT_WIRE_TEXT_H

#include <stddef.h>

/* 1 when text ends with a NUL within cap bytes and is clean. */
int text_is_clean(const char *text, size_t cap);
/* Copy at most text_cap bytes of text, each bad byte as '?', cut between two
 * characters so that it fits out[cap] with its NUL. */
void text_clean(char *out, size_t cap, const char *text, size_t text_cap);

#endif
