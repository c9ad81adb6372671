#include "common/tensor/vectorise.h"

#include "common/tensor/ops_seq.h"

#include <string.h>

#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"

/* ---- embedding ---- */

static void embedding_backward(const struct tape_node *n)
{
    const struct var *table = n->in[0], *out = n->out;
    const uint32_t *id = n->extra;
    for (size_t r = 0; r < out->rows; r++) {
        float *to = table->grad + id[r] * table->cols;
        map_add(to, to, out->grad + r * out->cols, out->cols);
    }
}

struct var *op_embedding(struct tape *t, struct var *table, const uint32_t *id,
                         size_t n)
{
    if (!table) return NULL;
    struct var *out = tape_value(t, n, table->cols, table->grad != NULL);
    if (!out) return NULL;
    for (size_t r = 0; r < n; r++) {
        if (id[r] >= table->rows) {
            t->err = fail(TACIT_SHAPE, "embedding: row %u of a table of %zu",
                          id[r], table->rows);
            return NULL;
        }
        memcpy(out->v + r * out->cols, table->v + id[r] * table->cols,
               out->cols * sizeof *out->v);
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {table},
                                       .extra = id,
                                       .backward = embedding_backward});
    return out;
}

/* ---- what the recurrent cells share ---- */

struct recurrence {
    size_t steps, batch, states, gates; /* T, B, H, G H */
    float *gate;                        /* [T B, G H] after their functions */
    float *kept;   /* [T B, H] GRU: h Un + cn. LSTM: tanh(c) */
    float *cell;   /* [T B, H] LSTM: c */
    float *dx;     /* [T B, G H] gradient of x W + b */
    float *dh;     /* [T B, G H] gradient of h U + c; LSTM: dx */
    float *carry;  /* [B, H] gradient of the state before */
    float *carry2; /* [B, H] LSTM: of the cell before */
    float *turned; /* [G H, H] U turned */
};

static struct recurrence *recurrence_new(struct tape *t, const struct var *x,
                                         const struct op_cell *cell,
                                         size_t steps, size_t n_gates)
{
    size_t h = cell->u->rows, g = cell->u->cols;
    const struct var *biases[] = {cell->b, n_gates == 3 ? cell->c : cell->b};
    if (!steps || !h || x->rows % steps || !x->rows || g != n_gates * h ||
        cell->w->rows != x->cols || cell->w->cols != g) {
        tape_refuse(t, n_gates == 3 ? "gru" : "lstm", x, cell->w);
        return NULL;
    }
    for (int i = 0; i < 2; i++)
        if (biases[i]->rows != 1 || biases[i]->cols != g) {
            tape_refuse(t, "bias of a recurrent cell", cell->u, biases[i]);
            return NULL;
        }
    struct recurrence *r = tape_scratch(t, 1, sizeof *r);
    float *gate = tape_raw(t, x->rows * g, sizeof *gate);
    float *kept = tape_raw(t, x->rows * h, sizeof *kept);
    if (!r || !gate || !kept) return NULL;
    *r = (struct recurrence){.steps = steps,
                             .batch = x->rows / steps,
                             .states = h,
                             .gates = g,
                             .gate = gate,
                             .kept = kept};
    return r;
}

static int recurrence_backward_new(struct tape *t, struct recurrence *r)
{
    size_t rows = r->steps * r->batch;
    r->dx = tape_raw(t, rows * r->gates, sizeof *r->dx);
    r->dh = tape_raw(t, rows * r->gates, sizeof *r->dh);
    r->carry = tape_raw(t, r->batch * r->states, sizeof *r->carry);
    r->carry2 = tape_raw(t, r->batch * r->states, sizeof *r->carry2);
    r->turned = tape_raw(t, r->gates * r->states, sizeof *r->turned);
    return t->err == TACIT_OK;
}

static void fill_rows(float *to, const float *row, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * cols, row, cols * sizeof *row);
}

static void backward_begin(const struct recurrence *r, const struct var *u)
{
    for (size_t i = 0; i < r->gates; i++)
        for (size_t j = 0; j < r->states; j++)
            r->turned[i * r->states + j] = u->v[j * r->gates + i];
    memset(r->carry, 0, r->batch * r->states * sizeof *r->carry);
    memset(r->carry2, 0, r->batch * r->states * sizeof *r->carry2);
}

/* Gradients of the weights and the input, over all steps at once. */
static void backward_end(const struct tape_node *node,
                         const struct recurrence *r, const float *dh)
{
    const struct var *x = node->in[0], *w = node->in[1], *u = node->in[2];
    const struct var *b = node->in[3], *c = node->in[4], *out = node->out;
    size_t rows = x->rows, before = rows - r->batch;
    if (w->grad)
        gemm_tn(w->grad, x->v, r->dx, w->rows, w->cols, rows, GEMM_ADD);
    if (u->grad)
        gemm_tn(u->grad, out->v, dh + r->batch * r->gates, u->rows, u->cols,
                before, GEMM_ADD);
    if (b->grad) map_add_rows(b->grad, r->dx, rows, r->gates);
    if (c && c->grad) map_add_rows(c->grad, dh, rows, r->gates);
    if (x->grad)
        gemm_nt(x->grad, r->dx, w->v, rows, x->cols, r->gates, GEMM_ADD);
}

/* ---- GRU ---- */

MANY_TARGETS
static void gru_before_tanh(float *n, const float *r, const float *kept,
                            size_t len)
{
    for (size_t i = 0; i < len; i++) n[i] += r[i] * kept[i];
}

MANY_TARGETS
static void gru_mix(float *h, const float *z, const float *n,
                    const float *before, size_t len)
{
    for (size_t i = 0; i < len; i++) h[i] = n[i] + z[i] * (before[i] - n[i]);
}

/* One row of one step; hu: h U + c. */
static void gru_row(const struct recurrence *r, size_t row, const float *hu,
                    const float *before, float *h)
{
    size_t len = r->states;
    float *gate = r->gate + row * r->gates, *kept = r->kept + row * len;
    map_add(gate, gate, hu, 2 * len);
    map_sigmoid(gate, gate, 2 * len);
    memcpy(kept, hu + 2 * len, len * sizeof *kept);
    gru_before_tanh(gate + 2 * len, gate, kept, len);
    map_tanh(gate + 2 * len, gate + 2 * len, len);
    gru_mix(h, gate + len, gate + 2 * len, before, len);
}

struct gru_back {
    const float *gate, *kept, *before, *g;
    float *carry, *dx, *dh;
};

MANY_TARGETS
static void gru_row_backward(const struct gru_back *k, size_t len)
{
    const float *r = k->gate, *z = r + len, *n = z + len;
    float *dx = k->dx, *dh = k->dh, *carry = k->carry;
    for (size_t i = 0; i < len; i++) {
        float d = k->g[i] + carry[i];
        float dn = d * (1 - z[i]) * (1 - n[i] * n[i]);
        float dz = d * (k->before[i] - n[i]) * z[i] * (1 - z[i]);
        float dr = dn * k->kept[i] * r[i] * (1 - r[i]);
        dx[i] = dr;
        dh[i] = dr;
        dx[len + i] = dz;
        dh[len + i] = dz;
        dx[2 * len + i] = dn;
        dh[2 * len + i] = dn * r[i];
        carry[i] = d * z[i];
    }
}

static void gru_backward(const struct tape_node *node)
{
    const struct recurrence *r = node->extra;
    const struct var *out = node->out;
    size_t len = r->states;
    backward_begin(r, node->in[2]);
    for (size_t t = r->steps; t-- > 0;) {
        for (size_t b = 0; b < r->batch; b++) {
            size_t row = t * r->batch + b;
            /* Before the first step the state is zero: so is row 0's carry2. */
            struct gru_back k = {r->gate + row * r->gates,
                                 r->kept + row * len,
                                 t ? out->v + (row - r->batch) * len
                                   : r->carry2,
                                 out->grad + row * len,
                                 r->carry + b * len,
                                 r->dx + row * r->gates,
                                 r->dh + row * r->gates};
            gru_row_backward(&k, len);
        }
        if (t)
            gemm_nn(r->carry, r->dh + t * r->batch * r->gates, r->turned,
                    r->batch, len, r->gates, GEMM_ADD);
    }
    backward_end(node, r, r->dh);
}

struct var *op_gru(struct tape *t, struct var *x, const struct op_cell *cell,
                   size_t steps)
{
    const struct var *w = cell->w, *u = cell->u, *b = cell->b, *c = cell->c;
    if (!x || !w || !u || !b || !c) return NULL;
    struct recurrence *r = recurrence_new(t, x, cell, steps, 3);
    if (!r) return NULL;
    size_t h = r->states, g = r->gates;
    struct var *out =
        tape_value(t, x->rows, h,
                   x->grad || w->grad || u->grad || b->grad || c->grad);
    float *hu = tape_raw(t, r->batch * g, sizeof *hu);
    float *zero = tape_scratch(t, h, sizeof *zero);
    if (!out || !hu || !zero) return NULL;
    if (out->grad && !recurrence_backward_new(t, r)) return NULL;
    fill_rows(r->gate, b->v, x->rows, g);
    gemm_nn(r->gate, x->v, w->v, x->rows, g, x->cols, GEMM_ADD);
    for (size_t at = 0; at < x->rows; at += r->batch) {
        fill_rows(hu, c->v, r->batch, g);
        if (at)
            gemm_nn(hu, out->v + (at - r->batch) * h, u->v, r->batch, g, h,
                    GEMM_ADD);
        for (size_t i = 0; i < r->batch; i++)
            gru_row(r, at + i, hu + i * g,
                    at ? out->v + (at + i - r->batch) * h : zero,
                    out->v + (at + i) * h);
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, cell->w, cell->u, cell->b,
                                              cell->c},
                                       .extra = r,
                                       .backward = gru_backward});
    return out;
}

/* ---- LSTM ---- */

MANY_TARGETS
static void lstm_cell(const float *gate, const float *before, float *cell,
                      size_t len)
{
    const float *i = gate, *f = gate + len, *g = gate + 2 * len;
    for (size_t k = 0; k < len; k++) cell[k] = f[k] * before[k] + i[k] * g[k];
}

MANY_TARGETS
static void lstm_out(float *h, const float *o, const float *kept, size_t len)
{
    for (size_t k = 0; k < len; k++) h[k] = o[k] * kept[k];
}

static void lstm_row(const struct recurrence *r, size_t row, const float *zero,
                     float *h)
{
    size_t len = r->states;
    float *gate = r->gate + row * r->gates;
    float *cell = r->cell + row * len, *kept = r->kept + row * len;
    map_sigmoid(gate, gate, 2 * len);
    map_tanh(gate + 2 * len, gate + 2 * len, len);
    map_sigmoid(gate + 3 * len, gate + 3 * len, len);
    lstm_cell(gate, row < r->batch ? zero : cell - r->batch * len, cell, len);
    map_tanh(kept, cell, len);
    lstm_out(h, gate + 3 * len, kept, len);
}

struct lstm_back {
    const float *gate, *kept, *before, *g;
    float *carry, *carry_cell, *dx;
};

MANY_TARGETS
static void lstm_row_backward(const struct lstm_back *k, size_t len)
{
    const float *i = k->gate, *f = i + len, *g = f + len, *o = g + len;
    float *dx = k->dx, *carry = k->carry, *carry_cell = k->carry_cell;
    for (size_t n = 0; n < len; n++) {
        float d = k->g[n] + carry[n], tanh_c = k->kept[n];
        float dc = carry_cell[n] + d * o[n] * (1 - tanh_c * tanh_c);
        dx[n] = dc * g[n] * i[n] * (1 - i[n]);
        dx[len + n] = dc * k->before[n] * f[n] * (1 - f[n]);
        dx[2 * len + n] = dc * i[n] * (1 - g[n] * g[n]);
        dx[3 * len + n] = d * tanh_c * o[n] * (1 - o[n]);
        carry_cell[n] = dc * f[n];
        carry[n] = 0;
    }
}

static void lstm_backward(const struct tape_node *node)
{
    const struct recurrence *r = node->extra;
    size_t len = r->states;
    backward_begin(r, node->in[2]);
    memset(r->dh, 0, len * sizeof *r->dh); /* the cell before the first step */
    for (size_t t = r->steps; t-- > 0;) {
        for (size_t b = 0; b < r->batch; b++) {
            size_t row = t * r->batch + b;
            struct lstm_back k = {r->gate + row * r->gates,
                                  r->kept + row * len,
                                  t ? r->cell + (row - r->batch) * len : r->dh,
                                  node->out->grad + row * len,
                                  r->carry + b * len,
                                  r->carry2 + b * len,
                                  r->dx + row * r->gates};
            lstm_row_backward(&k, len);
        }
        if (t)
            gemm_nn(r->carry, r->dx + t * r->batch * r->gates, r->turned,
                    r->batch, len, r->gates, GEMM_SET);
    }
    backward_end(node, r, r->dx);
}

struct var *op_lstm(struct tape *t, struct var *x, const struct op_cell *cell,
                    size_t steps)
{
    const struct var *w = cell->w, *u = cell->u, *b = cell->b;
    if (!x || !w || !u || !b) return NULL;
    struct recurrence *r = recurrence_new(t, x, cell, steps, 4);
    if (!r) return NULL;
    size_t h = r->states, g = r->gates;
    struct var *out =
        tape_value(t, x->rows, h, x->grad || w->grad || u->grad || b->grad);
    float *zero = tape_scratch(t, h, sizeof *zero);
    r->cell = tape_raw(t, x->rows * h, sizeof *r->cell);
    if (!out || !zero || !r->cell) return NULL;
    if (out->grad && !recurrence_backward_new(t, r)) return NULL;
    fill_rows(r->gate, b->v, x->rows, g);
    gemm_nn(r->gate, x->v, w->v, x->rows, g, x->cols, GEMM_ADD);
    for (size_t at = 0; at < x->rows; at += r->batch) {
        if (at)
            gemm_nn(r->gate + at * g, out->v + (at - r->batch) * h, u->v,
                    r->batch, g, h, GEMM_ADD);
        for (size_t i = at; i < at + r->batch; i++)
            lstm_row(r, i, zero, out->v + i * h);
    }
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x, cell->w, cell->u, cell->b},
                                       .extra = r,
                                       .backward = lstm_backward});
    return out;
}
