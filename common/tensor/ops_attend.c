#include "common/tensor/vectorise.h"

#include "common/tensor/ops_attend.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"

enum { TILE = ATTEND_TILE };

struct attend {
    struct op_attend how;
    const struct var *q, *k, *v, *out;
    size_t width;
    float *level; /* [T, heads] max + log sum of a row's scores; NULL: there
                     is no way back */
    enum gemm_numbers numbers;
};

/* Up to TILE rows of q that walk the keys together: tokens of one head, or, of
 * a single token, all heads that share the keys. */
struct rows {
    size_t n;
    const float *q;
    float *out, *level;
    size_t row, out_row, level_row; /* distance from row to row */
    size_t at, step; /* place of the first in its sequence; 0 or 1 */
};

/* A tile of keys: n from place `from` of the sequence. */
struct keys {
    size_t from, n;
    const float *k, *v;
    size_t row;
};

/* Rows and keys of a tile. Half of one on the diagonal is not seen by a causal
 * mask, so its tiles are smaller. */
static size_t tile_of(const struct op_attend *how)
{
    return how->mask == ATTEND_CAUSAL ? TILE / 2 : TILE;
}

/* Keys [lo, hi) that the row at place p sees. */
static void seen(const struct op_attend *how, size_t p, size_t total,
                 size_t *lo, size_t *hi)
{
    *hi = how->mask == ATTEND_CAUSAL ? p + 1 : total;
    *lo = how->window && p + 1 > how->window ? p + 1 - how->window : 0;
}

/* The same within a tile; 0 when it sees none of it. */
static int seen_in(const struct op_attend *how, size_t p, size_t total,
                   const struct keys *keys, size_t *lo, size_t *hi)
{
    seen(how, p, total, lo, hi);
    *lo = *lo > keys->from ? *lo - keys->from : 0;
    *hi = *hi > keys->from ? *hi - keys->from : 0;
    if (*hi > keys->n) *hi = keys->n;
    return *lo < *hi;
}

static void scores(const struct attend *a, const struct rows *r,
                   const struct keys *keys, float *s)
{
    gemm_run_in(a->numbers,
                &(struct gemm){r->n, keys->n, a->width, r->q, r->row, 1,
                               keys->k, 1, keys->row, s, TILE, GEMM_SET});
}

/* ---- forward ---- */

/* What a row has seen so far. */
struct running {
    float top[TILE], sum[TILE];
};

/* Scores of a row to weights against its new largest one (the scale is above
 * 0); what it summed up under the old one shrinks. */
static void weigh(const struct attend *a, const struct rows *r, size_t i,
                  float *s, size_t lo, size_t hi, struct running *run)
{
    float *row = s + lo, *out = r->out + i * r->out_row;
    size_t n = hi - lo;
    float before = run->top[i];
    float sum = map_soften(row, a->how.scale, &run->top[i], n);
    if (run->top[i] > before && run->sum[i] > 0) {
        float less = expf(before - run->top[i]);
        run->sum[i] *= less;
        map_scale(out, out, less, a->width);
    }
    run->sum[i] += sum;
}

/* mode: whether r->out has seen a tile before. */
static void take_tile(const struct attend *a, const struct rows *r,
                      const struct keys *keys, size_t total,
                      struct running *run, enum gemm_mode mode)
{
    float s[TILE * TILE];
    scores(a, r, keys, s);
    for (size_t i = 0; i < r->n; i++) {
        size_t lo, hi;
        float *row = s + i * TILE;
        if (!seen_in(&a->how, r->at + i * r->step, total, keys, &lo, &hi)) {
            memset(row, 0, keys->n * sizeof *row);
            continue;
        }
        weigh(a, r, i, row, lo, hi, run);
        memset(row, 0, lo * sizeof *row);
        memset(row + hi, 0, (keys->n - hi) * sizeof *row);
    }
    gemm_run_in(a->numbers,
                &(struct gemm){r->n, a->width, keys->n, s, TILE, 1, keys->v,
                               keys->row, 1, r->out, r->out_row, mode});
}

/* The next tile of a sequence: of its past, fetched into buffer, or its own. */
static struct keys next_keys(const struct attend *a, size_t segment,
                             size_t head, size_t from, size_t end,
                             float *buffer)
{
    static const struct attend_past none;
    const struct attend_past *past =
        a->how.past ? &a->how.past[segment] : &none;
    size_t n_past = past->n, w = a->width;
    struct keys keys = {.from = from, .n = end - from};
    if (keys.n > tile_of(&a->how)) keys.n = tile_of(&a->how);
    if (from < n_past) {
        if (keys.n > n_past - from) keys.n = n_past - from;
        past->fetch(past->ctx, head, from, keys.n, buffer, buffer + TILE * w);
        keys.k = buffer;
        keys.v = buffer + TILE * w;
        keys.row = w;
        return keys;
    }
    size_t at = (a->how.segments.start[segment] + from - n_past) * a->k->cols +
                head * w;
    keys.k = a->k->v + at;
    keys.v = a->v->v + at;
    keys.row = a->k->cols;
    return keys;
}

/* What is weighed is summed up in a place of its own: out may be in q's
 * memory. */
static void walk(const struct attend *a, const struct rows *rows,
                 size_t segment, size_t head, size_t total)
{
    float buffer[2 * TILE * ATTEND_WIDTH_MAX], out[TILE * ATTEND_WIDTH_MAX];
    struct rows own = *rows, *r = &own;
    struct running run;
    size_t from, end, unused;
    enum gemm_mode mode = GEMM_SET;
    r->out = out;
    r->out_row = a->width;
    seen(&a->how, r->at, total, &from, &unused);
    seen(&a->how, r->at + (r->n - 1) * r->step, total, &unused, &end);
    for (size_t i = 0; i < r->n; i++) {
        run.top[i] = -INFINITY;
        run.sum[i] = 0;
    }
    while (from < end) {
        struct keys keys = next_keys(a, segment, head, from, end, buffer);
        take_tile(a, r, &keys, total, &run, mode);
        from += keys.n;
        mode = GEMM_ADD;
    }
    for (size_t i = 0; i < r->n; i++) {
        map_scale(rows->out + i * r->row, out + i * a->width, 1 / run.sum[i],
                  a->width);
        if (r->level)
            r->level[i * r->level_row] = run.top[i] + logf(run.sum[i]);
    }
}

/* Rows from token `from` of a sequence on, for one head of q. */
static struct rows rows_of(const struct attend *a, size_t token, size_t head,
                           size_t n)
{
    size_t at = token * a->q->cols + head * a->width;
    return (struct rows){.n = n,
                         .q = a->q->v + at,
                         .out = a->out->v + at,
                         .level = a->level
                                      ? a->level + token * a->how.heads + head
                                      : NULL,
                         .row = a->q->cols,
                         .level_row = a->how.heads,
                         .step = 1};
}

/* One sequence and one head of k. */
static void forward_part(void *ctx, size_t index, unsigned worker)
{
    const struct attend *a = ctx;
    const struct op_attend *how = &a->how;
    size_t segment = index / how->kv_heads, head = index % how->kv_heads;
    size_t group = how->heads / how->kv_heads;
    size_t first = how->segments.start[segment];
    size_t n = how->segments.start[segment + 1] - first;
    size_t past = how->past ? how->past[segment].n : 0;
    size_t tile = tile_of(how);
    (void)worker;
    if (n == 1 && group <= TILE) {
        struct rows r = rows_of(a, first, head * group, group);
        r.row = a->width;
        r.level_row = 1;
        r.at = past;
        r.step = 0;
        walk(a, &r, segment, head, past + n);
        return;
    }
    for (size_t h = head * group; h < (head + 1) * group; h++)
        for (size_t i = 0; i < n; i += tile) {
            struct rows r =
                rows_of(a, first + i, h, n - i < tile ? n - i : tile);
            r.at = past + i;
            walk(a, &r, segment, head, past + n);
        }
}

/* ---- backward ---- */

/* The gradients of what one tile of rows and one of keys have to do with each
 * other: dV += P^T dO, dS = P (dO V^T - D) scale, dQ += dS K, dK += dS^T Q,
 * with D = rowsum(dO O). */
static void back_tile(const struct attend *a, const struct rows *r,
                      const struct keys *keys, size_t total, const float *d)
{
    float p[TILE * TILE], s[TILE * TILE];
    size_t w = a->width, m = r->n, n = keys->n, row = r->row, kr = keys->row;
    const float *g = a->out->grad + (r->out - a->out->v);
    assert(r->level); /* there is a way back */
    scores(a, r, keys, p);
    gemm_run_in(a->numbers, &(struct gemm){m, n, w, g, row, 1, keys->v, 1, kr,
                                           s, TILE, GEMM_SET});
    for (size_t i = 0; i < m; i++) {
        size_t lo = 0, hi = 0;
        float *pi = p + i * TILE, *si = s + i * TILE;
        if (!seen_in(&a->how, r->at + i, total, keys, &lo, &hi)) lo = hi = 0;
        map_softmax_slope(pi + lo, si + lo, a->how.scale,
                          r->level[i * r->level_row], d[i], hi - lo);
        memset(pi, 0, lo * sizeof *pi);
        memset(si, 0, lo * sizeof *si);
        memset(pi + hi, 0, (n - hi) * sizeof *pi);
        memset(si + hi, 0, (n - hi) * sizeof *si);
    }
    ptrdiff_t at = keys->k - a->k->v;
    float *gq = a->q->grad, *gk = a->k->grad, *gv = a->v->grad;
    if (gv)
        gemm_run_in(a->numbers, &(struct gemm){n, w, m, p, 1, TILE, g, row, 1,
                                               gv + at, kr, GEMM_ADD});
    if (gq)
        gemm_run_in(a->numbers,
                    &(struct gemm){m, w, n, s, TILE, 1, keys->k, kr, 1,
                                   gq + (r->q - a->q->v), row, GEMM_ADD});
    if (gk)
        gemm_run_in(a->numbers, &(struct gemm){n, w, m, s, 1, TILE, r->q, row,
                                               1, gk + at, kr, GEMM_ADD});
}

static void back_rows(const struct attend *a, const struct rows *r,
                      size_t segment, size_t head, size_t total)
{
    const float *g = a->out->grad + (r->out - a->out->v);
    size_t from, end, unused;
    float d[TILE];
    for (size_t i = 0; i < r->n; i++)
        d[i] = kernel_dot(g + i * r->row, r->out + i * r->row, a->width);
    seen(&a->how, r->at, total, &from, &unused);
    seen(&a->how, r->at + r->n - 1, total, &unused, &end);
    while (from < end) {
        struct keys keys = next_keys(a, segment, head, from, end, NULL);
        back_tile(a, r, &keys, total, d);
        from += keys.n;
    }
}

static void backward_part(void *ctx, size_t index, unsigned worker)
{
    const struct attend *a = ctx;
    const struct op_attend *how = &a->how;
    size_t segment = index / how->kv_heads, head = index % how->kv_heads;
    size_t group = how->heads / how->kv_heads;
    size_t first = how->segments.start[segment];
    size_t n = how->segments.start[segment + 1] - first;
    size_t tile = tile_of(how);
    (void)worker;
    for (size_t h = head * group; h < (head + 1) * group; h++)
        for (size_t i = 0; i < n; i += tile) {
            struct rows r =
                rows_of(a, first + i, h, n - i < tile ? n - i : tile);
            r.at = i;
            back_rows(a, &r, segment, head, n);
        }
}

struct attend_node {
    struct attend a;
    struct pool *pool;
};

static void attend_backward(const struct tape_node *n)
{
    const struct attend_node *e = n->extra;
    struct attend a = e->a;
    pool_run(e->pool, a.how.segments.n * a.how.kv_heads, backward_part, &a);
}

/* ---- the op ---- */

static int fits(const struct var *q, const struct var *k, const struct var *v,
                const struct op_attend *how)
{
    return how->heads && how->kv_heads && how->heads % how->kv_heads == 0 &&
           q->cols && q->cols % how->heads == 0 &&
           q->cols / how->heads <= ATTEND_WIDTH_MAX &&
           k->cols == q->cols / how->heads * how->kv_heads &&
           v->cols == k->cols && k->rows == q->rows && v->rows == q->rows &&
           op_segments_fit(&how->segments, q->rows);
}

/* Gradients of any of them. */
static int has_slopes(const struct var *q, const struct var *k,
                      const struct var *v)
{
    return q->grad || k->grad || v->grad;
}

/* To out, which may be in q's memory; NULL after an error. */
static struct var *attend(struct tape *t, struct var *q, struct var *k,
                          struct var *v, const struct op_attend *how,
                          struct var *out)
{
    int slopes = has_slopes(q, k, v);
    if (!t->err && slopes && how->past)
        t->err = fail(TACIT_STATE, "a gradient through cached keys");
    if (!t->err && how->window && how->mask != ATTEND_CAUSAL)
        t->err = fail(TACIT_STATE, "a window of attention to both sides");
    struct attend_node *e = tape_raw(t, 1, sizeof *e);
    float *level = NULL;
    if (slopes) level = tape_raw(t, q->rows * how->heads, sizeof *level);
    if (t->err) return NULL;
    *e = (struct attend_node){{*how, q, k, v, out, q->cols / how->heads, level,
                               slopes ? t->numbers : GEMM_F32},
                              t->pool};
    pool_run(t->pool, how->segments.n * how->kv_heads, forward_part, &e->a);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {q, k, v},
                                       .extra = e,
                                       .backward = attend_backward});
    return out;
}

struct var *op_attend(struct tape *t, struct var *q, struct var *k,
                      struct var *v, const struct op_attend *how)
{
    if (!q || !k || !v) return NULL;
    if (!fits(q, k, v, how)) return tape_refuse(t, "attention", q, k);
    return attend(t, q, k, v, how,
                  tape_value(t, q->rows, q->cols, has_slopes(q, k, v)));
}

struct var *op_attend_over(struct tape *t, struct var *q, struct var *k,
                           struct var *v, const struct op_attend *how)
{
    if (!q || !k || !v || has_slopes(q, k, v) || !fits(q, k, v, how))
        return op_attend(t, q, k, v, how);
    return attend(t, q, k, v, how, tape_value_over(t, q, 0));
}
