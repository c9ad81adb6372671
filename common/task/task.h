/*
 * task: what a plan asks for, said in the terms of model, strategy and ring.
 * Devices and coordinator both build from it, so they cannot differ.
 *
 *   plan ──> model_spec ──> model          layout of n weights
 *        ──> strategy + its numbers        n_up, n_down, scalars
 *        ──> ring_layout                   [ n_up * n | aggregates | checks ]
 *        ──> model file                    [ weights | strategy.down ]
 *
 * A model file is the model's tensors and, where the strategy sends something
 * along (SCAFFOLD's c), one more tensor behind them.
 */
#ifndef TACIT_TASK_TASK_H
#define TACIT_TASK_TASK_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"
#include "common/privacy/ring.h"
#include "common/privacy/rowsum.h"
#include "common/strategy/strategy.h"
#include "common/tensor/params.h"

#define TASK_DOWN "strategy.down"

/* Metrics of every round, as weighted means inside the sum. The losses are of
 * the batches that local training goes through, each before its step. */
enum task_metric {
    TASK_LOSS_BEFORE, /* mean of the first half of the steps */
    TASK_LOSS_AFTER,  /* of the second half */
    TASK_METRIC,      /* held out, of the model the round starts from */
    TASK_HELD_OUT,    /* 1 where a device has held-out rows, else 0 */
    TASK_SCALARS,     /* the strategy's */
    /* Held out, of the device's own model. */
    TASK_PERSONAL = TASK_SCALARS + STRATEGY_SCALARS_MAX,
    TASK_METRICS
};

/* The architecture; borrows strings from the plan. */
void task_spec(const struct plan *plan, struct model_spec *out);
/* How it trains locally: optimiser and its numbers, batch, seed. How many
 * steps, of which round and which device, is for whoever trains; borrows
 * strings. */
void task_training(const struct plan *plan, struct model_training *out);
/* The strategy and its numbers for a model of this layout. E_PLAN_VALUE where
 * the two, or the local optimiser, do not go together. numbers borrow p. */
TACIT_CHECKED enum tacit_err task_strategy(const struct plan *plan,
                                           const struct params *p,
                                           const struct strategy **out,
                                           struct strategy_config *numbers);
/* The ring of one secure sum of this plan. n_weights: the model's. */
void task_layout(const struct plan *plan, const struct strategy *s,
                 size_t n_weights, struct ring_layout *out);
/* What a plan's privacy block comes to. */
struct task_privacy {
    int record;       /* 0: the plan has none, all else is 0 */
    uint64_t uploads; /* of one device, in all: rounds and retries */
    double noise;     /* times the clip, in a sum of min_reports devices of
                         which the plan's colluders gave theirs away */
    double least;     /* the least that keeps within the plan's epsilon */
    double epsilon;   /* of `uploads`, at the plan's delta */
    struct rowsum_bounds bounds;
};
/* l: the plan's layout. E_PRIVACY_NOISE. */
TACIT_CHECKED enum tacit_err task_privacy(const struct plan *plan,
                                          const struct ring_layout *l,
                                          struct task_privacy *out);
enum { TASK_PRIVACY_TEXT = 256 };
/* What may be said of a plan's model: unit, epsilon, delta, noise; or that
 * epsilon is not bounded. */
void task_privacy_text(const struct plan *plan, char out[TASK_PRIVACY_TEXT]);
/* ring_layout.clip of such a plan: what ring_decode() scales by, so that it
 * gives the sum of clipped gradients over devices and local.batch. */
double task_private_scale(const struct plan *plan, const struct ring_layout *l);
/* Most devices invited to a round: ceil(size * over_select), in all groups; no
 * more than their sums have seats for. */
uint32_t task_invite_max(const struct plan *plan);
/* The layout of a model file: p's tensors, then [n_down, n] where n_down > 0.
 * Allocated, zeroed; released by the caller. */
TACIT_CHECKED enum tacit_err task_file(const struct params *p, unsigned n_down,
                                       struct params *out);
/* Rows as a round counts them: inside the sum, 1 to RING_WEIGHT_MAX. */
uint32_t task_weight(const struct plan *plan, size_t n_rows);
/* E_PLAN_VALUE when only a simulation may run it: secure aggregation off, or
 * more devices in one sum than its graph has room for. E_PLAN_ENCODER when it
 * trains search with the built-in encoder and does not say which. */
TACIT_CHECKED enum tacit_err task_production(const struct plan *plan);

#endif
