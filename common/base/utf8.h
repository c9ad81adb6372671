/*
 * utf8: is it text, and is it safe to show?
 *
 * A name or message can come from a file system, a peer or a file. Shown as it
 * is, it could move the cursor, fake a second line of log or turn the reading
 * direction. utf8_printable() makes such text harmless; every error message,
 * log line and progress line passes through it.
 *
 * Text is UTF-8 as Unicode 15 defines it: shortest form, no surrogates, at most
 * U+10FFFF.
 */
#ifndef TACIT_BASE_UTF8_H
#define TACIT_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at p[left] with its value in *out (may be NULL), or 0
 * when no whole, valid character stands there. */
size_t utf8_next(const char *p, size_t left, uint32_t *out);
/* Offset of the first byte that is not valid text, or n when all is. NUL
 * bytes count as invalid: a text file has none. */
size_t utf8_find_bad(const char *text, size_t n);
/* 1 when text ends with a NUL within cap bytes and utf8_printable() would
 * change nothing: names and sentences that cross the wire are so. */
int utf8_is_clean(const char *text, size_t cap);
/* Copy text into out[cap]; what is invalid, a control character (U+0000-1F,
 * U+7F-9F) or a mark of direction (U+202A-2E, U+2066-69) becomes '?'. It is
 * cut between two characters where it does not fit. Returns the length. */
size_t utf8_printable(char *out, size_t cap, const char *text);

#endif
