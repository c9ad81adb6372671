#include "common/tensor/vectorise.h"

#include "retrieval/ivf.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"
#include "retrieval/ivf_state.h"

enum { SEGMENT_BYTES = 4050, ARENA_MAX = 1 << 28, STRANDS = 16 };
/* Lengths beyond these would not survive a square in a float. */
static const float norm2_max = 1e30F, norm2_min = 1e-30F;

/* ---- life ---------------------------------------------------------------- */

enum tacit_err ivf_create(const struct ivf_store *store,
                          const struct ivf_settings *settings)
{
    struct ivf_settings set = *settings;
    struct ivf_shape shape;
    if (set.segment_bytes == 0) set.segment_bytes = SEGMENT_BYTES;
    if (set.metric > IVF_DOT || set.rows > IVF_ROWS_F32)
        return fail(TACIT_SHAPE, "no such metric or kind of rows");
    TRY(ivf_shape_set(&set, &shape));
    struct ivf_counters count = {.epoch = 1, .next_list = 1, .heads = 1};
    return ivf_meta_store(store, &set, &count);
}

static enum tacit_err meta_get(const struct ivf_store *store,
                               struct ivf_settings *set,
                               struct ivf_counters *count)
{
    const void *data = NULL;
    size_t n = 0;
    TRY(store->meta_read(store->ctx, &data, &n));
    return ivf_meta_decode(data, n, set, count);
}

/* All buffers of fixed size. */
static enum tacit_err buffers_new(struct ivf *ix)
{
    size_t width = ix->shape.width;
    TRY(rabitq_new(ix->set.dim, ix->set.seed, &ix->rq));
    TRY(rabitq_query_new(width, &ix->query));
    TRY(rabitq_query_new(width, &ix->pivot));
    TRY(rabitq_query_new(width, &ix->pivot2));
    ix->x = malloc(width * sizeof *ix->x);
    ix->c = malloc(width * sizeof *ix->c);
    ix->v = malloc(width * sizeof *ix->v);
    ix->row = malloc(ix->shape.row);
    ix->rows = malloc(IVF_ROWS_HEADER + ix->shape.rows_max * ix->shape.row);
    ix->segment = malloc(IVF_HEADER + ix->shape.blocks_max * ix->shape.block);
    if (ix->x == NULL || ix->c == NULL || ix->v == NULL || ix->row == NULL ||
        ix->rows == NULL || ix->segment == NULL)
        return fail(TACIT_NOMEM, "no memory for the index");
    return TACIT_OK;
}

enum tacit_err ivf_open(const struct ivf_store *store, struct ivf **out)
{
    struct ivf *ix = calloc(1, sizeof *ix);
    if (ix == NULL) return fail(TACIT_NOMEM, "no memory for the index");
    ix->store = store;
    arena_init(&ix->arena, ARENA_MAX);
    enum tacit_err e = meta_get(store, &ix->set, &ix->count);
    if (e == TACIT_OK) e = ivf_shape_set(&ix->set, &ix->shape);
    if (e == TACIT_OK) e = buffers_new(ix);
    if (e != TACIT_OK) {
        ivf_close(ix);
        return e;
    }
    ix->lean = ix->shape;
    ix->lean.words = ix->shape.ids;
    ix->lean.block -= ix->shape.words - ix->shape.ids;
    ix->kernels = rabitq_kernels();
    ix->metric = ix->set.metric == IVF_DOT ? RABITQ_DOT : RABITQ_L2;
    *out = ix;
    return TACIT_OK;
}

void ivf_close(struct ivf *ix)
{
    if (ix == NULL) return;
    ivf_trees_forget(ix);
    free(ix->trees);
    free(ix->parts);
    rabitq_free(ix->rq);
    rabitq_query_free(ix->query);
    rabitq_query_free(ix->pivot);
    rabitq_query_free(ix->pivot2);
    free(ix->x);
    free(ix->c);
    free(ix->v);
    free(ix->row);
    free(ix->rows);
    free(ix->segment);
    free(ix->estimates);
    ivf_scratch_free(ix->scratch);
    ivf_kept_free(ix->kept);
    ivf_held_free(ix);
    arena_release(&ix->arena);
    free(ix);
}

const struct ivf_settings *ivf_settings(const struct ivf *ix)
{
    return &ix->set;
}

void ivf_forget(struct ivf *ix)
{
    ivf_held_drop(ix);
    ivf_trees_forget(ix);
    ix->stale = true;
}

static bool settings_equal(const struct ivf_settings *a,
                           const struct ivf_settings *b)
{
    return a->dim == b->dim && a->columns == b->columns &&
           a->metric == b->metric && a->rows == b->rows &&
           a->segment_bytes == b->segment_bytes && a->seed == b->seed;
}

enum tacit_err ivf_refresh(struct ivf *ix)
{
    struct ivf_settings set;
    struct ivf_counters count;
    TRY(meta_get(ix->store, &set, &count));
    if (!settings_equal(&set, &ix->set))
        return fail(TACIT_STATE, "the index has been made anew with other "
                                 "settings; open it again");
    if (count.epoch != ix->count.epoch) ivf_trees_forget(ix);
    ix->count = count;
    ix->stale = false;
    return TACIT_OK;
}

enum tacit_err ivf_fresh(struct ivf *ix)
{
    return ix->stale ? ivf_refresh(ix) : TACIT_OK;
}

size_t ivf_bytes(const struct ivf *ix)
{
    return sizeof *ix + ivf_trees_bytes(ix) +
           ix->room_dots * 2 * sizeof *ix->estimates + ix->arena.used_bytes +
           ivf_held_bytes(ix) + ivf_scratch_bytes(ix->scratch) +
           ivf_kept_bytes(ix->kept) + ix->shape.width * 64 +
           3 * ix->set.segment_bytes;
}

/* ---- vectors ------------------------------------------------------------- */

/* Not finite when a number is not, or when it is too large for a float. */
MANY_TARGETS static float square_sum(const float *restrict v, size_t n)
{
    float sums[STRANDS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + STRANDS <= n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) sums[k] += v[i + k] * v[i + k];
    for (size_t k = 0; k < STRANDS; k++) sum += sums[k];
    for (; i < n; i++) sum += v[i] * v[i];
    return sum;
}

MANY_TARGETS static void divide(const float *restrict v, size_t n, float by,
                                float *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = v[i] / by;
}

static enum tacit_err vector_norm2(const struct ivf *ix, const float *v,
                                   float *norm2)
{
    float sum = square_sum(v, ix->set.dim);
    if (!isfinite(sum))
        for (size_t i = 0; i < ix->set.dim; i++)
            if (!isfinite(v[i]))
                return fail_as(E_VECTOR_VALUE, "number %zu is not finite",
                               i + 1);
    if (!(sum < norm2_max))
        return fail_as(E_VECTOR_VALUE, "the vector is too long: numbers are at "
                                       "most about 1e15");
    if (ix->set.metric == IVF_COSINE && sum < norm2_min)
        return fail_as(E_VECTOR_VALUE, "the vector has length zero, so that no "
                                       "cosine is defined");
    *norm2 = sum;
    return TACIT_OK;
}

enum tacit_err ivf_check(const struct ivf *ix, const float *v)
{
    float norm2;
    return vector_norm2(ix, v, &norm2);
}

enum tacit_err ivf_prepare(struct ivf *ix, const float *v, float *length)
{
    float norm2, l = 1;
    TRY(vector_norm2(ix, v, &norm2));
    if (ix->set.metric == IVF_COSINE) l = sqrtf(norm2);
    divide(v, ix->set.dim, l, ix->v);
    rabitq_rotate(ix->rq, ix->v, ix->x);
    if (length != NULL) *length = l;
    return TACIT_OK;
}

/* ---- insert -------------------------------------------------------------- */

/* The first list of a partition has its first vector for a centroid. */
static enum tacit_err first_list(struct ivf *ix, struct ivf_tree *t,
                                 const float *x)
{
    if (ix->count.next_list >= IVF_LISTS_MAX)
        return fail(TACIT_LIMIT,
                    "the index has had its %d lists; build it "
                    "anew",
                    IVF_LISTS_MAX);
    uint32_t list = ix->count.next_list++;
    memcpy(ix->c, x, ix->shape.width * sizeof *x);
    TRY(ivf_tree_put(ix, t, list, ix->c));
    return ivf_meta_write(ix);
}

MANY_TARGETS static int32_t bytes_dot(const int8_t *restrict x,
                                      const int8_t *restrict y, size_t n)
{
    int32_t dot = 0;
    for (size_t i = 0; i < n; i++) dot += x[i] * y[i];
    return dot;
}

static float centroids_d2(const struct ivf *ix, const struct ivf_tree *t,
                          size_t a, size_t b)
{
    size_t width = ix->shape.width;
    int32_t dot = bytes_dot(t->codes + a * width, t->codes + b * width, width);
    return ivf_gap2(t->norm2[a], t->norm2[b],
                    t->scale[a] * t->scale[b] * (float)dot);
}

enum tacit_err ivf_place(struct ivf *ix, int64_t part, const float *x,
                         const uint8_t *row, const int64_t *words)
{
    static const int64_t none[IVF_COLUMNS_MAX];
    uint8_t bits[RABITQ_DIM_MAX / 8];
    int64_t id = ivf_i64(row);
    struct ivf_tree *t;
    struct ivf_near near[2];
    if (words == NULL) words = none;
    TRY(ivf_tree_get(ix, part, &t));
    if (t->n == 0) TRY(first_list(ix, t, x));
    rabitq_query_set(ix->query, x);
    size_t n = ivf_tree_nearest(ix, t, ix->query, 2, IVF_CLOSURE, near);
    uint32_t lists[2] = {t->list[near[0].at], 0};
    ivf_tree_centroid(ix, t, near[0].at, ix->c);
    struct ivf_entry e = ivf_entry_make(ix, x, ix->c, id, words, bits);
    TRY(ivf_held_add(ix, part, lists[0], lists[0], &e, row));
    if (n > 1 && near[1].d2 < IVF_CLOSURE * near[0].d2 &&
        ivf_second(near[0].d2, near[1].d2,
                   centroids_d2(ix, t, near[0].at, near[1].at))) {
        lists[1] = t->list[near[1].at];
        ivf_tree_centroid(ix, t, near[1].at, ix->c);
        e = ivf_entry_make(ix, x, ix->c, id, words, bits);
        TRY(ivf_held_add(ix, part, lists[0], lists[1], &e, NULL));
    }
    TRY(ix->store->place_write(ix->store->ctx, id, lists));
    return ix->wait == IVF_HELD && !ix->held.is_full ? TACIT_OK
                                                     : ivf_held_write(ix);
}

void ivf_hold(struct ivf *ix, enum ivf_wait wait)
{
    ix->wait = wait;
}

bool ivf_is_held(const struct ivf *ix)
{
    return ix->held.n > 0;
}

enum tacit_err ivf_insert(struct ivf *ix, int64_t part, int64_t id,
                          const float *v, const int64_t *words)
{
    bool found = false;
    uint32_t lists[2];
    TRY(ivf_check(ix, v));
    TRY(ix->store->place_read(ix->store->ctx, id, &found, lists));
    if (found) return fail(TACIT_STATE, "id %lld is there", (long long)id);
    return ivf_insert_new(ix, part, id, v, words);
}

enum tacit_err ivf_insert_new(struct ivf *ix, int64_t part, int64_t id,
                              const float *v, const int64_t *words)
{
    float length;
    TRY(ivf_fresh(ix));
    TRY(ivf_prepare(ix, v, &length));
    ivf_row_make(ix, id, v, length, ix->row);
    return ivf_place(ix, part, ix->x, ix->row, words);
}

/* ---- delete -------------------------------------------------------------- */

static enum tacit_err place_get(struct ivf *ix, int64_t id, uint32_t lists[2])
{
    bool found = false;
    TRY(ix->store->place_read(ix->store->ctx, id, &found, lists));
    if (!found)
        return fail(TACIT_NOTFOUND, "there is no id %lld", (long long)id);
    if (lists[0] == 0 || lists[0] == lists[1])
        return IVF_DAMAGED("id %lld is placed wrongly", (long long)id);
    return TACIT_OK;
}

enum { HOLES_MIN = 16 };

/* What is left of a list that lost an entry: merged when small, packed when its
 * holes are many beside its entries, so that a rewritten entry stands for a
 * deleted one. The segment that lost it says when to look at the others. */
static enum tacit_err list_settle(struct ivf *ix, uint32_t list,
                                  const struct ivf_spot *spot)
{
    size_t holes = spot->room - spot->live, live, room;
    bool small = spot->live < ix->shape.list_min &&
                 spot->live % (ix->shape.list_min / 4) == 0;
    bool sparse = holes >= (HOLES_MIN + spot->live / 8) / 2 &&
                  holes % (HOLES_MIN / 2) == 0;
    if (!small && !sparse) return TACIT_OK;
    TRY(ivf_list_count(ix, list, &live, &room));
    small = small && live < ix->shape.list_min;
    sparse = room - live >= HOLES_MIN + live / 8;
    if (!small && !sparse) return TACIT_OK;
    const void *data = NULL;
    size_t n = 0;
    struct ivf_tree *t;
    TRY(ix->store->head_read(ix->store->ctx, list, &data, &n));
    if (data == NULL || n != ivf_head_bytes(ix))
        return IVF_DAMAGED("list %u has no head", list);
    TRY(ivf_tree_get(ix, ivf_i64(data), &t));
    return small ? ivf_merge(ix, t, list) : ivf_list_pack(ix, t, list);
}

enum tacit_err ivf_delete(struct ivf *ix, int64_t id)
{
    uint32_t lists[2];
    struct ivf_spot spot, copy;
    TRY(ivf_fresh(ix));
    TRY(place_get(ix, id, lists));
    if (lists[1] != 0)
        TRY(ivf_list_remove(ix, lists[1], IVF_COPIES, id, &copy));
    TRY(ivf_list_remove(ix, lists[0], IVF_FIRST, id, &spot));
    TRY(ix->store->place_delete(ix->store->ctx, id));
    return list_settle(ix, lists[0], &spot);
}

enum tacit_err ivf_update(struct ivf *ix, int64_t part, int64_t id,
                          const float *v, const int64_t *words)
{
    TRY(ivf_check(ix, v));
    TRY(ivf_delete(ix, id));
    return ivf_insert(ix, part, id, v, words);
}

/* ---- one id -------------------------------------------------------------- */

enum tacit_err ivf_vector(struct ivf *ix, int64_t id, float *v)
{
    uint32_t lists[2];
    const uint8_t *row;
    TRY(ivf_fresh(ix));
    TRY(place_get(ix, id, lists));
    TRY(ivf_row_find(ix, lists[0], id, &row));
    return ivf_row_vector(ix, row, v);
}

enum tacit_err ivf_set_words(struct ivf *ix, int64_t id, const int64_t *words)
{
    uint32_t lists[2];
    const struct ivf_shape *s = &ix->shape;
    TRY(ivf_fresh(ix));
    TRY(place_get(ix, id, lists));
    for (size_t i = 0; i < 2 && lists[i] != 0; i++) {
        struct ivf_spot spot;
        TRY(ivf_list_find(ix, lists[i], i == 0 ? IVF_FIRST : IVF_COPIES, id,
                          &spot));
        if (!spot.found)
            return IVF_DAMAGED("list %u misses an entry", lists[i]);
        uint8_t *b =
            ix->segment + IVF_HEADER + spot.slot / IVF_BLOCK * s->block;
        for (size_t k = 0; k < s->columns; k++)
            memcpy(b + s->words + 8 * (k * IVF_BLOCK + spot.slot % IVF_BLOCK),
                   words + k, sizeof *words);
        TRY(ix->store->seg_write(ix->store->ctx, ivf_entries_of(lists[i]),
                                 spot.seg, ix->segment,
                                 ivf_segment_bytes(s, ix->segment)));
    }
    return TACIT_OK;
}

enum tacit_err ivf_words(struct ivf *ix, int64_t id, int64_t *words)
{
    uint32_t lists[2];
    struct ivf_spot spot;
    TRY(ivf_fresh(ix));
    TRY(place_get(ix, id, lists));
    TRY(ivf_list_find(ix, lists[0], IVF_FIRST, id, &spot));
    if (!spot.found) return IVF_DAMAGED("list %u misses an entry", lists[0]);
    for (size_t k = 0; k < ix->shape.columns; k++)
        words[k] = ivf_slot_word(&ix->shape, ix->segment, spot.slot, k);
    return TACIT_OK;
}
