/* plan: the blocks base: and adapter:, and the data of such a plan. */
#include <stdio.h>
#include <string.h>

#include "common/plan/plan_check.h"

enum { ROW_TOKENS_MAX = 4096, MEMORY_MIB_MAX = 1 << 20, CLASSES_MAX = 1024 };

int plan_has_base(const struct plan *p)
{
    return p->base.name[0] != '\0';
}

static enum tacit_err take_hash(const struct check *c, const char *hex)
{
    if (hex_decode(c->plan->base.hash.b, DIGEST_BYTES, hex) == TACIT_OK)
        return TACIT_OK;
    err_clear();
    return plan_wrong(c, "base.hash",
                      "base.hash is \"%.80s\"; it is the %d hexadecimal digits "
                      "that `tacit model show` prints as hash",
                      hex, 2 * DIGEST_BYTES);
}

static enum tacit_err take_targets(const struct check *c,
                                   const struct raw_adapter *a)
{
    static const char *const names[] = {"q",    "k",  "v",   "output",
                                        "gate", "up", "down"};
    unsigned *bits = &c->plan->base.targets;
    for (unsigned i = 0; i < a->n_targets; i++) {
        size_t which = 0;
        TRY(plan_choice(c, "adapter.targets", a->targets[i], names, 7, &which));
        *bits |= 1U << which;
    }
    if (!*bits) *bits = (1U << 7) - 1;
    return TACIT_OK;
}

static enum tacit_err check_task(const struct check *c)
{
    enum plan_task t = c->plan->task;
    if (t == PLAN_RETRIEVER || t == PLAN_READER || t == PLAN_LM ||
        t == PLAN_CLASSIFY)
        return TACIT_OK;
    return plan_wrong(c, "task",
                      "task is %s; with a base it may be retriever, reader, lm "
                      "or classify",
                      plan_task_name(t));
}

enum tacit_err plan_take_base(const struct check *c, const struct raw_plan *raw)
{
    static const char *const kinds[] = {"ffa", "lora", "full", "flora"};
    static const struct raw_adapter none;
    const struct raw_adapter *a = raw->adapter ? raw->adapter : &none;
    struct plan_base *b = &c->plan->base;
    size_t kind = 0;
    if (raw->model)
        TRY(plan_wrong(c, "model", "model and base exclude each other"));
    TRY(check_task(c));
    if (!raw->base->name[0])
        TRY(plan_wrong(c, "base.name", "base.name is empty"));
    snprintf(b->name, sizeof b->name, "%s",
             raw->base->name[0] ? raw->base->name : "?");
    TRY(take_hash(c, raw->base->hash));
    if (a->kind) TRY(plan_choice(c, "adapter.kind", a->kind, kinds, 4, &kind));
    b->adapter = (enum plan_adapter)kind;
    TRY(plan_integer(c, "adapter.rank", a->rank, 1, 512, 8, &b->rank));
    TRY(plan_real(c, "adapter.alpha", a->alpha, 1e-3, 1e4, 2.0 * b->rank,
                  &b->alpha));
    if (b->adapter == PLAN_FULL && (a->rank || a->alpha || a->n_targets))
        TRY(plan_wrong(c, "adapter.kind",
                       "adapter.kind: full has no rank, alpha or targets: "
                       "everything is trained"));
    snprintf(c->plan->model, sizeof c->plan->model, "net");
    c->plan->formats = 1 << PLAN_TABLE;
    return take_targets(c, a);
}

enum tacit_err plan_take_effort(const struct check *c,
                                const struct raw_local *raw)
{
    static const char *const numbers[] = {"f32", "fast"};
    struct plan *p = c->plan;
    size_t which = 0;
    if (!plan_has_base(p)) {
        if (raw->numbers)
            TRY(plan_wrong(c, "local.numbers",
                           "local.numbers is for a plan with a base"));
        if (raw->memory_mib)
            TRY(plan_wrong(c, "local.memory_mib",
                           "local.memory_mib is for a plan with a base"));
        return TACIT_OK;
    }
    if (raw->numbers)
        TRY(plan_choice(c, "local.numbers", raw->numbers, numbers, 2, &which));
    p->fast = which == 1;
    if (!raw->memory_mib) return TACIT_OK;
    return plan_integer(c, "local.memory_mib", raw->memory_mib, 1,
                        MEMORY_MIB_MAX, 1, &p->memory_mib);
}

/* Which column says the class, and how many there are. Of two, one output
 * tells them apart. */
static enum tacit_err take_labels(const struct check *c,
                                  const struct raw_data *raw)
{
    struct plan *p = c->plan;
    int classifies = p->task == PLAN_CLASSIFY;
    if (raw->label && !classifies)
        TRY(plan_wrong(c, "data.label",
                       "data.label is for classify; a %s has no classes",
                       plan_task_name(p->task)));
    if (raw->classes && !classifies)
        TRY(plan_wrong(c, "data.classes", "data.classes is for classify"));
    if (!classifies) return TACIT_OK;
    if (raw->label && !raw->label[0])
        TRY(plan_wrong(c, "data.label", "data.label is empty"));
    snprintf(p->label, sizeof p->label, "%s",
             raw->label ? raw->label : "label");
    TRY(plan_integer(c, "data.classes", raw->classes, 2, CLASSES_MAX, 2,
                     &p->classes));
    if (p->classes == 2) p->classes = 1;
    return TACIT_OK;
}

enum tacit_err plan_take_texts(const struct check *c,
                               const struct raw_data *raw)
{
    struct plan *p = c->plan;
    const struct {
        const char *key;
        int given;
    } rows[] = {{"data.event", raw->event != NULL},
                {"data.format", raw->format != NULL},
                {"data.channels", raw->channels != NULL},
                {"data.height", raw->height != NULL},
                {"data.width", raw->width != NULL},
                {"data.columns", raw->n_columns > 0},
                {"data.standardise", raw->standardise != NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given)
            TRY(plan_wrong(c, rows[i].key,
                           "%s is for a model of rows; a base, or a reader, "
                           "learns from texts",
                           rows[i].key));
    if (raw->positive_above)
        TRY(plan_wrong(c, "data.positive_above",
                       "data.positive_above is for numbers; the labels of a "
                       "base are 0, 1, …"));
    TRY(take_labels(c, raw));
    if (!plan_has_base(p) && raw->length)
        return plan_wrong(c, "data.length",
                          "data.length is for a plan with a base");
    return plan_integer(c, "data.length", raw->length, 8, ROW_TOKENS_MAX, 256,
                        &p->length);
}
