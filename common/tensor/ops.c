#include "common/tensor/ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/tensor/kernels.h"

static struct var *wrong(struct tape *t, const char *op, const struct var *a,
                         const struct var *b)
{
    if (!t->err)
        t->err = fail(TACIT_SHAPE, "%s of %zux%zu and %zux%zu", op, a->rows,
                      a->cols, b->rows, b->cols);
    return NULL;
}

static size_t size(const struct var *x)
{
    return x->rows * x->cols;
}

/* out = x w;  dx += dout w^T, dw += x^T dout */
static void matmul_backward(const struct tape_node *n)
{
    struct var *x = n->in[0], *w = n->in[1], *out = n->out;
    if (x->grad)
        gemm_nt(x->grad, out->grad, w->v, x->rows, x->cols, out->cols,
                GEMM_ADD);
    if (w->grad)
        gemm_tn(w->grad, x->v, out->grad, w->rows, w->cols, x->rows, GEMM_ADD);
}

struct var *op_matmul(struct tape *t, struct var *x, struct var *w)
{
    if (!x || !w) return NULL;
    if (x->cols != w->rows) return wrong(t, "matmul", x, w);
    struct var *out = tape_value(t, x->rows, w->cols, x->grad || w->grad);
    if (!out) return NULL;
    gemm_nn(out->v, x->v, w->v, x->rows, w->cols, x->cols, GEMM_SET);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, w},
                                       .backward = matmul_backward});
    return out;
}

static void add_bias_backward(const struct tape_node *n)
{
    struct var *x = n->in[0], *b = n->in[1], *out = n->out;
    for (size_t r = 0; r < out->rows; r++) {
        const float *g = out->grad + r * out->cols;
        if (x->grad) kernel_axpy(x->grad + r * out->cols, 1, g, out->cols);
        if (b->grad) kernel_axpy(b->grad, 1, g, out->cols);
    }
}

struct var *op_add_bias(struct tape *t, struct var *x, struct var *b)
{
    if (!x || !b) return NULL;
    if (b->rows != 1 || b->cols != x->cols) return wrong(t, "add_bias", x, b);
    struct var *out = tape_value(t, x->rows, x->cols, x->grad || b->grad);
    if (!out) return NULL;
    for (size_t r = 0; r < x->rows; r++)
        for (size_t c = 0; c < x->cols; c++)
            out->v[r * x->cols + c] = x->v[r * x->cols + c] + b->v[c];
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, b},
                                       .backward = add_bias_backward});
    return out;
}

static void add_backward(const struct tape_node *n)
{
    for (int i = 0; i < 2; i++)
        if (n->in[i]->grad)
            kernel_axpy(n->in[i]->grad, 1, n->out->grad, size(n->out));
}

struct var *op_add(struct tape *t, struct var *x, struct var *y)
{
    if (!x || !y) return NULL;
    if (x->rows != y->rows || x->cols != y->cols) return wrong(t, "add", x, y);
    struct var *out = tape_value(t, x->rows, x->cols, x->grad || y->grad);
    if (!out) return NULL;
    for (size_t i = 0; i < size(x); i++) out->v[i] = x->v[i] + y->v[i];
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, y},
                                       .backward = add_backward});
    return out;
}

/* Elementwise functions: f(x), and f' from x and f(x). */
static struct var *elementwise(struct tape *t, struct var *x, float (*f)(float),
                               void (*backward)(const struct tape_node *))
{
    if (!x) return NULL;
    struct var *out = tape_value(t, x->rows, x->cols, x->grad != NULL);
    if (!out) return NULL;
    for (size_t i = 0; i < size(x); i++) out->v[i] = f(x->v[i]);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x},
                                       .backward = backward});
    return out;
}

static float relu(float x)
{
    return x > 0 ? x : 0;
}

static void relu_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0];
    for (size_t i = 0; i < size(x); i++)
        if (x->v[i] > 0) x->grad[i] += n->out->grad[i];
}

struct var *op_relu(struct tape *t, struct var *x)
{
    return elementwise(t, x, relu, relu_backward);
}

static void tanh_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0], *y = n->out;
    for (size_t i = 0; i < size(x); i++)
        x->grad[i] += y->grad[i] * (1 - y->v[i] * y->v[i]);
}

struct var *op_tanh(struct tape *t, struct var *x)
{
    return elementwise(t, x, tanhf, tanh_backward);
}

static float sigmoid(float x)
{
    return x >= 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x));
}

static void sigmoid_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0], *y = n->out;
    for (size_t i = 0; i < size(x); i++)
        x->grad[i] += y->grad[i] * y->v[i] * (1 - y->v[i]);
}

struct var *op_sigmoid(struct tape *t, struct var *x)
{
    return elementwise(t, x, sigmoid, sigmoid_backward);
}

static float gelu(float x)
{
    return 0.5f * x * (1 + erff(x * 0.70710678f));
}

static void gelu_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0];
    for (size_t i = 0; i < size(x); i++) {
        float v = x->v[i];
        float cdf = 0.5f * (1 + erff(v * 0.70710678f));
        float pdf = 0.39894228f * expf(-0.5f * v * v);
        x->grad[i] += n->out->grad[i] * (cdf + v * pdf);
    }
}

struct var *op_gelu(struct tape *t, struct var *x)
{
    return elementwise(t, x, gelu, gelu_backward);
}

/* y = x/|x|;  dx += (dy - y (y . dy)) / |x| */
static void normalise_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0], *y = n->out;
    const float *len = n->extra;
    for (size_t r = 0; r < x->rows; r++) {
        size_t at = r * x->cols;
        if (!(len[r] > 0)) continue;
        float along = kernel_dot(y->v + at, y->grad + at, x->cols);
        for (size_t c = 0; c < x->cols; c++)
            x->grad[at + c] +=
                (y->grad[at + c] - y->v[at + c] * along) / len[r];
    }
}

struct var *op_normalise(struct tape *t, struct var *x)
{
    if (!x) return NULL;
    struct var *out = tape_value(t, x->rows, x->cols, x->grad != NULL);
    float *len = tape_scratch(t, x->rows, sizeof *len);
    if (!out || !len) return NULL;
    memcpy(out->v, x->v, size(x) * sizeof *x->v);
    for (size_t r = 0; r < x->rows; r++)
        len[r] = kernel_normalise(out->v + r * x->cols, x->cols);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x},
                                       .extra = len,
                                       .backward = normalise_backward});
    return out;
}

static void embedding_bag_backward(const struct tape_node *n)
{
    const struct var *table = n->in[0], *out = n->out;
    const struct op_bags *b = n->extra;
    for (size_t r = 0; r < b->n_bags; r++)
        for (uint32_t i = b->start[r]; i < b->start[r + 1]; i++)
            kernel_axpy(table->grad + b->id[i] * table->cols, b->weight[i],
                        out->grad + r * out->cols, out->cols);
}

struct var *op_embedding_bag(struct tape *t, struct var *table,
                             const struct op_bags *bags)
{
    if (!table) return NULL;
    struct var *out =
        tape_value(t, bags->n_bags, table->cols, table->grad != NULL);
    struct op_bags *kept = tape_scratch(t, 1, sizeof *kept);
    if (!out || !kept) return NULL;
    *kept = *bags;
    for (size_t r = 0; r < bags->n_bags; r++)
        for (uint32_t i = bags->start[r]; i < bags->start[r + 1]; i++) {
            if (bags->id[i] >= table->rows) {
                t->err = fail(TACIT_SHAPE, "row %u of a table of %zu",
                              bags->id[i], table->rows);
                return NULL;
            }
            kernel_axpy(out->v + r * out->cols, bags->weight[i],
                        table->v + bags->id[i] * table->cols, out->cols);
        }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {table},
                                       .extra = kept,
                                       .backward = embedding_bag_backward});
    return out;
}

/* d/dz of mean bce = (sigmoid(z) - y) / B */
static void bce_backward(const struct tape_node *n)
{
    const struct var *z = n->in[0];
    const float *y = n->extra;
    float scale = n->out->grad[0] / (float)z->rows;
    for (size_t i = 0; i < z->rows; i++)
        z->grad[i] += (sigmoid(z->v[i]) - y[i]) * scale;
}

struct var *op_bce(struct tape *t, struct var *z, const float *y)
{
    if (!z) return NULL;
    if (z->cols != 1 || !z->rows) return wrong(t, "bce", z, z);
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
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
                                       .extra = y,
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
    if (z->cols != 1 || !z->rows) return wrong(t, "mse", z, z);
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

/* Row softmax of z into p; returns -log p[target]. */
static double softmax_row(const float *z, float *p, size_t n, size_t target)
{
    assert(target < n);
    float top = z[0], at_target = z[target]; /* p may be z */
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        if (z[i] > top) top = z[i];
    for (size_t i = 0; i < n; i++) {
        p[i] = expf(z[i] - top);
        sum += (double)p[i];
    }
    for (size_t i = 0; i < n; i++) p[i] = (float)((double)p[i] / sum);
    /* The largest adds exp(0) to sum. */
    /* cppcheck-suppress invalidFunctionArg */
    return log(sum) - (double)(at_target - top);
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
    for (size_t r = 0; r < z->rows; r++) {
        kernel_axpy(z->grad + r * z->cols, scale, e->p + r * z->cols, z->cols);
        z->grad[r * z->cols + e->y[r]] -= scale;
    }
}

struct var *op_softmax_ce(struct tape *t, struct var *z, const uint32_t *y)
{
    if (!z) return NULL;
    if (!z->rows) return wrong(t, "softmax_ce", z, z);
    struct var *out = tape_value(t, 1, 1, z->grad != NULL);
    struct softmax_extra *e = tape_scratch(t, 1, sizeof *e);
    float *p = tape_scratch(t, size(z), sizeof *p);
    if (!out || !e || !p) return NULL;
    *e = (struct softmax_extra){p, y};
    double sum = 0;
    for (size_t r = 0; r < z->rows; r++) {
        if (y[r] >= z->cols) {
            t->err = fail(TACIT_SHAPE, "class %u of %zu", y[r], z->cols);
            return NULL;
        }
        sum += softmax_row(z->v + r * z->cols, p + r * z->cols, z->cols, y[r]);
    }
    out->v[0] = (float)(sum / (double)z->rows);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {z},
                                       .extra = e,
                                       .backward = softmax_ce_backward});
    return out;
}

/* loss = mean_i -log softmax_i(q p^T / T)[i];  with S = (softmax - I) / (B T):
 * dq += S p, dp += S^T q */
static void contrastive_backward(const struct tape_node *n)
{
    struct var *q = n->in[0], *p = n->in[1];
    float *s = (float *)(uintptr_t)n->extra;
    size_t b = q->rows;
    float scale = n->out->grad[0] * n->scalar / (float)b;
    for (size_t i = 0; i < b; i++) {
        s[i * b + i] -= 1;
        for (size_t j = 0; j < b; j++) s[i * b + j] *= scale;
    }
    if (q->grad) gemm_nn(q->grad, s, p->v, b, q->cols, b, GEMM_ADD);
    if (p->grad) gemm_tn(p->grad, s, q->v, b, q->cols, b, GEMM_ADD);
}

struct var *op_contrastive(struct tape *t, struct var *q, struct var *p,
                           float temperature)
{
    if (!q || !p) return NULL;
    if (q->rows != p->rows || q->cols != p->cols || !q->rows)
        return wrong(t, "contrastive", q, p);
    size_t b = q->rows;
    struct var *out = tape_value(t, 1, 1, q->grad || p->grad);
    float *s = tape_scratch(t, b * b, sizeof *s);
    if (!out || !s) return NULL;
    double sum = 0;
    gemm_nt(s, q->v, p->v, b, b, q->cols, GEMM_SET);
    for (size_t i = 0; i < b * b; i++) s[i] /= temperature;
    for (size_t i = 0; i < b; i++)
        sum += softmax_row(s + i * b, s + i * b, b, i);
    out->v[0] = (float)(sum / (double)b);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {q, p},
                                       .extra = s,
                                       .scalar = 1 / temperature,
                                       .backward = contrastive_backward});
    return out;
}
