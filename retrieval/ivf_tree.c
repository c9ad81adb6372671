#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"

enum {
    TREES_BYTES_MAX = 256 << 20, /* evicted above it */
    STRETCH = 64                 /* lists that are looked at together */
};

static size_t up16(size_t n)
{
    return (n + IVF_BLOCK - 1) / IVF_BLOCK * IVF_BLOCK;
}

static void tree_free(struct ivf_tree *t)
{
    if (t == NULL) return;
    free(t->list);
    free(t->scale);
    free(t->norm2);
    free(t->codes);
    free(t->bits);
    free(t->coarse);
    free(t->mean);
    free(t->mean_codes);
    free(t);
}

void ivf_trees_forget(struct ivf *ix)
{
    for (size_t i = 0; i < ix->n_trees; i++) tree_free(ix->trees[i]);
    ix->n_trees = 0;
    ix->parts_known = false;
    ix->heads_met = false;
}

/* A list whose head is gone would be left out without a word. */
static enum tacit_err heads_meet(struct ivf *ix)
{
    uint64_t n = 0;
    if (ix->heads_met) return TACIT_OK;
    TRY(ix->store->heads_count(ix->store->ctx, &n));
    if (ix->count.heads > 0 && n + 1 != ix->count.heads)
        return IVF_DAMAGED("of %u lists %llu have a head", ix->count.heads - 1,
                           (unsigned long long)n);
    ix->heads_met = true;
    return TACIT_OK;
}

/* Heads come in the order of their partitions. */
static enum tacit_err part_read(void *ctx, uint32_t list, const void *data,
                                size_t n)
{
    struct ivf *ix = ctx;
    TRY(ivf_head_check(ix, list, data, n));
    if (ix->n_parts > 0 && ix->parts[ix->n_parts - 1] == ivf_i64(data))
        return TACIT_OK;
    if (ix->n_parts == ix->room_parts) {
        size_t room = ix->room_parts ? 2 * ix->room_parts : 16;
        int64_t *parts = realloc(ix->parts, room * sizeof *parts);
        if (parts == NULL) return fail(TACIT_NOMEM, "no memory for partitions");
        ix->parts = parts;
        ix->room_parts = room;
    }
    ix->parts[ix->n_parts++] = ivf_i64(data);
    return TACIT_OK;
}

enum tacit_err ivf_parts_get(struct ivf *ix)
{
    if (ix->parts_known) return TACIT_OK;
    TRY(heads_meet(ix));
    ix->n_parts = 0;
    enum tacit_err e = ivf_heads_walk(ix->store, NULL, part_read, ix);
    ix->parts_known = e == TACIT_OK;
    return e;
}

static size_t tree_bytes(const struct ivf *ix, const struct ivf_tree *t)
{
    return sizeof *t + t->room * (ix->shape.width + 12) +
           t->room / IVF_BLOCK *
               (ivf_tree_block(ix->shape.width) +
                ivf_tree_block(ix->shape.coarse)) +
           ix->shape.width * 5;
}

size_t ivf_trees_bytes(const struct ivf *ix)
{
    size_t sum = 0;
    for (size_t i = 0; i < ix->n_trees; i++)
        sum += tree_bytes(ix, ix->trees[i]);
    return sum;
}

/* Blocks of bits for room lists, the new ones empty. */
static bool blocks_reserve(uint8_t **blocks, size_t width, size_t old,
                           size_t room)
{
    size_t size = ivf_tree_block(width);
    uint8_t *b = realloc(*blocks, room / IVF_BLOCK * size);
    if (b == NULL) return false;
    *blocks = b;
    memset(b + old / IVF_BLOCK * size, 0, (room - old) / IVF_BLOCK * size);
    return true;
}

static enum tacit_err tree_reserve(struct ivf *ix, struct ivf_tree *t, size_t n)
{
    if (n <= t->room) return TACIT_OK;
    size_t room = up16(n < 16 ? 16 : n + n / 4), width = ix->shape.width;
    uint32_t *list = realloc(t->list, room * sizeof *list);
    if (list != NULL) t->list = list;
    float *scale = realloc(t->scale, room * sizeof *scale);
    if (scale != NULL) t->scale = scale;
    float *norm2 = realloc(t->norm2, room * sizeof *norm2);
    if (norm2 != NULL) t->norm2 = norm2;
    int8_t *codes = realloc(t->codes, room * width);
    if (codes != NULL) t->codes = codes;
    if (list == NULL || scale == NULL || norm2 == NULL || codes == NULL ||
        !blocks_reserve(&t->bits, width, t->room, room) ||
        !blocks_reserve(&t->coarse, ix->shape.coarse, t->room, room))
        return fail(TACIT_NOMEM, "no memory for %zu lists", room);
    t->room = room;
    return TACIT_OK;
}

static enum tacit_err dots_reserve(struct ivf *ix, size_t n)
{
    if (n <= ix->room_dots) return TACIT_OK;
    size_t room = up16(n + n / 4);
    float *estimates = realloc(ix->estimates, 2 * room * sizeof *estimates);
    if (estimates == NULL)
        return fail(TACIT_NOMEM, "no memory for %zu lists", room);
    ix->estimates = estimates;
    ix->room_dots = room;
    return TACIT_OK;
}

void ivf_tree_centroid(const struct ivf *ix, const struct ivf_tree *t,
                       size_t at, float *c)
{
    size_t width = ix->shape.width;
    const int8_t *codes = t->codes + at * width;
    for (size_t i = 0; i < width; i++) c[i] = t->scale[at] * (float)codes[i];
}

/* Bits and scalars of place `at` in blocks of a width. */
static void block_put(uint8_t *blocks, size_t width, size_t at,
                      const uint8_t *bits, struct rabitq_entry e)
{
    uint8_t *b = blocks + at / IVF_BLOCK * ivf_tree_block(width);
    size_t i = at % IVF_BLOCK, scalars = width / 8 * IVF_BLOCK;
    for (size_t j = 0; j < width / 8; j++) b[IVF_BLOCK * j + i] = bits[j];
    memcpy(b + scalars + 2 * i, &e.add, 2);
    memcpy(b + scalars + 2 * (IVF_BLOCK + i), &e.mul, 2);
}

/* The bits of a list's centroid, in the tree's own blocks. */
static void bits_put(struct ivf *ix, struct ivf_tree *t, size_t at)
{
    uint8_t bits[RABITQ_DIM_MAX / 8];
    float c[RABITQ_DIM_MAX];
    c[0] = 0; /* gcc does not know that a width is not 0 */
    ivf_tree_centroid(ix, t, at, c);
    size_t width = ix->shape.width, part = ix->shape.coarse;
    struct rabitq_entry e = rabitq_encode(RABITQ_L2, c, t->mean, width, bits);
    block_put(t->bits, width, at, bits, e);
    if (part == 0) return;
    e = rabitq_encode_part(c, t->mean, width, part, bits);
    block_put(t->coarse, part, at, bits, e);
}

/* The mean of all centroids, in bytes: what their bits are relative to. Taken
 * again when the lists have doubled. */
static void mean_take(struct ivf *ix, struct ivf_tree *t)
{
    size_t width = ix->shape.width;
    memset(t->mean, 0, width * sizeof *t->mean);
    for (size_t at = 0; at < t->n; at++) {
        const int8_t *codes = t->codes + at * width;
        float s = t->scale[at] / (float)t->n;
        for (size_t i = 0; i < width; i++) t->mean[i] += s * (float)codes[i];
    }
    t->mean_scale = rabitq_row_encode(t->mean, width, t->mean_codes).scale;
    t->mean_norm2 = 0;
    for (size_t i = 0; i < width; i++) {
        t->mean[i] = t->mean_scale * (float)t->mean_codes[i];
        t->mean_norm2 += t->mean[i] * t->mean[i];
    }
    t->n_mean = t->n;
    for (size_t at = 0; at < t->n; at++) bits_put(ix, t, at);
}

static enum tacit_err tree_new(struct ivf *ix, int64_t part,
                               struct ivf_tree **out)
{
    struct ivf_tree *t = calloc(1, sizeof *t);
    if (t != NULL) t->mean = calloc(ix->shape.width, sizeof *t->mean);
    if (t != NULL) t->mean_codes = calloc(ix->shape.width, 1);
    if (t == NULL || t->mean == NULL || t->mean_codes == NULL) {
        tree_free(t);
        return fail(TACIT_NOMEM, "no memory for a partition's lists");
    }
    t->part = part;
    *out = t;
    return TACIT_OK;
}

enum tacit_err ivf_head_check(const struct ivf *ix, uint32_t list,
                              const uint8_t *b, size_t n)
{
    if (n != ivf_head_bytes(ix) || list == 0 || list >= ix->count.next_list)
        return IVF_DAMAGED("the head of list %u is malformed", list);
    float scale = ivf_f32(b + 8), norm2 = ivf_f32(b + 12);
    if (!(scale >= 0 && scale < 1e13F) || !(norm2 >= 0 && norm2 < 1e35F))
        return IVF_DAMAGED("the centroid of list %u is out of range", list);
    return TACIT_OK;
}

static enum tacit_err head_add(struct ivf *ix, struct ivf_tree *t,
                               uint32_t list, const uint8_t *b, size_t n)
{
    TRY(ivf_head_check(ix, list, b, n));
    if (ivf_i64(b) != t->part)
        return IVF_DAMAGED("list %u is in another partition", list);
    float scale = ivf_f32(b + 8), norm2 = ivf_f32(b + 12);
    TRY(tree_reserve(ix, t, t->n + 1));
    t->list[t->n] = list;
    t->scale[t->n] = scale;
    t->norm2[t->n] = norm2;
    memcpy(t->codes + t->n * ix->shape.width, b + IVF_HEAD_FIXED,
           ix->shape.width);
    t->n++;
    return TACIT_OK;
}

struct reading {
    struct ivf *ix;
    struct ivf_tree *t;
};

static enum tacit_err head_read(void *ctx, uint32_t list, const void *data,
                                size_t n)
{
    const struct reading *r = ctx;
    return head_add(r->ix, r->t, list, data, n);
}

static enum tacit_err tree_read(struct ivf *ix, struct ivf_tree *t)
{
    struct reading r = {ix, t};
    enum tacit_err e = ivf_heads_walk(ix->store, &t->part, head_read, &r);
    if (e == TACIT_OK) e = dots_reserve(ix, t->room);
    if (e == TACIT_OK) mean_take(ix, t);
    return e;
}

/* Room for one more tree; the least recently used ones make way. */
static enum tacit_err trees_reserve(struct ivf *ix)
{
    while (ix->n_trees > 0 && ivf_trees_bytes(ix) > TREES_BYTES_MAX) {
        size_t old = 0;
        for (size_t i = 1; i < ix->n_trees; i++)
            if (ix->trees[i]->used < ix->trees[old]->used) old = i;
        tree_free(ix->trees[old]);
        ix->trees[old] = ix->trees[--ix->n_trees];
    }
    if (ix->n_trees < ix->room_trees) return TACIT_OK;
    size_t room = ix->room_trees < 4 ? 4 : 2 * ix->room_trees;
    struct ivf_tree **trees = realloc(ix->trees, room * sizeof(*trees));
    if (trees == NULL) return fail(TACIT_NOMEM, "no memory for partitions");
    ix->trees = trees;
    ix->room_trees = room;
    return TACIT_OK;
}

enum tacit_err ivf_tree_get(struct ivf *ix, int64_t part, struct ivf_tree **out)
{
    for (size_t i = 0; i < ix->n_trees; i++)
        if (ix->trees[i]->part == part) {
            ix->trees[i]->used = ++ix->clock;
            *out = ix->trees[i];
            return TACIT_OK;
        }
    TRY(heads_meet(ix));
    TRY(trees_reserve(ix));
    struct ivf_tree *t;
    TRY(tree_new(ix, part, &t));
    enum tacit_err e = tree_read(ix, t);
    if (e != TACIT_OK) {
        tree_free(t);
        return e;
    }
    t->used = ++ix->clock;
    ix->trees[ix->n_trees++] = t;
    *out = t;
    return TACIT_OK;
}

/* Whether one of v [STRETCH] is it. */
MANY_TARGETS static bool is_among(const uint32_t *v, uint32_t it)
{
    uint32_t same = 0;
    for (size_t i = 0; i < STRETCH; i++) same |= v[i] == it;
    return same != 0;
}

size_t ivf_tree_find(const struct ivf_tree *t, uint32_t list)
{
    size_t i = 0;
    for (; i + STRETCH <= t->n; i += STRETCH)
        if (is_among(t->list + i, list)) break;
    for (; i < t->n; i++)
        if (t->list[i] == list) return i;
    return SIZE_MAX;
}

enum tacit_err ivf_tree_put(struct ivf *ix, struct ivf_tree *t, uint32_t list,
                            float *c)
{
    size_t width = ix->shape.width, at = ivf_tree_find(t, list);
    uint8_t head[IVF_HEAD_FIXED + RABITQ_DIM_MAX];
    void *codes = head + IVF_HEAD_FIXED;
    struct rabitq_row row = rabitq_row_encode(c, width, codes);
    if (at == SIZE_MAX) {
        at = t->n;
        TRY(tree_reserve(ix, t, t->n + 1));
        TRY(dots_reserve(ix, t->room));
        if (t->n == 0) ix->parts_known = false;
        t->list[t->n++] = list;
        ix->count.heads += ix->count.heads > 0;
    }
    memcpy(t->codes + at * width, codes, width);
    t->scale[at] = row.scale;
    ivf_tree_centroid(ix, t, at, c);
    float norm2 = 0;
    for (size_t i = 0; i < width; i++) norm2 += c[i] * c[i];
    t->norm2[at] = norm2;
    memcpy(head, &t->part, sizeof t->part);
    memcpy(head + 8, &row.scale, sizeof row.scale);
    memcpy(head + 12, &norm2, sizeof norm2);
    if (t->n >= 2 * t->n_mean)
        mean_take(ix, t);
    else
        bits_put(ix, t, at);
    ix->count.epoch++;
    return ix->store->head_write(ix->store->ctx, list, t->part, head,
                                 IVF_HEAD_FIXED + width);
}

enum tacit_err ivf_tree_drop(struct ivf *ix, struct ivf_tree *t, uint32_t list)
{
    size_t at = ivf_tree_find(t, list), last = t->n - 1;
    if (at == SIZE_MAX) return TACIT_OK;
    size_t width = ix->shape.width;
    t->list[at] = t->list[last];
    t->scale[at] = t->scale[last];
    t->norm2[at] = t->norm2[last];
    memmove(t->codes + at * width, t->codes + last * width, width);
    if (at != last) bits_put(ix, t, at);
    /* the last place is empty: its mul is 0 */
    static const uint8_t none[RABITQ_DIM_MAX / 8];
    struct rabitq_entry empty = {0, 0};
    block_put(t->bits, width, last, none, empty);
    block_put(t->coarse, ix->shape.coarse, last, none, empty);
    t->n--;
    if (t->n == 0) ix->parts_known = false;
    ix->count.heads -= ix->count.heads > 0;
    ix->count.epoch++;
    return ix->store->head_delete(ix->store->ctx, list);
}

/* ---- nearest ------------------------------------------------------------- */

float ivf_tree_product(const struct ivf *ix, const struct ivf_tree *t,
                       const struct rabitq_query *q, size_t at)
{
    int32_t dot;
    size_t width = ix->shape.width;
    ix->kernels->dots(t->codes + at * width, width, 1, q->q16, width, &dot);
    return q->scale * t->scale[at] * (float)dot;
}

float ivf_tree_d2(const struct ivf *ix, const struct ivf_tree *t,
                  const struct rabitq_query *q, size_t at)
{
    float d = q->norm2 + t->norm2[at] - 2 * ivf_tree_product(ix, t, q, at);
    return d > 0 ? d : 0;
}
