/* server: see server.h. */
#include "coordinator/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/tick.h"
#include "common/crypto/keys.h"
#include "common/wire/link.h"
#include "common/wire/messages.h"
#include "common/wire/transport.h"
#include "coordinator/jobs.h"
#include "coordinator/requests.h"
#include "coordinator/round.h"
#include "coordinator/sessions.h"
#include "coordinator/store.h"
#include "coordinator/tally.h"

enum { SLOT_BITS = 16 };
_Static_assert((int)WIRE_SESSIONS_MAX + (int)WIRE_HANDSHAKES_MAX <=
                   1 << SLOT_BITS,
               "a link's slot fits a token");

/* The last request of a link session, until it is answered. */
struct request {
    struct transport_ticket first, ticket; /* where it came from, and again */
    struct link_peer peer;
    uint64_t seq; /* 0 = none waits */
    int in_round; /* its bytes count as the round's */
};

/* A reply that waits for the end of the turn. */
struct pending {
    uint64_t token;
    size_t at, len; /* in server.replies */
};

struct server {
    char home[512], blob_dir[512], spool_dir[512];
    char address[256], fingerprint[KEYS_FINGERPRINT];
    int lock_fd;
    struct store store;
    struct store_federation federation;
    struct keys keys;
    int has_keys;
    struct sessions sessions;
    struct jobs *jobs;
    struct link_server *link;
    struct transport_server *transport;

    struct request *requests; /* [n_requests], by link slot, owned */
    size_t n_requests;
    uint64_t seq;
    struct pending pending[SERVER_BATCH_MAX + SECAGG_CLIENTS_MAX];
    size_t n_pending;
    struct buf replies; /* encoded messages of the turn */
    struct buf packet, plain, sealed, chunk;
    struct message in, out; /* scratch */

    int64_t changes, looked_ms, seen_saved_ms;
};

/* ---- replies ------------------------------------------------------------ */

/* A token names the link slot and the request: 16 bits of slot, 48 of seq. */
static struct request *request_of(struct server *s, uint64_t token)
{
    size_t slot = token & ((1U << SLOT_BITS) - 1);
    if (slot >= s->n_requests || s->requests[slot].seq != token >> SLOT_BITS)
        return NULL;
    return &s->requests[slot];
}

static void send_plain(struct server *s, uint64_t token, const uint8_t *msg,
                       size_t n)
{
    struct request *q = request_of(s, token);
    if (!q) return; /* the device asked something else meanwhile */
    buf_clear(&s->sealed);
    enum tacit_err err =
        link_server_seal(s->link, &q->peer, msg, n, &s->sealed);
    if (err == TACIT_OK) err = buf_end(&s->sealed);
    if (err == TACIT_OK)
        err = transport_server_reply(s->transport, &q->ticket, s->sealed.data,
                                     s->sealed.len);
    if (err == TACIT_OK && q->first.pipe != q->ticket.pipe)
        err = transport_server_reply(s->transport, &q->first, s->sealed.data,
                                     s->sealed.len);
    const struct session *m =
        q->in_round ? sessions_find(&s->sessions, q->peer.dh_public) : NULL;
    if (err == TACIT_OK && m) jobs_count_bytes(s->jobs, m, 0, s->sealed.len);
    if (err != TACIT_OK && err != TACIT_NOTFOUND)
        log_event(LOG_WARN, "reply_failed", "error=\"%s\"", err_message());
    err_clear();
    q->seq = 0;
}

static void flush_replies(struct server *s)
{
    for (size_t i = 0; i < s->n_pending; i++) {
        const struct pending *p = &s->pending[i];
        send_plain(s, p->token, s->replies.data + p->at, p->len);
    }
    s->n_pending = 0;
    buf_clear(&s->replies);
}

/* Keep a reply until the end of the turn. */
static void reply(void *ctx, uint64_t token, const struct message *m)
{
    struct server *s = ctx;
    size_t max = sizeof s->pending / sizeof s->pending[0];
    if (s->n_pending == max || s->replies.len > SERVER_REPLIES_MAX)
        flush_replies(s);
    size_t at = s->replies.len;
    enum tacit_err err = message_encode(m, &s->replies);
    if (err == TACIT_OK) err = buf_end(&s->replies);
    if (err != TACIT_OK) {
        log_event(LOG_ERROR, "reply_not_encoded", "type=%s error=\"%s\"",
                  message_name(m->type), err_message());
        err_clear();
        s->replies.len = at;
        s->replies.err = TACIT_OK;
        return;
    }
    s->pending[s->n_pending++] =
        (struct pending){.token = token, .at = at, .len = s->replies.len - at};
}

static void reply_error(struct server *s, uint64_t token, unsigned code)
{
    requests_error(&s->out, code);
    reply(s, token, &s->out);
}

static void reply_idle(struct server *s, uint64_t token, enum message_idle why,
                       uint32_t retry_ms)
{
    memset(&s->out, 0, sizeof s->out);
    s->out.type = MSG_IDLE;
    s->out.u.idle.why = (uint8_t)why;
    s->out.u.idle.retry_ms = retry_ms;
    reply(s, token, &s->out);
}

/* ---- members ------------------------------------------------------------ */

static void reload_members(struct server *s)
{
    if (sessions_reload(&s->sessions, &s->store) == TACIT_OK) return;
    log_event(LOG_ERROR, "members_not_read", "error=\"%s\"", err_message());
    err_clear();
}

static void take_enrol(struct server *s, const struct link_peer *peer,
                       uint64_t token)
{
    struct store_member m;
    if (!peer->enrol || s->in.type != MSG_ENROL) {
        reply_error(s, token, E_NOT_A_MEMBER);
        return;
    }
    if (requests_enrol(&s->store, &s->keys, &s->federation, peer,
                       &s->in.u.enrol, tick_wall_s(), &s->out, &m))
        reload_members(s);
    reply(s, token, &s->out);
}

static enum message_idle idle_reason(const struct server *s,
                                     const struct session *m)
{
    if (m->member.state == MEMBER_PENDING) return IDLE_PENDING;
    if (m->member.state == MEMBER_REVOKED) return IDLE_REVOKED;
    return jobs_all_finished(s->jobs) ? IDLE_FINISHED : IDLE_NO_WORK;
}

/* Anything but "no work" is news, and told at once; the poll after it waits. */
static int is_news(const struct session *m, enum message_idle why)
{
    return why != IDLE_NO_WORK && why != m->told;
}

static void take_poll(struct server *s, struct session *m,
                      const struct link_peer *peer, int64_t now_ms,
                      uint64_t token)
{
    const struct msg_poll *poll = &s->in.u.poll;
    if (m->member.state == MEMBER_REVOKED) {
        reply_idle(s, token, IDLE_REVOKED, WIRE_BACKOFF_MAX_MS);
        return;
    }
    /* A poll that another replaces is not left without an answer: where two
     * devices share an identity, both are there and show it. */
    if (m->polling && m->token != token)
        reply_idle(s, m->token, IDLE_NO_WORK, WIRE_BACKOFF_MIN_MS);
    m->polling = 0;
    if (sessions_note_link(m, peer)) {
        log_event(LOG_WARN, "same_identity",
                  "name=\"%s\" hint=\"its home was copied to another device\"",
                  m->member.name);
        reply_error(s, token, E_SAME_IDENTITY);
        return;
    }
    if (jobs_message(s->jobs, now_ms, m, token, &s->in)) return;
    enum message_idle why = idle_reason(s, m);
    uint32_t hold =
        poll->hold_ms < WIRE_POLL_HOLD_MS ? poll->hold_ms : WIRE_POLL_HOLD_MS;
    if (hold == 0 || is_news(m, why)) {
        m->told = why;
        reply_idle(s, token, why, hold ? 0 : WIRE_BACKOFF_MIN_MS);
        return;
    }
    m->told = why;
    m->polling = 1;
    m->token = token;
    m->poll = *poll;
    m->poll_until_ms = now_ms + hold;
}

static void take_member(struct server *s, struct session *m,
                        const struct link_peer *peer, int64_t now_ms,
                        uint64_t token)
{
    const uint8_t *session = round_message_session(&s->in);
    m->seen_ms = now_ms;
    m->seen_s = tick_wall_s();
    switch (s->in.type) {
    case MSG_POLL: take_poll(s, m, peer, now_ms, token); return;
    case MSG_BLOB_GET:
        requests_blob(s->blob_dir, &s->in.u.blob_get, &s->chunk, &s->out);
        break;
    case MSG_LEAVE:
        requests_leave(&s->store, &m->member, tick_wall_s(), &s->out);
        reload_members(s);
        break;
    default:
        if (session && jobs_message(s->jobs, now_ms, m, token, &s->in)) return;
        if (session)
            requests_over(&s->store, session, &s->out);
        else
            requests_error(&s->out, E_DEFAULT_PROTO);
    }
    reply(s, token, &s->out);
}

/* ---- packets ------------------------------------------------------------ */

/* Remember how to answer; the token, or 0 when the slot is not possible. */
static uint64_t request_new(struct server *s, const struct transport_ticket *t,
                            const struct link_peer *peer)
{
    if (peer->slot >= 1U << SLOT_BITS) return 0;
    if (peer->slot >= s->n_requests) {
        size_t n = 2 * (size_t)peer->slot + 16;
        struct request *list = realloc(s->requests, n * sizeof *list);
        if (!list) return 0;
        memset(list + s->n_requests, 0, (n - s->n_requests) * sizeof *list);
        s->requests = list;
        s->n_requests = n;
    }
    struct request *q = &s->requests[peer->slot];
    /* A repeat may come from anybody who saw the bytes: it gets the answer, but
     * never takes it away from where the request first came from. */
    struct transport_ticket first = peer->repeat && q->seq ? q->first : *t;
    *q = (struct request){.first = first,
                          .ticket = *t,
                          .peer = *peer,
                          .seq = ++s->seq};
    q->peer.hash = NULL; /* borrowed only until the next packet */
    return q->seq << SLOT_BITS | peer->slot;
}

static void take_message(struct server *s, const struct transport_ticket *t,
                         const struct link_peer *peer, int64_t now_ms)
{
    uint64_t token = request_new(s, t, peer);
    if (!token) return;
    if (message_decode(s->plain.data, s->plain.len, &s->in) != TACIT_OK) {
        log_event(LOG_WARN, "message_refused", "error=\"%s\"", err_message());
        reply_error(s, token, err_id());
        return;
    }
    struct session *m = sessions_find(&s->sessions, peer->dh_public);
    if (peer->enrol) {
        take_enrol(s, peer, token);
    } else if (!m || m->member.state == MEMBER_LEFT) {
        reply_error(s, token, E_NOT_A_MEMBER);
    } else {
        struct request *q = request_of(s, token);
        assert(q); /* made above */
        q->in_round =
            round_message_session(&s->in) != NULL || s->in.type == MSG_BLOB_GET;
        if (q->in_round) jobs_count_bytes(s->jobs, m, s->packet.len, 0);
        take_member(s, m, peer, now_ms, token);
    }
}

static void take_packet(struct server *s, const struct transport_ticket *t,
                        int64_t now_ms)
{
    enum link_event event;
    struct link_peer peer;
    buf_clear(&s->plain);
    enum tacit_err err =
        link_server_receive(s->link, now_ms, s->packet.data, s->packet.len,
                            &event, &peer, &s->plain);
    if (err == TACIT_OK) err = buf_end(&s->plain);
    if (err == TACIT_OK && peer.proven) transport_server_trust(s->transport, t);
    if (err == TACIT_OK && event == LINK_REPLY)
        err = transport_server_reply(s->transport, t, s->plain.data,
                                     s->plain.len);
    if (err == TACIT_OK && event == LINK_MESSAGE)
        take_message(s, t, &peer, now_ms);
    if (err != TACIT_OK)
        log_event(LOG_WARN, "packet_failed", "error=\"%s\"", err_message());
    err_clear();
}

/* ---- the loop ----------------------------------------------------------- */

/* What the admin commands changed. */
static void look_at_store(struct server *s)
{
    int64_t changes = s->changes;
    if (store_changes(&s->store, &changes) == TACIT_OK &&
        changes != s->changes) {
        s->changes = changes;
        reload_members(s);
        if (jobs_reload(s->jobs) != TACIT_OK)
            log_event(LOG_ERROR, "plans_not_read", "error=\"%s\"",
                      err_message());
    }
    err_clear();
}

static void save_seen(struct server *s)
{
    if (sessions_save_seen(&s->sessions, &s->store) != TACIT_OK)
        log_event(LOG_ERROR, "seen_not_saved", "error=\"%s\"", err_message());
    err_clear();
}

/* What changed, and what runs out of time. */
static void look_around(struct server *s, int64_t now_ms)
{
    if (now_ms - s->looked_ms >= SERVER_LOOK_MS) {
        s->looked_ms = now_ms;
        look_at_store(s);
        if (now_ms - s->seen_saved_ms >= SERVER_SEEN_MS) {
            s->seen_saved_ms = now_ms;
            save_seen(s);
        }
    }
    jobs_tick(s->jobs, now_ms);
    for (size_t i = 0; i < s->sessions.n; i++) {
        struct session *m = &s->sessions.list[i];
        enum message_idle why = idle_reason(s, m);
        if (!m->polling || (now_ms < m->poll_until_ms && !is_news(m, why)))
            continue;
        m->polling = 0;
        m->told = why;
        reply_idle(s, m->token, why, 0);
    }
}

static int wait_ms(const struct server *s, int64_t now_ms)
{
    int64_t next = jobs_next_ms(s->jobs) - now_ms;
    if (next > SERVER_LOOK_MS) next = SERVER_LOOK_MS;
    return next > 0 ? (int)next : 0;
}

enum tacit_err server_run(struct server *s, const volatile sig_atomic_t *stop)
{
    while (!*stop) {
        int timeout = wait_ms(s, tick_ms());
        enum tacit_err err = TACIT_OK;
        for (int i = 0; i < SERVER_BATCH_MAX; i++) {
            struct transport_ticket ticket;
            buf_clear(&s->packet);
            err = transport_server_receive(s->transport, i ? 0 : timeout,
                                           &ticket, &s->packet);
            if (err != TACIT_OK) break;
            /* Nobody is sent home while a plan that was just submitted waits
             * to be seen. */
            if (jobs_all_finished(s->jobs)) look_at_store(s);
            take_packet(s, &ticket, tick_ms());
        }
        if (err != TACIT_OK && err != TACIT_TIMEOUT && err != TACIT_STATE)
            log_event(LOG_ERROR, "receive_failed", "error=\"%s\"",
                      err_message());
        err_clear();
        look_around(s, tick_ms());
        flush_replies(s);
    }
    jobs_stop(s->jobs, tick_ms());
    flush_replies(s);
    enum tacit_err err = sessions_save_seen(&s->sessions, &s->store);
    /* The transport sends in the background: give it a moment, once. */
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    log_event(LOG_INFO, "stopped", "address=%s", s->address);
    return err;
}

/* ---- start -------------------------------------------------------------- */

static enum tacit_err lock_home(struct server *s)
{
    char path[512];
    TRY(file_join(path, sizeof path, s->home, "lock"));
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) return fail(TACIT_IO, "%s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0) return TACIT_OK;
    return fail_as(E_COORDINATOR_RUNNING,
                   "%s: another coordinator runs on this home", s->home);
}

static enum tacit_err find_psk(void *ctx, uint64_t token_id, uint8_t psk[32])
{
    struct server *s = ctx;
    struct store_invite invite;
    enum tacit_err err = store_invite_find(&s->store, token_id, &invite);
    if (err != TACIT_OK) {
        log_event(LOG_WARN, "enrol_refused",
                  "invite=%016llx reason=\"no such invite\"",
                  (unsigned long long)token_id);
        return err;
    }
    /* Used and expired invites still open the link, so that the device can be
     * told which of the two it is; store_enrol() decides. */
    memcpy(psk, invite.psk, sizeof invite.psk);
    return TACIT_OK;
}

/* Strangers are turned away before they have a session. */
static enum tacit_err admit(void *ctx, const uint8_t dh_public[KEYS_PUBLIC])
{
    struct server *s = ctx;
    const struct session *m = sessions_find(&s->sessions, dh_public);
    if (m && m->member.state != MEMBER_LEFT) return TACIT_OK;
    return fail_as(E_NOT_A_MEMBER, "a stranger asks for a session");
}

static enum tacit_err load_state(struct server *s)
{
    char path[512];
    TRY(store_open(&s->store, s->home, DB_EXISTING));
    TRY(store_federation(&s->store, &s->federation));
    TRY(file_join(path, sizeof path, s->home, "keys"));
    TRY(keys_load(&s->keys, path));
    s->has_keys = 1;
    keys_fingerprint(s->fingerprint, s->keys.dh_public);
    TRY(file_join(s->blob_dir, sizeof s->blob_dir, s->home, "blobs"));
    TRY(file_join(s->spool_dir, sizeof s->spool_dir, s->home, "spool"));
    TRY(file_mkdirs(s->blob_dir, 0700));
    TRY(file_mkdirs(s->spool_dir, 0700));
    TRY(tally_clean(s->spool_dir));
    TRY(store_changes(&s->store, &s->changes));
    TRY(sessions_reload(&s->sessions, &s->store));
    struct jobs_config c = {.store = &s->store,
                            .sessions = &s->sessions,
                            .keys = &s->keys,
                            .blob_dir = s->blob_dir,
                            .spool_dir = s->spool_dir,
                            .reply = reply,
                            .ctx = s};
    return jobs_new(&c, tick_ms(), &s->jobs);
}

/* "tcp://host:0" became "tcp://host:49152". */
static enum tacit_err note_address(struct server *s, const char *listen)
{
    const char *colon = strrchr(listen, ':');
    if (!colon) return fail(TACIT_FORMAT, "%s has no port", listen);
    int n = snprintf(s->address, sizeof s->address, "%.*s:%d",
                     (int)(colon - listen), listen,
                     transport_server_port(s->transport));
    if (n < 0 || (size_t)n >= sizeof s->address)
        return fail(TACIT_LIMIT, "%.32s…: the address is too long", listen);
    return store_bound_set(&s->store, s->address);
}

enum tacit_err server_new(const struct server_config *c, struct server **out)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "the server");
    s->lock_fd = -1;
    sessions_init(&s->sessions);
    buf_init(&s->replies, 0);
    buf_init(&s->packet, WIRE_PACKET_MAX);
    buf_init(&s->plain, 0);
    buf_init(&s->sealed, 0);
    buf_init(&s->chunk, 0);
    int n = snprintf(s->home, sizeof s->home, "%s", c->home);
    enum tacit_err err =
        n < 0 || (size_t)n >= sizeof s->home
            ? fail(TACIT_LIMIT, "%.64s…: the path is too long", c->home)
            : TACIT_OK;
    /* Opening the store first tells a missing home from a locked one. */
    if (err == TACIT_OK) err = store_open(&s->store, s->home, DB_EXISTING);
    store_close(&s->store);
    if (err == TACIT_OK) err = lock_home(s);
    if (err == TACIT_OK) err = load_state(s);
    struct link_server_config l = {.keys = &s->keys,
                                   .token_psk = find_psk,
                                   .admit = admit,
                                   .ctx = s};
    const char *listen = c->listen ? c->listen : s->federation.listen;
    if (err == TACIT_OK) err = link_server_new(&l, &s->link);
    if (err == TACIT_OK) err = transport_server_new(listen, &s->transport);
    if (err == TACIT_OK) err = note_address(s, listen);
    if (err != TACIT_OK) {
        server_free(s);
        return err;
    }
    *out = s;
    return TACIT_OK;
}

const char *server_address(const struct server *s)
{
    return s->address;
}

const char *server_fingerprint(const struct server *s)
{
    return s->fingerprint;
}

void server_free(struct server *s)
{
    if (!s) return;
    transport_server_free(s->transport);
    link_server_free(s->link);
    jobs_free(s->jobs);
    sessions_release(&s->sessions);
    if (s->has_keys) keys_release(&s->keys);
    store_close(&s->store);
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s->requests);
    buf_release(&s->replies);
    buf_release(&s->packet);
    buf_release(&s->plain);
    buf_release(&s->sealed);
    buf_release(&s->chunk);
    free(s);
}
