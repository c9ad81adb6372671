#include "client/participate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/update.h"
#include "common/base/codes.h"
#include "common/crypto/secret.h"
#include "common/model/safetensors.h"
#include "common/wire/blob.h"

enum { ROSTER_ROW = KEYS_ID + KEYS_PUBLIC };

/* What the last action was for. */
enum state {
    IDLE,
    POLLING,
    GETTING_PLAN,
    CONSULTING,
    GETTING_ROSTER,
    GETTING_MODEL,
    ADVERTISING,
    SHARING,
    TRAINING,
    DEBITING,
    UPLOADING,
    INPUTTING,
    SIGNING,
    REVEALING,
    GETTING_RESULT,
    ADOPTING
};

struct participate {
    struct participate_config c;
    enum state state;
    struct message out;  /* the message of the last CALL */
    unsigned n_failures; /* since the last thing that went well */
    unsigned n_quick;    /* replies in a row that allow no pause */
    unsigned n_waits;    /* WAITs of the stage in hand */
    uint8_t last_session[32];
    uint8_t debited[32]; /* session of the last update that was debited */
    struct participate_known known; /* told in POLL */

    /* Kept between rounds of one plan. */
    struct digest plan_hash;
    struct plan *plan;        /* owned */
    struct model *model;      /* owned, of the plan's kind */
    struct params file;       /* owned: weights and what comes with them */
    struct digest model_hash; /* of the weights that they hold, or zeros */
    const struct strategy *strategy;
    struct strategy_config numbers;
    struct digest roster_hash;
    struct buf roster; /* [n][ROSTER_ROW] */

    /* The round in hand. */
    int tasked;
    struct msg_task task;
    struct ring_layout layout;
    struct task_privacy privacy;
    struct secagg_client *secagg; /* owned */
    struct buf sealed;            /* shares for the peers */
    struct buf input;             /* packed masked input */
    struct digest input_hash;
    uint32_t n_chunks, chunk;
    int counted; /* our update is in the sum that devices sign */
    struct msg_over over;
};

enum tacit_err participate_new(const struct participate_config *c,
                               struct participate **out)
{
    struct participate *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "no memory to take part in rounds");
    p->c = *c;
    buf_init(&p->roster, PARTICIPATE_ROSTER_MAX);
    buf_init(&p->sealed, 0);
    buf_init(&p->input, 0);
    *out = p;
    return TACIT_OK;
}

/* Forget the session: secrets are wiped. */
static void end_round(struct participate *p)
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
    buf_release(&p->roster);
}

void participate_free(struct participate *p)
{
    if (!p) return;
    end_round(p);
    drop_plan(p);
    buf_release(&p->roster);
    buf_release(&p->sealed);
    buf_release(&p->input);
    free(p);
}

const struct msg_task *participate_task(const struct participate *p)
{
    return p->tasked ? &p->task : NULL;
}

/* ---- actions ------------------------------------------------------------ */

static void call(struct participate *p, struct participate_action *a,
                 enum state next, enum message_type type)
{
    p->state = next;
    p->out.type = type;
    if (type != MSG_AWAIT) p->n_waits = 0;
    a->kind = PARTICIPATE_CALL;
    a->message = &p->out;
    a->timeout_ms = WIRE_CALL_MS;
}

static void fetch(struct participate *p, struct participate_action *a,
                  enum state next, const struct digest *hash,
                  uint64_t bytes_max)
{
    p->state = next;
    a->kind = PARTICIPATE_FETCH;
    a->hash = *hash;
    a->bytes_max = bytes_max;
}

static void pause_for(struct participate *p, struct participate_action *a,
                      int64_t ms, enum participate_news news, const char *why)
{
    p->state = IDLE;
    a->kind = PARTICIPATE_PAUSE;
    a->pause_ms = ms;
    a->news = news;
    snprintf(a->why, sizeof a->why, "%s", why);
}

/* A coordinator may have us come back at once, but not for ever. */
static int64_t pause_at_least(struct participate *p, int64_t ms)
{
    if (ms >= PARTICIPATE_BACKOFF_MS) return ms;
    if (p->n_quick < PARTICIPATE_QUICK_MAX) {
        p->n_quick++;
        return ms;
    }
    return PARTICIPATE_BACKOFF_MS;
}

/* Leave the round for a reason of our own (the recorded error). */
static void give_up(struct participate *p, struct participate_action *a,
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
    end_round(p);
    pause_for(p, a, ms, news, err_message());
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
    call(p, a, POLLING, MSG_POLL);
}

/* ---- a task: plan, policy, roster, model -------------------------------- */

static void take_idle(struct participate *p, const struct msg_idle *m,
                      struct participate_action *a)
{
    int64_t ms = m->retry_ms < WIRE_BACKOFF_MAX_MS ? (int64_t)m->retry_ms
                                                   : WIRE_BACKOFF_MAX_MS;
    ms = pause_at_least(p, ms);
    p->n_failures = 0;
    if (m->why == IDLE_FINISHED) {
        p->state = IDLE;
        a->kind = PARTICIPATE_FINISHED;
        a->pause_ms = ms;
        return;
    }
    if (m->why == IDLE_PENDING)
        pause_for(p, a, ms, PARTICIPATE_PENDING,
                  "the operator has not approved this device yet");
    else if (m->why == IDLE_REVOKED)
        pause_for(p, a, ms, PARTICIPATE_REVOKED,
                  "the operator has revoked this device");
    else
        pause_for(p, a, ms, PARTICIPATE_QUIET, "");
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
    policy_bound(p->c.policy, p->plan);
    TRY(task_production(p->plan));
    task_spec(p->plan, &spec);
    TRY(model_new(&spec, &p->model));
    const struct params *w = model_params(p->model);
    TRY(task_strategy(p->plan, w, &p->strategy, &p->numbers));
    return task_file(w, p->strategy->n_down, &p->file);
}

/* A model file whose hash was checked: weights, and what comes with them. */
static enum tacit_err load_model(struct participate *p,
                                 const struct participate_event *ev)
{
    struct params *w = model_params(p->model);
    TRY(safetensors_decode(ev->bytes, ev->n_bytes, &p->file));
    memcpy(w->flat, p->file.flat, w->n_flat * sizeof *w->flat);
    return TACIT_OK;
}

/* No file of the plan's model is larger. */
static uint64_t model_bytes_max(const struct participate *p)
{
    uint64_t n = p->file.n_flat;
    return 8 + SAFETENSORS_HEADER_MAX + n * sizeof(float);
}

/* Does the task ask exactly what its plan says? */
static enum tacit_err check_task(struct participate *p)
{
    const struct msg_task *t = &p->task;
    size_t n_params = model_params(p->model)->n_flat;
    if (n_params * p->strategy->n_up > WIRE_PARAMS_MAX)
        return fail_as(E_TASK_REFUSED, "a model of %zu weights", n_params);
    task_layout(p->plan, p->strategy, n_params, &p->layout);
    TRY(task_privacy(p->plan, &p->layout, &p->privacy));
    if (!digest_equal(&p->plan_hash, &t->plan_hash))
        return fail_as(E_TASK_REFUSED, "the plan is not the announced one");
    if (t->round < 1 || t->round > p->plan->rounds ||
        t->n_rounds != p->plan->rounds || t->model_version != t->round - 1)
        return fail_as(E_TASK_REFUSED, "round %u of %u with model version %u",
                       t->round, t->n_rounds, t->model_version);
    if (t->ring_bits != p->plan->ring_bits ||
        t->n_coords != ring_coords(&p->layout))
        return fail_as(E_TASK_REFUSED,
                       "%u coordinates of %u bits; the plan "
                       "makes %u of %u",
                       t->n_coords, t->ring_bits, ring_coords(&p->layout),
                       p->plan->ring_bits);
    if (t->u_min != p->plan->min_reports)
        return fail_as(E_TASK_REFUSED,
                       "a sum of at least %u devices; the plan says %u",
                       t->u_min, p->plan->min_reports);
    if (t->model_bytes > model_bytes_max(p))
        return fail_as(E_TASK_REFUSED, "a model of %llu bytes",
                       (unsigned long long)t->model_bytes);
    if (memcmp(t->session, p->debited, sizeof p->debited) == 0)
        return fail_as(E_TASK_REFUSED,
                       "an update has left in this session before");
    return TACIT_OK;
}

/* No way back: not to an older model, nor to another one of the same version.
 * Version 0 is the plan's first model, adopted by nobody. */
static enum tacit_err check_known(const struct participate *p,
                                  const struct participate_known *known)
{
    const struct msg_task *t = &p->task;
    if (known->version == 0) return TACIT_OK;
    if (t->model_version < known->version)
        return fail_as(E_MODEL_REFUSED,
                       "the round starts from version %u; version %u was "
                       "adopted before",
                       t->model_version, known->version);
    if (t->model_version == known->version &&
        !digest_equal(&t->model_hash, &known->model_hash))
        return fail_as(E_MODEL_REFUSED,
                       "version %u is not the one adopted before",
                       known->version);
    return TACIT_OK;
}

static enum tacit_err check_roster(struct participate *p)
{
    const uint8_t *rows = p->roster.data;
    size_t n = p->roster.len / ROSTER_ROW;
    if (n == 0 || p->roster.len % ROSTER_ROW)
        return fail_as(E_TASK_REFUSED, "a roster of %zu bytes", p->roster.len);
    TRY(keys_verify(p->c.coordinator_sign, "tacit roster v1",
                    p->task.roster_hash.b, DIGEST_BYTES,
                    p->task.roster_signature));
    for (size_t i = 1; i < n; i++)
        if (memcmp(rows + (i - 1) * ROSTER_ROW, rows + i * ROSTER_ROW,
                   KEYS_ID) >= 0)
            return fail_as(E_SECAGG_ROSTER, "the roster is not in order");
    return TACIT_OK;
}

static const uint8_t *roster_find(const struct participate *p,
                                  const uint8_t id[KEYS_ID])
{
    size_t low = 0, high = p->roster.len / ROSTER_ROW;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const uint8_t *row = p->roster.data + mid * ROSTER_ROW;
        int order = memcmp(id, row, KEYS_ID);
        if (order == 0) return row + KEYS_ID;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static void advertise(struct participate *p, struct participate_action *a);

static void get_model(struct participate *p, struct participate_action *a)
{
    if (digest_equal(&p->model_hash, &p->task.model_hash)) {
        advertise(p, a);
        return;
    }
    fetch(p, a, GETTING_MODEL, &p->task.model_hash, model_bytes_max(p));
}

static void consult(struct participate *p, struct participate_action *a)
{
    p->state = CONSULTING;
    a->kind = PARTICIPATE_CONSULT;
    a->hash = p->task.plan_hash;
    a->plan = p->plan;
}

static void take_task(struct participate *p, const struct msg_task *t,
                      struct participate_action *a)
{
    p->task = *t;
    p->tasked = 1;
    if (p->plan && digest_equal(&p->plan_hash, &t->plan_hash))
        consult(p, a);
    else
        fetch(p, a, GETTING_PLAN, &t->plan_hash, PLAN_BYTES_MAX);
}

static void take_plan(struct participate *p, const struct participate_event *ev,
                      struct participate_action *a)
{
    if (load_plan(p, ev)) {
        drop_plan(p);
        give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    consult(p, a);
}

static void consulted(struct participate *p, const struct participate_event *ev,
                      struct participate_action *a)
{
    enum tacit_err err = check_task(p);
    if (!err)
        err = policy_allow(p->c.policy, p->plan, p->task.u_min, &ev->spent,
                           ev->local_minute);
    if (!err)
        err = policy_allow_private(p->c.policy, p->plan, &p->privacy,
                                   &ev->epsilon);
    if (!err) err = check_known(p, &ev->known);
    if (err) {
        give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    p->known = ev->known;
    if (p->roster.len && digest_equal(&p->roster_hash, &p->task.roster_hash))
        get_model(p, a);
    else
        fetch(p, a, GETTING_ROSTER, &p->task.roster_hash,
              PARTICIPATE_ROSTER_MAX);
    if (a->news == PARTICIPATE_QUIET) a->news = PARTICIPATE_TASKED;
}

static void take_roster(struct participate *p,
                        const struct participate_event *ev,
                        struct participate_action *a)
{
    buf_clear(&p->roster);
    buf_put(&p->roster, ev->bytes, ev->n_bytes);
    enum tacit_err err = buf_end(&p->roster);
    if (!err) err = check_roster(p);
    const uint8_t *mine = err ? NULL : roster_find(p, p->c.keys->id);
    if (!err &&
        (!mine || memcmp(mine, p->c.keys->sign_public, KEYS_PUBLIC) != 0))
        err = fail_as(E_SECAGG_ROSTER, "this device is not on the roster");
    if (err) {
        buf_clear(&p->roster);
        give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    p->roster_hash = p->task.roster_hash;
    get_model(p, a);
}

/* ---- the five messages -------------------------------------------------- */

static enum tacit_err open_session(struct participate *p)
{
    struct secagg_terms terms = {.plan_hash = p->task.plan_hash,
                                 .model_hash = p->task.model_hash,
                                 .roster_hash = p->task.roster_hash,
                                 .round = p->task.round,
                                 .ring_bits = p->task.ring_bits,
                                 .n_coords = p->task.n_coords,
                                 .u_min = p->task.u_min};
    memcpy(terms.session, p->task.session, sizeof terms.session);
    return secagg_client_new(&terms, p->c.keys->id, p->c.keys->sign_secret,
                             &p->secagg);
}

static void advertise(struct participate *p, struct participate_action *a)
{
    if (open_session(p)) {
        give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    struct msg_advert *m = &p->out.u.advert;
    memcpy(m->session, p->task.session, sizeof m->session);
    secagg_client_advert(p->secagg, &m->advert);
    call(p, a, ADVERTISING, MSG_ADVERT);
}

static void take_model(struct participate *p,
                       const struct participate_event *ev,
                       struct participate_action *a)
{
    if (load_model(p, ev)) {
        give_up(p, a, PARTICIPATE_DECLINED);
        return;
    }
    p->model_hash = p->task.model_hash;
    advertise(p, a);
}

static enum tacit_err check_peers(const struct participate *p,
                                  const struct msg_roster *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        const uint8_t *key = roster_find(p, m->list[i].id);
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
        give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    struct msg_shares *out = &p->out.u.shares;
    memcpy(out->session, p->task.session, sizeof out->session);
    out->n = m->n;
    out->sealed = p->sealed.data;
    call(p, a, SHARING, MSG_SHARES);
}

static void take_shares(struct participate *p, const struct msg_peer_shares *m,
                        struct participate_action *a)
{
    if (secagg_client_receive(p->secagg, m->senders, m->sealed, m->n)) {
        give_up(p, a, PARTICIPATE_BROKEN);
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

static void take_trained(struct participate *p,
                         const struct participate_event *ev,
                         struct participate_action *a)
{
    struct ledger_row *r = &a->debit;
    double norm = 0;
    buf_clear(&p->input);
    if (update_seal(&p->layout, p->secagg, ev->trained, &p->input, &norm)) {
        give_up(p, a, PARTICIPATE_BROKEN);
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

/* The next chunk, or the message that ends the upload. */
static void upload(struct participate *p, struct participate_action *a)
{
    if (p->chunk == p->n_chunks) {
        struct msg_input *m = &p->out.u.input;
        memcpy(m->session, p->task.session, sizeof m->session);
        m->n_chunks = p->n_chunks;
        m->hash = p->input_hash;
        call(p, a, INPUTTING, MSG_INPUT);
        return;
    }
    struct msg_chunk_put *m = &p->out.u.chunk_put;
    memcpy(m->session, p->task.session, sizeof m->session);
    m->index = p->chunk;
    m->n_chunks = p->n_chunks;
    m->len = blob_chunk_len(p->input.len, p->chunk);
    m->bytes = p->input.data + (size_t)p->chunk * WIRE_CHUNK_MAX;
    digest_of(&m->hash, m->bytes, m->len);
    call(p, a, UPLOADING, MSG_CHUNK_PUT);
}

static void take_survivors(struct participate *p, const struct msg_survivors *m,
                           struct participate_action *a)
{
    struct msg_consistency *out = &p->out.u.consistency;
    struct secagg_set u3 = m->u3;
    memcpy(out->session, p->task.session, sizeof out->session);
    if (secagg_client_sign(p->secagg, &u3, out->signature)) {
        give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    /* Whatever happens to this device now, the sum holds its update. */
    p->counted = 1;
    call(p, a, SIGNING, MSG_CONSISTENCY);
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
        give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    out->n = (uint16_t)n;
    call(p, a, REVEALING, MSG_REVEAL);
}

/* ---- the end ------------------------------------------------------------ */

static enum tacit_err check_over(const struct participate *p,
                                 const struct msg_over *o)
{
    uint8_t statement[MSG_STATEMENT_BYTES];
    const struct msg_task *t = &p->task;
    /* Without a barrier, other sums may have made versions meanwhile. */
    int async = (p->strategy->flags & STRATEGY_ASYNC) != 0;
    int follows = async ? o->model_version > t->model_version &&
                              o->round == o->model_version
                        : o->model_version == t->model_version + 1 &&
                              o->round == t->round &&
                              digest_equal(&o->parent_hash, &t->model_hash);
    if (!digest_equal(&o->plan_hash, &t->plan_hash) || !follows)
        return fail_as(E_MODEL_REFUSED,
                       "the round's result is another round's");
    if (o->n_clients < t->u_min)
        return fail_as(E_MODEL_REFUSED,
                       "a model of %u devices; at least %u "
                       "were promised",
                       o->n_clients, t->u_min);
    if (o->model_bytes == 0 || o->model_bytes > model_bytes_max(p))
        return fail_as(E_MODEL_REFUSED, "a model of %llu bytes",
                       (unsigned long long)o->model_bytes);
    msg_over_statement(o, statement);
    enum tacit_err err = keys_verify(p->c.coordinator_sign, "tacit model v1",
                                     statement, sizeof statement, o->signature);
    if (!err) return TACIT_OK;
    err_clear();
    return fail_as(E_MODEL_REFUSED, "the model's statement is not signed by "
                                    "the coordinator");
}

static void take_over(struct participate *p, const struct msg_over *o,
                      struct participate_action *a)
{
    memcpy(p->last_session, p->task.session, sizeof p->last_session);
    if (o->outcome != OUTCOME_COMMITTED) {
        char why[WIRE_TEXT_MAX];
        snprintf(why, sizeof why, "%s", o->reason);
        p->n_failures = 0;
        end_round(p);
        pause_for(p, a, pause_at_least(p, 0), PARTICIPATE_LOST, why);
        a->why_id = o->code;
        return;
    }
    if (check_over(p, o)) {
        give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    p->over = *o;
    fetch(p, a, GETTING_RESULT, &o->model_hash, o->model_bytes);
}

static void take_result(struct participate *p,
                        const struct participate_event *ev,
                        struct participate_action *a)
{
    if (load_model(p, ev)) {
        give_up(p, a, PARTICIPATE_BROKEN);
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

static void adopted(struct participate *p, struct participate_action *a)
{
    p->known = (struct participate_known){.plan_hash = p->over.plan_hash,
                                          .model_hash = p->over.model_hash,
                                          .version = p->over.model_version};
    p->n_failures = 0;
    p->n_quick = 0;
    end_round(p);
    pause_for(p, a, 0, PARTICIPATE_COMMITTED, "");
}

/* ---- dispatch ----------------------------------------------------------- */

/* The stage whose reply a state waits for, or -1. */
static int stage_of(enum state s)
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

static void unexpected(struct participate *p, const struct message *m,
                       struct participate_action *a)
{
    /* The first failure wins: end the one of a message that made no sense. */
    (void)fail(TACIT_PROTO, "%s is not an answer here", message_name(m->type));
    give_up(p, a, PARTICIPATE_BROKEN);
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
        give_up(p, a, PARTICIPATE_BROKEN);
        return;
    }
    memcpy(p->out.u.await.session, p->task.session, 32);
    p->out.u.await.stage = (uint8_t)stage;
    call(p, a, p->state, MSG_AWAIT);
}

static int take_round_reply(struct participate *p, const struct message *m,
                            struct participate_action *a)
{
    enum state s = p->state;
    if (m->type == MSG_ROSTER && s == ADVERTISING &&
        is_mine(p, m->u.roster.session)) {
        take_peers(p, &m->u.roster, a);
    } else if (m->type == MSG_PEER_SHARES && s == SHARING &&
               is_mine(p, m->u.peer_shares.session)) {
        take_shares(p, &m->u.peer_shares, a);
    } else if (m->type == MSG_CHUNK_OK && s == UPLOADING &&
               is_mine(p, m->u.chunk_ok.session) &&
               m->u.chunk_ok.index == p->chunk) {
        p->chunk++;
        upload(p, a);
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

static void take_reply(struct participate *p, const struct message *m,
                       struct participate_action *a)
{
    int stage = stage_of(p->state);
    if (p->state == POLLING && m->type == MSG_IDLE) {
        take_idle(p, &m->u.idle, a);
    } else if (p->state == POLLING && m->type == MSG_TASK) {
        take_task(p, &m->u.task, a);
    } else if (m->type == MSG_WAIT && stage >= 0 &&
               is_mine(p, m->u.wait.session)) {
        wait_on(p, (unsigned)stage, a);
    } else if (m->type == MSG_OVER && p->state >= ADVERTISING &&
               is_mine(p, m->u.over.session)) {
        take_over(p, &m->u.over, a);
    } else if (!take_round_reply(p, m, a)) {
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
    case GETTING_RESULT: take_result(p, ev, a); break;
    default: assert(0 && "a blob that nobody asked for");
    }
}

static void take_failure(struct participate *p, struct participate_action *a)
{
    enum state s = p->state;
    /* A wrong coordinator, a lost membership, another version: going on would
     * not help. */
    if (err_id() == E_WRONG_COORDINATOR || err_id() == E_NOT_A_MEMBER ||
        err_id() == E_WIRE_VERSION) {
        end_round(p);
        a->kind = PARTICIPATE_STOP;
        return;
    }
    /* The site's own policy or examples: the same next time. */
    int at_home = s == CONSULTING || s == TRAINING;
    give_up(p, a, at_home ? PARTICIPATE_DECLINED : PARTICIPATE_BROKEN);
}

void participate_step(struct participate *p, const struct participate_event *ev,
                      struct participate_action *out)
{
    memset(out, 0, sizeof *out);
    switch (ev->kind) {
    case PARTICIPATE_BEGIN:
        end_round(p);
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
        take_trained(p, ev, out);
        break;
    case PARTICIPATE_DEBITED:
        assert(p->state == DEBITING);
        upload(p, out);
        break;
    case PARTICIPATE_ADOPTED:
        assert(p->state == ADOPTING);
        adopted(p, out);
        break;
    case PARTICIPATE_FAILED: take_failure(p, out); break;
    }
}
