/* fleet: from the means of sums to the next model, and what devices keep of it.
 * See fleet_parts.h. */
#include <stdlib.h>

#include "sims/fleet_parts.h"

/* States and losses of those whose update counts. */
static void remember(struct sum *s)
{
    struct fleet *f = s->f;
    for (size_t i = 0; i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        if (!x->in_sum || x->err) continue;
        f->clients[x->client].loss = x->loss;
        f->clients[x->client].duration_ms = x->offset_ms[HANDSET_INPUT];
        if (!x->next_state) continue;
        free(f->kept[x->client]);
        f->kept[x->client] = x->next_state;
        x->next_state = NULL;
    }
}

/* The mean of the trusted updates is one update: the root. */
static enum tacit_err take_root(struct sum *s)
{
    struct aggregate *a = s->f->learned;
    size_t n = a->n * a->strategy->n_up;
    struct ring_mean all = {0};
    float *mean = malloc(n * sizeof *mean);
    if (!mean) return fail(TACIT_NOMEM, "an update of %zu numbers", n);
    for (size_t i = 0; i < s->n_seats; i++) {
        const struct seat *x = &s->seats[i];
        if (!x->row || !x->trusted) continue;
        all.n_clients += x->mean.n_clients;
        all.weight += x->mean.weight;
    }
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (size_t i = 0; i < s->n_seats; i++) {
            const struct seat *x = &s->seats[i];
            if (x->row && x->trusted)
                sum += (double)x->mean.weight * (double)x->row[k];
        }
        mean[k] = (float)(sum / (double)all.weight);
    }
    enum tacit_err err =
        all.weight ? aggregate_take(a, mean, &all, 1) : TACIT_OK;
    free(mean);
    return err;
}

/* A sum's mean, or every update of it, to the strategy. */
static enum tacit_err take(struct sum *s)
{
    struct aggregate *a = s->f->learned;
    if (!s->singles)
        return aggregate_take(a, s->update, &s->mean, s->group == 0);
    TRY(take_root(s));
    for (size_t i = 0; i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        if (!x->row || x->trusted) continue;
        TRY(aggregate_take(a, x->row, &x->mean, 0));
        /* A thousand updates are held once; but a buffer under way is taken
         * again when its round was undone. */
        if (a->strategy->flags & STRATEGY_ASYNC) continue;
        free(x->row);
        x->row = NULL;
    }
    return TACIT_OK;
}

/* Weighted means of the metrics, over sums and over single updates. */
static void add_metrics(const struct ring_mean *m, double *sums, double *weight)
{
    double w = (double)m->weight;
    for (int i = 0; i < TASK_METRICS; i++) sums[i] += w * m->metrics[i];
    *weight += w;
}

static void tell_metrics(struct sum *const *list, unsigned n,
                         struct fleet_round *out)
{
    double m[TASK_METRICS] = {0}, weight = 0;
    for (unsigned k = 0; k < n; k++) {
        const struct sum *s = list[k];
        if (!s->committed) continue;
        if (!s->singles) add_metrics(&s->mean, m, &weight);
        for (size_t i = 0; s->singles && i < s->n_seats; i++)
            if (s->seats[i].mean.n_clients)
                add_metrics(&s->seats[i].mean, m, &weight);
    }
    if (!(weight > 0)) return;
    double held = m[TASK_HELD_OUT];
    out->loss_before = m[TASK_LOSS_BEFORE] / weight;
    out->loss_after = m[TASK_LOSS_AFTER] / weight;
    out->has_metric = held > 0;
    if (held > 0) out->metric = m[TASK_METRIC] / held;
    out->has_personal = held > 0 && out->has_metric &&
                        list[0]->f->c.plan->strategy.personalises;
    if (out->has_personal) out->personal = m[TASK_PERSONAL] / held;
}

/* ---- the next model ----------------------------------------------------- */

/* Step with what was taken, seal, adopt. */
static enum tacit_err step(struct fleet *f, uint32_t staleness,
                           unsigned n_clients)
{
    struct aggregate *a = f->learned;
    const struct aggregate_step how = {.round = f->version.version + 1,
                                       .n_population = (uint32_t)f->c.n_clients,
                                       .staleness = staleness};
    struct models_version v = {.plan_hash = f->c.plan->hash,
                               .parent_hash = f->version.model_hash,
                               .version = f->version.version + 1,
                               .round = f->version.version + 1,
                               .n_clients = n_clients};
    struct buf file;
    buf_init(&file, 0);
    enum tacit_err err = aggregate_step(a, &how);
    if (!err) err = fleet_seal(f, &a->next, &v, &file);
    if (err) {
        buf_release(&file);
        aggregate_drop(a);
        return err;
    }
    aggregate_adopt(a);
    buf_release(&f->file);
    f->file = file;
    f->version = v;
    return TACIT_OK;
}

enum tacit_err fleet_learn(struct fleet *f, struct sum *const *list, unsigned n,
                           struct fleet_round *out)
{
    unsigned n_clients = 0;
    enum tacit_err err = TACIT_OK;
    for (unsigned i = 0; !err && i < n; i++) {
        if (!list[i]->committed) continue;
        n_clients += list[i]->n_inputs;
        err = take(list[i]);
    }
    if (!err) err = step(f, out->staleness, n_clients);
    if (err) {
        aggregate_drop(f->learned);
        return err;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!list[i]->committed) continue;
        if (list[i]->full) TRY(fleet_full_finish(list[i]));
        remember(list[i]);
    }
    tell_metrics(list, n, out);
    return TACIT_OK;
}
