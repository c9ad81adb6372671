#include "retrieval/ivf_state.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"
#include "common/tensor/kernels.h"

/*
 * A split of list L into L and a new list:
 *
 *   rows of L  --2-means-->  c0, c1          (the larger half keeps L's number)
 *   each row   --nearest of c0, c1 and L's neighbours-->  its list(s)
 *   entries of the neighbours, by estimate clearly nearer to c0 or c1 than to
 *   their own centroid --row read, exact--> move
 *
 * Work is bounded: the rows of one list, the codes of NEIGHBOURS lists,
 * PULL_MAX more rows, PUSH_MAX entries added elsewhere.
 *
 * Where distances are equal within rounding, as with many equal vectors, "the
 * nearest" is chance, the same chance for all: there an entry stays on its side
 * of the cut, a neighbour gets it for being nearer by more than that, and of
 * the lists that take in what is left of another the emptiest does.
 */
enum {
    NEIGHBOURS = 16,
    PULL_MAX = 128,
    PUSH_MAX = 128,
    SEEK_MAX = 512,
    FULL = 2,       /* so many times its limit, a list gets no more of others */
    MANY = 1024,    /* lists; of so many, each holds twice as much */
    LEARN_ALL = 64, /* up to twice so many lists, every split is learnt from */
    LEARN_EVERY = 64 /* above, at least one of so many */
};

/* Nor is a list worth a copy whose centroid is nearer to that of the first, in
 * squares, than this times the vector is to it (SPANN's rule). */
static const float apart = 0.5F;
/* Of the squared lengths: what the bytes of rows and centroids leave open of a
 * squared distance, a fifth of which a list of equal vectors shows. */
static const float rounding_share = 1e-5F;
/* An estimate has to be so much below an entry's own distance. */
static const float pull_share = 0.9F;
/* So much farther than the mean, an entry may have lost its list. */
static const float far_share = 1.05F;

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

/* ---- moving entries ------------------------------------------------------ */

/* The lists that entries may go to, with their centroids. */
struct choice {
    size_t n, own; /* the first `own` are written as a whole */
    uint32_t list[NEIGHBOURS + 2];
    float *c; /* [n, width] */
    float norm2[NEIGHBOURS + 2];
    size_t slots[NEIGHBOURS + 2]; /* how far it reaches, once known; or 0 */
};

enum { NOWHERE = 0xff };

struct mover {
    struct ivf *ix;
    struct ivf_tree *tree;
    uint32_t list; /* that is split or merged */
    struct choice to;
    struct ivf_gather g;  /* its entries, then those pulled from neighbours */
    size_t n_old;         /* of the list's own */
    float *x;             /* [room, width] */
    uint32_t (*place)[2]; /* [n_old] */
    uint8_t *half;        /* [room]: own list that it goes to, or NOWHERE */
    uint8_t *copy;        /* [room]: own list that gets a copy, or NOWHERE */
    uint8_t *side;        /* [n_old]: of the cut; NULL: there was none */
    bool cut;             /* the sides stand, whatever the distances */
    struct ivf_gather copies; /* of the list */
    float *x_copies;          /* [copies.n, width] */
    size_t pushed, sought;
    const float *before; /* [width]: the list's centroid as it was */
    float before2;       /* its squared length */
    float far;           /* squared distance from which a home is sought */
};

static void choice_add(struct mover *m, uint32_t list, const float *c)
{
    struct choice *to = &m->to;
    size_t width = m->ix->shape.width;
    memcpy(to->c + to->n * width, c, width * sizeof *c);
    to->norm2[to->n] = kernel_dot(c, c, width);
    to->list[to->n++] = list;
}

static bool chosen(const struct choice *to, uint32_t list)
{
    for (size_t i = 0; i < to->n; i++)
        if (to->list[i] == list) return true;
    return false;
}

static float between(const struct mover *m, size_t a, size_t b)
{
    size_t width = m->ix->shape.width;
    const float *c = m->to.c;
    return ivf_gap2(m->to.norm2[a], m->to.norm2[b],
                    kernel_dot(c + a * width, c + b * width, width));
}

/* The neighbours of a point, other than the lists that are there already. */
static void choice_neighbours(struct mover *m, const float *c)
{
    struct ivf *ix = m->ix;
    struct ivf_near near[NEIGHBOURS + 2];
    rabitq_query_set(ix->pivot, c);
    size_t n = ivf_tree_nearest(ix, m->tree, ix->pivot, NEIGHBOURS + 2,
                                INFINITY, near);
    for (size_t i = 0; i < n && m->to.n < NEIGHBOURS + m->to.own; i++) {
        uint32_t list = m->tree->list[near[i].at];
        if (list == m->list || chosen(&m->to, list)) continue;
        ivf_tree_centroid(ix, m->tree, near[i].at, ix->c);
        choice_add(m, list, ix->c);
    }
}

static enum tacit_err place_of(struct ivf *ix, int64_t id, uint32_t place[2])
{
    bool found = false;
    TRY(ix->store->place_read(ix->store->ctx, id, &found, place));
    if (!found || place[0] == 0 || place[0] == place[1])
        return IVF_DAMAGED("an entry has no place");
    return TACIT_OK;
}

/* Squared distance to the centroid of any list; c [width] is scratch. */
static float list_d2(struct mover *m, uint32_t list, const float *x)
{
    size_t at = ivf_tree_find(m->tree, list), width = m->ix->shape.width;
    if (at == SIZE_MAX) return INFINITY;
    ivf_tree_centroid(m->ix, m->tree, at, m->ix->c);
    return kernel_dot(x, x, width) + m->tree->norm2[at] -
           2 * kernel_dot(x, m->ix->c, width);
}

/* Entries and copies of the list, with their vectors and places. */
static enum tacit_err mover_start(struct mover *m, size_t spare)
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
    memset(m->half, NOWHERE, room);
    memset(m->copy, NOWHERE, room);
    TRY(arena_alloc_raw(a, (NEIGHBOURS + 2) * width, sizeof(float), &m->to.c));
    for (size_t i = 0; i < n; i++) {
        TRY(ivf_row_rotated(ix, m->g.rows + i * row, m->x + i * width));
        TRY(place_of(ix, m->g.id[i], m->place[i]));
        if (m->place[i][0] != m->list)
            return IVF_DAMAGED("an entry of list %u is placed elsewhere",
                               m->list);
    }
    return TACIT_OK;
}

/* The vectors of the list's copies lie with their first lists. */
static enum tacit_err copies_read(struct mover *m)
{
    struct ivf *ix = m->ix;
    for (size_t i = 0; i < m->copies.n; i++) {
        uint32_t place[2];
        const uint8_t *row;
        TRY(place_of(ix, m->copies.id[i], place));
        if (place[1] != m->list)
            return IVF_DAMAGED("a copy in list %u is placed elsewhere",
                               m->list);
        TRY(ivf_row_find(ix, place[0], m->copies.id[i], &row));
        TRY(ivf_row_rotated(ix, row, m->x_copies + i * ix->shape.width));
    }
    return TACIT_OK;
}

static const int64_t *words_at(const struct mover *m, size_t i)
{
    return m->g.words + i * m->ix->shape.columns;
}

/* Entry i gets a first place in list k of the choice. */
static enum tacit_err entry_push(struct mover *m, size_t i, size_t k)
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
                       words_at(m, i), bits);
    m->pushed++;
    return ivf_list_add(ix, m->to.list[k], &e, m->g.rows + i * ix->shape.row,
                        &m->to.slots[k]);
}

/* Put a copy into a list; *added as of ivf_list_copy(). */
static enum tacit_err copy_push(struct mover *m, uint32_t list, const float *c,
                                const float *x, int64_t id,
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
static enum tacit_err second_take(struct mover *m, size_t i, size_t first,
                                  size_t k, const float *d2, uint32_t old)
{
    size_t width = m->ix->shape.width;
    bool added = true;
    if (k == SIZE_MAX || (k >= m->to.own && m->pushed >= PUSH_MAX) ||
        !ivf_second(d2[first], d2[k], between(m, first, k)))
        return TACIT_OK;
    if (k < m->to.own) {
        m->copy[i] = (uint8_t)k;
        return TACIT_OK;
    }
    if (m->to.list[k] != old) {
        m->pushed++;
        TRY(copy_push(m, m->to.list[k], m->to.c + k * width, m->x + i * width,
                      m->g.id[i], words_at(m, i), &added));
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
static enum tacit_err home_find(struct mover *m, size_t i, float best2,
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
static enum tacit_err entry_leave(struct mover *m, size_t i, uint32_t list)
{
    struct ivf *ix = m->ix;
    uint8_t bits[RABITQ_DIM_MAX / 8];
    struct ivf_spot spot;
    size_t slots;
    uint32_t *place = m->place[i], old = place[1];
    struct ivf_entry e = ivf_entry_make(ix, m->x + i * ix->shape.width, ix->c,
                                        m->g.id[i], words_at(m, i), bits);
    m->pushed++;
    place[0] = list;
    place[1] = 0;
    TRY(ivf_list_add(ix, list, &e, m->g.rows + i * ix->shape.row, &slots));
    if (old == 0) return TACIT_OK;
    return ivf_list_remove(ix, old, IVF_COPIES, m->g.id[i], &spot);
}

/* How far list k of the choice reaches. */
static enum tacit_err slots_get(struct mover *m, size_t k)
{
    if (m->to.slots[k] > 0) return TACIT_OK;
    return ivf_list_slots(m->ix, m->to.list[k], &m->to.slots[k]);
}

/* The best and second list for an entry at d2 [n] from them all, of which those
 * within `rounding` of each other are equally near. */
static enum tacit_err best_choose(struct mover *m, const float *d2,
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
static enum tacit_err entry_move(struct mover *m, size_t i, const float *d2,
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
    if (old != place[0] && place[1] == 0 && m->copy[i] == NOWHERE) {
        place[1] = old;
        return TACIT_OK;
    }
    struct ivf_spot spot;
    return ivf_list_remove(m->ix, old, IVF_COPIES, m->g.id[i], &spot);
}

/* An entry at d2 [n] from the lists and at old2 from where it was: the side of
 * the cut gets what rounding may take, or wins outright. */
static void side_favour(const struct mover *m, size_t i, float *d2, float old2,
                        float rounding)
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

static enum tacit_err entries_move(struct mover *m)
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

/* ---- entries of the neighbours ------------------------------------------- */

struct pull {
    float share; /* estimate to a new centroid / own squared distance */
    uint32_t list;
    int64_t id;
    int64_t words[IVF_COLUMNS_MAX];
};

struct pulls {
    size_t n;
    struct pull best[PULL_MAX];
    struct rabitq_scan scan[2];
};

static void pull_add(struct pulls *p, const struct ivf_shape *s,
                     const uint8_t *seg, size_t slot, uint32_t list,
                     float share)
{
    size_t i = p->n;
    if (i == PULL_MAX) {
        i = 0;
        for (size_t k = 1; k < PULL_MAX; k++)
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

static void segment_pulls(struct mover *m, struct pulls *p, uint32_t list,
                          const uint8_t *seg)
{
    const struct ivf_shape *s = &m->ix->shape;
    float d[2][IVF_BLOCK], lower[IVF_BLOCK];
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
                pull_add(p, s, seg, b * IVF_BLOCK + i, list, near / own);
        }
    }
}

/* Estimates from the new centroids to the entries of list k of the choice. */
static enum tacit_err list_pulls(struct mover *m, struct pulls *p, size_t k,
                                 struct rabitq_query *const q[2])
{
    const struct ivf_store *s = m->ix->store;
    uint32_t list = m->to.list[k];
    for (size_t h = 0; h < 2; h++)
        p->scan[h] = (struct rabitq_scan){.tables = q[h]->tables,
                                          .width = m->ix->shape.width,
                                          .gain = q[h]->gain,
                                          .offset = q[h]->offset,
                                          .base = between(m, h, k),
                                          .limit = INFINITY};
    enum tacit_err e = s->segs_begin(s->ctx, ivf_entries_of(list));
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t n;
        e = s->segs_next(s->ctx, &seg, &data, &n);
        if (e != TACIT_OK || data == NULL) break;
        if (seg < IVF_SEG_FIRST) continue;
        e = ivf_segment_check(m->ix, list, seg, data, n);
        if (e == TACIT_OK) segment_pulls(m, p, list, data);
    }
    s->segs_end(s->ctx);
    return e;
}

static bool listed(const struct ivf_gather *g, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (g->id[i] == id) return true;
    return false;
}

/* The nearest of the list's own halves. */
static size_t own_nearest(const struct mover *m, const float *x, float *d2)
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

/* An entry moves when its row says so, too; where it was near enough it leaves
 * a copy. */
static enum tacit_err pulled_move(struct mover *m, const struct pull *p)
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
    TRY(place_of(ix, p->id, place));
    if (place[0] != p->list)
        return IVF_DAMAGED("an entry of list %u is placed elsewhere", p->list);
    TRY(ivf_row_find(ix, p->list, p->id, &row));
    memcpy(m->g.rows + i * ix->shape.row, row, ix->shape.row);
    TRY(ivf_row_rotated(ix, row, x));
    float own = list_d2(m, p->list, x), norm2 = kernel_dot(x, x, width);
    size_t k = own_nearest(m, x, &d2);
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
            TRY(copy_push(m, p->list, ix->c, x, p->id, p->words, &added));
        if (added) place[1] = p->list;
    }
    return ix->store->place_write(ix->store->ctx, p->id, place);
}

/* Under the dot metric an entry's scalars give - <c, x>, not a distance: its
 * entries stay where they are until their own list is split. */
static enum tacit_err neighbours_pull(struct mover *m)
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

/* ---- split, merge -------------------------------------------------------- */

static enum tacit_err half_write(struct mover *m, size_t half)
{
    struct ivf *ix = m->ix;
    struct ivf_writer w;
    size_t width = ix->shape.width;
    ivf_writer_start(&w, ix, m->to.list[half], m->to.c + half * width);
    for (size_t i = 0; i < m->g.n; i++)
        if (m->half[i] == half)
            TRY(ivf_writer_add(&w, m->x + i * width,
                               m->g.rows + i * ix->shape.row, words_at(m, i)));
    return half == 0 ? ivf_writer_end(&w, m->g.n_segs, m->g.n_rows_segs)
                     : ivf_writer_end(&w, 0, 0);
}

/* The copies that the list had, and those that its halves keep of each other.
 */
static enum tacit_err copies_write(struct mover *m)
{
    struct ivf *ix = m->ix;
    const struct ivf_store *s = ix->store;
    size_t width = ix->shape.width;
    for (uint32_t seg = 0; seg < m->copies.n_segs; seg++)
        TRY(s->seg_delete(s->ctx, ivf_entries_of(m->list), seg));
    for (size_t i = 0; i < m->n_old; i++) {
        bool added = false;
        size_t k = m->copy[i];
        if (k == NOWHERE) continue;
        TRY(copy_push(m, m->to.list[k], m->to.c + k * width, m->x + i * width,
                      m->g.id[i], words_at(m, i), &added));
        m->place[i][1] = added ? m->to.list[k] : 0;
        TRY(s->place_write(s->ctx, m->g.id[i], m->place[i]));
    }
    for (size_t i = 0; i < m->copies.n; i++) {
        const float *x = m->x_copies + i * width;
        uint32_t place[2];
        bool added = false;
        TRY(place_of(ix, m->copies.id[i], place));
        place[1] = 0;
        if (m->to.own > 0) {
            float best = list_d2(m, place[0], x), d2;
            size_t k = own_nearest(m, x, &d2);
            if (m->to.list[k] != place[0] && ivf_second(best, d2, INFINITY))
                TRY(copy_push(m, m->to.list[k], m->to.c + k * width, x,
                              m->copies.id[i],
                              m->copies.words + i * ix->shape.columns, &added));
            if (added) place[1] = m->to.list[k];
        }
        TRY(s->place_write(s->ctx, m->copies.id[i], place));
    }
    return TACIT_OK;
}

/* 2-means over the rows; the larger half gets the list's number. */
static enum tacit_err halves_start(struct mover *m, uint32_t fresh)
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
    choice_add(m, m->list, h.c[larger]);
    choice_add(m, fresh, h.c[other]);
    m->to.own = 2;
    return TACIT_OK;
}

/* The list's centroid before it changes. */
static enum tacit_err centroid_keep(struct mover *m)
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
    struct mover m = {.ix = ix, .tree = t, .list = list};
    arena_reset(&ix->arena);
    TRY(centroid_keep(&m));
    TRY(mover_start(&m, PULL_MAX));
    if (m.g.n < ivf_list_limit(ix, t) * 7 / 8)
        return ivf_list_pack(ix, t, list);
    if (ix->count.next_list >= IVF_LISTS_MAX)
        return fail(TACIT_LIMIT,
                    "the index has had its %d lists; build it "
                    "anew",
                    IVF_LISTS_MAX);
    uint32_t fresh = ix->count.next_list++;
    TRY(copies_read(&m));
    TRY(halves_start(&m, fresh));
    choice_neighbours(&m, m.before);
    TRY(entries_move(&m));
    TRY(neighbours_pull(&m));
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
    struct mover m = {.ix = ix, .tree = t, .list = list};
    arena_reset(&ix->arena);
    TRY(centroid_keep(&m));
    TRY(mover_start(&m, 0));
    if (t->n == 1 && m.g.n > 0) return ivf_list_pack(ix, t, list);
    if (m.g.n > 0) {
        choice_neighbours(&m, m.before);
        TRY(entries_move(&m));
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
    struct mover m = {.ix = ix, .tree = t, .list = list};
    size_t width = ix->shape.width;
    float *mean;
    arena_reset(&ix->arena);
    TRY(centroid_keep(&m));
    TRY(arena_alloc(&ix->arena, width, sizeof *mean, &mean));
    TRY(mover_start(&m, 0));
    if (m.g.n == 0 || (m.g.n < ix->shape.list_min && t->n > 1))
        return ivf_merge(ix, t, list);
    if (m.g.n > ivf_list_limit(ix, t)) return ivf_split(ix, t, list);
    TRY(copies_read(&m));
    for (size_t i = 0; i < m.g.n; i++)
        ivf_row_add(mean, 1 / (float)m.g.n, m.x + i * width, width);
    TRY(ivf_tree_put(ix, t, list, mean));
    choice_add(&m, list, mean);
    m.to.own = 1;
    choice_neighbours(&m, mean);
    TRY(entries_move(&m));
    TRY(half_write(&m, 0));
    TRY(copies_write(&m));
    return ivf_meta_write(ix);
}
