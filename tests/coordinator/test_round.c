/* round and runner: what happens at every stage, to everybody. */
#include "tests/coordinator/cohort.h"

#include "common/base/codes.h"

static unsigned popcount_over(const struct cohort *c, int stage)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n; i++) n += c->d[i].drop > stage;
    return n;
}

static enum round_state state_of(const struct cohort *c)
{
    return round_state(runner_round(c->runner));
}

static void four_devices_commit_the_exact_sum(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 3);
    cohort_open(&c);
    cohort_settle(&c); /* no clock needed: nobody is late */
    check(state_of(&c) == ROUND_COMMITTED);
    check(c.n_commits == 1);
    cohort_check_sum(&c, 0xf);
    for (unsigned i = 0; i < 4; i++) {
        check(c.d[i].over.outcome == OUTCOME_COMMITTED);
        check(c.d[i].over.n_clients == 4);
        check(c.d[i].over.model_version == 1);
    }
    cohort_end(&c);
}

/* Device i drops before step drops[i] (1 ADVERT … 5 REVEAL, 9 never). */
static void try_drops(const int *drops)
{
    struct cohort c;
    cohort_begin(&c, 4, 2);
    unsigned members = 0;
    for (unsigned i = 0; i < 4; i++) {
        c.d[i].drop = drops[i];
        members |= (drops[i] > 3 ? 1U : 0U) << i;
    }
    cohort_open(&c);
    cohort_run(&c);
    unsigned n = popcount_over(&c, 1);
    unsigned t = n >= 2 ? secagg_threshold(n) : 99;
    unsigned least = t > 2 ? t : 2;
    int fine = n >= 2 && popcount_over(&c, 2) >= least &&
               popcount_over(&c, 3) >= least && popcount_over(&c, 4) >= t &&
               popcount_over(&c, 5) >= t;
    check(c.n_commits == fine);
    check(state_of(&c) == (fine ? ROUND_COMMITTED : ROUND_ABORTED));
    if (fine) cohort_check_sum(&c, members);
    if (!fine)
        check(round_over(runner_round(c.runner))->code == E_ROUND_TOO_FEW);
    cohort_end(&c);
}

static void every_pattern_of_drops_ends_in_the_right_sum_or_a_clean_abort(
    void **unused)
{
    (void)unused;
    static const int at[] = {1, 2, 3, 4, 5, COHORT_NEVER};
    for (int a = 0; a < 6; a++)
        for (int b = a; b < 6; b++)
            for (int x = b; x < 6; x++)
                for (int y = x; y < 6; y++)
                    try_drops((int[]){at[y], at[a], at[x], at[b]});
}

static void a_request_is_held_at_most_ten_seconds(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 3);
    c.config.round.task.train_ms = 25000;
    cohort_open(&c);
    c.d[3].drop = 3; /* never sends its input */
    cohort_run(&c);
    check(state_of(&c) == ROUND_COMMITTED);
    cohort_check_sum(&c, 0x7);
    check(c.d[0].n_wait == 2); /* after 10 s and 20 s; the stage ends at 25 */
    cohort_end(&c);
}

static void a_stage_ends_at_its_deadline_and_says_why(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 3);
    cohort_open(&c);
    c.d[0].drop = c.d[1].drop = 3;
    cohort_run(&c);
    const struct msg_over *over = round_over(runner_round(c.runner));
    check(state_of(&c) == ROUND_ABORTED);
    check(over->code == E_ROUND_TOO_FEW);
    assert_string_equal(over->reason,
                        "2 of 4 devices sent an update; 3 are needed");
    check(c.d[2].over.outcome == OUTCOME_ABORTED);
    check(c.now_ms == 1000 + 60000);
    cohort_end(&c);
}

static void too_few_adverts_abort_after_the_stage_deadline(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 3);
    cohort_open(&c);
    c.d[0].drop = c.d[1].drop = 1;
    cohort_run(&c);
    check(c.now_ms == 1000 + 5000);
    assert_string_equal(round_over(runner_round(c.runner))->reason,
                        "2 of 4 devices agreed to take part; 3 are needed");
    cohort_end(&c);
}

static void over_selection_closes_at_the_goal_and_tells_the_late(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 5, 3);
    c.config.round.goal = 4;
    cohort_open(&c);
    cohort_run_to(&c, 2);
    /* Four of five send their input: enough. */
    c.d[4].drop = 3;
    cohort_settle(&c);
    check(c.n_commits == 1);
    cohort_check_sum(&c, 0xf);
    c.d[4].drop = COHORT_NEVER;
    struct message m = cohort_message(&c, MSG_INPUT_STATUS);
    cohort_send(&c, 4, 4, &m);
    check(c.d[4].reply.type == MSG_OVER);
    check(c.d[4].reply.u.over.outcome == OUTCOME_COMMITTED);
    cohort_end(&c);
}

static void a_late_message_gets_over_and_changes_nothing(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 2);
    cohort_open(&c);
    cohort_run_to(&c, 1);
    c.d[3].drop = 2;
    cohort_settle(&c);
    c.now_ms += 5000; /* the deadline of SHARES: three are enough */
    runner_tick(c.runner, c.now_ms);
    c.d[3].drop = 3; /* it wakes up and sends its shares */
    device_step(&c, 3);
    check(c.d[3].replied && c.d[3].reply.type == MSG_OVER);
    check(c.d[3].reply.u.over.code == E_ROUND_LATE);
    cohort_run(&c);
    check(c.n_commits == 1);
    cohort_check_sum(&c, 0x7);
    cohort_end(&c);
}

/* Ask again for every stage that device i has done; what comes must be what
 * came before. */
static void repeats_get_the_same_answer(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    struct message first = cohort_message(&c, MSG_ADVERT);
    device_step(&c, 0);
    secagg_client_advert(c.d[0].client, &first.u.advert.advert);
    cohort_send(&c, 0, 0, &first); /* twice while the stage is open */
    cohort_send(&c, 0, 0, &first);
    check(!c.d[0].replied);
    cohort_run_to(&c, 1);
    check(c.d[0].reply.type == MSG_ROSTER && c.d[0].reply.u.roster.n == 3);
    struct message roster = c.d[0].reply;
    cohort_send(&c, 0, 0, &first); /* … and after it closed */
    check(c.d[0].replied);
    check(memcmp(&roster.u.roster, &c.d[0].reply.u.roster,
                 sizeof roster.u.roster) == 0);
    cohort_run_to(&c, 3);
    struct message survivors = c.d[0].reply;
    check(survivors.type == MSG_SURVIVORS);
    device_chunk(&c, 0, 77); /* a chunk that was on its way */
    struct message input;
    device_input_message(&c, 0, &input);
    cohort_send(&c, 0, 0, &input);
    check(c.d[0].reply.type == MSG_SURVIVORS);
    check(memcmp(&survivors.u.survivors, &c.d[0].reply.u.survivors,
                 sizeof survivors.u.survivors) == 0);
    cohort_run(&c);
    cohort_check_sum(&c, 0x7); /* counted once */
    struct message m = cohort_message(&c, MSG_AWAIT);
    m.u.await.stage = STAGE_REVEAL;
    cohort_send(&c, 0, 0, &m);
    check(c.d[0].reply.type == MSG_OVER);
    check(c.n_commits == 1);
    cohort_end(&c);
}

static void check_error(struct cohort *c, unsigned i, const struct message *m,
                        unsigned code)
{
    cohort_send(c, i, i, m);
    check(c->d[i].replied);
    check(c->d[i].reply.type == MSG_ERROR);
    check(c->d[i].reply.u.error.code == code);
    check(c->d[i].reply.u.error.text[0] != 0);
}

static void messages_out_of_order_are_refused(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    static const enum message_type early[] = {MSG_SHARES, MSG_INPUT,
                                              MSG_CONSISTENCY, MSG_REVEAL,
                                              MSG_CHUNK_PUT};
    for (size_t k = 0; k < sizeof early / sizeof early[0]; k++) {
        struct message m = cohort_message(&c, early[k]);
        check_error(&c, 0, &m, E_ROUND_ORDER);
    }
    for (uint8_t stage = 0; stage < 5; stage++) {
        struct message m = cohort_message(&c, MSG_AWAIT);
        m.u.await.stage = stage;
        check_error(&c, 0, &m, E_ROUND_ORDER);
    }
    /* INPUT without its chunks. */
    c.d[0].reply.type = MSG_TASK;
    c.d[0].reply.u.task = c.config.round.task;
    cohort_run_to(&c, 2);
    struct message m = cohort_message(&c, MSG_INPUT);
    m.u.input.n_chunks = 1;
    struct message kept = c.d[0].reply;
    cohort_send(&c, 0, 0, &m);
    check(c.d[0].reply.type == MSG_ERROR);
    c.d[0].reply = kept;
    cohort_run(&c);
    check(c.n_commits == 1);
    cohort_check_sum(&c, 0x7);
    cohort_end(&c);
}

static void garbage_from_one_device_spoils_nothing_for_others(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 3);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    struct message m = cohort_message(&c, MSG_ADVERT);
    struct message task = c.d[3].reply;
    rng_secure(&m.u.advert.advert, sizeof m.u.advert.advert);
    cohort_send(&c, 3, 3, &m); /* not even its own id */
    check(c.d[3].reply.type == MSG_ERROR);
    memcpy(m.u.advert.advert.id, c.d[3].keys.id, SECAGG_ID);
    memcpy(m.u.advert.advert.identity, c.d[3].keys.sign_public, SECAGG_KEY);
    cohort_send(&c, 3, 3, &m); /* a signature of noise */
    check(c.d[3].reply.type == MSG_ERROR);
    c.d[3].reply = task; /* then it behaves */
    cohort_run_to(&c, 1);
    m = cohort_message(&c, MSG_SHARES);
    struct message roster = c.d[3].reply;
    m.u.shares.n = 2; /* for the wrong number of members */
    m.u.shares.sealed = c.d[3].bytes;
    cohort_send(&c, 3, 3, &m);
    check(c.d[3].reply.type == MSG_ERROR);
    c.d[3].reply = roster;
    cohort_run_to(&c, 3);
    m = cohort_message(&c, MSG_CONSISTENCY);
    struct message survivors = c.d[3].reply;
    cohort_send(&c, 3, 3, &m); /* a signature of zeros */
    check(c.d[3].reply.type == MSG_ERROR);
    c.d[3].reply = survivors;
    cohort_run_to(&c, 4);
    m = cohort_message(&c, MSG_REVEAL);
    m.u.reveal.n = 1;
    m.u.reveal.shares[0].owner = 999;
    struct message signatures = c.d[3].reply;
    cohort_send(&c, 3, 3, &m);
    check(c.d[3].reply.type == MSG_ERROR || c.d[3].reply.type == MSG_OVER);
    c.d[3].reply = signatures;
    cohort_run(&c);
    check(c.n_commits == 1);
    cohort_check_sum(&c, 0xf);
    cohort_end(&c);
}

static void a_wrong_share_aborts_and_nothing_is_committed(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2); /* t = 2: two reveals are enough */
    cohort_open(&c);
    cohort_run_to(&c, 4);
    struct device *d = &c.d[0];
    struct message m = cohort_message(&c, MSG_REVEAL);
    unsigned n = 0;
    check_ok(secagg_client_reveal(d->client, d->reply.u.signatures.signers,
                                  d->reply.u.signatures.signatures,
                                  d->reply.u.signatures.n, m.u.reveal.shares,
                                  &n));
    m.u.reveal.n = (uint16_t)n;
    m.u.reveal.shares[1].scalar[3] ^= 4;
    d->drop = 5;
    cohort_send(&c, 0, 0, &m);
    cohort_run(&c);
    check(c.n_commits == 0);
    check(round_over(runner_round(c.runner))->code == E_ROUND_SUM_WRONG);
    cohort_end(&c);
}

/* What a member with a program of its own may put under its masks. */
enum tampering {
    ONE_MORE,     /* a coordinate is changed */
    OTHER_MODEL,  /* made for a round of another model */
    NAN_PATTERNS, /* every weight has the bits of a NaN */
    ALL_ONES
};

static void a_tampered_input_is_not_committed(enum tampering how)
{
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 2);
    struct device *d = &c.d[2];
    const struct msg_peer_shares *s = &d->reply.u.peer_shares;
    check_ok(secagg_client_receive(d->client, s->senders, s->sealed, s->n));
    size_t n = ring_coords(&c.config.layout);
    uint32_t y[64] = {0};
    struct digest t;
    check(n <= sizeof y / sizeof y[0]);
    secagg_client_transcript(d->client, &t);
    if (how == OTHER_MODEL) t.b[0] ^= 1;
    device_plain(&c, 2, &t, y);
    if (how == ONE_MORE) y[1] += 12345;
    for (size_t i = 0; i < COHORT_PARAMS; i++) {
        if (how == NAN_PATTERNS) y[i] = 0x7fc00000;
        if (how == ALL_ONES) y[i] = 0xffffffff;
    }
    check_ok(secagg_client_mask(d->client, y));
    d->n_packed = n * 4;
    d->packed = malloc(d->n_packed);
    check(d->packed != NULL);
    ring_pack(d->packed, y, n, 32);
    device_chunk(&c, 2, 99);
    struct message m;
    device_input_message(&c, 2, &m);
    cohort_send(&c, 2, 2, &m);
    d->stage = 4;
    cohort_run(&c);
    check(c.n_commits == 0);
    check(round_over(runner_round(c.runner))->code == E_ROUND_SUM_WRONG);
    cohort_end(&c);
}

static void a_wrong_input_fails_the_check_coordinates(void **unused)
{
    (void)unused;
    a_tampered_input_is_not_committed(ONE_MORE);
}

static void an_update_for_another_model_is_not_committed(void **unused)
{
    (void)unused;
    a_tampered_input_is_not_committed(OTHER_MODEL);
}

static void bits_that_would_be_nan_are_not_committed(void **unused)
{
    (void)unused;
    a_tampered_input_is_not_committed(NAN_PATTERNS);
    a_tampered_input_is_not_committed(ALL_ONES);
}

static void a_second_set_of_keys_is_told_that_the_identity_is_taken(
    void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    struct message task = c.d[0].reply;
    device_step(&c, 0);
    /* The copy of device 0 makes its own round keys. */
    struct secagg_client *mine = c.d[0].client;
    struct message kept = c.d[0].reply;
    c.d[0].reply = task;
    c.d[0].asked = 0;
    device_advert(&c, 0);
    check(c.d[0].replied && c.d[0].reply.type == MSG_ERROR);
    check(c.d[0].reply.u.error.code == E_SAME_IDENTITY);
    check(runner_n_same_identity(c.runner) == 1);
    secagg_client_free(c.d[0].client);
    c.d[0].client = mine; /* the first one goes on, undisturbed */
    c.d[0].reply = kept;
    struct message m = cohort_message(&c, MSG_AWAIT);
    m.u.await.stage = STAGE_ADVERT;
    cohort_send(&c, 0, 0, &m);
    cohort_run(&c);
    check(c.n_commits == 1);
    cohort_check_sum(&c, 0x7);
    cohort_end(&c);
}

static void the_same_after_the_roster_is_fixed(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 1);
    struct message m = cohort_message(&c, MSG_ADVERT);
    secagg_client_advert(c.d[0].client, &m.u.advert.advert);
    m.u.advert.advert.seal_key[0] ^= 1;
    check_error(&c, 0, &m, E_SAME_IDENTITY);
    cohort_end(&c);
}

static void a_device_that_polls_again_is_not_waited_for(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 2);
    cohort_open(&c);
    cohort_run_to(&c, 2);
    c.d[1].drop = 3;
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = MSG_POLL; /* restarted: its session secrets are gone */
    check(cohort_send(&c, 1, 55, &m) == 0);
    cohort_settle(&c);
    check(state_of(&c) == ROUND_COMMITTED);
    check(c.now_ms == 1000); /* no deadline had to pass */
    cohort_check_sum(&c, 0xd);
    cohort_end(&c);
}

static void a_device_that_declines_frees_the_round(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = MSG_POLL;
    memcpy(m.u.poll.last_session, c.config.round.task.session, 32);
    c.d[1].drop = 1;
    check(cohort_send(&c, 1, 55, &m) == 0);
    cohort_settle(&c);
    check(state_of(&c) == ROUND_COMMITTED);
    cohort_check_sum(&c, 0x5);
    cohort_end(&c);
}

static void too_many_declines_abort_at_once(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 2, 2);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = MSG_POLL;
    memcpy(m.u.poll.last_session, c.config.round.task.session, 32);
    cohort_send(&c, 0, 55, &m);
    cohort_send(&c, 1, 56, &m);
    check(state_of(&c) == ROUND_ABORTED);
    check(c.now_ms == 1000);
    assert_string_equal(
        round_over(runner_round(c.runner))->reason,
        "0 of 2 invited devices agreed to take part (2 declined); 2 are "
        "needed");
    cohort_end(&c);
}

static void nobody_gets_a_seat_once_the_round_is_full_or_closed(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 4, 2);
    c.config.round.invite_max = 3;
    cohort_open(&c);
    for (unsigned i = 0; i < 3; i++) device_poll(&c, i);
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = MSG_POLL;
    check(cohort_send(&c, 3, 55, &m) == 0);
    check(cohort_send(&c, 0, 0, &m) == 1); /* a repeat of the invitation */
    check(c.d[0].reply.type == MSG_TASK);
    for (unsigned i = 0; i < 3; i++) c.d[i].stage = 1;
    c.d[3].drop = 0;
    cohort_settle(&c);
    check(c.n_commits == 1);
    struct message ask = cohort_message(&c, MSG_AWAIT);
    cohort_send(&c, 3, 3, &ask); /* a stranger to this session */
    check(c.d[3].reply.type == MSG_ERROR);
    check(c.d[3].reply.u.error.code == E_ROUND_UNKNOWN);
    cohort_end(&c);
}

static void another_session_is_not_ours(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    cohort_run_to(&c, 0);
    struct message m = cohort_message(&c, MSG_AWAIT);
    m.u.await.session[0] ^= 1;
    check(cohort_send(&c, 0, 55, &m) == 0);
    cohort_end(&c);
}

static void a_failed_commit_aborts_and_says_why(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    c.commit_result = TACIT_IO;
    cohort_open(&c);
    cohort_settle(&c);
    check(state_of(&c) == ROUND_ABORTED);
    assert_string_equal(c.d[0].over.reason, "the test's disk is full");
    check(c.d[0].over.outcome == OUTCOME_ABORTED);
    cohort_end(&c);
}

/* Three of four have revealed, and the host has not decided yet. */
static void wait_for_others(struct cohort *c)
{
    cohort_begin(c, 4, 2);
    c->config.when = RUNNER_LATER;
    cohort_open(c);
    c->d[3].drop = 3;
    cohort_run_to(c, 2);
    for (int i = 0; i < 100 && state_of(c) != ROUND_FINISHING; i++) {
        cohort_settle(c);
        c->now_ms = runner_next_ms(c->runner);
        runner_tick(c->runner, c->now_ms);
    }
    cohort_settle(c);
    check(state_of(c) == ROUND_FINISHING && c->n_commits == 1);
}

static void a_sum_that_waits_for_others_holds_its_devices(void **unused)
{
    (void)unused;
    struct cohort c;
    wait_for_others(&c);
    unsigned before = c.d[0].n_wait;
    for (int i = 0; i < 50; i++) { /* far beyond every deadline */
        check(runner_next_ms(c.runner) > c.now_ms);
        c.now_ms = runner_next_ms(c.runner);
        runner_tick(c.runner, c.now_ms);
        cohort_settle(&c);
    }
    check(state_of(&c) == ROUND_FINISHING);
    check(c.d[0].n_wait == before + 50);
    /* Whoever is not in the sum need not wait. */
    struct message ask = cohort_message(&c, MSG_AWAIT);
    ask.u.await.stage = STAGE_INPUT;
    cohort_send(&c, 3, 3, &ask);
    check(c.d[3].reply.type == MSG_OVER);
    check(c.d[3].reply.u.over.code == E_ROUND_LATE);
    struct msg_over over = {.outcome = OUTCOME_COMMITTED, .model_version = 7};
    runner_finish(c.runner, c.now_ms, TACIT_OK, &over);
    cohort_settle(&c);
    check(state_of(&c) == ROUND_COMMITTED);
    for (int i = 0; i < 3; i++) {
        check(c.d[i].over.model_version == 7);
        check(memcmp(c.d[i].over.session, c.config.round.task.session, 32) ==
              0);
    }
    cohort_end(&c);
}

static void a_sum_whose_others_fail_is_aborted(void **unused)
{
    (void)unused;
    struct cohort c;
    wait_for_others(&c);
    runner_finish(c.runner, c.now_ms,
                  fail_as(E_ROUND_TOO_FEW, "one group of three"), NULL);
    err_clear();
    cohort_settle(&c);
    check(state_of(&c) == ROUND_ABORTED);
    check(c.d[0].over.code == E_ROUND_TOO_FEW);
    assert_string_equal(c.d[0].over.reason, "one group of three");
    cohort_end(&c);
}

static void an_abort_reaches_everybody_who_waits(void **unused)
{
    (void)unused;
    struct cohort c;
    cohort_begin(&c, 3, 2);
    cohort_open(&c);
    c.d[2].drop = 3;
    cohort_settle(&c);
    runner_abort(c.runner, c.now_ms, E_COORDINATOR_STOPPING, "stopping");
    cohort_settle(&c);
    check(c.d[0].over.code == E_COORDINATOR_STOPPING);
    check(c.d[1].over.code == E_COORDINATOR_STOPPING);
    check(runner_next_ms(c.runner) == INT64_MAX);
    /* Later requests hear the same. */
    struct message m = cohort_message(&c, MSG_AWAIT);
    cohort_send(&c, 2, 2, &m);
    check(c.d[2].reply.u.over.code == E_COORDINATOR_STOPPING);
    cohort_end(&c);
}

static void impossible_numbers_are_refused(void **unused)
{
    (void)unused;
    struct cohort c;
    struct runner *r = NULL;
    cohort_begin(&c, 3, 1);
    check_err(runner_new(&c.config, 0, &r), TACIT_LIMIT);
    c.config.round.task.u_min = 4;
    check_err(runner_new(&c.config, 0, &r), TACIT_LIMIT);
    c.config.round.task.u_min = 2;
    c.config.round.invite_max = 129;
    check_err(runner_new(&c.config, 0, &r), TACIT_LIMIT);
    c.config.round.invite_max = 3;
    c.config.round.task.n_coords++;
    check_err(runner_new(&c.config, 0, &r), TACIT_SHAPE);
    c.config.round.task.n_coords--;
    check(r == NULL);
    cohort_end(&c);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_devices_commit_the_exact_sum),
        cmocka_unit_test(
            every_pattern_of_drops_ends_in_the_right_sum_or_a_clean_abort),
        cmocka_unit_test(a_request_is_held_at_most_ten_seconds),
        cmocka_unit_test(a_stage_ends_at_its_deadline_and_says_why),
        cmocka_unit_test(too_few_adverts_abort_after_the_stage_deadline),
        cmocka_unit_test(over_selection_closes_at_the_goal_and_tells_the_late),
        cmocka_unit_test(a_late_message_gets_over_and_changes_nothing),
        cmocka_unit_test(repeats_get_the_same_answer),
        cmocka_unit_test(messages_out_of_order_are_refused),
        cmocka_unit_test(garbage_from_one_device_spoils_nothing_for_others),
        cmocka_unit_test(a_wrong_share_aborts_and_nothing_is_committed),
        cmocka_unit_test(a_wrong_input_fails_the_check_coordinates),
        cmocka_unit_test(an_update_for_another_model_is_not_committed),
        cmocka_unit_test(bits_that_would_be_nan_are_not_committed),
        cmocka_unit_test(
            a_second_set_of_keys_is_told_that_the_identity_is_taken),
        cmocka_unit_test(the_same_after_the_roster_is_fixed),
        cmocka_unit_test(a_device_that_polls_again_is_not_waited_for),
        cmocka_unit_test(a_device_that_declines_frees_the_round),
        cmocka_unit_test(too_many_declines_abort_at_once),
        cmocka_unit_test(nobody_gets_a_seat_once_the_round_is_full_or_closed),
        cmocka_unit_test(another_session_is_not_ours),
        cmocka_unit_test(a_failed_commit_aborts_and_says_why),
        cmocka_unit_test(a_sum_that_waits_for_others_holds_its_devices),
        cmocka_unit_test(a_sum_whose_others_fail_is_aborted),
        cmocka_unit_test(an_abort_reaches_everybody_who_waits),
        cmocka_unit_test(impossible_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
