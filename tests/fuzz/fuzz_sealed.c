/*
 * fuzz_sealed: what lies on the disk of a sealed store, and what SQLite may ask
 * of a temporary file.
 *
 * The first byte chooses. 0: the bytes lie over a good database; 1: over its
 * log; 2: over a hot journal: the store opens with rows that were written, or
 * with an error. 3: the bytes are a slot. 4: they are reads, writes and
 * truncations of a temporary file, compared with plain memory.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/db.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/crypto/sealed.h"
#include "common/crypto/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES = 3, TEMP_MAX = 40000, ROWS = 12 };

static const char *const suffixes[FILES] = {"", "-wal", "-journal"};
/* In memory where there is such a folder: each run syncs. */
static char folder[40] = "/dev/shm/tacit-fuzz-XXXXXX";
static struct sealed_vfs *vfs;
static struct db_vfs door;
/* In WAL mode with its log, in DELETE mode with a hot journal. */
static struct buf good[2][FILES];

static void path_of(char out[300], const char *name, int file)
{
    snprintf(out, 300, "%s/%s.db%s", folder, name, suffixes[file]);
}

static void must(enum tacit_err err)
{
    if (!err) return;
    fprintf(stderr, "%s\n", err_message());
    abort();
}

static void make_good(int mode)
{
    static const char *const modes[] = {"WAL", "DELETE"};
    struct db db;
    char path[300], sql[200];
    path_of(path, modes[mode], 0);
    must(db_open_through(&db, path, DB_CREATE, &door, NULL, 0));
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=%s; PRAGMA cache_size=2;"
             "CREATE TABLE t(id INTEGER PRIMARY KEY, x)",
             modes[mode]);
    must(db_exec(&db, sql));
    for (int i = 0; i < ROWS; i++)
        must(db_exec(&db, "INSERT INTO t(x) VALUES(zeroblob(2000))"));
    must(db_exec(&db, "BEGIN; UPDATE t SET x = zeroblob(2001)"));
    for (int f = 0; f < FILES; f++) {
        path_of(path, modes[mode], f);
        buf_init(&good[mode][f], 0);
        if (file_exists(path)) must(file_read(path, 1 << 24, &good[mode][f]));
    }
    db_close(&db);
}

static void clean(void)
{
    char path[300];
    static const char *const names[] = {"WAL", "DELETE", "x"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int f = 0; f < FILES; f++) {
            path_of(path, names[i], f);
            unlink(path);
        }
    snprintf(path, sizeof path, "%s/x.db-shm", folder);
    unlink(path);
    rmdir(folder);
}

static void setup(void)
{
    static const uint8_t key[SEAL_KEY] = {9};
    if (vfs) return;
    rng_setup();
    if (!mkdtemp(folder)) {
        snprintf(folder, sizeof folder, "/tmp/tacit-fuzz-XXXXXX");
        if (!mkdtemp(folder)) abort();
    }
    atexit(clean);
    must(sealed_new(key, &vfs));
    door = sealed_door(vfs);
    make_good(0);
    make_good(1);
}

static void put(const char *path, const struct buf *b, const uint8_t *over,
                size_t n, size_t at)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) abort();
    if (b->len && write(fd, b->data, b->len) != (ssize_t)b->len) abort();
    if (n && pwrite(fd, over, n, (off_t)at) != (ssize_t)n) abort();
    close(fd);
}

static void try_files(int which, const uint8_t *data, size_t n)
{
    int mode = which == 2;
    size_t at = 0;
    char path[300];
    if (n >= 3) {
        size_t room = good[mode][which].len + 100;
        at = ((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % room;
        data += 3;
        n -= 3;
    }
    for (int f = 0; f < FILES; f++) {
        path_of(path, "x", f);
        if (good[mode][f].len || f == which)
            put(path, &good[mode][f], data, f == which ? n : 0, at);
        else
            unlink(path);
    }
    snprintf(path, sizeof path, "%s/x.db-shm", folder);
    unlink(path);
    path_of(path, "x", 0);
    struct db db;
    int64_t wrong = 0;
    enum tacit_err err =
        db_open_through(&db, path, DB_EXISTING, &door, NULL, 0);
    if (!err) {
        err = db_int(&db, &wrong,
                     "SELECT count(*) FROM t WHERE length(x) NOT IN (2000) OR"
                     " id NOT BETWEEN 1 AND 12",
                     "");
        /* A journal whose head is gone is no journal: as ever with SQLite. */
        if (!err && wrong && which != 2) abort();
        db_close(&db);
    }
    err_clear();
}

static void try_slot(const uint8_t *data, size_t n)
{
    struct slot s;
    struct buf b;
    if (slot_decode("slot", data, n, &s)) {
        err_clear();
        return;
    }
    buf_init(&b, 0);
    slot_encode(&s, &b);
    if (b.len != n || memcmp(b.data, data, n) != 0) abort();
    buf_release(&b);
}

/* One step: kind, offset u16, length u16. */
static void temp_step(sqlite3_file *f, uint8_t *model, int64_t *size,
                      const uint8_t *p)
{
    static uint8_t bytes[1 << 16], got[1 << 16];
    int64_t at = (p[1] | p[2] << 8) % TEMP_MAX;
    int n = 1 + (p[3] | p[4] << 8) % 9000;
    if (at + n > TEMP_MAX) n = (int)(TEMP_MAX - at);
    if (p[0] % 4 < 2) {
        for (int i = 0; i < n; i++) bytes[i] = (uint8_t)(p[3] + i * 7);
        if (f->pMethods->xWrite(f, bytes, n, at)) abort();
        memcpy(model + at, bytes, (size_t)n);
        if (at + n > *size) *size = at + n;
    } else if (p[0] % 4 == 2) {
        if (at < *size) {
            memset(model + at, 0, (size_t)(*size - at));
            *size = at;
        }
        if (f->pMethods->xTruncate(f, at)) abort();
    } else {
        int rc = f->pMethods->xRead(f, got, n, at);
        if (rc != (at + n > *size ? SQLITE_IOERR_SHORT_READ : SQLITE_OK))
            abort();
        if (memcmp(got, model + at, (size_t)n) != 0) abort();
    }
    sqlite3_int64 is = 0;
    if (f->pMethods->xFileSize(f, &is) || is != *size) abort();
}

static void try_temp(const uint8_t *data, size_t n)
{
    sqlite3_vfs *v = sqlite3_vfs_find(door.name);
    sqlite3_file *f = calloc(1, (size_t)v->szOsFile);
    uint8_t *model = calloc(1, TEMP_MAX);
    int64_t size = 0;
    int flags = SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_READWRITE |
                SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE |
                SQLITE_OPEN_DELETEONCLOSE;
    if (!f || !model || v->xOpen(v, NULL, f, flags, NULL)) abort();
    for (size_t i = 0; i + 5 <= n && i < 500; i += 5)
        temp_step(f, model, &size, data + i);
    f->pMethods->xClose(f);
    free(model);
    free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setup();
    if (size < 1) return 0;
    int which = data[0] % 5;
    if (which < FILES)
        try_files(which, data + 1, size - 1);
    else if (which == 3)
        try_slot(data + 1, size - 1);
    else
        try_temp(data + 1, size - 1);
    return 0;
}
