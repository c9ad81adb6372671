/*
 * FedAvgM: Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data
 * Distribution for Federated Visual Classification, 2019 (arXiv 1909.06335).
 *
 *   v <- beta v + sum_i p_i delta_i
 *   x <- x + eta_g v
 *
 * Differs in: a server learning rate (1 is the paper); each delta_i is clipped
 * to the plan's bound.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    float *v = s->state;
    (void)scalars;
    for (size_t i = 0; i < s->n; i++) {
        double m = s->c->momentum * (double)v[i] + (double)mean[i];
        v[i] = (float)m;
        s->weights[i] = (float)((double)s->weights[i] + s->c->server_lr * m);
    }
}

const struct strategy strategy_fedavgm = {
    .name = "fedavgm",
    .paper = "Hsu et al. 2019",
    .flags = STRATEGY_SUM,
    .n_up = 1,
    .n_server = 1,
    .apply = apply,
};
