#include "retrieval/judged.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/utf8.h"

enum { FIELDS_MAX = 7 };

/* A text, line by line. */
struct lines {
    const char *name, *p, *end;
    size_t number;
    struct arena *a;
};

struct field {
    const char *s;
    size_t n;
};

static enum tacit_err refuse(const struct lines *l, const char *why)
{
    return fail_as(E_JUDGED_SYNTAX, "%s:%zu: %s", l->name, l->number, why);
}

/* The next line that is not blank, without its end; 0 behind the last. */
static int next_line(struct lines *l, struct field *out)
{
    while (l->p < l->end) {
        const char *stop = memchr(l->p, '\n', (size_t)(l->end - l->p));
        if (!stop) stop = l->end;
        *out = (struct field){l->p, (size_t)(stop - l->p)};
        l->p = stop + (stop < l->end);
        l->number++;
        while (out->n && strchr(" \t\r", out->s[out->n - 1])) out->n--;
        if (out->n) return 1;
    }
    return 0;
}

static size_t count_lines(const char *s, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++) lines += s[i] == '\n';
    return lines;
}

static void lines_begin(struct lines *l, const char *name, const char *text,
                        size_t n, struct arena *a)
{
    *l = (struct lines){.name = name, .p = text, .end = text + n, .a = a};
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) l->p += 3;
}

/* Room for one row a line. */
static enum tacit_err make_room(const struct lines *l, size_t size, void *out)
{
    size_t n = count_lines(l->p, (size_t)(l->end - l->p));
    if (n > JUDGED_ROWS_MAX)
        return fail_as(E_JUDGED_SYNTAX, "%s: more than %d lines", l->name,
                       JUDGED_ROWS_MAX);
    return arena_alloc(l->a, n, size, out);
}

/* Between tabs where there is one (an id may hold a blank), else blanks. */
static size_t split(struct field line, struct field *out)
{
    size_t n = 0;
    const char *p = line.s, *end = line.s + line.n;
    int has_tab = memchr(line.s, '\t', line.n) != NULL;
    while (p < end && n < FIELDS_MAX) {
        while (p < end && (*p == '\t' || *p == ' ')) p++;
        const char *from = p;
        while (p < end && *p != '\t' && (has_tab || *p != ' ')) p++;
        if (p > from) out[n++] = (struct field){from, (size_t)(p - from)};
    }
    return n;
}

static enum tacit_err take(const struct lines *l, struct field f,
                           const char **out)
{
    char *copy = NULL;
    if (utf8_find_bad(f.s, f.n) < f.n) return refuse(l, "an id is not UTF-8");
    TRY(arena_strdup(l->a, f.s, f.n, &copy));
    *out = copy;
    return TACIT_OK;
}

static enum tacit_err number(const struct lines *l, struct field f, double *out)
{
    char text[64], *end;
    if (f.n >= sizeof text) return refuse(l, "a number is too long");
    memcpy(text, f.s, f.n);
    text[f.n] = '\0';
    *out = strtod(text, &end);
    if (*end || end == text || !isfinite(*out))
        return refuse(l, "a number was expected");
    return TACIT_OK;
}

/* ---- judgements ---------------------------------------------------------- */

static int by_pair(const void *a, const void *b)
{
    const struct judged_row *x = a, *y = b;
    int order = strcmp(x->query, y->query);
    return order ? order : strcmp(x->document, y->document);
}

static int is_field(struct field f, const char *s)
{
    return strlen(s) == f.n && memcmp(f.s, s, f.n) == 0;
}

static enum tacit_err read_row(const struct lines *l, const struct field *f,
                               size_t n, struct judged_row *out)
{
    double grade;
    if (n != 3 && n != 4)
        return refuse(l, "judgements have three columns (query, document, "
                         "grade), or four as TREC writes them");
    TRY(take(l, f[0], &out->query));
    TRY(take(l, f[n - 2], &out->document));
    TRY(number(l, f[n - 1], &grade));
    if (fabs(grade) > JUDGED_GRADE_MAX || floor(grade) < grade)
        return refuse(l, "a grade is a small whole number");
    out->grade = (int)grade;
    return TACIT_OK;
}

enum tacit_err judged_qrels_parse(const char *name, const char *text, size_t n,
                                  struct arena *a, struct judged_qrels *out)
{
    struct lines l;
    struct field line, f[FIELDS_MAX];
    struct judged_row *list = NULL;
    size_t n_rows = 0;
    lines_begin(&l, name, text, n, a);
    TRY(make_room(&l, sizeof *list, &list));
    while (next_line(&l, &line)) {
        size_t n_fields = split(line, f);
        if (n_rows == 0 && n_fields == 3 && is_field(f[0], "query-id"))
            continue;
        TRY(read_row(&l, f, n_fields, &list[n_rows]));
        n_rows++;
    }
    qsort(list, n_rows, sizeof *list, by_pair);
    for (size_t i = 1; i < n_rows; i++)
        if (by_pair(&list[i - 1], &list[i]) == 0)
            return fail_as(E_JUDGED_SYNTAX,
                           "%s: query %.40s and document %.40s stand twice",
                           name, list[i].query, list[i].document);
    *out = (struct judged_qrels){list, n_rows};
    return TACIT_OK;
}

struct judged_rows judged_of(const struct judged_qrels *q, const char *query)
{
    size_t from = 0, to = q->n, end;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (strcmp(q->list[mid].query, query) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    for (end = from; end < q->n && strcmp(q->list[end].query, query) == 0;)
        end++;
    return (struct judged_rows){q->list + from, end - from};
}

int judged_grade(struct judged_rows rows, const char *document)
{
    size_t from = 0, to = rows.n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int order = strcmp(rows.list[mid].document, document);
        if (order == 0) return rows.list[mid].grade;
        if (order < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return 0;
}

/* ---- runs ---------------------------------------------------------------- */

static int by_rank(const void *a, const void *b)
{
    const struct judged_place *x = a, *y = b;
    int order = strcmp(x->query, y->query);
    if (order) return order;
    if (x->score > y->score) return -1;
    if (x->score < y->score) return 1;
    return strcmp(y->document, x->document);
}

static int by_document(const void *a, const void *b)
{
    const struct judged_place *x = a, *y = b;
    int order = strcmp(x->query, y->query);
    return order ? order : strcmp(x->document, y->document);
}

enum tacit_err judged_run_parse(const char *name, const char *text, size_t n,
                                struct arena *a, struct judged_run *out)
{
    struct lines l;
    struct field line, f[FIELDS_MAX];
    struct judged_place *list = NULL;
    size_t n_rows = 0;
    lines_begin(&l, name, text, n, a);
    TRY(make_room(&l, sizeof *list, &list));
    while (next_line(&l, &line)) {
        double score;
        if (split(line, f) != 6)
            return refuse(&l, "a run has six columns: query Q0 document rank "
                              "score name");
        TRY(take(&l, f[0], &list[n_rows].query));
        TRY(take(&l, f[2], &list[n_rows].document));
        TRY(number(&l, f[4], &score));
        list[n_rows++].score = (float)score;
    }
    qsort(list, n_rows, sizeof *list, by_document);
    for (size_t i = 1; i < n_rows; i++)
        if (by_document(&list[i - 1], &list[i]) == 0)
            return fail_as(E_JUDGED_SYNTAX,
                           "%s: query %.40s ranks document %.40s twice", name,
                           list[i].query, list[i].document);
    *out = (struct judged_run){list, n_rows};
    judged_run_sort(out);
    return TACIT_OK;
}

void judged_run_sort(struct judged_run *r)
{
    if (r->n) qsort(r->list, r->n, sizeof *r->list, by_rank);
}

struct judged_places judged_run_of(const struct judged_run *r,
                                   const char *query)
{
    size_t from = 0, to = r->n, end;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (strcmp(r->list[mid].query, query) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    for (end = from; end < r->n && strcmp(r->list[end].query, query) == 0;)
        end++;
    return (struct judged_places){r->list + from, end - from};
}

/* ---- JSON lines ---------------------------------------------------------- */

static const char *string_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static enum tacit_err parse_line(const char *name, size_t line, const char *s,
                                 size_t n, json_t **out)
{
    enum tacit_err err = json_parse(s, n, out);
    if (!err && json_is_object(*out) && *string_of(*out, "_id"))
        return TACIT_OK;
    if (!err) json_decref(*out);
    if (err == TACIT_NOMEM) return err;
    err_clear();
    return fail_as(E_JUDGED_SYNTAX,
                   "%s:%zu: a line is a JSON object with \"_id\" and \"text\"",
                   name, line);
}

static int by_query(const void *a, const void *b)
{
    const struct judged_query *x = *(const struct judged_query *const *)a;
    const struct judged_query *y = *(const struct judged_query *const *)b;
    return strcmp(x->id, y->id);
}

static enum tacit_err check_ids(const char *name, struct arena *a,
                                const struct judged_query *list, size_t n)
{
    const struct judged_query **sorted = NULL;
    TRY(arena_alloc(a, n + 1, sizeof *sorted, &sorted));
    for (size_t i = 0; i < n; i++) sorted[i] = &list[i];
    qsort(sorted, n, sizeof *sorted, by_query);
    for (size_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1]->id, sorted[i]->id) == 0)
            return fail_as(E_JUDGED_SYNTAX, "%s: query %.40s stands twice",
                           name, sorted[i]->id);
    return TACIT_OK;
}

enum tacit_err judged_queries_parse(const char *name, const char *text,
                                    size_t n, struct arena *a,
                                    struct judged_queries *out)
{
    struct lines l;
    struct field line;
    struct judged_query *list = NULL;
    size_t n_rows = 0;
    lines_begin(&l, name, text, n, a);
    TRY(make_room(&l, sizeof *list, &list));
    while (next_line(&l, &line)) {
        json_t *o = NULL;
        char *id = NULL, *question = NULL;
        TRY(parse_line(name, l.number, line.s, line.n, &o));
        const char *s = string_of(o, "text");
        enum tacit_err err = arena_strdup(a, string_of(o, "_id"),
                                          strlen(string_of(o, "_id")), &id);
        if (!err) err = arena_strdup(a, s, strlen(s), &question);
        json_decref(o);
        if (err) return err;
        list[n_rows++] = (struct judged_query){id, question};
    }
    TRY(check_ids(name, a, list, n_rows));
    *out = (struct judged_queries){list, n_rows};
    return TACIT_OK;
}

static enum tacit_err read_corpus(
    const char *path, FILE *f,
    enum tacit_err (*visit)(const struct judged_document *, void *), void *ctx)
{
    char *line = NULL;
    size_t cap = 0, bytes = 0, number_of = 0;
    ssize_t n;
    enum tacit_err err = TACIT_OK;
    while (!err && (n = getline(&line, &cap, f)) > 0) {
        json_t *o = NULL;
        bytes += (size_t)n;
        number_of++;
        if (line[strspn(line, " \t\r\n")] == '\0') continue;
        if (n > JUDGED_LINE_MAX)
            err = fail_as(E_JUDGED_SYNTAX, "%s:%zu: longer than %d MiB", path,
                          number_of, JUDGED_LINE_MAX >> 20);
        if (!err) err = parse_line(path, number_of, line, (size_t)n, &o);
        if (err) break;
        struct judged_document d = {.id = string_of(o, "_id"),
                                    .title = string_of(o, "title"),
                                    .text = string_of(o, "text"),
                                    .bytes = bytes};
        err = visit(&d, ctx);
        json_decref(o);
    }
    if (!err && ferror(f))
        err = fail(TACIT_IO, "%s: %s", path, strerror(errno));
    free(line);
    return err;
}

enum tacit_err judged_corpus_read(
    const char *path,
    enum tacit_err (*visit)(const struct judged_document *d, void *ctx),
    void *ctx)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail(errno == ENOENT ? TACIT_NOTFOUND : TACIT_IO, "%s: %s", path,
                    strerror(errno));
    enum tacit_err err = read_corpus(path, f, visit, ctx);
    fclose(f);
    return err;
}

/* ---- files --------------------------------------------------------------- */

enum tacit_err judged_queries_read(const char *path, struct arena *a,
                                   struct judged_queries *out)
{
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, JUDGED_BYTES_MAX, &b);
    if (!err)
        err = judged_queries_parse(path, (const char *)b.data, b.len, a, out);
    buf_release(&b);
    return err;
}

enum tacit_err judged_qrels_read(const char *path, struct arena *a,
                                 struct judged_qrels *out)
{
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, JUDGED_BYTES_MAX, &b);
    if (!err)
        err = judged_qrels_parse(path, (const char *)b.data, b.len, a, out);
    buf_release(&b);
    return err;
}

enum tacit_err judged_run_read(const char *path, struct arena *a,
                               struct judged_run *out)
{
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, JUDGED_BYTES_MAX, &b);
    if (!err) err = judged_run_parse(path, (const char *)b.data, b.len, a, out);
    buf_release(&b);
    return err;
}
