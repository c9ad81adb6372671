/*
 * mpi_fleet: peers (peers.h) over MPI-3.
 *
 *   add, merge     MPI_Iallreduce, SUM of uint32 and BOR of bytes, a chunk at a
 *                  time through a buffer of this file: after a failure MPI may
 *                  still write there, never into the caller's memory
 *   notice         a process that fails alone tells the others why (MPI_Isend);
 *                  whoever waits hears it (a receive that is always posted)
 *   end            MPI_Ibarrier; when it does not come about, MPI_Abort
 *
 * Nothing waits without a limit: each request is tested, and given up when a
 * notice arrives, the time is over, or this process was told to stop and the
 * others do not follow. mpirun ends all processes when it loses one: SIGTERM,
 * and SIGKILL a second later; in between the first process writes a checkpoint.
 * If the first one is lost, the lowest that is left says so.
 *
 * Sums modulo 2^32 and ORs do not depend on their order, so no number of
 * processes, nor the tree that MPI chooses, changes a bit.
 *
 * Thread rule: the main thread (MPI_THREAD_FUNNELED).
 */
#ifndef TACIT_SIMS_MPI_FLEET_H
#define TACIT_SIMS_MPI_FLEET_H

#include "sims/peers.h"

enum {
    MPI_FLEET_CHUNK = 1 << 20,          /* uint32 in one reduction */
    MPI_FLEET_LIMIT_MS = 10 * 60 * 1000 /* unless --peer-limit says else */
};

#endif
