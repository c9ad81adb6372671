/* plan: the blocks base: and adapter:, and the data of such a plan. */
#include <stdio.h>
#include <string.h>

#include "common/plan/plan_check.h"

enum { ROW_TOKENS_MAX = 4096 };

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
    if (t == PLAN_RETRIEVER || t == PLAN_READER || t == PLAN_LM)
        return TACIT_OK;
    return plan_wrong(c, "task",
                      "task is %s; with a base it may be retriever, reader or "
                      "lm",
                      plan_task_name(t));
}

enum tacit_err plan_take_base(const struct check *c, const struct raw_plan *raw)
{
    static const char *const kinds[] = {"ffa", "lora"};
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
    if (a->kind) TRY(plan_choice(c, "adapter.kind", a->kind, kinds, 2, &kind));
    b->adapter = (enum plan_adapter)kind;
    TRY(plan_integer(c, "adapter.rank", a->rank, 1, 512, 8, &b->rank));
    TRY(plan_real(c, "adapter.alpha", a->alpha, 1e-3, 1e4, 2.0 * b->rank,
                  &b->alpha));
    snprintf(c->plan->model, sizeof c->plan->model, "net");
    c->plan->formats = 1 << PLAN_TABLE;
    return take_targets(c, a);
}

enum tacit_err plan_take_texts(const struct check *c,
                               const struct raw_data *raw)
{
    struct plan *p = c->plan;
    const struct {
        const char *key;
        int given;
    } rows[] = {{"data.label", raw->label != NULL},
                {"data.event", raw->event != NULL},
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
    if (!plan_has_base(p) && raw->length)
        return plan_wrong(c, "data.length",
                          "data.length is for a plan with a base");
    return plan_integer(c, "data.length", raw->length, 8, ROW_TOKENS_MAX, 256,
                        &p->length);
}
