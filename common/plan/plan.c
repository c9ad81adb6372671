#include "common/plan/plan.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/plan/plan_check.h"

static void copy(char out[PLAN_NAME_MAX], const char *text)
{
    snprintf(out, PLAN_NAME_MAX, "%s", text);
}

static enum tacit_err take_name(const struct check *c, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return plan_wrong(
                c, "name",
                "name is \"%s\"; letters, digits, '-', '_' and '.' "
                "may stand in it",
                name);
    if (n == 0 || name[0] == '.')
        return plan_wrong(c, "name", "name is empty or begins with '.'");
    copy(c->plan->name, name);
    return TACIT_OK;
}

/* What each kind of model learns, and which of its keys it reads. */
enum model_key {
    KEY_HIDDEN = 1,
    KEY_CLASSES = 2,
    KEY_NORM = 4,
    KEY_LAYERS = 8,
    KEY_HEADS = 16,
    KEY_DIM = 32,
    KEY_ENCODER = 64
};
enum { NUMBERS = 1 << PLAN_TABLE | 1 << PLAN_VECTORS | 1 << PLAN_IMAGES };
static const struct kind {
    const char *name;
    unsigned tasks; /* bit 1 << enum plan_task */
    unsigned keys;
    unsigned formats; /* bit 1 << enum plan_format */
} model_kinds[] = {
    {"logistic", 1 << PLAN_CLASSIFY, 0, NUMBERS},
    {"softmax", 1 << PLAN_CLASSIFY, KEY_CLASSES, NUMBERS},
    {"linear", 1 << PLAN_REGRESS, 0, NUMBERS},
    {"cox", 1 << PLAN_COX, 0, 1 << PLAN_TABLE},
    {"mlp", 1 << PLAN_CLASSIFY | 1 << PLAN_REGRESS, KEY_HIDDEN | KEY_CLASSES,
     NUMBERS},
    {"cnn", 1 << PLAN_CLASSIFY, KEY_HIDDEN | KEY_CLASSES | KEY_NORM,
     1 << PLAN_IMAGES},
    {"gru", 1 << PLAN_LM, KEY_HIDDEN, 1 << PLAN_TEXT},
    {"lstm", 1 << PLAN_LM, KEY_HIDDEN, 1 << PLAN_TEXT},
    {"transformer", 1 << PLAN_LM, KEY_HIDDEN | KEY_LAYERS | KEY_HEADS,
     1 << PLAN_TEXT},
    {"static", 1 << PLAN_RETRIEVER, KEY_DIM | KEY_ENCODER, 1 << PLAN_TABLE},
    {"reader", 1 << PLAN_READER, KEY_ENCODER, 1 << PLAN_TABLE},
};
enum { N_KINDS = sizeof model_kinds / sizeof *model_kinds };

/* A key that the kind does not read, or a missing one that it cannot do
 * without. */
static enum tacit_err take_model_keys(const struct check *c,
                                      const struct kind *k,
                                      const struct raw_model *m)
{
    const struct {
        const char *key;
        int given;
        unsigned bit;
    } rows[] = {{"model.hidden", m->n_hidden > 0, KEY_HIDDEN},
                {"model.classes", m->classes != NULL, KEY_CLASSES},
                {"model.norm", m->norm != NULL, KEY_NORM},
                {"model.layers", m->layers != NULL, KEY_LAYERS},
                {"model.heads", m->heads != NULL, KEY_HEADS},
                {"model.dim", m->dim != NULL, KEY_DIM},
                {"model.encoder", m->encoder != NULL, KEY_ENCODER}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given && !(k->keys & rows[i].bit))
            TRY(plan_wrong(c, rows[i].key, "%s has no effect on %s",
                           rows[i].key, k->name));
    if (k->keys & KEY_HIDDEN && m->n_hidden == 0)
        TRY(plan_wrong(c, "model.hidden",
                       "model.hidden is missing: the width of each layer, as "
                       "in [16]"));
    if (strcmp(k->name, "softmax") == 0 && !m->classes)
        return plan_wrong(c, "model.classes",
                          "model.classes is missing: how many classes there "
                          "are");
    return TACIT_OK;
}

static enum tacit_err take_task(const struct check *c, const char *task)
{
    static const char *const tasks[] = {"classify", "regress", "retriever",
                                        "cox",      "lm",      "reader"};
    size_t which = 0;
    TRY(plan_choice(c, "task", task, tasks, 6, &which));
    c->plan->task = (enum plan_task)which;
    return TACIT_OK;
}

static enum tacit_err take_model(const struct check *c,
                                 const struct raw_model *m)
{
    static const char *const norms[] = {"none", "batch", "group"};
    struct plan *p = c->plan;
    const char *names[N_KINDS];
    const struct kind *fit[N_KINDS];
    size_t kind = 0, norm = 0, n = 0;
    unsigned before = c->faults->n;
    for (size_t i = 0; i < N_KINDS; i++) {
        if (!(model_kinds[i].tasks >> p->task & 1)) continue;
        fit[n] = &model_kinds[i];
        names[n++] = model_kinds[i].name;
    }
    TRY(plan_choice(c, "model.kind", m->kind, names, n, &kind));
    if (c->faults->n > before) return TACIT_OK;
    copy(p->model, m->kind);
    p->formats = fit[kind]->formats;
    TRY(take_model_keys(c, fit[kind], m));
    for (unsigned i = 0; i < m->n_hidden; i++)
        TRY(plan_integer(c, "model.hidden", &m->hidden[i], 1, 65536, 1,
                         &p->hidden[i]));
    p->n_hidden = m->n_hidden;
    if (m->norm) TRY(plan_choice(c, "model.norm", m->norm, norms, 3, &norm));
    copy(p->norm, norms[norm]);
    copy(p->encoder, m->encoder ? m->encoder : "");
    int many = m->classes || strcmp(m->kind, "cnn") == 0;
    TRY(plan_integer(c, "model.classes", m->classes, 2, 65536, many ? 10 : 2,
                     &p->classes));
    if (!many) p->classes = 1;
    if (p->task == PLAN_LM) p->classes = PLAN_VOCABULARY;
    if (m->classes && p->task == PLAN_REGRESS)
        return plan_wrong(c, "model.classes", "model.classes is for classify");
    TRY(plan_integer(c, "model.layers", m->layers, 1, 8, 2, &p->layers));
    TRY(plan_integer(c, "model.heads", m->heads, 1, 16, 4, &p->heads));
    return plan_integer(c, "model.dim", m->dim, 16, 1024, 256, &p->dim);
}

static enum tacit_err take_column(const struct check *c,
                                  const struct raw_column *raw, size_t at)
{
    struct plan_column *col = &c->plan->columns[at];
    if (!raw->name[0])
        return plan_wrong(c, "data.columns", "data.columns[%zu] has no name",
                          at + 1);
    for (size_t i = 0; i < at; i++)
        if (strcmp(c->plan->columns[i].name, raw->name) == 0)
            return plan_wrong(c, "data.columns",
                              "data.columns names \"%s\" twice", raw->name);
    if (strcmp(c->plan->label, raw->name) == 0)
        return plan_wrong(c, "data.columns",
                          "data.columns contains the label \"%s\": the model "
                          "would be told the answer",
                          raw->name);
    copy(col->name, raw->name);
    for (unsigned i = 0; i < raw->n_values; i++) {
        for (unsigned j = 0; j < i; j++)
            if (!(raw->values[i] < raw->values[j]) &&
                !(raw->values[i] > raw->values[j]))
                return plan_wrong(c, "data.columns",
                                  "data.columns: %s lists a value twice",
                                  raw->name);
        col->values[i] = raw->values[i];
    }
    col->n_values = raw->n_values;
    if ((raw->mean || raw->sd) &&
        (raw->n_values || c->plan->standardise != PLAN_STANDARDISE_PLAN))
        return plan_wrong(
            c, "data.columns",
            "data.columns: %s has a mean or sd; they are for numbers "
            "under standardise: plan",
            raw->name);
    TRY(plan_real(c, "data.columns.mean", raw->mean, -1e12, 1e12, 0,
                  &col->mean));
    TRY(plan_real(c, "data.columns.sd", raw->sd, 1e-9, 1e12, 1, &col->sd));
    c->plan->n_features += raw->n_values ? raw->n_values - 1 : 1;
    return TACIT_OK;
}

/* The network may not have more weights than an update carries. Only layers of
 * the user's own widths can reach that. */
static enum tacit_err take_size(const struct check *c)
{
    const struct plan *p = c->plan;
    uint64_t weights = 0, inputs = p->n_features;
    for (size_t i = 0; i < p->n_hidden; i++) {
        weights += (inputs + 1) * p->hidden[i];
        inputs = p->hidden[i];
    }
    weights += (inputs + 1) * p->classes;
    if (weights > PLAN_WEIGHTS_MAX)
        return plan_wrong(c, "model.hidden",
                          "model.hidden makes %llu weights; there may be %d",
                          (unsigned long long)weights, PLAN_WEIGHTS_MAX);
    return TACIT_OK;
}

/* Images and text have a shape in place of columns. */
static enum tacit_err take_format(const struct check *c,
                                  const struct raw_data *raw)
{
    static const char *const formats[] = {"table", "vectors", "images", "text"};
    struct plan *p = c->plan;
    size_t format = p->formats == 1 << PLAN_IMAGES ? PLAN_IMAGES
                    : p->formats == 1 << PLAN_TEXT ? PLAN_TEXT
                                                   : PLAN_TABLE;
    if (raw->format)
        TRY(plan_choice(c, "data.format", raw->format, formats, 4, &format));
    p->format = (enum plan_format)format;
    if (!(p->formats >> format & 1))
        return plan_wrong(c, "data.format", "data.format: %s is not for %s",
                          formats[format], p->model);
    const struct {
        const char *key;
        int given;
        enum plan_format reads;
    } own[] = {{"data.channels", raw->channels != NULL, PLAN_IMAGES},
               {"data.height", raw->height != NULL, PLAN_IMAGES},
               {"data.width", raw->width != NULL, PLAN_IMAGES},
               {"data.length", raw->length != NULL, PLAN_TEXT},
               {"data.label", raw->label != NULL, PLAN_TABLE},
               {"data.columns", raw->n_columns > 0, PLAN_TABLE},
               {"data.standardise", raw->standardise != NULL, PLAN_TABLE},
               {"data.positive_above", raw->positive_above != NULL,
                PLAN_TABLE}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i].given && own[i].reads != p->format &&
            !(raw->width && i == 2 && p->format == PLAN_VECTORS))
            return plan_wrong(c, own[i].key, "%s is for format: %s", own[i].key,
                              formats[own[i].reads]);
    TRY(plan_integer(c, "data.channels", raw->channels, 1, 16, 1,
                     &p->channels));
    TRY(plan_integer(c, "data.height", raw->height, 1, 1024, 28, &p->height));
    TRY(plan_integer(c, "data.width", raw->width, 1, 1024, 28, &p->width));
    TRY(plan_integer(c, "data.length", raw->length, 2, 1024, 64, &p->length));
    if (p->format == PLAN_IMAGES)
        p->n_features = (size_t)p->channels * p->height * p->width;
    if (p->format == PLAN_TEXT) p->n_features = p->length;
    if (p->format == PLAN_VECTORS) p->n_features = p->width;
    return TACIT_OK;
}

static enum tacit_err take_data(const struct check *c,
                                const struct raw_data *raw)
{
    static const char *const standards[] = {"site", "plan", "none"};
    struct plan *p = c->plan;
    size_t standard = 0;
    if (!raw->source[0])
        TRY(plan_wrong(c, "data.source", "data.source is empty"));
    copy(p->source, raw->source);
    TRY(plan_real(c, "data.holdout", raw->holdout, 0, 0.9, 0.3, &p->holdout));
    if (raw->positive_above && p->task != PLAN_CLASSIFY)
        TRY(plan_wrong(
            c, "data.positive_above",
            "data.positive_above is for classify: what counts as 1"));
    if (plan_has_base(p) || p->task == PLAN_READER)
        return plan_take_texts(c, raw);
    if (raw->classes)
        TRY(plan_wrong(c, "data.classes",
                       "data.classes is for a plan with a base; a model has "
                       "model.classes"));
    if (p->task == PLAN_RETRIEVER) {
        if (raw->n_columns || raw->label || raw->standardise)
            return plan_wrong(
                c, "data",
                "data.columns, data.label and data.standardise are "
                "for tables; a retriever learns from pairs");
        p->n_features = p->dim;
        return TACIT_OK;
    }
    TRY(take_format(c, raw));
    if (raw->event && p->task != PLAN_COX)
        TRY(plan_wrong(c, "data.event",
                       "data.event is for cox: the column that says whether "
                       "it happened"));
    if (p->format != PLAN_TABLE) return take_size(c);
    if (p->task == PLAN_COX && (!raw->event || !raw->event[0]))
        return plan_wrong(c, "data.event",
                          "data.event is missing: the column that says whether "
                          "it happened (1) or the row was lost from sight (0)");
    if (raw->event) copy(p->event, raw->event);
    if (raw->standardise)
        TRY(plan_choice(c, "data.standardise", raw->standardise, standards, 3,
                        &standard));
    p->standardise = (enum plan_standardise)standard;
    if (!raw->label || !raw->label[0])
        TRY(plan_wrong(c, "data.label",
                       "data.label is missing: the column to predict"));
    else
        copy(p->label, raw->label);
    if (raw->n_columns == 0)
        return plan_wrong(
            c, "data.columns",
            "data.columns is missing: the columns to predict from");
    p->label_positive_above = raw->positive_above ? *raw->positive_above : 0;
    p->columns = calloc(raw->n_columns, sizeof *p->columns);
    if (!p->columns) return fail(TACIT_NOMEM, "out of memory");
    p->n_columns = raw->n_columns;
    for (size_t i = 0; i < raw->n_columns; i++)
        TRY(take_column(c, &raw->columns[i], i));
    return take_size(c);
}

static enum tacit_err take_cohort(const struct check *c,
                                  const struct raw_plan *raw)
{
    static const struct raw_cohort none;
    const struct raw_cohort *r = raw->cohort ? raw->cohort : &none;
    struct plan *p = c->plan;
    /* A secure sum of one would show it. */
    int64_t least = p->secagg_off ? 1 : 2;
    TRY(plan_integer(c, "rounds", raw->rounds, 1, 100000, 10, &p->rounds));
    TRY(plan_integer(c, "cohort.size", r->size, least, PLAN_COHORT_MAX, 3,
                     &p->cohort_size));
    /* Every group is a secure sum of its own. */
    const int64_t *groups = raw->strategy ? raw->strategy->groups : NULL;
    uint32_t of = p->cohort_size;
    if (groups && *groups > 1 && *groups <= of / 2) of /= (uint32_t)*groups;
    of = of > 3 ? of * 3 / 4 : of > 2 ? 2 : of;
    TRY(plan_integer(c, "cohort.min_reports", r->min_reports, least,
                     p->cohort_size, of, &p->min_reports));
    TRY(plan_real(c, "cohort.over_select", r->over_select, 1, 4, 1.3,
                  &p->over_select));
    return plan_real(c, "clip", raw->clip, 1e-6, 1e6, 1, &p->clip);
}

static enum tacit_err take_local(const struct check *c,
                                 const struct raw_plan *raw)
{
    static const char *const optimizers[] = {"sgd", "adam", "adamw", "mezo"};
    static const struct raw_local none;
    const struct raw_local *r = raw->local ? raw->local : &none;
    struct plan *p = c->plan;
    size_t which = 0;
    if (r->steps && r->epochs)
        TRY(plan_wrong(c, "local.epochs",
                       "local.steps and local.epochs exclude each other"));
    TRY(plan_integer(c, "local.epochs", r->epochs, 1, 10000, 1,
                     &p->local_epochs));
    if (!r->epochs) p->local_epochs = 0;
    TRY(plan_integer(c, "local.steps", r->steps, 1, 1000000, 10,
                     &p->local_steps));
    if (r->epochs) p->local_steps = 0;
    TRY(plan_integer(c, "local.batch", r->batch,
                     p->task == PLAN_RETRIEVER ? 2 : 1, 4096, 16, &p->batch));
    if (r->optimizer)
        TRY(plan_choice(c, "local.optimizer", r->optimizer, optimizers, 4,
                        &which));
    copy(p->optimizer, optimizers[which]);
    if (r->momentum && which > 0)
        TRY(plan_wrong(c, "local.momentum",
                       "local.momentum is for sgd; %s has %s", p->optimizer,
                       which < 3 ? "its own" : "none"));
    if (r->hard_negatives && p->task != PLAN_RETRIEVER)
        TRY(plan_wrong(c, "local.hard_negatives",
                       "local.hard_negatives is for a retriever"));
    TRY(plan_integer(c, "local.hard_negatives", r->hard_negatives, 0, 32,
                     p->task == PLAN_RETRIEVER && plan_has_base(p) ? 4 : 0,
                     &p->hard_negatives));
    TRY(plan_take_effort(c, r));
    if (r->temperature && p->task != PLAN_RETRIEVER)
        TRY(plan_wrong(c, "local.temperature",
                       "local.temperature is for the retriever"));
    TRY(plan_real(c, "local.learning_rate", r->learning_rate, 1e-9, 100, 0.01,
                  &p->learning_rate));
    TRY(plan_real(c, "local.momentum", r->momentum, 0, 0.9999, 0,
                  &p->momentum));
    TRY(plan_real(c, "local.weight_decay", r->weight_decay, 0, 1, 0,
                  &p->weight_decay));
    return plan_real(c, "local.temperature", r->temperature, 1e-3, 10, 0.05,
                     &p->temperature);
}

static enum tacit_err take_protocol(const struct check *c,
                                    const struct raw_plan *raw)
{
    static const char *const ways[] = {"examples", "uniform"};
    static const char *const modes[] = {"on", "off"};
    static const struct raw_weighting no_weighting;
    static const struct raw_deadline no_deadline;
    static const struct raw_secagg no_secagg;
    const struct raw_weighting *w =
        raw->weighting ? raw->weighting : &no_weighting;
    const struct raw_deadline *d = raw->deadline ? raw->deadline : &no_deadline;
    const struct raw_secagg *x = raw->secagg ? raw->secagg : &no_secagg;
    struct plan *p = c->plan;
    size_t way = 0, mode = 0;
    if (w->by) TRY(plan_choice(c, "weighting.by", w->by, ways, 2, &way));
    p->weighting = (enum plan_weighting)way;
    if (w->cap && p->weighting == PLAN_UNIFORM)
        TRY(plan_wrong(c, "weighting.cap",
                       "weighting.cap is for by: examples; uniform counts "
                       "every device alike"));
    TRY(plan_integer(c, "weighting.cap", w->cap, 1, 1000000000, 1000,
                     &p->weight_cap));
    if (x->mode) TRY(plan_choice(c, "secagg.mode", x->mode, modes, 2, &mode));
    p->secagg_off = mode == 1;
    TRY(plan_integer(c, "secagg.ring_bits", x->ring_bits, 24, 32, 32,
                     &p->ring_bits));
    if (p->ring_bits != 24 && p->ring_bits != 32)
        TRY(plan_wrong(c, "secagg.ring_bits",
                       "secagg.ring_bits is %u; it may be 24 or 32",
                       p->ring_bits));
    TRY(plan_duration(c, "deadline.stage", d->stage, 30000,
                      &p->stage_deadline_ms));
    return plan_duration(c, "deadline.train", d->train, 600000,
                         &p->train_deadline_ms);
}

/* A model of its own, or an adapter of one that devices have. */
static enum tacit_err take_what(const struct check *c,
                                const struct raw_plan *raw)
{
    if (raw->base) return plan_take_base(c, raw);
    if (raw->adapter)
        TRY(plan_wrong(c, "adapter", "adapter is for a plan with a base"));
    if (raw->model) return take_model(c, raw->model);
    return plan_wrong(c, "model", "model is missing, or a base");
}

static enum tacit_err take(const struct check *c, const struct raw_plan *raw)
{
    TRY(take_name(c, raw->name));
    unsigned before = c->faults->n;
    TRY(take_task(c, raw->task));
    /* What may stand in these two depends on the task and the model. */
    if (c->faults->n == before) TRY(take_what(c, raw));
    if (c->faults->n == before || c->plan->formats)
        TRY(take_data(c, raw->data));
    TRY(take_protocol(c, raw));
    TRY(take_cohort(c, raw));
    TRY(take_local(c, raw));
    TRY(plan_take_mezo(c, raw));
    TRY(plan_take_strategy(c, raw));
    TRY(plan_take_sim(c, raw));
    TRY(plan_take_privacy(c, raw));
    return plan_take_flora(c, raw);
}

enum tacit_err plan_parse(const char *name, const char *text, size_t n,
                          struct plan **out)
{
    struct faults faults = {0};
    void *raw;
    if (n > PLAN_BYTES_MAX)
        return fail(TACIT_LIMIT, "%s: %zu bytes; a plan has at most %d", name,
                    n, PLAN_BYTES_MAX);
    TRY(yaml_load_all(name, text, n, &plan_schema, &faults, &raw));
    struct plan *p = calloc(1, sizeof *p);
    enum tacit_err err = TACIT_OK;
    if (!p) err = fail(TACIT_NOMEM, "out of memory");
    if (!err) err = take(&(struct check){name, text, n, p, &faults}, raw);
    if (!err) err = faults_end(&faults);
    yaml_unload(&plan_schema, raw);
    if (err) {
        plan_free(p);
        return err;
    }
    digest_of(&p->hash, text, n);
    *out = p;
    return TACIT_OK;
}

enum tacit_err plan_load(const char *path, struct plan **out)
{
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, PLAN_BYTES_MAX, &b);
    const char *slash = strrchr(path, '/');
    if (!err)
        err = plan_parse(slash ? slash + 1 : path,
                         b.len ? (const char *)b.data : "", b.len, out);
    buf_release(&b);
    return err;
}

void plan_free(struct plan *p)
{
    if (!p) return;
    free(p->columns);
    free(p);
}

const char *plan_task_name(enum plan_task t)
{
    static const char *const names[] = {"classify", "regress", "retriever",
                                        "cox",      "lm",      "reader"};
    return names[t];
}
