#include "retrieval/flatindex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/kernels.h"
#include "retrieval/flatscan.h"

enum { CODE_MAX = 127, BLOCK_ROWS = 256, FIRST_ROWS = 256 };

/* What an f32 product of two vectors may be off, as a share of their lengths:
 * (dim / 16 + 16) roundings of 2^-24 at dim = FLATINDEX_DIM_MAX, doubled. */
#define ROUNDING 2e-5f
/* Beside it, for products so small that they lose their last bits. */
#define TINY 1e-30f
/* No number of a vector is larger; those of unit vectors are at most 1. */
#define NUMBER_MAX 1e9f

/* How the codes of a row stand to its vector: v = scale * c + e. */
struct row {
    int64_t id;
    float scale, length, error; /* |v|, |e| */
};

struct flatindex {
    size_t dim, stride;
    size_t n, cap;
    int8_t *codes;  /* [cap, stride] */
    float *vectors; /* [cap, stride] */
    struct row *rows;
    float *upper;    /* [cap] scratch of a search */
    uint32_t *slots; /* [n_slots] row + 1 by hash of id, 0 = free */
    size_t n_slots;  /* a power of two, >= 2 cap */
    int16_t *query;  /* [stride] scratch */
    float *exact;    /* [stride] scratch: q, padded */
    flatscan_fn *scan;
};

static void *alloc_rows(size_t n, size_t size)
{
    if (size && n > SIZE_MAX / 2 / size) return NULL;
    void *p = aligned_alloc(64, (n * size + 63) / 64 * 64);
    if (p) memset(p, 0, (n * size + 63) / 64 * 64);
    return p;
}

enum tacit_err flatindex_new(size_t dim, struct flatindex **out)
{
    if (dim < 1 || dim > FLATINDEX_DIM_MAX)
        return fail(TACIT_SHAPE, "vectors of %zu numbers, the limit is %d", dim,
                    FLATINDEX_DIM_MAX);
    struct flatindex *ix = calloc(1, sizeof *ix);
    if (!ix) return fail(TACIT_NOMEM, "out of memory");
    ix->dim = dim;
    ix->stride = (dim + FLATSCAN_STEP - 1) / FLATSCAN_STEP * FLATSCAN_STEP;
    ix->scan = flatscan_best();
    ix->query = alloc_rows(ix->stride, sizeof *ix->query);
    ix->exact = alloc_rows(ix->stride, sizeof *ix->exact);
    enum tacit_err err = ix->query && ix->exact
                             ? flatindex_reserve(ix, FIRST_ROWS)
                             : fail(TACIT_NOMEM, "out of memory");
    if (err) {
        flatindex_free(ix);
        return err;
    }
    *out = ix;
    return TACIT_OK;
}

void flatindex_free(struct flatindex *ix)
{
    if (!ix) return;
    free(ix->codes);
    free(ix->vectors);
    free(ix->rows);
    free(ix->upper);
    free(ix->slots);
    free(ix->query);
    free(ix->exact);
    free(ix);
}

size_t flatindex_count(const struct flatindex *ix)
{
    return ix->n;
}

/* ---- id -> row: open addressing, linear probing ---------------------------
 */

static size_t home_of(const struct flatindex *ix, int64_t id)
{
    uint64_t h = (uint64_t)id * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 32) & (ix->n_slots - 1);
}

/* The slot that holds id, or the free one where it belongs. */
static size_t slot_of(const struct flatindex *ix, int64_t id)
{
    size_t s = home_of(ix, id);
    while (ix->slots[s] && ix->rows[ix->slots[s] - 1].id != id)
        s = (s + 1) & (ix->n_slots - 1);
    return s;
}

/* Free a slot and move what was pushed behind it. */
static void free_slot(struct flatindex *ix, size_t hole)
{
    size_t mask = ix->n_slots - 1;
    ix->slots[hole] = 0;
    for (size_t s = (hole + 1) & mask; ix->slots[s]; s = (s + 1) & mask) {
        size_t home = home_of(ix, ix->rows[ix->slots[s] - 1].id);
        if (((s - home) & mask) < ((s - hole) & mask)) continue;
        ix->slots[hole] = ix->slots[s];
        ix->slots[s] = 0;
        hole = s;
    }
}

static int move_rows(void *pp, size_t n, size_t cap, size_t size)
{
    void *old, *fresh = alloc_rows(cap, size);
    if (!fresh) return 0;
    memcpy(&old, pp, sizeof old);
    if (n) memcpy(fresh, old, n * size);
    free(old);
    memcpy(pp, &fresh, sizeof fresh);
    return 1;
}

enum tacit_err flatindex_reserve(struct flatindex *ix, size_t n)
{
    if (n <= ix->cap) return TACIT_OK;
    size_t cap = ix->cap, n_slots = ix->n_slots ? ix->n_slots : 1;
    if (n >= UINT32_MAX / 4) return fail(TACIT_LIMIT, "%zu vectors", n);
    if (cap < FIRST_ROWS) cap = FIRST_ROWS;
    while (cap < n) cap += cap / 2;
    while (n_slots < 2 * cap) n_slots *= 2;
    uint32_t *slots = alloc_rows(n_slots, sizeof *slots);
    if (!slots || !move_rows(&ix->codes, ix->n, cap, ix->stride) ||
        !move_rows(&ix->vectors, ix->n, cap, ix->stride * sizeof(float)) ||
        !move_rows(&ix->rows, ix->n, cap, sizeof *ix->rows) ||
        !move_rows(&ix->upper, 0, cap, sizeof *ix->upper)) {
        free(slots);
        return fail(TACIT_NOMEM, "out of memory: %zu vectors", n);
    }
    free(ix->slots);
    ix->slots = slots;
    ix->n_slots = n_slots;
    ix->cap = cap;
    for (size_t i = 0; i < ix->n; i++)
        ix->slots[slot_of(ix, ix->rows[i].id)] = (uint32_t)i + 1;
    return TACIT_OK;
}

/* ---- codes ----------------------------------------------------------------
 */

static enum tacit_err check_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(v[i]) <= NUMBER_MAX))
            return fail(TACIT_FORMAT, "a vector holds a number that is none, "
                                      "or over 1e9");
    return TACIT_OK;
}

static float largest(const float *v, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(v[i]) > max) max = fabsf(v[i]);
    return max;
}

static void encode_row(struct flatindex *ix, size_t i, const float *v)
{
    struct row *row = &ix->rows[i];
    int8_t *code = ix->codes + i * ix->stride;
    float step = largest(v, ix->dim) / CODE_MAX;
    double length = 0, error = 0;
    for (size_t k = 0; k < ix->dim; k++) {
        float c = step > 0 ? rintf(v[k] / step) : 0;
        if (!(fabsf(c) <= CODE_MAX)) c = c > 0 ? CODE_MAX : -CODE_MAX;
        code[k] = (int8_t)c;
        double e = (double)v[k] - (double)step * (double)c;
        length += (double)v[k] * (double)v[k];
        error += e * e;
    }
    memcpy(ix->vectors + i * ix->stride, v, ix->dim * sizeof *v);
    row->scale = step;
    row->length = (float)sqrt(length);
    row->error = (float)sqrt(error) * (1 + ROUNDING);
}

enum tacit_err flatindex_insert(struct flatindex *ix, int64_t id,
                                const float *v)
{
    TRY(check_finite(v, ix->dim));
    size_t slot = slot_of(ix, id), i;
    if (ix->slots[slot]) {
        i = ix->slots[slot] - 1;
    } else {
        TRY(flatindex_reserve(ix, ix->n + 1));
        slot = slot_of(ix, id);
        i = ix->n++;
        ix->rows[i].id = id;
        ix->slots[slot] = (uint32_t)i + 1;
    }
    encode_row(ix, i, v);
    return TACIT_OK;
}

void flatindex_remove(struct flatindex *ix, int64_t id)
{
    size_t slot = slot_of(ix, id);
    if (!ix->slots[slot]) return;
    size_t i = ix->slots[slot] - 1, last = ix->n - 1;
    free_slot(ix, slot);
    if (i != last) {
        size_t moved = slot_of(ix, ix->rows[last].id);
        ix->slots[moved] = (uint32_t)i + 1;
        ix->rows[i] = ix->rows[last];
        memcpy(ix->codes + i * ix->stride, ix->codes + last * ix->stride,
               ix->stride);
        memcpy(ix->vectors + i * ix->stride, ix->vectors + last * ix->stride,
               ix->stride * sizeof(float));
    }
    ix->n--;
}

/* ---- search ---------------------------------------------------------------
 */

static int is_worse(const struct vec_hit *a, const struct vec_hit *b)
{
    return a->score < b->score || (a->score == b->score && a->id > b->id);
}

/* The k best so far as a heap with the worst on top. */
struct best {
    struct vec_hit *hit;
    size_t n, k;
};

static void sink(struct best *b, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= b->n) return;
        if (child + 1 < b->n && is_worse(&b->hit[child + 1], &b->hit[child]))
            child++;
        if (!is_worse(&b->hit[child], &b->hit[at])) return;
        struct vec_hit swap = b->hit[at];
        b->hit[at] = b->hit[child];
        b->hit[child] = swap;
        at = child;
    }
}

static void offer(struct best *b, struct vec_hit h)
{
    if (b->n == b->k) {
        if (!is_worse(&b->hit[0], &h)) return;
        b->hit[0] = h;
        sink(b, 0);
        return;
    }
    size_t at = b->n++;
    b->hit[at] = h;
    while (at > 0 && is_worse(&b->hit[at], &b->hit[(at - 1) / 2])) {
        struct vec_hit swap = b->hit[at];
        b->hit[at] = b->hit[(at - 1) / 2];
        b->hit[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

/* Best first. */
static size_t unheap(struct best *b)
{
    size_t n = b->n;
    while (b->n > 1) {
        struct vec_hit worst = b->hit[0];
        b->hit[0] = b->hit[--b->n];
        sink(b, 0);
        b->hit[b->n] = worst;
    }
    return n;
}

static void offer_row(const struct flatindex *ix, struct best *b, size_t i)
{
    float score =
        kernel_dot(ix->vectors + i * ix->stride, ix->exact, ix->stride);
    offer(b, (struct vec_hit){ix->rows[i].id, score});
}

/* A query's codes: q = scale * d + f. */
struct query_code {
    float scale, length, error;
};

static struct query_code encode_query(struct flatindex *ix, const float *q)
{
    float step = largest(q, ix->dim) / FLATSCAN_QUERY_MAX;
    double length = 0, error = 0;
    memcpy(ix->exact, q, ix->dim * sizeof *q);
    for (size_t k = 0; k < ix->dim; k++) {
        float c = step > 0 ? rintf(q[k] / step) : 0;
        if (!(fabsf(c) <= FLATSCAN_QUERY_MAX))
            c = c > 0 ? FLATSCAN_QUERY_MAX : -FLATSCAN_QUERY_MAX;
        ix->query[k] = (int16_t)c;
        double e = (double)q[k] - (double)step * (double)c;
        length += (double)q[k] * (double)q[k];
        error += e * e;
    }
    return (struct query_code){step, (float)sqrt(length), (float)sqrt(error)};
}

/* Frame every product; returns tau, the k-th largest lower bound. */
static float frame_all(struct flatindex *ix, struct query_code q,
                       struct best *lower)
{
    int32_t sums[BLOCK_ROWS];
    for (size_t from = 0; from < ix->n; from += BLOCK_ROWS) {
        size_t n = ix->n - from < BLOCK_ROWS ? ix->n - from : BLOCK_ROWS;
        ix->scan(ix->codes + from * ix->stride, ix->stride, n, ix->query, sums);
        for (size_t j = 0; j < n; j++) {
            const struct row *r = &ix->rows[from + j];
            float about = r->scale * q.scale * (float)sums[j];
            float off = r->error * q.length + (r->length + r->error) * q.error +
                        ROUNDING * r->length * q.length + TINY;
            ix->upper[from + j] = about + off;
            float low = about - off;
            if (lower->n < lower->k || low > lower->hit[0].score)
                offer(lower, (struct vec_hit){r->id, low});
        }
    }
    return lower->n < lower->k ? -INFINITY : lower->hit[0].score;
}

enum tacit_err flatindex_search(struct flatindex *ix, const float *q, size_t k,
                                const struct vec_filter *filter,
                                struct vec_hit *hits, size_t *n_hits)
{
    if (k > FLATINDEX_K_MAX)
        return fail(TACIT_LIMIT, "%zu nearest vectors, the limit is %d", k,
                    FLATINDEX_K_MAX);
    TRY(check_finite(q, ix->dim));
    struct query_code code = encode_query(ix, q);
    struct best best = {hits, 0, k};
    if (k > 0 && filter) {
        for (size_t i = 0; i < filter->n; i++) {
            uint32_t row = ix->slots[slot_of(ix, filter->ids[i])];
            if (row) offer_row(ix, &best, row - 1);
        }
    } else if (k > 0) {
        float tau = frame_all(ix, code, &best);
        best.n = 0;
        for (size_t i = 0; i < ix->n; i++)
            if (ix->upper[i] >= tau) offer_row(ix, &best, i);
    }
    *n_hits = unheap(&best);
    return TACIT_OK;
}
