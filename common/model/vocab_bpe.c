/*
 * Byte-level BPE: patterns cut a text into words, merges join a word's bytes.
 *
 * The patterns are the published ones, word by word (GPT-2, Llama 3, Qwen 2 …),
 * run by PCRE2 with Unicode classes. Each pattern cuts what the one before it
 * left: its matches and what lies between them are the pieces. They match
 * nothing that is empty, so that each step moves on. The door to PCRE2.
 */
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "common/base/codes.h"
#include "common/model/vocab_state.h"

enum { MATCH_LIMIT = 20000000 };

#define LLAMA3(digits)                                                         \
 "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits          \
 "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct pre {
    const char *name;
    const char *patterns[VOCAB_STEPS_MAX];
} pres[] = {
    {"gpt-2", {VOCAB_GPT2}},
    {"mpt", {VOCAB_GPT2}},
    {"olmo", {VOCAB_GPT2}},
    {"phi-2", {VOCAB_GPT2}},
    {"roberta-bpe", {VOCAB_GPT2}},
    {"llama-bpe", {LLAMA3("\\p{N}{1,3}")}},
    {"llama3", {LLAMA3("\\p{N}{1,3}")}},
    {"dbrx", {LLAMA3("\\p{N}{1,3}")}},
    {"smaug-bpe", {LLAMA3("\\p{N}{1,3}")}},
    {"qwen2", {LLAMA3("\\p{N}")}},
    {"stablelm2", {LLAMA3("\\p{N}")}},
    {"deepseek-r1-qwen", {LLAMA3("\\p{N}")}},
    {"smollm", {"\\p{N}", VOCAB_GPT2}},
    {"starcoder", {"\\p{N}", VOCAB_GPT2}},
    {"refact", {"\\p{N}", VOCAB_GPT2}},
    {"command-r", {"\\p{N}", VOCAB_GPT2}},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", VOCAB_GPT2, "[0-9][0-9][0-9]"}},
    {"default",
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", VOCAB_GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

struct vocab_splitter {
    size_t n;
    pcre2_code *code[VOCAB_STEPS_MAX];
    int jit[VOCAB_STEPS_MAX];
    pcre2_match_context *context;
};

void vocab_splitter_free(struct vocab_splitter *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) pcre2_code_free(s->code[i]);
    pcre2_match_context_free(s->context);
    free(s);
}

enum tacit_err vocab_splitter_new(const char *const *patterns, size_t n,
                                  struct vocab_splitter **out)
{
    struct vocab_splitter *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "no memory for a tokenizer");
    s->context = pcre2_match_context_create(NULL);
    enum tacit_err err = TACIT_OK;
    if (!s->context)
        err = fail(TACIT_NOMEM, "no memory for a tokenizer");
    else
        pcre2_set_match_limit(s->context, MATCH_LIMIT);
    for (; !err && s->n < n && s->n < VOCAB_STEPS_MAX; s->n++) {
        int code = 0;
        PCRE2_SIZE at = 0;
        pcre2_code *c =
            pcre2_compile((PCRE2_SPTR)patterns[s->n], PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                          &code, &at, NULL);
        if (!c) {
            err = fail_as(E_MODEL_UNSUPPORTED,
                          "the tokenizer's pattern cannot be used (byte %zu)",
                          (size_t)at);
            break;
        }
        s->code[s->n] = c;
        s->jit[s->n] = pcre2_jit_compile(c, PCRE2_JIT_COMPLETE) == 0;
    }
    if (!err)
        *out = s;
    else
        vocab_splitter_free(s);
    return err;
}

static size_t count(const char *const *patterns)
{
    size_t n = 0;
    while (n < VOCAB_STEPS_MAX && patterns[n]) n++;
    return n;
}

size_t vocab_splitter_patterns(const char *name, const char *const **out)
{
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (strcmp(pres[i].name, name) == 0) {
            *out = pres[i].patterns;
            return count(pres[i].patterns);
        }
    return 0;
}

enum tacit_err vocab_splitter_named(const char *name,
                                    struct vocab_splitter **out)
{
    const char *const *patterns = NULL;
    size_t n = vocab_splitter_patterns(name, &patterns);
    if (n > 0) return vocab_splitter_new(patterns, n, out);
    return fail_as(E_MODEL_UNSUPPORTED,
                   "the byte-level tokenizer cuts words like \"%s\", which is "
                   "not known here: its tokens would be wrong",
                   name);
}

const char *vocab_splitter_name(const char *const *patterns, size_t n)
{
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        size_t same = 0;
        if (count(pres[i].patterns) != n) continue;
        while (same < n && strcmp(pres[i].patterns[same], patterns[same]) == 0)
            same++;
        if (same == n) return pres[i].name;
    }
    return NULL;
}

/* ---- merging a word ----------------------------------------------------- */

static int joins(const struct vocab *v, const struct vocab_symbol *l,
                 const struct vocab_symbol *r, uint32_t *rank, int32_t *id)
{
    if (l->id < 0 || r->id < 0) return 0;
    uint64_t key = (uint64_t)(uint32_t)l->id << 32 | (uint32_t)r->id;
    uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & v->merge_mask;
    for (; v->merge_slot[i]; i = (i + 1) & v->merge_mask) {
        const struct vocab_merge *m = &v->merges[v->merge_slot[i] - 1];
        if (m->left != l->id || m->right != r->id) continue;
        *rank = m->rank;
        *id = m->made;
        return 1;
    }
    return 0;
}

/* A part that is no token comes out byte by byte. */
static enum tacit_err emit(const struct vocab *v, const struct vocab_symbol *s,
                           struct vocab_ids *out)
{
    if (s->id >= 0 && s->id < v->n) return vocab_ids_put(out, s->id);
    for (uint32_t i = 0; i < s->n; i++) {
        int32_t id = v->byte[(unsigned char)s->text[i]];
        if (id < 0) id = v->marks.unk;
        if (id >= 0) TRY(vocab_ids_put(out, id));
    }
    return TACIT_OK;
}

static enum tacit_err merge_word(const struct vocab *v, const char *text,
                                 size_t n, struct vocab_symbol *s,
                                 int32_t whole, struct vocab_ids *out)
{
    for (size_t i = 0; i < n; i++)
        s[i] = (struct vocab_symbol){.text = text + i,
                                     .n = 1,
                                     .id = v->byte[(unsigned char)text[i]]};
    TRY(vocab_merge_all(v, joins, s, &n));
    if (whole >= 0)
        atomic_store_explicit(&v->whole[whole],
                              n == 1 && s[0].id == whole ? 1 : 2,
                              memory_order_relaxed);
    for (size_t i = 0; i < n; i++) TRY(emit(v, &s[i], out));
    return TACIT_OK;
}

static enum tacit_err encode_word(const struct vocab *v, const char *text,
                                  size_t n, struct vocab_ids *out)
{
    struct vocab_symbol few[64];
    int32_t whole = vocab_table_find(v, &v->words, text, n);
    if (whole >= v->n) whole = VOCAB_NONE;
    if (whole >= 0 &&
        (v->ignore_merges ||
         atomic_load_explicit(&v->whole[whole], memory_order_relaxed) == 1))
        return vocab_ids_put(out, whole);
    if (n <= sizeof few / sizeof *few)
        return merge_word(v, text, n, few, whole, out);
    struct vocab_symbol *many = malloc(n * sizeof *many);
    if (!many) return fail(TACIT_NOMEM, "no memory to cut a text into tokens");
    enum tacit_err err = merge_word(v, text, n, many, whole, out);
    free(many);
    return err;
}

/* ---- cutting words ------------------------------------------------------ */

struct cutting {
    const struct vocab *v;
    pcre2_match_data *found;
    struct vocab_ids *out;
};

static enum tacit_err cut(const struct cutting *c, size_t step,
                          const char *text, size_t n);

/* Where the next match of a step lies; *to = 0 without one. */
static enum tacit_err next_match(const struct cutting *c, size_t step,
                                 const char *text, size_t n, size_t at,
                                 size_t *from, size_t *to)
{
    const struct vocab_splitter *s = c->v->splitter;
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int k = s->jit[step] ? pcre2_jit_match(s->code[step], subject, n, at, 0,
                                           c->found, s->context)
                         : PCRE2_ERROR_JIT_STACKLIMIT;
    if (k == PCRE2_ERROR_JIT_STACKLIMIT)
        k = pcre2_match(s->code[step], subject, n, at,
                        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, c->found,
                        s->context);
    *to = 0;
    if (k == PCRE2_ERROR_NOMATCH) return TACIT_OK;
    if (k < 0)
        return fail(TACIT_LIMIT,
                    "a text of %zu bytes is too costly to cut into words", n);
    const PCRE2_SIZE *where = pcre2_get_ovector_pointer(c->found);
    *from = where[0];
    *to = where[1];
    return TACIT_OK;
}

static enum tacit_err cut(const struct cutting *c, size_t step,
                          const char *text, size_t n)
{
    if (n == 0) return TACIT_OK;
    if (step == c->v->splitter->n) return encode_word(c->v, text, n, c->out);
    for (size_t at = 0; at < n;) {
        size_t from = n, to = 0;
        TRY(next_match(c, step, text, n, at, &from, &to));
        if (to <= at) from = to = n; /* no match, or an empty one */
        TRY(cut(c, step + 1, text + at, from - at));
        TRY(cut(c, step + 1, text + from, to - from));
        at = to;
    }
    return TACIT_OK;
}

enum tacit_err vocab_encode_bytes(const struct vocab *v,
                                  const struct vocab_fragment *f,
                                  struct vocab_ids *out)
{
    struct cutting c = {.v = v, .out = out};
    struct buf text;
    buf_init(&text, 0);
    c.found = pcre2_match_data_create(1, NULL);
    enum tacit_err err = TACIT_OK;
    if (!c.found) err = fail(TACIT_NOMEM, "no memory to cut a text into words");
    if (v->space_prefix && f->first && f->text[0] != ' ')
        buf_put_u8(&text, ' ');
    if (!err && (v->nfc || text.len)) {
        if (v->nfc)
            err = vocab_compose(f->text, f->n, &text);
        else
            buf_put(&text, f->text, f->n);
        if (!err) err = buf_end(&text);
        if (!err) err = cut(&c, 0, (const char *)text.data, text.len);
    } else if (!err) {
        err = cut(&c, 0, f->text, f->n);
    }
    pcre2_match_data_free(c.found);
    buf_release(&text);
    return err;
}
