/*
 * FedNova: Wang et al., Tackling the Objective Inconsistency Problem in
 * Heterogeneous Federated Optimization, NeurIPS 2020 (arXiv 2007.07481),
 * equations 3 and 9 with tau_eff = sum_i p_i a_i.
 *
 *   a_i = K                                              plain SGD
 *   a_i = (K - rho (1 - rho^K) / (1 - rho)) / (1 - rho)  momentum rho
 *   x <- x + eta_g (sum_i p_i a_i) (sum_i p_i delta_i / a_i)
 *
 * Differs in: on the wire delta_i is scaled by a_ref / a_i and a_i by 1/a_ref,
 * where a_ref is that of the plan's number of steps; the product is the same.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

static void finish(const struct strategy_local *l, const float *w, float *up,
                   double *scalars)
{
    double a = strategy_steps(l->steps, l->momentum);
    double reference = strategy_steps(l->c->steps, l->momentum);
    for (size_t i = 0; i < l->n; i++)
        up[i] = (float)(((double)w[i] - (double)l->global[i]) * reference / a);
    scalars[0] = a / reference;
}

static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    double lr = s->c->server_lr * scalars[0];
    for (size_t i = 0; i < s->n; i++)
        s->weights[i] = (float)((double)s->weights[i] + lr * (double)mean[i]);
}

const struct strategy strategy_fednova = {
    .name = "fednova",
    .paper = "Wang et al. 2020",
    .flags = STRATEGY_SUM | STRATEGY_PLAIN_SGD,
    .n_up = 1,
    .n_scalars = 1,
    .finish = finish,
    .apply = apply,
};
