/* fleet: a sum by the production protocol: participate on each seat, runner for
 * the coordinator, encoded messages between them. A message arrives when the
 * timetable's offsets say; the clock is this sum's own. */
#include "sims/fleet_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "sims/attacks.h"

struct full_seat {
    struct participate *part; /* owned */
    struct participate_action action;
    struct participate_event event; /* for its next step */
    struct message in;              /* the reply in `bytes`, decoded */
    struct buf bytes;
    struct trained trained; /* owned */
    int has_trained;
    int has_event, waits, over, counted;
    int uploads;      /* its first chunk is on the way, or was */
    int64_t ready_ms; /* when its call arrives */
};

struct full_sum {
    struct runner *runner; /* owned */
    int64_t now_ms, ended_ms;
    int has_ended;
    int waits_for_model; /* it came to a mean; the model is being made */
};

/* ---- the coordinator's side --------------------------------------------- */

/* A reply travels as bytes, so that the codecs are part of the run. */
static void deliver(void *ctx, uint64_t token, const struct message *m)
{
    struct sum *s = ctx;
    struct seat *x = &s->seats[token];
    struct full_seat *q = x->full;
    if (q->over) return;
    buf_clear(&q->bytes);
    x->err = message_encode(m, &q->bytes);
    if (!x->err) x->err = buf_end(&q->bytes);
    if (!x->err) x->err = message_decode(q->bytes.data, q->bytes.len, &q->in);
    q->event =
        (struct participate_event){.kind = PARTICIPATE_REPLY, .reply = &q->in};
    q->waits = 0;
    q->has_event = 1;
}

static enum tacit_err take_mean(void *ctx, const struct runner_result *r,
                                struct msg_over *over)
{
    struct sum *s = ctx;
    (void)over;
    s->update = malloc(r->n_params * sizeof *s->update);
    if (!s->update) return fail(TACIT_NOMEM, "a mean of %u", r->n_params);
    memcpy(s->update, r->update, r->n_params * sizeof *s->update);
    s->mean = r->mean;
    s->committed = 1;
    s->full->waits_for_model = 1;
    return TACIT_OK;
}

static enum tacit_err open_round(struct sum *s)
{
    struct fleet *f = s->f;
    struct runner_config c = {.layout = f->learned->layout,
                              .reply = deliver,
                              .when = RUNNER_LATER,
                              .commit = take_mean,
                              .ctx = s};
    struct msg_task *task = &c.round.task;
    models_task(f->c.plan, f->c.plan_bytes, &f->version, &c.layout, task);
    rng_secure(task->session, sizeof task->session);
    task->attempt = s->attempt;
    task->roster_hash = f->roster_hash;
    memcpy(task->roster_signature, f->roster_signature, KEYS_SIGNATURE);
    c.round.invite_max = (uint32_t)s->n_seats;
    c.round.goal = s->goal;
    return runner_new(&c, s->start_ms, &s->full->runner);
}

/* ---- the clients' side -------------------------------------------------- */

static enum tacit_err train(struct sum *s, struct seat *x)
{
    struct full_seat *q = x->full;
    const struct participate_action *a = &q->action;
    if (!q->has_trained)
        TRY(trained_new(a->strategy, s->f->learned->n, &q->trained));
    q->has_trained = 1;
    TRY(fleet_train(s, x, a->model, a->down, &q->trained));
    q->trained.unclipped = x->attacks;
    q->event = (struct participate_event){.kind = PARTICIPATE_TRAINED,
                                          .trained = &q->trained,
                                          .now_s = x->device.skew_s +
                                                   s->full->now_ms / 1000};
    return TACIT_OK;
}

static enum tacit_err fetch(struct sum *s, struct full_seat *q)
{
    const struct fleet *f = s->f;
    const struct digest *h = &q->action.hash;
    struct participate_event *ev = &q->event;
    *ev = (struct participate_event){.kind = PARTICIPATE_FETCHED};
    if (digest_equal(h, &f->c.plan->hash)) {
        ev->bytes = (const uint8_t *)f->c.plan_text;
        ev->n_bytes = f->c.plan_bytes;
    } else if (digest_equal(h, &f->roster_hash)) {
        ev->bytes = f->roster.data;
        ev->n_bytes = f->roster.len;
    } else {
        ev->bytes = f->file.data;
        ev->n_bytes = f->file.len;
    }
    return TACIT_OK;
}

/* Carry out what needs no coordinator. */
static enum tacit_err carry_out(struct sum *s, struct seat *x)
{
    struct full_seat *q = x->full;
    switch (q->action.kind) {
    case PARTICIPATE_FETCH: return fetch(s, q);
    case PARTICIPATE_TRAIN: return train(s, x);
    case PARTICIPATE_CONSULT:
        q->event = (struct participate_event){.kind = PARTICIPATE_CONSULTED};
        return TACIT_OK;
    case PARTICIPATE_DEBIT:
        q->event = (struct participate_event){.kind = PARTICIPATE_DEBITED};
        return TACIT_OK;
    case PARTICIPATE_ADOPT:
        q->counted = q->action.counted;
        q->event = (struct participate_event){.kind = PARTICIPATE_ADOPTED};
        return TACIT_OK;
    default: return fail(TACIT_INTERNAL, "not an action of a client");
    }
}

static void note_why(struct seat *x, const char *why, unsigned id)
{
    snprintf(x->why, sizeof x->why, "%s", why);
    x->err_id = id;
}

/* Step one client until it has to ask the coordinator, or is through. */
static void step(struct sum *s, struct seat *x)
{
    struct full_seat *q = x->full;
    for (;;) {
        if (x->err) {
            note_why(x, err_message(), err_id());
            q->event.kind = PARTICIPATE_FAILED;
            x->err = TACIT_OK;
        }
        participate_step(q->part, &q->event, &q->action);
        switch (q->action.kind) {
        case PARTICIPATE_CALL: q->waits = 0; return;
        case PARTICIPATE_PAUSE:
        case PARTICIPATE_FINISHED:
        case PARTICIPATE_STOP:
            if (q->action.why[0] && !x->why[0])
                note_why(x, q->action.why, q->action.why_id);
            q->over = 1;
            return;
        default: x->err = carry_out(s, x);
        }
    }
}

static enum handset_stage stage_of(const struct message *m)
{
    switch (m->type) {
    case MSG_POLL: return HANDSET_POLL;
    case MSG_ADVERT: return HANDSET_ADVERT;
    case MSG_SHARES: return HANDSET_SHARES;
    case MSG_CHUNK_PUT: return HANDSET_UPLOAD;
    case MSG_INPUT: return HANDSET_INPUT;
    case MSG_CONSISTENCY: return HANDSET_CONSISTENCY;
    case MSG_REVEAL: return HANDSET_REVEAL;
    default: return HANDSET_STAYS; /* AWAIT: asks again at once */
    }
}

/* Runs on a worker. */
static void advance(void *ctx, size_t i, unsigned worker)
{
    struct sum *s = ctx;
    struct seat *x = &s->seats[i];
    struct full_seat *q = x->full;
    (void)worker;
    if (!q->has_event || q->over) return;
    q->has_event = 0;
    step(s, x);
    err_clear(); /* what failed is the client's, not this thread's */
    if (q->over) return;
    enum handset_stage stage = stage_of(q->action.message);
    int64_t delay = stage == HANDSET_STAYS ? 0 : x->offset_ms[stage];
    /* All of an upload arrives at once, at its end. */
    if (stage == HANDSET_INPUT || q->uploads) delay = 0;
    q->uploads = stage == HANDSET_UPLOAD;
    q->ready_ms = s->full->now_ms + delay;
}

static enum tacit_err pass_on(struct sum *s, size_t i,
                              const struct message *call)
{
    struct seat *x = &s->seats[i];
    const struct keys *k = &s->f->identities[x->client].keys;
    struct runner_peer peer = {k->id, k->sign_public};
    struct buf bytes;
    struct message *m = malloc(sizeof *m);
    if (!m) return fail(TACIT_NOMEM, "no memory for a message");
    buf_init(&bytes, 0);
    enum tacit_err err = message_encode(call, &bytes);
    if (!err) err = buf_end(&bytes);
    if (!err) err = message_decode(bytes.data, bytes.len, m);
    if (!err) {
        x->full->waits = 1;
        if (!runner_message(s->full->runner, s->full->now_ms, &peer, i, m))
            x->full->over = 1;
    }
    buf_release(&bytes);
    free(m);
    return err;
}

/* A device that comes back after a crash: it polls, with nothing in hand. */
static enum tacit_err come_back(struct sum *s, size_t i)
{
    struct message *m = calloc(1, sizeof *m);
    if (!m) return fail(TACIT_NOMEM, "no memory for a message");
    m->type = MSG_POLL;
    m->u.poll.hold_ms = WIRE_POLL_HOLD_MS;
    enum tacit_err err = pass_on(s, i, m);
    s->seats[i].full->over = 1;
    free(m);
    return err;
}

/* Seat i's call arrives, unless it vanishes before. */
static enum tacit_err arrive(struct sum *s, size_t i)
{
    struct seat *x = &s->seats[i];
    enum handset_stage stage = stage_of(x->full->action.message);
    if (s->full->now_ms >= x->leaves_ms) {
        x->full->over = 1;
        return TACIT_OK;
    }
    if (stage < HANDSET_STAYS && stage == x->fate.vanishes) {
        x->full->over = 1;
        return x->fate.returns && stage > HANDSET_ADVERT ? come_back(s, i)
                                                         : TACIT_OK;
    }
    TRY(pass_on(s, i, x->full->action.message));
    /* A repeat of the request: the answer must be the same, and count once. */
    if (stage < HANDSET_STAYS && stage != HANDSET_POLL &&
        x->fate.twice >> stage & 1 && !x->full->has_event)
        TRY(pass_on(s, i, x->full->action.message));
    return TACIT_OK;
}

/* ---- one sum ------------------------------------------------------------ */

static enum tacit_err seat_new(struct sum *s, struct seat *x)
{
    struct fleet *f = s->f;
    x->full = calloc(1, sizeof *x->full);
    if (!x->full) return fail(TACIT_NOMEM, "a cohort of %zu", s->n_seats);
    const struct participate_config c = {.keys = &f->identities[x->client].keys,
                                         .coordinator_sign =
                                             f->coordinator.sign_public,
                                         .policy = &f->policy,
                                         .hold_ms = WIRE_POLL_HOLD_MS,
                                         .bases = f->c.plan->base.where};
    buf_init(&x->full->bytes, 0);
    x->full->event.kind = PARTICIPATE_BEGIN;
    x->full->has_event = 1;
    return participate_new(&c, &x->full->part);
}

/* The earliest call's time, INT64_MAX when none is under way. */
static int64_t earliest(const struct sum *s)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < s->n_seats; i++) {
        const struct full_seat *q = s->seats[i].full;
        if (q->over || q->waits || q->has_event) continue;
        if (q->ready_ms < first) first = q->ready_ms;
    }
    return first;
}

static enum tacit_err arrivals(struct sum *s)
{
    for (size_t i = 0; i < s->n_seats; i++) {
        struct full_seat *q = s->seats[i].full;
        if (q->over || q->waits || q->has_event) continue;
        if (q->ready_ms <= s->full->now_ms) TRY(arrive(s, i));
    }
    return TACIT_OK;
}

static int any_event(const struct sum *s)
{
    for (size_t i = 0; i < s->n_seats; i++)
        if (s->seats[i].full->has_event && !s->seats[i].full->over) return 1;
    return 0;
}

static int has_ended(const struct full_sum *u)
{
    return u->waits_for_model || runner_ended(u->runner);
}

/* Clients step in parallel; then what arrives next arrives, or the next
 * deadline passes, whichever is first. Ends when the sum has come to its mean,
 * or when nobody has anything to say any more. */
static enum tacit_err drive(struct sum *s)
{
    struct full_sum *u = s->full;
    while (!u->waits_for_model) {
        if (!s->committed) TRY(fleet_stopped(s->f));
        if (any_event(s)) pool_run(s->f->pool, s->n_seats, advance, s);
        if (any_event(s)) continue;
        int64_t call = earliest(s), tick = runner_next_ms(u->runner);
        if (call == INT64_MAX && tick == INT64_MAX) break;
        int64_t next = call <= tick ? call : tick;
        if (next > u->now_ms) u->now_ms = next;
        if (call <= tick)
            TRY(arrivals(s));
        else
            runner_tick(u->runner, u->now_ms);
        if (u->has_ended || !has_ended(u)) continue;
        u->has_ended = 1;
        u->ended_ms = u->now_ms;
    }
    return TACIT_OK;
}

/* Why it came to nothing: a client's own reason says more than the round's. */
static void note_end(struct sum *s)
{
    const struct msg_over *over = round_over(runner_round(s->full->runner));
    s->why_id = over->code;
    snprintf(s->why, sizeof s->why, "%s", over->reason);
    for (size_t i = 0; i < s->n_seats; i++)
        if (s->seats[i].err_id && s->seats[i].in_sum)
            snprintf(s->why, sizeof s->why, "%.255s", s->seats[i].why);
}

/* A client's own failure is the run's where it stands for what the plan does:
 * its loss is no longer a number, or it has no rows. What became of those who
 * would not have been in the sum anyway does not matter. */
static enum tacit_err check_failures(struct sum *s)
{
    for (size_t i = 0; i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        int counts = s->agreed && x->in_sum;
        if ((counts && x->err_id == E_LOSS_NAN) ||
            (counts && x->err_id == E_NO_EXAMPLES) ||
            x->err_id == E_INTERRUPTED)
            x->err = TACIT_LIMIT;
    }
    return fleet_first_failure(s);
}

/* Did it go as the timetable says? */
static enum tacit_err check_timetable(const struct sum *s)
{
    const struct full_sum *u = s->full;
    struct round_counts n;
    round_counts(runner_round(u->runner), &n);
    if (s->committed != s->agreed ||
        (s->committed && n.n_inputs != s->n_inputs))
        return fail(TACIT_INTERNAL,
                    "round %u: the protocol summed %u clients, the timetable "
                    "%u (%s)",
                    s->round, s->committed ? n.n_inputs : 0,
                    s->agreed ? s->n_inputs : 0, s->why);
    if (u->ended_ms != s->end_ms)
        return fail(TACIT_INTERNAL,
                    "round %u: the protocol took %lld ms, the timetable %lld "
                    "(%s)",
                    s->round, (long long)(u->ended_ms - s->start_ms),
                    (long long)(s->end_ms - s->start_ms), s->why);
    return TACIT_OK;
}

enum tacit_err fleet_full_run(struct sum *s)
{
    enum tacit_err err = TACIT_OK;
    s->full = calloc(1, sizeof *s->full);
    if (!s->full) return fail(TACIT_NOMEM, "a secure sum");
    s->full->now_ms = s->start_ms;
    if (s->n_seats < s->f->c.plan->min_reports) {
        s->why_id = E_ROUND_TOO_FEW;
        snprintf(s->why, sizeof s->why,
                 "%zu clients can be reached; %u are needed", s->n_seats,
                 s->f->c.plan->min_reports);
        return TACIT_OK;
    }
    for (size_t i = 0; !err && i < s->n_seats; i++)
        err = seat_new(s, &s->seats[i]);
    if (!err) err = open_round(s);
    if (!err) err = drive(s);
    if (!err) err = check_failures(s);
    if (err) return err;
    if (!s->committed) note_end(s);
    return check_timetable(s);
}

enum tacit_err fleet_full_finish(struct sum *s)
{
    struct msg_over over;
    if (!s->full->waits_for_model) return TACIT_OK;
    models_over(&s->f->version, &over);
    s->full->waits_for_model = 0;
    runner_finish(s->full->runner, s->full->now_ms, TACIT_OK, &over);
    TRY(drive(s));
    for (size_t i = 0; i < s->n_seats; i++) {
        const struct seat *x = &s->seats[i];
        if (x->full->counted && !x->in_sum)
            return fail(TACIT_INTERNAL,
                        "client %zu believes to be in the sum of round %u",
                        x->client, s->round);
    }
    return TACIT_OK;
}

void fleet_full_free(struct sum *s)
{
    for (size_t i = 0; i < s->n_seats; i++) {
        struct full_seat *q = s->seats[i].full;
        if (!q) continue;
        participate_free(q->part);
        buf_release(&q->bytes);
        if (q->has_trained)
            trained_release(&q->trained, s->f->learned->strategy,
                            s->f->learned->n);
        free(q);
    }
    if (s->full) runner_free(s->full->runner);
    free(s->full);
}
