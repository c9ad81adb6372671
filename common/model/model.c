#include "common/model/model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/arch.h"
#include "common/model/directions.h"
#include "common/model/metrics.h"
#include "common/model/tuned.h"
#include "common/tensor/maps.h"
#include "common/tensor/optim.h"

enum {
    TAPE_BYTES_MAX = 1 << 30,
    EVALUATE_ROWS = 256,    /* rows per forward pass */
    EVALUATE_TOKENS = 4096, /* lm: tokens per forward pass */
    LOSS_ROWS = 32,         /* retriever: in-batch negatives when measuring;
                               reader: texts */
    ROWS_MAX = 1 << 24,
    CACHE_BYTES = 1 << 18, /* of a processor's own cache, for rows */
    AHEAD_ROWS = 4         /* to fetch in advance when they are read in order */
};

/* How far a running statistic follows a batch, as everywhere in practice. */
#define STATISTIC_STEP 0.1f

/* Memory of a training, kept for the next one. */
struct workspace {
    uint32_t *order; /* [rows_max] */
    size_t rows_max;
    float *grad;          /* [n_flat] */
    float *before;        /* [n_flat], to go back to */
    float *kept;          /* [n_statistics] their values after the step */
    const float *ahead;   /* borrowed during a step: what to fetch in it */
    const float *fetched; /* end of rows that came during the last training */
};

struct model {
    struct model_spec spec;
    const struct arch *arch;
    struct tuned *tuned;      /* owned: a network; NULL for all else */
    struct directions *along; /* owned: p is a place along them, and the rest
                                 of this is empty; NULL for all else */
    struct params p;
    struct tape tape;
    struct var *vars[PARAMS_MAX];
    struct workspace work;
};

/* Inputs that follow from an image or a sequence. */
static enum tacit_err set_inputs(struct model_spec *s)
{
    size_t n = 0;
    if (s->task == MODEL_LM) n = s->seq;
    if (s->channels || s->height || s->width) {
        if (s->height && s->width > UINT32_MAX / s->height)
            return fail(TACIT_LIMIT, "images of %u x %u", s->height, s->width);
        n = (size_t)s->height * s->width;
        n = s->channels && n > ROWS_MAX / s->channels ? SIZE_MAX
                                                      : n * s->channels;
    }
    if (n && s->n_inputs && s->n_inputs != n)
        return fail(TACIT_SHAPE,
                    "%zu inputs, but the image or sequence has %zu",
                    s->n_inputs, n);
    if (n) s->n_inputs = n;
    return TACIT_OK;
}

static enum tacit_err setup(struct model *m, const struct model_spec *spec)
{
    m->spec = *spec;
    if (spec->along.n) return directions_new(spec, &m->p, &m->along);
    if (spec->n_hidden > MODEL_HIDDEN_MAX)
        return fail(TACIT_LIMIT, "%zu hidden layers; at most %d",
                    spec->n_hidden, MODEL_HIDDEN_MAX);
    if (spec->classes > MODEL_CLASSES_MAX)
        return fail(TACIT_LIMIT, "%u classes; at most %d", spec->classes,
                    MODEL_CLASSES_MAX);
    TRY(arch_find(spec->kind, &m->arch));
    m->spec.kind = m->arch->kind;
    if (!(m->arch->tasks >> spec->task & 1))
        return fail(TACIT_UNSUPPORTED, "a %s model cannot learn this task",
                    m->arch->kind);
    if (spec->classes > 1 && spec->task != MODEL_CLASSIFY &&
        spec->task != MODEL_LM)
        return fail(TACIT_UNSUPPORTED, "classes are for classification, not "
                                       "for this task");
    if (!m->arch->layout) return tuned_new(&m->spec, &m->p, &m->tuned);
    TRY(set_inputs(&m->spec));
    TRY(m->arch->layout(&m->spec, &m->p));
    return params_alloc(&m->p);
}

enum tacit_err model_new(const struct model_spec *spec, struct model **out)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m) return fail(TACIT_NOMEM, "no memory for a model");
    params_init(&m->p);
    tape_init(&m->tape, TAPE_BYTES_MAX);
    enum tacit_err err = setup(m, spec);
    if (err) {
        model_free(m);
        return err;
    }
    *out = m;
    return TACIT_OK;
}

void model_free(struct model *m)
{
    if (!m) return;
    tuned_free(m->tuned);
    directions_free(m->along);
    tape_release(&m->tape);
    params_release(&m->p);
    free(m->work.order);
    free(m->work.grad);
    free(m->work.before);
    free(m->work.kept);
    free(m);
}

struct params *model_params(struct model *m)
{
    return &m->p;
}

/* What works: m, or the model that its place along directions comes to. */
static struct model *at_work(struct model *m)
{
    return m->along ? directions_at(m->along, m->p.flat) : m;
}

const struct params *model_weights(struct model *m)
{
    return &at_work(m)->p;
}

void model_init(struct model *m, uint64_t seed)
{
    struct rng rng;
    if (m->along) {
        memset(m->p.flat, 0, m->p.n_flat * sizeof *m->p.flat);
        return;
    }
    if (m->tuned) {
        tuned_init(m->tuned, &m->p);
        return;
    }
    rng_init(&rng, seed, 0, 0);
    m->arch->init(&m->spec, &m->p, &rng);
}

void model_use_pool(struct model *m, struct pool *pool)
{
    /* Rooms of a tape are made for the workers that it began with. */
    tape_release(&m->tape);
    tape_init(&m->tape, TAPE_BYTES_MAX);
    m->tape.pool = pool;
    if (m->tuned) tuned_use_pool(m->tuned, pool);
    if (m->along) model_use_pool(directions_inner(m->along), pool);
}

static enum tacit_err check_examples(const struct model *m,
                                     const struct examples *ex)
{
    if (m->tuned) return tuned_check(m->tuned, ex);
    if (m->spec.task == MODEL_READER)
        return ex->read ? TACIT_OK
                        : fail(TACIT_SHAPE, "examples without passages");
    if (ex->x_dim != m->spec.n_inputs)
        return fail(TACIT_SHAPE, "examples have %zu inputs, the model %zu",
                    ex->x_dim, m->spec.n_inputs);
    if (ex->n_rows > ROWS_MAX)
        return fail(TACIT_LIMIT, "%zu examples; at most %d", ex->n_rows,
                    ROWS_MAX);
    size_t got = ex->y_dim ? ex->y_dim : 1, want = batch_targets(&m->spec);
    if (m->spec.task == MODEL_RETRIEVER ? !ex->p : !ex->y)
        return fail(TACIT_SHAPE, "examples without targets");
    if (want && got != want)
        return fail(TACIT_SHAPE, "examples have %zu targets, the model %zu",
                    got, want);
    return TACIT_OK;
}

static enum tacit_err gather(struct model *m, const struct examples *ex,
                             const uint32_t *idx, size_t first, size_t n,
                             struct batch *out)
{
    return batch_gather(&m->tape, &m->spec, m->arch->order, ex, idx, first, n,
                        out);
}

/* Forward pass; gradients go to grad unless it is NULL. */
static struct var *forward(struct model *m, const struct batch *b, float *grad)
{
    for (size_t i = 0; i < m->p.n_params; i++) {
        const struct param *p = &m->p.list[i];
        size_t rows = p->n_dims > 1 ? p->dims[0] : 1;
        float *w = params_data(&m->p, p);
        m->vars[i] = tape_parameter(&m->tape, w, grad ? grad + p->offset : NULL,
                                    rows, p->len / rows);
        if (!m->vars[i]) return NULL;
    }
    return m->arch->forward(&m->spec, &m->tape, m->vars, b);
}

enum tacit_err model_gradient(struct model *m, const struct examples *ex,
                              const uint32_t *idx, size_t n, float *grad,
                              float *out_loss)
{
    struct batch b;
    if (m->along)
        return fail(TACIT_UNSUPPORTED, "along directions a model learns by "
                                       "forward passes, without a gradient");
    TRY(check_examples(m, ex));
    if (n == 0) return fail(TACIT_SHAPE, "an empty batch");
    if (m->tuned)
        return tuned_gradient(m->tuned, &m->tape, m->p.flat, ex, idx, n, grad,
                              out_loss);
    tape_reset(&m->tape);
    m->tape.ahead = m->work.ahead;
    memset(grad, 0, m->p.n_flat * sizeof *grad);
    TRY(gather(m, ex, idx, 0, n, &b));
    struct var *loss = arch_loss(&m->spec, &m->tape, forward(m, &b, grad), &b);
    TRY(tape_backward(&m->tape, loss));
    *out_loss = loss->v[0];
    return TACIT_OK;
}

enum tacit_err model_room(struct model *m, const struct examples *ex,
                          size_t tokens)
{
    return m->tuned ? tuned_room(m->tuned, &m->tape, ex, tokens) : TACIT_OK;
}

enum tacit_err model_loss(struct model *m, const struct examples *ex,
                          const uint32_t *idx, size_t n, float *out_loss)
{
    struct batch b;
    m = at_work(m);
    TRY(check_examples(m, ex));
    if (n == 0) return fail(TACIT_SHAPE, "an empty batch");
    if (m->tuned)
        return tuned_loss(m->tuned, &m->tape, m->p.flat, ex, idx, n, out_loss);
    tape_reset(&m->tape);
    TRY(gather(m, ex, idx, 0, n, &b));
    const struct var *loss =
        arch_loss(&m->spec, &m->tape, forward(m, &b, NULL), &b);
    if (!loss) return m->tape.err;
    *out_loss = loss->v[0];
    return TACIT_OK;
}

/* Rows per forward pass. */
static size_t evaluate_rows(const struct model *m)
{
    size_t n = EVALUATE_ROWS;
    if (m->spec.task == MODEL_RETRIEVER || m->spec.task == MODEL_READER)
        n = LOSS_ROWS;
    if (m->spec.task == MODEL_LM && m->spec.seq)
        n = m->spec.seq < EVALUATE_TOKENS ? EVALUATE_TOKENS / m->spec.seq : 1;
    return n;
}

/* Forward pass over n rows from `first` on; the tape begins anew. */
static enum tacit_err look(struct model *m, const struct examples *ex,
                           size_t first, size_t n, struct batch *b,
                           struct var **out)
{
    tape_reset(&m->tape);
    TRY(gather(m, ex, NULL, first, n, b));
    if (b->x) m->tape.ahead = b->x + AHEAD_ROWS * ex->x_dim;
    *out = forward(m, b, NULL);
    return *out ? TACIT_OK : m->tape.err;
}

static enum tacit_err predict_values(struct model *m, const struct examples *ex,
                                     float *out)
{
    size_t step = evaluate_rows(m);
    for (size_t first = 0; first < ex->n_rows; first += step) {
        struct batch b;
        struct var *y;
        size_t n = ex->n_rows - first < step ? ex->n_rows - first : step;
        TRY(look(m, ex, first, n, &b, &y));
        assert(y);
        for (size_t i = 0; i < n; i++) out[first + i] = y->v[i];
    }
    return TACIT_OK;
}

/* Loss and c-index of risks [n_rows]. */
static enum tacit_err measure_risks(struct model *m, const struct examples *ex,
                                    float *risk, struct model_metrics *out)
{
    struct batch b;
    double c_index = 0, n = (double)ex->n_rows;
    tape_reset(&m->tape);
    TRY(gather(m, ex, NULL, 0, ex->n_rows, &b));
    struct var *z = tape_constant(&m->tape, risk, ex->n_rows, 1);
    const struct var *l = arch_loss(&m->spec, &m->tape, z, &b);
    if (!l) return m->tape.err;
    TRY(metrics_c_index(risk, b.y, b.event, b.n, &c_index));
    *out = (struct model_metrics){.loss = (double)l->v[0],
                                  .metric = c_index,
                                  .n_rows = ex->n_rows,
                                  .loss_sum = (double)l->v[0] * n,
                                  .metric_sum = c_index * n};
    return TACIT_OK;
}

/* All rows are one risk set, so their risks come first. */
static enum tacit_err evaluate_cox(struct model *m, const struct examples *ex,
                                   struct model_metrics *out)
{
    float *risk = malloc(ex->n_rows * sizeof *risk);
    if (!risk)
        return fail(TACIT_NOMEM, "no memory to rank %zu rows", ex->n_rows);
    enum tacit_err err = predict_values(m, ex, risk);
    if (!err) err = measure_risks(m, ex, risk, out);
    free(risk);
    return err;
}

enum tacit_err model_evaluate(struct model *m, const struct examples *ex,
                              struct model_metrics *out)
{
    double loss = 0, sum = 0;
    m = at_work(m);
    size_t step = evaluate_rows(m);
    TRY(check_examples(m, ex));
    if (ex->n_rows == 0) return fail(TACIT_SHAPE, "no examples to evaluate");
    if (m->tuned) return tuned_evaluate(m->tuned, &m->tape, m->p.flat, ex, out);
    if (m->spec.task == MODEL_COX) return evaluate_cox(m, ex, out);
    for (size_t first = 0; first < ex->n_rows; first += step) {
        struct batch b;
        struct var *y;
        size_t n = ex->n_rows - first < step ? ex->n_rows - first : step;
        TRY(look(m, ex, first, n, &b, &y));
        const struct var *l = arch_loss(&m->spec, &m->tape, y, &b);
        if (!l) return m->tape.err;
        loss += (double)l->v[0] * (double)n;
        sum += metrics_sum(&m->spec, ex, first, &b, y);
    }
    double n = (double)ex->n_rows;
    *out = (struct model_metrics){.loss = loss / n,
                                  .metric = m->spec.task == MODEL_REGRESS
                                                ? sqrt(sum / n)
                                                : sum / n,
                                  .n_rows = ex->n_rows,
                                  .loss_sum = loss,
                                  .metric_sum = sum};
    return TACIT_OK;
}

/* Row i's prediction from the output of a batch of n. */
static float prediction(const struct model *m, const struct var *y, size_t i,
                        size_t n)
{
    size_t row = i;
    assert(y);
    if (m->spec.task == MODEL_LM) /* of the last step */
        row = m->arch->order == BATCH_BY_STEP ? (m->spec.seq - 1) * n + i
                                              : (i + 1) * m->spec.seq - 1;
    const float *z = y->v + row * y->cols;
    if (y->cols > 1) return (float)metrics_argmax(z, y->cols);
    return m->spec.task == MODEL_CLASSIFY ? 1 / (1 + expf(-z[0])) : z[0];
}

enum tacit_err model_predict(struct model *m, const struct examples *ex,
                             float *out)
{
    m = at_work(m);
    size_t step = evaluate_rows(m);
    TRY(check_examples(m, ex));
    if (m->tuned && m->spec.task == MODEL_RETRIEVER)
        return tuned_places(m->tuned, &m->tape, m->p.flat, ex, out);
    if (m->spec.task == MODEL_READER || m->tuned)
        return fail(TACIT_UNSUPPORTED, "a reader or a network predicts no "
                                       "numbers");
    for (size_t first = 0; first < ex->n_rows; first += step) {
        struct batch b;
        struct var *y;
        size_t n = ex->n_rows - first < step ? ex->n_rows - first : step;
        TRY(look(m, ex, first, n, &b, &y));
        assert(y); /* a reader alone has no output */
        for (size_t i = 0; i < n; i++)
            out[first + i] =
                m->spec.task == MODEL_RETRIEVER
                    ? metrics_place(ex, first + i, y->v + i * y->cols)
                    : prediction(m, y, i, n);
    }
    return TACIT_OK;
}

/* ---- training ---- */

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
    m = at_work(m);
    if (!m->tuned) return TACIT_OK;
    TRY(check_examples(m, ex));
    return tuned_fits(m->tuned, &m->tape, ex,
                      is_mezo ? TUNED_LOOKS : TUNED_LEARNS, how->batch,
                      out_bytes);
}

enum tacit_err model_train(struct model *m, const struct model_training *how,
                           const struct examples *ex)
{
    struct training t = {0};
    struct model *works = at_work(m);
    TRY(check_examples(works, ex));
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
