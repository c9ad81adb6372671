#include "common/tensor/ops.h"

#include <string.h>

#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"

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
    if (x->cols != w->rows) return tape_refuse(t, "matmul", x, w);
    struct var *out = tape_value(t, x->rows, w->cols, x->grad || w->grad);
    if (!out) return NULL;
    gemm_nn(out->v, x->v, w->v, x->rows, w->cols, x->cols, GEMM_SET);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, w},
                                       .backward = matmul_backward});
    return out;
}

static void linear_backward(const struct tape_node *n)
{
    const struct var *b = n->in[2], *out = n->out;
    matmul_backward(n);
    if (b->grad) map_add_rows(b->grad, out->grad, out->rows, out->cols);
}

struct var *op_linear(struct tape *t, struct var *x, struct var *w,
                      struct var *b)
{
    if (!x || !w || !b) return NULL;
    if (x->cols != w->rows) return tape_refuse(t, "linear", x, w);
    if (b->rows != 1 || b->cols != w->cols)
        return tape_refuse(t, "bias of a linear", w, b);
    struct var *out =
        tape_value(t, x->rows, w->cols, x->grad || w->grad || b->grad);
    if (!out) return NULL;
    for (size_t r = 0; r < out->rows; r++)
        memcpy(out->v + r * out->cols, b->v, out->cols * sizeof *b->v);
    gemm_nn(out->v, x->v, w->v, x->rows, w->cols, x->cols, GEMM_ADD);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, w, b},
                                       .backward = linear_backward});
    return out;
}

/* out = x w^T + b;  dx += dout w, dw += dout^T x */
static void linear_rows_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0], *w = n->in[1], *b = n->in[2], *out = n->out;
    if (x->grad)
        gemm_nn(x->grad, out->grad, w->v, x->rows, x->cols, out->cols,
                GEMM_ADD);
    if (w->grad)
        gemm_tn(w->grad, out->grad, x->v, w->rows, w->cols, x->rows, GEMM_ADD);
    if (b->grad) map_add_rows(b->grad, out->grad, out->rows, out->cols);
}

struct var *op_linear_rows(struct tape *t, struct var *x, struct var *w,
                           struct var *b)
{
    if (!x || !w || !b) return NULL;
    if (x->cols != w->cols) return tape_refuse(t, "linear", x, w);
    if (b->rows != 1 || b->cols != w->rows)
        return tape_refuse(t, "bias of a linear", w, b);
    struct var *out =
        tape_value(t, x->rows, w->rows, x->grad || w->grad || b->grad);
    ptrdiff_t *row = tape_raw(t, w->rows, sizeof *row);
    if (!out || !row) return NULL;
    for (size_t r = 0; r < out->rows; r++)
        memcpy(out->v + r * out->cols, b->v, out->cols * sizeof *b->v);
    for (size_t i = 0; i < w->rows; i++) row[i] = (ptrdiff_t)(i * w->cols);
    kernel_reduce(&(struct kernel_window){.rows = x->rows,
                                          .n_offsets = w->rows,
                                          .n_points = x->cols,
                                          .a = x->v,
                                          .a_row = x->cols,
                                          .b = w->v,
                                          .offset = row,
                                          .c = out->v,
                                          .c_row = out->cols,
                                          .n_images = 1,
                                          .ahead = t->ahead});
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, w, b},
                                       .backward = linear_rows_backward});
    return out;
}

static void add_backward(const struct tape_node *n)
{
    for (int i = 0; i < 2; i++) {
        struct var *x = n->in[i];
        if (!x->grad) continue;
        if (tape_mode(x) == GEMM_SET)
            memcpy(x->grad, n->out->grad, size(x) * sizeof *x->grad);
        else
            map_add(x->grad, x->grad, n->out->grad, size(x));
    }
}

struct var *op_add(struct tape *t, struct var *x, struct var *y)
{
    if (!x || !y) return NULL;
    if (x->rows != y->rows || x->cols != y->cols)
        return tape_refuse(t, "add", x, y);
    struct var *out = tape_value(t, x->rows, x->cols, x->grad || y->grad);
    if (!out) return NULL;
    map_add(out->v, x->v, y->v, size(x));
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, y},
                                       .backward = add_backward,
                                       .sets = 3});
    return out;
}

struct var *op_add_over(struct tape *t, struct var *x, struct var *y)
{
    if (!x || !y) return NULL;
    if (x->rows != y->rows || x->cols != y->cols)
        return tape_refuse(t, "add", x, y);
    struct var *out = tape_value_over(t, y, x->grad || y->grad);
    if (!out) return NULL;
    map_add(out->v, x->v, y->v, size(x));
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, y},
                                       .backward = add_backward,
                                       .sets = 3});
    return out;
}

static struct var *elementwise(struct tape *t, struct var *x,
                               void (*map)(float *, const float *, size_t),
                               void (*backward)(const struct tape_node *))
{
    if (!x) return NULL;
    struct var *out = tape_value(t, x->rows, x->cols, x->grad != NULL);
    if (!out) return NULL;
    map(out->v, x->v, size(x));
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x},
                                       .backward = backward});
    return out;
}

static void relu_backward(const struct tape_node *n)
{
    map_relu_backward(n->in[0]->grad, n->out->grad, n->in[0]->v, size(n->out));
}

struct var *op_relu(struct tape *t, struct var *x)
{
    return elementwise(t, x, map_relu, relu_backward);
}

static void tanh_backward(const struct tape_node *n)
{
    map_tanh_backward(n->in[0]->grad, n->out->grad, n->out->v, size(n->out));
}

struct var *op_tanh(struct tape *t, struct var *x)
{
    return elementwise(t, x, map_tanh, tanh_backward);
}

static void gelu_backward(const struct tape_node *n)
{
    map_gelu_backward(n->in[0]->grad, n->out->grad, n->in[0]->v, size(n->out));
}

struct var *op_gelu(struct tape *t, struct var *x)
{
    return elementwise(t, x, map_gelu, gelu_backward);
}

struct var *op_gelu_over(struct tape *t, struct var *x)
{
    if (!x || x->grad) return op_gelu(t, x);
    struct var *out = tape_value_over(t, x, 0);
    if (out) map_gelu(out->v, x->v, size(out));
    return out;
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
    memset(out->v, 0, size(out) * sizeof *out->v);
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
