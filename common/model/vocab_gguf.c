/* Vocabularies in GGUF's tokenizer.ggml.* keys. */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/vocab_state.h"

#define KEY "tokenizer.ggml."

/* ---- reading ------------------------------------------------------------ */

static const struct model {
    const char *name;
    enum vocab_kind kind;
} models[] = {
    {"bert", VOCAB_WORDPIECE},
    {"gpt2", VOCAB_BYTES},
    {"llama", VOCAB_SPM},
    {"t5", VOCAB_UNIGRAM},
};

static enum tacit_err read_kind(const struct gguf *g, enum vocab_kind *out)
{
    char name[64];
    gguf_text_or_empty(g, KEY "model", name, sizeof name);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strcmp(models[i].name, name) == 0) {
            *out = models[i].kind;
            return TACIT_OK;
        }
    if (!name[0]) return fail(TACIT_NOTFOUND, "the model has no tokenizer");
    return fail_as(E_MODEL_UNSUPPORTED, "a tokenizer of the kind \"%s\"", name);
}

/* The classes and scores beside the tokens, where there are any. */
static enum tacit_err beside(const struct gguf *g, const char *key, uint64_t n,
                             int whole, struct gguf_array *out)
{
    out->n = 0;
    if (!gguf_has(g, key)) return TACIT_OK;
    TRY(gguf_array(g, key, out));
    if (out->n != n || out->kind == GGUF_TEXT ||
        (whole && !gguf_kind_is_int(out->kind)))
        return fail(TACIT_FORMAT, "%s does not fit the model's tokens", key);
    return TACIT_OK;
}

static enum tacit_err add_token(struct vocab *v, const char *s, size_t n,
                                unsigned class, double score)
{
    char bytes[VOCAB_TOKEN_BYTES_MAX];
    if (v->kind == VOCAB_BYTES && class == VOCAB_NORMAL && n <= sizeof bytes) {
        size_t k = vocab_bytes_of(s, n, bytes);
        if (k > 0) return vocab_add(v, bytes, k, class, score);
    }
    return vocab_add(v, s, n, class, score);
}

static enum tacit_err read_tokens(const struct gguf *g, struct vocab *v,
                                  struct gguf_array tokens)
{
    struct gguf_array classes, scores;
    TRY(beside(g, KEY "token_type", tokens.n, 1, &classes));
    TRY(beside(g, KEY "scores", tokens.n, 0, &scores));
    while (tokens.n > 0) {
        size_t n;
        const char *s = gguf_next_text(&tokens, &n);
        int64_t class = classes.n ? gguf_next_int(&classes) : VOCAB_NORMAL;
        double score = scores.n ? gguf_next_real(&scores) : 0;
        if (class < 0 || class > VOCAB_BYTE) class = 0;
        if (!(score > -1e30 && score < 1e30)) score = -1e9;
        TRY(add_token(v, s, n, (unsigned)class, score));
    }
    return TACIT_OK;
}

static enum tacit_err read_mark(const struct gguf *g, const char *key,
                                int32_t *out)
{
    int64_t id = 0;
    if (!gguf_has(g, key)) return TACIT_OK;
    TRY(gguf_int(g, key, INT32_MIN, UINT32_MAX, &id));
    if (id >= 0 && id < VOCAB_TOKENS_MAX) *out = (int32_t)id;
    return TACIT_OK;
}

static enum tacit_err read_marks(const struct gguf *g, struct vocab_marks *m)
{
    TRY(read_mark(g, KEY "bos_token_id", &m->bos));
    TRY(read_mark(g, KEY "eos_token_id", &m->eos));
    TRY(read_mark(g, KEY "eot_token_id", &m->eot));
    TRY(read_mark(g, KEY "unknown_token_id", &m->unk));
    TRY(read_mark(g, KEY "seperator_token_id", &m->sep)); /* as spelt there */
    TRY(read_mark(g, KEY "separator_token_id", &m->sep));
    TRY(read_mark(g, KEY "padding_token_id", &m->pad));
    TRY(read_mark(g, KEY "cls_token_id", &m->cls));
    return read_mark(g, KEY "mask_token_id", &m->mask);
}

static enum tacit_err read_flag(const struct gguf *g, const char *key,
                                int fallback, uint8_t *out)
{
    int64_t v = fallback;
    if (gguf_has(g, key)) TRY(gguf_int(g, key, 0, 1, &v));
    *out = (uint8_t)v;
    return TACIT_OK;
}

static int32_t named(const struct vocab *v, const char *text)
{
    for (int32_t i = 0; i < v->n; i++)
        if (v->token[i].n == strlen(text) &&
            memcmp(v->token[i].text, text, v->token[i].n) == 0)
            return i;
    return VOCAB_NONE;
}

/* Old files give BERT's marks no number. */
static void name_bert(struct vocab *v)
{
    struct vocab_marks *m = &v->marks;
    if (m->cls < 0) m->cls = m->bos >= 0 ? m->bos : named(v, "[CLS]");
    if (m->sep < 0) m->sep = m->eos >= 0 ? m->eos : named(v, "[SEP]");
    if (m->unk < 0) m->unk = named(v, "[UNK]");
    if (m->pad < 0) m->pad = named(v, "[PAD]");
    if (m->mask < 0) m->mask = named(v, "[MASK]");
}

static enum tacit_err read_flags(const struct gguf *g, struct vocab *v)
{
    int spm = v->kind == VOCAB_SPM, words = v->kind == VOCAB_WORDPIECE;
    int bos = spm || words || strcmp(v->pre, "llama-bpe") == 0;
    int eos = words || v->kind == VOCAB_UNIGRAM;
    int prefix = spm || v->kind == VOCAB_UNIGRAM;
    TRY(read_flag(g, KEY "add_bos_token", bos, &v->add_bos));
    TRY(read_flag(g, KEY "add_eos_token", eos, &v->add_eos));
    TRY(read_flag(g, KEY "add_space_prefix", prefix, &v->space_prefix));
    TRY(read_flag(g, KEY "remove_extra_whitespaces", 0, &v->squeeze));
    TRY(read_flag(g, "tacit.tokenizer.prefix_once", 0, &v->prefix_once));
    TRY(read_flag(g, "tacit.tokenizer.nfc", strcmp(v->pre, "qwen2") == 0,
                  &v->nfc));
    /* GGUF does not say whether case is kept; the tokens do. */
    TRY(read_flag(g, "tacit.tokenizer.fold", named(v, VOCAB_SPACE "A") < 0,
                  &v->fold));
    TRY(read_flag(g, "tacit.tokenizer.accents_kept", 0, &v->accents_kept));
    v->ignore_merges = strcmp(v->pre, "llama-bpe") == 0;
    return read_flag(g, "tacit.tokenizer.ignore_merges", v->ignore_merges,
                     &v->ignore_merges);
}

/* "left right". */
static enum tacit_err add_merge(struct vocab *v, const char *text, size_t n)
{
    const char *space = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
    if (!space)
        return fail(TACIT_FORMAT, "merge %u does not join two parts",
                    v->n_merges);
    size_t left = (size_t)(space - text);
    return vocab_add_merge(v, text, left, space + 1, n - left - 1);
}

static enum tacit_err read_merges(const struct gguf *g, struct vocab *v)
{
    struct gguf_array a;
    TRY(gguf_array(g, KEY "merges", &a));
    if (a.kind != GGUF_TEXT || a.n > VOCAB_TOKENS_MAX)
        return fail(TACIT_FORMAT, KEY "merges is no list of merges");
    TRY(vocab_index(v, (size_t)a.n));
    while (a.n > 0) {
        size_t n;
        const char *s = gguf_next_text(&a, &n);
        TRY(add_merge(v, s, n));
    }
    return TACIT_OK;
}

enum tacit_err vocab_set_charsmap(struct vocab *v, const uint8_t *bytes,
                                  size_t n)
{
    uint32_t trie = n >= 4 ? le32_load(bytes) : 0;
    if (n == 0) return TACIT_OK;
    if (n < 4 || trie > n - 4 || trie % 4 || trie == 0 ||
        (n > 4 + (size_t)trie && bytes[n - 1] != 0))
        return fail(TACIT_FORMAT, "the normaliser's table is damaged");
    uint32_t *units;
    char *texts;
    size_t rest = n - 4 - trie;
    TRY(arena_alloc_raw(&v->arena, trie / 4, 4, &units));
    TRY(arena_alloc(&v->arena, rest + 1, 1, &texts));
    memcpy(units, bytes + 4, trie);
    memcpy(texts, bytes + 4 + trie, rest);
    v->charsmap = units;
    v->n_charsmap = trie / 4;
    v->replacements = texts;
    v->n_replacements = (uint32_t)rest;
    return TACIT_OK;
}

static enum tacit_err read_charsmap(const struct gguf *g, struct vocab *v)
{
    struct gguf_array a;
    if (!gguf_has(g, KEY "precompiled_charsmap")) return TACIT_OK;
    TRY(gguf_array(g, KEY "precompiled_charsmap", &a));
    if (a.kind != GGUF_U8 && a.kind != GGUF_I8)
        return fail(TACIT_FORMAT, "the normaliser's table is damaged");
    return vocab_set_charsmap(v, a.at, (size_t)a.n);
}

static enum tacit_err read_rest(const struct gguf *g, struct vocab *v)
{
    TRY(read_marks(g, &v->marks));
    if (v->kind == VOCAB_WORDPIECE) name_bert(v);
    gguf_text_or_empty(g, KEY "pre", v->pre, sizeof v->pre);
    if (v->kind != VOCAB_BYTES)
        v->pre[0] = '\0';
    else if (!v->pre[0])
        memcpy(v->pre, "default", sizeof "default");
    TRY(read_flags(g, v));
    if (v->kind == VOCAB_BYTES) {
        TRY(vocab_splitter_named(v->pre, &v->splitter));
        TRY(read_merges(g, v));
    } else {
        TRY(vocab_index(v, 0));
    }
    for (int i = 0; i < 256 && v->kind != VOCAB_BYTES; i++)
        v->byte_fallback |= v->byte[i] >= 0;
    TRY(read_charsmap(g, v));
    return vocab_finish(v);
}

enum tacit_err vocab_from_gguf(const struct gguf *g, struct vocab **out)
{
    enum vocab_kind kind;
    struct gguf_array tokens;
    struct vocab *v = NULL;
    TRY(read_kind(g, &kind));
    TRY(gguf_array(g, KEY "tokens", &tokens));
    if (tokens.kind != GGUF_TEXT)
        return fail(TACIT_FORMAT, KEY "tokens is no list of tokens");
    TRY(vocab_new(kind, (size_t)tokens.n, &v));
    enum tacit_err err = read_tokens(g, v, tokens);
    if (!err) err = read_rest(g, v);
    if (!err)
        *out = v;
    else
        vocab_free(v);
    return err;
}

/* ---- writing ------------------------------------------------------------ */

static void put_mark(struct gguf_writer *w, const char *key, int32_t id)
{
    if (id >= 0) gguf_put_u32(w, key, (uint32_t)id);
}

static void put_flags(const struct vocab *v, struct gguf_writer *w)
{
    const struct vocab_marks *m = &v->marks;
    put_mark(w, KEY "bos_token_id", m->bos);
    put_mark(w, KEY "eos_token_id", m->eos);
    put_mark(w, KEY "eot_token_id", m->eot);
    put_mark(w, KEY "unknown_token_id", m->unk);
    put_mark(w, KEY "seperator_token_id", m->sep);
    put_mark(w, KEY "padding_token_id", m->pad);
    put_mark(w, KEY "cls_token_id", m->cls);
    put_mark(w, KEY "mask_token_id", m->mask);
    gguf_put_bool(w, KEY "add_bos_token", v->add_bos);
    gguf_put_bool(w, KEY "add_eos_token", v->add_eos);
    gguf_put_bool(w, KEY "add_space_prefix", v->space_prefix);
    gguf_put_bool(w, KEY "remove_extra_whitespaces", v->squeeze);
    gguf_put_bool(w, "tacit.tokenizer.prefix_once", v->prefix_once);
    gguf_put_bool(w, "tacit.tokenizer.nfc", v->nfc);
    gguf_put_bool(w, "tacit.tokenizer.fold", v->fold);
    gguf_put_bool(w, "tacit.tokenizer.accents_kept", v->accents_kept);
    gguf_put_bool(w, "tacit.tokenizer.ignore_merges", v->ignore_merges);
}

/* Texts that are made here lie in one buffer, one behind the other. */
struct texts {
    struct buf all;
    const char **at;
    size_t *n;
    size_t count;
};

static enum tacit_err texts_init(struct texts *t, size_t n)
{
    *t = (struct texts){0};
    buf_init(&t->all, 0);
    t->at = calloc(n + 1, sizeof *t->at);
    t->n = calloc(n + 1, sizeof *t->n);
    return t->at && t->n ? TACIT_OK
                         : fail(TACIT_NOMEM, "no memory for a vocabulary");
}

static void texts_release(struct texts *t)
{
    buf_release(&t->all);
    free(t->at);
    free(t->n);
}

static void texts_end(struct texts *t, size_t start)
{
    t->n[t->count++] = t->all.len - start;
}

static enum tacit_err texts_put(struct texts *t, const char *key,
                                struct gguf_writer *w)
{
    size_t at = 0;
    TRY(buf_end(&t->all));
    for (size_t i = 0; i < t->count; at += t->n[i++])
        t->at[i] = (const char *)t->all.data + at;
    gguf_put_texts(w, key, t->at, t->n, t->count);
    return TACIT_OK;
}

static enum tacit_err put_tokens(const struct vocab *v, struct gguf_writer *w)
{
    struct texts t;
    size_t n = (size_t)v->n;
    int32_t *classes = malloc(n * sizeof *classes);
    float *scores = malloc(n * sizeof *scores);
    enum tacit_err err = texts_init(&t, n);
    if (!err && (!classes || !scores))
        err = fail(TACIT_NOMEM, "no memory for a vocabulary");
    for (size_t i = 0; !err && i < n; i++) {
        const struct vocab_entry *e = &v->token[i];
        size_t start = t.all.len;
        if (v->kind == VOCAB_BYTES && e->class == VOCAB_NORMAL)
            vocab_letters_of(e->text, e->n, &t.all);
        else
            buf_put(&t.all, e->text, e->n);
        texts_end(&t, start);
        classes[i] = e->class;
        scores[i] = e->score;
    }
    if (!err) err = texts_put(&t, KEY "tokens", w);
    if (!err) gguf_put_array(w, KEY "token_type", GGUF_I32, classes, n);
    if (!err && (v->kind == VOCAB_SPM || v->kind == VOCAB_UNIGRAM))
        gguf_put_array(w, KEY "scores", GGUF_F32, scores, n);
    texts_release(&t);
    free(classes);
    free(scores);
    return err;
}

static enum tacit_err put_merges(const struct vocab *v, struct gguf_writer *w)
{
    struct texts t;
    enum tacit_err err = texts_init(&t, v->n_merges);
    for (uint32_t i = 0; !err && i < v->n_merges; i++) {
        const struct vocab_entry *l = &v->token[v->merges[i].left];
        const struct vocab_entry *r = &v->token[v->merges[i].right];
        size_t start = t.all.len;
        vocab_letters_of(l->text, l->n, &t.all);
        buf_put_u8(&t.all, ' ');
        vocab_letters_of(r->text, r->n, &t.all);
        texts_end(&t, start);
    }
    if (!err) err = texts_put(&t, KEY "merges", w);
    texts_release(&t);
    return err;
}

static enum tacit_err put_charsmap(const struct vocab *v, struct gguf_writer *w)
{
    struct buf b;
    if (v->n_charsmap == 0) return TACIT_OK;
    buf_init(&b, 0);
    buf_put_u32(&b, v->n_charsmap * 4);
    buf_put(&b, v->charsmap, (size_t)v->n_charsmap * 4);
    buf_put(&b, v->replacements, v->n_replacements);
    enum tacit_err err = buf_end(&b);
    if (!err)
        gguf_put_array(w, KEY "precompiled_charsmap", GGUF_U8, b.data, b.len);
    buf_release(&b);
    return err;
}

enum tacit_err vocab_to_gguf(const struct vocab *v, struct gguf_writer *w)
{
    const char *name = "";
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (models[i].kind == v->kind) name = models[i].name;
    gguf_put_text(w, KEY "model", name, strlen(name));
    if (v->kind == VOCAB_BYTES && !v->pre[0])
        return fail_as(E_MODEL_UNSUPPORTED,
                       "the tokenizer cuts words by a pattern that has no name "
                       "in GGUF");
    if (v->pre[0]) gguf_put_text(w, KEY "pre", v->pre, strlen(v->pre));
    TRY(put_tokens(v, w));
    if (v->kind == VOCAB_BYTES) TRY(put_merges(v, w));
    TRY(put_charsmap(v, w));
    put_flags(v, w);
    return TACIT_OK;
}
