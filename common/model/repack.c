#include "common/model/repack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/tensor/weights.h"

enum { PANEL_BYTES = 1 << 22 };

static int is_tiled(const struct gguf_tensor *t)
{
    return t->type >= GGUF_PACKED;
}

static unsigned plain_type(const struct gguf_tensor *t)
{
    return is_tiled(t) ? t->type - GGUF_PACKED : t->type;
}

/* The type that is asked for, or the nearest that these rows can have. */
static enum quant_type nearest(enum quant_type type, size_t cols)
{
    if (weight_bytes(type, 1, cols)) return type;
    return weight_bytes(QUANT_Q8_0, 1, cols) ? QUANT_Q8_0 : QUANT_F16;
}

enum tacit_err repack_plan(const struct gguf_tensor *from, int type,
                           enum repack_form form, struct repack *out)
{
    const struct quant_info *info = quant_info(plain_type(from));
    const char *name = gguf_type_name(from->type);
    struct repack r = {.from = from};
    if (!info)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "tensor %s is of type %s, which is not read; fetch the "
                       "model as Q8_0, Q4_0 or F16",
                       from->name, name ? name : "unknown");
    if (from->n_dims > 2)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "tensor %s has %u dimensions: networks of experts and "
                       "images are not read",
                       from->name, from->n_dims);
    r.is_matrix = from->n_dims == 2 && from->dims[1] > 1;
    r.type = QUANT_F32;
    if (r.is_matrix) {
        size_t cols = (size_t)from->dims[0];
        r.type = type == REPACK_KEEP ? info->type : (enum quant_type)type;
        if (form == REPACK_TILES || type != REPACK_KEEP)
            r.type = nearest(r.type, cols);
        r.tiles = form == REPACK_TILES;
    }
    *out = r;
    return TACIT_OK;
}

void repack_announce(const struct repack *r, struct gguf_writer *w)
{
    uint32_t type = (uint32_t)r->type + (r->tiles ? GGUF_PACKED : 0);
    gguf_put_tensor(w, r->from->name, type, r->from->n_dims, r->from->dims);
}

struct panel {
    size_t rows, cols, max_rows;
    size_t from_row, to_row; /* bytes of a row */
    uint8_t *plain;          /* rows of the old type, out of tiles or halves */
    float *numbers;
    uint8_t *rows_out, *tiles_out;
};

static void panel_free(struct panel *p)
{
    free(p->plain);
    free(p->numbers);
    free(p->rows_out);
    free(p->tiles_out);
}

static enum tacit_err panel_init(const struct repack *r, struct panel *p)
{
    const struct gguf_tensor *t = r->from;
    enum quant_type old = (enum quant_type)plain_type(t);
    *p = (struct panel){.cols = (size_t)t->dims[0], .rows = (size_t)t->dims[1]};
    p->from_row = quant_bytes(old, p->cols);
    p->to_row = quant_bytes(r->type, p->cols);
    if (p->from_row == 0 || p->to_row == 0)
        return fail(TACIT_SHAPE, "tensor %s: rows of %zu numbers", t->name,
                    p->cols);
    p->max_rows =
        PANEL_BYTES / (p->cols * sizeof(float)) / WEIGHT_TILE * WEIGHT_TILE;
    if (p->max_rows < WEIGHT_TILE) p->max_rows = WEIGHT_TILE;
    if (p->max_rows > p->rows) p->max_rows = p->rows;
    size_t tiles = r->tiles ? weight_bytes(r->type, p->max_rows, p->cols) : 1;
    p->plain = malloc(p->max_rows * p->from_row);
    p->numbers = malloc(p->max_rows * p->cols * sizeof *p->numbers);
    p->rows_out = malloc(p->max_rows * p->to_row);
    p->tiles_out = malloc(tiles);
    if (p->plain && p->numbers && p->rows_out && p->tiles_out && tiles)
        return TACIT_OK;
    return fail(TACIT_NOMEM, "no memory to repack tensor %s", t->name);
}

static enum tacit_err check_finite(const struct gguf_tensor *t, const float *v,
                                   size_t first_row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return fail_as(E_MODEL_NUMBER,
                           "tensor %s, row %zu: a weight is not a finite "
                           "number",
                           t->name, first_row + i / (size_t)t->dims[0]);
    return TACIT_OK;
}

/* Rows i to i + n as they are written, in *out. What comes from elsewhere is
 * looked through. */
static enum tacit_err convert(const struct repack *r, struct panel *p, size_t i,
                              size_t n, const uint8_t **out)
{
    const struct gguf_tensor *t = r->from;
    enum quant_type old = (enum quant_type)plain_type(t);
    const uint8_t *rows = t->data + i * p->from_row;
    if (is_tiled(t)) {
        struct weight w = {old, n, p->cols, t->data};
        if (i > 0) w.data += weight_bytes(old, i, p->cols);
        weight_unpack(&w, p->plain);
        rows = p->plain;
    } else if (t->halves) {
        for (size_t k = 0; k < n; k++)
            memcpy(p->plain + k * p->from_row, gguf_row(t, i + k), p->from_row);
        rows = p->plain;
    }
    if (old != r->type || !is_tiled(t))
        quant_decode(old, rows, p->numbers, n * p->cols);
    if (!is_tiled(t)) TRY(check_finite(t, p->numbers, i, n * p->cols));
    if (old != r->type) {
        enum tacit_err err =
            quant_encode(r->type, p->numbers, p->rows_out, n * p->cols);
        if (err) return err_context(err, "tensor %s", t->name);
        rows = p->rows_out;
    }
    *out = rows;
    return TACIT_OK;
}

static enum tacit_err write_all(
    const struct repack *r, struct panel *p, struct gguf_writer *w,
    enum tacit_err (*step)(void *ctx, uint64_t bytes), void *ctx)
{
    for (size_t i = 0; i < p->rows; i += p->max_rows) {
        size_t n = p->rows - i < p->max_rows ? p->rows - i : p->max_rows;
        const uint8_t *rows = NULL;
        TRY(convert(r, p, i, n, &rows));
        if (r->tiles) {
            weight_pack(r->type, n, p->cols, rows, p->tiles_out);
            TRY(gguf_put_data(w, p->tiles_out,
                              weight_bytes(r->type, n, p->cols)));
        } else {
            TRY(gguf_put_data(w, rows, n * p->to_row));
        }
        TRY(step(ctx, n * p->from_row));
    }
    return gguf_end_tensor(w);
}

enum tacit_err repack_write(const struct repack *r, struct gguf_writer *w,
                            enum tacit_err (*step)(void *ctx, uint64_t bytes),
                            void *ctx)
{
    struct panel p;
    enum tacit_err err = panel_init(r, &p);
    if (!err) err = write_all(r, &p, w, step, ctx);
    panel_free(&p);
    return err;
}
