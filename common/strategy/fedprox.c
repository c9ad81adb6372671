/*
 * FedProx: Li et al., Federated Optimization in Heterogeneous Networks, MLSys
 * 2020 (arXiv 1812.06127), equation 2.
 *
 *   device: minimise F_i(w) + mu/2 |w - x|^2, so g <- g + mu (w - x)
 *   server: as FedAvg
 *
 * Devices that have done fewer steps are not dropped: their update counts as it
 * is (the paper's gamma-inexact solutions).
 * Differs in: devices are drawn uniformly and weighted by examples, as the
 * paper's experiments are, not its algorithm 2; any local optimiser may run.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

static void gradient(const struct strategy_local *l, const float *w, float *g)
{
    float mu = (float)l->c->mu;
    for (size_t i = 0; i < l->n; i++) g[i] += mu * (w[i] - l->global[i]);
}

const struct strategy strategy_fedprox = {
    .name = "fedprox",
    .paper = "Li et al. 2020",
    .flags = STRATEGY_SUM,
    .n_up = 1,
    .gradient = gradient,
};
