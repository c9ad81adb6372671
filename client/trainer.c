#include "client/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/private_round.h"
#include "common/base/codes.h"
#include "common/crypto/secret.h"
#include "common/privacy/ring.h"

enum tacit_err trained_new(const struct strategy *s, size_t n,
                           struct trained *out)
{
    *out = (struct trained){.up = calloc(n * s->n_up, sizeof *out->up)};
    if (s->n_client)
        out->next_state = calloc(n * s->n_client, sizeof *out->next_state);
    if (out->up && (out->next_state || !s->n_client)) return TACIT_OK;
    free(out->up);
    free(out->next_state);
    *out = (struct trained){0};
    return fail(TACIT_NOMEM, "an update of %zu weights", n);
}

void trained_release(struct trained *t, const struct strategy *s, size_t n)
{
    if (t->up) secret_wipe(t->up, n * s->n_up * sizeof *t->up);
    if (t->next_state)
        secret_wipe(t->next_state, n * s->n_client * sizeof *t->next_state);
    if (t->whole) secret_wipe(t->whole, n * sizeof *t->whole);
    free(t->up);
    free(t->next_state);
    free(t->whole);
    *t = (struct trained){0};
}

/* One local training: what the hooks of the strategy are told. */
struct training {
    const struct trainer_task *t;
    struct strategy_local local;
    float *global; /* [n], owned */
    float *zeros;  /* [n_client * n], owned: the first state */
    void (*hook)(const struct strategy_local *l, const float *w, float *g);
};

static void add_gradient(void *ctx, const float *w, float *g)
{
    struct training *x = ctx;
    x->hook(&x->local, w, g);
}

/* At least one step, however little a straggler does. */
static uint32_t share_of(uint32_t steps, double work)
{
    double n = floor((double)steps * work + 0.5);
    return n < 1 ? 1 : (uint32_t)n;
}

uint32_t trainer_steps(const struct plan *p, size_t n_rows, double work)
{
    if (!p->local_epochs) return share_of(p->local_steps, work);
    uint64_t n = (uint64_t)((n_rows + p->batch - 1) / p->batch);
    n *= p->local_epochs;
    return share_of(n < UINT32_MAX ? (uint32_t)n : UINT32_MAX, work);
}

/* K steps from where m stands, with hook added to each gradient. */
static enum tacit_err train(struct training *x, struct model *m,
                            const struct examples *rows, uint64_t purpose,
                            double *losses)
{
    const struct plan *p = x->t->plan;
    struct model_training how;
    task_training(p, &how);
    how.steps = trainer_steps(p, rows->n_rows, x->t->work);
    how.seed ^= purpose;
    how.round = x->t->round;
    how.client = x->t->client;
    how.gradient = x->hook ? add_gradient : NULL;
    how.ctx = x;
    how.stopped = x->t->stopped;
    how.of = x->t->of;
    how.next = x->t->next;
    how.out_losses = losses;
    x->local.steps = how.steps;
    return model_train(m, &how, rows);
}

/* Ditto: the device's own model, trained beside the shared one. */
static enum tacit_err train_personal(struct training *x, struct model *m,
                                     const struct dataset *d,
                                     struct trained *out)
{
    struct params *p = model_params(m);
    size_t bytes = p->n_flat * sizeof *p->flat;
    memcpy(p->flat, x->local.fresh ? x->global : x->local.state, bytes);
    x->hook = x->t->strategy->personal;
    TRY(train(x, m, &d->train, 0x706572736f6eU, NULL));
    memcpy(out->next_state, p->flat, bytes);
    return TACIT_OK;
}

/* What the device's own model, at hand in m, gives on its held-out rows. */
static enum tacit_err measure_personal(struct model *m, const struct dataset *d,
                                       struct trained *out)
{
    struct model_metrics got;
    if (d->test.n_rows == 0) return TACIT_OK;
    TRY(model_evaluate(m, &d->test, &got));
    out->metrics[TASK_PERSONAL] = got.metric;
    return TACIT_OK;
}

static enum tacit_err check_scalars(const struct strategy *s,
                                    const double *scalars)
{
    for (unsigned i = 0; i < s->n_scalars; i++)
        if (!(fabs(scalars[i]) <= STRATEGY_SCALAR_LIMIT))
            return fail_as(E_LOSS_NAN,
                           "strategy %s: a factor of %g is out of the sum's "
                           "range of %g; local.learning_rate is too high, or "
                           "weighting.cap too low",
                           s->name, scalars[i], STRATEGY_SCALAR_LIMIT);
    return TACIT_OK;
}

static enum tacit_err run(struct training *x, struct model *m,
                          const struct dataset *d, struct trained *out)
{
    const struct strategy *s = x->t->strategy;
    struct params *p = model_params(m);
    struct model_metrics at_start = {0}, held = {0};
    double losses[2];
    if (s->flags & STRATEGY_LOSS) TRY(model_evaluate(m, &d->train, &at_start));
    if (d->test.n_rows) TRY(model_evaluate(m, &d->test, &held));
    x->local.loss = at_start.loss;
    x->hook = s->gradient;
    if (s->begin) s->begin(&x->local, p->flat);
    if (s->begin && s->flags & STRATEGY_PERSONAL)
        TRY(measure_personal(m, d, out));
    TRY(train(x, m, &d->train, 0, losses));
    strategy_finish(s, &x->local, p->flat, out->up,
                    out->metrics + TASK_SCALARS);
    TRY(check_scalars(s, out->metrics + TASK_SCALARS));
    out->metrics[TASK_LOSS_BEFORE] = losses[0];
    out->metrics[TASK_LOSS_AFTER] = losses[1];
    out->metrics[TASK_METRIC] = held.metric;
    out->metrics[TASK_HELD_OUT] = d->test.n_rows ? 1 : 0;
    if (!(isfinite(at_start.loss) && isfinite(held.loss) &&
          isfinite(held.metric)))
        return fail_as(E_LOSS_NAN, "plan %s: a loss or metric is not a number",
                       x->t->plan->name);
    if (!(s->flags & STRATEGY_PERSONAL) || s->begin) return TACIT_OK;
    if (s->personal)
        TRY(train_personal(x, m, d, out));
    else
        memcpy(out->next_state, p->flat, p->n_flat * sizeof *p->flat);
    return measure_personal(m, d, out);
}

static enum tacit_err fits(const struct plan *p, uint32_t batch,
                           struct model *m, const struct examples *rows,
                           uint64_t *out_bytes)
{
    struct model_training how;
    task_training(p, &how);
    how.batch = batch;
    return model_fits(m, &how, rows, out_bytes);
}

enum tacit_err trainer_fits(const struct plan *p, struct model *m,
                            const struct examples *rows, uint64_t *out_bytes)
{
    /* Under privacy each row has a gradient of its own. */
    return fits(p, p->privacy.record ? 1 : p->batch, m, rows, out_bytes);
}

/* ---- under privacy ------------------------------------------------------ */

static enum tacit_err train_own(struct training *x, struct model *m,
                                const struct examples *rows)
{
    uint64_t bytes;
    TRY(fits(x->t->plan, x->t->plan->batch, m, rows, &bytes));
    return train(x, m, rows, 0, NULL);
}

/* The device's own model beside the noisy sum, which does not know of it:
 * out->next_state. Nothing of it leaves, so that a batch's other questions may
 * be negatives, and it needs no others. What cannot be trained on is no reason
 * to stay out of the round, which would tell. */
static enum tacit_err private_own(const struct trainer_task *t, struct model *m,
                                  const struct dataset *d, struct trained *out)
{
    struct params *p = model_params(m);
    struct training x = {.t = t};
    struct examples rows = d->train;
    size_t bytes = p->n_flat * sizeof *p->flat;
    rows.hard = NULL;
    rows.n_hard = 0;
    x.global = malloc(bytes);
    if (!x.global)
        return fail(TACIT_NOMEM, "no memory to train %zu weights", p->n_flat);
    memcpy(x.global, p->flat, bytes);
    enum tacit_err err = rows.n_rows ? train_own(&x, m, &rows) : TACIT_OK;
    out->without_own = err || !rows.n_rows;
    memcpy(out->next_state, p->flat, bytes);
    memcpy(p->flat, x.global, bytes);
    free(x.global);
    if (!err || err_id() == E_INTERRUPTED) return err;
    err_clear();
    return TACIT_OK;
}

static enum tacit_err run_private(const struct trainer_task *t, struct model *m,
                                  const struct dataset *d, struct trained *out)
{
    TRY(private_round(t, m, d, out));
    return strategy_keeps_model(t->strategy) ? private_own(t, m, d, out)
                                             : TACIT_OK;
}

enum tacit_err trainer_run(const struct trainer_task *t, struct model *m,
                           const struct dataset *d, struct trained *out)
{
    struct params *p = model_params(m);
    size_t n = p->n_flat, n_state = n * t->strategy->n_client;
    out->without_own = 0;
    if (t->plan->privacy.record) return run_private(t, m, d, out);
    if (d->train.n_rows == 0)
        return fail_as(E_NO_EXAMPLES, "plan %s: no rows to train on",
                       t->plan->name);
    uint64_t bytes;
    TRY(trainer_fits(t->plan, m, &d->train, &bytes));
    struct training x = {.t = t};
    x.global = malloc(n * sizeof *x.global);
    x.zeros = n_state && !t->state ? calloc(n_state, sizeof *x.zeros) : NULL;
    enum tacit_err err = TACIT_OK;
    if (!x.global || (n_state && !t->state && !x.zeros)) {
        err = fail(TACIT_NOMEM, "no memory to train %zu weights", n);
    } else {
        memcpy(x.global, p->flat, n * sizeof *x.global);
        x.local =
            (struct strategy_local){.c = t->numbers,
                                    .n = n,
                                    .global = x.global,
                                    .down = t->down,
                                    .state = t->state ? t->state : x.zeros,
                                    .next_state = out->next_state,
                                    .fresh = !t->state,
                                    .learning_rate = t->plan->learning_rate,
                                    .momentum = t->plan->momentum,
                                    .round = t->round,
                                    .rank = t->rank};
        memset(out->metrics, 0, sizeof out->metrics);
        err = run(&x, m, d, out);
        memcpy(p->flat, x.global, n * sizeof *x.global);
        out->weight = task_weight(t->plan, d->train.n_rows);
        out->n_examples = d->train.n_rows;
    }
    free(x.global);
    free(x.zeros);
    return err;
}
