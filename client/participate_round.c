/* participate: the five messages of a round, its upload, and its end. See
 * participate.h. */
#include <stdio.h>
#include <string.h>

#include "client/participate_parts.h"
#include "client/update.h"
#include "common/base/codes.h"
#include "common/wire/blob.h"

static enum tacit_err open_session(struct participate *p)
{
    struct secagg_terms terms;
    msg_task_terms(&p->task, &terms);
    return secagg_client_new(&terms, p->c.keys->id, p->c.keys->sign_secret,
                             &p->secagg);
}

void participate_advertise(struct participate *p, struct participate_action *a)
{
    if (open_session(p)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    struct msg_advert *m = &p->out.u.advert;
    memcpy(m->session, p->task.session, sizeof m->session);
    secagg_client_advert(p->secagg, &m->advert);
    participate_call(p, a, ADVERTISING, MSG_ADVERT);
}

static enum tacit_err check_peers(const struct participate *p,
                                  const struct msg_roster *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        const uint8_t *key = roster_find(&p->roster, m->list[i].id);
        if (!key || memcmp(key, m->list[i].identity, KEYS_PUBLIC) != 0)
            return fail_as(E_SECAGG_ROSTER,
                           "a member of the round is not on the signed roster");
    }
    return TACIT_OK;
}

static enum tacit_err make_shares(struct participate *p,
                                  const struct msg_roster *m)
{
    TRY(check_peers(p, m));
    buf_clear(&p->sealed);
    uint8_t *sealed = buf_extend(&p->sealed, (size_t)m->n * SECAGG_SEALED);
    if (!sealed) return buf_end(&p->sealed);
    return secagg_client_share(p->secagg, m->list, m->n, sealed);
}

static void take_peers(struct participate *p, const struct msg_roster *m,
                       struct participate_action *a)
{
    if (make_shares(p, m)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    struct msg_shares *out = &p->out.u.shares;
    memcpy(out->session, p->task.session, sizeof out->session);
    out->n = m->n;
    out->sealed = p->sealed.data;
    participate_call(p, a, SHARING, MSG_SHARES);
}

static void take_shares(struct participate *p, const struct msg_peer_shares *m,
                        struct participate_action *a)
{
    if (secagg_client_receive(p->secagg, m->senders, m->sealed, m->n)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    p->state = TRAINING;
    a->kind = PARTICIPATE_TRAIN;
    a->plan = p->plan;
    a->model = p->model;
    a->strategy = p->strategy;
    a->numbers = &p->numbers;
    a->down = p->file.flat + model_params(p->model)->n_flat;
    a->round = p->task.round;
    a->privacy = &p->privacy;
}

void participate_trained(struct participate *p,
                         const struct participate_event *ev,
                         struct participate_action *a)
{
    struct ledger_row *r = &a->debit;
    double norm = 0;
    buf_clear(&p->input);
    if (update_seal(&p->layout, p->secagg, ev->trained, &p->input, &norm)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    digest_of(&p->input_hash, p->input.data, p->input.len);
    p->n_chunks = blob_n_chunks(p->input.len);
    p->chunk = 0;
    *r = (struct ledger_row){.time_s = ev->now_s,
                             .plan_hash = p->task.plan_hash,
                             .model_hash = p->task.model_hash,
                             .round = p->task.round,
                             .attempt = p->task.attempt,
                             .bytes = p->input.len,
                             .norm = norm,
                             .clip = p->plan->clip,
                             .weight = ev->trained->weight,
                             .n_coords = p->task.n_coords,
                             .ring_bits = p->task.ring_bits,
                             .min_cohort = p->task.u_min};
    if (p->privacy.record) {
        r->noise = p->privacy.noise;
        r->sample = p->plan->privacy.sample;
        r->delta = p->plan->privacy.delta;
    }
    snprintf(r->plan, sizeof r->plan, "%s", p->plan->name);
    memcpy(r->session, p->task.session, sizeof r->session);
    memcpy(p->debited, p->task.session, sizeof p->debited);
    p->state = DEBITING;
    a->kind = PARTICIPATE_DEBIT;
}

void participate_upload(struct participate *p, struct participate_action *a)
{
    if (p->chunk == p->n_chunks) {
        struct msg_input *m = &p->out.u.input;
        memcpy(m->session, p->task.session, sizeof m->session);
        m->n_chunks = p->n_chunks;
        m->hash = p->input_hash;
        participate_call(p, a, INPUTTING, MSG_INPUT);
        return;
    }
    struct msg_chunk_put *m = &p->out.u.chunk_put;
    memcpy(m->session, p->task.session, sizeof m->session);
    m->index = p->chunk;
    m->n_chunks = p->n_chunks;
    m->len = blob_chunk_len(p->input.len, p->chunk);
    m->bytes = p->input.data + (size_t)p->chunk * WIRE_CHUNK_MAX;
    digest_of(&m->hash, m->bytes, m->len);
    participate_call(p, a, UPLOADING, MSG_CHUNK_PUT);
}

static void take_survivors(struct participate *p, const struct msg_survivors *m,
                           struct participate_action *a)
{
    struct msg_consistency *out = &p->out.u.consistency;
    struct secagg_set u3 = m->u3;
    memcpy(out->session, p->task.session, sizeof out->session);
    if (secagg_client_sign(p->secagg, &u3, out->signature)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    /* Whatever happens to this device now, the sum holds its update. */
    p->counted = 1;
    participate_call(p, a, SIGNING, MSG_CONSISTENCY);
}

static void take_signatures(struct participate *p,
                            const struct msg_signatures *m,
                            struct participate_action *a)
{
    struct msg_reveal *out = &p->out.u.reveal;
    unsigned n = 0;
    memcpy(out->session, p->task.session, sizeof out->session);
    if (secagg_client_reveal(p->secagg, m->signers, m->signatures, m->n,
                             out->shares, &n)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    out->n = (uint16_t)n;
    participate_call(p, a, REVEALING, MSG_REVEAL);
}

/* ---- the end ------------------------------------------------------------ */

static void take_over(struct participate *p, const struct msg_over *o,
                      struct participate_action *a)
{
    memcpy(p->last_session, p->task.session, sizeof p->last_session);
    if (o->outcome != OUTCOME_COMMITTED) {
        char why[WIRE_TEXT_MAX];
        snprintf(why, sizeof why, "%s", o->reason);
        p->n_failures = 0;
        participate_end_round(p);
        participate_pause(p, a, participate_pause_ms(p, 0), PARTICIPATE_LOST,
                          why);
        a->why_id = o->code;
        return;
    }
    if (participate_check_over(p, o)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    p->over = *o;
    participate_fetch(p, a, GETTING_RESULT, &o->model_hash, o->model_bytes);
}

void participate_take_result(struct participate *p,
                             const struct participate_event *ev,
                             struct participate_action *a)
{
    if (participate_load_model(p, ev)) {
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    p->model_hash = p->over.model_hash;
    p->state = ADOPTING;
    a->kind = PARTICIPATE_ADOPT;
    a->over = p->over;
    a->plan = p->plan;
    a->strategy = p->strategy;
    a->counted = p->counted;
}

void participate_adopted(struct participate *p, struct participate_action *a)
{
    p->known = (struct participate_known){.plan_hash = p->over.plan_hash,
                                          .model_hash = p->over.model_hash,
                                          .version = p->over.model_version};
    p->n_failures = 0;
    p->n_quick = 0;
    participate_end_round(p);
    participate_pause(p, a, 0, PARTICIPATE_COMMITTED, "");
}

/* ---- replies ------------------------------------------------------------ */

/* The stage whose reply a state waits for, or -1. */
static int stage_of(enum participate_state s)
{
    switch (s) {
    case ADVERTISING: return STAGE_ADVERT;
    case SHARING: return STAGE_SHARES;
    case INPUTTING: return STAGE_INPUT;
    case SIGNING: return STAGE_CONSISTENCY;
    case REVEALING: return STAGE_REVEAL;
    default: return -1;
    }
}

/* Is this reply one of our session's? */
static int is_mine(const struct participate *p, const uint8_t session[32])
{
    return p->tasked && memcmp(session, p->task.session, 32) == 0;
}

/* How long a stage may last. A group that has revealed waits for the others of
 * its round, which may need the time of all stages. */
static int64_t longest_ms(const struct plan *plan, unsigned stage)
{
    if (plan->strategy.groups && stage == STAGE_REVEAL)
        return STAGE_REVEAL * plan->stage_deadline_ms + plan->train_deadline_ms;
    return plan->stage_deadline_ms > plan->train_deadline_ms
               ? plan->stage_deadline_ms
               : plan->train_deadline_ms;
}

/* Ask for the reply again. An honest coordinator holds each request as long as
 * it may, so that no stage takes more of them than its deadline allows. */
static void wait_on(struct participate *p, unsigned stage,
                    struct participate_action *a)
{
    int64_t longest = longest_ms(p->plan, stage);
    if (p->n_waits++ > longest / WIRE_POLL_HOLD_MS + PARTICIPATE_WAITS_EXTRA) {
        (void)fail(TACIT_TIMEOUT, "a stage of the round does not end");
        participate_give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    memcpy(p->out.u.await.session, p->task.session, 32);
    p->out.u.await.stage = (uint8_t)stage;
    participate_call(p, a, p->state, MSG_AWAIT);
}

int participate_round_reply(struct participate *p, const struct message *m,
                            struct participate_action *a)
{
    enum participate_state s = p->state;
    int stage = stage_of(s);
    if (m->type == MSG_WAIT && stage >= 0 && is_mine(p, m->u.wait.session)) {
        wait_on(p, (unsigned)stage, a);
    } else if (m->type == MSG_OVER && s >= ADVERTISING &&
               is_mine(p, m->u.over.session)) {
        take_over(p, &m->u.over, a);
    } else if (m->type == MSG_ROSTER && s == ADVERTISING &&
               is_mine(p, m->u.roster.session)) {
        take_peers(p, &m->u.roster, a);
    } else if (m->type == MSG_PEER_SHARES && s == SHARING &&
               is_mine(p, m->u.peer_shares.session)) {
        take_shares(p, &m->u.peer_shares, a);
    } else if (m->type == MSG_CHUNK_OK && s == UPLOADING &&
               is_mine(p, m->u.chunk_ok.session) &&
               m->u.chunk_ok.index == p->chunk) {
        p->chunk++;
        participate_upload(p, a);
    } else if (m->type == MSG_SURVIVORS && s == INPUTTING &&
               is_mine(p, m->u.survivors.session)) {
        take_survivors(p, &m->u.survivors, a);
    } else if (m->type == MSG_SIGNATURES && s == SIGNING &&
               is_mine(p, m->u.signatures.session)) {
        take_signatures(p, &m->u.signatures, a);
    } else {
        return 0;
    }
    return 1;
}
