#include "common/task/task.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/encoder.h"

#define METRIC_MAX 64.0

_Static_assert((int)TASK_METRICS <= (int)RING_METRICS_MAX,
               "more metrics than the ring");

static enum model_task task_of(enum plan_task t)
{
    switch (t) {
    case PLAN_REGRESS: return MODEL_REGRESS;
    case PLAN_RETRIEVER: return MODEL_RETRIEVER;
    case PLAN_COX: return MODEL_COX;
    case PLAN_LM: return MODEL_LM;
    case PLAN_READER: return MODEL_READER;
    default: return MODEL_CLASSIFY;
    }
}

void task_spec(const struct plan *plan, struct model_spec *out)
{
    static const enum model_adapter adapters[] = {[PLAN_FFA] = MODEL_FFA,
                                                  [PLAN_LORA] = MODEL_LORA,
                                                  [PLAN_FULL] = MODEL_FULL,
                                                  [PLAN_FLORA] = MODEL_LORA};
    *out = (struct model_spec){.kind = plan->model,
                               .task = task_of(plan->task),
                               .n_inputs = plan->n_features,
                               .n_hidden = plan->n_hidden,
                               .classes = plan->classes,
                               .layers = plan->layers,
                               .heads = plan->heads,
                               .norm = plan->norm,
                               .temperature = plan->temperature,
                               .along = {plan->seeds, plan->seed}};
    if (plan->format == PLAN_IMAGES) {
        out->channels = plan->channels;
        out->height = plan->height;
        out->width = plan->width;
    }
    if (plan->format == PLAN_TEXT) out->seq = plan->length;
    memcpy(out->hidden, plan->hidden, sizeof out->hidden);
    if (!plan_has_base(plan)) return;
    const struct plan_base *b = &plan->base;
    out->base =
        (struct model_base){.where = b->where,
                            .name = b->name,
                            .hash = b->hash,
                            .adapter = adapters[b->adapter],
                            .rank = b->rank,
                            .alpha = b->alpha,
                            .targets = b->targets,
                            .fast = plan->fast,
                            .memory_bytes = (uint64_t)plan->memory_mib << 20,
                            .seed = plan->seed};
}

void task_training(const struct plan *plan, struct model_training *out)
{
    *out = (struct model_training){.optimizer = plan->optimizer,
                                   .batch = plan->batch,
                                   .learning_rate = plan->learning_rate,
                                   .momentum = plan->momentum,
                                   .weight_decay = plan->weight_decay,
                                   .epsilon = plan->epsilon,
                                   .seed = plan->seed};
}

/* FedPer: the personal end begins with the weight matrix of the n-th layer from
 * the end; a layer is a matrix and its bias. */
static size_t personal_from(const struct plan *plan, const struct params *p)
{
    size_t n_layers = 0;
    for (size_t i = p->n_params; i-- > 0;) {
        if (p->list[i].n_dims < 2) continue;
        if (++n_layers == plan->strategy.personal) return p->list[i].offset;
    }
    return 0;
}

/* K_ref: under epochs, of a device whose examples reach the cap. */
static uint32_t common_steps(const struct plan *plan)
{
    if (!plan->local_epochs || !plan->batch) return plan->local_steps;
    uint64_t per_epoch =
        ((uint64_t)plan->weight_cap + plan->batch - 1) / plan->batch;
    uint64_t n = per_epoch * plan->local_epochs;
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* The loss of a model that gives every class the same chance. */
static double loss_scale(const struct plan *plan)
{
    if (plan->task != PLAN_CLASSIFY && plan->task != PLAN_LM) return 1;
    return log(plan->classes > 2 ? (double)plan->classes : 2);
}

enum tacit_err task_strategy(const struct plan *plan, const struct params *p,
                             const struct strategy **out,
                             struct strategy_config *numbers)
{
    const struct plan_strategy *s = &plan->strategy;
    TRY(strategy_find(s->kind, out));
    *numbers = (struct strategy_config){.server_lr = s->server_lr,
                                        .momentum = s->momentum,
                                        .beta1 = s->beta1,
                                        .beta2 = s->beta2,
                                        .tau = s->tau,
                                        .mu = s->mu,
                                        .q = s->q,
                                        .alpha = s->alpha,
                                        .lambda = s->lambda,
                                        .bound = s->bound,
                                        .trim = s->trim,
                                        .staleness = s->staleness,
                                        .byzantine = s->byzantine,
                                        .keep = s->keep,
                                        .iterations = s->iterations,
                                        .learning_rate = plan->learning_rate,
                                        .loss_scale = loss_scale(plan),
                                        .steps = common_steps(plan),
                                        .seed = plan->seed};
    if (plan_has_base(plan) && plan->base.adapter == PLAN_FLORA) {
        *out = &strategy_flora;
        numbers->layout = p;
    }
    if (s->personal) {
        size_t from = personal_from(plan, p);
        if (from == 0)
            return fail_as(E_PLAN_VALUE,
                           "strategy.personal %u: the model has no more than "
                           "so many layers; nothing would be shared",
                           s->personal);
        numbers->personal = (uint32_t)from;
    }
    if ((*out)->flags & STRATEGY_PLAIN_SGD &&
        strcmp(plan->optimizer, "sgd") != 0)
        return fail_as(E_PLAN_VALUE,
                       "strategy %s is defined for local.optimizer: sgd, not "
                       "%s",
                       s->kind, plan->optimizer);
    if (strcmp(plan->optimizer, "mezo") == 0 &&
        ((*out)->gradient || (*out)->personal))
        return fail_as(E_PLAN_VALUE,
                       "strategy %s adds to gradients, and local.optimizer: "
                       "mezo has none",
                       s->kind);
    return TACIT_OK;
}

/* Groups are dealt out evenly. */
static uint32_t per_sum(const struct plan *plan, uint32_t n)
{
    uint32_t groups = plan->strategy.groups ? plan->strategy.groups : 1;
    return (n + groups - 1) / groups;
}

void task_layout(const struct plan *plan, const struct strategy *s,
                 size_t n_weights, struct ring_layout *out)
{
    uint32_t most = per_sum(plan, task_invite_max(plan));
    *out = (struct ring_layout){.n_params = (uint32_t)(n_weights * s->n_up),
                                .n_metrics = TASK_METRICS,
                                .ring_bits = plan->ring_bits,
                                .clients_max = most > PLAN_CLIENTS_MAX
                                                   ? most
                                                   : PLAN_CLIENTS_MAX,
                                .clip = plan->clip,
                                .metric_max = METRIC_MAX};
    if (plan->privacy.record) out->clip = task_private_scale(plan, out);
}

uint32_t task_invite_max(const struct plan *plan)
{
    double n = ceil((double)plan->cohort_size * plan->over_select - 1e-9);
    uint32_t groups = plan->strategy.groups ? plan->strategy.groups : 1;
    uint32_t most = groups * PLAN_CLIENTS_MAX;
    if (n < plan->cohort_size) return plan->cohort_size;
    /* A cohort over the bound is one without masks. */
    if (n > most && plan->cohort_size <= most) return most;
    return (uint32_t)n;
}

enum tacit_err task_file(const struct params *p, unsigned n_down,
                         struct params *out)
{
    params_init(out);
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < p->n_params; i++)
        err = params_add(out, p->list[i].name, p->list[i].dims,
                         p->list[i].n_dims);
    const size_t dims[] = {n_down, p->n_flat};
    if (!err && n_down) err = params_add(out, TASK_DOWN, dims, 2);
    if (!err) err = params_alloc(out);
    if (err) params_release(out);
    return err;
}

uint32_t task_weight(const struct plan *plan, size_t n_rows)
{
    if (plan->weighting == PLAN_UNIFORM) return RING_WEIGHT_MAX;
    double share = (double)n_rows / (double)plan->weight_cap;
    double w = round(RING_WEIGHT_MAX * (share < 1 ? share : 1));
    return w < 1 ? 1 : (uint32_t)w;
}

/* What was learnt over vectors of different encoders must not be added up. */
static enum tacit_err check_encoder(const struct plan *plan)
{
    char version[ENCODER_VERSION_MAX];
    int is_of_it = strcmp(plan->model, "static") == 0 ||
                   strcmp(plan->model, "reader") == 0;
    if (!is_of_it || plan->encoder[0]) return TACIT_OK;
    TRY(encoder_built_in_version(version));
    return fail_as(E_PLAN_ENCODER,
                   "model.encoder is missing: the version of the built-in "
                   "encoder that devices have; this program's is %s",
                   version);
}

enum tacit_err task_production(const struct plan *plan)
{
    uint32_t most = per_sum(plan, plan->cohort_size);
    TRY(check_encoder(plan));
    if (plan->secagg_off)
        return fail_as(E_PLAN_VALUE,
                       "secagg.mode: off is for simulations; a device sends "
                       "only masked updates");
    if (most > PLAN_CLIENTS_MAX)
        return fail_as(E_PLAN_VALUE,
                       "cohort.size %u makes %u devices in one secure sum; "
                       "there may be %d",
                       plan->cohort_size, most, PLAN_CLIENTS_MAX);
    return TACIT_OK;
}
