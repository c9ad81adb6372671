/*
 * nfkc: one spelling for what means the same, character by character.
 *
 *   "ﬁ" -> "fi"   "Ａ" -> "A"   "e" + "´" -> "é"   "㎎" -> "mg"
 *   "10⁹", "½", "①", "CO₂" stay as they are
 *
 * Unicode Normalization Form KC (UAX #15), by utf8proc, in segments: a
 * character with the marks that belong to it. So a caller can keep a map from
 * what it gets to what it had. Differs from the form in two things:
 * 1. Superscripts, subscripts, fractions and circled numbers keep their
 *    compatibility spelling, and marks that would become a blank with an
 *    accent stay. A text that is quoted must not turn 10⁹ into 109.
 * 2. A segment is cut behind NFKC_MARKS_MAX characters, as in UAX #15's
 *    stream-safe format.
 *
 * Thread rule: pure.
 */
#ifndef TACIT_BASE_NFKC_H
#define TACIT_BASE_NFKC_H

#include <stddef.h>

enum {
    NFKC_MARKS_MAX = 30,
    /* One character becomes 18 at most (U+FDFA). */
    NFKC_BYTES_MAX = 4 * (18 + 18 * NFKC_MARKS_MAX)
};

/* Bytes of the first segment of text[n], which is UTF-8; at least 1 when n >
 * 0. */
size_t nfkc_segment(const char *text, size_t n);
/* The spelling of one segment into out[NFKC_BYTES_MAX]; its length. */
size_t nfkc_spell(const char *segment, size_t n, char *out);

#endif
