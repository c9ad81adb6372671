#include "retrieval/places.h"

_Static_assert(DOCUMENT_BYTES_MAX < UINT32_MAX, "offsets fit u32");

void places_encode(struct buf *out, const struct chunk *c)
{
    for (size_t i = 0; i < c->n_sentences; i++) {
        const struct chunk_sentence *s = &c->sentence[i];
        buf_put_u32(out, s->text_first);
        buf_put_u32(out, s->text_end);
        buf_put_u32(out, (uint32_t)s->place.byte_first);
        buf_put_u32(out, (uint32_t)s->place.byte_end);
        buf_put_u32(out, s->place.line_first);
        buf_put_u32(out, s->place.line_last);
    }
}

enum tacit_err places_decode(const void *bytes, size_t n_bytes, size_t text_len,
                             struct chunk_sentence *out, size_t *n)
{
    struct reader r;
    size_t wanted = n_bytes / PLACES_SENTENCE_BYTES;
    uint32_t at = 0;
    if (wanted > CHUNK_SENTENCES_MAX)
        return fail(TACIT_FORMAT, "a passage of %zu sentences", wanted);
    reader_init(&r, bytes, n_bytes);
    for (size_t i = 0; i < wanted; i++) {
        struct chunk_sentence *s = &out[i];
        s->text_first = reader_u32(&r);
        s->text_end = reader_u32(&r);
        s->place.byte_first = reader_u32(&r);
        s->place.byte_end = reader_u32(&r);
        s->place.line_first = reader_u32(&r);
        s->place.line_last = reader_u32(&r);
        if (s->text_first < at || s->text_end < s->text_first ||
            s->text_end > text_len)
            return fail(TACIT_FORMAT, "a passage's sentences are damaged");
        at = s->text_end;
    }
    TRY(reader_end(&r, "sentences of a passage"));
    *n = wanted;
    return TACIT_OK;
}
