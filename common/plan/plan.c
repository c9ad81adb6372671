#include "common/plan/plan.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/plan/plan_schema.h"

/* What a check needs to know: the file's name and text for messages, and where
 * they are collected. After a fault the checks go on with a value that may
 * stand there, so that each tells of its own fault only. */
struct check {
    const char *file, *text;
    size_t n;
    struct plan *plan;
    struct faults *faults;
};

static enum tacit_err wrong(const struct check *c, const char *key,
                            const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "risk.yaml:9: clip is 0; …": the line of the key, or of what should hold it.
 */
static enum tacit_err wrong(const struct check *c, const char *key,
                            const char *fmt, ...)
{
    char text[512], path[PLAN_NAME_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(path, sizeof path, "%s", key);
    unsigned line = yaml_line(c->text, c->n, path);
    char *dot = strrchr(path, '.');
    if (line == 0 && dot) {
        *dot = '\0';
        line = yaml_line(c->text, c->n, path);
    }
    enum tacit_err err =
        line ? fail_as(E_PLAN_VALUE, "%s:%u: %s", c->file, line, text)
             : fail_as(E_PLAN_VALUE, "%s: %s", c->file, text);
    return faults_take(c->faults, err);
}

static enum tacit_err integer(const struct check *c, const char *key,
                              const int64_t *v, int64_t min, int64_t max,
                              int64_t fallback, uint32_t *out)
{
    int64_t got = v ? *v : fallback;
    if (got < min || got > max) {
        TRY(wrong(c, key, "%s is %lld; it may be %lld to %lld", key,
                  (long long)got, (long long)min, (long long)max));
        got = got < min ? min : max;
    }
    *out = (uint32_t)got;
    return TACIT_OK;
}

static enum tacit_err real(const struct check *c, const char *key,
                           const double *v, double min, double max,
                           double fallback, double *out)
{
    double got = v ? *v : fallback;
    if (!(got >= min && got <= max)) {
        TRY(wrong(c, key, "%s is %g; it may be %g to %g", key, got, min, max));
        got = got < min ? min : max;
    }
    *out = got;
    return TACIT_OK;
}

/* The index of text among names, with the nearest in the message. */
static enum tacit_err choice(const struct check *c, const char *key,
                             const char *text, const char *const *names,
                             size_t n, size_t *out)
{
    char all[256] = "";
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return TACIT_OK;
        }
        int k = snprintf(all + at, sizeof all - at, "%s%s",
                         i == 0       ? ""
                         : i + 1 == n ? " or "
                                      : ", ",
                         names[i]);
        if (k > 0) at += (size_t)k;
    }
    const char *near = yaml_nearest(text, names, n);
    return wrong(c, key, "%s is \"%s\"; it may be %s%s%s%s", key, text, all,
                 near ? " (did you mean \"" : "", near ? near : "",
                 near ? "\"?)" : "");
}

static enum tacit_err duration(const struct check *c, const char *key,
                               const char *text, int64_t fallback_ms,
                               int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    *out = fallback_ms;
    if (!text) return TACIT_OK;
    /* strtod also knows signs, exponents and nan. */
    size_t number = strspn(text, "0123456789.");
    char *end;
    double v = strtod(text, &end);
    if (end != text + number) number = 0;
    for (size_t i = 0; number > 0 && i < 4; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        double ms = v * (double)units[i].ms;
        if (!(ms >= 100 && ms <= 24.0 * 3600000)) break;
        *out = (int64_t)ms;
        return TACIT_OK;
    }
    return wrong(c, key,
                 "%s is \"%s\"; it may be 100ms to 24h, as in 30s or 10m", key,
                 text);
}

static void copy(char out[PLAN_NAME_MAX], const char *text)
{
    snprintf(out, PLAN_NAME_MAX, "%s", text);
}

static enum tacit_err take_name(const struct check *c, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return wrong(c, "name",
                         "name is \"%s\"; letters, digits, '-', '_' and '.' "
                         "may stand in it",
                         name);
    if (n == 0 || name[0] == '.')
        return wrong(c, "name", "name is empty or begins with '.'");
    copy(c->plan->name, name);
    return TACIT_OK;
}

static enum tacit_err take_task(const struct check *c, const char *task)
{
    static const char *const tasks[] = {"classify", "regress", "retriever"};
    size_t which = 0;
    TRY(choice(c, "task", task, tasks, 3, &which));
    c->plan->task = (enum plan_task)which;
    return TACIT_OK;
}

static enum tacit_err take_model(const struct check *c,
                                 const struct raw_model *m)
{
    static const char *const kinds[][2] = {{"logistic", "mlp"},
                                           {"linear", "mlp"},
                                           {"static", "static"}};
    struct plan *p = c->plan;
    size_t kind = 0;
    unsigned before = c->faults->n;
    TRY(choice(c, "model.kind", m->kind, kinds[p->task],
               p->task == PLAN_RETRIEVER ? 1 : 2, &kind));
    if (c->faults->n > before) return TACIT_OK;
    copy(p->model, m->kind);
    int mlp = strcmp(m->kind, "mlp") == 0;
    if (mlp && m->n_hidden == 0)
        return wrong(c, "model.hidden",
                     "model.hidden is missing: the width of each layer, as in "
                     "[16]");
    if (!mlp && m->n_hidden > 0)
        return wrong(c, "model.hidden",
                     "model.hidden is for mlp; %s has no hidden layer",
                     m->kind);
    for (unsigned i = 0; i < m->n_hidden; i++)
        TRY(integer(c, "model.hidden", &m->hidden[i], 1, 65536, 1,
                    &p->hidden[i]));
    p->n_hidden = m->n_hidden;
    if (m->dim && p->task != PLAN_RETRIEVER)
        return wrong(c, "model.dim", "model.dim is for the retriever");
    return integer(c, "model.dim", m->dim, 16, 1024, 256, &p->dim);
}

static enum tacit_err take_column(const struct check *c,
                                  const struct raw_column *raw, size_t at)
{
    struct plan_column *col = &c->plan->columns[at];
    if (!raw->name[0])
        return wrong(c, "data.columns", "data.columns[%zu] has no name",
                     at + 1);
    for (size_t i = 0; i < at; i++)
        if (strcmp(c->plan->columns[i].name, raw->name) == 0)
            return wrong(c, "data.columns", "data.columns names \"%s\" twice",
                         raw->name);
    if (strcmp(c->plan->label, raw->name) == 0)
        return wrong(c, "data.columns",
                     "data.columns contains the label \"%s\": the model "
                     "would be told the answer",
                     raw->name);
    copy(col->name, raw->name);
    for (unsigned i = 0; i < raw->n_values; i++) {
        for (unsigned j = 0; j < i; j++)
            if (!(raw->values[i] < raw->values[j]) &&
                !(raw->values[i] > raw->values[j]))
                return wrong(c, "data.columns",
                             "data.columns: %s lists a value twice", raw->name);
        col->values[i] = raw->values[i];
    }
    col->n_values = raw->n_values;
    if ((raw->mean || raw->sd) &&
        (raw->n_values || c->plan->standardise != PLAN_STANDARDISE_PLAN))
        return wrong(c, "data.columns",
                     "data.columns: %s has a mean or sd; they are for numbers "
                     "under standardise: plan",
                     raw->name);
    TRY(real(c, "data.columns.mean", raw->mean, -1e12, 1e12, 0, &col->mean));
    TRY(real(c, "data.columns.sd", raw->sd, 1e-9, 1e12, 1, &col->sd));
    c->plan->n_features += raw->n_values ? raw->n_values - 1 : 1;
    return TACIT_OK;
}

/* The network may not have more weights than an update carries. */
static enum tacit_err take_size(const struct check *c)
{
    const struct plan *p = c->plan;
    uint64_t weights = 0, inputs = p->n_features;
    for (size_t i = 0; i < p->n_hidden; i++) {
        weights += (inputs + 1) * p->hidden[i];
        inputs = p->hidden[i];
    }
    weights += inputs + 1;
    if (weights > PLAN_WEIGHTS_MAX)
        return wrong(c, "model.hidden",
                     "model.hidden makes %llu weights; there may be %d",
                     (unsigned long long)weights, PLAN_WEIGHTS_MAX);
    return TACIT_OK;
}

static enum tacit_err take_data(const struct check *c,
                                const struct raw_data *raw)
{
    static const char *const standards[] = {"site", "plan", "none"};
    struct plan *p = c->plan;
    size_t standard = 0;
    if (!raw->source[0]) TRY(wrong(c, "data.source", "data.source is empty"));
    copy(p->source, raw->source);
    TRY(real(c, "data.holdout", raw->holdout, 0, 0.9, 0.3, &p->holdout));
    if (raw->positive_above && p->task != PLAN_CLASSIFY)
        TRY(wrong(c, "data.positive_above",
                  "data.positive_above is for classify: what counts as 1"));
    if (p->task == PLAN_RETRIEVER) {
        if (raw->n_columns || raw->label || raw->standardise)
            return wrong(c, "data",
                         "data.columns, data.label and data.standardise are "
                         "for tables; a retriever learns from pairs");
        p->n_features = p->dim;
        return TACIT_OK;
    }
    if (raw->standardise)
        TRY(choice(c, "data.standardise", raw->standardise, standards, 3,
                   &standard));
    p->standardise = (enum plan_standardise)standard;
    if (!raw->label || !raw->label[0])
        TRY(wrong(c, "data.label",
                  "data.label is missing: the column to predict"));
    else
        copy(p->label, raw->label);
    if (raw->n_columns == 0)
        return wrong(c, "data.columns",
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
    TRY(integer(c, "rounds", raw->rounds, 1, 100000, 10, &p->rounds));
    TRY(integer(c, "cohort.size", r->size, 2, PLAN_CLIENTS_MAX, 3,
                &p->cohort_size));
    TRY(integer(c, "cohort.min_reports", r->min_reports, 2, p->cohort_size,
                p->cohort_size > 3 ? p->cohort_size * 3 / 4 : 2,
                &p->min_reports));
    TRY(real(c, "cohort.over_select", r->over_select, 1, 4, 1.3,
             &p->over_select));
    return real(c, "clip", raw->clip, 1e-6, 1e6, 1, &p->clip);
}

static enum tacit_err take_local(const struct check *c,
                                 const struct raw_plan *raw)
{
    static const char *const optimizers[] = {"sgd", "adam", "adamw"};
    static const struct raw_local none;
    const struct raw_local *r = raw->local ? raw->local : &none;
    struct plan *p = c->plan;
    size_t which = 0;
    TRY(integer(c, "local.steps", r->steps, 1, 1000000, 10, &p->local_steps));
    TRY(integer(c, "local.batch", r->batch, p->task == PLAN_RETRIEVER ? 2 : 1,
                4096, 16, &p->batch));
    if (r->optimizer)
        TRY(choice(c, "local.optimizer", r->optimizer, optimizers, 3, &which));
    copy(p->optimizer, optimizers[which]);
    if (r->momentum && which > 0)
        TRY(wrong(c, "local.momentum",
                  "local.momentum is for sgd; %s has its own", p->optimizer));
    if (r->temperature && p->task != PLAN_RETRIEVER)
        TRY(wrong(c, "local.temperature",
                  "local.temperature is for the retriever"));
    TRY(real(c, "local.learning_rate", r->learning_rate, 1e-9, 100, 0.01,
             &p->learning_rate));
    TRY(real(c, "local.momentum", r->momentum, 0, 0.9999, 0, &p->momentum));
    TRY(real(c, "local.weight_decay", r->weight_decay, 0, 1, 0,
             &p->weight_decay));
    return real(c, "local.temperature", r->temperature, 1e-3, 10, 0.05,
                &p->temperature);
}

static enum tacit_err take_protocol(const struct check *c,
                                    const struct raw_plan *raw)
{
    static const char *const ways[] = {"examples", "uniform"};
    static const struct raw_weighting no_weighting;
    static const struct raw_deadline no_deadline;
    const struct raw_weighting *w =
        raw->weighting ? raw->weighting : &no_weighting;
    const struct raw_deadline *d = raw->deadline ? raw->deadline : &no_deadline;
    struct plan *p = c->plan;
    size_t way = 0;
    if (w->by) TRY(choice(c, "weighting.by", w->by, ways, 2, &way));
    p->weighting = (enum plan_weighting)way;
    if (w->cap && p->weighting == PLAN_UNIFORM)
        TRY(wrong(c, "weighting.cap",
                  "weighting.cap is for by: examples; uniform counts "
                  "every device alike"));
    TRY(integer(c, "weighting.cap", w->cap, 1, 1000000000, 1000,
                &p->weight_cap));
    TRY(integer(c, "secagg.ring_bits",
                raw->secagg ? raw->secagg->ring_bits : NULL, 24, 32, 32,
                &p->ring_bits));
    if (p->ring_bits != 24 && p->ring_bits != 32)
        TRY(wrong(c, "secagg.ring_bits",
                  "secagg.ring_bits is %u; it may be 24 or 32", p->ring_bits));
    TRY(duration(c, "deadline.stage", d->stage, 30000, &p->stage_deadline_ms));
    return duration(c, "deadline.train", d->train, 600000,
                    &p->train_deadline_ms);
}

static enum tacit_err take_sim(const struct check *c,
                               const struct raw_plan *raw)
{
    static const char *const partitions[] = {"iid", "sites"};
    static const struct raw_sim none;
    const struct raw_sim *s = raw->sim ? raw->sim : &none;
    struct plan *p = c->plan;
    size_t way = 1;
    if (raw->seed && *raw->seed < 0)
        TRY(wrong(c, "seed", "seed is %lld; it may not be negative",
                  (long long)*raw->seed));
    p->seed = raw->seed ? (uint64_t)*raw->seed : 1;
    TRY(integer(c, "sim.clients", s->clients, 2, 1000000, p->cohort_size,
                &p->sim_clients));
    TRY(integer(c, "sim.rows", s->rows, 2, 10000000, 100, &p->sim_rows));
    TRY(integer(c, "sim.threads", s->threads, 0, 64, 0, &p->sim_threads));
    TRY(real(c, "sim.dropout", s->dropout, 0, 0.9, 0, &p->sim_dropout));
    if (s->partition)
        TRY(choice(c, "sim.partition", s->partition, partitions, 2, &way));
    p->sim_partition = (enum plan_partition)way;
    if (p->sim_clients < p->cohort_size)
        return wrong(c, "sim.clients",
                     "sim.clients is %u, fewer than cohort.size %u",
                     p->sim_clients, p->cohort_size);
    return TACIT_OK;
}

static enum tacit_err take(const struct check *c, const struct raw_plan *raw)
{
    TRY(take_name(c, raw->name));
    unsigned before = c->faults->n;
    TRY(take_task(c, raw->task));
    /* What may stand in these two depends on the task. */
    if (c->faults->n == before) {
        TRY(take_model(c, raw->model));
        TRY(take_data(c, raw->data));
    }
    TRY(take_cohort(c, raw));
    TRY(take_local(c, raw));
    TRY(take_protocol(c, raw));
    return take_sim(c, raw);
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
    static const char *const names[] = {"classify", "regress", "retriever"};
    return names[t];
}
