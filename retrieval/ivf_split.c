#include "retrieval/ivf_mover.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/tensor/kernels.h"

enum {
    MANY = 1024,     /* lists; of so many, each holds twice as much */
    LEARN_ALL = 64,  /* up to twice so many lists, every split is learnt from */
    LEARN_EVERY = 64 /* above, at least one of so many */
};

/* Nor is a list worth a copy whose centroid is nearer to that of the first, in
 * squares, than this times the vector is to it (SPANN's rule). */
static const float apart = 0.5F;
/* Of the squared lengths: what the bytes of rows and centroids leave open of a
 * squared distance, a fifth of which a list of equal vectors shows. */
static const float rounding_share = 1e-5F;

float ivf_rounding(float a2, float b2)
{
    return rounding_share * (a2 + b2);
}

float ivf_gap2(float a2, float b2, float product)
{
    float gap2 = a2 + b2 - 2 * product;
    return gap2 > ivf_rounding(a2, b2) ? gap2 : 0;
}

bool ivf_second(float best2, float d2, float between2)
{
    return d2 < IVF_CLOSURE * best2 && between2 >= apart * d2;
}

/* ---- split, merge -------------------------------------------------------- */

static enum tacit_err half_write(struct ivf_mover *m, size_t half)
{
    struct ivf *ix = m->ix;
    struct ivf_writer w;
    size_t width = ix->shape.width;
    ivf_writer_start(&w, ix, m->to.list[half], m->to.c + half * width);
    for (size_t i = 0; i < m->g.n; i++)
        if (m->half[i] == half)
            TRY(ivf_writer_add(&w, m->x + i * width,
                               m->g.rows + i * ix->shape.row,
                               ivf_mover_words(m, i)));
    return half == 0 ? ivf_writer_end(&w, m->g.n_segs, m->g.n_rows_segs)
                     : ivf_writer_end(&w, 0, 0);
}

/* The copies that the list had, and those that its halves keep of each other.
 */
static enum tacit_err copies_write(struct ivf_mover *m)
{
    struct ivf *ix = m->ix;
    const struct ivf_store *s = ix->store;
    size_t width = ix->shape.width;
    for (uint32_t seg = 0; seg < m->copies.n_segs; seg++)
        TRY(s->seg_delete(s->ctx, ivf_entries_of(m->list), seg));
    for (size_t i = 0; i < m->n_old; i++) {
        bool added = false;
        size_t k = m->copy[i];
        if (k == IVF_NOWHERE) continue;
        TRY(ivf_mover_copy(m, m->to.list[k], m->to.c + k * width,
                           m->x + i * width, m->g.id[i], ivf_mover_words(m, i),
                           &added));
        m->place[i][1] = added ? m->to.list[k] : 0;
        TRY(s->place_write(s->ctx, m->g.id[i], m->place[i]));
    }
    for (size_t i = 0; i < m->copies.n; i++) {
        const float *x = m->x_copies + i * width;
        uint32_t place[2];
        bool added = false;
        TRY(ivf_mover_place(ix, m->copies.id[i], place));
        place[1] = 0;
        if (m->to.own > 0) {
            float best = ivf_mover_d2(m, place[0], x), d2;
            size_t k = ivf_mover_own(m, x, &d2);
            if (m->to.list[k] != place[0] && ivf_second(best, d2, INFINITY))
                TRY(ivf_mover_copy(m, m->to.list[k], m->to.c + k * width, x,
                                   m->copies.id[i],
                                   m->copies.words + i * ix->shape.columns,
                                   &added));
            if (added) place[1] = m->to.list[k];
        }
        TRY(s->place_write(s->ctx, m->copies.id[i], place));
    }
    return TACIT_OK;
}

/* 2-means over the rows; the larger half gets the list's number. */
static enum tacit_err halves_start(struct ivf_mover *m, uint32_t fresh)
{
    struct ivf *ix = m->ix;
    struct ivf_halves h = {.n = m->g.n, .width = ix->shape.width, .x = m->x};
    struct arena *a = &ix->arena;
    TRY(arena_alloc_raw(a, h.width, sizeof(float), &h.c[0]));
    TRY(arena_alloc_raw(a, h.width, sizeof(float), &h.c[1]));
    TRY(arena_alloc_raw(a, h.width, sizeof(float), &h.along));
    TRY(arena_alloc_raw(a, h.n, sizeof *h.margin, &h.margin));
    TRY(arena_alloc_raw(a, h.n, sizeof *h.side, &h.side));
    TRY(ivf_halves_cut(ix, &h));
    size_t ones = 0;
    for (size_t i = 0; i < h.n; i++) ones += h.side[i];
    size_t larger = 2 * ones > h.n, other = 1 - larger;
    for (size_t i = 0; i < h.n; i++) h.side[i] = h.side[i] != larger;
    m->side = h.side;
    m->cut = h.even;
    TRY(ivf_tree_put(ix, m->tree, m->list, h.c[larger]));
    TRY(ivf_tree_put(ix, m->tree, fresh, h.c[other]));
    ivf_choice_add(m, m->list, h.c[larger]);
    ivf_choice_add(m, fresh, h.c[other]);
    m->to.own = 2;
    return TACIT_OK;
}

/* The list's centroid before it changes. */
static enum tacit_err centroid_keep(struct ivf_mover *m)
{
    float *c;
    size_t at = ivf_tree_find(m->tree, m->list);
    if (at == SIZE_MAX) return IVF_DAMAGED("list %u has no head", m->list);
    TRY(arena_alloc_raw(&m->ix->arena, m->ix->shape.width, sizeof *c, &c));
    ivf_tree_centroid(m->ix, m->tree, at, c);
    m->before = c;
    m->before2 = kernel_dot(c, c, m->ix->shape.width);
    return TACIT_OK;
}

size_t ivf_list_limit(const struct ivf *ix, const struct ivf_tree *t)
{
    size_t n = ix->shape.list_max;
    if (t->n >= MANY) return 2 * n;
    return t->n == 1 && n < IVF_LIST_MAX ? IVF_LIST_MAX : n;
}

enum tacit_err ivf_split(struct ivf *ix, struct ivf_tree *t, uint32_t list)
{
    struct ivf_mover m = {.ix = ix, .tree = t, .list = list};
    arena_reset(&ix->arena);
    TRY(centroid_keep(&m));
    TRY(ivf_mover_start(&m, IVF_PULL_MAX));
    if (m.g.n < ivf_list_limit(ix, t) * 7 / 8)
        return ivf_list_pack(ix, t, list);
    if (ix->count.next_list >= IVF_LISTS_MAX)
        return fail(TACIT_LIMIT,
                    "the index has had its %d lists; build it "
                    "anew",
                    IVF_LISTS_MAX);
    uint32_t fresh = ix->count.next_list++;
    TRY(ivf_mover_copies(&m));
    TRY(halves_start(&m, fresh));
    ivf_choice_neighbours(&m, m.before);
    TRY(ivf_mover_move(&m));
    TRY(ivf_mover_pull(&m));
    TRY(half_write(&m, 0));
    TRY(half_write(&m, 1));
    TRY(copies_write(&m));
    size_t every = t->n / LEARN_ALL;
    if (every > LEARN_EVERY) every = LEARN_EVERY;
    if (every <= 1 || fresh % every == 0) TRY(ivf_learn(ix, t, m.x));
    return ivf_meta_write(ix);
}

enum tacit_err ivf_merge(struct ivf *ix, struct ivf_tree *t, uint32_t list)
{
    struct ivf_mover m = {.ix = ix, .tree = t, .list = list};
    arena_reset(&ix->arena);
    TRY(centroid_keep(&m));
    TRY(ivf_mover_start(&m, 0));
    if (t->n == 1 && m.g.n > 0) return ivf_list_pack(ix, t, list);
    if (m.g.n > 0) {
        ivf_choice_neighbours(&m, m.before);
        TRY(ivf_mover_move(&m));
    }
    TRY(copies_write(&m));
    TRY(ivf_list_drop(ix, list, m.g.n_segs, m.g.n_rows_segs));
    TRY(ivf_tree_drop(ix, t, list));
    TRY(ivf_meta_write(ix));
    size_t most = 0;
    for (size_t k = 1; k < m.to.n; k++)
        if (m.to.slots[k] > m.to.slots[most]) most = k;
    return m.to.slots[most] > ivf_list_limit(ix, t)
               ? ivf_split(ix, t, m.to.list[most])
               : TACIT_OK;
}

enum tacit_err ivf_refine(struct ivf *ix, struct ivf_tree *t, uint32_t list)
{
    struct ivf_mover m = {.ix = ix, .tree = t, .list = list};
    size_t width = ix->shape.width;
    float *mean;
    arena_reset(&ix->arena);
    TRY(centroid_keep(&m));
    TRY(arena_alloc(&ix->arena, width, sizeof *mean, &mean));
    TRY(ivf_mover_start(&m, 0));
    if (m.g.n == 0 || (m.g.n < ix->shape.list_min && t->n > 1))
        return ivf_merge(ix, t, list);
    if (m.g.n > ivf_list_limit(ix, t)) return ivf_split(ix, t, list);
    TRY(ivf_mover_copies(&m));
    for (size_t i = 0; i < m.g.n; i++)
        ivf_row_add(mean, 1 / (float)m.g.n, m.x + i * width, width);
    TRY(ivf_tree_put(ix, t, list, mean));
    ivf_choice_add(&m, list, mean);
    m.to.own = 1;
    ivf_choice_neighbours(&m, mean);
    TRY(ivf_mover_move(&m));
    TRY(half_write(&m, 0));
    TRY(copies_write(&m));
    return ivf_meta_write(ix);
}
