/* sessions: who is there, and whether they are one. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "coordinator/sessions.h"

static char dir[256];
static struct store store;
static struct sessions sessions;

static int setup(void **state)
{
    (void)state;
    check_tmpdir(dir);
    check_ok(store_open(&store, dir, DB_CREATE));
    sessions_init(&sessions);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sessions_release(&sessions);
    store_close(&store);
    check_tmpdir_remove(dir);
    return 0;
}

static struct store_member enrol(uint8_t n, int approve)
{
    struct store_invite i = {.token_id = n, .expires_s = 100};
    struct store_member m = {.state = MEMBER_PENDING};
    i.approve = approve;
    snprintf(i.name, sizeof i.name, "site-%u", n);
    check_ok(store_invite_add(&store, &i, 1));
    memset(m.id, 200 - n, sizeof m.id);
    memset(m.identity, n, sizeof m.identity);
    memset(m.dh, n * 7, sizeof m.dh);
    check_ok(store_enrol(&store, n, 2, &m));
    return m;
}

static void members_are_found_by_key(void **unused)
{
    (void)unused;
    struct store_member m[9];
    check(sessions_find(&sessions, (const uint8_t[32]){0}) == NULL);
    for (uint8_t i = 1; i < 9; i++) m[i] = enrol(i, 1);
    check_ok(sessions_reload(&sessions, &store));
    for (uint8_t i = 1; i < 9; i++) {
        struct session *s = sessions_find(&sessions, m[i].dh);
        check(s && memcmp(s->member.id, m[i].id, KEYS_ID) == 0);
        check(s->seen_ms == -1);
    }
    check(sessions_find(&sessions, (const uint8_t[32]){1}) == NULL);
}

static void a_reload_keeps_what_is_known(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 0);
    int n = 0;
    check_ok(sessions_reload(&sessions, &store));
    struct session *s = sessions_find(&sessions, a.dh);
    s->polling = 1;
    s->token = 77;
    s->seen_ms = 5;
    enrol(2, 1);
    check_ok(store_member_set(&store, "site-1", MEMBER_APPROVED, 3, &n));
    check_ok(sessions_reload(&sessions, &store));
    s = sessions_find(&sessions, a.dh);
    check(s->polling && s->token == 77 && s->seen_ms == 5);
    check(s->member.state == MEMBER_APPROVED);
    check(sessions.n == 2 && sessions_n_approved(&sessions) == 2);
}

static void the_roster_is_the_approved_in_order_of_id(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 1), b = enrol(2, 1);
    enrol(3, 0);
    check_ok(sessions_reload(&sessions, &store));
    struct buf roster;
    buf_init(&roster, 0);
    buf_put_u8(&roster, 9); /* appended, whatever stands before */
    sessions_roster(&sessions, &roster);
    check_ok(buf_end(&roster));
    check(roster.len == 1 + 2 * SESSIONS_ROSTER_ROW);
    const uint8_t *row = roster.data + 1;
    check(memcmp(row, b.id, KEYS_ID) == 0); /* 198… before 199… */
    check(memcmp(row + KEYS_ID, b.identity, KEYS_PUBLIC) == 0);
    check(memcmp(row + SESSIONS_ROSTER_ROW, a.id, KEYS_ID) == 0);
    buf_release(&roster);
}

static int poll_on(struct session *s, uint32_t slot)
{
    struct link_peer peer = {.slot = slot, .generation = 1};
    return sessions_note_link(s, &peer);
}

static void a_device_that_restarts_is_one_device(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 1);
    check_ok(sessions_reload(&sessions, &store));
    struct session *s = sessions_find(&sessions, a.dh);
    for (uint32_t slot = 0; slot < 20; slot++) {
        check(poll_on(s, slot) == 0);
        check(poll_on(s, slot) == 0);
    }
}

static void two_that_take_turns_are_both_told(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 1);
    check_ok(sessions_reload(&sessions, &store));
    struct session *s = sessions_find(&sessions, a.dh);
    check(poll_on(s, 0) == 0);
    check(poll_on(s, 1) == 0);
    check(poll_on(s, 0) == 1); /* back on the first link: two devices */
    check(poll_on(s, 1) == 1);
    /* One of them stops: the other goes on after at most one more warning. */
    int warnings = poll_on(s, 1) + poll_on(s, 1) + poll_on(s, 1);
    check(warnings <= 1);
    check(poll_on(s, 1) == 0);
}

static void a_slot_that_was_given_anew_is_another_link(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 1);
    check_ok(sessions_reload(&sessions, &store));
    struct session *s = sessions_find(&sessions, a.dh);
    /* One device that restarts between the same two slots, again and again. */
    for (uint32_t generation = 1; generation < 20; generation++) {
        struct link_peer peer = {.slot = generation & 1,
                                 .generation = generation};
        check(sessions_note_link(s, &peer) == 0);
        check(sessions_note_link(s, &peer) == 0);
    }
}

static void one_members_copy_is_not_anothers(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 1), b = enrol(2, 1);
    check_ok(sessions_reload(&sessions, &store));
    struct session *s = sessions_find(&sessions, a.dh);
    poll_on(s, 0);
    poll_on(s, 1);
    check(poll_on(s, 0) == 1);
    /* Others poll between its turns and hear nothing of it. */
    for (uint32_t i = 0; i < 4; i++)
        check(poll_on(sessions_find(&sessions, b.dh), 2) == 0);
    check(poll_on(s, 1) == 1);
    /* What is known of it survives a reload. */
    check(poll_on(s, 0) == 1);
    check_ok(sessions_reload(&sessions, &store));
    check(poll_on(sessions_find(&sessions, a.dh), 1) == 1);
}

static enum tacit_err see(void *ctx, const struct store_member *m)
{
    *(int64_t *)ctx = m->last_seen_s;
    return TACIT_OK;
}

static void last_seen_is_written_once(void **unused)
{
    (void)unused;
    struct store_member a = enrol(1, 1);
    int64_t seen = 0;
    check_ok(sessions_reload(&sessions, &store));
    struct session *s = sessions_find(&sessions, a.dh);
    s->seen_s = 12345;
    check_ok(sessions_save_seen(&sessions, &store));
    check(s->seen_s == 0);
    check_ok(sessions_save_seen(&sessions, &store));
    check_ok(store_members(&store, see, &seen));
    check(seen == 12345);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(members_are_found_by_key),
        T(a_reload_keeps_what_is_known),
        T(the_roster_is_the_approved_in_order_of_id),
        T(a_device_that_restarts_is_one_device),
        T(two_that_take_turns_are_both_told),
        T(a_slot_that_was_given_anew_is_another_link),
        T(one_members_copy_is_not_anothers),
        T(last_seen_is_written_once),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
