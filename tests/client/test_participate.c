/* participate: rounds with an honest coordinator, the site's policy, failures
 * at home, pauses. What a hostile coordinator may try stands in
 * test_participate_hostile.c. */
#include "tests/client/federation.h"

#include <math.h>
#include <stdio.h>

static struct federation f;

static int setup(void **state)
{
    (void)state;
    federation_begin_with(&f, plan_text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    federation_end(&f);
    return 0;
}

static void check_committed(unsigned i, uint32_t version)
{
    const struct member *m = &f.m[i];
    check(m->news == PARTICIPATE_COMMITTED && m->why_id == 0);
    check(m->n_debits == 1 && m->n_reveals == 1 && m->n_adopts == 1);
    check(m->known.version == version);
    check(digest_equal(&m->known.model_hash, &f.version.model_hash));
}

/* ---- honest rounds ------------------------------------------------------ */

static void every_member_adopts_the_mean_of_all_updates(void **unused)
{
    (void)unused;
    struct params *p = model_params(f.model);
    float before[4];
    memcpy(before, p->flat, sizeof before);
    check(p->n_flat == 4);
    federation_round(&f);
    check(f.version.version == 1 && f.version.n_clients == MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) check_committed(i, 1);
    for (size_t k = 0; k < 4; k++) {
        double mean = 0;
        for (int i = 0; i < MEMBERS; i++) mean += (double)f.m[i].delta[k] / 4;
        check_near(p->flat[k], (double)before[k] + mean, 1e-5);
    }
    check_near(f.mean.metrics[0], 0.7, 1e-4);
    check_near(f.mean.metrics[1], 0.6, 1e-4);
}

static void rounds_follow_each_other_without_a_pause(void **unused)
{
    (void)unused;
    for (uint32_t round = 1; round <= 10; round++) {
        federation_round(&f);
        for (unsigned i = 0; i < MEMBERS; i++) {
            check_committed(i, round);
            check(f.m[i].pause_ms == 0);
        }
    }
}

static void a_device_that_rested_fetches_all_again(void **unused)
{
    (void)unused;
    federation_round(&f);
    for (int i = 0; i < MEMBERS; i++) participate_rest(f.m[i].part);
    federation_round(&f);
    for (unsigned i = 0; i < MEMBERS; i++) check_committed(i, 2);
}

static void the_debit_says_what_leaves(void **unused)
{
    (void)unused;
    federation_round(&f);
    const struct member *m = &f.m[2];
    const struct ledger_row *r = &m->row;
    double norm = 0;
    for (int k = 0; k < 4; k++)
        norm += (double)m->delta[k] * (double)m->delta[k];
    check_near(r->norm, sqrt(norm), 1e-9);
    check(r->time_s == 1234 && strcmp(r->plan, "heart") == 0);
    check(r->round == 1 && r->attempt == 0 && r->weight == 1000);
    check(r->n_coords == ring_coords(&f.layout) && r->ring_bits == 32);
    check(r->bytes == 4 * (uint64_t)r->n_coords);
    check(r->min_cohort == 3);
    check_near(r->clip, 2, 0);
    check(digest_equal(&r->plan_hash, &f.plan->hash));
    check(digest_equal(&r->model_hash, &f.version.parent_hash));
    check(memcmp(r->session, f.version.session, 32) == 0);
}

static void an_update_of_many_chunks_arrives_whole(void **unused)
{
    (void)unused;
    static struct federation large;
    char text[sizeof plan_text + 64];
    const char *at = strstr(plan_text, "logistic");
    snprintf(text, sizeof text, "%.*smlp, hidden: [300, 300]%s",
             (int)(at - plan_text), plan_text, at + 8);
    federation_begin_with(&large, text);
    federation_round(&large);
    size_t bytes = 4 * (size_t)ring_coords(&large.layout);
    check(bytes > WIRE_CHUNK_MAX && large.version.version == 1);
    for (int i = 0; i < MEMBERS; i++) {
        check(large.m[i].news == PARTICIPATE_COMMITTED);
        check(large.m[i].row.bytes == bytes);
        check(large.m[i].n_uploads == 2 + 1); /* chunks and INPUT */
    }
    federation_end(&large);
}

static void whoever_vanishes_costs_its_own_update_only(void **unused)
{
    (void)unused;
    for (int call = 0; call < 7; call++) {
        uint32_t version = f.version.version;
        f.m[1].drop_at = call;
        federation_round(&f);
        f.m[1].drop_at = NEVER;
        check(f.version.version == version + 1);
        /* After its INPUT (call 4) it counts, whatever comes. */
        check(f.version.n_clients == (call < 5 ? 3 : 4));
        check_committed(0, version + 1);
        check_committed(2, version + 1);
        check_committed(3, version + 1);
    }
    federation_round(&f); /* it comes back, from an older model */
    for (unsigned i = 0; i < MEMBERS; i++) check_committed(i, 8);
}

static void a_lost_round_has_the_coordinators_code(void **unused)
{
    (void)unused;
    f.m[1].drop_at = f.m[2].drop_at = 2;
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_LOST);
    check(f.m[0].why_id == E_ROUND_TOO_FEW);
    check(strstr(f.m[0].why, "devices") != NULL);
    check(f.m[0].n_debits == 0 && f.m[0].n_uploads == 0);
    f.m[1].drop_at = f.m[2].drop_at = NEVER;
    federation_round(&f);
    check_committed(0, 1);
}

/* What a strategy keeps belongs to updates that are in a committed sum. */
static void a_device_knows_whether_its_update_counts(void **unused)
{
    (void)unused;
    federation_round(&f);
    for (int i = 0; i < MEMBERS; i++) check(f.m[i].n_counted == 1);
    f.m[1].drop_at = f.m[2].drop_at = 2; /* too few: nothing is committed */
    federation_round(&f);
    f.m[1].drop_at = f.m[2].drop_at = NEVER;
    check(f.m[0].n_counted == 0);
    f.m[1].policy.tasks = 0; /* this one declines */
    federation_round(&f);
    check(f.m[0].n_counted == 1 && f.m[1].n_counted == 0);
}

/* Two devices with one identity: the second one's round keys are refused by
 * name, and one update is counted. */
static void of_two_devices_with_one_identity_one_takes_part(void **unused)
{
    (void)unused;
    struct participate_config c = {.keys = &f.m[0].keys,
                                   .coordinator_sign =
                                       f.coordinator.sign_public,
                                   .policy = &f.m[0].policy};
    struct participate *copy = NULL;
    static struct participate_action a;
    static struct message task;
    check_ok(participate_new(&c, &copy));
    federation_open(&f);
    for (int i = 0; i < MEMBERS; i++) member_begin(&f.m[i]);
    member_step(&f, &f.m[0]); /* POLL */
    member_send(&f, 0);
    task = f.m[0].in;
    check(task.type == MSG_TASK);
    member_step(&f, &f.m[0]); /* ADVERT */
    member_send(&f, 0);
    /* The copy was given the same task, and makes keys of its own. */
    struct participate_event ev = {.kind = PARTICIPATE_BEGIN};
    participate_step(copy, &ev, &a);
    for (ev = (struct participate_event){.kind = PARTICIPATE_REPLY,
                      .reply = &task};
         ;) {
        participate_step(copy, &ev, &a);
        if (a.kind == PARTICIPATE_CALL) break;
        struct member look = {.action = a};
        if (a.kind == PARTICIPATE_FETCH)
            member_fetch(&f, &look);
        else
            look.event =
                (struct participate_event){.kind = PARTICIPATE_CONSULTED};
        ev = look.event;
    }
    check(a.message->type == MSG_ADVERT);
    struct runner_peer peer = {f.m[0].keys.id, f.m[0].keys.sign_public};
    struct member kept = f.m[0];
    check(runner_message(f.runner, f.now_ms, &peer, 0, a.message) == 1);
    check(f.m[0].failed == E_SAME_IDENTITY);
    (void)fail_as(E_SAME_IDENTITY, "two devices show the same identity");
    ev = (struct participate_event){.kind = PARTICIPATE_FAILED};
    participate_step(copy, &ev, &a);
    check(a.kind == PARTICIPATE_PAUSE && a.news == PARTICIPATE_BROKEN);
    check(a.why_id == E_SAME_IDENTITY && a.pause_ms >= PARTICIPATE_BACKOFF_MS);
    participate_free(copy);
    kept.bytes = f.m[0].bytes;
    f.m[0] = kept; /* the first goes on undisturbed */
    check(runner_n_same_identity(f.runner) == 1);
    federation_run(&f);
    for (unsigned i = 0; i < MEMBERS; i++) check_committed(i, 1);
    check(f.version.n_clients == MEMBERS);
}

/* ---- at home ------------------------------------------------------------ */

/* Nothing but POLL left, the reason is `id`, and the others finish. */
static void check_declined(unsigned id)
{
    int64_t start_ms = f.now_ms;
    federation_round(&f);
    const struct member *m = &f.m[0];
    check(m->news == PARTICIPATE_DECLINED && m->why_id == id);
    check(m->n_calls == 1 && m->n_debits == 0 && m->n_adopts == 0);
    check(f.m[1].news == PARTICIPATE_COMMITTED);
    check(f.now_ms > start_ms); /* until it says so, it is waited for */
}

static void what_the_policy_forbids_is_declined(void **unused)
{
    (void)unused;
    struct policy *p = &f.m[0].policy;
    const struct policy ok = *p;
    p->min_cohort = 4;
    check_declined(E_POLICY_REFUSED);
    check(strstr(f.m[0].why, "min_cohort") != NULL);
    *p = ok;
    p->clip_max = 1.9;
    check_declined(E_POLICY_REFUSED);
    check(strstr(f.m[0].why, "clip_max") != NULL);
    *p = ok;
    p->tasks = 1U << PLAN_REGRESS;
    check_declined(E_POLICY_REFUSED);
    *p = ok;
    p->n_sources = 0;
    check_declined(E_POLICY_REFUSED);
    *p = ok;
    p->from_minute = 0, p->to_minute = 100;
    check_declined(E_POLICY_REFUSED);
    *p = ok;
    f.m[0].spent.updates = 100;
    check_declined(E_BUDGET_SPENT);
    f.m[0].spent = (struct policy_spent){.updates = 1, .updates_today = 100};
    check_declined(E_BUDGET_SPENT);
    f.m[0].spent = (struct policy_spent){0};
    federation_round(&f); /* allowed again */
    check_committed(0, f.version.version);
}

static void data_that_cannot_be_used_costs_the_others_nothing(void **unused)
{
    (void)unused;
    f.m[0].data_fails = 1;
    check_declined(E_CSV_COLUMN);
    check(f.version.n_clients == 3);
    f.m[0].data_fails = 0;
    federation_round(&f);
    check_committed(0, 2);
}

static void the_coordinator_hears_of_a_decline_at_the_next_poll(void **unused)
{
    (void)unused;
    f.m[0].policy.min_cohort = 4;
    int64_t start_ms = f.now_ms;
    federation_open(&f);
    for (unsigned i = 0; i < MEMBERS; i++) {
        member_begin(&f.m[i]);
        member_step(&f, &f.m[i]);
        member_send(&f, i);
    }
    member_step(&f, &f.m[0]);
    check(f.m[0].news == PARTICIPATE_DECLINED);
    check(f.m[0].pause_ms == PARTICIPATE_BACKOFF_MS); /* soon */
    member_begin(&f.m[0]);
    federation_run(&f);
    struct round_counts n;
    round_counts(runner_round(f.runner), &n);
    check(n.n_declined == 1 && f.version.version == 1);
    check(f.now_ms == start_ms); /* nobody waited */
}

static void nothing_leaves_when_the_ledger_cannot_be_written(void **unused)
{
    (void)unused;
    f.m[0].debit_fails = 1;
    federation_round(&f);
    const struct member *m = &f.m[0];
    check(m->news == PARTICIPATE_BROKEN && m->why_id == E_LEDGER_BROKEN);
    check(m->n_debits == 1 && m->n_uploads == 0 && m->n_reveals == 0);
    check(f.version.n_clients == 3);
    f.m[0].debit_fails = 0;
    federation_round(&f);
    check_committed(0, 2);
}

static void an_update_with_nan_never_leaves(void **unused)
{
    (void)unused;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct member *m = &f.m[0];
    for (int i = 0; i < 3; i++) {
        float kept = m->delta[2];
        m->delta[2] = bad[i];
        federation_round(&f);
        m->delta[2] = kept;
        check(m->news == PARTICIPATE_BROKEN && m->why_id == E_DEFAULT_FORMAT);
        check(m->n_debits == 0 && m->n_uploads == 0);
    }
    m->trained.metrics[1] = NAN;
    federation_round(&f);
    check(m->news == PARTICIPATE_BROKEN && m->n_debits == 0);
    m->trained.metrics[1] = 0.5;
    federation_round(&f);
    check_committed(0, f.version.version);
}

static void a_long_update_is_clipped_and_the_ledger_says_how_long(void **unused)
{
    (void)unused;
    const struct params *p = model_params(f.model);
    float before[4];
    memcpy(before, p->flat, sizeof before);
    for (int i = 0; i < MEMBERS; i++)
        for (int k = 0; k < 4; k++) f.m[i].delta[k] = k == 1 ? 1e6f : 0;
    federation_round(&f);
    check_near(f.m[0].row.norm, 1e6, 1);
    check_near(f.m[0].row.clip, 2, 0);
    check_near(p->flat[1] - before[1], 2, 1e-3);
    check_near(p->flat[0], before[0], 1e-6);
}

static void training_that_fails_is_a_decline(void **unused)
{
    (void)unused;
    f.m[0].training_fails = 1;
    federation_round(&f);
    const struct member *m = &f.m[0];
    check(m->news == PARTICIPATE_DECLINED && m->why_id == E_LOSS_NAN);
    check(m->n_debits == 0 && m->n_uploads == 0 && m->n_reveals == 0);
    check(f.version.n_clients == 3);
    f.m[0].training_fails = 0;
    federation_round(&f);
    check_committed(0, 2);
}

/* ---- pauses ------------------------------------------------------------- */

static struct participate_action act;

static void step_reply(struct member *m, const struct message *reply)
{
    struct participate_event ev = {.kind = PARTICIPATE_BEGIN};
    participate_step(m->part, &ev, &act);
    check(act.kind == PARTICIPATE_CALL && act.message->type == MSG_POLL);
    ev = (struct participate_event){.kind = PARTICIPATE_REPLY, .reply = reply};
    participate_step(m->part, &ev, &act);
    check(act.kind == PARTICIPATE_PAUSE || act.kind == PARTICIPATE_FINISHED);
    check(act.pause_ms >= 0 && act.pause_ms <= WIRE_BACKOFF_MAX_MS);
}

static void step_failure(struct member *m, unsigned code)
{
    struct participate_event ev = {.kind = PARTICIPATE_BEGIN};
    participate_step(m->part, &ev, &act);
    check(act.kind == PARTICIPATE_CALL);
    (void)fail_as(code, "the test's failure");
    ev.kind = PARTICIPATE_FAILED;
    participate_step(m->part, &ev, &act);
}

static void failures_double_the_pause_up_to_a_bound(void **unused)
{
    (void)unused;
    struct member *m = &f.m[0];
    int64_t want = PARTICIPATE_BACKOFF_MS;
    for (int i = 0; i < 40; i++) {
        step_failure(m, E_UNREACHABLE);
        check(act.news == PARTICIPATE_BROKEN && act.why_id == E_UNREACHABLE);
        check(act.pause_ms == want);
        want = 2 * want < WIRE_BACKOFF_MAX_MS ? 2 * want
                                              : (int64_t)WIRE_BACKOFF_MAX_MS;
    }
    federation_round(&f);
    check_committed(0, 1);
    step_failure(m, E_UNREACHABLE);
    check(act.pause_ms == PARTICIPATE_BACKOFF_MS); /* forgotten */
}

static void rounds_that_break_again_and_again_are_asked_for_less_often(
    void **unused)
{
    (void)unused;
    struct member *m = &f.m[0];
    int64_t before = 0;
    m->debit_fails = 1;
    for (int i = 0; i < 6; i++) {
        federation_round(&f);
        check(m->news == PARTICIPATE_BROKEN && m->pause_ms > before);
        before = m->pause_ms;
    }
}

static void a_repeated_decline_waits_longer_than_the_first(void **unused)
{
    (void)unused;
    f.m[0].policy.tasks = 0;
    federation_round(&f);
    check(f.m[0].pause_ms == PARTICIPATE_BACKOFF_MS);
    federation_round(&f);
    check(f.m[0].pause_ms == PARTICIPATE_DECLINE_MS);
}

static void an_idle_coordinator_sets_the_pause_within_bounds(void **unused)
{
    (void)unused;
    struct message m = {.type = MSG_IDLE};
    const enum participate_news news[] = {[IDLE_NO_WORK] = PARTICIPATE_QUIET,
                                          [IDLE_PENDING] = PARTICIPATE_PENDING,
                                          [IDLE_REVOKED] = PARTICIPATE_REVOKED,
                                          [IDLE_FINISHED] = PARTICIPATE_QUIET};
    for (uint8_t why = IDLE_NO_WORK; why <= IDLE_FINISHED; why++) {
        m.u.idle = (struct msg_idle){.why = why, .retry_ms = 700};
        step_reply(&f.m[0], &m);
        check(act.news == news[why] && act.pause_ms == 700);
        check((act.kind == PARTICIPATE_FINISHED) == (why == IDLE_FINISHED));
        m.u.idle.retry_ms = UINT32_MAX;
        step_reply(&f.m[0], &m);
        check(act.pause_ms == WIRE_BACKOFF_MAX_MS);
    }
}

static void a_coordinator_cannot_make_a_device_spin(void **unused)
{
    (void)unused;
    struct message m = {.type = MSG_IDLE};
    int n_at_once = 0;
    for (int i = 0; i < 100; i++) {
        step_reply(&f.m[0], &m);
        n_at_once += act.pause_ms == 0;
    }
    check(n_at_once == PARTICIPATE_QUICK_MAX);
    federation_round(&f);
    step_reply(&f.m[0], &m); /* a round that worked wins it back */
    check(act.pause_ms == 0);
}

static void what_cannot_heal_stops_the_device(void **unused)
{
    (void)unused;
    const unsigned codes[] = {E_WRONG_COORDINATOR, E_NOT_A_MEMBER,
                              E_WIRE_VERSION};
    for (int i = 0; i < 3; i++) {
        step_failure(&f.m[0], codes[i]);
        check(act.kind == PARTICIPATE_STOP && err_id() == codes[i]);
        err_clear();
    }
    federation_round(&f); /* whoever starts it anew may go on */
    check_committed(0, 1);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(every_member_adopts_the_mean_of_all_updates),
        T(rounds_follow_each_other_without_a_pause),
        T(a_device_that_rested_fetches_all_again),
        T(the_debit_says_what_leaves),
        T(an_update_of_many_chunks_arrives_whole),
        T(whoever_vanishes_costs_its_own_update_only),
        T(a_lost_round_has_the_coordinators_code),
        T(a_device_knows_whether_its_update_counts),
        T(of_two_devices_with_one_identity_one_takes_part),
        T(what_the_policy_forbids_is_declined),
        T(data_that_cannot_be_used_costs_the_others_nothing),
        T(the_coordinator_hears_of_a_decline_at_the_next_poll),
        T(nothing_leaves_when_the_ledger_cannot_be_written),
        T(an_update_with_nan_never_leaves),
        T(a_long_update_is_clipped_and_the_ledger_says_how_long),
        T(training_that_fails_is_a_decline),
        T(failures_double_the_pause_up_to_a_bound),
        T(rounds_that_break_again_and_again_are_asked_for_less_often),
        T(a_repeated_decline_waits_longer_than_the_first),
        T(an_idle_coordinator_sets_the_pause_within_bounds),
        T(a_coordinator_cannot_make_a_device_spin),
        T(what_cannot_heal_stops_the_device),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
