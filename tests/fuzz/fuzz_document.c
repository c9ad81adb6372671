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
#include "retrieval/document_pdf.h"
#include "retrieval/field.h"
#include "retrieval/places.h"
#include "tests/retrieval/made.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct document *d, const struct place *p)
{
    assert(p->byte_first < p->byte_end && p->byte_end <= d->source.len);
    assert(p->line_first >= 1 && p->line_first <= p->line_last);
    assert(p->line_last <= d->source.len + 1);
    assert(p->page_first <= p->page_last && p->page_last <= d->n_pages);
    assert((p->page_first > 0) == (d->n_pages > 0));
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
    /* Its own text as the pattern of a field: an answer, whatever it is. */
    (void)field_holds((const char *)d->text.data + c->text_first,
                      c->text_end - c->text_first, "a", c->heading);
    for (size_t i = 0; i < c->n_sentences; i++) {
        const struct chunk_sentence *s = &c->sentence[i];
        assert(s->text_first < s->text_end &&
               s->text_end <= c->text_end - c->text_first);
        check_place(d, &s->place);
    }
    check_places(c);
}

static void cut(const struct document *d)
{
    struct chunker k;
    static struct chunk c;
    size_t at = 0, n = 0;
    assert(strlen(d->title) < DOCUMENT_TITLE_MAX);
    check_text(d->title, strlen(d->title));
    chunker_init(&k, d, &chunk_sizes_default);
    while (chunker_next(&k, &c)) {
        check_chunk(d, &c);
        assert(c.text_first >= at || k.sizes.overlap);
        at = c.text_end;
        assert(++n <= d->text.len);
    }
}

static void check_refusal(void)
{
    assert(err_message()[0] != '\0' && err_id() != 0);
    err_clear();
}

static void read_as(const char *name, const uint8_t *data, size_t size)
{
    struct document d;
    enum tacit_err err = document_open_bytes(&d, name, data, size);
    int is_open = !err;
    if (!err) err = document_parse(&d);
    if (!err)
        cut(&d);
    else
        check_refusal();
    if (is_open) document_release(&d);
}

/* The bytes as one part of a container that is whole otherwise. */
static void read_part(const char *name, const char *part, const uint8_t *data,
                      size_t size)
{
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(&z, "META-INF/container.xml",
                  "<c><rootfile full-path=\"a.opf\"/></c>");
    made_zip_text(&z, "a.opf",
                  "<p><item id=\"a\" href=\"a.xhtml\" media-type=\"html\"/>"
                  "<itemref idref=\"a\"/></p>");
    made_zip_part(&z, part, data, size);
    made_zip_end(&z);
    if (buf_end(&z.bytes)) abort();
    read_as(name, z.bytes.data, z.bytes.len);
    buf_release(&z.bytes);
}

/* The bytes as what pdftotext printed. */
static void read_pages(const uint8_t *data, size_t size)
{
    struct document d;
    if (document_open_bytes(&d, "a.pdf", "%PDF", 4)) abort();
    struct builder b = {.d = &d};
    enum tacit_err err = document_pdf_pages(&b, data, size);
    if (!err) err = document_settle(&d);
    if (!err)
        cut(&d);
    else
        check_refusal();
    document_release(&d);
}

/* The first byte draws the kind: 0 to 9, then : ; < =. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "a.html", "a.md",   "a.txt",  "a.csv",  "a.jsonl",
        "a.eml",  "a.mbox", "a.docx", "a.epub", "a.odt",
    };
    enum { N_NAMES = sizeof names / sizeof *names };
    if (size == 0) return 0;
    unsigned kind = (data[0] - (unsigned)'0') % 256 % (N_NAMES + 4);
    data++;
    size--;
    if (kind < N_NAMES) read_as(names[kind], data, size);
    if (kind == N_NAMES) read_part("a.docx", "word/document.xml", data, size);
    if (kind == N_NAMES + 1) read_part("a.odt", "content.xml", data, size);
    if (kind == N_NAMES + 2) read_part("a.epub", "a.xhtml", data, size);
    if (kind == N_NAMES + 3) read_pages(data, size);
    return 0;
}
