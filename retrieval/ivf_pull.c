#include "retrieval/ivf_mover.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/tensor/kernels.h"

/* An estimate has to be so much below an entry's own distance. */
static const float pull_share = 0.9F;

struct pull {
    float share; /* estimate to a new centroid / own squared distance */
    uint32_t list;
    int64_t id;
    int64_t words[IVF_COLUMNS_MAX];
};

struct pulls {
    const struct ivf_mover *m;
    uint32_t list; /* that is scanned */
    size_t n;
    struct pull best[IVF_PULL_MAX];
    struct rabitq_scan scan[2];
};

static void pull_add(struct pulls *p, const struct ivf_shape *s,
                     const uint8_t *seg, size_t slot, uint32_t list,
                     float share)
{
    size_t i = p->n;
    if (i == IVF_PULL_MAX) {
        i = 0;
        for (size_t k = 1; k < IVF_PULL_MAX; k++)
            if (p->best[k].share > p->best[i].share) i = k;
        if (share >= p->best[i].share) return;
    } else {
        p->n++;
    }
    struct pull *to = &p->best[i];
    *to = (struct pull){.share = share,
                        .list = list,
                        .id = ivf_slot_id(s, seg, slot)};
    for (size_t k = 0; k < s->columns; k++)
        to->words[k] = ivf_slot_word(s, seg, slot, k);
}

/* Squared distance of an entry to its own centroid, from its factor: that of a
 * rotated, so near normal, residual. */
static float own_d2(const struct ivf *ix, float mul)
{
    float f = ix->metric == RABITQ_L2 ? mul / 2 : mul;
    return f * f * (float)ix->shape.width * 0.6366F;
}

static enum tacit_err segment_pulls(void *ctx, uint32_t number, const void *seg,
                                    size_t n)
{
    struct pulls *p = ctx;
    const struct ivf_mover *m = p->m;
    const struct ivf_shape *s = &m->ix->shape;
    float d[2][IVF_BLOCK], lower[IVF_BLOCK];
    if (number < IVF_SEG_FIRST) return TACIT_OK;
    TRY(ivf_segment_check(m->ix, p->list, number, seg, n));
    for (size_t b = 0; b < ivf_blocks(seg); b++) {
        const uint8_t *block = ivf_block(s, seg, b);
        uint32_t live = m->ix->kernels->scan(&p->scan[0], block, d[0], lower);
        (void)m->ix->kernels->scan(&p->scan[1], block, d[1], lower);
        for (; live != 0; live &= live - 1) {
            size_t i = (size_t)__builtin_ctz(live);
            float mul =
                bf16_decode(ivf_u16(block + s->scalars + 2 * (IVF_BLOCK + i)));
            float own = own_d2(m->ix, mul);
            float near = d[0][i] < d[1][i] ? d[0][i] : d[1][i];
            if (near < pull_share * own)
                pull_add(p, s, seg, b * IVF_BLOCK + i, p->list, near / own);
        }
    }
    return TACIT_OK;
}

/* Estimates from the new centroids to the entries of list k of the choice. */
static enum tacit_err list_pulls(struct ivf_mover *m, struct pulls *p, size_t k,
                                 struct rabitq_query *const q[2])
{
    p->m = m;
    p->list = m->to.list[k];
    for (size_t h = 0; h < 2; h++)
        p->scan[h] = (struct rabitq_scan){.tables = q[h]->tables,
                                          .width = m->ix->shape.width,
                                          .gain = q[h]->gain,
                                          .offset = q[h]->offset,
                                          .base = ivf_choice_between(m, h, k),
                                          .limit = INFINITY};
    return ivf_segs_walk(m->ix->store, ivf_entries_of(p->list), segment_pulls,
                         p);
}

static bool listed(const struct ivf_gather *g, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (g->id[i] == id) return true;
    return false;
}

/* An entry moves when its row says so, too; where it was near enough it leaves
 * a copy. */
static enum tacit_err pulled_move(struct ivf_mover *m, const struct pull *p)
{
    struct ivf *ix = m->ix;
    size_t width = ix->shape.width, i = m->g.n;
    const uint8_t *row;
    float *x = m->x + i * width, d2;
    uint32_t place[2];
    struct ivf_spot spot;
    if (listed(&m->g, m->n_old, p->id) ||
        listed(&m->copies, m->copies.n, p->id))
        return TACIT_OK;
    TRY(ivf_mover_place(ix, p->id, place));
    if (place[0] != p->list)
        return IVF_DAMAGED("an entry of list %u is placed elsewhere", p->list);
    TRY(ivf_row_find(ix, p->list, p->id, &row));
    memcpy(m->g.rows + i * ix->shape.row, row, ix->shape.row);
    TRY(ivf_row_rotated(ix, row, x));
    float own = ivf_mover_d2(m, p->list, x), norm2 = kernel_dot(x, x, width);
    size_t k = ivf_mover_own(m, x, &d2);
    if (!(d2 + ivf_rounding(norm2, m->to.norm2[k]) < own)) return TACIT_OK;
    TRY(ivf_list_remove(ix, p->list, IVF_FIRST, p->id, &spot));
    memcpy(m->g.words + i * ix->shape.columns, p->words,
           ix->shape.columns * sizeof *p->words);
    m->g.id[i] = p->id;
    m->half[i] = (uint8_t)k;
    m->g.n++;
    place[0] = m->to.list[k];
    size_t from = ivf_tree_find(m->tree, p->list);
    if (place[1] == 0 && from != SIZE_MAX) {
        bool added = false;
        ivf_tree_centroid(ix, m->tree, from, ix->c);
        float gap = 0;
        for (size_t j = 0; j < width; j++) {
            float g = ix->c[j] - m->to.c[k * width + j];
            gap += g * g;
        }
        if (ivf_second(d2, own, gap))
            TRY(ivf_mover_copy(m, p->list, ix->c, x, p->id, p->words, &added));
        if (added) place[1] = p->list;
    }
    return ix->store->place_write(ix->store->ctx, p->id, place);
}

/* Under the dot metric an entry's scalars give - <c, x>, not a distance: its
 * entries stay where they are until their own list is split. */
enum tacit_err ivf_mover_pull(struct ivf_mover *m)
{
    struct ivf *ix = m->ix;
    if (ix->metric == RABITQ_DOT) return TACIT_OK;
    struct pulls *p;
    TRY(arena_alloc(&ix->arena, 1, sizeof *p, &p));
    struct rabitq_query *q[2] = {ix->pivot, ix->pivot2};
    for (size_t h = 0; h < 2; h++)
        rabitq_query_set(q[h], m->to.c + h * ix->shape.width);
    for (size_t k = m->to.own; k < m->to.n; k++) TRY(list_pulls(m, p, k, q));
    for (size_t i = 0; i < p->n; i++) TRY(pulled_move(m, &p->best[i]));
    return TACIT_OK;
}
