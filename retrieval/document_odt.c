/*
 * ODT (OpenDocument 1.3): a container whose part content.xml holds the text.
 *
 *   text:h (outline-level)   a heading        text:list   items, by depth
 *   text:p                   a paragraph      table:table-row   a row
 *
 * Notes stand behind the paragraph that they belong to. Deleted text, comments
 * and tables of contents are not read. An encrypted document says so in its
 * manifest: its parts look like damaged ones otherwise.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/document_package.h"

enum { NOTE_BYTES_MAX = 1 << 16, BLANKS_MAX = 64 };

static const char text_space[] = "opendocument:xmlns:text:";
static const char table_space[] = "opendocument:xmlns:table:";

struct odt {
    struct builder *b;
    struct package_row row;
    unsigned skip, list, heading; /* depths; level */
    unsigned n_open;              /* paragraphs within paragraphs */
    int has_title, is_title, in_note;
    struct buf note; /* of the open paragraph */
    int is_encrypted;
};

static void add(struct odt *x, const char *text, size_t n)
{
    if (x->in_note) {
        buf_put(&x->note, text, n);
        return;
    }
    if (x->n_open == 0) return;
    package_text(x->b, &x->row,
                 x->heading ? BLOCK_HEADING
                 : x->list  ? BLOCK_ITEM
                            : BLOCK_PARAGRAPH,
                 x->heading ? x->heading : x->list, text, n);
}

static int is_skipped(struct xml_name name)
{
    static const char *const names[] = {
        "tracked-changes",    "table-of-content", "note-citation",
        "alphabetical-index", "ruby-text",        "sequence-decls",
    };
    if (strcmp(name.local, "annotation") == 0 ||
        strcmp(name.local, "forms") == 0)
        return 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (xml_is(name, text_space, names[i])) return 1;
    return 0;
}

static void begin_paragraph(struct odt *x, struct xml_name name,
                            const char **atts)
{
    if (x->in_note) {
        add(x, " ", 1);
        return;
    }
    if (x->n_open++ > 0 || x->row.depth == 0) builder_close(x->b);
    const char *level = xml_attribute(atts, "outline-level");
    const char *style = xml_attribute(atts, "style-name");
    x->is_title = style && strcmp(style, "Title") == 0;
    x->heading = 0;
    if (strcmp(name.local, "h") == 0) {
        unsigned long n = level ? strtoul(level, NULL, 10) : 1;
        x->heading = n < 1 ? 1 : n > 6 ? 6 : (unsigned)n;
    } else if (x->is_title) {
        x->heading = 1;
    }
}

static void end_paragraph(struct odt *x)
{
    struct builder *b = x->b;
    const struct document *d = b->d;
    if (x->in_note || x->n_open == 0) return;
    x->n_open--;
    size_t n_blocks = d->n_blocks;
    unsigned heading = x->heading;
    if (x->row.depth && heading) builder_close(b);
    package_row_break(b, &x->row);
    x->heading = 0;
    if (d->n_blocks > n_blocks && !x->has_title && heading == 1) {
        const struct block *h = &d->blocks[d->n_blocks - 1];
        document_set_title(b->d, (const char *)d->text.data + h->text_first,
                           h->text_end - h->text_first);
        x->has_title = 1;
    }
    if (x->note.len && x->row.depth == 0) {
        builder_open(b, BLOCK_PARAGRAPH, 0);
        builder_add(b, (const char *)x->note.data, x->note.len);
        builder_close(b);
        buf_clear(&x->note);
    }
}

static void add_blanks(struct odt *x)
{
    add(x, " ", 1); /* however many: a run of blanks is one */
}

static enum tacit_err on_start(void *ctx, struct xml_name name,
                               const char **atts)
{
    struct odt *x = ctx;
    const char *n = name.local;
    if (x->skip || is_skipped(name)) {
        x->skip++;
        return TACIT_OK;
    }
    if (strstr(name.space, table_space)) {
        if (strcmp(n, "table-row") == 0) package_row_open(x->b, &x->row);
        if (strcmp(n, "table-cell") == 0) package_row_cell(x->b, &x->row);
    }
    if (!strstr(name.space, text_space)) return x->b->err;
    if (strcmp(n, "p") == 0 || strcmp(n, "h") == 0)
        begin_paragraph(x, name, atts);
    else if (strcmp(n, "list") == 0)
        x->list++;
    else if (strcmp(n, "note") == 0)
        x->in_note = 1;
    else if (strcmp(n, "s") == 0 || strcmp(n, "tab") == 0 ||
             strcmp(n, "line-break") == 0)
        add_blanks(x);
    return x->b->err;
}

static enum tacit_err on_end(void *ctx, struct xml_name name)
{
    struct odt *x = ctx;
    const char *n = name.local;
    if (x->skip) {
        x->skip--;
        return TACIT_OK;
    }
    if (xml_is(name, table_space, "table-row"))
        package_row_close(x->b, &x->row);
    if (!strstr(name.space, text_space)) return x->b->err;
    if (strcmp(n, "p") == 0 || strcmp(n, "h") == 0)
        end_paragraph(x);
    else if (strcmp(n, "list") == 0 && x->list > 0)
        x->list--;
    else if (strcmp(n, "note") == 0)
        x->in_note = 0;
    return x->b->err;
}

static enum tacit_err on_text(void *ctx, const char *text, size_t n)
{
    struct odt *x = ctx;
    if (!x->skip) add(x, text, n);
    return x->b->err;
}

static enum tacit_err manifest_start(void *ctx, struct xml_name name,
                                     const char **atts)
{
    struct odt *x = ctx;
    (void)atts;
    x->is_encrypted |= strcmp(name.local, "encryption-data") == 0;
    return TACIT_OK;
}

static enum tacit_err nothing(void *ctx, struct xml_name name)
{
    (void)ctx, (void)name;
    return TACIT_OK;
}

static enum tacit_err read_parts(struct odt *x, struct archive *a)
{
    static const struct xml_events manifest = {manifest_start, nothing, NULL};
    static const struct xml_events text = {on_start, on_end, on_text};
    TRY(package_xml_optional(x->b, a, "META-INF/manifest.xml", &manifest, x));
    if (x->is_encrypted)
        return fail_as(E_DOCUMENT_ENCRYPTED,
                       "an encrypted document; open it and save a copy "
                       "without a password");
    TRY(package_title(x->b, a, "meta.xml", &x->has_title));
    TRY(package_xml(a, "content.xml", &text, x));
    /* Notes of a last table. */
    if (x->note.len) builder_add(x->b, (const char *)x->note.data, x->note.len);
    return builder_end(x->b);
}

static enum tacit_err read_odt(struct builder *b, size_t first, size_t end)
{
    struct archive *a = NULL;
    struct odt x = {.b = b};
    (void)first, (void)end;
    buf_init(&x.note, NOTE_BYTES_MAX);
    TRY(archive_open(b->d->handle, &a));
    enum tacit_err err = read_parts(&x, a);
    archive_close(a);
    buf_release(&x.note);
    return err;
}

const struct document_reader document_odt = {
    .kind = "odt",
    .endings = " odt ott ",
    .input = INPUT_HANDLE,
    .read = read_odt,
};
