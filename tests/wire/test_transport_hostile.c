/*
 * Peers that do not keep to the protocol. The side under test and its peer are
 * driven from one thread, byte by byte; the kernel's buffers lie between them.
 */
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/wire/raw.h"

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/wire/limits.h"
#include "common/wire/transport.h"

static const uint32_t request_id = 0x80000001;

struct side {
    struct transport_server *server;
    struct transport_ticket ticket;
    struct buf packet;
    int port;
};

static void start(struct side *s)
{
    memset(s, 0, sizeof *s);
    buf_init(&s->packet, 0);
    check_ok(transport_server_new("tcp://127.0.0.1:0", &s->server));
    s->port = transport_server_port(s->server);
}

static void stop(struct side *s)
{
    transport_server_free(s->server);
    buf_release(&s->packet);
}

/* 1 when a packet came within five seconds, from those that are connected. */
static int take(struct side *s)
{
    for (int i = 0; i < 500; i++) {
        if (!transport_server_receive(s->server, 10, &s->ticket, &s->packet))
            return 1;
        if (transport_server_connections(s->server) == 0) return 0;
    }
    return 0;
}

/* Let the server run until it has n connections. */
static void settle(struct side *s, size_t n)
{
    for (int i = 0; i < 500; i++) {
        if (transport_server_connections(s->server) == n) return;
        check_err(transport_server_receive(s->server, 10, &s->ticket,
                                           &s->packet),
                  TACIT_TIMEOUT);
    }
    check(transport_server_connections(s->server) == n);
}

static int greeted(struct side *s)
{
    int fd = raw_dial(s->port);
    raw_greet(fd, FRAME_REQ);
    raw_take_greeting(fd, FRAME_REP);
    return fd;
}

static void ask_and_answer(struct side *s, int fd)
{
    uint8_t frame[64];
    raw_send_frame(fd, &request_id, 1, "ask", 3);
    check(take(s));
    check_ok(transport_server_reply(s->server, &s->ticket, NULL, 0));
    check(raw_receive_frame(fd, frame, sizeof frame) == 4);
}

/* A connection whose peer has shown a key. */
static int known(struct side *s)
{
    int fd = greeted(s);
    ask_and_answer(s, fd);
    transport_server_trust(s->server, &s->ticket);
    return fd;
}

/* The server is in good order: a well-behaved peer is served. */
static void check_serves(struct side *s)
{
    uint8_t frame[64];
    int fd = greeted(s);
    raw_send_frame(fd, &request_id, 1, "hello", 5);
    check(take(s) && s->packet.len == 5);
    check_ok(transport_server_reply(s->server, &s->ticket,
                                    (const uint8_t *)"yes", 3));
    check(raw_receive_frame(fd, frame, sizeof frame) == 4 + 3);
    check(memcmp(frame + 4, "yes", 3) == 0);
    close(fd);
    settle(s, 0);
}

/* ---- a hostile device --------------------------------------------------- */

static void garbage_instead_of_a_greeting_ends_the_connection(void **state)
{
    (void)state;
    static const char *const openings[] = {"GET / HTTP/1.1\r\n\r\n",
                                           "\x16\x03\x01\x02\x00\x01\x00\x01",
                                           "SSH-2.0-x\r\n",
                                           "\0\0\0\0\0\0\0\0",
                                           "\0SP\0\0\x31\0\0",
                                           "\0SP\0\0\x30\0\x01"};
    struct side s;
    start(&s);
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++) {
        uint8_t byte;
        int fd = raw_dial(s.port);
        raw_send(fd, openings[i], 8);
        raw_take_greeting(fd, FRAME_REP);
        settle(&s, 0);
        check(!raw_receive(fd, &byte, 1));
        close(fd);
    }
    check_serves(&s);
    stop(&s);
}

static void connections_reset_at_any_point_leave_the_service_up(void **state)
{
    (void)state;
    uint8_t bytes[FRAME_GREETING + FRAME_HEAD_MAX + 8];
    struct side s;
    start(&s);
    frame_put_greeting(bytes, FRAME_REQ);
    size_t n = FRAME_GREETING;
    n += frame_put_head(bytes + n, &request_id, 1, 8);
    memset(bytes + n, 'x', 8);
    n += 8;
    for (size_t cut = 0; cut < n; cut++)
        for (int gently = 0; gently < 2; gently++) {
            int fd = raw_dial(s.port);
            raw_send(fd, bytes, cut);
            if (gently)
                close(fd);
            else
                raw_reset(fd);
        }
    settle(&s, 0);
    check_serves(&s);
    stop(&s);
}

static void frames_of_impossible_lengths_end_the_connection(void **state)
{
    (void)state;
    static const uint8_t lengths[][FRAME_LENGTH] = {
        {0},
        {0, 0, 0, 0, 0, 0, 0, 3},
        {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
        {0, 0, 0, 1, 0, 0, 0, 8},
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0, 0, 0, 0, 0, (FRAME_MAX + 1) >> 16 & 255, (FRAME_MAX + 1) >> 8 & 255,
         (FRAME_MAX + 1) & 255}};
    struct side s;
    start(&s);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t byte;
        int fd = greeted(&s);
        raw_send(fd, lengths[i], FRAME_LENGTH);
        settle(&s, 0);
        check(!raw_receive(fd, &byte, 1));
        close(fd);
    }
    check_serves(&s);
    stop(&s);
}

static void a_packet_without_a_request_id_ends_the_connection(void **state)
{
    (void)state;
    static const uint32_t path[FRAME_WORDS_MAX] = {1, 2, 3, 4};
    struct side s;
    start(&s);
    for (uint32_t n = 1; n <= FRAME_WORDS_MAX; n++) {
        int fd = greeted(&s);
        raw_send_frame(fd, path, n, "\0\0\0", 3);
        settle(&s, 0);
        close(fd);
    }
    check_serves(&s);
    stop(&s);
}

static void a_reply_takes_the_path_of_its_request(void **state)
{
    (void)state;
    static const uint32_t path[FRAME_WORDS_MAX] = {7, 0x7fffffff, 0,
                                                   0xdeadbeef};
    struct side s;
    uint8_t frame[64], head[FRAME_HEAD_MAX];
    start(&s);
    int fd = greeted(&s);
    for (uint32_t skip = 0; skip < FRAME_WORDS_MAX; skip++) {
        uint32_t n = FRAME_WORDS_MAX - skip;
        raw_send_frame(fd, path + skip, n, "ask", 3);
        check(take(&s) && s.packet.len == 3);
        check(memcmp(s.packet.data, "ask", 3) == 0);
        check_ok(transport_server_reply(s.server, &s.ticket, NULL, 0));
        check(raw_receive_frame(fd, frame, sizeof frame) == 4 * n);
        frame_put_head(head, path + skip, n, 0);
        assert_memory_equal(frame, head + FRAME_LENGTH, 4 * n);
    }
    close(fd);
    stop(&s);
}

static void requests_that_trickle_or_come_at_once_are_all_read(void **state)
{
    (void)state;
    enum { N = 20 };
    uint8_t head[FRAME_HEAD_MAX], frame[64];
    struct side s;
    start(&s);
    int fd = raw_dial(s.port);
    uint8_t greeting[FRAME_GREETING];
    frame_put_greeting(greeting, FRAME_REQ);
    for (int i = 0; i < FRAME_GREETING; i++) {
        raw_send(fd, greeting + i, 1);
        usleep(500);
    }
    raw_take_greeting(fd, FRAME_REP);
    size_t n = frame_put_head(head, &request_id, 1, 1);
    head[n++] = 'x';
    for (size_t i = 0; i < n; i++) {
        raw_send(fd, head + i, 1);
        usleep(500);
    }
    check(take(&s) && s.packet.len == 1);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t id = request_id + i;
        uint8_t body = (uint8_t)i;
        raw_send_frame(fd, &id, 1, &body, 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        check(take(&s) && s.packet.len == 1 && s.packet.data[0] == i);
        check_ok(transport_server_reply(s.server, &s.ticket, s.packet.data, 1));
        check(raw_receive_frame(fd, frame, sizeof frame) == 5);
        check(frame[3] == (uint8_t)(1 + i) && frame[4] == i);
    }
    close(fd);
    stop(&s);
}

static void a_reply_to_a_peer_that_has_gone_is_no_error(void **state)
{
    (void)state;
    struct side s;
    start(&s);
    int fd = greeted(&s);
    raw_send_frame(fd, &request_id, 1, "ask", 3);
    check(take(&s));
    struct transport_ticket old = s.ticket;
    raw_reset(fd);
    settle(&s, 0);
    check_ok(transport_server_reply(s.server, &old, NULL, 0));
    /* Nor does it reach the next one in its place. */
    fd = greeted(&s);
    check_ok(transport_server_reply(s.server, &old, (const uint8_t *)"no", 2));
    raw_send_frame(fd, &request_id, 1, "ask", 3);
    check(take(&s));
    check_ok(transport_server_reply(s.server, &s.ticket,
                                    (const uint8_t *)"yours", 5));
    uint8_t frame[64];
    check(raw_receive_frame(fd, frame, sizeof frame) == 9);
    check(memcmp(frame + 4, "yours", 5) == 0);
    close(fd);
    stop(&s);
}

static void who_asks_and_does_not_read_is_closed(void **state)
{
    (void)state;
    enum { FAR_TOO_MANY = 1000 };
    uint8_t ask[FRAME_HEAD_MAX], *large = calloc(1, WIRE_PACKET_MAX);
    struct side s;
    int sent = 0;
    check(large != NULL);
    start(&s);
    int fd = greeted(&s);
    size_t n = frame_put_head(ask, &request_id, 1, 0);
    /* The server may close at any time, so that a send may fail, too. */
    for (; sent < FAR_TOO_MANY; sent++) {
        if (send(fd, ask, n, MSG_NOSIGNAL) != (ssize_t)n) break;
        if (!take(&s)) break;
        check_ok(transport_server_reply(s.server, &s.ticket, large,
                                        WIRE_PACKET_MAX));
        if (transport_server_connections(s.server) == 0) break;
    }
    settle(&s, 0);
    check(sent >= WIRE_REPLIES_MAX && sent < FAR_TOO_MANY);
    close(fd);
    check_serves(&s);
    stop(&s);
    free(large);
}

static void more_large_packets_than_fit_wait_their_turn(void **state)
{
    (void)state;
    enum { N = WIRE_INBOX_BYTES / WIRE_PACKET_MAX + 20 };
    struct side s;
    static int fds[N];
    static int seen[N];
    uint8_t *large = calloc(1, WIRE_PACKET_MAX);
    int n = 0;
    check(large != NULL);
    start(&s);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < N; i++) fds[i] = known(&s);
    for (int i = 0; i < N; i++) {
        large[0] = (uint8_t)i;
        raw_send_frame(fds[i], &request_id, 1, large, WIRE_PACKET_MAX);
    }
    /* Some of those that wait go away. */
    for (int i = N - 5; i < N; i++) raw_reset(fds[i]);
    while (n < N - 5 && take(&s)) {
        check(s.packet.len == WIRE_PACKET_MAX);
        check(seen[s.packet.data[0]]++ == 0);
        n++;
    }
    check(n >= N - 5);
    for (int i = 0; i < N - 5; i++) close(fds[i]);
    while (!transport_server_receive(s.server, 100, &s.ticket, &s.packet)) {
    }
    settle(&s, 0);
    check_serves(&s);
    stop(&s);
    free(large);
}

/* ---- time --------------------------------------------------------------- */

static atomic_llong skipped_ms;

static int64_t later_ms(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 +
           atomic_load(&skipped_ms);
}

static void slow_peers_are_closed_at_their_time_and_not_before(void **state)
{
    (void)state;
    uint8_t head[FRAME_HEAD_MAX], byte;
    struct side s;
    tick_override(later_ms, NULL, NULL);
    start(&s);
    int mute = raw_dial(s.port), idle = known(&s), half = known(&s);
    frame_put_head(head, &request_id, 1, 100);
    raw_send(half, head, FRAME_LENGTH + 2);
    settle(&s, 3);
    atomic_fetch_add(&skipped_ms, WIRE_HANDSHAKE_MS + 1000);
    settle(&s, 2);
    raw_take_greeting(mute, FRAME_REP);
    check(!raw_receive(mute, &byte, 1));
    atomic_fetch_add(&skipped_ms, WIRE_PACKET_MS + 1000);
    settle(&s, 1);
    check(!raw_receive(half, &byte, 1));
    /* One that only waits has the time of a session. */
    ask_and_answer(&s, idle);
    atomic_fetch_add(&skipped_ms, WIRE_SESSION_IDLE_MS + 1000);
    settle(&s, 0);
    check(!raw_receive(idle, &byte, 1));
    close(mute);
    close(half);
    close(idle);
    stop(&s);
    atomic_store(&skipped_ms, 0);
    tick_override(NULL, NULL, NULL);
}

static void who_shows_no_key_is_closed_however_busy(void **state)
{
    (void)state;
    struct side s;
    uint8_t byte;
    tick_override(later_ms, NULL, NULL);
    start(&s);
    int friend = known(&s), stranger = greeted(&s);
    for (int i = 0; i < 3; i++) {
        ask_and_answer(&s, stranger);
        atomic_fetch_add(&skipped_ms, WIRE_PROOF_MS / 4);
        settle(&s, 2);
    }
    atomic_fetch_add(&skipped_ms, WIRE_PROOF_MS / 4 + 1000);
    settle(&s, 1);
    check(!raw_receive(stranger, &byte, 1));
    ask_and_answer(&s, friend);
    close(friend);
    close(stranger);
    /* Nor does it get a share of the inbox. */
    stranger = greeted(&s);
    uint8_t head[FRAME_HEAD_MAX];
    frame_put_head(head, &request_id, 1, WIRE_INBOX_SMALL);
    raw_send(stranger, head, FRAME_LENGTH);
    settle(&s, 0);
    check(!raw_receive(stranger, &byte, 1));
    close(stranger);
    stop(&s);
    atomic_store(&skipped_ms, 0);
    tick_override(NULL, NULL, NULL);
}

/* ---- a hostile coordinator ---------------------------------------------- */

/* What a false coordinator does with one connection. */
enum trick {
    CLOSE_AT_ONCE,
    NO_GREETING,
    OTHER_GREETING,
    CLOSE_AFTER_REQUEST,
    HALF_A_REPLY,
    IMPOSSIBLE_LENGTH,
    NO_REQUEST_ID,
    OTHER_REQUEST_IDS,
    LONG_PATH,
    N_TRICKS
};

struct false_one {
    enum trick trick;
    int listener;
};

static void play(enum trick trick, int fd)
{
    static const uint32_t path[3] = {1, 2, 0x80000005};
    uint8_t frame[64], head[FRAME_HEAD_MAX];
    if (trick == CLOSE_AT_ONCE) return;
    if (trick == OTHER_GREETING) raw_send(fd, "HTTP/1.1 400", 12);
    if (trick >= CLOSE_AFTER_REQUEST) {
        raw_greet(fd, FRAME_REP);
        raw_take_greeting(fd, FRAME_REQ);
        check(raw_receive_frame(fd, frame, sizeof frame) > 4);
    }
    size_t n = frame_put_head(head, &request_id, 1, 5);
    if (trick == HALF_A_REPLY) raw_send(fd, head, n);
    if (trick == IMPOSSIBLE_LENGTH) {
        memset(head, 0xee, FRAME_LENGTH);
        raw_send(fd, head, FRAME_LENGTH);
    }
    if (trick == NO_REQUEST_ID) raw_send_frame(fd, path, 1, "abc", 3);
    if (trick == LONG_PATH) raw_send_frame(fd, path, 3, "abc", 3);
    for (int i = 0; trick == OTHER_REQUEST_IDS && i < 20; i++) {
        /* The client hangs up in between. */
        head[8] = 0xff;
        if (send(fd, head, n + 5, MSG_NOSIGNAL) < 0) return;
    }
    if (trick == CLOSE_AFTER_REQUEST || trick == HALF_A_REPLY) return;
    while (recv(fd, frame, sizeof frame, 0) > 0) {
    }
}

static void *deceive(void *arg)
{
    struct false_one *f = arg;
    int fd = accept(f->listener, NULL, NULL);
    struct timeval two_s = {.tv_sec = 2};
    check(fd >= 0);
    check(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &two_s, sizeof two_s));
    play(f->trick, fd);
    close(fd);
    return NULL;
}

static void a_false_coordinator_gets_an_error_from_each_trick(void **state)
{
    (void)state;
    char address[64];
    int port;
    struct false_one f = {.listener = raw_listen(&port)};
    struct buf reply;
    buf_init(&reply, 0);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    for (int trick = 0; trick < N_TRICKS; trick++) {
        struct transport_client *t;
        pthread_t thread;
        f.trick = (enum trick)trick;
        check(!pthread_create(&thread, NULL, deceive, &f));
        check_ok(transport_client_new(address, &t));
        int waits = trick == NO_GREETING || trick == LONG_PATH;
        enum tacit_err err = transport_call(t, (const uint8_t *)"ask", 3,
                                            waits ? 200 : 5000, &reply);
        check(reply.len == 0);
        if (trick == LONG_PATH)
            check_err(err, TACIT_TIMEOUT);
        else if (trick == IMPOSSIBLE_LENGTH || trick == NO_REQUEST_ID ||
                 trick == OTHER_REQUEST_IDS)
            check_err(err, TACIT_PROTO);
        else
            check_code(err, E_UNREACHABLE);
        transport_client_free(t);
        check(!pthread_join(thread, NULL));
    }
    close(f.listener);
    buf_release(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_instead_of_a_greeting_ends_the_connection),
        cmocka_unit_test(connections_reset_at_any_point_leave_the_service_up),
        cmocka_unit_test(frames_of_impossible_lengths_end_the_connection),
        cmocka_unit_test(a_packet_without_a_request_id_ends_the_connection),
        cmocka_unit_test(a_reply_takes_the_path_of_its_request),
        cmocka_unit_test(requests_that_trickle_or_come_at_once_are_all_read),
        cmocka_unit_test(a_reply_to_a_peer_that_has_gone_is_no_error),
        cmocka_unit_test(who_asks_and_does_not_read_is_closed),
        cmocka_unit_test(more_large_packets_than_fit_wait_their_turn),
        cmocka_unit_test(slow_peers_are_closed_at_their_time_and_not_before),
        cmocka_unit_test(who_shows_no_key_is_closed_however_busy),
        cmocka_unit_test(a_false_coordinator_gets_an_error_from_each_trick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
