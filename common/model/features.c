#include "common/model/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/model/tokenizer.h"

enum { GRAM_MIN = 3, GRAM_MAX = 5 };

struct lexicon {
    char *bytes;     /* all words one behind another, owned */
    uint32_t *start; /* [n + 1], owned */
    uint32_t *slot;  /* [n_slots], word + 1; 0 is free; owned */
    size_t n, n_slots, n_buckets;
};

/* FNV-1a, its high half folded in. */
static uint32_t hash(const char *s, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 1099511628211u;
    return (uint32_t)(h ^ h >> 32);
}

/* ---- the words ---------------------------------------------------------- */

const char *lexicon_word(const struct lexicon *l, size_t i, size_t *n_bytes)
{
    *n_bytes = l->start[i + 1] - l->start[i];
    return l->bytes + l->start[i];
}

/* The slot that has the word, or the free one where it would be. */
static uint32_t *slot_of(const struct lexicon *l, const char *word, size_t n)
{
    size_t i = hash(word, n) & (l->n_slots - 1);
    for (;; i = (i + 1) & (l->n_slots - 1)) {
        size_t len = 0;
        if (!l->slot[i]) return &l->slot[i];
        const char *w = lexicon_word(l, l->slot[i] - 1, &len);
        if (len == n && memcmp(w, word, n) == 0) return &l->slot[i];
    }
}

size_t lexicon_find(const struct lexicon *l, const char *word)
{
    uint32_t known = *slot_of(l, word, strlen(word));
    return known ? known - 1 : l->n;
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
        uint32_t *slot = slot_of(l, words[i], n);
        if (*slot)
            return fail(TACIT_FORMAT, "word %zu of the list stands there twice",
                        i);
        *slot = (uint32_t)i + 1;
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

struct feature {
    uint32_t id;
    float weight;
};

/* Counts when `list` is NULL, stores otherwise. */
struct collector {
    struct feature *list;
    size_t n;
};

static void collect(struct collector *c, size_t id, float weight)
{
    if (c->list) c->list[c->n] = (struct feature){(uint32_t)id, weight};
    c->n++;
}

/* N-grams of <word>. */
static void collect_grams(const struct lexicon *l, struct collector *c,
                          const char *word, size_t len)
{
    char text[TOKENIZER_WORD_MAX + 3];
    size_t at[TOKENIZER_WORD_MAX + 4], n_chars = 0, n_grams = 0;
    text[0] = '<';
    memcpy(text + 1, word, len);
    text[len + 1] = '>';
    for (size_t i = 0; i < len + 2;) {
        size_t k = utf8_next(text + i, len + 2 - i, NULL);
        at[n_chars++] = i;
        i += k ? k : 1;
    }
    at[n_chars] = len + 2;
    for (size_t n = GRAM_MIN; n <= GRAM_MAX && n <= n_chars; n++)
        n_grams += n_chars - n + 1;
    float each = 1 / sqrtf((float)(n_grams ? n_grams : 1));
    for (size_t n = GRAM_MIN; n <= GRAM_MAX && n <= n_chars; n++)
        for (size_t i = 0; i + n <= n_chars; i++)
            collect(c,
                    l->n + hash(text + at[i], at[i + n] - at[i]) % l->n_buckets,
                    each);
}

static void collect_words(const struct lexicon *l, enum features_mode mode,
                          struct collector *c, const struct word *words,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(words[i].text);
        uint32_t known =
            mode == FEATURES_AS_UNKNOWN ? 0 : *slot_of(l, words[i].text, len);
        if (known)
            collect(c, known - 1, 1);
        else
            collect_grams(l, c, words[i].text, len);
    }
}

/* By id; equal ids by weight, so that sums do not depend on the sort. */
static int compare_feature(const void *a, const void *b)
{
    const struct feature *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->weight > y->weight) - (x->weight < y->weight);
}

/* t occurrences of one weight w: sqrt(t w^2) = sqrt(t) w. */
static void merge(const struct feature *list, size_t n, struct features *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        float squares = 0;
        out->id[k] = list[i].id;
        for (; i < n && list[i].id == out->id[k]; i++)
            squares += list[i].weight * list[i].weight;
        out->weight[k] = sqrtf(squares);
    }
    out->n = k;
}

enum tacit_err features_of(const struct lexicon *l, struct arena *a,
                           enum features_mode mode, const char *text, size_t n,
                           struct features *out)
{
    struct word *words = NULL;
    size_t n_words = 0;
    struct collector c = {0};
    struct features f = {0};
    TRY(tokenizer_words(a, text, n, &words, &n_words));
    collect_words(l, mode, &c, words, n_words);
    size_t n_features = c.n;
    TRY(arena_alloc(a, n_features + 1, sizeof *c.list, &c.list));
    TRY(arena_alloc(a, n_features + 1, sizeof *f.id, &f.id));
    TRY(arena_alloc(a, n_features + 1, sizeof *f.weight, &f.weight));
    c.n = 0;
    collect_words(l, mode, &c, words, n_words);
    qsort(c.list, c.n, sizeof *c.list, compare_feature);
    merge(c.list, c.n, &f);
    *out = f;
    return TACIT_OK;
}
