#include "retrieval/ivf_searcher.h"

#include <math.h>
#include <stdlib.h>

enum { LEARNT_MIN = 50, LEARNT_MAX = 4096 };
enum { EXPECT_FIRST = 8, EXPECT_MAX = 32 };
_Static_assert((int)EXPECT_MAX <= IVF_SPANS_MAX, "they are told at once");
/* Of what a search may miss, as much may be lost by not reading lists: the
 * neighbours of rows, which are learnt from, are easier than a question's. */
static const float probing_part = 0.35F;
/* And of that under a filter, whose share of entries is an estimate, too. */
static const float far_part = 0.3F;
/* Of a million rows, the thousandth neighbour often lies beyond the lists that
 * are learnt from: from this many on (10^(1 + far)), every list is read. */
static const float far = 1.75F;

static enum tacit_err probes_reserve(struct ivf_scratch *s, size_t n)
{
    if (n <= s->room_probes) return TACIT_OK;
    size_t room = n + n / 4 + 64;
    struct ivf_probe *p = realloc(s->probes, room * sizeof *p);
    if (p == NULL) return fail(TACIT_NOMEM, "no memory for %zu lists", n);
    s->probes = p;
    s->room_probes = room;
    return TACIT_OK;
}

/* ---- probing ------------------------------------------------------------- */

static void probe_swap(struct ivf_probe *a, struct ivf_probe *b)
{
    struct ivf_probe t = *a;
    *a = *b;
    *b = t;
}

/* The `want` least keys come first, in no order. */
static void probes_select(struct ivf_probe *p, size_t n, size_t want)
{
    size_t low = 0, high = n;
    while (high - low > 1 && want > low && want < high) {
        float pivot = p[low + (high - low) / 2].key;
        size_t i = low, j = high - 1;
        while (i <= j) {
            while (p[i].key < pivot) i++;
            while (p[j].key > pivot) j--;
            if (i > j) break;
            probe_swap(&p[i++], &p[j]);
            if (j == 0) break;
            j--;
        }
        if (want <= j + 1 && j + 1 < high)
            high = j + 1;
        else if (want >= i && i > low)
            low = i;
        else
            return;
    }
}

static int probe_compare(const void *a, const void *b)
{
    const struct ivf_probe *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->list < y->list ? -1 : x->list > y->list;
}

/*
 * In what order, and how far. Let c_1 be the nearest list and sqrt(t) the
 * distance of the k-th best. A neighbour is in list i, not in the first, when
 * it lies beyond the plane half-way between their centroids,
 *
 *   h_i = (|q - c_i|^2 - |q - c_1|^2) / (2 |c_i - c_1|)
 *
 * away from q. Its part in that direction is sqrt(t) times the cosine of an
 * angle, so that h_i / sqrt(t) says how likely that is, the same way for all
 * queries of a set; how likely for how much is learnt from rows (ivf_learn()).
 * Under the dot metric there is no ball; (<q, c_1> - <q, c_i>) / |c_i - c_1|
 * over |q| takes its place.
 */
static float plane(const struct ivf *ix, float base, float first, float gap2)
{
    if (!(gap2 > 0) || base <= first) return 0;
    float h = (base - first) / sqrtf(gap2);
    return ix->metric == RABITQ_DOT ? h : h / 2;
}

/* What h is measured in. */
float ivf_ball(const struct ivf *ix, float d2)
{
    return sqrtf(ix->metric == RABITQ_DOT ? ix->query->norm2 : d2);
}

static void base_set(const struct ivf *ix, struct ivf_probe *p, float product,
                     float norm2)
{
    float d2 = ix->query->norm2 + norm2 - 2 * product;
    p->d2 = d2 > 0 ? d2 : 0;
    p->base = ix->metric == RABITQ_DOT ? -product : p->d2;
}

/* The first list of all: its centroid into ix->pivot, as what the others are
 * compared with. It is the nearest by estimate, which is near enough. */
static void first_set(struct ivf_searcher *s, size_t n)
{
    struct ivf *ix = s->ix;
    struct ivf_probe *p = s->s->probes;
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        base_set(ix, &p[i], ivf_tree_product(ix, s->tree, ix->query, p[i].at),
                 s->tree->norm2[p[i].at]);
        if (p[i].base < p[best].base) best = i;
    }
    s->first = p[best].base;
    ivf_tree_centroid(ix, s->tree, p[best].at, ix->c);
    rabitq_query_set(ix->pivot, ix->c);
}

/* Exact keys for probes from … to, in order. */
static void probes_settle(struct ivf_searcher *s, size_t from, size_t to)
{
    struct ivf_probe *p = s->s->probes;
    struct ivf *ix = s->ix;
    const struct ivf_tree *t = s->tree;
    if (from == 0) first_set(s, to);
    for (size_t i = from; i < to; i++) {
        if (from > 0)
            base_set(ix, &p[i], ivf_tree_product(ix, t, ix->query, p[i].at),
                     t->norm2[p[i].at]);
        p[i].key = plane(ix, p[i].base, s->first,
                         ivf_tree_d2(ix, t, ix->pivot, p[i].at));
    }
    qsort(p + from, to - from, sizeof *p, probe_compare);
}

void ivf_probes_order(struct ivf_searcher *s, size_t from, size_t to)
{
    struct ivf_scratch *t = s->s;
    if (from == to) return; /* a partition without lists */
    probes_select(t->probes + from, t->n_probes - from, to - from);
    probes_settle(s, from, to);
}

/* The lists of one partition, by estimate. */
enum tacit_err ivf_probes_start(struct ivf_searcher *s, int64_t part)
{
    struct ivf *ix = s->ix;
    struct ivf_tree *tree;
    TRY(ivf_tree_get(ix, part, &tree));
    s->s->n_probes = tree->n;
    s->tree = tree;
    s->expects = !s->learns && !tree->is_met && tree->n > EXPECT_FIRST &&
                 ix->store->expect != NULL;
    s->n_expected = 0;
    tree->is_met |= !s->learns;
    if (tree->n == 0) return TACIT_OK;
    TRY(probes_reserve(s->s, tree->n));
    float *estimate = ix->estimates;
    ivf_tree_estimate(ix, tree, ix->query, estimate,
                      ix->estimates + ix->room_dots);
    for (size_t at = 0; at < tree->n; at++) {
        float key = estimate[at];
        if (ix->metric == RABITQ_DOT)
            key = (key - ix->query->norm2 - tree->norm2[at]) / 2;
        s->s->probes[at] = (struct ivf_probe){.key = key,
                                              .list = tree->list[at],
                                              .at = (uint32_t)at};
    }
    return TACIT_OK;
}

/* ---- the learnt rule ----------------------------------------------------- */

/*
 * Of lists at the same h, the hundredth holds fewer of the best than the first,
 * and there are the more of them the harder a query is. So the rule is of
 *
 *   h_i (64 i / sqrt(n))^0.3 / sqrt(t)        i = 1, 2, … n
 *
 * which reads fewer lists for the same recall than h_i, and than i: 27 instead
 * of 47, and 63, of 682 on clusters of ten for 0.95; 164 instead of 197, and
 * 268, of 661 on text. The exponent is flat between 0.15 and 0.5. Where rows
 * become four times as many, neighbours lie about twice as many lists away: the
 * root of n makes what is learnt hold while the lists become more.
 */
float ivf_hardness(float h, size_t i, size_t n)
{
    return h * powf(64 * (float)(i + 1) / sqrtf((float)n), 0.3F);
}

/* Level l of the histogram counts neighbours whose hardness / sqrt(t) is in
 * [most (l / n)^2, most ((l + 1) / n)^2). */
static const float most = 3;

static size_t level_of(float share)
{
    float l = sqrtf(share / most) * IVF_LEVELS;
    return l < IVF_LEVELS - 1 ? (size_t)l : IVF_LEVELS - 1;
}

/* The level that a share of the neighbours of one histogram is within. */
static float level_for(const float *levels, float share)
{
    float sum = 0, part = 0;
    for (size_t l = 0; l < IVF_LEVELS; l++) sum += levels[l];
    if (sum < LEARNT_MIN) return INFINITY;
    for (size_t l = 0; l + 1 < IVF_LEVELS; l++) {
        if (part + levels[l] >= share * sum) {
            float inside = (share * sum - part) / levels[l];
            float edge = ((float)l + inside) / IVF_LEVELS;
            return most * edge * edge;
        }
        part += levels[l];
    }
    return INFINITY;
}

/* How far to go for a recall of the `rank` nearest. A part of what may be
 * missed is left to the bound of the estimates. Beyond what was learnt there is
 * no end. */
static float reach_for(const struct ivf *ix, float recall, float rank)
{
    if (recall >= 1) return INFINITY;
    float share = 1 - probing_part * (1 - recall);
    float at = log10f(rank) - 1; /* histogram i is of the 10^(i + 1) nearest */
    if (at <= 0) return level_for(ix->count.levels[0], share);
    if (at > far) return INFINITY;
    share = 1 - (1 - share) * far_part;
    size_t low = (size_t)at;
    float a = level_for(ix->count.levels[low], share), b = a;
    if (low + 1 < IVF_RANKS) b = level_for(ix->count.levels[low + 1], share);
    /* what the farther ones need is at least what the nearer ones do */
    return b > a ? a + (b - a) * (at - (float)low) : a;
}

void ivf_level_add(float *levels, float share)
{
    float sum = 0;
    levels[level_of(share)]++;
    for (size_t l = 0; l < IVF_LEVELS; l++) sum += levels[l];
    if (sum < LEARNT_MAX) return;
    for (size_t l = 0; l < IVF_LEVELS; l++) levels[l] /= 2;
}

void ivf_level_rest(float *levels)
{
    float sum = 0;
    for (size_t l = 0; l < IVF_LEVELS; l++) sum += levels[l];
    if (sum < LEARNT_MIN || 4 * levels[0] < sum) ivf_level_add(levels, 0);
}

/* Whether lists whose plane is at h and farther are unlikely to hold one of the
 * k best. Where a filter lets one in f entries pass, its k best are about the
 * f k best of all. */
bool ivf_enough(struct ivf_searcher *s, float h, size_t i)
{
    float best = ivf_limit(s);
    if (isinf(best)) return false;
    float rank = (float)s->q->k * (s->tried + 1) / (s->passed + 1) *
                 (s->asked + 1) / (s->kept + 1);
    if (rank != s->reach_rank) {
        s->reach = reach_for(s->ix, s->recall, rank);
        s->reach_rank = rank;
    }
    return ivf_hardness(h, i, s->s->n_probes) >
           s->reach * ivf_ball(s->ix, best);
}

/* Far enough ahead to keep a disk busy, and little in vain: where the search
 * ends is known once it has found k. */
void ivf_probes_expect(struct ivf_searcher *s, size_t i, size_t ready)
{
    struct ivf_span spans[EXPECT_MAX];
    size_t n = 0, many = i < EXPECT_FIRST ? EXPECT_FIRST : EXPECT_MAX;
    size_t end = i + many < ready ? i + many : ready;
    if (i + many / 2 < s->n_expected) return;
    if (s->n_expected < i) s->n_expected = i;
    for (size_t k = s->n_expected; k < end; k++) {
        const struct ivf_probe *p = &s->s->probes[k];
        if (s->q->probes > 0 ? k >= s->q->probes : ivf_enough(s, p->key, k))
            break;
        spans[n++] = (struct ivf_span){ivf_entries_of(p->list), 0, IVF_SEG_MAX};
    }
    s->n_expected += n;
    if (n > 0) s->ix->store->expect(s->ix->store->ctx, spans, n);
}
