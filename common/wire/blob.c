#include "common/wire/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"

enum { PATH_BYTES = 4096 };

uint32_t blob_n_chunks(uint64_t total_bytes)
{
    return (uint32_t)(total_bytes / WIRE_CHUNK_MAX +
                      (total_bytes % WIRE_CHUNK_MAX != 0));
}

uint32_t blob_chunk_len(uint64_t total_bytes, uint32_t index)
{
    uint64_t at = (uint64_t)index * WIRE_CHUNK_MAX;
    if (at >= total_bytes) return 0;
    uint64_t left = total_bytes - at;
    return left < WIRE_CHUNK_MAX ? (uint32_t)left : (uint32_t)WIRE_CHUNK_MAX;
}

enum tacit_err blob_path(const char *dir, const struct digest *hash, char *out,
                         size_t cap)
{
    char hex[DIGEST_HEX];
    hex_encode(hex, hash->b, DIGEST_BYTES);
    return file_join(out, cap, dir, hex);
}

int blob_has(const char *dir, const struct digest *hash)
{
    char path[PATH_BYTES], hex[DIGEST_HEX];
    hex_encode(hex, hash->b, DIGEST_BYTES);
    int n = snprintf(path, sizeof path, "%s/%s", dir, hex);
    return n < PATH_BYTES && file_exists(path);
}

enum tacit_err blob_hash_file(const char *path, struct digest *out)
{
    enum { STEP = 1 << 16 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(errno == ENOENT ? TACIT_NOTFOUND : TACIT_IO, "%s: %s", path,
                    strerror(errno));
    uint8_t *step = malloc(STEP);
    if (!step) {
        close(fd);
        return fail(TACIT_NOMEM, "out of memory");
    }
    struct digest_state s;
    ssize_t got;
    digest_begin(&s);
    while ((got = read(fd, step, STEP)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0) digest_add(&s, step, (size_t)got);
    enum tacit_err err = TACIT_OK;
    if (got < 0) err = fail(TACIT_IO, "%s: %s", path, strerror(errno));
    if (err == TACIT_OK) digest_end(&s, out);
    free(step);
    close(fd);
    return err;
}

enum tacit_err blob_verify(const char *dir, const struct digest *hash)
{
    char path[PATH_BYTES];
    struct digest got;
    TRY(blob_path(dir, hash, path, sizeof path));
    TRY(blob_hash_file(path, &got));
    if (digest_equal(&got, hash)) return TACIT_OK;
    return fail(TACIT_FORMAT,
                "%s: damaged: its content does not match its name", path);
}

enum tacit_err blob_get(const char *dir, const struct digest *hash,
                        size_t max_bytes, struct buf *out)
{
    char path[PATH_BYTES];
    struct digest got;
    size_t was = out->len;
    TRY(blob_path(dir, hash, path, sizeof path));
    TRY(file_read(path, max_bytes, out));
    digest_of(&got, out->data ? out->data + was : NULL, out->len - was);
    if (digest_equal(&got, hash)) return TACIT_OK;
    out->len = was;
    return fail(TACIT_FORMAT,
                "%s: damaged: its content does not match its name", path);
}

enum tacit_err blob_put(const char *dir, const void *bytes, size_t n,
                        struct digest *out)
{
    char path[PATH_BYTES];
    struct digest hash;
    if (n > WIRE_BLOB_MAX)
        return fail(TACIT_LIMIT, "%s: %zu bytes to store, the limit is %d", dir,
                    n, WIRE_BLOB_MAX);
    digest_of(&hash, bytes, n);
    TRY(blob_path(dir, &hash, path, sizeof path));
    struct digest there;
    int is_there = blob_has(dir, &hash) &&
                   blob_hash_file(path, &there) == TACIT_OK &&
                   digest_equal(&there, &hash);
    if (!is_there) {
        err_clear(); /* why it could not be read: it is written anew */
        TRY(file_mkdirs(dir, 0700));
        TRY(file_write(path, bytes, n, 0600));
    }
    *out = hash;
    return TACIT_OK;
}

static enum tacit_err read_at(int fd, const char *path, uint64_t at, size_t n,
                              struct buf *out)
{
    size_t was = out->len;
    uint8_t *p = buf_extend(out, n);
    if (!p) return buf_end(out);
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            out->len = was;
            return fail(TACIT_IO, "%s: cannot read: %s", path,
                        got < 0 ? strerror(errno) : "it became shorter");
        }
        done += (size_t)got;
    }
    return TACIT_OK;
}

enum tacit_err blob_chunk(const char *dir, const struct digest *hash,
                          uint32_t index, uint64_t *total_bytes,
                          struct buf *out)
{
    char path[PATH_BYTES];
    struct stat st;
    TRY(blob_path(dir, hash, path, sizeof path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(errno == ENOENT ? TACIT_NOTFOUND : TACIT_IO, "%s: %s", path,
                    strerror(errno));
    enum tacit_err err;
    uint32_t len = 0;
    if (fstat(fd, &st) != 0)
        err = fail(TACIT_IO, "%s: %s", path, strerror(errno));
    else if (st.st_size > WIRE_BLOB_MAX)
        err = fail(TACIT_LIMIT, "%s: larger than a blob may be", path);
    else if ((len = blob_chunk_len((uint64_t)st.st_size, index)) == 0)
        err = fail(TACIT_NOTFOUND, "%s: it has no chunk %u", path, index);
    else
        err = read_at(fd, path, (uint64_t)index * WIRE_CHUNK_MAX, len, out);
    close(fd);
    if (err == TACIT_OK) *total_bytes = (uint64_t)st.st_size;
    return err;
}
