/*
 * FLoRA: Wang et al., FLoRA: Federated Fine-Tuning Large Language Models with
 * Heterogeneous Low-Rank Adaptations, NeurIPS 2024 (arXiv 2409.05976), under a
 * secure sum. The paper stacks the devices' pairs in the clear, so that the
 * product of the stacks is sum p_k B_k A_k exactly, whatever their ranks. Here
 * nobody sees a pair; what is added up is linear in the product:
 *
 *   device    D_k = B_k A_k - B A, of the last r_k columns and rows
 *             Y_k = D_k Omega [out, 4 R],  W_k = Psi D_k [4 R, in]
 *   sum       Y, W: the sketches of D = sum p_k D_k
 *   server    Q = leading left vectors of Y, at most 3 R
 *             X = argmin |Psi Q X - W|;  D ~ Q X
 *             B A + eta_g Q X, cut to its R leading directions -> B, A
 *
 * Sketch and recovery are Tropp, Yurtsever, Udell, Cevher 2017 (arXiv
 * 1609.00048, algorithm 4): exact where the rank of D is at most 3 R, which all
 * ranks together are below as long as R and the r_k add up to so much; else
 * near the best approximation of rank 3 R, and of its sum with B A the R
 * leading directions remain (Eckart and Young).
 *
 * Differs in:
 * 1. one pair of rank R is published instead of the stack of all: its size does
 *    not grow with the devices;
 * 2. instead of a fresh pair a device trains the r_k directions of B A that do
 *    the least, which in a young model are drawn rows and zeros; the others
 *    take part in what it computes, as the stack does in the paper, get no
 *    gradient, and have no part in D_k;
 * 3. as many rows as columns of the sketch, of which Q uses three quarters (the
 *    paper of the sketch has twice as many rows): error of what is beyond Q
 *    grows by no more than about sqrt(1 + 3 R / (R - 1));
 * 4. Omega and Psi are uniform, of variance 1 / (4 R), so that a sketch has the
 *    length of D_k: bits are the same on every machine;
 * 5. rows of A are at right angles and as long as drawn ones, lengths stand in
 *    B; where B A has fewer directions than R, A goes on with drawn rows.
 *
 * What is in no pair (a head) is averaged as in FedAvg. Secure aggregation:
 * yes, with an uplink of four vectors.
 */
#include "common/tensor/vectorise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/strategy/rows.h"
#include "common/tensor/params.h"
#include "common/tensor/svd.h"

enum { PARTS = 4, USED = 3, ROWS_BITS = 10 };

/* Of the largest: shorter ones are rounding, and no direction. */
#define SMALL 1e-7
#define TINY  1e-12

/* One matrix's pair in the flat vector: b [out, rank], a [rank, in]. */
struct pair {
    size_t b, a, out, in, rank;
    uint64_t number; /* names its draws */
};
enum part { ALONE, INNER, OUTER };
enum draw { OMEGA, PSI, FRESH };

/* What tensor t is, and of which pair. */
static enum part part_of(const struct params *p, const struct param *t,
                         struct pair *out)
{
    char other[PARAMS_NAME_MAX];
    size_t n = strlen(t->name);
    if (n < 7 || t->n_dims != 2 ||
        (strcmp(t->name + n - 7, ".lora_b") != 0 &&
         strcmp(t->name + n - 7, ".lora_a") != 0))
        return ALONE;
    int is_outer = t->name[n - 1] == 'b';
    snprintf(other, sizeof other, "%s", t->name);
    other[n - 1] = is_outer ? 'a' : 'b';
    const struct param *u = params_find(p, other);
    const struct param *b = is_outer ? t : u, *a = is_outer ? u : t;
    if (!u || u->n_dims != 2 || b->dims[1] != a->dims[0]) return ALONE;
    *out = (struct pair){b->offset,  a->offset,  b->dims[0],
                         a->dims[1], a->dims[0], (uint64_t)(b - p->list)};
    return is_outer ? OUTER : INNER;
}

static void draws_begin(struct rng *r, const struct strategy_config *c,
                        uint32_t round, const struct pair *p, enum draw which,
                        size_t row)
{
    uint64_t at = p->number << 2 | which;
    rng_init(r, c->seed ^ 0x666c6f7261U, round, at << ROWS_BITS | row);
}

static double drawn(struct rng *r, double bound)
{
    return (2 * rng_f64(r) - 1) * bound;
}

/* U(-b, b) of variance 1 / (PARTS rank). */
static double sketch_bound(const struct pair *p)
{
    return sqrt(3.0 / (double)(PARTS * p->rank));
}

/* ---- the device --------------------------------------------------------- */

static size_t own_rank(const struct strategy_local *l, const struct pair *p)
{
    return l->rank && l->rank < p->rank ? l->rank : p->rank;
}

/* Directions that are not trained stay where they are. */
static void gradient(const struct strategy_local *l, const float *w, float *g)
{
    const struct params *p = l->c->layout;
    struct pair x;
    (void)w;
    for (size_t i = 0; l->rank && i < p->n_params; i++) {
        if (part_of(p, &p->list[i], &x) != OUTER) continue;
        size_t rank = own_rank(l, &x);
        for (size_t o = 0; o < x.out; o++)
            for (size_t r = 0; r < x.rank - rank; r++)
                g[x.b + o * x.rank + r] = 0;
        for (size_t k = 0; k < (x.rank - rank) * x.in; k++) g[x.a + k] = 0;
    }
}

/* Column j of Y: B_k (A_k omega) - B (A omega). */
static void send_column(const struct strategy_local *l, const struct pair *p,
                        const float *w, size_t j, float *up)
{
    double now[STRATEGY_RANK_MAX] = {0}, then[STRATEGY_RANK_MAX] = {0};
    const float *a = w + p->a, *a0 = l->global + p->a;
    double bound = sketch_bound(p);
    size_t rank = own_rank(l, p);
    struct rng rng;
    draws_begin(&rng, l->c, l->round, p, OMEGA, j);
    for (size_t i = 0; i < p->in; i++) {
        double x = drawn(&rng, bound);
        for (size_t r = p->rank - rank; r < p->rank; r++) {
            now[r] += x * (double)a[r * p->in + i];
            then[r] += x * (double)a0[r * p->in + i];
        }
    }
    float *to = up + j / p->rank * l->n + p->b + j % p->rank;
    for (size_t o = 0; o < p->out; o++) {
        const float *b = w + p->b + o * p->rank;
        const float *b0 = l->global + p->b + o * p->rank;
        double sum = 0;
        for (size_t r = p->rank - rank; r < p->rank; r++)
            sum += (double)b[r] * now[r] - (double)b0[r] * then[r];
        to[o * p->rank] = (float)sum;
    }
}

/* Row j of W: (psi B_k) A_k - (psi B) A. */
static void send_row(const struct strategy_local *l, const struct pair *p,
                     const float *w, size_t j, float *up)
{
    double now[STRATEGY_RANK_MAX] = {0}, then[STRATEGY_RANK_MAX] = {0};
    const float *a = w + p->a, *a0 = l->global + p->a;
    double bound = sketch_bound(p);
    size_t rank = own_rank(l, p);
    struct rng rng;
    draws_begin(&rng, l->c, l->round, p, PSI, j);
    for (size_t o = 0; o < p->out; o++) {
        const float *b = w + p->b + o * p->rank;
        const float *b0 = l->global + p->b + o * p->rank;
        double x = drawn(&rng, bound);
        for (size_t r = p->rank - rank; r < p->rank; r++) {
            now[r] += x * (double)b[r];
            then[r] += x * (double)b0[r];
        }
    }
    float *to = up + j / p->rank * l->n + p->a + j % p->rank * p->in;
    for (size_t i = 0; i < p->in; i++) {
        double sum = 0;
        for (size_t r = p->rank - rank; r < p->rank; r++)
            sum += now[r] * (double)a[r * p->in + i] -
                   then[r] * (double)a0[r * p->in + i];
        to[i] = (float)sum;
    }
}

static void finish(const struct strategy_local *l, const float *w, float *up,
                   double *scalars)
{
    const struct params *p = l->c->layout;
    struct pair x;
    (void)scalars;
    for (size_t i = 0; i < l->n; i++) up[i] = w[i] - l->global[i];
    memset(up + l->n, 0, (PARTS - 1) * l->n * sizeof *up);
    for (size_t i = 0; i < p->n_params; i++) {
        if (part_of(p, &p->list[i], &x) != OUTER) continue;
        for (size_t j = 0; j < PARTS * x.rank; j++) {
            send_column(l, &x, w, j, up);
            send_row(l, &x, w, j, up);
        }
    }
}

/* ---- the server --------------------------------------------------------- */

/* Matrices of one pair; those by columns say so. */
struct work {
    double *y;          /* PARTS rank columns of out: the sketch, then Q */
    double *psi;        /* [out] one row of it */
    double *g, *gv;     /* n columns of PARTS rank, of n: Psi Q, its V */
    double *x;          /* [rank + n, in] rows: A, then eta X */
    double *left, *lv;  /* rank + n columns of out, of rank + n: B Q */
    double *right, *rv; /* rank + n columns of in, of rank + n */
    double *sigma;      /* [PARTS rank] */
    double *all;        /* owned */
    size_t n;           /* columns of Q */
};

static enum tacit_err work_new(const struct pair *p, struct work *w)
{
    size_t s = PARTS * p->rank, m = s;
    const size_t sizes[] = {s * p->out, p->out, s * s,     s * s, m * p->in,
                            m * p->out, m * m,  m * p->in, m * m, s};
    double **to[] = {&w->y,    &w->psi, &w->g,     &w->gv, &w->x,
                     &w->left, &w->lv,  &w->right, &w->rv, &w->sigma};
    size_t n = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) n += sizes[i];
    w->all = calloc(n, sizeof *w->all);
    if (!w->all)
        return fail(TACIT_NOMEM, "no memory to add up pairs of %zu x %zu",
                    p->out, p->in);
    double *at = w->all;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *to[i] = at;
        at += sizes[i];
    }
    return TACIT_OK;
}

MANY_TARGETS
static void add_scaled(double *to, double by, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] += by * from[i];
}

static void scale(double *v, double by, size_t n)
{
    for (size_t i = 0; i < n; i++) v[i] *= by;
}

/* Q: n unit columns at the head of y. */
static void span(const struct strategy_server *s, const struct pair *p,
                 const float *mean, struct work *w)
{
    size_t most = USED * p->rank;
    for (size_t j = 0; j < PARTS * p->rank; j++) {
        const float *from = mean + j / p->rank * s->n + p->b + j % p->rank;
        for (size_t o = 0; o < p->out; o++)
            w->y[j * p->out + o] = (double)from[o * p->rank];
    }
    svd_turn(w->y, p->out, PARTS * p->rank, NULL, w->sigma);
    for (w->n = 0; w->n < most && w->sigma[w->n] > TINY * w->sigma[0]; w->n++)
        scale(w->y + w->n * p->out, 1 / w->sigma[w->n], p->out);
}

/* X: least squares by the singular vectors of Psi Q, below A in x. */
static void solve(const struct strategy_server *s, const struct pair *p,
                  const float *mean, struct work *w)
{
    size_t rows = PARTS * p->rank, n = w->n;
    double bound = sketch_bound(p);
    for (size_t j = 0; j < rows; j++) {
        struct rng rng;
        draws_begin(&rng, s->c, s->round, p, PSI, j);
        for (size_t o = 0; o < p->out; o++) w->psi[o] = drawn(&rng, bound);
        for (size_t k = 0; k < n; k++)
            w->g[k * rows + j] = svd_dot(w->psi, w->y + k * p->out, p->out);
    }
    svd_turn(w->g, rows, n, w->gv, w->sigma);
    double *row = w->right; /* free until then */
    for (size_t k = 0; k < n && w->sigma[k] > TINY * w->sigma[0]; k++) {
        double by = s->c->server_lr / (w->sigma[k] * w->sigma[k]);
        memset(row, 0, p->in * sizeof *row);
        for (size_t j = 0; j < rows; j++) {
            const float *from =
                mean + j / p->rank * s->n + p->a + j % p->rank * p->in;
            double g = w->g[k * rows + j];
            for (size_t i = 0; i < p->in; i++) row[i] += g * (double)from[i];
        }
        for (size_t i = 0; i < n; i++)
            add_scaled(w->x + (p->rank + i) * p->in, by * w->gv[k * n + i], row,
                       p->in);
    }
}

/* The product [B Q] [A; X] as `right`: its columns are those of A^T V Sigma,
 * and left rv their partners. */
static void decompose(const struct strategy_server *s, const struct pair *p,
                      struct work *w)
{
    const float *b = s->weights + p->b;
    size_t m = p->rank + w->n;
    for (size_t r = 0; r < p->rank; r++)
        for (size_t o = 0; o < p->out; o++)
            w->left[r * p->out + o] = (double)b[o * p->rank + r];
    memcpy(w->left + p->rank * p->out, w->y, w->n * p->out * sizeof *w->y);
    svd_turn(w->left, p->out, m, w->lv, w->sigma);
    memset(w->right, 0, m * p->in * sizeof *w->right);
    for (size_t j = 0; j < m; j++) {
        if (!(w->sigma[j] > 0)) continue;
        for (size_t k = 0; k < m; k++)
            add_scaled(w->right + j * p->in, w->sigma[j] * w->lv[j * m + k],
                       w->x + k * p->in, p->in);
        scale(w->left + j * p->out, 1 / w->sigma[j], p->out);
    }
    svd_turn(w->right, p->in, m, w->rv, w->sigma);
}

/* The leading directions as B and A; drawn rows and zeros where none is. */
static void publish(struct strategy_server *s, const struct pair *p,
                    struct work *w)
{
    float *b = s->weights + p->b, *a = s->weights + p->a;
    size_t m = p->rank + w->n;
    double bound = 1 / sqrt((double)p->in), length = sqrt(1.0 / 3);
    for (size_t r = 0; r < p->rank; r++) {
        double sigma = w->sigma[r];
        int is_there = sigma > SMALL * w->sigma[0];
        struct rng rng;
        draws_begin(&rng, s->c, s->round, p, FRESH, r);
        for (size_t i = 0; i < p->in; i++)
            a[r * p->in + i] =
                (float)(is_there ? w->right[r * p->in + i] / sigma * length
                                 : drawn(&rng, bound));
        double *column = w->y; /* Q is in left by now */
        memset(column, 0, p->out * sizeof *column);
        for (size_t k = 0; is_there && k < m; k++)
            add_scaled(column, w->rv[r * m + k] * sigma / length,
                       w->left + k * p->out, p->out);
        for (size_t o = 0; o < p->out; o++)
            b[o * p->rank + r] = (float)column[o];
    }
}

static enum tacit_err merge_pair(struct strategy_server *s,
                                 const struct pair *p, const float *mean)
{
    struct work w = {0};
    TRY(work_new(p, &w));
    span(s, p, mean, &w);
    for (size_t i = 0; i < p->rank * p->in; i++)
        w.x[i] = (double)s->weights[p->a + i];
    if (w.n) {
        solve(s, p, mean, &w);
        decompose(s, p, &w);
        publish(s, p, &w);
    }
    free(w.all);
    return TACIT_OK;
}

static enum tacit_err merge(struct strategy_server *s, const float *mean)
{
    const struct params *p = s->c->layout;
    struct pair x;
    for (size_t i = 0; i < p->n_params; i++) {
        const struct param *t = &p->list[i];
        enum part is = part_of(p, t, &x);
        if (is == OUTER) TRY(merge_pair(s, &x, mean));
        for (size_t k = t->offset; is == ALONE && k < t->offset + t->len; k++)
            s->weights[k] = (float)((double)s->weights[k] +
                                    s->c->server_lr * (double)mean[k]);
    }
    return TACIT_OK;
}

const struct strategy strategy_flora = {
    .name = "flora",
    .paper = "Wang et al. 2024",
    .flags = STRATEGY_SUM,
    .n_up = PARTS,
    .gradient = gradient,
    .finish = finish,
    .merge = merge,
};
