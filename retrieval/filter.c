#include "retrieval/filter.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "retrieval/document.h"
#include "retrieval/stem.h"

enum { DAY_S = 86400 };

/* Kinds of documents whose passages are rows and nothing else, as SQL lists
 * them. */
#define ROW_KINDS "'csv', 'jsonl'"

enum column_kind { PATH, TEXT, KIND, DATE, LANGUAGE, FIELD };

static const struct {
    const char *key, *column;
    enum column_kind kind;
} keys[] = {
    {"path", "document.path", PATH},
    {"kind", "document.kind", KIND},
    {"title", "document.title", TEXT},
    {"heading", "chunk.heading", TEXT},
    {"date", "document.added_s", DATE},
    {"lang", "chunk.id", LANGUAGE},
    {"", "chunk.id", FIELD}, /* any other: what documents say of themselves */
};
enum { N_KEYS = sizeof keys / sizeof *keys - 1, KEY_FIELD = N_KEYS };

static int find_key(const struct filter_rule *r)
{
    for (int i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].key, r->key) == 0) return i;
    return KEY_FIELD;
}

static enum tacit_err refuse_key(const char *key)
{
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < N_KEYS; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", keys[i].key);
    const char *known = buf_cstr(&b);
    enum tacit_err err =
        fail_as(E_FILTER,
                "\"%.40s\" is nothing to filter by; there are %s, and what "
                "documents say of themselves as KEY: VALUE (columns of tables, "
                "From of mail, author of front matter …)",
                key, known ? known : "");
    buf_release(&b);
    return err;
}

/* Days since 1970-01-01 of a day of the Gregorian calendar (Hinnant 2013). */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, in_era = y - era * 400;
    int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + of_year -
           719468;
}

static enum tacit_err read_day(const char *text, int64_t *out_s)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y = 0, m = 0, d = 0, n = 0;
    int got = sscanf(text, "%4d-%2d-%2d%n", &y, &m, &d, &n);
    if (got != 3 || strlen(text) != 10 || n != 10 || y < 1970 || m < 1 ||
        m > 12 || d < 1 || d > days[m - 1])
        return fail_as(E_FILTER,
                       "\"%.40s\" is not a day; write it as 2026-01-31", text);
    *out_s = days_of(y, m, d) * DAY_S;
    return TACIT_OK;
}

static enum tacit_err check_kind(const char *value)
{
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; document_kind_at(i); i++) {
        const char *kind = document_kind_at(i);
        if (strcasecmp(kind, value) == 0 || strpbrk(value, "*?[")) {
            buf_release(&b);
            return TACIT_OK;
        }
        buf_printf(&b, "%s%s", i ? ", " : "", kind);
    }
    const char *known = buf_cstr(&b);
    enum tacit_err err =
        fail_as(E_FILTER, "\"%.40s\" is no kind of document; there are %s",
                value, known ? known : "");
    buf_release(&b);
    return err;
}

static enum tacit_err check_value(int key, const char *value,
                                  enum filter_test test)
{
    int64_t s;
    if (strnlen(value, FILTER_BYTES_MAX + 1) > FILTER_BYTES_MAX)
        return fail_as(E_FILTER, "a pattern is longer than %d bytes",
                       FILTER_BYTES_MAX);
    if (keys[key].kind == DATE) return read_day(value, &s);
    if (test != FILTER_LIKE) return fail_as(E_FILTER, "only date is a date");
    if (keys[key].kind == KIND) return check_kind(value);
    if (keys[key].kind == LANGUAGE && language_find(value) < 0)
        return fail_as(E_FILTER,
                       "\"%.40s\" is no language that is told apart; write "
                       "en, de, fr …",
                       value);
    return TACIT_OK;
}

enum tacit_err filter_add(struct filter *f, const char *key, const char *value,
                          enum filter_test test)
{
    struct filter_rule *r = &f->rules[f->n];
    size_t n = strnlen(key, FIELD_KEY_MAX + 1);
    if (f->n == FILTER_RULES_MAX)
        return fail_as(E_FILTER, "more than %d conditions", FILTER_RULES_MAX);
    if (n == 0 || n > FIELD_KEY_MAX) return refuse_key(key);
    memcpy(r->key, key, n + 1);
    TRY(check_value(find_key(r), value, test));
    r->value = value;
    r->test = test;
    f->n++;
    return TACIT_OK;
}

enum tacit_err filter_add_pair(struct filter *f, const char *pair)
{
    char key[FIELD_KEY_MAX + 2];
    const char *eq = strchr(pair, '=');
    if (!eq)
        return fail_as(E_FILTER, "\"%.40s\" is not written KEY=VALUE", pair);
    snprintf(key, sizeof key, "%.*s",
             eq - pair > FIELD_KEY_MAX ? FIELD_KEY_MAX + 1 : (int)(eq - pair),
             pair);
    return filter_add(f, key, eq + 1, FILTER_LIKE);
}

/* A field of a row is that row's; what the first passage of any other document
 * says, it says of the whole. */
static const char field_sql[] =
    " AND EXISTS(SELECT 1 FROM chunk AS c WHERE (c.id = chunk.id"
    "  OR (document.kind NOT IN (" ROW_KINDS ", 'mbox') AND c.id = ("
    "   SELECT min(id) FROM chunk WHERE document_id = document.id)))"
    "  AND field_holds(c.text, ?, ?))";

/* What is asked of fields: one row has to hold it. */
static size_t read_wants(const struct filter *f, struct field_want *out)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        if (find_key(&f->rules[i]) == KEY_FIELD)
            out[n++] = (struct field_want){f->rules[i].key, f->rules[i].value};
    return n;
}

static void put_wants(struct buf *sql, size_t n)
{
    if (n == 0) return;
    buf_printf(sql, " AND (document.kind NOT IN (" ROW_KINDS ")"
                    " OR field_row_holds(chunk.text");
    for (size_t i = 0; i < n; i++) buf_printf(sql, ", ?, ?");
    buf_printf(sql, "))");
}

static void bind_wants(sqlite3_stmt *st, int *at, const struct field_want *want,
                       size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_bind_text(st, (*at)++, want[i].key, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, (*at)++, want[i].pattern, -1, SQLITE_STATIC);
    }
}

/* One condition; its value is bound as a parameter. */
static void put_rule(struct buf *sql, const struct filter_rule *r)
{
    int key = find_key(r);
    const char *column = keys[key].column;
    if (keys[key].kind == FIELD)
        buf_printf(sql, "%s", field_sql);
    else if (keys[key].kind == LANGUAGE &&
             language_find(r->value) == LANGUAGE_ENGLISH)
        buf_printf(sql,
                   " AND %s NOT IN (SELECT rowid FROM chunk_fts"
                   " WHERE chunk_fts MATCH ?)",
                   column);
    else if (keys[key].kind == LANGUAGE)
        buf_printf(sql,
                   " AND %s IN (SELECT rowid FROM chunk_fts"
                   " WHERE chunk_fts MATCH ?)",
                   column);
    else if (keys[key].kind == DATE && r->test == FILTER_LIKE)
        buf_printf(sql, " AND %s / %d = ? / %d", column, DAY_S, DAY_S);
    else if (keys[key].kind == DATE)
        buf_printf(sql,
                   r->test == FILTER_SINCE ? " AND %s >= ?" : " AND %s < ?",
                   column);
    else if (keys[key].kind == PATH || strpbrk(r->value, "*?["))
        buf_printf(sql, " AND %s GLOB ?", column);
    else
        buf_printf(sql, " AND %s = ? COLLATE NOCASE", column);
}

/* All marks but that of English, which has none: what is not English. */
static void put_marks(struct buf *b, int language)
{
    for (unsigned i = LANGUAGE_ENGLISH + 1, n = 0; i < N_LANGUAGES; i++) {
        char mark[STEM_MARK_BYTES + 1];
        if (language != LANGUAGE_ENGLISH && (int)i != language) continue;
        stem_mark(i, mark);
        buf_printf(b, "%s\"%s\"", n++ ? " OR " : "", mark);
    }
}

/* *i: the next parameter. */
static enum tacit_err bind_rule(struct arena *a, sqlite3_stmt *st, int *i,
                                const struct filter_rule *r)
{
    int key = find_key(r);
    int64_t s = 0;
    if (keys[key].kind == DATE) {
        TRY(read_day(r->value, &s));
        if (r->test == FILTER_UNTIL) s += DAY_S;
        sqlite3_bind_int64(st, (*i)++, s);
    } else if (keys[key].kind == LANGUAGE) {
        struct buf b;
        char *copy = NULL;
        buf_init(&b, 0);
        put_marks(&b, language_find(r->value));
        enum tacit_err err = buf_end(&b);
        if (!err) err = arena_strdup(a, (const char *)b.data, b.len, &copy);
        buf_release(&b);
        if (err) return err;
        sqlite3_bind_text(st, (*i)++, copy, -1, SQLITE_STATIC);
    } else {
        if (keys[key].kind == FIELD)
            sqlite3_bind_text(st, (*i)++, r->key, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, (*i)++, r->value, -1, SQLITE_STATIC);
    }
    return TACIT_OK;
}

static enum tacit_err collect(struct db *db, sqlite3_stmt *st, struct buf *ids)
{
    int has_row = 0;
    enum tacit_err err = db_step(db, st, &has_row);
    while (!err && has_row) {
        int64_t id = sqlite3_column_int64(st, 0);
        buf_put(ids, &id, sizeof id);
        err = db_step(db, st, &has_row);
    }
    return err ? err : buf_end(ids);
}

/* A key that no passage has is a slip. */
static enum tacit_err check_field(struct db *db, const struct filter_rule *r)
{
    int64_t n;
    if (find_key(r) != KEY_FIELD) return TACIT_OK;
    TRY(db_int(db, &n,
               "SELECT EXISTS(SELECT 1 FROM chunk"
               " WHERE field_holds(text, ?, '*'))",
               "s", r->key));
    return n ? TACIT_OK : refuse_key(r->key);
}

enum tacit_err filter_ids(struct db *db, const struct filter *f,
                          struct arena *a, int64_t **out, size_t *n)
{
    struct buf sql, ids;
    sqlite3_stmt *st = NULL;
    int64_t *list = NULL;
    int at = 1;
    struct field_want want[FILTER_RULES_MAX];
    size_t n_want = read_wants(f, want);
    TRY(field_register(db));
    for (size_t i = 0; i < f->n; i++) TRY(check_field(db, &f->rules[i]));
    buf_init(&sql, 0);
    buf_init(&ids, 0);
    buf_printf(&sql, "SELECT chunk.id FROM document JOIN chunk"
                     " ON chunk.document_id = document.id WHERE 1");
    for (size_t i = 0; i < f->n; i++) put_rule(&sql, &f->rules[i]);
    put_wants(&sql, n_want);
    buf_printf(&sql, " ORDER BY chunk.id");
    const char *text = buf_cstr(&sql);
    enum tacit_err err = buf_end(&sql);
    if (!err) err = db_query(db, &st, text, "");
    for (size_t i = 0; !err && i < f->n; i++)
        err = bind_rule(a, st, &at, &f->rules[i]);
    if (!err) bind_wants(st, &at, want, n_want);
    if (!err) err = collect(db, st, &ids);
    db_finish(st);
    if (!err) err = arena_alloc(a, ids.len + 1, 1, &list);
    if (!err && ids.len) memcpy(list, ids.data, ids.len);
    if (!err) {
        *out = list;
        *n = ids.len / sizeof *list;
    }
    buf_release(&sql);
    buf_release(&ids);
    return err;
}

static int is_of_rows(const char *kind)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", kind);
    return strstr(ROW_KINDS, quoted) != NULL;
}

size_t filter_rows(const struct filter *f, const char *kind, const char *text,
                   size_t n, struct filter_row *out, size_t max)
{
    struct field_want want[FILTER_RULES_MAX];
    size_t n_want = f ? read_wants(f, want) : 0, at = 0, n_rows = 0, len;
    const char *row;
    if (n_want == 0 || !is_of_rows(kind)) return 0;
    while (n_rows < max &&
           (row = field_next_row(text, n, want, n_want, &at, &len)))
        out[n_rows++] =
            (struct filter_row){(uint32_t)(row - text),
                                (uint32_t)((size_t)(row - text) + len)};
    return n_rows == 1 && out[0].first == 0 && out[0].end == n ? 0 : n_rows;
}
