#include "common/base/db.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"

enum { BUSY_MS = 5000 };

enum tacit_err db_error(struct db *db, int rc, const char *what)
{
    int cause = errno; /* of a COMMIT, sqlite3_system_errno() has none */
    const char *why = db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return TACIT_OK;
    case SQLITE_FULL:
        return fail_as(E_DISK_FULL, "%s: %s: the disk is full", db->path, what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail_as(E_STORE_BUSY, "%s: %s: %s", db->path, what, why);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return fail_as(E_STORE_DAMAGED, "%s: %s: the store is damaged (%s)",
                       db->path, what, why);
    case SQLITE_NOMEM: return fail(TACIT_NOMEM, "out of memory");
    case SQLITE_CONSTRAINT:
        return fail(TACIT_STATE, "%s: %s: %s", db->path, what, why);
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return fail(TACIT_INTERNAL, "%s: %s: %s", db->path, what, why);
    case SQLITE_INTERRUPT: return fail(TACIT_STATE, "%s: interrupted", what);
    default: {
        int os = db->sql ? sqlite3_system_errno(db->sql) : 0;
        if (!os && rc == SQLITE_IOERR_WRITE) os = cause;
        if (os == ENOSPC || os == EDQUOT || os == EFBIG)
            return fail_as(E_DISK_FULL, "%s: %s: %s", db->path, what,
                           strerror(os));
        return fail(TACIT_IO, "%s: %s: %s%s%s", db->path, what, why,
                    os ? ": " : "", os ? strerror(os) : "");
    }
    }
}

enum tacit_err db_exec(struct db *db, const char *sql)
{
    return db_error(db, sqlite3_exec(db->sql, sql, NULL, NULL, NULL),
                    "cannot change the store");
}

enum tacit_err db_begin(struct db *db)
{
    return db_error(db,
                    sqlite3_exec(db->sql, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                    "cannot begin a change");
}

enum tacit_err db_commit(struct db *db)
{
    return db_error(db, sqlite3_exec(db->sql, "COMMIT", NULL, NULL, NULL),
                    "cannot keep a change");
}

/* A change that stayed open would take in all that is written after it, and
 * let no other begin: this must work without memory too. */
void db_rollback(struct db *db)
{
    if (sqlite3_get_autocommit(db->sql)) return;
    (void)sqlite3_step(db->rollback);
    (void)sqlite3_reset(db->rollback);
}

static enum tacit_err bind(struct db *db, sqlite3_stmt *st, const char *fmt,
                           va_list ap)
{
    for (int i = 1; *fmt; fmt++, i++) {
        int rc = SQLITE_MISUSE;
        switch (*fmt) {
        case 'i': rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t)); break;
        case 'd': rc = sqlite3_bind_double(st, i, va_arg(ap, double)); break;
        case 's':
            rc = sqlite3_bind_text(st, i, va_arg(ap, const char *), -1,
                                   SQLITE_STATIC);
            break;
        case 'b': {
            const void *p = va_arg(ap, const void *);
            size_t n = va_arg(ap, size_t);
            rc = sqlite3_bind_blob64(st, i, n ? p : "", n, SQLITE_STATIC);
            break;
        }
        default: break;
        }
        TRY(db_error(db, rc, "cannot bind a value"));
    }
    return TACIT_OK;
}

static enum tacit_err query(struct db *db, sqlite3_stmt **out, const char *sql,
                            const char *fmt, va_list ap)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL);
    enum tacit_err err = db_error(db, rc, "cannot read the store");
    if (!err) err = bind(db, st, fmt, ap);
    if (err) {
        sqlite3_finalize(st);
        return err;
    }
    *out = st;
    return TACIT_OK;
}

enum tacit_err db_query(struct db *db, sqlite3_stmt **out, const char *sql,
                        const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    enum tacit_err err = query(db, out, sql, fmt, ap);
    va_end(ap);
    return err;
}

enum tacit_err db_step(struct db *db, sqlite3_stmt *st, int *has_row)
{
    int rc = sqlite3_step(st);
    TRY(db_error(db, rc, "cannot use the store"));
    *has_row = rc == SQLITE_ROW;
    return TACIT_OK;
}

void db_finish(sqlite3_stmt *st)
{
    sqlite3_finalize(st);
}

enum tacit_err db_run(struct db *db, const char *sql, const char *fmt, ...)
{
    sqlite3_stmt *st;
    int has_row = 1;
    va_list ap;
    va_start(ap, fmt);
    enum tacit_err err = query(db, &st, sql, fmt, ap);
    va_end(ap);
    if (err) return err;
    while (!err && has_row) err = db_step(db, st, &has_row);
    db_finish(st);
    return err;
}

enum tacit_err db_int(struct db *db, int64_t *out, const char *sql,
                      const char *fmt, ...)
{
    sqlite3_stmt *st;
    int has_row = 0;
    va_list ap;
    va_start(ap, fmt);
    enum tacit_err err = query(db, &st, sql, fmt, ap);
    va_end(ap);
    if (err) return err;
    err = db_step(db, st, &has_row);
    if (!err && !has_row) err = fail(TACIT_NOTFOUND, "no such row");
    if (!err) *out = sqlite3_column_int64(st, 0);
    db_finish(st);
    return err;
}

/* *version migrations have been run. Refuse a newer store before anything is
 * written to it. */
static enum tacit_err check_version(struct db *db, size_t n, int64_t *version)
{
    TRY(db_int(db, version, "PRAGMA user_version", ""));
    if (*version < 0 || (uint64_t)*version > n)
        return fail_as(E_STORE_NEWER,
                       "%s: written by a newer version (store %lld, this "
                       "program knows %zu)",
                       db->path, (long long)*version, n);
    return TACIT_OK;
}

static enum tacit_err migrate(struct db *db, const char *const *migrations,
                              size_t n)
{
    int64_t version = 0;
    TRY(check_version(db, n, &version));
    for (size_t i = (size_t)version; i < n; i++) {
        char set[48];
        snprintf(set, sizeof set, "PRAGMA user_version=%zu", i + 1);
        TRY(db_begin(db));
        /* Another process may have migrated while we waited for the lock. */
        enum tacit_err err = db_int(db, &version, "PRAGMA user_version", "");
        if (!err && (uint64_t)version == i) {
            err = db_exec(db, migrations[i]);
            if (!err) err = db_exec(db, set);
        }
        if (!err) err = db_commit(db);
        if (err) {
            db_rollback(db);
            return err_context(err, "%s: upgrade %zu", db->path, i + 1);
        }
    }
    return TACIT_OK;
}

static enum tacit_err configure(struct db *db, enum db_mode mode, size_t n)
{
    int64_t version = 0;
    sqlite3_extended_result_codes(db->sql, 1);
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    TRY(db_exec(db, "PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON;"
                    "PRAGMA mmap_size=0;"));
    /* The first read finds out whether this is a database at all. */
    TRY(db_exec(db, "SELECT count(*) FROM sqlite_master"));
    TRY(check_version(db, n, &version));
    if (mode == DB_READONLY) return TACIT_OK;
    return db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
}

enum tacit_err db_open(struct db *db, const char *path, enum db_mode mode,
                       const char *const *migrations, size_t n)
{
    struct stat st;
    int n_path = snprintf(db->path, sizeof db->path, "%s", path);
    db->sql = NULL;
    db->rollback = NULL;
    if (n_path < 0 || (size_t)n_path >= sizeof db->path)
        return fail(TACIT_LIMIT, "%s: path too long", path);
    if (mode != DB_CREATE && stat(path, &st) != 0)
        return fail_as(E_NOT_INITIALISED, "%s: there is no store here", path);
    /* No store of ours is ever this short; SQLite would take it for new. */
    if (mode != DB_CREATE && st.st_size == 0)
        return fail_as(E_STORE_DAMAGED, "%s: the file is empty", path);
    int flags =
        mode == DB_READONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (mode == DB_CREATE) flags |= SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(path, &db->sql, flags, NULL);
    enum tacit_err err = db_error(db, rc, "cannot open");
    if (!err) err = configure(db, mode, n);
    if (!err)
        err = db_error(db,
                       sqlite3_prepare_v3(db->sql, "ROLLBACK", -1,
                                          SQLITE_PREPARE_PERSISTENT,
                                          &db->rollback, NULL),
                       "cannot open");
    if (!err && mode != DB_READONLY) err = migrate(db, migrations, n);
    if (err) db_close(db);
    return err;
}

void db_close(struct db *db)
{
    sqlite3_finalize(db->rollback);
    sqlite3_close_v2(db->sql);
    db->sql = NULL;
    db->rollback = NULL;
}
