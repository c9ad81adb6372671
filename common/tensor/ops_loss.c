#include "common/tensor/vectorise.h"

#include "common/tensor/ops.h"

#include <assert.h>
#include <math.h>

#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops_block.h"

struct loss_extra {
    const float *y;
    float *p; /* what backward needs of the forward pass */
};

/* The [1, 1] mean over z's rows, with p [n_kept] kept for backward. */
static struct var *begin(struct tape *t, const struct var *z, const float *y,
                         size_t n_kept, struct loss_extra **extra)
{
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
    struct loss_extra *e = tape_raw(t, 1, sizeof *e);
    float *p = tape_raw(t, n_kept, sizeof *p);
    if (!out || !e || !p) return NULL;
    *e = (struct loss_extra){y, p};
    *extra = e;
    return out;
}

/* d/dz of mean bce = (sigmoid(z) - y) / B */
static void bce_backward(const struct tape_node *n)
{
    const struct var *z = n->in[0];
    const struct loss_extra *e = n->extra;
    float scale = n->out->grad[0] / (float)z->rows;
    map_sigmoid(e->p, z->v, z->rows);
    for (size_t i = 0; i < z->rows; i++)
        z->grad[i] += (e->p[i] - e->y[i]) * scale;
}

struct var *op_bce(struct tape *t, struct var *z, const float *y)
{
    if (!z) return NULL;
    if (z->cols != 1 || !z->rows) return tape_refuse(t, "bce", z, z);
    struct loss_extra *e = NULL;
    struct var *out = begin(t, z, y, z->rows, &e);
    if (!out) return NULL;
    double sum = 0;
    for (size_t i = 0; i < z->rows; i++) {
        double v = (double)z->v[i];
        /* log(1 + e^-|v|) + max(v, 0) - v y: never overflows. */
        sum += log1p(exp(-fabs(v))) + (v > 0 ? v : 0) - v * (double)y[i];
    }
    out->v[0] = (float)(sum / (double)z->rows);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {z},
                                       .extra = e,
                                       .backward = bce_backward});
    return out;
}

static void mse_backward(const struct tape_node *n)
{
    const struct var *z = n->in[0];
    const float *y = n->extra;
    float scale = 2 * n->out->grad[0] / (float)z->rows;
    for (size_t i = 0; i < z->rows; i++) z->grad[i] += (z->v[i] - y[i]) * scale;
}

struct var *op_mse(struct tape *t, struct var *z, const float *y)
{
    if (!z) return NULL;
    if (z->cols != 1 || !z->rows) return tape_refuse(t, "mse", z, z);
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
    if (!out) return NULL;
    double sum = 0;
    for (size_t i = 0; i < z->rows; i++) {
        double d = (double)z->v[i] - (double)y[i];
        sum += d * d;
    }
    out->v[0] = (float)(sum / (double)z->rows);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {z},
                                       .extra = y,
                                       .backward = mse_backward});
    return out;
}

/* Of rows shorter than a vector, without the call: the same bits. */
enum { SHORT = 16 };

static inline float top_of(const float *z, size_t n)
{
    float top = z[0];
    if (n >= SHORT) return map_max(z, n);
    for (size_t i = 1; i < n; i++) top = z[i] > top ? z[i] : top;
    return top;
}

static inline double sum_of(const float *p, size_t n)
{
    double sum = 0;
    if (n >= SHORT) return map_sum(p, n);
    for (size_t i = 0; i < n; i++) sum += (double)p[i];
    return sum;
}

/* Softmax of every row of z [rows, n] into p, which may be z; returns the sum
 * of -log p[r, target[r]], NULL: target[r] = r. Exponents are taken of all rows
 * in one go: a row may be much shorter than a vector. */
static double softmax_rows(const float *z, float *p, size_t rows, size_t n,
                           const uint32_t *target)
{
    double loss = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t at = r * n, wanted = at + (target ? target[r] : r);
        float top = top_of(z + at, n);
        assert(wanted < at + n);
        for (size_t i = at; i < at + n; i++) p[i] = z[i] - top;
        loss -= (double)p[wanted];
    }
    map_exp(p, p, 0, rows * n);
    for (size_t r = 0; r < rows; r++) {
        double sum = sum_of(p + r * n, n);
        float part = (float)(1 / sum);
        for (size_t i = r * n; i < (r + 1) * n; i++) p[i] *= part;
        /* The largest adds exp(0) to sum. */
        /* cppcheck-suppress invalidFunctionArg */
        loss += log(sum);
    }
    return loss;
}

struct softmax_extra {
    float *p; /* [B, n] */
    const uint32_t *y;
};

static void softmax_ce_backward(const struct tape_node *n)
{
    const struct var *z = n->in[0];
    const struct softmax_extra *e = n->extra;
    float scale = n->out->grad[0] / (float)z->rows;
    kernel_axpy(z->grad, scale, e->p, z->rows * z->cols);
    for (size_t r = 0; r < z->rows; r++)
        z->grad[r * z->cols + e->y[r]] -= scale;
}

struct var *op_softmax_ce(struct tape *t, struct var *z, const uint32_t *y)
{
    if (!z) return NULL;
    if (!z->rows) return tape_refuse(t, "softmax_ce", z, z);
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
    struct softmax_extra *e = tape_raw(t, 1, sizeof *e);
    float *p = tape_raw(t, z->rows * z->cols, sizeof *p);
    if (!out || !e || !p) return NULL;
    *e = (struct softmax_extra){p, y};
    for (size_t r = 0; r < z->rows; r++) {
        if (y[r] < z->cols) continue;
        t->err = fail(TACIT_SHAPE, "class %u of %zu", y[r], z->cols);
        return NULL;
    }
    double sum = softmax_rows(z->v, p, z->rows, z->cols, y);
    out->v[0] = (float)(sum / (double)z->rows);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {z},
                                       .extra = e,
                                       .backward = softmax_ce_backward});
    return out;
}

/* ---- Cox: log space throughout, so that no hazard overflows ---- */

struct cox_extra {
    const float *time, *event;
    uint32_t *order; /* [B] by falling time */
    double *risk;    /* [B] log sum exp over the risk set of row order[i] */
    double n_events;
};

/* log(exp a + exp b) */
static double log_add(double a, double b)
{
    if (b > a) return log_add(b, a);
    return a == -HUGE_VAL ? a : a + log1p(exp(b - a));
}

/* Does row a stand behind row b: at an earlier time, or later among equals? */
static int behind(const float *time, uint32_t a, uint32_t b)
{
    return time[a] < time[b] || (a > b && time[a] <= time[b]);
}

static void sift(const float *time, uint32_t *heap, size_t at, size_t n)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && behind(time, heap[child + 1], heap[child]))
            child++;
        if (!behind(time, heap[child], heap[at])) return;
        uint32_t moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

/* Heap sort: in place, and no input is a slow one. */
static void sort_by_falling_time(const float *time, uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;) sift(time, order, i, n);
    for (size_t left = n; left > 1; left--) {
        uint32_t last = order[0];
        order[0] = order[left - 1];
        order[left - 1] = last;
        sift(time, order, 0, left - 1);
    }
}

/* dz_j = (exp(z_j) sum_{i: event, time_i <= time_j} 1 / exp(risk_i) - event_j)
 * / E, from the earliest time on. */
static void cox_backward(const struct tape_node *node)
{
    const struct var *z = node->in[0];
    const struct cox_extra *e = node->extra;
    double scale = (double)node->out->grad[0], sum = -HUGE_VAL;
    if (e->n_events > 0) scale /= e->n_events;
    for (size_t end = z->rows, i; end > 0; end = i) {
        const float now = e->time[e->order[end - 1]];
        for (i = end; i > 0 && e->time[e->order[i - 1]] <= now; i--)
            if (e->event[e->order[i - 1]] > 0.5f)
                sum = log_add(sum, -e->risk[i - 1]);
        for (size_t k = i; k < end; k++) {
            uint32_t row = e->order[k];
            double g = exp((double)z->v[row] + sum);
            if (e->event[row] > 0.5f) g -= 1;
            z->grad[row] += (float)(g * scale);
        }
    }
}

/* Risk sets from the latest time on; returns the sum over events. */
static double cox_sum(const struct var *z, struct cox_extra *e)
{
    double sum = 0, risk = -HUGE_VAL;
    for (size_t from = 0, i; from < z->rows; from = i) {
        const float now = e->time[e->order[from]];
        for (i = from; i < z->rows && e->time[e->order[i]] >= now; i++)
            risk = log_add(risk, (double)z->v[e->order[i]]);
        for (size_t k = from; k < i; k++) {
            e->risk[k] = risk;
            if (!(e->event[e->order[k]] > 0.5f)) continue;
            sum += risk - (double)z->v[e->order[k]];
            e->n_events++;
        }
    }
    return sum;
}

struct var *op_cox(struct tape *t, struct var *z, const float *time,
                   const float *event)
{
    if (!z) return NULL;
    if (z->cols != 1 || !z->rows || z->rows > UINT32_MAX)
        return tape_refuse(t, "cox", z, z);
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
    struct cox_extra *e = tape_raw(t, 1, sizeof *e);
    uint32_t *order = tape_raw(t, z->rows, sizeof *order);
    double *risk = tape_raw(t, z->rows, sizeof *risk);
    if (!out || !e || !order || !risk) return NULL;
    if (!map_finite(time, z->rows)) {
        t->err = fail(TACIT_SHAPE, "cox: a time is not a number");
        return NULL;
    }
    *e = (struct cox_extra){time, event, order, risk, 0};
    sort_by_falling_time(time, order, z->rows);
    double sum = cox_sum(z, e);
    out->v[0] = (float)(e->n_events > 0 ? sum / e->n_events : 0);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {z},
                                       .extra = e,
                                       .backward = cox_backward});
    return out;
}

/* loss = mean_i -log softmax_i(q p^T / T)[i];  with S = (softmax - I) / (B T):
 * dq += S p, dp += S^T q */
static void contrastive_backward(const struct tape_node *n)
{
    struct var *q = n->in[0], *p = n->in[1];
    float *s = (float *)(uintptr_t)n->extra;
    size_t b = q->rows, m = p->rows;
    float scale = n->out->grad[0] * n->scalar / (float)b;
    for (size_t i = 0; i < b; i++) {
        s[i * m + i] -= 1;
        for (size_t j = 0; j < m; j++) s[i * m + j] *= scale;
    }
    if (q->grad) gemm_nn(q->grad, s, p->v, b, q->cols, m, GEMM_ADD);
    if (p->grad) gemm_tn(p->grad, s, q->v, m, q->cols, b, GEMM_ADD);
}

struct var *op_contrastive(struct tape *t, struct var *q, struct var *p,
                           float temperature)
{
    if (!q || !p) return NULL;
    if (q->rows > p->rows || q->cols != p->cols || !q->rows)
        return tape_refuse(t, "contrastive", q, p);
    size_t b = q->rows, m = p->rows;
    struct var *out = tape_value(t, 1, 1, q->grad || p->grad);
    float *s = tape_scratch(t, b * m, sizeof *s);
    if (!out || !s) return NULL;
    gemm_nt(s, q->v, p->v, b, m, q->cols, GEMM_SET);
    for (size_t i = 0; i < b * m; i++) s[i] /= temperature;
    out->v[0] = (float)(softmax_rows(s, s, b, m, NULL) / (double)b);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {q, p},
                                       .extra = s,
                                       .scalar = 1 / temperature,
                                       .backward = contrastive_backward});
    return out;
}

/* ---- spans ---- */

struct span_extra {
    const struct op_segments *segments;
    const uint32_t *span; /* [n, 2] */
    float *p;             /* [T, 2] softmax over the rows of a sequence */
};

/* dz = (p - [row is the wanted one]) / (2 n) */
static void span_backward(const struct tape_node *n)
{
    const struct span_extra *e = n->extra;
    struct var *z = n->in[0];
    const struct op_segments *s = e->segments;
    float scale = n->out->grad[0] / (float)(2 * s->n);
    for (size_t i = 0; i < s->n; i++)
        for (size_t side = 0; side < 2; side++) {
            size_t from = s->start[i], wanted = from + e->span[2 * i + side];
            for (size_t r = from; r < s->start[i + 1]; r++)
                z->grad[2 * r + side] +=
                    scale * (e->p[2 * r + side] - (r == wanted ? 1.0f : 0.0f));
        }
}

/* -log softmax of one side of one sequence at `wanted`; p gets the softmax. */
static double span_side(const float *z, float *p, size_t n, size_t wanted)
{
    size_t best = 0;
    double sum = 1; /* of the best itself */
    for (size_t r = 1; r < n; r++) best = z[2 * r] > z[2 * best] ? r : best;
    float top = z[2 * best];
    for (size_t r = 0; r < n; r++) {
        p[2 * r] = expf(z[2 * r] - top);
        if (r != best) sum += (double)p[2 * r];
    }
    for (size_t r = 0; r < n; r++) p[2 * r] = (float)((double)p[2 * r] / sum);
    return log(sum) + (double)top - (double)z[2 * wanted];
}

struct var *op_span(struct tape *t, struct var *z, const struct op_segments *s,
                    const uint32_t *span)
{
    if (!z) return NULL;
    if (z->cols != 2 || !op_segments_fit(s, z->rows))
        return tape_refuse(t, "span", z, z);
    for (size_t i = 0; i < 2 * s->n; i++)
        if (span[i] >= s->start[i / 2 + 1] - s->start[i / 2])
            return tape_refuse(t, "span", z, z);
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
    struct span_extra *e = tape_raw(t, 1, sizeof *e);
    float *p = tape_raw(t, z->rows * 2, sizeof *p);
    double loss = 0;
    if (!out || !e || !p) return NULL;
    *e = (struct span_extra){s, span, p};
    for (size_t i = 0; i < 2 * s->n; i++) {
        size_t at = 2 * s->start[i / 2] + i % 2;
        loss += span_side(z->v + at, p + at,
                          s->start[i / 2 + 1] - s->start[i / 2], span[i]);
    }
    out->v[0] = (float)(loss / (double)(2 * s->n));
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {z},
                                       .extra = e,
                                       .backward = span_backward});
    return out;
}

/* ---- imitation ---------------------------------------------------------- */

struct imitation {
    const float *y; /* [B, n], borrowed */
    float *apart;   /* [B, B]: s_i . s_j - y_i . y_j, symmetric */
    float share;
};

/* ds = -y / B + 4 share / B^2 apart s */
static void imitate_backward(const struct tape_node *node)
{
    struct var *s = node->in[0];
    const struct imitation *im = node->extra;
    size_t b = s->rows;
    float g = node->out->grad[0], scale = 4 * g * im->share / (float)(b * b);
    kernel_axpy(s->grad, -g / (float)b, im->y, b * s->cols);
    for (size_t i = 0; i < b * b; i++) im->apart[i] *= scale;
    gemm_nn(s->grad, im->apart, s->v, b, s->cols, b, GEMM_ADD);
}

struct var *op_imitate(struct tape *t, struct var *s, const float *y,
                       float share)
{
    if (!s) return NULL;
    if (!s->rows) return tape_refuse(t, "imitate", s, s);
    size_t b = s->rows;
    struct var *out = tape_value(t, 1, 1, s->grad != NULL);
    struct imitation *im = tape_scratch(t, 1, sizeof *im);
    float *apart = tape_raw(t, b * b, sizeof *apart);
    float *wanted = tape_raw(t, b * b, sizeof *wanted);
    if (!out || !im || !apart || !wanted) return NULL;
    gemm_nt(apart, s->v, s->v, b, b, s->cols, GEMM_SET);
    gemm_nt(wanted, y, y, b, b, s->cols, GEMM_SET);
    double cosines = 0, squares = 0;
    for (size_t i = 0; i < b; i++)
        cosines += kernel_dot(s->v + i * s->cols, y + i * s->cols, s->cols);
    for (size_t i = 0; i < b * b; i++) {
        apart[i] -= wanted[i];
        squares += (double)apart[i] * apart[i];
    }
    *im = (struct imitation){y, apart, share};
    out->v[0] = (float)(1 - cosines / (double)b +
                        (double)share * squares / (double)(b * b));
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {s},
                                       .extra = im,
                                       .backward = imitate_backward});
    return out;
}
