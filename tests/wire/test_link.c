#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/wire/pair.h"

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

static void both_handshakes_give_both_ends_the_same_session(void **state)
{
    (void)state;
    for (int enrol = 0; enrol < 2; enrol++) {
        struct pair p;
        pair_open(&p, enrol);
        check(!link_client_ready(p.client) && !link_client_hash(p.client));
        check_ok(pair_handshake(&p));
        check(link_client_ready(p.client));
        check(link_server_sessions(p.server) == 1);
        pair_ask(&p, "question", 8, "answer", 6);
        check(p.peer.enrol == enrol && !p.peer.repeat);
        check(p.peer.token_id == (enrol ? p.config.token_id : 0));
        check(p.n_tokens_asked == enrol);
        assert_memory_equal(p.peer.dh_public, p.device.dh_public, KEYS_PUBLIC);
        assert_memory_equal(p.peer.hash, link_client_hash(p.client),
                            NOISE_HASH);
        pair_close(&p);
    }
}

static void messages_of_every_size_cross_and_none_over_the_limit(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,
                                   1,
                                   RECORD_BYTES - 1,
                                   RECORD_BYTES,
                                   RECORD_BYTES + 1,
                                   2 * RECORD_BYTES,
                                   3 * RECORD_BYTES + 7,
                                   WIRE_MESSAGE_MAX};
    struct pair p;
    uint8_t *data = malloc(WIRE_MESSAGE_MAX + 1);
    check(data != NULL);
    rng_secure(data, WIRE_MESSAGE_MAX + 1);
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
            pair_ask(&p, data, sizes[i], data, sizes[k]);
    check(p.wire.len <= WIRE_PACKET_MAX);
    buf_clear(&p.wire);
    check_err(link_client_seal(p.client, data, WIRE_MESSAGE_MAX + 1, &p.wire),
              TACIT_LIMIT);
    check(p.wire.len == 0);
    check_err(link_server_seal(p.server, &p.peer, data, WIRE_MESSAGE_MAX + 1,
                               &p.wire),
              TACIT_LIMIT);
    check(p.wire.len == 0);
    pair_ask(&p, data, 5, data, 5); /* and nothing was broken by it */
    pair_close(&p);
    free(data);
}

/* One handshake with byte `at` of its packet number `which` (0 HELLO, 1
 * HELLO_OK, 2 FINISH, 3 FINISH_OK) changed on the way; 0 when that packet has
 * no such byte. The device must not come to believe that it has a session. */
static int damaged_handshake(struct pair *p, int which, size_t at, uint8_t flip)
{
    enum tacit_err err = TACIT_OK;
    int done = 0, resets = 0;
    link_client_reset(p->client);
    for (int i = 0; i < 4 && err == TACIT_OK; i++) {
        if (i % 2 == 0) pair_hello(p);
        if (i == which) {
            if (at >= p->wire.len) return 0;
            p->wire.data[at] ^= flip;
            done = 1;
        }
        if (i % 2)
            err = pair_answer(p);
        else
            check(pair_arrive(p) == LINK_REPLY);
        resets += p->wire.data[0] == PACKET_RESET;
    }
    check(done && err != TACIT_OK);
    check(!link_client_ready(p->client) && !link_client_hash(p->client));
    /* The coordinator noticed itself, but for what it was not shown again. */
    check(resets > 0 || which == 1 || which == 3);
    err_clear();
    return 1;
}

static void a_handshake_with_any_byte_changed_is_refused(void **state)
{
    (void)state;
    static const size_t lengths[] = {PACKET_HELLO_BYTES, PACKET_HELLO_OK_BYTES,
                                     PACKET_FINISH_BYTES,
                                     1 + LINK_SESSION + RECORD_OVERHEAD};
    for (int enrol = 0; enrol < 2; enrol++) {
        struct pair p;
        pair_open(&p, enrol);
        for (int which = 0; which < 4; which++) {
            size_t at = 0;
            while (damaged_handshake(&p, which, at, (uint8_t)(1 << at % 8)))
                at++;
            check(at == lengths[which]);
        }
        check_ok(pair_handshake(&p)); /* and all of that did no harm */
        pair_ask(&p, "a", 1, "b", 1);
        pair_close(&p);
    }
}

static void a_request_with_any_byte_changed_is_refused(void **state)
{
    (void)state;
    uint8_t msg[40];
    struct pair p;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    rng_secure(msg, sizeof msg);
    pair_seal(&p, msg, sizeof msg);
    size_t n = p.wire.len;
    uint8_t *good = malloc(n);
    check(good != NULL);
    memcpy(good, p.wire.data, n);
    for (size_t at = 0; at < n; at++)
        for (int bit = 0; bit < 8; bit++) {
            buf_clear(&p.wire);
            buf_put(&p.wire, good, n);
            p.wire.data[at] ^= (uint8_t)(1 << bit);
            check(pair_arrive(&p) == LINK_REPLY);
            check(p.wire.data[0] == PACKET_RESET);
            /* The device does not take it for an answer either. */
            check_code(pair_open_reply(&p), E_NO_SESSION);
        }
    /* No state was changed: the good one is delivered, once, and answered. */
    buf_clear(&p.wire);
    buf_put(&p.wire, good, n);
    check(pair_arrive(&p) == LINK_MESSAGE && !p.peer.repeat);
    check(pair_got(&p, msg, sizeof msg));
    pair_reply(&p, "yes", 3);
    check_ok(pair_open_reply(&p));
    free(good);
    pair_close(&p);
}

static void a_reply_with_any_byte_changed_is_refused(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    pair_seal(&p, "question", 8);
    check(pair_arrive(&p) == LINK_MESSAGE);
    pair_reply(&p, "the true answer", 15);
    for (size_t at = 0; at < p.wire.len; at++) {
        p.wire.data[at] ^= 0x10;
        check(pair_open_reply(&p) != TACIT_OK && p.plain.len == 0);
        p.wire.data[at] ^= 0x10;
        err_clear();
    }
    check_ok(pair_open_reply(&p));
    check(pair_got(&p, "the true answer", 15));
    /* Once only. */
    check_err(pair_open_reply(&p), TACIT_STATE);
    pair_close(&p);
}

/* The packet in wire cut to every length, and one byte too long. */
static void check_cut(struct pair *p, int to_server)
{
    size_t n = p->wire.len;
    uint8_t *whole = malloc(n + 1);
    check(whole != NULL);
    memcpy(whole, p->wire.data, n);
    whole[n] = 0;
    for (size_t len = 0; len <= n + 1; len++) {
        if (len == n) continue;
        /* Exactly sized, so that a read past its end is seen. */
        uint8_t *cut = malloc(len ? len : 1);
        check(cut != NULL);
        memcpy(cut, whole, len);
        enum link_event event = LINK_MESSAGE;
        buf_clear(&p->plain);
        if (to_server) {
            check_ok(link_server_receive(p->server, p->now_ms, cut, len, &event,
                                         &p->peer, &p->plain));
            check(event == LINK_REPLY && p->plain.len == 2 &&
                  p->plain.data[0] == PACKET_RESET);
        } else if (link_client_ready(p->client)) {
            check(link_client_open(p->client, cut, len, &p->plain) != TACIT_OK);
            check(p->plain.len == 0);
        } else {
            /* A bad answer ends the handshake, so each cut begins its own. */
            struct link_client *other;
            struct buf hello;
            buf_init(&hello, 0);
            check_ok(link_client_new(&p->config, &other));
            check_ok(link_client_hello(other, &hello));
            check(link_client_answer(other, cut, len) != TACIT_OK);
            link_client_free(other);
            buf_release(&hello);
        }
        err_clear();
        free(cut);
    }
    buf_clear(&p->wire);
    buf_put(&p->wire, whole, n);
    free(whole);
}

static void packets_cut_short_or_too_long_are_refused(void **state)
{
    (void)state;
    for (int enrol = 0; enrol < 2; enrol++) {
        struct pair p;
        pair_open(&p, enrol);
        for (int message = 0; message < 2; message++) {
            pair_hello(&p);
            check_cut(&p, 1);
            check(pair_arrive(&p) == LINK_REPLY);
            check_cut(&p, 0);
            check_ok(pair_answer(&p));
        }
        pair_seal(&p, "question", 8);
        check_cut(&p, 1);
        check(pair_arrive(&p) == LINK_MESSAGE);
        pair_reply(&p, "answer", 6);
        check_cut(&p, 0);
        check_ok(pair_open_reply(&p));
        pair_close(&p);
    }
}

static void packets_over_the_maximum_are_refused_unread(void **state)
{
    (void)state;
    struct pair p;
    enum link_event event;
    uint8_t *huge = calloc(1, WIRE_PACKET_MAX + 1);
    check(huge != NULL);
    pair_open(&p, 0);
    for (int kind = 0; kind < 256; kind++) {
        huge[0] = (uint8_t)kind;
        buf_clear(&p.plain);
        check_ok(link_server_receive(p.server, p.now_ms, huge,
                                     WIRE_PACKET_MAX + 1, &event, &p.peer,
                                     &p.plain));
        check(event == LINK_REPLY && p.plain.len == 2);
        pair_hello(&p);
        check_err(link_client_answer(p.client, huge, WIRE_HANDSHAKE_MAX + 1),
                  TACIT_PROTO);
    }
    check_ok(pair_handshake(&p));
    pair_seal(&p, "q", 1);
    huge[0] = PACKET_DATA;
    check_err(link_client_open(p.client, huge, WIRE_PACKET_MAX + 1, &p.plain),
              TACIT_PROTO);
    free(huge);
    pair_close(&p);
}

static void a_repeat_is_delivered_again_until_it_is_answered(void **state)
{
    (void)state;
    struct pair p;
    struct buf request, reply;
    pair_open(&p, 0);
    buf_init(&request, 0);
    buf_init(&reply, 0);
    check_ok(pair_handshake(&p));
    pair_seal(&p, "question", 8);
    buf_put(&request, p.wire.data, p.wire.len);
    check(pair_arrive(&p) == LINK_MESSAGE && !p.peer.repeat);
    for (int i = 0; i < 3; i++) {
        check(pair_arrive(&p) == LINK_MESSAGE && p.peer.repeat);
        check(pair_got(&p, "question", 8));
    }
    pair_reply(&p, "answer", 6);
    buf_put(&reply, p.wire.data, p.wire.len);
    /* Answered: the same bytes again, and nothing for the application. */
    buf_clear(&p.wire);
    buf_put(&p.wire, request.data, request.len);
    check(pair_arrive(&p) == LINK_REPLY);
    check(p.wire.len == reply.len);
    assert_memory_equal(p.wire.data, reply.data, reply.len);
    /* A damaged repeat does not get it. */
    request.data[request.len - 1] ^= 1;
    buf_clear(&p.wire);
    buf_put(&p.wire, request.data, request.len);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_PACKET));
    request.data[request.len - 1] ^= 1;
    /* A large reply is not kept: the device has to begin again. */
    uint8_t *large = calloc(1, WIRE_REPLY_KEPT_MAX);
    check(large != NULL);
    pair_ask(&p, "next", 4, large, WIRE_REPLY_KEPT_MAX);
    pair_seal(&p, "next", 4);
    buf_clear(&request);
    buf_put(&request, p.wire.data, p.wire.len);
    check(pair_arrive(&p) == LINK_MESSAGE);
    pair_reply(&p, large, WIRE_REPLY_KEPT_MAX);
    buf_clear(&p.wire);
    buf_put(&p.wire, request.data, request.len);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_REPEAT));
    free(large);
    buf_release(&request);
    buf_release(&reply);
    pair_close(&p);
}

static void replayed_and_reordered_requests_are_refused(void **state)
{
    (void)state;
    enum { N = 6 };
    struct pair p;
    struct buf sealed[N];
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    for (int i = 0; i < N; i++) {
        uint8_t text = (uint8_t)i;
        buf_init(&sealed[i], 0);
        check_ok(link_client_seal(p.client, &text, 1, &sealed[i]));
    }
    /* Number 3 arrives first: those before it may not any more, those after it
     * may, and none of them twice. */
    static const int order[] = {3, 0, 1, 2, 5, 4, 3};
    static const int taken[] = {1, 0, 0, 0, 1, 0, 0};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        buf_clear(&p.wire);
        buf_put(&p.wire, sealed[order[i]].data, sealed[order[i]].len);
        if (taken[i]) {
            uint8_t text = (uint8_t)order[i];
            check(pair_arrive(&p) == LINK_MESSAGE && pair_got(&p, &text, 1));
        } else {
            check(pair_arrive(&p) == LINK_REPLY);
            check(pair_is_reset(&p, RESET_REPEAT));
        }
    }
    for (int i = 0; i < N; i++) buf_release(&sealed[i]);
    pair_close(&p);
}

static void a_reply_opens_for_its_own_request_only(void **state)
{
    (void)state;
    struct pair p;
    struct buf first;
    pair_open(&p, 0);
    buf_init(&first, 0);
    check_ok(pair_handshake(&p));
    pair_seal(&p, "first", 5);
    check(pair_arrive(&p) == LINK_MESSAGE);
    struct link_peer old = p.peer;
    check_ok(link_server_seal(p.server, &old, bytes("answer 1"), 8, &first));
    /* The device has gone on: the late answer is no answer. */
    pair_seal(&p, "second", 6);
    check_err(link_client_open(p.client, first.data, first.len, &p.plain),
              TACIT_AUTH);
    check(pair_arrive(&p) == LINK_MESSAGE);
    /* And the coordinator cannot seal one any more. */
    buf_clear(&first);
    check(link_server_seal(p.server, &old, bytes("answer 1"), 8, &first) ==
          TACIT_NOTFOUND);
    check(first.len == 0 && err_message()[0] == '\0');
    pair_reply(&p, "answer 2", 8);
    check_ok(pair_open_reply(&p));
    check(pair_got(&p, "answer 2", 8));
    /* A peer that names no session of the table. */
    old = p.peer;
    old.slot = 1000;
    check(link_server_seal(p.server, &old, bytes("x"), 1, &first) ==
          TACIT_NOTFOUND);
    buf_release(&first);
    pair_close(&p);
}

static void packets_of_one_session_mean_nothing_in_another(void **state)
{
    (void)state;
    struct pair p;
    struct link_client *other = NULL;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    other = p.client;
    p.client = NULL;
    pair_new_client(&p);
    check_ok(pair_handshake(&p));
    check(link_server_sessions(p.server) == 2);
    pair_seal(&p, "mine", 4);
    /* With the other session's name on it. */
    struct buf theirs;
    buf_init(&theirs, 0);
    check_ok(link_client_seal(other, bytes("theirs"), 6, &theirs));
    memcpy(p.wire.data + 1, theirs.data + 1, LINK_SESSION);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_PACKET));
    /* The other's reply. */
    buf_clear(&p.wire);
    buf_put(&p.wire, theirs.data, theirs.len);
    check(pair_arrive(&p) == LINK_MESSAGE);
    pair_reply(&p, "for theirs", 10);
    check_err(pair_open_reply(&p), TACIT_PROTO);
    check_ok(link_client_open(other, p.wire.data, p.wire.len, &p.plain));
    buf_release(&theirs);
    link_client_free(other);
    pair_close(&p);
}

static int holds(const struct buf *b, const uint8_t *secret, size_t n)
{
    for (size_t i = 0; i + n <= b->len; i++)
        if (memcmp(b->data + i, secret, n) == 0) return 1;
    return 0;
}

static void a_wrong_coordinator_is_named_and_told_nothing(void **state)
{
    (void)state;
    for (int enrol = 0; enrol < 2; enrol++) {
        struct pair p;
        uint8_t psk[32], made_up[PACKET_HELLO_OK_BYTES];
        pair_open(&p, enrol);
        link_token_psk(psk, p.config.token);
        p.config.coordinator[3] ^= 4; /* the key that the invite promised */
        pair_new_client(&p);
        pair_hello(&p);
        check(!holds(&p.wire, p.device.dh_public, KEYS_PUBLIC));
        check(!holds(&p.wire, p.device.sign_public, KEYS_PUBLIC));
        check(!holds(&p.wire, p.device.id, KEYS_ID));
        check(!holds(&p.wire, p.config.token, LINK_TOKEN));
        check(!holds(&p.wire, psk, sizeof psk));
        check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_KEY));
        check(p.n_tokens_asked == 0);
        check_code(pair_answer(&p), E_WRONG_COORDINATOR);
        /* One that answers nevertheless, with random bytes and with a point
         * of small order. */
        for (int zero = 0; zero < 2; zero++) {
            pair_hello(&p);
            rng_secure(made_up, sizeof made_up);
            made_up[0] = PACKET_HELLO_OK;
            if (zero) memset(made_up + 1 + LINK_SESSION, 0, 32);
            check_code(link_client_answer(p.client, made_up, sizeof made_up),
                       E_WRONG_COORDINATOR);
            /* It begins again, it does not go on to FINISH with its key. */
            pair_hello(&p);
            check(p.wire.data[0] == PACKET_HELLO);
        }
        pair_close(&p);
    }
}

static void an_invite_that_is_not_good_is_refused_by_its_reason(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 1);
    p.token = TOKEN_USED;
    check_code(pair_handshake(&p), E_INVITE_USED);
    p.token = TOKEN_EXPIRED;
    check_code(pair_handshake(&p), E_INVITE_EXPIRED);
    p.token = TOKEN_OTHER;
    check_code(pair_handshake(&p), E_INVITE_REFUSED);
    p.token = TOKEN_GOOD;
    p.config.token_id++;
    pair_new_client(&p);
    p.config.token_id--;
    check_code(pair_handshake(&p), E_INVITE_REFUSED);
    check(link_server_sessions(p.server) == 0);
    /* A coordinator that enrols nobody. */
    struct link_server_config none = {.keys = &p.coordinator};
    link_server_free(p.server);
    check_ok(link_server_new(&none, &p.server));
    pair_new_client(&p);
    check_code(pair_handshake(&p), E_INVITE_REFUSED);
    /* And one that admits every key. */
    p.config.enrol = 0;
    pair_new_client(&p);
    check_ok(pair_handshake(&p));
    pair_close(&p);
}

static void a_stranger_gets_no_session(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 0);
    p.admits = 0;
    check_code(pair_handshake(&p), E_NOT_A_MEMBER);
    check(link_server_sessions(p.server) == 0);
    p.admits = 1;
    check_ok(pair_handshake(&p));
    pair_close(&p);
}

static void another_wire_version_is_said_so(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 0);
    pair_hello(&p);
    p.wire.data[1] = WIRE_VERSION + 1;
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_VERSION));
    check_code(pair_answer(&p), E_WIRE_VERSION);
    pair_close(&p);
}

static void answers_out_of_turn_end_the_handshake(void **state)
{
    (void)state;
    struct pair p;
    struct buf hello_ok;
    uint8_t reset[2] = {PACKET_RESET, 99};
    pair_open(&p, 0);
    buf_init(&hello_ok, 0);
    /* Nothing was asked. */
    check_code(link_client_answer(p.client, reset, 2), E_NO_SESSION);
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY);
    buf_put(&hello_ok, p.wire.data, p.wire.len);
    check_ok(pair_answer(&p));
    /* HELLO_OK again, in place of FINISH_OK. */
    pair_hello(&p);
    check_err(link_client_answer(p.client, hello_ok.data, hello_ok.len),
              TACIT_PROTO);
    /* FINISH twice: the second finds no handshake. */
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY);
    check_ok(pair_answer(&p));
    pair_hello(&p);
    buf_clear(&hello_ok);
    buf_put(&hello_ok, p.wire.data, p.wire.len);
    check(pair_arrive(&p) == LINK_REPLY && p.wire.data[0] == PACKET_FINISH_OK);
    check_ok(pair_answer(&p));
    buf_clear(&p.wire);
    buf_put(&p.wire, hello_ok.data, hello_ok.len);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_SESSION));
    /* The coordinator takes no packets that only it sends. */
    for (int kind = 0; kind < 256; kind++) {
        uint8_t packet[PACKET_HELLO_OK_BYTES] = {(uint8_t)kind};
        buf_clear(&p.wire);
        buf_put(&p.wire, packet, sizeof packet);
        check(pair_arrive(&p) == LINK_REPLY);
        check(p.wire.data[0] == PACKET_RESET);
    }
    pair_ask(&p, "a", 1, "b", 1);
    /* A request or reply without a session. */
    link_client_reset(p.client);
    check_err(link_client_seal(p.client, NULL, 0, &p.wire), TACIT_STATE);
    check(p.wire.len > 1);
    check_err(pair_open_reply(&p), TACIT_STATE);
    buf_release(&hello_ok);
    pair_close(&p);
}

static void a_reset_heals_after_the_coordinator_was_restarted(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    pair_ask(&p, "before", 6, "yes", 3);
    pair_new_server(&p);
    pair_seal(&p, "after", 5);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_SESSION));
    check_code(pair_open_reply(&p), E_NO_SESSION);
    link_client_reset(p.client);
    check_ok(pair_handshake(&p));
    pair_ask(&p, "after", 5, "yes", 3);
    pair_close(&p);
}

static void idle_sessions_and_slow_handshakes_are_forgotten(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    /* Used in time, it lives on. */
    for (int i = 0; i < 3; i++) {
        p.now_ms += WIRE_SESSION_IDLE_MS;
        pair_ask(&p, "a", 1, "b", 1);
    }
    p.now_ms += WIRE_SESSION_IDLE_MS + 1;
    pair_seal(&p, "late", 4);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_SESSION));
    check(link_server_sessions(p.server) == 0);
    /* Its reply can no more be sealed. */
    check(link_server_seal(p.server, &p.peer, bytes("b"), 1, &p.plain) ==
          TACIT_NOTFOUND);
    link_client_reset(p.client);
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY);
    check_ok(pair_answer(&p));
    p.now_ms += WIRE_HANDSHAKE_MS + 1;
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_SESSION));
    check_code(pair_answer(&p), E_NO_SESSION);
    check_ok(pair_handshake(&p));
    pair_close(&p);
}

static void one_device_key_has_a_few_sessions_only(void **state)
{
    (void)state;
    enum { N = WIRE_SESSIONS_PER_KEY + 2 };
    struct pair p;
    struct link_client *clients[N];
    pair_open(&p, 0);
    for (int i = 0; i < N; i++) {
        check_ok(pair_handshake(&p));
        clients[i] = p.client;
        p.client = NULL;
        pair_new_client(&p);
        check(link_server_sessions(p.server) ==
              (size_t)(i < WIRE_SESSIONS_PER_KEY ? i + 1
                                                 : WIRE_SESSIONS_PER_KEY));
    }
    link_client_free(p.client);
    for (int i = 0; i < N; i++) {
        p.client = clients[i];
        pair_seal(&p, "still there?", 12);
        int gone = i < N - WIRE_SESSIONS_PER_KEY;
        check(pair_arrive(&p) == (gone ? LINK_REPLY : LINK_MESSAGE));
        link_client_free(p.client);
    }
    p.client = NULL;
    pair_close(&p);
}

static void unfinished_handshakes_are_bounded_oldest_out(void **state)
{
    (void)state;
    struct pair p;
    struct link_client *first;
    pair_open(&p, 0);
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY);
    check_ok(pair_answer(&p));
    first = p.client;
    p.client = NULL;
    pair_new_client(&p);
    for (int i = 0; i < WIRE_HANDSHAKES_MAX; i++) {
        pair_hello(&p);
        check(pair_arrive(&p) == LINK_REPLY);
        check(p.wire.data[0] == PACKET_HELLO_OK);
    }
    check_ok(pair_answer(&p));
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY);
    check_ok(pair_answer(&p)); /* the newest is there */
    link_client_free(p.client);
    p.client = first;
    pair_hello(&p);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_SESSION));
    pair_close(&p);
}

/* A session ends long before a nonce could come round. */
static void a_session_that_lived_long_is_made_anew(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, 0);
    check_ok(pair_handshake(&p));
    uint32_t sealed = 0;
    while (link_client_ready(p.client)) {
        pair_seal(&p, NULL, 0);
        sealed++;
    }
    check(sealed == WIRE_REKEY_RECORDS - RECORDS_MAX);
    check(pair_arrive(&p) == LINK_MESSAGE); /* the last one is still good */
    /* A nonce past the end; what verifies is not even asked. */
    pair_reply(&p, NULL, 0);
    le64_store(p.wire.data + 1 + LINK_SESSION, WIRE_REKEY_RECORDS + 1);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_REKEY));
    /* The coordinator's direction. */
    check_ok(pair_handshake(&p));
    pair_seal(&p, NULL, 0);
    check(pair_arrive(&p) == LINK_MESSAGE);
    for (uint32_t i = 0; i < WIRE_REKEY_RECORDS; i++) pair_reply(&p, NULL, 0);
    check_ok(pair_open_reply(&p));
    check(!link_client_ready(p.client));
    check_ok(pair_handshake(&p));
    pair_ask(&p, "a", 1, "b", 1);
    pair_close(&p);
}

/* ---- invites ------------------------------------------------------------ */

static void random_invite(struct link_invite *v, const char *address)
{
    memset(v, 0, sizeof *v);
    strcpy(v->address, address);
    rng_secure(v->coordinator, sizeof v->coordinator);
    rng_secure(&v->token_id, sizeof v->token_id);
    rng_secure(v->token, sizeof v->token);
}

static void an_invite_that_was_written_is_read_back(void **state)
{
    (void)state;
    static const char *const addresses[] = {"tcp://192.0.2.7:7433",
                                            "tcp://[2001:db8::7]:7433",
                                            "tcp://fed.example.org:65535",
                                            "tcp://a_b-c:1"};
    for (size_t i = 0; i < 4; i++) {
        struct link_invite in, out;
        char text[400], spaced[410];
        random_invite(&in, addresses[i]);
        check_ok(link_invite_format(&in, text, sizeof text));
        check(strncmp(text, "tacit:", 6) == 0);
        snprintf(spaced, sizeof spaced, " \t%s\r\n", text);
        check_ok(link_invite_parse(spaced, &out));
        assert_memory_equal(&in, &out, sizeof in);
        for (size_t cap = 0; cap <= strlen(text); cap++)
            check_err(link_invite_format(&in, spaced, cap), TACIT_LIMIT);
    }
}

static void an_invite_with_any_character_changed_is_refused(void **state)
{
    (void)state;
    struct link_invite in, out;
    char text[400], bad[400];
    random_invite(&in, "tcp://fed.example.org:7433");
    check_ok(link_invite_format(&in, text, sizeof text));
    size_t n = strlen(text);
    for (size_t at = 0; at < n; at++)
        for (int c = 1; c < 256; c++) {
            memcpy(bad, text, n + 1);
            if ((char)c == text[at]) continue;
            bad[at] = (char)c;
            check_code(link_invite_parse(bad, &out), E_INVITE_FORMAT);
        }
    for (size_t len = 0; len < n; len++) {
        memcpy(bad, text, len);
        bad[len] = '\0';
        check_code(link_invite_parse(bad, &out), E_INVITE_FORMAT);
    }
    snprintf(bad, sizeof bad, "%.*sA", (int)n, text);
    check_code(link_invite_parse(bad, &out), E_INVITE_FORMAT);
    strcpy(in.address, "udp://x:1");
    check_code(link_invite_format(&in, bad, sizeof bad), E_ADDRESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_handshakes_give_both_ends_the_same_session),
        cmocka_unit_test(messages_of_every_size_cross_and_none_over_the_limit),
        cmocka_unit_test(a_handshake_with_any_byte_changed_is_refused),
        cmocka_unit_test(a_request_with_any_byte_changed_is_refused),
        cmocka_unit_test(a_reply_with_any_byte_changed_is_refused),
        cmocka_unit_test(packets_cut_short_or_too_long_are_refused),
        cmocka_unit_test(packets_over_the_maximum_are_refused_unread),
        cmocka_unit_test(a_repeat_is_delivered_again_until_it_is_answered),
        cmocka_unit_test(replayed_and_reordered_requests_are_refused),
        cmocka_unit_test(a_reply_opens_for_its_own_request_only),
        cmocka_unit_test(packets_of_one_session_mean_nothing_in_another),
        cmocka_unit_test(a_wrong_coordinator_is_named_and_told_nothing),
        cmocka_unit_test(an_invite_that_is_not_good_is_refused_by_its_reason),
        cmocka_unit_test(a_stranger_gets_no_session),
        cmocka_unit_test(another_wire_version_is_said_so),
        cmocka_unit_test(answers_out_of_turn_end_the_handshake),
        cmocka_unit_test(a_reset_heals_after_the_coordinator_was_restarted),
        cmocka_unit_test(idle_sessions_and_slow_handshakes_are_forgotten),
        cmocka_unit_test(one_device_key_has_a_few_sessions_only),
        cmocka_unit_test(unfinished_handshakes_are_bounded_oldest_out),
        cmocka_unit_test(a_session_that_lived_long_is_made_anew),
        cmocka_unit_test(an_invite_that_was_written_is_read_back),
        cmocka_unit_test(an_invite_with_any_character_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
