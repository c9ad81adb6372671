#include "common/tensor/vectorise.h"

#include "common/tensor/ops_linear.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/tensor/kernels.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops_product.h"

/* ---- a matrix of either kind ---- */

struct side {
    const struct var *w; /* or */
    const struct weight *frozen;
    size_t out, in;
    const ptrdiff_t *row; /* of w */
};

/* 0 after an error, or without a matrix. */
static int side_of(struct tape *t, const struct op_matrix *m, struct side *s)
{
    if (!m->w && !m->frozen) return 0;
    *s = (struct side){.w = m->w, .frozen = m->w ? NULL : m->frozen};
    s->out = m->w ? m->w->rows : m->frozen->n_out;
    s->in = m->w ? m->w->cols : m->frozen->n_in;
    if (m->w) s->row = product_places(t, m->w);
    return !t->err;
}

static void side_forward(struct tape *t, const struct side *s, float *y,
                         const float *x, size_t rows, enum gemm_mode mode)
{
    struct weight_room *room = s->frozen ? tape_room(t) : NULL;
    if (s->w)
        product_rows(t, s->w, s->row, x, y, rows, mode);
    else if (room)
        t->err = weight_product(room, s->frozen, x, y, rows, mode);
}

static void side_back(struct tape *t, const struct side *s, float *dx,
                      const float *dy, size_t rows, enum gemm_mode mode)
{
    struct weight_room *room = s->frozen ? tape_room(t) : NULL;
    if (s->w)
        product_back(t, s->w, dy, dx, rows, mode);
    else if (room)
        t->err = weight_product_back(room, s->frozen, dy, dx, rows, mode);
}

static int has_grad(const struct var *x)
{
    return x && x->grad;
}

/* What a misfit looks like: the shapes that tape_refuse() prints. */
static struct var *refuse(struct tape *t, const char *op, const struct var *x,
                          const struct side *s)
{
    const struct var w = {.rows = s->out, .cols = s->in};
    return tape_refuse(t, op, x, &w);
}

/* ---- project ---- */

struct project {
    struct tape *tape;
    struct side side;
    float scale;
    float *z;  /* [T, r] s x down^T, or NULL */
    float *dz; /* [T, r] scratch */
};

/* dx += dy w + dz down, dw += dy^T x, dup += dy^T z, ddown += dz^T x with
 * dz = s dy up */
static void project_backward(const struct tape_node *n)
{
    struct var *x = n->in[0];
    const struct var *w = n->in[1], *bias = n->in[2];
    const struct var *down = n->in[3], *up = n->in[4], *y = n->out;
    const struct project *p = n->extra;
    struct tape *t = p->tape;
    size_t rows = x->rows;
    if (x->grad) side_back(t, &p->side, x->grad, y->grad, rows, tape_mode(x));
    if (has_grad(w)) product_outer(t, w, y->grad, x->v, rows);
    if (has_grad(bias)) map_add_rows(bias->grad, y->grad, rows, y->cols);
    if (!down) return;
    product_narrow(t, &(struct gemm){rows, up->cols, up->rows, y->grad,
                                     up->rows, 1, up->v, up->cols, 1, p->dz,
                                     up->cols, GEMM_SET});
    map_scale(p->dz, p->dz, p->scale, rows * up->cols);
    if (up->grad) product_outer(t, up, y->grad, p->z, rows);
    if (down->grad) product_outer(t, down, p->dz, x->v, rows);
    if (x->grad) product_back(t, down, p->dz, x->grad, rows, GEMM_ADD);
}

static int pair_fits(const struct op_matrix *m, const struct side *s)
{
    if (!m->down || !m->up) return !m->down && !m->up;
    return m->down->cols == s->in && m->up->rows == s->out &&
           m->up->cols == m->down->rows;
}

static int bias_fits(const struct op_matrix *m, const struct side *s)
{
    return !m->bias || (m->bias->rows == 1 && m->bias->cols == s->out);
}

static void add_pair(struct tape *t, const struct var *x,
                     const struct op_matrix *m, const struct project *p,
                     struct var *y)
{
    size_t rows = x->rows, r = m->down->rows;
    const struct side up = {.w = m->up, .row = product_places(t, m->up)};
    if (t->err) return;
    product_narrow(t,
                   &(struct gemm){rows, r, x->cols, x->v, x->cols, 1,
                                  m->down->v, 1, x->cols, p->z, r, GEMM_SET});
    map_scale(p->z, p->z, m->scale, rows * r);
    if (!m->unread) side_forward(t, &up, y->v, p->z, rows, GEMM_ADD);
}

/* What a projection is made in: its value and what the way back needs. NULL
 * after an error. */
static struct var *project_new(struct tape *t, const struct var *x,
                               const struct op_matrix *m, struct project **out)
{
    struct side s;
    if (!side_of(t, m, &s)) return NULL;
    if (x->cols != s.in || !pair_fits(m, &s) || !bias_fits(m, &s)) {
        (void)refuse(t, "project", x, &s);
        return NULL;
    }
    size_t rows = x->rows, r = m->down ? m->down->rows : 0;
    struct var *y =
        tape_value(t, rows, s.out,
                   has_grad(x) || has_grad(m->w) || has_grad(m->bias) ||
                       has_grad(m->down) || has_grad(m->up));
    struct project *p = tape_scratch(t, 1, sizeof *p);
    float *z = r ? tape_raw(t, 2 * rows * r, sizeof *z) : NULL;
    if (t->err) return NULL;
    *p = (struct project){t, s, m->scale, z, r ? z + rows * r : NULL};
    if (m->unread) memset(y->v, 0, rows * s.out * sizeof *y->v);
    for (size_t i = 0; !s.frozen && m->bias && i < rows; i++)
        memcpy(y->v + i * s.out, m->bias->v, s.out * sizeof *y->v);
    *out = p;
    return y;
}

/* Frozen matrices as one job for the workers, the others one by one. */
static void project_forward(struct tape *t, struct var *x,
                            const struct op_matrix *m, struct project **p,
                            struct var **y, size_t n)
{
    struct weight_job jobs[PROJECT_MAX];
    size_t n_jobs = 0;
    for (size_t i = 0; i < n; i++) {
        const struct side *s = &p[i]->side;
        enum gemm_mode mode = m[i].bias ? GEMM_ADD : GEMM_SET;
        if (m[i].unread) continue;
        if (s->frozen)
            jobs[n_jobs++] =
                (struct weight_job){s->frozen, y[i]->v, GEMM_SET,
                                    m[i].bias ? m[i].bias->v : NULL};
        else
            side_forward(t, s, y[i]->v, x->v, x->rows, mode);
    }
    struct weight_room *room = n_jobs ? tape_room(t) : NULL;
    if (room) t->err = weight_products(room, jobs, n_jobs, x->v, x->rows);
}

void op_project_all(struct tape *t, struct var *x, const struct op_matrix *m,
                    size_t n, struct var **out)
{
    struct project *p[PROJECT_MAX];
    struct var *y[PROJECT_MAX];
    assert(n <= PROJECT_MAX);
    for (size_t i = 0; i < n; i++) out[i] = NULL;
    for (size_t i = 0; i < n; i++)
        if (!x || !(y[i] = project_new(t, x, &m[i], &p[i]))) return;
    project_forward(t, x, m, p, y, n);
    for (size_t i = 0; !t->err && i < n; i++) {
        if (m[i].down) add_pair(t, x, &m[i], p[i], y[i]);
        tape_record(t, &(struct tape_node){.out = y[i],
                                           .in = {x, m[i].w, m[i].bias,
                                                  m[i].down, m[i].up},
                                           .extra = p[i],
                                           .backward = project_backward,
                                           .sets = 1});
    }
    for (size_t i = 0; !t->err && i < n; i++) out[i] = y[i];
}

struct var *op_project(struct tape *t, struct var *x, const struct op_matrix *m)
{
    struct var *y;
    op_project_all(t, x, m, 1, &y);
    return y;
}

/* ---- feed ---- */

bool op_feeds_packed(const struct op_matrix *widen,
                     const struct op_matrix *narrow)
{
    return !widen->w && !narrow->w && widen->frozen && narrow->frozen &&
           !widen->down && !narrow->down && !has_grad(widen->bias) &&
           !has_grad(narrow->bias) &&
           weight_feeds(widen->frozen, narrow->frozen);
}

struct var *op_feed_packed(struct tape *t, struct var *x,
                           const struct op_matrix *widen,
                           const struct op_matrix *narrow)
{
    struct side in, out;
    if (!x || !side_of(t, widen, &in) || !side_of(t, narrow, &out)) return NULL;
    if (x->cols != in.in || !bias_fits(widen, &in) || !bias_fits(narrow, &out))
        return refuse(t, "feed", x, &in);
    struct var *y = tape_value(t, x->rows, out.out, 0);
    struct weight_room *room = tape_room(t);
    if (!y || !room) return NULL;
    const struct weight_job first = {in.frozen, NULL, GEMM_SET,
                                     widen->bias ? widen->bias->v : NULL};
    const struct weight_job second = {out.frozen, y->v, GEMM_SET,
                                      narrow->bias ? narrow->bias->v : NULL};
    t->err = weight_feed(room, &first, &second, x->v, x->rows);
    return t->err ? NULL : y;
}

/* ---- lookup ---- */

static void lookup_backward(const struct tape_node *n)
{
    const struct var *w = n->in[0], *out = n->out;
    struct var *x = n->in[1];
    const uint32_t *id = n->extra;
    for (size_t i = 0; w && w->grad && i < out->rows; i++) {
        float *to = w->grad + id[i] * w->cols;
        map_add(to, to, out->grad + i * w->cols, w->cols);
    }
    if (!x || !x->grad) return;
    if (tape_mode(x) == GEMM_SET)
        memcpy(x->grad, out->grad, out->rows * out->cols * sizeof *x->grad);
    else
        map_add(x->grad, x->grad, out->grad, out->rows * out->cols);
}

static enum tacit_err look_up(struct tape *t, const struct op_matrix *m,
                              const uint32_t *id, struct var *out,
                              enum gemm_mode mode)
{
    const struct var *w = m->w;
    size_t rows = w ? w->rows : m->frozen->n_out, cols = out->cols;
    float *row = w ? NULL : tape_scratch(t, cols, sizeof *row);
    for (size_t i = 0; !t->err && i < out->rows; i++) {
        float *to = out->v + i * cols;
        if (id[i] >= rows)
            return fail(TACIT_SHAPE, "row %u of a table of %zu", id[i], rows);
        if (row) weight_rows(m->frozen, id[i], id[i] + (size_t)1, row);
        const float *from = w ? w->v + id[i] * cols : row;
        if (mode == GEMM_ADD)
            map_add(to, to, from, cols);
        else
            memcpy(to, from, cols * sizeof *to);
    }
    return t->err;
}

struct var *op_lookup(struct tape *t, const struct op_matrix *m,
                      const uint32_t *id, size_t n)
{
    struct var *w = m->w;
    if (!w && !m->frozen) return NULL;
    size_t cols = w ? w->cols : m->frozen->n_in;
    struct var *out = tape_value(t, n, cols, has_grad(w));
    if (out) t->err = look_up(t, m, id, out, GEMM_SET);
    if (t->err) return NULL;
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {w},
                                       .extra = id,
                                       .backward = lookup_backward});
    return out;
}

struct var *op_lookup_over(struct tape *t, const struct op_matrix *m,
                           const uint32_t *id, struct var *x)
{
    struct var *w = m->w;
    if (!x || (!w && !m->frozen)) return NULL;
    if ((w ? w->cols : m->frozen->n_in) != x->cols)
        return tape_refuse(t, "look up", x, w ? w : x);
    struct var *out = tape_value_over(t, x, x->grad || has_grad(w));
    if (out) t->err = look_up(t, m, id, out, GEMM_ADD);
    if (t->err) return NULL;
    tape_record(t, &(struct tape_node){.out = out,
                                       .in = {w, x},
                                       .extra = id,
                                       .backward = lookup_backward,
                                       .sets = 2});
    return out;
}

/* ---- head and cross-entropy ---- */

enum {
    CHUNK = 128, /* rows whose logits are in memory */
    PIECE = 512,
    ALIGN = 64 /* of what a tape hands out */
};

struct head {
    struct tape *tape;
    struct side side;
    struct op_labels labels;
    const struct op_teacher *teacher;
    float *dh;   /* [n, in] gradient of the labelled rows; NULL: not wanted */
    float *x;    /* [CHUNK, in] those rows, together */
    float *p;    /* [CHUNK, out] logits, then their gradient */
    float *norm; /* [n] log sum exp of each row's logits */
};

/* Logits of labels [from, from + n). */
static void head_logits(const struct head *e, const struct var *h,
                        const struct var *bias, size_t from, size_t n)
{
    size_t out = e->side.out;
    for (size_t i = 0; i < n; i++) {
        memcpy(e->x + i * h->cols, h->v + e->labels.row[from + i] * h->cols,
               h->cols * sizeof *h->v);
        if (bias) memcpy(e->p + i * out, bias->v, out * sizeof *bias->v);
    }
    side_forward(e->tape, &e->side, e->p, e->x, n, bias ? GEMM_ADD : GEMM_SET);
}

/* From logits p of label i to their gradient, softmax - 1 at the label, times
 * `by`. */
static void slope_of(const struct head *e, size_t i, float *p, float by)
{
    const struct op_teacher *t = e->teacher;
    size_t out = e->side.out;
    map_exp(p, p, e->norm[i], out);
    p[e->labels.label[i]] -= t ? 1 - t->share : 1;
    for (size_t j = i * (t ? t->k : 0); t && j < (i + 1) * t->k; j++)
        p[t->id[j]] -= t->share * t->p[j];
    map_scale(p, p, by, out);
}

static void head_backward(const struct tape_node *node)
{
    const struct var *h = node->in[0], *w = node->in[1], *bias = node->in[2];
    const struct head *e = node->extra;
    float g = node->out->grad[0];
    size_t n = e->labels.n;
    for (size_t i = 0; e->dh && i < n; i++)
        kernel_axpy(h->grad + e->labels.row[i] * h->cols, g,
                    e->dh + i * h->cols, h->cols);
    if (!has_grad(w) && !has_grad(bias)) return;
    for (size_t from = 0; from < n; from += CHUNK) {
        size_t some = n - from < CHUNK ? n - from : CHUNK;
        head_logits(e, h, bias, from, some);
        for (size_t i = 0; i < some; i++)
            slope_of(e, from + i, e->p + i * e->side.out, g / (float)n);
        if (has_grad(w)) product_outer(e->tape, w, e->p, e->x, some);
        if (has_grad(bias)) map_add_rows(bias->grad, e->p, some, e->side.out);
    }
}

static struct head *head_new(struct tape *t, const struct var *h,
                             const struct side *s,
                             const struct op_labels *labels)
{
    struct head *e = tape_scratch(t, 1, sizeof *e);
    size_t rows = labels->n < CHUNK ? labels->n : CHUNK;
    float *dh = h->grad ? tape_raw(t, labels->n * h->cols, sizeof *dh) : NULL;
    float *x = tape_raw(t, rows * h->cols, sizeof *x);
    float *p = tape_raw(t, rows * s->out, sizeof *p);
    float *norm = tape_raw(t, labels->n, sizeof *norm);
    if (t->err) return NULL;
    *e = (struct head){t, *s, *labels, NULL, dh, x, p, norm};
    return e;
}

size_t op_head_bytes(size_t n_labels, size_t in, size_t out)
{
    size_t rows = n_labels < CHUNK ? n_labels : CHUNK;
    size_t numbers = n_labels * (in + 1) + rows * (in + out);
    return numbers * sizeof(float) + sizeof(struct head) + 8 * ALIGN;
}

static enum tacit_err check_labels(const struct op_labels *l, size_t rows,
                                   size_t out)
{
    if (!l->n) return fail(TACIT_SHAPE, "a loss without labels");
    for (size_t i = 0; i < l->n; i++)
        if (l->row[i] >= rows || l->label[i] >= out)
            return fail(TACIT_SHAPE, "label %u at row %u; %zu rows, %zu labels",
                        l->label[i], l->row[i], rows, out);
    return TACIT_OK;
}

static enum tacit_err check_teacher(const struct op_teacher *t, size_t n,
                                    size_t out)
{
    for (size_t i = 0; t && i < n * t->k; i++)
        if (t->id[i] >= out)
            return fail(TACIT_SHAPE, "a teacher's label %u of %zu", t->id[i],
                        out);
    return TACIT_OK;
}

/* log of the sum of exp z, n >= 1. */
static double level_of(const float *z, size_t n)
{
    float top = map_max(z, n), e[PIECE];
    double sum = 0;
    size_t at = 0;
    do {
        size_t some = n - at < PIECE ? n - at : PIECE;
        map_exp(e, z + at, top, some);
        sum += map_sum(e, some);
        at += some;
    } while (at < n);
    return (double)top + log(sum);
}

/* What label i wants of the logits z to be large. */
static double wanted(const struct head *e, size_t i, const float *z)
{
    const struct op_teacher *t = e->teacher;
    double said = 0, label = (double)z[e->labels.label[i]];
    if (!t) return label;
    for (size_t j = i * t->k; j < (i + 1) * t->k; j++)
        said += (double)t->p[j] * (double)z[t->id[j]];
    return (1 - (double)t->share) * label + (double)t->share * said;
}

/* Of the logits of labels from `from` on. */
struct losses {
    const struct head *e;
    size_t from;
    double of[CHUNK];
};

/* The loss of one label and the gradient of its logits, while they are near. */
static void one_loss(void *ctx, size_t i, unsigned worker)
{
    struct losses *l = ctx;
    const struct head *e = l->e;
    float *z = e->p + i * e->side.out;
    double level = level_of(z, e->side.out);
    (void)worker;
    e->norm[l->from + i] = (float)level;
    l->of[i] = level - wanted(e, l->from + i, z);
    if (e->dh) slope_of(e, l->from + i, z, 1 / (float)e->labels.n);
}

/* Sum of the losses of labels [from, from + n), whose logits are there. */
static double head_losses(const struct head *e, size_t from, size_t n)
{
    struct losses l = {.e = e, .from = from};
    double sum = 0;
    pool_run(e->tape->pool, n, one_loss, &l);
    for (size_t i = 0; i < n; i++) sum += l.of[i];
    return sum;
}

struct var *op_head_ce(struct tape *t, struct var *h, const struct op_matrix *m,
                       const struct op_labels *labels,
                       const struct op_teacher *teacher)
{
    struct side s;
    if (!h || !side_of(t, m, &s)) return NULL;
    if (h->cols != s.in || m->down || !bias_fits(m, &s))
        return refuse(t, "head", h, &s);
    t->err = check_labels(labels, h->rows, s.out);
    if (!t->err) t->err = check_teacher(teacher, labels->n, s.out);
    struct var *loss =
        tape_value(t, 1, 1, has_grad(h) || has_grad(m->w) || has_grad(m->bias));
    struct head *e = loss ? head_new(t, h, &s, labels) : NULL;
    if (!e) return NULL;
    e->teacher = teacher;
    double sum = 0;
    for (size_t from = 0; from < labels->n; from += CHUNK) {
        size_t n = labels->n - from < CHUNK ? labels->n - from : CHUNK;
        head_logits(e, h, m->bias, from, n);
        if (t->err) return NULL;
        sum += head_losses(e, from, n);
        if (e->dh) side_back(t, &s, e->dh + from * h->cols, e->p, n, GEMM_SET);
    }
    loss->v[0] = (float)(sum / (double)labels->n);
    tape_record(t, &(struct tape_node){.out = loss,
                                       .in = {h, m->w, m->bias},
                                       .extra = e,
                                       .backward = head_backward});
    return t->err ? NULL : loss;
}
