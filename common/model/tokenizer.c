#include "common/model/tokenizer.h"

#include <assert.h>
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

int word_is_weak(const struct word *w)
{
    return bsearch(w->text, weak_words, sizeof weak_words / sizeof *weak_words,
                   sizeof *weak_words, compare_word) != NULL;
}

/* Copy text[n] to out, what is not valid UTF-8 as a space and ASCII in lower
 * case; 1 if it is all ASCII. */
static int clean(const char *text, size_t n, char *out)
{
    int is_ascii = 1;
    for (size_t i = 0, k; i < n; i += k) {
        char c = text[i];
        k = 1;
        if ((unsigned char)c < 0x80) {
            out[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c ? c : ' ';
        } else if ((k = utf8_next(text + i, n - i, NULL)) != 0) {
            memcpy(out + i, text + i, k);
            is_ascii = 0;
        } else {
            out[i] = ' ', k = 1;
        }
    }
    return is_ascii;
}

/* NFKC with full case folding, of valid UTF-8; what is not valid becomes a
 * space. */
static enum tacit_err fold(struct arena *a, const char *text, size_t n,
                           char **out, size_t *out_n)
{
    char *valid = NULL;
    TRY(arena_alloc_raw(a, n + 1, 1, &valid));
    if (clean(text, n, valid)) {
        *out = valid;
        *out_n = n;
        return TACIT_OK;
    }
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)valid, (utf8proc_ssize_t)n,
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

/* A letter or digit of ASCII. */
static int is_plain(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static enum class classify(uint32_t c) {
    if (c == '\'' || c == 0x2019) return APOSTROPHE;
    if (c < 0x80) return is_plain((char)c) ? LETTER : SPACE;
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
    while (q < end && q - p < TOKENIZER_WORD_MAX && is_plain(*q)) q++;
    *n_chars = (size_t)(q - p);
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
    uint32_t c = (unsigned char)*p; size_t k = 1;
    if (c >= 0x80) k = utf8_next(p, (size_t)(end - p), &c);
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
    char *folded = NULL, *copy = NULL;
    struct word *words = NULL;
    size_t len = 0, n_words = 0, word_len = 0;
    if (n > TOKENIZER_TEXT_MAX) n = TOKENIZER_TEXT_MAX;
    TRY(fold(a, text, n, &folded, &len));
    /* A word that no other byte ends is an ideograph, of three bytes and more,
     * or was cut. */
    size_t most = len / 2 + 1;
    TRY(arena_alloc_raw(a, most, sizeof *words, &words));
    TRY(arena_alloc_raw(a, len + most, 1, &copy));
    const char *p = folded, *w;
    while ((w = next_word(&p, folded + len, &word_len)) != NULL) {
        assert(n_words < most);
        memcpy(copy, w, word_len);
        copy[word_len] = '\0';
        words[n_words++] = (struct word){copy, word_len};
        copy += word_len + 1;
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
