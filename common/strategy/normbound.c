/*
 * Norm bounding: Sun et al., Can You Really Backdoor Federated Learning?, 2019
 * (arXiv 1911.07963), section 4.
 *
 *   mean = sum_i p_i delta_i min(1, bound / |delta_i|)
 *
 * The plan's clip bounds honest devices already; this is the coordinator's own
 * check, for devices that do not keep to it.
 * Differs in: no noise is added to the mean (the paper's weak differential
 * privacy); p_i come from example counts as in FedAvg.
 * Secure aggregation: across the means of groups.
 */
#include <stdlib.h>

#include "common/strategy/rows.h"

static enum tacit_err normbound(const struct strategy_config *c,
                                const struct strategy_updates *u, float *mean)
{
    double *p = malloc(u->k * sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "%zu updates", u->k);
    strategy_shares(u, p);
    for (size_t i = 0; i < u->k; i++) {
        double norm = strategy_norm(u->row[i], u->n);
        if (norm > c->bound) p[i] *= c->bound / norm;
    }
    for (size_t l = 0; l < u->n; l++) {
        double x = 0;
        for (size_t i = 0; i < u->k; i++) x += p[i] * (double)u->row[i][l];
        mean[l] = (float)x;
    }
    free(p);
    return TACIT_OK;
}

const struct strategy strategy_normbound = {
    .name = "normbound",
    .paper = "Sun et al. 2019",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = normbound,
};
