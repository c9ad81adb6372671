#include "common/tensor/vectorise.h"

#include <math.h>
#include <string.h>

#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops_seq.h"

struct attention {
    size_t steps, heads, width; /* T, heads, d / heads */
    float scale;
    float *p; /* [B, heads, T, T] softmax rows, zero after the diagonal */
    float *d; /* [T, T] scratch */
};

/* Where head h of sequence b begins in an array of rows [B T, cols]. */
static size_t head_at(const struct attention *a, size_t b, size_t h,
                      size_t cols)
{
    return b * a->steps * cols + h * a->width;
}

/* Turn scores [T, T] into weights, row by row. */
static void causal_softmax(const struct attention *a, float *p)
{
    size_t n = a->steps;
    for (size_t i = 0; i < n; i++) {
        float *row = p + i * n;
        map_scale(row, row, a->scale, i + 1);
        map_exp(row, row, map_max(row, i + 1), i + 1);
        map_scale(row, row, (float)(1 / map_sum(row, i + 1)), i + 1);
        memset(row + i + 1, 0, (n - i - 1) * sizeof *row);
    }
}

MANY_TARGETS
static void softmax_row_backward(float *d, const float *p, float along,
                                 float scale, size_t n)
{
    for (size_t i = 0; i < n; i++) d[i] = p[i] * (d[i] - along) * scale;
}

/* With S the scores: dS = P (dP - rowsum(dP P)) scale, dP = dout V^T;
 * dQ += dS K, dK += dS^T Q, dV += P^T dout. */
static void head_backward(const struct attention *a, const struct tape_node *n,
                          size_t b, size_t h)
{
    const struct var *x = n->in[0], *out = n->out;
    size_t t = a->steps, w = a->width, row = x->cols, d = out->cols;
    size_t at = head_at(a, b, h, row);
    const float *q = x->v + at, *k = q + d, *v = k + d;
    const float *p = a->p + (b * a->heads + h) * t * t;
    const float *g = out->grad + head_at(a, b, h, d);
    float *gq = x->grad + at, *gk = gq + d, *gv = gk + d, *s = a->d;
    gemm_run(&(struct gemm){t, t, w, g, d, 1, v, 1, row, s, t, GEMM_SET});
    for (size_t i = 0; i < t; i++)
        softmax_row_backward(s + i * t, p + i * t,
                             kernel_dot(s + i * t, p + i * t, i + 1), a->scale,
                             t);
    gemm_run(&(struct gemm){t, w, t, s, t, 1, k, row, 1, gq, row, GEMM_ADD});
    gemm_run(&(struct gemm){t, w, t, s, 1, t, q, row, 1, gk, row, GEMM_ADD});
    gemm_run(&(struct gemm){t, w, t, p, 1, t, g, d, 1, gv, row, GEMM_ADD});
}

static void attention_backward(const struct tape_node *n)
{
    const struct attention *a = n->extra;
    for (size_t b = 0; b < n->out->rows / a->steps; b++)
        for (size_t h = 0; h < a->heads; h++) head_backward(a, n, b, h);
}

struct var *op_attention(struct tape *t, struct var *qkv, size_t steps,
                         size_t heads)
{
    if (!qkv) return NULL;
    size_t d = qkv->cols / 3, row = qkv->cols;
    if (!steps || !heads || !d || qkv->cols % 3 || d % heads ||
        qkv->rows % steps)
        return tape_refuse(t, "attention", qkv, qkv);
    size_t n_heads = qkv->rows / steps * heads, n = steps, w = d / heads;
    struct var *out = tape_value(t, qkv->rows, d, qkv->grad != NULL);
    struct attention *a = tape_raw(t, 1, sizeof *a);
    float *p = tape_raw(t, n_heads * n * n, sizeof *p);
    float *s = tape_raw(t, n * n, sizeof *s);
    if (!out || !a || !p || !s) return NULL;
    *a = (struct attention){steps, heads, w, 1 / sqrtf((float)w), p, s};
    for (size_t i = 0; i < n_heads; i++, p += n * n) {
        const float *q = qkv->v + head_at(a, i / heads, i % heads, row);
        const float *k = q + d, *v = k + d;
        float *to = out->v + head_at(a, i / heads, i % heads, d);
        gemm_run(&(struct gemm){n, n, w, q, row, 1, k, 1, row, p, n, GEMM_SET});
        causal_softmax(a, p);
        gemm_run(&(struct gemm){n, w, n, p, n, 1, v, row, 1, to, d, GEMM_SET});
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {qkv},
                                       .extra = a,
                                       .backward = attention_backward});
    return out;
}
