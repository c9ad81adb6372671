#include "common/tensor/vectorise.h"

#include "retrieval/ivf_state.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"

enum {
    POOL_MIN = 8192,
    FIRST_CHUNK = 64, /* lists that are put in exact order at first */
    BATCH = 16,
    READ_MAX = IVF_LIST_MAX,
    DIRECT_IDS = 2048 /* so few ids are looked up one by one */
};

float ivf_tune[8] = {1.5F, 1.0F};

enum ivf_reach { IVF_LIKELY, IVF_POSSIBLE };

struct candidate {
    float estimate, lower;
    int64_t id;
};

/* A list that may be read. */
struct probe {
    float key; /* its distance to the query: an estimate, then exact */
    uint32_t list, at;
};

struct ivf_scratch {
    size_t room_pool, n_pool, room_hits, n_hits, room_probes, n_probes;
    struct candidate *pool;
    struct ivf_hit *hits; /* a heap: the worst first */
    struct probe *probes;
};

struct search {
    struct ivf *ix;
    const struct ivf_query *q;
    struct ivf_scratch *s;
    const struct ivf_tree *tree; /* NULL: all partitions */
    struct ivf_work work;
    float bound; /* deviations of an estimate that are allowed for */
};

void ivf_scratch_free(struct ivf_scratch *s)
{
    if (s == NULL) return;
    free(s->pool);
    free(s->hits);
    free(s->probes);
    free(s);
}

size_t ivf_scratch_bytes(const struct ivf_scratch *s)
{
    if (s == NULL) return 0;
    return sizeof *s + s->room_pool * sizeof *s->pool +
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
        if (hits == NULL || pool == NULL)
            return fail(TACIT_NOMEM, "no memory for a search");
        s->room_hits = k;
        s->room_pool = room_pool;
    }
    s->n_pool = s->n_hits = s->n_probes = 0;
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

struct reading {
    struct search *s;
    const int64_t *ids;
};

static enum tacit_err row_take(void *arg, size_t i, const void *data, size_t n)
{
    struct reading *r = arg;
    struct search *s = r->s;
    float d2;
    if (data == NULL) return IVF_DAMAGED("an entry has no row");
    TRY(ivf_row_d2(s->ix, s->ix->v, data, n, &d2));
    ivf_hits_add(s->s->hits, &s->s->n_hits, s->q->k, r->ids[i], d2);
    return TACIT_OK;
}

static int id_compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Read the rows of ids [n], n <= READ_MAX, in any order. */
static enum tacit_err rows_take(struct search *s, int64_t *ids, size_t n)
{
    const struct ivf_filter *f = s->q->filter;
    size_t kept = 0;
    qsort(ids, n, sizeof *ids, id_compare);
    for (size_t i = 0; i < n; i++) {
        bool keep = true;
        if (kept > 0 && ids[kept - 1] == ids[i]) continue;
        if (f != NULL && f->verify != NULL)
            TRY(f->verify(f->arg, ids[i], &keep));
        if (keep) ids[kept++] = ids[i];
    }
    if (kept == 0) return TACIT_OK;
    struct reading r = {s, ids};
    s->work.rows += (uint32_t)kept;
    return s->ix->store->rows_read(s->ix->store->ctx, ids, kept, row_take, &r);
}

static int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->estimate != y->estimate) return x->estimate < y->estimate ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
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
}

/* Read rows, best estimate first, while `likely`: their estimate, or else their
 * lower bound, beats the k-th best. */
static enum tacit_err pool_read(struct search *s, enum ivf_reach reach)
{
    struct ivf_scratch *t = s->s;
    int64_t ids[READ_MAX];
    pool_prune(s);
    if (t->n_pool == 0) return TACIT_OK;
    qsort(t->pool, t->n_pool, sizeof *t->pool, candidate_compare);
    size_t i = 0;
    enum tacit_err e = TACIT_OK;
    while (e == TACIT_OK && i < t->n_pool) {
        size_t n = 0, want = BATCH;
        float best = limit(s);
        if (t->n_hits < s->q->k) want = s->q->k - t->n_hits;
        if (want > READ_MAX) want = READ_MAX;
        if (reach == IVF_LIKELY && t->pool[i].estimate >= best) break;
        for (; i < t->n_pool && n < want; i++)
            if (t->pool[i].lower < best) ids[n++] = t->pool[i].id;
        if (n > 0) e = rows_take(s, ids, n);
    }
    memmove(t->pool, t->pool + i, (t->n_pool - i) * sizeof *t->pool);
    t->n_pool -= i;
    return e;
}

/* ---- lists --------------------------------------------------------------- */

static enum tacit_err block_take(struct search *s, struct rabitq_scan *scan,
                                 const uint8_t *block)
{
    const struct ivf_shape *shape = &s->ix->shape;
    const struct ivf_filter *f = s->q->filter;
    struct ivf_scratch *t = s->s;
    float estimate[IVF_BLOCK], lower[IVF_BLOCK];
    uint32_t mask = 0xffff;
    if (f != NULL && f->n_terms > 0) mask = ivf_filter_block(f, shape, block);
    s->work.entries += (uint32_t)__builtin_popcount(mask);
    if (mask == 0) return TACIT_OK;
    mask &= s->ix->kernels->scan(scan, block, estimate, lower);
    for (; mask != 0; mask &= mask - 1) {
        size_t i = (size_t)__builtin_ctz(mask);
        int64_t id = ivf_i64(block + shape->ids + 8 * i);
        if (f != NULL && f->ids != NULL && !ivf_among(f->ids, f->n_ids, id))
            continue;
        t->pool[t->n_pool++] = (struct candidate){estimate[i], lower[i], id};
    }
    return TACIT_OK;
}

static enum tacit_err list_take(struct search *s, const struct probe *p,
                                float base, float d2)
{
    struct ivf *ix = s->ix;
    const struct ivf_store *store = ix->store;
    struct rabitq_scan scan = {.tables = ix->query->tables,
                               .width = ix->shape.width,
                               .gain = ix->query->gain,
                               .offset = ix->query->offset,
                               .base = base,
                               .slack = s->bound * RABITQ_DEVIATION * sqrtf(d2),
                               .limit = limit(s)};
    enum tacit_err e = store->segs_begin(store->ctx, p->list);
    while (e == TACIT_OK) {
        uint32_t seg;
        const void *data;
        size_t n;
        e = store->segs_next(store->ctx, &seg, &data, &n);
        if (e != TACIT_OK || data == NULL) break;
        e = ivf_segment_check(ix, p->list, seg, data, n);
        if (e != TACIT_OK) break;
        s->work.segments++;
        for (size_t b = 0; e == TACIT_OK && b < ivf_blocks(data); b++) {
            if (s->s->n_pool + IVF_BLOCK > s->s->room_pool) {
                e = pool_read(s, IVF_LIKELY);
                scan.limit = limit(s);
                if (e == TACIT_OK && s->s->n_pool + IVF_BLOCK > s->s->room_pool)
                    e = pool_read(s, IVF_POSSIBLE);
            }
            if (e == TACIT_OK)
                e = block_take(s, &scan, ivf_block(&ix->shape, data, b));
        }
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

/* Exact keys for probes from … to, in order. */
static void probes_settle(struct search *s, size_t from, size_t to)
{
    struct probe *p = s->s->probes;
    const struct ivf *ix = s->ix;
    for (size_t i = from; i < to && s->tree != NULL; i++)
        p[i].key = ix->metric == RABITQ_DOT
                       ? -ivf_tree_product(ix, s->tree, ix->query, p[i].at)
                       : ivf_tree_d2(ix, s->tree, ix->query, p[i].at);
    qsort(p + from, to - from, sizeof *p, probe_compare);
}

static enum tacit_err probes_start(struct search *s)
{
    struct ivf *ix = s->ix;
    struct ivf_tree *tree;
    TRY(ivf_tree_get(ix, *s->q->part, &tree));
    TRY(probes_reserve(s->s, tree->n));
    float *estimate = ix->estimates;
    ivf_tree_estimate(ix, tree, ix->query, estimate,
                      ix->estimates + ix->room_dots);
    for (size_t at = 0; at < tree->n; at++) {
        float key = estimate[at];
        if (ix->metric == RABITQ_DOT)
            key = (key - ix->query->norm2 - tree->norm2[at]) / 2;
        s->s->probes[at] = (struct probe){key, tree->list[at], (uint32_t)at};
    }
    s->s->n_probes = tree->n;
    s->tree = tree;
    return TACIT_OK;
}

/* Whether lists at `key` and farther are unlikely to hold one of the k best. */
static bool enough(const struct search *s, float first, float key)
{
    float best = limit(s);
    if (isinf(best)) return false;
    float reach = ivf_tune[1];
    if (s->ix->metric == RABITQ_DOT)
        return key - first > reach * sqrtf(s->ix->query->norm2);
    return key - first > reach * best;
}

static enum tacit_err probes_run(struct search *s)
{
    struct ivf_scratch *t = s->s;
    const struct ivf *ix = s->ix;
    size_t ready = 0, chunk = FIRST_CHUNK;
    float first = 0;
    for (size_t i = 0; i < t->n_probes; i++) {
        if (i == ready) {
            ready = t->n_probes - i < chunk ? t->n_probes : i + chunk;
            probes_select(t->probes + i, t->n_probes - i, ready - i);
            probes_settle(s, i, ready);
            chunk *= 2;
        }
        const struct probe *p = &t->probes[i];
        if (i == 0) first = p->key;
        if (s->q->probes > 0 ? i >= s->q->probes : enough(s, first, p->key))
            break;
        float d2 = p->key;
        if (ix->metric == RABITQ_DOT)
            d2 = ix->query->norm2 + s->tree->norm2[p->at] + 2 * p->key;
        TRY(list_take(s, p, p->key, d2 > 0 ? d2 : 0));
        TRY(pool_read(s, IVF_LIKELY));
    }
    return pool_read(s, IVF_POSSIBLE);
}

enum tacit_err ivf_search(struct ivf *ix, const struct ivf_query *query,
                          struct ivf_hit *hits, size_t *n_hits,
                          struct ivf_work *work)
{
    struct search s = {.ix = ix, .q = query};
    if (query->k < 1 || query->k > IVF_K_MAX)
        return fail(TACIT_LIMIT, "k is %zu, want 1 to %d", query->k, IVF_K_MAX);
    TRY(ivf_fresh(ix));
    TRY(ivf_prepare(ix, query->v, NULL));
    rabitq_query_set(ix->query, ix->x);
    TRY(scratch_get(ix, query->k, &s.s));
    s.bound = ivf_tune[0];
    TRY(probes_start(&s));
    if (s.s->n_probes == 1) s.bound = 5;
    TRY(probes_run(&s));
    ivf_hits_sort(ix, s.s->hits, s.s->n_hits);
    memcpy(hits, s.s->hits, s.s->n_hits * sizeof *hits);
    *n_hits = s.s->n_hits;
    if (work != NULL) *work = s.work;
    return TACIT_OK;
}
