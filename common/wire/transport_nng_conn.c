/*
 * A connection of the coordinator's end: bytes in, bytes out.
 *
 *   greeting -> LENGTH -> PACKET -> READY --transport_server_receive--> LENGTH
 *                           |  ^
 *                 too large v  | a reservation
 *                          PARKED
 *
 * A connection holds at most one packet, and is not read while it waits for the
 * owner: one peer cannot fill the queue, and the kernel's flow control slows it
 * down. Packets over WIRE_INBOX_SMALL need a share of WIRE_INBOX_BYTES once
 * their first bytes are here, so memory does not grow with the number of
 * uploads.
 */
#include <nng/nng.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/tick.h"
#include "common/wire/frame.h"
#include "common/wire/transport_nng_parts.h"

static void queue_add(struct queue *q, struct conn *c)
{
    c->queued = 1;
    c->next = NULL;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
}

struct conn *conn_take(struct queue *q)
{
    struct conn *c = q->head;
    if (!c) return NULL;
    q->head = c->next;
    if (!q->head) q->tail = NULL;
    c->queued = 0;
    return c;
}

void conn_bury_when_idle(struct conn *c)
{
    struct transport_server *t = c->server;
    if (c->state != CLOSING || c->rx_busy || c->tx_busy || c->queued) return;
    uint32_t slot = c->pipe % WIRE_CONNECTIONS_MAX;
    t->conns[slot] = NULL;
    t->unused[t->n_unused++] = slot;
    t->n_conns--;
    c->next = t->dead;
    t->dead = c;
}

void conn_drop_packet(struct conn *c)
{
    struct transport_server *t = c->server;
    free(c->packet);
    c->packet = NULL;
    t->reserved -= c->reserved;
    c->reserved = 0;
    c->len = c->got = c->room = 0;
}

static void read_on(struct conn *c);

void conn_unpark(struct transport_server *t)
{
    for (;;) {
        struct conn *c = t->parked.head;
        if (!c) return;
        if (c->state != CLOSING && t->reserved + c->len > WIRE_INBOX_BYTES)
            return;
        conn_take(&t->parked);
        if (c->state == CLOSING) {
            conn_bury_when_idle(c);
            continue;
        }
        c->state = PACKET;
        read_on(c);
    }
}

void conn_close(struct conn *c)
{
    if (c->state == CLOSING) return;
    c->state = CLOSING;
    err_clear(); /* what made us close it: the peer knows */
    nng_stream_close(c->stream);
    conn_bury_when_idle(c);
}

void conn_read(struct conn *c, uint8_t *to, size_t n)
{
    nng_iov iov = {.iov_buf = to, .iov_len = n};
    if (nng_aio_set_iov(c->rx, 1, &iov) != 0) {
        conn_close(c);
        return;
    }
    c->rx_busy = 1;
    nng_stream_recv(c->stream, c->rx);
}

static void start_sending(struct conn *c)
{
    struct reply *r = c->out;
    if (!r || c->tx_busy || c->state == CLOSING) return;
    nng_iov iov = {.iov_buf = r->bytes + r->sent, .iov_len = r->len - r->sent};
    if (nng_aio_set_iov(c->tx, 1, &iov) != 0) {
        conn_close(c);
        return;
    }
    if (r->sent == 0) c->tx_until_ms = tick_ms() + WIRE_PACKET_MS;
    c->tx_busy = 1;
    nng_stream_send(c->stream, c->tx);
}

void conn_reply(struct conn *c, struct reply *r)
{
    if (c->out)
        c->out_last->next = r;
    else
        c->out = r;
    c->out_last = r;
    c->n_out++;
    start_sending(c);
}

struct reply *conn_reply_new(size_t len)
{
    struct reply *r = malloc(sizeof *r + len);
    if (r) *r = (struct reply){.len = len};
    return r;
}

/* ---- reading: what to do with the bytes that came ----------------------- */

void conn_give_ms(struct conn *c, int64_t ms)
{
    int64_t until_ms = tick_ms() + ms;
    c->rx_until_ms =
        until_ms < c->proof_until_ms ? until_ms : c->proof_until_ms;
}

void conn_expect_length(struct conn *c)
{
    c->state = LENGTH;
    c->got = 0;
    conn_give_ms(c, WIRE_SESSION_IDLE_MS);
    conn_read(c, c->head, FRAME_LENGTH);
}

static void got_greeting(struct conn *c)
{
    if (c->got < FRAME_GREETING)
        conn_read(c, c->head + c->got, FRAME_GREETING - c->got);
    else if (frame_is_greeting(c->head, FRAME_REQ))
        conn_expect_length(c);
    else
        conn_close(c);
}

static void got_length(struct conn *c)
{
    conn_give_ms(c, WIRE_PACKET_MS); /* it has begun */
    if (c->got < FRAME_LENGTH) {
        conn_read(c, c->head + c->got, FRAME_LENGTH - c->got);
        return;
    }
    int is_known = c->proof_until_ms == INT64_MAX;
    if (frame_length(c->head, &c->len) != TACIT_OK ||
        (c->len > WIRE_INBOX_SMALL && !is_known)) {
        conn_close(c);
        return;
    }
    c->room = c->len < WIRE_INBOX_SMALL ? c->len : (size_t)WIRE_INBOX_SMALL;
    c->packet = malloc(c->room);
    c->got = 0;
    c->state = PACKET;
    if (c->packet)
        read_on(c);
    else
        conn_close(c);
}

/* The rest of a large packet; 0 when it has to wait for its share. */
static int make_room(struct conn *c)
{
    struct transport_server *t = c->server;
    if (t->reserved + c->len > WIRE_INBOX_BYTES) {
        c->state = PARKED;
        queue_add(&t->parked, c);
        return 0;
    }
    uint8_t *packet = realloc(c->packet, c->len);
    if (!packet) {
        conn_close(c);
        return 0;
    }
    c->packet = packet;
    c->room = c->len;
    c->reserved = c->len;
    t->reserved += c->len;
    return 1;
}

static void read_on(struct conn *c)
{
    if (c->got == c->len) {
        c->state = READY;
        queue_add(&c->server->ready, c);
        pthread_cond_signal(&c->server->changed);
        return;
    }
    if (c->got == c->room && !make_room(c)) return;
    conn_read(c, c->packet + c->got, c->room - c->got);
}

static void received(void *arg)
{
    struct conn *c = arg;
    struct transport_server *t = c->server;
    pthread_mutex_lock(&t->mutex);
    c->rx_busy = 0;
    if (c->state == CLOSING) {
        conn_bury_when_idle(c);
    } else if (nng_aio_result(c->rx) != 0) {
        conn_close(c);
    } else {
        c->got += nng_aio_count(c->rx);
        if (c->state == GREETING)
            got_greeting(c);
        else if (c->state == LENGTH)
            got_length(c);
        else
            read_on(c);
    }
    pthread_mutex_unlock(&t->mutex);
}

static void sent(void *arg)
{
    struct conn *c = arg;
    struct transport_server *t = c->server;
    pthread_mutex_lock(&t->mutex);
    c->tx_busy = 0;
    if (c->state == CLOSING) {
        conn_bury_when_idle(c);
    } else if (nng_aio_result(c->tx) != 0) {
        conn_close(c);
    } else {
        struct reply *r = c->out;
        r->sent += nng_aio_count(c->tx);
        if (r->sent == r->len) {
            c->out = r->next;
            c->n_out--;
            free(r);
        }
        start_sending(c);
    }
    pthread_mutex_unlock(&t->mutex);
}

void conn_free(struct conn *c)
{
    nng_aio_free(c->rx);
    nng_aio_free(c->tx);
    if (c->stream) {
        nng_stream_close(c->stream);
        nng_stream_free(c->stream);
    }
    while (c->out) {
        struct reply *r = c->out;
        c->out = r->next;
        free(r);
    }
    free(c->packet);
    free(c);
}

struct conn *conn_new(struct transport_server *t)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->server = t;
    if (nng_aio_alloc(&c->rx, received, c) != 0 ||
        nng_aio_alloc(&c->tx, sent, c) != 0) {
        conn_free(c);
        return NULL;
    }
    return c;
}
