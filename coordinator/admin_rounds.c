/* admin: rounds, watching them, and models. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/progress.h"
#include "common/base/tick.h"
#include "common/wire/blob.h"
#include "coordinator/admin.h"

enum { WATCH_LOOK_MS = 200 };

/* The plan that --plan names; NULL in *out when there is no --plan. */
static enum tacit_err plan_option(const struct options *o, struct store *s,
                                  struct store_plan *row,
                                  const struct digest **out)
{
    *out = NULL;
    if (!options_value(o, "plan")) return TACIT_OK;
    TRY(store_plan_find(s, options_value(o, "plan"), row));
    *out = &row->hash;
    return TACIT_OK;
}

/* ---- rounds ------------------------------------------------------------- */

/* Mean of the held-out metric over the devices that have held-out rows. */
/* Losses do not leave a device under a plan's privacy: all are zeros. */
static int tells_loss(const struct store_round *r)
{
    return r->metrics[0] > 0 || r->metrics[0] < 0 || r->metrics[1] > 0 ||
           r->metrics[3] > 0;
}

static double metric(const struct store_round *r)
{
    return r->metrics[3] > 0 ? r->metrics[2] / r->metrics[3] : 0;
}

static json_t *round_json(const struct store_round *r)
{
    char plan[DIGEST_HEX], model[DIGEST_HEX], parent[DIGEST_HEX], at[21];
    int committed = strcmp(r->state, "committed") == 0;
    hex_encode(plan, r->plan_hash.b, DIGEST_BYTES);
    hex_encode(model, r->model_hash.b, DIGEST_BYTES);
    hex_encode(parent, r->parent_hash.b, DIGEST_BYTES);
    tick_iso8601(r->started_s, at);
    json_t *j = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:I, s:i, s:i, s:i, "
        "s:I, s:I}",
        "plan", r->plan_name, "plan_hash", plan, "round", (int)r->round,
        "n_rounds", (int)r->n_rounds, "attempt", (int)r->attempt, "group",
        (int)r->group, "base_version", (int)r->base, "state", r->state,
        "started", at, "duration_ms", (json_int_t)r->duration_ms, "n_invited",
        (int)r->n_invited, "n_advertised", (int)r->n_advertised, "n_inputs",
        (int)r->n_inputs, "bytes_in", (json_int_t)r->bytes_in, "bytes_out",
        (json_int_t)r->bytes_out);
    if (!j) return NULL;
    if (r->code) {
        char code[24];
        snprintf(code, sizeof code, "TACIT-E%04u", r->code);
        json_object_set_new(j, "code", json_string(code));
        json_object_set_new(j, "reason", json_string(r->reason));
    }
    if (committed) {
        json_t *m = json_array();
        for (int i = 0; i < TASK_METRICS; i++)
            json_array_append_new(m, json_real(r->metrics[i]));
        json_object_set_new(j, "metrics", m);
        json_object_set_new(j, "weight", json_real(r->weight));
        int told = tells_loss(r);
        json_object_set_new(j, "loss",
                            told ? json_real(r->metrics[0]) : json_null());
        json_object_set_new(j, "loss_after",
                            told ? json_real(r->metrics[1]) : json_null());
        json_object_set_new(j, "metric",
                            told ? json_real(metric(r)) : json_null());
        json_object_set_new(j, "model_version", json_integer(r->round));
        json_object_set_new(j, "model_hash", json_string(model));
        json_object_set_new(j, "parent_hash", json_string(parent));
    }
    return j;
}

static void print_head(void)
{
    printf("%-20s  %9s  %-9s  %7s  %10s  %8s  %8s\n", "PLAN", "ROUND", "STATE",
           "DEVICES", "LOSS", "METRIC", "MS");
}

static void print_row(const struct store_round *r)
{
    char round[48], devices[24];
    char group[16] = "";
    if (r->group) snprintf(group, sizeof group, " #%u", r->group);
    snprintf(round, sizeof round, "%u/%u%s%s", r->round, r->n_rounds,
             r->attempt ? "*" : "", group);
    snprintf(devices, sizeof devices, "%u/%u", r->n_inputs, r->n_invited);
    printf("%-20s  %9s  %-9s  %7s  ", r->plan_name, round, r->state, devices);
    if (strcmp(r->state, "committed") == 0 && !tells_loss(r))
        printf("%10s  %8s  %8" PRId64 "\n", "not sent", "not sent",
               r->duration_ms);
    else if (strcmp(r->state, "committed") == 0)
        printf("%10.5f  %8.4f  %8" PRId64 "\n", r->metrics[0], metric(r),
               r->duration_ms);
    else
        printf("%s\n", r->reason);
}

static enum tacit_err visit_round(void *ctx, const struct store_round *r)
{
    json_t *list = ctx;
    if (list)
        json_array_append_new(list, round_json(r));
    else
        print_row(r);
    return TACIT_OK;
}

struct plan_list {
    json_t *json; /* or NULL */
    uint32_t done, total, n_open;
    char running[PLAN_NAME_MAX];
};

static enum tacit_err visit_plan(void *ctx, const struct store_plan *p)
{
    struct plan_list *l = ctx;
    char hex[DIGEST_HEX];
    int open = p->version < p->n_rounds;
    l->done += p->version;
    l->total += p->n_rounds;
    if (open && l->n_open++ == 0)
        snprintf(l->running, sizeof l->running, "%s", p->name);
    if (!l->json) return TACIT_OK;
    hex_encode(hex, p->hash.b, DIGEST_BYTES);
    json_array_append_new(l->json,
                          json_pack("{s:s, s:s, s:i, s:i, s:s}", "plan",
                                    p->name, "hash", hex, "version",
                                    (int)p->version, "n_rounds",
                                    (int)p->n_rounds, "state",
                                    open ? p->version ? "running" : "queued"
                                         : "finished"));
    return TACIT_OK;
}

static enum tacit_err print_rounds_json(struct store *s,
                                        const struct digest *plan)
{
    json_t *rounds = json_array();
    struct plan_list plans = {.json = json_array()};
    enum tacit_err err = store_rounds(s, plan, visit_round, rounds);
    if (err == TACIT_OK) err = store_plans(s, visit_plan, &plans);
    if (err == TACIT_OK)
        return json_print_ok(stdout, json_pack("{s:o, s:o}", "plans",
                                               plans.json, "rounds", rounds));
    json_decref(rounds);
    json_decref(plans.json);
    return err;
}

enum tacit_err admin_rounds(const struct options *o)
{
    struct store s;
    struct store_plan row;
    const struct digest *plan = NULL;
    TRY(admin_open(o, &s));
    enum tacit_err err = plan_option(o, &s, &row, &plan);
    if (err == TACIT_OK && options_flag(o, "json")) {
        err = print_rounds_json(&s, plan);
    } else if (err == TACIT_OK) {
        print_head();
        err = store_rounds(&s, plan, visit_round, NULL);
    }
    store_close(&s);
    return err;
}

/* ---- watch -------------------------------------------------------------- */

struct watching {
    int quiet;     /* 1: rows are printed at the end as JSON */
    int64_t after; /* store_round.ended of the last that was shown */
    char last[128];
};

static enum tacit_err watch_round(void *ctx, const struct store_round *r)
{
    struct watching *w = ctx;
    if (!w->quiet) {
        print_row(r);
        fflush(stdout);
    }
    w->after = r->ended;
    snprintf(w->last, sizeof w->last, "%.40s loss %.4f", r->plan_name,
             r->metrics[0]);
    return TACIT_OK;
}

static volatile sig_atomic_t watch_stopped;

static void watch_stop(int number)
{
    watch_stopped = number;
}

/* Show what is new; *finished = 1 when nothing is left to run. */
static enum tacit_err watch_look(struct store *s, struct watching *w,
                                 struct progress *p, int *finished)
{
    struct plan_list plans = {0};
    TRY(store_rounds_ended(s, w->after, watch_round, w));
    TRY(store_plans(s, visit_plan, &plans));
    p->total = plans.total;
    progress_update(p, plans.done, w->last[0] ? w->last : plans.running);
    *finished = plans.n_open == 0;
    return TACIT_OK;
}

enum tacit_err admin_watch(const struct options *o)
{
    struct store s;
    struct progress p;
    struct watching w = {.quiet = options_flag(o, "json")};
    int64_t timeout_ms = 0;
    int finished = 0;
    TRY(options_duration_ms(o, "timeout", 0, &timeout_ms));
    TRY(admin_open(o, &s));
    struct sigaction action = {.sa_handler = watch_stop};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    if (!w.quiet) print_head();
    int64_t end_ms = tick_ms() + timeout_ms;
    progress_begin(&p, w.quiet ? PROGRESS_QUIET : PROGRESS_AUTO, "rounds",
                   "rounds", 0);
    enum tacit_err err = watch_look(&s, &w, &p, &finished);
    while (err == TACIT_OK && !finished) {
        if (watch_stopped) {
            err = fail_as(E_INTERRUPTED, "watch: the coordinator goes on");
            break;
        }
        if (timeout_ms && tick_ms() >= end_ms) {
            err = fail(TACIT_TIMEOUT, "watch: plans are still running; the "
                                      "coordinator goes on");
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = WATCH_LOOK_MS * 1000000L},
                  NULL);
        err = watch_look(&s, &w, &p, &finished);
    }
    progress_end(&p);
    if (err == TACIT_OK && w.quiet) err = print_rounds_json(&s, NULL);
    store_close(&s);
    return err;
}

/* ---- models ------------------------------------------------------------- */

static enum tacit_err visit_model(void *ctx, const struct models_version *v)
{
    json_t *list = ctx;
    char plan[DIGEST_HEX], hash[DIGEST_HEX], parent[DIGEST_HEX], at[21];
    hex_encode(plan, v->plan_hash.b, DIGEST_BYTES);
    hex_encode(hash, v->model_hash.b, DIGEST_BYTES);
    hex_encode(parent, v->parent_hash.b, DIGEST_BYTES);
    tick_iso8601(v->created_s, at);
    if (list)
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:s, s:s, s:I, s:s}", "plan_hash",
                            plan, "version", (int)v->version, "n_clients",
                            (int)v->n_clients, "hash", hash, "parent", parent,
                            "bytes", (json_int_t)v->bytes, "created", at));
    else
        printf("%.12s  v%-5u  %7u  %10" PRIu64 "  %s  %.16s\n", plan,
               v->version, v->n_clients, v->bytes, at, hash);
    return TACIT_OK;
}

enum tacit_err admin_models(const struct options *o)
{
    struct store s;
    struct store_plan row;
    const struct digest *plan = NULL;
    TRY(admin_open(o, &s));
    json_t *list = options_flag(o, "json") ? json_array() : NULL;
    enum tacit_err err = plan_option(o, &s, &row, &plan);
    if (err == TACIT_OK && !list)
        printf("%-12s  %-6s  %7s  %10s  %-20s  %s\n", "PLAN", "MODEL",
               "DEVICES", "BYTES", "MADE", "HASH");
    if (err == TACIT_OK) err = store_models(&s, plan, visit_model, list);
    store_close(&s);
    if (err == TACIT_OK && list)
        return json_print_ok(stdout, json_pack("{s:o}", "models", list));
    json_decref(list);
    return err;
}

enum tacit_err admin_export(const struct options *o)
{
    const char *path = options_value(o, "output");
    struct store s;
    struct store_plan row;
    struct models_version v = {0};
    char home[512], blobs[512];
    int64_t version = 0;
    struct buf bytes;
    if (!path) return fail_as(E_USAGE, "export wants -o FILE");
    TRY(options_int(o, "version", 0, UINT32_MAX, STORE_NEWEST, &version));
    TRY(admin_home(o, home));
    TRY(file_join(blobs, sizeof blobs, home, "blobs"));
    TRY(admin_open(o, &s));
    enum tacit_err err = store_plan_find(&s, options_value(o, "plan"), &row);
    if (err == TACIT_OK) err = store_model_find(&s, &row.hash, version, &v);
    if (err == TACIT_NOTFOUND && version != STORE_NEWEST)
        err = err_context(err, "version %lld", (long long)version);
    store_close(&s);
    TRY(err);
    buf_init(&bytes, WIRE_BLOB_MAX);
    err = blob_get(blobs, &v.model_hash, WIRE_BLOB_MAX, &bytes);
    if (err == TACIT_OK) err = file_write(path, bytes.data, bytes.len, 0644);
    buf_release(&bytes);
    TRY(err);
    char hex[DIGEST_HEX];
    hex_encode(hex, v.model_hash.b, DIGEST_BYTES);
    if (options_flag(o, "json"))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:s, s:i, s:s, s:I}", "file",
                                       path, "plan", row.name, "version",
                                       (int)v.version, "hash", hex, "bytes",
                                       (json_int_t)v.bytes));
    printf("%s: %s version %u, %" PRIu64 " bytes\n", path, row.name, v.version,
           v.bytes);
    return TACIT_OK;
}
