#include "sims/select.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/rng.h"

enum { SELECT = 0x73656c65, TENTH_MS = 24 * 3600 * 100 };
#define EXPLORE 0.2

/* A client and its place in the order: highest first. */
struct ranked {
    uint32_t client;
    double key;
};

static int by_key(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return (x->client > y->client) - (x->client < y->client);
}

static void swap(struct ranked *a, struct ranked *b)
{
    struct ranked t = *a;
    *a = *b;
    *b = t;
}

/* The first n of list [k] in order, the others behind them in any: a heap of
 * the n best so far, the worst of them on top. Most clients only meet that one,
 * where sorting all of them would take ten times as long. */
static void sort_first(struct ranked *list, size_t k, size_t n)
{
    if (n < k && n > 0) {
        for (size_t i = 1; i < n; i++)
            for (size_t at = i;
                 at && by_key(&list[at], &list[(at - 1) / 2]) > 0;
                 at = (at - 1) / 2)
                swap(&list[at], &list[(at - 1) / 2]);
        for (size_t i = n; i < k; i++) {
            if (by_key(&list[i], &list[0]) > 0) continue;
            swap(&list[i], &list[0]);
            for (size_t at = 0, child; (child = 2 * at + 1) < n; at = child) {
                if (child + 1 < n && by_key(&list[child + 1], &list[child]) > 0)
                    child++;
                if (by_key(&list[child], &list[at]) <= 0) break;
                swap(&list[child], &list[at]);
            }
        }
    }
    qsort(list, n < k ? n : k, sizeof *list, by_key);
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Oort's T: the median duration of those that took part. */
static enum tacit_err median_duration(const struct select_client *list,
                                      size_t n, double *out)
{
    double *t = malloc((n ? n : 1) * sizeof *t);
    size_t k = 0;
    if (!t) return fail(TACIT_NOMEM, "%zu clients", n);
    for (size_t i = 0; i < n; i++)
        if (list[i].loss >= 0) t[k++] = (double)list[i].duration_ms;
    qsort(t, k, sizeof *t, ascending);
    *out = k ? t[k / 2] : 0;
    free(t);
    return TACIT_OK;
}

static double utility(const struct select_client *c, double preferred)
{
    double u = (double)c->n_rows * c->loss;
    double t = (double)c->duration_ms;
    if (t > preferred && t > 0) u *= (preferred / t) * (preferred / t);
    return u;
}

/* Efraimidis and Spirakis 2006: u^(1/w) orders a weighted draw without
 * replacement; its logarithm keeps the digits. */
static double key_of(const struct plan *p, const struct select_client *c,
                     double u, double preferred)
{
    switch (p->sim.selection) {
    case PLAN_SELECT_WEIGHTED:
        return log(u) / (double)(c->n_rows ? c->n_rows : 1);
    case PLAN_SELECT_AVAILABLE:
        return floor((double)c->stays_ms / TENTH_MS) + u;
    case PLAN_SELECT_OORT: return c->loss >= 0 ? utility(c, preferred) : -1;
    default: return u;
    }
}

enum tacit_err select_cohort(const struct plan *p,
                             const struct select_client *list, size_t n_clients,
                             uint32_t round, unsigned attempt, size_t n,
                             uint32_t *out, size_t *n_out)
{
    struct rng r;
    struct ranked *order = malloc((n_clients ? n_clients : 1) * sizeof *order);
    double preferred = 0;
    size_t k = 0, taken = 0;
    if (!order) return fail(TACIT_NOMEM, "%zu clients", n_clients);
    enum tacit_err err = TACIT_OK;
    if (p->sim.selection == PLAN_SELECT_OORT)
        err = median_duration(list, n_clients, &preferred);
    size_t turn = n ? (n_clients + n - 1) / n : 1; /* rounds of a cycle */
    int in_turn = p->sim.selection == PLAN_SELECT_CYCLIC;
    if (in_turn)
        rng_init(&r, p->seed ^ SELECT, (round - 1) / turn, 1);
    else
        rng_init(&r, p->seed ^ SELECT, (uint64_t)round << 8 | attempt, 0);
    for (size_t i = 0; !err && i < n_clients; i++) {
        double u = 1 - rng_f64(&r); /* (0, 1]; those away draw theirs too */
        if (!list[i].reachable) continue;
        order[k++] =
            (struct ranked){(uint32_t)i, key_of(p, &list[i], u, preferred)};
        /* Those never asked come last here, in random order. */
        if (order[k - 1].key < 0 && p->sim.selection == PLAN_SELECT_OORT)
            order[k - 1].key = u - 2;
    }
    size_t most = n < k ? n : k;
    int of_all = in_turn || p->sim.selection == PLAN_SELECT_OORT;
    if (!err) sort_first(order, k, of_all ? k : most);
    if (p->sim.selection == PLAN_SELECT_OORT) {
        size_t known = 0;
        while (known < k && order[known].key >= 0) known++;
        size_t fresh = k - known;
        size_t explore = (size_t)ceil(EXPLORE * (double)most);
        if (explore > fresh) explore = fresh;
        size_t exploit = most - explore < known ? most - explore : known;
        for (size_t i = 0; i < exploit; i++) out[taken++] = order[i].client;
        for (size_t i = known; taken < most && i < k; i++)
            out[taken++] = order[i].client;
    } else {
        size_t at = in_turn ? (round - 1) % turn * n : 0;
        for (; taken < most; taken++)
            out[taken] = order[(at + taken) % k].client;
    }
    free(order);
    if (!err) *n_out = taken;
    return err;
}
