#include "client/trainer.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/privacy/ring.h"

static enum model_task task_of(enum plan_task t)
{
    switch (t) {
    case PLAN_REGRESS: return MODEL_REGRESS;
    case PLAN_RETRIEVER: return MODEL_RETRIEVER;
    default: return MODEL_CLASSIFY;
    }
}

void trainer_spec(const struct plan *plan, struct model_spec *out)
{
    *out = (struct model_spec){.kind = plan->model,
                               .task = task_of(plan->task),
                               .n_inputs = plan->task == PLAN_RETRIEVER
                                               ? plan->dim
                                               : plan->n_features,
                               .n_hidden = plan->n_hidden,
                               .temperature = plan->temperature};
    memcpy(out->hidden, plan->hidden, sizeof out->hidden);
}

/* n_examples relative to the plan's cap, in 1/RING_WEIGHT_MAX. */
static uint32_t weight_of(const struct plan *plan, size_t n)
{
    if (plan->weighting == PLAN_UNIFORM) return RING_WEIGHT_MAX;
    double share = (double)n / (double)plan->weight_cap;
    double w = round(RING_WEIGHT_MAX * (share < 1 ? share : 1));
    return w < 1 ? 1 : (uint32_t)w;
}

enum tacit_err trainer_run(const struct plan *plan, struct model *m,
                           const struct dataset *d, uint64_t round_number,
                           uint64_t client, struct trained *out)
{
    struct model_metrics before, after = {0}, held = {0};
    struct params *p = model_params(m);
    const struct model_training how = {.optimizer = plan->optimizer,
                                       .steps = plan->local_steps,
                                       .batch = plan->batch,
                                       .learning_rate = plan->learning_rate,
                                       .momentum = plan->momentum,
                                       .weight_decay = plan->weight_decay,
                                       .seed = plan->seed,
                                       .round = round_number,
                                       .client = client};
    if (d->train.n_rows == 0)
        return fail_as(E_NO_EXAMPLES, "plan %s: no rows to train on",
                       plan->name);
    TRY(model_evaluate(m, &d->train, &before));
    if (d->test.n_rows) TRY(model_evaluate(m, &d->test, &held));
    memcpy(out->delta, p->flat, p->n_flat * sizeof *p->flat);
    TRY(model_train(m, &how, &d->train));
    enum tacit_err err = model_evaluate(m, &d->train, &after);
    for (size_t i = 0; i < p->n_flat; i++) {
        float global = out->delta[i];
        out->delta[i] = p->flat[i] - global;
        p->flat[i] = global;
    }
    out->weight = weight_of(plan, d->train.n_rows);
    out->n_examples = d->train.n_rows;
    out->metrics[0] = before.loss;
    out->metrics[1] = after.loss;
    out->metrics[2] = d->test.n_rows ? held.metric : 0;
    out->metrics[3] = d->test.n_rows ? 1 : 0;
    if (!err && !(isfinite(before.loss) && isfinite(after.loss) &&
                  isfinite(held.loss) && isfinite(held.metric)))
        return fail_as(E_LOSS_NAN, "plan %s: a loss or metric is not a number",
                       plan->name);
    return err;
}
