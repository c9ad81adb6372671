#include "common/model/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/base/utf8.h"

enum { SUFFIX_MAX = 2 };

/* English words that say how, not what. Sorted. */
static const char *const weak_words[] = {
    "a",       "about",  "after", "all",   "also",   "am",    "an",
    "and",     "any",    "are",   "as",    "at",     "be",    "because",
    "been",    "before", "being", "but",   "by",     "can",   "could",
    "did",     "do",     "does",  "doing", "each",   "else",  "ever",
    "few",     "for",    "from",  "get",   "gets",   "give",  "go",
    "got",     "had",    "has",   "have",  "having", "he",    "her",
    "here",    "hers",   "him",   "his",   "how",    "i",     "if",
    "in",      "into",   "is",    "it",    "its",    "just",  "let",
    "like",    "made",   "make",  "many",  "may",    "me",    "might",
    "more",    "most",   "much",  "must",  "my",     "need",  "no",
    "nor",     "not",    "of",    "off",   "on",     "once",  "one",
    "only",    "or",     "other", "our",   "ours",   "out",   "own",
    "same",    "say",    "shall", "she",   "should", "so",    "some",
    "someone", "still",  "such",  "than",  "that",   "the",   "their",
    "them",    "then",   "there", "these", "they",   "thing", "things",
    "this",    "those",  "to",    "too",   "under",  "until", "up",
    "us",      "very",   "was",   "we",    "were",   "what",  "when",
    "where",   "which",  "while", "who",   "whom",   "whose", "why",
    "will",    "with",   "would", "you",   "your",   "yours",
};

static int compare_word(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

static int is_weak(const char *word)
{
    return bsearch(word, weak_words, sizeof weak_words / sizeof *weak_words,
                   sizeof *weak_words, compare_word) != NULL;
}

/* NFKC with full case folding, of valid UTF-8; what is not valid becomes a
 * space. */
static enum tacit_err fold(struct arena *a, const char *text, size_t n,
                           char **out, size_t *out_n)
{
    char *clean = NULL;
    int is_ascii = 1;
    if (n > TOKENIZER_TEXT_MAX) n = TOKENIZER_TEXT_MAX;
    TRY(arena_alloc(a, n + 1, 1, &clean));
    for (size_t i = 0; i < n;) {
        size_t k = utf8_next(text + i, n - i, NULL);
        if (k && text[i])
            memcpy(clean + i, text + i, k);
        else
            clean[i] = ' ', k = 1;
        is_ascii &= (unsigned char)clean[i] < 0x80;
        i += k;
    }
    if (is_ascii) {
        for (size_t i = 0; i < n; i++)
            if (clean[i] >= 'A' && clean[i] <= 'Z') clean[i] |= 0x20;
        *out = clean;
        *out_n = n;
        return TACIT_OK;
    }
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)clean, (utf8proc_ssize_t)n,
                     &folded,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                         UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
    if (len < 0)
        return fail(TACIT_NOMEM, "folding text: %s", utf8proc_errmsg(len));
    enum tacit_err e = arena_strdup(a, (const char *)folded, (size_t)len, out);
    free(folded);
    if (e) return e;
    *out_n = (size_t)len;
    return TACIT_OK;
}

enum class { SPACE, LETTER, IDEOGRAPH, APOSTROPHE };

/* Scripts without spaces: every character is a word of its own. */
static int is_ideograph(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static enum class classify(uint32_t c) {
    if (c == '\'' || c == 0x2019) return APOSTROPHE;
    if (c < 0x80) return (c >= '0' && c <= '9') ||
            ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        ? LETTER
        : SPACE;
    if (is_ideograph(c)) return IDEOGRAPH;
    switch (utf8proc_category((utf8proc_int32_t)c)){
        case UTF8PROC_CATEGORY_LU : case UTF8PROC_CATEGORY_LL : case
        UTF8PROC_CATEGORY_LT : case UTF8PROC_CATEGORY_LM : case
        UTF8PROC_CATEGORY_LO : case UTF8PROC_CATEGORY_MN : case
        UTF8PROC_CATEGORY_MC : case UTF8PROC_CATEGORY_ME : case
        UTF8PROC_CATEGORY_ND : case UTF8PROC_CATEGORY_NL : case
        UTF8PROC_CATEGORY_NO : return LETTER;
        default : return SPACE;
    }
}

/* Where the word that begins at p ends: one ideograph, or letters up to
 * TOKENIZER_WORD_MAX bytes; *n_chars counts its characters. */
static const char *word_end(const char *p, const char *end, size_t *n_chars)
{
    const char *q = p;
    *n_chars = 0;
    while (q < end) {
        uint32_t c = 0;
        size_t k = utf8_next(q, (size_t)(end - q), &c);
        enum class type = k ? classify(c) : SPACE;
        if (type == IDEOGRAPH && *n_chars == 0) {
            *n_chars = 1;
            return q + k;
        }
        if (type != LETTER || (size_t)(q - p) + k > TOKENIZER_WORD_MAX) break;
        q += k;
        ++*n_chars;
    }
    return q;
}

static enum class class_at(const char *p, const char *end, size_t *n_bytes) {
    uint32_t c = 0; size_t k = utf8_next(p, (size_t)(end - p), &c);
    *n_bytes = k ? k : 1;
    return k ? classify(c) : SPACE;
}

/* Skip the "'s" of "patient's": an apostrophe right behind a word, and at most
 * SUFFIX_MAX letters. */
static const char *skip_suffix(const char *p, const char *end)
{
    size_t k = 0, n_chars = 0;
    if (p == end || class_at(p, end, &k) != APOSTROPHE) return p;
    const char *q = word_end(p + k, end, &n_chars);
    return n_chars <= SUFFIX_MAX ? q : p;
}

/* The next word at or behind *p: its bytes, or NULL at the end. *p must stand
 * behind a word or at the text's beginning. */
static const char *next_word(const char **p, const char *end, size_t *len)
{
    size_t k = 0, n_chars = 0;
    const char *q = skip_suffix(*p, end);
    for (; q < end; q += k) {
        enum class type = class_at(q, end, &k);
        if (type != LETTER && type != IDEOGRAPH) continue;
        *p = word_end(q, end, &n_chars);
        *len = (size_t)(*p - q);
        return q;
    }
    *p = end;
    return NULL;
}

enum tacit_err tokenizer_words(struct arena *a, const char *text, size_t n,
                               struct word **out, size_t *out_n)
{
    char *folded = NULL;
    size_t len = 0, n_words = 0, word_len = 0;
    TRY(fold(a, text, n, &folded, &len));
    const char *p = folded;
    while (next_word(&p, folded + len, &word_len)) n_words++;
    struct word *words = NULL;
    TRY(arena_alloc(a, n_words + 1, sizeof *words, &words));
    p = folded;
    for (size_t i = 0; i < n_words; i++) {
        const char *w = next_word(&p, folded + len, &word_len);
        char *copy = NULL;
        TRY(arena_strdup(a, w, word_len, &copy));
        words[i] = (struct word){copy, is_weak(copy)};
    }
    *out = words;
    *out_n = n_words;
    return TACIT_OK;
}

size_t tokenizer_count(const char *text, size_t n)
{
    const char *p = text;
    size_t n_words = 0, len = 0;
    while (next_word(&p, text + n, &len)) n_words++;
    return n_words;
}
