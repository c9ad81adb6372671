/* The device's end: one connection, one request at a time. */
#include <nng/nng.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/wire/frame.h"
#include "common/wire/transport.h"

enum { STALE_MAX = 8 }; /* replies to other requests before it is PROTO */

struct transport_client {
    char address[256];
    nng_aio *aio;
    nng_stream *stream; /* NULL when not connected */
    nng_stream_dialer *dialer;
    pthread_mutex_t mutex; /* guards interrupted, and starting beside it */
    int interrupted;
    uint32_t request_id;
    int64_t deadline_ms; /* of the running call */
    int timeout_ms;
};

enum operation { DIAL, SEND, RECEIVE };

/* Start one nng operation and wait for it; an nng error or 0. */
static int run(struct transport_client *t, enum operation op, int64_t until_ms)
{
    int64_t left_ms = until_ms - tick_ms();
    if (left_ms <= 0) return NNG_ETIMEDOUT;
    nng_aio_set_timeout(t->aio, (nng_duration)left_ms);
    pthread_mutex_lock(&t->mutex);
    int stop = t->interrupted;
    if (!stop && op == DIAL) nng_stream_dialer_dial(t->dialer, t->aio);
    if (!stop && op == SEND) nng_stream_send(t->stream, t->aio);
    if (!stop && op == RECEIVE) nng_stream_recv(t->stream, t->aio);
    pthread_mutex_unlock(&t->mutex);
    if (stop) return NNG_ECANCELED;
    nng_aio_wait(t->aio);
    return nng_aio_result(t->aio);
}

static void hang_up(struct transport_client *t)
{
    if (!t->stream) return;
    nng_stream_close(t->stream);
    nng_stream_free(t->stream);
    t->stream = NULL;
}

/* All n bytes, in as many steps as it takes. */
static int transfer(struct transport_client *t, enum operation op,
                    uint8_t *bytes, size_t n, int64_t until_ms)
{
    for (size_t done = 0; done < n;) {
        nng_iov iov = {.iov_buf = bytes + done, .iov_len = n - done};
        int rv = nng_aio_set_iov(t->aio, 1, &iov);
        if (rv == 0) rv = run(t, op, until_ms);
        if (rv != 0) return rv;
        done += nng_aio_count(t->aio);
    }
    return 0;
}

static int64_t dial_until(const struct transport_client *t)
{
    int64_t dial_ms = tick_ms() + WIRE_DIAL_MS;
    return dial_ms < t->deadline_ms ? dial_ms : t->deadline_ms;
}

static int dial_address(struct transport_client *t, const char *address)
{
    int rv = nng_stream_dialer_alloc(&t->dialer, address);
    if (rv != 0) return rv;
    if (nng_stream_dialer_set_bool(t->dialer, NNG_OPT_TCP_NODELAY, true) ||
        nng_stream_dialer_set_bool(t->dialer, NNG_OPT_TCP_KEEPALIVE, true))
        rv = NNG_EINTERNAL;
    if (rv == 0) rv = run(t, DIAL, dial_until(t));
    if (rv == 0) t->stream = nng_aio_get_output(t->aio, 0);
    nng_stream_dialer_free(t->dialer);
    t->dialer = NULL;
    return rv;
}

/* nng tries one address of a name only, often its IPv6 one: try IPv4 next. */
static int dial(struct transport_client *t)
{
    char ip4[sizeof t->address + 1];
    int rv = dial_address(t, t->address);
    if (rv == 0 || rv == NNG_ECANCELED || rv == NNG_ETIMEDOUT) return rv;
    const char *host = t->address + strlen("tcp://");
    if (*host == '[' || !host[strspn(host, "0123456789.:")]) return rv;
    snprintf(ip4, sizeof ip4, "tcp4://%s", host);
    return dial_address(t, ip4) == 0 ? 0 : rv;
}

static int greet(struct transport_client *t)
{
    uint8_t greeting[FRAME_GREETING];
    frame_put_greeting(greeting, FRAME_REQ);
    int64_t until_ms = dial_until(t);
    int rv = transfer(t, SEND, greeting, sizeof greeting, until_ms);
    if (rv == 0) rv = transfer(t, RECEIVE, greeting, sizeof greeting, until_ms);
    if (rv == 0 && !frame_is_greeting(greeting, FRAME_REP)) rv = NNG_EPROTO;
    return rv;
}

static enum tacit_err not_reached(const struct transport_client *t, int rv)
{
    if (rv == NNG_ECANCELED) return fail(TACIT_STATE, "interrupted");
    const char *why = rv == NNG_ETIMEDOUT    ? "no answer"
                      : rv == NNG_EADDRINVAL ? "no such host"
                      : rv == NNG_EPROTO     ? "what answers is no coordinator"
                      : rv == NNG_ECONNSHUT || rv == NNG_ECLOSED
                          ? "the connection was closed at once"
                          : nng_strerror(rv);
    return fail_as(E_UNREACHABLE, "%s: %s", t->address, why);
}

static enum tacit_err connect_now(struct transport_client *t)
{
    if (t->stream) return TACIT_OK;
    int rv = dial(t);
    if (rv == 0) rv = greet(t);
    if (rv == 0) return TACIT_OK;
    hang_up(t);
    return not_reached(t, rv);
}

static enum tacit_err lost(const struct transport_client *t, int rv)
{
    if (rv == NNG_ECANCELED) return fail(TACIT_STATE, "interrupted");
    if (rv == NNG_ENOMEM) return fail(TACIT_NOMEM, "out of memory");
    if (rv == NNG_ETIMEDOUT)
        return fail(TACIT_TIMEOUT, "%s: no answer within %d ms", t->address,
                    t->timeout_ms);
    return fail_as(E_UNREACHABLE, "%s: the connection was lost", t->address);
}

static enum tacit_err send_request(struct transport_client *t,
                                   const uint8_t *packet, size_t n)
{
    uint8_t head[FRAME_HEAD_MAX];
    struct buf frame;
    t->request_id = (t->request_id + 1) | 0x80000000;
    buf_init(&frame, FRAME_LENGTH + FRAME_MAX);
    buf_put(&frame, head, frame_put_head(head, &t->request_id, 1, n));
    buf_put(&frame, packet, n);
    enum tacit_err err = buf_end(&frame);
    if (err == TACIT_OK) {
        int rv = transfer(t, SEND, frame.data, frame.len, t->deadline_ms);
        if (rv != 0) err = lost(t, rv);
    }
    buf_release(&frame);
    return err;
}

/* One frame; *mine is 1 when it answers the request, and in reply. */
static enum tacit_err read_reply(struct transport_client *t, struct buf *reply,
                                 int *mine)
{
    uint8_t length[FRAME_LENGTH];
    uint32_t words[FRAME_WORDS_MAX], n_words;
    size_t n, body_at, was = reply->len;
    int rv = transfer(t, RECEIVE, length, sizeof length, t->deadline_ms);
    if (rv != 0) return lost(t, rv);
    TRY(frame_length(length, &n));
    uint8_t *bytes = malloc(n);
    if (!bytes) return fail(TACIT_NOMEM, "out of memory");
    rv = transfer(t, RECEIVE, bytes, n, t->deadline_ms);
    enum tacit_err err = rv != 0
                             ? lost(t, rv)
                             : frame_words(bytes, n, words, &n_words, &body_at);
    *mine = 0;
    if (err == TACIT_OK && n_words == 1 && words[0] == t->request_id) {
        *mine = 1;
        buf_put(reply, bytes + body_at, n - body_at);
        err = buf_end(reply);
    }
    free(bytes);
    if (err != TACIT_OK) reply->len = was;
    return err;
}

enum tacit_err transport_call(struct transport_client *t, const uint8_t *packet,
                              size_t n, int timeout_ms, struct buf *reply)
{
    if (n > WIRE_PACKET_MAX)
        return fail(TACIT_LIMIT, "packet of %zu bytes, the limit is %d", n,
                    WIRE_PACKET_MAX);
    t->timeout_ms = timeout_ms;
    t->deadline_ms = tick_ms() + timeout_ms;
    TRY(connect_now(t));
    enum tacit_err err = send_request(t, packet, n);
    for (int i = 0, mine = 0; err == TACIT_OK && !mine; i++)
        err = i < STALE_MAX
                  ? read_reply(t, reply, &mine)
                  : fail(TACIT_PROTO, "replies that answer no request");
    /* A late reply must not be read as the answer to the next request. */
    if (err != TACIT_OK) hang_up(t);
    return err;
}

enum tacit_err transport_client_new(const char *address,
                                    struct transport_client **out)
{
    TRY(frame_check_address(address, FRAME_DIAL));
    struct transport_client *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "out of memory");
    snprintf(t->address, sizeof t->address, "%s", address);
    if (nng_aio_alloc(&t->aio, NULL, NULL) != 0) {
        free(t);
        return fail(TACIT_NOMEM, "out of memory");
    }
    pthread_mutex_init(&t->mutex, NULL);
    rng_secure(&t->request_id, sizeof t->request_id);
    *out = t;
    return TACIT_OK;
}

void transport_client_free(struct transport_client *t)
{
    if (!t) return;
    hang_up(t);
    nng_aio_free(t->aio);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

void transport_client_interrupt(struct transport_client *t)
{
    pthread_mutex_lock(&t->mutex);
    t->interrupted = 1;
    nng_aio_cancel(t->aio);
    pthread_mutex_unlock(&t->mutex);
}
