/*
 * language: which of the languages that we have rules for a text is in.
 *
 * A guess by function words: those of each language are counted among the
 * first words of the text, and the most frequent wins. English when none does:
 * its rules do least.
 */
#ifndef TACIT_RETRIEVAL_LANGUAGE_H
#define TACIT_RETRIEVAL_LANGUAGE_H

#include <stddef.h>

enum language {
    LANGUAGE_ENGLISH,
    LANGUAGE_GERMAN,
    LANGUAGE_FRENCH,
    LANGUAGE_SPANISH,
    LANGUAGE_ITALIAN,
    LANGUAGE_PORTUGUESE,
    LANGUAGE_DUTCH,
    N_LANGUAGES
};

enum { LANGUAGE_BYTES = 1 << 16 /* of a text that are looked at */ };

enum language language_guess(const char *text, size_t n);
/* "en", "de", "fr", "es", "it", "pt", "nl" (ISO 639-1). */
const char *language_code(enum language language);

#endif
