#include "retrieval/filter.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "retrieval/stem.h"

enum { DAY_S = 86400 };

enum column_kind { PATH, TEXT, DATE, LANGUAGE };

static const struct {
    const char *key, *column;
    enum column_kind kind;
} keys[] = {
    {"path", "document.path", PATH},    {"kind", "document.kind", TEXT},
    {"title", "document.title", TEXT},  {"heading", "chunk.heading", TEXT},
    {"date", "document.added_s", DATE}, {"lang", "chunk.id", LANGUAGE},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

static int find_key(const char *key, size_t n)
{
    for (int i = 0; i < N_KEYS; i++)
        if (strlen(keys[i].key) == n && memcmp(keys[i].key, key, n) == 0)
            return i;
    return -1;
}

static enum tacit_err refuse_key(const char *key)
{
    struct buf b;
    buf_init(&b, 0);
    for (int i = 0; i < N_KEYS; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", keys[i].key);
    const char *known = buf_cstr(&b);
    enum tacit_err err =
        fail_as(E_FILTER, "\"%.40s\" is nothing to filter by; there are %s",
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

static enum tacit_err check_value(int key, const char *value,
                                  enum filter_test test)
{
    int64_t s;
    if (strnlen(value, FILTER_BYTES_MAX + 1) > FILTER_BYTES_MAX)
        return fail_as(E_FILTER, "the pattern for %s is longer than %d bytes",
                       keys[key].key, FILTER_BYTES_MAX);
    if (keys[key].kind == DATE) return read_day(value, &s);
    if (test != FILTER_LIKE)
        return fail_as(E_FILTER, "%s is no date", keys[key].key);
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
    int at = find_key(key, strlen(key));
    if (at < 0) return refuse_key(key);
    if (f->n == FILTER_RULES_MAX)
        return fail_as(E_FILTER, "more than %d conditions", FILTER_RULES_MAX);
    TRY(check_value(at, value, test));
    f->rules[f->n++] = (struct filter_rule){keys[at].key, value, test};
    return TACIT_OK;
}

enum tacit_err filter_add_pair(struct filter *f, const char *pair)
{
    const char *eq = strchr(pair, '=');
    size_t n = eq ? (size_t)(eq - pair) : 0;
    if (!eq)
        return fail_as(E_FILTER, "\"%.40s\" is not written KEY=VALUE", pair);
    int at = find_key(pair, n);
    if (at < 0) {
        char key[41];
        snprintf(key, sizeof key, "%.*s", n < 40 ? (int)n : 40, pair);
        return refuse_key(key);
    }
    return filter_add(f, keys[at].key, eq + 1, FILTER_LIKE);
}

/* One condition; its value is bound as a parameter. */
static void put_rule(struct buf *sql, const struct filter_rule *r)
{
    int key = find_key(r->key, strlen(r->key));
    const char *column = keys[key].column;
    if (keys[key].kind == LANGUAGE &&
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

static enum tacit_err bind_rule(struct arena *a, sqlite3_stmt *st, int i,
                                const struct filter_rule *r)
{
    int key = find_key(r->key, strlen(r->key));
    int64_t s = 0;
    if (keys[key].kind == DATE) {
        TRY(read_day(r->value, &s));
        if (r->test == FILTER_UNTIL) s += DAY_S;
        sqlite3_bind_int64(st, i, s);
    } else if (keys[key].kind == LANGUAGE) {
        struct buf b;
        char *copy = NULL;
        buf_init(&b, 0);
        put_marks(&b, language_find(r->value));
        enum tacit_err err = buf_end(&b);
        if (!err) err = arena_strdup(a, (const char *)b.data, b.len, &copy);
        buf_release(&b);
        if (err) return err;
        sqlite3_bind_text(st, i, copy, -1, SQLITE_STATIC);
    } else {
        sqlite3_bind_text(st, i, r->value, -1, SQLITE_STATIC);
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

enum tacit_err filter_ids(struct db *db, const struct filter *f,
                          struct arena *a, int64_t **out, size_t *n)
{
    struct buf sql, ids;
    sqlite3_stmt *st = NULL;
    int64_t *list = NULL;
    buf_init(&sql, 0);
    buf_init(&ids, 0);
    buf_printf(&sql, "SELECT chunk.id FROM document JOIN chunk"
                     " ON chunk.document_id = document.id WHERE 1");
    for (size_t i = 0; i < f->n; i++) put_rule(&sql, &f->rules[i]);
    buf_printf(&sql, " ORDER BY chunk.id");
    const char *text = buf_cstr(&sql);
    enum tacit_err err = buf_end(&sql);
    if (!err) err = db_query(db, &st, text, "");
    for (size_t i = 0; !err && i < f->n; i++)
        err = bind_rule(a, st, (int)i + 1, &f->rules[i]);
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
