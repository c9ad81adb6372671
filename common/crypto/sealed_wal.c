/*
 * sealed: the write-ahead log (sealed.h).
 *
 *   as SQLite has it      header [32]   frame k: head [24], page [P]
 *   as it lies here       header [128]  frame k: head [64], page [P]
 *
 * SQLite writes a frame's head and its page by one call each, may write a head
 * or a page of its own transaction again, and reads pages alone, a checksum of
 * a head or of the header, or, while it recovers, whole frames. A head holds
 * the page's number, the log's salts and SQLite's checksum of the page: 64 bits
 * by which a guess of the page could be checked, so it is sealed too. A page's
 * place names frame and page number, as its head gives it; not the log's salts,
 * which SQLite may fill in later.
 */
#include <string.h>

#include "common/base/buf.h"
#include "common/crypto/sealed_file.h"

static struct sealed_file *of(sqlite3_file *file)
{
    return (struct sealed_file *)(void *)file;
}

static int64_t frame_at(const struct sealed_file *f, int64_t frame)
{
    return WAL_HEAD_ROOM + frame * ((int64_t)WAL_FRAME_ROOM + f->page);
}

static struct seal_place head_place(int64_t frame)
{
    return (struct seal_place){SEAL_FRAME, (uint64_t)frame, 0};
}

static struct seal_place page_place(int64_t frame,
                                    const uint8_t head[WAL_FRAME])
{
    return (struct seal_place){SEAL_WAL_PAGE, (uint64_t)frame, le32_load(head)};
}

/* Which part of which frame a call is about. */
enum part { PART_HEAD, PART_PAGE, PART_BOTH, PART_NONE };

static enum part part_of(const struct sealed_file *f, int n, int64_t at,
                         int64_t *frame)
{
    int64_t whole = (int64_t)WAL_FRAME + f->page;
    if (at < WAL_HEAD) return PART_NONE;
    *frame = (at - WAL_HEAD) / whole;
    int64_t from = (at - WAL_HEAD) % whole;
    if (from + n <= WAL_FRAME) return PART_HEAD;
    if (from == 0 && n == whole) return PART_BOTH;
    if (from == WAL_FRAME && n == (int)f->page) return PART_PAGE;
    return PART_NONE;
}

static int odd(struct sealed_file *f, int rc, int n, int64_t at)
{
    return sealed_fault(f->vfs, rc, "%s: %d bytes at %lld are no part of a log",
                        f->name, n, (long long)at);
}

/* ---- reading ------------------------------------------------------------ */

/* A frame into scratch: 0 when its head opens. */
static int load_frame(struct sealed_file *f, int64_t frame, uint32_t n_page)
{
    struct seal_place place = head_place(frame);
    int rc = f->real->pMethods->xRead(f->real, f->scratch,
                                      (int)(WAL_FRAME_ROOM + n_page),
                                      frame_at(f, frame));
    if (rc) return rc;
    if (seal_open(f->keys, &place, f->scratch, WAL_FRAME,
                  f->scratch + WAL_FRAME) == 0)
        return SQLITE_OK;
    return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                        "%s: frame %lld was changed outside of Tacit", f->name,
                        (long long)frame + 1);
}

static int open_page(struct sealed_file *f, int64_t frame, uint8_t *page)
{
    struct seal_place place = page_place(frame, f->scratch);
    uint32_t n = f->page - SEAL_EXTRA;
    if (seal_open(f->keys, &place, page, n, page + n) != 0)
        return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                            "%s: the page of frame %lld was changed outside "
                            "of Tacit",
                            f->name, (long long)frame + 1);
    memset(page + n, 0, SEAL_EXTRA);
    return SQLITE_OK;
}

/* Recovery: what does not open is the end of the log, as a torn frame is. */
static int read_frame(struct sealed_file *f, int64_t frame, uint8_t *out)
{
    int rc = load_frame(f, frame, f->page);
    uint8_t *page = f->scratch + WAL_FRAME_ROOM;
    if (rc == SQLITE_OK) rc = open_page(f, frame, page);
    if (rc != SQLITE_OK) {
        memset(out, 0, (size_t)WAL_FRAME + f->page);
        return rc == SQLITE_IOERR_DATA ? SQLITE_OK : rc;
    }
    memcpy(out, f->scratch, WAL_FRAME);
    memcpy(out + WAL_FRAME, page, f->page);
    return SQLITE_OK;
}

static int read_one_page(struct sealed_file *f, int64_t frame, uint8_t *out)
{
    int rc = load_frame(f, frame, f->page);
    if (rc == SQLITE_OK) {
        memcpy(out, f->scratch + WAL_FRAME_ROOM, f->page);
        rc = open_page(f, frame, out);
    }
    if (rc != SQLITE_OK) memset(out, 0, f->page);
    return rc;
}

static int read_header(struct sealed_file *f, uint8_t out[WAL_HEAD])
{
    const struct seal_place place = {SEAL_WAL_HEAD, 0, 0};
    uint8_t room[WAL_HEAD_ROOM];
    memset(out, 0, WAL_HEAD);
    int rc = f->real->pMethods->xRead(f->real, room, sizeof room, 0);
    if (rc) return rc;
    if (seal_open(f->keys, &place, room, WAL_HEAD, room + WAL_HEAD) == 0)
        memcpy(out, room, WAL_HEAD);
    return SQLITE_OK; /* zeros: no log, as after a torn write */
}

static int wal_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    int64_t frame = 0;
    uint8_t header[WAL_HEAD];
    int rc = sealed_of_store(f, "-wal");
    if (rc == SQLITE_NOTFOUND) { /* no store yet, so no log */
        memset(out, 0, (size_t)n);
        return SQLITE_IOERR_SHORT_READ;
    }
    if (rc) return rc;
    if (at + n <= WAL_HEAD) {
        rc = read_header(f, header);
        memcpy(out, header + at, (size_t)n);
        return rc;
    }
    switch (part_of(f, n, at, &frame)) {
    case PART_HEAD:
        rc = load_frame(f, frame, 0);
        at -= WAL_HEAD + frame * ((int64_t)WAL_FRAME + f->page);
        if (rc == SQLITE_OK) memcpy(out, f->scratch + at, (size_t)n);
        return rc;
    case PART_PAGE: return read_one_page(f, frame, out);
    case PART_BOTH: return read_frame(f, frame, out);
    case PART_NONE: break;
    }
    return odd(f, SQLITE_IOERR_READ, n, at);
}

/* ---- writing ------------------------------------------------------------ */

static int write_header(struct sealed_file *f, const uint8_t *bytes)
{
    const struct seal_place place = {SEAL_WAL_HEAD, 0, 0};
    uint8_t room[WAL_HEAD_ROOM] = {0};
    seal_close(f->keys, &place, bytes, WAL_HEAD, room, room + WAL_HEAD);
    return f->real->pMethods->xWrite(f->real, room, sizeof room, 0);
}

static int write_head(struct sealed_file *f, int64_t frame,
                      const uint8_t *bytes)
{
    const struct seal_place place = head_place(frame);
    uint8_t room[WAL_FRAME_ROOM];
    seal_close(f->keys, &place, bytes, WAL_FRAME, room, room + WAL_FRAME);
    int rc = f->real->pMethods->xWrite(f->real, room, sizeof room,
                                       frame_at(f, frame));
    memcpy(f->head, bytes, WAL_FRAME);
    f->head_of = rc ? -1 : frame;
    return rc;
}

static int write_page(struct sealed_file *f, int64_t frame,
                      const uint8_t *bytes)
{
    static const uint8_t zeros[SEAL_EXTRA];
    uint32_t n = f->page - SEAL_EXTRA;
    if (memcmp(bytes + n, zeros, sizeof zeros) != 0)
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: a page uses the bytes reserved for its seal",
                            f->name);
    if (f->head_of != frame) { /* a page of this transaction changed again */
        int rc = load_frame(f, frame, 0);
        if (rc) return rc;
        memcpy(f->head, f->scratch, WAL_FRAME);
    }
    f->head_of = -1;
    struct seal_place place = page_place(frame, f->head);
    seal_close(f->keys, &place, bytes, n, f->scratch, f->scratch + n);
    return f->real->pMethods->xWrite(f->real, f->scratch, (int)f->page,
                                     frame_at(f, frame) + WAL_FRAME_ROOM);
}

static int wal_write(sqlite3_file *file, const void *bytes, int n,
                     sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    int64_t frame = 0;
    int rc = sealed_of_store(f, "-wal");
    if (rc) return rc == SQLITE_NOTFOUND ? SQLITE_IOERR_WRITE : rc;
    if (at == 0 && n == WAL_HEAD) return write_header(f, bytes);
    switch (part_of(f, n, at, &frame)) {
    case PART_HEAD:
        if (n == WAL_FRAME) return write_head(f, frame, bytes);
        break;
    case PART_PAGE: return write_page(f, frame, bytes);
    case PART_BOTH:
    case PART_NONE: break;
    }
    return odd(f, SQLITE_IOERR_WRITE, n, at);
}

static int wal_size(sqlite3_file *file, sqlite3_int64 *out)
{
    struct sealed_file *f = of(file);
    sqlite3_int64 size = 0;
    int rc = f->real->pMethods->xFileSize(f->real, &size);
    *out = 0;
    if (rc || size < WAL_HEAD_ROOM) return rc;
    *out = WAL_HEAD;
    rc = sealed_of_store(f, "-wal");
    if (rc) return rc == SQLITE_NOTFOUND ? SQLITE_OK : rc;
    int64_t whole = (int64_t)WAL_FRAME_ROOM + f->page;
    *out += (size - WAL_HEAD_ROOM) / whole * ((int64_t)WAL_FRAME + f->page);
    return SQLITE_OK;
}

static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct sealed_file *f = of(file);
    f->head_of = -1;
    if (size > WAL_HEAD) {
        int rc = sealed_of_store(f, "-wal");
        if (rc) return SQLITE_IOERR_TRUNCATE;
        int64_t whole = (int64_t)WAL_FRAME + f->page;
        size = frame_at(f, (size - WAL_HEAD + whole - 1) / whole);
    } else if (size > 0) {
        size = WAL_HEAD_ROOM;
    }
    return f->real->pMethods->xTruncate(f->real, size);
}

const sqlite3_io_methods sealed_wal_methods = {
    .iVersion = 1,
    .xClose = sealed_close_file,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = sealed_sync,
    .xFileSize = wal_size,
    .xLock = sealed_lock,
    .xUnlock = sealed_unlock,
    .xCheckReservedLock = sealed_reserved,
    .xFileControl = sealed_control,
    .xSectorSize = sealed_sector,
    .xDeviceCharacteristics = sealed_traits,
};
