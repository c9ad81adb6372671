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
    size_t n, rows;
    size_t lost; /* tokens below it have no row any more */
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

size_t kv_rows(const struct kv_shape *s)
{
    size_t ring = s->window - 1 + KV_PIECE;
    return s->window && s->window <= KV_TOKENS_MAX && ring < s->n_max
               ? ring
               : s->n_max;
}

size_t kv_bytes(const struct kv_shape *s)
{
    if (!shape_fits(s)) return 0;
    size_t rows = s->layers * s->heads * 2 * kv_rows(s);
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
    c->rows = kv_rows(s);
    c->head_bytes = c->row_bytes * c->rows;
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

/* Of the first n tokens, where those begin that the next one sees. */
static size_t first_seen(const struct kv *c, size_t n)
{
    size_t before = c->shape.window ? c->shape.window - 1 : n;
    return n > before ? n - before : 0;
}

int kv_holds(const struct kv *c, size_t n)
{
    return n <= c->n && first_seen(c, n) >= c->lost;
}

/* Token n's row of a head; half 0 is k, 1 is v. */
static uint8_t *row_at(const struct kv *c, size_t layer, size_t half,
                       size_t head, size_t n)
{
    return c->data + (2 * layer + half) * c->half_bytes + head * c->head_bytes +
           n % c->rows * c->row_bytes;
}

/* Of [from, end), the tokens from the first on whose rows lie side by side. */
static size_t run_of(const struct kv *c, size_t from, size_t end)
{
    size_t left = c->rows - from % c->rows;
    return end - from < left ? end - from : left;
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
    if (c->rows < c->shape.n_max) {
        if (n > KV_PIECE)
            return fail(TACIT_LIMIT,
                        "%zu tokens at once; the cache of a window takes %d", n,
                        KV_PIECE);
        if (c->n + n > c->rows + c->lost) c->lost = c->n + n - c->rows;
    }
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
    assert(n == 0 || kv_holds(c, n));
    c->n = n;
    if (c->lost > n) c->lost = n;
}

/* The tokens [first, end) of a head, from one cache to another. */
static void copy_head(struct kv *c, const struct kv *from, size_t at,
                      size_t first, size_t end)
{
    size_t heads = c->shape.heads, layer = at / (2 * heads);
    size_t half = at / heads % 2, head = at % heads;
    for (size_t n, i = first; i < end; i += n) {
        n = run_of(from, i, i + run_of(c, i, end));
        memcpy(row_at(c, layer, half, head, i),
               row_at(from, layer, half, head, i), n * c->row_bytes);
    }
}

enum tacit_err kv_copy(struct kv *c, const struct kv *from, size_t n)
{
    const struct kv_shape *a = &c->shape, *b = &from->shape;
    if (a->layers != b->layers || a->heads != b->heads ||
        a->width != b->width || a->type != b->type || a->window != b->window)
        return fail(TACIT_SHAPE, "a prefix of another network's cache");
    if (!kv_holds(from, n) || n > a->n_max)
        return fail(TACIT_LIMIT,
                    "a prefix of %zu tokens; %zu are there, from %zu on, and "
                    "%zu fit",
                    n, from->n, from->lost, a->n_max);
    size_t first = n > c->rows ? n - c->rows : 0;
    if (first < from->lost) first = from->lost;
    for (size_t i = 0; i < 2 * a->layers * a->heads; i++)
        copy_head(c, from, i, first, n);
    c->n = n;
    c->lost = first;
    return TACIT_OK;
}

size_t kv_packed_bytes(const struct kv *c, size_t n)
{
    return 2 * c->shape.layers * c->shape.heads * (n - first_seen(c, n)) *
           c->row_bytes;
}

/* The rows that are packed of n tokens, run after run: zeroed at first. */
struct runs {
    size_t head, at; /* of k and v of all layers; the token after `row` */
    uint8_t *row;
    size_t bytes;
};

static int next_run(const struct kv *c, size_t n, struct runs *r)
{
    size_t heads = c->shape.heads, first = first_seen(c, n);
    if (r->bytes && r->at == n) r->head++;
    if (first == n || r->head == 2 * c->shape.layers * heads) return 0;
    if (!r->bytes || r->at == n) r->at = first;
    size_t run = run_of(c, r->at, n);
    r->row = row_at(c, r->head / (2 * heads), r->head / heads % 2,
                    r->head % heads, r->at);
    r->bytes = run * c->row_bytes;
    r->at += run;
    return 1;
}

void kv_pack(const struct kv *c, size_t n, uint8_t *out)
{
    struct runs r = {0};
    assert(kv_holds(c, n));
    for (; next_run(c, n, &r); out += r.bytes) memcpy(out, r.row, r.bytes);
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
    struct runs r = {0};
    if (n > c->shape.n_max)
        return fail(TACIT_LIMIT, "a prefix of %zu tokens; %zu fit", n,
                    c->shape.n_max);
    if (n_bytes != kv_packed_bytes(c, n))
        return fail(TACIT_SHAPE, "a prefix of another network's cache");
    if (!are_numbers(c, bytes, n_bytes / c->row_bytes))
        return fail(TACIT_FORMAT, "a prefix that holds no numbers");
    for (; next_run(c, n, &r); bytes += r.bytes) memcpy(r.row, bytes, r.bytes);
    c->n = n;
    c->lost = first_seen(c, n);
    return TACIT_OK;
}

static void fetch(const void *ctx, size_t head, size_t from, size_t n, float *k,
                  float *v)
{
    const struct layer *l = ctx;
    const struct kv *c = l->cache;
    size_t w = c->shape.width;
    for (size_t run, i = 0; i < n; i += run) {
        run = run_of(c, from + i, from + n);
        quant_decode(c->shape.type, row_at(c, l->index, 0, head, from + i),
                     k + i * w, run * w);
        quant_decode(c->shape.type, row_at(c, l->index, 1, head, from + i),
                     v + i * w, run * w);
    }
}

struct attend_past kv_past(const struct kv *c, size_t layer)
{
    assert(layer < c->shape.layers);
    return (struct attend_past){c->n, &c->layers[layer], fetch};
}
