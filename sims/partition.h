/*
 * partition: which simulated client gets which rows.
 *
 *   iid         shuffled, then cut into equal runs
 *   dirichlet   each label's rows are split over the clients by shares drawn
 *               from Dir(alpha): small alpha, few labels per client
 *   labels      k labels per client; a label's rows are split over its holders
 *   sites,      the client that the row itself names
 *   column
 *   shift       as iid, then each client's own offset is added to its inputs
 *
 *   order   [r17 r3 r90 | r5 r44 | r8 …]      rows, client by client
 *   first    0            3        5          [n_clients + 1]
 *
 * Sizes are equal (to one row) or, with `sizes: power`, in proportion to
 * lognormal(0, 2), drawn once per client, which the literature on LR-MNIST
 * calls a power law (Li et al. 2020, "Federated Optimization in Heterogeneous
 * Networks"). Under Dirichlet, powers are its mean shares: Dir(alpha n w_i).
 *
 * Dirichlet by label is that of Yurochkin et al. 2019 as used by NIID-Bench
 * (Li et al. 2022): a draw that leaves a client with too few rows is drawn
 * again. It differs in that: 1. two rows per client are enough (theirs: ten);
 * 2. after PARTITION_DRAWS_MAX draws it is an error; 3. a client that has its
 * share already may get more. Shares are drawn by logarithms, so that no alpha
 * is too small for a double.
 *
 * Labels are dealt so that every label has as many holders as any other, give
 * or take one: each client in turn takes the k labels with the fewest holders,
 * ties by lot. (NIID-Bench: client i takes label i mod K and k - 1 by lot.)
 *
 * Every client gets at least PARTITION_ROWS_MIN rows, or it is an error that
 * names it (E_DEAL). The deal is a pure function of the plan and the labels.
 */
#ifndef TACIT_SIMS_PARTITION_H
#define TACIT_SIMS_PARTITION_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/plan/plan.h"

enum { PARTITION_ROWS_MIN = 2, PARTITION_DRAWS_MAX = 100 };

/* What is to be dealt out; borrowed. */
struct partition_rows {
    const char *name; /* for messages */
    size_t n;
    const uint32_t *label; /* [n], below n_labels; or NULL */
    uint32_t n_labels;
    const uint32_t *client; /* [n], below n_clients; or NULL */
    size_t n_clients;
    const char *const *client_name; /* [n_clients], or NULL */
    int is_sized; /* natural clients were made to the plan's sizes already */
};

struct deal {
    uint32_t *order; /* [n rows], owned */
    size_t *first;   /* [n_clients + 1], owned */
    size_t n_clients;
};

void deal_release(struct deal *d);
/* As plan->sim says; plan->sim.clients clients, or those that the rows name.
 * E_DEAL, NOMEM. */
TACIT_CHECKED enum tacit_err partition_deal(const struct plan *plan,
                                            const struct partition_rows *rows,
                                            struct deal *out);
/* How many of `total` rows each of n clients gets, at least PARTITION_ROWS_MIN:
 * equal, or by power law. E_DEAL. */
TACIT_CHECKED enum tacit_err partition_sizes(const struct plan *plan,
                                             size_t total, size_t n,
                                             size_t *sizes);
/* Client number i's own offset of x [n], N(0, shift^2) each. */
void partition_offset(const struct plan *plan, size_t client, size_t n,
                      float *out);

#endif
