/*
 * Ditto: Li et al., Fair and Robust Federated Learning Through Personalization,
 * ICML 2021 (arXiv 2012.04221), algorithm 1.
 *
 *   global:   as FedAvg
 *   personal: g <- g + lambda (v_i - x), K steps from the device's own v_i
 *
 * v_i never leaves the device. It starts at x.
 * Differs in: the global part runs the plan's optimiser, the personal part the
 * same with the same number of steps; the paper's solver may be any.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

static void personal(const struct strategy_local *l, const float *w, float *g)
{
    float lambda = (float)l->c->lambda;
    for (size_t i = 0; i < l->n; i++) g[i] += lambda * (w[i] - l->global[i]);
}

const struct strategy strategy_ditto = {
    .name = "ditto",
    .paper = "Li et al. 2021",
    .flags = STRATEGY_SUM | STRATEGY_PERSONAL,
    .n_up = 1,
    .n_client = 1,
    .personal = personal,
};
