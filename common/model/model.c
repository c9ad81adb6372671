#include "common/model/model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/arch.h"
#include "common/model/directions.h"
#include "common/model/metrics.h"
#include "common/model/model_parts.h"
#include "common/model/tuned.h"

enum {
    TAPE_BYTES_MAX = 1 << 30,
    EVALUATE_ROWS = 256,    /* rows per forward pass */
    EVALUATE_TOKENS = 4096, /* lm: tokens per forward pass */
    LOSS_ROWS = 32,         /* retriever: in-batch negatives when measuring;
                               reader: texts */
    ROWS_MAX = 1 << 24,
    AHEAD_ROWS = 4 /* to fetch in advance when they are read in order */
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

struct model *model_at_work(struct model *m)
{
    return m->along ? directions_at(m->along, m->p.flat) : m;
}

const struct params *model_weights(struct model *m)
{
    return &model_at_work(m)->p;
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

void model_bound(struct model *m, uint64_t memory_bytes)
{
    m->spec.base.memory_bytes = memory_bytes;
    if (m->tuned) tuned_bound(m->tuned, memory_bytes);
    if (m->along) model_bound(directions_inner(m->along), memory_bytes);
}

enum tacit_err model_check_examples(const struct model *m,
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
    TRY(model_check_examples(m, ex));
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
    m = model_at_work(m);
    TRY(model_check_examples(m, ex));
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
    m = model_at_work(m);
    size_t step = evaluate_rows(m);
    TRY(model_check_examples(m, ex));
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
    m = model_at_work(m);
    size_t step = evaluate_rows(m);
    TRY(model_check_examples(m, ex));
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
