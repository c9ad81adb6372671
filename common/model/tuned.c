#include "common/model/tuned.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
# include <malloc.h>
#endif

#include "common/base/codes.h"
#include "common/model/metrics.h"
#include "common/model/model_files.h"
#include "common/model/net.h"
#include "common/model/tuned_base.h"
#include "common/model/tuned_rows.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_linear.h"

#define TEMPERATURE 0.05

enum {
    EVALUATE_ROWS = 32, /* per forward pass, and of a retriever against each
                           other */
    LOGIT_ROWS = 64,    /* lm: rows of logits in memory */
    TAPE_BYTES = 1 << 30
};

struct tuned {
    struct model_spec spec;
    struct model_files *files;
    struct net *net;
    float *first;       /* [n_flat] owned: as drawn; NULL with MODEL_FULL */
    struct tape again;  /* of blocks that are worked out again */
    enum tuned_way way; /* of the last pass */
    int has_run, has_room;
};

/* ---- its life ----------------------------------------------------------- */

static enum tacit_err open_net(struct tuned *t)
{
    const struct model_base *b = &t->spec.base;
    struct net_options o = tuned_options(b);
    o.outputs = tuned_outputs(&t->spec);
    if (t->spec.task == MODEL_CLASSIFY) o.head = NET_HEAD_CLASSES;
    TRY(net_open(t->files, &o, &t->net));
    int predicts = net_is_decoder(t->net);
    if (predicts == (t->spec.task == MODEL_LM)) return TACIT_OK;
    return fail(TACIT_UNSUPPORTED,
                predicts ? "the base %s predicts text; this task wants an "
                           "encoder (family bert)"
                         : "the base %s is an encoder; lm wants a decoder",
                b->name ? b->name : "");
}

static enum tacit_err lay_out(struct tuned *t, struct params *p)
{
    const struct params *from = net_params(t->net);
    for (size_t i = 0; i < from->n_params; i++)
        TRY(params_add(p, from->list[i].name, from->list[i].dims,
                       from->list[i].n_dims));
    TRY(params_alloc(p));
    memcpy(p->flat, from->flat, p->n_flat * sizeof *p->flat);
    if (t->spec.base.adapter == MODEL_FULL) return TACIT_OK;
    t->first = malloc(p->n_flat * sizeof *t->first);
    if (!t->first) return fail(TACIT_NOMEM, "no memory for an adapter");
    memcpy(t->first, p->flat, p->n_flat * sizeof *p->flat);
    return TACIT_OK;
}

enum tacit_err tuned_new(struct model_spec *spec, struct params *p,
                         struct tuned **out)
{
    struct tuned *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "no memory for a model");
    t->spec = *spec;
    tape_init(&t->again, TAPE_BYTES);
    enum tacit_err err = tuned_base(&spec->base, &t->files);
    if (!err) err = open_net(t);
    if (!err) err = lay_out(t, p);
    if (err) {
        tuned_free(t);
        return err;
    }
    t->spec.n_inputs = spec->n_inputs = net_shape(t->net)->width;
    *out = t;
    return TACIT_OK;
}

void tuned_free(struct tuned *t)
{
    if (!t) return;
    tape_release(&t->again);
    net_close(t->net);
    model_files_close(t->files);
    free(t->first);
    free(t);
}

void tuned_use_pool(struct tuned *t, struct pool *pool)
{
    tape_release(&t->again);
    tape_init(&t->again, TAPE_BYTES);
    t->again.pool = pool;
}

void tuned_bound(struct tuned *t, uint64_t memory_bytes)
{
    if (t->spec.base.memory_bytes == memory_bytes) return;
    t->spec.base.memory_bytes = memory_bytes;
    t->has_run = 0;
}

void tuned_init(const struct tuned *t, struct params *p)
{
    if (t->first) memcpy(p->flat, t->first, p->n_flat * sizeof *p->flat);
}

/* ---- rows --------------------------------------------------------------- */

static enum tacit_err check_targets(const struct tuned *t,
                                    const struct examples *ex)
{
    switch (t->spec.task) {
    case MODEL_RETRIEVER:
        if (ex->p && ex->x_dim == t->spec.n_inputs) return TACIT_OK;
        return fail(TACIT_SHAPE,
                    "passages have vectors of %zu numbers, the base %zu",
                    ex->x_dim, t->spec.n_inputs);
    case MODEL_READER:
        return ex->text->span ? TACIT_OK
                              : fail(TACIT_SHAPE, "examples without answers");
    case MODEL_CLASSIFY:
        return ex->y ? TACIT_OK : fail(TACIT_SHAPE, "examples without targets");
    default: return TACIT_OK;
    }
}

enum tacit_err tuned_check(const struct tuned *t, const struct examples *ex)
{
    if (!ex->text) return fail(TACIT_SHAPE, "examples without texts");
    return check_targets(t, ex);
}

/* ---- losses ------------------------------------------------------------- */

static double temperature_of(const struct model_spec *s)
{
    return s->temperature > 0 ? s->temperature : TEMPERATURE;
}

/* Output of the task's head, and its loss. lm has no output: its logits are
 * never whole in memory. */
static struct var *loss_of(struct tuned *t, const struct net_run *run,
                           const struct tuned_rows *r, struct var *hidden,
                           struct var **out)
{
    const struct model_spec *s = &t->spec;
    struct tape *tape = run->tape;
    struct op_labels wanted;
    *out = NULL;
    switch (s->task) {
    case MODEL_RETRIEVER:
        *out = net_embedding(run, hidden, &r->batch.segments);
        return op_contrastive(tape, *out, tuned_rows_passages(r, tape),
                              (float)temperature_of(s));
    case MODEL_READER:
        *out = net_outputs(run, hidden);
        return op_span(tape, *out, &r->batch.segments,
                       tuned_rows_spans(r, tape));
    case MODEL_CLASSIFY:
        *out = net_outputs(run, net_pooled(run, hidden, &r->batch.segments));
        return tuned_outputs(s) > 1
                   ? op_softmax_ce(tape, *out, tuned_rows_classes(r, tape))
                   : op_bce(tape, *out, tuned_rows_answers(r, tape));
    default:
        if (!hidden || tuned_rows_labels(r, tape, &wanted)) return NULL;
        return net_lm_loss(run, hidden, &wanted);
    }
}

/* ---- memory ------------------------------------------------------------- */

static struct tuned_count counting(struct tuned *t, const struct tape *tape)
{
    return (struct tuned_count){t->net, &t->spec, tape->pool};
}

static struct tuned_rows rows_of(const struct tuned *t,
                                 const struct examples *ex, const uint32_t *idx,
                                 size_t n)
{
    return (struct tuned_rows){
        .net = t->net, .spec = &t->spec, .ex = ex, .idx = idx, .n = n};
}

static size_t hard_of(const struct tuned *t, const struct examples *ex)
{
    return t->spec.task == MODEL_RETRIEVER && ex->hard ? ex->n_hard : 0;
}

/* What a pass of the other kind has left would lie beside this one's. */
static void turn(struct tuned *t, struct tape *tape, enum tuned_way way)
{
    struct pool *pool = tape->pool;
    if (!t->spec.base.memory_bytes) return;
    if (t->has_run && t->way == way && way == TUNED_LOOKS) return;
    tape_release(tape);
    tape_init(tape, TAPE_BYTES);
    tape->pool = pool;
    tuned_use_pool(t, t->again.pool);
    /* The heap would keep what is free between what is not. */
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    t->way = way;
    t->has_run = 1;
    t->has_room = 0;
}

/* The tape keeps to the bound; what is not planned for is the batch's own. In
 * one piece each, or pieces that grow would lie beside those that they take the
 * place of; no memory is taken before it is written. */
static enum tacit_err bound_tape(struct tuned *t, struct tape *tape,
                                 size_t bytes)
{
    size_t most = bytes < TAPE_BYTES ? bytes : TAPE_BYTES;
    tape->limit_bytes = bytes;
    if (t->has_room) return TACIT_OK;
    TRY(tape_reserve(tape, most));
    if (t->way == TUNED_LOOKS) TRY(tape_reserve_pass(tape, most));
    t->has_room = 1;
    return TACIT_OK;
}

/* How the batch keeps to the memory that it may take. */
static enum tacit_err plan_batch(struct tuned *t, struct tape *tape,
                                 const struct tuned_rows *r, enum tuned_way way,
                                 struct net_memory *m)
{
    const struct tuned_count c = counting(t, tape);
    const struct tuned_batch b = {.way = way,
                                  .rows = r->n,
                                  .tokens = r->batch.n,
                                  .labels = r->batch.n,
                                  .hard = hard_of(t, r->ex)};
    size_t bound = t->spec.base.memory_bytes;
    TRY(tuned_count_batch(&c, &b, m));
    tape->limit_bytes = TAPE_BYTES;
    if (!bound) return TACIT_OK;
    size_t again = way == TUNED_LEARNS ? m->block : 0;
    t->again.limit_bytes = again ? again : 1;
    if (again) TRY(tape_reserve(&t->again, again));
    return bound_tape(t, tape,
                      m->kept + (m->block - again) +
                          tuned_passages_bytes(&c, &b) + (bound - m->total));
}

enum tacit_err tuned_fits(struct tuned *t, const struct tape *tape,
                          const struct examples *ex, enum tuned_way way,
                          size_t batch, uint64_t *out_bytes)
{
    const struct tuned_count c = counting(t, tape);
    const struct tuned_batch b = {.way = way,
                                  .rows = batch,
                                  .hard = hard_of(t, ex)};
    struct net_memory m;
    TRY(tuned_count_largest(&c, &b, ex, &m));
    *out_bytes = m.total;
    return TACIT_OK;
}

enum tacit_err tuned_room(struct tuned *t, const struct tape *tape,
                          const struct examples *ex, size_t tokens)
{
    const struct tuned_count c = counting(t, tape);
    const struct tuned_batch b = {.way = TUNED_LEARNS,
                                  .rows = 1,
                                  .tokens = tokens,
                                  .labels = tokens,
                                  .hard = hard_of(t, ex)};
    struct net_memory m;
    TRY(tuned_check(t, ex));
    return tuned_count_batch(&c, &b, &m);
}

static void load(struct tuned *t, const float *w)
{
    struct params *p = net_params(t->net);
    memcpy(p->flat, w, p->n_flat * sizeof *w);
}

enum tacit_err tuned_gradient(struct tuned *t, struct tape *tape,
                              const float *w, const struct examples *ex,
                              const uint32_t *idx, size_t n, float *grad,
                              float *out_loss)
{
    struct tuned_rows r = rows_of(t, ex, idx, n);
    struct net_run run = {.net = t->net, .tape = tape, .grad = grad};
    struct net_memory m;
    struct var *out;
    load(t, w);
    turn(t, tape, TUNED_LEARNS);
    tape_reset(tape);
    memset(grad, 0, net_params(t->net)->n_flat * sizeof *grad);
    TRY(tuned_rows_gather(&r, tape));
    TRY(plan_batch(t, tape, &r, TUNED_LEARNS, &m));
    run.again = m.block ? &t->again : NULL;
    run.keep = m.n_kept;
    tape->numbers = net_train_multiplies(t->spec.base.fast ? NET_TRAIN_FAST
                                                           : NET_TRAIN_F32);
    struct var *loss = loss_of(t, &run, &r, net_hidden(&run, &r.batch), &out);
    if (!loss) return tape->err;
    TRY(tape_backward(tape, loss));
    *out_loss = loss->v[0];
    return TACIT_OK;
}

enum tacit_err tuned_loss(struct tuned *t, struct tape *tape, const float *w,
                          const struct examples *ex, const uint32_t *idx,
                          size_t n, float *out_loss)
{
    struct tuned_rows r = rows_of(t, ex, idx, n);
    const struct net_run run = {.net = t->net, .tape = tape};
    struct net_memory m;
    struct var *out;
    load(t, w);
    turn(t, tape, TUNED_LOOKS);
    tape_reset(tape);
    TRY(tuned_rows_gather(&r, tape));
    TRY(plan_batch(t, tape, &r, TUNED_LOOKS, &m));
    const struct var *loss =
        loss_of(t, &run, &r, net_hidden(&run, &r.batch), &out);
    if (!loss) return tape->err;
    *out_loss = loss->v[0];
    return TACIT_OK;
}

/* ---- measuring ---------------------------------------------------------- */

struct sums {
    double loss, metric;
    float *place; /* [n_rows] of a retriever's answers; NULL: not wanted */
};

/* Scores of side `side` over a sequence's rows: the best one. */
static size_t best_of(const float *z, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (z[2 * i] > z[2 * best]) best = i;
    return best;
}

static size_t exact_spans(const struct tuned_rows *r, const struct var *z)
{
    size_t hits = 0;
    for (size_t i = 0; i < r->n; i++) {
        const uint32_t *want = r->ex->text->span + 2 * tuned_row(r, i);
        const float *at = z->v + 2 * r->start[i];
        size_t n = r->start[i + 1] - r->start[i];
        hits += best_of(at, n) == want[0] && best_of(at + 1, n) == want[1];
    }
    return hits;
}

static size_t right_classes(const struct tuned_rows *r, const struct var *z)
{
    size_t hits = 0;
    for (size_t i = 0; i < r->n; i++) {
        const float *v = z->v + i * z->cols;
        size_t said = z->cols > 1 ? metrics_argmax(v, z->cols) : v[0] > 0;
        hits += said == (size_t)r->ex->y[tuned_row(r, i)];
    }
    return hits;
}

/* -log softmax(z)[wanted]. */
static double surprise(const float *z, size_t n, size_t wanted)
{
    float top = z[metrics_argmax(z, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)(z[i] - top));
    /* The largest adds exp(0) to sum. */
    /* cppcheck-suppress invalidFunctionArg */
    return log(sum) + (double)top - (double)z[wanted];
}

/* One sequence of lm: mean loss and share of right tokens at its labels. */
static enum tacit_err measure_next(struct tuned *t, struct tape *tape,
                                   const struct tuned_rows *r, size_t i,
                                   struct var *hidden, struct sums *out)
{
    const struct net_run run = {.net = t->net, .tape = tape};
    size_t from = r->start[i] + tuned_rows_first_label(r, i),
           end = r->start[i + 1] - 1;
    double loss = 0, hits = 0;
    for (size_t at = from; at < end; at += LOGIT_ROWS) {
        uint32_t row[LOGIT_ROWS];
        size_t n = end - at < LOGIT_ROWS ? end - at : LOGIT_ROWS;
        for (size_t k = 0; k < n; k++) row[k] = (uint32_t)(at + k);
        tape_pass_begin(tape);
        const struct var *z = net_logits(&run, hidden, row, n);
        for (size_t k = 0; z && k < n; k++) {
            const float *v = z->v + k * z->cols;
            uint32_t wanted = r->batch.token[at + k + 1];
            loss += surprise(v, z->cols, wanted);
            hits += metrics_argmax(v, z->cols) == wanted;
        }
        tape_pass_end(tape);
        if (!z) return tape->err;
    }
    out->loss += loss / (double)(end - from);
    out->metric += hits / (double)(end - from);
    return TACIT_OK;
}

/* As many of the r->n rows as the bound has room for, at least one. */
static enum tacit_err fit(struct tuned *t, struct tape *tape,
                          struct tuned_rows *r)
{
    const struct tuned_count c = counting(t, tape);
    struct tuned_batch b = {.way = TUNED_LOOKS, .hard = hard_of(t, r->ex)};
    struct net_memory m;
    enum tacit_err err = TACIT_OK;
    for (;; r->n /= 2) {
        b.rows = r->n;
        b.tokens = 0;
        for (size_t i = 0; i < r->n; i++) b.tokens += tuned_row_tokens(r, i);
        b.labels = b.tokens < LOGIT_ROWS ? b.tokens : LOGIT_ROWS;
        err = tuned_count_batch(&c, &b, &m);
        if (!err || r->n == 1) break;
        err_clear();
    }
    TRY(err);
    tape->limit_bytes = TAPE_BYTES;
    if (!t->spec.base.memory_bytes) return TACIT_OK;
    return bound_tape(t, tape,
                      m.kept + m.block + tuned_passages_bytes(&c, &b) +
                          (t->spec.base.memory_bytes - m.total));
}

/* Vectors of a retriever's rows, to be measured against each other. */
static enum tacit_err keep_vectors(const struct net_run *run,
                                   const struct tuned_rows *r,
                                   struct var *hidden, float *vectors)
{
    const struct var *v = net_embedding(run, hidden, &r->batch.segments);
    if (!v) return run->tape->err;
    memcpy(vectors, v->v, v->rows * v->cols * sizeof *vectors);
    return TACIT_OK;
}

static enum tacit_err measure_vectors(struct tuned *t, struct tape *tape,
                                      const struct tuned_rows *r,
                                      float *vectors, struct sums *sums)
{
    const struct batch b = {.n = r->n};
    tape_reset(tape);
    struct var *v = tape_constant(tape, vectors, r->n, t->spec.n_inputs);
    const struct var *loss =
        op_contrastive(tape, v, tuned_rows_passages(r, tape),
                       (float)temperature_of(&t->spec));
    if (!loss) return tape->err;
    sums->loss += (double)loss->v[0] * (double)r->n;
    sums->metric += metrics_sum(&t->spec, r->ex, r->first, &b, v);
    for (size_t i = 0; sums->place && i < r->n; i++)
        sums->place[r->first + i] =
            metrics_place(r->ex, r->first + i, v->v + i * v->cols);
    return TACIT_OK;
}

static enum tacit_err measure_piece(struct tuned *t, struct tape *tape,
                                    struct tuned_rows *r, float *vectors,
                                    struct sums *sums)
{
    const struct net_run run = {.net = t->net, .tape = tape};
    struct var *out;
    tape_reset(tape);
    tape->numbers = GEMM_F32;
    TRY(tuned_rows_gather(r, tape));
    struct var *hidden = net_hidden(&run, &r->batch);
    if (!hidden) return tape->err;
    if (vectors) return keep_vectors(&run, r, hidden, vectors);
    if (t->spec.task == MODEL_LM) {
        for (size_t i = 0; i < r->n; i++)
            TRY(measure_next(t, tape, r, i, hidden, sums));
        return TACIT_OK;
    }
    const struct var *loss = loss_of(t, &run, r, hidden, &out);
    if (!loss || !out) return tape->err;
    sums->loss += (double)loss->v[0] * (double)r->n;
    sums->metric +=
        (double)(t->spec.task == MODEL_READER ? exact_spans(r, out)
                                              : right_classes(r, out));
    return TACIT_OK;
}

/* Rows [first, first + n), in pieces where memory is bounded. */
static enum tacit_err measure(struct tuned *t, struct tape *tape,
                              const struct examples *ex, size_t first, size_t n,
                              float *vectors, struct sums *sums)
{
    struct tuned_rows r = rows_of(t, ex, NULL, n);
    r.first = first;
    for (size_t done = 0; done < n; done += r.n) {
        r.first = first + done;
        r.n = n - done;
        TRY(fit(t, tape, &r));
        TRY(measure_piece(t, tape, &r,
                          vectors ? vectors + done * t->spec.n_inputs : NULL,
                          sums));
    }
    if (!vectors) return TACIT_OK;
    r.first = first;
    r.n = n;
    return measure_vectors(t, tape, &r, vectors, sums);
}

static enum tacit_err measure_all(struct tuned *t, struct tape *tape,
                                  const float *w, const struct examples *ex,
                                  struct sums *out)
{
    float *vectors = NULL;
    size_t width = t->spec.n_inputs;
    if (t->spec.task == MODEL_RETRIEVER) {
        vectors = malloc(EVALUATE_ROWS * width * sizeof *vectors);
        if (!vectors) return fail(TACIT_NOMEM, "no memory to measure");
    }
    load(t, w);
    turn(t, tape, TUNED_LOOKS);
    enum tacit_err err = TACIT_OK;
    for (size_t first = 0; !err && first < ex->n_rows; first += EVALUATE_ROWS) {
        size_t left = ex->n_rows - first;
        err =
            measure(t, tape, ex, first,
                    left < EVALUATE_ROWS ? left : EVALUATE_ROWS, vectors, out);
    }
    free(vectors);
    return err;
}

enum tacit_err tuned_evaluate(struct tuned *t, struct tape *tape,
                              const float *w, const struct examples *ex,
                              struct model_metrics *out)
{
    struct sums s = {0};
    double n = (double)ex->n_rows;
    TRY(measure_all(t, tape, w, ex, &s));
    *out = (struct model_metrics){.loss = s.loss / n,
                                  .metric = s.metric / n,
                                  .n_rows = ex->n_rows,
                                  .loss_sum = s.loss,
                                  .metric_sum = s.metric};
    return TACIT_OK;
}

enum tacit_err tuned_places(struct tuned *t, struct tape *tape, const float *w,
                            const struct examples *ex, float *out)
{
    struct sums s = {.place = out};
    return measure_all(t, tape, w, ex, &s);
}
