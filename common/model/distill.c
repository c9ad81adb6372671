#include "common/model/distill.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/distill_parts.h"
#include "common/model/distill_pca.h"
#include "common/tensor/kernels.h"
#include "common/tensor/ops.h"

enum {
    BATCH = 256,
    VALIDATE = 50, /* one text of these is held out */
    HELD_MAX = 2048,
    PCA_ROWS_MAX = 1 << 14,
    FEATURES_MAX = 1 << 28, /* of all texts together */
    TAPE_BYTES_MAX = 1 << 30,
    BLOCK = 8,        /* neighbours that stay together in a batch */
    REPORT_EVERY = 16 /* steps */
};

#define SIF_A      1e-3 /* a / (a + frequency) */
#define SHARE      1.0f /* of similarities in the loss */
#define ADAM_MEAN  0.9
#define ADAM_SCALE 0.999

const struct distill_config distill_usual = {.dim = 256,
                                             .words = 36864,
                                             .buckets = 12288,
                                             .epochs = 6,
                                             .rate = 1e-3,
                                             .seed = 1,
                                             .type = QUANT_Q4_0};

/* Texts, then words, then words as if they were unknown. */
struct course {
    const struct distill_config *c;
    const struct distill_job *job;
    struct distilled *d;
    size_t dim, n_items;
    float *y;      /* [texts + words, dim], unit */
    uint32_t *id;  /* of all items one behind another */
    float *weight; /* beside id */
    size_t n_id, cap_id;
    uint64_t *start;    /* [n_items + 1] */
    uint32_t *order;    /* [n_order] items that are trained */
    uint32_t *shuffled; /* [n_order] the same in this epoch's order */
    uint32_t *block;    /* [n_order / BLOCK + 1] */
    uint32_t *held;     /* [n_held] texts that are not */
    size_t n_order, n_held;
    float *mean, *square; /* [n_rows, dim]: Adam's */
    uint32_t *place;      /* [n_rows]: of a row in the batch, + 1 */
    uint32_t *row;        /* rows of the batch */
    size_t n_row, cap_row;
    float *part, *grad; /* [cap_row, dim] */
    uint64_t n_steps, step;
    struct tape tape;
};

/* ---- what is learnt from ------------------------------------------------ */

static size_t n_words(const struct course *k)
{
    return k->job->words->n;
}

/* Vectors [n, teacher_dim] through the basis [dim, teacher_dim]. */
static void project(const float *basis, const float *x, size_t n, size_t wide,
                    size_t dim, float *out)
{
    for (size_t i = 0; i < n; i++) {
        gemm_nt(out + i * dim, x + i * wide, basis, 1, dim, wide, GEMM_SET);
        kernel_normalise(out + i * dim, dim);
    }
}

static enum tacit_err make_targets(struct course *k)
{
    const struct distill_job *job = k->job;
    size_t wide = job->teacher_dim, n = 0;
    size_t stride = job->n / PCA_ROWS_MAX + 1;
    float *basis = calloc(k->dim * wide, sizeof *basis);
    float *some = calloc((job->n / stride + 1) * wide, sizeof *some);
    k->y = calloc((job->n + n_words(k)) * k->dim, sizeof *k->y);
    enum tacit_err err = TACIT_OK;
    if (!basis || !some || !k->y)
        err =
            fail(TACIT_NOMEM, "no memory for the vectors of %zu texts", job->n);
    for (size_t i = 0; !err && i < job->n; i += stride)
        memcpy(some + n++ * wide, job->text_vector + i * wide,
               wide * sizeof *some);
    if (!err) err = distill_pca(some, n, wide, k->dim, basis);
    if (!err) {
        project(basis, job->text_vector, job->n, wide, k->dim, k->y);
        project(basis, job->word_vector, n_words(k), wide, k->dim,
                k->y + job->n * k->dim);
    }
    free(basis);
    free(some);
    return err;
}

static enum tacit_err put_item(struct course *k, size_t item,
                               const struct features *f)
{
    if (k->n_id + f->n > k->cap_id) {
        size_t cap = 2 * k->cap_id + f->n + 4096;
        if (cap > FEATURES_MAX)
            return fail(TACIT_LIMIT,
                        "the texts have more than %d words; give fewer",
                        FEATURES_MAX / 2);
        uint32_t *id = realloc(k->id, cap * sizeof *id);
        if (id) k->id = id;
        float *weight = realloc(k->weight, cap * sizeof *weight);
        if (weight) k->weight = weight;
        if (!id || !weight)
            return fail(TACIT_NOMEM, "no memory for %zu features", cap);
        k->cap_id = cap;
    }
    if (f->n) {
        memcpy(k->id + k->n_id, f->id, f->n * sizeof *f->id);
        memcpy(k->weight + k->n_id, f->weight, f->n * sizeof *f->weight);
    }
    k->n_id += f->n;
    k->start[item + 1] = k->n_id;
    return TACIT_OK;
}

static enum tacit_err read_items(struct course *k)
{
    struct arena a;
    enum tacit_err err = TACIT_OK;
    size_t n = k->job->n, w = n_words(k);
    arena_init(&a, 64 << 20);
    for (size_t i = 0; !err && i < k->n_items; i++) {
        const struct text *t =
            i < n ? &k->job->texts[i] : &k->job->words->word[(i - n) % w];
        enum features_mode mode =
            i < n + w ? FEATURES_OF_TEXT : FEATURES_AS_UNKNOWN;
        struct features f = {0};
        arena_reset(&a);
        err = features_of(k->d->lexicon, &a, mode, t->s, t->n, &f);
        if (!err) err = put_item(k, i, &f);
    }
    arena_release(&a);
    return err;
}

/* Which are trained, and which are held out: those without features are
 * neither. */
static enum tacit_err choose_items(struct course *k)
{
    struct rng rng;
    size_t n_most = k->job->n / VALIDATE;
    if (n_most > HELD_MAX) n_most = HELD_MAX;
    k->order = calloc(k->n_items + 1, sizeof *k->order);
    k->shuffled = calloc(k->n_items + 1, sizeof *k->shuffled);
    k->block = calloc(k->n_items / BLOCK + 1, sizeof *k->block);
    k->held = calloc(HELD_MAX, sizeof *k->held);
    if (!k->order || !k->shuffled || !k->block || !k->held)
        return fail(TACIT_NOMEM, "no memory for %zu texts", k->job->n);
    rng_init(&rng, k->c->seed, 0, 0);
    for (size_t i = 0; i < k->n_items; i++) {
        int is_held = i < k->job->n && rng_below(&rng, VALIDATE) == 0 &&
                      k->n_held < n_most;
        if (k->start[i] == k->start[i + 1]) continue;
        if (is_held)
            k->held[k->n_held++] = (uint32_t)i;
        else
            k->order[k->n_order++] = (uint32_t)i;
    }
    return k->n_order ? TACIT_OK
                      : fail(TACIT_FORMAT, "there is no word in the texts");
}

static const float *target(const struct course *k, uint32_t item)
{
    size_t n = k->job->n;
    assert(n_words(k) > 0);
    return k->y + (item < n ? item : n + (item - n) % n_words(k)) * k->dim;
}

/* ---- the first rows ----------------------------------------------------- */

static void begin_words(struct course *k)
{
    const struct distill_words *w = k->job->words;
    for (size_t i = 0; i < w->n; i++) {
        double p = (double)w->count[i] / (double)w->total;
        kernel_axpy(k->d->table + i * k->dim, (float)(SIF_A / (SIF_A + p)),
                    k->y + (k->job->n + i) * k->dim, k->dim);
    }
}

/* Items "as if unknown" say which buckets a word has. */
static void begin_buckets(struct course *k)
{
    size_t n = k->job->n, w = n_words(k), dim = k->dim;
    for (size_t i = 0; i < w; i++) {
        const float *y = k->y + (n + i) * dim;
        for (uint64_t j = k->start[n + w + i]; j < k->start[n + w + i + 1]; j++)
            kernel_axpy(k->d->table + k->id[j] * dim, 1, y, dim);
    }
    for (size_t r = w; r < k->d->n_rows; r++)
        kernel_normalise(k->d->table + r * dim, dim);
}

/* ---- steps -------------------------------------------------------------- */

static enum tacit_err grow_rows(struct course *k, size_t most)
{
    if (most <= k->cap_row) return TACIT_OK;
    free(k->row);
    free(k->part);
    free(k->grad);
    k->cap_row = most;
    k->row = calloc(most, sizeof *k->row);
    k->part = calloc(most * k->dim, sizeof *k->part);
    k->grad = calloc(most * k->dim, sizeof *k->grad);
    return k->row && k->part && k->grad
               ? TACIT_OK
               : fail(TACIT_NOMEM, "no memory for %zu rows", most);
}

/* The batch's bags over the rows that it has, numbered as they come. */
static enum tacit_err make_bags(struct course *k, const uint32_t *items,
                                size_t n, struct op_bags *out)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += k->start[items[i] + 1] - k->start[items[i]];
    TRY(grow_rows(k, total + 1));
    uint32_t *start = tape_raw(&k->tape, n + 1, sizeof *start);
    uint32_t *id = tape_raw(&k->tape, total + 1, sizeof *id);
    float *weight = tape_raw(&k->tape, total + 1, sizeof *weight);
    if (!start || !id || !weight) return k->tape.err;
    start[0] = 0;
    k->n_row = 0;
    for (size_t i = 0, at = 0; i < n; i++) {
        for (uint64_t j = k->start[items[i]]; j < k->start[items[i] + 1]; j++) {
            uint32_t row = k->id[j];
            if (!k->place[row]) {
                k->row[k->n_row++] = row;
                k->place[row] = (uint32_t)k->n_row;
            }
            id[at] = k->place[row] - 1;
            weight[at++] = k->weight[j];
        }
        start[i + 1] = (uint32_t)at;
    }
    for (size_t r = 0; r < k->n_row; r++) {
        k->place[k->row[r]] = 0;
        memcpy(k->part + r * k->dim, k->d->table + k->row[r] * k->dim,
               k->dim * sizeof *k->part);
    }
    *out = (struct op_bags){id, weight, start, n};
    return TACIT_OK;
}

/* Adam (Kingma and Ba 2015) on the rows of the batch alone. */
static void update(struct course *k)
{
    double t = (double)++k->step;
    double rate = k->c->rate * (1 - (t - 1) / (double)k->n_steps);
    float by =
        (float)(rate * sqrt(1 - pow(ADAM_SCALE, t)) / (1 - pow(ADAM_MEAN, t)));
    const float b1 = (float)ADAM_MEAN, b2 = (float)ADAM_SCALE;
    for (size_t r = 0; r < k->n_row; r++) {
        size_t at = k->row[r] * k->dim;
        const float *g = k->grad + r * k->dim;
        float *m = k->mean + at, *v = k->square + at, *x = k->d->table + at;
        for (size_t j = 0; j < k->dim; j++) {
            m[j] = b1 * m[j] + (1 - b1) * g[j];
            v[j] = b2 * v[j] + (1 - b2) * g[j] * g[j];
            x[j] -= by * m[j] / (sqrtf(v[j]) + 1e-8f);
        }
    }
}

static enum tacit_err take_step(struct course *k, const uint32_t *items,
                                size_t n, double *loss)
{
    struct op_bags bags;
    tape_reset(&k->tape);
    TRY(make_bags(k, items, n, &bags));
    float *y = tape_raw(&k->tape, n * k->dim, sizeof *y);
    if (!y) return k->tape.err;
    for (size_t i = 0; i < n; i++)
        memcpy(y + i * k->dim, target(k, items[i]), k->dim * sizeof *y);
    memset(k->grad, 0, k->n_row * k->dim * sizeof *k->grad);
    struct var *part =
        tape_parameter(&k->tape, k->part, k->grad, k->n_row, k->dim);
    struct var *s =
        op_normalise(&k->tape, op_embedding_bag(&k->tape, part, &bags));
    struct var *out = op_imitate(&k->tape, s, y, SHARE);
    TRY(tape_backward(&k->tape, out));
    if (!isfinite(out->v[0]))
        return fail(TACIT_STATE, "training diverges; take a lower --rate");
    *loss += (double)out->v[0];
    update(k);
    return TACIT_OK;
}

/* Mean cosine of the held-out texts to what the teacher makes of them. */
static double held_cosine(const struct course *k)
{
    float s[DISTILL_DIM_MAX];
    double sum = 0;
    for (size_t i = 0; i < k->n_held; i++) {
        uint32_t item = k->held[i];
        memset(s, 0, k->dim * sizeof *s);
        for (uint64_t j = k->start[item]; j < k->start[item + 1]; j++)
            kernel_axpy(s, k->weight[j], k->d->table + k->id[j] * k->dim,
                        k->dim);
        kernel_normalise(s, k->dim);
        sum += kernel_dot(s, target(k, item), k->dim);
    }
    return k->n_held ? sum / (double)k->n_held : 0;
}

static enum tacit_err report(struct course *k)
{
    k->d->report.done = k->step * BATCH;
    return k->job->step ? k->job->step(k->job->ctx, &k->d->report) : TACIT_OK;
}

/* Blocks of neighbouring texts in another order each time: files often tell of
 * one thing in lines that follow each other, and what is near what among them
 * is what search wants to know. */
static void shuffle_blocks(struct course *k, size_t epoch)
{
    struct rng rng;
    size_t n = (k->n_order + BLOCK - 1) / BLOCK, at = 0;
    for (size_t i = 0; i < n; i++) k->block[i] = (uint32_t)i;
    rng_init(&rng, k->c->seed, 1, epoch);
    rng_shuffle(&rng, k->block, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < BLOCK; j++) {
            size_t from = (size_t)k->block[i] * BLOCK + j;
            if (from < k->n_order) k->shuffled[at++] = k->order[from];
        }
}

static enum tacit_err run_epoch(struct course *k, size_t epoch)
{
    double loss = 0;
    size_t batch = k->n_order < BATCH ? k->n_order : BATCH, n = 0;
    shuffle_blocks(k, epoch);
    for (size_t at = 0; at + batch <= k->n_order; at += batch) {
        TRY(take_step(k, k->shuffled + at, batch, &loss));
        if (++n % REPORT_EVERY == 0) TRY(report(k));
    }
    k->d->report.epoch = epoch;
    k->d->report.loss = loss / (double)n;
    k->d->report.cosine = held_cosine(k);
    return report(k);
}

/* ---- all of it ---------------------------------------------------------- */

static enum tacit_err check(const struct distill_config *c,
                            const struct distill_job *job)
{
    if (c->dim == 0 || c->dim > DISTILL_DIM_MAX || c->dim % 32 != 0)
        return fail(TACIT_LIMIT, "%zu numbers; multiples of 32 up to %d",
                    c->dim, DISTILL_DIM_MAX);
    if (c->dim > job->teacher_dim)
        return fail(TACIT_LIMIT,
                    "%zu numbers; the teacher has %zu, and no more can be "
                    "learnt from it",
                    c->dim, job->teacher_dim);
    if (c->buckets == 0 || c->buckets > DISTILL_BUCKETS_MAX ||
        c->epochs > DISTILL_EPOCHS_MAX || !(c->rate > 0 && c->rate <= 1))
        return fail(TACIT_LIMIT,
                    "n-grams 1 to %d, epochs up to %d, a rate up to 1",
                    DISTILL_BUCKETS_MAX, DISTILL_EPOCHS_MAX);
    if (job->n == 0 || job->n > DISTILL_TEXTS_MAX || job->words->n == 0)
        return fail(TACIT_LIMIT, "%zu texts; 1 to %d, with words", job->n,
                    DISTILL_TEXTS_MAX);
    return TACIT_OK;
}

static enum tacit_err make_lexicon(struct course *k)
{
    const struct distill_words *w = k->job->words;
    const char **word = calloc(w->n + 1, sizeof *word);
    size_t *n_bytes = calloc(w->n + 1, sizeof *n_bytes);
    enum tacit_err err = TACIT_OK;
    if (!word || !n_bytes)
        err = fail(TACIT_NOMEM, "no memory for %zu words", w->n);
    for (size_t i = 0; !err && i < w->n; i++) {
        word[i] = w->word[i].s;
        n_bytes[i] = w->word[i].n;
    }
    if (!err)
        err = lexicon_new(word, n_bytes, w->n, k->c->buckets, &k->d->lexicon);
    free(word);
    free(n_bytes);
    return err;
}

static enum tacit_err make_room(struct course *k)
{
    size_t rows = lexicon_rows(k->d->lexicon);
    k->d->n_rows = rows;
    k->n_items = k->job->n + 2 * n_words(k);
    k->d->table = calloc(rows * k->dim, sizeof *k->d->table);
    k->mean = calloc(rows * k->dim, sizeof *k->mean);
    k->square = calloc(rows * k->dim, sizeof *k->square);
    k->place = calloc(rows, sizeof *k->place);
    k->start = calloc(k->n_items + 1, sizeof *k->start);
    return k->d->table && k->mean && k->square && k->place && k->start
               ? TACIT_OK
               : fail(TACIT_NOMEM, "no memory for a table of %zu rows", rows);
}

static enum tacit_err run(struct course *k)
{
    TRY(make_lexicon(k));
    TRY(make_room(k));
    TRY(make_targets(k));
    TRY(read_items(k));
    TRY(choose_items(k));
    begin_words(k);
    begin_buckets(k);
    k->n_steps = k->c->epochs * (k->n_order / BATCH + (k->n_order < BATCH));
    k->d->report.total = k->n_steps * BATCH;
    k->d->report.cosine = held_cosine(k);
    TRY(report(k));
    for (size_t i = 1; i <= k->c->epochs; i++) TRY(run_epoch(k, i));
    const struct distill_bags texts = {k->id, k->weight, k->start, k->job->n};
    return distill_settle(k->d->table, k->d->n_rows, k->dim, k->job->words,
                          &texts);
}

enum tacit_err distill_train(const struct distill_config *c,
                             const struct distill_job *job,
                             struct distilled **out)
{
    TRY(check(c, job));
    struct course k = {.c = c, .job = job, .dim = c->dim};
    struct distilled *d = k.d = calloc(1, sizeof *d);
    if (!d) return fail(TACIT_NOMEM, "no memory for a table");
    d->c = *c;
    d->n_texts = job->n;
    tape_init(&k.tape, TAPE_BYTES_MAX);
    enum tacit_err err = run(&k);
    tape_release(&k.tape);
    void *const owned[] = {k.y,        k.id,    k.weight, k.start, k.order,
                           k.shuffled, k.block, k.held,   k.mean,  k.square,
                           k.place,    k.row,   k.part,   k.grad};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    if (err)
        distilled_free(d);
    else
        *out = d;
    return err;
}

void distilled_free(struct distilled *d)
{
    if (!d) return;
    lexicon_free(d->lexicon);
    free(d->table);
    free(d);
}
