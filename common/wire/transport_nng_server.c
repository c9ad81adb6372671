/*
 * The coordinator's end: one listener, many connections (transport_nng_conn.c).
 *
 * One mutex guards everything; nng's callbacks run on its threads, take it, and
 * never wait. The owner takes packets, sends replies, and frees what nng has
 * let go of.
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
#include "common/wire/transport_nng_parts.h"

enum {
    SLOT_BITS = 14,
    SWEEP_MS = 500,      /* how often overdue connections are looked for */
    OWN_FILES = 64,      /* descriptors left to the rest of the process */
    ACCEPT_PAUSE_MS = 50 /* after accepting failed: no descriptors left … */
};
_Static_assert(1 << SLOT_BITS == WIRE_CONNECTIONS_MAX, "a pipe holds a slot");

/* ---- accepting ---------------------------------------------------------- */

/* The mutex is held; 0 when there is no room for it. */
static int add_conn(struct transport_server *t, nng_stream *stream)
{
    if (t->stopping || t->n_conns >= t->n_conns_max) return 0;
    struct conn *c = conn_new(t);
    struct reply *greeting = conn_reply_new(FRAME_GREETING);
    if (!c || !greeting) {
        if (c) conn_free(c);
        free(greeting);
        return 0;
    }
    uint32_t slot = t->n_unused ? t->unused[--t->n_unused] : t->n_used++;
    c->stream = stream;
    c->pipe = ++t->generation << SLOT_BITS | slot;
    c->proof_until_ms = tick_ms() + WIRE_PROOF_MS;
    conn_give_ms(c, WIRE_HANDSHAKE_MS);
    t->conns[slot] = c;
    t->n_conns++;
    frame_put_greeting(greeting->bytes, FRAME_REP);
    conn_reply(c, greeting);
    if (c->state != CLOSING) conn_read(c, c->head, FRAME_GREETING);
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
            conn_close(c);
    }
    conn_unpark(t); /* the closed ones among them */
}

static void bury(struct transport_server *t)
{
    struct conn *dead = t->dead;
    t->dead = NULL;
    if (!dead) return;
    for (struct conn *c = dead; c; c = c->next) conn_drop_packet(c);
    conn_unpark(t);
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
        struct conn *c = conn_take(&t->ready);
        if (!c) return 0;
        if (c->state == CLOSING) {
            conn_bury_when_idle(c);
            continue;
        }
        *ticket = (struct transport_ticket){.pipe = c->pipe};
        if (frame_words(c->packet, c->len, ticket->words, &ticket->n_words,
                        &at) != TACIT_OK) {
            conn_close(c);
            continue;
        }
        buf_put(out, c->packet + at, c->len - at);
        conn_drop_packet(c);
        conn_expect_length(c);
        conn_unpark(t);
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
    int got;
    buf_clear(out);
    pthread_mutex_lock(&t->mutex);
    for (;;) {
        bury(t);
        sweep(t);
        got = take_packet(t, ticket, out);
        if (got || tick_ms() >= until_ms) break;
        wait_until(t, until_ms);
    }
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
    struct reply *r = conn_reply_new(head_len + n);
    if (!r) return fail(TACIT_NOMEM, "out of memory for a reply");
    memcpy(r->bytes, head, head_len);
    if (n) memcpy(r->bytes + head_len, packet, n);
    pthread_mutex_lock(&t->mutex);
    struct conn *c = t->conns[ticket->pipe % WIRE_CONNECTIONS_MAX];
    if (c && (c->pipe != ticket->pipe || c->state == CLOSING)) c = NULL;
    if (c && c->n_out < WIRE_REPLIES_MAX) {
        conn_reply(c, r);
        r = NULL;
    } else if (c) {
        conn_close(c); /* asks and does not read */
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
        if (c->state == LENGTH) conn_give_ms(c, WIRE_SESSION_IDLE_MS);
    }
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
        conn_close(c);
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
