#include "sims/runlog.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"

enum {
    PATH_BYTES = 4096,
    RUN_BYTES_MAX = 1 << 20,
    METRICS_BYTES_MAX = 1 << 30
};

/* ---- columns ------------------------------------------------------------ */

enum kind { UNSIGNED, U32, U64, I64, SIZE, REAL };
enum when { ALWAYS, METRIC, PERSONAL, POOLED, SPREAD, BACKDOOR };

#define AT(field) offsetof(struct fleet_round, field)
static const struct column {
    struct runlog_column shown;
    enum kind kind;
    enum when when;
    size_t at;
} columns[] = {
    {{"round", NULL, 1}, U32, ALWAYS, AT(round)},
    {{"attempts", "round/attempts", 1}, UNSIGNED, ALWAYS, AT(n_attempts)},
    {{"invited", "round/invited", 1}, UNSIGNED, ALWAYS, AT(n_invited)},
    {{"inputs", "round/inputs", 1}, UNSIGNED, ALWAYS, AT(n_inputs)},
    {{"loss_before", "loss/before", 0}, REAL, ALWAYS, AT(loss_before)},
    {{"loss_after", "loss/after", 0}, REAL, ALWAYS, AT(loss_after)},
    {{"metric", "metric/sum", 0}, REAL, METRIC, AT(metric)},
    {{"pooled_loss", "loss/pooled", 0}, REAL, POOLED, AT(pooled.loss)},
    {{"pooled_metric", "metric/pooled", 0}, REAL, POOLED, AT(pooled.metric)},
    {{"virtual_ms", "cost/virtual_ms", 1}, I64, ALWAYS, AT(virtual_ms)},
    {{"wall_ms", "cost/wall_ms", 1}, I64, ALWAYS, AT(wall_ms)},
    {{"pooled_rows", NULL, 1}, SIZE, POOLED, AT(pooled.n_rows)},
    {{"personal", "metric/personal", 0}, REAL, PERSONAL, AT(personal)},
    {{"staleness", "round/staleness", 1}, U32, ALWAYS, AT(staleness)},
    {{"clients_measured", NULL, 1}, SIZE, SPREAD, AT(spread.n)},
    {{"clients_mean", "clients/mean", 0}, REAL, SPREAD, AT(spread.mean)},
    {{"clients_sd", "clients/sd", 0}, REAL, SPREAD, AT(spread.sd)},
    {{"clients_p10", "clients/p10", 0}, REAL, SPREAD, AT(spread.low)},
    {{"clients_median", "clients/median", 0}, REAL, SPREAD, AT(spread.median)},
    {{"clients_p90", "clients/p90", 0}, REAL, SPREAD, AT(spread.high)},
    {{"clients_worst", "clients/worst", 0}, REAL, SPREAD, AT(spread.worst)},
    {{"bytes_up", "cost/bytes_up", 1}, U64, ALWAYS, AT(bytes_up)},
    {{"bytes_down", "cost/bytes_down", 1}, U64, ALWAYS, AT(bytes_down)},
    {{"energy_j", "cost/energy_j", 0}, REAL, ALWAYS, AT(energy_j)},
    {{"attackers", "round/attackers", 1}, UNSIGNED, ALWAYS, AT(n_attackers)},
    {{"backdoor", "metric/backdoor", 0}, REAL, BACKDOOR, AT(backdoor)},
};
#undef AT
enum { N_COLUMNS = sizeof columns / sizeof *columns };

const struct runlog_column *runlog_column_at(size_t i)
{
    return i < N_COLUMNS ? &columns[i].shown : NULL;
}

static int has(const struct fleet_round *r, enum when when)
{
    switch (when) {
    case METRIC: return r->has_metric;
    case PERSONAL: return r->has_personal;
    case POOLED: return r->has_pooled;
    case SPREAD: return r->spread.n > 0;
    case BACKDOOR: return r->has_backdoor;
    default: return 1;
    }
}

int runlog_value(const struct fleet_round *r, size_t i, double *out)
{
    const struct column *c = &columns[i];
    const char *p = (const char *)r + c->at;
    if (!has(r, c->when)) return 0;
    switch (c->kind) {
    case UNSIGNED: *out = *(const unsigned *)(const void *)p; break;
    case U32: *out = *(const uint32_t *)(const void *)p; break;
    case U64: *out = (double)*(const uint64_t *)(const void *)p; break;
    case I64: *out = (double)*(const int64_t *)(const void *)p; break;
    case SIZE: *out = (double)*(const size_t *)(const void *)p; break;
    case REAL: *out = *(const double *)(const void *)p; break;
    }
    return isfinite(*out);
}

/* A figure that was read; a count beyond its type is cut there. */
static void set_value(struct fleet_round *r, const struct column *c, double v)
{
    char *p = (char *)r + c->at;
    double whole = v < 0 ? 0 : v < 9e15 ? v : 9e15;
    double small = whole < UINT32_MAX ? whole : UINT32_MAX;
    switch (c->kind) {
    case UNSIGNED: *(unsigned *)(void *)p = (unsigned)small; break;
    case U32: *(uint32_t *)(void *)p = (uint32_t)small; break;
    case U64: *(uint64_t *)(void *)p = (uint64_t)whole; break;
    case I64: *(int64_t *)(void *)p = (int64_t)whole; break;
    case SIZE: *(size_t *)(void *)p = (size_t)whole; break;
    case REAL: *(double *)(void *)p = v; break;
    }
    r->has_metric |= c->when == METRIC;
    r->has_personal |= c->when == PERSONAL;
    r->has_pooled |= c->when == POOLED;
    r->has_backdoor |= c->when == BACKDOOR;
}

void runlog_put_line(struct buf *out, const struct fleet_round *r)
{
    for (size_t i = 0; i < N_COLUMNS; i++) {
        double v;
        buf_printf(out, "%s\"%s\": ", i ? ", " : "{", columns[i].shown.name);
        if (!runlog_value(r, i, &v))
            buf_printf(out, "null");
        else
            buf_printf(out, columns[i].shown.is_integer ? "%.0f" : "%.9g", v);
    }
    buf_printf(out, "}\n");
}

/* ---- making ------------------------------------------------------------- */

static const char *const states[] = {"running", "finished", "interrupted",
                                     "failed"};

const char *runlog_state_name(enum runlog_state s)
{
    return states[s];
}

const char *runlog_metric_name(const struct plan *p)
{
    switch (p->task) {
    case PLAN_REGRESS: return "RMSE";
    case PLAN_RETRIEVER: return "recall@5";
    case PLAN_READER: return "exact spans";
    case PLAN_COX: return "c-index";
    default: return "accuracy";
    }
}

enum tacit_err runlog_of_plan(const struct plan *p, const char *text,
                              size_t n_bytes, const char *data,
                              size_t n_clients, struct runlog *out)
{
    struct runlog r = {.seed = p->seed,
                       .n_clients = n_clients,
                       .n_planned = p->rounds,
                       .lower_is_better = p->task == PLAN_REGRESS,
                       .plan_bytes = n_bytes};
    snprintf(r.plan, sizeof r.plan, "%s", p->name);
    snprintf(r.task, sizeof r.task, "%s", plan_task_name(p->task));
    snprintf(r.strategy, sizeof r.strategy, "%s", p->strategy.kind);
    snprintf(r.metric, sizeof r.metric, "%s", runlog_metric_name(p));
    task_privacy_text(p, r.privacy);
    hex_encode(r.plan_hash, p->hash.b, DIGEST_BYTES);
    if (data && strlen(data) >= sizeof r.data)
        return fail(TACIT_LIMIT, "%s: path too long", data);
    snprintf(r.data, sizeof r.data, "%s", data ? data : "");
    r.plan_text = strndup(text, n_bytes);
    if (!r.plan_text) return fail(TACIT_NOMEM, "out of memory");
    *out = r;
    return TACIT_OK;
}

enum tacit_err runlog_add(struct runlog *r, const struct fleet_round *round)
{
    if (r->n_rounds == RUNLOG_ROUNDS_MAX)
        return fail(TACIT_LIMIT, "more than %d rounds", RUNLOG_ROUNDS_MAX);
    if (r->n_rounds == r->rounds_cap) {
        size_t cap = r->rounds_cap ? 2 * r->rounds_cap : 64;
        void *more = realloc(r->rounds, cap * sizeof *r->rounds);
        if (!more) return fail(TACIT_NOMEM, "%zu rounds", cap);
        r->rounds = more;
        r->rounds_cap = cap;
    }
    r->rounds[r->n_rounds++] = *round;
    r->has_pooled |= round->has_pooled;
    return TACIT_OK;
}

void runlog_release(struct runlog *r)
{
    free(r->plan_text);
    free(r->rounds);
    memset(r, 0, sizeof *r);
}

/* ---- reading ------------------------------------------------------------ */

static void take_text(const json_t *run, const char *key, char *out, size_t cap)
{
    const char *s = json_string_value(json_object_get(run, key));
    snprintf(out, cap, "%s", s ? s : "");
}

static enum tacit_err take_run(const json_t *run, const char *path,
                               struct runlog *r)
{
    const char *state = json_string_value(json_object_get(run, "state"));
    const char *text = json_string_value(json_object_get(run, "plan_text"));
    size_t i = 0;
    while (state && i < 4 && strcmp(state, states[i]) != 0) i++;
    if (!state || i == 4 || !text)
        return fail(TACIT_FORMAT, "%s: not a file of tacit-sim run", path);
    r->state = (enum runlog_state)i;
    take_text(run, "plan", r->plan, sizeof r->plan);
    take_text(run, "task", r->task, sizeof r->task);
    take_text(run, "strategy", r->strategy, sizeof r->strategy);
    take_text(run, "metric", r->metric, sizeof r->metric);
    take_text(run, "plan_hash", r->plan_hash, sizeof r->plan_hash);
    take_text(run, "started", r->started, sizeof r->started);
    take_text(run, "ended", r->ended, sizeof r->ended);
    take_text(run, "data", r->data, sizeof r->data);
    take_text(run, "error", r->error, sizeof r->error);
    take_text(run, "privacy", r->privacy, sizeof r->privacy);
    r->lower_is_better = json_is_true(json_object_get(run, "lower_is_better"));
    r->seed = (uint64_t)json_integer_value(json_object_get(run, "seed"));
    r->n_clients = (size_t)json_integer_value(json_object_get(run, "clients"));
    r->n_planned =
        (uint32_t)json_integer_value(json_object_get(run, "rounds_planned"));
    r->plan_text = strdup(text);
    if (!r->plan_text) return fail(TACIT_NOMEM, "out of memory");
    r->plan_bytes = strlen(text);
    return TACIT_OK;
}

static enum tacit_err read_run(const char *folder, struct runlog *r)
{
    char path[PATH_BYTES];
    struct buf text;
    json_t *run = NULL;
    TRY(file_join(path, sizeof path, folder, "run.json"));
    buf_init(&text, 0);
    enum tacit_err err = file_read(path, RUN_BYTES_MAX, &text);
    if (!err) err = buf_end(&text);
    if (!err) err = json_parse((const char *)text.data, text.len, &run);
    if (err)
        err_context(err, "%s", path);
    else
        err = take_run(run, path, r);
    json_decref(run);
    buf_release(&text);
    return err;
}

static enum tacit_err take_line(struct runlog *r, const char *line, size_t n)
{
    struct fleet_round round = {0};
    json_t *o = NULL;
    TRY(json_parse(line, n, &o));
    for (size_t i = 0; i < N_COLUMNS; i++) {
        const json_t *v = json_object_get(o, columns[i].shown.name);
        if (json_is_number(v))
            set_value(&round, &columns[i], json_number_value(v));
    }
    json_decref(o);
    return runlog_add(r, &round);
}

static enum tacit_err read_rounds(const char *folder, struct runlog *r)
{
    char path[PATH_BYTES];
    struct buf text;
    TRY(file_join(path, sizeof path, folder, "metrics.jsonl"));
    if (!file_exists(path))
        TRY(file_join(path, sizeof path, folder, "metrics.jsonl.part"));
    if (!file_exists(path)) return TACIT_OK; /* not one round */
    buf_init(&text, 0);
    enum tacit_err err = file_read(path, METRICS_BYTES_MAX, &text);
    if (!err) err = buf_end(&text);
    const char *p = (const char *)text.data;
    for (size_t left = text.len; !err && left > 0;) {
        const char *end = memchr(p, '\n', left);
        if (!end) break;
        err = take_line(r, p, (size_t)(end - p));
        left -= (size_t)(end - p) + 1;
        p = end + 1;
    }
    if (err) err_context(err, "%s: line %zu", path, r->n_rounds + 1);
    buf_release(&text);
    return err;
}

enum tacit_err runlog_read(const char *folder, struct runlog *out)
{
    struct runlog r = {0};
    enum tacit_err err = read_run(folder, &r);
    if (!err) err = read_rounds(folder, &r);
    if (err)
        runlog_release(&r);
    else
        *out = r;
    return err;
}

/* ---- summing up --------------------------------------------------------- */

int runlog_metric(const struct runlog *r, size_t i, double *out)
{
    const struct fleet_round *x = &r->rounds[i];
    if (x->has_pooled)
        *out = x->pooled.metric;
    else if (x->has_metric && !r->has_pooled)
        *out = x->metric;
    else
        return 0;
    return isfinite(*out);
}

static int is_better(const struct runlog *r, double a, double b)
{
    return !isfinite(b) || (r->lower_is_better ? a < b : a > b);
}

void runlog_sum_up(const struct runlog *r, double target,
                   struct runlog_summary *out)
{
    struct runlog_summary s = {.final = NAN,
                               .best = NAN,
                               .worst = NAN,
                               .personal = NAN,
                               .loss = NAN,
                               .target_rounds = NAN,
                               .target_virtual_s = NAN};
    int pooled = r->has_pooled;
    for (size_t i = 0; i < r->n_rounds; i++) {
        const struct fleet_round *x = &r->rounds[i];
        double metric = x->has_pooled ? x->pooled.metric : x->metric;
        s.loss = x->has_pooled ? x->pooled.loss
                 : pooled      ? s.loss
                               : x->loss_after;
        s.bytes_up += (double)x->bytes_up;
        s.bytes_down += (double)x->bytes_down;
        s.energy_j += x->energy_j;
        s.wall_s += (double)x->wall_ms / 1000;
        s.virtual_s = (double)x->virtual_ms / 1000;
        if (x->spread.n) s.worst = x->spread.worst;
        if (x->has_personal) s.personal = x->personal;
        if (!(x->has_pooled || (!pooled && x->has_metric))) continue;
        s.final = metric;
        if (is_better(r, metric, s.best)) {
            s.best = metric;
            s.best_round = x->round;
        }
        int reached = r->lower_is_better ? metric <= target : metric >= target;
        if (reached && !isfinite(s.target_rounds)) {
            s.target_rounds = x->round;
            s.target_virtual_s = s.virtual_s;
        }
    }
    *out = s;
}
