/* plan: adapter.kind flora, whose devices may train pairs of different ranks:
 * what it goes together with. */
#include <string.h>

#include "common/plan/plan_check.h"

/* Room of a sketch in an update (common/strategy/flora.c). */
enum { RANK_MAX = 64 };

static enum tacit_err take_ranks(const struct check *c, const struct raw_sim *r,
                                 int is_flora)
{
    struct plan *p = c->plan;
    if (!r || !r->n_ranks) return TACIT_OK;
    if (!is_flora)
        return plan_wrong(c, "sim.ranks",
                          "sim.ranks is for adapter.kind: flora: pairs of "
                          "other kinds have one rank");
    for (unsigned i = 0; i < r->n_ranks; i++) {
        if (r->ranks[i] < 1 || r->ranks[i] > p->base.rank)
            return plan_wrong(c, "sim.ranks",
                              "sim.ranks has %lld; the ranks of clients are 1 "
                              "to adapter.rank %u",
                              (long long)r->ranks[i], p->base.rank);
        p->sim.ranks[i] = (uint32_t)r->ranks[i];
    }
    p->sim.n_ranks = r->n_ranks;
    return TACIT_OK;
}

enum tacit_err plan_take_flora(const struct check *c,
                               const struct raw_plan *raw)
{
    const struct plan *p = c->plan;
    int is_flora = plan_has_base(p) && p->base.adapter == PLAN_FLORA;
    TRY(take_ranks(c, raw->sim, is_flora));
    if (!is_flora) return TACIT_OK;
    if (p->base.rank > RANK_MAX)
        TRY(plan_wrong(c, "adapter.rank",
                       "adapter.rank is %u; of adapter.kind: flora it is at "
                       "most %d: an update carries sketches of four times as "
                       "many rows",
                       p->base.rank, RANK_MAX));
    if (strcmp(p->strategy.kind, "fedavg") != 0)
        TRY(plan_wrong(c, "strategy.kind",
                       "strategy.kind is %s; adapter.kind: flora adds up "
                       "products of pairs, and goes with fedavg alone",
                       p->strategy.kind));
    if (strcmp(p->optimizer, "mezo") == 0)
        TRY(plan_wrong(c, "local.optimizer",
                       "local.optimizer: mezo moves what a device of a lower "
                       "rank leaves alone; adapter.kind: flora wants sgd, adam "
                       "or adamw"));
    if (p->privacy.record)
        TRY(plan_wrong(c, "privacy",
                       "privacy bounds gradients row by row, and "
                       "adapter.kind: flora sends none: take ffa"));
    return TACIT_OK;
}
