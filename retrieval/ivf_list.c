#include "retrieval/ivf_state.h"

#include <stdlib.h>

#include "common/base/codes.h"

enum { READ_MAX = IVF_LIST_MAX };

struct ivf_entry ivf_entry_make(const struct ivf *ix, const float *x,
                                const float *c, int64_t id,
                                const int64_t *words, uint8_t *bits)
{
    return (struct ivf_entry){.id = id,
                              .words = words,
                              .bits = bits,
                              .scalars = rabitq_encode(ix->metric, x, c,
                                                       ix->shape.width, bits)};
}

/* ---- gather -------------------------------------------------------------- */

static enum tacit_err live_count(struct ivf *ix, uint32_t list, size_t *live,
                                 size_t *segs)
{
    const struct ivf_store *s = ix->store;
    size_t n = 0, next = 0;
    enum tacit_err e = s->segs_begin(s->ctx, list);
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t size;
        e = s->segs_next(s->ctx, &seg, &data, &size);
        if (e != TACIT_OK || data == NULL) break;
        e = ivf_segment_check(ix, list, seg, data, size);
        if (e != TACIT_OK) break;
        n += ivf_live(data);
        if (seg != next++)
            e = IVF_DAMAGED("list %u misses segment %zu", list, next - 1);
        else if (n > IVF_LIST_SLOTS_MAX)
            e = IVF_DAMAGED("list %u has over %d entries", list,
                            IVF_LIST_SLOTS_MAX);
    }
    s->segs_end(s->ctx);
    *live = n;
    *segs = next;
    return e;
}

struct order {
    int64_t id;
    size_t from;
};

static int order_compare(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void slot_copy(const struct ivf_shape *s, const uint8_t *seg,
                      size_t slot, struct ivf_gather *g, size_t i)
{
    const uint8_t *b = ivf_block(s, seg, slot / IVF_BLOCK);
    size_t at = slot % IVF_BLOCK;
    g->id[i] = ivf_slot_id(s, seg, slot);
    g->scalars[i].add = ivf_u16(b + s->scalars + 2 * at);
    g->scalars[i].mul = ivf_u16(b + s->scalars + 2 * (IVF_BLOCK + at));
    for (size_t j = 0; j < s->width / 8; j++)
        g->bits[i * (s->width / 8) + j] = b[IVF_BLOCK * j + at];
    for (size_t k = 0; k < s->columns; k++)
        g->words[i * s->columns + k] = ivf_slot_word(s, seg, slot, k);
}

static enum tacit_err gather_room(struct ivf *ix, size_t n,
                                  struct ivf_gather *g)
{
    struct arena *a = &ix->arena;
    TRY(arena_alloc_raw(a, n, sizeof *g->id, &g->id));
    TRY(arena_alloc_raw(a, n * ix->shape.columns + 1, sizeof *g->words,
                        &g->words));
    TRY(arena_alloc_raw(a, n, ix->shape.width / 8, &g->bits));
    return arena_alloc_raw(a, n, sizeof *g->scalars, &g->scalars);
}

/* Put the entries in the order of their ids. */
static enum tacit_err gather_sort(struct ivf *ix, uint32_t list, size_t room,
                                  struct ivf_gather *g)
{
    struct order *order;
    struct ivf_gather to = *g;
    TRY(arena_alloc_raw(&ix->arena, g->n + 1, sizeof *order, &order));
    TRY(gather_room(ix, room, &to));
    for (size_t i = 0; i < g->n; i++) order[i] = (struct order){g->id[i], i};
    qsort(order, g->n, sizeof *order, order_compare);
    size_t bytes = ix->shape.width / 8, columns = ix->shape.columns;
    for (size_t i = 0; i < g->n; i++) {
        size_t from = order[i].from;
        if (i > 0 && order[i].id == order[i - 1].id)
            return IVF_DAMAGED("list %u has an id twice", list);
        to.id[i] = order[i].id;
        to.scalars[i] = g->scalars[from];
        memcpy(to.bits + i * bytes, g->bits + from * bytes, bytes);
        memcpy(to.words + i * columns, g->words + from * columns,
               columns * sizeof *to.words);
    }
    *g = to;
    return TACIT_OK;
}

enum tacit_err ivf_list_gather(struct ivf *ix, uint32_t list, size_t spare,
                               struct ivf_gather *out)
{
    const struct ivf_store *s = ix->store;
    size_t live;
    struct ivf_gather g = {0};
    TRY(live_count(ix, list, &live, &g.n_segs));
    TRY(gather_room(ix, live + spare + 1, &g));
    enum tacit_err e = s->segs_begin(s->ctx, list);
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t size;
        e = s->segs_next(s->ctx, &seg, &data, &size);
        if (e != TACIT_OK || data == NULL) break;
        e = ivf_segment_check(ix, list, seg, data, size);
        for (size_t i = 0; e == TACIT_OK && i < ivf_blocks(data) * IVF_BLOCK;
             i++) {
            if (!ivf_slot_live(&ix->shape, data, i)) continue;
            if (g.n == live) {
                e = IVF_DAMAGED("list %u counts its entries wrongly", list);
                break;
            }
            slot_copy(&ix->shape, data, i, &g, g.n++);
        }
    }
    s->segs_end(s->ctx);
    TRY(e);
    if (g.n != live)
        return IVF_DAMAGED("list %u counts its entries wrongly", list);
    TRY(gather_sort(ix, list, live + spare + 1, &g));
    *out = g;
    return TACIT_OK;
}

struct rows_context {
    const struct ivf *ix;
    float *x;
    size_t seen;
};

static enum tacit_err row_keep(void *arg, size_t i, const void *data, size_t n)
{
    struct rows_context *c = arg;
    if (data == NULL) return IVF_DAMAGED("an entry has no row");
    c->seen++;
    return ivf_row_rotated(c->ix, data, n, c->x + i * c->ix->shape.width);
}

enum tacit_err ivf_rows_rotated(struct ivf *ix, const int64_t *ids, size_t n,
                                float *x)
{
    for (size_t i = 0; i < n; i += READ_MAX) {
        size_t some = n - i < READ_MAX ? n - i : READ_MAX;
        struct rows_context c = {ix, x + i * ix->shape.width, 0};
        TRY(ix->store->rows_read(ix->store->ctx, ids + i, some, row_keep, &c));
        if (c.seen != some) return IVF_DAMAGED("an entry has no row");
    }
    return TACIT_OK;
}

/* ---- write --------------------------------------------------------------- */

void ivf_writer_start(struct ivf_writer *w, struct ivf *ix, uint32_t list)
{
    *w = (struct ivf_writer){ix, list, 0};
    ivf_segment_start(&ix->shape, ix->segment, list, 0);
}

static enum tacit_err segment_write(struct ivf *ix, uint32_t list, uint32_t seg)
{
    return ix->store->seg_write(ix->store->ctx, list, seg, ix->segment,
                                ivf_segment_bytes(&ix->shape, ix->segment));
}

enum tacit_err ivf_writer_add(struct ivf_writer *w, const struct ivf_entry *e)
{
    struct ivf *ix = w->ix;
    size_t slot = ivf_segment_free(&ix->shape, ix->segment);
    if (slot == ix->shape.slots_max) {
        TRY(segment_write(ix, w->list, w->seg));
        ivf_segment_start(&ix->shape, ix->segment, w->list, ++w->seg);
        slot = ivf_segment_free(&ix->shape, ix->segment);
    }
    ivf_segment_put(&ix->shape, ix->segment, slot, e);
    return TACIT_OK;
}

enum tacit_err ivf_writer_end(struct ivf_writer *w, size_t old_segs)
{
    struct ivf *ix = w->ix;
    uint32_t seg = w->seg;
    if (ivf_live(ix->segment) > 0) TRY(segment_write(ix, w->list, seg++));
    for (; seg < old_segs; seg++)
        TRY(ix->store->seg_delete(ix->store->ctx, w->list, seg));
    return TACIT_OK;
}

enum tacit_err ivf_list_pack(struct ivf *ix, uint32_t list)
{
    struct ivf_gather g;
    struct ivf_writer w;
    arena_reset(&ix->arena);
    TRY(ivf_list_gather(ix, list, 0, &g));
    ivf_writer_start(&w, ix, list);
    for (size_t i = 0; i < g.n; i++) {
        struct ivf_entry e = {g.id[i], g.words + i * ix->shape.columns,
                              g.bits + i * (ix->shape.width / 8), g.scalars[i]};
        TRY(ivf_writer_add(&w, &e));
    }
    return ivf_writer_end(&w, g.n_segs);
}

/* ---- one entry ----------------------------------------------------------- */

enum tacit_err ivf_list_add(struct ivf *ix, uint32_t list,
                            const struct ivf_entry *e, size_t *slots)
{
    const struct ivf_store *s = ix->store;
    const struct ivf_shape *shape = &ix->shape;
    uint32_t seg = 0;
    const void *data;
    size_t n, slot = shape->slots_max;
    TRY(s->seg_last(s->ctx, list, &seg, &data, &n));
    if (data != NULL) {
        TRY(ivf_segment_check(ix, list, seg, data, n));
        memcpy(ix->segment, data, n);
        slot = ivf_segment_free(shape, ix->segment);
        if (slot == shape->slots_max && seg == IVF_SEG_MAX)
            return IVF_DAMAGED("list %u has too many segments", list);
        seg += slot == shape->slots_max;
    }
    if (slot == shape->slots_max) {
        ivf_segment_start(shape, ix->segment, list, seg);
        slot = ivf_segment_free(shape, ix->segment);
    }
    ivf_segment_put(shape, ix->segment, slot, e);
    *slots = seg * shape->slots_max + slot + 1;
    return segment_write(ix, list, seg);
}

/* The slot of id in a segment, or SIZE_MAX. */
static size_t slot_find(const struct ivf_shape *s, const uint8_t *seg,
                        int64_t id)
{
    for (size_t b = 0; b < ivf_blocks(seg); b++) {
        const uint8_t *ids = ivf_block(s, seg, b) + s->ids;
        for (size_t i = 0; i < IVF_BLOCK; i++)
            if (ivf_i64(ids + 8 * i) == id &&
                ivf_slot_live(s, seg, b * IVF_BLOCK + i))
                return b * IVF_BLOCK + i;
    }
    return SIZE_MAX;
}

enum tacit_err ivf_list_find(struct ivf *ix, uint32_t list, int64_t id,
                             struct ivf_spot *out)
{
    const struct ivf_store *s = ix->store;
    struct ivf_spot spot = {0};
    enum tacit_err e = s->segs_begin(s->ctx, list);
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t n, slot;
        e = s->segs_next(s->ctx, &seg, &data, &n);
        if (e != TACIT_OK || data == NULL) break;
        e = ivf_segment_check(ix, list, seg, data, n);
        if (e != TACIT_OK) break;
        spot.live += ivf_live(data);
        spot.segs++;
        if (spot.found) continue;
        slot = slot_find(&ix->shape, data, id);
        if (slot == SIZE_MAX) continue;
        spot.found = true;
        spot.seg = seg;
        spot.slot = slot;
        memcpy(ix->segment, data, n);
    }
    s->segs_end(s->ctx);
    *out = spot;
    return e;
}

enum tacit_err ivf_list_remove(struct ivf *ix, uint32_t list, int64_t id,
                               struct ivf_spot *spot)
{
    TRY(ivf_list_find(ix, list, id, spot));
    if (!spot->found || ivf_live(ix->segment) == 0)
        return IVF_DAMAGED("list %u misses an entry that is placed there",
                           list);
    ivf_segment_zero(&ix->shape, ix->segment, spot->slot);
    spot->live--;
    return segment_write(ix, list, spot->seg);
}
