/* One entry of a list: put there, found, taken out, with its row. */
#include "retrieval/ivf_state.h"

#include "common/base/codes.h"

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

/* ---- its slot, written ---------------------------------------------------
 */

/* Its header alone, where that can be. */
static enum tacit_err header_write(struct ivf *ix, uint32_t list, uint32_t seg)
{
    const struct ivf_store *s = ix->store;
    if (s->seg_patch == NULL) return ivf_segment_write(ix, list, seg);
    return s->seg_patch(s->ctx, ivf_entries_of(list), seg, 0, IVF_HEADER,
                        ix->segment);
}

/* The same after one slot of a block that was there has changed. */
static enum tacit_err slot_write(struct ivf *ix, uint32_t list, uint32_t seg,
                                 size_t slot)
{
    const struct ivf_store *s = ix->store;
    size_t from = IVF_HEADER + slot / IVF_BLOCK * ix->shape.block;
    if (s->seg_patch == NULL) return ivf_segment_write(ix, list, seg);
    TRY(header_write(ix, list, seg));
    return s->seg_patch(s->ctx, ivf_entries_of(list), seg, from,
                        ix->shape.block, ix->segment + from);
}

/* ---- added ---------------------------------------------------------------
 */

/* The header of a segment into ix->segment, when there is one; all of it from a
 * store that changes none in part. */
static enum tacit_err header_read(struct ivf *ix, uint32_t list, uint32_t seg,
                                  bool *there)
{
    const struct ivf_store *s = ix->store;
    const struct ivf_shape *shape = &ix->shape;
    const void *data = NULL;
    size_t n = IVF_HEADER;
    TRY(s->seg_patch != NULL
            ? s->seg_part(s->ctx, ivf_entries_of(list), seg, 0, n, &data)
            : s->seg_read(s->ctx, ivf_entries_of(list), seg, &data, &n));
    *there = data != NULL;
    if (!*there) return TACIT_OK;
    size_t whole = n < IVF_HEADER ? 0 : ivf_segment_bytes(shape, data);
    TRY(ivf_segment_check(ix, list, seg, data,
                          s->seg_patch != NULL ? whole : n));
    memcpy(ix->segment, data, n);
    return TACIT_OK;
}

/* Block b of the same segment. */
static enum tacit_err block_read(struct ivf *ix, uint32_t list, uint32_t seg,
                                 size_t b)
{
    const struct ivf_store *s = ix->store;
    size_t n = ix->shape.block, from = IVF_HEADER + b * n;
    const void *data = NULL;
    if (s->seg_patch == NULL) return TACIT_OK;
    TRY(s->seg_part(s->ctx, ivf_entries_of(list), seg, from, n, &data));
    if (data == NULL)
        return IVF_DAMAGED("segment %u of list %u has a wrong size", seg, list);
    memcpy(ix->segment + from, data, n);
    return TACIT_OK;
}

/* The last segment of a list, its header in ix->segment; *there false: it has
 * none. The one that it was the last time leads to it, or, where that is gone,
 * the store does: so nobody has to say that a list has changed. */
static enum tacit_err tail_find(struct ivf *ix, uint32_t list, uint32_t *seg,
                                bool *there)
{
    const struct ivf_store *s = ix->store;
    uint8_t *tail = &ix->tail[list % IVF_TAILS];
    const void *data = NULL;
    size_t n = 0;
    *there = ix->count.heads > 0; /* format 2 does not mark what is followed */
    for (*seg = IVF_SEG_FIRST + *tail; *there; ++*seg) {
        TRY(header_read(ix, list, *seg, there));
        if (*there && !ivf_followed(ix->segment)) break;
    }
    if (!*there) {
        TRY(s->seg_last(s->ctx, ivf_entries_of(list), seg, &data, &n));
        *there = data != NULL && *seg >= IVF_SEG_FIRST;
        if (!*there) return TACIT_OK;
        TRY(ivf_segment_check(ix, list, *seg, data, n));
        memcpy(ix->segment, data, n);
        if (ivf_followed(ix->segment))
            return IVF_DAMAGED("list %u has no segment %u", list, *seg + 1);
    }
    uint32_t far = *seg - IVF_SEG_FIRST;
    *tail = (uint8_t)(far < UINT8_MAX ? far : UINT8_MAX);
    return TACIT_OK;
}

/* As ivf_segment_free(), of the segment whose header is in ix->segment, without
 * a new block; the blocks that it looks at are read, its own at least. */
static enum tacit_err hole_find(struct ivf *ix, uint32_t list, uint32_t seg,
                                size_t *slot)
{
    const struct ivf_shape *s = &ix->shape;
    size_t slots = ivf_blocks(ix->segment) * IVF_BLOCK;
    *slot = s->slots_max;
    if (ivf_live(ix->segment) >= slots) return TACIT_OK;
    for (size_t i = slots; i-- > 0;) {
        if (i % IVF_BLOCK == IVF_BLOCK - 1)
            TRY(block_read(ix, list, seg, i / IVF_BLOCK));
        if (!ivf_slot_live(s, ix->segment, i))
            *slot = i;
        else if (*slot != s->slots_max)
            break;
    }
    return TACIT_OK;
}

enum change { IN_PART, AS_A_WHOLE };

/* A slot for one more entry in the segment whose header is in ix->segment;
 * slots_max when it is full. *how it is to be written: a block more is a whole.
 */
static enum tacit_err slot_find(struct ivf *ix, uint32_t list, uint32_t seg,
                                size_t *slot, enum change *how)
{
    const struct ivf_store *s = ix->store;
    const void *data = NULL;
    size_t n = 0;
    TRY(hole_find(ix, list, seg, slot));
    *how = *slot == ix->shape.slots_max ? AS_A_WHOLE : IN_PART;
    if (*how == IN_PART || ivf_blocks(ix->segment) >= ix->shape.blocks_max)
        return TACIT_OK;
    TRY(s->seg_read(s->ctx, ivf_entries_of(list), seg, &data, &n));
    TRY(ivf_segment_check(ix, list, seg, data, data == NULL ? 0 : n));
    memcpy(ix->segment, data, n);
    *slot = ivf_segment_free(&ix->shape, ix->segment);
    return TACIT_OK;
}

/* Put an entry into a slot that was found. */
static enum tacit_err slot_fill(struct ivf *ix, uint32_t list, uint32_t seg,
                                size_t slot, enum change how,
                                const struct ivf_entry *e)
{
    ivf_segment_put(&ix->shape, ix->segment, slot, e);
    return how == AS_A_WHOLE ? ivf_segment_write(ix, list, seg)
                             : slot_write(ix, list, seg, slot);
}

/* A segment with one empty block, behind the last one. */
static size_t segment_begin(struct ivf *ix, uint32_t list, uint32_t seg)
{
    ivf_segment_start(&ix->shape, ix->segment, list, seg);
    return ivf_segment_free(&ix->shape, ix->segment);
}

enum tacit_err ivf_list_enter(struct ivf *ix, uint32_t list,
                              const struct ivf_entry *e, size_t *place)
{
    size_t most = ix->shape.slots_max, slot = most;
    uint32_t seg = IVF_SEG_FIRST;
    bool there;
    enum change how = AS_A_WHOLE;
    TRY(tail_find(ix, list, &seg, &there));
    if (there) TRY(slot_find(ix, list, seg, &slot, &how));
    if (there && slot == most) {
        if (seg == IVF_SEG_MAX)
            return IVF_DAMAGED("list %u has no segment %u", list, seg + 1);
        ivf_segment_follow(ix->segment);
        TRY(header_write(ix, list, seg++));
    }
    if (slot == most)
        slot = segment_begin(ix, list, there ? seg : (seg = IVF_SEG_FIRST));
    TRY(slot_fill(ix, list, seg, slot, how, e));
    *place = (seg - IVF_SEG_FIRST) * most + slot;
    return TACIT_OK;
}

enum tacit_err ivf_list_add(struct ivf *ix, uint32_t list,
                            const struct ivf_entry *e, const uint8_t *row,
                            size_t *slots)
{
    size_t slot;
    TRY(ivf_list_enter(ix, list, e, &slot));
    *slots = slot + 1;
    return ivf_row_put(ix, list, slot, row);
}

enum tacit_err ivf_list_copy(struct ivf *ix, uint32_t list,
                             const struct ivf_entry *e, bool *added)
{
    *added = false;
    for (uint32_t seg = 0; seg < IVF_SEG_FIRST; seg++) {
        size_t slot;
        bool there;
        enum change how = AS_A_WHOLE;
        TRY(header_read(ix, list, seg, &there));
        if (there)
            TRY(slot_find(ix, list, seg, &slot, &how));
        else
            slot = segment_begin(ix, list, seg);
        if (slot == ix->shape.slots_max) continue;
        *added = true;
        return slot_fill(ix, list, seg, slot, how, e);
    }
    return TACIT_OK;
}

/* ---- found, taken out ----------------------------------------------------
 */

/* The slot of id in a segment, or SIZE_MAX. */
static size_t slot_of(const struct ivf_shape *s, const uint8_t *seg, int64_t id)
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

/* Look for id in a segment of a list. */
static enum tacit_err segment_look(struct ivf *ix, uint32_t list, uint32_t seg,
                                   const void *data, size_t n, int64_t id,
                                   struct ivf_spot *spot)
{
    TRY(ivf_segment_check(ix, list, seg, data, n));
    size_t slot = slot_of(&ix->shape, data, id);
    spot->found = slot != SIZE_MAX;
    if (!spot->found) return TACIT_OK;
    spot->seg = seg;
    spot->slot = slot;
    spot->live = ivf_live(data);
    spot->room = ivf_blocks(data) * IVF_BLOCK;
    memcpy(ix->segment, data, n);
    return TACIT_OK;
}

/* Copies lie in any of the first segments. */
static enum tacit_err copy_find(struct ivf *ix, uint32_t list, int64_t id,
                                struct ivf_spot *spot)
{
    const struct ivf_store *s = ix->store;
    enum tacit_err e = s->segs_begin(s->ctx, ivf_entries_of(list));
    while (e == TACIT_OK && !spot->found) {
        uint32_t seg;
        const void *data;
        size_t n;
        e = s->segs_next(s->ctx, &seg, &data, &n);
        if (e != TACIT_OK || data == NULL || seg >= IVF_SEG_FIRST) break;
        e = segment_look(ix, list, seg, data, n, id, spot);
    }
    s->segs_end(s->ctx);
    return e;
}

enum tacit_err ivf_list_find(struct ivf *ix, uint32_t list, enum ivf_kind kind,
                             int64_t id, struct ivf_spot *spot)
{
    const struct ivf_store *s = ix->store;
    *spot = (struct ivf_spot){0};
    if (kind == IVF_COPIES) return copy_find(ix, list, id, spot);
    for (uint32_t seg = IVF_SEG_FIRST; !spot->found && seg <= IVF_SEG_MAX;
         seg++) {
        const void *data = NULL;
        size_t n = 0;
        TRY(s->seg_read(s->ctx, ivf_entries_of(list), seg, &data, &n));
        if (data == NULL) break;
        TRY(segment_look(ix, list, seg, data, n, id, spot));
    }
    return TACIT_OK;
}

enum tacit_err ivf_list_slots(struct ivf *ix, uint32_t list, size_t *slots)
{
    uint32_t seg;
    bool there;
    TRY(tail_find(ix, list, &seg, &there));
    *slots = there ? (seg - IVF_SEG_FIRST) * ix->shape.slots_max +
                         ivf_blocks(ix->segment) * IVF_BLOCK
                   : 0;
    return TACIT_OK;
}

enum tacit_err ivf_list_count(struct ivf *ix, uint32_t list, size_t *live,
                              size_t *room)
{
    const struct ivf_store *s = ix->store;
    *live = *room = 0;
    for (uint32_t seg = IVF_SEG_FIRST; seg <= IVF_SEG_MAX; seg++) {
        const void *data = NULL;
        size_t n = 0;
        TRY(s->seg_read(s->ctx, ivf_entries_of(list), seg, &data, &n));
        if (data == NULL) break;
        TRY(ivf_segment_check(ix, list, seg, data, n));
        *live += ivf_live(data);
        *room += ivf_blocks(data) * IVF_BLOCK;
    }
    return TACIT_OK;
}

static size_t list_slot(const struct ivf *ix, const struct ivf_spot *spot)
{
    return (spot->seg - IVF_SEG_FIRST) * ix->shape.slots_max + spot->slot;
}

enum tacit_err ivf_row_find(struct ivf *ix, uint32_t list, int64_t id,
                            const uint8_t **row)
{
    struct ivf_spot spot;
    TRY(ivf_list_find(ix, list, IVF_FIRST, id, &spot));
    if (!spot.found)
        return IVF_DAMAGED("list %u misses an entry that is placed there",
                           list);
    return ivf_list_row(ix, list, list_slot(ix, &spot), id, row);
}

enum tacit_err ivf_list_remove(struct ivf *ix, uint32_t list,
                               enum ivf_kind kind, int64_t id,
                               struct ivf_spot *spot)
{
    TRY(ivf_list_find(ix, list, kind, id, spot));
    if (!spot->found || ivf_live(ix->segment) == 0)
        return IVF_DAMAGED("list %u misses an entry that is placed there",
                           list);
    ivf_segment_zero(&ix->shape, ix->segment, spot->slot);
    spot->live--;
    if (kind == IVF_COPIES && ivf_live(ix->segment) == 0)
        return ix->store->seg_delete(ix->store->ctx, ivf_entries_of(list),
                                     spot->seg);
    TRY(slot_write(ix, list, spot->seg, spot->slot));
    if (kind == IVF_COPIES) return TACIT_OK;
    return ivf_row_put(ix, list, list_slot(ix, spot), NULL);
}
