#include "retrieval/document_package.h"

#include <string.h>

#include "common/base/codes.h"

enum tacit_err package_xml(struct archive *a, const char *name,
                           const struct xml_events *events, void *ctx)
{
    struct buf part;
    buf_init(&part, ZIP_PART_MAX);
    enum tacit_err err = archive_read(a, name, &part);
    if (!err) err = xml_read(name, part.data, part.len, events, ctx);
    buf_release(&part);
    return err;
}

enum tacit_err package_xml_optional(struct builder *b, struct archive *a,
                                    const char *name,
                                    const struct xml_events *events, void *ctx)
{
    if (!archive_has(a, name)) return TACIT_OK;
    enum tacit_err err = package_xml(a, name, events, ctx);
    if (!err || err == TACIT_NOMEM || b->err) return err;
    err_clear();
    builder_note(b, "the part %.80s is damaged and was not read", name);
    return TACIT_OK;
}

/* ---- the title ------------------------------------------------------------
 */

struct titling {
    struct builder *b;
    int in_title, is_done;
    char text[DOCUMENT_TITLE_MAX];
    size_t n;
};

static enum tacit_err title_start(void *ctx, struct xml_name name,
                                  const char **atts)
{
    struct titling *t = ctx;
    (void)atts;
    if (!t->is_done && xml_is(name, "purl.org/dc/", "title")) t->in_title = 1;
    return TACIT_OK;
}

static enum tacit_err title_end(void *ctx, struct xml_name name)
{
    struct titling *t = ctx;
    if (t->in_title && strcmp(name.local, "title") == 0) {
        t->is_done = t->n > 0;
        t->in_title = 0;
    }
    return TACIT_OK;
}

static enum tacit_err title_text(void *ctx, const char *text, size_t n)
{
    struct titling *t = ctx;
    if (!t->in_title || n > sizeof t->text - t->n) return TACIT_OK;
    memcpy(t->text + t->n, text, n);
    t->n += n;
    return TACIT_OK;
}

enum tacit_err package_title(struct builder *b, struct archive *a,
                             const char *name, int *has_title)
{
    static const struct xml_events events = {title_start, title_end,
                                             title_text};
    struct titling t = {.b = b};
    TRY(package_xml_optional(b, a, name, &events, &t));
    if (t.is_done) document_set_title(b->d, t.text, t.n);
    *has_title = t.is_done;
    return TACIT_OK;
}

/* ---- rows -----------------------------------------------------------------
 */

void package_row_open(struct builder *b, struct package_row *r)
{
    if (r->depth++ == 0) {
        builder_open(b, BLOCK_ROW, 0);
        r->cell_is_due = r->blank_is_due = r->lays_out = 0;
    }
}

void package_row_cell(struct builder *b, struct package_row *r)
{
    if (r->depth) r->cell_is_due = builder_length(b) > 0;
}

void package_row_break(struct builder *b, struct package_row *r)
{
    r->lays_out |= builder_length(b) > PACKAGE_ROW_BYTES;
    if (r->depth == 0 || r->lays_out) builder_close(b);
    r->blank_is_due = builder_length(b) > 0;
}

void package_row_close(struct builder *b, struct package_row *r)
{
    if (r->depth > 0) r->depth--;
    if (r->depth == 0) builder_close(b);
}

static int is_visible(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] > ' ') return 1;
    return 0;
}

void package_text(struct builder *b, struct package_row *r,
                  enum block_kind kind, unsigned level, const char *text,
                  size_t n)
{
    if (!b->is_open && !is_visible(text, n)) return;
    if (!b->is_open) builder_open(b, kind, level);
    if ((r->cell_is_due || r->blank_is_due) && is_visible(text, n)) {
        if (builder_length(b) > 0)
            builder_add(b, r->cell_is_due ? " | " : " ",
                        r->cell_is_due ? 3 : 1);
        r->cell_is_due = r->blank_is_due = 0;
    }
    builder_add(b, text, n);
}
