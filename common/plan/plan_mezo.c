/* plan: learning by forward passes, and what then travels. */
#include <string.h>

#include "common/plan/plan_check.h"

/* Keys that do nothing, or cannot be kept to, without gradients. */
static enum tacit_err take_limits(const struct check *c,
                                  const struct raw_local *r)
{
    const struct plan *p = c->plan;
    if (r->weight_decay)
        TRY(plan_wrong(c, "local.weight_decay",
                       "local.weight_decay has no effect on mezo"));
    if (strcmp(p->norm, "batch") == 0)
        TRY(plan_wrong(c, "model.norm",
                       "model.norm: batch follows its batches on the way back, "
                       "and mezo has none; take none or group"));
    return TACIT_OK;
}

enum tacit_err plan_take_mezo(const struct check *c, const struct raw_plan *raw)
{
    static const struct raw_local none;
    const struct raw_local *r = raw->local ? raw->local : &none;
    struct plan *p = c->plan;
    int is_mezo = strcmp(p->optimizer, "mezo") == 0;
    const struct {
        const char *key;
        int given;
    } own[] = {{"local.epsilon", r->epsilon != NULL},
               {"local.seeds", r->seeds != NULL}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i].given && !is_mezo)
            TRY(plan_wrong(c, own[i].key, "%s is for local.optimizer: mezo",
                           own[i].key));
    TRY(plan_real(c, "local.epsilon", r->epsilon, 1e-6, 1, 1e-3, &p->epsilon));
    TRY(plan_integer(c, "local.seeds", r->seeds, 0, PLAN_SEEDS_MAX,
                     is_mezo ? 1024 : 0, &p->seeds));
    if (p->base.adapter == PLAN_FULL && plan_has_base(p) && !p->seeds)
        TRY(plan_wrong(c, "adapter.kind",
                       "adapter.kind: full changes every number of the base; "
                       "so that they do not all travel, it wants "
                       "local.optimizer: mezo with local.seeds"));
    return is_mezo ? take_limits(c, r) : TACIT_OK;
}
