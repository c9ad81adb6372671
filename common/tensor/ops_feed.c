#include "common/tensor/vectorise.h"

#include "common/tensor/ops_feed.h"

#include <string.h>

#include "common/tensor/half.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops_product.h"

struct feed {
    struct tape *tape;
    struct op_feed m;
    const ptrdiff_t *wide_row, *narrow_row;
    float *z;        /* [T, f], or */
    uint16_t *brief; /* the same in bf16; both NULL: there is no way back */
};

MANY_TARGETS
static void to_brief(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = bf16_encode(x[i]);
}

MANY_TARGETS
static void from_brief(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = bf16_decode(x[i]);
}

MANY_TARGETS
static void multiply_by(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] *= x[i];
}

/* Three pieces [rows, f] that all calls of a tape share. */
struct pieces {
    float *a, *s, *d;
};

static int pieces_of(struct tape *t, size_t rows, size_t f, struct pieces *p)
{
    size_t n = (rows < FEED_ROWS ? rows : FEED_ROWS) * f;
    float *all = tape_shared(t, 3 * n * sizeof *all);
    if (!all) return 0;
    *p = (struct pieces){all, all + n, all + 2 * n};
    return 1;
}

size_t op_feed_shared(size_t rows, size_t feed)
{
    return 3 * (rows < FEED_ROWS ? rows : FEED_ROWS) * feed * sizeof(float);
}

size_t op_feed_kept(size_t rows, size_t feed, enum gemm_numbers numbers)
{
    return rows * feed *
           (numbers == GEMM_BF16 ? sizeof(uint16_t) : sizeof(float));
}

static size_t rows_from(size_t row, size_t all)
{
    return all - row < FEED_ROWS ? all - row : FEED_ROWS;
}

/* ---- the way back ---- */

/* Some rows: a = gelu(z) and its slope s, du += dy^T a, dz = (dy u) s,
 * dw += dz^T x, dx += dz w. */
static void back_rows(const struct feed *e, const struct tape_node *node,
                      const struct pieces *p, size_t row, size_t n)
{
    const struct var *x = node->in[0], *y = node->out;
    const struct op_feed *m = &e->m;
    struct tape *t = e->tape;
    size_t f = m->wide->rows, d = x->cols;
    const float *dy = y->grad + row * y->cols, *from = x->v + row * d;
    if (e->brief)
        from_brief(p->s, e->brief + row * f, n * f);
    else
        memcpy(p->s, e->z + row * f, n * f * sizeof *p->s);
    map_gelu_slope(p->a, p->s, n * f);
    if (m->narrow->grad) product_outer(t, m->narrow, dy, p->a, n);
    if (m->narrow_bias->grad)
        map_add_rows(m->narrow_bias->grad, dy, n, y->cols);
    product_back(t, m->narrow, dy, p->d, n, GEMM_SET);
    multiply_by(p->d, p->s, n * f);
    if (m->wide->grad) product_outer(t, m->wide, p->d, from, n);
    if (m->wide_bias->grad) map_add_rows(m->wide_bias->grad, p->d, n, f);
    if (x->grad) product_back(t, m->wide, p->d, x->grad + row * d, n, GEMM_ADD);
}

static void feed_backward(const struct tape_node *node)
{
    const struct feed *e = node->extra;
    size_t rows = node->out->rows;
    struct pieces p;
    if (!pieces_of(e->tape, rows, e->m.wide->rows, &p)) return;
    for (size_t row = 0; row < rows; row += FEED_ROWS)
        back_rows(e, node, &p, row, rows_from(row, rows));
}

/* ---- forward ---- */

static void fill_bias(float *y, const struct var *bias, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(y + i * bias->cols, bias->v, bias->cols * sizeof *y);
}

static void forward(const struct feed *e, const struct var *x, struct var *y,
                    const struct pieces *p)
{
    const struct op_feed *m = &e->m;
    size_t f = m->wide->rows;
    for (size_t row = 0; row < x->rows; row += FEED_ROWS) {
        size_t n = rows_from(row, x->rows);
        float *z = e->z ? e->z + row * f : p->s, *to = y->v + row * y->cols;
        fill_bias(z, m->wide_bias, n);
        product_rows(e->tape, m->wide, e->wide_row, x->v + row * x->cols, z, n,
                     GEMM_ADD);
        if (e->brief) to_brief(e->brief + row * f, z, n * f);
        map_gelu(p->a, z, n * f);
        fill_bias(to, m->narrow_bias, n);
        product_rows(e->tape, m->narrow, e->narrow_row, p->a, to, n, GEMM_ADD);
    }
}

static int fits(const struct var *x, const struct op_feed *m)
{
    return m->wide->cols == x->cols && m->narrow->cols == m->wide->rows &&
           m->wide_bias->rows == 1 && m->wide_bias->cols == m->wide->rows &&
           m->narrow_bias->rows == 1 && m->narrow_bias->cols == m->narrow->rows;
}

struct var *op_feed(struct tape *t, struct var *x, const struct op_feed *m)
{
    if (!x || !m->wide || !m->wide_bias || !m->narrow || !m->narrow_bias)
        return NULL;
    if (!fits(x, m)) return tape_refuse(t, "feed", x, m->wide);
    int slopes = x->grad || m->wide->grad || m->wide_bias->grad ||
                 m->narrow->grad || m->narrow_bias->grad;
    size_t n = x->rows * m->wide->rows;
    struct var *y = tape_value(t, x->rows, m->narrow->rows, slopes);
    struct feed *e = tape_scratch(t, 1, sizeof *e);
    struct pieces p;
    if (!y || !e || !pieces_of(t, x->rows, m->wide->rows, &p)) return NULL;
    *e = (struct feed){.tape = t,
                       .m = *m,
                       .wide_row = product_places(t, m->wide),
                       .narrow_row = product_places(t, m->narrow)};
    if (slopes && t->numbers == GEMM_BF16)
        e->brief = tape_raw(t, n, sizeof *e->brief);
    else if (slopes)
        e->z = tape_raw(t, n, sizeof *e->z);
    if (t->err) return NULL;
    forward(e, x, y, &p);
    tape_record(t, &(struct tape_node){.out = y,
                                       .in = {x, m->wide, m->wide_bias,
                                              m->narrow, m->narrow_bias},
                                       .extra = e,
                                       .backward = feed_backward});
    return y;
}
