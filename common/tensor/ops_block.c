#include "common/tensor/vectorise.h"

#include "common/tensor/ops_block.h"

#include <math.h>
#include <string.h>

#include "common/tensor/maps.h"

/* ---- rotary positions ---- */

struct op_turns {
    enum rope_layout layout;
    size_t n, half;
    float *cosine, *sine; /* [n, half] */
};

const struct op_turns *op_turns_new(struct tape *t, const struct op_rope *r,
                                    const uint32_t *position, size_t n)
{
    size_t half = r->dims / 2;
    struct op_turns *turns = tape_scratch(t, 1, sizeof *turns);
    float *c = tape_raw(t, n * half, sizeof *c);
    float *s = tape_raw(t, n * half, sizeof *s);
    double *speed = tape_raw(t, half, sizeof *speed);
    if (t->err) return NULL;
    *turns = (struct op_turns){r->layout, n, half, c, s};
    for (size_t j = 0; j < half; j++) {
        speed[j] = r->scale * pow(r->base, -2.0 * (double)j / (double)r->dims);
        if (r->factors) speed[j] /= (double)r->factors[j];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < half; j++) {
            c[i * half + j] = (float)cos((double)position[i] * speed[j]);
            s[i * half + j] = (float)sin((double)position[i] * speed[j]);
        }
    return turns;
}

/* (a, b) by an angle: a' = a c - b s, b' = a s + b c; `way` -1 turns back. */
MANY_TARGETS
static void turn_halves(float *to, const float *x, const float *c,
                        const float *s, size_t half, float way)
{
    for (size_t j = 0; j < half; j++) {
        float a = x[j], b = x[j + half];
        to[j] += a * c[j] - b * (s[j] * way);
        to[j + half] += a * (s[j] * way) + b * c[j];
    }
}

MANY_TARGETS
static void turn_pairs(float *to, const float *x, const float *c,
                       const float *s, size_t half, float way)
{
    for (size_t j = 0; j < half; j++) {
        float a = x[2 * j], b = x[2 * j + 1];
        to[2 * j] += a * c[j] - b * (s[j] * way);
        to[2 * j + 1] += a * (s[j] * way) + b * c[j];
    }
}

/* to += x, turned. */
static void turn_all(float *to, const float *x, const struct op_turns *turns,
                     size_t heads, size_t width, float way)
{
    size_t half = turns->half;
    for (size_t i = 0; i < turns->n; i++)
        for (size_t h = 0; h < heads; h++) {
            size_t at = (i * heads + h) * width;
            (turns->layout == ROPE_PAIRS
                 ? turn_pairs
                 : turn_halves)(to + at, x + at, turns->cosine + i * half,
                                turns->sine + i * half, half, way);
            map_add(to + at + 2 * half, to + at + 2 * half, x + at + 2 * half,
                    width - 2 * half);
        }
}

struct turn {
    const struct op_turns *turns;
    size_t heads, width;
};

static void turn_backward(const struct tape_node *n)
{
    const struct turn *e = n->extra;
    turn_all(n->in[0]->grad, n->out->grad, e->turns, e->heads, e->width, -1);
}

struct var *op_turn(struct tape *t, struct var *x, const struct op_turns *turns,
                    size_t heads)
{
    if (!x || !turns) return NULL;
    if (!heads || x->cols % heads || x->cols / heads < 2 * turns->half ||
        x->rows != turns->n)
        return tape_refuse(t, "rotary turn", x, x);
    struct var *out = tape_value(t, x->rows, x->cols, x->grad != NULL);
    struct turn *e = tape_raw(t, 1, sizeof *e);
    if (!out || !e) return NULL;
    *e = (struct turn){turns, heads, x->cols / heads};
    memset(out->v, 0, x->rows * x->cols * sizeof *out->v);
    turn_all(out->v, x->v, turns, heads, e->width, 1);
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {x},
                                       .extra = e,
                                       .backward = turn_backward});
    return out;
}

/* ---- gates ---- */

enum { PIECE = 512 }; /* numbers at a time, near enough to stay in cache */

MANY_TARGETS
static void gate(float *y, const float *g, const float *u, const float *s,
                 size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = g[i] * s[i] * u[i];
}

/* d(g s)/dg = s (1 + g (1 - s)) */
MANY_TARGETS
static void gate_backward(float *gg, const float *gy, const float *g,
                          const float *u, const float *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gg[i] += gy[i] * u[i] * (s[i] * (1.0f + g[i] * (1.0f - s[i])));
}

MANY_TARGETS
static void up_backward(float *gu, const float *gy, const float *g,
                        const float *s, size_t n)
{
    for (size_t i = 0; i < n; i++) gu[i] += gy[i] * (g[i] * s[i]);
}

static void swiglu_backward(const struct tape_node *node)
{
    struct var *g = node->in[0], *u = node->in[1];
    const struct var *y = node->out;
    int new_g = g->grad && tape_mode(g) == GEMM_SET;
    int new_u = u->grad && tape_mode(u) == GEMM_SET;
    float s[PIECE];
    for (size_t at = 0, all = y->rows * y->cols; at < all; at += PIECE) {
        size_t n = all - at < PIECE ? all - at : PIECE;
        map_sigmoid(s, g->v + at, n);
        if (new_g) memset(g->grad + at, 0, n * sizeof *g->grad);
        if (new_u) memset(u->grad + at, 0, n * sizeof *u->grad);
        if (g->grad)
            gate_backward(g->grad + at, y->grad + at, g->v + at, u->v + at, s,
                          n);
        if (u->grad) up_backward(u->grad + at, y->grad + at, g->v + at, s, n);
    }
}

struct var *op_swiglu(struct tape *t, struct var *g, struct var *u)
{
    if (!g || !u) return NULL;
    if (g->rows != u->rows || g->cols != u->cols)
        return tape_refuse(t, "swiglu", g, u);
    struct var *y = tape_value(t, g->rows, g->cols, g->grad || u->grad);
    float s[PIECE];
    if (!y) return NULL;
    for (size_t at = 0, all = g->rows * g->cols; at < all; at += PIECE) {
        size_t n = all - at < PIECE ? all - at : PIECE;
        map_sigmoid(s, g->v + at, n);
        gate(y->v + at, g->v + at, u->v + at, s, n);
    }
    tape_record(t, &(struct tape_node){.out = y,
                                       .in = {g, u},
                                       .backward = swiglu_backward,
                                       .sets = 3});
    return y;
}

/* ---- pooling ---- */

int op_segments_fit(const struct op_segments *s, size_t rows)
{
    if (!s->n || s->start[0] != 0 || s->start[s->n] != rows) return 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->start[i] >= s->start[i + 1]) return 0;
    return 1;
}

struct pooled {
    struct op_segments segments;
    enum op_pooling how;
};

static size_t pooled_rows(const struct pooled *e, size_t i)
{
    return e->how == POOL_FIRST
               ? 1
               : e->segments.start[i + 1] - e->segments.start[i];
}

MANY_TARGETS
static void add_scaled(float *y, const float *x, float by, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += x[i] * by;
}

static void pool_backward(const struct tape_node *n)
{
    const struct var *x = n->in[0], *y = n->out;
    const struct pooled *e = n->extra;
    for (size_t i = 0; i < y->rows; i++) {
        size_t rows = pooled_rows(e, i);
        float *to = x->grad + e->segments.start[i] * x->cols;
        for (size_t r = 0; r < rows; r++)
            add_scaled(to + r * x->cols, y->grad + i * x->cols, 1 / (float)rows,
                       x->cols);
    }
}

struct var *op_pool(struct tape *t, struct var *x, const struct op_segments *s,
                    enum op_pooling how)
{
    if (!x) return NULL;
    if (!op_segments_fit(s, x->rows)) return tape_refuse(t, "pool", x, x);
    struct var *y = tape_value(t, s->n, x->cols, x->grad != NULL);
    struct pooled *e = tape_raw(t, 1, sizeof *e);
    if (!y || !e) return NULL;
    *e = (struct pooled){*s, how};
    for (size_t i = 0; i < s->n; i++) {
        size_t rows = pooled_rows(e, i);
        float *to = y->v + i * x->cols;
        memset(to, 0, x->cols * sizeof *to);
        map_add_rows(to, x->v + s->start[i] * x->cols, rows, x->cols);
        map_scale(to, to, 1 / (float)rows, x->cols);
    }
    tape_record(t, &(struct tape_node){.out = y,
                                       .in = {x},
                                       .extra = e,
                                       .backward = pool_backward});
    return y;
}
