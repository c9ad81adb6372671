#include "common/base/db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/tick.h"

enum { BUSY_MS = 5000, BUSY_LOOK_MS = 10 };

static void configure_sqlite(void)
{
    /* Refused when it was used before, which costs time alone. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

void db_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, configure_sqlite);
}

/* A fault that the VFS found: OK when it is none of those. */
static enum tacit_err vfs_error(struct db *db, int rc)
{
    char text[640] = "";
    sqlite3_vfs *vfs = db->vfs[0] ? sqlite3_vfs_find(db->vfs) : NULL;
    if (db->sql) rc = sqlite3_extended_errcode(db->sql);
    int other_key = rc == SQLITE_IOERR_AUTH;
    if (!vfs || (!other_key && rc != SQLITE_IOERR_DATA && rc != SQLITE_NOTADB))
        return TACIT_OK;
    vfs->xGetLastError(vfs, (int)sizeof text, text);
    if (!text[0]) return TACIT_OK;
    return other_key ? fail_as(E_STORE_KEY, "%s", text)
                     : fail_as(E_STORE_DAMAGED, "%s", text);
}

/* Whether the store or its folder is not for us to write. */
static int is_readonly(const struct db *db)
{
    if (db->is_readonly) return 1;
    char folder[sizeof db->path];
    const char *slash = strrchr(db->path, '/');
    size_t n = slash ? (size_t)(slash - db->path) + 1 : 0;
    if (n + 1 >= sizeof folder) return 0;
    snprintf(folder, sizeof folder, "%.*s.", (int)n, db->path);
    return access(db->path, F_OK) == 0 &&
           (access(db->path, W_OK) != 0 || access(folder, W_OK) != 0);
}

enum tacit_err db_error(struct db *db, int rc, const char *what)
{
    int cause = errno; /* of a COMMIT, sqlite3_system_errno() has none */
    const char *why = db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc);
    if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_NOTADB)
        TRY(vfs_error(db, rc));
    if (((rc & 0xff) == SQLITE_READONLY || (rc & 0xff) == SQLITE_CANTOPEN) &&
        is_readonly(db))
        return fail_as(E_STORE_READONLY, "%s: it may only be read", db->path);
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return TACIT_OK;
    case SQLITE_FULL:
        return fail_as(E_DISK_FULL, "%s: %s: the disk is full", db->path, what);
    case SQLITE_BUSY:
        if (rc != SQLITE_BUSY_SNAPSHOT) /* which is not waited for */
            return fail_as(E_STORE_BUSY,
                           "%s: %s: another process holds it, still after %d s",
                           db->path, what, BUSY_MS / 1000);
        /* fall through */
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

/* What a program says never changes: where it does not fit, the tables are not
 * those that were made for it. */
enum tacit_err db_prepare(struct db *db, const char *sql, unsigned flags,
                          sqlite3_stmt **out)
{
    int rc = sqlite3_prepare_v3(db->sql, sql, -1, flags, out, NULL);
    const char *file = sqlite3_db_filename(db->sql, "main");
    if ((rc & 0xff) == SQLITE_ERROR && file && *file)
        return fail_as(
            E_STORE_DAMAGED,
            "%s: the store is damaged: its tables are not those that "
            "were made (%s)",
            db->path, sqlite3_errmsg(db->sql));
    return db_error(db, rc, "cannot read the store");
}

static enum tacit_err query(struct db *db, sqlite3_stmt **out, const char *sql,
                            const char *fmt, va_list ap)
{
    sqlite3_stmt *st = NULL;
    enum tacit_err err = db_prepare(db, sql, 0, &st);
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

/* One of the statements that a store is opened with. */
static enum tacit_err open_by(struct db *db, const char *sql)
{
    return db_error(db, sqlite3_exec(db->sql, sql, NULL, NULL, NULL),
                    "cannot open the store");
}

/* SQLite reads before it turns a store to a log, and waits for no lock behind a
 * read: two that did could wait for one another. */
static enum tacit_err keep_log(struct db *db)
{
    static const char sql[] = "PRAGMA journal_mode=WAL";
    int64_t end_ns = tick_ns() + (int64_t)BUSY_MS * 1000000;
    int rc = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);
    while ((rc & 0xff) == SQLITE_BUSY && tick_ns() < end_ns) {
        sqlite3_sleep(BUSY_LOOK_MS);
        rc = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);
    }
    return db_error(db, rc, "cannot open the store");
}

static enum tacit_err configure(struct db *db, const struct db_opening *how)
{
    int64_t version = 0;
    sqlite3_extended_result_codes(db->sql, 1);
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    /* Before the log is opened: SQLite then keeps its index to itself. */
    if (db->is_alone) TRY(open_by(db, "PRAGMA locking_mode=EXCLUSIVE"));
    TRY(open_by(db, "PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON;"
                    "PRAGMA mmap_size=0;"));
    /* The first read finds out whether this is a database at all. */
    TRY(open_by(db, "SELECT count(*) FROM sqlite_master"));
    TRY(check_version(db, how->n, &version));
    if (db->is_readonly) return TACIT_OK;
    TRY(keep_log(db));
    return open_by(db, "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;");
}

/* Whether a file that should be a store is too short to be one: SQLite would
 * take it for new. */
static int is_empty(const struct stat *st, const struct db_vfs *vfs)
{
    return st->st_size <= (vfs ? vfs->empty_bytes : 0);
}

static enum tacit_err open_sql(struct db *db, const struct db_opening *how,
                               const char *name, int is_new)
{
    const struct db_vfs *vfs = how->vfs;
    char page[48];
    int flags = db->is_readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (how->mode == DB_CREATE) flags |= SQLITE_OPEN_CREATE;
    if (name != db->path) flags |= SQLITE_OPEN_URI;
    int rc = sqlite3_open_v2(name, &db->sql, flags, vfs ? vfs->name : NULL);
    TRY(db_error(db, rc, "cannot open"));
    snprintf(page, sizeof page, "PRAGMA page_size=%d", how->page_bytes);
    if (is_new && how->page_bytes) TRY(db_exec(db, page));
    if (!vfs) return TACIT_OK;
    int reserve = vfs->reserve;
    rc = sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_RESERVE_BYTES,
                              &reserve);
    return db_error(db, rc, "cannot open");
}

static enum tacit_err migrate_or_refuse(struct db *db,
                                        const struct db_opening *how)
{
    int64_t version = 0;
    if (how->mode == DB_READONLY) return TACIT_OK;
    if (!db->is_readonly) return migrate(db, how->migrations, how->n);
    TRY(check_version(db, how->n, &version));
    if ((uint64_t)version == how->n) return TACIT_OK;
    return fail_as(E_STORE_READONLY,
                   "%s: it may only be read, and an older version wrote it: "
                   "this one would have to change it first",
                   db->path);
}

/* name: db->path, or a URI of it. */
static enum tacit_err open_file(struct db *db, const struct db_opening *how,
                                const char *name, int is_new)
{
    TRY(open_sql(db, how, name, is_new));
    if (sqlite3_db_readonly(db->sql, "main") == 1) db->is_readonly = 1;
    TRY(configure(db, how));
    TRY(db_prepare(db, "ROLLBACK", SQLITE_PREPARE_PERSISTENT, &db->rollback));
    return how->prepare ? how->prepare(db) : TACIT_OK;
}

/* A file: URI of a path, for SQL: whatever else has a meaning in either. */
static enum tacit_err put_uri(struct buf *b, const char *path, const char *vfs)
{
    buf_printf(b, "file:");
    for (const char *p = path; *p; p++)
        if (strchr("%?#'", *p))
            buf_printf(b, "%%%02x", (unsigned)(unsigned char)*p);
        else
            buf_put(b, p, 1);
    buf_printf(b, "?vfs=%s", vfs);
    return buf_end(b);
}

/* Whether changes lie beside the store that are not in it yet. */
static int has_log(const struct db *db)
{
    char log[sizeof db->path + 4];
    struct stat st;
    snprintf(log, sizeof log, "%s-wal", db->path);
    return stat(log, &st) == 0 && st.st_size > 0;
}

/* SQLite wants a log and its index beside the store, and could make neither.
 * Without changes in a log the file is all there is: it is read without locks.
 */
static enum tacit_err open_as_it_is(struct db *db, const struct db_opening *how)
{
    struct buf uri;
    err_clear();
    db_close(db);
    db->is_readonly = 1;
    if (has_log(db))
        return fail_as(E_STORE_LOG,
                       "%s: it may only be read, and its newest changes lie in "
                       "%s-wal, which is read only where something may be "
                       "written beside it",
                       db->path, db->path);
    buf_init(&uri, 0);
    enum tacit_err err =
        put_uri(&uri, db->path, how->vfs ? how->vfs->name : "unix");
    buf_printf(&uri, "&immutable=1");
    const char *name = buf_cstr(&uri);
    if (!err && !name) err = buf_end(&uri);
    if (!err) err = open_file(db, how, name, 0);
    buf_release(&uri);
    return err;
}

/* The 32 KiB of the log's index are not to be had. Whoever has the store open
 * already has them; without anybody it can be held. */
static enum tacit_err open_alone(struct db *db, const struct db_opening *how)
{
    err_clear();
    db_close(db);
    db->is_alone = 1;
    return open_file(db, how, db->path, 0);
}

enum tacit_err db_open_with(struct db *db, const char *path,
                            const struct db_opening *how)
{
    struct stat st;
    db_setup();
    int n_path = snprintf(db->path, sizeof db->path, "%s", path);
    db->sql = NULL;
    snprintf(db->vfs, sizeof db->vfs, "%s", how->vfs ? how->vfs->name : "");
    db->rollback = NULL;
    if (n_path < 0 || (size_t)n_path >= sizeof db->path)
        return fail(TACIT_LIMIT, "%s: path too long", path);
    int is_absent = stat(path, &st) != 0;
    int is_new = is_absent || is_empty(&st, how->vfs);
    if (how->mode != DB_CREATE && is_absent)
        return fail_as(E_NOT_INITIALISED, "%s: there is no store here", path);
    if (how->mode != DB_CREATE && is_new)
        return fail_as(E_STORE_DAMAGED, "%s: the file is empty", path);
    db->is_readonly = how->mode == DB_READONLY;
    db->is_alone = 0;
    enum tacit_err err = open_file(db, how, db->path, is_new);
    if (err && how->mode == DB_READABLE && err_id() == E_STORE_READONLY)
        err = open_as_it_is(db, how);
    else if (err && how->mode == DB_READABLE && err_id() == E_DISK_FULL)
        err = open_alone(db, how);
    if (!err) err = migrate_or_refuse(db, how);
    if (err) db_close(db);
    return err;
}

enum tacit_err db_open_through(struct db *db, const char *path,
                               enum db_mode mode, const struct db_vfs *vfs,
                               const char *const *migrations, size_t n)
{
    const struct db_opening how = {.mode = mode,
                                   .vfs = vfs,
                                   .migrations = migrations,
                                   .n = n};
    return db_open_with(db, path, &how);
}

enum tacit_err db_open(struct db *db, const char *path, enum db_mode mode,
                       const char *const *migrations, size_t n)
{
    return db_open_through(db, path, mode, NULL, migrations, n);
}

/* ---- a copy through another VFS ------------------------------------------ */

static enum tacit_err copy_rows(const char *from, const struct db_vfs *through,
                                const char *to, const struct db_vfs *into)
{
    struct db db = {0};
    struct buf sql;
    int reserve = into ? into->reserve : 0;
    snprintf(db.path, sizeof db.path, "%s", from);
    snprintf(db.vfs, sizeof db.vfs, "%s", through ? through->name : "");
    buf_init(&sql, 0);
    buf_printf(&sql, "PRAGMA synchronous=FULL; VACUUM INTO '");
    enum tacit_err err = put_uri(&sql, to, into ? into->name : "unix");
    buf_printf(&sql, "'");
    const char *text = buf_cstr(&sql);
    if (!err && !text) err = buf_end(&sql);
    if (!err) {
        int rc = sqlite3_open_v2(from, &db.sql,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI,
                                 through ? through->name : NULL);
        err = db_error(&db, rc, "cannot open");
    }
    if (!err) {
        sqlite3_extended_result_codes(db.sql, 1);
        sqlite3_file_control(db.sql, "main", SQLITE_FCNTL_RESERVE_BYTES,
                             &reserve);
        err = db_exec(&db, text);
    }
    db_close(&db);
    buf_release(&sql);
    return err;
}

/* The copy opens, and all of it is readable and fits together. */
static enum tacit_err check_copy(const char *to, const struct db_vfs *into)
{
    struct db db = {0};
    sqlite3_stmt *st = NULL;
    int has = 0;
    snprintf(db.path, sizeof db.path, "%s", to);
    snprintf(db.vfs, sizeof db.vfs, "%s", into ? into->name : "");
    int rc = sqlite3_open_v2(to, &db.sql, SQLITE_OPEN_READWRITE,
                             into ? into->name : NULL);
    enum tacit_err err = db_error(&db, rc, "cannot open");
    if (!err) err = db_query(&db, &st, "PRAGMA integrity_check(1)", "");
    if (!err) err = db_step(&db, st, &has);
    const unsigned char *text = !err && has ? sqlite3_column_text(st, 0) : NULL;
    if (!err && (!text || strcmp((const char *)text, "ok") != 0))
        err = fail_as(E_STORE_DAMAGED, "%s: the copy is damaged", to);
    db_finish(st);
    db_close(&db);
    return err;
}

static enum tacit_err sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd) != 0;
    int why = errno;
    if (fd >= 0) close(fd);
    return bad ? fail(TACIT_IO, "%s: %s", path, strerror(why)) : TACIT_OK;
}

enum tacit_err db_copy(const char *from, const struct db_vfs *through,
                       const char *to, const struct db_vfs *into)
{
    /* Made here, so that nobody else may read it. */
    int fd = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail(TACIT_IO, "%s: %s", to, strerror(errno));
    close(fd);
    enum tacit_err err = copy_rows(from, through, to, into);
    if (!err) err = check_copy(to, into);
    if (!err) err = sync_file(to);
    if (err) unlink(to);
    return err;
}

void db_close(struct db *db)
{
    sqlite3_finalize(db->rollback);
    sqlite3_close_v2(db->sql);
    db->sql = NULL;
    db->rollback = NULL;
}
