/*
 * transport: packets between a device and the coordinator. One interface, two
 * implementations: nng REQ/REP over TCP (transport_nng.c), and whatever a
 * simulation passes from hand to hand (it needs no sockets and no transport).
 *
 * Device side: transport_call() is synchronous and bounded. Coordinator side:
 * one raw REP socket; requests arrive in a bounded queue; a reply may be given
 * at any later time through its ticket, so a long poll holds no thread.
 *
 * nng's close paths have known deadlocks: closing is crash-only. A program
 * flushes its state and calls _exit(); tests use transport_*_close with a
 * detached socket.
 */
#ifndef TACIT_WIRE_TRANSPORT_H
#define TACIT_WIRE_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct transport_client;

/* Prepare to talk to "tcp://host:port"; connects lazily. */
TACIT_CHECKED enum tacit_err transport_client_new(const char *address,
                                                  struct transport_client **out);
void transport_client_free(struct transport_client *t);
/* Send one packet, wait for its answer. TIMEOUT after timeout_ms; IO
 * (E_UNREACHABLE) when nothing answers at the address. */
TACIT_CHECKED enum tacit_err transport_call(struct transport_client *t,
                                            const uint8_t *packet, size_t n,
                                            int timeout_ms, struct buf *reply);
/* Make a blocked transport_call of another thread return STATE. */
void transport_client_interrupt(struct transport_client *t);

struct transport_server;
/* Identifies a request until it is answered; forgetting it is allowed. */
struct transport_ticket {
    uint32_t words[4];
    uint32_t n_words;
    uint32_t pipe;
};

/* Listen on "tcp://host:port"; port 0 chooses one. E_ADDRESS_IN_USE. */
TACIT_CHECKED enum tacit_err transport_server_new(const char *address,
                                                  struct transport_server **out);
void transport_server_free(struct transport_server *t);
int transport_server_port(const struct transport_server *t);
/* Next packet into out, waiting at most timeout_ms: TIMEOUT when none. */
TACIT_CHECKED enum tacit_err
transport_server_receive(struct transport_server *t, int timeout_ms,
                         struct transport_ticket *ticket, struct buf *out);
/* Answer; a peer that has gone is not an error. */
TACIT_CHECKED enum tacit_err
transport_server_reply(struct transport_server *t,
                       const struct transport_ticket *ticket,
                       const uint8_t *packet, size_t n);
/* Wake a waiting transport_server_receive (from a signal thread). */
void transport_server_wake(struct transport_server *t);

#endif
