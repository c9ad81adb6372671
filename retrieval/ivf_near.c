#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

#include <math.h>

/*
 * The nearest lists to a vector: estimates of all, exact distances of those
 * that may be near. For a vector that is put into its list, most lists are told
 * apart by a quarter of their bits:
 *
 *   coarse bits of all lists --> the best two, exactly --> a limit
 *   blocks with a lower bound under it --> all bits --> exactly
 *
 * Where that leaves most blocks, as with clusters that all are equally far from
 * each other, the next searches go without.
 */
enum {
    DIRECT_MAX = 64,   /* so few lists are compared one by one */
    STRETCH = 64,      /* lists that are looked at together */
    COARSE_MIN = 1024, /* lists from which on coarse bits are worth it */
    COARSE_WANT = 2,
    COARSE_REST = 256 /* searches without, where they told little */
};
/* Deviations that a list may lie nearer than estimated, when it is sought for a
 * vector that is put into it; and by its coarse bits, where the choice of
 * numbers errs about as much as their signs do. */
static const float assign_slack = 1.5F, coarse_slack = 2;

/* <q - mean, q - mean>, of which estimates are parts. */
static float base_of(const struct ivf *ix, const struct ivf_tree *t,
                     const struct rabitq_query *q)
{
    int32_t dot;
    ix->kernels->dots(t->mean_codes, ix->shape.width, 1, q->q16,
                      ix->shape.width, &dot);
    return q->norm2 + t->mean_norm2 - 2 * q->scale * t->mean_scale * (float)dot;
}

static struct rabitq_scan scan_of(const struct ivf *ix,
                                  const struct rabitq_query *q, float base,
                                  float slack)
{
    return (struct rabitq_scan){.tables = q->tables,
                                .width = ix->shape.width,
                                .gain = q->gain,
                                .offset = q->offset,
                                .base = base,
                                .slack = slack * RABITQ_DEVIATION *
                                         sqrtf(base > 0 ? base : 0)};
}

/* Whether one of v [STRETCH] is below the limit. */
MANY_TARGETS static bool is_below(const float *v, float limit)
{
    uint32_t below = 0;
    for (size_t i = 0; i < STRETCH; i++) below |= v[i] < limit;
    return below != 0;
}

void ivf_tree_estimate(const struct ivf *ix, const struct ivf_tree *t,
                       const struct rabitq_query *q, float *estimate,
                       float *lower)
{
    size_t block = ivf_tree_block(ix->shape.width);
    struct rabitq_scan s = scan_of(ix, q, base_of(ix, t, q), assign_slack);
    for (size_t i = 0; i < t->n; i += IVF_BLOCK)
        (void)ix->kernels->scan(&s, t->bits + i / IVF_BLOCK * block,
                                estimate + i, lower + i);
}

/* Keep the `want` nearest in out, rising. */
static void near_add(struct ivf_near *out, size_t *n, size_t want, uint32_t at,
                     float d2)
{
    if (*n == want && d2 >= out[want - 1].d2) return;
    size_t i = *n < want ? (*n)++ : want - 1;
    for (; i > 0 && out[i - 1].d2 > d2; i--) out[i] = out[i - 1];
    out[i] = (struct ivf_near){at, d2};
}

/* What another list has to beat. */
static float limit_of(const struct ivf_near *out, size_t n, float within)
{
    float far = within * out[0].d2, last = out[n - 1].d2;
    return far < last ? far : last;
}

/* The lists with the best estimates, exactly, into out [want]; their lower
 * bounds are taken out of the way. */
static size_t seeds_take(struct ivf *ix, const struct ivf_tree *t,
                         const struct rabitq_query *q, size_t want,
                         struct ivf_near *out)
{
    struct ivf_near seeds[IVF_NEAR_MAX] = {0};
    float *lower = ix->estimates + ix->room_dots;
    size_t n = 0, n_seeds = 0;
    for (size_t from = 0; from < t->n; from += STRETCH) {
        size_t end = from + STRETCH < t->n ? from + STRETCH : t->n;
        if (n_seeds == want && end - from == STRETCH &&
            !is_below(ix->estimates + from, seeds[want - 1].d2))
            continue;
        for (size_t at = from; at < end; at++)
            near_add(seeds, &n_seeds, want, (uint32_t)at, ix->estimates[at]);
    }
    for (size_t i = 0; i < n_seeds; i++) {
        uint32_t at = seeds[i].at;
        near_add(out, &n, want, at, ivf_tree_d2(ix, t, q, at));
        lower[at] = INFINITY;
    }
    return n;
}

/* Whether the bounds of a block [IVF_BLOCK] leave it anything. */
static bool block_is_below(const float *lower, float limit)
{
    uint32_t below = 0;
    for (size_t i = 0; i < IVF_BLOCK; i++) below |= lower[i] < limit;
    return below != 0;
}

static size_t nearest_coarse(struct ivf *ix, struct ivf_tree *t,
                             const struct rabitq_query *q, size_t want,
                             float within, struct ivf_near *out)
{
    uint8_t tables[RABITQ_DIM_MAX];
    float *lower = ix->estimates + ix->room_dots, base = base_of(ix, t, q);
    size_t width = ix->shape.coarse, block = ivf_tree_block(width);
    size_t passed = 0;
    struct rabitq_scan whole = scan_of(ix, q, base, assign_slack);
    struct rabitq_scan s = scan_of(ix, q, base, coarse_slack);
    s.offset = rabitq_query_part(q, width, tables);
    s.tables = tables;
    s.width = width;
    for (size_t i = 0; i < t->n; i += IVF_BLOCK)
        (void)ix->kernels->scan(&s, t->coarse + i / IVF_BLOCK * block,
                                ix->estimates + i, lower + i);
    for (size_t at = t->n; at % IVF_BLOCK != 0; at++) lower[at] = INFINITY;
    size_t n = seeds_take(ix, t, q, want, out);
    block = ivf_tree_block(ix->shape.width);
    for (size_t from = 0; from < t->n; from += IVF_BLOCK) {
        float estimate[IVF_BLOCK], bound[IVF_BLOCK];
        if (!block_is_below(lower + from, limit_of(out, n, within))) continue;
        passed += IVF_BLOCK;
        (void)ix->kernels->scan(&whole, t->bits + from / IVF_BLOCK * block,
                                estimate, bound);
        for (size_t i = 0; i < IVF_BLOCK && from + i < t->n; i++)
            if (!isinf(lower[from + i]) && bound[i] < limit_of(out, n, within))
                near_add(out, &n, want, (uint32_t)(from + i),
                         ivf_tree_d2(ix, t, q, from + i));
    }
    if (2 * passed > t->n) t->coarse_rest = COARSE_REST;
    return n;
}

size_t ivf_tree_nearest(struct ivf *ix, struct ivf_tree *t,
                        const struct rabitq_query *q, size_t want, float within,
                        struct ivf_near *out)
{
    size_t n = 0;
    if (want == 0) return 0;
    if (t->n <= DIRECT_MAX) {
        for (size_t at = 0; at < t->n; at++)
            near_add(out, &n, want, (uint32_t)at, ivf_tree_d2(ix, t, q, at));
        return n;
    }
    if (want <= COARSE_WANT && t->n >= COARSE_MIN && ix->shape.coarse > 0) {
        if (t->coarse_rest == 0)
            return nearest_coarse(ix, t, q, want, within, out);
        t->coarse_rest--;
    }
    float *lower = ix->estimates + ix->room_dots;
    ivf_tree_estimate(ix, t, q, ix->estimates, lower);
    n = seeds_take(ix, t, q, want, out);
    for (size_t from = 0; from < t->n; from += STRETCH) {
        size_t end = from + STRETCH < t->n ? from + STRETCH : t->n;
        if (end - from == STRETCH &&
            !is_below(lower + from, limit_of(out, n, within)))
            continue;
        for (size_t at = from; at < end; at++)
            if (lower[at] < limit_of(out, n, within))
                near_add(out, &n, want, (uint32_t)at,
                         ivf_tree_d2(ix, t, q, at));
    }
    return n;
}
