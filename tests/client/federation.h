/*
 * federation: members that take part (client/participate) in rounds of the real
 * coordinator (coordinator/runner), in memory, under a clock that jumps. Used
 * by the tests of this folder.
 *
 *   participate --action--> carried out here --event--> participate
 *                     |                         ^
 *                     v                         | attack(): member 0 only
 *                  runner ---- encoded reply ---+
 *
 * Whatever a test does to member 0, observe() checks each of its actions: no
 * key before the policy said yes, no byte of an update before its debit, one
 * debit and one reveal in a session, bounded pauses, a reason with a code.
 */
#ifndef TACIT_TESTS_CLIENT_FEDERATION_H
#define TACIT_TESTS_CLIENT_FEDERATION_H

#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "client/participate.h"
#include "client/update.h"
#include "common/base/codes.h"
#include "common/base/rng.h"
#include "coordinator/aggregate.h"
#include "coordinator/models.h"
#include "coordinator/runner.h"

enum {
    MEMBERS = 4,
    BLOBS_MAX = 12,
    DEBITS_MAX = 40,
    ROW = KEYS_ID + KEYS_PUBLIC,
    NEVER = -1
};

static const char plan_text[] =
    "name: heart\n"
    "task: classify\n"
    "model: {kind: logistic}\n"
    "data:\n"
    "  source: patients\n"
    "  label: sick\n"
    "  columns: [{name: a}, {name: b}, {name: c}]\n"
    "  standardise: none\n"
    "rounds: 40\n"
    "cohort: {size: 4, min_reports: 3, over_select: 1}\n"
    "clip: 2\n"
    "deadline: {stage: 30s, train: 60s}\n"
    "seed: 7\n";

struct member {
    struct keys keys;
    struct policy policy;
    struct policy_spent spent;
    struct participate_known known;
    struct participate *part; /* owned */
    struct participate_action action;
    struct participate_event event;
    struct message in;
    struct buf bytes;
    float *delta; /* [n_params], what its training gives, owned */
    struct trained trained;
    unsigned failed; /* code to record before the next step, 0 = none */
    int ready, waits, resting;
    int drop_at; /* silent from this call on, or NEVER */
    int n_calls;
    int data_fails, debit_fails, training_fails;
    /* Since its last BEGIN. */
    int allowed; /* its policy said yes */
    unsigned n_debits, n_uploads, n_reveals, n_adopts, n_waits, n_counted;
    struct ledger_row row;
    enum participate_news news;
    enum participate_action_kind end;
    unsigned why_id;
    char why[WIRE_TEXT_MAX];
    int64_t pause_ms;
    /* Ever. */
    uint8_t debited[DEBITS_MAX][32];
    unsigned n_debited;
};

struct federation {
    struct keys coordinator;
    const char *text;
    struct plan *plan;
    struct aggregate *learned;
    struct model *model; /* the same, borrowed */
    struct models_version version;
    struct ring_layout layout; /* the same */
    struct buf blobs[BLOBS_MAX];
    unsigned n_blobs;
    struct buf roster;
    struct digest roster_hash;
    uint8_t roster_signature[KEYS_SIGNATURE];
    struct runner *runner;
    int64_t now_ms;
    unsigned attempt;
    struct member m[MEMBERS];
    struct ring_mean mean;
    /* A hostile coordinator: changes the reply of this type to member 0. */
    enum message_type attack_on;
    void (*attack)(struct federation *f, struct message *reply);
    /* … or the bytes of its reply number `scramble_at`. */
    int scramble_at;
    void (*scramble)(struct federation *f, struct buf *bytes);
};

/* A blob that members can fetch. */
static struct digest federation_blob(struct federation *f, const void *bytes,
                                     size_t n)
{
    struct digest hash;
    digest_of(&hash, bytes, n);
    /* The oldest extra goes: plan, roster and newest models are needed. */
    if (f->n_blobs == BLOBS_MAX) {
        buf_release(&f->blobs[2]);
        memmove(&f->blobs[2], &f->blobs[3],
                (BLOBS_MAX - 3) * sizeof f->blobs[0]);
        f->n_blobs--;
    }
    struct buf *b = &f->blobs[f->n_blobs++];
    buf_init(b, 0);
    buf_put(b, bytes, n);
    check_ok(buf_end(b));
    return hash;
}

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    return memcmp(x->keys.id, y->keys.id, KEYS_ID);
}

static void federation_member(struct federation *f, struct member *m)
{
    size_t n = model_params(f->model)->n_flat;
    m->policy = (struct policy){.tasks = 1U << PLAN_CLASSIFY,
                                .n_sources = 1,
                                .min_cohort = 3,
                                .clip_max = 10,
                                .updates = 100,
                                .updates_per_day = 100};
    memcpy(m->policy.sources[0].name, "patients", 9);
    const struct participate_config c = {.keys = &m->keys,
                                         .coordinator_sign =
                                             f->coordinator.sign_public,
                                         .policy = &m->policy,
                                         .hold_ms = WIRE_POLL_HOLD_MS};
    check_ok(participate_new(&c, &m->part));
    buf_init(&m->bytes, 0);
    m->drop_at = NEVER;
    m->delta = calloc(n, sizeof *m->delta);
    check(m->delta != NULL);
    for (size_t i = 0; i < n; i++)
        m->delta[i] = 0.01f * (float)(m - f->m + 1) * (float)(i % 7);
    m->trained = (struct trained){.up = m->delta,
                                  .weight = 1000,
                                  .metrics = {0.7, 0.6, 0.5, 1},
                                  .n_examples = 10};
}

static void federation_begin_with(struct federation *f, const char *text)
{
    memset(f, 0, sizeof *f);
    f->text = text;
    f->now_ms = 1000;
    f->scramble_at = NEVER;
    check_ok(plan_parse("plan", text, strlen(text), &f->plan));
    check_ok(keys_new(&f->coordinator));
    check_ok(aggregate_new(f->plan, &f->learned));
    f->model = f->learned->model;
    f->layout = f->learned->layout;
    federation_blob(f, text, strlen(text));
    for (int i = 0; i < MEMBERS; i++) check_ok(keys_new(&f->m[i].keys));
    qsort(f->m, MEMBERS, sizeof f->m[0], compare_members);
    buf_init(&f->roster, 0);
    for (int i = 0; i < MEMBERS; i++) {
        federation_member(f, &f->m[i]);
        buf_put(&f->roster, f->m[i].keys.id, KEYS_ID);
        buf_put(&f->roster, f->m[i].keys.sign_public, KEYS_PUBLIC);
    }
    check_ok(buf_end(&f->roster));
    f->roster_hash = federation_blob(f, f->roster.data, f->roster.len);
    keys_sign(&f->coordinator, "tacit roster v1", f->roster_hash.b,
              DIGEST_BYTES, f->roster_signature);
    struct buf file;
    buf_init(&file, 0);
    f->version = (struct models_version){.plan_hash = f->plan->hash};
    check_ok(models_sign(&f->coordinator, f->plan, model_params(f->model),
                         &f->version, &file));
    federation_blob(f, file.data, file.len);
    buf_release(&file);
}

static void federation_end(struct federation *f)
{
    for (int i = 0; i < MEMBERS; i++) {
        participate_free(f->m[i].part);
        keys_release(&f->m[i].keys);
        buf_release(&f->m[i].bytes);
        free(f->m[i].delta);
    }
    for (unsigned i = 0; i < f->n_blobs; i++) buf_release(&f->blobs[i]);
    buf_release(&f->roster);
    runner_free(f->runner);
    aggregate_free(f->learned);
    plan_free(f->plan);
    keys_release(&f->coordinator);
}

/* ---- the coordinator ---------------------------------------------------- */

/* As bytes, as on the wire; what does not decode fails as a call does. */
static void federation_reply(void *ctx, uint64_t token, const struct message *r)
{
    struct federation *f = ctx;
    struct member *m = &f->m[token];
    buf_clear(&m->bytes);
    check_ok(message_encode(r, &m->bytes));
    check_ok(buf_end(&m->bytes));
    if (token == 0 && f->scramble && f->scramble_at-- == 0)
        f->scramble(f, &m->bytes);
    m->waits = 0;
    m->ready = 1;
    m->event =
        (struct participate_event){.kind = PARTICIPATE_REPLY, .reply = &m->in};
    if (message_decode(m->bytes.data, m->bytes.len, &m->in) != TACIT_OK)
        m->failed = err_id();
    else if (token == 0 && f->attack && m->in.type == f->attack_on)
        f->attack(f, &m->in);
    err_clear();
    if (!m->failed && m->in.type == MSG_ERROR)
        m->failed = m->in.u.error.code ? m->in.u.error.code : E_DEFAULT_PROTO;
}

static enum tacit_err federation_commit(void *ctx,
                                        const struct runner_result *r,
                                        struct msg_over *over)
{
    struct federation *f = ctx;
    struct buf file;
    struct models_version v = {.plan_hash = f->plan->hash,
                               .parent_hash = f->version.model_hash,
                               .version = f->version.version + 1,
                               .round = over->round,
                               .n_clients = r->n_clients};
    memcpy(v.session, over->session, sizeof v.session);
    const struct aggregate_step step = {over->round, MEMBERS, 0};
    check_ok(aggregate_take(f->learned, r->update, &r->mean, 0));
    check_ok(aggregate_step(f->learned, &step));
    aggregate_adopt(f->learned);
    buf_init(&file, 0);
    check_ok(models_sign(&f->coordinator, f->plan, model_params(f->model), &v,
                         &file));
    federation_blob(f, file.data, file.len);
    buf_release(&file);
    f->version = v;
    f->mean = r->mean;
    models_over(&v, over);
    return TACIT_OK;
}

static void federation_open(struct federation *f)
{
    struct runner_config c = {.layout = f->layout,
                              .reply = federation_reply,
                              .commit = federation_commit,
                              .ctx = f};
    struct msg_task *task = &c.round.task;
    models_task(f->plan, strlen(f->text), &f->version, &f->layout, task);
    rng_secure(task->session, sizeof task->session);
    task->attempt = f->attempt++;
    task->roster_hash = f->roster_hash;
    memcpy(task->roster_signature, f->roster_signature, KEYS_SIGNATURE);
    c.round.invite_max = MEMBERS;
    c.round.goal = f->plan->cohort_size;
    runner_free(f->runner);
    f->runner = NULL;
    check_ok(runner_new(&c, f->now_ms, &f->runner));
}

/* ---- a member ----------------------------------------------------------- */

static void observe_call(struct federation *f, struct member *m)
{
    const struct message *c = m->action.message;
    check(m->action.timeout_ms > 0 && m->action.timeout_ms <= WIRE_CALL_MS);
    if (c->type == MSG_POLL) return;
    const struct msg_task *t = participate_task(m->part);
    check(t && m->allowed);
    const uint8_t *session = round_message_session(c);
    check(session && memcmp(session, t->session, 32) == 0);
    (void)f;
    switch (c->type) {
    case MSG_CHUNK_PUT:
    case MSG_INPUT:
        check(m->n_debits == 1);
        check(memcmp(m->debited[m->n_debited - 1], session, 32) == 0);
        m->n_uploads++;
        break;
    case MSG_CONSISTENCY: check(m->n_debits == 1 && m->n_uploads > 0); break;
    case MSG_REVEAL:
        check(m->n_debits == 1);
        check(++m->n_reveals == 1);
        break;
    case MSG_AWAIT: m->n_waits++; break;
    default: check(m->n_debits == 0 && m->n_uploads == 0);
    }
}

static void observe_debit(struct member *m)
{
    const struct ledger_row *r = &m->action.debit;
    check(m->allowed && m->n_debits == 0 && m->n_debited < DEBITS_MAX);
    for (unsigned i = 0; i < m->n_debited; i++)
        check(memcmp(m->debited[i], r->session, 32) != 0);
    memcpy(m->debited[m->n_debited++], r->session, 32);
    m->n_debits++;
    m->row = *r;
}

static void observe_adopt(struct federation *f, struct member *m)
{
    const struct msg_over *o = &m->action.over;
    uint8_t statement[MSG_STATEMENT_BYTES];
    msg_over_statement(o, statement);
    check_ok(keys_verify(f->coordinator.sign_public, "tacit model v1",
                         statement, sizeof statement, o->signature));
    check(o->model_version > m->known.version);
    m->known = (struct participate_known){o->plan_hash, o->model_hash,
                                          o->model_version};
    m->n_adopts++;
    m->n_counted += (unsigned)m->action.counted;
}

static void observe_end(struct member *m)
{
    const struct participate_action *a = &m->action;
    check(a->pause_ms >= 0 && a->pause_ms <= WIRE_BACKOFF_MAX_MS);
    check(participate_task(m->part) == NULL);
    if (a->news == PARTICIPATE_DECLINED || a->news == PARTICIPATE_BROKEN ||
        a->news == PARTICIPATE_LOST)
        check(a->why_id != 0 && a->why[0]);
    m->end = a->kind;
    m->news = a->news;
    m->why_id = a->kind == PARTICIPATE_STOP ? err_id() : a->why_id;
    memcpy(m->why, a->why, sizeof m->why);
    m->pause_ms = a->pause_ms;
    m->resting = 1;
    err_clear();
}

static void member_fetch(struct federation *f, struct member *m)
{
    for (unsigned i = f->n_blobs; i-- > 0;) {
        struct digest hash;
        const struct buf *b = &f->blobs[i];
        digest_of(&hash, b->data, b->len);
        if (!digest_equal(&hash, &m->action.hash)) continue;
        m->event = (struct participate_event){.kind = PARTICIPATE_FETCHED,
                                              .bytes = b->data,
                                              .n_bytes = b->len};
        if (b->len > m->action.bytes_max) m->failed = E_DEFAULT_LIMIT;
        return;
    }
    m->failed = E_DEFAULT_NOTFOUND;
}

static void member_consult(struct federation *f, struct member *m)
{
    const struct msg_task *t = participate_task(m->part);
    check(t && m->n_debits == 0);
    m->allowed =
        policy_allow(&m->policy, f->plan, t->u_min, &m->spent, 720) == TACIT_OK;
    err_clear();
    m->event = (struct participate_event){.kind = PARTICIPATE_CONSULTED,
                                          .spent = m->spent,
                                          .local_minute = 720,
                                          .known = m->known};
    check(m->action.plan != NULL);
    if (m->data_fails) m->failed = E_CSV_COLUMN;
}

/* Step until it asks the coordinator or rests. */
static void member_step(struct federation *f, struct member *m)
{
    for (;;) {
        if (m->failed) {
            (void)fail_as(m->failed, "a failure that the test made");
            m->event.kind = PARTICIPATE_FAILED;
            m->failed = 0;
        }
        m->ready = 0;
        participate_step(m->part, &m->event, &m->action);
        if (m->action.kind == PARTICIPATE_CALL) {
            observe_call(f, m);
            return;
        }
        switch (m->action.kind) {
        case PARTICIPATE_FETCH: member_fetch(f, m); break;
        case PARTICIPATE_CONSULT: member_consult(f, m); break;
        case PARTICIPATE_TRAIN:
            check(m->allowed && m->n_debits == 0);
            m->event = (struct participate_event){.kind = PARTICIPATE_TRAINED,
                                                  .trained = &m->trained,
                                                  .now_s = 1234};
            if (m->training_fails) m->failed = E_LOSS_NAN;
            break;
        case PARTICIPATE_DEBIT:
            observe_debit(m);
            m->event = (struct participate_event){.kind = PARTICIPATE_DEBITED};
            if (m->debit_fails) m->failed = E_LEDGER_BROKEN;
            break;
        case PARTICIPATE_ADOPT:
            observe_adopt(f, m);
            m->event = (struct participate_event){.kind = PARTICIPATE_ADOPTED};
            break;
        default: observe_end(m); return;
        }
    }
}

static void member_begin(struct member *m)
{
    m->allowed = m->resting = m->waits = m->n_calls = 0;
    m->n_debits = m->n_uploads = m->n_reveals = m->n_adopts = m->n_waits = 0;
    m->n_counted = 0;
    m->news = PARTICIPATE_QUIET;
    m->why_id = 0;
    m->event = (struct participate_event){.kind = PARTICIPATE_BEGIN};
    m->ready = 1;
}

/* Send its call, through the codec; a POLL that gets no seat rests. */
static void member_send(struct federation *f, unsigned i)
{
    struct member *m = &f->m[i];
    struct runner_peer peer = {m->keys.id, m->keys.sign_public};
    struct message sent;
    struct buf bytes;
    buf_init(&bytes, 0);
    check_ok(message_encode(m->action.message, &bytes));
    check_ok(buf_end(&bytes));
    check_ok(message_decode(bytes.data, bytes.len, &sent));
    m->waits = 1;
    if (m->n_calls++ == m->drop_at)
        m->resting = 1;
    else if (!runner_message(f->runner, f->now_ms, &peer, i, &sent))
        m->resting = 1;
    buf_release(&bytes);
}

/* Until every member rests; when nobody moves, the next deadline passes. */
static void federation_run(struct federation *f)
{
    for (int turns = 0;; turns++) {
        int moved = 0, rest = 1;
        check(turns < 100000);
        for (unsigned i = 0; i < MEMBERS; i++) {
            struct member *m = &f->m[i];
            if (!m->resting && m->ready) member_step(f, m);
            if (!m->resting && !m->waits) {
                moved = 1;
                member_send(f, i);
            }
            rest &= m->resting;
        }
        if (rest) return;
        int64_t next = runner_next_ms(f->runner);
        if (moved) continue;
        if (next == INT64_MAX) return;
        if (next > f->now_ms) f->now_ms = next;
        runner_tick(f->runner, f->now_ms);
        for (unsigned i = 0; i < MEMBERS; i++) moved |= f->m[i].ready;
    }
}

/* One attempt at a round by everybody. */
static void federation_round(struct federation *f)
{
    federation_open(f);
    for (int i = 0; i < MEMBERS; i++) member_begin(&f->m[i]);
    federation_run(f);
}

#endif
