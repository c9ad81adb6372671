/*
 * transport_nng_parts: what the coordinator's end (transport_nng_server.c) and
 * its connections (transport_nng_conn.c) share. Private to them.
 *
 * Thread rule: all but conn_new(), conn_free() and conn_reply_new() with the
 * server's mutex held.
 */
#ifndef TACIT_WIRE_TRANSPORT_NNG_PARTS_H
#define TACIT_WIRE_TRANSPORT_NNG_PARTS_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdint.h>

#include "common/wire/frame.h"
#include "common/wire/transport.h"

enum conn_state { GREETING, LENGTH, PACKET, PARKED, READY, CLOSING };

/* Bytes on their way to a peer. */
struct reply {
    struct reply *next;
    size_t len, sent;
    uint8_t bytes[];
};

struct conn {
    struct transport_server *server;
    nng_stream *stream;
    nng_aio *rx, *tx;
    uint32_t pipe; /* generation | slot */
    enum conn_state state;
    int rx_busy, tx_busy; /* nng holds the aio */
    int queued;           /* on the ready or the parked queue */
    struct conn *next;    /* on that queue, or among the dead */
    uint8_t head[FRAME_LENGTH];
    uint8_t *packet;       /* owned */
    size_t len, got, room; /* of the packet: whole, read, allocated */
    size_t reserved;       /* share of WIRE_INBOX_BYTES */
    int64_t rx_until_ms, tx_until_ms;
    int64_t proof_until_ms;       /* INT64_MAX once its peer has shown a key */
    struct reply *out, *out_last; /* owned; the first is being sent */
    unsigned n_out;
};

struct queue {
    struct conn *head, *tail;
};

struct transport_server {
    nng_stream_listener *listener;
    nng_aio *accept;
    int port, pausing, stopping;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct conn **conns; /* [WIRE_CONNECTIONS_MAX], by slot */
    uint32_t *unused;    /* [n_unused] slots given back */
    uint32_t n_used, n_unused, n_conns, n_conns_max, generation;
    struct queue ready, parked;
    struct conn *dead; /* to be freed by the owner */
    size_t reserved;
    int64_t swept_ms;
};

/* The first on a queue, or NULL. */
struct conn *conn_take(struct queue *q);
/* Once nng and the queues have let go of it, the owner may free it. */
void conn_bury_when_idle(struct conn *c);
void conn_drop_packet(struct conn *c);
/* Let those go on whose packets fit now, in their order. */
void conn_unpark(struct transport_server *t);
void conn_close(struct conn *c);
/* n bytes to `to`, when they come. */
void conn_read(struct conn *c, uint8_t *to, size_t n);
/* Room for a reply of len bytes; NULL without memory. Owned. */
struct reply *conn_reply_new(size_t len);
/* Behind what it sends already; r becomes the connection's. */
void conn_reply(struct conn *c, struct reply *r);
/* What it may take from now on, while its peer is unknown not past the proof.
 */
void conn_give_ms(struct conn *c, int64_t ms);
void conn_expect_length(struct conn *c);
/* NULL without memory. */
struct conn *conn_new(struct transport_server *t);
/* Not with the mutex held: nng waits here for its callbacks. */
void conn_free(struct conn *c);

#endif
