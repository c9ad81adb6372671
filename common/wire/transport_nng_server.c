/*
 * The coordinator's end: one listener, many connections.
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
 * uploads. One mutex guards everything; nng's callbacks run on its threads,
 * take it, and never wait.
 */
#include <assert.h>
#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "common/wire/frame.h"
#include "common/wire/transport.h"

enum {
    SLOT_BITS = 14,
    SWEEP_MS = 500,      /* how often overdue connections are looked for */
    OWN_FILES = 64,      /* descriptors left to the rest of the process */
    ACCEPT_PAUSE_MS = 50 /* after accepting failed: no descriptors left … */
};
_Static_assert(1 << SLOT_BITS == WIRE_CONNECTIONS_MAX, "a pipe holds a slot");

enum state { GREETING, LENGTH, PACKET, PARKED, READY, CLOSING };

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
    enum state state;
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
    int port, pausing, stopping, woken;
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

/* ---- connections; all with the mutex held ------------------------------- */

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

static struct conn *queue_take(struct queue *q)
{
    struct conn *c = q->head;
    if (!c) return NULL;
    q->head = c->next;
    if (!q->head) q->tail = NULL;
    c->queued = 0;
    return c;
}

/* Once nng and the queues have let go of it, the owner may free it. */
static void bury_when_idle(struct conn *c)
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

static void read_on(struct conn *c);

static void drop_packet(struct conn *c)
{
    struct transport_server *t = c->server;
    free(c->packet);
    c->packet = NULL;
    t->reserved -= c->reserved;
    c->reserved = 0;
    c->len = c->got = c->room = 0;
}

/* Let those go on whose packets fit now, in their order. */
static void unpark(struct transport_server *t)
{
    for (;;) {
        struct conn *c = t->parked.head;
        if (!c) return;
        if (c->state != CLOSING && t->reserved + c->len > WIRE_INBOX_BYTES)
            return;
        queue_take(&t->parked);
        if (c->state == CLOSING) {
            bury_when_idle(c);
            continue;
        }
        c->state = PACKET;
        read_on(c);
    }
}

static void close_conn(struct conn *c)
{
    if (c->state == CLOSING) return;
    c->state = CLOSING;
    err_clear(); /* what made us close it: the peer knows */
    nng_stream_close(c->stream);
    bury_when_idle(c);
}

static void start_reading(struct conn *c, uint8_t *to, size_t n)
{
    nng_iov iov = {.iov_buf = to, .iov_len = n};
    if (nng_aio_set_iov(c->rx, 1, &iov) != 0) {
        close_conn(c);
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
        close_conn(c);
        return;
    }
    if (r->sent == 0) c->tx_until_ms = tick_ms() + WIRE_PACKET_MS;
    c->tx_busy = 1;
    nng_stream_send(c->stream, c->tx);
}

static void add_reply(struct conn *c, struct reply *r)
{
    if (c->out)
        c->out_last->next = r;
    else
        c->out = r;
    c->out_last = r;
    c->n_out++;
    start_sending(c);
}

static struct reply *reply_new(size_t len)
{
    struct reply *r = malloc(sizeof *r + len);
    if (r) *r = (struct reply){.len = len};
    return r;
}

/* ---- reading: what to do with the bytes that came ----------------------- */

/* What it may take from now on, while its peer is unknown not past the proof.
 */
static void give_ms(struct conn *c, int64_t ms)
{
    int64_t until_ms = tick_ms() + ms;
    c->rx_until_ms =
        until_ms < c->proof_until_ms ? until_ms : c->proof_until_ms;
}

static void expect_length(struct conn *c)
{
    c->state = LENGTH;
    c->got = 0;
    give_ms(c, WIRE_SESSION_IDLE_MS);
    start_reading(c, c->head, FRAME_LENGTH);
}

static void got_greeting(struct conn *c)
{
    if (c->got < FRAME_GREETING)
        start_reading(c, c->head + c->got, FRAME_GREETING - c->got);
    else if (frame_is_greeting(c->head, FRAME_REQ))
        expect_length(c);
    else
        close_conn(c);
}

static void got_length(struct conn *c)
{
    give_ms(c, WIRE_PACKET_MS); /* it has begun */
    if (c->got < FRAME_LENGTH) {
        start_reading(c, c->head + c->got, FRAME_LENGTH - c->got);
        return;
    }
    int is_known = c->proof_until_ms == INT64_MAX;
    if (frame_length(c->head, &c->len) != TACIT_OK ||
        (c->len > WIRE_INBOX_SMALL && !is_known)) {
        close_conn(c);
        return;
    }
    c->room = c->len < WIRE_INBOX_SMALL ? c->len : (size_t)WIRE_INBOX_SMALL;
    c->packet = malloc(c->room);
    c->got = 0;
    c->state = PACKET;
    if (c->packet)
        read_on(c);
    else
        close_conn(c);
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
        close_conn(c);
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
    start_reading(c, c->packet + c->got, c->room - c->got);
}

static void received(void *arg)
{
    struct conn *c = arg;
    struct transport_server *t = c->server;
    pthread_mutex_lock(&t->mutex);
    c->rx_busy = 0;
    if (c->state == CLOSING) {
        bury_when_idle(c);
    } else if (nng_aio_result(c->rx) != 0) {
        close_conn(c);
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
        bury_when_idle(c);
    } else if (nng_aio_result(c->tx) != 0) {
        close_conn(c);
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

/* ---- accepting ---------------------------------------------------------- */

/* Not with the mutex held: nng waits here for its callbacks. */
static void conn_free(struct conn *c)
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

static struct conn *conn_new(struct transport_server *t)
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

/* The mutex is held; 0 when there is no room for it. */
static int add_conn(struct transport_server *t, nng_stream *stream)
{
    if (t->stopping || t->n_conns >= t->n_conns_max) return 0;
    struct conn *c = conn_new(t);
    struct reply *greeting = reply_new(FRAME_GREETING);
    if (!c || !greeting) {
        if (c) conn_free(c);
        free(greeting);
        return 0;
    }
    uint32_t slot = t->n_unused ? t->unused[--t->n_unused] : t->n_used++;
    c->stream = stream;
    c->pipe = ++t->generation << SLOT_BITS | slot;
    c->proof_until_ms = tick_ms() + WIRE_PROOF_MS;
    give_ms(c, WIRE_HANDSHAKE_MS);
    t->conns[slot] = c;
    t->n_conns++;
    frame_put_greeting(greeting->bytes, FRAME_REP);
    add_reply(c, greeting);
    if (c->state != CLOSING) start_reading(c, c->head, FRAME_GREETING);
    return 1;
}

static void accepted(void *arg)
{
    struct transport_server *t = arg;
    pthread_mutex_lock(&t->mutex);
    if (t->stopping) {
        pthread_mutex_unlock(&t->mutex);
        return;
    }
    int rv = nng_aio_result(t->accept);
    int was_pause = t->pausing;
    t->pausing = 0;
    if (rv == 0 && !was_pause) {
        nng_stream *stream = nng_aio_get_output(t->accept, 0);
        if (!add_conn(t, stream)) {
            nng_stream_close(stream);
            nng_stream_free(stream);
        }
    }
    /* No error ends the listener, whatever a peer or the system did. */
    if (rv != 0 && !was_pause) {
        t->pausing = 1;
        nng_sleep_aio(ACCEPT_PAUSE_MS, t->accept);
    } else {
        nng_stream_listener_accept(t->listener, t->accept);
    }
    pthread_mutex_unlock(&t->mutex);
}

/* ---- the owner's side --------------------------------------------------- */

static void sweep(struct transport_server *t)
{
    int64_t now_ms = tick_ms();
    if (now_ms - t->swept_ms < SWEEP_MS) return;
    t->swept_ms = now_ms;
    for (uint32_t i = 0; i < t->n_used; i++) {
        struct conn *c = t->conns[i];
        if (!c || c->state == CLOSING) continue;
        if ((c->state != READY && now_ms > c->rx_until_ms) ||
            (c->tx_busy && now_ms > c->tx_until_ms))
            close_conn(c);
    }
    unpark(t); /* the closed ones among them */
}

static void bury(struct transport_server *t)
{
    struct conn *dead = t->dead;
    t->dead = NULL;
    if (!dead) return;
    for (struct conn *c = dead; c; c = c->next) drop_packet(c);
    unpark(t);
    pthread_mutex_unlock(&t->mutex);
    while (dead) {
        struct conn *c = dead;
        dead = c->next;
        conn_free(c);
    }
    pthread_mutex_lock(&t->mutex);
}

/* The next packet, if there is one. */
static int take_packet(struct transport_server *t,
                       struct transport_ticket *ticket, struct buf *out)
{
    for (;;) {
        size_t at = 0;
        struct conn *c = queue_take(&t->ready);
        if (!c) return 0;
        if (c->state == CLOSING) {
            bury_when_idle(c);
            continue;
        }
        *ticket = (struct transport_ticket){.pipe = c->pipe};
        if (frame_words(c->packet, c->len, ticket->words, &ticket->n_words,
                        &at) != TACIT_OK) {
            close_conn(c);
            continue;
        }
        buf_put(out, c->packet + at, c->len - at);
        drop_packet(c);
        expect_length(c);
        unpark(t);
        return 1;
    }
}

static void wait_until(struct transport_server *t, int64_t until_ms)
{
    struct timespec at;
    int64_t ms = until_ms - tick_ms();
    if (ms > SWEEP_MS) ms = SWEEP_MS;
    if (ms <= 0) return;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    pthread_cond_timedwait(&t->changed, &t->mutex, &at);
}

enum tacit_err transport_server_receive(struct transport_server *t,
                                        int timeout_ms,
                                        struct transport_ticket *ticket,
                                        struct buf *out)
{
    int64_t until_ms = tick_ms() + timeout_ms;
    int got, woken;
    buf_clear(out);
    pthread_mutex_lock(&t->mutex);
    for (;;) {
        bury(t);
        sweep(t);
        got = take_packet(t, ticket, out);
        woken = t->woken;
        if (got || woken || tick_ms() >= until_ms) break;
        wait_until(t, until_ms);
    }
    if (!got) t->woken = 0;
    pthread_mutex_unlock(&t->mutex);
    return got ? buf_end(out) : TACIT_TIMEOUT;
}

enum tacit_err transport_server_reply(struct transport_server *t,
                                      const struct transport_ticket *ticket,
                                      const uint8_t *packet, size_t n)
{
    uint8_t head[FRAME_HEAD_MAX];
    assert(n <= WIRE_PACKET_MAX);
    size_t head_len = frame_put_head(head, ticket->words, ticket->n_words, n);
    struct reply *r = reply_new(head_len + n);
    if (!r) return fail(TACIT_NOMEM, "out of memory for a reply");
    memcpy(r->bytes, head, head_len);
    if (n) memcpy(r->bytes + head_len, packet, n);
    pthread_mutex_lock(&t->mutex);
    struct conn *c = t->conns[ticket->pipe % WIRE_CONNECTIONS_MAX];
    if (c && (c->pipe != ticket->pipe || c->state == CLOSING)) c = NULL;
    if (c && c->n_out < WIRE_REPLIES_MAX) {
        add_reply(c, r);
        r = NULL;
    } else if (c) {
        close_conn(c); /* asks and does not read */
    }
    pthread_mutex_unlock(&t->mutex);
    free(r);
    return TACIT_OK;
}

void transport_server_trust(struct transport_server *t,
                            const struct transport_ticket *ticket)
{
    pthread_mutex_lock(&t->mutex);
    struct conn *c = t->conns[ticket->pipe % WIRE_CONNECTIONS_MAX];
    if (c && c->pipe == ticket->pipe && c->proof_until_ms != INT64_MAX) {
        c->proof_until_ms = INT64_MAX;
        if (c->state == LENGTH) give_ms(c, WIRE_SESSION_IDLE_MS);
    }
    pthread_mutex_unlock(&t->mutex);
}

void transport_server_wake(struct transport_server *t)
{
    pthread_mutex_lock(&t->mutex);
    t->woken = 1;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->mutex);
}

int transport_server_port(const struct transport_server *t)
{
    return t->port;
}

size_t transport_server_connections(struct transport_server *t)
{
    pthread_mutex_lock(&t->mutex);
    size_t n = t->n_conns;
    pthread_mutex_unlock(&t->mutex);
    return n;
}

static enum tacit_err listen_now(struct transport_server *t,
                                 const char *address)
{
    int rv = nng_stream_listener_alloc(&t->listener, address);
    if (rv == 0)
        rv = nng_stream_listener_set_bool(t->listener, NNG_OPT_TCP_NODELAY,
                                          true);
    if (rv == 0)
        rv = nng_stream_listener_set_bool(t->listener, NNG_OPT_TCP_KEEPALIVE,
                                          true);
    if (rv == 0) rv = nng_stream_listener_listen(t->listener);
    if (rv == 0)
        rv = nng_stream_listener_get_int(t->listener, NNG_OPT_TCP_BOUND_PORT,
                                         &t->port);
    if (rv == NNG_ENOMEM) return fail(TACIT_NOMEM, "out of memory");
    if (rv != 0)
        return fail_as(E_ADDRESS_IN_USE, "%s: cannot listen: %s", address,
                       nng_strerror(rv));
    return TACIT_OK;
}

/* As many as there are descriptors for, so that no number of peers can keep the
 * process from opening its own files. */
static uint32_t conns_max(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY ||
        r.rlim_cur >= WIRE_CONNECTIONS_MAX + (rlim_t)OWN_FILES)
        return WIRE_CONNECTIONS_MAX;
    return r.rlim_cur > 2 * (rlim_t)OWN_FILES ? (uint32_t)r.rlim_cur - OWN_FILES
                                              : (uint32_t)r.rlim_cur / 2;
}

static enum tacit_err server_init(struct transport_server *t,
                                  const char *address)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    t->n_conns_max = conns_max();
    t->conns = calloc(WIRE_CONNECTIONS_MAX, sizeof *t->conns);
    t->unused = calloc(WIRE_CONNECTIONS_MAX, sizeof *t->unused);
    if (!t->conns || !t->unused || nng_aio_alloc(&t->accept, accepted, t) != 0)
        return fail(TACIT_NOMEM, "out of memory");
    TRY(listen_now(t, address));
    nng_stream_listener_accept(t->listener, t->accept);
    return TACIT_OK;
}

enum tacit_err transport_server_new(const char *address,
                                    struct transport_server **out)
{
    TRY(frame_check_address(address, FRAME_LISTEN));
    struct transport_server *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = server_init(t, address);
    if (err == TACIT_OK)
        *out = t;
    else
        transport_server_free(t);
    return err;
}

void transport_server_free(struct transport_server *t)
{
    if (!t) return;
    pthread_mutex_lock(&t->mutex);
    t->stopping = 1;
    pthread_mutex_unlock(&t->mutex);
    if (t->listener) nng_stream_listener_close(t->listener);
    nng_aio_free(t->accept); /* waits for its callback */
    pthread_mutex_lock(&t->mutex);
    t->ready = t->parked = (struct queue){0};
    for (uint32_t i = 0; i < t->n_used; i++) {
        struct conn *c = t->conns[i];
        if (!c) continue;
        /* None is buried from here on: each is freed just below. */
        c->queued = 1;
        close_conn(c);
    }
    bury(t);
    pthread_mutex_unlock(&t->mutex);
    for (uint32_t i = 0; i < t->n_used; i++)
        if (t->conns[i]) conn_free(t->conns[i]);
    if (t->listener) nng_stream_listener_free(t->listener);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->mutex);
    free(t->unused);
    free(t->conns);
    free(t);
}
