/*
 * server: the daemon's event loop. One owner thread does everything:
 *
 *   packets --link--> requests --+-- sessions (who is it) --+-- requests
 *      ^                         |                          +-- jobs -> round
 *      |                         v
 *      +------ replies <-- what is durable (store, blobs)
 *
 * A turn of the loop takes every packet that waits, then looks at deadlines and
 * at what the admin commands changed (at most 200 ms late), then sends the
 * replies. What a reply tells of was committed before: joining, leaving, a
 * round's opening and a new model are each one transaction.
 *
 * It ends on SIGTERM or SIGINT: the running round is aborted, who waits is
 * told, the state is flushed. The process then leaves by _exit(): nng's close
 * paths are not to be trusted.
 */
#ifndef TACIT_COORDINATOR_SERVER_H
#define TACIT_COORDINATOR_SERVER_H

#include <signal.h>

#include "common/base/err.h"

enum {
    SERVER_LOOK_MS = 200,         /* how late an admin's change may be seen */
    SERVER_BATCH_MAX = 64,        /* packets taken in one turn */
    SERVER_REPLIES_MAX = 4 << 20, /* bytes of replies kept back in one turn */
    SERVER_SEEN_MS = 10000        /* between writes of "last seen" */
};

struct server; /* owned */

struct server_config {
    const char *home;
    const char *listen; /* overrides the stored address; NULL = stored */
};

/* Lock the home, load the state, listen. E_COORDINATOR_RUNNING when another
 * process serves this home, E_ADDRESS_IN_USE, E_NOT_INITIALISED. */
TACIT_CHECKED enum tacit_err server_new(const struct server_config *c,
                                        struct server **out);
/* "tcp://HOST:PORT" that it listens on. */
const char *server_address(const struct server *s);
/* Fingerprint of the key that invites carry. */
const char *server_fingerprint(const struct server *s);
/* Serve until *stop is set. */
TACIT_CHECKED enum tacit_err server_run(struct server *s,
                                        const volatile sig_atomic_t *stop);
void server_free(struct server *s);

#endif
