#include "common/model/tuned.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"
#include "common/model/batch.h"
#include "common/model/metrics.h"
#include "common/model/model_files.h"
#include "common/model/net.h"
#include "common/model/net_train.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_linear.h"

#define TEMPERATURE 0.05

enum {
    PATH_BYTES = 4096,
    EVALUATE_ROWS = 32, /* per forward pass */
    EVALUATE_FEW = 4,   /* the same where memory is bounded */
    LOGIT_ROWS = 64,    /* lm: rows of logits in memory */
    TAPE_BYTES = 1 << 30
};

struct tuned {
    struct model_spec spec;
    struct model_files *files;
    struct net *net;
    float *first;      /* [n_flat] owned: as drawn; NULL with MODEL_FULL */
    struct tape again; /* of blocks that are worked out again */
};

/* ---- its life ----------------------------------------------------------- */

static enum tacit_err base_missing(const struct model_base *b)
{
    char hex[DIGEST_HEX];
    hex_encode(hex, b->hash.b, DIGEST_BYTES);
    return fail_as(E_BASE_MISSING,
                   "the base model %s (%.16s) is not here; `tacit model "
                   "import` its file, in the type that the plan's author names",
                   b->name && *b->name ? b->name : "of the plan", hex);
}

static enum tacit_err find_base(const struct model_base *b, char *path)
{
    char hex[DIGEST_HEX];
    struct stat st;
    if (!b->where || stat(b->where, &st) != 0) return base_missing(b);
    hex_encode(hex, b->hash.b, DIGEST_BYTES);
    int n = S_ISDIR(st.st_mode)
                ? snprintf(path, PATH_BYTES, "%s/%s", b->where, hex)
                : snprintf(path, PATH_BYTES, "%s", b->where);
    if (n < 0 || n >= PATH_BYTES)
        return fail(TACIT_LIMIT, "%s: the path is too long", b->where);
    return stat(path, &st) == 0 ? TACIT_OK : base_missing(b);
}

static enum tacit_err check_hash(const struct model_base *b, const char *path,
                                 const struct model_files *f)
{
    struct digest got;
    uint64_t bytes;
    model_files_hash(f, &got, &bytes);
    if (digest_equal(&got, &b->hash)) return TACIT_OK;
    return fail(TACIT_FORMAT,
                "%s is not the base model %s that was named: its content has "
                "another hash",
                path, b->name ? b->name : "");
}

enum tacit_err tuned_base(const struct model_base *b, struct model_files **out)
{
    char path[PATH_BYTES];
    struct model_files *f = NULL;
    TRY(find_base(b, path));
    TRY(model_files_open(path, &f));
    enum tacit_err err = check_hash(b, path, f);
    if (err)
        model_files_close(f);
    else
        *out = f;
    return err;
}

struct net_options tuned_options(const struct model_base *b)
{
    static const enum net_training ways[] = {[MODEL_FFA] = NET_PAIRS_UP,
                                             [MODEL_LORA] = NET_PAIRS,
                                             [MODEL_FULL] = NET_FULL};
    return (struct net_options){.train = ways[b->adapter],
                                .targets = b->targets,
                                .rank = b->rank ? b->rank : 8,
                                .alpha = b->alpha,
                                .seed = b->seed};
}

static size_t n_outputs(const struct model_spec *s)
{
    if (s->task == MODEL_READER) return 2;
    return s->task == MODEL_CLASSIFY ? (s->classes > 1 ? s->classes : 1) : 0;
}

static enum tacit_err open_net(struct tuned *t)
{
    const struct model_base *b = &t->spec.base;
    struct net_options o = tuned_options(b);
    o.outputs = n_outputs(&t->spec);
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

void tuned_init(const struct tuned *t, struct params *p)
{
    if (t->first) memcpy(p->flat, t->first, p->n_flat * sizeof *p->flat);
}

/* ---- rows --------------------------------------------------------------- */

static enum tacit_err check_row(const struct tuned *t,
                                const struct examples *ex, size_t i)
{
    const struct token_rows *r = ex->text;
    const struct net_shape *s = net_shape(t->net);
    size_t most = s->context && s->context < TUNED_ROW_TOKENS_MAX
                      ? s->context
                      : TUNED_ROW_TOKENS_MAX;
    uint32_t from = r->start[i], end = r->start[i + 1], n = end - from;
    if (end <= from || n > most)
        return fail(TACIT_SHAPE, "row %zu has %u tokens; 1 to %zu are read", i,
                    end > from ? n : 0, most);
    for (uint32_t k = from; k < end; k++)
        if (r->token[k] >= s->vocab)
            return fail(TACIT_SHAPE, "row %zu: token %u of a vocabulary of %zu",
                        i, r->token[k], s->vocab);
    if (r->second && r->second[i] >= n)
        return fail(TACIT_SHAPE, "row %zu has no second part", i);
    if (t->spec.task == MODEL_LM && n < 2)
        return fail(TACIT_SHAPE, "row %zu has no next token", i);
    if (t->spec.task == MODEL_READER &&
        (r->span[2 * i] >= n || r->span[2 * i + 1] >= n))
        return fail(TACIT_SHAPE, "row %zu: the answer lies outside of it", i);
    size_t classes = n_outputs(&t->spec) > 1 ? n_outputs(&t->spec) : 2;
    if (t->spec.task == MODEL_CLASSIFY &&
        !(ex->y[i] >= 0 && ex->y[i] < (float)classes))
        return fail(TACIT_SHAPE, "row %zu: class %g of %zu", i,
                    (double)ex->y[i], classes);
    return t->spec.task == MODEL_RETRIEVER ? batch_check_hard(ex, i) : TACIT_OK;
}

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

/* Rows of a batch, in the tape's memory. */
struct rows {
    const struct examples *ex;
    const uint32_t *idx; /* NULL: from `first` on */
    size_t first, n;
    struct net_batch batch;
    uint32_t *start; /* [n + 1] */
};

static size_t row_at(const struct rows *r, size_t i)
{
    return r->idx ? r->idx[i] : r->first + i;
}

static enum tacit_err gather(const struct tuned *m, struct tape *t,
                             struct rows *r)
{
    const struct token_rows *from = r->ex->text;
    size_t total = 0;
    for (size_t i = 0; i < r->n; i++) {
        size_t row = row_at(r, i);
        TRY(check_row(m, r->ex, row));
        total += from->start[row + 1] - from->start[row];
    }
    uint32_t *token = tape_raw(t, total, sizeof *token);
    uint32_t *type = tape_scratch(t, total, sizeof *type);
    r->start = tape_scratch(t, r->n + 1, sizeof *r->start);
    if (!token || !type || !r->start)
        return t->err ? t->err : fail(TACIT_NOMEM, "no memory for a batch");
    for (size_t i = 0, at = 0; i < r->n; i++) {
        size_t row = row_at(r, i), n = from->start[row + 1] - from->start[row];
        size_t second = from->second ? from->second[row] : 0;
        memcpy(token + at, from->token + from->start[row], n * sizeof *token);
        for (size_t k = second; second && k < n; k++) type[at + k] = 1;
        at += n;
        r->start[i + 1] = (uint32_t)at;
    }
    r->batch = (struct net_batch){.token = token,
                                  .type = type,
                                  .n = total,
                                  .segments = {r->start, r->n}};
    return TACIT_OK;
}

/* ---- losses ------------------------------------------------------------- */

static struct var *passages(struct tuned *t, struct tape *tape,
                            const struct rows *r)
{
    const struct batch_passages p =
        batch_passages(tape, r->ex, r->idx, r->first, r->n);
    return p.v ? tape_constant(tape, p.v, p.n, t->spec.n_inputs) : NULL;
}

static const uint32_t *spans(struct tape *tape, const struct rows *r)
{
    uint32_t *span = tape_raw(tape, 2 * r->n, sizeof *span);
    for (size_t i = 0; span && i < r->n; i++)
        memcpy(span + 2 * i, r->ex->text->span + 2 * row_at(r, i),
               2 * sizeof *span);
    return span;
}

static const uint32_t *classes(struct tape *tape, const struct rows *r)
{
    uint32_t *y = tape_raw(tape, r->n, sizeof *y);
    for (size_t i = 0; y && i < r->n; i++)
        y[i] = (uint32_t)r->ex->y[row_at(r, i)];
    return y;
}

/* Yes or no: one output, whose sign says it. */
static const float *answers(struct tape *tape, const struct rows *r)
{
    float *y = tape_raw(tape, r->n, sizeof *y);
    for (size_t i = 0; y && i < r->n; i++)
        y[i] = r->ex->y[row_at(r, i)] >= 1 ? 1 : 0;
    return y;
}

/* The first token of row i whose next one is predicted. */
static size_t first_label(const struct rows *r, size_t i)
{
    const uint32_t *second = r->ex->text->second;
    size_t at = second ? second[row_at(r, i)] : 0;
    return at ? at - 1 : 0;
}

static enum tacit_err labels(struct tape *tape, const struct rows *r,
                             struct op_labels *out)
{
    uint32_t *row = tape_raw(tape, r->batch.n, sizeof *row);
    uint32_t *label = tape_raw(tape, r->batch.n, sizeof *label);
    size_t n = 0;
    if (!row || !label) return tape->err;
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = r->start[i] + first_label(r, i);
             k + 1 < r->start[i + 1]; k++) {
            row[n] = (uint32_t)k;
            label[n++] = r->batch.token[k + 1];
        }
    *out = (struct op_labels){row, label, n};
    return TACIT_OK;
}

/* Output of the task's head, and its loss. lm has no output: its logits are
 * never whole in memory. */
static struct var *loss_of(struct tuned *t, const struct net_run *run,
                           const struct rows *r, struct var *hidden,
                           struct var **out)
{
    const struct model_spec *s = &t->spec;
    struct tape *tape = run->tape;
    struct op_labels wanted;
    double temperature = s->temperature > 0 ? s->temperature : TEMPERATURE;
    *out = NULL;
    switch (s->task) {
    case MODEL_RETRIEVER:
        *out = net_embedding(run, hidden, &r->batch.segments);
        return op_contrastive(tape, *out, passages(t, tape, r),
                              (float)temperature);
    case MODEL_READER:
        *out = net_outputs(run, hidden);
        return op_span(tape, *out, &r->batch.segments, spans(tape, r));
    case MODEL_CLASSIFY:
        *out = net_outputs(run, net_pooled(run, hidden, &r->batch.segments));
        return n_outputs(s) > 1 ? op_softmax_ce(tape, *out, classes(tape, r))
                                : op_bce(tape, *out, answers(tape, r));
    default:
        if (!hidden || labels(tape, r, &wanted)) return NULL;
        return net_lm_loss(run, hidden, &wanted);
    }
}

/* Of a batch's passages and their scores, on its tape. */
static size_t passages_bytes(const struct tuned *t, const struct rows *r)
{
    const struct examples *ex = r->ex;
    size_t n_hard =
        t->spec.task == MODEL_RETRIEVER && ex->hard ? ex->n_hard : 0;
    return r->n * (1 + n_hard) * (2 * t->spec.n_inputs + 4 * r->n) *
           sizeof(float);
}

/* How the batch keeps to the memory that it may take. */
static enum tacit_err plan_batch(struct tuned *t, struct tape *tape,
                                 const struct rows *r, struct net_run *run)
{
    const struct model_base *b = &t->spec.base;
    struct net_train_options o = {
        .load = {r->batch.n, r->n, t->spec.task == MODEL_LM ? r->batch.n : 0},
        .optim = {.kind = "adamw"}, /* the most that one keeps */
        .numbers = b->fast ? NET_TRAIN_FAST : NET_TRAIN_F32,
        /* The model's copies of what is trained: flat, before, as drawn. */
        .beside_bytes = passages_bytes(t, r) +
                        3 * net_params(t->net)->n_flat * sizeof(float),
        .pool = tape->pool};
    struct net_memory m;
    net_train_estimate(t->net, &o, net_shape(t->net)->layers, &m);
    if (b->memory_bytes) {
        o.budget_bytes = b->memory_bytes;
        TRY(net_train_plan(t->net, &o, &m));
        /* What is not planned for is the batch's own. */
        tape->limit_bytes =
            m.kept + passages_bytes(t, r) + (o.budget_bytes - m.total);
        t->again.limit_bytes = m.block ? m.block : 1;
    }
    while (!b->memory_bytes && m.n_kept && m.kept > TUNED_KEPT_BYTES)
        net_train_estimate(t->net, &o, m.n_kept - 1, &m);
    run->again = m.block ? &t->again : NULL;
    run->keep = m.n_kept;
    return TACIT_OK;
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
    struct rows r = {.ex = ex, .idx = idx, .n = n};
    struct var *out;
    struct net_run run = {.net = t->net, .tape = tape, .grad = grad};
    load(t, w);
    tape_reset(tape);
    memset(grad, 0, net_params(t->net)->n_flat * sizeof *grad);
    TRY(gather(t, tape, &r));
    TRY(plan_batch(t, tape, &r, &run));
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
    struct rows r = {.ex = ex, .idx = idx, .n = n};
    const struct net_run run = {.net = t->net, .tape = tape};
    struct var *out;
    load(t, w);
    tape_reset(tape);
    TRY(gather(t, tape, &r));
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

static size_t exact_spans(const struct rows *r, const struct var *z)
{
    size_t hits = 0;
    for (size_t i = 0; i < r->n; i++) {
        const uint32_t *want = r->ex->text->span + 2 * row_at(r, i);
        const float *at = z->v + 2 * r->start[i];
        size_t n = r->start[i + 1] - r->start[i];
        hits += best_of(at, n) == want[0] && best_of(at + 1, n) == want[1];
    }
    return hits;
}

static size_t right_classes(const struct rows *r, const struct var *z)
{
    size_t hits = 0;
    for (size_t i = 0; i < r->n; i++) {
        const float *v = z->v + i * z->cols;
        size_t said = z->cols > 1 ? metrics_argmax(v, z->cols) : v[0] > 0;
        hits += said == (size_t)r->ex->y[row_at(r, i)];
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
                                   const struct rows *r, size_t i,
                                   struct var *hidden, struct sums *out)
{
    const struct net_run run = {.net = t->net, .tape = tape};
    size_t from = r->start[i] + first_label(r, i), end = r->start[i + 1] - 1;
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

static enum tacit_err measure(struct tuned *t, struct tape *tape,
                              const struct examples *ex, size_t first, size_t n,
                              struct sums *sums)
{
    struct rows r = {.ex = ex, .first = first, .n = n};
    const struct net_run run = {.net = t->net, .tape = tape};
    const struct batch b = {.n = n};
    struct var *out;
    tape_reset(tape);
    tape->numbers = GEMM_F32;
    tape->limit_bytes = TAPE_BYTES;
    TRY(gather(t, tape, &r));
    struct var *hidden = net_hidden(&run, &r.batch);
    if (!hidden) return tape->err;
    if (t->spec.task == MODEL_LM) {
        for (size_t i = 0; i < n; i++)
            TRY(measure_next(t, tape, &r, i, hidden, sums));
        return TACIT_OK;
    }
    const struct var *loss = loss_of(t, &run, &r, hidden, &out);
    if (!loss) return tape->err;
    sums->loss += (double)loss->v[0] * (double)n;
    if (t->spec.task == MODEL_READER)
        sums->metric += (double)exact_spans(&r, out);
    else if (t->spec.task == MODEL_CLASSIFY)
        sums->metric += (double)right_classes(&r, out);
    else if (sums->place)
        for (size_t i = 0; i < n; i++)
            sums->place[first + i] =
                metrics_place(ex, first + i, out->v + i * out->cols);
    else
        sums->metric += metrics_sum(&t->spec, ex, first, &b, out);
    return TACIT_OK;
}

static enum tacit_err measure_all(struct tuned *t, struct tape *tape,
                                  const float *w, const struct examples *ex,
                                  struct sums *out)
{
    /* A retriever's rows are short, and measured against each other. */
    int few = t->spec.base.memory_bytes && t->spec.task != MODEL_RETRIEVER;
    size_t step = few ? EVALUATE_FEW : EVALUATE_ROWS;
    load(t, w);
    for (size_t first = 0; first < ex->n_rows; first += step) {
        size_t left = ex->n_rows - first;
        TRY(measure(t, tape, ex, first, left < step ? left : step, out));
    }
    return TACIT_OK;
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
