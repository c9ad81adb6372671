/*
 * fleet: one plan run by many clients on one machine, under a virtual clock.
 *
 *   participate (client) <── encoded messages ──> runner (coordinator)
 *
 * It is the production code on both sides: the same step functions, codecs,
 * masks, ring and strategy. What differs is only what stands between them: no
 * socket, and a clock that jumps to the next deadline when nobody can move. A
 * round therefore costs what its arithmetic costs, however long the deadlines.
 *
 * Clients of a cohort train in parallel. The result does not depend on the
 * number of threads, nor on the (random) keys and masks: sums in the ring are
 * exact. So a run is a pure function of the plan, its seed and the data.
 *
 * Thread rule: one caller; workers see one client each.
 */
#ifndef TACIT_SIMS_FLEET_H
#define TACIT_SIMS_FLEET_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "client/examples.h"
#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"

enum { FLEET_CLIENTS_MAX = 100000, FLEET_ATTEMPTS_MAX = 20 };

struct fleet; /* owned */

/* Other processes that run the same fleet (mpi_fleet.h). Each trains the seats
 * that are its own; then all know all. */
struct fleet_peers {
    unsigned rank, size;
    void *ctx;
    /* v [n] becomes the sum over all, modulo 2^32. */
    enum tacit_err (*add)(void *ctx, uint32_t *v, size_t n);
    /* Each has filled in its own part of bytes [n] and left the rest zero; all
     * get the whole. */
    enum tacit_err (*merge)(void *ctx, void *bytes, size_t n);
};

struct fleet_config {
    const struct plan *plan;
    const char *plan_text; /* its bytes: what devices are handed */
    size_t plan_bytes;
    const struct dataset *data; /* [n_clients], borrowed */
    size_t n_clients;
    const struct examples *test;     /* a common test set, or NULL */
    int invented;                    /* the rows follow from the plan alone */
    unsigned n_threads;              /* 0: one per core */
    const struct fleet_peers *peers; /* NULL: alone; borrowed */
    const atomic_int *stop; /* NULL, or not 0 once the round in hand is to be
                               given up; borrowed */
};

/* How the model does on the clients' own held-out rows, one figure each. */
struct fleet_spread {
    size_t n; /* clients that have such rows; 0: none has */
    double mean, sd, low, median, high; /* low, high: 10th, 90th percentile */
    double worst;                       /* mean of the worst tenth */
};

/* How a round went. */
struct fleet_round {
    uint32_t round;      /* 1-based */
    unsigned n_attempts; /* 1 when it worked at once */
    unsigned n_invited, n_inputs;
    unsigned n_attackers; /* of n_inputs */
    /* Weighted means from the secure sum: losses of the batches in the first
     * and the second half of local training. */
    double loss_before, loss_after;
    double metric; /* held-out, of the model the round started from */
    int has_metric;
    double personal; /* the same, of devices' own models */
    int has_personal;
    uint32_t staleness; /* FedBuff */
    /* Of the new model, every sim.evaluate_every rounds and after the last:
     * what only a simulation can know. */
    struct model_metrics pooled; /* on all held-out rows, or the common set */
    int has_pooled;
    struct fleet_spread spread;
    /* A backdoor's success: share of the held-out rows of other labels that get
     * label sim.attack.to once the trigger is on (attacks.h). */
    double backdoor;
    int has_backdoor;
    uint64_t bytes_up, bytes_down; /* of all attempts of this round */
    double energy_j;               /* of the devices, estimated (handset.h) */
    int64_t virtual_ms; /* at its end, since the start, by the virtual clock */
    int64_t wall_ms;    /* real time of this round */
};

/* LIMIT when there are fewer clients than the plan needs reports. */
TACIT_CHECKED enum tacit_err fleet_new(const struct fleet_config *c,
                                       struct fleet **out);
void fleet_free(struct fleet *f);
/* The next round, repeated until it commits; LIMIT after FLEET_ATTEMPTS_MAX.
 * E_INTERRUPTED soon after *stop: no client begins to train any more. After an
 * error everything is as before the round; only where measuring the new model
 * failed (memory, another process) is the fleet good for nothing more than its
 * model. */
TACIT_CHECKED enum tacit_err fleet_round(struct fleet *f,
                                         struct fleet_round *out);
/* Every round so far, *n of them; borrowed until the next round. */
const struct fleet_round *fleet_told(const struct fleet *f, size_t *n);
/* Append all that the fleet carries from round to round: model, what strategy
 * and clients keep, clock, batteries, sums under way, rounds told. STATE after
 * a round that could not be finished. */
TACIT_CHECKED enum tacit_err fleet_save(struct fleet *f, struct buf *out);
/* Into a new fleet of the same plan and data, which then goes on to the same
 * bits. FORMAT; after an error f can only be freed. */
TACIT_CHECKED enum tacit_err fleet_load(struct fleet *f, const uint8_t *bytes,
                                        size_t n);
/* No more than so many bytes are saved. */
uint64_t fleet_save_max(const struct fleet *f);
/* Names every row that the clients train and measure on. */
void fleet_data_hash(struct fleet *f, struct digest *out);
const struct fleet_config *fleet_config(const struct fleet *f);
/* The newest weights; borrowed. */
struct model *fleet_model(struct fleet *f);
/* The newest model as its file's bytes; borrowed until the next round. */
TACIT_CHECKED enum tacit_err fleet_file(struct fleet *f,
                                        const struct buf **out);

#endif
