/* participate against a hostile coordinator: the real one runs the round, and
 * one of its replies to member 0 is changed. Whatever it is, federation.h
 * checks every action of the member; each test adds the code that it must give,
 * and that the next honest round works. */
#include "tests/client/federation.h"

#include <math.h>
#include <stdio.h>

#include "client/roster.h"
#include "common/model/safetensors.h"

static struct federation f;
/* Where a changed reply keeps what it points to. */
static uint8_t scratch[SECAGG_CLIENTS_MAX * SECAGG_SEALED];
static struct keys stranger;
static int which; /* a test's own counter, for its attack() */

static int setup(void **state)
{
    (void)state;
    federation_begin_with(&f, plan_text);
    check_ok(keys_new(&stranger));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    federation_end(&f);
    keys_release(&stranger);
    return 0;
}

typedef void attack_fn(struct federation *, struct message *);

static void honest_round_works(void)
{
    f.attack = NULL;
    f.scramble = NULL;
    federation_round(&f);
    const struct member *m = &f.m[0];
    check(m->news == PARTICIPATE_COMMITTED && m->n_adopts == 1);
    check(m->known.version == f.version.version);
    check(f.version.n_clients == MEMBERS);
}

/* One attacked round gives `news` with code `id`, at no more than `debits` and
 * `reveals`; then an honest one works. */
static void expect(enum message_type on, attack_fn *attack,
                   enum participate_news news, unsigned id, unsigned debits,
                   unsigned reveals)
{
    const struct member *m = &f.m[0];
    uint32_t known = m->known.version;
    f.attack_on = on;
    f.attack = attack;
    federation_round(&f);
    if (m->news != news || m->why_id != id)
        fail_msg("news %d, code %u (%s); expected %d, %u", (int)m->news,
                 m->why_id, m->why, (int)news, id);
    check(m->n_debits == debits && m->n_reveals == reveals);
    if (debits == 0) check(m->n_uploads == 0);
    check(m->n_adopts == 0 && m->known.version == known);
    if (news != PARTICIPATE_LOST) check(m->pause_ms >= PARTICIPATE_BACKOFF_MS);
    honest_round_works();
}

static void expect_declined(attack_fn *attack, unsigned id)
{
    expect(MSG_TASK, attack, PARTICIPATE_DECLINED, id, 0, 0);
    check(f.m[0].known.version == f.version.version);
}

/* ---- the task ----------------------------------------------------------- */

static void change_task(struct federation *w, struct message *reply)
{
    struct msg_task *t = &reply->u.task;
    (void)w;
    switch (which) {
    case 0: t->round = 0; break;
    case 1: t->round += 1; break;
    case 2: t->round = t->n_rounds + 1; break;
    case 3: t->n_rounds += 1; break;
    case 4: t->model_version += 1; break;
    case 5: t->ring_bits = 24; break;
    case 6: t->n_coords -= 1; break;
    case 7: t->n_coords = WIRE_PARAMS_MAX; break;
    case 8: t->model_bytes = WIRE_BLOB_MAX; break;
    case 9: t->u_min = 4; break; /* not what the plan says, either */
    default: check(0);
    }
}

static void a_task_that_differs_from_its_plan_is_declined(void **unused)
{
    (void)unused;
    for (which = 0; which < 10; which++)
        expect_declined(change_task, E_TASK_REFUSED);
}

static void fewer_devices(struct federation *w, struct message *reply)
{
    (void)w;
    reply->u.task.u_min = 2;
}

static void a_smaller_sum_than_the_plan_promises_is_declined(void **unused)
{
    (void)unused;
    /* Whatever the site itself would allow. */
    f.m[0].policy.min_cohort = 2;
    expect_declined(fewer_devices, E_TASK_REFUSED);
    f.m[0].policy.min_cohort = 3;
    expect_declined(fewer_devices, E_TASK_REFUSED);
}

static char other_text[sizeof plan_text + 64];

static void other_plan(struct federation *w, struct message *reply)
{
    reply->u.task.plan_hash =
        federation_blob(w, other_text, strlen(other_text));
}

static void replace(const char *what, const char *with)
{
    const char *at = strstr(plan_text, what);
    check(at != NULL);
    snprintf(other_text, sizeof other_text, "%.*s%s%s", (int)(at - plan_text),
             plan_text, with, at + strlen(what));
}

static void another_plan_under_the_same_name_is_judged_by_itself(void **unused)
{
    (void)unused;
    replace("clip: 2\n", "clip: 11\n"); /* above the policy's clip_max */
    expect_declined(other_plan, E_POLICY_REFUSED);
    replace("source: patients", "source: payroll");
    expect_declined(other_plan, E_POLICY_REFUSED);
    replace("rounds: 40", "rounds: 41");
    expect_declined(other_plan, E_TASK_REFUSED);
    replace("{name: c}", "{name: c}, {name: d}");
    expect_declined(other_plan, E_TASK_REFUSED);
    replace("clip: 2\n", "clip: -1\n");
    expect_declined(other_plan, E_PLAN_VALUE);
    replace("clip: 2\n", "clip: nan\n");
    expect_declined(other_plan, E_YAML_VALUE);
    replace("seed: 7\n", "sead: 7\n");
    expect_declined(other_plan, E_YAML_KEY);
    snprintf(other_text, sizeof other_text, "%s", "\xff\xfe{[");
    expect_declined(other_plan, E_YAML_SYNTAX);
}

static void unknown_blob(struct federation *w, struct message *reply)
{
    struct msg_task *t = &reply->u.task;
    struct digest *h[] = {&t->plan_hash, &t->roster_hash, &t->model_hash};
    (void)w;
    h[which]->b[5] ^= 1;
}

/* A device that knows no version of the plan yet, as every new one. */
static void forget_known(void)
{
    f.m[0].known = (struct participate_known){0};
}

static void a_blob_that_never_comes_ends_the_round(void **unused)
{
    (void)unused;
    for (which = 0; which < 3; which++) {
        forget_known();
        expect(MSG_TASK, unknown_blob, PARTICIPATE_BROKEN, E_DEFAULT_NOTFOUND,
               0, 0);
    }
}

/* ---- models ------------------------------------------------------------- */

/* A model file of the spec with one weight set, as a blob. */
static struct digest model_blob(struct federation *w, size_t n_inputs,
                                float weight)
{
    struct model_spec spec = {.kind = "logistic", .n_inputs = n_inputs};
    struct model *m = NULL;
    struct buf b;
    buf_init(&b, 0);
    check_ok(model_new(&spec, &m));
    model_params(m)->flat[1] = weight;
    check_ok(safetensors_encode(model_params(m), NULL, &b));
    check_ok(buf_end(&b));
    struct digest hash = federation_blob(w, b.data, b.len);
    buf_release(&b);
    model_free(m);
    return hash;
}

static struct digest bad_model(struct federation *w)
{
    switch (which) {
    case 0: return model_blob(w, 3, NAN);
    case 1: return model_blob(w, 3, INFINITY);
    case 2: return model_blob(w, 4, 1);
    case 3: return federation_blob(w, "", 0);
    default: return federation_blob(w, plan_text, sizeof plan_text);
    }
}

static const unsigned bad_model_codes[] = {E_DEFAULT_FORMAT, E_DEFAULT_FORMAT,
                                           E_DEFAULT_SHAPE, E_DEFAULT_FORMAT,
                                           E_DEFAULT_FORMAT};

static void start_from_bad_model(struct federation *w, struct message *reply)
{
    reply->u.task.model_hash = bad_model(w);
}

static void a_first_model_that_is_damaged_is_declined(void **unused)
{
    (void)unused;
    for (which = 0; which < 5; which++) {
        forget_known();
        expect_declined(start_from_bad_model, bad_model_codes[which]);
    }
}

static void too_large_model(struct federation *w, struct message *reply)
{
    static uint8_t zeros[SAFETENSORS_HEADER_MAX + 100];
    reply->u.task.model_hash = federation_blob(w, zeros, sizeof zeros);
}

static void a_model_larger_than_its_plan_needs_is_not_fetched(void **unused)
{
    (void)unused;
    expect(MSG_TASK, too_large_model, PARTICIPATE_BROKEN, E_DEFAULT_LIMIT, 0,
           0);
}

static void an_older_model_than_the_adopted_one_is_refused(void **unused)
{
    (void)unused;
    honest_round_works();
    struct participate_known adopted = f.m[0].known;
    f.m[0].known.version = 2; /* adopted before; the round starts from 1 */
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_DECLINED);
    check(f.m[0].why_id == E_MODEL_REFUSED && f.m[0].n_debits == 0);
    f.m[0].known = adopted;
    honest_round_works();
}

static void another_model_of_the_adopted_version_is_refused(void **unused)
{
    (void)unused;
    honest_round_works();
    struct participate_known adopted = f.m[0].known;
    f.m[0].known.model_hash.b[0] ^= 1;
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_DECLINED);
    check(f.m[0].why_id == E_MODEL_REFUSED && f.m[0].n_debits == 0);
    f.m[0].known = adopted;
    honest_round_works();
}

/* ---- the signed roster -------------------------------------------------- */

static void sign_roster(const struct keys *k, struct msg_task *t)
{
    keys_sign(k, "tacit roster v1", t->roster_hash.b, DIGEST_BYTES,
              t->roster_signature);
}

/* Rows in `scratch`, signed by the coordinator. */
static void give_roster(struct federation *w, struct msg_task *t, size_t n)
{
    t->roster_hash = federation_blob(w, scratch, n);
    sign_roster(&w->coordinator, t);
}

static void change_roster(struct federation *w, struct message *reply)
{
    struct msg_task *t = &reply->u.task;
    size_t n = w->roster.len;
    memcpy(scratch, w->roster.data, n);
    switch (which) {
    case 0: t->roster_signature[7] ^= 1; return;
    case 1: sign_roster(&stranger, t); return;
    case 2: /* signed for another purpose */
        keys_sign(&w->coordinator, "tacit model v1", t->roster_hash.b,
                  DIGEST_BYTES, t->roster_signature);
        return;
    case 3: /* without member 0, the first row */
        memmove(scratch, scratch + ROW, n - ROW);
        give_roster(w, t, n - ROW);
        return;
    case 4: /* member 0 twice */
        memmove(scratch + ROW, scratch, n);
        give_roster(w, t, n + ROW);
        return;
    case 5: /* another key for member 0 */
        memcpy(scratch + KEYS_ID, stranger.sign_public, KEYS_PUBLIC);
        give_roster(w, t, n);
        return;
    case 6: /* two rows out of order */
        memcpy(scratch + ROW, w->roster.data + (size_t)2 * ROW, ROW);
        memcpy(scratch + (size_t)2 * ROW, w->roster.data + ROW, ROW);
        give_roster(w, t, n);
        return;
    case 7: give_roster(w, t, n - 1); return;
    case 8: give_roster(w, t, 0); return;
    default: check(0);
    }
}

static void a_roster_that_is_not_sound_is_declined(void **unused)
{
    (void)unused;
    const unsigned code[] = {E_BAD_SIGNATURE, E_BAD_SIGNATURE, E_BAD_SIGNATURE,
                             E_SECAGG_ROSTER, E_SECAGG_ROSTER, E_SECAGG_ROSTER,
                             E_SECAGG_ROSTER, E_TASK_REFUSED,  E_TASK_REFUSED};
    for (which = 0; which < 9; which++) {
        /* A roster that was checked before is not asked for again. */
        federation_end(&f);
        federation_begin_with(&f, plan_text);
        expect_declined(change_roster, code[which]);
    }
}

static void huge_roster(struct federation *w, struct message *reply)
{
    static uint8_t rows[ROSTER_BYTES_MAX + ROW];
    reply->u.task.roster_hash = federation_blob(w, rows, sizeof rows);
    sign_roster(&w->coordinator, &reply->u.task);
}

static void a_roster_without_end_is_not_fetched(void **unused)
{
    (void)unused;
    expect(MSG_TASK, huge_roster, PARTICIPATE_BROKEN, E_DEFAULT_LIMIT, 0, 0);
}

/* ---- the round's members ------------------------------------------------ */

static void change_members(struct federation *w, struct message *reply)
{
    struct msg_roster *r = &reply->u.roster;
    struct secagg_advert *a = r->list;
    check(r->n == MEMBERS);
    switch (which) {
    case 0: a[2].signature[0] ^= 1; return;
    case 1: a[2].seal_key[0] ^= 1; return;
    case 2: a[3].mask_key[0] ^= 1; return;
    case 3: /* member 0 left out */
        memmove(a, a + 1, 3 * sizeof *a);
        r->n = 3;
        return;
    case 4: /* member 0 twice */ a[1] = a[0]; return;
    case 5: /* other keys of member 0 */ a[0].mask_key[0] ^= 1; return;
    case 6: /* fewer than the minimum */ r->n = 2; return;
    case 7: r->n = 0; return;
    case 8: /* out of order */
        a[3] = a[1];
        a[1] = w->m[3].in.u.roster.list[3];
        return;
    case 9: /* a key that no roster names */
        memcpy(a[3].id, stranger.id, sizeof a[3].id);
        memcpy(a[3].identity, stranger.sign_public, KEYS_PUBLIC);
        return;
    case 10: /* a member's name with a key of the coordinator's own */
        memcpy(a[3].identity, stranger.sign_public, KEYS_PUBLIC);
        return;
    default: check(0);
    }
}

static void members_that_are_not_sound_end_the_round_before_any_secret(
    void **unused)
{
    (void)unused;
    const unsigned code[] = {E_BAD_SIGNATURE,  E_BAD_SIGNATURE,
                             E_BAD_SIGNATURE,  E_SECAGG_ROSTER,
                             E_SECAGG_ROSTER,  E_SECAGG_ROSTER,
                             E_SECAGG_TOO_FEW, E_SECAGG_TOO_FEW,
                             E_SECAGG_ROSTER,  E_SECAGG_ROSTER,
                             E_SECAGG_ROSTER};
    for (which = 0; which < 11; which++) {
        expect(MSG_ROSTER, change_members, PARTICIPATE_BROKEN, code[which], 0,
               0);
    }
}

static struct secagg_advert earlier[MEMBERS];

static void note_adverts(struct federation *w, struct message *reply)
{
    (void)w;
    memcpy(earlier, reply->u.roster.list, sizeof earlier);
}

static void replay_adverts(struct federation *w, struct message *reply)
{
    (void)w;
    for (int i = 0; i < MEMBERS; i++)
        if (which >> i & 1) reply->u.roster.list[i] = earlier[i];
}

static void adverts_of_an_earlier_round_are_refused(void **unused)
{
    (void)unused;
    f.attack_on = MSG_ROSTER;
    f.attack = note_adverts;
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_COMMITTED);
    for (which = 1; which < 1 << MEMBERS; which++)
        expect(MSG_ROSTER, replay_adverts, PARTICIPATE_BROKEN,
               which & 1 ? E_SECAGG_ROSTER : E_BAD_SIGNATURE, 0, 0);
}

static void many_members(struct federation *w, struct buf *bytes)
{
    (void)w;
    /* version, type, session, then n: one more than there may be */
    size_t at = 2 + 32;
    check(bytes->len > at + 2);
    bytes->data[at] = SECAGG_CLIENTS_MAX + 1;
}

static void more_members_than_a_round_may_have_are_refused(void **unused)
{
    (void)unused;
    f.scramble = many_members;
    f.scramble_at = 1; /* after TASK comes ROSTER */
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_BROKEN);
    check(f.m[0].why_id == E_DEFAULT_PROTO && f.m[0].n_debits == 0);
    honest_round_works();
}

static void change_shares(struct federation *w, struct message *reply)
{
    struct msg_peer_shares *s = &reply->u.peer_shares;
    (void)w;
    check(s->n == MEMBERS - 1);
    switch (which) {
    case 0: s->n = 1; return; /* below the threshold */
    case 1: s->n = 0; return;
    case 2: s->senders[1] = s->senders[0]; return; /* one twice */
    case 3: s->senders[1] = 0; return;             /* this device itself */
    case 4: s->senders[1] = MEMBERS; return;       /* nobody */
    default: check(0);
    }
}

static void shares_of_too_few_or_of_nobody_end_the_round(void **unused)
{
    (void)unused;
    const unsigned code[] = {E_SECAGG_TOO_FEW, E_SECAGG_TOO_FEW,
                             E_SECAGG_ROSTER, E_SECAGG_ROSTER, E_SECAGG_ROSTER};
    for (which = 0; which < 5; which++)
        expect(MSG_PEER_SHARES, change_shares, PARTICIPATE_BROKEN, code[which],
               0, 0);
}

static void spoil_a_share(struct federation *w, struct message *reply)
{
    struct msg_peer_shares *s = &reply->u.peer_shares;
    (void)w;
    memcpy(scratch, s->sealed, (size_t)s->n * SECAGG_SEALED);
    scratch[SECAGG_SEALED / 2] ^= 1;
    s->sealed = scratch;
}

static void a_share_that_does_not_open_only_lowers_what_can_be_revealed(
    void **unused)
{
    (void)unused;
    f.attack_on = MSG_PEER_SHARES;
    f.attack = spoil_a_share;
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_COMMITTED && f.m[0].n_reveals == 1);
    honest_round_works();
}

/* ---- survivors and reveal ----------------------------------------------- */

static void change_survivors(struct federation *w, struct message *reply)
{
    struct secagg_set *u3 = &reply->u.survivors.u3;
    (void)w;
    switch (which) {
    case 0: u3->bits[0] = 0xe; return;  /* without this device */
    case 1: u3->bits[0] = 0x3; return;  /* fewer than the minimum */
    case 2: u3->bits[0] = 0x1f; return; /* one that is no member */
    case 3: u3->bits[1] = 1; return;
    case 4: u3->bits[0] = 0; return;
    default: check(0);
    }
}

static void survivors_that_are_not_sound_are_not_signed(void **unused)
{
    (void)unused;
    const unsigned code[] = {E_SECAGG_SURVIVORS, E_SECAGG_TOO_FEW,
                             E_SECAGG_SURVIVORS, E_SECAGG_SURVIVORS,
                             E_SECAGG_SURVIVORS};
    for (which = 0; which < 5; which++)
        expect(MSG_SURVIVORS, change_survivors, PARTICIPATE_BROKEN, code[which],
               1, 0);
}

static void other_survivors(struct federation *w, struct message *reply)
{
    (void)w;
    reply->u.survivors.u3.bits[0] = 0x7; /* plausible, but only member 0's */
}

static void a_survivor_list_of_its_own_gets_no_reveal(void **unused)
{
    (void)unused;
    /* The honest half of the coordinator refuses what was signed. */
    expect(MSG_SURVIVORS, other_survivors, PARTICIPATE_BROKEN, E_BAD_SIGNATURE,
           1, 0);
}

static void change_signatures(struct federation *w, struct message *reply)
{
    struct msg_signatures *s = &reply->u.signatures;
    (void)w;
    check(s->n == MEMBERS);
    switch (which) {
    case 0: /* one does not fit */
        memcpy(scratch, s->signatures, (size_t)s->n * SECAGG_SIGNATURE);
        scratch[SECAGG_SIGNATURE + 3] ^= 1;
        s->signatures = scratch;
        return;
    case 1: s->n = 2; return; /* below the threshold of 3 */
    case 2: s->n = 0; return;
    case 3: s->signers[1] = s->signers[0]; return;
    case 4: s->signers[1] = MEMBERS; return;
    default: check(0);
    }
}

static void nothing_is_revealed_below_the_threshold_of_signatures(void **unused)
{
    (void)unused;
    for (which = 0; which < 5; which++)
        expect(MSG_SIGNATURES, change_signatures, PARTICIPATE_BROKEN,
               E_SECAGG_SIGNATURES, 1, 0);
}

static struct message again;

static void keep(struct federation *w, struct message *reply)
{
    (void)w;
    again = *reply;
    memcpy(scratch, reply->u.signatures.signatures,
           (size_t)reply->u.signatures.n * SECAGG_SIGNATURE);
    again.u.signatures.signatures = scratch;
    w->attack_on = MSG_OVER;
}

static void ask_again(struct federation *w, struct message *reply)
{
    if (reply->type != MSG_OVER) {
        keep(w, reply);
        return;
    }
    *reply = again;
}

static void a_second_request_to_reveal_gets_nothing(void **unused)
{
    (void)unused;
    expect(MSG_SIGNATURES, ask_again, PARTICIPATE_BROKEN, E_DEFAULT_PROTO, 1,
           1);
}

static void survivors_again(struct federation *w, struct message *reply)
{
    if (reply->type == MSG_SURVIVORS) {
        again = *reply;
        w->attack_on = MSG_SIGNATURES;
        return;
    }
    again.u.survivors.u3.bits[0] = 0x7; /* and a shorter list */
    *reply = again;
}

static void a_second_survivor_list_gets_no_second_signature(void **unused)
{
    (void)unused;
    expect(MSG_SURVIVORS, survivors_again, PARTICIPATE_BROKEN, E_DEFAULT_PROTO,
           1, 0);
}

/* ---- sessions ----------------------------------------------------------- */

static uint8_t used[32];

static void same_session(struct federation *w, struct message *reply)
{
    (void)w;
    memcpy(reply->u.task.session, used, sizeof used);
}

static void no_second_update_leaves_in_one_session(void **unused)
{
    (void)unused;
    honest_round_works();
    check(f.m[0].n_debited == 1);
    memcpy(used, f.m[0].debited[0], sizeof used);
    expect_declined(same_session, E_TASK_REFUSED);
    check(f.m[0].n_debited == 2); /* the honest round's */
}

/* After a failed upload, too. */
static void a_session_that_broke_after_its_debit_is_not_taken_up(void **unused)
{
    (void)unused;
    which = 0;
    f.attack_on = MSG_CHUNK_OK;
    f.attack = same_session; /* spoils the answer's session: it breaks */
    memset(used, 1, sizeof used);
    federation_round(&f);
    check(f.m[0].news == PARTICIPATE_BROKEN && f.m[0].n_debits == 1);
    memcpy(used, f.m[0].debited[0], sizeof used);
    expect_declined(same_session, E_TASK_REFUSED);
}

/* ---- the result --------------------------------------------------------- */

static void sign_over(const struct keys *k, struct msg_over *o)
{
    uint8_t statement[MSG_STATEMENT_BYTES];
    msg_over_statement(o, statement);
    keys_sign(k, "tacit model v1", statement, sizeof statement, o->signature);
}

static void change_over(struct federation *w, struct message *reply)
{
    struct msg_over *o = &reply->u.over;
    check(o->outcome == OUTCOME_COMMITTED);
    switch (which) {
    case 0: o->signature[0] ^= 1; return;
    case 1: sign_over(&stranger, o); return;
    case 2: o->model_hash.b[0] ^= 1; return; /* not what was signed */
    case 3: o->n_clients = 128; return;
    case 4: o->plan_hash.b[0] ^= 1; break;
    case 5: o->parent_hash.b[0] ^= 1; break;
    case 6: o->round++; break;
    case 7: o->model_version++; break;
    case 8: o->model_version--; break;
    case 9: o->n_clients = 2; break;
    case 10: o->model_bytes = 0; break;
    case 11: o->model_bytes = WIRE_BLOB_MAX; break;
    default: check(0);
    }
    sign_over(&w->coordinator, o);
}

static void a_result_without_a_fitting_statement_is_not_adopted(void **unused)
{
    (void)unused;
    for (which = 0; which < 12; which++) {
        expect(MSG_OVER, change_over, PARTICIPATE_BROKEN, E_MODEL_REFUSED, 1,
               1);
    }
}

static void bad_result(struct federation *w, struct message *reply)
{
    reply->u.over.model_hash = bad_model(w);
    sign_over(&w->coordinator, &reply->u.over);
}

static void a_signed_result_that_is_no_model_is_not_adopted(void **unused)
{
    (void)unused;
    for (which = 0; which < 5; which++) {
        forget_known();
        expect(MSG_OVER, bad_result, PARTICIPATE_BROKEN, bad_model_codes[which],
               1, 1);
    }
}

static void an_end_before_its_time(struct federation *w, struct message *reply)
{
    struct msg_over o = {.outcome = OUTCOME_ABORTED, .code = (uint16_t)which};
    memcpy(o.session, round_task(runner_round(w->runner))->session, 32);
    snprintf(o.reason, sizeof o.reason, "no reason");
    reply->type = MSG_OVER;
    reply->u.over = o;
}

static void an_early_end_is_a_lost_round_with_its_code(void **unused)
{
    (void)unused;
    const enum message_type at[] = {MSG_ROSTER, MSG_PEER_SHARES, MSG_CHUNK_OK,
                                    MSG_SURVIVORS, MSG_SIGNATURES};
    for (int i = 0; i < 5; i++) {
        which = E_ROUND_LATE;
        expect(at[i], an_end_before_its_time, PARTICIPATE_LOST, E_ROUND_LATE,
               i >= 2, 0);
    }
}

/* ---- order, garbage, waiting -------------------------------------------- */

static const enum message_type replies[] = {MSG_ENROLLED,    MSG_IDLE,
                                            MSG_TASK,        MSG_BLOB,
                                            MSG_ROSTER,      MSG_PEER_SHARES,
                                            MSG_CHUNK_OK,    MSG_SURVIVORS,
                                            MSG_SIGNATURES,  MSG_WAIT,
                                            MSG_CHUNKS_HELD, MSG_LEFT};
enum { REPLIES = sizeof replies / sizeof replies[0] };

static enum message_type instead;

static void another_type(struct federation *w, struct message *reply)
{
    memset(reply, 0, sizeof *reply);
    reply->type = instead;
    /* Of this session, where a message has one: only its type is wrong. */
    if (instead != MSG_TASK && instead != MSG_IDLE)
        memcpy(&reply->u, round_task(runner_round(w->runner))->session, 32);
}

static void every_message_out_of_order_ends_the_round(void **unused)
{
    (void)unused;
    const enum message_type at[] = {MSG_TASK,        MSG_ROSTER,
                                    MSG_PEER_SHARES, MSG_CHUNK_OK,
                                    MSG_SURVIVORS,   MSG_SIGNATURES};
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < REPLIES; k++) {
            int is_wait = replies[k] == MSG_WAIT && i != 0 && i != 3;
            if (replies[k] == at[i] || is_wait) continue;
            if (i == 0 && replies[k] == MSG_IDLE) continue;
            if (f.m[0].n_debited > DEBITS_MAX - 3 || f.version.version > 30) {
                federation_end(&f);
                federation_begin_with(&f, plan_text);
            }
            instead = replies[k];
            expect(at[i], another_type, PARTICIPATE_BROKEN, E_DEFAULT_PROTO,
                   i >= 3, 0);
        }
    }
}

static void another_session(struct federation *w, struct message *reply)
{
    uint8_t session[32];
    (void)w;
    memcpy(session, &reply->u, sizeof session);
    session[31] ^= 1;
    memcpy(&reply->u, session, sizeof session);
}

static void a_message_of_another_session_ends_the_round(void **unused)
{
    (void)unused;
    const enum message_type at[] = {MSG_ROSTER,     MSG_PEER_SHARES,
                                    MSG_CHUNK_OK,   MSG_SURVIVORS,
                                    MSG_SIGNATURES, MSG_OVER};
    for (int i = 0; i < 6; i++)
        expect(at[i], another_session, PARTICIPATE_BROKEN, E_DEFAULT_PROTO,
               i >= 2, i == 5);
}

static void other_chunk(struct federation *w, struct message *reply)
{
    (void)w;
    reply->u.chunk_ok.index++;
}

static void a_receipt_for_another_chunk_ends_the_upload(void **unused)
{
    (void)unused;
    expect(MSG_CHUNK_OK, other_chunk, PARTICIPATE_BROKEN, E_DEFAULT_PROTO, 1,
           0);
}

static void put_garbage(struct federation *w, struct buf *bytes)
{
    struct rng r;
    (void)w;
    rng_init(&r, (uint64_t)which, 1, 2);
    switch (which % 4) {
    case 0: /* one bit */
        bytes->data[rng_below(&r, bytes->len)] ^=
            (uint8_t)(1U << rng_below(&r, 8));
        return;
    case 1: bytes->len = rng_below(&r, bytes->len); return;
    case 2: /* all but version and type */
        for (size_t i = 2; i < bytes->len; i++)
            bytes->data[i] = (uint8_t)rng_below(&r, 256);
        return;
    default:
        for (size_t i = 0; i < bytes->len; i++)
            bytes->data[i] = (uint8_t)rng_below(&r, 256);
    }
}

static void garbage_in_any_reply_leaves_the_device_whole(void **unused)
{
    (void)unused;
    for (which = 0; which < 280; which++) {
        if (f.m[0].n_debited > DEBITS_MAX - 3 || f.version.version > 30) {
            federation_end(&f);
            federation_begin_with(&f, plan_text);
        }
        f.scramble = put_garbage;
        f.scramble_at = which / 4 % 7;
        federation_round(&f);
        check(f.m[0].resting);
        if (f.m[0].news == PARTICIPATE_COMMITTED) continue;
        check(f.m[0].why_id != 0 || f.m[0].news == PARTICIPATE_QUIET ||
              f.m[0].end == PARTICIPATE_STOP);
        honest_round_works();
    }
}

static void wait_for_ever(struct federation *w, struct message *reply)
{
    uint8_t session[32];
    memcpy(session, round_task(runner_round(w->runner))->session, 32);
    memset(reply, 0, sizeof *reply);
    reply->type = MSG_WAIT;
    memcpy(reply->u.wait.session, session, 32);
}

static void no_stage_waits_for_ever(void **unused)
{
    (void)unused;
    const enum message_type at[] = {MSG_ROSTER, MSG_PEER_SHARES, MSG_SURVIVORS,
                                    MSG_OVER};
    /* train: 60s is six requests held; then some more. */
    const unsigned most = 6 + PARTICIPATE_WAITS_EXTRA + 1;
    for (int i = 0; i < 4; i++) {
        expect(at[i], wait_for_ever, PARTICIPATE_BROKEN, E_DEFAULT_TIMEOUT,
               i >= 2, i == 3);
        check(f.m[0].n_waits == 0);
    }
    f.attack_on = MSG_ROSTER;
    f.attack = wait_for_ever;
    federation_round(&f);
    check(f.m[0].n_waits > 6 && f.m[0].n_waits <= most);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_task_that_differs_from_its_plan_is_declined),
        T(a_smaller_sum_than_the_plan_promises_is_declined),
        T(another_plan_under_the_same_name_is_judged_by_itself),
        T(a_blob_that_never_comes_ends_the_round),
        T(a_first_model_that_is_damaged_is_declined),
        T(a_model_larger_than_its_plan_needs_is_not_fetched),
        T(an_older_model_than_the_adopted_one_is_refused),
        T(another_model_of_the_adopted_version_is_refused),
        T(a_roster_that_is_not_sound_is_declined),
        T(a_roster_without_end_is_not_fetched),
        T(members_that_are_not_sound_end_the_round_before_any_secret),
        T(adverts_of_an_earlier_round_are_refused),
        T(more_members_than_a_round_may_have_are_refused),
        T(shares_of_too_few_or_of_nobody_end_the_round),
        T(a_share_that_does_not_open_only_lowers_what_can_be_revealed),
        T(survivors_that_are_not_sound_are_not_signed),
        T(a_survivor_list_of_its_own_gets_no_reveal),
        T(nothing_is_revealed_below_the_threshold_of_signatures),
        T(a_second_request_to_reveal_gets_nothing),
        T(a_second_survivor_list_gets_no_second_signature),
        T(no_second_update_leaves_in_one_session),
        T(a_session_that_broke_after_its_debit_is_not_taken_up),
        T(a_result_without_a_fitting_statement_is_not_adopted),
        T(a_signed_result_that_is_no_model_is_not_adopted),
        T(an_early_end_is_a_lost_round_with_its_code),
        T(every_message_out_of_order_ends_the_round),
        T(a_message_of_another_session_ends_the_round),
        T(a_receipt_for_another_chunk_ends_the_upload),
        T(garbage_in_any_reply_leaves_the_device_whole),
        T(no_stage_waits_for_ever),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
