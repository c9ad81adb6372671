/*
 * DOCX (ECMA-376, WordprocessingML): a container whose main part holds
 * paragraphs of runs.
 *
 *   w:body ─ w:p ─ w:pPr: style, outline level, list ── what the block is
 *          │      └ w:r ─ w:t text, w:tab, w:br
 *          └ w:tbl ─ w:tr ─ w:tc ─ w:p …                a row
 *
 * A heading is a paragraph whose style, or one that it is based on, has an
 * outline level or the name of a heading. Word names its own styles alike in
 * every language, and gives them ids of that language; other programs may do it
 * the other way, or leave styles out: an id counts where no style says more.
 * Deleted text, comments, headers, footers and tables of contents are not read;
 * footnotes stand at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/document_package.h"

enum {
    STYLES_MAX = 2048,
    STYLE_NAME_MAX = 64,
    BASES_MAX = 16, /* styles that one is based on */
    LEVELS = 9,     /* of the outline; the tenth is text */
    PATH_MAX_BYTES = 256
};

static const char word[] = "wordprocessingml";

struct style {
    char id[STYLE_NAME_MAX], base[STYLE_NAME_MAX];
    unsigned level; /* 1 … LEVELS; 0 = says nothing */
    int is_text;    /* says: no heading */
    int is_title, is_contents, is_list;
};

struct docx {
    struct builder *b;
    struct style *styles; /* [STYLES_MAX] */
    size_t n_styles;
    struct style *open; /* while styles are read */
    struct package_row row;
    unsigned skip; /* depth within an element that is not read */
    int in_text, in_properties, has_title;
    /* Of the open paragraph. */
    int is_title, is_contents;
    unsigned heading, list; /* levels; 0 = none */
};

static unsigned number(const char *s)
{
    unsigned long n = s ? strtoul(s, NULL, 10) : 0;
    return n > 1000 ? 1000 : (unsigned)n;
}

static int begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* ---- styles ---------------------------------------------------------------
 */

static void copy_name(char out[STYLE_NAME_MAX], const char *s)
{
    size_t n = s ? strnlen(s, STYLE_NAME_MAX) : 0;
    if (n == STYLE_NAME_MAX) n = 0; /* no style of ours */
    if (n) memcpy(out, s, n);
    out[n] = '\0';
}

static void name_style(struct style *s, const char *name)
{
    char lower[STYLE_NAME_MAX];
    copy_name(lower, name);
    for (char *p = lower; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
    if (begins(lower, "heading ") && !s->level) s->level = number(lower + 8);
    if (s->level > LEVELS) s->level = 0;
    s->is_title = strcmp(lower, "title") == 0;
    s->is_contents = begins(lower, "toc ");
    s->is_list = begins(lower, "list ") && strcmp(lower, "list paragraph") != 0;
}

static void take_level(unsigned *level, int *is_text, const char *value)
{
    unsigned n = number(value);
    *is_text = n >= LEVELS;
    *level = n < LEVELS ? n + 1 : 0;
}

static enum tacit_err style_start(void *ctx, struct xml_name name,
                                  const char **atts)
{
    struct docx *x = ctx;
    if (xml_is(name, word, "style") && x->n_styles < STYLES_MAX) {
        x->open = &x->styles[x->n_styles++];
        *x->open = (struct style){0};
        copy_name(x->open->id, xml_attribute(atts, "styleId"));
    }
    if (!x->open) return TACIT_OK;
    const char *value = xml_attribute(atts, "val");
    if (xml_is(name, word, "name"))
        name_style(x->open, value);
    else if (xml_is(name, word, "basedOn"))
        copy_name(x->open->base, value);
    else if (xml_is(name, word, "outlineLvl"))
        take_level(&x->open->level, &x->open->is_text, value);
    return TACIT_OK;
}

static enum tacit_err style_end(void *ctx, struct xml_name name)
{
    struct docx *x = ctx;
    if (xml_is(name, word, "style")) x->open = NULL;
    return TACIT_OK;
}

static const struct style *find_style(const struct docx *x, const char *id)
{
    for (size_t i = 0; i < x->n_styles; i++)
        if (x->styles[i].id[0] && strcmp(x->styles[i].id, id) == 0)
            return &x->styles[i];
    return NULL;
}

/* What the id of a built-in style says by itself. */
static struct style built_in(const char *id)
{
    struct style s = {0};
    size_t n = strlen(id);
    int digit = n && id[n - 1] >= '1' && id[n - 1] <= '9' ? id[n - 1] - '0' : 0;
    s.is_title = strcmp(id, "Title") == 0;
    s.is_contents =
        strcmp(id, "TOCHeading") == 0 || (digit && n == 4 && begins(id, "TOC"));
    if (digit && n == 8 && begins(id, "Heading")) s.level = (unsigned)digit;
    return s;
}

static int says_kind(const struct style *s)
{
    return s->level || s->is_text || s->is_title || s->is_contents ||
           s->is_list;
}

static void take_style(struct docx *x, const struct style *s)
{
    x->is_title |= s->is_title;
    x->is_contents |= s->is_contents;
    if (s->is_list && !x->list) x->list = 1;
    if (s->level && !x->heading) x->heading = s->level;
}

/* What a paragraph of that style is, unless it says otherwise. */
static void apply_style(struct docx *x, const char *id)
{
    struct style by_id = {0};
    int is_said = 0;
    for (int i = 0; id && *id && i < BASES_MAX; i++) {
        const struct style *s = find_style(x, id);
        if (!says_kind(&by_id)) by_id = built_in(id);
        if (!s) break;
        take_style(x, s);
        is_said |= says_kind(s);
        if (s->level || s->is_text) break;
        id = s->base;
    }
    if (!is_said) take_style(x, &by_id);
    if (x->is_title && !x->heading) x->heading = 1;
}

/* ---- text -----------------------------------------------------------------
 */

static void add(struct docx *x, const char *text, size_t n)
{
    enum block_kind kind = x->heading ? BLOCK_HEADING
                           : x->list  ? BLOCK_ITEM
                                      : BLOCK_PARAGRAPH;
    unsigned level = x->heading ? x->heading : x->list;
    if (level > 6 && x->heading) level = 6;
    if (x->is_contents) return;
    package_text(x->b, &x->row, kind, level, text, n);
}

static void begin_paragraph(struct docx *x)
{
    if (x->row.depth == 0) builder_close(x->b);
    x->heading = x->list = 0;
    x->is_title = x->is_contents = 0;
}

static void end_paragraph(struct docx *x)
{
    const struct document *d = x->b->d;
    size_t n_blocks = d->n_blocks;
    if (x->row.depth && x->heading) builder_close(x->b);
    package_row_break(x->b, &x->row);
    if (d->n_blocks == n_blocks || x->has_title || x->heading != 1) return;
    const struct block *h = &d->blocks[d->n_blocks - 1];
    if (h->kind != BLOCK_HEADING) return;
    document_set_title(x->b->d, (const char *)d->text.data + h->text_first,
                       h->text_end - h->text_first);
    x->has_title = 1;
}

/* Elements whose text is no part of the document's. */
static int is_skipped(struct xml_name name, const char **atts)
{
    static const char *const names[] = {
        "del", "moveFrom", "instrText", "rt", "comment", "tblPrChange",
    };
    if (strcmp(name.local, "Fallback") == 0) return 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (xml_is(name, word, names[i])) return 1;
    /* The lines above the footnotes are footnotes, too. */
    const char *type =
        xml_is(name, word, "footnote") || xml_is(name, word, "endnote")
            ? xml_attribute(atts, "type")
            : NULL;
    return type && strcmp(type, "normal") != 0;
}

static void property(struct docx *x, struct xml_name name, const char **atts)
{
    const char *value = xml_attribute(atts, "val");
    int is_text = 0;
    if (xml_is(name, word, "pStyle")) {
        apply_style(x, value);
    } else if (xml_is(name, word, "outlineLvl")) {
        take_level(&x->heading, &is_text, value);
    } else if (xml_is(name, word, "ilvl")) {
        x->list = 1 + number(value) % LEVELS;
    } else if (xml_is(name, word, "numId")) {
        if (number(value) == 0)
            x->list = 0;
        else if (!x->list)
            x->list = 1;
    }
}

static enum tacit_err on_start(void *ctx, struct xml_name name,
                               const char **atts)
{
    struct docx *x = ctx;
    if (x->skip || is_skipped(name, atts)) {
        x->skip++;
        return TACIT_OK;
    }
    if (!strstr(name.space, word)) return x->b->err;
    if (x->in_properties) {
        property(x, name, atts);
        return TACIT_OK;
    }
    const char *n = name.local;
    if (strcmp(n, "p") == 0)
        begin_paragraph(x);
    else if (strcmp(n, "pPr") == 0)
        x->in_properties = 1;
    else if (strcmp(n, "t") == 0)
        x->in_text = 1;
    else if (strcmp(n, "tab") == 0 || strcmp(n, "br") == 0 ||
             strcmp(n, "cr") == 0)
        add(x, " ", 1);
    else if (strcmp(n, "noBreakHyphen") == 0)
        add(x, "-", 1);
    else if (strcmp(n, "tr") == 0)
        package_row_open(x->b, &x->row);
    else if (strcmp(n, "tc") == 0)
        package_row_cell(x->b, &x->row);
    return x->b->err;
}

static enum tacit_err on_end(void *ctx, struct xml_name name)
{
    struct docx *x = ctx;
    if (x->skip) {
        x->skip--;
        return TACIT_OK;
    }
    if (!strstr(name.space, word)) return TACIT_OK;
    if (strcmp(name.local, "p") == 0)
        end_paragraph(x);
    else if (strcmp(name.local, "pPr") == 0)
        x->in_properties = 0;
    else if (strcmp(name.local, "t") == 0)
        x->in_text = 0;
    else if (strcmp(name.local, "tr") == 0)
        package_row_close(x->b, &x->row);
    return x->b->err;
}

static enum tacit_err on_text(void *ctx, const char *text, size_t n)
{
    struct docx *x = ctx;
    if (x->in_text && !x->skip) add(x, text, n);
    return x->b->err;
}

/* ---- parts ----------------------------------------------------------------
 */

struct finding {
    char main[PATH_MAX_BYTES];
};

static enum tacit_err relation(void *ctx, struct xml_name name,
                               const char **atts)
{
    struct finding *f = ctx;
    const char *type = xml_attribute(atts, "Type");
    const char *to = xml_attribute(atts, "Target");
    if (strcmp(name.local, "Relationship") != 0 || !type || !to)
        return TACIT_OK;
    const char *kind = strrchr(type, '/');
    if (!kind || strcmp(kind, "/officeDocument") != 0) return TACIT_OK;
    if (*to == '/') to++;
    if (strlen(to) < sizeof f->main) memcpy(f->main, to, strlen(to) + 1);
    return TACIT_OK;
}

static enum tacit_err nothing(void *ctx, struct xml_name name)
{
    (void)ctx, (void)name;
    return TACIT_OK;
}

/* A part beside the main one, which lies in word/ nearly always. */
static void beside(const char *main, const char *name, char *out)
{
    const char *slash = strrchr(main, '/');
    size_t n = slash ? (size_t)(slash - main) + 1 : 0;
    memcpy(out, main, n);
    memcpy(out + n, name, strlen(name) + 1);
}

static enum tacit_err read_parts(struct docx *x, struct archive *a)
{
    static const struct xml_events find = {relation, nothing, NULL};
    static const struct xml_events styles = {style_start, style_end, NULL};
    static const struct xml_events text = {on_start, on_end, on_text};
    static const char *const notes[] = {"footnotes.xml", "endnotes.xml"};
    struct finding f = {"word/document.xml"};
    char part[PATH_MAX_BYTES + 16];
    TRY(package_xml_optional(x->b, a, "_rels/.rels", &find, &f));
    TRY(package_title(x->b, a, "docProps/core.xml", &x->has_title));
    beside(f.main, "styles.xml", part);
    TRY(package_xml_optional(x->b, a, part, &styles, x));
    TRY(package_xml(a, f.main, &text, x));
    for (size_t i = 0; i < 2; i++) {
        x->skip = 0;
        x->in_text = x->in_properties = 0;
        x->row = (struct package_row){0};
        builder_close(x->b);
        beside(f.main, notes[i], part);
        TRY(package_xml_optional(x->b, a, part, &text, x));
    }
    return builder_end(x->b);
}

static enum tacit_err read_docx(struct builder *b, size_t first, size_t end)
{
    struct archive *a = NULL;
    struct docx x = {.b = b};
    (void)first, (void)end;
    TRY(archive_open(b->d->handle, &a));
    x.styles = calloc(STYLES_MAX, sizeof *x.styles);
    enum tacit_err err =
        x.styles ? read_parts(&x, a) : fail(TACIT_NOMEM, "out of memory");
    free(x.styles);
    archive_close(a);
    return err;
}

const struct document_reader document_docx = {
    .kind = "docx",
    .endings = " docx docm dotx ",
    .input = INPUT_HANDLE,
    .read = read_docx,
};
