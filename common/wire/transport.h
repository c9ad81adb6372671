/*
 * transport: packets between a device and the coordinator. One interface, two
 * implementations: nng's REQ/REP protocol over TCP (transport_nng*.c), and
 * whatever a simulation passes from hand to hand (it needs no sockets and no
 * transport).
 *
 * Device side: transport_call() is synchronous and bounded. Coordinator side:
 * one listener; requests arrive one per connection; a reply may be given at
 * any later time through its ticket, so a long poll holds no thread.
 *
 * The bytes are nng's (frame.h): a stock REQ or REP socket is a valid peer.
 * The connections are nng_stream objects, not nng sockets, because of what the
 * sockets of nng 1.5.2 do: 1. a REP listener stops accepting for good when one
 * peer resets its connection before the greeting (it takes the EPIPE of that
 * connection for the end of the listener), so one port scan would end the
 * service; 2. a REQ socket hides why it cannot connect and dials without end;
 * 3. whole packets are read before anything can refuse them. Streams give a
 * reason, a bound and a place to stop for each.
 *
 * Thread rule: one thread owns a client or server; interrupt and wake may come
 * from any. nng's callbacks only move bytes and enqueue.
 */
#ifndef TACIT_WIRE_TRANSPORT_H
#define TACIT_WIRE_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct transport_client;

/* Prepare to talk to "tcp://host:port"; connects lazily. FORMAT
 * (E_ADDRESS). */
TACIT_CHECKED enum tacit_err transport_client_new(
    const char *address, struct transport_client **out);
void transport_client_free(struct transport_client *t);
/* Send one packet, wait for its answer (appended to reply). TIMEOUT after
 * timeout_ms; IO (E_UNREACHABLE) when nothing listens at the address or the
 * connection is lost: then the next call dials anew. */
TACIT_CHECKED enum tacit_err transport_call(struct transport_client *t,
                                            const uint8_t *packet, size_t n,
                                            int timeout_ms, struct buf *reply);
/* Make a blocked transport_call of another thread return STATE, and every later
 * one: for shutting down. */
void transport_client_interrupt(struct transport_client *t);

struct transport_server;
/* Identifies a request until it is answered; forgetting it is allowed. */
struct transport_ticket {
    uint32_t words[4]; /* return path: request id, behind those of proxies */
    uint32_t n_words;
    uint32_t pipe; /* connection */
};

/* Listen on "tcp://host:port"; port 0 chooses one. E_ADDRESS, IO
 * (E_ADDRESS_IN_USE). */
TACIT_CHECKED enum tacit_err transport_server_new(
    const char *address, struct transport_server **out);
void transport_server_free(struct transport_server *t);
int transport_server_port(const struct transport_server *t);
/* Next packet into out (cleared first), waiting at most timeout_ms. TIMEOUT
 * when there is none or someone called wake: a normal outcome, so no message
 * is recorded. Connections are cleaned up here: call it at least every few
 * seconds. */
TACIT_CHECKED enum tacit_err transport_server_receive(
    struct transport_server *t, int timeout_ms, struct transport_ticket *ticket,
    struct buf *out);
/* Answer; a peer that has gone is not an error. */
TACIT_CHECKED enum tacit_err transport_server_reply(
    struct transport_server *t, const struct transport_ticket *ticket,
    const uint8_t *packet, size_t n);
/* The peer of that request has shown a key: its connection may stay idle as
 * long as a session, and send packets over WIRE_INBOX_SMALL. Others are closed
 * WIRE_PROOF_MS after they came, or when they begin such a packet, so that
 * whoever only connects can use up neither connections nor the inbox. */
void transport_server_trust(struct transport_server *t,
                            const struct transport_ticket *ticket);
/* Connections now open. */
size_t transport_server_connections(struct transport_server *t);

#endif
