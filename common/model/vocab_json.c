/*
 * tokenizer.json of the tokenizers library.
 *
 *   model          WordPiece, BPE or Unigram: tokens, merges or scores
 *   added_tokens   marks, and words that are never cut
 *   normalizer, pre_tokenizer, post_processor
 *                  chains of steps; those of the families that are run here
 *                  are known, any other is refused by its name
 *
 * BPE is byte-level where a step says so, else SentencePiece's, whose scores
 * are then the order of the merges.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "common/model/vocab_state.h"

enum { CHAIN_MAX = 32 };

static const json_t *get(const json_t *o, const char *key)
{
    return json_object_get(o, key);
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(get(o, key));
    return s ? s : "";
}

static enum tacit_err damaged(const char *what)
{
    return fail(TACIT_FORMAT, "the tokenizer's %s is damaged", what);
}

static enum tacit_err unknown_step(const char *where, const char *what)
{
    return fail_as(E_MODEL_UNSUPPORTED,
                   "the tokenizer's %s has the step \"%s\", which is not known "
                   "here",
                   where, what);
}

/* ---- tokens ------------------------------------------------------------- */

struct slot {
    const char *text; /* borrowed; NULL: no token has this number */
    size_t n;
    unsigned class;
    uint8_t strips;
    double score;
};

struct tokens {
    struct slot *slot; /* [n], owned */
    size_t n;
};

static enum tacit_err number_of(const json_t *id, size_t *out)
{
    json_int_t i = json_integer_value(id);
    if (!json_is_integer(id) || i < 0 || i >= VOCAB_TOKENS_MAX)
        return damaged("list of tokens");
    *out = (size_t)i;
    return TACIT_OK;
}

static enum tacit_err count_tokens(const json_t *list, const json_t *added,
                                   size_t *out)
{
    size_t n = json_array_size(list), id = 0, i;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)list, key, value)
    {
        TRY(number_of(value, &id));
        if (id >= n) n = id + 1;
    }
    json_array_foreach(added, i, value)
    {
        TRY(number_of(get(value, "id"), &id));
        if (id >= n) n = id + 1;
    }
    *out = n;
    return TACIT_OK;
}

static enum tacit_err take_added(const json_t *added, struct tokens *t)
{
    size_t i, id = 0;
    json_t *value;
    json_array_foreach(added, i, value)
    {
        const json_t *content = get(value, "content");
        TRY(number_of(get(value, "id"), &id));
        if (!json_is_string(content)) return damaged("list of added tokens");
        t->slot[id] = (struct slot){
            .text = json_string_value(content),
            .n = json_string_length(content),
            .class = json_is_true(get(value, "special")) ? VOCAB_CONTROL
                                                         : VOCAB_USER,
            .strips = (uint8_t)((json_is_true(get(value, "lstrip")) ? 1 : 0) |
                                (json_is_true(get(value, "rstrip")) ? 2 : 0)),
            .score = t->slot[id].score};
    }
    return TACIT_OK;
}

static enum tacit_err take_tokens(const json_t *root, struct tokens *t)
{
    const json_t *list = get(get(root, "model"), "vocab");
    const json_t *added = get(root, "added_tokens");
    const char *key;
    json_t *value;
    size_t i, id = 0;
    if (!json_is_object(list) && !json_is_array(list))
        return damaged("list of tokens");
    TRY(count_tokens(list, added, &t->n));
    t->slot = calloc(t->n + 1, sizeof *t->slot);
    if (!t->slot) return fail(TACIT_NOMEM, "no memory for a vocabulary");
    json_object_foreach((json_t *)(uintptr_t)list, key, value)
    {
        TRY(number_of(value, &id));
        t->slot[id] =
            (struct slot){.text = key, .n = strlen(key), .class = VOCAB_NORMAL};
    }
    json_array_foreach(list, i, value)
    {
        const json_t *s = json_array_get(value, 0);
        const json_t *score = json_array_get(value, 1);
        if (!json_is_string(s) || !json_is_number(score))
            return damaged("list of tokens");
        t->slot[i] = (struct slot){.text = json_string_value(s),
                                   .n = json_string_length(s),
                                   .class = VOCAB_NORMAL,
                                   .score = json_number_value(score)};
    }
    return take_added(added, t);
}

static enum tacit_err add_tokens(struct vocab *v, const struct tokens *t,
                                 const char *unknown)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct slot *s = &t->slot[i];
        char bytes[VOCAB_TOKEN_BYTES_MAX];
        unsigned class = s->class;
        size_t k = 0;
        if (!s->text) {
            TRY(vocab_add(v, "", 0, VOCAB_UNUSED, 0));
            continue;
        }
        int is_byte = s->n == 6 && memcmp(s->text, "<0x", 3) == 0;
        if (v->kind != VOCAB_BYTES && class == VOCAB_NORMAL && is_byte)
            class = VOCAB_BYTE;
        if (strcmp(s->text, unknown) == 0 && unknown[0]) {
            class = VOCAB_UNKNOWN;
            v->marks.unk = v->n;
        }
        if (v->kind == VOCAB_BYTES && class == VOCAB_NORMAL &&
            s->n <= sizeof bytes)
            k = vocab_bytes_of(s->text, s->n, bytes);
        if (v->kind == VOCAB_WORDPIECE)
            TRY(vocab_add_word(v, s->text, s->n, class));
        else if (k > 0)
            TRY(vocab_add(v, bytes, k, class, 0));
        else
            TRY(vocab_add(v, s->text, s->n, class, s->score));
        v->token[v->n - 1].strips = s->strips;
    }
    return TACIT_OK;
}

/* ---- merges ------------------------------------------------------------- */

static enum tacit_err parts_of(const json_t *m, const char **left,
                               size_t *n_left, const char **right,
                               size_t *n_right)
{
    const json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
    const char *s = json_string_value(m);
    const char *space = s && s[0] ? strchr(s + 1, ' ') : NULL;
    if (space) {
        *left = s;
        *n_left = (size_t)(space - s);
        *right = space + 1;
        *n_right = strlen(space + 1);
        return TACIT_OK;
    }
    if (json_array_size(m) != 2 || !json_is_string(a) || !json_is_string(b))
        return damaged("list of merges");
    *left = json_string_value(a);
    *n_left = json_string_length(a);
    *right = json_string_value(b);
    *n_right = json_string_length(b);
    return TACIT_OK;
}

static enum tacit_err take_merges(const json_t *merges, struct vocab *v)
{
    const char *l = "", *r = "";
    size_t i, n_l = 0, n_r = 0;
    json_t *m;
    int has_merges = v->kind == VOCAB_BYTES || v->kind == VOCAB_SPM;
    if (json_array_size(merges) > VOCAB_TOKENS_MAX ||
        (has_merges && !json_is_array(merges)))
        return damaged("list of merges");
    TRY(vocab_index(v, v->kind == VOCAB_BYTES ? json_array_size(merges) : 0));
    json_array_foreach(merges, i, m)
    {
        char both[2 * VOCAB_TOKEN_BYTES_MAX];
        TRY(parts_of(m, &l, &n_l, &r, &n_r));
        if (v->kind == VOCAB_BYTES) {
            TRY(vocab_add_merge(v, l, n_l, r, n_r));
            continue;
        }
        if (n_l + n_r > sizeof both) return damaged("list of merges");
        memcpy(both, l, n_l);
        memcpy(both + n_l, r, n_r);
        int32_t id = vocab_table_find(v, &v->words, both, n_l + n_r);
        if (id >= 0 && v->token[id].score == 0)
            v->token[id].score = -(float)(i + 1);
    }
    if (v->kind == VOCAB_SPM)
        for (int32_t k = 0; k < v->n; k++)
            if (v->token[k].class == VOCAB_NORMAL && v->token[k].score == 0)
                v->token[k].score = -(float)(json_array_size(merges) + 2);
    return TACIT_OK;
}

/* ---- chains of steps ---------------------------------------------------- */

struct chain {
    const json_t *step[CHAIN_MAX];
    size_t n;
};

/* A step, or the members of a Sequence. */
static enum tacit_err chain_of(const json_t *o, const char *members,
                               const char *where, struct chain *out)
{
    size_t i;
    json_t *step;
    out->n = 0;
    if (!o || json_is_null(o)) return TACIT_OK;
    if (!json_is_object(o)) return damaged(where);
    if (strcmp(text(o, "type"), "Sequence") != 0) {
        out->step[out->n++] = o;
        return TACIT_OK;
    }
    json_array_foreach(get(o, members), i, step)
    {
        if (out->n == CHAIN_MAX || strcmp(text(step, "type"), "Sequence") == 0)
            return damaged(where);
        out->step[out->n++] = step;
    }
    return TACIT_OK;
}

static int has_step(const struct chain *c, const char *type)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(text(c->step[i], "type"), type) == 0) return 1;
    return 0;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

static enum tacit_err take_charsmap(const json_t *step, struct vocab *v)
{
    const char *s = text(step, "precompiled_charsmap");
    struct buf b;
    uint32_t bits = 0;
    int n = 0;
    buf_init(&b, 0);
    for (; *s && *s != '='; s++) {
        int d = base64_digit(*s);
        if (d < 0) break;
        bits = bits << 6 | (uint32_t)d;
        n += 6;
        if (n < 8) continue;
        n -= 8;
        buf_put_u8(&b, (uint8_t)(bits >> n));
    }
    enum tacit_err err = buf_end(&b);
    if (!err && *s && *s != '=') err = damaged("normaliser");
    if (!err) err = vocab_set_charsmap(v, b.data, b.len);
    buf_release(&b);
    return err;
}

/* Replace of runs of blanks by one, or of a blank by U+2581. */
static enum tacit_err take_replace(const json_t *step, struct vocab *v)
{
    const char *one = text(get(step, "pattern"), "String");
    const char *many = text(get(step, "pattern"), "Regex");
    if (strcmp(many, " {2,}") == 0)
        v->squeeze = 1;
    else if (strcmp(one, " ") != 0)
        return unknown_step("normaliser", "Replace");
    return TACIT_OK;
}

static enum tacit_err take_bert(const json_t *step, struct vocab *v)
{
    const json_t *accents = get(step, "strip_accents");
    v->fold = json_is_true(get(step, "lowercase"));
    v->accents_kept =
        json_is_boolean(accents) ? json_is_false(accents) : !v->fold;
    if (json_is_false(get(step, "clean_text")) ||
        json_is_false(get(step, "handle_chinese_chars")) ||
        (json_is_true(accents) && !v->fold))
        return unknown_step("normaliser", "BertNormalizer with other settings");
    return TACIT_OK;
}

static enum tacit_err take_normaliser(const json_t *root, struct vocab *v)
{
    struct chain c;
    TRY(chain_of(get(root, "normalizer"), "normalizers", "normaliser", &c));
    for (size_t i = 0; i < c.n; i++) {
        const json_t *step = c.step[i];
        const char *type = text(step, "type");
        if (v->kind == VOCAB_WORDPIECE && strcmp(type, "BertNormalizer") == 0)
            TRY(take_bert(step, v));
        else if (v->kind == VOCAB_BYTES && strcmp(type, "NFC") == 0)
            v->nfc = 1;
        else if (v->kind == VOCAB_SPM && strcmp(type, "Prepend") == 0)
            v->space_prefix = 1;
        else if ((v->kind == VOCAB_SPM || v->kind == VOCAB_UNIGRAM) &&
                 strcmp(type, "Replace") == 0)
            TRY(take_replace(step, v));
        else if (v->kind == VOCAB_UNIGRAM && strcmp(type, "Precompiled") == 0)
            TRY(take_charsmap(step, v));
        else if (v->kind == VOCAB_UNIGRAM && strcmp(type, "Strip") == 0)
            v->squeeze = 1;
        else
            return unknown_step("normaliser", type);
    }
    if (v->kind == VOCAB_WORDPIECE && !has_step(&c, "BertNormalizer"))
        return unknown_step("normaliser", "none");
    return TACIT_OK;
}

static enum tacit_err add_pattern(const char **patterns, size_t *n,
                                  const char *pattern)
{
    if (*n == VOCAB_STEPS_MAX) return damaged("list of patterns");
    patterns[(*n)++] = pattern;
    return TACIT_OK;
}

static enum tacit_err take_split(const json_t *step, const char **patterns,
                                 size_t *n)
{
    const char *regex = text(get(step, "pattern"), "Regex");
    const char *how = text(step, "behavior");
    int inverted = json_is_true(get(step, "invert"));
    if (!regex[0] || !(strcmp(how, "Isolated") == 0 ||
                       (strcmp(how, "Removed") == 0 && inverted)))
        return unknown_step("pre-tokeniser", "Split with other settings");
    return add_pattern(patterns, n, regex);
}

/* Byte-level: the patterns that cut words. */
static enum tacit_err take_patterns(const struct chain *c, struct vocab *v)
{
    const char *patterns[VOCAB_STEPS_MAX], *name;
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const json_t *step = c->step[i];
        const char *type = text(step, "type");
        if (strcmp(type, "ByteLevel") == 0) {
            v->space_prefix |= json_is_true(get(step, "add_prefix_space"));
            if (!json_is_false(get(step, "use_regex")))
                TRY(add_pattern(patterns, &n, VOCAB_GPT2));
        } else if (strcmp(type, "Split") == 0) {
            TRY(take_split(step, patterns, &n));
        } else if (strcmp(type, "Digits") == 0) {
            TRY(add_pattern(patterns, &n,
                            json_is_true(get(step, "individual_digits"))
                                ? "\\p{N}"
                                : "\\p{N}+"));
        } else if (strcmp(type, "Punctuation") == 0 &&
                   strcmp(text(step, "behavior"), "Contiguous") == 0) {
            TRY(add_pattern(patterns, &n, "[\\p{P}\\$\\+<=>\\^~\\|`]+"));
        } else {
            return unknown_step("pre-tokeniser", type);
        }
    }
    if (n == 0) return unknown_step("pre-tokeniser", "none");
    name = vocab_splitter_name(patterns, n);
    if (name) memcpy(v->pre, name, strlen(name) + 1);
    return vocab_splitter_new(patterns, n, &v->splitter);
}

static enum tacit_err take_pre_tokeniser(const json_t *root, struct vocab *v)
{
    struct chain c;
    TRY(chain_of(get(root, "pre_tokenizer"), "pretokenizers", "pre-tokeniser",
                 &c));
    if (v->kind == VOCAB_BYTES) return take_patterns(&c, v);
    for (size_t i = 0; i < c.n; i++) {
        const char *type = text(c.step[i], "type");
        const char *scheme = text(c.step[i], "prepend_scheme");
        if (v->kind == VOCAB_WORDPIECE && strcmp(type, "BertPreTokenizer") == 0)
            continue;
        if (v->kind == VOCAB_UNIGRAM && strcmp(type, "WhitespaceSplit") == 0) {
            v->squeeze = 1;
            continue;
        }
        if (v->kind == VOCAB_WORDPIECE || strcmp(type, "Metaspace") != 0)
            return unknown_step("pre-tokeniser", type);
        v->prefix_once = strcmp(scheme, "first") == 0;
        v->space_prefix = strcmp(scheme, "never") != 0 &&
                          !json_is_false(get(c.step[i], "add_prefix_space"));
    }
    return TACIT_OK;
}

/* ---- marks -------------------------------------------------------------- */

static enum tacit_err take_template(const json_t *step, struct vocab *v)
{
    const json_t *single = get(step, "single");
    size_t n = json_array_size(single), seen = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(single, i);
        const char *name = text(get(item, "SpecialToken"), "id");
        const char *const names[] = {name, NULL};
        if (get(item, "Sequence")) {
            seen = 1;
            continue;
        }
        int32_t id = vocab_find_mark(v, names);
        if (id < 0) return damaged("template");
        if (seen) {
            v->add_eos = 1;
            if (v->kind == VOCAB_WORDPIECE)
                v->marks.sep = id;
            else
                v->marks.eos = id;
        } else {
            v->add_bos = 1;
            if (v->kind == VOCAB_WORDPIECE)
                v->marks.cls = id;
            else
                v->marks.bos = id;
        }
    }
    return TACIT_OK;
}

static enum tacit_err take_marks(const json_t *root, struct vocab *v)
{
    struct chain c;
    vocab_name_marks(v);
    TRY(chain_of(get(root, "post_processor"), "processors", "template", &c));
    for (size_t i = 0; i < c.n; i++) {
        const char *type = text(c.step[i], "type");
        if (strcmp(type, "TemplateProcessing") == 0)
            TRY(take_template(c.step[i], v));
        else if (strcmp(type, "BertProcessing") == 0 ||
                 strcmp(type, "RobertaProcessing") == 0)
            v->add_bos = v->add_eos = 1;
    }
    return TACIT_OK;
}

/* ---- the whole ---------------------------------------------------------- */

static enum tacit_err kind_of(const json_t *root, enum vocab_kind *out)
{
    const json_t *model = get(root, "model");
    const char *type = text(model, "type");
    struct chain c;
    if (!json_is_object(model)) return damaged("model");
    TRY(chain_of(get(root, "pre_tokenizer"), "pretokenizers", "pre-tokeniser",
                 &c));
    if (strcmp(type, "WordPiece") == 0)
        *out = VOCAB_WORDPIECE;
    else if (strcmp(type, "Unigram") == 0)
        *out = VOCAB_UNIGRAM;
    else if (strcmp(type, "BPE") == 0 || (!type[0] && get(model, "merges")))
        *out = has_step(&c, "ByteLevel") ? VOCAB_BYTES : VOCAB_SPM;
    else
        return fail_as(E_MODEL_UNSUPPORTED, "a tokenizer of the kind \"%s\"",
                       type);
    return TACIT_OK;
}

static enum tacit_err build(const json_t *root, struct vocab *v,
                            const struct tokens *t)
{
    const json_t *model = get(root, "model"), *unk = get(model, "unk_id");
    const char *unknown = text(model, "unk_token");
    size_t id = json_is_integer(unk) && json_integer_value(unk) >= 0
                    ? (size_t)json_integer_value(unk)
                    : t->n;
    if (id < t->n && t->slot[id].text) unknown = t->slot[id].text;
    TRY(add_tokens(v, t, unknown));
    v->ignore_merges = json_is_true(get(model, "ignore_merges"));
    v->byte_fallback = json_is_true(get(model, "byte_fallback"));
    TRY(take_merges(get(model, "merges"), v));
    TRY(take_normaliser(root, v));
    TRY(take_pre_tokeniser(root, v));
    TRY(take_marks(root, v));
    return vocab_finish(v);
}

enum tacit_err vocab_from_json(const char *json, size_t n, struct vocab **out)
{
    json_t *root = NULL;
    enum vocab_kind kind = VOCAB_BYTES;
    struct tokens t = {0};
    struct vocab *v = NULL;
    TRY(json_parse(json, n, &root));
    enum tacit_err err = kind_of(root, &kind);
    if (!err) err = take_tokens(root, &t);
    if (!err) err = vocab_new(kind, t.n, &v);
    if (!err) err = build(root, v, &t);
    if (!err)
        *out = v;
    else
        vocab_free(v);
    free(t.slot);
    json_decref(root);
    return err;
}
