#include "common/model/directions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/tensor/maps.h"
#include "common/tensor/mezo.h"

#define EPSILON 1e-3

struct directions {
    struct model *model; /* owned */
    size_t n, k;
    uint64_t seed;
    float *start; /* [n] */
    float *known; /* [k] what the model's weights are of */
    int is_known;
};

static enum tacit_err setup(struct directions *d, const struct model_spec *spec,
                            struct params *p)
{
    struct model_spec inner = *spec;
    const size_t dims[] = {spec->along.n};
    inner.along.n = 0;
    TRY(model_new(&inner, &d->model));
    model_init(d->model, spec->along.seed);
    const struct params *w = model_params(d->model);
    for (size_t i = 0; i < w->n_params; i++)
        if (w->list[i].role == PARAM_STATISTIC)
            return fail(TACIT_UNSUPPORTED,
                        "forward passes cannot move running statistics: take "
                        "another norm than batch");
    d->n = w->n_flat;
    d->k = spec->along.n;
    d->seed = spec->along.seed;
    TRY(params_add(p, DIRECTIONS_NAME, dims, 1));
    TRY(params_alloc(p));
    d->start = malloc((d->n ? d->n : 1) * sizeof *d->start);
    d->known = calloc(d->k, sizeof *d->known);
    if (!d->start || !d->known)
        return fail(TACIT_NOMEM, "no memory for %zu weights", d->n);
    memcpy(d->start, w->flat, d->n * sizeof *d->start);
    d->is_known = 1;
    return TACIT_OK;
}

enum tacit_err directions_new(const struct model_spec *spec, struct params *p,
                              struct directions **out)
{
    struct directions *d = calloc(1, sizeof *d);
    if (!d) return fail(TACIT_NOMEM, "no memory for a model");
    enum tacit_err err = setup(d, spec, p);
    if (err)
        directions_free(d);
    else
        *out = d;
    return err;
}

void directions_free(struct directions *d)
{
    if (!d) return;
    model_free(d->model);
    free(d->start);
    free(d->known);
    free(d);
}

struct model *directions_at(struct directions *d, const float *s)
{
    float *w = model_params(d->model)->flat;
    if (d->is_known && memcmp(d->known, s, d->k * sizeof *s) == 0)
        return d->model;
    memcpy(w, d->start, d->n * sizeof *w);
    mezo_rebuild(d->seed, s, d->k, w, d->n);
    memcpy(d->known, s, d->k * sizeof *s);
    d->is_known = 1;
    return d->model;
}

struct model *directions_inner(struct directions *d)
{
    /* Whoever trains it leaves weights that are of no s. */
    d->is_known = 0;
    return d->model;
}

/* ---- training ----------------------------------------------------------- */

struct walk {
    struct model *m;
    const struct model_training *how;
    const struct examples *ex;
    struct rng rng;
    uint32_t *order; /* [n_rows] */
    size_t next, n;  /* the batch: order[next …] */
    double loss[2];
};

static enum tacit_err look(void *ctx, float *loss)
{
    const struct walk *w = ctx;
    return model_loss(w->m, w->ex, w->order + w->next, w->n, loss);
}

/* Shuffled epochs, as model_train() goes through them. */
static void next_batch(struct walk *w)
{
    size_t n_rows = w->ex->n_rows;
    w->next += w->n;
    if (w->next >= n_rows) {
        rng_shuffle(&w->rng, w->order, n_rows);
        w->next = 0;
    }
    size_t left = n_rows - w->next;
    w->n = left < w->how->batch ? left : w->how->batch;
}

static enum tacit_err step(struct walk *w, const struct directions *d, float *s,
                           uint32_t number, uint32_t steps)
{
    struct params *p = model_params(w->m);
    const struct mezo_loss loss = {look, w};
    double epsilon = w->how->epsilon > 0 ? w->how->epsilon : EPSILON;
    struct mezo_found found;
    TRY(model_training_goes_on(w->how, number));
    next_batch(w);
    uint64_t at = d ? rng_below(&w->rng, d->k) : 0;
    uint64_t z = d ? mezo_direction(d->seed, at) : rng_u64(&w->rng);
    TRY(mezo_look(&loss, z, (float)epsilon, p->flat, p->n_flat, &found));
    float by = (float)(-w->how->learning_rate * found.slope);
    if (!isfinite(found.loss) || !isfinite(by))
        return fail_as(E_LOSS_NAN,
                       "step %u of %u: the loss is no longer a number", number,
                       steps);
    mezo_move(z, by, p->flat, p->n_flat);
    if (d) s[at] += by;
    if (number <= (steps + 1) / 2) w->loss[0] += (double)found.loss;
    if (number > steps / 2) w->loss[1] += (double)found.loss;
    return TACIT_OK;
}

static enum tacit_err count_steps(const struct model_training *how, size_t n,
                                  uint32_t *out)
{
    uint64_t batches = (n + how->batch - 1) / how->batch;
    *out = how->steps;
    if (!how->epochs) return TACIT_OK;
    if (how->epochs > UINT32_MAX / batches)
        return fail(TACIT_LIMIT, "%u epochs of %zu rows are too many steps",
                    how->epochs, n);
    *out = (uint32_t)(how->epochs * batches);
    return TACIT_OK;
}

static enum tacit_err walk(struct walk *w, const struct directions *d, float *s,
                           uint32_t steps)
{
    const struct params *p = model_params(w->m);
    enum tacit_err err = TACIT_OK;
    for (uint32_t i = 0; !err && i < steps; i++)
        err = step(w, d, s, i + 1, steps);
    if (!err && !map_finite(p->flat, p->n_flat))
        err =
            fail_as(E_LOSS_NAN, "after %u steps a weight is no number", steps);
    return err;
}

enum tacit_err directions_train(struct model *m,
                                const struct model_training *how,
                                const struct examples *ex,
                                const struct directions *d, float *s)
{
    struct params *p = model_params(m);
    uint32_t steps = 0;
    size_t n_kept = d ? d->k : p->n_flat;
    float *flat = d ? s : p->flat;
    if (how->gradient)
        return fail(TACIT_UNSUPPORTED,
                    "this strategy adds to gradients; forward passes have "
                    "none");
    TRY(count_steps(how, ex->n_rows, &steps));
    struct walk w = {.m = m, .how = how, .ex = ex, .next = ex->n_rows};
    float *before = malloc((n_kept ? n_kept : 1) * sizeof *before);
    w.order = malloc(ex->n_rows * sizeof *w.order);
    enum tacit_err err = TACIT_OK;
    if (!before || !w.order) {
        err = fail(TACIT_NOMEM, "no memory to train %zu weights", p->n_flat);
    } else {
        memcpy(before, flat, n_kept * sizeof *before);
        for (size_t i = 0; i < ex->n_rows; i++) w.order[i] = (uint32_t)i;
        rng_init(&w.rng, how->seed, how->round, how->client);
        err = walk(&w, d, s, steps);
        if (err) memcpy(flat, before, n_kept * sizeof *before);
    }
    free(before);
    free(w.order);
    TRY(err);
    const uint32_t half = (steps + 1) / 2;
    if (how->out_steps) *how->out_steps = steps;
    for (int i = 0; how->out_losses && i < 2; i++)
        how->out_losses[i] = half ? w.loss[i] / half : 0;
    return TACIT_OK;
}
