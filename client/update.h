/*
 * update: seal what training gave into what may leave, walk B's middle:
 *
 *   up ──clip──> quantise to the ring ──mask──> pack ──> chunks
 *
 * Between quantising and masking the update lies in one buffer, which is wiped.
 */
#ifndef TACIT_CLIENT_UPDATE_H
#define TACIT_CLIENT_UPDATE_H

#include <stdint.h>

#include "client/trainer.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/secagg.h"
#include "common/privacy/ring.h"

/* Append the packed masked input to out. norm: L2 before clipping. The session
 * must have received its shares; it masks once (STATE after that). */
TACIT_CHECKED enum tacit_err update_seal(const struct ring_layout *l,
                                         struct secagg_client *session,
                                         const struct trained *t,
                                         struct buf *out, double *norm);

#endif
