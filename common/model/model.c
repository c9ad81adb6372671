#include "common/model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/arch.h"
#include "common/tensor/kernels.h"
#include "common/tensor/optim.h"

enum {
    TAPE_BYTES_MAX = 512 << 20,
    EVALUATE_ROWS = 256, /* rows per forward pass */
    LOSS_ROWS = 32,      /* retriever: in-batch negatives when measuring */
    RECALL_K = 5,
    ROWS_MAX = 1 << 24
};

struct model {
    struct model_spec spec;
    const struct arch *arch;
    struct params p;
    struct tape tape;
    struct var *vars[PARAMS_MAX];
};

static enum tacit_err setup(struct model *m, const struct model_spec *spec)
{
    m->spec = *spec;
    if (spec->n_hidden > MODEL_HIDDEN_MAX)
        return fail(TACIT_LIMIT, "%zu hidden layers; at most %d",
                    spec->n_hidden, MODEL_HIDDEN_MAX);
    TRY(arch_find(spec->kind, &m->arch));
    m->spec.kind = m->arch->kind;
    if (!(m->arch->tasks >> spec->task & 1))
        return fail(TACIT_UNSUPPORTED, "a %s model cannot learn this task",
                    m->arch->kind);
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
    tape_release(&m->tape);
    params_release(&m->p);
    free(m);
}

struct params *model_params(struct model *m)
{
    return &m->p;
}

void model_init(struct model *m, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed, 0, 0);
    m->arch->init(&m->spec, &m->p, &rng);
}

static enum tacit_err check_examples(const struct model *m,
                                     const struct examples *ex)
{
    if (ex->x_dim != m->spec.n_inputs)
        return fail(TACIT_SHAPE, "examples have %zu inputs, the model %zu",
                    ex->x_dim, m->spec.n_inputs);
    if (ex->n_rows > ROWS_MAX)
        return fail(TACIT_LIMIT, "%zu examples; at most %d", ex->n_rows,
                    ROWS_MAX);
    if (m->spec.task == MODEL_RETRIEVER ? !ex->p : !ex->y)
        return fail(TACIT_SHAPE, "examples without targets");
    return TACIT_OK;
}

/* Copy rows idx[n] into the tape's arena. idx NULL: rows first, first + 1 … */
static enum tacit_err gather(struct model *m, const struct examples *ex,
                             const uint32_t *idx, size_t first, size_t n,
                             struct batch *out)
{
    size_t d = ex->x_dim;
    struct batch b = {n, tape_scratch(&m->tape, n * d, sizeof(float)),
                      tape_scratch(&m->tape, n, sizeof(float)),
                      ex->p ? tape_scratch(&m->tape, n * d, sizeof(float))
                            : NULL};
    if (!b.x || !b.y || (ex->p && !b.p)) return m->tape.err;
    for (size_t i = 0; i < n; i++) {
        size_t row = idx ? idx[i] : first + i;
        memcpy(b.x + i * d, ex->x + row * d, d * sizeof *b.x);
        if (ex->y) b.y[i] = ex->y[row];
        if (b.p) memcpy(b.p + i * d, ex->p + row * d, d * sizeof *b.p);
    }
    *out = b;
    return TACIT_OK;
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
    TRY(check_examples(m, ex));
    if (n == 0) return fail(TACIT_SHAPE, "an empty batch");
    tape_reset(&m->tape);
    memset(grad, 0, m->p.n_flat * sizeof *grad);
    TRY(gather(m, ex, idx, 0, n, &b));
    struct var *loss = arch_loss(&m->spec, &m->tape, forward(m, &b, grad), &b);
    TRY(tape_backward(&m->tape, loss));
    *out_loss = loss->v[0];
    return TACIT_OK;
}

/* Does one of the RECALL_K best passages answer row r? Ties count against it:
 * a passage of the same score stands before the answer. */
static int is_recalled(const struct examples *ex, size_t r, const float *q)
{
    const float *pool = ex->pool ? ex->pool : ex->p;
    size_t n = ex->pool ? ex->n_pool : ex->n_rows, n_before = 0;
    float best = -INFINITY;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            int answers =
                ex->pool ? ex->pool_group[i] == ex->row_group[r] : i == r;
            if (answers == pass) continue;
            float s = kernel_dot(q, pool + i * ex->x_dim, ex->x_dim);
            if (answers)
                best = s > best ? s : best;
            else
                n_before += s >= best;
        }
    }
    return best > -INFINITY && n_before < RECALL_K;
}

/* Sum of what the metric averages, over rows [first, first + b->n). */
static double score(const struct model *m, const struct examples *ex,
                    size_t first, const struct batch *b, const struct var *out)
{
    double sum = 0;
    for (size_t i = 0; i < b->n; i++) {
        double e = (double)out->v[i * out->cols];
        switch (m->spec.task) {
        case MODEL_CLASSIFY: sum += (e > 0) == (b->y[i] > 0.5f); break;
        case MODEL_REGRESS:
            sum += (e - (double)b->y[i]) * (e - (double)b->y[i]);
            break;
        case MODEL_COX:
        case MODEL_LM: break;
        case MODEL_RETRIEVER:
            sum += is_recalled(ex, first + i, out->v + i * out->cols);
            break;
        }
    }
    return sum;
}

enum tacit_err model_evaluate(struct model *m, const struct examples *ex,
                              struct model_metrics *out)
{
    int retriever = m->spec.task == MODEL_RETRIEVER;
    double loss = 0, sum = 0;
    size_t step = retriever ? LOSS_ROWS : EVALUATE_ROWS;
    TRY(check_examples(m, ex));
    if (ex->n_rows == 0) return fail(TACIT_SHAPE, "no examples to evaluate");
    for (size_t first = 0; first < ex->n_rows; first += step) {
        struct batch b;
        size_t n = ex->n_rows - first < step ? ex->n_rows - first : step;
        tape_reset(&m->tape);
        TRY(gather(m, ex, NULL, first, n, &b));
        struct var *y = forward(m, &b, NULL);
        struct var *l = arch_loss(&m->spec, &m->tape, y, &b);
        if (!l) return m->tape.err;
        loss += (double)l->v[0] * (double)n;
        sum += score(m, ex, first, &b, y);
    }
    double n = (double)ex->n_rows;
    *out = (struct model_metrics){.loss = loss / n,
                                  .metric = m->spec.task == MODEL_REGRESS
                                                ? sqrt(sum / n)
                                                : sum / n,
                                  .n_rows = ex->n_rows};
    return TACIT_OK;
}

enum tacit_err model_predict(struct model *m, const struct examples *ex,
                             float *out)
{
    TRY(check_examples(m, ex));
    if (m->spec.task == MODEL_RETRIEVER)
        return fail(TACIT_UNSUPPORTED, "a retriever predicts no numbers");
    for (size_t first = 0; first < ex->n_rows; first += EVALUATE_ROWS) {
        struct batch b;
        size_t n = ex->n_rows - first;
        if (n > EVALUATE_ROWS) n = EVALUATE_ROWS;
        tape_reset(&m->tape);
        TRY(gather(m, ex, NULL, first, n, &b));
        struct var *y = forward(m, &b, NULL);
        if (!y) return m->tape.err;
        for (size_t i = 0; i < n; i++)
            out[first + i] = m->spec.task == MODEL_CLASSIFY
                                 ? 1 / (1 + expf(-y->v[i]))
                                 : y->v[i];
    }
    return TACIT_OK;
}

/* ---- training ---- */

struct training {
    struct rng rng;
    struct optim *optim;
    uint32_t *order; /* [n_rows] */
    size_t next;     /* first row of the next batch; n_rows = shuffle first */
    float *grad;     /* [n_flat] */
    float *before;   /* [n_flat], to go back to */
};

static enum tacit_err training_begin(struct training *t, const struct model *m,
                                     const struct model_training *how,
                                     size_t n_rows)
{
    size_t bytes = m->p.n_flat * sizeof *t->grad;
    const struct optim_config c = {how->optimizer, how->learning_rate,
                                   how->momentum, how->weight_decay};
    *t = (struct training){.next = n_rows};
    t->order = malloc(n_rows * sizeof *t->order);
    t->grad = malloc(bytes);
    t->before = malloc(bytes);
    if (!t->order || !t->grad || !t->before)
        return fail(TACIT_NOMEM, "no memory to train %zu weights", m->p.n_flat);
    for (size_t i = 0; i < n_rows; i++) t->order[i] = (uint32_t)i;
    memcpy(t->before, m->p.flat, bytes);
    rng_init(&t->rng, how->seed, how->round, how->client);
    return optim_new(&c, m->p.n_flat, &t->optim);
}

static void training_end(struct training *t)
{
    optim_free(t->optim);
    free(t->order);
    free(t->grad);
    free(t->before);
}

/* The rows of the next batch: what is left of the epoch, at most `batch`. */
static size_t next_batch(struct training *t, size_t n_rows, size_t batch,
                         const uint32_t **rows)
{
    if (t->next == n_rows) {
        rng_shuffle(&t->rng, t->order, n_rows);
        t->next = 0;
    }
    size_t n = n_rows - t->next < batch ? n_rows - t->next : batch;
    *rows = t->order + t->next;
    t->next += n;
    return n;
}

static int all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return 0;
    return 1;
}

static enum tacit_err steps(struct model *m, struct training *t,
                            const struct model_training *how,
                            const struct examples *ex)
{
    for (uint32_t i = 0; i < how->steps; i++) {
        const uint32_t *rows;
        size_t n = next_batch(t, ex->n_rows, how->batch, &rows);
        float loss = 0;
        TRY(model_gradient(m, ex, rows, n, t->grad, &loss));
        if (how->gradient) how->gradient(how->ctx, m->p.flat, t->grad);
        optim_step(t->optim, m->p.flat, t->grad);
        if (!isfinite(loss) || !all_finite(m->p.flat, m->p.n_flat))
            return fail_as(E_LOSS_NAN,
                           "step %u of %u: the loss is no longer a number",
                           i + 1, how->steps);
    }
    return TACIT_OK;
}

enum tacit_err model_train(struct model *m, const struct model_training *how,
                           const struct examples *ex)
{
    struct training t;
    TRY(check_examples(m, ex));
    if (ex->n_rows == 0) return fail(TACIT_SHAPE, "no examples to train on");
    if (how->batch == 0) return fail(TACIT_LIMIT, "a batch of 0 rows");
    enum tacit_err err = training_begin(&t, m, how, ex->n_rows);
    if (!err) {
        err = steps(m, &t, how, ex);
        if (err) memcpy(m->p.flat, t.before, m->p.n_flat * sizeof *t.before);
    }
    training_end(&t);
    return err;
}
