#include "retrieval/ivf_state.h"

#include <stdlib.h>

#include "common/base/codes.h"

enum { ROWS_GROW = 3 }; /* a segment has a multiple of 4 rows, or its most */

/* ---- rows ---------------------------------------------------------------- */

enum tacit_err ivf_rows_read(struct ivf *ix, uint32_t list, uint32_t seg,
                             const uint8_t **rows)
{
    const void *data = NULL;
    size_t n = 0;
    TRY(ix->store->seg_read(ix->store->ctx, ivf_rows_of(list), seg, &data, &n));
    TRY(ivf_rows_check(ix, list, seg, data, n));
    *rows = data;
    return TACIT_OK;
}

static enum tacit_err row_check(const uint8_t *row, uint32_t list,
                                const int64_t *id)
{
    if ((id != NULL && ivf_i64(row) != *id) || !(ivf_f32(row + 8) > 0))
        return IVF_DAMAGED("list %u has another row than its entry's", list);
    return TACIT_OK;
}

enum tacit_err ivf_rows_row(const struct ivf *ix, uint32_t list,
                            const uint8_t *rows, size_t i, const int64_t *id,
                            const uint8_t **row)
{
    if (i >= ivf_rows_count(rows))
        return IVF_DAMAGED("list %u misses a row", list);
    *row = ivf_row_at(&ix->shape, rows, i);
    return row_check(*row, list, id);
}

enum tacit_err ivf_row_part(struct ivf *ix, uint32_t list, size_t slot,
                            const int64_t *id, const uint8_t **row)
{
    const struct ivf_shape *s = &ix->shape;
    const void *data = NULL;
    TRY(ix->store->seg_part(ix->store->ctx, ivf_rows_of(list),
                            (uint32_t)(slot / s->rows_max),
                            IVF_ROWS_HEADER + slot % s->rows_max * s->row,
                            s->row, &data));
    if (data == NULL) return IVF_DAMAGED("list %u misses a row", list);
    *row = data;
    return row_check(*row, list, id);
}

enum tacit_err ivf_list_row(struct ivf *ix, uint32_t list, size_t slot,
                            int64_t id, const uint8_t **row)
{
    const uint8_t *rows;
    size_t n = ix->shape.rows_max;
    TRY(ivf_rows_read(ix, list, (uint32_t)(slot / n), &rows));
    return ivf_rows_row(ix, list, rows, slot % n, &id, row);
}

static void rows_start(struct ivf *ix, uint32_t list, uint32_t seg)
{
    uint32_t number = ivf_rows_of(list);
    uint16_t low = (uint16_t)seg;
    memset(ix->rows, 0, IVF_ROWS_HEADER);
    memcpy(ix->rows, &number, sizeof number);
    memcpy(ix->rows + 4, &low, sizeof low);
}

static enum tacit_err rows_write(struct ivf *ix, uint32_t list, uint32_t seg)
{
    return ix->store->seg_write(ix->store->ctx, ivf_rows_of(list), seg,
                                ix->rows,
                                IVF_ROWS_HEADER +
                                    ivf_rows_count(ix->rows) * ix->shape.row);
}

/* Put a row at a place of ix->rows, which grows to it. */
static void rows_put(struct ivf *ix, size_t i, const uint8_t *row)
{
    size_t n = ivf_rows_count(ix->rows), size = ix->shape.row;
    uint8_t *at = ix->rows + IVF_ROWS_HEADER;
    if (i >= n) {
        uint16_t grown = (uint16_t)(i + 1);
        if (ix->set.seed & RABITQ_MIXING) grown |= IVF_MIXED;
        memset(at + n * size, 0, (i - n) * size);
        memcpy(ix->rows + 6, &grown, sizeof grown);
    }
    if (row != NULL)
        memcpy(at + i * size, row, size);
    else
        memset(at + i * size, 0, size);
}

static const uint8_t no_row[IVF_ROW_FIXED + IVF_ROW_INT8 + 4 * IVF_DIM_MAX];

/* Write row i of a segment that has one, alone. *done false: it has none. */
static enum tacit_err row_patch(struct ivf *ix, uint32_t list, uint32_t seg,
                                size_t i, const uint8_t *row, bool *done)
{
    const struct ivf_store *s = ix->store;
    uint32_t run = ivf_rows_of(list);
    size_t from = IVF_ROWS_HEADER + i * ix->shape.row;
    const void *data = NULL;
    if (row == NULL) row = no_row;
    TRY(s->seg_part(s->ctx, run, seg, 0, IVF_ROWS_HEADER, &data));
    const uint8_t *b = data;
    *done = b != NULL && ivf_u32(b) == run && i < ivf_rows_count(b) &&
            ivf_rows_turned(ix, b);
    if (!*done) return TACIT_OK;
    return s->seg_patch(s->ctx, run, seg, from, ix->shape.row, row);
}

/* A segment grows by some empty rows at once, which are then written alone. */
enum tacit_err ivf_row_put(struct ivf *ix, uint32_t list, size_t slot,
                           const uint8_t *row)
{
    size_t most = ix->shape.rows_max, i = slot % most, last = i | ROWS_GROW;
    uint32_t seg = (uint32_t)(slot / most);
    const void *data = NULL;
    size_t n = 0;
    bool done = false;
    if (ix->store->seg_patch != NULL)
        TRY(row_patch(ix, list, seg, i, row, &done));
    if (done) return TACIT_OK;
    TRY(ix->store->seg_read(ix->store->ctx, ivf_rows_of(list), seg, &data, &n));
    if (data != NULL) {
        TRY(ivf_rows_check(ix, list, seg, data, n));
        memcpy(ix->rows, data, n);
    } else {
        rows_start(ix, list, seg);
    }
    if (last >= most) last = most - 1;
    if (i >= ivf_rows_count(ix->rows)) rows_put(ix, last, NULL);
    rows_put(ix, i, row);
    return rows_write(ix, list, seg);
}

static bool of_kind(enum ivf_kind kind, uint32_t seg)
{
    return (seg < IVF_SEG_FIRST) == (kind == IVF_COPIES);
}

/* ---- gather -------------------------------------------------------------- */

struct walk {
    struct ivf *ix;
    uint32_t list;
    enum ivf_kind kind;
    size_t n, segs;       /* entries, segments */
    struct ivf_gather *g; /* NULL: count */
    uint32_t *slots;      /* [n] */
};

static enum tacit_err walk_segment(struct walk *w, const uint8_t *seg,
                                   size_t number)
{
    const struct ivf_shape *s = &w->ix->shape;
    for (size_t i = 0; i < ivf_blocks(seg) * IVF_BLOCK; i++) {
        if (!ivf_slot_live(s, seg, i)) continue;
        if (w->g != NULL) {
            if (w->n == w->g->n)
                return IVF_DAMAGED("list %u changed while it was read",
                                   w->list);
            w->g->id[w->n] = ivf_slot_id(s, seg, i);
            for (size_t k = 0; k < s->columns; k++)
                w->g->words[w->n * s->columns + k] =
                    ivf_slot_word(s, seg, i, k);
            w->slots[w->n] = (uint32_t)(number * s->slots_max + i);
        }
        if (++w->n > IVF_LIST_SLOTS_MAX)
            return IVF_DAMAGED("list %u has over %d entries", w->list,
                               IVF_LIST_SLOTS_MAX);
    }
    return TACIT_OK;
}

static enum tacit_err walk_visit(void *ctx, uint32_t seg, const void *data,
                                 size_t n)
{
    struct walk *w = ctx;
    if (!of_kind(w->kind, seg)) return TACIT_OK;
    TRY(ivf_segment_check(w->ix, w->list, seg, data, n));
    size_t number = w->kind == IVF_FIRST ? seg - IVF_SEG_FIRST : seg;
    if (w->kind == IVF_FIRST && number != w->segs)
        return IVF_DAMAGED("list %u misses segment %zu", w->list, w->segs);
    w->segs = number + 1;
    return walk_segment(w, data, number);
}

static enum tacit_err walk_list(struct walk *w)
{
    w->n = w->segs = 0;
    return ivf_segs_walk(w->ix->store, ivf_entries_of(w->list), walk_visit, w);
}

/* The rows of the gathered slots, which rise. */
static enum tacit_err gather_rows(struct walk *w)
{
    struct ivf_gather *g = w->g;
    struct ivf *ix = w->ix;
    size_t n = ix->shape.rows_max, last = SIZE_MAX;
    const uint8_t *rows = NULL, *row = NULL;
    for (size_t i = 0; i < g->n; i++) {
        size_t seg = w->slots[i] / n;
        if (!rows || seg != last)
            TRY(ivf_rows_read(ix, w->list, (uint32_t)seg, &rows));
        last = seg;
        TRY(ivf_rows_row(ix, w->list, rows, w->slots[i] % n, &g->id[i], &row));
        memcpy(g->rows + i * ix->shape.row, row, ix->shape.row);
    }
    return TACIT_OK;
}

enum tacit_err ivf_list_gather(struct ivf *ix, uint32_t list,
                               enum ivf_kind kind, size_t spare,
                               struct ivf_gather *out)
{
    struct ivf_gather g = {0};
    struct walk w = {.ix = ix, .list = list, .kind = kind};
    TRY(walk_list(&w));
    size_t room = w.n + spare + 1;
    struct arena *a = &ix->arena;
    TRY(arena_alloc_raw(a, room, sizeof *g.id, &g.id));
    TRY(arena_alloc_raw(a, room * ix->shape.columns + 1, sizeof *g.words,
                        &g.words));
    TRY(arena_alloc_raw(a, room, sizeof *w.slots, &w.slots));
    g.n = w.n;
    w.g = &g;
    TRY(walk_list(&w));
    if (w.n != g.n)
        return IVF_DAMAGED("list %u changed while it was read", list);
    g.n_segs = w.segs;
    size_t slots = w.segs * ix->shape.slots_max;
    g.n_rows_segs = (slots + ix->shape.rows_max - 1) / ix->shape.rows_max;
    if (kind == IVF_FIRST) {
        TRY(arena_alloc_raw(a, room, ix->shape.row, &g.rows));
        TRY(gather_rows(&w));
    }
    *out = g;
    return TACIT_OK;
}

/* ---- write --------------------------------------------------------------- */

enum tacit_err ivf_segment_write(struct ivf *ix, uint32_t list, uint32_t seg)
{
    return ix->store->seg_write(ix->store->ctx, ivf_entries_of(list), seg,
                                ix->segment,
                                ivf_segment_bytes(&ix->shape, ix->segment));
}

void ivf_writer_start(struct ivf_writer *w, struct ivf *ix, uint32_t list,
                      const float *c)
{
    *w = (struct ivf_writer){ix, list, c, 0};
}

enum tacit_err ivf_writer_add(struct ivf_writer *w, const float *x,
                              const uint8_t *row, const int64_t *words)
{
    struct ivf *ix = w->ix;
    const struct ivf_shape *s = &ix->shape;
    size_t at = w->slot % s->slots_max, row_at = w->slot % s->rows_max;
    uint8_t bits[RABITQ_DIM_MAX / 8];
    uint32_t seg = IVF_SEG_FIRST + (uint32_t)(w->slot / s->slots_max);
    uint32_t rows_seg = (uint32_t)(w->slot / s->rows_max);
    if (at == 0) {
        if (w->slot > 0) {
            ivf_segment_follow(ix->segment);
            TRY(ivf_segment_write(ix, w->list, seg - 1));
        }
        ivf_segment_start(s, ix->segment, w->list, seg);
    }
    if (row_at == 0) {
        if (w->slot > 0) TRY(rows_write(ix, w->list, rows_seg - 1));
        rows_start(ix, w->list, rows_seg);
    }
    struct ivf_entry e = ivf_entry_make(ix, x, w->c, ivf_i64(row), words, bits);
    ivf_segment_put(s, ix->segment, ivf_segment_free(s, ix->segment), &e);
    rows_put(ix, row_at, row);
    w->slot++;
    return TACIT_OK;
}

enum tacit_err ivf_writer_end(struct ivf_writer *w, size_t old_segs,
                              size_t old_rows_segs)
{
    struct ivf *ix = w->ix;
    const struct ivf_shape *s = &ix->shape;
    size_t segs = (w->slot + s->slots_max - 1) / s->slots_max;
    size_t rows_segs = (w->slot + s->rows_max - 1) / s->rows_max;
    if (w->slot == 0 && w->c != NULL) {
        /* an empty one tells an empty list from one whose segments are gone */
        ivf_segment_start(s, ix->segment, w->list, IVF_SEG_FIRST);
        (void)ivf_segment_free(s, ix->segment);
        TRY(ivf_segment_write(ix, w->list, IVF_SEG_FIRST));
        segs = 1;
    }
    if (w->slot > 0) {
        TRY(ivf_segment_write(ix, w->list,
                              (uint32_t)(IVF_SEG_FIRST + segs - 1)));
        TRY(rows_write(ix, w->list, (uint32_t)(rows_segs - 1)));
    }
    for (; segs < old_segs; segs++)
        TRY(ix->store->seg_delete(ix->store->ctx, ivf_entries_of(w->list),
                                  (uint32_t)(IVF_SEG_FIRST + segs)));
    for (; rows_segs < old_rows_segs; rows_segs++)
        TRY(ix->store->seg_delete(ix->store->ctx, ivf_rows_of(w->list),
                                  (uint32_t)rows_segs));
    return TACIT_OK;
}

enum tacit_err ivf_list_drop(struct ivf *ix, uint32_t list, size_t segs,
                             size_t rows_segs)
{
    struct ivf_writer w;
    ivf_writer_start(&w, ix, list, NULL);
    return ivf_writer_end(&w, segs, rows_segs);
}

enum tacit_err ivf_list_pack(struct ivf *ix, const struct ivf_tree *t,
                             uint32_t list)
{
    struct ivf_gather g;
    struct ivf_writer w;
    float *x, *c;
    size_t at = ivf_tree_find(t, list);
    if (at == SIZE_MAX) return IVF_DAMAGED("list %u has no head", list);
    arena_reset(&ix->arena);
    TRY(arena_alloc_raw(&ix->arena, ix->shape.width, sizeof *x, &x));
    TRY(arena_alloc_raw(&ix->arena, ix->shape.width, sizeof *c, &c));
    ivf_tree_centroid(ix, t, at, c);
    TRY(ivf_list_gather(ix, list, IVF_FIRST, 0, &g));
    ivf_writer_start(&w, ix, list, c);
    for (size_t i = 0; i < g.n; i++) {
        const uint8_t *row = g.rows + i * ix->shape.row;
        TRY(ivf_row_rotated(ix, row, x));
        TRY(ivf_writer_add(&w, x, row, g.words + i * ix->shape.columns));
    }
    return ivf_writer_end(&w, g.n_segs, g.n_rows_segs);
}
