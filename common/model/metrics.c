#include "common/model/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "common/model/reader_text.h"
#include "common/tensor/kernels.h"

enum { RECALL_K = 5 };

size_t metrics_argmax(const float *z, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

float metrics_place(const struct examples *ex, size_t r, const float *q)
{
    const float *pool = ex->pool ? ex->pool : ex->p;
    size_t n = ex->pool ? ex->n_pool : ex->n_rows, n_before = 0;
    float best = -INFINITY;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            int answers =
                ex->pool ? ex->pool_group[i] == ex->row_group[r] : i == r;
            if (answers == pass) continue;
            float s = kernel_dot(q, pool + i * ex->x_dim, ex->x_dim);
            if (answers)
                best = s > best ? s : best;
            else
                n_before += s >= best;
        }
    }
    return best > -INFINITY ? (float)n_before + 1 : INFINITY;
}

/* Classes or tokens predicted right. */
static size_t hits(const struct var *out, const uint32_t *want)
{
    size_t n = 0;
    for (size_t i = 0; i < out->rows; i++)
        n += metrics_argmax(out->v + i * out->cols, out->cols) == want[i];
    return n;
}

int metrics_best_span(const float *z, size_t n, size_t longest, size_t *first,
                      size_t *last)
{
    float best = -INFINITY;
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k < n && k < i + longest; k++)
            if (z[2 * i] + z[2 * k + 1] > best) {
                best = z[2 * i] + z[2 * k + 1];
                *first = i;
                *last = k;
            }
    return best > z[0] + z[1];
}

/* Spans that are exact, and texts without one that say so. */
static double exact_spans(const struct batch_texts *b, size_t n, const float *z)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t from = b->start[i], first = 0, last = 0;
        const uint32_t *want = b->span + 2 * i;
        if (!metrics_best_span(z + 2 * from, b->start[i + 1] - from,
                               READER_ANSWER_MAX, &first, &last))
            first = last = 0;
        sum += first == want[0] && last == want[1];
    }
    return sum;
}

double metrics_sum(const struct model_spec *s, const struct examples *ex,
                   size_t first, const struct batch *b, const struct var *out)
{
    double sum = 0;
    if (s->task == MODEL_LM)
        return (double)hits(out, b->class) / (double)s->seq;
    if (s->task == MODEL_READER) return exact_spans(&b->texts, b->n, out->v);
    if (b->class) return (double)hits(out, b->class);
    for (size_t i = 0; i < b->n; i++) {
        const float *z = out->v + i * out->cols;
        if (s->task == MODEL_RETRIEVER) {
            sum += metrics_place(ex, first + i, z) <= RECALL_K;
            continue;
        }
        double off = (double)z[0] - (double)b->y[i];
        if (s->task == MODEL_REGRESS)
            sum += off * off;
        else
            sum += (z[0] > 0) == (b->y[i] > 0.5f);
    }
    return sum;
}

/* ---- c-index ---- */

struct subject {
    float risk, time, event;
    uint32_t rank; /* of the risk, from 1; equal risks share one */
};

static int by_risk(const void *a, const void *b)
{
    const struct subject *x = a, *y = b;
    return (x->risk > y->risk) - (x->risk < y->risk);
}

/* Latest first; at the same time the censored first: they outlive the event. */
static int by_falling_time(const void *a, const void *b)
{
    const struct subject *x = a, *y = b;
    int order = (x->time < y->time) - (x->time > y->time);
    return order ? order : (x->event > y->event) - (x->event < y->event);
}

/* A Fenwick tree counts those still there, by rank. */
static void count_in(uint32_t *tree, size_t n, size_t rank)
{
    for (; rank <= n; rank += rank & -rank) tree[rank]++;
}

static uint64_t count_to(const uint32_t *tree, size_t rank)
{
    uint64_t sum = 0;
    for (; rank; rank -= rank & -rank) sum += tree[rank];
    return sum;
}

static double concordance(struct subject *s, size_t n, uint32_t *tree)
{
    uint64_t pairs = 0, twice = 0, there = 0;
    qsort(s, n, sizeof *s, by_risk);
    for (size_t i = 0; i < n; i++)
        s[i].rank =
            i && s[i].risk <= s[i - 1].risk ? s[i - 1].rank : (uint32_t)i + 1;
    qsort(s, n, sizeof *s, by_falling_time);
    for (size_t i = 0, end; i < n; i = end) {
        /* Those of one time and kind are no pairs among themselves. */
        for (end = i; end < n && by_falling_time(&s[i], &s[end]) == 0; end++) {
            if (!(s[end].event > 0.5f)) continue;
            uint64_t lower = count_to(tree, s[end].rank - 1u);
            uint64_t equal = count_to(tree, s[end].rank) - lower;
            pairs += there;
            twice += 2 * lower + equal;
        }
        for (size_t k = i; k < end; k++) count_in(tree, n, s[k].rank);
        there += end - i;
    }
    return pairs ? (double)twice / 2 / (double)pairs : 0.5;
}

enum tacit_err metrics_c_index(const float *risk, const float *time,
                               const float *event, size_t n, double *out)
{
    struct subject *s = malloc((n ? n : 1) * sizeof *s);
    uint32_t *tree = calloc(n + 1, sizeof *tree);
    enum tacit_err err = TACIT_OK;
    if (!s || !tree) {
        err = fail(TACIT_NOMEM, "no memory to rank %zu rows", n);
    } else {
        for (size_t i = 0; i < n; i++)
            s[i] = (struct subject){risk[i], time[i], event[i], 0};
        *out = concordance(s, n, tree);
    }
    free(s);
    free(tree);
    return err;
}
