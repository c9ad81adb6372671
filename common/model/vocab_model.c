/*
 * SentencePiece's .model: a protocol buffer, read field by field.
 *
 *   1 piece   { 1 text, 2 score (f32), 3 class }      repeated
 *   2 trainer { 3 kind, 24 blank behind words, 35 byte fallback }
 *   3 normaliser { 2 table, 3 blank before, 4 squeeze blanks, 5 U+2581 }
 *
 * A field is a varint of number << 3 | wire type, then a varint (0), 8 bytes
 * (1), a length and bytes (2) or 4 bytes (5). Fields that are not named here
 * are skipped.
 */
#include <string.h>

#include "common/base/codes.h"
#include "common/model/vocab_state.h"

enum { UNIGRAM = 1, BPE = 2 };

struct field {
    uint32_t number;
    unsigned wire;
    uint64_t value;       /* of a varint */
    const uint8_t *bytes; /* of the other types */
    size_t n;
};

static uint64_t varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = reader_u8(r);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return v;
    }
    r->err = TACIT_FORMAT;
    return 0;
}

static enum tacit_err next_field(struct reader *r, struct field *out)
{
    uint64_t tag = varint(r);
    *out = (struct field){.number = (uint32_t)(tag >> 3),
                          .wire = (unsigned)(tag & 7)};
    switch (out->wire) {
    case 0: out->value = varint(r); break;
    case 1: out->n = 8; break;
    case 2: {
        uint64_t n = varint(r);
        if (n > r->left) r->err = TACIT_FORMAT;
        out->n = r->err ? 0 : (size_t)n;
        break;
    }
    case 5: out->n = 4; break;
    default: r->err = TACIT_FORMAT;
    }
    if (out->wire != 0) out->bytes = reader_take(r, out->n);
    if (r->err || tag >> 35)
        return fail(TACIT_FORMAT,
                    "not a SentencePiece model, or a damaged one");
    return TACIT_OK;
}

struct spm {
    size_t n_pieces;
    uint64_t kind, suffix, byte_fallback;
    uint64_t prefix, squeeze, escape;
    const uint8_t *charsmap;
    size_t n_charsmap;
};

static enum tacit_err read_trainer(const struct field *in, struct spm *s)
{
    struct reader r;
    struct field f;
    reader_init(&r, in->bytes, in->n);
    while (r.left > 0) {
        TRY(next_field(&r, &f));
        if (f.wire != 0) continue;
        if (f.number == 3) s->kind = f.value;
        if (f.number == 24) s->suffix = f.value;
        if (f.number == 35) s->byte_fallback = f.value;
    }
    return TACIT_OK;
}

static enum tacit_err read_normaliser(const struct field *in, struct spm *s)
{
    struct reader r;
    struct field f;
    reader_init(&r, in->bytes, in->n);
    while (r.left > 0) {
        TRY(next_field(&r, &f));
        if (f.number == 2 && f.wire == 2) {
            s->charsmap = f.bytes;
            s->n_charsmap = f.n;
        }
        if (f.wire != 0) continue;
        if (f.number == 3) s->prefix = f.value;
        if (f.number == 4) s->squeeze = f.value;
        if (f.number == 5) s->escape = f.value;
    }
    return TACIT_OK;
}

static enum tacit_err read_piece(const struct field *in, struct vocab *v)
{
    struct reader r;
    struct field f, text = {0};
    float score = 0;
    uint64_t class = VOCAB_NORMAL;
    reader_init(&r, in->bytes, in->n);
    while (r.left > 0) {
        TRY(next_field(&r, &f));
        if (f.number == 1 && f.wire == 2) text = f;
        if (f.number == 2 && f.wire == 5) memcpy(&score, f.bytes, sizeof score);
        if (f.number == 3 && f.wire == 0) class = f.value;
    }
    if (!(score > -1e30f && score < 1e30f))
        return fail(TACIT_FORMAT, "the score of token %d is no number", v->n);
    return vocab_add(v, text.n ? (const char *)text.bytes : "", text.n,
                     class > VOCAB_BYTE ? 0 : (unsigned)class, (double)score);
}

static enum tacit_err survey(const uint8_t *bytes, size_t n, struct spm *s)
{
    struct reader r;
    struct field f;
    reader_init(&r, bytes, n);
    while (r.left > 0) {
        TRY(next_field(&r, &f));
        if (f.wire != 2) continue;
        if (f.number == 1) s->n_pieces++;
        if (f.number == 2) TRY(read_trainer(&f, s));
        if (f.number == 3) TRY(read_normaliser(&f, s));
    }
    if (s->kind != UNIGRAM && s->kind != BPE)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "a SentencePiece model of words or characters");
    if (s->suffix || !s->escape)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "a SentencePiece model that marks no blank before a "
                       "word");
    return TACIT_OK;
}

static void find_marks(struct vocab *v)
{
    for (int32_t i = 0; i < v->n; i++) {
        const struct vocab_entry *e = &v->token[i];
        if (e->class == VOCAB_UNKNOWN && v->marks.unk < 0) v->marks.unk = i;
        if (e->class != VOCAB_CONTROL) continue;
        if (e->n == 3 && memcmp(e->text, "<s>", 3) == 0) v->marks.bos = i;
        if (e->n == 4 && memcmp(e->text, "</s>", 4) == 0) v->marks.eos = i;
        if (e->n == 5 && memcmp(e->text, "<pad>", 5) == 0) v->marks.pad = i;
    }
    v->add_bos = v->marks.bos >= 0;
    v->add_eos = v->marks.bos < 0; /* T5 */
}

static enum tacit_err read_all(const uint8_t *bytes, size_t n,
                               const struct spm *s, struct vocab *v)
{
    struct reader r;
    struct field f;
    reader_init(&r, bytes, n);
    while (r.left > 0) {
        TRY(next_field(&r, &f));
        if (f.number == 1 && f.wire == 2) TRY(read_piece(&f, v));
    }
    find_marks(v);
    v->byte_fallback = s->byte_fallback != 0;
    v->space_prefix = s->prefix != 0;
    v->squeeze = s->squeeze != 0;
    v->prefix_once = 1;
    TRY(vocab_set_charsmap(v, s->charsmap, s->n_charsmap));
    TRY(vocab_index(v, 0));
    for (int i = 0; i < 256 && v->byte_fallback; i++)
        if (v->byte[i] < 0)
            return fail(TACIT_FORMAT, "the tokenizer lacks byte 0x%02x",
                        (unsigned)i);
    return vocab_finish(v);
}

enum tacit_err vocab_from_spm(const uint8_t *bytes, size_t n,
                              struct vocab **out)
{
    struct spm s = {.kind = UNIGRAM, .prefix = 1, .squeeze = 1, .escape = 1};
    struct vocab *v = NULL;
    TRY(survey(bytes, n, &s));
    TRY(vocab_new(s.kind == BPE ? VOCAB_SPM : VOCAB_UNIGRAM, s.n_pieces, &v));
    enum tacit_err err = read_all(bytes, n, &s, v);
    if (!err)
        *out = v;
    else
        vocab_free(v);
    return err;
}
