/*
 * Tables: each row one block, its cells named by the header, so that a row can
 * be found and quoted without the rest.
 *
 *   drug,dose         ->  drug: Warfarin | dose: 5 mg
 *   Warfarin,5 mg
 *
 * CSV by common/base/csv.h; the mark between cells is a comma, a semicolon or
 * a tab, whichever the header has most of. A line of JSON is one object: its
 * members by their names, those of members as "a.b", lists with commas.
 * The text of a row stands for the row's bytes as a whole.
 *
 * A row that does not fit is left out, and the note lists it; a table without
 * one that does is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/codes.h"
#include "common/base/csv.h"
#include "common/base/json.h"
#include "common/base/plural.h"
#include "common/base/utf8.h"
#include "retrieval/document_builder.h"

enum {
    TABLE_MEMORY_MAX = 512 << 20,
    ROW_BYTES_MAX = 8 << 20,
    LINE_BYTES_MAX = 4 << 20, /* of JSON */
    MEMBERS_MAX = 4096,       /* of one line */
    NAME_BYTES_MAX = 256,
    NESTING_MAX = 16,
    LISTED_MAX = 3, /* rows that were left out */
    WHY_BYTES = 110
};
_Static_assert(LISTED_MAX *(WHY_BYTES + 2) + 48 < DOCUMENT_NOTE_MAX,
               "a note lists them");

static int is_visible(const char *s)
{
    return s[strspn(s, " \t\r\n\f\v")] != '\0';
}

/* A row that is being made, and those that were left out. */
struct row {
    struct builder *b;
    struct buf text;
    size_t n_members; /* of a line of JSON */
    size_t n_taken, n_left_out;
    char left_out[LISTED_MAX][WHY_BYTES]; /* the first of them */
};

static void row_init(struct row *r, struct builder *b)
{
    *r = (struct row){.b = b};
    buf_init(&r->text, ROW_BYTES_MAX);
}

static void leave_out(struct row *r, size_t line, const char *why)
{
    char clean[WHY_BYTES - 32];
    size_t i = r->n_left_out++;
    if (i >= LISTED_MAX) return;
    utf8_printable(clean, sizeof clean, why);
    snprintf(r->left_out[i], WHY_BYTES, "line %zu: %s", line, clean);
}

static void leave_out_cells(void *ctx, uint32_t line, const char *why)
{
    leave_out(ctx, line, why);
}

/* All rows were read: say which were left out. None that fits is no table. */
static enum tacit_err end_rows(struct row *r)
{
    char list[LISTED_MAX * (WHY_BYTES + 2)] = "";
    size_t used = 0;
    buf_release(&r->text);
    if (r->n_left_out && !r->n_taken && !r->b->err)
        return fail_as(E_DOCUMENT_DAMAGED, "%s", r->left_out[0]);
    for (size_t i = 0; i < r->n_left_out && i < LISTED_MAX; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                 i ? "; " : "", r->left_out[i]);
    if (r->n_left_out)
        builder_note(r->b, "%zu row%s left out: %s%s", r->n_left_out,
                     plural_s(r->n_left_out), list,
                     r->n_left_out > LISTED_MAX ? "; …" : "");
    return builder_end(r->b);
}

static void put(struct row *r, const char *s)
{
    buf_put(&r->text, s, strlen(s));
}

/* "name: " and what parts it from the cell before. */
static void put_label(struct row *r, const char *name)
{
    if (r->text.len) put(r, " | ");
    if (!is_visible(name)) return;
    put(r, name);
    put(r, ": ");
}

/* The row as a block that stands for source [first, end). */
static void hand_over(struct row *r, size_t line, size_t first, size_t end)
{
    if (r->text.err) {
        leave_out(r, line, "the row is over 8 MiB");
    } else if (r->text.len) {
        r->n_taken++;
        builder_open(r->b, BLOCK_ROW, 0);
        builder_piece(r->b, (const char *)r->text.data, r->text.len, first,
                      end - first);
        builder_close(r->b);
    }
    buf_clear(&r->text);
}

/* ---- CSV ------------------------------------------------------------------
 */

/* The mark that the first line, quotes aside, has most of. */
static char find_separator(const char *s, size_t n)
{
    static const char marks[] = ",;\t";
    size_t count[3] = {0};
    int quoted = 0, best = 0;
    for (size_t i = 0; i < n && (quoted || s[i] != '\n'); i++) {
        const char *m = s[i] ? strchr(marks, s[i]) : NULL;
        if (s[i] == '"') quoted = !quoted;
        if (m && !quoted) count[m - marks]++;
    }
    for (int i = 1; i < 3; i++)
        if (count[i] > count[best]) best = i;
    return marks[best];
}

/* Where a cell, whose text was cut out of the copy at the source's own offset,
 * ends in the source, its quotes counted. */
static size_t cell_end(const char *source, const char *cell, size_t at)
{
    size_t len = 0;
    for (size_t i = 0; cell[i]; i++) /* "" is one quote */
        len += source[at + len] == '"' && cell[i] == '"' ? 2 : 1;
    return at + len;
}

/* A table, and the copy of source [offset, …) that its cells were cut out of.
 */
struct sheet {
    struct csv t;
    const char *copy;
    size_t offset;
};

/* Hand over a row of cells; without a header the cells alone. */
static void add_cells(struct row *r, const struct sheet *s,
                      const char *const *header, const char *const *cells,
                      size_t line)
{
    const struct document *d = r->b->d;
    const char *source = (const char *)d->source.data;
    size_t n = s->t.n_columns;
    size_t first = s->offset + (size_t)(cells[0] - s->copy);
    size_t end = cell_end(source, cells[n - 1],
                          s->offset + (size_t)(cells[n - 1] - s->copy));
    if (first > s->offset && source[first - 1] == '"') first--;
    if (end < d->source.len && source[end] == '"') end++;
    for (size_t c = 0; c < n; c++) {
        if (!is_visible(cells[c])) continue;
        put_label(r, header ? header[c] : "");
        put(r, cells[c]);
    }
    if (end > first) hand_over(r, line, first, end);
}

static void add_rows(struct row *r, const struct sheet *s)
{
    const struct csv *t = &s->t;
    for (size_t i = 0; i < t->n_rows && !r->b->err; i++)
        add_cells(r, s, t->header, t->cells + i * t->n_columns, t->line[i]);
    if (t->n_rows == 0 && !r->n_left_out) /* a header alone is text */
        add_cells(r, s, NULL, t->header, 1);
}

/* The parser's own message, under a document's code. */
static enum tacit_err refuse_table(enum tacit_err err)
{
    char why[512];
    if (err == TACIT_NOMEM) return err;
    snprintf(why, sizeof why, "%s", err_message());
    err_clear();
    return err == TACIT_LIMIT ? fail_as(E_DOCUMENT_TOO_LARGE, "%s", why)
                              : fail_as(E_DOCUMENT_DAMAGED, "%s", why);
}

static enum tacit_err read_csv(struct builder *b, size_t first, size_t end)
{
    const char *source = (const char *)b->d->source.data;
    char *copy = NULL;
    struct arena a;
    struct row r;
    struct sheet s = {.offset = first};
    const struct csv_how how = {.separator =
                                    find_separator(source + first, end - first),
                                .left_out = leave_out_cells,
                                .ctx = &r};
    arena_init(&a, TABLE_MEMORY_MAX);
    row_init(&r, b);
    enum tacit_err err = arena_alloc_raw(&a, end - first + 1, 1, &copy);
    if (!err) {
        s.copy = memcpy(copy, source + first, end - first);
        err = csv_parse_by("table", copy, end - first, &how, &a, &s.t);
    }
    if (err) {
        buf_release(&r.text);
        err = refuse_table(err);
    } else {
        add_rows(&r, &s);
        err = end_rows(&r);
    }
    arena_release(&a);
    return err;
}

const struct document_reader document_csv = {
    .kind = "csv",
    .endings = " csv tsv ",
    .input = INPUT_TEXT,
    .read = read_csv,
};

/* ---- lines of JSON --------------------------------------------------------
 */

/* Value of a member that is neither object nor list. */
static void put_value(struct row *r, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        buf_put(&r->text, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        buf_printf(&r->text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL: buf_printf(&r->text, "%.15g", json_real_value(v)); break;
    case JSON_TRUE: put(r, "yes"); break;
    case JSON_FALSE: put(r, "no"); break;
    default: break;
    }
}

static int is_shown(const json_t *v)
{
    return !json_is_null(v) &&
           (!json_is_string(v) || is_visible(json_string_value(v)));
}

static void put_member(struct row *r, const char *name, json_t *v,
                       unsigned depth);

/* A list of plain values is one cell; one of objects is many. */
static void put_list(struct row *r, const char *name, json_t *list,
                     unsigned depth)
{
    size_t i;
    json_t *v;
    int n_plain = 0;
    json_array_foreach(list, i, v)
    {
        if (json_is_object(v) || json_is_array(v)) {
            put_member(r, name, v, depth + 1);
            n_plain = 0;
            continue;
        }
        if (!is_shown(v) || ++r->n_members > MEMBERS_MAX) continue;
        if (n_plain++ == 0)
            put_label(r, name);
        else
            put(r, ", ");
        put_value(r, v);
    }
}

/* Recursion stops at NESTING_MAX. */
static void put_member(struct row *r, const char *name, json_t *v,
                       unsigned depth)
{
    const char *key;
    json_t *member;
    if (depth > NESTING_MAX || ++r->n_members > MEMBERS_MAX) return;
    if (json_is_array(v)) {
        put_list(r, name, v, depth);
    } else if (json_is_object(v)) {
        json_object_foreach(v, key, member)
        {
            char whole[NAME_BYTES_MAX];
            snprintf(whole, sizeof whole, "%s%s%s", name, *name ? "." : "",
                     key);
            put_member(r, whole, member, depth + 1);
        }
    } else if (is_shown(v)) {
        put_label(r, name);
        put_value(r, v);
    }
}

static enum tacit_err read_line(struct row *r, size_t at, size_t len,
                                size_t number)
{
    const char *s = (const char *)r->b->d->source.data + at;
    json_t *value = NULL;
    if (len > LINE_BYTES_MAX) {
        leave_out(r, number, "the line is over 4 MiB");
        return TACIT_OK;
    }
    enum tacit_err err = json_parse(s, len, &value);
    if (err == TACIT_NOMEM) return err;
    if (err) {
        /* The parser counts the lines of what it was given: of this one. */
        const char *why = strstr(err_message(), "column ");
        leave_out(r, number, why ? why : err_message());
        err_clear();
        return TACIT_OK;
    }
    r->n_members = 0;
    put_member(r, "", value, 0);
    json_decref(value);
    hand_over(r, number, at, at + len);
    if (r->n_members > MEMBERS_MAX)
        builder_note(r->b,
                     "line %zu has more than %d members; the rest was not read",
                     number, MEMBERS_MAX);
    return r->b->err;
}

static enum tacit_err read_jsonl(struct builder *b, size_t first, size_t end)
{
    const char *s = (const char *)b->d->source.data;
    enum tacit_err err = TACIT_OK;
    struct row r;
    size_t number = 1;
    row_init(&r, b);
    for (size_t at = first; !err && at < end; number++) {
        const char *nl = memchr(s + at, '\n', end - at);
        size_t stop = nl ? (size_t)(nl - s) : end, from = at, to = stop;
        while (from < to && strchr(" \t\r", s[from])) from++;
        while (to > from && strchr(" \t\r", s[to - 1])) to--;
        if (to > from) err = read_line(&r, from, to - from, number);
        at = stop + 1;
    }
    enum tacit_err late = end_rows(&r);
    return err ? err : late;
}

const struct document_reader document_jsonl = {
    .kind = "jsonl",
    .endings = " jsonl ndjson ",
    .input = INPUT_TEXT,
    .read = read_jsonl,
};
