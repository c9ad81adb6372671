/*
 * sealed: the rollback journal (sealed.h), which a store has until it is
 * switched to a write-ahead log, and in other modes.
 *
 *   sector    header: magic, counts, sizes, the seed of checksums
 *   then      number u32 ‖ page [P] ‖ checksum u32, again and again
 *
 * A record's page is sealed where it lies; it is told from a header by its
 * offset, 4 behind a multiple of 8. SQLite's checksum adds up bytes of the page
 * and is masked by what key and nonce of that page give. SQLite reads and
 * writes it right after its page, which is how it is known. A record that does
 * not open is an error: SQLite plays back only records that were synced before
 * it counted them, so it is not a torn one.
 */
#include <string.h>

#include "common/crypto/sealed_file.h"

enum { HEADER_USED = 28, SMALL = 1024 };

static struct sealed_file *of(sqlite3_file *file)
{
    return (struct sealed_file *)(void *)file;
}

static int is_page(struct sealed_file *f, int n, int64_t at)
{
    if (at % 8 != 4 || n < SEALED_PAGE_MIN) return 0;
    return sealed_of_store(f, "-journal") == SQLITE_OK && n == (int)f->page;
}

static struct seal_place place_of(const struct sealed_file *f, int64_t at)
{
    return (struct seal_place){SEAL_JOURNAL, (uint64_t)at, f->number};
}

static uint32_t number_of(const uint8_t b[4])
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           (uint32_t)b[3];
}

/* f->number = the page number that stands before offset `at`. */
static int find_number(struct sealed_file *f, int64_t at)
{
    uint8_t b[4];
    if (f->number_at == at - 4) return SQLITE_OK;
    int rc = f->real->pMethods->xRead(f->real, b, sizeof b, at - 4);
    f->number = number_of(b);
    return rc;
}

static void keep(struct sealed_file *f, const void *bytes, int n, int64_t at)
{
    f->masked_at = f->number_at = -1;
    if (n != 4) return;
    f->number_at = at;
    f->number = number_of(bytes);
}

static int read_page(struct sealed_file *f, uint8_t *out, int64_t at)
{
    uint32_t n = f->page - SEAL_EXTRA;
    int rc = find_number(f, at);
    if (rc == SQLITE_OK)
        rc = f->real->pMethods->xRead(f->real, out, (int)f->page, at);
    if (rc) return rc;
    struct seal_place place = place_of(f, at);
    memcpy(f->nonce, out + n, SEAL_NONCE);
    int bad = seal_open(f->keys, &place, out, n, out + n);
    memset(out + n, 0, SEAL_EXTRA);
    if (bad)
        return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                            "%s: the record at %lld was changed outside of "
                            "Tacit",
                            f->name, (long long)at);
    f->number_at = -1;
    f->masked_at = at + f->page;
    return SQLITE_OK;
}

static int journal_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    if (is_page(f, n, at)) return read_page(f, out, at);
    int rc = f->real->pMethods->xRead(f->real, out, n, at);
    if (rc) return rc;
    if (n == 4 && at == f->masked_at)
        seal_mask(f->keys + SEAL_KEY, f->nonce, out, 4);
    keep(f, out, n, at);
    return SQLITE_OK;
}

static int write_page(struct sealed_file *f, const uint8_t *bytes, int64_t at)
{
    static const uint8_t zeros[SEAL_EXTRA];
    uint32_t n = f->page - SEAL_EXTRA;
    if (memcmp(bytes + n, zeros, sizeof zeros) != 0)
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: a page uses the bytes reserved for its seal",
                            f->name);
    int rc = find_number(f, at);
    if (rc) return rc;
    struct seal_place place = place_of(f, at);
    seal_close(f->keys, &place, bytes, n, f->scratch, f->scratch + n);
    memcpy(f->nonce, f->scratch + n, SEAL_NONCE);
    f->number_at = -1;
    f->masked_at = at + f->page;
    return f->real->pMethods->xWrite(f->real, f->scratch, (int)f->page, at);
}

/* Headers are zeros behind their first bytes; nothing else is as long as a
 * page. What is, and is none, would go to the disk in the open. */
static int is_header(const uint8_t *bytes, int n)
{
    for (int i = HEADER_USED; i < n; i++)
        if (bytes[i]) return 0;
    return 1;
}

static int journal_write(sqlite3_file *file, const void *bytes, int n,
                         sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    uint8_t masked[4];
    if (is_page(f, n, at)) return write_page(f, bytes, at);
    if (n >= SMALL && !is_header(bytes, n))
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: %d bytes at %lld are no part of a journal",
                            f->name, n, (long long)at);
    int is_masked = n == 4 && at == f->masked_at;
    keep(f, bytes, n, at);
    if (is_masked) {
        memcpy(masked, bytes, 4);
        seal_mask(f->keys + SEAL_KEY, f->nonce, masked, 4);
        bytes = masked;
    }
    return f->real->pMethods->xWrite(f->real, bytes, n, at);
}

static int journal_size(sqlite3_file *file, sqlite3_int64 *out)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xFileSize(real, out);
}

static int journal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct sealed_file *f = of(file);
    f->masked_at = f->number_at = -1;
    return f->real->pMethods->xTruncate(f->real, size);
}

const sqlite3_io_methods sealed_journal_methods = {
    .iVersion = 1,
    .xClose = sealed_close_file,
    .xRead = journal_read,
    .xWrite = journal_write,
    .xTruncate = journal_truncate,
    .xSync = sealed_sync,
    .xFileSize = journal_size,
    .xLock = sealed_lock,
    .xUnlock = sealed_unlock,
    .xCheckReservedLock = sealed_reserved,
    .xFileControl = sealed_control,
    .xSectorSize = sealed_sector,
    .xDeviceCharacteristics = sealed_traits,
};
