#include "retrieval/ivf_searcher.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"

enum {
    POOL_MIN = 8192,
    BATCH = 16, /* rows between two looks at the k-th best, at first */
    BATCH_LAST = 64,
    BATCH_MAX = 512
};

enum reach { LIKELY, POSSIBLE };

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

enum tacit_err ivf_scratch_get(struct ivf *ix, size_t k,
                               struct ivf_scratch **out)
{
    if (ix->scratch == NULL) ix->scratch = calloc(1, sizeof *ix->scratch);
    struct ivf_scratch *s = ix->scratch;
    if (s == NULL) return fail(TACIT_NOMEM, "no memory for a search");
    if (s->room_hits < k) {
        size_t room_pool = POOL_MIN + 4 * k;
        struct ivf_hit *hits = realloc(s->hits, k * sizeof *hits);
        if (hits != NULL) s->hits = hits;
        struct ivf_candidate *pool = realloc(s->pool, room_pool * sizeof *pool);
        if (pool != NULL) s->pool = pool;
        struct ivf_candidate *likely =
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

/* Keep the k best by (distance, id) in the heap h. */
static void hits_add(struct ivf_hit *h, size_t *n, size_t k, int64_t id,
                     float d2)
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
float ivf_limit(const struct ivf_searcher *s)
{
    return s->s->n_hits == s->q->k ? s->s->hits[0].distance : INFINITY;
}

/* ---- rows ---------------------------------------------------------------- */

static int place_compare(const void *a, const void *b)
{
    const struct ivf_candidate *x = a, *y = b;
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
static enum tacit_err row_get(struct ivf_searcher *s,
                              const struct ivf_candidate *c,
                              const uint8_t **row)
{
    struct ivf *ix = s->ix;
    size_t n = ix->shape.rows_max;
    uint32_t seg = c->slot / (uint32_t)n;
    if (c->slot == IVF_NO_SLOT) {
        bool found = false;
        uint32_t place[2];
        s->rows = NULL;
        TRY(ix->store->place_read(ix->store->ctx, c->id, &found, place));
        if (!found) return IVF_DAMAGED("a copy has no place");
        return ivf_row_find(ix, place[0], c->id, row);
    }
    const int64_t *id = c->is_named ? &c->id : NULL;
    if (ix->store->seg_part != NULL)
        return ivf_row_part(ix, c->list, c->slot, id, row);
    if (s->rows == NULL || s->rows_list != c->list || s->rows_seg != seg) {
        s->rows = NULL;
        TRY(ivf_rows_read(ix, c->list, seg, &s->rows));
        s->rows_list = c->list;
        s->rows_seg = seg;
    }
    return ivf_rows_row(ix, c->list, s->rows, c->slot % n, id, row);
}

enum tacit_err ivf_candidate_read(struct ivf_searcher *s,
                                  const struct ivf_candidate *c)
{
    const struct ivf_filter *f = s->q->filter;
    struct ivf *ix = s->ix;
    const uint8_t *row;
    bool keep = true;
    float d2;
    if (c->slot == IVF_NO_SLOT && hit_already(s->s, c->id)) return TACIT_OK;
    if (f != NULL && f->verify != NULL) {
        int64_t id = c->id;
        if (!c->is_named) {
            TRY(row_get(s, c, &row));
            id = ivf_i64(row);
        }
        s->rows = NULL; /* it may read the store, too */
        TRY(f->verify(f->arg, id, &keep));
        s->asked++;
        s->kept += keep;
    }
    if (!keep) return TACIT_OK;
    TRY(row_get(s, c, &row));
    s->work.rows++;
    TRY(ivf_row_d2(ix, row, &d2));
    hits_add(s->s->hits, &s->s->n_hits, s->q->k, ivf_i64(row), d2);
    return TACIT_OK;
}

int ivf_candidate_compare(const void *a, const void *b)
{
    const struct ivf_candidate *x = a, *y = b;
    if (x->estimate != y->estimate) return x->estimate < y->estimate ? -1 : 1;
    return place_compare(a, b);
}

/* Tell the store of the rows that are read next: of sorted candidates. */
static void rows_expect(struct ivf_searcher *s, const struct ivf_candidate *c,
                        size_t n)
{
    const struct ivf *ix = s->ix;
    struct ivf_span spans[IVF_SPANS_MAX];
    size_t some = 0;
    for (size_t i = 0; i < n && some < IVF_SPANS_MAX; i++) {
        uint32_t seg = c[i].slot / (uint32_t)ix->shape.rows_max;
        uint32_t list = ivf_rows_of(c[i].list);
        if (c[i].slot == IVF_NO_SLOT) continue;
        if (some > 0 && spans[some - 1].list == list &&
            spans[some - 1].last == seg)
            continue;
        spans[some++] = (struct ivf_span){list, seg, seg};
    }
    if (some > 1) ix->store->expect(ix->store->ctx, spans, some);
}

/* Read the rows of sorted candidates batch by batch, each in the order in which
 * rows lie, as long as they may be among the best: by their lower bound, or,
 * where only likely ones are wanted, by their estimate. *done: how many were
 * dealt with. */
static enum tacit_err sorted_read(struct ivf_searcher *s,
                                  const struct ivf_candidate *c, size_t n,
                                  enum reach reach, size_t *done)
{
    struct ivf_scratch *t = s->s;
    struct ivf_candidate batch[BATCH_MAX];
    size_t i = 0, step = isinf(s->bound) ? BATCH_MAX : BATCH;
    s->rows = NULL;
    while (i < n) {
        size_t some = 0, want = step;
        float best = ivf_limit(s);
        if (reach == LIKELY && c[i].estimate >= best) break;
        if (t->n_hits + want < s->q->k) want = s->q->k - t->n_hits;
        if (want > BATCH_MAX) want = BATCH_MAX;
        /* what is left becomes ever less likely: look less often, but read
         * rows that lie together at once */
        if (reach == POSSIBLE && step < BATCH_LAST) step *= 2;
        for (; i < n && some < want; i++)
            if (c[i].lower < best) batch[some++] = c[i];
        qsort(batch, some, sizeof *batch, place_compare);
        if (s->expects) rows_expect(s, batch, some);
        for (size_t k = 0; k < some; k++) TRY(ivf_candidate_read(s, &batch[k]));
    }
    *done = i;
    return TACIT_OK;
}

/* Drop what cannot be among the best any more. */
static void pool_prune(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    float best = ivf_limit(s);
    size_t n = 0;
    for (size_t i = 0; i < t->n_pool; i++)
        if (t->pool[i].lower < best) t->pool[n++] = t->pool[i];
    t->n_pool = n;
    t->n_judged = 0;
}

void ivf_candidates_select(struct ivf_candidate *c, size_t n, size_t want)
{
    size_t low = 0, high = n; /* the border is inside */
    while (low < want && want < high) {
        float pivot = c[low + (high - low) / 2].estimate;
        size_t i = low, j = low,
               k = high; /* < i: less; < j: equal; >= k: more */
        while (j < k) {
            struct ivf_candidate t = c[j];
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
enum tacit_err ivf_likely_read(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    struct ivf_candidate *c = t->likely;
    size_t n = t->n_judged, n_likely = t->n_pool - n;
    memcpy(c, t->pool + n, n_likely * sizeof *c);
    while (n_likely > 0) {
        size_t want = BATCH, rest = 0, done;
        if (t->n_hits + want < s->q->k) want = s->q->k - t->n_hits;
        if (want > n_likely) want = n_likely;
        ivf_candidates_select(c, n_likely, want);
        qsort(c, want, sizeof *c, ivf_candidate_compare);
        TRY(sorted_read(s, c, want, LIKELY, &done));
        float best = ivf_limit(s);
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
enum tacit_err ivf_possible_read(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    size_t done;
    pool_prune(s);
    qsort(t->pool, t->n_pool, sizeof *t->pool, ivf_candidate_compare);
    TRY(sorted_read(s, t->pool, t->n_pool, POSSIBLE, &done));
    t->n_pool = 0;
    return TACIT_OK;
}

/* The pool is full while a list is read: the better half stays of what may be
 * among the best. */
void ivf_pool_halve(struct ivf_searcher *s)
{
    struct ivf_scratch *t = s->s;
    if (!s->learns) pool_prune(s);
    if (t->n_pool < t->room_pool / 2) return;
    qsort(t->pool, t->n_pool, sizeof *t->pool, ivf_candidate_compare);
    t->n_pool /= 2;
}
