/*
 * db: the door to SQLite for state: opening with migrations, prepared
 * statements, transactions.
 *
 * Every store is WAL with synchronous=FULL, foreign keys on, a busy time-out of
 * 5 s (of opening it, too), trusted_schema off and no memory mapping. What is
 * deleted becomes zeros (secure_delete), also where SQLite is built otherwise;
 * the log has it until a checkpoint has ended and the log begins anew.
 * `user_version` counts the migrations; a store with a larger one is refused
 * untouched (E_STORE_NEWER).
 * Thread rule: one connection belongs to one thread.
 */
#ifndef TACIT_BASE_DB_H
#define TACIT_BASE_DB_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct db {
    sqlite3 *sql;           /* owned */
    sqlite3_stmt *rollback; /* owned: made before memory can run out */
    char path[512];
    char vfs[32]; /* SQLite's name of what its files go through; "": its own */
    int is_readonly; /* it was opened so */
    int is_alone;    /* nobody else may have it open meanwhile */
};

/* Files that do not lie as SQLite would lay them: see common/crypto/sealed.h.
 * A fault that is the VFS's own comes as SQLITE_IOERR_DATA (damage) or
 * SQLITE_IOERR_AUTH (another key), its text from xGetLastError(). */
struct db_vfs {
    const char *name;    /* registered with SQLite; borrowed */
    int reserve;         /* bytes of each page that are the VFS's */
    int64_t empty_bytes; /* a file no longer than this holds no page */
};

/* A file control of such a VFS, with an int: 1 = from now on a damaged page of
 * the store is zeros, not a fault. */
enum { DB_FCNTL_DAMAGE_IS_ZEROS = 0x7ac17 };

/* DB_READABLE: as DB_EXISTING where the store may be written, else to be read,
 * from a medium, too, where nothing may lie beside it: then as it is when it is
 * opened, and nobody may write to it meanwhile; and where the disk has no room
 * for the index of the log, which is then in memory, and the store is held from
 * others as long as it is open. */
enum db_mode { DB_CREATE, DB_EXISTING, DB_READABLE, DB_READONLY };

/* How a store is opened, beside its path. */
struct db_opening {
    enum db_mode mode;
    const struct db_vfs *vfs;      /* NULL: SQLite's own */
    const char *const *migrations; /* [n] borrowed */
    size_t n;
    int page_bytes; /* of a store that is made now; 0: SQLite's choice */
    /* Give the connection what the migrations use (modules, functions); NULL:
     * nothing. */
    enum tacit_err (*prepare)(struct db *db);
};

/* SQLite's settings for the whole process, once and before its first use: it
 * does not count what memory it takes, for which each request would take a lock
 * that all threads share. Every opening sees to it; whoever calls SQLite before
 * does so, too. */
void db_setup(void);
/* Open path and run migrations[current..n) each in its transaction.
 * NOT_INITIALISED when absent and not DB_CREATE; FORMAT when it is not a
 * database; E_STORE_READONLY when it would have to be written first;
 * E_STORE_LOG when its newest changes lie in a log that cannot be read there.
 */
TACIT_CHECKED enum tacit_err db_open(struct db *db, const char *path,
                                     enum db_mode mode,
                                     const char *const *migrations, size_t n);
/* The same through a VFS; NULL: SQLite's own. E_STORE_KEY when the store is
 * sealed with another key. */
TACIT_CHECKED enum tacit_err db_open_through(struct db *db, const char *path,
                                             enum db_mode mode,
                                             const struct db_vfs *vfs,
                                             const char *const *migrations,
                                             size_t n);
/* The same with all that can be said. */
TACIT_CHECKED enum tacit_err db_open_with(struct db *db, const char *path,
                                          const struct db_opening *how);
/* Write the store at `from` anew into the file `to`, which must not be there:
 * the same rows, through another VFS, whole and on the disk when this returns.
 * Nobody may write to `from` meanwhile. What is left of a failed copy is
 * removed. */
TACIT_CHECKED enum tacit_err db_copy(const char *from,
                                     const struct db_vfs *through,
                                     const char *to, const struct db_vfs *into);
void db_close(struct db *db);

/* Run one or more statements without results. */
TACIT_CHECKED enum tacit_err db_exec(struct db *db, const char *sql);
/* BEGIN IMMEDIATE / COMMIT / ROLLBACK. */
TACIT_CHECKED enum tacit_err db_begin(struct db *db);
TACIT_CHECKED enum tacit_err db_commit(struct db *db);
void db_rollback(struct db *db);

/* One statement, with SQLite's flags; *out is owned, untouched on failure.
 * E_STORE_DAMAGED when a file has other tables than it is about. */
TACIT_CHECKED enum tacit_err db_prepare(struct db *db, const char *sql,
                                        unsigned flags, sqlite3_stmt **out);
/* Prepare and bind in one go. fmt has one letter per argument:
 *   i int64_t · d double · s const char* (NULL allowed) · b const void*,size_t
 * Bytes are borrowed until the statement is finished. *out is owned. */
TACIT_CHECKED enum tacit_err db_query(struct db *db, sqlite3_stmt **out,
                                      const char *sql, const char *fmt, ...);
/* *has_row = 1 on a row, 0 at the end. */
TACIT_CHECKED enum tacit_err db_step(struct db *db, sqlite3_stmt *st,
                                     int *has_row);
void db_finish(sqlite3_stmt *st);
/* db_query + step to the end + finish. */
TACIT_CHECKED enum tacit_err db_run(struct db *db, const char *sql,
                                    const char *fmt, ...);
/* The first column of the first row as an integer; NOTFOUND without a row. */
TACIT_CHECKED enum tacit_err db_int(struct db *db, int64_t *out,
                                    const char *sql, const char *fmt, ...);
/* Turn an SQLite result code into ours, with a message (full disk, busy…). */
enum tacit_err db_error(struct db *db, int rc, const char *what);

#endif
