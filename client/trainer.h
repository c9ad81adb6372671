/*
 * trainer: local training of one round: global weights in, an update with its
 * weight and metrics out. Pure: the same examples, weights and task give the
 * same bits on one machine.
 *
 *   w_global ──E steps on batches of the site's rows──> w_local
 *   delta = w_local - w_global                          [n_flat]
 */
#ifndef TACIT_CLIENT_TRAINER_H
#define TACIT_CLIENT_TRAINER_H

#include <stdint.h>

#include "client/examples.h"
#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"
#include "common/wire/limits.h"

/* The architecture a plan asks for; borrows strings from the plan. */
void trainer_spec(const struct plan *plan, struct model_spec *out);

struct trained {
    float *delta;    /* [n_flat], the caller's */
    uint32_t weight; /* inside the sum, 1 … RING_WEIGHT_MAX */
    double metrics[WIRE_METRICS];
    size_t n_examples;
};

/* Train m (holding the round's global weights) on d->train. client names the
 * device's stream of batches. out->delta is filled; m's weights are put back.
 * E_LOSS_NAN, E_NO_EXAMPLES. */
TACIT_CHECKED enum tacit_err trainer_run(const struct plan *plan,
                                         struct model *m,
                                         const struct dataset *d,
                                         uint64_t round, uint64_t client,
                                         struct trained *out);

#endif
