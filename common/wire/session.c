#include "common/wire/session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/wire/transport.h"

enum { MSG_REPLIES = MSG_ENROLLED /* the first type that answers */ };

struct wire_session {
    struct transport_client *transport;
    struct link_client *link;
    const struct keys *keys; /* borrowed */
    struct buf plain;        /* request; may hold masked input */
    struct buf packet;       /* sealed */
    struct buf answer;       /* from the transport */
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    int interrupted;
};

enum tacit_err session_open(const char *address,
                            const struct link_client_config *link,
                            struct wire_session **out)
{
    pthread_condattr_t monotonic;
    struct wire_session *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "out of memory");
    s->keys = link->keys;
    buf_init(&s->plain, WIRE_MESSAGE_MAX);
    buf_init(&s->packet, WIRE_PACKET_MAX);
    buf_init(&s->answer, WIRE_PACKET_MAX);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum tacit_err err = transport_client_new(address, &s->transport);
    if (err == TACIT_OK) err = link_client_new(link, &s->link);
    if (err == TACIT_OK)
        *out = s;
    else
        session_close(s);
    return err;
}

void session_close(struct wire_session *s)
{
    if (!s) return;
    transport_client_free(s->transport);
    link_client_free(s->link);
    buf_wipe(&s->plain);
    buf_release(&s->packet);
    buf_release(&s->answer);
    pthread_cond_destroy(&s->stop);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

void session_interrupt(struct wire_session *s)
{
    pthread_mutex_lock(&s->mutex);
    s->interrupted = 1;
    pthread_cond_broadcast(&s->stop);
    pthread_mutex_unlock(&s->mutex);
    transport_client_interrupt(s->transport);
}

int session_interrupted(struct wire_session *s)
{
    pthread_mutex_lock(&s->mutex);
    int stop = s->interrupted;
    pthread_mutex_unlock(&s->mutex);
    return stop;
}

const uint8_t *session_hash(const struct wire_session *s)
{
    return link_client_hash(s->link);
}

static int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - tick_ms();
    return left < 0 ? 0 : left > WIRE_CALL_MS ? (int)WIRE_CALL_MS : (int)left;
}

/* Send s->packet, get s->answer. */
static enum tacit_err exchange(struct wire_session *s, int64_t deadline_ms)
{
    buf_clear(&s->answer);
    return transport_call(s->transport, s->packet.data, s->packet.len,
                          left_ms(deadline_ms), &s->answer);
}

static enum tacit_err handshake(struct wire_session *s, int64_t deadline_ms)
{
    link_client_reset(s->link);
    for (int message = 0; message < 2; message++) { /* HELLO, FINISH */
        buf_clear(&s->packet);
        TRY(link_client_hello(s->link, &s->packet));
        TRY(exchange(s, deadline_ms));
        TRY(link_client_answer(s->link, s->answer.data, s->answer.len));
    }
    return TACIT_OK;
}

/* An ENROL carries a signature over the handshake that it travels in. */
static enum tacit_err encode_request(struct wire_session *s,
                                     const struct message *req)
{
    static const char domain[] = "tacit enrol v1";
    buf_clear(&s->plain);
    if (req->type != MSG_ENROL) return message_encode(req, &s->plain);
    struct message signed_req = *req;
    struct msg_enrol *e = &signed_req.u.enrol;
    memcpy(e->identity, s->keys->sign_public, sizeof e->identity);
    keys_sign(s->keys, domain, session_hash(s), NOISE_HASH, e->signature);
    return message_encode(&signed_req, &s->plain);
}

static enum tacit_err attempt(struct wire_session *s, const struct message *req,
                              struct buf *storage, int64_t deadline_ms)
{
    if (!link_client_ready(s->link)) TRY(handshake(s, deadline_ms));
    TRY(encode_request(s, req));
    buf_clear(&s->packet);
    TRY(link_client_seal(s->link, s->plain.data, s->plain.len, &s->packet));
    TRY(exchange(s, deadline_ms));
    buf_clear(storage);
    return link_client_open(s->link, s->answer.data, s->answer.len, storage);
}

/* What another try may heal: nobody there, no answer, a lost session, and bytes
 * that did not verify (someone on the path changed them). */
static int may_heal(enum tacit_err err, int ready_before)
{
    if (err == TACIT_IO || err == TACIT_TIMEOUT) return 1;
    if (err == TACIT_STATE) return err_id() == E_NO_SESSION;
    return ready_before && (err == TACIT_AUTH || err == TACIT_PROTO);
}

/* Pause, interruptible; half of it is jitter, so that many devices that lost
 * one coordinator do not come back at once. */
static void pause_ms(struct wire_session *s, int64_t ms)
{
    struct timespec at;
    uint64_t dice;
    rng_secure(&dice, sizeof dice);
    ms = ms / 2 + (int64_t)(dice % (uint64_t)(ms / 2 + 1));
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    pthread_mutex_lock(&s->mutex);
    while (!s->interrupted &&
           pthread_cond_timedwait(&s->stop, &s->mutex, &at) == 0) {
    }
    pthread_mutex_unlock(&s->mutex);
}

/* Whatever else went wrong meanwhile: the caller asked for it to stop. */
static enum tacit_err interrupted(void)
{
    err_clear();
    return fail(TACIT_STATE, "interrupted");
}

static enum tacit_err call_until(struct wire_session *s,
                                 const struct message *req, struct buf *storage,
                                 int64_t deadline_ms)
{
    int64_t backoff_ms = WIRE_BACKOFF_MIN_MS;
    for (int tries = 0;; tries++) {
        int ready = link_client_ready(s->link);
        enum tacit_err err = attempt(s, req, storage, deadline_ms);
        if (err == TACIT_OK) return TACIT_OK;
        /* The request may have arrived, so its nonce is spent: a new session
         * for the repeat. */
        link_client_reset(s->link);
        int64_t left = deadline_ms - tick_ms();
        if (session_interrupted(s)) return interrupted();
        if (!may_heal(err, ready) || left <= 0) return err;
        /* A coordinator that was restarted says so at once: no pause then. */
        if (!(tries == 0 && ready && err_id() == E_NO_SESSION)) {
            if (backoff_ms >= left) return err;
            pause_ms(s, backoff_ms);
            backoff_ms = 2 * backoff_ms < WIRE_BACKOFF_MAX_MS
                             ? 2 * backoff_ms
                             : (int64_t)WIRE_BACKOFF_MAX_MS;
        }
        if (session_interrupted(s)) return interrupted();
        err_clear();
    }
}

/* Only codes that a peer may speak of: its own disk and bugs are not ours. */
static enum tacit_err peer_error(const struct msg_error *e)
{
    const char *text = e->text[0] ? e->text : "no reason given";
    if (e->code >= 300 && err_code_find(e->code))
        return fail_as(e->code, "%s", text);
    return fail(TACIT_PROTO, "the coordinator answered: %s", text);
}

enum tacit_err session_call(struct wire_session *s, const struct message *req,
                            struct message *reply, struct buf *storage,
                            int timeout_ms)
{
    buf_clear(storage);
    enum tacit_err err = call_until(s, req, storage, tick_ms() + timeout_ms);
    /* Large buffers are for uploads; between them a device is small. */
    buf_wipe(&s->plain);
    buf_release(&s->packet);
    buf_release(&s->answer);
    TRY(err);
    TRY(message_decode(storage->data, storage->len, reply));
    if ((int)reply->type < (int)MSG_REPLIES)
        return fail(TACIT_PROTO, "%s is no answer", message_name(reply->type));
    return reply->type == MSG_ERROR ? peer_error(&reply->u.error) : TACIT_OK;
}
