/*
 * A vocabulary as the files that other programs read: tokenizer.json of the
 * tokenizers library for WordPiece and byte-level BPE, SentencePiece's .model
 * (see vocab_model.c) for the other two. What vocab_from_json() and
 * vocab_from_spm() read is what is written.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "common/model/vocab_state.h"

/* ---- tokenizer.json ------------------------------------------------------ */

/* How the token is spelt there; "" for one that no text becomes. */
static void spell(const struct vocab *v, const struct vocab_entry *e,
                  struct buf *out)
{
    const char *s = e->text;
    size_t n = e->n;
    buf_clear(out);
    if (v->kind == VOCAB_BYTES && e->class == VOCAB_NORMAL) {
        vocab_letters_of(s, n, out);
    } else if (v->kind == VOCAB_WORDPIECE && n > 3 &&
               memcmp(s, VOCAB_SPACE, 3) == 0) {
        buf_put(out, s + 3, n - 3);
    } else {
        int is_mark = n > 2 && s[0] == '[' && s[n - 1] == ']';
        if (v->kind == VOCAB_WORDPIECE && n > 0 && !is_mark)
            buf_put(out, "##", 2);
        buf_put(out, s, n);
    }
}

static enum tacit_err no_text(int32_t id)
{
    return fail_as(E_MODEL_UNSUPPORTED,
                   "token %d is no text, so tokenizer.json has no place for it",
                   (int)id);
}

static enum tacit_err put_tokens(const struct vocab *v, json_t *words,
                                 json_t *added)
{
    struct buf name;
    enum tacit_err err = TACIT_OK;
    buf_init(&name, 0);
    for (int32_t i = 0; !err && i < v->n; i++) {
        const struct vocab_entry *e = &v->token[i];
        spell(v, e, &name);
        if (name.len == 0 || e->class == VOCAB_UNUSED) continue;
        json_t *text = json_stringn((const char *)name.data, name.len);
        int is_mark = e->class == VOCAB_CONTROL || e->class == VOCAB_UNKNOWN;
        if (!text || json_object_setn_new(words, (const char *)name.data,
                                          name.len, json_integer(i)))
            err = no_text(i);
        if (!err && (is_mark || e->class == VOCAB_USER))
            json_array_append_new(
                added,
                json_pack("{s:i, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (int)i,
                          "content", text, "single_word", 0, "lstrip",
                          e->strips & 1, "rstrip", e->strips >> 1 & 1,
                          "normalized", 0, "special", is_mark));
        json_decref(text);
    }
    buf_release(&name);
    return err;
}

static enum tacit_err put_merges(const struct vocab *v, json_t *merges)
{
    struct buf both;
    enum tacit_err err = TACIT_OK;
    buf_init(&both, 0);
    for (uint32_t i = 0; !err && i < v->n_merges; i++) {
        const struct vocab_entry *l = &v->token[v->merges[i].left];
        const struct vocab_entry *r = &v->token[v->merges[i].right];
        buf_clear(&both);
        vocab_letters_of(l->text, l->n, &both);
        buf_put_u8(&both, ' ');
        vocab_letters_of(r->text, r->n, &both);
        err = buf_end(&both);
        if (!err)
            json_array_append_new(merges, json_stringn((const char *)both.data,
                                                       both.len));
    }
    buf_release(&both);
    return err;
}

static json_t *named(const struct vocab *v, int32_t id)
{
    const struct vocab_entry *e = &v->token[id];
    return json_stringn(e->text, e->n);
}

/* A mark before or behind a text, and what it is. */
static void put_mark(const struct vocab *v, int32_t id, json_t *list,
                     json_t *special)
{
    json_t *name = named(v, id);
    json_array_append_new(list, json_pack("{s:{s:O, s:i}}", "SpecialToken",
                                          "id", name, "type_id", 0));
    json_object_set_new(special, json_string_value(name),
                        json_pack("{s:O, s:[i], s:[O]}", "id", name, "ids",
                                  (int)id, "tokens", name));
    json_decref(name);
}

static json_t *sequence(const char *id, int type)
{
    return json_pack("{s:{s:s, s:i}}", "Sequence", "id", id, "type_id", type);
}

/* [CLS] A [SEP], and B [SEP] behind it; <s> A. */
static json_t *template_of(const struct vocab *v)
{
    int is_word = v->kind == VOCAB_WORDPIECE;
    int32_t first = is_word ? v->marks.cls : v->marks.bos;
    int32_t last = is_word ? v->marks.sep : v->marks.eos;
    json_t *single = json_array(), *pair, *special = json_object();
    if (v->add_bos && first >= 0) put_mark(v, first, single, special);
    json_array_append_new(single, sequence("A", 0));
    if (v->add_eos && last >= 0) put_mark(v, last, single, special);
    pair = json_deep_copy(single);
    json_array_append_new(pair, sequence("B", is_word));
    if (v->add_eos && last >= 0) {
        json_t *name = named(v, last);
        json_array_append_new(pair, json_pack("{s:{s:o, s:i}}", "SpecialToken",
                                              "id", name, "type_id", is_word));
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing",
                     "single", single, "pair", pair, "special_tokens", special);
}

static json_t *word_steps(const struct vocab *v, json_t *words)
{
    json_t *accents = v->fold && !v->accents_kept ? json_null() : json_false();
    json_t *unknown =
        v->marks.unk >= 0 ? named(v, v->marks.unk) : json_string("[UNK]");
    return json_pack(
        "{s:{s:s, s:b, s:b, s:o, s:b}, s:{s:s}, s:{s:s, s:s, s:b}, s:{s:s, "
        "s:o, s:s, s:i, s:o}}",
        "normalizer", "type", "BertNormalizer", "clean_text", 1,
        "handle_chinese_chars", 1, "strip_accents", accents, "lowercase",
        v->fold, "pre_tokenizer", "type", "BertPreTokenizer", "decoder", "type",
        "WordPiece", "prefix", "##", "cleanup", 1, "model", "type", "WordPiece",
        "unk_token", unknown, "continuing_subword_prefix", "##",
        "max_input_chars_per_word", VOCAB_WORD_CHARS, "vocab", words);
}

/* Patterns one behind the other; the whole regex may stand in the last step
 * alone, where a blank is put before a text. */
static enum tacit_err cuts_of(const struct vocab *v, json_t **out)
{
    const char *const *patterns = NULL;
    size_t n = vocab_splitter_patterns(v->pre, &patterns);
    int is_gpt2 = n == 1 && strcmp(patterns[0], VOCAB_GPT2) == 0;
    if (n == 0 || (v->space_prefix && !is_gpt2))
        return fail_as(E_MODEL_UNSUPPORTED,
                       "the tokenizer cuts words in a way that tokenizer.json "
                       "has no name for");
    json_t *steps = json_array();
    for (size_t i = 0; !is_gpt2 && i < n; i++)
        json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s, s:b}",
                                               "type", "Split", "pattern",
                                               "Regex", patterns[i], "behavior",
                                               "Isolated", "invert", 0));
    json_array_append_new(steps,
                          json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel",
                                    "add_prefix_space", v->space_prefix,
                                    "trim_offsets", 1, "use_regex", is_gpt2));
    *out = json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
    return TACIT_OK;
}

static enum tacit_err byte_steps(const struct vocab *v, json_t *words,
                                 json_t **out)
{
    json_t *cuts = NULL, *merges = json_array();
    enum tacit_err err = cuts_of(v, &cuts);
    if (!err) err = put_merges(v, merges);
    if (err) {
        json_decref(cuts);
        json_decref(merges);
        return err;
    }
    json_t *nfc = v->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
    *out = json_pack(
        "{s:o, s:o, s:{s:s, s:b, s:b, s:b}, s:{s:s, s:n, s:n, s:n, s:n, s:b, "
        "s:b, s:b, s:O, s:o}}",
        "normalizer", nfc, "pre_tokenizer", cuts, "decoder", "type",
        "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1,
        "model", "type", "BPE", "dropout", "unk_token",
        "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
        "byte_fallback", 0, "ignore_merges", v->ignore_merges, "vocab", words,
        "merges", merges);
    return TACIT_OK;
}

static int put_bytes(const char *bytes, size_t n, void *out)
{
    buf_put(out, bytes, n);
    return 0;
}

enum tacit_err vocab_to_json(const struct vocab *v, struct buf *out)
{
    json_t *words = json_object(), *added = json_array(), *steps = NULL;
    enum tacit_err err = TACIT_OK;
    if (v->kind != VOCAB_WORDPIECE && v->kind != VOCAB_BYTES)
        err = fail(TACIT_UNSUPPORTED, "SentencePiece has files of its own");
    if (!err) err = put_tokens(v, words, added);
    if (!err && v->kind == VOCAB_WORDPIECE)
        steps = word_steps(v, json_incref(words));
    else if (!err)
        err = byte_steps(v, words, &steps);
    if (!err) {
        json_object_set_new(steps, "version", json_string("1.0"));
        json_object_set(steps, "added_tokens", added);
        json_object_set_new(steps, "post_processor", template_of(v));
        if (json_dump_callback(steps, put_bytes, out, JSON_INDENT(1)))
            err = fail(TACIT_NOMEM, "no memory for a tokenizer");
        else
            err = buf_end(out);
    }
    json_decref(steps);
    json_decref(words);
    json_decref(added);
    return err;
}

/* ---- SentencePiece's .model ---------------------------------------------- */

enum { VARINT = 0, BYTES = 2, FIXED = 5, UNIGRAM = 1, BPE = 2 };

static void put_varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) buf_put_u8(b, (uint8_t)(v | 0x80));
    buf_put_u8(b, (uint8_t)v);
}

static void put_number(struct buf *b, unsigned field, int64_t v)
{
    put_varint(b, field << 3 | VARINT);
    put_varint(b, (uint64_t)v);
}

static void put_field(struct buf *b, unsigned field, const void *bytes,
                      size_t n)
{
    put_varint(b, field << 3 | BYTES);
    put_varint(b, n);
    buf_put(b, bytes, n);
}

static void put_piece(const struct vocab *v, int32_t id, struct buf *piece,
                      struct buf *out)
{
    const struct vocab_entry *e = &v->token[id];
    char none[32]; /* the library wants texts, and no two the same */
    snprintf(none, sizeof none, "<unused%d>", (int)id);
    buf_clear(piece);
    put_field(piece, 1, e->n ? e->text : none, e->n ? e->n : strlen(none));
    put_varint(piece, 2 << 3 | FIXED);
    buf_put_f32(piece, e->score);
    if (e->class != VOCAB_NORMAL) put_number(piece, 3, e->class);
    put_field(out, 1, piece->data, piece->len);
}

static void put_trainer(const struct vocab *v, struct buf *part)
{
    buf_clear(part);
    put_number(part, 3, v->kind == VOCAB_UNIGRAM ? UNIGRAM : BPE);
    put_number(part, 4, v->n);
    put_number(part, 35, v->byte_fallback);
    put_number(part, 40, v->marks.unk);
    put_number(part, 41, v->marks.bos);
    put_number(part, 42, v->marks.eos);
    put_number(part, 43, v->marks.pad);
}

static enum tacit_err put_normaliser(const struct vocab *v, struct buf *part)
{
    struct buf table;
    buf_init(&table, 0);
    buf_clear(part);
    if (v->n_charsmap > 0) {
        buf_put_u32(&table, v->n_charsmap * 4);
        buf_put(&table, v->charsmap, (size_t)v->n_charsmap * 4);
        buf_put(&table, v->replacements, v->n_replacements);
        put_field(part, 2, table.data, table.len);
    }
    put_number(part, 3, v->space_prefix);
    put_number(part, 4, v->squeeze);
    put_number(part, 5, 1);
    enum tacit_err err = buf_end(&table);
    buf_release(&table);
    return err;
}

enum tacit_err vocab_to_spm(const struct vocab *v, struct buf *out)
{
    struct buf part;
    if (v->kind != VOCAB_SPM && v->kind != VOCAB_UNIGRAM)
        return fail(TACIT_UNSUPPORTED, "only SentencePiece has such a file");
    buf_init(&part, 0);
    for (int32_t i = 0; i < v->n; i++) put_piece(v, i, &part, out);
    put_trainer(v, &part);
    put_field(out, 2, part.data, part.len);
    enum tacit_err err = put_normaliser(v, &part);
    put_field(out, 3, part.data, part.len);
    if (!err) err = buf_end(&part);
    buf_release(&part);
    return err ? err : buf_end(out);
}
