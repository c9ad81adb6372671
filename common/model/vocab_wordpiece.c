/*
 * WordPiece as BERT has it, and the door to utf8proc for vocabularies.
 *
 *   "The Café, 3"  --clean, fold, strip accents-->  the | cafe | , | 3
 *   "unaffable"    --longest token first-->         un ##aff ##able
 *
 * Devlin et al. 2019; word by word as the library's BertNormalizer and
 * BertPreTokenizer: control characters go, blanks and punctuation cut, each
 * Chinese character is a word, accents fall by NFD, case is folded letter by
 * letter. A word of more than 100 characters, or one that no tokens make up, is
 * unknown.
 */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/base/utf8.h"
#include "common/model/vocab_state.h"

enum { WORD_BYTES = 3 + 4 * (VOCAB_WORD_CHARS + 32), POINTS_MAX = 32 };

struct word {
    const struct vocab *v;
    struct vocab_ids *out;
    char text[WORD_BYTES]; /* U+2581, then the word */
    size_t n, n_chars;
    int unknown;
};

static enum tacit_err end_word(struct word *w)
{
    size_t before = w->out->n;
    int32_t unknown = w->v->marks.unk;
    size_t n = w->n;
    int bad = w->unknown || w->n_chars > VOCAB_WORD_CHARS;
    w->n = 3;
    w->unknown = 0;
    if (w->n_chars == 0) return TACIT_OK;
    w->n_chars = 0;
    for (size_t at = 0; !bad && at < n;) {
        size_t len = 0;
        int32_t id =
            vocab_trie_longest(&w->v->pieces, w->text + at, n - at, &len);
        if (id < 0)
            bad = 1;
        else
            TRY(vocab_ids_put(w->out, id));
        at += len;
    }
    if (!bad) return TACIT_OK;
    w->out->n = before;
    return vocab_ids_put(w->out, unknown);
}

static void put_char(struct word *w, uint32_t u)
{
    if (w->n + 4 > sizeof w->text || w->n_chars > VOCAB_WORD_CHARS) {
        w->n_chars = VOCAB_WORD_CHARS + 1;
        return;
    }
    /* No word may pass for the start of another. */
    if (u == 0x2581) w->unknown = 1;
    w->n += (size_t)utf8proc_encode_char((utf8proc_int32_t)u,
                                         (utf8proc_uint8_t *)w->text + w->n);
    w->n_chars++;
}

static int is_blank(uint32_t u)
{
    return u == ' ' || (u >= 9 && u <= 13) || u == 0x85 || u == 0xa0 ||
           u == 0x1680 || (u >= 0x2000 && u <= 0x200a) || u == 0x2028 ||
           u == 0x2029 || u == 0x202f || u == 0x205f || u == 0x3000;
}

static int is_chinese(uint32_t u)
{
    return (u >= 0x4e00 && u <= 0x9fff) || (u >= 0x3400 && u <= 0x4dbf) ||
           (u >= 0x20000 && u <= 0x2a6df) || (u >= 0x2a700 && u <= 0x2b73f) ||
           (u >= 0x2b740 && u <= 0x2b81f) || (u >= 0x2b820 && u <= 0x2ceaf) ||
           (u >= 0xf900 && u <= 0xfaff) || (u >= 0x2f800 && u <= 0x2fa1f);
}

static int is_dropped(uint32_t u, utf8proc_category_t c)
{
    if (u == '\t' || u == '\n' || u == '\r') return 0;
    return u == 0 || u == 0xfffd || c == UTF8PROC_CATEGORY_CC ||
           c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO;
}

static int is_punctuation(uint32_t u, utf8proc_category_t c)
{
    if (u < 0x80)
        return u > ' ' && u != 0x7f && !(u >= '0' && u <= '9') &&
               !((u | 32) >= 'a' && (u | 32) <= 'z');
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

/* A character as it comes out of the normaliser. */
static enum tacit_err put_normal(struct word *w, uint32_t u)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)u);
    if (w->v->fold) u = (uint32_t)utf8proc_tolower((utf8proc_int32_t)u);
    if (is_blank(u)) return end_word(w);
    if (!is_punctuation(u, c)) {
        put_char(w, u);
        return TACIT_OK;
    }
    TRY(end_word(w));
    put_char(w, u);
    return end_word(w);
}

static enum tacit_err put_ascii(struct word *w, uint32_t u)
{
    if (u == ' ' || u == '\t' || u == '\n' || u == '\r') return end_word(w);
    if (u < ' ' || u == 0x7f) return TACIT_OK;
    if (is_punctuation(u, UTF8PROC_CATEGORY_CN)) {
        TRY(end_word(w));
        put_char(w, u);
        return end_word(w);
    }
    if (w->v->fold && u >= 'A' && u <= 'Z') u |= 32;
    if (w->n_chars <= VOCAB_WORD_CHARS) {
        w->text[w->n++] = (char)u;
        w->n_chars++;
    }
    return TACIT_OK;
}

static enum tacit_err put_other(struct word *w, uint32_t u)
{
    utf8proc_int32_t points[POINTS_MAX];
    int bound = 0;
    if (is_dropped(u, utf8proc_category((utf8proc_int32_t)u))) return TACIT_OK;
    if (is_blank(u)) return end_word(w);
    int chinese = is_chinese(u);
    if (chinese) TRY(end_word(w));
    if (!w->v->fold || w->v->accents_kept) {
        TRY(put_normal(w, u));
        return chinese ? end_word(w) : TACIT_OK;
    }
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)u, points, POINTS_MAX,
                                UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &bound);
    for (utf8proc_ssize_t i = 0; i < n && i < POINTS_MAX; i++)
        if (utf8proc_category(points[i]) != UTF8PROC_CATEGORY_MN)
            TRY(put_normal(w, (uint32_t)points[i]));
    return chinese ? end_word(w) : TACIT_OK;
}

enum tacit_err vocab_encode_words(const struct vocab *v,
                                  const struct vocab_fragment *f,
                                  struct vocab_ids *out)
{
    struct word w = {.v = v, .out = out, .n = 3};
    memcpy(w.text, VOCAB_SPACE, 3);
    for (size_t i = 0; i < f->n;) {
        uint32_t u = (unsigned char)f->text[i];
        if (u < 0x80) {
            TRY(put_ascii(&w, u));
            i++;
            continue;
        }
        size_t step = utf8_next(f->text + i, f->n - i, &u);
        if (step == 0) return fail(TACIT_INTERNAL, "a text was not mended");
        TRY(put_other(&w, u));
        i += step;
    }
    return end_word(&w);
}

static int is_ascii(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] >= 0x80) return 0;
    return 1;
}

enum tacit_err vocab_compose(const char *text, size_t n, struct buf *out)
{
    utf8proc_uint8_t *made = NULL;
    if (is_ascii(text, n)) {
        buf_put(out, text, n);
        return buf_end(out);
    }
    utf8proc_ssize_t k =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &made,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (k < 0) return fail(TACIT_NOMEM, "no memory to normalise a text");
    buf_put(out, made, (size_t)k);
    free(made);
    return buf_end(out);
}
