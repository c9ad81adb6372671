#include "sims/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/codes.h"
#include "common/base/rng.h"

enum { CELLS_MAX = 1 << 25 }; /* labels times clients */

/* What a stream of random numbers is for. */
enum {
    FOR_SHUFFLE = 0x73687566,
    FOR_SIZES = 0x73697a65,
    FOR_SHARES = 0x73686172,
    FOR_LABELS = 0x6c61626c,
    FOR_OFFSET = 0x6f666673
};

/* A deal in the making. Arrays die with the arena. */
struct dealing {
    const struct plan *plan;
    const struct partition_rows *rows;
    struct arena arena;
    size_t n;         /* clients */
    double *weight;   /* [n] of their sizes, mean 1 */
    uint32_t *by;     /* [rows->n] rows, label by label, shuffled */
    size_t *by_first; /* [n_labels + 1] */
    uint32_t *owner;  /* [rows->n] the result, per row */
};

void deal_release(struct deal *d)
{
    free(d->order);
    free(d->first);
    memset(d, 0, sizeof *d);
}

void partition_offset(const struct plan *plan, size_t client, size_t n,
                      float *out)
{
    struct rng rng;
    rng_init(&rng, plan->seed, FOR_OFFSET, client);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(plan->sim.shift * (double)rng_normal(&rng));
}

/* ---- sizes -------------------------------------------------------------- */

/* Relative sizes of n clients: each a function of its number alone. */
static void draw_weights(const struct plan *plan, size_t n, double *weight)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        struct rng rng;
        rng_init(&rng, plan->seed, FOR_SIZES, i);
        weight[i] =
            plan->sim.power_sizes ? exp(2 * (double)rng_normal(&rng)) : 1;
        sum += weight[i];
    }
    for (size_t i = 0; i < n; i++) weight[i] *= (double)n / sum;
}

/* Split total into whole parts, `least` to each and the rest by weight: cut at
 * the rounded running sums, so that parts are off by less than one. */
static void apportion(size_t total, size_t n, const double *weight,
                      size_t least, size_t *parts)
{
    double sum = 0, run = 0;
    size_t rest = total - n * least, at = 0;
    for (size_t i = 0; i < n; i++) sum += weight[i];
    for (size_t i = 0; i < n; i++) {
        run += weight[i];
        double cut = floor((double)rest * (run / sum) + 0.5);
        size_t next = i + 1 == n ? rest : (size_t)cut;
        if (next > rest) next = rest;
        if (next < at) next = at;
        parts[i] = least + next - at;
        at = next;
    }
}

static enum tacit_err too_few(const char *name, size_t total, size_t n)
{
    return fail_as(E_DEAL,
                   "%s: %zu rows for %zu clients; each needs at least %d", name,
                   total, n, PARTITION_ROWS_MIN);
}

enum tacit_err partition_sizes(const struct plan *plan, size_t total, size_t n,
                               size_t *sizes)
{
    double *weight = malloc((n ? n : 1) * sizeof *weight);
    if (!weight) return fail(TACIT_NOMEM, "%zu clients", n);
    enum tacit_err err = total / PARTITION_ROWS_MIN < n
                             ? too_few(plan->name, total, n)
                             : TACIT_OK;
    if (!err) {
        draw_weights(plan, n, weight);
        apportion(total, n, weight, PARTITION_ROWS_MIN, sizes);
    }
    free(weight);
    return err;
}

/* ---- iid ---------------------------------------------------------------- */

static enum tacit_err deal_iid(struct dealing *d)
{
    uint32_t *order = NULL;
    size_t *sizes = NULL, at = 0;
    struct rng rng;
    TRY(arena_alloc(&d->arena, d->rows->n, sizeof *order, &order));
    TRY(arena_alloc(&d->arena, d->n, sizeof *sizes, &sizes));
    for (size_t i = 0; i < d->rows->n; i++) order[i] = (uint32_t)i;
    rng_init(&rng, d->plan->seed, FOR_SHUFFLE, 0);
    rng_shuffle(&rng, order, d->rows->n);
    apportion(d->rows->n, d->n, d->weight, PARTITION_ROWS_MIN, sizes);
    for (size_t i = 0; i < d->n; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            d->owner[order[at++]] = (uint32_t)i;
    return TACIT_OK;
}

/* ---- by label ----------------------------------------------------------- */

/* Rows by label, each label's own ones shuffled. */
static enum tacit_err sort_by_label(struct dealing *d)
{
    const struct partition_rows *r = d->rows;
    size_t *at = NULL;
    TRY(arena_alloc(&d->arena, r->n_labels + 1, sizeof *d->by_first,
                    &d->by_first));
    TRY(arena_alloc(&d->arena, r->n_labels + 1, sizeof *at, &at));
    TRY(arena_alloc(&d->arena, r->n, sizeof *d->by, &d->by));
    for (size_t i = 0; i < r->n; i++) d->by_first[r->label[i] + 1]++;
    for (uint32_t k = 0; k < r->n_labels; k++) {
        d->by_first[k + 1] += d->by_first[k];
        at[k] = d->by_first[k];
    }
    for (size_t i = 0; i < r->n; i++) d->by[at[r->label[i]]++] = (uint32_t)i;
    for (uint32_t k = 0; k < r->n_labels; k++) {
        struct rng rng;
        rng_init(&rng, d->plan->seed, FOR_SHUFFLE, 1 + (uint64_t)k);
        rng_shuffle(&rng, d->by + d->by_first[k],
                    d->by_first[k + 1] - d->by_first[k]);
    }
    return TACIT_OK;
}

/* Log of a gamma(a) variate: Marsaglia and Tsang 2000 for a >= 1; below, that
 * of a + 1 and a uniform's power 1/a. */
static double log_gamma(struct rng *rng, double a)
{
    double boost = 0;
    if (a < 1) {
        boost = log(1 - rng_f64(rng)) / a;
        a += 1;
    }
    double d = a - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = (double)rng_normal(rng);
        double v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log(1 - rng_f64(rng)) < 0.5 * x * x + d - d * v + d * log(v))
            return boost + log(d * v);
    }
}

/* Shares of one label: Dir(alpha * weight). */
static void draw_shares(const struct dealing *d, uint64_t draw, uint32_t label,
                        double *share)
{
    struct rng rng;
    double most = -INFINITY;
    rng_init(&rng, d->plan->seed ^ FOR_SHARES, draw, label);
    for (size_t i = 0; i < d->n; i++) {
        share[i] = log_gamma(&rng, d->plan->sim.alpha * d->weight[i]);
        if (share[i] > most) most = share[i];
    }
    for (size_t i = 0; i < d->n; i++) share[i] = exp(share[i] - most);
}

/* Sizes of the parts of every label in one draw; the client with the fewest
 * rows and how many it has. */
static void draw_all(const struct dealing *d, uint64_t draw, double *share,
                     size_t *parts, size_t *has, size_t *poorest)
{
    memset(has, 0, d->n * sizeof *has);
    for (uint32_t k = 0; k < d->rows->n_labels; k++) {
        size_t n = d->by_first[k + 1] - d->by_first[k];
        size_t *p = parts + k * d->n;
        draw_shares(d, draw, k, share);
        apportion(n, d->n, share, 0, p);
        for (size_t i = 0; i < d->n; i++) has[i] += p[i];
    }
    *poorest = 0;
    for (size_t i = 1; i < d->n; i++)
        if (has[i] < has[*poorest]) *poorest = i;
}

static enum tacit_err deal_dirichlet(struct dealing *d)
{
    const struct partition_rows *r = d->rows;
    double *share = NULL;
    size_t *parts = NULL, *has = NULL, poorest = 0;
    TRY(sort_by_label(d));
    TRY(arena_alloc(&d->arena, d->n, sizeof *share, &share));
    TRY(arena_alloc(&d->arena, d->n, sizeof *has, &has));
    TRY(arena_alloc(&d->arena, r->n_labels * d->n, sizeof *parts, &parts));
    for (uint64_t draw = 0;; draw++) {
        if (draw == PARTITION_DRAWS_MAX)
            return fail_as(E_DEAL,
                           "%s: sim.alpha %g leaves client %zu with %zu rows "
                           "(%zu rows, %u labels, %zu clients), however often "
                           "it is drawn; raise sim.alpha%s, or take fewer "
                           "clients or more rows",
                           r->name, d->plan->sim.alpha, poorest, has[poorest],
                           r->n, r->n_labels, d->n,
                           d->plan->sim.power_sizes ? ", leave sim.sizes equal"
                                                    : "");
        draw_all(d, draw, share, parts, has, &poorest);
        if (has[poorest] >= PARTITION_ROWS_MIN) break;
    }
    for (uint32_t k = 0; k < r->n_labels; k++) {
        const uint32_t *row = d->by + d->by_first[k];
        for (size_t i = 0; i < d->n; i++)
            for (size_t m = parts[k * d->n + i]; m > 0; m--)
                d->owner[*row++] = (uint32_t)i;
    }
    return TACIT_OK;
}

/* Which labels a client holds: the k with the fewest holders, ties by lot. */
static void take_labels(const struct dealing *d, size_t client,
                        const uint32_t *present, uint32_t n_present,
                        size_t *n_holders, uint32_t *scratch, uint8_t *holds)
{
    struct rng rng;
    memcpy(scratch, present, n_present * sizeof *scratch);
    rng_init(&rng, d->plan->seed, FOR_LABELS, client);
    rng_shuffle(&rng, scratch, n_present);
    for (uint32_t j = 0; j < d->plan->sim.labels; j++) {
        uint32_t best = j;
        for (uint32_t i = j + 1; i < n_present; i++)
            if (n_holders[scratch[i]] < n_holders[scratch[best]]) best = i;
        uint32_t label = scratch[best];
        scratch[best] = scratch[j];
        scratch[j] = label;
        n_holders[label]++;
        holds[client * d->rows->n_labels + label] = 1;
    }
}

/* One label's rows over its holders: by weight, enough to each. */
static enum tacit_err split_label(struct dealing *d, uint32_t label,
                                  const uint8_t *holds, size_t least,
                                  double *weight, size_t *who, size_t *parts)
{
    const uint32_t *row = d->by + d->by_first[label];
    size_t n = 0, total = d->by_first[label + 1] - d->by_first[label];
    for (size_t i = 0; i < d->n; i++) {
        if (!holds[i * d->rows->n_labels + label]) continue;
        weight[n] = d->weight[i];
        who[n++] = i;
    }
    if (n && total / least < n)
        return fail_as(E_DEAL,
                       "%s: label %u has %zu rows for the %zu clients that "
                       "hold it; each needs at least %zu; take fewer clients "
                       "or another sim.labels",
                       d->rows->name, label, total, n, least);
    if (n) apportion(total, n, weight, least, parts);
    for (size_t i = 0; i < n; i++)
        for (size_t m = parts[i]; m > 0; m--)
            d->owner[*row++] = (uint32_t)who[i];
    return TACIT_OK;
}

/* Labels that have rows. */
static uint32_t find_present(const struct dealing *d, uint32_t *present)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < d->rows->n_labels; k++)
        if (d->by_first[k + 1] > d->by_first[k]) present[n++] = k;
    return n;
}

static enum tacit_err deal_labels(struct dealing *d)
{
    const struct partition_rows *r = d->rows;
    uint32_t k = d->plan->sim.labels, *present = NULL, *scratch = NULL;
    size_t *n_holders = NULL, *who = NULL, *parts = NULL;
    double *weight = NULL;
    uint8_t *holds = NULL;
    TRY(sort_by_label(d));
    TRY(arena_alloc(&d->arena, r->n_labels, sizeof *present, &present));
    TRY(arena_alloc(&d->arena, r->n_labels, sizeof *scratch, &scratch));
    TRY(arena_alloc(&d->arena, r->n_labels, sizeof *n_holders, &n_holders));
    TRY(arena_alloc(&d->arena, d->n, sizeof *weight, &weight));
    TRY(arena_alloc(&d->arena, d->n, sizeof *who, &who));
    TRY(arena_alloc(&d->arena, d->n, sizeof *parts, &parts));
    TRY(arena_alloc(&d->arena, d->n * r->n_labels, 1, &holds));
    uint32_t n_present = find_present(d, present);
    if (k > n_present)
        return fail_as(E_DEAL, "%s: sim.labels is %u, but there are %u labels",
                       r->name, k, n_present);
    if ((uint64_t)d->n * k < n_present)
        return fail_as(E_DEAL,
                       "%s: %zu clients of %u labels each cannot hold the %u "
                       "labels; raise sim.labels or sim.clients",
                       r->name, d->n, k, n_present);
    for (size_t i = 0; i < d->n; i++)
        take_labels(d, i, present, n_present, n_holders, scratch, holds);
    for (uint32_t label = 0; label < r->n_labels; label++)
        TRY(split_label(d, label, holds, k == 1 ? PARTITION_ROWS_MIN : 1,
                        weight, who, parts));
    return TACIT_OK;
}

/* ---- natural ------------------------------------------------------------ */

static enum tacit_err deal_natural(struct dealing *d)
{
    if (d->plan->sim.power_sizes && !d->rows->is_sized)
        return fail_as(E_DEAL,
                       "%s: sim.sizes: power has no effect on clients that the "
                       "data itself names",
                       d->rows->name);
    memcpy(d->owner, d->rows->client, d->rows->n * sizeof *d->owner);
    return TACIT_OK;
}

/* ---- the whole ---------------------------------------------------------- */

static int is_natural(const struct plan *p)
{
    return p->sim.partition == PLAN_PART_COLUMN ||
           p->sim.partition == PLAN_PART_SITES;
}

static enum tacit_err check_rows(const struct dealing *d)
{
    const struct partition_rows *r = d->rows;
    int by_label = d->plan->sim.partition == PLAN_PART_DIRICHLET ||
                   d->plan->sim.partition == PLAN_PART_LABELS;
    if (is_natural(d->plan) && !r->client)
        return fail_as(E_DEAL,
                       "%s: the rows name no clients of their own; set "
                       "sim.partition: iid, dirichlet, labels or shift, or "
                       "column with sim.column",
                       r->name);
    if (by_label && !r->label)
        return fail_as(E_DEAL,
                       "%s: a plan of task %s has no labels to deal out by; "
                       "set sim.partition: %s",
                       r->name, plan_task_name(d->plan->task),
                       d->plan->format == PLAN_TEXT ? "iid or sites"
                                                    : "iid, shift or column");
    if (by_label && r->n_labels > CELLS_MAX / (d->n ? d->n : 1))
        return fail(TACIT_LIMIT,
                    "%s: %u labels over %zu clients; their product may be %d",
                    r->name, r->n_labels, d->n, CELLS_MAX);
    /* Of natural clients, the poorest is named later. */
    if (!is_natural(d->plan) && r->n / PARTITION_ROWS_MIN < d->n)
        return too_few(r->name, r->n, d->n);
    return TACIT_OK;
}

static enum tacit_err starved(const struct partition_rows *r, size_t i,
                              size_t has)
{
    const char *plural = has == 1 ? "" : "s";
    if (r->client_name)
        return fail_as(E_DEAL,
                       "%s: client %s gets %zu row%s; each needs at least %d: "
                       "add rows of it, or leave it out of the file",
                       r->name, r->client_name[i], has, plural,
                       PARTITION_ROWS_MIN);
    return fail_as(E_DEAL,
                   "%s: client %zu gets %zu row%s; each needs at least %d: "
                   "%s",
                   r->name, i, has, plural, PARTITION_ROWS_MIN,
                   r->is_sized ? "raise sim.rows, or lower data.holdout"
                               : "add rows, or take fewer clients");
}

/* Rows client by client, each client's in their old order. */
static enum tacit_err collect(struct dealing *d, struct deal *out)
{
    size_t n = d->rows->n, *at = NULL;
    struct deal x = {.n_clients = d->n};
    TRY(arena_alloc(&d->arena, d->n, sizeof *at, &at));
    x.order = malloc((n ? n : 1) * sizeof *x.order);
    x.first = calloc(d->n + 1, sizeof *x.first);
    if (!x.order || !x.first) {
        deal_release(&x);
        return fail(TACIT_NOMEM, "%s: %zu rows", d->rows->name, n);
    }
    for (size_t i = 0; i < n; i++) x.first[d->owner[i] + 1]++;
    for (size_t i = 0; i < d->n; i++) {
        size_t has = x.first[i + 1];
        at[i] = x.first[i];
        x.first[i + 1] += x.first[i];
        if (has >= PARTITION_ROWS_MIN) continue;
        deal_release(&x);
        return starved(d->rows, i, has);
    }
    for (size_t i = 0; i < n; i++) x.order[at[d->owner[i]]++] = (uint32_t)i;
    *out = x;
    return TACIT_OK;
}

static enum tacit_err deal(struct dealing *d, struct deal *out)
{
    TRY(check_rows(d));
    TRY(arena_alloc(&d->arena, d->rows->n, sizeof *d->owner, &d->owner));
    TRY(arena_alloc(&d->arena, d->n, sizeof *d->weight, &d->weight));
    draw_weights(d->plan, d->n, d->weight);
    switch (d->plan->sim.partition) {
    case PLAN_PART_IID:
    case PLAN_PART_SHIFT: TRY(deal_iid(d)); break;
    case PLAN_PART_DIRICHLET: TRY(deal_dirichlet(d)); break;
    case PLAN_PART_LABELS: TRY(deal_labels(d)); break;
    case PLAN_PART_SITES:
    case PLAN_PART_COLUMN: TRY(deal_natural(d)); break;
    }
    return collect(d, out);
}

enum tacit_err partition_deal(const struct plan *plan,
                              const struct partition_rows *rows,
                              struct deal *out)
{
    struct dealing d = {.plan = plan, .rows = rows};
    d.n =
        is_natural(plan) && rows->client ? rows->n_clients : plan->sim.clients;
    arena_init(&d.arena, 0);
    enum tacit_err err = deal(&d, out);
    arena_release(&d.arena);
    return err;
}
