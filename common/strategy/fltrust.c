/*
 * FLTrust: Cao et al., Byzantine-robust Federated Learning via Trust
 * Bootstrapping, NDSS 2021 (arXiv 2012.13995), algorithm 2.
 *
 *   t_i  = max(0, cos(delta_i, root))
 *   mean = sum_i t_i delta_i |root| / |delta_i|  /  sum_i t_i
 *
 * Differs in: the paper's root update comes from a clean set that the server
 * holds. Here the coordinator holds no examples: the root is the update of a
 * trusted device (in a simulation without secure aggregation) or the mean of a
 * trusted group. When no update agrees with the root, the root is the mean.
 * Secure aggregation: across the means of groups.
 */
#include <stdlib.h>

#include "common/base/codes.h"
#include "common/strategy/rows.h"

static enum tacit_err fltrust(const struct strategy_config *c,
                              const struct strategy_updates *u, float *mean)
{
    (void)c;
    if (!u->root)
        return fail_as(E_STRATEGY_FEW,
                       "fltrust: no trusted update in this round");
    double *t = malloc(u->k * sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "%zu updates", u->k);
    double root_norm = strategy_norm(u->root, u->n), sum = 0;
    for (size_t i = 0; i < u->k; i++) {
        double dot = 0, norm = strategy_norm(u->row[i], u->n);
        for (size_t l = 0; l < u->n; l++)
            dot += (double)u->row[i][l] * (double)u->root[l];
        double cosine =
            norm > 0 && root_norm > 0 ? dot / (norm * root_norm) : 0;
        double trust = cosine > 0 ? cosine : 0;
        sum += trust;
        t[i] = trust > 0 ? trust * root_norm / norm : 0;
    }
    for (size_t l = 0; l < u->n; l++) {
        double x = 0;
        for (size_t i = 0; i < u->k; i++) x += t[i] * (double)u->row[i][l];
        mean[l] = sum > 0 ? (float)(x / sum) : u->root[l];
    }
    free(t);
    return TACIT_OK;
}

const struct strategy strategy_fltrust = {
    .name = "fltrust",
    .paper = "Cao et al. 2021",
    .flags = STRATEGY_SINGLES | STRATEGY_ROOTED,
    .n_up = 1,
    .combine = fltrust,
};
