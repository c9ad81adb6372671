/* Tables of vectors for tests: a connection that knows tacit_vec, statements
 * that must succeed or be refused, and results as text. */
#ifndef TACIT_TESTS_RETRIEVAL_VECTABLE_H
#define TACIT_TESTS_RETRIEVAL_VECTABLE_H

#include "tests/check.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "retrieval/vecindex.h"

static inline sqlite3 *vectable_open(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    check_ok(vecindex_register(db));
    return db;
}

/* The same database in memory, in a connection of its own. */
static inline sqlite3 *vectable_copy(sqlite3 *from)
{
    sqlite3 *db = vectable_open(":memory:");
    sqlite3_backup *copy = sqlite3_backup_init(db, "main", from, "main");
    assert_int_equal(sqlite3_backup_step(copy, -1), SQLITE_DONE);
    sqlite3_backup_finish(copy);
    return db;
}

static inline void vectable_run(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message ? message : sqlite3_errmsg(db));
}

/* sql fails, and the message holds `part`. */
static inline void vectable_refused(sqlite3 *db, const char *sql,
                                    const char *part)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) == SQLITE_OK)
        fail_msg("%s: was not refused", sql);
    if (!message || !strstr(message, part))
        fail_msg("%s: \"%s\" is not in \"%s\"", sql, part,
                 message ? message : "");
    sqlite3_free(message);
}

/* All rows: columns by '|', rows by ' '. Borrowed until the next call. */
static inline const char *vectable_text(sqlite3 *db, const char *sql)
{
    static char text[65536];
    size_t n = 0;
    int rc;
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    text[0] = '\0';
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(st); i++) {
            const char *s = (const char *)sqlite3_column_text(st, i);
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s",
                                  i   ? "|"
                                  : n ? " "
                                      : "",
                                  s ? s : "-");
            assert_true(n < sizeof text);
        }
    if (rc != SQLITE_DONE) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    return text;
}

#define vectable_is(db, sql, want)                                             \
 assert_string_equal(vectable_text((db), (sql)), (want))

static inline int64_t vectable_int(sqlite3 *db, const char *sql)
{
    return strtoll(vectable_text(db, sql), NULL, 10);
}

/* Run a statement whose first argument is a vector. */
static inline void vectable_bind(sqlite3 *db, const char *sql, const float *v,
                                 size_t dim)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_bind_blob(st, 1, v, (int)(dim * sizeof *v), SQLITE_STATIC);
    int rc = sqlite3_step(st);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(st);
}

/* Nothing is held: the log can be emptied into the file. */
static inline void vectable_checkpoint(sqlite3 *db)
{
    vectable_is(db, "PRAGMA wal_checkpoint(TRUNCATE)", "0|0|0");
}

static inline void vectable_sound(sqlite3 *db, const char *schema)
{
    struct ivf_report r;
    check_ok(vecindex_check(db, schema, "v", &r));
    if (r.problems)
        fail_msg("%llu problems: %s", (unsigned long long)r.problems, r.first);
}

#endif
