/* Any bytes as a document of each kind: refused with a message, or cut into
 * passages that lie within the text, in order, with places within the file. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/utf8.h"
#include "retrieval/chunker.h"
#include "retrieval/document.h"
#include "retrieval/places.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct document *d, const struct place *p)
{
    assert(p->byte_first < p->byte_end && p->byte_end <= d->source.len);
    assert(p->line_first >= 1 && p->line_first <= p->line_last);
    assert(p->line_last <= d->source.len + 1);
}

/* Text for a terminal: UTF-8 without control characters other than '\n'. */
static void check_text(const char *text, size_t n)
{
    assert(utf8_find_bad(text, n) == n);
    for (size_t i = 0; i < n; i++)
        assert((unsigned char)text[i] >= 0x20 || text[i] == '\n' ||
               text[i] == CHUNK_HEADING_MARK);
}

/* What the corpus writes is what the answerer reads. */
static void check_places(const struct chunk *c)
{
    struct chunk_sentence again[CHUNK_SENTENCES_MAX];
    struct buf b;
    size_t n = 0;
    buf_init(&b, 0);
    places_encode(&b, c);
    if (buf_end(&b)) abort();
    if (places_decode(b.data, b.len, c->text_end - c->text_first, again, &n))
        abort();
    assert(n == c->n_sentences);
    buf_release(&b);
}

static void check_chunk(const struct document *d, const struct chunk *c)
{
    assert(c->text_first < c->text_end && c->text_end <= d->text.len);
    assert(memchr(c->heading, '\0', CHUNK_HEADING_MAX));
    assert(c->n_sentences <= CHUNK_SENTENCES_MAX);
    check_place(d, &c->place);
    check_text(c->heading, strlen(c->heading));
    check_text((const char *)d->text.data + c->text_first,
               c->text_end - c->text_first);
    for (size_t i = 0; i < c->n_sentences; i++) {
        const struct chunk_sentence *s = &c->sentence[i];
        assert(s->text_first < s->text_end &&
               s->text_end <= c->text_end - c->text_first);
        check_place(d, &s->place);
    }
    check_places(c);
}

static void read_as(const char *name, const uint8_t *data, size_t size)
{
    struct document d;
    struct chunker k;
    static struct chunk c;
    size_t at = 0, n = 0;
    enum tacit_err err = document_open_bytes(&d, name, data, size);
    int is_open = !err;
    if (!err) err = document_parse(&d);
    if (err) {
        assert(err_message()[0] != '\0' && err_id() != 0);
        err_clear();
        if (is_open) document_release(&d);
        return;
    }
    assert(strlen(d.title) < DOCUMENT_TITLE_MAX);
    check_text(d.title, strlen(d.title));
    chunker_init(&k, &d);
    while (chunker_next(&k, &c)) {
        check_chunk(&d, &c);
        assert(c.text_first >= at);
        at = c.text_end;
        assert(++n <= d.text.len);
    }
    document_release(&d);
}

/* The first byte draws the kind. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"fuzz.html", "fuzz.md", "fuzz.txt"};
    if (size == 0) return 0;
    read_as(names[data[0] % 3], data + 1, size - 1);
    return 0;
}
