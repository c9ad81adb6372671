/* sealed: the file of the database: header and pages (sealed.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/crypto/sealed.h"
#include "common/crypto/sealed_file.h"
#include "common/crypto/secret.h"

/* The header: magic [16], page size u32, zero u32, salt [32], extra [40] of an
 * empty sealing under the pages' key, BLAKE2b-256 of all that. The last tells
 * damage from another key. */
static const char magic[16] = "Tacit sealed v1";
enum {
    AT_PAGE = sizeof magic,
    AT_SALT = AT_PAGE + 8,
    AT_PROOF = AT_SALT + SEALED_SALT,
    AT_SUM = AT_PROOF + SEAL_EXTRA,
    HEAD_BYTES = AT_SUM + DIGEST_BYTES
};

static struct sealed_file *of(sqlite3_file *file)
{
    return (struct sealed_file *)(void *)file;
}

static int real_size(struct sealed_file *f, int64_t *out)
{
    sqlite3_int64 n = 0;
    int rc = f->real->pMethods->xFileSize(f->real, &n);
    *out = n;
    return rc;
}

static int64_t offset_of(const struct sealed_file *f, int64_t page)
{
    return SEALED_HEAD + (page - 1) * (int64_t)f->page;
}

/* ---- the header --------------------------------------------------------- */

static int is_page_size(uint32_t n)
{
    return n >= SEALED_PAGE_MIN && n <= SEALED_PAGE_MAX && (n & (n - 1)) == 0;
}

static int sum_fits(const uint8_t head[HEAD_BYTES])
{
    struct digest sum, found;
    digest_of(&sum, head, AT_SUM);
    memcpy(found.b, head + AT_SUM, sizeof found.b);
    return digest_equal(&sum, &found);
}

static struct seal_place header_place(uint32_t page)
{
    return (struct seal_place){SEAL_HEADER, page, 0};
}

/* Under the lock: sealed_of_store() looks for it from other threads. */
static void publish(struct sealed_file *f, uint32_t page)
{
    pthread_mutex_lock(&f->vfs->lock);
    f->page = page;
    pthread_mutex_unlock(&f->vfs->lock);
}

/* Whether this is what a power cut leaves of a header that was being made. */
static int is_torn(const uint8_t head[HEAD_BYTES], int64_t size)
{
    static const uint8_t zeros[HEAD_BYTES];
    return size <= SEALED_HEAD && (memcmp(head, magic, sizeof magic) == 0 ||
                                   memcmp(head, zeros, sizeof zeros) == 0);
}

/* A store whose making was interrupted before its first page is made again. */
static int judge(struct sealed_file *f, const uint8_t head[HEAD_BYTES],
                 int64_t size)
{
    uint32_t page = le32_load(head + AT_PAGE);
    if (memcmp(head, magic, sizeof magic) == 0 && sum_fits(head) &&
        is_page_size(page)) {
        struct seal_place place = header_place(page);
        int rc = sealed_set_keys(f, head + AT_SALT);
        if (rc) return rc;
        if (seal_open(f->keys, &place, NULL, 0, head + AT_PROOF) == 0) {
            publish(f, page);
            return SQLITE_OK;
        }
        return sealed_fault(f->vfs, SQLITE_IOERR_AUTH,
                            "%s: sealed with another key", f->name);
    }
    if (is_torn(head, size)) return SQLITE_NOTFOUND;
    if (memcmp(head, magic, sizeof magic) == 0)
        return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                            "%s: the header of the sealed store is damaged",
                            f->name);
    return sealed_fault(f->vfs, SQLITE_NOTADB, "%s: this is no sealed store",
                        f->name);
}

/* The header, if there is one. SQLITE_NOTFOUND: not yet. */
static int load(struct sealed_file *f)
{
    uint8_t head[HEAD_BYTES] = {0};
    int64_t size = 0;
    if (f->page) return SQLITE_OK;
    int rc = real_size(f, &size);
    if (rc) return rc;
    if (size == 0) return SQLITE_NOTFOUND;
    rc = f->real->pMethods->xRead(f->real, head, sizeof head, 0);
    if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) return rc;
    rc = sealed_room(f);
    return rc ? rc : judge(f, head, size);
}

/* Under SQLite's exclusive lock, and on disk before the first page is. */
static int make_header(struct sealed_file *f, uint32_t page)
{
    uint8_t block[SEALED_HEAD] = {0};
    struct digest sum;
    struct seal_place place = header_place(page);
    if (!is_page_size(page))
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: pages of %u bytes cannot be sealed; %d to %d "
                            "can",
                            f->name, page, SEALED_PAGE_MIN, SEALED_PAGE_MAX);
    int rc = sealed_room(f);
    memcpy(block, magic, sizeof magic);
    le32_store(block + AT_PAGE, page);
    rng_secure(block + AT_SALT, SEALED_SALT);
    if (rc == SQLITE_OK) rc = sealed_set_keys(f, block + AT_SALT);
    if (rc) return rc;
    seal_close(f->keys, &place, NULL, 0, NULL, block + AT_PROOF);
    digest_of(&sum, block, AT_SUM);
    memcpy(block + AT_SUM, sum.b, sizeof sum.b);
    rc = f->real->pMethods->xWrite(f->real, block, sizeof block, 0);
    if (rc == SQLITE_OK)
        rc = f->real->pMethods->xSync(f->real, SQLITE_SYNC_NORMAL);
    if (rc == SQLITE_OK) publish(f, page);
    return rc;
}

/* ---- pages -------------------------------------------------------------- */

static int read_page(struct sealed_file *f, int64_t page, uint8_t *out)
{
    const struct seal_place place = {SEAL_PAGE, (uint64_t)page, 0};
    uint32_t n = f->page - SEAL_EXTRA;
    int rc = f->real->pMethods->xRead(f->real, out, (int)f->page,
                                      offset_of(f, page));
    if (rc == SQLITE_IOERR_SHORT_READ)
        return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                            "%s: page %lld is missing", f->name,
                            (long long)page);
    if (rc) return rc;
    if (seal_open(f->keys, &place, out, n, out + n) != 0) {
        memset(out, 0, f->page);
        if (f->damage_is_zeros) return SQLITE_OK;
        return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                            "%s: page %lld was changed outside of Tacit",
                            f->name, (long long)page);
    }
    memset(out + n, 0, SEAL_EXTRA); /* as SQLite wrote them */
    return SQLITE_OK;
}

static int write_page(struct sealed_file *f, int64_t page, const uint8_t *bytes)
{
    const struct seal_place place = {SEAL_PAGE, (uint64_t)page, 0};
    uint32_t n = f->page - SEAL_EXTRA;
    seal_close(f->keys, &place, bytes, n, f->scratch, f->scratch + n);
    return f->real->pMethods->xWrite(f->real, f->scratch, (int)f->page,
                                     offset_of(f, page));
}

/* Pages before `page` that SQLite leaves out, since it will never read what is
 * in them: sealed zeros, so that a hole is always damage. They were freed
 * before they left its cache, so they are no more than that holds. What has
 * more comes from the head of a damaged journal, which nothing seals. */
static int fill_to(struct sealed_file *f, int64_t page)
{
    static const uint8_t zeros[SEALED_PAGE_MAX];
    int64_t size = 0;
    int rc = real_size(f, &size);
    int64_t next = size <= SEALED_HEAD ? 1 : (size - SEALED_HEAD) / f->page + 1;
    if (rc == SQLITE_OK && (page - next) * f->page > SEALED_GAP_MAX)
        return sealed_fault(f->vfs, SQLITE_IOERR_DATA,
                            "%s: page %lld lies more than %d MiB behind the "
                            "last one: its journal is damaged",
                            f->name, (long long)page, SEALED_GAP_MAX >> 20);
    for (; rc == SQLITE_OK && next < page; next++)
        rc = write_page(f, next, zeros);
    return rc;
}

/* SQLite opens a database by these alone, without a lock: from the header,
 * which never changes. It reads page 1 whole once it has the lock. */
static void synthesise(const struct sealed_file *f, uint8_t out[100])
{
    memset(out, 0, 100);
    memcpy(out, "SQLite format 3", 16);
    out[16] = (uint8_t)(f->page >> 8);
    out[17] = (uint8_t)(f->page == SEALED_PAGE_MAX ? 1 : f->page);
    out[18] = out[19] = 2;
    out[20] = SEALED_RESERVE;
    out[21] = 64;
    out[22] = out[23] = 32;
}

static int read_part(struct sealed_file *f, uint8_t *out, int n, int64_t at)
{
    while (n > 0) {
        int64_t page = at / f->page + 1;
        int from = (int)(at % f->page), some = (int)f->page - from;
        if (some > n) some = n;
        int rc = read_page(f, page, f->scratch);
        if (rc) return rc;
        memcpy(out, f->scratch + from, (size_t)some);
        out += some;
        at += some;
        n -= some;
    }
    return SQLITE_OK;
}

static int store_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    int64_t size = 0;
    int rc = load(f);
    if (rc == SQLITE_OK && n == (int)f->page && at % f->page == 0 && at > 0)
        return read_page(f, at / f->page + 1, out);
    if (rc == SQLITE_OK) rc = real_size(f, &size);
    if (rc == SQLITE_NOTFOUND || (rc == SQLITE_OK && size <= SEALED_HEAD)) {
        memset(out, 0, (size_t)n);
        return SQLITE_IOERR_SHORT_READ; /* a new database */
    }
    if (rc == SQLITE_OK && at == 0 && n == 100) {
        synthesise(f, out);
        return SQLITE_OK;
    }
    return rc ? rc : read_part(f, out, n, at);
}

/* What would be lost or would not open again is refused here. */
static int check_write(struct sealed_file *f, const uint8_t *bytes, int n,
                       int64_t at)
{
    static const uint8_t zeros[SEAL_EXTRA];
    if (n != (int)f->page || at % f->page != 0)
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: a write of %d bytes is no page of %u", f->name,
                            n, f->page);
    if (at == 0 && bytes[20] != SEALED_RESERVE)
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: a sealed store reserves %d bytes of a page, "
                            "not %d (SQLITE_FCNTL_RESERVE_BYTES)",
                            f->name, SEALED_RESERVE, bytes[20]);
    if (memcmp(bytes + n - SEAL_EXTRA, zeros, sizeof zeros) != 0)
        return sealed_fault(f->vfs, SQLITE_IOERR_WRITE,
                            "%s: a page uses the bytes reserved for its seal",
                            f->name);
    return SQLITE_OK;
}

static int store_write(sqlite3_file *file, const void *bytes, int n,
                       sqlite3_int64 at)
{
    struct sealed_file *f = of(file);
    int rc = load(f);
    if (rc == SQLITE_NOTFOUND) rc = make_header(f, (uint32_t)n);
    if (rc == SQLITE_OK) rc = check_write(f, bytes, n, at);
    if (rc) return rc;
    int64_t page = at / f->page + 1;
    rc = fill_to(f, page);
    return rc ? rc : write_page(f, page, bytes);
}

static int store_size(sqlite3_file *file, sqlite3_int64 *out)
{
    int64_t size = 0;
    int rc = real_size(of(file), &size);
    *out = size > SEALED_HEAD ? size - SEALED_HEAD : 0;
    return rc;
}

static int store_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct sealed_file *f = of(file);
    int64_t old = 0;
    int rc = load(f);
    if (rc == SQLITE_NOTFOUND) return size ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
    if (rc == SQLITE_OK) rc = real_size(f, &old);
    if (rc) return rc;
    if (SEALED_HEAD + size > old) return fill_to(f, size / f->page + 1);
    return f->real->pMethods->xTruncate(f->real, SEALED_HEAD + size);
}

/* ---- shared memory: the log's index, which holds no content -------------- */

static int shm_map(sqlite3_file *file, int region, int size, int extend,
                   void volatile **out)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xShmMap(real, region, size, extend, out);
}

static int shm_lock(sqlite3_file *file, int from, int n, int flags)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xShmLock(real, from, n, flags);
}

static void shm_barrier(sqlite3_file *file)
{
    sqlite3_file *real = of(file)->real;
    real->pMethods->xShmBarrier(real);
}

static int shm_unmap(sqlite3_file *file, int delete)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xShmUnmap(real, delete);
}

const sqlite3_io_methods sealed_store_methods = {
    .iVersion = 2, /* no xFetch: a mapped page would be a sealed one */
    .xClose = sealed_close_file,
    .xRead = store_read,
    .xWrite = store_write,
    .xTruncate = store_truncate,
    .xSync = sealed_sync,
    .xFileSize = store_size,
    .xLock = sealed_lock,
    .xUnlock = sealed_unlock,
    .xCheckReservedLock = sealed_reserved,
    .xFileControl = sealed_control,
    .xSectorSize = sealed_sector,
    .xDeviceCharacteristics = sealed_traits,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

/* ---- from outside ------------------------------------------------------- */

/* The first bytes of a file and its size; -1: it is not there. */
static enum tacit_err read_head(const char *path, uint8_t head[HEAD_BYTES],
                                int64_t *size)
{
    struct stat st;
    memset(head, 0, HEAD_BYTES);
    *size = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return TACIT_OK;
    if (fd < 0) return fail(TACIT_IO, "%s: %s", path, strerror(errno));
    int bad = fstat(fd, &st) != 0 || pread(fd, head, HEAD_BYTES, 0) < 0;
    int why = errno;
    close(fd);
    if (bad) return fail(TACIT_IO, "%s: %s", path, strerror(why));
    *size = st.st_size;
    return TACIT_OK;
}

enum tacit_err sealed_look(const char *path, enum sealed_look *out)
{
    uint8_t head[HEAD_BYTES];
    int64_t size;
    TRY(read_head(path, head, &size));
    if (size < 0)
        *out = SEALED_ABSENT;
    else if (size == 0 || is_torn(head, size))
        *out = SEALED_EMPTY;
    else
        *out = memcmp(head, magic, sizeof magic) ? SEALED_PLAIN : SEALED_STORE;
    return TACIT_OK;
}

enum tacit_err sealed_try(struct sealed_vfs *v, const char *path)
{
    uint8_t head[HEAD_BYTES], key[SEAL_KEY];
    int64_t size;
    TRY(read_head(path, head, &size));
    if (size <= 0) return TACIT_OK;
    uint32_t page = le32_load(head + AT_PAGE);
    if (memcmp(head, magic, sizeof magic) != 0 || !sum_fits(head) ||
        !is_page_size(page))
        return fail_as(E_STORE_DAMAGED,
                       "%s: the header of the sealed store is damaged", path);
    struct seal_place place = header_place(page);
    seal_derive(key, v->key, "tacit sealed pages v1", head + AT_SALT,
                SEALED_SALT);
    int bad = seal_open(key, &place, NULL, 0, head + AT_PROOF);
    secret_wipe(key, sizeof key);
    if (bad) return fail_as(E_STORE_KEY, "%s: sealed with another key", path);
    return TACIT_OK;
}
