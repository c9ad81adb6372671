#include "retrieval/sentence.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

enum { WORD_BYTES = 8, ABBREVIATION_MAX = 7 };

/* What ends in a full stop within a sentence. Lower case, sorted. */
static const char *const abbreviations[] = {
    "al",  "approx", "apr", "art",  "aug", "ca",  "cf",   "ch",  "dec",  "dept",
    "dr",  "e.g",    "ed",  "eq",   "est", "ext", "feb",  "fig", "figs", "fri",
    "i.e", "inc",    "jan", "jul",  "jun", "lit", "ltd",  "mar", "max",  "min",
    "mon", "mr",     "mrs", "ms",   "no",  "nos", "nov",  "oct", "p",    "para",
    "pp",  "prof",   "ref", "resp", "rev", "sec", "sect", "sep", "sept", "sr",
    "st",  "tab",    "tel", "viz",  "vol", "vs",  "wed",
};

static int compare_word(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether the word that ends before the full stop text[dot], which a blank and
 * one more byte follow, keeps the sentence open. */
static int is_abbreviated(const char *text, size_t dot)
{
    char word[ABBREVIATION_MAX + 1];
    size_t from = dot, n = 0;
    while (from > 0 && text[from - 1] != ' ' && text[from - 1] != '\n' &&
           text[from - 1] != '(' && text[from - 1] != '"')
        from--;
    if (dot == from || dot - from > ABBREVIATION_MAX) return 0;
    int all_digits = 1;
    for (size_t i = from; i < dot; i++) {
        all_digits = all_digits && (is_digit(text[i]) || text[i] == '.');
        word[n++] = lower(text[i]);
    }
    word[n] = '\0';
    if (all_digits) return from == 0; /* "3. Grant", but not "of 1991. The" */
    if (n == 1 && text[from] >= 'A' && text[from] <= 'Z') return 1;
    /* "No. 5", but "The answer is no. He left." */
    int before_number = strcmp(word, "no") == 0 || strcmp(word, "min") == 0 ||
                        strcmp(word, "p") == 0;
    if (before_number) return is_digit(text[dot + 2]);
    return bsearch(word, abbreviations,
                   sizeof abbreviations / sizeof *abbreviations,
                   sizeof *abbreviations, compare_word) != NULL;
}

/* Bytes of closing quotes and brackets at p. */
static size_t closers(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if (strchr("\"')]*_", p[i]) && p[i])
            i++;
        else if (n - i >= 3 && (memcmp(p + i, "\xe2\x80\x9d", 3) == 0 ||
                                memcmp(p + i, "\xe2\x80\x99", 3) == 0))
            i += 3;
        else
            break;
    }
    return i;
}

/* Length of a sentence's end mark at text[i], with what closes it; 0 when none
 * stands there or the sentence goes on. */
static size_t end_mark(const char *text, size_t i, size_t n)
{
    const char *p = text + i;
    size_t left = n - i;
    if (*p == '\n') return 1;
    if (left >= 3 && (memcmp(p, "\xe3\x80\x82", 3) == 0 || /* 。 */
                      memcmp(p, "\xef\xbc\x81", 3) == 0 || /* ！ */
                      memcmp(p, "\xef\xbc\x9f", 3) == 0))  /* ？ */
        return 3 + closers(p + 3, left - 3);
    int is_ellipsis = left >= 3 && memcmp(p, "\xe2\x80\xa6", 3) == 0;
    if (!is_ellipsis && *p != '.' && *p != '!' && *p != '?') return 0;
    size_t k = is_ellipsis ? 3 : 1;
    while (k < left && (p[k] == '.' || p[k] == '!' || p[k] == '?')) k++;
    k += closers(p + k, left - k);
    if (k == left) return k;
    if (p[k] != ' ' && p[k] != '\n') return 0;
    if (p[k] == '\n' || k + 1 == left) return k;
    char after = p[k + 1];
    if (after >= 'a' && after <= 'z') return 0;
    if (*p == '.' && k == 1 && is_abbreviated(text, i)) return 0;
    return k;
}

/* Where to cut text that runs to `limit` without an end. */
static size_t cut(const char *text, size_t limit)
{
    for (size_t i = limit; i > limit / 2; i--)
        if (text[i - 1] == ' ') return i;
    while (limit > 1 && ((unsigned char)text[limit] & 0xc0) == 0x80) limit--;
    return limit;
}

size_t sentence_length(const char *text, size_t n)
{
    size_t limit = n < SENTENCE_BYTES_MAX ? n : SENTENCE_BYTES_MAX;
    for (size_t i = 0; i < limit; i++) {
        size_t k = end_mark(text, i, n);
        if (k == 0) continue;
        size_t end = i + k;
        while (end < limit && (text[end] == ' ' || text[end] == '\n')) end++;
        return end;
    }
    return limit == n ? n : cut(text, limit);
}

size_t sentence_words(const char *text, size_t n)
{
    size_t n_words = 0, run = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && text[i] != ' ' && text[i] != '\n') {
            run++;
            continue;
        }
        /* A long word is one word; a line without blanks is many. */
        if (run) n_words += run <= 5 * WORD_BYTES ? 1 : run / WORD_BYTES;
        run = 0;
    }
    return n_words;
}
