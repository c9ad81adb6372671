/* store: what is written is there after a crash, and only once. */
#include "tests/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "coordinator/store.h"

static char dir[256];
static struct store store;

static int setup(void **state)
{
    (void)state;
    check_tmpdir(dir);
    check_ok(store_open(&store, dir, DB_CREATE));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(&store);
    check_tmpdir_remove(dir);
    return 0;
}

static struct store_invite invite(uint64_t id, int approve)
{
    struct store_invite i = {.token_id = id, .expires_s = 1000};
    i.approve = approve;
    memset(i.psk, (int)id, sizeof i.psk);
    snprintf(i.name, sizeof i.name, "site-%llu", (unsigned long long)id);
    check_ok(store_invite_add(&store, &i, 10));
    return i;
}

static struct store_member device(uint8_t n)
{
    struct store_member m = {.state = MEMBER_PENDING};
    memset(m.id, n, sizeof m.id);
    memset(m.identity, n + 100, sizeof m.identity);
    memset(m.dh, n + 50, sizeof m.dh);
    snprintf(m.software, sizeof m.software, "tacit test");
    return m;
}

static enum tacit_err count_member(void *ctx, const struct store_member *m)
{
    (void)m;
    ++*(int *)ctx;
    return TACIT_OK;
}

static int n_members(void)
{
    int n = 0;
    check_ok(store_members(&store, count_member, &n));
    return n;
}

static void a_home_without_a_store_says_run_init(void **unused)
{
    (void)unused;
    struct store s;
    char path[300];
    snprintf(path, sizeof path, "%s/nothing", dir);
    check_code(store_open(&s, path, DB_EXISTING), E_NOT_INITIALISED);
    struct store_federation f;
    check_code(store_federation(&store, &f), E_NOT_INITIALISED);
}

static void the_federation_is_set_once(void **unused)
{
    (void)unused;
    struct store_federation f = {.name = "cardio", .listen = "tcp://h:1"}, g;
    check_ok(store_federation_set(&store, &f, 5));
    check_err(store_federation_set(&store, &f, 5), TACIT_STATE);
    check_ok(store_bound_set(&store, "tcp://h:99"));
    check_ok(store_federation(&store, &g));
    assert_string_equal(g.name, "cardio");
    assert_string_equal(g.listen, "tcp://h:1");
    assert_string_equal(g.address, "");
    assert_string_equal(g.bound, "tcp://h:99");
}

static void an_invite_is_used_once_by_one_device(void **unused)
{
    (void)unused;
    struct store_invite i = invite(UINT64_MAX - 4, 1), found;
    struct store_member a = device(1), b = device(2);
    check_ok(store_enrol(&store, i.token_id, 20, &a));
    assert_string_equal(a.name, i.name);
    check(a.state == MEMBER_APPROVED);
    check_code(store_enrol(&store, i.token_id, 21, &b), E_INVITE_USED);
    check(n_members() == 1);
    /* The reply was lost: the same device asks again. */
    struct store_member again = device(1);
    check_ok(store_enrol(&store, i.token_id, 22, &again));
    assert_string_equal(again.name, i.name);
    check(n_members() == 1);
    check_ok(store_invite_find(&store, i.token_id, &found));
    check(found.used_s == 20);
}

static void expired_and_unknown_invites_are_told_apart(void **unused)
{
    (void)unused;
    struct store_invite i = invite(7, 0), found;
    struct store_member a = device(1);
    check_code(store_enrol(&store, 7, 1000, &a), E_INVITE_EXPIRED);
    check_err(store_enrol(&store, 8, 20, &a), TACIT_NOTFOUND);
    check_err(store_invite_find(&store, 8, &found), TACIT_NOTFOUND);
    check_ok(store_enrol(&store, 7, 999, &a));
    check(a.state == MEMBER_PENDING);
    assert_string_equal(a.name, i.name);
}

static void a_revoked_device_needs_the_operator_again(void **unused)
{
    (void)unused;
    struct store_member a = device(1);
    int n = 0;
    invite(1, 1);
    invite(2, 1);
    check_ok(store_enrol(&store, 1, 20, &a));
    check_ok(store_member_set(&store, "site-1", MEMBER_REVOKED, 21, &n));
    check(n == 1);
    check_ok(store_leave(&store, a.id, 22)); /* leaving does not wash it */
    a = device(1);
    check_ok(store_enrol(&store, 2, 23, &a));
    check(a.state == MEMBER_PENDING);
    check(n_members() == 1);
    check_err(store_member_set(&store, "nobody", MEMBER_APPROVED, 1, &n),
              TACIT_NOTFOUND);
    check_ok(store_member_set(&store, "01010101010101010101010101010101",
                              MEMBER_APPROVED, 24, &n));
}

static void approving_whom_was_only_invited_says_so(void **unused)
{
    (void)unused;
    struct store_member a = device(1);
    int n = 0;
    invite(1, 0);
    enum tacit_err err =
        store_member_set(&store, "site-1", MEMBER_APPROVED, 5, &n);
    check(strstr(err_message(), "`site-1` is invited and has not joined yet"));
    check_err(err, TACIT_NOTFOUND);
    check_ok(store_enrol(&store, 1, 20, &a));
    check_ok(store_member_set(&store, "site-1", MEMBER_APPROVED, 21, &n));
    err = store_member_set(&store, "site-2", MEMBER_APPROVED, 22, &n);
    check(strstr(err_message(), "no member is called `site-2`") != NULL);
    check_err(err, TACIT_NOTFOUND);
}

static void two_devices_with_one_link_key_are_refused(void **unused)
{
    (void)unused;
    struct store_member a = device(1), b = device(2);
    invite(1, 1);
    invite(2, 1);
    memcpy(b.dh, a.dh, sizeof b.dh);
    check_ok(store_enrol(&store, 1, 20, &a));
    check_err(store_enrol(&store, 2, 20, &b), TACIT_STATE);
    check(n_members() == 1);
    struct store_invite found; /* … and the invite is still good */
    check_ok(store_invite_find(&store, 2, &found));
    check(found.used_s == 0);
}

/* ---- plans, rounds, models ---------------------------------------------- */

static struct plan plan_named(const char *name)
{
    struct plan p = {.rounds = 3};
    int again = -1;
    snprintf(p.name, sizeof p.name, "%s", name);
    digest_of(&p.hash, name, strlen(name));
    check_ok(store_plan_add(&store, &p, 5, &again));
    check(again == 0);
    check_ok(store_plan_add(&store, &p, 6, &again));
    check(again == 1);
    return p;
}

static struct store_round begin_round(const struct plan *p, uint32_t round,
                                      uint8_t tag)
{
    struct store_round r = {.plan_hash = p->hash, .round = round};
    check_ok(store_attempts(&store, &p->hash, round, &r.attempt));
    memset(r.session, tag, sizeof r.session);
    check_ok(store_round_begin(&store, &r));
    return r;
}

static struct models_version version_of(const struct store_round *r)
{
    struct models_version v = {.plan_hash = r->plan_hash,
                               .version = r->round,
                               .round = r->round,
                               .n_clients = 4,
                               .bytes = 100};
    digest_of(&v.model_hash, &r->round, sizeof r->round);
    uint32_t before = r->round - 1;
    digest_of(&v.parent_hash, &before, sizeof before);
    memcpy(v.session, r->session, sizeof v.session);
    return v;
}

static enum tacit_err count_round(void *ctx, const struct store_round *r)
{
    (void)r;
    ++*(int *)ctx;
    return TACIT_OK;
}

static void a_round_and_its_model_are_one_change(void **unused)
{
    (void)unused;
    struct plan p = plan_named("risk");
    struct store_round r = begin_round(&p, 1, 1), got;
    struct models_version v = version_of(&r), found;
    snprintf(r.state, sizeof r.state, "committed");
    r.duration_ms = 12;
    r.n_inputs = 4;
    r.metrics[2] = 0.75;
    r.weight = 2.5;
    check_ok(store_round_end(&store, &r, &v));
    check_ok(store_round_by_session(&store, r.session, &got));
    assert_string_equal(got.state, "committed");
    assert_string_equal(got.plan_name, "risk");
    check(got.n_rounds == 3 && got.n_inputs == 4 && got.duration_ms == 12);
    check(got.metrics[2] == 0.75 && got.weight == 2.5);
    check(digest_equal(&got.model_hash, &v.model_hash));
    check(digest_equal(&got.parent_hash, &v.parent_hash));
    check_ok(store_model_find(&store, &p.hash, STORE_NEWEST, &found));
    check(found.version == 1 && digest_equal(&found.model_hash, &v.model_hash));
    check_ok(store_model_by_session(&store, r.session, &found));
    /* The same version again: neither half is written. */
    struct store_round twice = begin_round(&p, 1, 2);
    check(twice.attempt == 1);
    snprintf(twice.state, sizeof twice.state, "committed");
    v = version_of(&twice);
    check_err(store_round_end(&store, &twice, &v), TACIT_STATE);
    check_ok(store_round_by_session(&store, twice.session, &got));
    assert_string_equal(got.state, "running");
    check_err(store_model_by_session(&store, twice.session, &found),
              TACIT_NOTFOUND);
    check_err(store_model_find(&store, &p.hash, 2, &found), TACIT_NOTFOUND);
}

static void a_restart_aborts_what_was_running(void **unused)
{
    (void)unused;
    struct plan p = plan_named("risk");
    struct store_round r = begin_round(&p, 1, 1), got;
    int n = 0;
    check_ok(store_rounds_abort(&store, E_ROUND_RESTARTED, "restarted", &n));
    check(n == 1);
    check_ok(store_round_by_session(&store, r.session, &got));
    assert_string_equal(got.state, "aborted");
    check(got.code == E_ROUND_RESTARTED);
    check_ok(store_rounds_abort(&store, E_ROUND_RESTARTED, "restarted", &n));
    check(n == 0);
}

static enum tacit_err note_order(void *ctx, const struct store_round *r)
{
    char *order = ctx;
    size_t n = strlen(order);
    order[n] = (char)('0' + r->group);
    order[n + 1] = 0;
    return TACIT_OK;
}

static void the_sums_of_a_round_are_one_change(void **unused)
{
    (void)unused;
    struct plan p = plan_named("groups");
    struct store_round r[3], *list[3], got;
    struct models_version found;
    for (unsigned i = 0; i < 3; i++) {
        r[i] = (struct store_round){.plan_hash = p.hash,
                                    .round = 1,
                                    .group = i + 1};
        memset(r[i].session, (int)i + 1, sizeof r[i].session);
        list[i] = &r[i];
    }
    /* A session twice: none of the three is written. */
    memset(r[2].session, 1, sizeof r[2].session);
    check_err(store_sums_begin(&store, list, 3), TACIT_STATE);
    check_err(store_round_by_session(&store, r[0].session, &got),
              TACIT_NOTFOUND);
    memset(r[2].session, 3, sizeof r[2].session);
    check_ok(store_sums_begin(&store, list, 3));
    uint32_t attempt = 9;
    check_ok(store_attempts(&store, &p.hash, 1, &attempt));
    check(attempt == 0); /* the others of this attempt do not count */
    snprintf(r[1].state, sizeof r[1].state, "aborted");
    check_ok(store_round_end(&store, &r[1], NULL));
    check_ok(store_attempts(&store, &p.hash, 1, &attempt));
    check(attempt == 1);
    struct models_version v = version_of(&r[0]);
    const struct store_round both[] = {r[0], r[2]};
    check_ok(store_sums_end(&store, both, 2, &v));
    check_ok(store_round_by_session(&store, r[2].session, &got));
    check(got.group == 3 && digest_equal(&got.model_hash, &v.model_hash));
    check(digest_equal(&got.parent_hash, &v.parent_hash));
    check_err(store_model_by_session(&store, r[2].session, &found),
              TACIT_NOTFOUND);
    char order[8] = "";
    check_ok(store_rounds_ended(&store, 0, note_order, order));
    assert_string_equal(order, "213");
    check_ok(store_round_by_session(&store, r[0].session, &got));
    order[0] = 0;
    check_ok(store_rounds_ended(&store, got.ended, note_order, order));
    assert_string_equal(order, "3");
}

static void plans_are_found_by_name_hash_and_age(void **unused)
{
    (void)unused;
    struct store_plan row;
    check_err(store_plan_find(&store, NULL, &row), TACIT_NOTFOUND);
    struct plan a = plan_named("first"), b = plan_named("second");
    check_ok(store_plan_find(&store, NULL, &row));
    assert_string_equal(row.name, "second");
    check_ok(store_plan_find(&store, "first", &row));
    check(digest_equal(&row.hash, &a.hash) && !row.has_model);
    char hex[DIGEST_HEX];
    hex_encode(hex, b.hash.b, DIGEST_BYTES);
    hex[8] = 0;
    check_ok(store_plan_find(&store, hex, &row));
    check(digest_equal(&row.hash, &b.hash));
    hex[3] = 0; /* too short to mean one */
    check_err(store_plan_find(&store, hex, &row), TACIT_NOTFOUND);
    struct store_round r = begin_round(&a, 1, 1);
    struct models_version v = version_of(&r);
    snprintf(r.state, sizeof r.state, "committed");
    check_ok(store_round_end(&store, &r, &v));
    begin_round(&b, 1, 2);
    int n = 0;
    check_ok(store_rounds(&store, NULL, count_round, &n));
    check(n == 2);
    n = 0;
    check_ok(store_rounds(&store, &b.hash, count_round, &n));
    check(n == 1);
    check_ok(store_plan_find(&store, "first", &row));
    check(row.has_model && row.version == 1);
    check_ok(store_plan_find(&store, "second", &row));
    check(!row.has_model);
}

static void a_newer_store_is_left_untouched(void **unused)
{
    (void)unused;
    struct store s;
    check_ok(db_exec(&store.db, "PRAGMA user_version = 99"));
    check_code(store_open(&s, dir, DB_EXISTING), E_STORE_NEWER);
    int64_t version = 0;
    check_ok(db_int(&store.db, &version, "PRAGMA user_version", ""));
    check(version == 99);
}

static void a_change_of_another_process_is_noticed(void **unused)
{
    (void)unused;
    struct store other;
    int64_t before = 0, after = 0;
    check_ok(store_open(&other, dir, DB_EXISTING));
    check_ok(store_changes(&store, &before));
    invite(1, 0); /* our own change is none */
    check_ok(store_changes(&store, &after));
    check(before == after);
    check_ok(store_bound_set(&other, "tcp://x:1"));
    struct store_federation f = {.name = "n", .listen = "l"};
    check_ok(store_federation_set(&other, &f, 1));
    check_ok(store_changes(&store, &after));
    check(before != after);
    store_close(&other);
}

/* Child: rounds one after the other; a byte to the pipe for each one that the
 * store has acknowledged. */
static void write_rounds(const struct plan *p, int fd)
{
    struct store s;
    if (store_open(&s, dir, DB_EXISTING) != TACIT_OK) _exit(1);
    for (uint32_t round = 1; round < 200; round++) {
        struct store_round r = {.plan_hash = p->hash, .round = round};
        memset(r.session, (int)round, sizeof r.session);
        r.session[31] = (uint8_t)(round >> 8);
        struct models_version v = version_of(&r);
        memcpy(v.session, r.session, sizeof v.session);
        snprintf(r.state, sizeof r.state, "committed");
        if (store_round_begin(&s, &r) != TACIT_OK ||
            store_round_end(&s, &r, &v) != TACIT_OK || write(fd, "x", 1) != 1)
            _exit(1);
    }
    _exit(0);
}

struct seen {
    uint32_t committed, running;
};

static enum tacit_err see_round(void *ctx, const struct store_round *r)
{
    struct seen *s = ctx;
    struct models_version v;
    enum tacit_err err = store_model_by_session(&store, r->session, &v);
    if (strcmp(r->state, "committed") == 0) {
        check_ok(err);
        check(r->round == ++s->committed);
    } else {
        check_err(err, TACIT_NOTFOUND);
        s->running++;
    }
    return TACIT_OK;
}

static void kill_9_loses_no_acknowledged_round(void **unused)
{
    (void)unused;
    for (int i = 0; i < 6; i++) {
        teardown(NULL);
        setup(NULL);
        struct plan p = plan_named("kill");
        int fds[2];
        check(pipe(fds) == 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) write_rounds(&p, fds[1]);
        check(pid > 0);
        close(fds[1]);
        uint8_t r = 0;
        rng_secure(&r, 1);
        nanosleep(&(struct timespec){.tv_nsec = 5000000L + r * 300000L}, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        char bytes[256];
        ssize_t n = 0, got;
        while ((got = read(fds[0], bytes, sizeof bytes)) > 0) n += got;
        close(fds[0]);
        struct seen s = {0};
        check_ok(store_rounds(&store, NULL, see_round, &s));
        check(s.committed >= (uint32_t)n && s.committed <= (uint32_t)n + 1);
        check(s.running <= 1);
    }
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_home_without_a_store_says_run_init),
        T(the_federation_is_set_once),
        T(an_invite_is_used_once_by_one_device),
        T(expired_and_unknown_invites_are_told_apart),
        T(a_revoked_device_needs_the_operator_again),
        T(approving_whom_was_only_invited_says_so),
        T(two_devices_with_one_link_key_are_refused),
        T(a_round_and_its_model_are_one_change),
        T(a_restart_aborts_what_was_running),
        T(the_sums_of_a_round_are_one_change),
        T(plans_are_found_by_name_hash_and_age),
        T(a_newer_store_is_left_untouched),
        T(a_change_of_another_process_is_noticed),
        T(kill_9_loses_no_acknowledged_round),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
