#include "common/model/distill_lm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/net_train.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops_linear.h"

enum {
    HELD_OUT = 50, /* one row in so many */
    CHUNK = 64     /* rows whose logits are in memory */
};

const struct distill_lm_config distill_lm_usual = {.row = 256,
                                                   .batch = 4,
                                                   .epochs = 1,
                                                   .likeliest = 32,
                                                   .rate = 1e-4,
                                                   .share = 0.9,
                                                   .seed = 1};

struct distilling {
    const struct distill_lm_config *c;
    const struct distill_lm_job *job;
    struct net_train *train;
    struct tape tape, head; /* of passes that do not learn */
    size_t n_rows, n_held;  /* the last ones of `row` are held out */
    uint32_t *row;          /* [n_rows] */
    uint32_t *token;        /* [batch * row] of a batch */
    uint32_t *start;        /* [batch + 1] */
    uint32_t *at, *next;    /* [batch * (row - 1)] */
    uint32_t *id;           /* [batch * (row - 1), likeliest] */
    float *p;               /* the same */
    float *hidden;          /* [batch * row, wider of both] */
    struct distill_lm_report r;
};

/* ---- batches ------------------------------------------------------------- */

/* Rows row[from, from + n), and which token follows which. */
static struct net_batch gather(struct distilling *d, size_t from, size_t n)
{
    size_t len = d->c->row, labels = 0;
    d->start[0] = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t *to = d->token + i * len;
        memcpy(to, d->job->token + d->row[from + i] * len, len * sizeof *to);
        d->start[i + 1] = (uint32_t)((i + 1) * len);
        for (size_t k = 0; k + 1 < len; k++, labels++) {
            d->at[labels] = (uint32_t)(i * len + k);
            d->next[labels] = to[k + 1];
        }
    }
    return (struct net_batch){.token = d->token,
                              .n = n * len,
                              .segments = {d->start, n}};
}

/* ---- what a network holds likely ----------------------------------------- */

/* The k largest of z[n], the largest first; k is small. */
static void largest(const float *z, size_t n, size_t k, uint32_t *id, float *v)
{
    size_t got = 0;
    for (size_t i = 0; i < n; i++) {
        if (got == k && !(z[i] > v[k - 1])) continue;
        size_t at = got < k ? got++ : k - 1;
        for (; at > 0 && z[i] > v[at - 1]; at--) {
            v[at] = v[at - 1];
            id[at] = id[at - 1];
        }
        v[at] = z[i];
        id[at] = (uint32_t)i;
    }
}

static void to_shares(float *v, size_t k)
{
    float sum = 0, top = v[0];
    map_exp(v, v, top, k);
    for (size_t i = 0; i < k; i++) sum += v[i];
    map_scale(v, v, 1 / sum, k);
}

/* Calls see(d, logits, label) for the first n labels of a batch. */
static enum tacit_err each_row(struct distilling *d, const struct net *net,
                               const struct net_batch *b, size_t n,
                               void (*see)(struct distilling *d, const float *z,
                                           size_t vocab, size_t label))
{
    const struct net_run run = {.net = net, .tape = &d->tape};
    size_t width = net_shape(net)->width, vocab = net_shape(net)->vocab;
    tape_reset(&d->tape);
    struct var *h = net_hidden(&run, b);
    if (!h) return d->tape.err;
    memcpy(d->hidden, h->v, b->n * width * sizeof *d->hidden);
    for (size_t from = 0; from < n; from += CHUNK) {
        const struct net_run top = {.net = net, .tape = &d->head};
        size_t some = n - from < CHUNK ? n - from : CHUNK;
        tape_reset(&d->head);
        struct var *z =
            net_logits(&top, tape_constant(&d->head, d->hidden, b->n, width),
                       d->at + from, some);
        if (!z) return d->head.err;
        for (size_t i = 0; i < some; i++)
            see(d, z->v + i * vocab, vocab, from + i);
    }
    return TACIT_OK;
}

static void hear(struct distilling *d, const float *z, size_t vocab,
                 size_t label)
{
    size_t k = d->c->likeliest;
    largest(z, vocab, k, d->id + label * k, d->p + label * k);
    to_shares(d->p + label * k, k);
}

static void judge(struct distilling *d, const float *z, size_t vocab,
                  size_t label)
{
    uint32_t best = 0;
    float top = z[0];
    double sum = 1; /* the largest */
    for (uint32_t i = 1; i < vocab; i++)
        if (z[i] > top) {
            top = z[i];
            best = i;
        }
    for (uint32_t i = 0; i < vocab; i++)
        if (i != best) sum += exp((double)(z[i] - top));
    d->r.nats += log(sum) + (double)(top - z[d->next[label]]);
    d->r.agreement += best == d->id[label * d->c->likeliest];
}

static enum tacit_err hold_out(struct distilling *d)
{
    size_t first = d->n_rows - d->n_held, seen = 0;
    d->r.nats = d->r.agreement = 0;
    for (size_t at = first; at < d->n_rows; at += d->c->batch) {
        size_t n = d->n_rows - at < d->c->batch ? d->n_rows - at : d->c->batch;
        size_t labels = n * (d->c->row - 1);
        const struct net_batch b = gather(d, at, n);
        TRY(each_row(d, d->job->teacher, &b, labels, hear));
        TRY(each_row(d, d->job->student, &b, labels, judge));
        seen += labels;
    }
    d->r.nats /= (double)seen;
    d->r.agreement /= (double)seen;
    return TACIT_OK;
}

/* ---- steps --------------------------------------------------------------- */

static enum tacit_err learn(struct distilling *d, size_t at, size_t n,
                            double *loss)
{
    const struct net_batch b = gather(d, at, n);
    const struct op_labels labels = {d->at, d->next, n * (d->c->row - 1)};
    const struct op_teacher teacher = {d->id, d->p, d->c->likeliest,
                                       (float)d->c->share};
    const struct net_run *run;
    TRY(each_row(d, d->job->teacher, &b, labels.n, hear));
    TRY(net_train_begin(d->train, &b, &run));
    struct var *l =
        net_taught_loss(run, net_hidden(run, &b), &labels, &teacher);
    TRY(net_train_end(d->train, l));
    *loss = (double)l->v[0];
    if (!isfinite(*loss))
        return fail(TACIT_STATE,
                    "the loss is no longer a number; a smaller --rate helps");
    return TACIT_OK;
}

static enum tacit_err tell(struct distilling *d)
{
    return d->job->step ? d->job->step(d->job->ctx, &d->r) : TACIT_OK;
}

static enum tacit_err epoch(struct distilling *d)
{
    size_t n_train = d->n_rows - d->n_held, steps = 0;
    double sum = 0, loss = 0;
    struct rng r;
    rng_init(&r, d->c->seed, d->r.epoch, 1);
    rng_shuffle(&r, d->row, n_train);
    for (size_t at = 0; at < n_train; at += d->c->batch) {
        size_t n = n_train - at < d->c->batch ? n_train - at : d->c->batch;
        TRY(learn(d, at, n, &loss));
        sum += loss;
        d->r.loss = sum / (double)++steps;
        d->r.done += n * d->c->row;
        TRY(tell(d));
    }
    return hold_out(d);
}

static enum tacit_err work(struct distilling *d)
{
    d->r.total = (d->n_rows - d->n_held) * d->c->row * d->c->epochs;
    TRY(hold_out(d));
    TRY(tell(d));
    for (size_t e = 1; e <= d->c->epochs; e++) {
        d->r.epoch = e;
        TRY(epoch(d));
    }
    return tell(d);
}

/* ---- before and behind --------------------------------------------------- */

static enum tacit_err check(const struct distill_lm_config *c,
                            const struct distill_lm_job *job)
{
    size_t vocab = net_shape(job->student)->vocab;
    if (!net_is_decoder(job->student) || !net_is_decoder(job->teacher))
        return fail(TACIT_SHAPE, "an encoder predicts no next token");
    if (vocab != net_shape(job->teacher)->vocab)
        return fail(TACIT_SHAPE,
                    "the teacher has %zu tokens, the student %zu; both want "
                    "the same vocabulary",
                    net_shape(job->teacher)->vocab, vocab);
    if (job->n > DISTILL_LM_TOKENS_MAX)
        return fail(TACIT_LIMIT, "%zu tokens of text; at most %d", job->n,
                    DISTILL_LM_TOKENS_MAX);
    if (c->row < 2 || job->n / c->row < 2)
        return fail(TACIT_SHAPE,
                    "%zu tokens of text are less than two rows of %zu; give "
                    "more text, or a shorter --row",
                    job->n, c->row);
    if (c->likeliest < 1 || c->likeliest > DISTILL_LM_LIKELIEST_MAX ||
        c->likeliest > vocab || c->batch < 1)
        return fail(TACIT_SHAPE, "the %zu likeliest of %zu tokens; 1 to %d",
                    c->likeliest, vocab, DISTILL_LM_LIKELIEST_MAX);
    return TACIT_OK;
}

static enum tacit_err prepare(struct distilling *d)
{
    const struct distill_lm_config *c = d->c;
    const struct net_shape *s = net_shape(d->job->student);
    const struct net_shape *t = net_shape(d->job->teacher);
    size_t tokens = c->batch * c->row, labels = c->batch * (c->row - 1);
    size_t width = s->width > t->width ? s->width : t->width;
    d->n_rows = d->job->n / c->row;
    d->n_held = (d->n_rows + HELD_OUT - 1) / HELD_OUT;
    d->row = calloc(d->n_rows, sizeof *d->row);
    d->token = calloc(tokens, sizeof *d->token);
    d->start = calloc(c->batch + 1, sizeof *d->start);
    d->at = calloc(labels, sizeof *d->at);
    d->next = calloc(labels, sizeof *d->next);
    d->id = calloc(labels * c->likeliest, sizeof *d->id);
    d->p = calloc(labels * c->likeliest, sizeof *d->p);
    d->hidden = calloc(tokens * width, sizeof *d->hidden);
    if (!d->row || !d->token || !d->start || !d->at || !d->next || !d->id ||
        !d->p || !d->hidden)
        return fail(TACIT_NOMEM, "no memory for batches of %zu tokens", tokens);
    struct rng r;
    for (size_t i = 0; i < d->n_rows; i++) d->row[i] = (uint32_t)i;
    rng_init(&r, c->seed, 0, 1);
    rng_shuffle(&r, d->row, d->n_rows);
    d->tape.pool = d->head.pool = d->job->pool;
    const struct net_train_options o = {.load = {tokens, c->batch, labels},
                                        .optim = {.kind = "adamw",
                                                  .learning_rate = c->rate},
                                        .budget_bytes = c->budget_bytes,
                                        .pool = d->job->pool};
    return net_train_new(d->job->student, &o, &d->train);
}

enum tacit_err distill_lm_train(const struct distill_lm_config *c,
                                const struct distill_lm_job *job,
                                struct distill_lm_report *out)
{
    struct distilling d = {.c = c, .job = job};
    TRY(check(c, job));
    tape_init(&d.tape, 0);
    tape_init(&d.head, 0);
    enum tacit_err err = prepare(&d);
    if (!err) err = work(&d);
    *out = d.r;
    net_train_free(d.train);
    tape_release(&d.tape);
    tape_release(&d.head);
    free(d.row);
    free(d.token);
    free(d.start);
    free(d.at);
    free(d.next);
    free(d.id);
    free(d.p);
    free(d.hidden);
    return err;
}
