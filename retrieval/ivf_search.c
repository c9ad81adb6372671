#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"

enum {
    POOL_MIN = 8192,
    FIRST_CHUNK = 64, /* lists that are put in exact order at first */
    BATCH = 16,       /* rows between two looks at the k-th best, at first */
    BATCH_LAST = 64,
    BATCH_MAX = 512,
    LEARN_EACH = 10, /* neighbours per rank that are learnt from */
    LEARN_KEPT = 2000,
    LEARN_LISTS = 512, /* lists read for them */
    LEARNT_MIN = 50,
    LEARNT_MAX = 4096,
    IDS_FEW = 16 /* so many ids are always looked up one by one */
};
/* Deviations allowed for where a search reads one list, to be exact. */
static const float single_bound = 6;
static const float default_recall = 0.95F;
/* Of what a search may miss, as much may be lost by not reading lists. */
static const float probing_part = 0.5F;

enum ivf_reach { IVF_LIKELY, IVF_POSSIBLE };

struct candidate {
    float estimate, lower;
    int64_t id;
    uint32_t list, slot; /* slot: NO_SLOT for a copy */
};
static const uint32_t no_slot = UINT32_MAX;

/* A list that may be read. */
struct probe {
    float key;  /* an estimate of base, then the distance of the query to the
                   plane between the first list and this */
    float base; /* squared distance, or - product */
    float d2;   /* squared distance */
    uint32_t list, at;
};

struct ivf_scratch {
    size_t room_pool, n_pool, room_hits, n_hits, room_probes, n_probes;
    size_t n_judged;          /* of the pool: see likely_read() */
    struct candidate *pool;   /* [room_pool] */
    struct candidate *likely; /* [room_pool] */
    struct ivf_hit *hits;     /* a heap: the worst first */
    struct probe *probes;
};

struct search {
    struct ivf *ix;
    const struct ivf_query *q;
    struct ivf_scratch *s;
    const struct ivf_tree *tree; /* NULL: any */
    struct ivf_work work;
    float bound; /* deviations of an estimate that are allowed for */
    float recall;
    float tried, passed; /* entries that the filter's words saw */
    float asked, kept;   /* candidates that its ids and its verifier saw */
    bool learns;         /* a candidate's `lower` is its list's plane */
    float heading;       /* of the list being read */
    float first;         /* base of the nearest list */
    /* the segment of rows that was read last; borrowed */
    const uint8_t *rows;
    uint32_t rows_list, rows_seg;
};

void ivf_scratch_free(struct ivf_scratch *s)
{
    if (s == NULL) return;
    free(s->pool);
    free(s->likely);
    free(s->hits);
    free(s->probes);
    free(s);
}

size_t ivf_scratch_bytes(const struct ivf_scratch *s)
{
    if (s == NULL) return 0;
    return sizeof *s + 2 * s->room_pool * sizeof *s->pool +
           s->room_hits * sizeof *s->hits + s->room_probes * sizeof *s->probes;
}

static enum tacit_err probes_reserve(struct ivf_scratch *s, size_t n)
{
    if (n <= s->room_probes) return TACIT_OK;
    size_t room = n + n / 4 + 64;
    struct probe *p = realloc(s->probes, room * sizeof *p);
    if (p == NULL) return fail(TACIT_NOMEM, "no memory for %zu lists", n);
    s->probes = p;
    s->room_probes = room;
    return TACIT_OK;
}

static enum tacit_err scratch_get(struct ivf *ix, size_t k,
                                  struct ivf_scratch **out)
{
    if (ix->scratch == NULL) ix->scratch = calloc(1, sizeof *ix->scratch);
    struct ivf_scratch *s = ix->scratch;
    if (s == NULL) return fail(TACIT_NOMEM, "no memory for a search");
    if (s->room_hits < k) {
        size_t room_pool = POOL_MIN + 4 * k;
        struct ivf_hit *hits = realloc(s->hits, k * sizeof *hits);
        if (hits != NULL) s->hits = hits;
        struct candidate *pool = realloc(s->pool, room_pool * sizeof *pool);
        if (pool != NULL) s->pool = pool;
        struct candidate *likely =
            realloc(s->likely, room_pool * sizeof *likely);
        if (likely != NULL) s->likely = likely;
        if (hits == NULL || pool == NULL || likely == NULL)
            return fail(TACIT_NOMEM, "no memory for a search");
        s->room_hits = k;
        s->room_pool = room_pool;
    }
    s->n_pool = s->n_judged = s->n_hits = s->n_probes = 0;
    *out = s;
    return TACIT_OK;
}

/* ---- hits ---------------------------------------------------------------- */

static bool worse(const struct ivf_hit *a, const struct ivf_hit *b)
{
    return a->distance != b->distance ? a->distance > b->distance
                                      : a->id > b->id;
}

static void hits_sink(struct ivf_hit *h, size_t n, size_t i)
{
    for (;;) {
        size_t top = i, l = 2 * i + 1, r = l + 1;
        if (l < n && worse(&h[l], &h[top])) top = l;
        if (r < n && worse(&h[r], &h[top])) top = r;
        if (top == i) return;
        struct ivf_hit t = h[i];
        h[i] = h[top];
        h[top] = t;
        i = top;
    }
}

void ivf_hits_add(struct ivf_hit *h, size_t *n, size_t k, int64_t id, float d2)
{
    struct ivf_hit fresh = {id, d2};
    if (*n == k && !worse(&h[0], &fresh)) return;
    for (size_t i = 0; i < *n; i++)
        if (h[i].id == id) return; /* its copy came first */
    if (*n == k) {
        h[0] = fresh;
        hits_sink(h, *n, 0);
        return;
    }
    size_t i = (*n)++;
    for (; i > 0 && worse(&fresh, &h[(i - 1) / 2]); i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = fresh;
}

void ivf_hits_sort(const struct ivf *ix, struct ivf_hit *h, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        struct ivf_hit t = h[0];
        h[0] = h[i - 1];
        h[i - 1] = t;
        hits_sink(h, i - 1, 0);
    }
    for (size_t i = 0; i < n; i++)
        h[i].distance = ivf_distance(ix, h[i].distance);
}

/* What a vector has to beat. */
static float limit(const struct search *s)
{
    return s->s->n_hits == s->q->k ? s->s->hits[0].distance : INFINITY;
}

/* ---- rows ---------------------------------------------------------------- */

static int place_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->list != y->list) return x->list < y->list ? -1 : 1;
    if (x->slot != y->slot) return x->slot < y->slot ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool hit_already(const struct ivf_scratch *s, int64_t id)
{
    for (size_t i = 0; i < s->n_hits; i++)
        if (s->hits[i].id == id) return true;
    return false;
}

/* The row of a candidate. Neighbours in a batch often share a segment. */
static enum tacit_err row_get(struct search *s, const struct candidate *c,
                              const uint8_t **row)
{
    struct ivf *ix = s->ix;
    size_t n = ix->shape.rows_max;
    uint32_t seg = c->slot / (uint32_t)n;
    if (c->slot == no_slot) {
        bool found = false;
        uint32_t place[2];
        s->rows = NULL;
        TRY(ix->store->place_read(ix->store->ctx, c->id, &found, place));
        if (!found) return IVF_DAMAGED("a copy has no place");
        return ivf_row_find(ix, place[0], c->id, row);
    }
    if (s->rows == NULL || s->rows_list != c->list || s->rows_seg != seg) {
        s->rows = NULL;
        TRY(ivf_rows_read(ix, c->list, seg, &s->rows));
        s->rows_list = c->list;
        s->rows_seg = seg;
    }
    return ivf_rows_row(ix, c->list, s->rows, c->slot % n, c->id, row);
}

static enum tacit_err candidate_read(struct search *s,
                                     const struct candidate *c)
{
    const struct ivf_filter *f = s->q->filter;
    struct ivf *ix = s->ix;
    const uint8_t *row;
    bool keep = true;
    float d2;
    if (c->slot == no_slot && hit_already(s->s, c->id)) return TACIT_OK;
    if (f != NULL && f->verify != NULL) {
        s->rows = NULL; /* it may read the store, too */
        TRY(f->verify(f->arg, c->id, &keep));
        s->asked++;
        s->kept += keep;
    }
    if (!keep) return TACIT_OK;
    TRY(row_get(s, c, &row));
    s->work.rows++;
    TRY(ivf_row_d2(ix, row, &d2));
    ivf_hits_add(s->s->hits, &s->s->n_hits, s->q->k, c->id, d2);
    return TACIT_OK;
}

static int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->estimate != y->estimate) return x->estimate < y->estimate ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Read the rows of sorted candidates batch by batch, each in the order in which
 * rows lie, as long as they may be among the best: by their lower bound, or,
 * where only likely ones are wanted, by their estimate. *done: how many were
 * dealt with. */
static enum tacit_err sorted_read(struct search *s, const struct candidate *c,
                                  size_t n, enum ivf_reach reach, size_t *done)
{
    struct ivf_scratch *t = s->s;
    struct candidate batch[BATCH_MAX];
    size_t i = 0, step = isinf(s->bound) ? BATCH_MAX : BATCH;
    s->rows = NULL;
    while (i < n) {
        size_t some = 0, want = step;
        float best = limit(s);
        if (reach == IVF_LIKELY && c[i].estimate >= best) break;
        if (t->n_hits + want < s->q->k) want = s->q->k - t->n_hits;
        if (want > BATCH_MAX) want = BATCH_MAX;
        /* what is left becomes ever less likely: look less often, but read
         * rows that lie together at once */
        if (reach == IVF_POSSIBLE && step < BATCH_LAST) step *= 2;
        for (; i < n && some < want; i++)
            if (c[i].lower < best) batch[some++] = c[i];
        qsort(batch, some, sizeof *batch, place_compare);
        for (size_t k = 0; k < some; k++) TRY(candidate_read(s, &batch[k]));
    }
    *done = i;
    return TACIT_OK;
}

/* Drop what cannot be among the best any more. */
static void pool_prune(struct search *s)
{
    struct ivf_scratch *t = s->s;
    float best = limit(s);
    size_t n = 0;
    for (size_t i = 0; i < t->n_pool; i++)
        if (t->pool[i].lower < best) t->pool[n++] = t->pool[i];
    t->n_pool = n;
    t->n_judged = 0;
}

/* The `want` best estimates come first, in no order. */
static void candidates_select(struct candidate *c, size_t n, size_t want)
{
    size_t low = 0, high = n; /* the border is inside */
    while (low < want && want < high) {
        float pivot = c[low + (high - low) / 2].estimate;
        size_t i = low, j = low,
               k = high; /* < i: less; < j: equal; >= k: more */
        while (j < k) {
            struct candidate t = c[j];
            if (t.estimate < pivot) {
                c[j++] = c[i];
                c[i++] = t;
            } else if (t.estimate > pivot) {
                c[j] = c[--k];
                c[k] = t;
            } else {
                j++;
            }
        }
        if (want < i)
            high = i;
        else if (want > k)
            low = k;
        else
            return;
    }
}

/* Read the rows of those new candidates whose estimate beats the k-th best:
 * whatever follows, they would be read. Older ones were judged by a k-th best
 * that was no nearer. */
static enum tacit_err likely_read(struct search *s)
{
    struct ivf_scratch *t = s->s;
    struct candidate *c = t->likely;
    size_t n = t->n_judged, n_likely = t->n_pool - n;
    memcpy(c, t->pool + n, n_likely * sizeof *c);
    while (n_likely > 0) {
        size_t want = BATCH, rest = 0, done;
        if (t->n_hits + want < s->q->k) want = s->q->k - t->n_hits;
        if (want > n_likely) want = n_likely;
        candidates_select(c, n_likely, want);
        qsort(c, want, sizeof *c, candidate_compare);
        TRY(sorted_read(s, c, want, IVF_LIKELY, &done));
        float best = limit(s);
        for (size_t i = done; i < n_likely; i++)
            if (c[i].estimate < best)
                c[rest++] = c[i];
            else if (c[i].lower < best)
                t->pool[n++] = c[i];
        n_likely = rest;
    }
    t->n_judged = t->n_pool = n;
    return TACIT_OK;
}

/* Read the rows of all that may be among the best. */
static enum tacit_err possible_read(struct search *s)
{
    struct ivf_scratch *t = s->s;
    size_t done;
    pool_prune(s);
    qsort(t->pool, t->n_pool, sizeof *t->pool, candidate_compare);
    TRY(sorted_read(s, t->pool, t->n_pool, IVF_POSSIBLE, &done));
    t->n_pool = 0;
    return TACIT_OK;
}

/* ---- lists --------------------------------------------------------------- */

/* The pool is full while a list is read: the better half stays of what may be
 * among the best. */
static void pool_halve(struct search *s)
{
    struct ivf_scratch *t = s->s;
    if (!s->learns) pool_prune(s);
    if (t->n_pool < t->room_pool / 2) return;
    qsort(t->pool, t->n_pool, sizeof *t->pool, candidate_compare);
    t->n_pool /= 2;
}

static void block_take(struct search *s, const struct rabitq_scan *scan,
                       const uint8_t *block, uint32_t list, size_t slot)
{
    const struct ivf_shape *shape = &s->ix->shape;
    const struct ivf_filter *f = s->q->filter;
    struct ivf_scratch *t = s->s;
    float estimate[IVF_BLOCK], lower[IVF_BLOCK];
    uint32_t mask = 0xffff;
    if (f != NULL && f->n_terms > 0) {
        mask = ivf_filter_block(f, shape, block);
        s->tried += IVF_BLOCK;
        s->passed += (float)__builtin_popcount(mask);
    }
    s->work.entries += (uint32_t)__builtin_popcount(mask);
    if (mask == 0) return;
    mask &= s->ix->kernels->scan(scan, block, estimate, lower);
    if (t->n_pool + IVF_BLOCK > t->room_pool) pool_halve(s);
    for (; mask != 0; mask &= mask - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(mask);
        int64_t id = ivf_i64(block + shape->ids + 8 * i);
        if (f != NULL && f->ids != NULL) {
            bool in = ivf_among(f->ids, f->n_ids, id);
            s->asked++;
            s->kept += in;
            if (!in) continue;
        }
        t->pool[t->n_pool++] =
            (struct candidate){estimate[i], s->learns ? s->heading : lower[i],
                               id, list,
                               slot == no_slot ? no_slot : (uint32_t)slot + i};
    }
}

static enum tacit_err list_take(struct search *s, const struct probe *p)
{
    struct ivf *ix = s->ix;
    const struct ivf_store *store = ix->store;
    const struct ivf_shape *shape = &ix->shape;
    struct rabitq_scan scan = {.tables = ix->query->tables,
                               .width = shape->width,
                               .gain = ix->query->gain,
                               .offset = ix->query->offset,
                               .base = p->base,
                               .limit = limit(s)};
    scan.slack =
        isinf(s->bound) ? INFINITY : s->bound * RABITQ_DEVIATION * sqrtf(p->d2);
    enum tacit_err e = store->segs_begin(store->ctx, ivf_entries_of(p->list));
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t n;
        e = store->segs_next(store->ctx, &seg, &data, &n);
        if (e != TACIT_OK || data == NULL) break;
        e = ivf_segment_check(ix, p->list, seg, data, n);
        if (e != TACIT_OK) break;
        bool copies = seg < IVF_SEG_FIRST;
        if (copies && isinf(s->bound)) continue;
        s->work.segments++;
        for (size_t b = 0; b < ivf_blocks(data); b++)
            block_take(s, &scan, ivf_block(shape, data, b), p->list,
                       copies ? no_slot
                              : (seg - IVF_SEG_FIRST) * shape->slots_max +
                                    b * IVF_BLOCK);
    }
    store->segs_end(store->ctx);
    s->work.lists++;
    return e;
}

/* ---- probing ------------------------------------------------------------- */

static void probe_swap(struct probe *a, struct probe *b)
{
    struct probe t = *a;
    *a = *b;
    *b = t;
}

/* The `want` least keys come first, in no order. */
static void probes_select(struct probe *p, size_t n, size_t want)
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
    const struct probe *x = a, *y = b;
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
static float ball(const struct ivf *ix, float d2)
{
    return sqrtf(ix->metric == RABITQ_DOT ? ix->query->norm2 : d2);
}

static void base_set(const struct ivf *ix, struct probe *p, float product,
                     float norm2)
{
    float d2 = ix->query->norm2 + norm2 - 2 * product;
    p->d2 = d2 > 0 ? d2 : 0;
    p->base = ix->metric == RABITQ_DOT ? -product : p->d2;
}

/* The first list of all: its centroid into ix->pivot, as what the others are
 * compared with. It is the nearest by estimate, which is near enough. */
static void first_set(struct search *s, size_t n)
{
    struct ivf *ix = s->ix;
    struct probe *p = s->s->probes;
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
static void probes_settle(struct search *s, size_t from, size_t to)
{
    struct probe *p = s->s->probes;
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

/* The lists of one partition, by estimate. */
static enum tacit_err probes_start(struct search *s, int64_t part)
{
    struct ivf *ix = s->ix;
    struct ivf_tree *tree;
    TRY(ivf_tree_get(ix, part, &tree));
    TRY(probes_reserve(s->s, tree->n));
    float *estimate = ix->estimates;
    ivf_tree_estimate(ix, tree, ix->query, estimate,
                      ix->estimates + ix->room_dots);
    for (size_t at = 0; at < tree->n; at++) {
        float key = estimate[at];
        if (ix->metric == RABITQ_DOT)
            key = (key - ix->query->norm2 - tree->norm2[at]) / 2;
        s->s->probes[at] = (struct probe){.key = key,
                                          .list = tree->list[at],
                                          .at = (uint32_t)at};
    }
    s->s->n_probes = tree->n;
    s->tree = tree;
    return TACIT_OK;
}

static float reach_for(const struct ivf *ix, float recall, float rank);

/* Whether lists whose plane is at h and farther are unlikely to hold one of the
 * k best. Where a filter lets one in f entries pass, its k best are about the
 * f k best of all. */
static bool enough(const struct search *s, float h)
{
    float best = limit(s);
    if (isinf(best)) return false;
    float rank = (float)s->q->k * (s->tried + 1) / (s->passed + 1) *
                 (s->asked + 1) / (s->kept + 1);
    return h > reach_for(s->ix, s->recall, rank) * ball(s->ix, best);
}

static enum tacit_err probes_run(struct search *s)
{
    struct ivf_scratch *t = s->s;
    size_t ready = 0, chunk = FIRST_CHUNK;
    bool all = isinf(s->bound);
    for (size_t i = 0; i < t->n_probes; i++) {
        if (i == ready) {
            ready = t->n_probes - i < chunk ? t->n_probes : i + chunk;
            probes_select(t->probes + i, t->n_probes - i, ready - i);
            probes_settle(s, i, ready);
            chunk *= 2;
        }
        const struct probe *p = &t->probes[i];
        if (!all && (s->q->probes > 0 ? i >= s->q->probes : enough(s, p->key)))
            break;
        TRY(list_take(s, p));
        TRY(all ? possible_read(s) : likely_read(s));
    }
    return possible_read(s);
}

/* ---- the learnt rule ----------------------------------------------------- */

/* Level l of the histogram counts neighbours whose h / sqrt(t) is in
 * [(l / n)^2, ((l + 1) / n)^2). */
static size_t level_of(float share)
{
    float l = sqrtf(share) * IVF_LEVELS;
    return l < IVF_LEVELS - 1 ? (size_t)l : IVF_LEVELS - 1;
}

/* The level that a share of the neighbours of one histogram is within. */
static float level_for(const float *levels, float share)
{
    float sum = 0, part = 0;
    for (size_t l = 0; l < IVF_LEVELS; l++) sum += levels[l];
    if (sum < LEARNT_MIN) return INFINITY;
    for (size_t l = 0; l + 1 < IVF_LEVELS; l++) {
        part += levels[l];
        float edge = (float)(l + 1) / IVF_LEVELS;
        if (part >= share * sum) return edge * edge;
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
    if (at > IVF_RANKS - 0.5F) return INFINITY;
    size_t low = (size_t)at;
    float a = level_for(ix->count.levels[low], share), b = a;
    if (low + 1 < IVF_RANKS) b = level_for(ix->count.levels[low + 1], share);
    /* what the farther ones need is at least what the nearer ones do */
    return b > a ? a + (b - a) * (at - (float)low) : a;
}

/* Deviations to allow for: the more recall, the fewer may be cut off. */
static float bound_for(float recall)
{
    float bound = -0.5F * logf(1 - recall + 1e-6F);
    return bound < 0.8F ? 0.8F : bound > 4 ? 4 : bound;
}

static void level_add(float *levels, float share)
{
    float sum = 0;
    levels[level_of(share)]++;
    for (size_t l = 0; l < IVF_LEVELS; l++) sum += levels[l];
    if (sum < LEARNT_MAX) return;
    for (size_t l = 0; l < IVF_LEVELS; l++) levels[l] /= 2;
}

/* Read lists for their estimates alone, keeping the best. */
static enum tacit_err estimates_take(struct search *s)
{
    struct ivf_scratch *t = s->s;
    size_t n = t->n_probes < LEARN_LISTS ? t->n_probes : LEARN_LISTS;
    probes_select(t->probes, t->n_probes, n);
    probes_settle(s, 0, n);
    for (size_t i = 0; i < n; i++) {
        s->heading = t->probes[i].key;
        TRY(list_take(s, &t->probes[i]));
        if (t->n_pool < 2 * LEARN_KEPT) continue;
        qsort(t->pool, t->n_pool, sizeof *t->pool, candidate_compare);
        t->n_pool = LEARN_KEPT;
        t->n_judged = 0;
    }
    qsort(t->pool, t->n_pool, sizeof *t->pool, candidate_compare);
    return TACIT_OK;
}

/* Estimates serve: they err alike in all lists. Each rank's histogram gets the
 * same weight from a row. */
enum tacit_err ivf_learn(struct ivf *ix, struct ivf_tree *t, const float *x)
{
    struct ivf_query query = {.k = 1};
    struct search s = {.ix = ix, .q = &query, .learns = true};
    rabitq_query_set(ix->query, x);
    TRY(scratch_get(ix, query.k, &s.s));
    TRY(probes_start(&s, t->part));
    TRY(estimates_take(&s));
    const struct candidate *pool = s.s->pool;
    for (size_t r = 0, rank = LEARN_EACH; r < IVF_RANKS; r++, rank *= 10) {
        if (s.s->n_pool <= rank) break;
        float size =
            ball(ix, pool[rank].estimate > 0 ? pool[rank].estimate : 0);
        /* the row itself comes first */
        for (size_t i = rank / LEARN_EACH; i <= rank; i += rank / LEARN_EACH)
            level_add(ix->count.levels[r], size > 0 ? pool[i].lower / size : 0);
    }
    return TACIT_OK;
}

/* ---- few ids ------------------------------------------------------------- */

/* Whether id, in list, is in the partition and passes the terms. */
static enum tacit_err id_passes(struct search *s, int64_t id, uint32_t list,
                                bool *keep)
{
    struct ivf *ix = s->ix;
    const struct ivf_filter *f = s->q->filter;
    int64_t words[IVF_COLUMNS_MAX];
    struct ivf_spot spot;
    *keep = s->tree == NULL || ivf_tree_find(s->tree, list) != SIZE_MAX;
    if (!*keep || f->n_terms == 0) return TACIT_OK;
    TRY(ivf_list_find(ix, list, IVF_FIRST, id, &spot));
    if (!spot.found)
        return IVF_DAMAGED("list %u misses an entry that is placed there",
                           list);
    for (size_t k = 0; k < ix->shape.columns; k++)
        words[k] = ivf_slot_word(&ix->shape, ix->segment, spot.slot, k);
    *keep = ivf_filter_words(f, words);
    return TACIT_OK;
}

/* Compare ids one by one. */
static enum tacit_err ids_take(struct search *s)
{
    const struct ivf_filter *f = s->q->filter;
    const struct ivf_store *store = s->ix->store;
    for (size_t i = 0; i < f->n_ids; i++) {
        bool found = false, keep;
        uint32_t place[2];
        TRY(store->place_read(store->ctx, f->ids[i], &found, place));
        if (!found) continue;
        TRY(id_passes(s, f->ids[i], place[0], &keep));
        struct candidate c = {.id = f->ids[i], .slot = no_slot};
        if (keep) TRY(candidate_read(s, &c));
    }
    return TACIT_OK;
}

/* ---- partitions ---------------------------------------------------------- */

static enum tacit_err part_take(struct search *s, int64_t part)
{
    const struct ivf_filter *f = s->q->filter;
    TRY(probes_start(s, part));
    s->bound = s->s->n_probes == 1 ? single_bound : bound_for(s->recall);
    if (s->q->mode == IVF_EXACT) s->bound = INFINITY;
    if (f != NULL && f->ids != NULL && f->n_ids <= s->s->n_probes + IDS_FEW)
        return ids_take(s);
    return probes_run(s);
}

/* All partitions, one after the other: what is found in one is the limit in the
 * next. */
static enum tacit_err parts_take(struct search *s)
{
    const struct ivf_filter *f = s->q->filter;
    struct ivf *ix = s->ix;
    TRY(ivf_parts_get(ix));
    if (f != NULL && f->ids != NULL && f->n_ids <= ix->n_parts + IDS_FEW)
        return ids_take(s);
    for (size_t i = 0; i < ix->n_parts; i++) {
        s->s->n_probes = 0;
        TRY(part_take(s, ix->parts[i]));
    }
    return TACIT_OK;
}

/* ---- search -------------------------------------------------------------- */

static enum tacit_err query_check(const struct ivf *ix,
                                  const struct ivf_query *q)
{
    if (q->k < 1 || q->k > IVF_K_MAX)
        return fail(TACIT_LIMIT, "k is %zu, want 1 to %d", q->k, IVF_K_MAX);
    if (!(q->recall >= 0 && q->recall <= 1))
        return fail(TACIT_LIMIT, "recall is %g, want 0 to 1",
                    (double)q->recall);
    return ivf_filter_check(ix, q->filter);
}

enum tacit_err ivf_search(struct ivf *ix, const struct ivf_query *query,
                          struct ivf_hit *hits, size_t *n_hits,
                          struct ivf_work *work)
{
    struct search s = {.ix = ix, .q = query};
    TRY(query_check(ix, query));
    TRY(ivf_fresh(ix));
    TRY(ivf_prepare(ix, query->v, NULL));
    rabitq_query_set(ix->query, ix->x);
    TRY(scratch_get(ix, query->k, &s.s));
    float recall = query->recall > 0 ? query->recall : default_recall;
    s.recall = recall;
    if (query->part != NULL)
        TRY(part_take(&s, *query->part));
    else
        TRY(parts_take(&s));
    ivf_hits_sort(ix, s.s->hits, s.s->n_hits);
    memcpy(hits, s.s->hits, s.s->n_hits * sizeof *hits);
    *n_hits = s.s->n_hits;
    if (work != NULL) *work = s.work;
    return TACIT_OK;
}
