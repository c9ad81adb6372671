/* tacit-sim run: one plan, one folder of results. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/progress.h"
#include "common/base/terminal.h"
#include "common/base/tick.h"
#include "sims/attacks.h"
#include "sims/checkpoint.h"
#include "sims/commands.h"
#include "sims/estimate.h"
#include "sims/fleet.h"
#include "sims/outputs.h"
#include "sims/peers.h"
#include "sims/run_page.h"
#include "sims/sites.h"

struct running {
    const struct options *o;
    const char *folder, *data;
    struct plan *plan;
    struct buf text;
    struct sites sites;
    struct fleet *fleet;
    struct outputs *outputs;
    struct estimate estimate;
    unsigned n_threads;
    double seconds; /* of the rounds */
};

/* ---- before ------------------------------------------------------------- */

/* --clients, --rounds and --seed are keys of the plan, so that its hash says
 * what was run. */
static enum tacit_err take_number(struct running *r, const char *option,
                                  int64_t min, int64_t max, const char *key)
{
    char text[32];
    int64_t n = 0;
    if (!options_value(r->o, option)) return TACIT_OK;
    TRY(options_int(r->o, option, min, max, 0, &n));
    snprintf(text, sizeof text, "%" PRId64, n);
    return sim_plan_set(r->o->args[0], &r->text, key, text);
}

static enum tacit_err take_plan(struct running *r)
{
    int64_t threads = 0, limit_ms = 0;
    TRY(sim_plan_text(r->o, &r->text));
    TRY(take_number(r, "clients", 2, FLEET_CLIENTS_MAX, "sim.clients"));
    TRY(take_number(r, "rounds", 1, 100000, "rounds"));
    TRY(take_number(r, "seed", 0, INT64_MAX, "seed"));
    TRY(plan_parse(r->o->args[0], (const char *)r->text.data, r->text.len,
                   &r->plan));
    r->plan->base.where = options_value(r->o, "base");
    TRY(options_int(r->o, "threads", 0, SIM_THREADS_MAX, r->plan->sim.threads,
                    &threads));
    r->n_threads = (unsigned)threads;
    if (options_value(r->o, "peer-limit")) {
        TRY(options_duration_ms(r->o, "peer-limit", 0, &limit_ms));
        peers_wait_at_most(limit_ms);
    }
    return TACIT_OK;
}

/* Refuse what cannot fit before the data are read. */
static enum tacit_err take_estimate(struct running *r)
{
    struct estimate_case c = {.plan = r->plan,
                              .n_clients = r->plan->sim.clients,
                              .n_threads = r->n_threads};
    if (r->data) TRY(estimate_files(r->data, &c.data_bytes));
    TRY(estimate_memory(&c, &r->estimate));
    return estimate_fits(&c, &r->estimate, memory_free() / peers_here());
}

static enum tacit_err take_fleet(struct running *r)
{
    const struct estimate_case e = {.plan = r->plan,
                                    .n_clients = r->sites.n,
                                    .n_threads = r->n_threads};
    const struct fleet_config c = {.plan = r->plan,
                                   .plan_text = (const char *)r->text.data,
                                   .plan_bytes = r->text.len,
                                   .data = r->sites.data,
                                   .test = &r->sites.test,
                                   .invented = !r->data,
                                   .n_clients = r->sites.n,
                                   .n_threads = r->n_threads,
                                   .peers = peers(),
                                   .stop = &sim_stop};
    TRY(attacks_rows(r->plan, r->sites.data, r->sites.n));
    TRY(fleet_new(&c, &r->fleet));
    if (peers_rank() > 0) return TACIT_OK;
    TRY(estimate_time(&e, r->sites.data, &r->estimate));
    if (c.peers) r->estimate.seconds /= c.peers->size;
    return TACIT_OK;
}

static enum tacit_err prepare(struct running *r)
{
    TRY(take_plan(r));
    TRY(take_estimate(r));
    TRY(r->data ? sites_load(r->plan, r->data, &r->sites)
                : sites_invent(r->plan, &r->sites));
    TRY(take_fleet(r));
    return options_flag(r->o, "resume") ? checkpoint_read(r->folder, r->fleet)
                                        : TACIT_OK;
}

static enum tacit_err open_outputs(struct running *r)
{
    struct runlog record;
    TRY(runlog_of_plan(r->plan, (const char *)r->text.data, r->text.len,
                       r->data, r->sites.n, &record));
    return outputs_open(r->folder, &record, &r->outputs);
}

/* The rounds of a run that goes on. */
static enum tacit_err write_told(struct running *r)
{
    size_t n;
    const struct fleet_round *told = fleet_told(r->fleet, &n);
    for (size_t i = 0; i < n; i++) TRY(outputs_round(r->outputs, &told[i]));
    return TACIT_OK;
}

static void say_what_comes(const struct running *r)
{
    const struct plan *p = r->plan;
    char seconds[32], bytes[32];
    if (sim_is_quiet(r->o)) return;
    page_seconds(seconds, r->estimate.seconds);
    page_bytes(bytes, (double)r->estimate.total);
    terminal_say(
        stderr, 0,
        "plan %s, seed %llu, %zu clients, %u per round, %u rounds, %s; "
        "estimate: %s, %s of memory",
        p->name, (unsigned long long)p->seed, r->sites.n, p->cohort_size,
        p->rounds, p->strategy.kind, seconds, bytes);
}

/* ---- during ------------------------------------------------------------- */

static void show(struct progress *p, const struct running *r,
                 const struct fleet_round *x)
{
    char detail[96];
    int n = snprintf(detail, sizeof detail, "loss %.4f", x->loss_before);
    if (x->has_pooled)
        snprintf(detail + n, sizeof detail - (size_t)n, "  %s %.3f",
                 runlog_metric_name(r->plan), x->pooled.metric);
    progress_update(p, x->round, detail);
}

static enum tacit_err run_rounds(struct running *r)
{
    struct progress p;
    int64_t start = tick_ns();
    enum tacit_err err = TACIT_OK;
    progress_begin(&p, sim_is_quiet(r->o) ? PROGRESS_QUIET : PROGRESS_AUTO,
                   "simulating", "rounds", r->plan->rounds);
    size_t n;
    (void)fleet_told(r->fleet, &n);
    for (size_t i = n; !err && i < r->plan->rounds; i++) {
        struct fleet_round x;
        err = fleet_round(r->fleet, &x);
        if (!err) err = outputs_round(r->outputs, &x);
        if (!err) err = checkpoint_round(r->folder, r->fleet);
        if (!err) show(&p, r, &x);
    }
    progress_end(&p);
    r->seconds = (double)(tick_ns() - start) * 1e-9;
    err = checkpoint_keep(r->folder, r->fleet, err);
    if (!err || err_id() != E_INTERRUPTED) return err;
    err_clear(); /* told once the files are whole */
    return TACIT_OK;
}

/* What was finished is written, however the run ended. */
static enum tacit_err close_outputs(struct running *r, enum tacit_err err)
{
    const struct runlog *record = outputs_record(r->outputs);
    enum runlog_state state = err ? RUNLOG_FAILED
                              : record->n_rounds < r->plan->rounds
                                  ? RUNLOG_INTERRUPTED
                                  : RUNLOG_FINISHED;
    const struct buf *model = NULL;
    enum tacit_err failed = fleet_file(r->fleet, &model);
    enum tacit_err closed = outputs_close(r->outputs, state, model);
    if (!err) err = failed;
    return err ? err : closed;
}

/* ---- after -------------------------------------------------------------- */

static json_t *figure(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static enum tacit_err print_json(const struct running *r,
                                 const struct runlog_summary *s)
{
    const struct runlog *record = outputs_record(r->outputs);
    return json_print_ok(
        stdout,
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
                  "s:o, s:o, s:f, s:o, s:I, s:s}",
                  "plan", r->plan->name, "plan_hash", record->plan_hash, "seed",
                  (json_int_t)r->plan->seed, "clients", (json_int_t)r->sites.n,
                  "rounds", (json_int_t)record->n_rounds, "loss",
                  figure(s->loss), "metric", figure(s->final), "best",
                  figure(s->best), "worst_clients", figure(s->worst),
                  "bytes_up", figure(s->bytes_up), "bytes_down",
                  figure(s->bytes_down), "energy_j", figure(s->energy_j),
                  "virtual_s", figure(s->virtual_s), "seconds", r->seconds,
                  "estimated_seconds", figure(r->estimate.seconds),
                  "estimated_bytes", (json_int_t)r->estimate.total, "out",
                  r->folder));
}

static enum tacit_err print_run(const struct running *r)
{
    const struct runlog *record = outputs_record(r->outputs);
    struct runlog_summary s;
    char up[32], down[32], energy[32], virtual_time[32];
    runlog_sum_up(record, NAN, &s);
    if (options_flag(r->o, "json")) return print_json(r, &s);
    printf("plan %s, seed %llu, %zu clients, %zu rounds in %.2f s\n",
           r->plan->name, (unsigned long long)r->plan->seed, r->sites.n,
           record->n_rounds, r->seconds);
    if (isfinite(s.final))
        printf("%s %.3f, best %.3f (round %u), loss %.4f\n", record->metric,
               s.final, s.best, s.best_round, s.loss);
    if (isfinite(s.personal))
        printf("devices' own models: %s %.3f\n", record->metric, s.personal);
    if (isfinite(s.worst)) printf("worst 10 %% of clients: %.3f\n", s.worst);
    page_bytes(up, s.bytes_up);
    page_bytes(down, s.bytes_down);
    page_joules(energy, s.energy_j);
    page_seconds(virtual_time, s.virtual_s);
    printf("virtual time %s, up %s, down %s, energy %s (estimated)\n",
           virtual_time, up, down, energy);
    printf("%s\n", record->privacy);
    printf("%s: report.html, metrics.csv, metrics.sqlite, model.safetensors\n",
           r->folder);
    return TACIT_OK;
}

static enum tacit_err stopped(const struct running *r)
{
    size_t n = outputs_record(r->outputs)->n_rounds;
    return fail_as(E_INTERRUPTED, "stopped after round %zu of %u%s", n,
                   r->plan->rounds, n ? "; --resume goes on" : "");
}

/* The folder holds the last good model: of the rounds before the fault. */
static enum tacit_err say_what_is_kept(const struct running *r,
                                       enum tacit_err err)
{
    size_t n = outputs_record(r->outputs)->n_rounds;
    if (err_id() != E_LOSS_NAN) return err;
    return err_context(err, "%s keeps the model before round %zu", r->folder,
                       n + 1);
}

/* Every process but the first: all of the run, and none of its files. */
static enum tacit_err follow(struct running *r)
{
    struct fleet_round x;
    enum tacit_err err = TACIT_OK;
    size_t n;
    (void)fleet_told(r->fleet, &n);
    for (size_t i = n; !err && i < r->plan->rounds; i++)
        err = fleet_round(r->fleet, &x);
    return checkpoint_keep(r->folder, r->fleet, err);
}

/* The first one, or the only one. */
static enum tacit_err lead(struct running *r)
{
    say_what_comes(r);
    TRY(open_outputs(r));
    enum tacit_err err = write_told(r);
    if (!err) err = run_rounds(r);
    err = close_outputs(r, err);
    if (err) err = say_what_is_kept(r, err);
    int is_cut = outputs_record(r->outputs)->state == RUNLOG_INTERRUPTED;
    if (!err && !is_cut) err = checkpoint_remove(r->folder);
    if (!err && !(is_cut && options_flag(r->o, "json"))) err = print_run(r);
    return !err && is_cut ? stopped(r) : err;
}

enum tacit_err sim_run(const struct options *o)
{
    const char *out = options_value(o, "out");
    struct running r = {.o = o,
                        .folder = out ? out : "sim-out",
                        .data = options_value(o, "data")};
    sim_catch_signals();
    enum tacit_err err = prepare(&r);
    if (!err) err = peers_rank() > 0 ? follow(&r) : lead(&r);
    outputs_free(r.outputs);
    fleet_free(r.fleet);
    sites_release(&r.sites);
    plan_free(r.plan);
    buf_release(&r.text);
    return err;
}
