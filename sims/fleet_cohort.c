/* fleet: who takes part: look who can be reached, wait for enough of them,
 * choose, deal them out to the sums of the round. */
#include "sims/fleet_parts.h"

#include <stdlib.h>

#include "sims/attacks.h"

/* Availability repeats every day, and a battery is full within one. */
#define LOOK_EVERY_MS (10 * 60 * (int64_t)1000)
enum { LOOKS_MAX = 24 * 6 };

static int is_flying(const struct fleet *f, size_t client)
{
    for (size_t i = 0; i < f->n_flying; i++)
        for (size_t k = 0; k < f->flying[i]->n_seats; k++)
            if (f->flying[i]->seats[k].client == client) return 1;
    return 0;
}

static int is_rooted(const struct fleet *f)
{
    return (f->learned->strategy->flags & STRATEGY_ROOTED) != 0;
}

/* Where every update is seen, the trusted client is the server itself. */
static int is_server(const struct fleet *f, size_t client)
{
    const struct plan *p = f->c.plan;
    return is_rooted(f) && p->secagg_off && client < p->strategy.trusted;
}

/* Who can be asked now; how many that are. */
static size_t look_around(struct fleet *f, size_t *n_trusted)
{
    const struct plan *p = f->c.plan;
    int plain = p->sim.available >= 1 && !(p->sim.battery > 0);
    size_t n = 0;
    *n_trusted = 0;
    for (size_t i = 0; i < f->c.n_clients; i++) {
        struct select_client *c = &f->clients[i];
        struct handset d;
        c->reachable = !f->n_flying || !is_flying(f, i);
        if (!plain && !is_server(f, i)) {
            handset_of(p, i, &d);
            c->stays_ms = handset_available_ms(p, &d, f->now_ms);
            c->reachable &= c->stays_ms > 0;
            if (d.on_battery) {
                f->level[i] = (float)handset_charge(&d, (double)f->level[i],
                                                    f->level_ms[i], f->now_ms);
                f->level_ms[i] = f->now_ms;
                c->reachable &= (double)f->level[i] >= HANDSET_LEVEL_MIN;
            }
        }
        n += (size_t)c->reachable;
        *n_trusted += c->reachable && i < p->strategy.trusted;
    }
    return n;
}

/* Let time pass until enough can be reached; *enough = 0 while sums are under
 * way that hold the others. */
static enum tacit_err await_enough(struct fleet *f, int *enough)
{
    const struct plan *p = f->c.plan;
    uint32_t groups = p->strategy.groups ? p->strategy.groups : 1;
    size_t need = (size_t)p->min_reports * groups, most = 0;
    size_t need_trusted = !is_rooted(f)   ? 0
                          : p->secagg_off ? 1
                                          : p->min_reports;
    for (int i = 0; i < LOOKS_MAX; i++) {
        size_t n_trusted, n = look_around(f, &n_trusted);
        *enough = n >= need && n_trusted >= need_trusted;
        if (*enough || f->n_flying) return TACIT_OK;
        if (n > most) most = n;
        if (!f->c.peers) TRY(fleet_stopped(f));
        f->now_ms += LOOK_EVERY_MS;
    }
    if (most >= need)
        return fail(TACIT_LIMIT,
                    "round %u: within a day too few of the %u trusted clients "
                    "can be reached at once; plan %s needs %zu",
                    f->version.version + 1, p->strategy.trusted, p->name,
                    need_trusted);
    return fail(TACIT_LIMIT,
                "round %u: within a day no more than %zu of %zu clients can be "
                "reached at once; plan %s needs %zu (cohort.min_reports%s): "
                "raise sim.devices.available, or simulate more clients",
                f->version.version + 1, most, f->c.n_clients, p->name, need,
                groups > 1 ? " in each group" : "");
}

/* The trusted ones have seats of their own, the first of the list. */
static enum tacit_err choose_trusted(struct fleet *f, uint32_t draw,
                                     unsigned attempt, struct cohort *c)
{
    const struct plan *p = f->c.plan;
    uint32_t n_groups = p->strategy.groups;
    size_t want = p->strategy.trusted;
    if (n_groups && want > c->room / n_groups) want = c->room / n_groups;
    TRY(select_cohort(p, f->clients, p->strategy.trusted, draw, attempt, want,
                      c->list, &c->n_root));
    for (size_t i = 0; i < c->n_root; i++) f->clients[c->list[i]].reachable = 0;
    /* One of several servers that has no seat is no client either. */
    for (size_t i = 0; p->secagg_off && i < p->strategy.trusted; i++)
        f->clients[i].reachable = 0;
    return TACIT_OK;
}

enum tacit_err fleet_cohort(struct fleet *f, uint32_t draw, unsigned attempt,
                            struct cohort *out)
{
    int enough = 0;
    size_t n = 0;
    *out = (struct cohort){.room = task_invite_max(f->c.plan)};
    TRY(await_enough(f, &enough));
    if (!enough) return TACIT_OK;
    out->list = malloc(out->room * sizeof *out->list);
    if (!out->list) return fail(TACIT_NOMEM, "a cohort of %zu", out->room);
    enum tacit_err err = TACIT_OK;
    if (is_rooted(f)) err = choose_trusted(f, draw, attempt, out);
    if (!err)
        err =
            select_cohort(f->c.plan, f->clients, f->c.n_clients, draw, attempt,
                          out->room - out->n_root, out->list + out->n_root, &n);
    out->n = out->n_root + n;
    if (!err) return TACIT_OK;
    free(out->list);
    out->list = NULL;
    return err;
}

/* ---- a sum -------------------------------------------------------------- */

static void take_seat(struct sum *s, size_t i, size_t client)
{
    const struct plan *p = s->f->c.plan;
    struct seat *x = &s->seats[i];
    x->client = client;
    x->attacks = attacks_is_attacker(p, client, s->f->c.n_clients);
    x->trusted = is_rooted(s->f) && client < p->strategy.trusted;
    handset_of(p, client, &x->device);
    handset_fate(p, client, s->round, s->attempt, &x->fate);
    x->leaves_ms =
        p->sim.available < 1
            ? s->start_ms + handset_available_ms(p, &x->device, s->start_ms)
            : INT64_MAX;
    if (is_server(s->f, client)) {
        x->fate = (struct handset_fate){.work = 1, .vanishes = HANDSET_STAYS};
        x->leaves_ms = INT64_MAX;
    }
    /* A device's own encoder refuses NaN, so masked ones never send it. */
    if (x->attacks && p->sim.attack == PLAN_ATTACK_NAN && !p->secagg_off &&
        x->fate.vanishes > HANDSET_UPLOAD) {
        x->fate.vanishes = HANDSET_UPLOAD;
        x->fate.returns = 0;
    }
}

/* Dealt out in turn; with a trusted group, to the others. */
static void deal(struct sum *s, const struct cohort *c)
{
    const struct plan_strategy *st = &s->f->c.plan->strategy;
    size_t n_groups = st->groups ? st->groups : 1, first = s->group;
    if (st->groups && is_rooted(s->f)) {
        if (s->group == 0) {
            for (size_t i = 0; i < c->n_root; i++)
                take_seat(s, s->n_seats++, c->list[i]);
            return;
        }
        first = c->n_root + s->group - 1;
        n_groups--;
    }
    for (size_t i = first; i < c->n; i += n_groups)
        take_seat(s, s->n_seats++, c->list[i]);
}

enum tacit_err fleet_sum_new(struct fleet *f, const struct cohort *c,
                             unsigned group, unsigned attempt, struct sum **out)
{
    const struct plan *p = f->c.plan;
    struct sum *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "a cohort of %zu", c->n);
    s->f = f;
    s->round = f->version.version + 1;
    s->base_version = f->version.version;
    s->attempt = attempt;
    s->group = group;
    s->goal = p->cohort_size / (p->strategy.groups ? p->strategy.groups : 1);
    s->start_ms = f->now_ms;
    s->singles = p->secagg_off;
    s->seats = calloc(c->n ? c->n : 1, sizeof *s->seats);
    if (!s->seats) {
        free(s);
        return fail(TACIT_NOMEM, "a cohort of %zu", c->n);
    }
    deal(s, c);
    enum tacit_err err = fleet_foresee(s);
    if (err)
        fleet_sum_free(s);
    else
        *out = s;
    return err;
}
