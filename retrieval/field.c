#include "retrieval/field.h"

#include <string.h>

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static int is_around(char c)
{
    return c == ' ' || c == '"' || c == '\'';
}

/* A part of text as a string of its own, in lower case, without the blanks and
 * quotes at its ends. */
static void copy_lower(char *out, size_t cap, const char *s, size_t n)
{
    size_t len = 0;
    while (n > 0 && is_around(s[0])) s++, n--;
    while (n > 0 && is_around(s[n - 1])) n--;
    for (; len < n && len + 1 < cap; len++) out[len] = lower(s[len]);
    out[len] = '\0';
}

static int fits(const char *value, size_t n, const char *pattern)
{
    char text[FIELD_VALUE_MAX + 1];
    copy_lower(text, sizeof text, value, n);
    return strpbrk(pattern, "*?[") ? sqlite3_strglob(pattern, text) == 0
                                   : strcmp(pattern, text) == 0;
}

/* The value, or one element of the list that it is. */
static int value_fits(const char *value, size_t n, const char *pattern)
{
    if (fits(value, n, pattern)) return 1;
    if (n > FIELD_VALUE_MAX) n = FIELD_VALUE_MAX;
    for (size_t from = 0; from < n;) {
        const char *comma = memchr(value + from, ',', n - from);
        size_t end = comma ? (size_t)(comma - value) : n;
        if (fits(value + from, end - from, pattern)) return 1;
        from = end + 1;
    }
    return 0;
}

static int has_key(const char *cell, size_t n, const char *key, size_t n_key)
{
    if (n < n_key + 1 || cell[n_key] != ':') return 0;
    for (size_t i = 0; i < n_key; i++)
        if (lower(cell[i]) != lower(key[i])) return 0;
    return n == n_key + 1 || cell[n_key + 1] == ' ';
}

/* Bytes of the cell that text [n] begins with; *next: of it and its mark. */
static size_t cell_length(const char *text, size_t n, size_t *next)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n') {
            *next = i + 1;
            return i;
        }
        if (text[i] == ' ' && n - i >= 3 && memcmp(text + i, " | ", 3) == 0) {
            *next = i + 3;
            return i;
        }
    }
    *next = n;
    return n;
}

int field_holds(const char *text, size_t n, const char *key,
                const char *pattern)
{
    char folded[FIELD_VALUE_MAX + 1];
    size_t n_key = strlen(key);
    copy_lower(folded, sizeof folded, pattern, strlen(pattern));
    for (size_t at = 0, next; at < n; at += next) {
        size_t len = cell_length(text + at, n - at, &next);
        if (has_key(text + at, len, key, n_key) &&
            value_fits(text + at + n_key + 1, len - n_key - 1, folded))
            return 1;
    }
    return 0;
}

static void sql_holds(sqlite3_context *ctx, int n_args, sqlite3_value **args)
{
    (void)n_args;
    const char *key = (const char *)sqlite3_value_text(args[1]);
    const char *pattern = (const char *)sqlite3_value_text(args[2]);
    const char *text = (const char *)sqlite3_value_text(args[0]);
    int n = sqlite3_value_bytes(args[0]);
    sqlite3_result_int(ctx, text && key && pattern && n > 0 &&
                                field_holds(text, (size_t)n, key, pattern));
}

static int holds_all(const char *row, size_t n, const struct field_want *want,
                     size_t n_want)
{
    for (size_t i = 0; i < n_want; i++)
        if (!field_holds(row, n, want[i].key, want[i].pattern)) return 0;
    return 1;
}

const char *field_next_row(const char *text, size_t n,
                           const struct field_want *want, size_t n_want,
                           size_t *at, size_t *len)
{
    while (*at < n) {
        const char *row = text + *at, *end = memchr(row, '\n', n - *at);
        *len = end ? (size_t)(end - row) : n - *at;
        *at += *len + (end != NULL);
        if (*len && holds_all(row, *len, want, n_want)) return row;
    }
    *len = 0;
    return NULL;
}

static void sql_row_holds(sqlite3_context *ctx, int n_args,
                          sqlite3_value **args)
{
    struct field_want want[FIELD_WANTS_MAX];
    size_t n_want = 0, at = 0, len;
    const char *text = (const char *)sqlite3_value_text(args[0]);
    int n = sqlite3_value_bytes(args[0]), is_whole = text != NULL;
    for (int i = 1; i + 1 < n_args && n_want < FIELD_WANTS_MAX; i += 2) {
        struct field_want *w = &want[n_want++];
        w->key = (const char *)sqlite3_value_text(args[i]);
        w->pattern = (const char *)sqlite3_value_text(args[i + 1]);
        if (!w->key || !w->pattern) is_whole = 0;
    }
    sqlite3_result_int(ctx, is_whole && field_next_row(text, (size_t)n, want,
                                                       n_want, &at, &len));
}

enum tacit_err field_register(struct db *db)
{
    int rc = sqlite3_create_function_v2(db->sql, "field_holds", 3,
                                        SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                        NULL, sql_holds, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(db->sql, "field_row_holds", -1,
                                        SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                        NULL, sql_row_holds, NULL, NULL, NULL);
    return db_error(db, rc, "cannot add a function");
}
