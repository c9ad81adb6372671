/*
 * estimate: what a run will take, told before it starts: memory from counting,
 * time from measuring one client's step.
 *
 *   memory = data + clients + server + cohort
 *     data     rows * values * 4 bytes
 *     clients  identity and, where the strategy keeps something, n_client * n,
 *              once more for the checkpoint
 *     server   weights, their copies, the sum, what the strategy keeps
 *     cohort   full: all devices of a round at once, each with its vectors;
 *              sum: one per thread, and single updates where they are compared
 *   time = rounds * (cohort * (steps * t_step + t_protocol) / threads
 *                    + rows measured * t_row); of the full protocol, half is
 *          one thread's: the coordinator's
 *
 * Counts follow what fleet.c holds at its peak; they are meant to be right
 * within a third, and to err upwards.
 */
#ifndef TACIT_SIMS_ESTIMATE_H
#define TACIT_SIMS_ESTIMATE_H

#include <stddef.h>
#include <stdint.h>

#include "client/examples.h"
#include "common/base/err.h"
#include "common/plan/plan.h"

struct estimate_case {
    const struct plan *plan;
    size_t n_clients;
    unsigned n_threads;  /* 0: one per core */
    uint64_t data_bytes; /* of the user's own files; 0: invented */
    unsigned n_runs;     /* at once; 0: 1 */
};

struct estimate {
    size_t n_weights;
    uint64_t data, clients, server, cohort, total; /* bytes */
    double seconds;                                /* NaN: not measured */
};

/* Memory only. */
TACIT_CHECKED enum tacit_err estimate_memory(const struct estimate_case *c,
                                             struct estimate *out);
/* Also the time, from d [n_clients]: measures for some milliseconds. */
TACIT_CHECKED enum tacit_err estimate_time(const struct estimate_case *c,
                                           const struct dataset *d,
                                           struct estimate *out);
/* E_TOO_LARGE when it does not fit into `free` bytes; says what would. */
TACIT_CHECKED enum tacit_err estimate_fits(const struct estimate_case *c,
                                           const struct estimate *e,
                                           uint64_t free);

/* Bytes of data that a folder or file of the user's own becomes in memory. */
TACIT_CHECKED enum tacit_err estimate_files(const char *path, uint64_t *out);

#endif
