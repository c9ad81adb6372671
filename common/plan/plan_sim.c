/* plan: the sim block, which only the simulator reads. */
#include <stdio.h>
#include <string.h>

#include "common/plan/plan_check.h"

static enum tacit_err take_partition(const struct check *c,
                                     const struct raw_sim *r)
{
    static const char *const partitions[] = {"iid",    "sites",  "dirichlet",
                                             "labels", "column", "shift"};
    static const char *const sizes[] = {"equal", "power"};
    struct plan *p = c->plan;
    size_t way = p->format == PLAN_IMAGES ? PLAN_PART_IID : PLAN_PART_SITES;
    size_t size = 0;
    if (r->partition)
        TRY(plan_choice(c, "sim.partition", r->partition, partitions, 6, &way));
    if (r->sizes) TRY(plan_choice(c, "sim.sizes", r->sizes, sizes, 2, &size));
    p->sim.partition = (enum plan_partition)way;
    p->sim.power_sizes = size == 1;
    const struct {
        const char *key;
        const void *given;
        enum plan_partition reads;
    } own[] = {{"sim.alpha", r->alpha, PLAN_PART_DIRICHLET},
               {"sim.labels", r->labels, PLAN_PART_LABELS},
               {"sim.column", r->column, PLAN_PART_COLUMN},
               {"sim.shift", r->shift, PLAN_PART_SHIFT}};
    for (size_t i = 0; i < 4; i++)
        if (own[i].given && own[i].reads != p->sim.partition)
            return plan_wrong(c, own[i].key, "%s is for partition: %s",
                              own[i].key, partitions[own[i].reads]);
    if (p->sim.partition == PLAN_PART_COLUMN && !r->column)
        return plan_wrong(c, "sim.column",
                          "sim.column is missing: the column whose values are "
                          "the clients");
    if (r->column)
        snprintf(p->sim.column, sizeof p->sim.column, "%s", r->column);
    TRY(plan_real(c, "sim.alpha", r->alpha, 1e-3, 1e6, 0.5, &p->sim.alpha));
    TRY(plan_integer(c, "sim.labels", r->labels, 1, 65536, 2, &p->sim.labels));
    return plan_real(c, "sim.shift", r->shift, 0, 1000, 0.5, &p->sim.shift);
}

static enum tacit_err take_held_out(const struct check *c,
                                    const struct raw_sim *r)
{
    static const char *const whose[] = {"common", "own"};
    size_t which = 0;
    if (!r->held_out) return TACIT_OK;
    TRY(plan_choice(c, "sim.held_out", r->held_out, whose, 2, &which));
    if (c->plan->format == PLAN_TABLE)
        return plan_wrong(c, "sim.held_out",
                          "sim.held_out is for images, vectors and text; each "
                          "client of a %s plan holds out rows of its own",
                          c->plan->task == PLAN_RETRIEVER ? "retriever"
                                                          : "table");
    c->plan->sim.held_out = which == 0 ? PLAN_HELD_COMMON : PLAN_HELD_OWN;
    return TACIT_OK;
}

static enum tacit_err take_attack(const struct check *c,
                                  const struct raw_attack *r)
{
    static const char *const kinds[] = {"none",    "label_flip", "sign_flip",
                                        "scale",   "backdoor",   "free_rider",
                                        "collude", "nan"};
    struct plan_sim *s = &c->plan->sim;
    size_t which = 0;
    if (!r) return TACIT_OK;
    TRY(plan_choice(c, "sim.attack.kind", r->kind, kinds, 8, &which));
    s->attack = (enum plan_attack)which;
    int labels =
        which == PLAN_ATTACK_LABEL_FLIP || which == PLAN_ATTACK_BACKDOOR;
    int scales = which == PLAN_ATTACK_SCALE || which == PLAN_ATTACK_BACKDOOR ||
                 which == PLAN_ATTACK_COLLUDE || which == PLAN_ATTACK_SIGN_FLIP;
    if ((r->from || r->to) && !labels)
        return plan_wrong(c, "sim.attack",
                          "sim.attack.from and to are for label_flip and "
                          "backdoor");
    if (r->factor && !scales)
        return plan_wrong(c, "sim.attack.factor",
                          "sim.attack.factor has no effect on %s", r->kind);
    TRY(plan_real(c, "sim.attack.share", r->share, 0, 0.95, 0.2,
                  &s->attack_share));
    TRY(plan_real(c, "sim.attack.factor", r->factor, 0, 1e6,
                  which == PLAN_ATTACK_SIGN_FLIP ? 1 : 10, &s->attack_factor));
    TRY(plan_integer(c, "sim.attack.from", r->from, 0, 65535, 1,
                     &s->attack_from));
    return plan_integer(c, "sim.attack.to", r->to, 0, 65535, 0, &s->attack_to);
}

static enum tacit_err take_devices(const struct check *c,
                                   const struct raw_devices *r)
{
    static const struct raw_devices none;
    struct plan_sim *s = &c->plan->sim;
    if (!r) r = &none;
    const struct {
        const char *key;
        const double *given;
        double min, max, fallback;
        double *out;
    } rows[] = {
        {"rows_per_s", r->rows_per_s, 1e-3, 1e9, 1000, &s->rows_per_s},
        {"speed_sd", r->speed_sd, 0, 3, 0, &s->speed_sd},
        {"up_mbps", r->up_mbps, 1e-3, 1e6, 10, &s->up_mbps},
        {"down_mbps", r->down_mbps, 1e-3, 1e6, 50, &s->down_mbps},
        {"link_sd", r->link_sd, 0, 3, 0, &s->link_sd},
        {"latency_ms", r->latency_ms, 0, 60000, 40, &s->latency_ms},
        {"available", r->available, 0.01, 1, 1, &s->available},
        {"battery", r->battery, 0, 1, 0, &s->battery},
        {"delay", r->delay, 0, 0.9, 0, &s->delay},
        {"duplicate", r->duplicate, 0, 0.9, 0, &s->duplicate},
        {"crash", r->crash, 0, 0.9, 0, &s->crash},
        {"skew_s", r->skew_s, 0, 1e6, 0, &s->skew_s},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[PLAN_NAME_MAX];
        snprintf(key, sizeof key, "sim.devices.%s", rows[i].key);
        TRY(plan_real(c, key, rows[i].given, rows[i].min, rows[i].max,
                      rows[i].fallback, rows[i].out));
    }
    return TACIT_OK;
}

/* What masks and messages cannot carry. */
static enum tacit_err take_protocol(const struct check *c,
                                    const struct raw_sim *r)
{
    static const char *const protocols[] = {"full", "sum"};
    struct plan *p = c->plan;
    const struct plan_strategy *s = &p->strategy;
    uint32_t groups = s->groups ? s->groups : 1;
    uint32_t most = (p->cohort_size + groups - 1) / groups;
    size_t which = p->secagg_off ? 1 : 0;
    if (r->protocol)
        TRY(plan_choice(c, "sim.protocol", r->protocol, protocols, 2, &which));
    p->sim.sum_only = which == 1;
    if (p->secagg_off && !p->sim.sum_only)
        return plan_wrong(c, "sim.protocol",
                          "sim.protocol: full is secure aggregation itself; "
                          "with secagg.mode: off it is sum");
    if (!p->sim.sum_only && most > PLAN_CLIENTS_MAX)
        return plan_wrong(c, "cohort.size",
                          "cohort.size %u makes %u devices in one secure sum; "
                          "there may be %d (in a simulation, sim.protocol: sum "
                          "has no such bound)",
                          p->cohort_size, most, PLAN_CLIENTS_MAX);
    if (p->ring_bits == 24 && most > PLAN_CLIENTS_MAX)
        return plan_wrong(c, "secagg.ring_bits",
                          "secagg.ring_bits 24 has room for %d devices in one "
                          "sum, not %u; 32 has",
                          PLAN_CLIENTS_MAX, most);
    return TACIT_OK;
}

enum tacit_err plan_take_sim(const struct check *c, const struct raw_plan *raw)
{
    static const char *const selections[] = {"uniform", "weighted", "available",
                                             "oort", "cyclic"};
    static const struct raw_sim none;
    const struct raw_sim *r = raw->sim ? raw->sim : &none;
    struct plan *p = c->plan;
    struct plan_sim *s = &p->sim;
    size_t which = 0;
    if (raw->seed && *raw->seed < 0)
        return plan_wrong(c, "seed", "seed is %lld; it may not be negative",
                          (long long)*raw->seed);
    p->seed = raw->seed ? (uint64_t)*raw->seed : 1;
    TRY(plan_integer(c, "sim.clients", r->clients, p->secagg_off ? 1 : 2,
                     1000000, p->cohort_size, &s->clients));
    TRY(plan_integer(c, "sim.rows", r->rows, 2, 10000000, 100, &s->rows));
    TRY(plan_integer(c, "sim.threads", r->threads, 0, 64, 0, &s->threads));
    TRY(plan_real(c, "sim.dropout", r->dropout, 0, 0.9, 0, &s->dropout));
    TRY(plan_real(c, "sim.stragglers", r->stragglers, 0, 1, 0, &s->stragglers));
    TRY(plan_integer(c, "sim.evaluate_every", r->evaluate_every, 1, 100000, 1,
                     &s->evaluate_every));
    TRY(plan_integer(c, "sim.checkpoint_every", r->checkpoint_every, 1, 100000,
                     10, &s->checkpoint_every));
    if (r->selection)
        TRY(plan_choice(c, "sim.selection", r->selection, selections, 5,
                        &which));
    s->selection = (enum plan_selection)which;
    if (s->clients < p->cohort_size)
        return plan_wrong(c, "sim.clients",
                          "sim.clients is %u, fewer than cohort.size %u; "
                          "raise sim.clients, or lower cohort.size",
                          s->clients, p->cohort_size);
    if ((r->a || r->b) && p->format != PLAN_VECTORS)
        return plan_wrong(c, r->a ? "sim.a" : "sim.b",
                          "sim.a and sim.b are for format: vectors");
    TRY(plan_real(c, "sim.a", r->a, 0, 100, 0, &s->a));
    TRY(plan_real(c, "sim.b", r->b, 0, 100, 0, &s->b));
    TRY(take_partition(c, r));
    TRY(take_held_out(c, r));
    TRY(take_attack(c, r->attack));
    TRY(take_devices(c, r->devices));
    return take_protocol(c, r);
}
