/*
 * strategy: how the mean update of a round changes the model. One const table;
 * a new strategy is a new row (coordinator/README.md shows one).
 *
 *   FedAvg   w <- w + lr * mean,   mean = sum_i w_i delta_i / sum_i w_i
 *            McMahan et al., AISTATS 2017 (arXiv 1602.05629), algorithm 1.
 *            Differs in: each delta_i is clipped to the plan's L2 bound first,
 *            and w_i are the capped example counts of the secure sum.
 */
#ifndef TACIT_COORDINATOR_STRATEGY_H
#define TACIT_COORDINATOR_STRATEGY_H

#include <stddef.h>

#include "common/base/err.h"

struct strategy {
    const char *name;
    /* weights [n] in place from mean [n]. */
    void (*apply)(float *weights, const float *mean, size_t n, double lr);
};

/* NOTFOUND names the known ones. */
TACIT_CHECKED enum tacit_err strategy_find(const char *name,
                                           const struct strategy **out);
/* Row i, or NULL past the end. */
const struct strategy *strategy_at(size_t i);

#endif
