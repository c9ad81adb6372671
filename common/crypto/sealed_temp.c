/*
 * sealed: temporary files (sealed.h): what SQLite sorts, keeps of a statement
 * and builds while it vacuums, by reads and writes of any size.
 *
 * Blocks of 4096 bytes, each with its nonce and tag behind it. The key is drawn
 * when the file is made and is nowhere else: what is left of the file on the
 * disk afterwards is noise. No crash ever has to be survived here.
 */
#include <string.h>

#include "common/crypto/sealed_file.h"

enum { BLOCK_ROOM = SEALED_BLOCK + SEAL_EXTRA };

static struct sealed_file *of(sqlite3_file *file)
{
    return (struct sealed_file *)(void *)file;
}

static int64_t n_blocks(const struct sealed_file *f)
{
    return (f->size + SEALED_BLOCK - 1) / SEALED_BLOCK;
}

/* Block i into scratch. */
static int load(struct sealed_file *f, int64_t i)
{
    const struct seal_place place = {SEAL_BLOCK, (uint64_t)i, 0};
    int rc = f->real->pMethods->xRead(f->real, f->scratch, BLOCK_ROOM,
                                      i * BLOCK_ROOM);
    if (rc) return rc;
    if (seal_open(f->keys, &place, f->scratch, SEALED_BLOCK,
                  f->scratch + SEALED_BLOCK) == 0)
        return SQLITE_OK;
    return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                        "a temporary file was changed outside of Tacit");
}

static int store(struct sealed_file *f, int64_t i)
{
    const struct seal_place place = {SEAL_BLOCK, (uint64_t)i, 0};
    seal_close(f->keys, &place, f->scratch, SEALED_BLOCK, f->scratch,
               f->scratch + SEALED_BLOCK);
    return f->real->pMethods->xWrite(f->real, f->scratch, BLOCK_ROOM,
                                     i * BLOCK_ROOM);
}

static int temp_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    uint8_t *to = out;
    int left = n;
    if (at + left > f->size) {
        int64_t there = at < f->size ? f->size - at : 0;
        memset(to + there, 0, (size_t)(left - there));
        left = (int)there;
    }
    int rc = left < n ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
    while (left > 0) {
        int from = (int)(at % SEALED_BLOCK), some = SEALED_BLOCK - from;
        if (some > left) some = left;
        int bad = load(f, at / SEALED_BLOCK);
        if (bad) return bad;
        memcpy(to, f->scratch + from, (size_t)some);
        to += some;
        at += some;
        left -= some;
    }
    return rc;
}

/* Blocks of zeros up to block i, which a write beyond the end leaves out. */
static int fill_to(struct sealed_file *f, int64_t i)
{
    for (int64_t next = n_blocks(f); next < i; next++) {
        memset(f->scratch, 0, SEALED_BLOCK);
        int rc = store(f, next);
        if (rc) return rc;
        f->size = (next + 1) * SEALED_BLOCK;
    }
    return SQLITE_OK;
}

static int temp_write(sqlite3_file *file, const void *bytes, int n,
                      sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    const uint8_t *p = bytes;
    int rc = fill_to(f, at / SEALED_BLOCK);
    while (rc == SQLITE_OK && n > 0) {
        int64_t i = at / SEALED_BLOCK;
        int from = (int)(at % SEALED_BLOCK), some = SEALED_BLOCK - from;
        if (some > n) some = n;
        if (i >= n_blocks(f))
            memset(f->scratch, 0, SEALED_BLOCK);
        else if (some < SEALED_BLOCK)
            rc = load(f, i);
        if (rc) return rc;
        memcpy(f->scratch + from, p, (size_t)some);
        rc = store(f, i);
        p += some;
        at += some;
        n -= some;
        if (rc == SQLITE_OK && at > f->size) f->size = at;
    }
    return rc;
}

static int temp_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct sealed_file *f = of(file);
    int from = (int)(size % SEALED_BLOCK);
    if (size >= f->size) return SQLITE_OK; /* SQLite never grows one so */
    if (from) { /* what is written beyond it later begins with zeros */
        int rc = load(f, size / SEALED_BLOCK);
        if (rc) return rc;
        memset(f->scratch + from, 0, (size_t)(SEALED_BLOCK - from));
        rc = store(f, size / SEALED_BLOCK);
        if (rc) return rc;
    }
    f->size = size;
    return f->real->pMethods->xTruncate(f->real, n_blocks(f) * BLOCK_ROOM);
}

static int temp_size(sqlite3_file *file, sqlite3_int64 *out)
{
    *out = of(file)->size;
    return SQLITE_OK;
}

const sqlite3_io_methods sealed_temp_methods = {
    .iVersion = 1,
    .xClose = sealed_close_file,
    .xRead = temp_read,
    .xWrite = temp_write,
    .xTruncate = temp_truncate,
    .xSync = sealed_sync,
    .xFileSize = temp_size,
    .xLock = sealed_lock,
    .xUnlock = sealed_unlock,
    .xCheckReservedLock = sealed_reserved,
    .xFileControl = sealed_control,
    .xSectorSize = sealed_sector,
    .xDeviceCharacteristics = sealed_traits,
};
