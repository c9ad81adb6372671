/*
 * trainer: local training of one round: global weights in, an update with its
 * weight and metrics out. Pure: the same examples, weights and task give the
 * same bits on one machine.
 *
 *   x, down, state ──begin──> w ──K steps, gradient──> y ──finish──> up, state'
 *
 * begin, gradient and finish are the strategy's (common/strategy); for FedAvg
 * they are nothing, nothing, and up = y - x.
 */
#ifndef TACIT_CLIENT_TRAINER_H
#define TACIT_CLIENT_TRAINER_H

#include <stdint.h>

#include "client/examples.h"
#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"
#include "common/task/task.h"

/* What a local training starts from; all borrowed. */
struct trainer_task {
    const struct plan *plan;
    const struct strategy *strategy;
    const struct strategy_config *numbers;
    const float *down;  /* [n_down * n] or NULL */
    const float *state; /* [n_client * n], NULL before this device's first */
    uint32_t round;
    uint64_t client; /* names the device's stream of batches */
    double work;     /* share of the local steps to make: 1 */
    uint32_t rank;   /* most that it trains of a pair of adapter.kind flora;
                        0: the plan's */
    /* Rows of the training that will follow; NULL: not known (model.h). */
    const struct examples *next;
    /* For a plan with privacy, else NULL: its noise, and what it is drawn from:
     * [32] fresh secret bytes for every update. */
    const struct task_privacy *privacy;
    const uint8_t *secret;
    /* As of struct model_training: E_INTERRUPTED. */
    int (*stopped)(const void *of);
    const void *of;
};

struct trained {
    float *up;         /* [n_up * n] */
    float *next_state; /* [n_client * n], NULL when n_client is 0 */
    int32_t *whole;    /* [n] under privacy, in place of up; else NULL */
    uint32_t weight;   /* inside the sum, 1 … RING_WEIGHT_MAX */
    double metrics[TASK_METRICS];
    size_t n_examples;
    size_t n_left_out; /* of a private round's sample: without a gradient */
    int without_own;   /* under privacy: no model of its own came of it, and
                          what was kept before stays */
    int unclipped;     /* a simulated attacker (ring.h) */
};

/* Room for what a strategy sends and keeps of n weights. */
TACIT_CHECKED enum tacit_err trained_new(const struct strategy *s, size_t n,
                                         struct trained *out);
/* Wipes. */
void trained_release(struct trained *t, const struct strategy *s, size_t n);

/* Local steps of a device with so many rows: the plan's, or its epochs in
 * batches, times the share of them that it makes; at least 1. */
uint32_t trainer_steps(const struct plan *p, size_t n_rows, double work);
/* model_fits() of the plan's batches of these rows. */
TACIT_CHECKED enum tacit_err trainer_fits(const struct plan *p, struct model *m,
                                          const struct examples *rows,
                                          uint64_t *out_bytes);
/* Train m (holding the round's global weights) on d->train. m's weights are put
 * back. E_LOSS_NAN, E_NO_EXAMPLES, E_TRAIN_MEMORY before anything runs. */
TACIT_CHECKED enum tacit_err trainer_run(const struct trainer_task *t,
                                         struct model *m,
                                         const struct dataset *d,
                                         struct trained *out);

#endif
