/* tacit-sim: run a plan with many clients on this machine. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/options.h"
#include "common/base/progress.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "sims/fleet.h"
#include "sims/report.h"
#include "sims/sites.h"
#include "sims/story.h"
#include "sims/world.h"

enum { PATH_BYTES = 4096, PATIENTS_MAX = 10000000 };

static atomic_int interrupted;

static void on_signal(int number)
{
    atomic_store(&interrupted, number);
}

static int is_quiet(const struct options *o)
{
    return options_flag(o, "json") || options_flag(o, "quiet");
}

/* ---- new ---------------------------------------------------------------- */

static const char example[] =
    "# A plan: the same file runs in simulation (tacit-sim run) and in a\n"
    "# federation (tacit-coordinator plan submit).\n"
    "name: %s\n"
    "task: classify                 # classify | regress | retriever\n"
    "model: {kind: logistic}        # or {kind: mlp, hidden: [16]}\n"
    "data:\n"
    "  source: patients             # each device's policy maps it to a file\n"
    "  label: disease\n"
    "  columns:\n"
    "    - {name: age}\n"
    "    - {name: sex}\n"
    "    - {name: cp, values: [1, 2, 3, 4]}   # one-hot\n"
    "    - {name: trestbps}\n"
    "    - {name: chol}\n"
    "    - {name: thalach}\n"
    "    - {name: exang}\n"
    "    - {name: oldpeak}\n"
    "  standardise: site            # site | plan (mean and sd per column) | "
    "none\n"
    "  holdout: 0.25                # rows kept for measuring, never trained\n"
    "rounds: 30\n"
    "cohort: {size: 10, min_reports: 8, over_select: 1.2}\n"
    "local: {steps: 20, batch: 16, optimizer: sgd, learning_rate: 0.1}\n"
    "weighting: {by: examples, cap: 1000}\n"
    "clip: 4\n"
    "secagg: {ring_bits: 32}\n"
    "deadline: {stage: 30s, train: 10m}\n"
    "seed: 1\n"
    "# Only the simulator reads this: how many clients it invents, and how it\n"
    "# deals the patients out (sites: four unlike hospitals; iid: all alike).\n"
    "sim: {clients: 100, rows: 60, partition: sites, dropout: 0.05}\n";

static enum tacit_err sim_new(const struct options *o)
{
    char path[PATH_BYTES];
    struct buf text;
    const char *name = o->args[0];
    int n = snprintf(path, sizeof path, "%s.yaml", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return fail(TACIT_LIMIT, "the name is too long");
    if (file_exists(path))
        return fail(TACIT_STATE, "%s exists; choose another name", path);
    const char *last = strrchr(name, '/');
    buf_init(&text, 0);
    buf_printf(&text, example, last ? last + 1 : name);
    enum tacit_err err = buf_end(&text);
    struct plan *plan = NULL;
    if (!err) err = plan_parse(path, (const char *)text.data, text.len, &plan);
    if (!err) err = file_write(path, text.data, text.len, 0644);
    plan_free(plan);
    buf_release(&text);
    if (err) return err;
    if (options_flag(o, "json"))
        return json_print_ok(stdout, json_pack("{s:s}", "file", path));
    printf("%s\n", path);
    if (!is_quiet(o)) fprintf(stderr, "Next: tacit-sim run %s\n", path);
    return TACIT_OK;
}

/* ---- run ---------------------------------------------------------------- */

struct running {
    const struct options *o;
    const char *out_dir;
    struct plan *plan;
    struct buf text;
    struct sites sites;
    struct fleet *fleet;
    struct fleet_round *rounds; /* [plan->rounds], owned */
    uint32_t n_rounds;
    int64_t wall_ms;
};

static enum tacit_err in_folder(const struct running *r, const char *name,
                                char out[PATH_BYTES])
{
    return file_join(out, PATH_BYTES, r->out_dir, name);
}

static enum tacit_err write_metrics(const struct running *r)
{
    char path[PATH_BYTES];
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "round,attempts,invited,inputs,loss_before,loss_after,"
                   "metric,pooled_loss,pooled_metric,virtual_ms,wall_ms\n");
    for (uint32_t i = 0; i < r->n_rounds; i++) {
        const struct fleet_round *x = &r->rounds[i];
        buf_printf(&b, "%u,%u,%u,%u,%.9g,%.9g,", x->round, x->n_attempts,
                   x->n_invited, x->n_inputs, x->loss_before, x->loss_after);
        if (x->has_metric) buf_printf(&b, "%.9g", x->metric);
        if (x->has_pooled)
            buf_printf(&b, ",%.9g,%.9g", x->pooled.loss, x->pooled.metric);
        else
            buf_printf(&b, ",,");
        buf_printf(&b, ",%lld,%lld\n", (long long)x->virtual_ms,
                   (long long)x->wall_ms);
    }
    enum tacit_err err = buf_end(&b);
    if (!err) err = in_folder(r, "metrics.csv", path);
    if (!err) err = file_write(path, b.data, b.len, 0644);
    buf_release(&b);
    return err;
}

static const char *metric_name(const struct plan *p)
{
    switch (p->task) {
    case PLAN_REGRESS: return "RMSE";
    case PLAN_RETRIEVER: return "recall@5";
    default: return "accuracy";
    }
}

static void report_curves_of(struct report *r, const struct running *run,
                             double *x, double *y)
{
    uint32_t n = run->n_rounds;
    double *y2 = y + n, *y3 = y2 + n;
    for (uint32_t i = 0; i < n; i++) {
        x[i] = run->rounds[i].round;
        y[i] = run->rounds[i].loss_before;
        y2[i] = run->rounds[i].loss_after;
        y3[i] = run->rounds[i].pooled.metric;
    }
    const struct report_series loss[] = {{"before local training", n, x, y},
                                         {"after", n, x, y2}};
    report_curves(r, "Training loss (from the secure sum)", "round", loss, 2);
    const struct report_series metric[] = {{metric_name(run->plan), n, x, y3}};
    if (n && run->rounds[0].has_pooled)
        report_curves(r, "New model on all held-out rows", "round", metric, 1);
}

static enum tacit_err write_report(const struct running *run)
{
    char path[PATH_BYTES], text[64];
    struct report r;
    const struct fleet_round *last = &run->rounds[run->n_rounds - 1];
    double *values = malloc(4 * (size_t)run->n_rounds * sizeof *values);
    if (!values) return fail(TACIT_NOMEM, "no memory for the report");
    report_begin(&r, run->plan->name,
                 "A simulation: the production code of devices and "
                 "coordinator, secure aggregation included, under a virtual "
                 "clock. No differential-privacy noise is added.");
    snprintf(text, sizeof text, "%zu", run->sites.n);
    report_figure(&r, text, "clients");
    snprintf(text, sizeof text, "%u", run->n_rounds);
    report_figure(&r, text, "rounds");
    snprintf(text, sizeof text, "%.3f", last->pooled.metric);
    if (last->has_pooled) report_figure(&r, text, metric_name(run->plan));
    snprintf(text, sizeof text, "%.2f s", (double)run->wall_ms / 1000);
    report_figure(&r, text, "on this machine");
    snprintf(text, sizeof text, "%llu", (unsigned long long)run->plan->seed);
    report_figure(&r, text, "seed");
    report_curves_of(&r, run, values, values + run->n_rounds);
    free(values);
    enum tacit_err err = report_end(&r);
    if (!err) err = in_folder(run, "report.html", path);
    if (!err) err = file_write(path, r.out.data, r.out.len, 0644);
    report_release(&r);
    return err;
}

/* What was finished is written even when the run was stopped. */
static enum tacit_err write_all(const struct running *r)
{
    char path[PATH_BYTES];
    const struct buf *file = fleet_file(r->fleet);
    TRY(file_mkdirs(r->out_dir, 0755));
    TRY(write_metrics(r));
    TRY(in_folder(r, "model.safetensors", path));
    TRY(file_write(path, file->data, file->len, 0644));
    return r->n_rounds ? write_report(r) : TACIT_OK;
}

static enum tacit_err prepare(struct running *r)
{
    const struct options *o = r->o;
    const char *data = options_value(o, "data");
    int64_t n = 0, threads = 0;
    buf_init(&r->text, 0);
    TRY(file_read(o->args[0], PLAN_BYTES_MAX, &r->text));
    TRY(buf_end(&r->text));
    TRY(plan_parse(o->args[0], (const char *)r->text.data, r->text.len,
                   &r->plan));
    TRY(options_int(o, "clients", 2, FLEET_CLIENTS_MAX, r->plan->sim.clients,
                    &n));
    TRY(options_int(o, "threads", 0, 64, r->plan->sim.threads, &threads));
    r->plan->sim.clients = (uint32_t)n;
    TRY(data ? sites_load(r->plan, data, &r->sites)
             : sites_invent(r->plan, &r->sites));
    const struct fleet_config c = {.plan = r->plan,
                                   .plan_text = (const char *)r->text.data,
                                   .plan_bytes = r->text.len,
                                   .data = r->sites.data,
                                   .n_clients = r->sites.n,
                                   .n_threads = (unsigned)threads,
                                   .stop = &interrupted};
    r->rounds = calloc(r->plan->rounds, sizeof *r->rounds);
    if (!r->rounds) return fail(TACIT_NOMEM, "%u rounds", r->plan->rounds);
    return fleet_new(&c, &r->fleet);
}

static enum tacit_err run_rounds(struct running *r)
{
    struct progress p;
    int64_t start = tick_ns();
    progress_begin(&p, is_quiet(r->o) ? PROGRESS_QUIET : PROGRESS_AUTO,
                   "simulating", "rounds", r->plan->rounds);
    enum tacit_err err = TACIT_OK;
    while (!err && !interrupted && r->n_rounds < r->plan->rounds) {
        struct fleet_round *x = &r->rounds[r->n_rounds];
        char detail[96];
        err = fleet_round(r->fleet, x);
        if (err && err_id() == E_INTERRUPTED) {
            err_clear();
            err = TACIT_OK;
            break;
        }
        if (err) break;
        r->n_rounds++;
        snprintf(detail, sizeof detail, "loss %.4f  %s %.3f", x->loss_before,
                 metric_name(r->plan), x->pooled.metric);
        progress_update(&p, r->n_rounds, detail);
    }
    progress_end(&p);
    r->wall_ms = (tick_ns() - start) / 1000000;
    return err;
}

static enum tacit_err print_run(const struct running *r)
{
    const struct fleet_round *last =
        r->n_rounds ? &r->rounds[r->n_rounds - 1] : NULL;
    if (options_flag(r->o, "json"))
        return json_print_ok(
            stdout,
            json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:s}", "plan",
                      r->plan->name, "seed", (json_int_t)r->plan->seed,
                      "clients", (json_int_t)r->sites.n, "rounds",
                      (json_int_t)r->n_rounds, "loss",
                      last ? last->loss_before : 0.0, "metric",
                      last ? last->pooled.metric : 0.0, "seconds",
                      (double)r->wall_ms / 1000, "out", r->out_dir));
    printf("plan %s, seed %llu, %zu clients, %u rounds in %.2f s\n",
           r->plan->name, (unsigned long long)r->plan->seed, r->sites.n,
           r->n_rounds, (double)r->wall_ms / 1000);
    if (last && last->has_pooled)
        printf("%s %.3f, loss %.4f on %zu held-out rows\n",
               metric_name(r->plan), last->pooled.metric, last->pooled.loss,
               last->pooled.n_rows);
    printf("%s/metrics.csv, model.safetensors, report.html\n", r->out_dir);
    return TACIT_OK;
}

static enum tacit_err sim_run(const struct options *o)
{
    const char *out = options_value(o, "out");
    struct running r = {.o = o, .out_dir = out ? out : "sim-out"};
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    enum tacit_err err = prepare(&r);
    if (!err) {
        if (!is_quiet(o))
            fprintf(stderr, "plan %s, seed %llu, %zu clients\n", r.plan->name,
                    (unsigned long long)r.plan->seed, r.sites.n);
        err = run_rounds(&r);
        if (!err) err = write_all(&r);
    }
    if (!err) err = print_run(&r);
    if (!err && interrupted)
        err = fail_as(E_INTERRUPTED, "stopped after round %u of %u", r.n_rounds,
                      r.plan->rounds);
    fleet_free(r.fleet);
    sites_release(&r.sites);
    plan_free(r.plan);
    buf_release(&r.text);
    free(r.rounds);
    return err;
}

/* ---- patients, report --------------------------------------------------- */

static enum tacit_err sim_patients(const struct options *o)
{
    size_t site = 0;
    int64_t rows = 0, seed = 1, first = 0;
    struct buf b;
    TRY(world_site_find(o->args[0], &site));
    TRY(options_int(o, "rows", 1, PATIENTS_MAX, (int64_t)world_site_rows(site),
                    &rows));
    TRY(options_int(o, "first", 0, INT32_MAX, 0, &first));
    TRY(options_int(o, "seed", 0, INT64_MAX, 1, &seed));
    buf_init(&b, 0);
    enum tacit_err err =
        world_csv((uint64_t)seed, site, (uint64_t)first, (size_t)rows, &b);
    if (!err && options_flag(o, "json"))
        err = json_print_ok(stdout,
                            json_pack("{s:s, s:I, s:s%}", "site", o->args[0],
                                      "rows", (json_int_t)rows, "csv", b.data,
                                      b.len));
    else if (!err && fwrite(b.data, 1, b.len, stdout) != b.len)
        err = fail(TACIT_IO, "writing: %s", strerror(errno));
    buf_release(&b);
    return err;
}

static enum tacit_err sim_report(const struct options *o)
{
    char path[PATH_BYTES];
    struct report r;
    TRY(file_join(path, sizeof path, o->args[0], "report.html"));
    TRY(story_tell(o->args[0], &r));
    enum tacit_err err = file_write(path, r.out.data, r.out.len, 0644);
    report_release(&r);
    if (err) return err;
    if (options_flag(o, "json"))
        return json_print_ok(stdout, json_pack("{s:s}", "file", path));
    printf("%s\n", path);
    return TACIT_OK;
}

static const struct option_row global[] = {
    {"json", 0, NULL, NULL, "print one JSON envelope on stdout"},
    {"quiet", 'q', NULL, NULL, "no progress and no hints"},
};
static const struct option_row run_options[] = {
    {"out", 'o', "DIR", NULL, "folder for the results (sim-out)"},
    {"data", 'd', "DIR", NULL, "one CSV per client, instead of invented ones"},
    {"clients", 'c', "N", NULL, "how many clients, instead of sim.clients"},
    {"threads", 't', "N", NULL, "worker threads; 0 = one per core"},
};
static const struct option_row patient_options[] = {
    {"rows", 'n', "N", NULL, "how many patients"},
    {"first", 0, "N", NULL, "number of the first one (0)"},
    {"seed", 's', "N", NULL, "which world (1)"},
};
static const struct option_command commands[] = {
    {.name = "new",
     .args = "NAME",
     .args_min = 1,
     .args_max = 1,
     .summary = "write an example plan, NAME.yaml",
     .run = sim_new},
    {.name = "run",
     .args = "PLAN",
     .args_min = 1,
     .args_max = 1,
     .summary = "run a plan and write metrics.csv, the model and a report",
     .help = "Devices and coordinator are the production code with secure "
             "aggregation; only sockets and clocks are simulated. The same "
             "plan, seed and data give the same model to the bit, whatever "
             "the number of threads.",
     .options = run_options,
     .n_options = 4,
     .run = sim_run},
    {.name = "patients",
     .args = "SITE",
     .args_min = 1,
     .args_max = 1,
     .summary = "print invented patients of a site as CSV",
     .help = "Sites: northgate, harbour, lakeside, hillcrest. No row is a "
             "person.",
     .options = patient_options,
     .n_options = 3,
     .run = sim_patients},
    {.name = "report",
     .args = "DIR",
     .args_min = 1,
     .args_max = 1,
     .summary = "make DIR/report.html from the JSON results in a folder",
     .run = sim_report},
    {.name = "explain",
     .args = "[CODE]",
     .args_max = 1,
     .summary = "say what an error code means and what to do",
     .run = options_explain},
};
static const struct options_program program = {
    .name = "tacit-sim",
    .version = "0.1.0",
    .summary = "simulate a federation on one machine",
    .help = "Runs a plan with hundreds or thousands of clients under a virtual "
            "clock.",
    .global = global,
    .n_global = sizeof global / sizeof *global,
    .commands = commands,
    .n_commands = sizeof commands / sizeof *commands,
};

int main(int argc, char **argv)
{
    rng_setup();
    return options_main(&program, argc, argv);
}
