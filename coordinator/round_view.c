/* round: what the host may see of one: counts, deadlines, and the message that
 * an action says. No step is taken here. See round.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "coordinator/round_parts.h"

/* ---- looking ------------------------------------------------------------ */

enum round_state round_state(const struct round *r)
{
    return r->state;
}

int round_ended(const struct round *r)
{
    return r->state == ROUND_COMMITTED || r->state == ROUND_ABORTED;
}

int round_did(const struct seat *s, unsigned stage)
{
    return (s->done >> stage & 1U) != 0;
}

unsigned round_count_done(const struct round *r, unsigned stage)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->n_seats; i++)
        n += (unsigned)round_did(&r->seats[i], stage);
    return n;
}

void round_counts(const struct round *r, struct round_counts *out)
{
    memset(out, 0, sizeof *out);
    out->n_invited = r->n_seats;
    for (unsigned i = 0; i < r->n_seats; i++)
        out->n_declined += r->seats[i].declined != 0;
    out->n_advertised = round_count_done(r, STAGE_ADVERT);
    out->n_shared = round_count_done(r, STAGE_SHARES);
    out->n_inputs = round_count_done(r, STAGE_INPUT);
    out->n_signatures = round_count_done(r, STAGE_CONSISTENCY);
    out->n_reveals = round_count_done(r, STAGE_REVEAL);
}

int round_seat(const struct round *r, const uint8_t id[KEYS_ID])
{
    for (unsigned i = 0; i < r->n_seats; i++)
        if (memcmp(r->seats[i].id, id, KEYS_ID) == 0) return (int)i;
    return -1;
}

int round_wants_chunks(const struct round *r, unsigned seat)
{
    if (seat >= r->n_seats) return 0;
    const struct seat *s = &r->seats[seat];
    if (round_did(s, STAGE_INPUT)) return 2;
    return r->state == ROUND_INPUT && round_did(s, STAGE_SHARES);
}

const struct msg_over *round_over(const struct round *r)
{
    return &r->over;
}

struct secagg_server *round_secagg(struct round *r)
{
    return r->secagg;
}

const struct msg_task *round_task(const struct round *r)
{
    return &r->task;
}

const uint8_t *round_message_session(const struct message *m)
{
    switch (m->type) {
    case MSG_ADVERT: return m->u.advert.session;
    case MSG_SHARES: return m->u.shares.session;
    case MSG_CHUNK_PUT: return m->u.chunk_put.session;
    case MSG_INPUT: return m->u.input.session;
    case MSG_CONSISTENCY: return m->u.consistency.session;
    case MSG_REVEAL: return m->u.reveal.session;
    case MSG_AWAIT: return m->u.await.session;
    case MSG_INPUT_STATUS: return m->u.input_status.session;
    default: return NULL;
    }
}

int64_t round_next_ms(const struct round *r)
{
    if (round_ended(r)) return INT64_MAX;
    /* The host's commit has no deadline of ours: only requests are answered. */
    int64_t next = r->state == ROUND_FINISHING ? INT64_MAX : r->deadline_ms;
    for (unsigned i = 0; i < r->n_seats; i++)
        if (r->seats[i].held && r->seats[i].hold_until_ms < next)
            next = r->seats[i].hold_until_ms;
    return next;
}

/* ---- the message of a reply --------------------------------------------- */

static void fill_roster(const struct round *r, struct message *out)
{
    unsigned n = secagg_server_n(r->secagg);
    out->u.roster.n = (uint16_t)n;
    memcpy(out->u.roster.list, secagg_server_roster(r->secagg),
           n * sizeof out->u.roster.list[0]);
}

static void fill_peer_shares(struct round *r, unsigned seat,
                             struct message *out)
{
    struct msg_peer_shares *m = &out->u.peer_shares;
    unsigned n = 0;
    secagg_server_shares_for(r->secagg, (unsigned)r->seats[seat].member,
                             m->senders, r->sealed, &n);
    m->n = (uint16_t)n;
    m->sealed = r->sealed;
}

static void fill_signatures(struct round *r, struct message *out)
{
    struct msg_signatures *m = &out->u.signatures;
    unsigned n = 0;
    secagg_server_signatures(r->secagg, m->signers, r->signatures, &n);
    m->n = (uint16_t)n;
    m->signatures = r->signatures;
}

static void fill_over(const struct round *r, unsigned code, struct msg_over *o)
{
    if (code == 0) {
        *o = r->over;
        return;
    }
    o->outcome = OUTCOME_ABORTED;
    o->code = (uint16_t)code;
    o->round = r->task.round;
    o->plan_hash = r->task.plan_hash;
    snprintf(o->reason, sizeof o->reason, "%s", err_code_find(code)->title);
}

void round_message(struct round *r, const struct round_action *a,
                   struct message *out)
{
    assert(a->kind == ROUND_REPLY);
    memset(out, 0, sizeof *out);
    out->type = a->say;
    switch (a->say) {
    case MSG_TASK: out->u.task = r->task; return;
    case MSG_ROSTER: fill_roster(r, out); break;
    case MSG_PEER_SHARES: fill_peer_shares(r, a->seat, out); break;
    case MSG_SURVIVORS:
        out->u.survivors.u3 = *secagg_server_u3(r->secagg);
        break;
    case MSG_SIGNATURES: fill_signatures(r, out); break;
    case MSG_WAIT: out->u.wait.stage = a->stage; break;
    case MSG_OVER: fill_over(r, a->code, &out->u.over); break;
    case MSG_ERROR:
        out->u.error.code = (uint16_t)a->code;
        snprintf(out->u.error.text, sizeof out->u.error.text, "%s",
                 err_code_find(a->code)->title);
        return;
    default: assert(0 && "a reply the round does not make");
    }
    /* Every remaining body starts with the session. */
    memcpy(&out->u, r->task.session, sizeof r->task.session);
}
