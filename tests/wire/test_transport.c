#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/wire/raw.h"

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/wire/frame.h"
#include "common/wire/limits.h"
#include "common/wire/transport.h"

/*
 * A coordinator that does as the first byte of a request says: 'S' nothing, 'H'
 * holds the request and answers it after the next one, anything else is
 * answered with itself.
 */
struct echo {
    struct transport_server *server;
    pthread_t thread;
    atomic_int stop, n_requests;
    int port;
    char address[64];
};

static void echo_one(struct echo *e, struct transport_ticket *held,
                     int *is_held, struct buf *packet)
{
    struct transport_ticket ticket;
    if (transport_server_receive(e->server, 50, &ticket, packet)) return;
    transport_server_trust(e->server, &ticket);
    atomic_fetch_add(&e->n_requests, 1);
    char what = packet->len ? (char)packet->data[0] : ' ';
    if (what == 'S') return;
    if (what == 'H') {
        *held = ticket;
        *is_held = 1;
        return;
    }
    check_ok(
        transport_server_reply(e->server, &ticket, packet->data, packet->len));
    if (!*is_held) return;
    *is_held = 0;
    check_ok(
        transport_server_reply(e->server, held, (const uint8_t *)"late", 4));
}

static void *echo_run(void *arg)
{
    struct echo *e = arg;
    struct transport_ticket held;
    struct buf packet;
    int is_held = 0;
    buf_init(&packet, 0);
    while (!atomic_load(&e->stop)) echo_one(e, &held, &is_held, &packet);
    buf_release(&packet);
    return NULL;
}

static void echo_start(struct echo *e, int port)
{
    char address[64];
    memset(e, 0, sizeof *e);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    check_ok(transport_server_new(address, &e->server));
    e->port = transport_server_port(e->server);
    snprintf(e->address, sizeof e->address, "tcp://127.0.0.1:%d", e->port);
    check(!pthread_create(&e->thread, NULL, echo_run, e));
}

static void echo_stop(struct echo *e)
{
    atomic_store(&e->stop, 1);
    check(!pthread_join(e->thread, NULL));
    transport_server_free(e->server);
}

static enum tacit_err call(struct transport_client *t, const char *text,
                           int timeout_ms, struct buf *reply)
{
    buf_clear(reply);
    return transport_call(t, (const uint8_t *)text, strlen(text), timeout_ms,
                          reply);
}

static int said(const struct buf *reply, const char *text)
{
    return reply->len == strlen(text) &&
           (reply->len == 0 || memcmp(reply->data, text, reply->len) == 0);
}

static void a_call_gets_its_reply_whatever_its_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,
                                   1,
                                   WIRE_INBOX_SMALL - 5,
                                   WIRE_INBOX_SMALL - 4,
                                   WIRE_INBOX_SMALL - 3,
                                   70000,
                                   WIRE_PACKET_MAX};
    struct echo e;
    struct transport_client *t;
    struct buf reply;
    uint8_t *bytes = malloc(WIRE_PACKET_MAX + 1);
    check(bytes != NULL);
    rng_secure(bytes, WIRE_PACKET_MAX + 1);
    bytes[0] = 'E';
    buf_init(&reply, 0);
    echo_start(&e, 0);
    check(e.port > 0);
    check_ok(transport_client_new(e.address, &t));
    for (int turn = 0; turn < 3; turn++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            buf_clear(&reply);
            buf_put(&reply, "kept", 4); /* appended, not replaced */
            check_ok(transport_call(t, bytes, sizes[i], 5000, &reply));
            check(reply.len == 4 + sizes[i]);
            check(memcmp(reply.data, "kept", 4) == 0);
            check(memcmp(reply.data + 4, bytes, sizes[i]) == 0);
        }
    check(transport_server_connections(e.server) == 1);
    check_err(transport_call(t, bytes, WIRE_PACKET_MAX + 1, 5000, &reply),
              TACIT_LIMIT);
    transport_client_free(t);
    echo_stop(&e);
    buf_release(&reply);
    free(bytes);
}

static void a_name_is_found_by_its_ipv4_address_too(void **state)
{
    (void)state;
    struct echo e;
    struct transport_client *t;
    struct buf reply;
    char address[64];
    buf_init(&reply, 0);
    echo_start(&e, 0);
    snprintf(address, sizeof address, "tcp://localhost:%d", e.port);
    check_ok(transport_client_new(address, &t));
    check_ok(call(t, "hello", 5000, &reply));
    check(said(&reply, "hello"));
    transport_client_free(t);
    echo_stop(&e);
    buf_release(&reply);
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "tcp://",        "127.0.0.1:80",  "tcp://h",
        "tcp://h:",   "tcp://h:x",     "tcp://h:65536", "tcp://h:1/x",
        "ipc://h:1",  "tcp://h h:1",   "tcp://[::1:1",  "tcp://:1",
        "tcp://[]:1", "tcp://h:000001"};
    struct transport_client *c;
    struct transport_server *s;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_code(transport_client_new(bad[i], &c), E_ADDRESS);
        check_code(transport_server_new(bad[i], &s), E_ADDRESS);
    }
    check_code(transport_client_new("tcp://h:0", &c), E_ADDRESS);
}

static void a_port_in_use_cannot_be_listened_on(void **state)
{
    (void)state;
    struct transport_server *other;
    struct echo e;
    echo_start(&e, 0);
    check_code(transport_server_new(e.address, &other), E_ADDRESS_IN_USE);
    check_code(transport_server_new("tcp://192.0.2.1:7433", &other),
               E_ADDRESS_IN_USE);
    echo_stop(&e);
}

static void no_answer_is_a_timeout_and_a_late_one_is_not_mixed_up(void **state)
{
    (void)state;
    struct echo e;
    struct transport_client *t;
    struct buf reply;
    buf_init(&reply, 0);
    echo_start(&e, 0);
    check_ok(transport_client_new(e.address, &t));
    for (int i = 0; i < 3; i++) {
        check_err(call(t, "Silence", 60, &reply), TACIT_TIMEOUT);
        check(reply.len == 0);
        check_ok(call(t, "now", 5000, &reply));
        check(said(&reply, "now"));
        check_err(call(t, "Hold", 60, &reply), TACIT_TIMEOUT);
        for (int k = 0; k < 3; k++) { /* "late" comes after the first */
            check_ok(call(t, "next", 5000, &reply));
            check(said(&reply, "next"));
        }
    }
    check_err(call(t, "no time", 0, &reply), TACIT_TIMEOUT);
    transport_client_free(t);
    echo_stop(&e);
    buf_release(&reply);
}

static void a_closed_port_is_unreachable(void **state)
{
    (void)state;
    struct transport_client *t;
    struct buf reply;
    char address[64];
    int port, fd = raw_listen(&port);
    close(fd);
    buf_init(&reply, 0);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", port);
    check_ok(transport_client_new(address, &t));
    for (int i = 0; i < 3; i++)
        check_code(call(t, "hello", 5000, &reply), E_UNREACHABLE);
    transport_client_free(t);
    buf_release(&reply);
}

static void a_client_goes_on_after_the_server_was_restarted(void **state)
{
    (void)state;
    struct echo e;
    struct transport_client *t;
    struct buf reply;
    buf_init(&reply, 0);
    echo_start(&e, 0);
    int port = e.port;
    check_ok(transport_client_new(e.address, &t));
    for (int i = 0; i < 3; i++) {
        check_ok(call(t, "before", 5000, &reply));
        echo_stop(&e);
        check_code(call(t, "between", 5000, &reply), E_UNREACHABLE);
        check_code(call(t, "between", 5000, &reply), E_UNREACHABLE);
        echo_start(&e, port);
        check_ok(call(t, "after", 5000, &reply));
        check(said(&reply, "after"));
    }
    transport_client_free(t);
    echo_stop(&e);
    buf_release(&reply);
}

/* ---- many of them ------------------------------------------------------- */

enum { CALLERS = 8, CALLS = 200, MANY = 200 };

static void *call_often(void *arg)
{
    struct transport_client *t;
    struct buf reply;
    char text[32];
    buf_init(&reply, 0);
    if (transport_client_new(arg, &t)) return "new";
    for (int i = 0; i < CALLS; i++) {
        snprintf(text, sizeof text, "%p %d", (void *)&reply, i);
        if (call(t, text, 10000, &reply)) return "call";
        if (!said(&reply, text)) return "another's reply";
    }
    transport_client_free(t);
    buf_release(&reply);
    return NULL;
}

static void clients_in_many_threads_get_their_own_replies(void **state)
{
    (void)state;
    struct echo e;
    pthread_t threads[CALLERS];
    echo_start(&e, 0);
    for (int i = 0; i < CALLERS; i++)
        check(!pthread_create(&threads[i], NULL, call_often, e.address));
    for (int i = 0; i < CALLERS; i++) {
        void *what = NULL;
        check(!pthread_join(threads[i], &what));
        if (what) fail_msg("caller %d: %s", i, (char *)what);
    }
    check(atomic_load(&e.n_requests) == CALLERS * CALLS);
    echo_stop(&e);
}

static void many_connections_stand_at_once_and_go(void **state)
{
    (void)state;
    struct echo e;
    struct transport_client *t[MANY];
    struct buf reply;
    buf_init(&reply, 0);
    echo_start(&e, 0);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < MANY; i++) {
            check_ok(transport_client_new(e.address, &t[i]));
            check_ok(call(t[i], "here", 5000, &reply));
        }
        check(transport_server_connections(e.server) == MANY);
        for (int i = 0; i < MANY; i++) {
            check_ok(call(t[i], "still here", 5000, &reply));
            transport_client_free(t[i]);
        }
        for (int i = 0; i < 500 && transport_server_connections(e.server); i++)
            usleep(10000);
        check(transport_server_connections(e.server) == 0);
    }
    echo_stop(&e);
    buf_release(&reply);
}

/* ---- stopping ----------------------------------------------------------- */

static void *interrupt_soon(void *arg)
{
    usleep(30000);
    transport_client_interrupt(arg);
    return NULL;
}

static void a_blocked_call_can_be_interrupted(void **state)
{
    (void)state;
    int port, fd = raw_listen(&port); /* accepts in the kernel, says nothing */
    char mute[64];
    struct echo e;
    struct buf reply;
    buf_init(&reply, 0);
    echo_start(&e, 0);
    snprintf(mute, sizeof mute, "tcp://127.0.0.1:%d", port);
    for (int i = 0; i < 2; i++) {
        struct transport_client *t;
        pthread_t thread;
        check_ok(transport_client_new(i ? mute : e.address, &t));
        check(!pthread_create(&thread, NULL, interrupt_soon, t));
        check_err(call(t, "Silence", 60000, &reply), TACIT_STATE);
        check(!pthread_join(thread, NULL));
        check_err(call(t, "again", 60000, &reply), TACIT_STATE);
        transport_client_free(t);
    }
    close(fd);
    echo_stop(&e);
    buf_release(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_gets_its_reply_whatever_its_size),
        cmocka_unit_test(a_name_is_found_by_its_ipv4_address_too),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_port_in_use_cannot_be_listened_on),
        cmocka_unit_test(no_answer_is_a_timeout_and_a_late_one_is_not_mixed_up),
        cmocka_unit_test(a_closed_port_is_unreachable),
        cmocka_unit_test(a_client_goes_on_after_the_server_was_restarted),
        cmocka_unit_test(clients_in_many_threads_get_their_own_replies),
        cmocka_unit_test(many_connections_stand_at_once_and_go),
        cmocka_unit_test(a_blocked_call_can_be_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
