/* participate: what is refused of a task and of a round's result, whatever the
 * coordinator says. See participate.h. */
#include <string.h>

#include "client/participate_parts.h"
#include "common/base/codes.h"
#include "common/base/plural.h"
#include "common/model/safetensors.h"

uint64_t participate_model_bytes(const struct participate *p)
{
    uint64_t n = p->file.n_flat;
    return 8 + SAFETENSORS_HEADER_MAX + n * sizeof(float);
}

enum tacit_err participate_check_task(struct participate *p)
{
    const struct msg_task *t = &p->task;
    size_t n_params = model_params(p->model)->n_flat;
    if (n_params * p->strategy->n_up > WIRE_PARAMS_MAX)
        return fail_as(E_TASK_REFUSED, "a model of %zu weights", n_params);
    task_layout(p->plan, p->strategy, n_params, &p->layout);
    TRY(task_privacy(p->plan, &p->layout, &p->privacy));
    if (!digest_equal(&p->plan_hash, &t->plan_hash))
        return fail_as(E_TASK_REFUSED, "the plan is not the announced one");
    if (t->round < 1 || t->round > p->plan->rounds ||
        t->n_rounds != p->plan->rounds || t->model_version != t->round - 1)
        return fail_as(E_TASK_REFUSED, "round %u of %u with model version %u",
                       t->round, t->n_rounds, t->model_version);
    if (t->ring_bits != p->plan->ring_bits ||
        t->n_coords != ring_coords(&p->layout))
        return fail_as(E_TASK_REFUSED,
                       "%u coordinates of %u bits; the plan "
                       "makes %u of %u",
                       t->n_coords, t->ring_bits, ring_coords(&p->layout),
                       p->plan->ring_bits);
    if (t->u_min != p->plan->min_reports)
        return fail_as(E_TASK_REFUSED,
                       "a sum of at least %u device%s; the plan says %u",
                       t->u_min, plural_s(t->u_min), p->plan->min_reports);
    if (t->model_bytes > participate_model_bytes(p))
        return fail_as(E_TASK_REFUSED, "a model of %llu bytes",
                       (unsigned long long)t->model_bytes);
    if (memcmp(t->session, p->debited, sizeof p->debited) == 0)
        return fail_as(E_TASK_REFUSED,
                       "an update has left in this session before");
    return TACIT_OK;
}

enum tacit_err participate_check_known(const struct participate *p,
                                       const struct participate_known *known)
{
    const struct msg_task *t = &p->task;
    if (known->version == 0) return TACIT_OK;
    if (t->model_version < known->version)
        return fail_as(E_MODEL_REFUSED,
                       "the round starts from version %u; version %u was "
                       "adopted before",
                       t->model_version, known->version);
    if (t->model_version == known->version &&
        !digest_equal(&t->model_hash, &known->model_hash))
        return fail_as(E_MODEL_REFUSED,
                       "version %u is not the one adopted before",
                       known->version);
    return TACIT_OK;
}

enum tacit_err participate_check_over(const struct participate *p,
                                      const struct msg_over *o)
{
    uint8_t statement[MSG_STATEMENT_BYTES];
    const struct msg_task *t = &p->task;
    /* Without a barrier, other sums may have made versions meanwhile. */
    int async = (p->strategy->flags & STRATEGY_ASYNC) != 0;
    int follows = async ? o->model_version > t->model_version &&
                              o->round == o->model_version
                        : o->model_version == t->model_version + 1 &&
                              o->round == t->round &&
                              digest_equal(&o->parent_hash, &t->model_hash);
    if (!digest_equal(&o->plan_hash, &t->plan_hash) || !follows)
        return fail_as(E_MODEL_REFUSED,
                       "the round's result is another round's");
    if (o->n_clients < t->u_min)
        return fail_as(E_MODEL_REFUSED,
                       "a model of %u device%s; at least %u "
                       "were promised",
                       o->n_clients, plural_s(o->n_clients), t->u_min);
    if (o->model_bytes == 0 || o->model_bytes > participate_model_bytes(p))
        return fail_as(E_MODEL_REFUSED, "a model of %llu bytes",
                       (unsigned long long)o->model_bytes);
    msg_over_statement(o, statement);
    enum tacit_err err = keys_verify(p->c.coordinator_sign, "tacit model v1",
                                     statement, sizeof statement, o->signature);
    if (!err) return TACIT_OK;
    err_clear();
    return fail_as(E_MODEL_REFUSED, "the model's statement is not signed by "
                                    "the coordinator");
}
