#include "common/base/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/utf8.h"
#include "common/base/yaml.h"

/* Cells are cut out in place: a cell never grows, so its NUL fits. */
struct cursor {
    const char *name;
    char *p, *end;
    uint32_t line;
    int row_ended;
    char separator;
};

static enum tacit_err syntax(const struct cursor *c, const char *what)
{
    return fail_as(E_CSV_SYNTAX, "%s:%u: %s", c->name, c->line, what);
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

static enum tacit_err take_quoted(struct cursor *c, const char **out)
{
    char *from = ++c->p, *to = from;
    uint32_t opened = c->line;
    for (;; c->p++) {
        if (c->p == c->end) {
            c->line = opened;
            return syntax(c, "a quote is not closed");
        }
        if (*c->p == '"' && (c->p + 1 == c->end || c->p[1] != '"')) break;
        if (*c->p == '"') c->p++;
        if (*c->p == '\n') c->line++;
        *to++ = *c->p;
    }
    c->p++;
    *to = '\0';
    *out = from;
    return TACIT_OK;
}

/* One cell; afterwards c->p stands behind its comma or line end. */
static enum tacit_err take_cell(struct cursor *c, const char **out)
{
    char *stop;
    if (c->p < c->end && *c->p == '"') {
        TRY(take_quoted(c, out));
        stop = NULL;
    } else {
        *out = c->p;
        while (c->p < c->end && *c->p != c->separator && *c->p != '\n') {
            if (*c->p == '"') return syntax(c, "a quote inside a bare value");
            c->p++;
        }
        stop = c->p;
        if (stop > *out && stop[-1] == '\r' && c->p < c->end && *c->p == '\n')
            stop--;
    }
    if (c->p < c->end && *c->p == c->separator) {
        c->p++;
        c->row_ended = 0;
    } else if (c->p == c->end || take_line_end(c)) {
        c->row_ended = 1;
    } else {
        return syntax(c, "text behind a closing quote");
    }
    if (stop) *stop = '\0';
    return TACIT_OK;
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
    const char *names[CSV_COLUMNS_MAX];
    size_t n = 0;
    do {
        if (n == CSV_COLUMNS_MAX)
            return fail_as(E_CSV_SYNTAX, "%s:1: more than %d columns", c->name,
                           CSV_COLUMNS_MAX);
        TRY(take_cell(c, &names[n]));
        n++;
    } while (!c->row_ended);
    const char **copy = NULL;
    TRY(arena_alloc(a, n, sizeof *copy, &copy));
    memcpy(copy, names, n * sizeof *copy);
    t->header = copy;
    t->n_columns = n;
    return TACIT_OK;
}

static enum tacit_err take_row(struct cursor *c, struct csv *t,
                               const char **cells)
{
    size_t n = 0;
    uint32_t line = c->line;
    do {
        if (n == t->n_columns) {
            c->line = line;
            return syntax(c, "more values than the header names");
        }
        TRY(take_cell(c, &cells[n]));
        n++;
    } while (!c->row_ended);
    if (n == t->n_columns) return TACIT_OK;
    return fail_as(E_CSV_SYNTAX, "%s:%u: %zu values; the header names %zu",
                   c->name, line, n, t->n_columns);
}

enum tacit_err csv_parse(const char *name, char *text, size_t n,
                         struct arena *a, struct csv *out)
{
    return csv_parse_by(name, text, n, ',', a, out);
}

enum tacit_err csv_parse_by(const char *name, char *text, size_t n,
                            char separator, struct arena *a, struct csv *out)
{
    struct cursor c = {name, text, text + n, 1, 0, separator};
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
    while (c.p < c.end) {
        if (take_line_end(&c)) continue; /* an empty line */
        line[t.n_rows] = c.line;
        TRY(take_row(&c, &t, cells + t.n_rows * t.n_columns));
        t.n_rows++;
    }
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
