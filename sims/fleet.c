#include "sims/fleet.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "sims/fleet_parts.h"

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

/* Only the protocol needs them; making one costs a tenth of a millisecond. */
static enum tacit_err make_identities(struct fleet *f)
{
    if (f->c.plan->sim.sum_only) return TACIT_OK;
    f->identities = calloc(f->c.n_clients, sizeof *f->identities);
    if (!f->identities) return fail(TACIT_NOMEM, "%zu clients", f->c.n_clients);
    for (size_t i = 0; i < f->c.n_clients; i++)
        TRY(make_identity(&f->identities[i]));
    return make_roster(f);
}

static enum tacit_err make_clients(struct fleet *f)
{
    size_t n = f->c.n_clients;
    f->kept = calloc(n, sizeof *f->kept);
    f->clients = calloc(n, sizeof *f->clients);
    f->level = calloc(n, sizeof *f->level);
    f->level_ms = calloc(n, sizeof *f->level_ms);
    if (!f->kept || !f->clients || !f->level || !f->level_ms)
        return fail(TACIT_NOMEM, "%zu clients", n);
    for (size_t i = 0; i < n; i++) {
        if (f->c.data[i].train.n_rows == 0)
            return fail_as(E_NO_EXAMPLES,
                           "client %zu has no rows to train on; deal out more "
                           "rows, or leave it out",
                           i);
        f->level[i] = 1;
        f->clients[i].n_rows = f->c.data[i].train.n_rows;
        f->clients[i].loss = -1;
    }
    return TACIT_OK;
}

static enum tacit_err check_counts(const struct fleet_config *c)
{
    const struct plan *p = c->plan;
    if (c->peers && !p->sim.sum_only)
        return fail(TACIT_UNSUPPORTED,
                    "plan %s runs the full protocol, which one process does; "
                    "add --set sim.protocol=sum, which learns the same model "
                    "to the bit, or run it with tacit-sim",
                    p->name);
    uint32_t need =
        p->min_reports * (p->strategy.groups ? p->strategy.groups : 1);
    uint32_t least = p->secagg_off ? 1 : (uint32_t)SECAGG_CLIENTS_MIN;
    if (c->n_clients < least || c->n_clients > FLEET_CLIENTS_MAX)
        return fail(TACIT_LIMIT, "%zu clients; %u to %d can be simulated",
                    c->n_clients, least, FLEET_CLIENTS_MAX);
    if (c->n_clients < need)
        return fail(TACIT_LIMIT,
                    "%zu clients, but a round of plan %s needs at least %u "
                    "(cohort.min_reports%s)",
                    c->n_clients, p->name, need,
                    p->strategy.groups ? " in each group" : "");
    return TACIT_OK;
}

enum tacit_err fleet_seal(const struct fleet *f, const struct params *p,
                          struct models_version *v, struct buf *file)
{
    if (f->c.plan->sim.sum_only) return models_bytes(f->c.plan, p, v);
    return models_sign(&f->coordinator, f->c.plan, p, v, file);
}

static enum tacit_err setup(struct fleet *f)
{
    const struct fleet_config *c = &f->c;
    TRY(check_counts(c));
    /* The simulated sites allow everything: what is studied is the plan. */
    f->policy = (struct policy){.tasks = ~0U,
                                .min_cohort = SECAGG_CLIENTS_MIN,
                                .clip_max = 1e30,
                                .updates = UINT64_MAX,
                                .updates_per_day = UINT64_MAX,
                                .n_sources = 1};
    memcpy(f->policy.sources[0].name, c->plan->source,
           sizeof f->policy.sources[0].name);
    TRY(keys_new(&f->coordinator));
    TRY(make_identities(f));
    TRY(make_clients(f));
    TRY(pool_new(&f->pool, c->n_threads));
    f->workers = calloc(pool_threads(f->pool), sizeof *f->workers);
    if (!f->workers) return fail(TACIT_NOMEM, "the workers");
    TRY(aggregate_new(c->plan, &f->learned));
    f->version = (struct models_version){.plan_hash = c->plan->hash};
    return fleet_seal(f, &f->learned->file, &f->version, &f->file);
}

enum tacit_err fleet_new(const struct fleet_config *c, struct fleet **out)
{
    struct fleet *f = calloc(1, sizeof *f);
    if (!f) return fail(TACIT_NOMEM, "no memory for a fleet");
    f->c = *c;
    buf_init(&f->roster, 0);
    buf_init(&f->file, 0);
    enum tacit_err err = setup(f);
    if (err)
        fleet_free(f);
    else
        *out = f;
    return err;
}

void fleet_sum_free(struct sum *s)
{
    if (!s) return;
    fleet_full_free(s);
    for (size_t i = 0; i < s->n_seats; i++) {
        free(s->seats[i].next_state);
        free(s->seats[i].row);
    }
    free(s->seats);
    free(s->update);
    free(s);
}

static void free_workers(struct fleet *f)
{
    for (unsigned i = 0; f->workers && i < pool_threads(f->pool); i++) {
        struct worker *w = &f->workers[i];
        model_free(w->model);
        if (w->trained.up)
            trained_release(&w->trained, f->learned->strategy, f->learned->n);
        free(w->y);
        free(w->sum);
    }
    free(f->workers);
}

void fleet_free(struct fleet *f)
{
    if (!f) return;
    for (size_t i = 0; i < f->n_flying; i++) fleet_sum_free(f->flying[i]);
    free(f->flying);
    free(f->told);
    free_workers(f);
    pool_free(f->pool);
    for (size_t i = 0; f->kept && i < f->c.n_clients; i++) free(f->kept[i]);
    free(f->kept);
    free(f->clients);
    free(f->level);
    free(f->level_ms);
    aggregate_free(f->learned);
    keys_release(&f->coordinator);
    buf_release(&f->roster);
    buf_release(&f->file);
    free(f->identities);
    free(f);
}

struct model *fleet_model(struct fleet *f)
{
    return f->learned->model;
}

enum tacit_err fleet_file(struct fleet *f, const struct buf **out)
{
    enum tacit_err err = TACIT_OK;
    if (f->file.len == 0)
        err =
            models_encode(f->c.plan, &f->learned->file, &f->version, &f->file);
    if (err)
        buf_release(&f->file); /* half a file is none */
    else
        *out = &f->file;
    return err;
}

enum tacit_err fleet_stopped(const struct fleet *f)
{
    if (!f->c.stop || atomic_load(f->c.stop) == 0) return TACIT_OK;
    return fail_as(E_INTERRUPTED, "stopped in round %u",
                   f->version.version + 1);
}

/* Sizes of the protocol's messages beside the input; shares and adverts of
 * every member go to every member. */
void fleet_traffic(const struct fleet *f, size_t n, uint64_t *up,
                   uint64_t *down)
{
    const struct aggregate *a = f->learned;
    uint64_t advert = sizeof(struct secagg_advert), k = n;
    if (f->c.plan->secagg_off) {
        *up = sizeof(float) * (uint64_t)a->n * a->strategy->n_up;
        *down = f->version.bytes;
        return;
    }
    *up = (uint64_t)ring_coords(&a->layout) * a->layout.ring_bits / 8 + advert +
          k * SECAGG_SEALED + SECAGG_SIGNATURE +
          k * sizeof(struct secagg_share);
    *down = f->version.bytes + k * (advert + SECAGG_SEALED + SECAGG_SIGNATURE);
}

/* ---- a sum -------------------------------------------------------------- */

static enum tacit_err sum_run(struct sum *s)
{
    assert(s);
    /* Several processes see a stop at different times: they agree on it by the
     * failures of their seats. */
    if (!s->f->c.peers) TRY(fleet_stopped(s->f));
    return s->f->c.plan->sim.sum_only ? fleet_sum_run(s) : fleet_full_run(s);
}

static void account(const struct sum *s, struct fleet_round *out)
{
    assert(s);
    struct fleet *f = s->f;
    out->n_invited += s->n_invited;
    out->n_inputs += s->n_inputs;
    for (size_t i = 0; i < s->n_seats; i++) {
        const struct seat *x = &s->seats[i];
        double energy = handset_energy_j(&x->device, &x->cost);
        out->bytes_up += x->cost.bytes_up;
        out->bytes_down += x->cost.bytes_down;
        out->energy_j += energy;
        out->n_attackers += x->in_sum && x->attacks;
        if (!x->device.on_battery) continue;
        double level = (double)f->level[x->client] - energy / HANDSET_BATTERY_J;
        f->level[x->client] = (float)(level > 0 ? level : 0);
    }
}

/* ---- a round with a barrier --------------------------------------------- */

struct attempt {
    struct sum **list; /* [n], owned */
    unsigned n, n_committed;
    char why[256];
};

static void attempt_free(struct attempt *t)
{
    for (unsigned i = 0; i < t->n; i++) fleet_sum_free(t->list[i]);
    free(t->list);
}

static enum tacit_err run_attempt(struct fleet *f, unsigned number,
                                  struct attempt *t, struct fleet_round *out)
{
    const struct plan *p = f->c.plan;
    unsigned n_groups = p->strategy.groups ? p->strategy.groups : 1;
    struct cohort cohort;
    /* Of the attempt that comes right. */
    out->n_invited = out->n_inputs = out->n_attackers = 0;
    t->list = calloc(n_groups, sizeof *t->list);
    if (!t->list) return fail(TACIT_NOMEM, "%u groups", n_groups);
    enum tacit_err err =
        fleet_cohort(f, f->version.version + 1, number, &cohort);
    for (unsigned g = 0; !err && g < n_groups; g++) {
        err = fleet_sum_new(f, &cohort, g, number, &t->list[g]);
        if (err) break;
        struct sum *s = t->list[t->n++];
        assert(s);
        err = sum_run(s);
        account(s, out);
        t->n_committed += (unsigned)s->committed;
        if (!s->committed) snprintf(t->why, sizeof t->why, "%s", s->why);
    }
    free(cohort.list);
    f->now_ms = fleet_end_ms(f, t->list, t->n);
    return err;
}

/* As coordinator/sums.c: half of the groups, two at least, and the trusted one
 * where the rule wants it. */
static unsigned groups_wanted(unsigned n)
{
    unsigned half = (n + 1) / 2;
    return half > 2 ? half : n < 2 ? n : 2;
}

static int is_rooted(const struct fleet *f, unsigned n)
{
    return n > 1 && (f->learned->strategy->flags & STRATEGY_ROOTED) != 0;
}

static int can_commit(const struct fleet *f, const struct attempt *t)
{
    if (is_rooted(f, t->n) && !t->list[0]->committed) return 0;
    return t->n_committed >= groups_wanted(t->n);
}

/* Failures that end no later than `at`. */
static unsigned lost_by(struct sum *const *list, unsigned n, int64_t at)
{
    unsigned lost = 0;
    for (unsigned i = 0; i < n; i++)
        lost += !list[i]->committed && list[i]->end_ms <= at;
    return lost;
}

int64_t fleet_end_ms(const struct fleet *f, struct sum *const *list, unsigned n)
{
    int64_t last = f->now_ms, given_up = INT64_MAX;
    for (unsigned i = 0; i < n; i++) {
        int64_t at = list[i]->end_ms;
        if (at > last) last = at;
        if (list[i]->committed || at >= given_up) continue;
        int rootless = i == 0 && is_rooted(f, n);
        if (rootless || n - lost_by(list, n, at) < groups_wanted(n))
            given_up = at;
    }
    return given_up < last ? given_up : last;
}

/* After a failure: the next try finds the devices elsewhere. */
static void wait_a_while(struct fleet *f, unsigned attempt)
{
    f->now_ms += 60000LL << (attempt < 8 ? attempt : 8);
}

static enum tacit_err gave_up(const struct fleet *f, unsigned n_attempts,
                              const char *why)
{
    return fail(
        TACIT_LIMIT,
        "round %u failed %u times; last: %s. Invite more "
        "(cohort.over_select, sim.clients), want fewer "
        "(cohort.min_reports), or lose fewer (sim.dropout, sim.devices)",
        f->version.version + 1, n_attempts, why);
}

static enum tacit_err round_with_barrier(struct fleet *f,
                                         struct fleet_round *out)
{
    for (;;) {
        struct attempt t = {0};
        enum tacit_err err = run_attempt(f, out->n_attempts, &t, out);
        out->n_attempts++;
        int done = 0;
        if (!err && can_commit(f, &t)) {
            err = fleet_learn(f, t.list, t.n, out);
            done = !err;
            if (err && err_id() == E_STRATEGY_FEW) {
                snprintf(t.why, sizeof t.why, "%s", err_message());
                err_clear();
                err = TACIT_OK;
            }
        }
        if (!err && !done && out->n_attempts == FLEET_ATTEMPTS_MAX)
            err = gave_up(f, out->n_attempts, t.why);
        attempt_free(&t);
        if (err || done) return err;
        wait_a_while(f, out->n_attempts);
    }
}

/* ---- buffers without a barrier ------------------------------------------ */

/* *begun = 0 when the devices it wants sit in other buffers. */
static enum tacit_err begin_buffer(struct fleet *f, struct fleet_round *out,
                                   int *begun)
{
    struct cohort cohort;
    struct sum *s = NULL;
    /* The draw is named by the buffer's number: versions repeat. */
    TRY(fleet_cohort(f, f->n_begun, 0, &cohort));
    *begun = cohort.n > 0;
    if (!*begun) return TACIT_OK;
    enum tacit_err err = fleet_sum_new(f, &cohort, 0, f->n_begun & 0xff, &s);
    free(cohort.list);
    if (err) return err;
    f->n_begun++;
    struct sum **flying =
        realloc(f->flying, (f->n_flying + 1) * sizeof *flying);
    if (!flying) {
        fleet_sum_free(s);
        return fail(TACIT_NOMEM, "%zu buffers", f->n_flying + 1);
    }
    f->flying = flying;
    f->flying[f->n_flying++] = s;
    err = sum_run(s);
    account(s, out);
    return err;
}

/* The buffer that ends first, out of the list. */
static struct sum *next_to_land(struct fleet *f)
{
    size_t first = 0;
    for (size_t i = 1; i < f->n_flying; i++)
        if (f->flying[i]->end_ms < f->flying[first]->end_ms) first = i;
    struct sum *s = f->flying[first];
    f->n_flying--;
    memmove(&f->flying[first], &f->flying[first + 1],
            (f->n_flying - first) * sizeof *f->flying);
    return s;
}

static enum tacit_err round_of_buffers(struct fleet *f, struct fleet_round *out)
{
    for (;;) {
        for (int begun = 1;
             begun && f->n_flying < f->c.plan->strategy.concurrent;)
            TRY(begin_buffer(f, out, &begun));
        struct sum *s = next_to_land(f);
        if (s->end_ms > f->now_ms) f->now_ms = s->end_ms;
        out->n_attempts++;
        out->n_invited = s->n_invited;
        out->n_inputs = s->n_inputs;
        out->n_attackers = 0;
        for (size_t i = 0; i < s->n_seats; i++)
            out->n_attackers += s->seats[i].in_sum && s->seats[i].attacks;
        enum tacit_err err = TACIT_OK;
        int done = s->committed;
        if (done) {
            out->staleness = f->version.version - s->base_version;
            err = fleet_learn(f, &s, 1, out);
        } else if (out->n_attempts == FLEET_ATTEMPTS_MAX) {
            err = gave_up(f, out->n_attempts, s->why);
        }
        f->landed[f->n_landed++] = s; /* the round may yet be undone */
        if (err || done) return err;
    }
}

/* ---- outside ------------------------------------------------------------ */

static enum tacit_err run_round(struct fleet *f, struct fleet_round *r)
{
    const struct plan *p = f->c.plan;
    if (f->learned->strategy->flags & STRATEGY_ASYNC)
        TRY(round_of_buffers(f, r));
    else
        TRY(round_with_barrier(f, r));
    r->virtual_ms = f->now_ms;
    if (r->round % p->sim.evaluate_every == 0 || r->round == p->rounds)
        TRY(fleet_measure(f, r));
    return TACIT_OK;
}

enum tacit_err fleet_round(struct fleet *f, struct fleet_round *out)
{
    int64_t start_ms = tick_ns() / 1000000;
    struct fleet_round r = {.round = f->version.version + 1};
    struct fleet_mark mark;
    if (f->is_torn)
        return fail(TACIT_STATE,
                    "round %u could not be finished; go on from "
                    "the last checkpoint",
                    f->version.version);
    TRY(fleet_tell_room(f));
    TRY(fleet_mark(f, &mark));
    enum tacit_err err = run_round(f, &r);
    f->is_torn = err && f->version.version != mark.version;
    fleet_mark_end(f, &mark, err && !f->is_torn);
    if (err) return err;
    /* Whole milliseconds of the clock: those of many short rounds add up. */
    r.wall_ms = tick_ns() / 1000000 - start_ms;
    f->told[f->n_told++] = r;
    *out = r;
    return TACIT_OK;
}

const struct fleet_round *fleet_told(const struct fleet *f, size_t *n)
{
    *n = f->n_told;
    return f->told;
}
