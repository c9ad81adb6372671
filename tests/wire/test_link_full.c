/*
 * The table of sessions, filled to its end with real devices: about seven
 * seconds, nearly all of it the devices' own half of the handshakes.
 */
#include "tests/check.h"

#include "tests/wire/pair.h"

static enum tacit_err admit_any(void *ctx, const uint8_t dh_public[KEYS_PUBLIC])
{
    (void)ctx;
    (void)dh_public;
    return TACIT_OK;
}

static void another_device(struct pair *p)
{
    keys_release(&p->device);
    check_ok(keys_new(&p->device));
    pair_new_client(p);
    check_ok(pair_handshake(p));
}

static void a_full_table_lets_go_of_the_session_longest_unused(void **state)
{
    (void)state;
    struct pair p;
    struct link_client *first, *second;
    struct keys keys;
    pair_open(&p, 0);
    struct link_server_config c = {.keys = &p.coordinator, .admit = admit_any};
    link_server_free(p.server);
    check_ok(link_server_new(&c, &p.server));
    check_ok(pair_handshake(&p));
    first = p.client;
    p.client = NULL;
    keys = p.device;
    check_ok(keys_new(&p.device));
    pair_new_client(&p);
    check_ok(pair_handshake(&p));
    second = p.client;
    p.client = NULL;
    for (int i = 2; i < WIRE_SESSIONS_MAX; i++) another_device(&p);
    check(link_server_sessions(p.server) == WIRE_SESSIONS_MAX);
    /* The first is used once more, so the second is now the oldest. */
    struct link_client *last = p.client;
    p.client = first;
    pair_ask(&p, "still here", 10, "yes", 3);
    p.client = last;
    another_device(&p);
    check(link_server_sessions(p.server) == WIRE_SESSIONS_MAX);
    pair_ask(&p, "new", 3, "yes", 3);
    last = p.client;
    p.client = second;
    pair_seal(&p, "gone", 4);
    check(pair_arrive(&p) == LINK_REPLY && pair_is_reset(&p, RESET_SESSION));
    p.client = first;
    pair_ask(&p, "still here", 10, "yes", 3);
    link_client_free(first);
    link_client_free(second);
    p.client = last;
    keys_release(&keys);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_table_lets_go_of_the_session_longest_unused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
