/* plan: the strategy block. Which numbers a kind reads stands in one table, so
 * that a key without effect is a fault and every kind has its defaults. */
#include <stdio.h>
#include <string.h>

#include "common/plan/plan_check.h"

enum key {
    SERVER_LR,
    MOMENTUM,
    BETA1,
    BETA2,
    TAU,
    MU,
    Q,
    ALPHA,
    LAMBDA,
    BOUND,
    TRIM,
    STALENESS,
    BYZANTINE,
    KEEP,
    ITERATIONS,
    PERSONAL,
    GROUPS,
    CONCURRENT,
    TRUSTED,
    N_KEYS
};

static const struct {
    const char *name;
    double min, max;
} keys[N_KEYS] = {
    [SERVER_LR] = {"server_learning_rate", 1e-6, 100},
    [MOMENTUM] = {"momentum", 0, 0.9999},
    [BETA1] = {"beta1", 0, 0.9999},
    [BETA2] = {"beta2", 0, 0.99999},
    [TAU] = {"tau", 1e-12, 1},
    [MU] = {"mu", 0, 1000},
    [Q] = {"q", 0, 10},
    [ALPHA] = {"alpha", 1e-6, 1000},
    [LAMBDA] = {"lambda", 0, 1000},
    [BOUND] = {"bound", 1e-9, 1e6},
    [TRIM] = {"trim", 1e-4, 0.49},
    [STALENESS] = {"staleness", 0, 10},
    [BYZANTINE] = {"byzantine", 0, PLAN_COHORT_MAX / 2.0},
    [KEEP] = {"keep", 1, PLAN_COHORT_MAX},
    [ITERATIONS] = {"iterations", 1, 1000},
    [PERSONAL] = {"personal", 1, PLAN_HIDDEN_MAX + 1},
    [GROUPS] = {"groups", 2, PLAN_GROUPS_MAX},
    [CONCURRENT] = {"concurrent", 1, 64},
    [TRUSTED] = {"trusted", 1, PLAN_COHORT_MAX},
};

#define KEY(k)  (1U << (k))
#define ADAPTED (KEY(BETA1) | KEY(BETA2) | KEY(TAU))

enum { COMPARES = 1, PERSONALISES = 2, OWN_STEP = 4 };

/* Defaults are the papers' where they give one. */
static const struct row {
    const char *kind;
    unsigned keys; /* beside server_learning_rate; OWN_STEP reads none */
    unsigned flags;
    double server_lr, first; /* first: default of the first of keys */
} rows[] = {
    {"fedavg", 0, 0, 1, 0},
    {"fedavgm", KEY(MOMENTUM), 0, 1, 0.9},
    {"fedprox", KEY(MU), 0, 1, 0.01},
    {"fedadam", ADAPTED, 0, 0.01, 0.9},
    {"fedyogi", ADAPTED, 0, 0.01, 0.9},
    {"fedadagrad", KEY(BETA1) | KEY(TAU), 0, 0.1, 0},
    {"scaffold", 0, 0, 1, 0},
    {"fednova", 0, 0, 1, 0},
    {"feddyn", KEY(ALPHA), OWN_STEP, 0, 0.1},
    {"qfedavg", KEY(Q), 0, 1, 1},
    {"fedbuff", KEY(STALENESS) | KEY(CONCURRENT), 0, 1, 0.5},
    {"ditto", KEY(LAMBDA), PERSONALISES, 1, 0.1},
    {"fedper", KEY(PERSONAL), PERSONALISES, 1, 1},
    {"finetune", 0, PERSONALISES, 1, 0},
    {"median", KEY(GROUPS), COMPARES, 1, 0},
    {"trimmed", KEY(TRIM) | KEY(GROUPS), COMPARES, 1, 0.2},
    {"krum", KEY(BYZANTINE) | KEY(GROUPS), COMPARES, 1, 1},
    {"multikrum", KEY(BYZANTINE) | KEY(KEEP) | KEY(GROUPS), COMPARES, 1, 1},
    {"bulyan", KEY(BYZANTINE) | KEY(GROUPS), COMPARES, 1, 1},
    {"geomedian", KEY(ITERATIONS) | KEY(GROUPS), COMPARES, 1, 8},
    {"normbound", KEY(BOUND) | KEY(GROUPS), COMPARES, 1, 1},
    {"cclip", KEY(BOUND) | KEY(ITERATIONS) | KEY(GROUPS), COMPARES, 1, 1},
    {"fltrust", KEY(GROUPS) | KEY(TRUSTED), COMPARES, 1, 0},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *plan_strategy_name(size_t i)
{
    return i < N_ROWS ? rows[i].kind : NULL;
}

static double fallback_of(const struct row *r, enum key k)
{
    if (k == SERVER_LR) return r->server_lr;
    if (k == GROUPS || k == KEEP) return 0;
    if (r->keys & KEY(k) && !(r->keys & (KEY(k) - 1))) return r->first;
    switch (k) {
    case BETA2: return 0.99;
    case TAU: return 1e-3;
    case ITERATIONS: return 3;
    case CONCURRENT: return 2;
    case TRUSTED: return 1;
    default: return 0;
    }
}

/* One key: absent and unread is 0, absent is its default, present must be read
 * and in range. */
static enum tacit_err take_key(const struct check *c, const struct row *r,
                               enum key k, const double *given, double *out)
{
    char path[PLAN_NAME_MAX];
    int reads =
        k == SERVER_LR ? !(r->flags & OWN_STEP) : (r->keys & KEY(k)) != 0;
    snprintf(path, sizeof path, "strategy.%s", keys[k].name);
    *out = reads ? fallback_of(r, k) : 0;
    if (!given) return TACIT_OK;
    if (!reads)
        return plan_wrong(c, path, "%s has no effect: %s does not read it",
                          path, r->kind);
    return plan_real(c, path, given, keys[k].min, keys[k].max, 0, out);
}

static enum tacit_err take_numbers(const struct check *c, const struct row *r,
                                   const struct raw_strategy *raw)
{
    static const struct raw_strategy none;
    struct plan_strategy *s = &c->plan->strategy;
    const struct raw_strategy *x = raw ? raw : &none;
    const double *reals[] = {x->server_learning_rate,
                             x->momentum,
                             x->beta1,
                             x->beta2,
                             x->tau,
                             x->mu,
                             x->q,
                             x->alpha,
                             x->lambda,
                             x->bound,
                             x->trim,
                             x->staleness};
    double *real_out[] = {&s->server_lr, &s->momentum, &s->beta1,
                          &s->beta2,     &s->tau,      &s->mu,
                          &s->q,         &s->alpha,    &s->lambda,
                          &s->bound,     &s->trim,     &s->staleness};
    const int64_t *integers[] = {x->byzantine, x->keep,   x->iterations,
                                 x->personal,  x->groups, x->concurrent,
                                 x->trusted};
    uint32_t *integer_out[] = {&s->byzantine, &s->keep,   &s->iterations,
                               &s->personal,  &s->groups, &s->concurrent,
                               &s->trusted};
    for (int k = 0; k < BYZANTINE; k++)
        TRY(take_key(c, r, (enum key)k, reals[k], real_out[k]));
    for (int k = BYZANTINE; k < N_KEYS; k++) {
        const int64_t *given = integers[k - BYZANTINE];
        double value = given ? (double)*given : 0, got = 0;
        TRY(take_key(c, r, (enum key)k, given ? &value : NULL, &got));
        *integer_out[k - BYZANTINE] = (uint32_t)got;
    }
    return TACIT_OK;
}

/* Whether enough devices take part for what compares updates or groups. */
static enum tacit_err take_groups(const struct check *c)
{
    const struct plan *p = c->plan;
    const struct plan_strategy *s = &p->strategy;
    uint32_t per_group = s->groups ? p->cohort_size / s->groups : 0;
    if (s->compares && !s->groups && !p->secagg_off)
        return plan_wrong(
            c, "strategy.kind",
            "strategy.kind %s compares single updates, which secure "
            "aggregation does not show: give strategy.groups, and it runs "
            "across the sums of so many groups (or secagg.mode: off, in a "
            "simulation)",
            s->kind);
    if (s->groups && p->secagg_off)
        return plan_wrong(c, "strategy.groups",
                          "strategy.groups has no effect without secure "
                          "aggregation: every update is seen");
    if (s->groups && (per_group < 2 || per_group < p->min_reports))
        return plan_wrong(
            c, "strategy.groups",
            "strategy.groups %u leaves %u devices of cohort.size %u for each; "
            "every group wants cohort.min_reports %u",
            s->groups, per_group, p->cohort_size, p->min_reports);
    return TACIT_OK;
}

/* Whether the rule can work on as many updates as there may be. */
static enum tacit_err take_rule(const struct check *c, const struct row *r)
{
    const struct plan *p = c->plan;
    const struct plan_strategy *s = &p->strategy;
    const char *what = s->groups ? "groups" : "updates";
    uint32_t k = s->groups ? s->groups : p->min_reports;
    uint32_t f = s->byzantine;
    uint32_t want = strcmp(s->kind, "bulyan") == 0 ? 4 * f + 3 : 2 * f + 3;
    if (r->keys & KEY(BYZANTINE) && k < want)
        return plan_wrong(c, "strategy.byzantine",
                          "strategy.byzantine %u wants at least %u %s; there "
                          "may be only %u",
                          f, want, what, k);
    uint32_t most = s->groups ? s->groups : p->cohort_size;
    if (r->keys & KEY(BYZANTINE) && most > PLAN_PAIRS_MAX)
        return plan_wrong(c, "cohort.size",
                          "strategy.kind %s compares every pair of up to %d "
                          "updates; cohort.size is %u: lower it, or take "
                          "trimmed, median or geomedian",
                          s->kind, PLAN_PAIRS_MAX, p->cohort_size);
    if (s->keep > k)
        return plan_wrong(c, "strategy.keep",
                          "strategy.keep is %u; there may be only %u %s",
                          s->keep, k, what);
    if (r->keys & KEY(TRIM) && s->trim * (double)k + 1e-9 < 1)
        return plan_wrong(c, "strategy.trim",
                          "strategy.trim %g of %u %s cuts none; it wants at "
                          "least 1/%u, or more %s",
                          s->trim, k, what, k, what);
    if (s->trusted >= p->cohort_size)
        return plan_wrong(c, "strategy.trusted",
                          "strategy.trusted %u leaves no other device of "
                          "cohort.size %u",
                          s->trusted, p->cohort_size);
    if (s->groups && s->trusted && s->trusted < p->min_reports)
        return plan_wrong(c, "strategy.trusted",
                          "strategy.trusted is %u; the trusted group is a "
                          "secure sum too, of at least cohort.min_reports %u",
                          s->trusted, p->min_reports);
    return TACIT_OK;
}

enum tacit_err plan_take_strategy(const struct check *c,
                                  const struct raw_plan *raw)
{
    const char *names[N_ROWS];
    struct plan_strategy *s = &c->plan->strategy;
    size_t which = 0;
    for (size_t i = 0; i < N_ROWS; i++) names[i] = rows[i].kind;
    if (raw->strategy)
        TRY(plan_choice(c, "strategy.kind", raw->strategy->kind, names, N_ROWS,
                        &which));
    const struct row *r = &rows[which];
    snprintf(s->kind, sizeof s->kind, "%s", r->kind);
    s->compares = (r->flags & COMPARES) != 0;
    s->personalises = (r->flags & PERSONALISES) != 0;
    TRY(take_numbers(c, r, raw->strategy));
    /* A trusted group cannot be smaller than other groups may be. */
    if (s->trusted && s->groups && !raw->strategy->trusted)
        s->trusted = c->plan->min_reports;
    unsigned before = c->faults->n;
    TRY(take_groups(c));
    return c->faults->n == before ? take_rule(c, r) : TACIT_OK;
}
