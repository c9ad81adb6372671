/*
 * peers: the processes that run one fleet together.
 *
 *   tacit-sim       peers_none.c   one process, no peers
 *   tacit-sim-mpi   mpi_fleet.c    as many as mpirun starts
 *
 * Which of the two a program has is decided when it is linked; the commands
 * are the same. Every process reads the same plan and data and takes every step
 * of the run; only the training of a round and the measuring of its model are
 * dealt out. The first process prints and writes, the others are silent.
 *
 * Thread rule: the main thread.
 */
#ifndef TACIT_SIMS_PEERS_H
#define TACIT_SIMS_PEERS_H

#include <stdint.h>

#include "common/base/err.h"
#include "sims/fleet.h"

/* Before anything else. */
TACIT_CHECKED enum tacit_err peers_begin(int *argc, char ***argv);
/* NULL when there is one process. */
const struct fleet_peers *peers(void);
/* 0 for the first process, and when there is one. */
unsigned peers_rank(void);
/* How many share this machine, this one included. */
unsigned peers_here(void);
/* No longer than this does a process wait for another, or until some time after
 * a signal has set sim_stop (commands.h). */
void peers_wait_at_most(int64_t ms);
/* At the very end, with this process's exit code; returns the one to exit with.
 * Where another process does not come to its end, all of them are ended. */
int peers_end(int code);

#endif
