/* round: the step function. See round.h for the drawing. */
#include "coordinator/round.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "coordinator/round_parts.h"

enum tacit_err round_new(const struct round_config *c, int64_t now_ms,
                         struct round **out)
{
    if (c->task.u_min < SECAGG_CLIENTS_MIN ||
        c->invite_max > SECAGG_CLIENTS_MAX || c->invite_max < c->task.u_min)
        return fail(TACIT_LIMIT,
                    "a round of %u to %u devices: possible are %d to %d",
                    c->task.u_min, c->invite_max, SECAGG_CLIENTS_MIN,
                    SECAGG_CLIENTS_MAX);
    struct round *r = calloc(1, sizeof *r);
    if (!r) return fail(TACIT_NOMEM, "a round");
    r->task = c->task;
    r->invite_max = c->invite_max;
    r->goal = c->goal;
    r->deadline_ms = now_ms + c->task.stage_ms;
    struct secagg_terms terms;
    msg_task_terms(&c->task, &terms);
    enum tacit_err err = secagg_server_new(&terms, &r->secagg);
    if (err != TACIT_OK) {
        free(r);
        return err;
    }
    *out = r;
    return TACIT_OK;
}

void round_free(struct round *r)
{
    if (!r) return;
    secagg_server_free(r->secagg);
    free(r);
}

/* ---- saying ------------------------------------------------------------- */

static struct round_action *act(struct round_actions *out,
                                enum round_action_kind kind)
{
    /* One reply per seat and a few more: a step cannot make more. */
    assert(out->n < ROUND_ACTIONS_MAX);
    struct round_action *a = &out->list[out->n++];
    memset(a, 0, sizeof *a);
    a->kind = kind;
    return a;
}

static void say(struct round_actions *out, uint64_t token, unsigned seat,
                enum message_type type, unsigned code)
{
    struct round_action *a = act(out, ROUND_REPLY);
    a->token = token;
    a->seat = seat;
    a->say = type;
    a->code = code;
}

static const enum message_type answers[] = {[STAGE_ADVERT] = MSG_ROSTER,
                                            [STAGE_SHARES] = MSG_PEER_SHARES,
                                            [STAGE_INPUT] = MSG_SURVIVORS,
                                            [STAGE_CONSISTENCY] =
                                                MSG_SIGNATURES,
                                            [STAGE_REVEAL] = MSG_OVER};

/* Answer a request about a stage that has closed. */
static void say_answer(struct round *r, struct round_actions *out,
                       unsigned seat, unsigned stage, uint64_t token)
{
    if (round_ended(r))
        say(out, token, seat, MSG_OVER, 0);
    else if (round_did(&r->seats[seat], stage))
        say(out, token, seat, answers[stage], 0);
    else
        say(out, token, seat, MSG_OVER, E_ROUND_LATE);
}

static void hold(struct round *r, unsigned seat, unsigned stage,
                 const struct round_event *ev)
{
    struct seat *s = &r->seats[seat];
    /* An older request of the same device has no one behind it any more. */
    s->held = 1;
    s->stage = (uint8_t)stage;
    s->token = ev->token;
    s->hold_until_ms = ev->now_ms + WIRE_POLL_HOLD_MS;
}

/* ---- stages ------------------------------------------------------------- */

static void end(struct round *r, struct round_actions *out,
                enum round_state state)
{
    r->state = state;
    for (unsigned i = 0; i < r->n_seats; i++) {
        if (!r->seats[i].held) continue;
        r->seats[i].held = 0;
        say(out, r->seats[i].token, i, MSG_OVER, 0);
    }
    act(out, ROUND_END);
}

static void abort_round(struct round *r, struct round_actions *out,
                        unsigned code, const char *reason)
{
    r->over = (struct msg_over){.outcome = OUTCOME_ABORTED,
                                .code = (uint16_t)code,
                                .round = r->task.round,
                                .plan_hash = r->task.plan_hash,
                                .parent_hash = r->task.model_hash};
    memcpy(r->over.session, r->task.session, sizeof r->over.session);
    snprintf(r->over.reason, sizeof r->over.reason, "%s", reason);
    end(r, out, ROUND_ABORTED);
}

/* The fewest that a stage may close with. */
static unsigned fewest(const struct round *r, unsigned stage)
{
    if (stage == STAGE_ADVERT) return r->task.u_min;
    unsigned t = secagg_threshold(secagg_server_n(r->secagg));
    if (stage == STAGE_REVEAL) return t;
    return t > r->task.u_min ? t : r->task.u_min;
}

static enum tacit_err close_secagg(struct round *r, unsigned stage)
{
    if (stage == STAGE_ADVERT) {
        TRY(secagg_server_close_adverts(r->secagg));
        for (unsigned i = 0; i < r->n_seats; i++)
            r->seats[i].member =
                secagg_server_member(r->secagg, r->seats[i].id);
        return TACIT_OK;
    }
    if (stage == STAGE_SHARES) return secagg_server_close_shares(r->secagg);
    if (stage == STAGE_INPUT) return secagg_server_close_inputs(r->secagg);
    return TACIT_OK;
}

static void close_stage(struct round *r, int64_t now_ms,
                        struct round_actions *out)
{
    unsigned stage = (unsigned)r->state;
    if (close_secagg(r, stage) != TACIT_OK) {
        abort_round(r, out, E_ROUND_TOO_FEW, err_message());
        err_clear();
        return;
    }
    r->state = (enum round_state)(stage + 1);
    r->deadline_ms = now_ms + (r->state == ROUND_INPUT ? r->task.train_ms
                                                       : r->task.stage_ms);
    if (r->state == ROUND_FINISHING) {
        /* Whoever waits hears the end, when it is durable. */
        act(out, ROUND_FINISH);
        return;
    }
    for (unsigned i = 0; i < r->n_seats; i++) {
        struct seat *s = &r->seats[i];
        if (!s->held || s->stage != stage) continue;
        s->held = 0;
        say_answer(r, out, i, stage, s->token);
    }
}

static void abort_too_few(struct round *r, struct round_actions *out,
                          unsigned stage, unsigned n, unsigned want)
{
    static const char *const what[] = {"agreed to take part", "shared keys",
                                       "sent an update",
                                       "confirmed the survivor list",
                                       "revealed their shares"};
    struct round_counts c;
    round_counts(r, &c);
    char reason[WIRE_TEXT_MAX];
    if (stage == STAGE_ADVERT && c.n_declined)
        snprintf(reason, sizeof reason,
                 "%u of %u invited devices %s (%u declined); %u are needed", n,
                 r->n_seats, what[stage], c.n_declined, want);
    else
        snprintf(reason, sizeof reason, "%u of %u devices %s; %u are needed", n,
                 stage == STAGE_ADVERT ? r->n_seats
                                       : round_count_done(r, stage - 1),
                 what[stage], want);
    abort_round(r, out, E_ROUND_TOO_FEW, reason);
}

/* Close the stage, or give up, when that can be decided. */
static void advance(struct round *r, int64_t now_ms, struct round_actions *out)
{
    if (r->state > ROUND_REVEAL) return;
    unsigned stage = (unsigned)r->state;
    unsigned n_done = round_count_done(r, stage), n_waiting = 0, n_declined = 0;
    for (unsigned i = 0; i < r->n_seats; i++) {
        const struct seat *s = &r->seats[i];
        int asked = stage == STAGE_ADVERT || round_did(s, stage - 1);
        n_waiting += asked && !round_did(s, stage) && !s->gone && !s->declined;
        n_declined += s->declined != 0;
    }
    int late = now_ms >= r->deadline_ms;
    unsigned want = fewest(r, stage);
    if (stage == STAGE_REVEAL) {
        if (secagg_server_ready(r->secagg))
            close_stage(r, now_ms, out);
        else if (late || n_waiting == 0)
            abort_too_few(r, out, stage, n_done, want);
        return;
    }
    unsigned goal = r->goal > want ? r->goal : want;
    int enough = stage == STAGE_INPUT && n_done >= goal;
    if (n_done >= want && (late || n_waiting == 0 || enough)) {
        close_stage(r, now_ms, out);
        return;
    }
    /* While the round is open, others may still come in time, unless those who
     * came do not want to. */
    int hopeless = stage == STAGE_ADVERT ? n_waiting == 0 && n_declined > 0
                                         : n_done + n_waiting < want;
    if (n_done < want && (late || hopeless))
        abort_too_few(r, out, stage, n_done, want);
}

/* ---- messages ----------------------------------------------------------- */

static void refuse(struct round_actions *out, const struct round_event *ev,
                   unsigned code)
{
    err_clear();
    say(out, ev->token, 0, MSG_ERROR, code);
}

static void same_identity(struct round_actions *out, unsigned seat,
                          const struct round_event *ev)
{
    act(out, ROUND_SAME_IDENTITY)->seat = seat;
    refuse(out, ev, E_SAME_IDENTITY);
}

/* A POLL: invite, note that the device is lost or does not want to, or leave
 * the request with the host. */
static void take_poll(struct round *r, const struct round_event *ev,
                      struct round_actions *out)
{
    int i = round_seat(r, ev->id);
    if (i < 0) {
        if (r->state != ROUND_OPEN || r->n_seats >= r->invite_max) return;
        i = (int)r->n_seats++;
        struct seat *s = &r->seats[i];
        memset(s, 0, sizeof *s);
        memcpy(s->id, ev->id, sizeof s->id);
        memcpy(s->identity, ev->identity, sizeof s->identity);
        s->member = -1;
        say(out, ev->token, (unsigned)i, MSG_TASK, 0);
        return;
    }
    struct seat *s = &r->seats[i];
    int left = memcmp(ev->message->u.poll.last_session, r->task.session,
                      sizeof r->task.session) == 0;
    if (r->state == ROUND_OPEN && !round_did(s, STAGE_ADVERT)) {
        if (!left && !s->declined) {
            say(out, ev->token, (unsigned)i, MSG_TASK, 0);
            return;
        }
        s->declined = 1;
    } else {
        s->gone = 1;
    }
    advance(r, ev->now_ms, out);
}

static enum tacit_err take_advert(struct round *r, unsigned seat,
                                  const struct round_event *ev)
{
    struct seat *s = &r->seats[seat];
    const struct secagg_advert *a = &ev->message->u.advert.advert;
    if (memcmp(a->id, s->id, sizeof a->id) != 0 ||
        memcmp(a->identity, s->identity, sizeof a->identity) != 0)
        return fail(TACIT_AUTH, "an advert in another device's name");
    TRY(secagg_server_advert(r->secagg, a));
    memcpy(s->keys, a->mask_key, SECAGG_KEY);
    memcpy(s->keys + SECAGG_KEY, a->seal_key, SECAGG_KEY);
    return TACIT_OK;
}

static enum tacit_err take_shares(struct round *r, unsigned seat,
                                  const struct round_event *ev)
{
    const struct msg_shares *m = &ev->message->u.shares;
    if (m->n != secagg_server_n(r->secagg))
        return fail(TACIT_PROTO, "shares for %u members, there are %u", m->n,
                    secagg_server_n(r->secagg));
    return secagg_server_shares(r->secagg, (unsigned)r->seats[seat].member,
                                m->sealed);
}

/* The stage's own checks of a first message. */
static enum tacit_err take_content(struct round *r, unsigned seat,
                                   unsigned stage, const struct round_event *ev)
{
    unsigned member = (unsigned)r->seats[seat].member;
    const struct message *m = ev->message;
    switch (stage) {
    case STAGE_ADVERT: return take_advert(r, seat, ev);
    case STAGE_SHARES: return take_shares(r, seat, ev);
    case STAGE_CONSISTENCY:
        return secagg_server_signature(r->secagg, member,
                                       m->u.consistency.signature);
    default:
        return secagg_server_reveal(r->secagg, member, m->u.reveal.shares,
                                    m->u.reveal.n);
    }
}

/* Does an advert show the keys that this device's first one showed? */
static int same_advert(const struct seat *s, const struct secagg_advert *a)
{
    return memcmp(a->mask_key, s->keys, SECAGG_KEY) == 0 &&
           memcmp(a->seal_key, s->keys + SECAGG_KEY, SECAGG_KEY) == 0;
}

/* A message of stage `stage` whose turn it is, or was. */
static void take_stage(struct round *r, unsigned seat, unsigned stage,
                       const struct round_event *ev, struct round_actions *out)
{
    struct seat *s = &r->seats[seat];
    const struct message *m = ev->message;
    if (stage > (unsigned)r->state ||
        (stage > 0 && stage == (unsigned)r->state &&
         !round_did(s, stage - 1))) {
        refuse(out, ev, E_ROUND_ORDER);
        return;
    }
    if (round_did(s, stage) && m->type == MSG_ADVERT &&
        !same_advert(s, &m->u.advert.advert)) {
        same_identity(out, seat, ev);
        return;
    }
    if (r->state == ROUND_FINISHING && round_did(s, STAGE_INPUT)) {
        hold(r, seat, stage, ev); /* it is in the sum: it hears the end */
        return;
    }
    if (stage < (unsigned)r->state) {
        say_answer(r, out, seat, stage, ev->token);
        return;
    }
    if (round_did(s, stage) || m->type == MSG_AWAIT) {
        if (!round_did(s, stage))
            refuse(out, ev, E_ROUND_ORDER); /* AWAIT before the message */
        else
            hold(r, seat, stage, ev);
        return;
    }
    if (stage == STAGE_INPUT) {
        struct round_action *a = act(out, ROUND_ADD_INPUT);
        a->token = ev->token;
        a->seat = seat;
        a->input = m->u.input;
        return;
    }
    enum tacit_err err = take_content(r, seat, stage, ev);
    if (err != TACIT_OK) {
        unsigned code = err_id();
        refuse(out, ev, code && err_code_find(code) ? code : E_DEFAULT_PROTO);
        return;
    }
    s->done |= 1U << stage;
    hold(r, seat, stage, ev);
    advance(r, ev->now_ms, out);
}

/* The stage a request belongs to, or -1. */
static int stage_of(const struct message *m)
{
    switch (m->type) {
    case MSG_ADVERT: return STAGE_ADVERT;
    case MSG_SHARES: return STAGE_SHARES;
    case MSG_INPUT: return STAGE_INPUT;
    case MSG_CONSISTENCY: return STAGE_CONSISTENCY;
    case MSG_REVEAL: return STAGE_REVEAL;
    case MSG_AWAIT:
        return m->u.await.stage <= STAGE_REVEAL ? m->u.await.stage : -1;
    default: return -1;
    }
}

static void take_message(struct round *r, const struct round_event *ev,
                         struct round_actions *out)
{
    if (ev->message->type == MSG_POLL) {
        if (!round_ended(r)) take_poll(r, ev, out);
        return;
    }
    const uint8_t *session = round_message_session(ev->message);
    int stage = stage_of(ev->message);
    if (!session || stage < 0 ||
        memcmp(session, r->task.session, sizeof r->task.session) != 0) {
        refuse(out, ev, E_ROUND_UNKNOWN);
        return;
    }
    int seat = round_seat(r, ev->id);
    if (seat < 0) {
        refuse(out, ev, E_ROUND_UNKNOWN);
        return;
    }
    if (round_ended(r)) {
        say(out, ev->token, (unsigned)seat, MSG_OVER, 0);
        return;
    }
    r->seats[seat].gone = 0;
    take_stage(r, (unsigned)seat, (unsigned)stage, ev, out);
}

/* ---- other events ------------------------------------------------------- */

static void take_added(struct round *r, const struct round_event *ev,
                       struct round_actions *out)
{
    int seat = round_seat(r, ev->id);
    assert(seat >= 0 && r->state == ROUND_INPUT);
    struct seat *s = &r->seats[seat];
    enum tacit_err err = secagg_server_input(r->secagg, (unsigned)s->member);
    assert(err == TACIT_OK); /* take_stage saw that it shared keys */
    (void)err;
    s->done |= 1U << STAGE_INPUT;
    hold(r, (unsigned)seat, STAGE_INPUT, ev);
    advance(r, ev->now_ms, out);
}

static void take_tick(struct round *r, const struct round_event *ev,
                      struct round_actions *out)
{
    advance(r, ev->now_ms, out);
    for (unsigned i = 0; i < r->n_seats; i++) {
        struct seat *s = &r->seats[i];
        if (!s->held || ev->now_ms < s->hold_until_ms) continue;
        s->held = 0;
        say(out, s->token, i, MSG_WAIT, 0);
        out->list[out->n - 1].stage = s->stage;
    }
}

static void take_done(struct round *r, const struct round_event *ev,
                      struct round_actions *out)
{
    assert(r->state == ROUND_FINISHING);
    r->over = *ev->over;
    end(r, out, ROUND_COMMITTED);
}

void round_step(struct round *r, const struct round_event *ev,
                struct round_actions *out)
{
    out->n = 0;
    if (round_ended(r) && ev->kind != ROUND_MESSAGE) return;
    switch (ev->kind) {
    case ROUND_MESSAGE: take_message(r, ev, out); break;
    case ROUND_TICK: take_tick(r, ev, out); break;
    case ROUND_ADDED: take_added(r, ev, out); break;
    case ROUND_REFUSED: refuse(out, ev, ev->code); break;
    case ROUND_DONE: take_done(r, ev, out); break;
    case ROUND_FAILED: abort_round(r, out, ev->code, ev->reason); break;
    }
}
