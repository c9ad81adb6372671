/* Writing GGUF: see gguf.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/model/gguf.h"

enum { FLUSH_BYTES = 1 << 20, VERSION = 3 };

enum tacit_err gguf_writer_init(struct gguf_writer *w, const char *folder,
                                uint64_t alignment)
{
    memset(w, 0, sizeof *w);
    buf_init(&w->pairs, 0);
    buf_init(&w->infos, 0);
    buf_init(&w->out, 0);
    w->alignment = alignment;
    w->part.fd = -1;
    digest_begin(&w->hash);
    if (alignment != GGUF_ALIGNMENT)
        gguf_put_u32(w, "general.alignment", (uint32_t)alignment);
    return folder ? part_begin(&w->part, folder, PART_FILE) : TACIT_OK;
}

void gguf_writer_release(struct gguf_writer *w)
{
    part_release(&w->part);
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
    if (w->part.fd < 0 || w->out.len < keep_below) return TACIT_OK;
    digest_add(&w->hash, w->out.data, w->out.len);
    for (size_t at = 0; at < w->out.len;) {
        ssize_t n = write(w->part.fd, w->out.data + at, w->out.len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return file_failed(w->part.path, "cannot write");
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
    if (!w->err && w->part.fd < 0)
        digest_add(&w->hash, w->out.data, w->out.len);
    if (!w->err && w->part.fd >= 0 && fsync(w->part.fd) != 0)
        w->err = file_failed(w->part.path, "fsync");
    if (!w->err && hash) digest_end(&w->hash, hash);
    return w->err;
}

enum tacit_err gguf_writer_commit(struct gguf_writer *w, const char *path,
                                  unsigned mode)
{
    TRY(w->err);
    return w->err = part_commit(&w->part, path, mode);
}
