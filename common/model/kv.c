#include "common/model/kv.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

struct layer {
    const struct kv *cache;
    size_t index;
};

struct kv {
    struct kv_shape shape;
    size_t n;
    size_t row_bytes, head_bytes, half_bytes; /* a row, a head, all of k */
    uint8_t *data;
    struct layer *layers; /* [layers] what fetch gets */
};

static int shape_fits(const struct kv_shape *s)
{
    return s->layers && s->heads && s->width && s->n_max &&
           s->n_max <= KV_TOKENS_MAX && s->width <= ATTEND_WIDTH_MAX &&
           s->heads <= 1024 && s->layers <= 1024 &&
           (s->type == QUANT_F32 || s->type == QUANT_F16 ||
            s->type == QUANT_Q8_0) &&
           quant_bytes(s->type, s->width);
}

size_t kv_bytes(const struct kv_shape *s)
{
    if (!shape_fits(s)) return 0;
    size_t rows = s->layers * s->heads * 2 * s->n_max;
    size_t row = quant_bytes(s->type, s->width);
    if (rows > (SIZE_MAX / 2) / row) return 0;
    return (rows * row + ALIGN - 1) / ALIGN * ALIGN;
}

enum tacit_err kv_new(const struct kv_shape *s, struct kv **out)
{
    if (s->n_max > KV_TOKENS_MAX)
        return fail(TACIT_LIMIT, "a cache of %zu tokens; at most %d", s->n_max,
                    KV_TOKENS_MAX);
    size_t bytes = kv_bytes(s);
    if (!bytes)
        return fail(TACIT_UNSUPPORTED,
                    "a cache of type %u for %zu heads of %zu numbers",
                    (unsigned)s->type, s->heads, s->width);
    struct kv *c = calloc(1, sizeof *c);
    struct layer *layers = calloc(s->layers, sizeof *layers);
    uint8_t *data = aligned_alloc(ALIGN, bytes);
    if (!c || !layers || !data) {
        free(c);
        free(layers);
        free(data);
        return fail(TACIT_NOMEM, "out of memory for a cache of %zu bytes",
                    bytes);
    }
    *c = (struct kv){.shape = *s, .data = data, .layers = layers};
    c->row_bytes = quant_bytes(s->type, s->width);
    c->head_bytes = c->row_bytes * s->n_max;
    c->half_bytes = c->head_bytes * s->heads;
    for (size_t i = 0; i < s->layers; i++) layers[i] = (struct layer){c, i};
    *out = c;
    return TACIT_OK;
}

void kv_free(struct kv *c)
{
    if (!c) return;
    free(c->data);
    free(c->layers);
    free(c);
}

const struct kv_shape *kv_shape(const struct kv *c)
{
    return &c->shape;
}

size_t kv_n(const struct kv *c)
{
    return c->n;
}

/* Row n of a head; half 0 is k, 1 is v. */
static uint8_t *row_at(const struct kv *c, size_t layer, size_t half,
                       size_t head, size_t n)
{
    return c->data + (2 * layer + half) * c->half_bytes + head * c->head_bytes +
           n * c->row_bytes;
}

static enum tacit_err append_half(struct kv *c, size_t layer, size_t half,
                                  const float *x, size_t n)
{
    const struct kv_shape *s = &c->shape;
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < s->heads; h++)
            TRY(quant_encode(s->type, x + (i * s->heads + h) * s->width,
                             row_at(c, layer, half, h, c->n + i), s->width));
    return TACIT_OK;
}

enum tacit_err kv_append(struct kv *c, size_t layer, const float *k,
                         const float *v, size_t n)
{
    assert(layer < c->shape.layers);
    if (n > c->shape.n_max - c->n)
        return fail(TACIT_LIMIT,
                    "%zu tokens more than the %zu of %zu that are in the cache",
                    n, c->n, c->shape.n_max);
    TRY(append_half(c, layer, 0, k, n));
    return append_half(c, layer, 1, v, n);
}

void kv_advance(struct kv *c, size_t n)
{
    assert(n <= c->shape.n_max - c->n);
    c->n += n;
}

void kv_truncate(struct kv *c, size_t n)
{
    assert(n <= c->n);
    c->n = n;
}

enum tacit_err kv_copy(struct kv *c, const struct kv *from, size_t n)
{
    const struct kv_shape *a = &c->shape, *b = &from->shape;
    if (a->layers != b->layers || a->heads != b->heads ||
        a->width != b->width || a->type != b->type)
        return fail(TACIT_SHAPE, "a prefix of another network's cache");
    if (n > from->n || n > a->n_max)
        return fail(TACIT_LIMIT,
                    "a prefix of %zu tokens; %zu are there, %zu "
                    "fit",
                    n, from->n, a->n_max);
    for (size_t i = 0; i < a->layers; i++)
        for (size_t h = 0; h < 2 * a->heads; h++)
            memcpy(row_at(c, i, h / a->heads, h % a->heads, 0),
                   row_at(from, i, h / a->heads, h % a->heads, 0),
                   n * c->row_bytes);
    c->n = n;
    return TACIT_OK;
}

size_t kv_packed_bytes(const struct kv *c, size_t n)
{
    return 2 * c->shape.layers * c->shape.heads * n * c->row_bytes;
}

void kv_pack(const struct kv *c, size_t n, uint8_t *out)
{
    size_t heads = 2 * c->shape.heads, run = n * c->row_bytes;
    assert(n <= c->n);
    for (size_t i = 0; i < c->shape.layers * heads; i++)
        memcpy(out + i * run,
               row_at(c, i / heads, i % heads / c->shape.heads,
                      i % c->shape.heads, 0),
               run);
}

/* Rows as they lie in a cache: is every number one? */
static int are_numbers(const struct kv *c, const uint8_t *rows, size_t n)
{
    float x[ATTEND_WIDTH_MAX];
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        quant_decode(c->shape.type, rows + i * c->row_bytes, x, c->shape.width);
        for (size_t k = 0; k < c->shape.width; k++) sum += x[k] * 0;
        if (!isfinite(sum)) return 0;
    }
    return 1;
}

enum tacit_err kv_unpack(struct kv *c, const uint8_t *bytes, size_t n_bytes,
                         size_t n)
{
    size_t heads = 2 * c->shape.heads, run = n * c->row_bytes;
    if (n > c->shape.n_max)
        return fail(TACIT_LIMIT, "a prefix of %zu tokens; %zu fit", n,
                    c->shape.n_max);
    if (n_bytes != kv_packed_bytes(c, n))
        return fail(TACIT_SHAPE, "a prefix of another network's cache");
    if (!are_numbers(c, bytes, c->shape.layers * heads * n))
        return fail(TACIT_FORMAT, "a prefix that holds no numbers");
    for (size_t i = 0; i < c->shape.layers * heads; i++)
        memcpy(row_at(c, i / heads, i % heads / c->shape.heads,
                      i % c->shape.heads, 0),
               bytes + i * run, run);
    c->n = n;
    return TACIT_OK;
}

static void fetch(const void *ctx, size_t head, size_t from, size_t n, float *k,
                  float *v)
{
    const struct layer *l = ctx;
    const struct kv *c = l->cache;
    size_t numbers = n * c->shape.width;
    quant_decode(c->shape.type, row_at(c, l->index, 0, head, from), k, numbers);
    quant_decode(c->shape.type, row_at(c, l->index, 1, head, from), v, numbers);
}

struct attend_past kv_past(const struct kv *c, size_t layer)
{
    assert(layer < c->shape.layers);
    return (struct attend_past){c->n, &c->layers[layer], fetch};
}
