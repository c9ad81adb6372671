/*
 * checkpoint: the file from which `run --resume` goes on to the same bits.
 *
 *   DIR/checkpoint = [ "tacit-checkpoint" | version | plan hash | clients
 *                    | data hash | length | fleet_save() | BLAKE2b of it all ]
 *
 * Written every sim.checkpoint_every rounds, and when a run is stopped or loses
 * its disk, memory or peers: then it holds the last round that was finished. It
 * replaces the one before at once, so a run that is killed while it writes has
 * the older one. A finished run removes it: everything it holds is in the
 * results, and what clients keep can be many times as large as those.
 *
 * Random keys are not in it: no result depends on them. The hashes keep a run
 * from going on with another plan or other rows; the digest finds damage, it is
 * no signature: every length is checked besides.
 *
 * Thread rule: one caller, the fleet's.
 */
#ifndef TACIT_SIMS_CHECKPOINT_H
#define TACIT_SIMS_CHECKPOINT_H

#include "common/base/err.h"
#include "sims/fleet.h"

#define CHECKPOINT_NAME "checkpoint"

enum { CHECKPOINT_VERSION = 1 };

TACIT_CHECKED enum tacit_err checkpoint_write(const char *folder,
                                              struct fleet *f);
/* Into a new fleet; after an error f can only be freed. NOTFOUND when there is
 * none; E_CHECKPOINT_DAMAGED, E_CHECKPOINT_OTHER (another plan, other data),
 * E_STORE_NEWER. */
TACIT_CHECKED enum tacit_err checkpoint_read(const char *folder,
                                             struct fleet *f);
/* After each round: write when one is due. */
TACIT_CHECKED enum tacit_err checkpoint_round(const char *folder,
                                              struct fleet *f);
/* A run ended with err: keep the last finished round. Returns err, whose
 * message then says how to go on. Of several processes the first one writes. */
enum tacit_err checkpoint_keep(const char *folder, struct fleet *f,
                               enum tacit_err err);
/* The run is finished and its results are written. */
TACIT_CHECKED enum tacit_err checkpoint_remove(const char *folder);

#endif
