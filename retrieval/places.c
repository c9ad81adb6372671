#include "retrieval/places.h"

enum { UNPAGED_BYTES = 24, PAGED_BYTES = PLACES_SENTENCE_BYTES };
_Static_assert(DOCUMENT_SOURCE_MAX < UINT32_MAX, "offsets fit u32");
_Static_assert(DOCUMENT_PAGES_MAX < UINT16_MAX, "pages fit u16");

void places_encode(struct buf *out, const struct chunk *c)
{
    int is_paged = c->n_sentences && c->sentence[0].place.page_first;
    if (is_paged) buf_put_u32(out, PLACES_PAGED);
    for (size_t i = 0; i < c->n_sentences; i++) {
        const struct chunk_sentence *s = &c->sentence[i];
        buf_put_u32(out, s->text_first);
        buf_put_u32(out, s->text_end);
        buf_put_u32(out, (uint32_t)s->place.byte_first);
        buf_put_u32(out, (uint32_t)s->place.byte_end);
        buf_put_u32(out, s->place.line_first);
        buf_put_u32(out, s->place.line_last);
        if (is_paged)
            buf_put_u32(out, s->place.page_first | s->place.page_last << 16);
    }
}

enum tacit_err places_decode(const void *bytes, size_t n_bytes, size_t text_len,
                             struct chunk_sentence *out, size_t *n)
{
    struct reader r;
    uint32_t at = 0;
    reader_init(&r, bytes, n_bytes);
    struct reader look = r;
    int is_paged = n_bytes >= 4 && reader_u32(&look) == PLACES_PAGED;
    if (is_paged) r = look;
    size_t wanted = r.left / (is_paged ? PAGED_BYTES : UNPAGED_BYTES);
    if (wanted > CHUNK_SENTENCES_MAX)
        return fail(TACIT_FORMAT, "a passage of %zu sentences", wanted);
    for (size_t i = 0; i < wanted; i++) {
        struct chunk_sentence *s = &out[i];
        s->text_first = reader_u32(&r);
        s->text_end = reader_u32(&r);
        s->place.byte_first = reader_u32(&r);
        s->place.byte_end = reader_u32(&r);
        s->place.line_first = reader_u32(&r);
        s->place.line_last = reader_u32(&r);
        uint32_t pages = is_paged ? reader_u32(&r) : 0;
        s->place.page_first = pages & 0xffff;
        s->place.page_last = pages >> 16;
        if (s->text_first < at || s->text_end < s->text_first ||
            s->text_end > text_len)
            return fail(TACIT_FORMAT, "a passage's sentences are damaged");
        at = s->text_end;
    }
    TRY(reader_end(&r, "sentences of a passage"));
    *n = wanted;
    return TACIT_OK;
}
