/* Writing GGUF: see gguf.h. */
#include <dirent.h>
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
#include "common/model/gguf.h"

enum { FLUSH_BYTES = 1 << 20, VERSION = 3, PART_TRIES = 16 };
#define PART ".tacit-part-"

static enum tacit_err disk(const struct gguf_writer *w, const char *doing)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        return fail_as(E_DISK_FULL, "%s: %s: %s", w->part, doing, strerror(e));
    return fail(TACIT_IO, "%s: %s: %s", w->part, doing, strerror(e));
}

/* What killed processes left: files of our name that nobody holds. */
static void sweep(const char *folder)
{
    char path[sizeof((struct gguf_writer *)0)->part];
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strlen(e->d_name) != strlen(PART "XXXXXX") ||
            strncmp(e->d_name, PART, strlen(PART)) != 0)
            continue;
        if (file_join(path, sizeof path, folder, e->d_name)) {
            err_clear();
            continue;
        }
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path);
        if (fd >= 0) close(fd);
    }
    closedir(dir);
}

static enum tacit_err create_part(struct gguf_writer *w, const char *folder)
{
    int n = snprintf(w->part, sizeof w->part, "%s/" PART "XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof w->part) {
        w->part[0] = '\0';
        return fail(TACIT_LIMIT, "%s: the path is too long", folder);
    }
    w->fd = mkostemp(w->part, O_CLOEXEC);
    if (w->fd >= 0) return TACIT_OK;
    enum tacit_err err = disk(w, "cannot create");
    w->part[0] = '\0';
    return err;
}

/* Held as long as it is unfinished. Before it was held another process may have
 * taken it for what a killed one left: 0. */
static int hold_part(const struct gguf_writer *w)
{
    struct stat st;
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return 0;
    return fstat(w->fd, &st) != 0 || st.st_nlink > 0;
}

enum tacit_err gguf_writer_init(struct gguf_writer *w, const char *folder,
                                uint64_t alignment)
{
    memset(w, 0, sizeof *w);
    buf_init(&w->pairs, 0);
    buf_init(&w->infos, 0);
    buf_init(&w->out, 0);
    w->alignment = alignment;
    w->fd = -1;
    digest_begin(&w->hash);
    if (alignment != GGUF_ALIGNMENT)
        gguf_put_u32(w, "general.alignment", (uint32_t)alignment);
    if (!folder) return TACIT_OK;
    sweep(folder);
    for (int i = 0; i < PART_TRIES; i++) {
        TRY(create_part(w, folder));
        if (hold_part(w)) return TACIT_OK;
        close(w->fd);
        unlink(w->part);
        w->fd = -1;
        w->part[0] = '\0';
    }
    return fail(TACIT_IO,
                "%s: what is written here is removed by another process; try "
                "again when it has ended",
                folder);
}

void gguf_writer_release(struct gguf_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    if (w->part[0]) unlink(w->part);
    w->fd = -1;
    w->part[0] = '\0';
    buf_release(&w->pairs);
    buf_release(&w->infos);
    buf_release(&w->out);
}

/* ---- pairs and tensors -------------------------------------------------- */

static void put_text(struct buf *b, const char *s, size_t n)
{
    buf_put_u64(b, n);
    buf_put(b, s, n);
}

static void put_key(struct gguf_writer *w, const char *key, enum gguf_kind kind)
{
    put_text(&w->pairs, key, strlen(key));
    buf_put_u32(&w->pairs, (uint32_t)kind);
    w->n_pairs++;
}

void gguf_put_text(struct gguf_writer *w, const char *key, const char *text,
                   size_t n)
{
    put_key(w, key, GGUF_TEXT);
    put_text(&w->pairs, text, n);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    put_key(w, key, GGUF_U32);
    buf_put_u32(&w->pairs, v);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
    put_key(w, key, GGUF_F32);
    buf_put_f32(&w->pairs, v);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, int v)
{
    put_key(w, key, GGUF_BOOL);
    buf_put_u8(&w->pairs, v != 0);
}

void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_kind kind,
                    const void *values, uint64_t n)
{
    size_t each =
        kind == GGUF_F32 || kind == GGUF_I32 || kind == GGUF_U32 ? 4 : 1;
    put_key(w, key, GGUF_ARRAY);
    buf_put_u32(&w->pairs, (uint32_t)kind);
    buf_put_u64(&w->pairs, n);
    buf_put(&w->pairs, values, (size_t)n * each);
}

void gguf_put_texts(struct gguf_writer *w, const char *key,
                    const char *const *texts, const size_t *n_bytes, uint64_t n)
{
    put_key(w, key, GGUF_ARRAY);
    buf_put_u32(&w->pairs, GGUF_TEXT);
    buf_put_u64(&w->pairs, n);
    for (uint64_t i = 0; i < n; i++) put_text(&w->pairs, texts[i], n_bytes[i]);
}

static uint64_t aligned(const struct gguf_writer *w, uint64_t n)
{
    return (n + w->alignment - 1) / w->alignment * w->alignment;
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, uint32_t type,
                     unsigned n_dims, const uint64_t *dims)
{
    uint64_t all[GGUF_DIMS_MAX] = {1, 1, 1, 1};
    for (unsigned i = 0; i < n_dims && i < GGUF_DIMS_MAX; i++) all[i] = dims[i];
    uint64_t bytes = gguf_type_bytes(type, all);
    if (bytes == 0 && !w->err)
        w->err = fail(TACIT_SHAPE, "tensor %s has no size as %s", name,
                      gguf_type_name(type) ? gguf_type_name(type) : "that");
    put_text(&w->infos, name, strlen(name));
    buf_put_u32(&w->infos, n_dims);
    for (unsigned i = 0; i < n_dims && i < GGUF_DIMS_MAX; i++)
        buf_put_u64(&w->infos, dims[i]);
    buf_put_u32(&w->infos, type);
    buf_put_u64(&w->infos, w->offset);
    w->offset = aligned(w, w->offset + bytes);
    w->n_tensors++;
}

/* ---- bytes -------------------------------------------------------------- */

static enum tacit_err flush(struct gguf_writer *w, size_t keep_below)
{
    TRY(buf_end(&w->out));
    if (w->fd < 0 || w->out.len < keep_below) return TACIT_OK;
    digest_add(&w->hash, w->out.data, w->out.len);
    for (size_t at = 0; at < w->out.len;) {
        ssize_t n = write(w->fd, w->out.data + at, w->out.len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return disk(w, "cannot write");
        at += (size_t)n;
    }
    w->file_bytes += w->out.len;
    buf_clear(&w->out);
    return TACIT_OK;
}

static void pad(struct gguf_writer *w, uint64_t to)
{
    for (; to % w->alignment; to++) buf_put_u8(&w->out, 0);
}

static enum tacit_err begin(struct gguf_writer *w)
{
    if (w->begun) return TACIT_OK;
    w->begun = 1;
    TRY(w->err);
    TRY(buf_end(&w->pairs));
    TRY(buf_end(&w->infos));
    buf_put(&w->out, "GGUF", 4);
    buf_put_u32(&w->out, VERSION);
    buf_put_u64(&w->out, w->n_tensors);
    buf_put_u64(&w->out, w->n_pairs);
    buf_put(&w->out, w->pairs.data, w->pairs.len);
    buf_put(&w->out, w->infos.data, w->infos.len);
    pad(w, w->out.len);
    return flush(w, FLUSH_BYTES);
}

static enum tacit_err put_data(struct gguf_writer *w, const void *bytes,
                               size_t n)
{
    const uint8_t *p = bytes;
    TRY(begin(w));
    while (n > 0) {
        size_t k = n < FLUSH_BYTES ? n : FLUSH_BYTES;
        buf_put(&w->out, p, k);
        w->written += k;
        p += k;
        n -= k;
        TRY(flush(w, FLUSH_BYTES));
    }
    return TACIT_OK;
}

enum tacit_err gguf_put_data(struct gguf_writer *w, const void *bytes, size_t n)
{
    if (!w->err) w->err = put_data(w, bytes, n);
    return w->err;
}

enum tacit_err gguf_end_tensor(struct gguf_writer *w)
{
    if (!w->err) w->err = begin(w);
    if (!w->err) pad(w, w->written);
    w->written = aligned(w, w->written);
    return w->err;
}

enum tacit_err gguf_writer_end(struct gguf_writer *w, struct digest *hash)
{
    if (!w->err) w->err = begin(w);
    if (!w->err && w->written != w->offset)
        w->err = fail(TACIT_INTERNAL, "a model's data has another size");
    if (!w->err) w->err = flush(w, 0);
    if (!w->err && w->fd < 0) digest_add(&w->hash, w->out.data, w->out.len);
    if (!w->err && w->fd >= 0 && fsync(w->fd) != 0) w->err = disk(w, "fsync");
    if (!w->err && hash) digest_end(&w->hash, hash);
    return w->err;
}

/* The folder, too: a name that a power cut takes away was never given. */
static enum tacit_err sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    int n = slash ? snprintf(folder, sizeof folder, "%.*s",
                             (int)(slash - path + 1), path)
                  : snprintf(folder, sizeof folder, ".");
    if (n < 0 || (size_t)n >= sizeof folder)
        return fail(TACIT_LIMIT, "%s: the path is too long", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(TACIT_IO, "%s: %s", folder, strerror(errno));
    int bad = fsync(fd) != 0;
    close(fd);
    return bad ? fail(TACIT_IO, "%s: %s", folder, strerror(errno)) : TACIT_OK;
}

enum tacit_err gguf_writer_commit(struct gguf_writer *w, const char *path,
                                  unsigned mode)
{
    TRY(w->err);
    if (fchmod(w->fd, (mode_t)mode) != 0)
        return w->err = disk(w, "cannot set permissions");
    if (rename(w->part, path) != 0) return w->err = disk(w, "cannot rename");
    w->part[0] = '\0';
    return sync_folder(path);
}
