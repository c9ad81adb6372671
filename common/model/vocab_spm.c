/*
 * SentencePiece's BPE: a text's characters join to the piece of the best score,
 * the leftmost of equals first; what is no piece comes out as its bytes.
 *
 * Kudo and Richardson 2018, "SentencePiece: A simple and language independent
 * subword tokenizer". Differs from the library: where no piece holds a blank
 * behind something else, no join crosses from one word to the next, so that
 * each word is cut by itself, with the same result.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/model/vocab_state.h"

enum { ROOM = 256 }; /* symbols at first */

static int joins(const struct vocab *v, const struct vocab_symbol *l,
                 const struct vocab_symbol *r, uint32_t *rank, int32_t *id)
{
    int32_t found = vocab_table_find(v, &v->words, l->text, l->n + r->n);
    if (found < 0) return 0;
    *rank = v->token[found].rank;
    *id = found;
    return 1;
}

static enum tacit_err emit(const struct vocab *v, const struct vocab_symbol *s,
                           size_t start, struct vocab_ids *out)
{
    if (s->id >= 0) return vocab_ids_put(out, s->id);
    if (v->byte_fallback) {
        for (uint32_t i = 0; i < s->n; i++) {
            int32_t id = v->byte[(unsigned char)s->text[i]];
            TRY(vocab_ids_put(out, id >= 0 ? id : v->marks.unk));
        }
        return TACIT_OK;
    }
    /* Unknown characters in a row are one. */
    if (out->n > start && out->id[out->n - 1] == v->marks.unk) return TACIT_OK;
    return vocab_ids_put(out, v->marks.unk);
}

/* room: [n] symbols. */
static enum tacit_err encode_part(const struct vocab *v, const char *text,
                                  size_t n, size_t start,
                                  struct vocab_symbol *room,
                                  struct vocab_ids *out)
{
    size_t k = 0;
    int32_t whole = vocab_table_find(v, &v->words, text, n);
    if (whole >= 0 &&
        atomic_load_explicit(&v->whole[whole], memory_order_relaxed) == 1)
        return vocab_ids_put(out, whole);
    for (size_t i = 0; i < n; k++) {
        size_t step = utf8_next(text + i, n - i, NULL);
        if (step == 0) step = 1;
        room[k] = (struct vocab_symbol){.text = text + i,
                                        .n = (uint32_t)step,
                                        .id = vocab_table_find(v, &v->words,
                                                               text + i, step)};
        i += step;
    }
    TRY(vocab_merge_all(v, joins, room, &k));
    if (whole >= 0)
        atomic_store_explicit(&v->whole[whole],
                              k == 1 && room[0].id == whole ? 1 : 2,
                              memory_order_relaxed);
    for (size_t i = 0; i < k; i++) TRY(emit(v, &room[i], start, out));
    return TACIT_OK;
}

static int is_space(const char *s, size_t left)
{
    return left >= 3 && memcmp(s, VOCAB_SPACE, 3) == 0;
}

/* Bytes to where the next word begins: a blank behind something else. */
static size_t word_len(const char *text, size_t n)
{
    size_t i = 0;
    while (is_space(text + i, n - i)) i += 3;
    while (i < n) {
        const char *p = memchr(text + i, 0xe2, n - i);
        if (!p) return n;
        i = (size_t)(p - text);
        if (is_space(p, n - i)) return i;
        i++;
    }
    return n;
}

static enum tacit_err encode_all(const struct vocab *v, const char *text,
                                 size_t n, struct vocab_ids *out)
{
    size_t start = out->n, cap = n < ROOM ? n : ROOM;
    struct vocab_symbol *room = calloc(cap + 1, sizeof *room);
    enum tacit_err err = TACIT_OK;
    for (size_t at = 0; !err && at < n;) {
        size_t len = v->crosses ? n : word_len(text + at, n - at);
        if (room && len > cap) {
            free(room);
            room = calloc(len, sizeof *room);
            cap = len;
        }
        if (!room)
            err = fail(TACIT_NOMEM, "no memory to cut a text into tokens");
        else
            err = encode_part(v, text + at, len, start, room, out);
        at += len;
    }
    free(room);
    return err;
}

enum tacit_err vocab_encode_spm(const struct vocab *v,
                                const struct vocab_fragment *f,
                                struct vocab_ids *out)
{
    struct buf text;
    buf_init(&text, 0);
    vocab_normalise(v, f, &text);
    enum tacit_err err = buf_end(&text);
    if (!err) err = encode_all(v, (const char *)text.data, text.len, out);
    buf_release(&text);
    return err;
}
