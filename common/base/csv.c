#include "common/base/csv.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"
#include "common/base/utf8.h"
#include "common/base/yaml.h"

struct cursor {
    const char *name;
    char *p, *end;
    uint32_t line;
    int row_ended;
    char separator;
    char why[80]; /* of the fault that was found last */
};

/* A cell as it stands in the text, without its quotes: [from, to). */
struct span {
    char *from, *to;
    int is_quoted;
};

static enum tacit_err syntax(struct cursor *c, uint32_t line, const char *fmt,
                             ...) __attribute__((format(printf, 3, 4)));
static enum tacit_err syntax(struct cursor *c, uint32_t line, const char *fmt,
                             ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, args);
    va_end(args);
    return fail_as(E_CSV_SYNTAX, "%s:%u: %s", c->name, line, c->why);
}

/* Step over a line end at c->p, if one is there. */
static int take_line_end(struct cursor *c)
{
    char *p = c->p;
    if (p < c->end && *p == '\r') p++;
    if (p < c->end && *p == '\n') {
        c->p = p + 1;
        c->line++;
        return 1;
    }
    return 0;
}

static enum tacit_err find_quoted(struct cursor *c, struct span *out)
{
    uint32_t opened = c->line;
    out->is_quoted = 1;
    out->from = ++c->p;
    for (;; c->p++) {
        if (c->p == c->end) return syntax(c, opened, "a quote is not closed");
        if (*c->p == '"' && (c->p + 1 == c->end || c->p[1] != '"')) break;
        if (*c->p == '"') c->p++;
        if (*c->p == '\n') c->line++;
    }
    out->to = c->p++;
    return TACIT_OK;
}

static enum tacit_err find_bare(struct cursor *c, struct span *out)
{
    out->is_quoted = 0;
    out->from = c->p;
    while (c->p < c->end && *c->p != c->separator && *c->p != '\n') {
        if (*c->p == '"')
            return syntax(c, c->line, "a quote inside a bare value");
        c->p++;
    }
    out->to = c->p;
    if (out->to > out->from && out->to[-1] == '\r' && c->p < c->end &&
        *c->p == '\n')
        out->to--;
    return TACIT_OK;
}

/* One cell; afterwards c->p stands behind its comma or line end. */
static enum tacit_err find_cell(struct cursor *c, struct span *out)
{
    if (c->p < c->end && *c->p == '"')
        TRY(find_quoted(c, out));
    else
        TRY(find_bare(c, out));
    if (c->p < c->end && *c->p == c->separator) {
        c->p++;
        return TACIT_OK;
    }
    if (c->p < c->end && !take_line_end(c))
        return syntax(c, c->line, "text behind a closing quote");
    c->row_ended = 1;
    return TACIT_OK;
}

/* The cells of a row, *n of them, of which the first `most` are told. Nothing
 * is changed, so that another row may begin within one that is no row. */
static enum tacit_err find_row(struct cursor *c, size_t most,
                               struct span out[CSV_COLUMNS_MAX], size_t *n)
{
    struct span rest;
    *n = 0;
    c->row_ended = 0;
    do {
        TRY(find_cell(c, *n < most ? &out[*n] : &rest));
        ++*n;
    } while (!c->row_ended);
    return TACIT_OK;
}

/* Cells are cut out in place: a cell never grows, so its NUL fits. */
static const char *cut(const struct span *s)
{
    char *to = s->from;
    if (!s->is_quoted) {
        *s->to = '\0';
        return s->from;
    }
    for (const char *p = s->from; p < s->to; p++) {
        if (*p == '"') p++; /* "" is one quote */
        *to++ = *p;
    }
    *to = '\0';
    return s->from;
}

/* Upper bound of rows, for one allocation. */
static size_t count_lines(const char *p, const char *end)
{
    size_t n = 1;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        n++;
        p++;
    }
    return n;
}

static enum tacit_err take_header(struct cursor *c, struct arena *a,
                                  struct csv *t)
{
    struct span cells[CSV_COLUMNS_MAX];
    const char **names = NULL;
    size_t n = 0;
    TRY(find_row(c, CSV_COLUMNS_MAX, cells, &n));
    if (n > CSV_COLUMNS_MAX)
        return syntax(c, 1, "more than %d columns", CSV_COLUMNS_MAX);
    TRY(arena_alloc(a, n, sizeof *names, &names));
    for (size_t i = 0; i < n; i++) names[i] = cut(&cells[i]);
    t->header = names;
    t->n_columns = n;
    return TACIT_OK;
}

static enum tacit_err take_row(struct cursor *c, const struct csv *t,
                               const char **out)
{
    struct span cells[CSV_COLUMNS_MAX];
    uint32_t line = c->line;
    size_t n = 0;
    TRY(find_row(c, t->n_columns, cells, &n));
    if (n > t->n_columns)
        return syntax(c, line, "more values than the header names");
    if (n < t->n_columns)
        return syntax(c, line, "%zu value%s; the header names %zu", n,
                      plural_s(n), t->n_columns);
    for (size_t i = 0; i < n; i++) out[i] = cut(&cells[i]);
    return TACIT_OK;
}

/* A row was refused that began there. Where its quotes do not fit nobody knows
 * its end: the next one may begin in the next line. */
static void go_on_behind(struct cursor *c, char *from, uint32_t line)
{
    if (c->row_ended) return;
    char *nl = memchr(from, '\n', (size_t)(c->end - from));
    c->p = nl ? nl + 1 : c->end;
    c->line = line + 1;
}

static enum tacit_err take_rows(struct cursor *c, const struct csv_how *how,
                                struct csv *t, const char **cells,
                                uint32_t *line)
{
    while (c->p < c->end) {
        if (take_line_end(c)) continue; /* an empty line */
        char *from = c->p;
        line[t->n_rows] = c->line;
        enum tacit_err err = take_row(c, t, cells + t->n_rows * t->n_columns);
        if (err && !how->left_out) return err;
        if (err) {
            err_clear();
            how->left_out(how->ctx, line[t->n_rows], c->why);
            go_on_behind(c, from, line[t->n_rows]);
        } else {
            t->n_rows++;
        }
    }
    return TACIT_OK;
}

enum tacit_err csv_parse(const char *name, char *text, size_t n,
                         struct arena *a, struct csv *out)
{
    return csv_parse_by(name, text, n, &(struct csv_how){.separator = ','}, a,
                        out);
}

enum tacit_err csv_parse_by(const char *name, char *text, size_t n,
                            const struct csv_how *how, struct arena *a,
                            struct csv *out)
{
    struct cursor c = {.name = name,
                       .p = text,
                       .end = text + n,
                       .line = 1,
                       .separator = how->separator};
    struct csv t = {.name = name};
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) c.p += 3;
    size_t bad = utf8_find_bad(text, n);
    if (c.p == c.end)
        return fail_as(E_CSV_SYNTAX, "%s: the file is empty", name);
    if (bad < n)
        return fail_as(E_CSV_SYNTAX,
                       "%s: byte %zu is not UTF-8 text; save the table as CSV "
                       "in UTF-8",
                       name, bad);
    TRY(take_header(&c, a, &t));
    size_t most = count_lines(c.p, c.end);
    if (most > CSV_ROWS_MAX)
        return fail(TACIT_LIMIT, "%s: over %d rows", name, CSV_ROWS_MAX);
    const char **cells = NULL;
    uint32_t *line = NULL;
    /* Every cell but the last ends in a byte of its own. */
    size_t most_cells = most * t.n_columns, left = (size_t)(c.end - c.p) + 1;
    if (most_cells > left) most_cells = left;
    TRY(arena_alloc(a, most_cells, sizeof *cells, &cells));
    TRY(arena_alloc(a, most, sizeof *line, &line));
    TRY(take_rows(&c, how, &t, cells, line));
    t.cells = cells;
    t.line = line;
    *out = t;
    return TACIT_OK;
}

enum tacit_err csv_load(const char *path, struct arena *a, struct csv *out)
{
    struct buf bytes;
    char *text = NULL;
    buf_init(&bytes, 0);
    enum tacit_err err = file_read(path, CSV_BYTES_MAX, &bytes);
    if (!err) err = buf_end(&bytes);
    /* One byte more, so that the last cell can be ended. */
    if (!err) err = arena_alloc(a, bytes.len + 1, 1, &text);
    if (!err && bytes.len) memcpy(text, bytes.data, bytes.len);
    if (!err) err = csv_parse(path, text, bytes.len, a, out);
    buf_release(&bytes);
    return err;
}

long csv_find(const struct csv *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->header[i], name) == 0) return (long)i;
    return -1;
}

const char *csv_names(const struct csv *t, char out[CSV_NAMES_BYTES])
{
    static const char rest[] = ", …";
    size_t room = CSV_NAMES_BYTES - sizeof rest, used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->n_columns; i++) {
        const char *comma = i ? ", " : "";
        if (used + strlen(comma) + strlen(t->header[i]) > room) {
            snprintf(out + used, CSV_NAMES_BYTES - used, "%s",
                     rest + (i ? 0 : 2));
            break;
        }
        used += (size_t)snprintf(out + used, CSV_NAMES_BYTES - used, "%s%s",
                                 comma, t->header[i]);
    }
    return out;
}

enum tacit_err csv_column(const struct csv *t, const char *name, size_t *out)
{
    long found = csv_find(t, name);
    for (size_t i = (size_t)(found + 1); found >= 0 && i < t->n_columns; i++)
        if (strcmp(t->header[i], name) == 0)
            return fail_as(E_CSV_COLUMN, "%s: column \"%s\" is there twice",
                           t->name, name);
    if (found >= 0) {
        *out = (size_t)found;
        return TACIT_OK;
    }
    const char *near = yaml_nearest(name, t->header, t->n_columns);
    char all[CSV_NAMES_BYTES];
    return fail_as(E_CSV_COLUMN, "%s: no column \"%s\"; %s%s%s has %s", t->name,
                   name, near ? "did you mean \"" : "", near ? near : "",
                   near ? "\"? It" : "it", csv_names(t, all));
}

enum tacit_err csv_number(const struct csv *t, size_t row, size_t col,
                          double *out, int *known)
{
    const char *s = csv_cell(t, row, col);
    s += strspn(s, " ");
    size_t n = strlen(s);
    while (n && s[n - 1] == ' ') n--;
    *known = !(n == 0 || (n == 1 && *s == '?'));
    if (!*known) {
        *out = 0;
        return TACIT_OK;
    }
    /* Decimal only: to strtod 0x1A is a number, too. */
    char *end = NULL;
    double v = strspn(s, "+-.0123456789eE") >= n ? strtod(s, &end) : 0;
    if (end != s + n || !isfinite(v))
        return fail_as(E_CSV_VALUE, "%s:%u: column \"%s\" holds no number",
                       t->name, t->line[row], t->header[col]);
    *out = v;
    return TACIT_OK;
}
