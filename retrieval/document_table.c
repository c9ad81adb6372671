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
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/codes.h"
#include "common/base/csv.h"
#include "common/base/json.h"
#include "retrieval/document_builder.h"

enum {
    TABLE_MEMORY_MAX = 512 << 20,
    LINE_BYTES_MAX = 4 << 20, /* of JSON */
    MEMBERS_MAX = 4096,       /* of one line */
    NAME_BYTES_MAX = 256,
    NESTING_MAX = 16
};

static int is_visible(const char *s)
{
    return s[strspn(s, " \t\r\n\f\v")] != '\0';
}

/* "name: " and what parts it from the cell before. */
static void add_label(struct builder *b, const char *name, size_t at)
{
    if (builder_length(b) > 0) builder_piece(b, " | ", 3, at, 0);
    if (!is_visible(name)) return;
    builder_piece(b, name, strlen(name), at, 0);
    builder_piece(b, ": ", 2, at, 0);
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

/* A cell, whose text was cut out of the copy at the source's own offset. */
static void add_cell(struct builder *b, const char *cell, size_t at)
{
    const char *source = (const char *)b->d->source.data + at;
    size_t n = strlen(cell), len = 0;
    for (size_t i = 0; i < n; i++) /* "" is one quote */
        len += source[len] == '"' && cell[i] == '"' ? 2 : 1;
    if (len == n)
        builder_source(b, at, n);
    else
        builder_piece(b, cell, n, at, len);
}

static void add_rows(struct builder *b, const struct csv *t, const char *copy,
                     size_t first)
{
    for (size_t r = 0; r < t->n_rows && !b->err; r++) {
        builder_open(b, BLOCK_ROW, 0);
        for (size_t c = 0; c < t->n_columns; c++) {
            const char *cell = csv_cell(t, r, c);
            size_t at = first + (size_t)(cell - copy);
            if (!is_visible(cell)) continue;
            add_label(b, t->header[c], at);
            add_cell(b, cell, at);
        }
        builder_close(b);
    }
}

/* A header alone is text. */
static void add_header(struct builder *b, const struct csv *t, const char *copy,
                       size_t first)
{
    builder_open(b, BLOCK_ROW, 0);
    for (size_t c = 0; c < t->n_columns; c++) {
        size_t at = first + (size_t)(t->header[c] - copy);
        if (!is_visible(t->header[c])) continue;
        if (builder_length(b) > 0) builder_piece(b, " | ", 3, at, 0);
        add_cell(b, t->header[c], at);
    }
    builder_close(b);
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
    struct csv t;
    arena_init(&a, TABLE_MEMORY_MAX);
    enum tacit_err err = arena_alloc_raw(&a, end - first + 1, 1, &copy);
    if (!err) {
        memcpy(copy, source + first, end - first);
        err = csv_parse_by("table", copy, end - first,
                           find_separator(source + first, end - first), &a, &t);
    }
    if (err) {
        err = refuse_table(err);
    } else {
        if (t.n_rows == 0)
            add_header(b, &t, copy, first);
        else
            add_rows(b, &t, copy, first);
        err = builder_end(b);
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

struct line {
    struct builder *b;
    size_t at, len; /* of the whole line in the source */
    size_t n_members;
};

/* Value of a member that is neither object nor list. */
static void add_value(struct line *l, const json_t *v)
{
    char number[64];
    const char *s = number;
    size_t n = 0;
    switch (json_typeof(v)) {
    case JSON_STRING:
        s = json_string_value(v);
        n = json_string_length(v);
        break;
    case JSON_INTEGER:
        n = (size_t)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
                             json_integer_value(v));
        break;
    case JSON_REAL:
        n = (size_t)snprintf(number, sizeof number, "%.15g",
                             json_real_value(v));
        break;
    case JSON_TRUE: s = "yes", n = 3; break;
    case JSON_FALSE: s = "no", n = 2; break;
    default: break;
    }
    if (n) builder_piece(l->b, s, n, l->at, l->len);
}

static int is_shown(const json_t *v)
{
    return !json_is_null(v) &&
           (!json_is_string(v) || is_visible(json_string_value(v)));
}

static void add_member(struct line *l, const char *name, json_t *v,
                       unsigned depth);

/* A list of plain values is one cell; one of objects is many. */
static void add_list(struct line *l, const char *name, json_t *list,
                     unsigned depth)
{
    size_t i;
    json_t *v;
    int n_plain = 0;
    json_array_foreach(list, i, v)
    {
        if (json_is_object(v) || json_is_array(v)) {
            add_member(l, name, v, depth + 1);
            n_plain = 0;
            continue;
        }
        if (!is_shown(v) || ++l->n_members > MEMBERS_MAX) continue;
        if (n_plain++ == 0)
            add_label(l->b, name, l->at);
        else
            builder_piece(l->b, ", ", 2, l->at, 0);
        add_value(l, v);
    }
}

/* Recursion stops at NESTING_MAX. */
static void add_member(struct line *l, const char *name, json_t *v,
                       unsigned depth)
{
    const char *key;
    json_t *member;
    if (depth > NESTING_MAX || ++l->n_members > MEMBERS_MAX || l->b->err)
        return;
    if (json_is_array(v)) {
        add_list(l, name, v, depth);
    } else if (json_is_object(v)) {
        json_object_foreach(v, key, member)
        {
            char whole[NAME_BYTES_MAX];
            snprintf(whole, sizeof whole, "%s%s%s", name, *name ? "." : "",
                     key);
            add_member(l, whole, member, depth + 1);
        }
    } else if (is_shown(v)) {
        add_label(l->b, name, l->at);
        add_value(l, v);
    }
}

static enum tacit_err read_line(struct line *l, size_t number)
{
    const char *s = (const char *)l->b->d->source.data + l->at;
    json_t *value = NULL;
    char why[400];
    if (l->len > LINE_BYTES_MAX)
        return fail_as(E_DOCUMENT_TOO_LARGE, "line %zu is over %d MiB", number,
                       LINE_BYTES_MAX >> 20);
    enum tacit_err err = json_parse(s, l->len, &value);
    if (err == TACIT_NOMEM) return err;
    if (err) {
        snprintf(why, sizeof why, "%s", err_message());
        err_clear();
        return fail_as(E_DOCUMENT_DAMAGED, "line %zu: %s", number, why);
    }
    builder_open(l->b, BLOCK_ROW, 0);
    l->n_members = 0;
    add_member(l, "", value, 0);
    builder_close(l->b);
    if (l->n_members > MEMBERS_MAX)
        builder_note(l->b,
                     "line %zu has more than %d members; the rest was "
                     "not read",
                     number, MEMBERS_MAX);
    json_decref(value);
    return l->b->err;
}

static enum tacit_err read_jsonl(struct builder *b, size_t first, size_t end)
{
    const char *s = (const char *)b->d->source.data;
    size_t number = 1;
    for (size_t at = first; at < end; number++) {
        const char *nl = memchr(s + at, '\n', end - at);
        size_t stop = nl ? (size_t)(nl - s) : end, from = at, to = stop;
        while (from < to && strchr(" \t\r", s[from])) from++;
        while (to > from && strchr(" \t\r", s[to - 1])) to--;
        struct line l = {.b = b, .at = from, .len = to - from};
        if (l.len) TRY(read_line(&l, number));
        at = stop + 1;
    }
    return builder_end(b);
}

const struct document_reader document_jsonl = {
    .kind = "jsonl",
    .endings = " jsonl ndjson ",
    .input = INPUT_TEXT,
    .read = read_jsonl,
};
