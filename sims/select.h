/*
 * select: which clients are asked to a round.
 *
 *   uniform    every reachable client alike
 *   weighted   in proportion to its rows
 *   available  those that stay reachable longest, in tenths of the day, so that
 *              fewer vanish in the middle
 *   oort       those whose loss is high and who are fast, a fifth of the seats
 *              for clients that were never asked
 *   cyclic     each in turn, in an order drawn for every turn: with a cohort of
 *              one, cyclic weight transfer (Chang et al. 2018)
 *
 * oort follows Lai et al., Oort: Efficient Federated Learning via Guided
 * Participant Selection, OSDI 2021 (arXiv 2010.06081), section 4: utility =
 * n_i sqrt(mean loss^2) (T / t_i)^alpha for t_i > T, alpha = 2, T the median
 * duration. It differs in: one mean loss per client instead of per-sample
 * losses, and a fixed share of exploration. It needs each client's loss, which
 * secure aggregation hides: only a simulation can choose so.
 *
 * A pure function of its inputs and (seed, round, attempt).
 */
#ifndef TACIT_SIMS_SELECT_H
#define TACIT_SIMS_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/plan/plan.h"

/* What is known of a client. */
struct select_client {
    int reachable;       /* now, with enough charge */
    int64_t stays_ms;    /* how long it stays so */
    size_t n_rows;       /* it trains on */
    double loss;         /* when it last took part; < 0: never did */
    int64_t duration_ms; /* its last training and upload */
};

/* Up to n clients into out; *n_out how many there are. */
TACIT_CHECKED enum tacit_err select_cohort(const struct plan *p,
                                           const struct select_client *list,
                                           size_t n_clients, uint32_t round,
                                           unsigned attempt, size_t n,
                                           uint32_t *out, size_t *n_out);

#endif
