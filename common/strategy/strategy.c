#include "common/tensor/vectorise.h"

#include "common/strategy/strategy.h"

#include <math.h>
#include <string.h>

#include "common/base/yaml.h"
#include "common/strategy/rows.h"

static const struct strategy *const table[] = {
    &strategy_fedavg,   &strategy_fedavgm,   &strategy_fedprox,
    &strategy_fedadam,  &strategy_fedyogi,   &strategy_fedadagrad,
    &strategy_scaffold, &strategy_fednova,   &strategy_feddyn,
    &strategy_qfedavg,  &strategy_fedbuff,   &strategy_ditto,
    &strategy_fedper,   &strategy_finetune,  &strategy_median,
    &strategy_trimmed,  &strategy_krum,      &strategy_multikrum,
    &strategy_bulyan,   &strategy_geomedian, &strategy_normbound,
    &strategy_cclip,    &strategy_fltrust,
};
enum { N_STRATEGIES = sizeof table / sizeof *table };

enum tacit_err strategy_find(const char *name, const struct strategy **out)
{
    const char *names[N_STRATEGIES];
    for (size_t i = 0; i < N_STRATEGIES; i++) {
        names[i] = table[i]->name;
        if (strcmp(table[i]->name, name) != 0) continue;
        *out = table[i];
        return TACIT_OK;
    }
    const char *near = yaml_nearest(name, names, N_STRATEGIES);
    return fail(TACIT_NOTFOUND, "no strategy `%.32s`%s%s%s", name,
                near ? "; did you mean `" : "", near ? near : "",
                near ? "`?" : "");
}

const struct strategy *strategy_at(size_t i)
{
    return i < N_STRATEGIES ? table[i] : NULL;
}

int strategy_keeps_model(const struct strategy *s)
{
    /* One that moves the start keeps what stands in for a part of the global
     * model. */
    return s->flags & STRATEGY_PERSONAL && s->n_client == 1 && !s->begin;
}

double strategy_steps(uint32_t n_steps, double momentum)
{
    double k = (double)n_steps, rho = momentum;
    return rho > 0 ? (k - rho * (1 - pow(rho, k)) / (1 - rho)) / (1 - rho) : k;
}

MANY_TARGETS
static void difference(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = a[i] - b[i];
}

MANY_TARGETS
static void add_scaled(float *to, double factor, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((double)to[i] + factor * (double)from[i]);
}

void strategy_finish(const struct strategy *s, const struct strategy_local *l,
                     const float *w, float *up, double *scalars)
{
    for (unsigned i = 0; i < s->n_scalars; i++) scalars[i] = 0;
    if (s->finish) {
        s->finish(l, w, up, scalars);
        return;
    }
    difference(up, w, l->global, l->n);
}

enum tacit_err strategy_apply(const struct strategy *st,
                              struct strategy_server *s, const float *mean,
                              const double *scalars)
{
    if (st->merge) return st->merge(s, mean);
    if (st->apply)
        st->apply(s, mean, scalars);
    else
        add_scaled(s->weights, s->c->server_lr, mean, s->n);
    return TACIT_OK;
}
