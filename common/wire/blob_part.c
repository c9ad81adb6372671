#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/wire/blob.h"

enum {
    PATH_BYTES = 4096,
    MAP_HEAD = 4 + 8,
    MAP_BITS = WIRE_BLOB_MAX / WIRE_CHUNK_MAX / 8
};
static const uint8_t magic[4] = {'T', 'B', 'M', '1'};

struct blob_part {
    struct digest hash;
    uint64_t total_bytes;
    uint32_t n_chunks;
    uint32_t n_unsynced; /* chunks in held that the map does not show yet */
    int data_fd, map_fd; /* -1 once the blob is complete */
    uint8_t held[MAP_BITS];
    char dir[PATH_BYTES];
    char path[PATH_BYTES]; /* of the complete blob */
    char data_path[PATH_BYTES], map_path[PATH_BYTES];
};

static enum tacit_err disk_failed(const char *path)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        return fail_as(E_DISK_FULL, "%s: %s", path, strerror(e));
    return fail(TACIT_IO, "%s: %s", path, strerror(e));
}

static int is_held(const struct blob_part *p, uint32_t i)
{
    return p->held[i / 8] >> i % 8 & 1;
}

static enum tacit_err write_at(int fd, const char *path, const uint8_t *bytes,
                               size_t n, uint64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(fd, bytes + done, n - done, (off_t)(at + done));
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return disk_failed(path);
        done += (size_t)w;
    }
    return TACIT_OK;
}

/* Data first, then the map that promises it. */
static enum tacit_err sync_part(struct blob_part *p)
{
    uint8_t map[MAP_HEAD + MAP_BITS];
    size_t n = MAP_HEAD + (p->n_chunks + 7) / 8;
    memcpy(map, magic, sizeof magic);
    le64_store(map + 4, p->total_bytes);
    memcpy(map + MAP_HEAD, p->held, n - MAP_HEAD);
    if (fdatasync(p->data_fd) != 0) return disk_failed(p->data_path);
    TRY(write_at(p->map_fd, p->map_path, map, n, 0));
    if (fdatasync(p->map_fd) != 0) return disk_failed(p->map_path);
    p->n_unsynced = 0;
    return TACIT_OK;
}

static enum tacit_err start_again(struct blob_part *p)
{
    memset(p->held, 0, sizeof p->held);
    if (ftruncate(p->map_fd, 0) != 0) return disk_failed(p->map_path);
    if (ftruncate(p->data_fd, 0) != 0) return disk_failed(p->data_path);
    return sync_part(p);
}

/* Take what an earlier process left, when it is for this blob and whole. */
static int load_map(struct blob_part *p)
{
    uint8_t map[MAP_HEAD + MAP_BITS];
    size_t n = MAP_HEAD + (p->n_chunks + 7) / 8;
    struct stat data, st;
    if (fstat(p->map_fd, &st) != 0 || (uintmax_t)st.st_size != n) return 0;
    if (pread(p->map_fd, map, n, 0) != (ssize_t)n) return 0;
    if (memcmp(map, magic, sizeof magic) != 0 ||
        le64_load(map + 4) != p->total_bytes)
        return 0;
    if (p->n_chunks % 8 && map[n - 1] >> p->n_chunks % 8) return 0;
    memcpy(p->held, map + MAP_HEAD, n - MAP_HEAD);
    if (fstat(p->data_fd, &data) != 0) return 0;
    for (uint32_t i = 0; i < p->n_chunks; i++) {
        uint64_t end =
            (uint64_t)i * WIRE_CHUNK_MAX + blob_chunk_len(p->total_bytes, i);
        if (is_held(p, i) && (uint64_t)data.st_size < end) return 0;
    }
    return 1;
}

static enum tacit_err open_files(struct blob_part *p)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    p->map_fd = open(p->map_path, flags, 0600);
    if (p->map_fd < 0) return disk_failed(p->map_path);
    if (flock(p->map_fd, LOCK_EX | LOCK_NB) != 0)
        return fail_as(E_STORE_BUSY, "%s: another process receives this blob",
                       p->map_path);
    p->data_fd = open(p->data_path, flags, 0600);
    if (p->data_fd < 0) return disk_failed(p->data_path);
    return load_map(p) ? TACIT_OK : start_again(p);
}

static enum tacit_err set_paths(struct blob_part *p, const char *dir)
{
    TRY(file_join(p->dir, sizeof p->dir, dir, "."));
    TRY(blob_path(dir, &p->hash, p->path, sizeof p->path));
    int a = snprintf(p->data_path, sizeof p->data_path, "%s.part", p->path);
    int b = snprintf(p->map_path, sizeof p->map_path, "%s.map", p->path);
    if (a >= PATH_BYTES || b >= PATH_BYTES)
        return fail(TACIT_LIMIT, "%s: path too long", dir);
    return TACIT_OK;
}

enum tacit_err blob_part_open(const char *dir, const struct digest *hash,
                              uint64_t total_bytes, struct blob_part **out)
{
    if (total_bytes == 0) return fail(TACIT_FORMAT, "a blob of no bytes");
    if (total_bytes > WIRE_BLOB_MAX)
        return fail(TACIT_LIMIT, "a blob of %llu bytes, the limit is %d",
                    (unsigned long long)total_bytes, WIRE_BLOB_MAX);
    struct blob_part *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "out of memory");
    p->hash = *hash;
    p->total_bytes = total_bytes;
    p->n_chunks = blob_n_chunks(total_bytes);
    p->data_fd = p->map_fd = -1;
    enum tacit_err err = set_paths(p, dir);
    if (err == TACIT_OK && blob_has(dir, hash) &&
        blob_verify(dir, hash) == TACIT_OK) {
        memset(p->held, 0xff, (p->n_chunks + 7) / 8);
    } else if (err == TACIT_OK) {
        err_clear(); /* a damaged blob: it is received anew */
        err = file_mkdirs(dir, 0700);
        if (err == TACIT_OK) err = open_files(p);
    }
    if (err != TACIT_OK) {
        blob_part_close(p);
        return err;
    }
    *out = p;
    return TACIT_OK;
}

uint32_t blob_part_next(const struct blob_part *p)
{
    for (uint32_t i = 0; i < p->n_chunks; i++)
        if (!is_held(p, i)) return i;
    return p->n_chunks;
}

enum tacit_err blob_part_write(struct blob_part *p, uint32_t index,
                               const void *bytes, size_t n)
{
    if (index >= p->n_chunks || n != blob_chunk_len(p->total_bytes, index))
        return fail(TACIT_FORMAT,
                    "chunk %u of %zu bytes does not fit a blob of %llu bytes",
                    index, n, (unsigned long long)p->total_bytes);
    if (is_held(p, index)) return TACIT_OK;
    TRY(write_at(p->data_fd, p->data_path, bytes, n,
                 (uint64_t)index * WIRE_CHUNK_MAX));
    p->held[index / 8] |= (uint8_t)(1U << index % 8);
    if (++p->n_unsynced < BLOB_SYNC_CHUNKS) return TACIT_OK;
    return sync_part(p);
}

static enum tacit_err sync_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return disk_failed(dir);
    int rc = fsync(fd);
    close(fd);
    return rc == 0 ? TACIT_OK : disk_failed(dir);
}

static void close_files(struct blob_part *p)
{
    if (p->data_fd >= 0) close(p->data_fd);
    if (p->map_fd >= 0) close(p->map_fd);
    p->data_fd = p->map_fd = -1;
}

enum tacit_err blob_part_finish(struct blob_part *p)
{
    struct digest got;
    if (blob_part_next(p) != p->n_chunks)
        return fail(TACIT_STATE, "%s: chunk %u is still missing", p->data_path,
                    blob_part_next(p));
    if (p->data_fd < 0) return TACIT_OK; /* was there before */
    TRY(blob_hash_file(p->data_path, &got));
    if (!digest_equal(&got, &p->hash)) {
        TRY(start_again(p));
        return fail(TACIT_FORMAT,
                    "%s: what was received does not match its hash", p->path);
    }
    if (fsync(p->data_fd) != 0) return disk_failed(p->data_path);
    if (rename(p->data_path, p->path) != 0) return disk_failed(p->path);
    unlink(p->map_path);
    close_files(p);
    return sync_folder(p->dir);
}

void blob_part_close(struct blob_part *p)
{
    if (!p) return;
    /* Should this fail, the chunks are received again; a failure of the caller
     * stays recorded. */
    unsigned was = err_id();
    if (p->data_fd >= 0 && p->n_unsynced && sync_part(p) != TACIT_OK && !was)
        err_clear();
    close_files(p);
    free(p);
}
