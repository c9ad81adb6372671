/* fleet: the newest model on held-out rows: of each client, and in all. */
#include "sims/fleet_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sims/attacks.h"

enum { BLOCK_ROWS = 500 };

struct measuring {
    struct fleet *f;
    const struct examples *test; /* a common set, or NULL: the clients' own */
    struct model_metrics *got;   /* [n], zeros where there is nothing */
    enum tacit_err *err;         /* [n] */
    size_t n;
    int triggered; /* rows of other labels, with the backdoor's trigger on */
};

static enum tacit_err worker_model(const struct fleet *f, struct worker *w)
{
    struct model_spec spec;
    if (!w->model) {
        task_spec(f->c.plan, &spec);
        TRY(model_new(&spec, &w->model));
    }
    struct params *p = model_params(w->model);
    memcpy(p->flat, f->learned->file.flat, p->n_flat * sizeof *p->flat);
    return TACIT_OK;
}

/* Rows [i * BLOCK_ROWS, …) of the common set, or all where a metric does not
 * come apart. */
static struct examples block(const struct measuring *m, size_t i)
{
    struct examples e = *m->test;
    if (m->n == 1) return e;
    size_t first = i * BLOCK_ROWS, left = e.n_rows - first;
    size_t y_dim = e.y_dim ? e.y_dim : 1;
    e.n_rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
    e.x += first * e.x_dim;
    if (e.y) e.y += first * y_dim;
    return e;
}

/* Copies of e's rows of other labels, with the trigger, as rows of the label
 * that the attackers want: the accuracy on them is the attack's success. */
static enum tacit_err trigger(const struct fleet *f, struct examples *e,
                              float **owned)
{
    const struct plan *p = f->c.plan;
    const float to = (float)p->sim.attack_to;
    size_t n = 0;
    float *x = malloc((e->n_rows * (e->x_dim + 1) + 1) * sizeof *x);
    *owned = x;
    if (!x) return fail(TACIT_NOMEM, "%zu rows with a trigger", e->n_rows);
    float *y = x + e->n_rows * e->x_dim;
    for (size_t i = 0; i < e->n_rows; i++) {
        if (e->y[i] == to) continue;
        memcpy(x + n * e->x_dim, e->x + i * e->x_dim, e->x_dim * sizeof *x);
        attacks_trigger(p, x + n * e->x_dim, e->x_dim);
        y[n++] = to;
    }
    e->n_rows = n;
    e->x = x;
    e->y = y;
    return TACIT_OK;
}

static void one(void *ctx, size_t i, unsigned worker)
{
    struct measuring *m = ctx;
    struct fleet *f = m->f;
    struct worker *w = &f->workers[worker];
    if (!fleet_is_mine(f, i)) return;
    struct examples e = m->test ? block(m, i) : f->c.data[i].test;
    float *owned = NULL;
    if (e.n_rows == 0) return;
    m->err[i] = worker_model(f, w);
    if (!m->err[i] && m->triggered) m->err[i] = trigger(f, &e, &owned);
    if (!m->err[i] && e.n_rows)
        m->err[i] = model_evaluate(w->model, &e, &m->got[i]);
    free(owned);
    err_clear();
}

/* Regression's metric is a root: its square adds up. */
static double additive(const struct fleet *f, double metric)
{
    return f->c.plan->task == PLAN_REGRESS ? metric * metric : metric;
}

static void pool_up(const struct measuring *m, struct fleet_round *out)
{
    double loss = 0, metric = 0, n = 0;
    for (size_t i = 0; i < m->n; i++) {
        double rows = (double)m->got[i].n_rows;
        loss += m->got[i].loss * rows;
        metric += additive(m->f, m->got[i].metric) * rows;
        n += rows;
    }
    out->has_pooled = n > 0;
    if (!out->has_pooled) return;
    metric /= n;
    if (m->f->c.plan->task == PLAN_REGRESS) metric = sqrt(metric);
    out->pooled = (struct model_metrics){.loss = loss / n,
                                         .metric = metric,
                                         .n_rows = (size_t)n};
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static enum tacit_err spread(const struct measuring *m,
                             struct fleet_spread *out)
{
    double *v = malloc((m->n ? m->n : 1) * sizeof *v), sum = 0, square = 0;
    size_t n = 0;
    *out = (struct fleet_spread){0};
    if (!v) return fail(TACIT_NOMEM, "%zu clients", m->n);
    for (size_t i = 0; i < m->n; i++)
        if (m->got[i].n_rows) v[n++] = m->got[i].metric;
    if (n) {
        int low_is_bad = m->f->c.plan->task != PLAN_REGRESS;
        size_t tenth = (n + 9) / 10;
        qsort(v, n, sizeof *v, ascending);
        for (size_t i = 0; i < n; i++) sum += v[i];
        out->n = n;
        out->mean = sum / (double)n;
        for (size_t i = 0; i < n; i++)
            square += (v[i] - out->mean) * (v[i] - out->mean);
        out->sd = n > 1 ? sqrt(square / (double)(n - 1)) : 0;
        out->low = v[(n - 1) / 10];
        out->median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
        out->high = v[(n - 1) * 9 / 10];
        for (size_t i = 0; i < tenth; i++)
            out->worst += v[low_is_bad ? i : n - 1 - i] / (double)tenth;
    }
    free(v);
    return TACIT_OK;
}

static enum tacit_err measure(struct measuring *m)
{
    struct fleet *f = m->f;
    m->got = calloc(m->n ? m->n : 1, sizeof *m->got);
    m->err = calloc(m->n ? m->n : 1, sizeof *m->err);
    if (!m->got || !m->err) return fail(TACIT_NOMEM, "%zu figures", m->n);
    pool_run(f->pool, m->n, one, m);
    for (size_t i = 0; i < m->n; i++)
        if (m->err[i])
            return fail(m->err[i], "the model could not be measured on the "
                                   "held-out rows");
    if (!f->c.peers) return TACIT_OK;
    return f->c.peers->merge(f->c.peers->ctx, m->got, m->n * sizeof *m->got);
}

static void measuring_release(struct measuring *m)
{
    free(m->got);
    free(m->err);
}

/* On the same rows as the pooled figures. */
static enum tacit_err measure_backdoor(const struct measuring *of,
                                       struct fleet_round *out)
{
    struct measuring m = {.f = of->f,
                          .test = of->test,
                          .n = of->n,
                          .triggered = 1};
    struct fleet_round got = {0};
    enum tacit_err err = measure(&m);
    if (!err) pool_up(&m, &got);
    out->has_backdoor = got.has_pooled;
    out->backdoor = got.pooled.metric;
    measuring_release(&m);
    return err;
}

enum tacit_err fleet_measure(struct fleet *f, struct fleet_round *out)
{
    enum plan_task t = f->c.plan->task;
    struct measuring own = {.f = f, .n = f->c.n_clients};
    struct measuring all = {.f = f, .test = f->c.test};
    enum tacit_err err = measure(&own);
    if (!err) err = spread(&own, &out->spread);
    if (!err && f->c.test && f->c.test->n_rows) {
        int whole = t == PLAN_COX || t == PLAN_RETRIEVER;
        all.n = whole ? 1 : (f->c.test->n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
        err = measure(&all);
        if (!err) pool_up(&all, out);
    } else if (!err) {
        pool_up(&own, out);
    }
    if (!err && f->c.plan->sim.attack == PLAN_ATTACK_BACKDOOR)
        err = measure_backdoor(all.n ? &all : &own, out);
    measuring_release(&own);
    measuring_release(&all);
    return err;
}
