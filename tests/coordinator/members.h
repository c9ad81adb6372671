/*
 * members: devices that take part (client/participate) in the rounds of a real
 * plan queue (coordinator/jobs) with its store on disk, in one process, under a
 * clock that the test turns. Used by the tests of this folder.
 *
 *   participate --message--> jobs_message, or held as the server holds a POLL
 *        ^                        |
 *        +------ reply -----------+     blobs are read from the folder
 *
 * What training gives is the test's: train() of the members, which knows the
 * weights that the round starts from and the row of its sum.
 */
#ifndef TACIT_TESTS_COORDINATOR_MEMBERS_H
#define TACIT_TESTS_COORDINATOR_MEMBERS_H

#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/participate.h"
#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/wire/blob.h"
#include "coordinator/aggregate.h"
#include "coordinator/jobs.h"
#include "coordinator/requests.h"
#include "coordinator/round.h"

enum {
    MEMBERS_MAX = 12,
    MEMBERS_ROWS_MAX = 64,
    MEMBERS_TURN_MS = 50 /* the clock's step when nobody has anything to do */
};

struct members;

struct device {
    struct keys keys;
    struct policy policy;
    struct participate *part; /* owned */
    struct participate_action action;
    struct participate_event event;
    struct participate_known known;
    struct message in;
    struct buf bytes;
    struct trained trained;
    float *up; /* [n_up * n] */
    int ready, asked;
    int64_t busy_until_ms; /* trains, or pauses */
    int dead;              /* silent, until members_wake() */
    unsigned n_waits, n_adopted, n_lost, n_debits;
    unsigned lost_code;
    uint32_t last_round_debited;
};

struct members {
    char dir[256], blobs[300];
    struct store store;
    struct sessions sessions;
    struct keys keys; /* the coordinator's */
    struct jobs *jobs;
    int64_t now_ms;
    unsigned n;
    struct device d[MEMBERS_MAX];
    /* Fill d->up from the weights w [n]; how long it takes is added to
     * d->busy_until_ms; dead = 1 never sends it. */
    void (*train)(struct members *w, struct device *d,
                  const struct store_round *row, const float *weights,
                  size_t n);
    /* Around all that the coordinator does, where they are set; hold() and go()
     * around what this file does in between. */
    int may_err; /* the coordinator may say that something went wrong */
    void (*enter)(void), (*leave)(void);
    int (*hold)(void);
    void (*go)(int was);
    struct store_round rows[MEMBERS_ROWS_MAX];
    unsigned n_rows;
};

static void members_reply(void *ctx, uint64_t token, const struct message *m)
{
    struct members *w = ctx;
    struct device *d = &w->d[token];
    if (!d->asked) return; /* it was restarted meanwhile */
    int was = w->hold ? w->hold() : 0;
    buf_clear(&d->bytes);
    check_ok(message_encode(m, &d->bytes));
    check_ok(buf_end(&d->bytes));
    check_ok(message_decode(d->bytes.data, d->bytes.len, &d->in));
    check(d->in.type != MSG_ERROR || w->may_err);
    d->asked = 0;
    d->ready = 1;
    d->n_waits += d->in.type == MSG_WAIT;
    d->event =
        (struct participate_event){.kind = PARTICIPATE_REPLY, .reply = &d->in};
    if (w->go) w->go(was);
}

static void members_idle(struct members *w, uint64_t token)
{
    struct message m = {.type = MSG_IDLE};
    m.u.idle.why = jobs_all_finished(w->jobs) ? IDLE_FINISHED : IDLE_NO_WORK;
    m.u.idle.retry_ms = 50;
    members_reply(w, token, &m);
}

static void members_start(struct members *w)
{
    const struct jobs_config c = {.store = &w->store,
                                  .sessions = &w->sessions,
                                  .keys = &w->keys,
                                  .blob_dir = w->blobs,
                                  .reply = members_reply,
                                  .ctx = w};
    check_ok(store_open(&w->store, w->dir, DB_EXISTING));
    sessions_init(&w->sessions);
    check_ok(sessions_reload(&w->sessions, &w->store));
    check_ok(jobs_new(&c, w->now_ms, &w->jobs));
}

/* What kill -9 leaves: the store and the blobs. */
static void members_kill(struct members *w)
{
    jobs_free(w->jobs);
    w->jobs = NULL;
    sessions_release(&w->sessions);
    store_close(&w->store);
    for (unsigned i = 0; i < w->n; i++) /* calls fail; they are made again */
        if (w->d[i].asked) w->d[i].asked = -1;
}

static void members_wake(struct members *w, struct device *d)
{
    d->dead = d->asked = 0;
    d->ready = 1;
    d->busy_until_ms = w->now_ms;
    d->event = (struct participate_event){.kind = PARTICIPATE_BEGIN};
}

static void members_enrol(struct members *w, unsigned i)
{
    struct device *d = &w->d[i];
    struct store_invite invite = {.token_id = i + 1,
                                  .expires_s = 1000,
                                  .approve = 1};
    struct store_member m = {.state = MEMBER_PENDING};
    check_ok(keys_new(&d->keys));
    snprintf(invite.name, sizeof invite.name, "site-%02u", i);
    check_ok(store_invite_add(&w->store, &invite, 1));
    memcpy(m.id, d->keys.id, sizeof m.id);
    memcpy(m.identity, d->keys.sign_public, sizeof m.identity);
    memcpy(m.dh, d->keys.dh_public, sizeof m.dh);
    check_ok(store_enrol(&w->store, i + 1, 2, &m));
    d->policy = (struct policy){.tasks = 1U << PLAN_CLASSIFY,
                                .n_sources = 1,
                                .min_cohort = 2,
                                .clip_max = 100,
                                .updates = 1000,
                                .updates_per_day = 1000};
    memcpy(d->policy.sources[0].name, "patients", 9);
    const struct participate_config c = {.keys = &d->keys,
                                         .coordinator_sign =
                                             w->keys.sign_public,
                                         .policy = &d->policy,
                                         .hold_ms = WIRE_POLL_HOLD_MS};
    check_ok(participate_new(&c, &d->part));
    buf_init(&d->bytes, 0);
    members_wake(w, d);
}

static void members_begin(struct members *w, unsigned n)
{
    memset(w, 0, sizeof *w);
    w->n = n;
    w->now_ms = 100000;
    check_tmpdir(w->dir);
    snprintf(w->blobs, sizeof w->blobs, "%s/blobs", w->dir);
    check_ok(keys_new(&w->keys));
    check_ok(store_open(&w->store, w->dir, DB_CREATE));
    for (unsigned i = 0; i < n; i++) members_enrol(w, i);
    store_close(&w->store);
    members_start(w);
}

static void members_end(struct members *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        struct device *d = &w->d[i];
        participate_free(d->part);
        keys_release(&d->keys);
        buf_release(&d->bytes);
        free(d->up);
    }
    members_kill(w);
    keys_release(&w->keys);
    check_tmpdir_remove(w->dir);
}

static void members_submit(struct members *w, const char *text)
{
    struct plan *plan = NULL;
    struct digest hash;
    int again = 0;
    check_ok(plan_parse("plan", text, strlen(text), &plan));
    check_ok(blob_put(w->blobs, text, strlen(text), &hash));
    check_ok(store_plan_add(&w->store, plan, 5, &again));
    plan_free(plan);
    check_ok(jobs_reload(w->jobs));
}

/* ---- rows --------------------------------------------------------------- */

static enum tacit_err members_row(void *ctx, const struct store_round *r)
{
    struct members *w = ctx;
    check(w->n_rows < MEMBERS_ROWS_MAX);
    w->rows[w->n_rows++] = *r;
    return TACIT_OK;
}

/* Read all rows; how many are in that state. */
static unsigned members_rows(struct members *w, const char *state)
{
    unsigned n = 0;
    w->n_rows = 0;
    check_ok(store_rounds(&w->store, NULL, members_row, w));
    for (unsigned i = 0; i < w->n_rows; i++)
        n += strcmp(w->rows[i].state, state) == 0;
    return n;
}

/* The newest model of the only plan: weights [n] into out. */
static struct models_version members_model(struct members *w, float *out,
                                           size_t n)
{
    struct store_plan row;
    struct models_version v;
    struct plan *plan = NULL;
    struct aggregate *a = NULL;
    struct buf text;
    buf_init(&text, PLAN_BYTES_MAX);
    check_ok(store_plan_find(&w->store, NULL, &row));
    check_ok(store_model_find(&w->store, &row.hash, STORE_NEWEST, &v));
    check_ok(blob_get(w->blobs, &row.hash, PLAN_BYTES_MAX, &text));
    check_ok(plan_parse("plan", (const char *)text.data, text.len, &plan));
    check_ok(aggregate_new(plan, &a));
    check_ok(models_load(w->blobs, &v, &a->file));
    check(a->n == n);
    memcpy(out, a->file.flat, n * sizeof *out);
    aggregate_free(a);
    plan_free(plan);
    buf_release(&text);
    return v;
}

/* ---- a device ----------------------------------------------------------- */

static void device_train(struct members *w, struct device *d)
{
    const struct params *p = model_params(d->action.model);
    const struct msg_task *t = participate_task(d->part);
    struct store_round row;
    check_ok(store_round_by_session(&w->store, t->session, &row));
    check(row.round == t->round && row.attempt == t->attempt);
    free(d->up);
    d->up = calloc(p->n_flat * d->action.strategy->n_up, sizeof *d->up);
    check(d->up != NULL);
    d->busy_until_ms = w->now_ms;
    d->trained = (struct trained){.up = d->up,
                                  .weight = 60000,
                                  .metrics = {0.7, 0.6, 0.5, 1},
                                  .n_examples = 10};
    w->train(w, d, &row, p->flat, p->n_flat);
    d->event = (struct participate_event){.kind = PARTICIPATE_TRAINED,
                                          .trained = &d->trained,
                                          .now_s = 1234};
}

static void device_fetch(struct members *w, struct device *d)
{
    buf_clear(&d->bytes);
    check_ok(
        blob_get(w->blobs, &d->action.hash, d->action.bytes_max, &d->bytes));
    check_ok(buf_end(&d->bytes));
    d->event = (struct participate_event){.kind = PARTICIPATE_FETCHED,
                                          .bytes = d->bytes.data,
                                          .n_bytes = d->bytes.len};
}

static void device_adopt(struct device *d)
{
    const struct msg_over *o = &d->action.over;
    int other = !digest_equal(&o->plan_hash, &d->known.plan_hash);
    check(other || o->model_version > d->known.version);
    d->known = (struct participate_known){o->plan_hash, o->model_hash,
                                          o->model_version};
    d->n_adopted++;
    d->event = (struct participate_event){.kind = PARTICIPATE_ADOPTED};
}

static void device_pause(struct members *w, struct device *d)
{
    /* No task was refused, no reply made no sense: these rounds are honest. */
    if (d->action.news == PARTICIPATE_DECLINED)
        fail_msg("declined: %s", d->action.why);
    check(d->action.news != PARTICIPATE_BROKEN || w->may_err);
    if (d->action.news == PARTICIPATE_LOST) {
        d->n_lost++;
        d->lost_code = d->action.why_id;
    }
    d->busy_until_ms = w->now_ms + d->action.pause_ms;
    d->event = (struct participate_event){.kind = PARTICIPATE_BEGIN};
}

/* Step until it asks the coordinator, is busy, or is dead. */
static void device_step(struct members *w, struct device *d)
{
    while (!d->dead && d->busy_until_ms <= w->now_ms) {
        participate_step(d->part, &d->event, &d->action);
        switch (d->action.kind) {
        case PARTICIPATE_CALL: d->ready = 0; return;
        case PARTICIPATE_FETCH: device_fetch(w, d); break;
        case PARTICIPATE_CONSULT:
            d->event = (struct participate_event){
                .kind = PARTICIPATE_CONSULTED,
                .local_minute = 720,
                .known = digest_equal(&d->known.plan_hash, &d->action.hash)
                             ? d->known
                             : (struct participate_known){.version = 0}};
            break;
        case PARTICIPATE_TRAIN: device_train(w, d); break;
        case PARTICIPATE_DEBIT:
            d->n_debits++;
            d->event = (struct participate_event){.kind = PARTICIPATE_DEBITED};
            break;
        case PARTICIPATE_ADOPT: device_adopt(d); break;
        case PARTICIPATE_PAUSE:
        case PARTICIPATE_FINISHED: device_pause(w, d); break;
        case PARTICIPATE_STOP: fail_msg("a device stops: %s", err_message());
        }
    }
}

/* Send what it says, as the server takes it. */
static void device_send(struct members *w, struct device *d)
{
    struct session *m = sessions_find(&w->sessions, d->keys.dh_public);
    const struct message *msg = d->action.message;
    uint64_t token = (uint64_t)(d - w->d);
    struct message over;
    check(m != NULL);
    d->asked = 1;
    m->seen_ms = w->now_ms;
    m->polling = 0;
    if (w->enter) w->enter();
    int taken = jobs_message(w->jobs, w->now_ms, m, token, msg);
    if (w->leave) w->leave();
    if (taken) return;
    if (msg->type == MSG_POLL) {
        m->polling = 1;
        m->token = token;
        m->poll = msg->u.poll;
        m->poll_until_ms = w->now_ms + WIRE_POLL_HOLD_MS;
        return;
    }
    requests_over(&w->store, round_message_session(msg), &over);
    members_reply(w, token, &over);
}

/* One turn of everybody; 1 when somebody did something. */
static int members_turn(struct members *w)
{
    int moved = 0;
    for (unsigned i = 0; i < w->n; i++) {
        struct device *d = &w->d[i];
        if (d->dead || d->busy_until_ms > w->now_ms) continue;
        if (d->ready) {
            device_step(w, d);
            moved = 1;
        }
        if (!d->dead && !d->ready && d->asked <= 0) {
            device_send(w, d);
            moved = 1;
        }
    }
    if (w->enter) w->enter();
    jobs_tick(w->jobs, w->now_ms);
    if (w->leave) w->leave();
    for (size_t i = 0; i < w->sessions.n; i++) {
        struct session *m = &w->sessions.list[i];
        int over = jobs_all_finished(w->jobs) || w->now_ms >= m->poll_until_ms;
        if (!m->polling || !over) continue;
        m->polling = 0;
        members_idle(w, m->token);
    }
    return moved;
}

/* Until is(w), letting the clock go on when nobody has anything to do. */
static void members_run(struct members *w, int (*is)(struct members *w))
{
    for (int turns = 0; !is(w); turns++) {
        check(turns < 200000);
        if (!members_turn(w)) w->now_ms += MEMBERS_TURN_MS;
    }
}

static int members_all_done(struct members *w)
{
    return jobs_all_finished(w->jobs);
}

#endif
