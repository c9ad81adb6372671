/* model: local training, of batches and the optimiser's steps. See model.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/arch.h"
#include "common/model/directions.h"
#include "common/model/model_parts.h"
#include "common/model/tuned.h"
#include "common/tensor/maps.h"
#include "common/tensor/optim.h"

enum { CACHE_BYTES = 1 << 18 }; /* of a processor's own cache, for rows */

/* How far a running statistic follows a batch, as everywhere in practice. */
#define STATISTIC_STEP 0.1f

struct training {
    struct rng rng;
    struct optim *optim;
    size_t n_rows, batch;
    size_t next; /* first row of the next batch; n_rows = shuffle first */
    uint32_t steps;
    const float *ahead, *ahead_end; /* of the next training's rows */
    double loss_sum[2];
};

static enum tacit_err workspace_grow(struct model *m, size_t n_rows)
{
    struct workspace *w = &m->work;
    size_t bytes = (m->p.n_flat ? m->p.n_flat : 1) * sizeof(float);
    if (!w->grad) w->grad = malloc(bytes);
    if (!w->before) w->before = malloc(bytes);
    if (!w->kept) w->kept = malloc(bytes);
    if (n_rows > w->rows_max) {
        free(w->order);
        w->order = malloc(n_rows * sizeof *w->order);
        w->rows_max = w->order ? n_rows : 0;
    }
    if (!w->grad || !w->before || !w->kept || !w->order)
        return fail(TACIT_NOMEM, "no memory to train %zu weights", m->p.n_flat);
    return TACIT_OK;
}

static enum tacit_err training_begin(struct training *t, struct model *m,
                                     const struct model_training *how,
                                     size_t n_rows)
{
    const struct optim_config c = {how->optimizer, how->learning_rate,
                                   how->momentum, how->weight_decay};
    uint64_t batches = (n_rows + how->batch - 1) / how->batch;
    if (how->epochs > UINT32_MAX / batches)
        return fail(TACIT_LIMIT, "%u epochs of %zu rows are too many steps",
                    how->epochs, n_rows);
    *t = (struct training){.n_rows = n_rows,
                           .batch = how->batch,
                           .next = n_rows,
                           .steps = how->epochs
                                        ? (uint32_t)(how->epochs * batches)
                                        : how->steps};
    TRY(workspace_grow(m, n_rows));
    for (size_t i = 0; i < n_rows; i++) m->work.order[i] = (uint32_t)i;
    memcpy(m->work.before, m->p.flat, m->p.n_flat * sizeof *m->p.flat);
    rng_init(&t->rng, how->seed, how->round, how->client);
    return optim_new(&c, m->p.n_flat, &t->optim);
}

static int fits_cache(const struct examples *ex)
{
    return ex->n_rows * ex->x_dim <= CACHE_BYTES / sizeof *ex->x;
}

/* Batches take rows at random, which memory gives half as fast as rows in
 * order. What the cache can hold is read once in order, and that of the next
 * training comes during this one. */
static void read_ahead(struct training *t, struct model *m,
                       const struct examples *ex, const struct examples *next)
{
    size_t n = ex->n_rows * ex->x_dim;
    if (!ex->x) return;
    if (fits_cache(ex) && ex->x + n != m->work.fetched)
        (void)map_finite(ex->x, n);
    m->work.fetched = NULL;
    if (!next || !next->x || !fits_cache(ex) || !fits_cache(next)) return;
    t->ahead = next->x;
    t->ahead_end = next->x + next->n_rows * next->x_dim;
}

/* This step's part of them. */
static const float *fetch_part(struct training *t, struct model *m, size_t n)
{
    const float *part = t->ahead;
    if (!part) return NULL;
    if ((size_t)(t->ahead_end - part) > n) {
        t->ahead += n;
        return part;
    }
    m->work.fetched = t->ahead_end;
    t->ahead = NULL;
    return part;
}

/* The rows of the next batch: what is left of the epoch, at most `batch`. */
static size_t next_batch(struct training *t, uint32_t *order,
                         const uint32_t **rows)
{
    if (t->next == t->n_rows) {
        rng_shuffle(&t->rng, order, t->n_rows);
        t->next = 0;
    }
    size_t n = t->n_rows - t->next < t->batch ? t->n_rows - t->next : t->batch;
    *rows = order + t->next;
    t->next += n;
    return n;
}

/* Take the statistics out of the optimiser's sight: no gradient, and their
 * values after the step are set aside. */
static void statistics_begin(struct model *m)
{
    float *kept = m->work.kept;
    for (size_t i = 0; i < m->p.n_params; i++) {
        const struct param *p = &m->p.list[i];
        if (p->role != PARAM_STATISTIC) continue;
        float *w = params_data(&m->p, p), *g = m->work.grad + p->offset;
        for (size_t k = 0; k < p->len; k++) {
            *kept++ = w[k] - STATISTIC_STEP * g[k];
            g[k] = 0;
        }
    }
}

static void statistics_end(struct model *m)
{
    const float *kept = m->work.kept;
    for (size_t i = 0; i < m->p.n_params; i++) {
        const struct param *p = &m->p.list[i];
        if (p->role != PARAM_STATISTIC) continue;
        memcpy(params_data(&m->p, p), kept, p->len * sizeof *kept);
        kept += p->len;
    }
}

static int can_descend(const struct model *m, const struct model_training *how)
{
    return m->arch->descend && !how->gradient && !(how->momentum > 0) &&
           strcmp(how->optimizer, "sgd") == 0;
}

static enum tacit_err descend(struct model *m, const struct model_training *how,
                              const struct examples *ex, const uint32_t *rows,
                              size_t n, float *loss)
{
    const struct arch_step s = {.ex = ex,
                                .idx = rows,
                                .n = n,
                                .rate = (float)how->learning_rate,
                                .decay = (float)how->weight_decay};
    tape_reset(&m->tape);
    m->tape.ahead = m->work.ahead;
    return m->arch->descend(&m->spec, &m->tape, &m->p, &s, loss);
}

/* The gradient of a batch, what hooks add to it, the optimiser's step. */
static enum tacit_err walk(struct model *m, struct training *t,
                           const struct model_training *how,
                           const struct examples *ex, const uint32_t *rows,
                           size_t n, float *loss)
{
    float *g = m->work.grad;
    TRY(model_gradient(m, ex, rows, n, g, loss));
    statistics_begin(m);
    if (how->gradient) how->gradient(how->ctx, m->p.flat, g);
    optim_step(t->optim, m->p.flat, g);
    statistics_end(m);
    return TACIT_OK;
}

static enum tacit_err diverged(const struct training *t, uint32_t number)
{
    return fail_as(E_LOSS_NAN, "step %u of %u: the loss is no longer a number",
                   number, t->steps);
}

enum tacit_err model_training_goes_on(const struct model_training *how,
                                      uint32_t step)
{
    if (!how->stopped || !how->stopped(how->of)) return TACIT_OK;
    return fail_as(E_INTERRUPTED, "training was stopped before its step %u",
                   step);
}

static enum tacit_err step(struct model *m, struct training *t,
                           const struct model_training *how,
                           const struct examples *ex, uint32_t number)
{
    const uint32_t *rows;
    float loss = 0;
    TRY(model_training_goes_on(how, number));
    size_t n = next_batch(t, m->work.order, &rows);
    m->work.ahead = fetch_part(t, m, n * ex->x_dim);
    enum tacit_err err = can_descend(m, how)
                             ? descend(m, how, ex, rows, n, &loss)
                             : walk(m, t, how, ex, rows, n, &loss);
    m->work.ahead = NULL;
    TRY(err);
    if (number <= (t->steps + 1) / 2) t->loss_sum[0] += (double)loss;
    if (number > t->steps / 2) t->loss_sum[1] += (double)loss;
    return isfinite(loss) ? TACIT_OK : diverged(t, number);
}

enum tacit_err model_fits(struct model *m, const struct model_training *how,
                          const struct examples *ex, uint64_t *out_bytes)
{
    int is_mezo = m->along || strcmp(how->optimizer, "mezo") == 0;
    *out_bytes = 0;
    m = model_at_work(m);
    if (!m->tuned) return TACIT_OK;
    TRY(model_check_examples(m, ex));
    return tuned_fits(m->tuned, &m->tape, ex,
                      is_mezo ? TUNED_LOOKS : TUNED_LEARNS, how->batch,
                      out_bytes);
}

enum tacit_err model_train(struct model *m, const struct model_training *how,
                           const struct examples *ex)
{
    struct training t = {0};
    struct model *works = model_at_work(m);
    TRY(model_check_examples(works, ex));
    if (ex->n_rows == 0) return fail(TACIT_SHAPE, "no examples to train on");
    if (how->batch == 0) return fail(TACIT_LIMIT, "a batch of 0 rows");
    if (m->along)
        return directions_train(directions_inner(m->along), how, ex, m->along,
                                m->p.flat);
    if (strcmp(how->optimizer, "mezo") == 0)
        return directions_train(m, how, ex, NULL, NULL);
    TRY(training_begin(&t, m, how, ex->n_rows));
    read_ahead(&t, m, ex, how->next);
    enum tacit_err err = TACIT_OK;
    for (uint32_t i = 0; !err && i < t.steps; i++)
        err = step(m, &t, how, ex, i + 1);
    /* A weight that is no number shows in the next loss; the last step has
     * none. */
    if (!err && !map_finite(m->p.flat, m->p.n_flat))
        err = diverged(&t, t.steps);
    optim_free(t.optim);
    if (err) {
        memcpy(m->p.flat, m->work.before, m->p.n_flat * sizeof *m->p.flat);
        return err;
    }
    if (how->out_steps) *how->out_steps = t.steps;
    const uint32_t half = (t.steps + 1) / 2;
    for (int i = 0; how->out_losses && i < 2; i++)
        how->out_losses[i] = half ? t.loss_sum[i] / half : 0;
    return TACIT_OK;
}
