#include "client/participate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/participate_parts.h"
#include "common/base/codes.h"
#include "common/crypto/secret.h"
#include "common/model/safetensors.h"

enum tacit_err participate_new(const struct participate_config *c,
                               struct participate **out)
{
    struct participate *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "no memory to take part in rounds");
    p->c = *c;
    roster_init(&p->roster);
    buf_init(&p->sealed, 0);
    buf_init(&p->input, 0);
    *out = p;
    return TACIT_OK;
}

void participate_end_round(struct participate *p)
{
    secagg_client_free(p->secagg);
    p->secagg = NULL;
    buf_release(&p->sealed);
    buf_release(&p->input);
    buf_init(&p->sealed, 0);
    buf_init(&p->input, 0);
    secret_wipe(&p->out, sizeof p->out); /* shares, after a REVEAL */
    p->tasked = 0;
    p->counted = 0;
    p->state = IDLE;
}

static void drop_plan(struct participate *p)
{
    plan_free(p->plan);
    model_free(p->model);
    params_release(&p->file);
    p->plan = NULL;
    p->model = NULL;
}

void participate_rest(struct participate *p)
{
    assert(!p->tasked);
    drop_plan(p);
    roster_release(&p->roster);
}

void participate_free(struct participate *p)
{
    if (!p) return;
    participate_end_round(p);
    drop_plan(p);
    roster_release(&p->roster);
    buf_release(&p->sealed);
    buf_release(&p->input);
    free(p);
}

const struct msg_task *participate_task(const struct participate *p)
{
    return p->tasked ? &p->task : NULL;
}

/* ---- actions ------------------------------------------------------------ */

void participate_call(struct participate *p, struct participate_action *a,
                      enum participate_state next, enum message_type type)
{
    p->state = next;
    p->out.type = type;
    if (type != MSG_AWAIT) p->n_waits = 0;
    a->kind = PARTICIPATE_CALL;
    a->message = &p->out;
    a->timeout_ms = WIRE_CALL_MS;
}

void participate_fetch(struct participate *p, struct participate_action *a,
                       enum participate_state next, const struct digest *hash,
                       uint64_t bytes_max)
{
    p->state = next;
    a->kind = PARTICIPATE_FETCH;
    a->hash = *hash;
    a->bytes_max = bytes_max;
}

void participate_pause(struct participate *p, struct participate_action *a,
                       int64_t ms, enum participate_news news, const char *why)
{
    p->state = IDLE;
    a->kind = PARTICIPATE_PAUSE;
    a->pause_ms = ms;
    a->news = news;
    snprintf(a->why, sizeof a->why, "%s", why);
}

int64_t participate_pause_ms(struct participate *p, int64_t ms)
{
    if (ms >= PARTICIPATE_BACKOFF_MS) return ms;
    if (p->n_quick < PARTICIPATE_QUICK_MAX) {
        p->n_quick++;
        return ms;
    }
    return PARTICIPATE_BACKOFF_MS;
}

void participate_give_up(struct participate *p, struct participate_action *a,
                         enum participate_news news)
{
    unsigned shift = p->n_failures < 8 ? p->n_failures : 8;
    int64_t ms = (int64_t)PARTICIPATE_BACKOFF_MS << shift;
    if (ms > WIRE_BACKOFF_MAX_MS) ms = WIRE_BACKOFF_MAX_MS;
    if (news == PARTICIPATE_DECLINED) {
        /* The next POLL says that we are not to be waited for: soon. Whoever
         * then asks the same again waits longer. */
        if (p->n_failures > 0) ms = PARTICIPATE_DECLINE_MS;
        memcpy(p->last_session, p->task.session, sizeof p->last_session);
    }
    p->n_failures++;
    participate_end_round(p);
    participate_pause(p, a, ms, news, err_message());
    a->why_id = err_id();
    err_clear();
}

static void poll(struct participate *p, struct participate_action *a)
{
    struct msg_poll *m = &p->out.u.poll;
    memset(m, 0, sizeof *m);
    memcpy(m->last_session, p->last_session, sizeof m->last_session);
    m->hold_ms = (uint32_t)p->c.hold_ms;
    m->model_version_known = p->known.version > 0;
    m->model_version = p->known.version;
    m->model_plan = p->known.plan_hash;
    participate_call(p, a, POLLING, MSG_POLL);
}

/* ---- a task: plan, policy, roster, model -------------------------------- */

static void take_idle(struct participate *p, const struct msg_idle *m,
                      struct participate_action *a)
{
    int64_t ms = m->retry_ms < WIRE_BACKOFF_MAX_MS ? (int64_t)m->retry_ms
                                                   : WIRE_BACKOFF_MAX_MS;
    ms = participate_pause_ms(p, ms);
    p->n_failures = 0;
    if (m->why == IDLE_FINISHED) {
        p->state = IDLE;
        a->kind = PARTICIPATE_FINISHED;
        a->pause_ms = ms;
        return;
    }
    if (m->why == IDLE_PENDING)
        participate_pause(p, a, ms, PARTICIPATE_PENDING,
                          "the operator has not approved this device yet");
    else if (m->why == IDLE_REVOKED)
        participate_pause(p, a, ms, PARTICIPATE_REVOKED,
                          "the operator has revoked this device");
    else
        participate_pause(p, a, ms, PARTICIPATE_QUIET, "");
}

static enum tacit_err load_plan(struct participate *p,
                                const struct participate_event *ev)
{
    struct model_spec spec;
    drop_plan(p);
    memset(&p->model_hash, 0, sizeof p->model_hash);
    TRY(plan_parse("plan", (const char *)ev->bytes, ev->n_bytes, &p->plan));
    p->plan_hash = p->plan->hash;
    p->plan->base.where = p->c.bases;
    TRY(task_production(p->plan));
    task_spec(p->plan, &spec);
    TRY(model_new(&spec, &p->model));
    const struct params *w = model_params(p->model);
    TRY(task_strategy(p->plan, w, &p->strategy, &p->numbers));
    return task_file(w, p->strategy->n_down, &p->file);
}

enum tacit_err participate_load_model(struct participate *p,
                                      const struct participate_event *ev)
{
    struct params *w = model_params(p->model);
    TRY(safetensors_decode(ev->bytes, ev->n_bytes, &p->file));
    memcpy(w->flat, p->file.flat, w->n_flat * sizeof *w->flat);
    return TACIT_OK;
}

static void get_model(struct participate *p, struct participate_action *a)
{
    if (digest_equal(&p->model_hash, &p->task.model_hash)) {
        participate_advertise(p, a);
        return;
    }
    participate_fetch(p, a, GETTING_MODEL, &p->task.model_hash,
                      participate_model_bytes(p));
}

static void consult(struct participate *p, struct participate_action *a)
{
    p->state = CONSULTING;
    a->kind = PARTICIPATE_CONSULT;
    a->hash = p->task.plan_hash;
    a->plan = p->plan;
    a->model = p->model;
}

static void take_task(struct participate *p, const struct msg_task *t,
                      struct participate_action *a)
{
    p->task = *t;
    p->tasked = 1;
    if (p->plan && digest_equal(&p->plan_hash, &t->plan_hash))
        consult(p, a);
    else
        participate_fetch(p, a, GETTING_PLAN, &t->plan_hash, PLAN_BYTES_MAX);
}

static void take_plan(struct participate *p, const struct participate_event *ev,
                      struct participate_action *a)
{
    if (load_plan(p, ev)) {
        drop_plan(p);
        participate_give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    consult(p, a);
}

static void consulted(struct participate *p, const struct participate_event *ev,
                      struct participate_action *a)
{
    enum tacit_err err = participate_check_task(p);
    if (!err)
        err = policy_allow(p->c.policy, p->plan, p->task.u_min, &ev->spent,
                           ev->local_minute);
    if (!err)
        err = policy_allow_private(p->c.policy, p->plan, &p->privacy,
                                   &ev->epsilon);
    if (!err) err = participate_check_known(p, &ev->known);
    if (err) {
        participate_give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    p->known = ev->known;
    if (roster_is(&p->roster, &p->task.roster_hash))
        get_model(p, a);
    else
        participate_fetch(p, a, GETTING_ROSTER, &p->task.roster_hash,
                          ROSTER_BYTES_MAX);
    if (a->news == PARTICIPATE_QUIET) a->news = PARTICIPATE_TASKED;
}

static void take_roster(struct participate *p,
                        const struct participate_event *ev,
                        struct participate_action *a)
{
    enum tacit_err err = roster_take(&p->roster, ev->bytes, ev->n_bytes,
                                     &p->task, p->c.coordinator_sign);
    const uint8_t *mine = err ? NULL : roster_find(&p->roster, p->c.keys->id);
    if (!err &&
        (!mine || memcmp(mine, p->c.keys->sign_public, KEYS_PUBLIC) != 0))
        err = fail_as(E_SECAGG_ROSTER, "this device is not on the roster");
    if (err) {
        roster_drop(&p->roster);
        participate_give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    get_model(p, a);
}

static void take_model(struct participate *p,
                       const struct participate_event *ev,
                       struct participate_action *a)
{
    if (participate_load_model(p, ev)) {
        participate_give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    p->model_hash = p->task.model_hash;
    participate_advertise(p, a);
}

/* ---- dispatch ----------------------------------------------------------- */

static void unexpected(struct participate *p, const struct message *m,
                       struct participate_action *a)
{
    /* The first failure wins: end the one of a message that made no sense. */
    (void)fail(TACIT_PROTO, "%s is not an answer here", message_name(m->type));
    participate_give_up(p, a, PARTICIPATE_BROKEN);
}

static void take_reply(struct participate *p, const struct message *m,
                       struct participate_action *a)
{
    if (p->state == POLLING && m->type == MSG_IDLE) {
        take_idle(p, &m->u.idle, a);
    } else if (p->state == POLLING && m->type == MSG_TASK) {
        take_task(p, &m->u.task, a);
    } else if (!participate_round_reply(p, m, a)) {
        unexpected(p, m, a);
    }
}

static void take_fetched(struct participate *p,
                         const struct participate_event *ev,
                         struct participate_action *a)
{
    switch (p->state) {
    case GETTING_PLAN: take_plan(p, ev, a); break;
    case GETTING_ROSTER: take_roster(p, ev, a); break;
    case GETTING_MODEL: take_model(p, ev, a); break;
    case GETTING_RESULT: participate_take_result(p, ev, a); break;
    default: assert(0 && "a blob that nobody asked for");
    }
}

static void take_failure(struct participate *p, struct participate_action *a)
{
    enum participate_state s = p->state;
    /* A wrong coordinator, a lost membership, another version: going on would
     * not help. */
    if (err_id() == E_WRONG_COORDINATOR || err_id() == E_NOT_A_MEMBER ||
        err_id() == E_WIRE_VERSION) {
        participate_end_round(p);
        a->kind = PARTICIPATE_STOP;
        return;
    }
    /* The site's own policy or examples: the same next time. */
    int at_home = s == CONSULTING || s == TRAINING;
    participate_give_up(p, a,
                        at_home ? PARTICIPATE_DECLINED : PARTICIPATE_BROKEN);
}

void participate_step(struct participate *p, const struct participate_event *ev,
                      struct participate_action *out)
{
    memset(out, 0, sizeof *out);
    switch (ev->kind) {
    case PARTICIPATE_BEGIN:
        participate_end_round(p);
        poll(p, out);
        break;
    case PARTICIPATE_REPLY: take_reply(p, ev->reply, out); break;
    case PARTICIPATE_FETCHED: take_fetched(p, ev, out); break;
    case PARTICIPATE_CONSULTED:
        assert(p->state == CONSULTING);
        consulted(p, ev, out);
        break;
    case PARTICIPATE_TRAINED:
        assert(p->state == TRAINING);
        participate_trained(p, ev, out);
        break;
    case PARTICIPATE_DEBITED:
        assert(p->state == DEBITING);
        participate_upload(p, out);
        break;
    case PARTICIPATE_ADOPTED:
        assert(p->state == ADOPTING);
        participate_adopted(p, out);
        break;
    case PARTICIPATE_FAILED: take_failure(p, out); break;
    }
}
