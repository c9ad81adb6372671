/*
 * EPUB (2 and 3): a container of XHTML pages.
 *
 *   META-INF/container.xml ─> the package ─┬─ manifest: id -> page
 *                                          └─ spine: ids in reading order
 *
 * Pages are read in the order of the spine, each once, however often it is
 * listed; those outside of it (linear="no") and the table of contents not at
 * all. A page that is no well-formed XML goes
 * to the reader of HTML. A page that is missing or damaged is left out, and
 * said.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"
#include "retrieval/document_html.h"
#include "retrieval/document_package.h"

enum { ITEMS_MAX = 4096, ID_MAX = 128, HREF_MAX = 384, NAME_MAX_BYTES = 1024 };

struct item {
    char id[ID_MAX], href[HREF_MAX];
    int is_contents, is_listed; /* in the spine */
};

struct epub {
    struct builder *b;
    char package[NAME_MAX_BYTES]; /* name of that part */
    struct item *items;           /* [ITEMS_MAX] */
    size_t n_items;
    uint16_t *spine; /* [ITEMS_MAX], of items */
    size_t n_spine, n_bad;
    /* Of the open page. */
    struct package_row row;
    unsigned skip, list, pre, heading;
    int in_body, has_title;
};

/* ---- container and package ------------------------------------------------
 */

static int copy(char *out, size_t cap, const char *s)
{
    if (!s || strlen(s) >= cap) return 0;
    memcpy(out, s, strlen(s) + 1);
    return 1;
}

static enum tacit_err container_start(void *ctx, struct xml_name name,
                                      const char **atts)
{
    struct epub *x = ctx;
    if (strcmp(name.local, "rootfile") == 0 && !x->package[0])
        copy(x->package, sizeof x->package, xml_attribute(atts, "full-path"));
    return TACIT_OK;
}

static enum tacit_err nothing(void *ctx, struct xml_name name)
{
    (void)ctx, (void)name;
    return TACIT_OK;
}

static void add_item(struct epub *x, const char **atts)
{
    struct item *i = &x->items[x->n_items];
    const char *type = xml_attribute(atts, "media-type");
    const char *is = xml_attribute(atts, "properties");
    if (x->n_items == ITEMS_MAX || !type || !strstr(type, "html")) return;
    if (!copy(i->id, sizeof i->id, xml_attribute(atts, "id")) ||
        !copy(i->href, sizeof i->href, xml_attribute(atts, "href")))
        return;
    i->is_contents = is && strstr(is, "nav");
    x->n_items++;
}

static void add_to_spine(struct epub *x, const char **atts)
{
    const char *id = xml_attribute(atts, "idref");
    const char *linear = xml_attribute(atts, "linear");
    if (!id || (linear && strcmp(linear, "no") == 0)) return;
    for (size_t i = 0; i < x->n_items && x->n_spine < ITEMS_MAX; i++)
        if (strcmp(x->items[i].id, id) == 0 && !x->items[i].is_contents) {
            if (!x->items[i].is_listed) x->spine[x->n_spine++] = (uint16_t)i;
            x->items[i].is_listed = 1;
            return;
        }
}

static enum tacit_err package_start(void *ctx, struct xml_name name,
                                    const char **atts)
{
    struct epub *x = ctx;
    if (strcmp(name.local, "item") == 0) add_item(x, atts);
    if (strcmp(name.local, "itemref") == 0) add_to_spine(x, atts);
    return TACIT_OK;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The name of the part that a reference of the package means: %20 decoded,
 * relative to the package's folder, without "#…" and dots. */
static void resolve(const struct epub *x, const char *href,
                    char out[NAME_MAX_BYTES])
{
    const char *slash = *href == '/' ? NULL : strrchr(x->package, '/');
    size_t k = slash ? (size_t)(slash - x->package) + 1 : 0;
    memcpy(out, x->package, k);
    if (*href == '/') href++;
    while (*href && *href != '#' && k + 1 < NAME_MAX_BYTES) {
        int is_start = k == 0 || out[k - 1] == '/';
        if (is_start && strncmp(href, "./", 2) == 0) {
            href += 2;
        } else if (is_start && strncmp(href, "../", 3) == 0) {
            href += 3;
            if (k > 0) k--;
            while (k > 0 && out[k - 1] != '/') k--;
        } else if (*href == '%' && hex(href[1]) >= 0 && hex(href[2]) >= 0) {
            out[k++] = (char)(16 * hex(href[1]) + hex(href[2]));
            href += 3;
        } else {
            out[k++] = *href++;
        }
    }
    out[k] = '\0';
}

/* ---- a page ---------------------------------------------------------------
 */

enum role { ROLE_INLINE, ROLE_SKIP, ROLE_BLOCK, ROLE_ITEM };

static enum role role_of(const char *name)
{
    static const char skipped[] =
        " head script style nav template noscript iframe object audio video "
        "canvas select textarea button svg math rt rp ";
    static const char blocks[] =
        " body p div section article aside header footer main address "
        "blockquote figure figcaption caption details summary form fieldset "
        "dl dt dd table thead tbody tfoot hr center h1 h2 h3 h4 h5 h6 ul ol "
        "pre ";
    char padded[24] = " ";
    size_t n = strlen(name);
    if (n + 3 > sizeof padded) return ROLE_INLINE;
    memcpy(padded + 1, name, n);
    memcpy(padded + 1 + n, " ", 2);
    if (strcmp(name, "li") == 0) return ROLE_ITEM;
    if (strstr(skipped, padded)) return ROLE_SKIP;
    return strstr(blocks, padded) ? ROLE_BLOCK : ROLE_INLINE;
}

static unsigned heading_level(const char *name)
{
    return name[0] == 'h' && name[1] >= '1' && name[1] <= '6' && !name[2]
               ? (unsigned)(name[1] - '0')
               : 0;
}

static int is_list(const char *name)
{
    return strcmp(name, "ul") == 0 || strcmp(name, "ol") == 0;
}

/* A block of a row ends; outside of rows any block does. */
static void break_block(struct epub *x)
{
    if (x->row.depth && !x->heading)
        package_row_break(x->b, &x->row);
    else
        builder_close(x->b);
}

static void add(struct epub *x, const char *text, size_t n)
{
    package_text(x->b, &x->row,
                 x->heading ? BLOCK_HEADING
                 : x->pre   ? BLOCK_CODE
                 : x->list  ? BLOCK_ITEM
                            : BLOCK_PARAGRAPH,
                 x->heading ? x->heading
                 : x->pre   ? 0
                            : x->list,
                 text, n);
}

static enum tacit_err on_start(void *ctx, struct xml_name name,
                               const char **atts)
{
    struct epub *x = ctx;
    const char *n = name.local;
    (void)atts;
    enum role role = x->skip ? ROLE_SKIP : role_of(n);
    if (role == ROLE_SKIP) {
        x->skip++;
        return TACIT_OK;
    }
    if (strcmp(n, "br") == 0) add(x, " ", 1);
    if (strcmp(n, "tr") == 0) package_row_open(x->b, &x->row);
    if (strcmp(n, "td") == 0 || strcmp(n, "th") == 0)
        package_row_cell(x->b, &x->row);
    if (role == ROLE_INLINE) return x->b->err;
    unsigned level = heading_level(n);
    if (level && x->row.depth) builder_close(x->b);
    if (!x->heading) break_block(x);
    if (level) x->heading = level;
    x->list += (unsigned)is_list(n);
    x->pre += strcmp(n, "pre") == 0;
    if (strcmp(n, "body") == 0) x->in_body = 1;
    return x->b->err;
}

static void end_heading(struct epub *x)
{
    const struct document *d = x->b->d;
    size_t n_blocks = d->n_blocks;
    builder_close(x->b);
    if (d->n_blocks > n_blocks && x->heading == 1 && !x->has_title) {
        const struct block *h = &d->blocks[d->n_blocks - 1];
        document_set_title(x->b->d, (const char *)d->text.data + h->text_first,
                           h->text_end - h->text_first);
        x->has_title = 1;
    }
    x->heading = 0;
}

static enum tacit_err on_end(void *ctx, struct xml_name name)
{
    struct epub *x = ctx;
    const char *n = name.local;
    if (x->skip) {
        x->skip--;
        return TACIT_OK;
    }
    if (strcmp(n, "tr") == 0) package_row_close(x->b, &x->row);
    if (role_of(n) == ROLE_INLINE) return x->b->err;
    if (heading_level(n) && x->heading)
        end_heading(x);
    else if (!x->heading)
        break_block(x);
    if (is_list(n) && x->list) x->list--;
    if (strcmp(n, "pre") == 0 && x->pre) x->pre--;
    return x->b->err;
}

static enum tacit_err on_text(void *ctx, const char *text, size_t n)
{
    struct epub *x = ctx;
    if (!x->skip && x->in_body) add(x, text, n);
    return x->b->err;
}

static void reset_page(struct epub *x)
{
    builder_close(x->b);
    x->row = (struct package_row){0};
    x->skip = x->list = x->pre = x->heading = 0;
    x->in_body = 0;
}

/* Whether a page that is no XML may still be HTML. */
static int may_be_html(const struct buf *page)
{
    const char *s = (const char *)page->data;
    return page->len && utf8_find_bad(s, page->len) == page->len &&
           (memmem(s, page->len, "<body", 5) || memmem(s, page->len, "<p", 2));
}

static int read_as_html(struct epub *x, const struct buf *page)
{
    size_t first = 0, end = 0;
    if (!may_be_html(page) ||
        !builder_make(x->b, page->data, page->len, &first, &end))
        return 0;
    document_html_part(x->b, first, end);
    return 1;
}

static enum tacit_err read_page(struct epub *x, struct archive *a,
                                const char *name)
{
    static const struct xml_events events = {on_start, on_end, on_text};
    struct buf page;
    buf_init(&page, ZIP_PART_MAX);
    reset_page(x);
    const struct builder_mark before = builder_mark(x->b);
    enum tacit_err err = archive_read(a, name, &page);
    if (!err) err = xml_read(name, page.data, page.len, &events, x);
    if (err_id() == E_DOCUMENT_DAMAGED && !x->b->err) {
        err_clear();
        reset_page(x);
        /* What a broken page gave before it broke gives way to the whole. */
        const struct builder_mark broken = builder_mark(x->b);
        if (broken.n_blocks == before.n_blocks || may_be_html(&page))
            builder_back(x->b, before);
        x->n_bad += !read_as_html(x, &page);
        err = x->b->err;
    }
    buf_release(&page);
    return err;
}

static enum tacit_err read_pages(struct epub *x, struct archive *a)
{
    for (size_t i = 0; i < x->n_spine && !x->b->is_full; i++) {
        char name[NAME_MAX_BYTES];
        resolve(x, x->items[x->spine[i]].href, name);
        TRY(read_page(x, a, name));
    }
    reset_page(x);
    int is_empty = x->b->d->n_blocks == 0;
    if (is_empty && x->n_bad && archive_has(a, "META-INF/encryption.xml"))
        return fail_as(E_DOCUMENT_ENCRYPTED,
                       "an e-book with copy protection, which cannot be read");
    if (is_empty && x->n_bad)
        return fail_as(E_DOCUMENT_DAMAGED,
                       "an e-book of which no page can be read; missing or "
                       "damaged are %zu",
                       x->n_spine);
    if (x->n_bad)
        builder_note(x->b, "%zu of %zu pages are missing or damaged", x->n_bad,
                     x->n_spine);
    return builder_end(x->b);
}

static enum tacit_err read_book(struct epub *x, struct archive *a)
{
    static const struct xml_events container = {container_start, nothing, NULL};
    static const struct xml_events package = {package_start, nothing, NULL};
    x->items = calloc(ITEMS_MAX, sizeof *x->items);
    x->spine = calloc(ITEMS_MAX, sizeof *x->spine);
    if (!x->items || !x->spine) return fail(TACIT_NOMEM, "out of memory");
    TRY(package_xml(a, "META-INF/container.xml", &container, x));
    if (!x->package[0])
        return fail_as(E_DOCUMENT_DAMAGED, "an e-book that names no package");
    TRY(package_title(x->b, a, x->package, &x->has_title));
    TRY(package_xml(a, x->package, &package, x));
    if (x->n_spine == 0)
        return fail_as(E_DOCUMENT_DAMAGED, "an e-book that lists no pages");
    return read_pages(x, a);
}

static enum tacit_err read_epub(struct builder *b, size_t first, size_t end)
{
    struct archive *a = NULL;
    struct epub x = {.b = b};
    (void)first, (void)end;
    TRY(archive_open(b->d->handle, &a));
    enum tacit_err err = read_book(&x, a);
    free(x.items);
    free(x.spine);
    archive_close(a);
    return err;
}

const struct document_reader document_epub = {
    .kind = "epub",
    .endings = " epub ",
    .input = INPUT_HANDLE,
    .read = read_epub,
};
