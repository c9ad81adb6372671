#include "retrieval/ivf_mover.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/tensor/kernels.h"

enum {
    PUSH_MAX = 128, /* entries that are added elsewhere */
    SEEK_MAX = 512,
    FULL = 2 /* so many times its limit, a list gets no more of others */
};

/* So much farther than the mean, an entry may have lost its list. */
static const float far_share = 1.05F;

void ivf_choice_add(struct ivf_mover *m, uint32_t list, const float *c)
{
    struct ivf_choice *to = &m->to;
    size_t width = m->ix->shape.width;
    memcpy(to->c + to->n * width, c, width * sizeof *c);
    to->norm2[to->n] = kernel_dot(c, c, width);
    to->list[to->n++] = list;
}

static bool chosen(const struct ivf_choice *to, uint32_t list)
{
    for (size_t i = 0; i < to->n; i++)
        if (to->list[i] == list) return true;
    return false;
}

float ivf_choice_between(const struct ivf_mover *m, size_t a, size_t b)
{
    size_t width = m->ix->shape.width;
    const float *c = m->to.c;
    return ivf_gap2(m->to.norm2[a], m->to.norm2[b],
                    kernel_dot(c + a * width, c + b * width, width));
}

void ivf_choice_neighbours(struct ivf_mover *m, const float *c)
{
    struct ivf *ix = m->ix;
    struct ivf_near near[IVF_NEIGHBOURS + 2];
    rabitq_query_set(ix->pivot, c);
    size_t n = ivf_tree_nearest(ix, m->tree, ix->pivot, IVF_NEIGHBOURS + 2,
                                INFINITY, near);
    for (size_t i = 0; i < n && m->to.n < IVF_NEIGHBOURS + m->to.own; i++) {
        uint32_t list = m->tree->list[near[i].at];
        if (list == m->list || chosen(&m->to, list)) continue;
        ivf_tree_centroid(ix, m->tree, near[i].at, ix->c);
        ivf_choice_add(m, list, ix->c);
    }
}

enum tacit_err ivf_mover_place(struct ivf *ix, int64_t id, uint32_t place[2])
{
    bool found = false;
    TRY(ix->store->place_read(ix->store->ctx, id, &found, place));
    if (!found || place[0] == 0 || place[0] == place[1])
        return IVF_DAMAGED("an entry has no place");
    return TACIT_OK;
}

float ivf_mover_d2(struct ivf_mover *m, uint32_t list, const float *x)
{
    size_t at = ivf_tree_find(m->tree, list), width = m->ix->shape.width;
    if (at == SIZE_MAX) return INFINITY;
    ivf_tree_centroid(m->ix, m->tree, at, m->ix->c);
    return kernel_dot(x, x, width) + m->tree->norm2[at] -
           2 * kernel_dot(x, m->ix->c, width);
}

size_t ivf_mover_own(const struct ivf_mover *m, const float *x, float *d2)
{
    size_t best = 0, width = m->ix->shape.width;
    float norm2 = kernel_dot(x, x, width);
    *d2 = INFINITY;
    for (size_t k = 0; k < m->to.own; k++) {
        float d = norm2 + m->to.norm2[k] -
                  2 * kernel_dot(x, m->to.c + k * width, width);
        if (d >= *d2) continue;
        *d2 = d;
        best = k;
    }
    return best;
}

enum tacit_err ivf_mover_start(struct ivf_mover *m, size_t spare)
{
    struct ivf *ix = m->ix;
    struct arena *a = &ix->arena;
    size_t width = ix->shape.width, row = ix->shape.row;
    TRY(ivf_list_gather(ix, m->list, IVF_FIRST, spare, &m->g));
    TRY(ivf_list_gather(ix, m->list, IVF_COPIES, 0, &m->copies));
    size_t n = m->n_old = m->g.n, room = n + spare + 1, nc = m->copies.n;
    TRY(arena_alloc_raw(a, room * width, sizeof *m->x, &m->x));
    TRY(arena_alloc_raw(a, nc * width + 1, sizeof *m->x, &m->x_copies));
    TRY(arena_alloc_raw(a, n + 1, sizeof *m->place, &m->place));
    TRY(arena_alloc_raw(a, room, 1, &m->half));
    TRY(arena_alloc_raw(a, room, 1, &m->copy));
    memset(m->half, IVF_NOWHERE, room);
    memset(m->copy, IVF_NOWHERE, room);
    TRY(arena_alloc_raw(a, (IVF_NEIGHBOURS + 2) * width, sizeof(float),
                        &m->to.c));
    for (size_t i = 0; i < n; i++) {
        TRY(ivf_row_rotated(ix, m->g.rows + i * row, m->x + i * width));
        TRY(ivf_mover_place(ix, m->g.id[i], m->place[i]));
        if (m->place[i][0] != m->list)
            return IVF_DAMAGED("an entry of list %u is placed elsewhere",
                               m->list);
    }
    return TACIT_OK;
}

enum tacit_err ivf_mover_copies(struct ivf_mover *m)
{
    struct ivf *ix = m->ix;
    for (size_t i = 0; i < m->copies.n; i++) {
        uint32_t place[2];
        const uint8_t *row;
        TRY(ivf_mover_place(ix, m->copies.id[i], place));
        if (place[1] != m->list)
            return IVF_DAMAGED("a copy in list %u is placed elsewhere",
                               m->list);
        TRY(ivf_row_find(ix, place[0], m->copies.id[i], &row));
        TRY(ivf_row_rotated(ix, row, m->x_copies + i * ix->shape.width));
    }
    return TACIT_OK;
}

const int64_t *ivf_mover_words(const struct ivf_mover *m, size_t i)
{
    return m->g.words + i * m->ix->shape.columns;
}

/* Entry i gets a first place in list k of the choice. */
static enum tacit_err entry_push(struct ivf_mover *m, size_t i, size_t k)
{
    struct ivf *ix = m->ix;
    if (k < m->to.own) {
        m->half[i] = (uint8_t)k;
        return TACIT_OK;
    }
    uint8_t bits[RABITQ_DIM_MAX / 8];
    size_t width = ix->shape.width;
    struct ivf_entry e =
        ivf_entry_make(ix, m->x + i * width, m->to.c + k * width, m->g.id[i],
                       ivf_mover_words(m, i), bits);
    m->pushed++;
    return ivf_list_add(ix, m->to.list[k], &e, m->g.rows + i * ix->shape.row,
                        &m->to.slots[k]);
}

enum tacit_err ivf_mover_copy(struct ivf_mover *m, uint32_t list,
                              const float *c, const float *x, int64_t id,
                              const int64_t *words, bool *added)
{
    uint8_t bits[RABITQ_DIM_MAX / 8];
    struct ivf_entry e = ivf_entry_make(m->ix, x, c, id, words, bits);
    return ivf_list_copy(m->ix, list, &e, added);
}

/* The best and second of distances d2 [n]. */
static void best_two(const float *d2, size_t n, size_t *first, size_t *second)
{
    *first = 0;
    *second = SIZE_MAX;
    for (size_t k = 1; k < n; k++) {
        if (d2[k] < d2[*first]) {
            *second = *first;
            *first = k;
        } else if (*second == SIZE_MAX || d2[k] < d2[*second]) {
            *second = k;
        }
    }
}

/* Entry i gets its copy in list k, when that is worth it; a copy in one of the
 * list's own halves is written later. */
static enum tacit_err second_take(struct ivf_mover *m, size_t i, size_t first,
                                  size_t k, const float *d2, uint32_t old)
{
    size_t width = m->ix->shape.width;
    bool added = true;
    if (k == SIZE_MAX || (k >= m->to.own && m->pushed >= PUSH_MAX) ||
        !ivf_second(d2[first], d2[k], ivf_choice_between(m, first, k)))
        return TACIT_OK;
    if (k < m->to.own) {
        m->copy[i] = (uint8_t)k;
        return TACIT_OK;
    }
    if (m->to.list[k] != old) {
        m->pushed++;
        TRY(ivf_mover_copy(m, m->to.list[k], m->to.c + k * width,
                           m->x + i * width, m->g.id[i], ivf_mover_words(m, i),
                           &added));
    }
    if (added) m->place[i][1] = m->to.list[k];
    return TACIT_OK;
}

/*
 * Entry i was nearest to the list's centroid as it was, at old2. Where the
 * nearest of the choice is farther than that, a list beyond the choice may be
 * nearer (LIRE's condition): clusters that are all equally far from each other
 * are not among each other's neighbours. *list: that list, 0 when there is
 * none; ix->c gets its centroid.
 */
static enum tacit_err home_find(struct ivf_mover *m, size_t i, float best2,
                                uint32_t *list)
{
    struct ivf_near near;
    struct ivf *ix = m->ix;
    size_t slots;
    *list = 0;
    m->sought++;
    rabitq_query_set(ix->pivot, m->x + i * ix->shape.width);
    if (ivf_tree_nearest(ix, m->tree, ix->pivot, 1, 1, &near) == 0 ||
        near.d2 >= best2)
        return TACIT_OK;
    uint32_t found = m->tree->list[near.at];
    if (found == m->list || chosen(&m->to, found)) return TACIT_OK;
    TRY(ivf_list_slots(ix, found, &slots));
    if (slots > FULL * ivf_list_limit(ix, m->tree)) return TACIT_OK;
    ivf_tree_centroid(ix, m->tree, near.at, ix->c);
    *list = found;
    return TACIT_OK;
}

/* Entry i leaves for a list beyond the choice, whose centroid is in ix->c. */
static enum tacit_err entry_leave(struct ivf_mover *m, size_t i, uint32_t list)
{
    struct ivf *ix = m->ix;
    uint8_t bits[RABITQ_DIM_MAX / 8];
    struct ivf_spot spot;
    size_t slots;
    uint32_t *place = m->place[i], old = place[1];
    struct ivf_entry e =
        ivf_entry_make(ix, m->x + i * ix->shape.width, ix->c, m->g.id[i],
                       ivf_mover_words(m, i), bits);
    m->pushed++;
    place[0] = list;
    place[1] = 0;
    TRY(ivf_list_add(ix, list, &e, m->g.rows + i * ix->shape.row, &slots));
    if (old == 0) return TACIT_OK;
    return ivf_list_remove(ix, old, IVF_COPIES, m->g.id[i], &spot);
}

/* How far list k of the choice reaches. */
static enum tacit_err slots_get(struct ivf_mover *m, size_t k)
{
    if (m->to.slots[k] > 0) return TACIT_OK;
    return ivf_list_slots(m->ix, m->to.list[k], &m->to.slots[k]);
}

/* The best and second list for an entry at d2 [n] from them all, of which those
 * within `rounding` of each other are equally near. */
static enum tacit_err best_choose(struct ivf_mover *m, const float *d2,
                                  float rounding, size_t *first, size_t *second)
{
    size_t own = m->to.own;
    best_two(d2, m->to.n, first, second);
    if (own == 0) {
        float limit = d2[*first] + rounding;
        for (size_t k = 0; k < m->to.n; k++) {
            if (d2[k] > limit) continue;
            TRY(slots_get(m, k));
            if (m->to.slots[k] < m->to.slots[*first]) *first = k;
        }
        if (*second == *first) *second = SIZE_MAX;
        return TACIT_OK;
    }
    if (*first < own) return TACIT_OK;
    TRY(slots_get(m, *first));
    if (m->pushed >= PUSH_MAX ||
        m->to.slots[*first] > FULL * ivf_list_limit(m->ix, m->tree))
        best_two(d2, own, first, second);
    return TACIT_OK;
}

/* Entry i of the list goes to the nearest list, and perhaps gets a copy. The
 * copy it had stays where there is no better one. */
static enum tacit_err entry_move(struct ivf_mover *m, size_t i, const float *d2,
                                 float old2, float rounding)
{
    size_t first, second;
    uint32_t *place = m->place[i], old = place[1], home = 0;
    best_two(d2, m->to.n, &first, &second);
    if (d2[first] > old2 && d2[first] > m->far && m->sought < SEEK_MAX &&
        m->pushed < PUSH_MAX)
        TRY(home_find(m, i, d2[first], &home));
    if (home != 0) return entry_leave(m, i, home);
    TRY(best_choose(m, d2, rounding, &first, &second));
    place[0] = m->to.list[first];
    place[1] = 0;
    TRY(entry_push(m, i, first));
    TRY(second_take(m, i, first, second, d2, old));
    if (old == 0 || old == place[1]) return TACIT_OK;
    if (old != place[0] && place[1] == 0 && m->copy[i] == IVF_NOWHERE) {
        place[1] = old;
        return TACIT_OK;
    }
    struct ivf_spot spot;
    return ivf_list_remove(m->ix, old, IVF_COPIES, m->g.id[i], &spot);
}

/* An entry at d2 [n] from the lists and at old2 from where it was: the side of
 * the cut gets what rounding may take, or wins outright. */
static void side_favour(const struct ivf_mover *m, size_t i, float *d2,
                        float old2, float rounding)
{
    size_t side = m->side == NULL ? 0 : m->side[i];
    if (m->to.own == 0) return;
    if (m->cut) {
        for (size_t k = 0; k < m->to.own; k++)
            if (d2[k] < d2[side]) d2[side] = d2[k];
        if (old2 < d2[side]) d2[side] = old2;
    }
    d2[side] -= rounding;
}

enum tacit_err ivf_mover_move(struct ivf_mover *m)
{
    struct ivf *ix = m->ix;
    size_t width = ix->shape.width, n = m->to.n;
    float *d, *old2, *rounding, sum = 0;
    TRY(arena_alloc_raw(&ix->arena, m->n_old * n + 1, sizeof *d, &d));
    TRY(arena_alloc_raw(&ix->arena, m->n_old + 1, sizeof *old2, &old2));
    TRY(arena_alloc_raw(&ix->arena, m->n_old + 1, sizeof *rounding, &rounding));
    gemm_nt(d, m->x, m->to.c, m->n_old, n, width, GEMM_SET);
    for (size_t i = 0; i < m->n_old; i++) {
        const float *x = m->x + i * width;
        float *d2 = d + i * n, norm2 = kernel_dot(x, x, width), best = INFINITY;
        for (size_t k = 0; k < n; k++) {
            d2[k] = norm2 + m->to.norm2[k] - 2 * d2[k];
            best = d2[k] < best ? d2[k] : best;
        }
        old2[i] = norm2 + m->before2 - 2 * kernel_dot(x, m->before, width);
        rounding[i] = ivf_rounding(norm2, m->before2);
        sum += best;
        side_favour(m, i, d2, old2[i], rounding[i]);
    }
    m->far = far_share * sum / (float)m->n_old;
    for (size_t i = 0; i < m->n_old; i++) {
        uint32_t old[2] = {m->place[i][0], m->place[i][1]};
        TRY(entry_move(m, i, d + i * n, old2[i], rounding[i]));
        if (m->place[i][0] != old[0] || m->place[i][1] != old[1])
            TRY(ix->store->place_write(ix->store->ctx, m->g.id[i],
                                       m->place[i]));
    }
    return TACIT_OK;
}
