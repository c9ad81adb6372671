/* distill.h: counting words before the training, writing the file behind it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/distill_parts.h"
#include "common/model/gguf.h"
#include "common/model/tokenizer.h"
#include "common/model/word_table.h"

/* ---- counting ----------------------------------------------------------- */

enum { TALLY_WORDS_MAX = 1 << 22 };

struct entry {
    struct text word; /* its bytes: arena */
    uint64_t count;
};

struct tally {
    struct arena *a;
    struct entry *entry; /* [cap], open addressing; owned */
    size_t n, cap;
    uint64_t total;
};

static struct entry *entry_of(const struct tally *t, const char *s, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 1099511628211u;
    for (size_t i = (size_t)(h ^ h >> 32) & (t->cap - 1);;
         i = (i + 1) & (t->cap - 1)) {
        struct entry *e = &t->entry[i];
        if (!e->word.s || (e->word.n == n && memcmp(e->word.s, s, n) == 0))
            return e;
    }
}

static enum tacit_err grow(struct tally *t)
{
    struct tally more = *t;
    more.cap = t->cap ? 2 * t->cap : 1 << 14;
    more.entry = calloc(more.cap, sizeof *more.entry);
    if (!more.entry) return fail(TACIT_NOMEM, "no memory for the words");
    for (size_t i = 0; i < t->cap; i++) {
        const struct entry *e = &t->entry[i];
        if (e->word.s) *entry_of(&more, e->word.s, e->word.n) = *e;
    }
    free(t->entry);
    *t = more;
    return TACIT_OK;
}

static enum tacit_err tally_word(struct tally *t, const char *s, size_t n)
{
    if (2 * t->n >= t->cap) TRY(grow(t));
    struct entry *e = entry_of(t, s, n);
    if (!e->word.s) {
        char *copy = NULL;
        if (t->n == TALLY_WORDS_MAX)
            return fail(TACIT_LIMIT, "the texts have more than %d words",
                        TALLY_WORDS_MAX);
        TRY(arena_strdup(t->a, s, n, &copy));
        e->word = (struct text){copy, n};
        t->n++;
    }
    e->count++;
    t->total++;
    return TACIT_OK;
}

static enum tacit_err tally_text(struct tally *t, struct arena *scratch,
                                 const struct text *text)
{
    struct word *words = NULL;
    size_t n = 0;
    arena_reset(scratch);
    TRY(tokenizer_words(scratch, text->s, text->n, &words, &n));
    for (size_t i = 0; i < n; i++)
        TRY(tally_word(t, words[i].text, words[i].n));
    return TACIT_OK;
}

/* The most frequent first; equal ones in byte order. */
static int compare_entry(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    size_t n = x->word.n < y->word.n ? x->word.n : y->word.n;
    int c = memcmp(x->word.s, y->word.s, n);
    return c ? c : (x->word.n > y->word.n) - (x->word.n < y->word.n);
}

static enum tacit_err take_most(struct tally *t, size_t most,
                                struct distill_words *out)
{
    size_t n = 0;
    for (size_t i = 0; i < t->cap; i++)
        if (t->entry[i].word.s) t->entry[n++] = t->entry[i];
    qsort(t->entry, n, sizeof *t->entry, compare_entry);
    if (n > most) n = most;
    struct distill_words w = {.n = n, .total = t->total};
    TRY(arena_alloc(t->a, n + 1, sizeof *w.word, &w.word));
    TRY(arena_alloc(t->a, n + 1, sizeof *w.count, &w.count));
    for (size_t i = 0; i < n; i++) {
        w.word[i] = t->entry[i].word;
        w.count[i] = t->entry[i].count;
    }
    *out = w;
    return TACIT_OK;
}

enum tacit_err distill_count(struct arena *a, const struct text *texts,
                             size_t n, size_t most, struct distill_words *out)
{
    struct tally t = {.a = a};
    struct arena scratch;
    if (most == 0 || most > DISTILL_WORDS_MAX)
        return fail(TACIT_LIMIT, "%zu words; 1 to %d", most, DISTILL_WORDS_MAX);
    arena_init(&scratch, 64 << 20);
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < n; i++)
        err = tally_text(&t, &scratch, &texts[i]);
    if (!err && t.n == 0)
        err = fail(TACIT_FORMAT, "there is no word in the texts");
    if (!err) err = take_most(&t, most, out);
    arena_release(&scratch);
    free(t.entry);
    return err;
}

/* ---- writing ------------------------------------------------------------ */

static void put(struct gguf_writer *w, const char *key, const char *text)
{
    if (text && text[0]) gguf_put_text(w, key, text, strlen(text));
}

static enum tacit_err put_words(struct gguf_writer *w, const struct lexicon *l)
{
    size_t n = lexicon_words(l);
    const char **word = calloc(n + 1, sizeof *word);
    size_t *n_bytes = calloc(n + 1, sizeof *n_bytes);
    enum tacit_err err = TACIT_OK;
    if (!word || !n_bytes)
        err = fail(TACIT_NOMEM, "no memory for %zu words", n);
    for (size_t i = 0; !err && i < n; i++)
        word[i] = lexicon_word(l, i, &n_bytes[i]);
    if (!err) gguf_put_texts(w, WORD_TABLE_FAMILY ".list", word, n_bytes, n);
    free(word);
    free(n_bytes);
    return err;
}

static enum tacit_err put_pairs(const struct distilled *d,
                                const struct distill_origin *o,
                                struct gguf_writer *w)
{
    char seed[24];
    put(w, "general.architecture", WORD_TABLE_FAMILY);
    put(w, "general.name", o->name);
    put(w, "general.license", o->licence);
    put(w, "general.source.url", o->source);
    gguf_put_u32(w, WORD_TABLE_FAMILY ".embedding_length", (uint32_t)d->c.dim);
    gguf_put_u32(w, WORD_TABLE_FAMILY ".feature_version", FEATURES_VERSION);
    gguf_put_u32(w, WORD_TABLE_FAMILY ".bucket_count", (uint32_t)d->c.buckets);
    put(w, "tacit.distill.teacher", o->teacher);
    put(w, "tacit.distill.teacher_hash", o->teacher_hash);
    put(w, "tacit.distill.texts_hash", o->texts_hash);
    gguf_put_u32(w, "tacit.distill.texts", (uint32_t)d->n_texts);
    gguf_put_u32(w, "tacit.distill.epochs", (uint32_t)d->c.epochs);
    gguf_put_f32(w, "tacit.distill.rate", (float)d->c.rate);
    snprintf(seed, sizeof seed, "%" PRIu64, d->c.seed);
    put(w, "tacit.distill.seed", seed);
    gguf_put_f32(w, "tacit.distill.cosine", (float)d->report.cosine);
    return put_words(w, d->lexicon);
}

/* Of all that a vector depends on. */
static void print_of(const struct distilled *d, const uint8_t *rows, size_t n,
                     char out[DIGEST_HEX])
{
    struct digest_state s;
    struct digest h;
    const uint64_t shape[] = {FEATURES_VERSION, d->c.dim, d->c.buckets,
                              (uint64_t)d->c.type, d->n_rows};
    digest_begin(&s);
    digest_add(&s, shape, sizeof shape);
    for (size_t i = 0; i < lexicon_words(d->lexicon); i++) {
        size_t len = 0;
        const char *word = lexicon_word(d->lexicon, i, &len);
        digest_add(&s, word, len);
        digest_add(&s, "", 1);
    }
    digest_add(&s, rows, n);
    digest_end(&s, &h);
    hex_encode(out, h.b, sizeof h.b);
}

static enum tacit_err put_all(const struct distilled *d,
                              const struct distill_origin *o,
                              const uint8_t *rows, size_t n,
                              struct gguf_writer *w)
{
    const uint64_t dims[] = {d->c.dim, d->n_rows};
    char print[DIGEST_HEX];
    print_of(d, rows, n, print);
    TRY(put_pairs(d, o, w));
    put(w, WORD_TABLE_PRINT, print);
    gguf_put_tensor(w, "table.weight", (uint32_t)d->c.type, 2, dims);
    TRY(gguf_put_data(w, rows, n));
    return gguf_end_tensor(w);
}

enum tacit_err distilled_write(const struct distilled *d,
                               const struct distill_origin *o,
                               const char *folder, const char *path,
                               struct digest *hash)
{
    struct gguf_writer w;
    size_t n = quant_bytes(d->c.type, d->n_rows * d->c.dim);
    uint8_t *rows = malloc(n + 1);
    if (!rows) return fail(TACIT_NOMEM, "no memory for %zu bytes", n);
    enum tacit_err err = gguf_writer_init(&w, folder, GGUF_ALIGNMENT);
    if (!err)
        err = quant_encode(d->c.type, d->table, rows, d->n_rows * d->c.dim);
    if (!err) err = put_all(d, o, rows, n, &w);
    if (!err) err = gguf_writer_end(&w, hash);
    if (!err) err = gguf_writer_commit(&w, path, 0600);
    gguf_writer_release(&w);
    free(rows);
    return err;
}

const struct distill_report *distilled_report(const struct distilled *d)
{
    return &d->report;
}
