#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

#include <math.h>

#include "common/base/codes.h"

enum {
    META_VERSION = 4, /* 1 counted other distances in its levels, */
    META_OLDEST = 2,  /* 2 neither its heads nor marked what is followed, */
    META_UNMIXED = 3, /* 3 is as 4, and written still, without RABITQ_MIXING */
    META_BYTES = 64 + 4 * IVF_RANKS * IVF_LEVELS,
    STRANDS = 16,
    COARSE_LEAST = 64
};
static const char meta_magic[8] = {'T', 'A', 'C', 'I', 'T', 'I', 'V', 'F'};
_Static_assert((int)META_BYTES <= (int)IVF_META_MAX, "limits");

static size_t rows_held(size_t segment_bytes, size_t row)
{
    size_t n = (segment_bytes - IVF_ROWS_HEADER) / row;
    return n ? n : 1;
}

enum tacit_err ivf_shape_set(const struct ivf_settings *set,
                             struct ivf_shape *shape)
{
    if (set->dim < 1 || set->dim > IVF_DIM_MAX)
        return fail(TACIT_SHAPE, "a vector has 1 to %d numbers, not %u",
                    IVF_DIM_MAX, set->dim);
    if (set->columns > IVF_COLUMNS_MAX)
        return fail(TACIT_SHAPE, "%u filter columns, at most %d", set->columns,
                    IVF_COLUMNS_MAX);
    if (set->segment_bytes < IVF_SEGMENT_BYTES_MIN ||
        set->segment_bytes > IVF_SEGMENT_BYTES_MAX)
        return fail(TACIT_SHAPE, "segments of %u bytes, want %d to %d",
                    set->segment_bytes, IVF_SEGMENT_BYTES_MIN,
                    IVF_SEGMENT_BYTES_MAX);
    struct ivf_shape s = {.width = rabitq_width_for(set->dim),
                          .columns = set->columns};
    s.coarse = s.width / 4 / RABITQ_STEP * RABITQ_STEP;
    if (s.coarse < COARSE_LEAST) s.coarse = 0;
    s.scalars = s.width / 8 * IVF_BLOCK;
    s.ids = s.scalars + 2 * sizeof(uint16_t) * IVF_BLOCK;
    s.words = s.ids + sizeof(int64_t) * IVF_BLOCK;
    s.block = s.words + s.columns * sizeof(int64_t) * IVF_BLOCK;
    s.blocks_max = (set->segment_bytes - IVF_HEADER) / s.block;
    if (s.blocks_max == 0) s.blocks_max = 1;
    if (s.blocks_max > IVF_LIST_MAX / IVF_BLOCK)
        s.blocks_max = IVF_LIST_MAX / IVF_BLOCK;
    s.slots_max = s.blocks_max * IVF_BLOCK;
    s.list_max = s.slots_max;
    while (s.list_max < IVF_LIST_AIM) s.list_max += s.slots_max;
    s.list_min = s.list_max * 3 / 8;
    s.row =
        IVF_ROW_FIXED + (set->rows == IVF_ROWS_F32 ? set->dim * sizeof(float)
                                                   : IVF_ROW_INT8 + s.width);
    s.rows_max = rows_held(set->segment_bytes, s.row);
    *shape = s;
    return TACIT_OK;
}

size_t ivf_head_bytes(const struct ivf *ix)
{
    return IVF_HEAD_FIXED + ix->shape.width;
}

/* ---- meta ---------------------------------------------------------------- */

enum tacit_err ivf_meta_store(const struct ivf_store *store,
                              const struct ivf_settings *set,
                              const struct ivf_counters *count)
{
    uint8_t b[META_BYTES] = {0};
    uint32_t version = set->seed & RABITQ_MIXING ? META_VERSION : META_UNMIXED;
    uint32_t words[6] = {version,
                         set->dim,
                         set->columns,
                         (uint32_t)set->metric,
                         (uint32_t)set->rows,
                         set->segment_bytes};
    memcpy(b, meta_magic, sizeof meta_magic);
    memcpy(b + 8, words, sizeof words);
    memcpy(b + 32, &set->seed, sizeof set->seed);
    memcpy(b + 40, &count->epoch, sizeof count->epoch);
    memcpy(b + 48, &count->next_list, sizeof count->next_list);
    memcpy(b + 52, &count->sweep, sizeof count->sweep);
    memcpy(b + 56, &count->heads, sizeof count->heads);
    memcpy(b + 64, count->levels, sizeof count->levels);
    return store->meta_write(store->ctx, b, sizeof b);
}

enum tacit_err ivf_meta_write(struct ivf *ix)
{
    return ivf_meta_store(ix->store, &ix->set, &ix->count);
}

static enum tacit_err meta_sound(const struct ivf_settings *set,
                                 const struct ivf_counters *count)
{
    struct ivf_shape shape;
    if (set->metric > IVF_DOT || set->rows > IVF_ROWS_F32 ||
        ivf_shape_set(set, &shape) != TACIT_OK) {
        err_clear();
        return IVF_DAMAGED("the index's settings are out of range");
    }
    if (count->next_list < 1 || count->next_list > IVF_LISTS_MAX ||
        count->heads > count->next_list)
        return IVF_DAMAGED("the index's list counter is out of range");
    const float *levels = &count->levels[0][0];
    for (size_t i = 0; i < IVF_RANKS * IVF_LEVELS; i++)
        if (!(levels[i] >= 0 && levels[i] < 1e9F))
            return IVF_DAMAGED("the index's probing rule is out of range");
    return TACIT_OK;
}

enum tacit_err ivf_meta_decode(const void *data, size_t n,
                               struct ivf_settings *set,
                               struct ivf_counters *count)
{
    const uint8_t *b = data;
    if (data == NULL || n < 12 || memcmp(b, meta_magic, sizeof meta_magic) != 0)
        return IVF_DAMAGED("the index's settings are missing or damaged");
    if (ivf_u32(b + 8) > META_VERSION)
        return fail(TACIT_UNSUPPORTED,
                    "the index has format %u, this program reads up to %d",
                    ivf_u32(b + 8), META_VERSION);
    if (ivf_u32(b + 8) < META_OLDEST)
        return IVF_DAMAGED("the index has the older format %u", ivf_u32(b + 8));
    if (n != META_BYTES)
        return IVF_DAMAGED("the index's settings have %zu bytes, want %d", n,
                           META_BYTES);
    struct ivf_settings s = {.dim = ivf_u32(b + 12),
                             .columns = ivf_u32(b + 16),
                             .metric = (enum ivf_metric)ivf_u32(b + 20),
                             .rows = (enum ivf_rows)ivf_u32(b + 24),
                             .segment_bytes = ivf_u32(b + 28)};
    struct ivf_counters c = {.next_list = ivf_u32(b + 48),
                             .sweep = ivf_u32(b + 52),
                             .heads = ivf_u32(b + 56)};
    memcpy(&s.seed, b + 32, sizeof s.seed);
    memcpy(&c.epoch, b + 40, sizeof c.epoch);
    memcpy(c.levels, b + 64, sizeof c.levels);
    if ((ivf_u32(b + 8) > META_UNMIXED) != !!(s.seed & RABITQ_MIXING))
        return IVF_DAMAGED("the index's rotation is not that of its format");
    TRY(meta_sound(&s, &c));
    *set = s;
    *count = c;
    return TACIT_OK;
}

/* ---- segments ------------------------------------------------------------ */

enum tacit_err ivf_segment_check(const struct ivf *ix, uint32_t list,
                                 uint32_t seg, const void *data, size_t n)
{
    const struct ivf_shape *s = &ix->shape;
    const uint8_t *b = data;
    if (n < IVF_HEADER || ivf_blocks(b) < 1 || ivf_blocks(b) > s->blocks_max ||
        n != IVF_HEADER + ivf_blocks(b) * s->block)
        return IVF_DAMAGED("segment %u of list %u has a wrong size", seg, list);
    if (ivf_u32(b) != ivf_entries_of(list) || ivf_u32(b + 4) != seg ||
        ivf_u16(b + 12) != s->width || ivf_u16(b + 14) != s->columns ||
        ivf_live(b) > ivf_blocks(b) * IVF_BLOCK)
        return IVF_DAMAGED("segment %u of list %u has a wrong header", seg,
                           list);
    return TACIT_OK;
}

static void put_u16(uint8_t *p, size_t v)
{
    uint16_t w = (uint16_t)v;
    memcpy(p, &w, sizeof w);
}

void ivf_segment_start(const struct ivf_shape *s, uint8_t *seg, uint32_t list,
                       uint32_t number)
{
    memset(seg, 0, IVF_HEADER);
    list = ivf_entries_of(list);
    memcpy(seg, &list, sizeof list);
    memcpy(seg + 4, &number, sizeof number);
    put_u16(seg + 12, s->width);
    put_u16(seg + 14, s->columns);
}

size_t ivf_segment_bytes(const struct ivf_shape *s, const uint8_t *seg)
{
    return IVF_HEADER + ivf_blocks(seg) * s->block;
}

size_t ivf_segment_free(const struct ivf_shape *s, uint8_t *seg)
{
    size_t slots = ivf_blocks(seg) * IVF_BLOCK;
    if (ivf_live(seg) < slots)
        for (size_t i = slots; i-- > 0;)
            if (!ivf_slot_live(s, seg, i)) {
                /* the lowest of the last run of empty slots */
                while (i > 0 && !ivf_slot_live(s, seg, i - 1)) i--;
                return i;
            }
    if (ivf_blocks(seg) == s->blocks_max) return s->slots_max;
    memset(seg + IVF_HEADER + ivf_blocks(seg) * s->block, 0, s->block);
    put_u16(seg + 8, ivf_blocks(seg) + 1);
    return slots;
}

void ivf_segment_follow(uint8_t *seg)
{
    put_u16(seg + 8, ivf_blocks(seg) | IVF_FOLLOWED);
}

void ivf_segment_put(const struct ivf_shape *s, uint8_t *seg, size_t slot,
                     const struct ivf_entry *e)
{
    uint8_t *b = seg + IVF_HEADER + slot / IVF_BLOCK * s->block;
    size_t i = slot % IVF_BLOCK;
    for (size_t j = 0; j < s->width / 8; j++) b[IVF_BLOCK * j + i] = e->bits[j];
    put_u16(b + s->scalars + 2 * i, e->scalars.add);
    put_u16(b + s->scalars + 2 * (IVF_BLOCK + i), e->scalars.mul);
    memcpy(b + s->ids + 8 * i, &e->id, sizeof e->id);
    for (size_t k = 0; k < s->columns; k++)
        memcpy(b + s->words + 8 * (k * IVF_BLOCK + i), e->words + k,
               sizeof *e->words);
    put_u16(seg + 10, ivf_live(seg) + 1);
}

void ivf_segment_zero(const struct ivf_shape *s, uint8_t *seg, size_t slot)
{
    static const int64_t words[IVF_COLUMNS_MAX];
    static const uint8_t bits[RABITQ_DIM_MAX / 8];
    struct ivf_entry none = {.words = words, .bits = bits};
    ivf_segment_put(s, seg, slot, &none);
    put_u16(seg + 10, ivf_live(seg) - 2);
}

/* ---- rows ---------------------------------------------------------------- */

MANY_TARGETS static void bytes_expand(const int8_t *restrict codes, size_t n,
                                      float scale, float *restrict x)
{
    for (size_t i = 0; i < n; i++) x[i] = scale * (float)codes[i];
}

/* sums = <a, b>, <b, b>, in sixteen strands and a rest. */
MANY_TARGETS static void two_sums(const float *restrict a,
                                  const float *restrict b, size_t n,
                                  float sums[2])
{
    float ab[STRANDS] = {0}, bb[STRANDS] = {0};
    size_t i = 0;
    for (; i + STRANDS <= n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) {
            ab[k] += a[i + k] * b[i + k];
            bb[k] += b[i + k] * b[i + k];
        }
    sums[0] = sums[1] = 0;
    for (size_t k = 0; k < STRANDS; k++) {
        sums[0] += ab[k];
        sums[1] += bb[k];
    }
    for (; i < n; i++) {
        sums[0] += a[i] * b[i];
        sums[1] += b[i] * b[i];
    }
}

size_t ivf_rows_most(const struct ivf *ix)
{
    return rows_held(IVF_SEGMENT_BYTES_MAX, ix->shape.row);
}

enum tacit_err ivf_rows_whole(const struct ivf *ix, uint32_t list, uint32_t seg,
                              const void *data, size_t n)
{
    const uint8_t *b = data;
    if (data == NULL || n < IVF_ROWS_HEADER ||
        ivf_rows_count(b) > ivf_rows_most(ix) ||
        n != IVF_ROWS_HEADER + ivf_rows_count(b) * ix->shape.row ||
        ivf_u32(b) != ivf_rows_of(list) || ivf_u16(b + 4) != (seg & 0xffff) ||
        !ivf_rows_turned(ix, b))
        return IVF_DAMAGED("rows %u of list %u are missing or malformed", seg,
                           list);
    return TACIT_OK;
}

enum tacit_err ivf_rows_check(const struct ivf *ix, uint32_t list, uint32_t seg,
                              const void *data, size_t n)
{
    TRY(ivf_rows_whole(ix, list, seg, data, n));
    if (ivf_rows_count(data) > ix->shape.rows_max)
        return IVF_DAMAGED("rows %u of list %u are of another page size", seg,
                           list);
    return TACIT_OK;
}

void ivf_row_make(const struct ivf *ix, int64_t id, const float *v,
                  float length, uint8_t *row)
{
    memcpy(row, &id, sizeof id);
    memcpy(row + 8, &length, sizeof length);
    row += IVF_ROW_FIXED;
    if (ix->set.rows == IVF_ROWS_F32) {
        memcpy(row, v, ix->set.dim * sizeof *v);
        return;
    }
    void *codes = row + IVF_ROW_INT8;
    struct rabitq_row r = rabitq_row_encode(ix->x, ix->shape.width, codes);
    memcpy(row, &r.scale, sizeof r.scale);
    memcpy(row + 4, &r.norm2, sizeof r.norm2);
}

static enum tacit_err row_scale(const uint8_t *row, float *scale)
{
    *scale = ivf_f32(row + IVF_ROW_FIXED);
    if (!(*scale >= 0 && *scale < 1e13F))
        return IVF_DAMAGED("a row's scale is out of range");
    return TACIT_OK;
}

/* v of a row of floats, of unit length under cosine. */
static enum tacit_err row_floats(const struct ivf *ix, const uint8_t *row,
                                 float *v)
{
    float sums[2], scale = 1;
    memcpy(v, row + IVF_ROW_FIXED, ix->set.dim * sizeof *v);
    two_sums(v, v, ix->set.dim, sums);
    if (!(sums[1] < 1e31F)) return IVF_DAMAGED("a row is out of range");
    if (ix->set.metric == IVF_COSINE && sums[1] > 0) scale = 1 / sqrtf(sums[1]);
    for (size_t i = 0; i < ix->set.dim; i++) v[i] *= scale;
    return TACIT_OK;
}

enum tacit_err ivf_row_rotated(const struct ivf *ix, const uint8_t *row,
                               float *x)
{
    float v[IVF_DIM_MAX], scale;
    if (ix->set.rows == IVF_ROWS_F32) {
        TRY(row_floats(ix, row, v));
        rabitq_rotate(ix->rq, v, x);
        return TACIT_OK;
    }
    TRY(row_scale(row, &scale));
    const void *codes = row + IVF_ROW_FIXED + IVF_ROW_INT8;
    bytes_expand(codes, ix->shape.width, scale, x);
    return TACIT_OK;
}

enum tacit_err ivf_row_vector(const struct ivf *ix, const uint8_t *row,
                              float *v)
{
    float x[IVF_DIM_MAX], length = ivf_f32(row + 8);
    if (ix->set.rows == IVF_ROWS_F32) {
        memcpy(v, row + IVF_ROW_FIXED, ix->set.dim * sizeof *v);
        return TACIT_OK;
    }
    TRY(ivf_row_rotated(ix, row, x));
    rabitq_unrotate(ix->rq, x, v);
    for (size_t i = 0; i < ix->set.dim; i++) v[i] *= length;
    return TACIT_OK;
}

/* Of a row of floats. Under l2 the differences are squared themselves: of near
 * vectors far from the origin the norms leave no digit. */
static float floats_d2(const struct ivf *ix, const uint8_t *row)
{
    float v[IVF_DIM_MAX], sums[2];
    size_t dim = ix->set.dim;
    memcpy(v, row + IVF_ROW_FIXED, dim * sizeof *v);
    if (ix->set.metric == IVF_L2) {
        for (size_t i = 0; i < dim; i++) v[i] -= ix->v[i];
        two_sums(v, v, dim, sums);
        return sums[1];
    }
    two_sums(ix->v, v, dim, sums);
    if (ix->set.metric == IVF_DOT) return -sums[0];
    float cosine = sums[1] > 0 ? sums[0] / sqrtf(sums[1]) : 0;
    return ix->query->norm2 + 1 - 2 * cosine;
}

static float bytes_d2(const struct ivf *ix, const uint8_t *row)
{
    const struct rabitq_query *q = ix->query;
    int32_t dot;
    const void *codes = row + IVF_ROW_FIXED + IVF_ROW_INT8;
    ix->kernels->dots(codes, 0, 1, q->q16, ix->shape.width, &dot);
    float product = q->scale * ivf_f32(row + IVF_ROW_FIXED) * (float)dot;
    if (ix->set.metric == IVF_DOT) return -product;
    return q->norm2 + ivf_f32(row + IVF_ROW_FIXED + 4) - 2 * product;
}

enum tacit_err ivf_row_d2(const struct ivf *ix, const uint8_t *row, float *d2)
{
    float d =
        ix->set.rows == IVF_ROWS_INT8 ? bytes_d2(ix, row) : floats_d2(ix, row);
    if (!(fabsf(d) < 1e32F)) return IVF_DAMAGED("a row is out of range");
    *d2 = ix->set.metric != IVF_DOT && d < 0 ? 0 : d;
    return TACIT_OK;
}

float ivf_distance(const struct ivf *ix, float d2)
{
    if (ix->set.metric == IVF_COSINE) return d2 / 2;
    return ix->set.metric == IVF_L2 ? sqrtf(d2) : d2;
}
