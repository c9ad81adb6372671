#include "sims/fleet.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/participate.h"
#include "client/trainer.h"
#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "coordinator/models.h"
#include "coordinator/runner.h"

enum { ROSTER_ROW = KEYS_ID + KEYS_PUBLIC, NEVER = -1 };

/* The simulation has no secrets worth guarding: keys lie in plain memory, so
 * that 100,000 of them do not need as many mappings. */
struct identity {
    struct keys keys;
    uint8_t sign_secret[KEYS_SIGN_SECRET], dh_secret[KEYS_DH_SECRET];
};

/* A client in the cohort of the round. */
struct seat {
    size_t client;
    struct participate *part; /* owned */
    struct participate_action action;
    struct participate_event event; /* for its next step */
    struct message in;              /* the reply in `bytes`, decoded */
    struct buf bytes;
    float *delta; /* [n_flat], owned */
    struct trained trained;
    int has_event, waits, over;
    int drop_at; /* vanishes before its call number drop_at; NEVER */
    int n_calls;
    enum tacit_err err;
    unsigned err_id;
    char why[256];
};

struct fleet {
    struct fleet_config c;
    struct identity *identities; /* [n_clients], owned */
    struct buf roster;
    struct digest roster_hash;
    struct keys coordinator;
    uint8_t roster_signature[KEYS_SIGNATURE];
    struct pool *pool;
    struct policy policy;
    struct model *model;           /* owned: newest weights */
    struct models_version version; /* … and their statement */
    struct buf file, next_file;
    struct ring_layout layout;
    const struct strategy *strategy;
    int64_t now_ms;
    /* The round in hand. */
    struct runner *runner;
    struct seat *seats; /* [n_seats], owned */
    size_t n_seats;
    struct ring_mean mean;
};

/* ---- setting up --------------------------------------------------------- */

static enum tacit_err make_identity(struct identity *i)
{
    struct keys k = {0};
    TRY(keys_new(&k));
    memcpy(i->sign_secret, k.sign_secret, sizeof i->sign_secret);
    memcpy(i->dh_secret, k.dh_secret, sizeof i->dh_secret);
    i->keys = k;
    keys_release(&k);
    i->keys.sign_secret = i->sign_secret;
    i->keys.dh_secret = i->dh_secret;
    return TACIT_OK;
}

static int compare_identity(const void *a, const void *b)
{
    const struct identity *x = a, *y = b;
    return memcmp(x->keys.id, y->keys.id, KEYS_ID);
}

static enum tacit_err make_roster(struct fleet *f)
{
    assert(f->c.n_clients > 0); /* setup has checked */
    struct identity *sorted = calloc(f->c.n_clients, sizeof *sorted);
    if (!sorted) return fail(TACIT_NOMEM, "%zu clients", f->c.n_clients);
    memcpy(sorted, f->identities, f->c.n_clients * sizeof *sorted);
    qsort(sorted, f->c.n_clients, sizeof *sorted, compare_identity);
    for (size_t i = 0; i < f->c.n_clients; i++) {
        buf_put(&f->roster, sorted[i].keys.id, KEYS_ID);
        buf_put(&f->roster, sorted[i].keys.sign_public, KEYS_PUBLIC);
    }
    free(sorted);
    TRY(buf_end(&f->roster));
    digest_of(&f->roster_hash, f->roster.data, f->roster.len);
    keys_sign(&f->coordinator, "tacit roster v1", f->roster_hash.b,
              DIGEST_BYTES, f->roster_signature);
    return TACIT_OK;
}

static enum tacit_err setup(struct fleet *f)
{
    const struct fleet_config *c = &f->c;
    if (c->n_clients < SECAGG_CLIENTS_MIN || c->n_clients > FLEET_CLIENTS_MAX)
        return fail(TACIT_LIMIT, "%zu clients; %d to %d can be simulated",
                    c->n_clients, SECAGG_CLIENTS_MIN, FLEET_CLIENTS_MAX);
    if (c->n_clients < c->plan->min_reports)
        return fail(TACIT_LIMIT,
                    "%zu clients, but a round of plan %s needs at least %u "
                    "(cohort.min_reports)",
                    c->n_clients, c->plan->name, c->plan->min_reports);
    /* The simulated sites allow everything: what is studied is the plan. */
    f->policy = (struct policy){.tasks = ~0U,
                                .min_cohort = SECAGG_CLIENTS_MIN,
                                .clip_max = 1e30,
                                .updates = UINT64_MAX,
                                .updates_per_day = UINT64_MAX,
                                .n_sources = 1};
    memcpy(f->policy.sources[0].name, c->plan->source,
           sizeof f->policy.sources[0].name);
    f->identities = calloc(c->n_clients, sizeof *f->identities);
    if (!f->identities) return fail(TACIT_NOMEM, "%zu clients", c->n_clients);
    TRY(keys_new(&f->coordinator));
    for (size_t i = 0; i < c->n_clients; i++)
        TRY(make_identity(&f->identities[i]));
    TRY(make_roster(f));
    TRY(pool_new(&f->pool, c->n_threads));
    TRY(strategy_find("fedavg", &f->strategy));
    TRY(models_initial(c->plan, &f->model));
    models_layout(c->plan, model_params(f->model)->n_flat, &f->layout);
    f->version = (struct models_version){.plan_hash = c->plan->hash};
    return models_sign(&f->coordinator, c->plan, model_params(f->model),
                       &f->version, &f->file);
}

enum tacit_err fleet_new(const struct fleet_config *c, struct fleet **out)
{
    struct fleet *f = calloc(1, sizeof *f);
    if (!f) return fail(TACIT_NOMEM, "no memory for a fleet");
    f->c = *c;
    buf_init(&f->roster, 0);
    buf_init(&f->file, 0);
    buf_init(&f->next_file, 0);
    enum tacit_err err = setup(f);
    if (err)
        fleet_free(f);
    else
        *out = f;
    return err;
}

static void end_round(struct fleet *f)
{
    for (size_t i = 0; i < f->n_seats; i++) {
        participate_free(f->seats[i].part);
        buf_release(&f->seats[i].bytes);
        free(f->seats[i].delta);
    }
    free(f->seats);
    f->seats = NULL;
    f->n_seats = 0;
    runner_free(f->runner);
    f->runner = NULL;
}

void fleet_free(struct fleet *f)
{
    if (!f) return;
    end_round(f);
    pool_free(f->pool);
    model_free(f->model);
    keys_release(&f->coordinator);
    buf_release(&f->roster);
    buf_release(&f->file);
    buf_release(&f->next_file);
    free(f->identities);
    free(f);
}

struct model *fleet_model(struct fleet *f)
{
    return f->model;
}

const struct buf *fleet_file(const struct fleet *f)
{
    return &f->file;
}

/* ---- the coordinator's side --------------------------------------------- */

/* A reply travels as bytes, so that the codecs are part of the run. */
static void deliver(void *ctx, uint64_t token, const struct message *m)
{
    struct fleet *f = ctx;
    struct seat *s = &f->seats[token];
    buf_clear(&s->bytes);
    s->err = message_encode(m, &s->bytes);
    if (!s->err) s->err = buf_end(&s->bytes);
    if (!s->err) s->err = message_decode(s->bytes.data, s->bytes.len, &s->in);
    s->event =
        (struct participate_event){.kind = PARTICIPATE_REPLY, .reply = &s->in};
    s->waits = 0;
    s->has_event = 1;
}

static enum tacit_err commit(void *ctx, const struct runner_result *r,
                             struct msg_over *over)
{
    struct fleet *f = ctx;
    struct params next = *model_params(f->model);
    struct models_version v = {.plan_hash = f->c.plan->hash,
                               .parent_hash = f->version.model_hash,
                               .version = f->version.version + 1,
                               .round = over->round,
                               .n_clients = r->n_clients};
    memcpy(v.session, over->session, sizeof v.session);
    next.flat = r->weights;
    buf_clear(&f->next_file);
    TRY(models_sign(&f->coordinator, f->c.plan, &next, &v, &f->next_file));
    memcpy(model_params(f->model)->flat, r->weights,
           r->n_params * sizeof(float));
    f->version = v;
    f->mean = r->mean;
    models_over(&v, over);
    return TACIT_OK;
}

static enum tacit_err open_round(struct fleet *f, unsigned attempt)
{
    struct runner_config c = {.layout = f->layout,
                              .strategy = f->strategy,
                              .server_lr = 1.0,
                              .weights = model_params(f->model)->flat,
                              .reply = deliver,
                              .commit = commit,
                              .ctx = f};
    struct msg_task *task = &c.round.task;
    models_task(f->c.plan, f->c.plan_bytes, &f->version, &f->layout, task);
    rng_secure(task->session, sizeof task->session);
    task->attempt = attempt;
    task->roster_hash = f->roster_hash;
    memcpy(task->roster_signature, f->roster_signature, KEYS_SIGNATURE);
    c.round.invite_max = (uint32_t)f->n_seats;
    c.round.goal = f->c.plan->cohort_size;
    return runner_new(&c, f->now_ms, &f->runner);
}

/* ---- the clients' side -------------------------------------------------- */

static int is_stopped(const struct fleet *f)
{
    return f->c.stop && atomic_load(f->c.stop) != 0;
}

static enum tacit_err stopped(const struct fleet *f)
{
    return fail_as(E_INTERRUPTED, "stopped in round %u",
                   f->version.version + 1);
}

static enum tacit_err train(struct fleet *f, struct seat *s)
{
    const struct participate_action *a = &s->action;
    if (is_stopped(f)) return stopped(f);
    if (!s->delta) {
        size_t n = model_params(a->model)->n_flat;
        s->delta = malloc(n * sizeof *s->delta);
        if (!s->delta) return fail(TACIT_NOMEM, "an update of %zu", n);
    }
    s->trained = (struct trained){.delta = s->delta};
    TRY(trainer_run(a->plan, a->model, &f->c.data[s->client], a->round,
                    s->client, &s->trained));
    s->event = (struct participate_event){.kind = PARTICIPATE_TRAINED,
                                          .trained = &s->trained};
    return TACIT_OK;
}

static enum tacit_err fetch(struct fleet *f, struct seat *s)
{
    const struct digest *h = &s->action.hash;
    struct participate_event *ev = &s->event;
    *ev = (struct participate_event){.kind = PARTICIPATE_FETCHED};
    if (digest_equal(h, &f->c.plan->hash)) {
        ev->bytes = (const uint8_t *)f->c.plan_text;
        ev->n_bytes = f->c.plan_bytes;
    } else if (digest_equal(h, &f->roster_hash)) {
        ev->bytes = f->roster.data;
        ev->n_bytes = f->roster.len;
    } else {
        int is_result =
            digest_equal(h, &f->version.model_hash) && f->next_file.len;
        const struct buf *b = is_result ? &f->next_file : &f->file;
        ev->bytes = b->data;
        ev->n_bytes = b->len;
    }
    return TACIT_OK;
}

/* Carry out what needs no coordinator. */
static enum tacit_err carry_out(struct fleet *f, struct seat *s)
{
    switch (s->action.kind) {
    case PARTICIPATE_FETCH: return fetch(f, s);
    case PARTICIPATE_TRAIN: return train(f, s);
    case PARTICIPATE_CONSULT:
        s->event = (struct participate_event){.kind = PARTICIPATE_CONSULTED};
        return TACIT_OK;
    case PARTICIPATE_DEBIT:
        s->event = (struct participate_event){.kind = PARTICIPATE_DEBITED};
        return TACIT_OK;
    case PARTICIPATE_ADOPT:
        s->event = (struct participate_event){.kind = PARTICIPATE_ADOPTED};
        return TACIT_OK;
    default: return fail(TACIT_INTERNAL, "not an action of a client");
    }
}

static void note_why(struct seat *s, const char *why, unsigned id)
{
    snprintf(s->why, sizeof s->why, "%s", why);
    s->err_id = id;
}

/* Step one client until it has to ask the coordinator, or is through. */
static void step(struct fleet *f, struct seat *s)
{
    for (;;) {
        if (s->err) {
            note_why(s, err_message(), err_id());
            s->event.kind = PARTICIPATE_FAILED;
            s->err = TACIT_OK;
        }
        participate_step(s->part, &s->event, &s->action);
        switch (s->action.kind) {
        case PARTICIPATE_CALL: s->waits = 0; return;
        case PARTICIPATE_PAUSE:
        case PARTICIPATE_FINISHED:
        case PARTICIPATE_STOP:
            if (s->action.why[0] && !s->why[0]) note_why(s, s->action.why, 0);
            s->over = 1;
            return;
        default: s->err = carry_out(f, s);
        }
    }
}

/* Runs on a worker. */
static void advance(void *ctx, size_t i, unsigned worker)
{
    struct fleet *f = ctx;
    struct seat *s = &f->seats[i];
    (void)worker;
    if (!s->has_event) return;
    s->has_event = 0;
    step(f, s);
    err_clear(); /* what failed is the client's, not this thread's */
}

/* Send a client's call, as bytes. */
static enum tacit_err send_call(struct fleet *f, size_t i)
{
    struct seat *s = &f->seats[i];
    const struct keys *k = &f->identities[s->client].keys;
    struct runner_peer peer = {k->id, k->sign_public};
    struct buf bytes;
    struct message *m = malloc(sizeof *m);
    if (!m) return fail(TACIT_NOMEM, "no memory for a message");
    buf_init(&bytes, 0);
    enum tacit_err err = message_encode(s->action.message, &bytes);
    if (!err) err = buf_end(&bytes);
    if (!err) err = message_decode(bytes.data, bytes.len, m);
    if (!err) {
        s->waits = 1;
        if (!runner_message(f->runner, f->now_ms, &peer, i, m)) s->over = 1;
    }
    buf_release(&bytes);
    free(m);
    return err;
}

/* Send every call that is ready; *n_moved counts. */
static enum tacit_err send_calls(struct fleet *f, size_t *n_moved)
{
    for (size_t i = 0; i < f->n_seats; i++) {
        struct seat *s = &f->seats[i];
        if (s->over || s->waits || s->has_event) continue;
        ++*n_moved;
        if (s->n_calls++ == s->drop_at)
            s->over = 1; /* vanishes, says nothing */
        else
            TRY(send_call(f, i));
    }
    return TACIT_OK;
}

/* ---- one attempt -------------------------------------------------------- */

/* Calls of a round: POLL, ADVERT, SHARES, CHUNK_PUT …, INPUT, CONSISTENCY,
 * REVEAL. A client that vanishes does so before one of them. */
enum { CALLS_OF_A_ROUND = 7 };

static enum tacit_err seat_clients(struct fleet *f, unsigned attempt)
{
    const struct plan *p = f->c.plan;
    uint32_t most = models_invite_max(p), round = f->version.version + 1;
    struct rng rng;
    uint32_t *order = malloc(f->c.n_clients * sizeof *order);
    f->n_seats = f->c.n_clients < most ? f->c.n_clients : most;
    f->seats = calloc(f->n_seats, sizeof *f->seats);
    if (!order || !f->seats) {
        free(order);
        f->n_seats = 0;
        return fail(TACIT_NOMEM, "a cohort of %u", most);
    }
    for (size_t i = 0; i < f->c.n_clients; i++) order[i] = (uint32_t)i;
    rng_init(&rng, p->seed ^ 0x666c656574u, round, attempt);
    rng_shuffle(&rng, order, f->c.n_clients);
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < f->n_seats; i++) {
        struct seat *s = &f->seats[i];
        s->client = order[i];
        s->drop_at = NEVER;
        if (rng_f64(&rng) < p->sim_dropout)
            s->drop_at = (int)rng_below(&rng, CALLS_OF_A_ROUND);
        buf_init(&s->bytes, 0);
        const struct participate_config c = {.keys =
                                                 &f->identities[s->client].keys,
                                             .coordinator_sign =
                                                 f->coordinator.sign_public,
                                             .policy = &f->policy,
                                             .hold_ms = WIRE_POLL_HOLD_MS};
        err = participate_new(&c, &s->part);
        s->event.kind = PARTICIPATE_BEGIN;
        s->has_event = 1;
    }
    free(order);
    return err;
}

static int all_over(const struct fleet *f)
{
    for (size_t i = 0; i < f->n_seats; i++)
        if (!f->seats[i].over) return 0;
    return 1;
}

/* Until everybody is through: clients step in parallel, then their calls reach
 * the coordinator in order of their seats; when nobody can move, the clock
 * jumps to the next deadline. */
static enum tacit_err run_attempt(struct fleet *f)
{
    while (!all_over(f)) {
        size_t n_moved = 0;
        if (is_stopped(f) && !runner_ended(f->runner)) return stopped(f);
        pool_run(f->pool, f->n_seats, advance, f);
        TRY(send_calls(f, &n_moved));
        for (size_t i = 0; i < f->n_seats; i++)
            n_moved += (size_t)f->seats[i].has_event;
        if (n_moved) continue;
        int64_t next = runner_next_ms(f->runner);
        if (next == INT64_MAX) break; /* over: the lost stay lost */
        if (next > f->now_ms) f->now_ms = next;
        runner_tick(f->runner, f->now_ms);
    }
    return TACIT_OK;
}

static enum tacit_err attempt_round(struct fleet *f, unsigned attempt,
                                    struct fleet_round *out, int *committed)
{
    enum tacit_err err = seat_clients(f, attempt);
    if (!err) err = open_round(f, attempt);
    if (!err) err = run_attempt(f);
    if (err) return err;
    struct round_counts n;
    round_counts(runner_round(f->runner), &n);
    /* Dropped clients leave deadlines to wait for. */
    while (!runner_ended(f->runner)) {
        int64_t next = runner_next_ms(f->runner);
        f->now_ms = next > f->now_ms ? next : f->now_ms;
        runner_tick(f->runner, f->now_ms);
    }
    *committed = round_state(runner_round(f->runner)) == ROUND_COMMITTED;
    out->n_invited = n.n_invited;
    out->n_inputs = n.n_inputs;
    return TACIT_OK;
}

/* Why an attempt failed: a client's own reason says more than the round's. */
static enum tacit_err hopeless(struct fleet *f, unsigned n)
{
    const char *why = round_over(runner_round(f->runner))->reason;
    for (size_t i = 0; i < f->n_seats; i++)
        if (f->seats[i].err_id) why = f->seats[i].why;
    err_clear();
    return fail(TACIT_LIMIT, "round %u failed %u times; last: %s",
                f->version.version + 1, n, why);
}

/* ---- outside ------------------------------------------------------------ */

/* The new model on everybody's held-out rows. */
static enum tacit_err pooled(struct fleet *f, struct fleet_round *out)
{
    double loss = 0, metric = 0;
    size_t n = 0;
    for (size_t i = 0; i < f->c.n_clients; i++) {
        struct model_metrics m;
        if (f->c.data[i].test.n_rows == 0) continue;
        TRY(model_evaluate(f->model, &f->c.data[i].test, &m));
        double rows = (double)m.n_rows;
        loss += m.loss * rows;
        metric += f->c.plan->task == PLAN_REGRESS ? m.metric * m.metric * rows
                                                  : m.metric * rows;
        n += m.n_rows;
    }
    out->has_pooled = n > 0;
    if (n == 0) return TACIT_OK;
    metric /= (double)n;
    out->pooled =
        (struct model_metrics){.loss = loss / (double)n,
                               .metric = f->c.plan->task == PLAN_REGRESS
                                             ? sqrt(metric)
                                             : metric,
                               .n_rows = n};
    return TACIT_OK;
}

enum tacit_err fleet_round(struct fleet *f, struct fleet_round *out)
{
    int committed = 0;
    int64_t start_ns = tick_ns();
    struct fleet_round r = {.round = f->version.version + 1};
    while (!committed) {
        enum tacit_err err = attempt_round(f, r.n_attempts, &r, &committed);
        r.n_attempts++;
        if (!err && !committed && r.n_attempts == FLEET_ATTEMPTS_MAX)
            err = hopeless(f, r.n_attempts);
        end_round(f);
        if (err) return err;
    }
    struct buf old = f->file;
    f->file = f->next_file;
    f->next_file = old;
    buf_clear(&f->next_file);
    r.loss_before = f->mean.metrics[0];
    r.loss_after = f->mean.metrics[1];
    r.has_metric = f->mean.metrics[3] > 0;
    if (r.has_metric) r.metric = f->mean.metrics[2] / f->mean.metrics[3];
    r.virtual_ms = f->now_ms;
    TRY(pooled(f, &r));
    r.wall_ms = (tick_ns() - start_ns) / 1000000;
    *out = r;
    return TACIT_OK;
}
