/*
 * language: which of the languages that we have rules for a text is in.
 *
 *   "Die Häuser wurden geräumt und das ist gut"   die und das ist  -> "de"
 *
 * The language of which the text holds most function words, each counted once
 * ("Au/Zn/Au" is not French), among its first LANGUAGE_WORDS words. Without two
 * more of another it is English, whose rules do least. Documents are cut into
 * sentences (sentence.h) and words are stemmed (stem.h) by this one guess.
 */
#ifndef TACIT_RETRIEVAL_LANGUAGE_H
#define TACIT_RETRIEVAL_LANGUAGE_H

#include <stddef.h>
#include <stdint.h>

enum language {
    LANGUAGE_ENGLISH,
    LANGUAGE_GERMAN,
    LANGUAGE_FRENCH,
    LANGUAGE_SPANISH,
    LANGUAGE_ITALIAN,
    LANGUAGE_PORTUGUESE,
    LANGUAGE_DUTCH,
    LANGUAGE_SWEDISH,
    LANGUAGE_DANISH,
    LANGUAGE_NORWEGIAN,
    LANGUAGE_FINNISH,
    LANGUAGE_RUSSIAN,
    N_LANGUAGES
};

enum {
    LANGUAGE_WORDS = 256,     /* of a text that tell its language */
    LANGUAGE_LISTED_MAX = 512 /* function words of all languages together */
};

/* Zeroed before the first word. */
struct language_tally {
    uint64_t seen[LANGUAGE_LISTED_MAX / 64];
    unsigned count[N_LANGUAGES];
};

/* A word [n] of the text, folded to lower case, with its accents. */
void language_count(struct language_tally *t, const char *word, size_t n);
enum language language_best(const struct language_tally *t);
/* Both, for a text that nobody has cut into words. */
enum language language_guess(const char *text, size_t n);

/* "en", "de", "fr" … (ISO 639-1). */
const char *language_code(enum language l);
/* The language of a code, or -1. */
int language_find(const char *code);

#endif
