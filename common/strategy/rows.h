/* rows: what the strategy files offer to the table in strategy.c. */
#ifndef TACIT_STRATEGY_ROWS_H
#define TACIT_STRATEGY_ROWS_H

#include "common/strategy/strategy.h"

extern const struct strategy strategy_fedavg, strategy_fedavgm,
    strategy_fedprox, strategy_fedadam, strategy_fedyogi, strategy_fedadagrad,
    strategy_scaffold, strategy_fednova, strategy_feddyn, strategy_qfedavg,
    strategy_fedbuff, strategy_ditto, strategy_fedper, strategy_finetune,
    strategy_median, strategy_trimmed, strategy_krum, strategy_multikrum,
    strategy_bulyan, strategy_geomedian, strategy_normbound, strategy_cclip,
    strategy_fltrust;

/* Squared distances of all pairs, [k * k]. */
void strategy_distances(const struct strategy_updates *u, double *out);
/* Krum's score of row i among the rows that `alive` marks: the sum of its
 * n_near smallest distances to others. scratch [k]. */
double strategy_krum_score(const double *distance, const int *alive, size_t k,
                           size_t i, size_t n_near, double *scratch);
double strategy_norm(const float *v, size_t n);
/* What K steps of SGD with this momentum add up to, in gradients: FedNova's
 * |a|_1 = (K - rho (1 - rho^K) / (1 - rho)) / (1 - rho), K for rho = 0. */
double strategy_steps(uint32_t n_steps, double momentum);
/* weights of the rows, scaled to sum 1, into out [k]. */
void strategy_shares(const struct strategy_updates *u, double *out);

#endif
