/*
 * session_call end to end over loopback, against a small coordinator in a
 * thread of its own that can be told to misbehave.
 */
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/wire/pair.h"
#include "tests/wire/raw.h"

#include "common/base/tick.h"
#include "common/wire/messages.h"
#include "common/wire/session.h"
#include "common/wire/transport.h"

struct coordinator {
    struct keys keys, device;
    uint8_t token[LINK_TOKEN];
    int port;
    char address[64];
    pthread_t thread;
    struct transport_server *transport;
    struct link_server *link;
    /* What it shall do, and what it saw. */
    atomic_int stop, token_code, admits, forgets, hangs_up, damages, is_silent;
    atomic_int n_hellos, n_requests, error_code, enrol_verified;
    uint8_t hash[NOISE_HASH]; /* of the handshake that the last request used */
    struct buf packet, out, plain;
};

static enum tacit_err find_token(void *ctx, uint64_t token_id, uint8_t psk[32])
{
    struct coordinator *c = ctx;
    int code = atomic_load(&c->token_code);
    if (code) return fail_as((unsigned)code, "no");
    check(token_id == 77);
    link_token_psk(psk, c->token);
    return TACIT_OK;
}

static enum tacit_err admit(void *ctx, const uint8_t dh_public[KEYS_PUBLIC])
{
    struct coordinator *c = ctx;
    (void)dh_public;
    return atomic_load(&c->admits) ? TACIT_OK : fail(TACIT_NOTFOUND, "who?");
}

static void new_link(struct coordinator *c)
{
    struct link_server_config config = {.keys = &c->keys,
                                        .token_psk = find_token,
                                        .admit = admit,
                                        .ctx = c};
    link_server_free(c->link);
    check_ok(link_server_new(&config, &c->link));
}

static void new_transport(struct coordinator *c)
{
    char address[64];
    transport_server_free(c->transport);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", c->port);
    check_ok(transport_server_new(address, &c->transport));
    c->port = transport_server_port(c->transport);
}

/* POLL -> IDLE, ENROL -> ENROLLED, LEAVE -> ERROR, AWAIT -> no answer at all
 * (a request), INPUT_STATUS -> bytes that are no message. */
static void answer(struct coordinator *c, const struct link_peer *peer,
                   const struct message *m)
{
    static const char domain[] = "tacit enrol v1";
    struct message reply = {.type = MSG_IDLE, .u.idle.retry_ms = 1234};
    if (m->type == MSG_ENROL) {
        const struct msg_enrol *e = &m->u.enrol;
        atomic_store(&c->enrol_verified,
                     peer->enrol &&
                         keys_verify(e->identity, domain, peer->hash,
                                     NOISE_HASH, e->signature) == TACIT_OK);
        reply.type = MSG_ENROLLED;
        memset(&reply.u, 0, sizeof reply.u);
        strcpy(reply.u.enrolled.federation, "four hospitals");
    } else if (m->type == MSG_LEAVE) {
        reply.type = MSG_ERROR;
        memset(&reply.u, 0, sizeof reply.u);
        reply.u.error.code = (uint16_t)atomic_load(&c->error_code);
        strcpy(reply.u.error.text, "the reason");
    } else if (m->type == MSG_AWAIT) {
        reply.type = MSG_AWAIT;
        memset(&reply.u, 0, sizeof reply.u);
    }
    buf_clear(&c->plain);
    check_ok(message_encode(&reply, &c->plain));
    if (m->type == MSG_INPUT_STATUS) c->plain.data[1] = 0xff;
    buf_clear(&c->out);
    check_ok(
        link_server_seal(c->link, peer, c->plain.data, c->plain.len, &c->out));
}

static int takes_one(atomic_int *count)
{
    if (atomic_load(count) <= 0) return 0;
    atomic_fetch_sub(count, 1);
    return 1;
}

static void serve_one(struct coordinator *c)
{
    struct transport_ticket ticket;
    struct link_peer peer;
    enum link_event event;
    struct message m;
    if (transport_server_receive(c->transport, 20, &ticket, &c->packet)) return;
    if (c->packet.len && c->packet.data[0] == PACKET_HELLO)
        atomic_fetch_add(&c->n_hellos, 1);
    if (takes_one(&c->forgets)) new_link(c);
    buf_clear(&c->out);
    check_ok(link_server_receive(c->link, tick_ms(), c->packet.data,
                                 c->packet.len, &event, &peer, &c->out));
    if (event == LINK_MESSAGE) {
        atomic_fetch_add(&c->n_requests, 1);
        memcpy(c->hash, peer.hash, NOISE_HASH);
        check_ok(message_decode(c->out.data, c->out.len, &m));
        if (takes_one(&c->hangs_up)) {
            new_transport(c);
            return;
        }
        if (atomic_load(&c->is_silent)) return;
        answer(c, &peer, &m);
        if (takes_one(&c->damages)) c->out.data[c->out.len - 1] ^= 1;
    }
    check_ok(
        transport_server_reply(c->transport, &ticket, c->out.data, c->out.len));
}

static void *serve(void *arg)
{
    struct coordinator *c = arg;
    while (!atomic_load(&c->stop)) serve_one(c);
    return NULL;
}

static void prepare(struct coordinator *c)
{
    memset(c, 0, sizeof *c);
    check_ok(keys_new(&c->keys));
    check_ok(keys_new(&c->device));
    rng_secure(c->token, sizeof c->token);
    atomic_store(&c->admits, 1);
    buf_init(&c->packet, 0);
    buf_init(&c->out, 0);
    buf_init(&c->plain, 0);
    new_link(c);
    new_transport(c);
    snprintf(c->address, sizeof c->address, "tcp://127.0.0.1:%d", c->port);
}

static void start(struct coordinator *c)
{
    prepare(c);
    check(!pthread_create(&c->thread, NULL, serve, c));
}

static void stop(struct coordinator *c)
{
    atomic_store(&c->stop, 1);
    check(!pthread_join(c->thread, NULL));
    link_server_free(c->link);
    transport_server_free(c->transport);
    keys_release(&c->keys);
    keys_release(&c->device);
    buf_release(&c->packet);
    buf_release(&c->out);
    buf_release(&c->plain);
}

static struct link_client_config config_of(const struct coordinator *c,
                                           int enrol)
{
    struct link_client_config config = {.keys = &c->device, .enrol = enrol};
    memcpy(config.coordinator, c->keys.dh_public, KEYS_PUBLIC);
    if (!enrol) return config;
    config.token_id = 77;
    memcpy(config.token, c->token, LINK_TOKEN);
    return config;
}

static struct wire_session *open_to(const struct coordinator *c, int enrol)
{
    struct wire_session *s;
    struct link_client_config config = config_of(c, enrol);
    check_ok(session_open(c->address, &config, &s));
    return s;
}

static struct buf storage;

static enum tacit_err ask(struct wire_session *s, enum message_type type,
                          int timeout_ms, struct message *reply)
{
    struct message m = {.type = type};
    if (type == MSG_ENROL) strcpy(m.u.enrol.name, "North");
    return session_call(s, &m, reply, &storage, timeout_ms);
}

static void check_idle(struct wire_session *s)
{
    struct message reply;
    check_ok(ask(s, MSG_POLL, 20000, &reply));
    check(reply.type == MSG_IDLE && reply.u.idle.retry_ms == 1234);
}

static void requests_share_one_handshake(void **state)
{
    (void)state;
    struct coordinator c;
    start(&c);
    struct wire_session *s = open_to(&c, 0);
    check(session_hash(s) == NULL);
    for (int i = 0; i < 20; i++) check_idle(s);
    check(atomic_load(&c.n_hellos) == 1 && atomic_load(&c.n_requests) == 20);
    session_close(s);
    stop(&c);
    session_close(NULL);
}

static void a_restarted_coordinator_costs_one_more_handshake(void **state)
{
    (void)state;
    struct coordinator c;
    start(&c);
    struct wire_session *s = open_to(&c, 0);
    for (int i = 0; i < 5; i++) {
        check_idle(s);
        check(atomic_load(&c.n_hellos) == i + 1);
        atomic_store(&c.forgets, 1);
    }
    check(atomic_load(&c.n_requests) == 5);
    session_close(s);
    stop(&c);
}

static void a_request_whose_answer_was_lost_is_made_again(void **state)
{
    (void)state;
    struct coordinator c;
    start(&c);
    struct wire_session *s = open_to(&c, 0);
    check_idle(s);
    atomic_store(&c.hangs_up, 2);
    check_idle(s);
    check(atomic_load(&c.n_requests) == 1 + 3);
    session_close(s);
    stop(&c);
}

static void a_reply_damaged_on_the_way_is_asked_for_again(void **state)
{
    (void)state;
    struct coordinator c;
    struct message reply;
    start(&c);
    struct wire_session *s = open_to(&c, 0);
    check_idle(s);
    atomic_store(&c.damages, 1);
    check_idle(s);
    check(atomic_load(&c.n_requests) == 1 + 2);
    /* Every time: then something is wrong, and the call ends. */
    atomic_store(&c.damages, 1000);
    check_err(ask(s, MSG_POLL, 60000, &reply), TACIT_AUTH);
    atomic_store(&c.damages, 0);
    check_idle(s);
    session_close(s);
    stop(&c);
}

static void *serve_later(void *arg)
{
    usleep(400000);
    struct coordinator *c = arg;
    new_transport(c);
    return serve(c);
}

static void a_coordinator_that_comes_later_is_found(void **state)
{
    (void)state;
    struct coordinator c;
    prepare(&c);
    transport_server_free(c.transport);
    c.transport = NULL;
    struct wire_session *s = open_to(&c, 0);
    check(!pthread_create(&c.thread, NULL, serve_later, &c));
    check_idle(s);
    session_close(s);
    stop(&c);
}

static void a_call_ends_at_its_deadline(void **state)
{
    (void)state;
    struct coordinator c;
    struct message reply;
    int port, fd = raw_listen(&port);
    close(fd);
    start(&c);
    struct wire_session *s = open_to(&c, 0);
    check_idle(s);
    atomic_store(&c.is_silent, 1);
    check_err(ask(s, MSG_POLL, 300, &reply), TACIT_TIMEOUT);
    session_close(s);
    snprintf(c.address, sizeof c.address, "tcp://127.0.0.1:%d", port);
    s = open_to(&c, 0);
    check_code(ask(s, MSG_POLL, 700, &reply), E_UNREACHABLE);
    check_code(ask(s, MSG_POLL, 0, &reply), E_UNREACHABLE);
    session_close(s);
    stop(&c);
}

static void what_repeating_cannot_heal_ends_at_once(void **state)
{
    (void)state;
    static const int codes[] = {E_INVITE_USED, E_INVITE_EXPIRED,
                                E_INVITE_REFUSED};
    const int long_ms = 600000;
    struct coordinator c;
    struct message reply;
    start(&c);
    struct link_client_config config = config_of(&c, 0);
    struct wire_session *s;
    config.coordinator[0] ^= 1;
    check_ok(session_open(c.address, &config, &s));
    check_code(ask(s, MSG_POLL, long_ms, &reply), E_WRONG_COORDINATOR);
    session_close(s);
    for (int i = 0; i < 3; i++) {
        atomic_store(&c.token_code, codes[i]);
        s = open_to(&c, 1);
        check_code(ask(s, MSG_ENROL, long_ms, &reply), (unsigned)codes[i]);
        session_close(s);
    }
    atomic_store(&c.admits, 0);
    s = open_to(&c, 0);
    check_code(ask(s, MSG_POLL, long_ms, &reply), E_NOT_A_MEMBER);
    session_close(s);
    check(atomic_load(&c.n_hellos) == 5 && atomic_load(&c.n_requests) == 0);
    check_code(session_open("nowhere", &config, &s), E_ADDRESS);
    stop(&c);
}

static void enrolment_is_signed_over_its_handshake(void **state)
{
    (void)state;
    struct coordinator c;
    struct message reply;
    start(&c);
    struct wire_session *s = open_to(&c, 1);
    check_ok(ask(s, MSG_ENROL, 20000, &reply));
    check(reply.type == MSG_ENROLLED);
    check(strcmp(reply.u.enrolled.federation, "four hospitals") == 0);
    check(atomic_load(&c.enrol_verified));
    assert_memory_equal(session_hash(s), c.hash, NOISE_HASH);
    /* Also when it had to be repeated over another handshake. */
    atomic_store(&c.enrol_verified, 0);
    atomic_store(&c.hangs_up, 1);
    check_ok(ask(s, MSG_ENROL, 20000, &reply));
    check(atomic_load(&c.enrol_verified));
    check(atomic_load(&c.n_hellos) == 2);
    session_close(s);
    stop(&c);
}

static void an_error_answer_is_the_callers_error(void **state)
{
    (void)state;
    struct coordinator c;
    struct message reply;
    start(&c);
    struct wire_session *s = open_to(&c, 0);
    atomic_store(&c.error_code, E_NOT_A_MEMBER);
    enum tacit_err err = ask(s, MSG_LEAVE, 20000, &reply);
    check(strstr(err_message(), "the reason") != NULL);
    check_code(err, E_NOT_A_MEMBER);
    /* Codes that are not the peer's to use, or that this version lacks. */
    static const int strange[] = {0, E_DISK_FULL, E_DEFAULT_INTERNAL, 9999};
    for (int i = 0; i < 4; i++) {
        atomic_store(&c.error_code, strange[i]);
        check_code(ask(s, MSG_LEAVE, 20000, &reply), E_DEFAULT_PROTO);
    }
    check_err(ask(s, MSG_AWAIT, 20000, &reply), TACIT_PROTO);
    check_err(ask(s, MSG_INPUT_STATUS, 20000, &reply), TACIT_PROTO);
    check_idle(s); /* the session was not harmed */
    check(atomic_load(&c.n_hellos) == 1);
    session_close(s);
    stop(&c);
}

static void *interrupt_soon(void *arg)
{
    usleep(50000);
    session_interrupt(arg);
    return NULL;
}

static void a_call_can_be_interrupted_while_it_waits_or_pauses(void **state)
{
    (void)state;
    struct coordinator c;
    struct message reply;
    int port, fd = raw_listen(&port);
    close(fd);
    start(&c);
    atomic_store(&c.is_silent, 1);
    for (int pauses = 0; pauses < 2; pauses++) {
        pthread_t thread;
        struct wire_session *s = open_to(&c, 0);
        check(!session_interrupted(s));
        check(!pthread_create(&thread, NULL, interrupt_soon, s));
        check_err(ask(s, MSG_POLL, 600000, &reply), TACIT_STATE);
        check(session_interrupted(s));
        check_err(ask(s, MSG_POLL, 600000, &reply), TACIT_STATE);
        check(!pthread_join(thread, NULL));
        session_close(s);
        /* Next: nobody is there, so that it is between two attempts. */
        snprintf(c.address, sizeof c.address, "tcp://127.0.0.1:%d", port);
    }
    stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_share_one_handshake),
        cmocka_unit_test(a_restarted_coordinator_costs_one_more_handshake),
        cmocka_unit_test(a_request_whose_answer_was_lost_is_made_again),
        cmocka_unit_test(a_reply_damaged_on_the_way_is_asked_for_again),
        cmocka_unit_test(a_coordinator_that_comes_later_is_found),
        cmocka_unit_test(a_call_ends_at_its_deadline),
        cmocka_unit_test(what_repeating_cannot_heal_ends_at_once),
        cmocka_unit_test(enrolment_is_signed_over_its_handshake),
        cmocka_unit_test(an_error_answer_is_the_callers_error),
        cmocka_unit_test(a_call_can_be_interrupted_while_it_waits_or_pauses),
    };
    buf_init(&storage, 0);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    buf_release(&storage);
    return rc;
}
