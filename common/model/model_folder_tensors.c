/* model_folder: the tensors, as model.safetensors. See model_folder.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/model_files_parts.h"
#include "common/model/model_folder_parts.h"
#include "common/tensor/weights.h"

enum { FLUSH_BYTES = 1 << 20 };

static int ends(const char *name, const char *with)
{
    size_t n = strlen(name), k = strlen(with);
    return n >= k && strcmp(name + n - k, with) == 0;
}

/* Not a tensor of a folder: it follows from config.json. */
static int is_left_out(const struct gguf_tensor *t)
{
    return strcmp(t->name, "rope_freqs.weight") == 0;
}

static size_t rows_of(const struct gguf_tensor *t)
{
    return t->n_dims > 1 ? (size_t)t->dims[1] : 1;
}

/* Heads of this tensor whose rows (or numbers) stand in pairs; 0: none do. */
static size_t paired_heads(const struct model_folder_writing *w,
                           const struct gguf_tensor *t)
{
    if (!w->pairs) return 0;
    if (ends(t->name, "attn_q.weight") || ends(t->name, "attn_q.bias"))
        return (size_t)w->heads;
    if (ends(t->name, "attn_k.weight") || ends(t->name, "attn_k.bias"))
        return (size_t)w->kv_heads;
    return 0;
}

/* Which of ours stands at place `at` of theirs. */
static size_t ours_at(const struct model_folder_writing *w, size_t at)
{
    size_t width = (size_t)w->head_width, half = width / 2;
    size_t in = at % width;
    return at - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

static void row_into(const struct gguf_tensor *t, size_t row, float *to)
{
    size_t cols = (size_t)t->dims[0];
    if (t->type >= GGUF_PACKED) {
        const struct weight p = {(enum quant_type)(t->type - GGUF_PACKED),
                                 rows_of(t), cols, t->data};
        weight_rows(&p, row, row + 1, to);
    } else {
        enum quant_type type = (enum quant_type)t->type;
        quant_decode(type, gguf_row(t, row), to, cols);
    }
}

struct stream {
    int fd;
    char path[MODEL_FOLDER_PATH];
    struct buf b;
};

static enum tacit_err flush(struct model_folder_writing *w, struct stream *s)
{
    size_t at = 0;
    TRY(buf_end(&s->b));
    while (at < s->b.len) {
        ssize_t n = write(s->fd, s->b.data + at, s->b.len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
            return fail_as(E_DISK_FULL, "%s: %s", s->path, strerror(errno));
        if (n < 0) return fail(TACIT_IO, "%s: %s", s->path, strerror(errno));
        at += (size_t)n;
    }
    buf_clear(&s->b);
    w->done += at;
    return w->how->step ? w->how->step(w->how->ctx, w->done, w->total)
                        : TACIT_OK;
}

static enum tacit_err write_tensor(struct model_folder_writing *w,
                                   const struct gguf_tensor *t,
                                   struct stream *s)
{
    size_t cols = (size_t)t->dims[0], rows = rows_of(t);
    size_t n = quant_bytes(w->how->type, cols), heads = paired_heads(w, t);
    int by_row = t->n_dims > 1;
    float *v = malloc(cols * sizeof *v), *own = malloc(cols * sizeof *own);
    uint8_t *bytes = malloc(n);
    enum tacit_err err = v && own && bytes
                             ? TACIT_OK
                             : fail(TACIT_NOMEM, "no memory for %s", t->name);
    if (!err && heads &&
        heads * (size_t)w->head_width != (by_row ? rows : cols))
        err = fail(TACIT_SHAPE, "tensor %s does not fit %zu heads of %zu",
                   t->name, heads, (size_t)w->head_width);
    for (size_t r = 0; !err && r < rows; r++) {
        row_into(t, heads && by_row ? ours_at(w, r) : r, v);
        for (size_t i = 0; heads && !by_row && i < cols; i++)
            own[i] = v[ours_at(w, i)];
        err =
            quant_encode(w->how->type, heads && !by_row ? own : v, bytes, cols);
        if (err) err = err_context(err, "tensor %s", t->name);
        if (!err) buf_put(&s->b, bytes, n);
        if (!err && s->b.len >= FLUSH_BYTES) err = flush(w, s);
    }
    free(v);
    free(own);
    free(bytes);
    model_files_forget(w->f, t);
    return err;
}

static enum tacit_err put_header(struct model_folder_writing *w,
                                 struct buf *out)
{
    const char *type = w->how->type == QUANT_F32   ? "F32"
                       : w->how->type == QUANT_F16 ? "F16"
                                                   : "BF16";
    char name[GGUF_KEY_MAX + 1];
    struct buf h;
    enum tacit_err err = TACIT_OK;
    buf_init(&h, 0);
    buf_printf(&h, "{\"__metadata__\":{\"format\":\"pt\"}");
    w->total = 0;
    for (size_t i = 0; !err && i < model_files_n_tensors(w->f); i++) {
        const struct gguf_tensor *t = model_files_tensor_at(w->f, i);
        if (is_left_out(t)) continue;
        if (t->n_dims > 2)
            err = fail(TACIT_SHAPE, "tensor %s has %u dimensions", t->name,
                       t->n_dims);
        if (!err) err = model_files_their_name(t->name, w->is_decoder, name);
        /* Beside a head the encoder is a part of its own. */
        int is_part = (model_folder_classes(w) || model_folder_reads(w)) &&
                      strncmp(t->name, "cls.output.", 11) != 0 &&
                      strncmp(t->name, "head.", 5) != 0;
        uint64_t from = w->total;
        w->total += rows_of(t) * quant_bytes(w->how->type, (size_t)t->dims[0]);
        buf_printf(&h, ",\"%s%s\":{\"dtype\":\"%s\",\"shape\":[",
                   is_part ? "bert." : "", name, type);
        if (t->n_dims > 1) buf_printf(&h, "%zu,", rows_of(t));
        buf_printf(&h, "%zu],\"data_offsets\":[%llu,%llu]}", (size_t)t->dims[0],
                   (unsigned long long)from, (unsigned long long)w->total);
    }
    buf_printf(&h, "}");
    while (h.len % 8) buf_printf(&h, " ");
    buf_put_u64(out, h.len);
    buf_put(out, h.data, h.len);
    if (!err) err = buf_end(&h);
    buf_release(&h);
    return err;
}

enum tacit_err model_folder_tensors(struct model_folder_writing *w)
{
    struct stream s = {.fd = -1};
    buf_init(&s.b, 0);
    TRY(file_join(s.path, sizeof s.path, w->path, "model.safetensors"));
    enum tacit_err err = put_header(w, &s.b);
    if (!err) {
        s.fd = open(s.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (s.fd < 0) err = fail(TACIT_IO, "%s: %s", s.path, strerror(errno));
    }
    for (size_t i = 0; !err && i < model_files_n_tensors(w->f); i++) {
        const struct gguf_tensor *t = model_files_tensor_at(w->f, i);
        if (!is_left_out(t)) err = write_tensor(w, t, &s);
    }
    if (!err) err = flush(w, &s);
    if (!err && fsync(s.fd))
        err = fail(TACIT_IO, "%s: %s", s.path, strerror(errno));
    if (s.fd >= 0 && close(s.fd) && !err)
        err = fail(TACIT_IO, "%s: %s", s.path, strerror(errno));
    buf_release(&s.b);
    return err;
}
