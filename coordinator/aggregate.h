/*
 * aggregate: a plan's newest model with what the strategy keeps beside it, and
 * the step from secure sums to the next version. No socket, no store, no clock:
 * the coordinator and the simulator both learn through it.
 *
 *   mean of a sum ──aggregate_take──> [one per group]
 *                                        │ aggregate_step: combine, apply
 *                                        v
 *                    next: [ weights | strategy.down ], state
 *                                        │ the host makes it durable
 *                                        v  aggregate_adopt
 *
 * A step only computes; what is current stays so until it is adopted, so that a
 * full disk loses no version.
 *
 * Thread rule: one owner thread.
 */
#ifndef TACIT_COORDINATOR_AGGREGATE_H
#define TACIT_COORDINATOR_AGGREGATE_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"
#include "common/privacy/ring.h"
#include "common/task/task.h"

struct aggregate {
    const struct plan *plan; /* borrowed */
    const struct strategy *strategy;
    struct strategy_config numbers;
    struct model *model;  /* owned: the newest weights */
    struct params file;   /* owned: the newest model file's tensors */
    struct params next;   /* owned: … and the next's, after a step */
    struct params state;  /* owned: strategy.state, when it keeps any */
    struct params state2; /* owned: the next */
    struct ring_layout layout;
    struct task_privacy privacy;
    size_t n; /* weights */
    /* Taken since the last step. */
    float **mean;   /* [n_taken] of [n_up * n], owned */
    double *weight; /* [n_taken] */
    unsigned n_taken, n_room, n_clients;
    unsigned n_refused;                   /* held NaN or infinity */
    double scalars[STRATEGY_SCALARS_MAX]; /* weighted sums */
    double weight_sum;
    float *root; /* [n] trusted mean, owned; NULL: none was taken */
    int stepped;
};

/* Version 0, drawn from the plan's seed. plan is borrowed for its life. */
TACIT_CHECKED enum tacit_err aggregate_new(const struct plan *plan,
                                           struct aggregate **out);
void aggregate_free(struct aggregate *a);
/* After `file` or `state` were loaded from elsewhere. */
void aggregate_loaded(struct aggregate *a);
/* Keep a sum's mean [n_up * n] for the next step: a copy. trusted: it is the
 * root of a rule that wants one, and nothing else. What holds NaN or infinity
 * is left out and counted in n_refused: a secure sum never does, a single
 * update of a simulation may, and may not end the round for all. */
TACIT_CHECKED enum tacit_err aggregate_take(struct aggregate *a,
                                            const float *mean,
                                            const struct ring_mean *m,
                                            int trusted);
/* Forget what was taken. */
void aggregate_drop(struct aggregate *a);
struct aggregate_step {
    uint32_t round;        /* 1-based */
    uint32_t n_population; /* members in all */
    uint32_t staleness;    /* FedBuff */
};
/* Compute a->next and a->state2 from what was taken. E_LOSS_NAN when a weight
 * would not be a number or no update is one, E_STRATEGY_FEW when the rule wants
 * more updates, STATE when nothing was taken. */
TACIT_CHECKED enum tacit_err aggregate_step(struct aggregate *a,
                                            const struct aggregate_step *s);
/* The step is durable: make it the newest, and forget what was taken. */
void aggregate_adopt(struct aggregate *a);

#endif
