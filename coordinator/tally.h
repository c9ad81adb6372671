/*
 * tally: the running sum of masked inputs. Memory is O(model) for any number
 * of clients.
 *
 *   sum [n_coords] u32                     one, in memory
 *   spool/<session>-<seat>                 one file per unfinished upload
 *
 *   CHUNK_PUT -> hash checked -> its place in the spool file
 *   INPUT     -> every chunk there, whole hash checked -> added, exactly once,
 *                -> the spool file is deleted
 *
 * An input of one chunk waits in memory instead of a file, and so does every
 * input when there is no spool folder (simulation). Spool files belong to one
 * process: a restart aborts the round and tally_clean() removes them.
 */
#ifndef TACIT_COORDINATOR_TALLY_H
#define TACIT_COORDINATOR_TALLY_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/wire/messages.h"

struct tally; /* owned */

struct tally_config {
    uint32_t n_coords;
    uint32_t ring_bits;     /* 24 or 32 */
    const char *spool_dir;  /* borrowed during the call; NULL = memory */
    const uint8_t *session; /* [32], names the files */
};

TACIT_CHECKED enum tacit_err tally_new(const struct tally_config *c,
                                       struct tally **out);
void tally_free(struct tally *t); /* deletes its spool files */
/* Chunks that one packed input has. */
uint32_t tally_n_chunks(const struct tally *t);
/* Keep one chunk of seat's input. A repeat is fine; once the input was added
 * it is ignored. FORMAT (E_INPUT_DAMAGED) when the hash differs or another
 * content came before, SHAPE for a wrong number or length, IO. */
TACIT_CHECKED enum tacit_err tally_put(struct tally *t, unsigned seat,
                                       const struct msg_chunk_put *chunk);
/* Which chunks are held: appends ceil(n_chunks / 8) bytes. */
void tally_held(const struct tally *t, unsigned seat, struct buf *bitmap);
/* Add seat's complete upload to the sum, once (a repeat is OK and changes
 * nothing). STATE when chunks are missing; FORMAT (E_INPUT_DAMAGED) when the
 * whole hash differs: the upload is then dropped and may start again. */
TACIT_CHECKED enum tacit_err tally_add(struct tally *t, unsigned seat,
                                       const struct msg_input *input);
unsigned tally_n_added(const struct tally *t);
uint32_t *tally_sum(struct tally *t); /* [n_coords], borrowed */
/* Delete what an earlier process left in the spool folder. */
TACIT_CHECKED enum tacit_err tally_clean(const char *spool_dir);

#endif
