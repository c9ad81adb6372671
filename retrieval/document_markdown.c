/*
 * Markdown, by md4c (CommonMark with tables). md4c hands over text as pointers
 * into the input, so an offset is a difference of pointers; what it makes up
 * (line breaks, indentation of code) points elsewhere and stands where the
 * last piece ended. HTML inside is read by the HTML reader. Front matter
 * between two lines of --- at the top is skipped but for its title.
 */
#include <md4c.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/document_builder.h"
#include "retrieval/document_html.h"
#include "retrieval/entity.h"

enum {
    FRONT_MATTER_LINES_MAX = 100,
    /* A table of c columns makes c cells of a row of one: a small file could
     * make billions. No real page needs this many calls per byte. */
    CALLS_PER_BYTE = 8,
    CALLS_FREE = 1 << 16
};

struct reading {
    struct builder *b;
    size_t base; /* source offset of md4c's input */
    size_t n;
    unsigned list_depth;
    int cell_is_due; /* " | " before the next text of the row */
    int in_html, has_title;
    size_t html_first, html_end;
    uint64_t calls_left;
};

/* Count one call of md4c; not 0 to stop it. */
static int call(struct reading *r)
{
    if (r->calls_left == 0)
        builder_refuse(r->b, "more markup than text");
    else
        r->calls_left--;
    return r->b->err != TACIT_OK;
}

/* Open the block that text belongs to here. */
static void open_text(struct reading *r)
{
    if (r->b->is_open) return;
    builder_open(r->b, r->list_depth ? BLOCK_ITEM : BLOCK_PARAGRAPH,
                 r->list_depth);
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    struct reading *r = ctx;
    switch (type) {
    case MD_BLOCK_UL:
    case MD_BLOCK_OL: r->list_depth++; /* fall through */
    case MD_BLOCK_QUOTE:
    case MD_BLOCK_LI:
    case MD_BLOCK_P: builder_close(r->b); break;
    case MD_BLOCK_H:
        builder_open(r->b, BLOCK_HEADING,
                     ((const MD_BLOCK_H_DETAIL *)detail)->level);
        break;
    case MD_BLOCK_CODE: builder_open(r->b, BLOCK_CODE, 0); break;
    case MD_BLOCK_HTML:
        builder_close(r->b);
        r->in_html = 1;
        r->html_first = r->html_end = 0;
        break;
    case MD_BLOCK_TR:
        builder_open(r->b, BLOCK_ROW, 0);
        r->cell_is_due = 0;
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD: r->cell_is_due = builder_length(r->b) > 0; break;
    default: break;
    }
    return call(r);
}

/* The first heading of level 1 names the document. */
static void take_title(struct reading *r, unsigned level)
{
    const struct document *d = r->b->d;
    if (r->has_title || level != 1 || d->n_blocks == 0) return;
    const struct block *h = &d->blocks[d->n_blocks - 1];
    if (h->kind != BLOCK_HEADING) return;
    r->has_title = 1;
    document_set_title(r->b->d, (const char *)d->text.data + h->text_first,
                       h->text_end - h->text_first);
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    struct reading *r = ctx;
    switch (type) {
    case MD_BLOCK_UL:
    case MD_BLOCK_OL:
        builder_close(r->b);
        r->list_depth--;
        break;
    case MD_BLOCK_H:
        builder_close(r->b);
        take_title(r, ((const MD_BLOCK_H_DETAIL *)detail)->level);
        break;
    case MD_BLOCK_HTML:
        r->in_html = 0;
        if (r->html_end > r->html_first)
            document_html_part(r->b, r->html_first, r->html_end);
        break;
    case MD_BLOCK_LI:
    case MD_BLOCK_P:
    case MD_BLOCK_CODE:
    case MD_BLOCK_TR:
        builder_close(r->b);
        r->cell_is_due = 0;
        break;
    default: break;
    }
    return call(r);
}

static int span(MD_SPANTYPE type, void *detail, void *ctx)
{
    (void)type, (void)detail;
    return call(ctx);
}

/* md4c's text [n] as a source range, when it lies in the input. */
static int is_source(const struct reading *r, const char *text, size_t n,
                     size_t *at)
{
    uintptr_t from = (uintptr_t)r->b->d->source.data + r->base,
              p = (uintptr_t)text;
    if (p < from || p - from > r->n || n > r->n - (p - from)) return 0;
    *at = r->base + (size_t)(p - from);
    return 1;
}

static void add_entity(struct reading *r, const char *text, size_t n, size_t at)
{
    char utf8[ENTITY_UTF8_MAX];
    size_t k = entity_decode(text, n, utf8);
    if (k)
        builder_piece(r->b, utf8, k, at, n);
    else
        builder_source(r->b, at, n);
}

static int add_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE n, void *ctx)
{
    struct reading *r = ctx;
    size_t at = r->b->source_at;
    int in_source = is_source(r, text, n, &at);
    if (r->in_html) {
        if (in_source && r->html_end == 0) r->html_first = at;
        if (in_source) r->html_end = at + n;
        return call(r);
    }
    open_text(r);
    if (r->cell_is_due) builder_piece(r->b, " | ", 3, r->b->source_at, 0);
    r->cell_is_due = 0;
    int is_br = type == MD_TEXT_HTML && n >= 3 && memcmp(text, "<br", 3) == 0;
    if (type == MD_TEXT_BR || type == MD_TEXT_SOFTBR || is_br)
        builder_piece(r->b, " ", 1, at, 0);
    else if (type == MD_TEXT_HTML || type == MD_TEXT_NULLCHAR)
        builder_piece(r->b, "", 0, at, in_source ? n : 0);
    else if (type == MD_TEXT_ENTITY && in_source)
        add_entity(r, text, n, at);
    else if (in_source)
        builder_source(r->b, at, n);
    else
        builder_piece(r->b, text, n, at, 0);
    return call(r);
}

static int is_fence(const char *s, size_t n)
{
    return n == 3 && (memcmp(s, "---", 3) == 0 || memcmp(s, "...", 3) == 0);
}

/* Source offset behind the front matter, or `first` when there is none. */
static size_t skip_front_matter(struct reading *r, size_t first, size_t end)
{
    const char *s = (const char *)r->b->d->source.data;
    const char *title = NULL;
    size_t at = first, title_len = 0;
    for (int line = 0; at < end && line < FRONT_MATTER_LINES_MAX; line++) {
        const char *nl = memchr(s + at, '\n', end - at);
        size_t stop = nl ? (size_t)(nl - s) : end, next = nl ? stop + 1 : end;
        if (stop > at && s[stop - 1] == '\r') stop--;
        int fence = is_fence(s + at, stop - at);
        if (line == 0 && (!fence || s[at] != '-')) return first;
        if (line > 0 && fence) {
            if (title) document_set_title(r->b->d, title, title_len);
            r->has_title = title != NULL;
            return next;
        }
        if (stop - at > 6 && memcmp(s + at, "title:", 6) == 0) {
            title = s + at + 6;
            title_len = stop - at - 6;
            while (title_len && strchr(" \"'", *title)) title++, title_len--;
            while (title_len && strchr(" \"'", title[title_len - 1]))
                title_len--;
        }
        at = next;
    }
    return first;
}

static enum tacit_err read_markdown(struct builder *b, size_t first, size_t end)
{
    static const MD_PARSER parser = {
        .flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH,
        .enter_block = enter_block,
        .leave_block = leave_block,
        .enter_span = span,
        .leave_span = span,
        .text = add_text,
    };
    struct reading r = {.b = b};
    r.base = skip_front_matter(&r, first, end);
    r.n = end - r.base;
    r.calls_left = CALLS_FREE + CALLS_PER_BYTE * (uint64_t)r.n;
    b->source_at = r.base;
    int rc = md_parse((const char *)b->d->source.data + r.base, (MD_SIZE)r.n,
                      &parser, &r);
    if (rc != 0 && !b->err)
        b->err = fail(TACIT_NOMEM, "out of memory reading Markdown");
    return builder_end(b);
}

const struct document_reader document_markdown = {
    .kind = "markdown",
    .endings = " md markdown ",
    .input = INPUT_TEXT,
    .read = read_markdown,
};
