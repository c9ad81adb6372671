#include "coordinator/aggregate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/tensor/maps.h"
#include "common/wire/limits.h"

#define STATE "strategy.state"

static enum tacit_err make_state(const struct aggregate *a, struct params *p)
{
    const size_t dims[] = {a->strategy->n_server, a->n};
    params_init(p);
    if (!a->strategy->n_server) return TACIT_OK;
    TRY(params_add(p, STATE, dims, 2));
    return params_alloc(p);
}

static enum tacit_err setup(struct aggregate *a, const struct plan *plan)
{
    struct model_spec spec;
    a->plan = plan;
    task_spec(plan, &spec);
    TRY(model_new(&spec, &a->model));
    const struct params *p = model_params(a->model);
    a->n = p->n_flat;
    TRY(task_strategy(plan, p, &a->strategy, &a->numbers));
    task_layout(plan, a->strategy, a->n, &a->layout);
    TRY(task_privacy(plan, &a->layout, &a->privacy));
    size_t most = WIRE_PARAMS_MAX - 2 - TASK_METRICS - RING_CHECKS;
    if (a->n * a->strategy->n_up > most)
        return fail(TACIT_LIMIT,
                    "the model has %zu weights, %u times in an update; the "
                    "limit is %zu",
                    a->n, a->strategy->n_up, most);
    TRY(task_file(p, a->strategy->n_down, &a->file));
    TRY(task_file(p, a->strategy->n_down, &a->next));
    TRY(make_state(a, &a->state));
    TRY(make_state(a, &a->state2));
    model_init(a->model, plan->seed);
    memcpy(a->file.flat, p->flat, a->n * sizeof *p->flat);
    return TACIT_OK;
}

enum tacit_err aggregate_new(const struct plan *plan, struct aggregate **out)
{
    struct aggregate *a = calloc(1, sizeof *a);
    if (!a) return fail(TACIT_NOMEM, "no memory for a plan");
    enum tacit_err err = setup(a, plan);
    if (err)
        aggregate_free(a);
    else
        *out = a;
    return err;
}

void aggregate_free(struct aggregate *a)
{
    if (!a) return;
    aggregate_drop(a);
    free(a->mean);
    free(a->weight);
    model_free(a->model);
    params_release(&a->file);
    params_release(&a->next);
    params_release(&a->state);
    params_release(&a->state2);
    free(a);
}

void aggregate_loaded(struct aggregate *a)
{
    memcpy(model_params(a->model)->flat, a->file.flat,
           a->n * sizeof *a->file.flat);
}

void aggregate_drop(struct aggregate *a)
{
    for (unsigned i = 0; i < a->n_taken; i++) free(a->mean[i]);
    free(a->root);
    a->root = NULL;
    a->n_taken = a->n_clients = a->n_refused = 0;
    a->weight_sum = 0;
    memset(a->scalars, 0, sizeof a->scalars);
    a->stepped = 0;
}

static enum tacit_err make_room(struct aggregate *a)
{
    if (a->n_taken < a->n_room) return TACIT_OK;
    unsigned n = a->n_room ? 2 * a->n_room : 8;
    float **mean = realloc(a->mean, n * sizeof *mean);
    if (mean) a->mean = mean;
    double *weight = realloc(a->weight, n * sizeof *weight);
    if (weight) a->weight = weight;
    if (!mean || !weight) return fail(TACIT_NOMEM, "%u groups", n);
    a->n_room = n;
    return TACIT_OK;
}

static int is_number(const struct aggregate *a, const float *mean, size_t n,
                     const struct ring_mean *m)
{
    if (!map_finite(mean, n)) return 0;
    for (unsigned i = 0; i < a->strategy->n_scalars; i++)
        if (!isfinite(m->metrics[TASK_SCALARS + i])) return 0;
    return 1;
}

enum tacit_err aggregate_take(struct aggregate *a, const float *mean,
                              const struct ring_mean *m, int trusted)
{
    size_t n = a->n * a->strategy->n_up;
    if (!is_number(a, mean, n, m)) {
        a->n_refused++;
        return TACIT_OK;
    }
    TRY(make_room(a));
    float *copy = malloc(n * sizeof *copy);
    if (!copy) return fail(TACIT_NOMEM, "a mean of %zu weights", a->n);
    memcpy(copy, mean, n * sizeof *copy);
    a->n_clients += m->n_clients;
    if (trusted && a->strategy->flags & STRATEGY_ROOTED) {
        free(a->root);
        a->root = copy;
        return TACIT_OK;
    }
    double w = (double)m->weight;
    for (unsigned i = 0; i < a->strategy->n_scalars; i++)
        a->scalars[i] += w * m->metrics[TASK_SCALARS + i];
    a->mean[a->n_taken] = copy;
    a->weight[a->n_taken++] = w;
    a->weight_sum += w;
    return TACIT_OK;
}

/* One mean of all that was taken, into out [n_up * n]; more than one, or a rule
 * that wants to see even one. */
static enum tacit_err combine(struct aggregate *a, float *out)
{
    const struct strategy *s = a->strategy;
    size_t n = a->n * s->n_up;
    if (s->combine) {
        const struct strategy_updates u = {.row = (const float *const *)a->mean,
                                           .weight = a->weight,
                                           .k = a->n_taken,
                                           .n = n,
                                           .root = a->root,
                                           .centre = s->flags & STRATEGY_CENTRED
                                                         ? a->state.flat
                                                         : NULL};
        return s->combine(&a->numbers, &u, out);
    }
    for (size_t l = 0; l < n; l++) {
        double sum = 0;
        for (unsigned i = 0; i < a->n_taken; i++)
            sum += a->weight[i] * (double)a->mean[i][l];
        out[l] = (float)(sum / a->weight_sum);
    }
    return TACIT_OK;
}

/* Running statistics (batch norm) are no weights: momentum and adaptive steps
 * would spoil them, so they are averaged whatever the strategy keeps. */
static void average_statistics(struct aggregate *a, const float *mean)
{
    const struct params *p = model_params(a->model);
    if (!a->strategy->n_server) return;
    for (size_t i = 0; i < p->n_params; i++) {
        const struct param *t = &p->list[i];
        if (t->role != PARAM_STATISTIC) continue;
        for (size_t k = t->offset; k < t->offset + t->len; k++)
            a->next.flat[k] =
                (float)((double)a->file.flat[k] + (double)mean[k]);
    }
}

static enum tacit_err check(const struct params *p, uint32_t round)
{
    size_t i = 0;
    if (map_finite(p->flat, p->n_flat)) return TACIT_OK;
    while (isfinite(p->flat[i])) i++;
    return fail_as(E_LOSS_NAN,
                   "round %u: weight %zu would not be a number; the model "
                   "stays as it was",
                   round, i);
}

/* From the current weights and state to the next ones. */
static enum tacit_err apply(struct aggregate *a, const float *mean,
                            const struct aggregate_step *s)
{
    double scalars[STRATEGY_SCALARS_MAX] = {0};
    for (unsigned i = 0; i < a->strategy->n_scalars; i++)
        scalars[i] = a->weight_sum > 0 ? a->scalars[i] / a->weight_sum : 0;
    memcpy(a->next.flat, a->file.flat, a->file.n_flat * sizeof(float));
    if (a->state.n_flat)
        memcpy(a->state2.flat, a->state.flat, a->state.n_flat * sizeof(float));
    /* Members may have left since the round began. */
    uint32_t n_all =
        s->n_population > a->n_clients ? s->n_population : a->n_clients;
    struct strategy_server server = {.c = &a->numbers,
                                     .n = a->n,
                                     .weights = a->next.flat,
                                     .down = a->next.flat + a->n,
                                     .state = a->state2.flat,
                                     .round = s->round,
                                     .n_clients = a->n_clients,
                                     .n_population = n_all,
                                     .staleness = s->staleness};
    TRY(strategy_apply(a->strategy, &server, mean, scalars));
    average_statistics(a, mean);
    TRY(check(&a->next, s->round));
    return check(&a->state2, s->round);
}

enum tacit_err aggregate_step(struct aggregate *a,
                              const struct aggregate_step *s)
{
    a->stepped = 0;
    if (a->n_taken == 0 && a->n_refused > 0)
        return fail_as(E_LOSS_NAN,
                       "round %u: none of %u updates is a number; the model "
                       "stays as it was",
                       s->round, a->n_refused);
    if (a->n_taken == 0) return fail(TACIT_STATE, "no sum to step with");
    enum tacit_err err = TACIT_OK;
    if (a->n_taken == 1 && !a->strategy->combine) {
        err = apply(a, a->mean[0], s);
    } else {
        float *mean = malloc(a->n * a->strategy->n_up * sizeof *mean);
        if (!mean) return fail(TACIT_NOMEM, "a mean of %zu weights", a->n);
        err = combine(a, mean);
        if (!err) err = apply(a, mean, s);
        free(mean);
    }
    a->stepped = !err;
    return err;
}

void aggregate_adopt(struct aggregate *a)
{
    float *flat = a->file.flat, *state = a->state.flat;
    if (!a->stepped) return;
    a->file.flat = a->next.flat;
    a->next.flat = flat;
    a->state.flat = a->state2.flat;
    a->state2.flat = state;
    aggregate_loaded(a);
    aggregate_drop(a);
}
