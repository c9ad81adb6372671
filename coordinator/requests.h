/*
 * requests: what the coordinator answers outside a running round: joining,
 * leaving, blobs, and the end of rounds that are over.
 *
 * Thread rule: the server's owner thread.
 */
#ifndef TACIT_COORDINATOR_REQUESTS_H
#define TACIT_COORDINATOR_REQUESTS_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/wire/link.h"
#include "common/wire/messages.h"
#include "coordinator/store.h"

/* An ERROR reply with the catalogue's words. */
void requests_error(struct message *out, unsigned code);
/* ENROL on an XKpsk3 link: check that the device holds its identity key, then
 * consume the invite and record the device in one transaction. Fills *out with
 * ENROLLED or ERROR; *m only when enrolled (returns 1). */
int requests_enrol(struct store *s, const struct keys *keys,
                   const struct store_federation *federation,
                   const struct link_peer *peer, const struct msg_enrol *in,
                   int64_t now_s, struct message *out, struct store_member *m);
/* LEAVE: the member is marked as gone. */
void requests_leave(struct store *s, const struct store_member *m,
                    int64_t now_s, struct message *out);
/* BLOB_GET; the chunk's bytes go to `bytes`, borrowed by *out. */
void requests_blob(const char *blob_dir, const struct msg_blob_get *in,
                   struct buf *bytes, struct message *out);
/* How a session that is not the running round's ended: OVER, also after a
 * restart, or ERROR for a session that never was. */
void requests_over(struct store *s, const uint8_t session[32],
                   struct message *out);

#endif
