/*
 * Markdown, by md4c (CommonMark with tables). md4c hands over text as pointers
 * into the input, so an offset is a difference of pointers; what it makes up
 * (line breaks, indentation of code) points elsewhere and stands where the
 * last piece ended. HTML inside is read by the HTML reader. Front matter
 * between two lines of --- at the top gives the title and a row of fields.
 */
#include <ctype.h>
#include <md4c.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/document_builder.h"
#include "retrieval/document_html.h"
#include "retrieval/entity.h"
#include "retrieval/field.h"

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
    size_t key_at, n_key; /* of front matter, whose list is about to begin */
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

/* ---- front matter --------------------------------------------------------
 *
 *   ---
 *   title: "Blood gas"          the title
 *   author: Mara Lindt          one row: author: Mara Lindt | tags: a, b
 *   tags: [a, b]                (field.h)
 *   ---
 */

struct line {
    size_t at, end, next; /* of the source */
};

static struct line line_at(const char *s, size_t at, size_t end)
{
    const char *nl = memchr(s + at, '\n', end - at);
    struct line l = {.at = at, .end = nl ? (size_t)(nl - s) : end};
    l.next = nl ? l.end + 1 : end;
    while (l.end > at && strchr("\r \t", s[l.end - 1])) l.end--;
    return l;
}

/* Offset behind the closing fence, or `first` when there is none. */
static size_t find_front_matter(const char *s, size_t first, size_t end)
{
    struct line l = line_at(s, first, end);
    if (first == end || !is_fence(s + l.at, l.end - l.at) || s[l.at] != '-')
        return first;
    for (int n = 1; l.next < end && n < FRONT_MATTER_LINES_MAX; n++) {
        l = line_at(s, l.next, end);
        if (is_fence(s + l.at, l.end - l.at)) return l.next;
    }
    return first;
}

/* Length of the key that a line begins with, 0 without one. */
static size_t key_length(const char *s, size_t n)
{
    size_t k = 0;
    while (k < n && k <= FIELD_KEY_MAX &&
           (isalnum((unsigned char)s[k]) || strchr("_-.", s[k])))
        k++;
    return k > 0 && k <= FIELD_KEY_MAX && k < n && s[k] == ':' ? k : 0;
}

/* A value without blanks, quotes and brackets around it; what came before it
 * may have reached over the line's end. */
static struct line bare(const char *s, size_t at, size_t end)
{
    if (at > end) at = end;
    while (at < end && strchr(" \t\"'[", s[at])) at++;
    while (end > at && strchr(" \t\"']", s[end - 1])) end--;
    return (struct line){.at = at, .end = end};
}

static void add_cell(struct builder *b, const char *mark, size_t key_at,
                     size_t n_key, struct line value)
{
    const uint8_t *s = b->d->source.data;
    size_t n = value.end - value.at;
    if (n > FIELD_VALUE_MAX) n = FIELD_VALUE_MAX;
    while (n > 0 && n < value.end - value.at &&
           (s[value.at + n] & 0xc0) == 0x80)
        n--;
    if (builder_length(b) > 0)
        builder_piece(b, mark, strlen(mark), n_key ? key_at : value.at, 0);
    if (n_key) {
        builder_source(b, key_at, n_key);
        builder_piece(b, ": ", 2, value.at, 0);
    }
    builder_source(b, value.at, n);
}

static void read_front_matter(struct reading *r, size_t first, size_t end)
{
    const char *s = (const char *)r->b->d->source.data;
    int is_list = 0; /* an item would belong to the last key */
    builder_open(r->b, BLOCK_ROW, 0);
    for (struct line l = line_at(s, first, end); l.next < end;) {
        l = line_at(s, l.next, end);
        size_t n = l.end - l.at, k = key_length(s + l.at, n);
        if (is_fence(s + l.at, n)) break;
        struct line value = bare(s, l.at + (k ? k + 1 : 0), l.end);
        int is_item = !k && n > 2 && memchr(s + l.at, '-', n) != NULL &&
                      s[l.at + strspn(s + l.at, " \t")] == '-';
        if (k == 5 && memcmp(s + l.at, "title", 5) == 0) {
            document_set_title(r->b->d, s + value.at, value.end - value.at);
            r->has_title = 1;
            is_list = 0;
        } else if (k && value.at < value.end) {
            add_cell(r->b, " | ", l.at, k, value);
            is_list = 0;
        } else if (k) {
            is_list = 1; /* with its first item */
            r->key_at = l.at;
            r->n_key = k;
        } else if (is_item && is_list) {
            value = bare(s, l.at + strspn(s + l.at, " \t-"), l.end);
            if (value.at == value.end) continue;
            add_cell(r->b, r->n_key ? " | " : ", ", r->key_at, r->n_key, value);
            r->n_key = 0;
        }
    }
    builder_close(r->b);
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
    r.base = find_front_matter((const char *)b->d->source.data, first, end);
    if (r.base > first) read_front_matter(&r, first, r.base);
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
