#include "common/model/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/model/tokenizer.h"

enum {
    GRAM_MIN = 3,
    GRAM_MAX = 5,
    GRAMS_MAX = 3 * TOKENIZER_WORD_MAX, /* of one word */
    WORD_BITS = 21                      /* of FEATURES_ROWS_MAX words + 1 */
};
_Static_assert(FEATURES_ROWS_MAX < 1 << WORD_BITS, "a word fits its slot");

struct lexicon {
    char *bytes;     /* all words one behind another, owned */
    uint32_t *start; /* [n + 1], owned */
    uint32_t *slot;  /* [n_slots], tag << WORD_BITS | word + 1; 0 is free: the
                        tag is of the word's hash, so that others are hardly
                        ever looked at; owned */
    size_t n, n_slots, n_buckets;
    float each[GRAMS_MAX + 1]; /* weight of one of n */
};

/* FNV-1a, its high half folded in. */
#define HASH_NONE UINT64_C(14695981039346656037)

static uint64_t hash_on(uint64_t h, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 1099511628211u;
    return h;
}

static uint32_t hash_end(uint64_t h)
{
    return (uint32_t)(h ^ h >> 32);
}

/* ---- the words ---------------------------------------------------------- */

const char *lexicon_word(const struct lexicon *l, size_t i, size_t *n_bytes)
{
    *n_bytes = l->start[i + 1] - l->start[i];
    return l->bytes + l->start[i];
}

/* The word, or l->n; *slot has it, or is the free one where it would be, and
 * *tag what stands there with it. */
static size_t look_up(const struct lexicon *l, const char *word, size_t n,
                      uint32_t **slot, uint32_t *tag)
{
    uint32_t h = hash_end(hash_on(HASH_NONE, word, n));
    *tag = h >> WORD_BITS << WORD_BITS;
    for (size_t i = h & (l->n_slots - 1);; i = (i + 1) & (l->n_slots - 1)) {
        uint32_t s = l->slot[i];
        size_t known = (s ^ *tag) - 1, len = 0;
        *slot = &l->slot[i];
        if (!s) return l->n;
        if (known >= l->n) continue;
        const char *w = lexicon_word(l, known, &len);
        if (len == n && memcmp(w, word, n) == 0) return known;
    }
}

static size_t find(const struct lexicon *l, const char *word, size_t n)
{
    uint32_t *slot, tag;
    return look_up(l, word, n, &slot, &tag);
}

size_t lexicon_find(const struct lexicon *l, const char *word)
{
    return find(l, word, strlen(word));
}

static enum tacit_err take_words(struct lexicon *l, const char *const *words,
                                 const size_t *n_bytes)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t n = n_bytes[i];
        if (n == 0 || n > TOKENIZER_WORD_MAX)
            return fail(TACIT_FORMAT, "word %zu of the list has %zu bytes", i,
                        n);
        memcpy(l->bytes + l->start[i], words[i], n);
        l->start[i + 1] = l->start[i] + (uint32_t)n;
        uint32_t *slot, tag;
        if (look_up(l, words[i], n, &slot, &tag) < l->n)
            return fail(TACIT_FORMAT, "word %zu of the list stands there twice",
                        i);
        *slot = tag | ((uint32_t)i + 1);
    }
    return TACIT_OK;
}

enum tacit_err lexicon_new(const char *const *words, const size_t *n_bytes,
                           size_t n, size_t n_buckets, struct lexicon **out)
{
    if (n_buckets == 0 || n_buckets > FEATURES_ROWS_MAX ||
        n > FEATURES_ROWS_MAX - n_buckets)
        return fail(TACIT_LIMIT, "%zu words and %zu n-grams; 1 to %d together",
                    n, n_buckets, FEATURES_ROWS_MAX);
    struct lexicon *l = calloc(1, sizeof *l);
    if (!l) return fail(TACIT_NOMEM, "no memory for %zu words", n);
    l->n = n;
    l->n_buckets = n_buckets;
    for (size_t i = 0; i <= GRAMS_MAX; i++)
        l->each[i] = 1 / sqrtf((float)(i ? i : 1));
    for (l->n_slots = 16; l->n_slots < 2 * n;) l->n_slots *= 2;
    l->bytes = malloc(n * TOKENIZER_WORD_MAX + 1);
    l->start = calloc(n + 1, sizeof *l->start);
    l->slot = calloc(l->n_slots, sizeof *l->slot);
    enum tacit_err err = l->bytes && l->start && l->slot
                             ? take_words(l, words, n_bytes)
                             : fail(TACIT_NOMEM, "no memory for %zu words", n);
    if (err)
        lexicon_free(l);
    else
        *out = l;
    return err;
}

void lexicon_free(struct lexicon *l)
{
    if (!l) return;
    free(l->bytes);
    free(l->start);
    free(l->slot);
    free(l);
}

size_t lexicon_words(const struct lexicon *l)
{
    return l->n;
}

size_t lexicon_rows(const struct lexicon *l)
{
    return l->n + l->n_buckets;
}

/* ---- the features ------------------------------------------------------- */

/* Row << 8 | GRAMS_MAX - n of a word's n n-grams; n is 1 for a known word.
 * Rising by row, and of one row by weight. */
enum { LEFT_BITS = 8, DIGIT = 10, N_DIGITS = 3 };
_Static_assert(GRAMS_MAX < 1 << LEFT_BITS &&
                   FEATURES_ROWS_MAX <= 1 << (N_DIGITS * DIGIT - LEFT_BITS),
               "a feature fits");

static uint32_t feature(size_t row, size_t n)
{
    return (uint32_t)(row << LEFT_BITS | (GRAMS_MAX - n));
}

/* N-grams of <word>; returns behind the last. */
static uint32_t *collect_grams(const struct lexicon *l, const struct word *w,
                               uint32_t *out)
{
    char text[TOKENIZER_WORD_MAX + 3];
    size_t at[TOKENIZER_WORD_MAX + 4], n_chars = 0, n_grams = 0;
    size_t n_bytes = w->n + 2;
    uint32_t n_buckets = (uint32_t)l->n_buckets;
    text[0] = '<';
    memcpy(text + 1, w->text, w->n);
    text[n_bytes - 1] = '>';
    for (size_t i = 0; i < n_bytes;) {
        size_t k = (unsigned char)text[i] < 0x80
                       ? 1
                       : utf8_next(text + i, n_bytes - i, NULL);
        at[n_chars++] = i;
        i += k ? k : 1;
    }
    at[n_chars] = n_bytes;
    for (size_t n = GRAM_MIN; n <= GRAM_MAX && n <= n_chars; n++)
        n_grams += n_chars - n + 1;
    for (size_t i = 0; i + GRAM_MIN <= n_chars; i++) {
        uint64_t h = hash_on(HASH_NONE, text + at[i], at[i + 2] - at[i]);
        for (size_t k = i + 2; k < n_chars && k < i + GRAM_MAX; k++) {
            h = hash_on(h, text + at[k], at[k + 1] - at[k]);
            *out++ = feature(l->n + hash_end(h) % n_buckets, n_grams);
        }
    }
    return out;
}

/* By digits of 10 bits, lowest first: to and fro, and in other in the end. */
static void sort_features(uint32_t *list, uint32_t *other, size_t n)
{
    enum { N = 1 << DIGIT };
    uint32_t at[N_DIGITS][N] = {{0}};
    for (size_t i = 0; i < n; i++)
        for (int d = 0; d < N_DIGITS; d++)
            at[d][list[i] >> d * DIGIT & (N - 1)]++;
    for (int d = 0; d < N_DIGITS; d++) {
        uint32_t sum = 0;
        for (size_t i = 0; i < N; i++) {
            uint32_t count = at[d][i];
            at[d][i] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            other[at[d][list[i] >> d * DIGIT & (N - 1)]++] = list[i];
        uint32_t *swap = list;
        list = other;
        other = swap;
    }
}

/* t occurrences of one weight w: sqrt(t w^2) = sqrt(t) w. */
static void merge(const struct lexicon *l, const uint32_t *list, size_t n,
                  struct features *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        float squares = 0;
        out->id[k] = list[i] >> LEFT_BITS;
        for (; i < n && list[i] >> LEFT_BITS == out->id[k]; i++) {
            float w = l->each[GRAMS_MAX - (list[i] & ((1 << LEFT_BITS) - 1))];
            squares += w * w;
        }
        out->weight[k] = sqrtf(squares);
    }
    out->n = k;
}

enum tacit_err features_of(const struct lexicon *l, struct arena *a,
                           enum features_mode mode, const char *text, size_t n,
                           struct features *out)
{
    struct word *words = NULL;
    size_t n_words = 0, most = 1;
    struct features f = {0};
    uint32_t *list, *other;
    TRY(tokenizer_words(a, text, n, &words, &n_words));
    for (size_t i = 0; i < n_words; i++) most += 3 * words[i].n;
    TRY(arena_alloc_raw(a, most, sizeof *list, &list));
    TRY(arena_alloc_raw(a, most, sizeof *other, &other));
    uint32_t *end = list;
    for (size_t i = 0; i < n_words; i++) {
        size_t known = mode == FEATURES_AS_UNKNOWN
                           ? l->n
                           : find(l, words[i].text, words[i].n);
        if (known < l->n)
            *end++ = feature(known, 1);
        else
            end = collect_grams(l, &words[i], end);
    }
    size_t n_features = (size_t)(end - list);
    sort_features(list, other, n_features);
    TRY(arena_alloc_raw(a, n_features + 1, sizeof *f.id, &f.id));
    TRY(arena_alloc_raw(a, n_features + 1, sizeof *f.weight, &f.weight));
    merge(l, other, n_features, &f);
    *out = f;
    return TACIT_OK;
}
