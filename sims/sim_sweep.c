/* tacit-sim sweep: the runs of a grid, some at a time, each a process. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/progress.h"
#include "common/base/terminal.h"
#include "common/base/tick.h"
#include "sims/commands.h"
#include "sims/compare.h"
#include "sims/estimate.h"
#include "sims/runlog.h"
#include "sims/sweep.h"

enum { JOBS_MAX = 256, SEEDS_MAX = 10000, PATIENCE_MS = 30000, LOG_MAX = 4096 };

enum run_state { WAITING, RUNNING, DONE, FAILED };

struct run {
    size_t variant;
    uint32_t seed_at;
    char folder[SWEEP_PATH];
    enum run_state state;
    int was_done; /* by an earlier sweep */
    pid_t pid;
    char why[512]; /* FAILED */
};

struct sweeping {
    const struct options *o;
    const char *folder, *data;
    char threads[16];
    struct sweep sweep;
    struct run *runs; /* [n_runs], owned */
    size_t n_runs, n_jobs;
};

/* ---- before ------------------------------------------------------------- */

static enum tacit_err take_axes(struct sweeping *s)
{
    const char *text;
    int64_t seeds = 1;
    TRY(options_int(s->o, "seeds", 1, SEEDS_MAX, 1, &seeds));
    s->sweep.n_seeds = (uint32_t)seeds;
    s->sweep.name = s->o->args[0];
    for (size_t i = 0; (text = options_value_at(s->o, "set", i)); i++) {
        if (i == SWEEP_AXES_MAX)
            return fail_as(E_USAGE, "--set may be given %d times",
                           SWEEP_AXES_MAX);
        TRY(sweep_axis_parse(text, &s->sweep.axis[i]));
        s->sweep.n_axes++;
    }
    return TACIT_OK;
}

static enum tacit_err take_plan(struct sweeping *s)
{
    struct buf text;
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err = file_read(s->o->args[0], PLAN_BYTES_MAX, &text);
    if (!err) err = buf_end(&text);
    if (!err) err = sweep_expand(&s->sweep, (const char *)text.data, text.len);
    buf_release(&text);
    return err;
}

static enum tacit_err take_jobs(struct sweeping *s)
{
    int64_t jobs = 0, threads = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1) cores = 1;
    TRY(options_int(s->o, "jobs", 1, JOBS_MAX, cores, &jobs));
    if ((size_t)jobs > s->n_runs) jobs = (int64_t)s->n_runs;
    int64_t share = cores / jobs > 1 ? cores / jobs : 1;
    TRY(options_int(s->o, "threads", 0, SIM_THREADS_MAX, share, &threads));
    snprintf(s->threads, sizeof s->threads, "%" PRId64, threads);
    s->n_jobs = (size_t)jobs;
    return TACIT_OK;
}

/* The largest variants, as many at once as jobs, must fit. */
static enum tacit_err check_memory(const struct sweeping *s)
{
    uint64_t data = 0, free_bytes = memory_free();
    if (s->data) TRY(estimate_files(s->data, &data));
    for (size_t v = 0; v < s->sweep.n_variants; v++) {
        const struct plan *p = s->sweep.variants[v].plan;
        const struct estimate_case c = {.plan = p,
                                        .n_clients = p->sim.clients,
                                        .n_threads =
                                            (unsigned)strtoul(s->threads, NULL,
                                                              10),
                                        .data_bytes = data,
                                        .n_runs = (unsigned)s->n_jobs};
        struct estimate e;
        TRY(estimate_memory(&c, &e));
        TRY(err_context(estimate_fits(&c, &e, free_bytes), "%s",
                        s->sweep.variants[v].said));
    }
    return TACIT_OK;
}

/* Whether an earlier sweep has finished just this run. */
static enum tacit_err is_done(const struct sweeping *s, const struct run *r,
                              const struct digest *hash, int *out)
{
    char path[SWEEP_PATH], hex[DIGEST_HEX];
    struct runlog record;
    TRY(file_join(path, sizeof path, r->folder, "run.json"));
    *out = 0;
    if (!file_exists(path)) return TACIT_OK;
    if (runlog_read(r->folder, &record) != TACIT_OK) {
        err_clear(); /* it is run again */
        return TACIT_OK;
    }
    hex_encode(hex, hash->b, DIGEST_BYTES);
    *out = record.state == RUNLOG_FINISHED &&
           strcmp(record.plan_hash, hex) == 0 &&
           strcmp(record.data, s->data ? s->data : "") == 0;
    runlog_release(&record);
    return TACIT_OK;
}

/* The run's folder with its plan, unless it is finished. */
static enum tacit_err lay_out(const struct sweeping *s, struct run *r)
{
    char name[SWEEP_SLUG + 48], path[SWEEP_PATH];
    struct buf text;
    struct digest hash;
    uint64_t seed = s->sweep.variants[r->variant].plan->seed + r->seed_at;
    snprintf(name, sizeof name, "%s/seed-%" PRIu64,
             s->sweep.variants[r->variant].slug, seed);
    TRY(file_join(r->folder, sizeof r->folder, s->folder, name));
    TRY(file_join(path, sizeof path, r->folder, "plan.yaml"));
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err =
        sweep_text(&s->sweep, r->variant, r->seed_at, &text, &hash);
    if (!err) err = is_done(s, r, &hash, &r->was_done);
    if (r->was_done) r->state = DONE;
    if (!err && !r->was_done) err = file_mkdirs(r->folder, 0755);
    if (!err && !r->was_done) err = file_write(path, text.data, text.len, 0644);
    buf_release(&text);
    return err;
}

static enum tacit_err prepare(struct sweeping *s)
{
    const char *out = options_value(s->o, "out");
    s->folder = out ? out : "sim-sweep";
    s->data = options_value(s->o, "data");
    TRY(take_axes(s));
    TRY(take_plan(s));
    s->n_runs = s->sweep.n_variants * s->sweep.n_seeds;
    s->runs = calloc(s->n_runs, sizeof *s->runs);
    if (!s->runs) return fail(TACIT_NOMEM, "%zu runs", s->n_runs);
    TRY(take_jobs(s));
    TRY(check_memory(s));
    for (size_t i = 0; i < s->n_runs; i++) {
        s->runs[i].variant = i / s->sweep.n_seeds;
        s->runs[i].seed_at = (uint32_t)(i % s->sweep.n_seeds);
        TRY(lay_out(s, &s->runs[i]));
    }
    return TACIT_OK;
}

/* ---- processes ---------------------------------------------------------- */

static enum tacit_err log_path(const struct run *r, char out[SWEEP_PATH])
{
    return file_join(out, SWEEP_PATH, r->folder, "log.json");
}

/* The child: this program again, on one run. It does not outlive its parent. */
_Noreturn static void become_run(const struct sweeping *s, const struct run *r,
                                 const char *plan, const char *log,
                                 pid_t parent)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    const char *argv[16] = {"tacit-sim", "run",    plan,        "--out",
                            r->folder,   "--json", "--threads", s->threads};
    if (s->data) {
        argv[8] = "--data";
        argv[9] = s->data;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (fd >= 0 && getppid() == parent && dup2(fd, STDOUT_FILENO) >= 0 &&
        dup2(fd, STDERR_FILENO) >= 0)
        execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(127);
}

static enum tacit_err start(const struct sweeping *s, struct run *r)
{
    char plan[SWEEP_PATH], log[SWEEP_PATH];
    pid_t parent = getpid();
    TRY(file_join(plan, sizeof plan, r->folder, "plan.yaml"));
    TRY(log_path(r, log));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return fail(TACIT_IO, "cannot start a run: %s", strerror(errno));
    if (pid == 0) become_run(s, r, plan, log, parent);
    r->pid = pid;
    r->state = RUNNING;
    return TACIT_OK;
}

/* The message of the envelope that a failed run printed. */
static void read_why(struct run *r, int status)
{
    char path[SWEEP_PATH];
    struct buf text;
    json_t *o = NULL;
    const char *said = NULL;
    buf_init(&text, 0);
    if (log_path(r, path) == TACIT_OK &&
        file_read(path, LOG_MAX, &text) == TACIT_OK &&
        json_parse((const char *)text.data, text.len, &o) == TACIT_OK)
        said = json_string_value(
            json_object_get(json_object_get(o, "error"), "message"));
    err_clear();
    if (said)
        snprintf(r->why, sizeof r->why, "%s", said);
    else if (WIFSIGNALED(status))
        snprintf(r->why, sizeof r->why, "killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(r->why, sizeof r->why, "exit status %d; see log.json",
                 WEXITSTATUS(status));
    json_decref(o);
    buf_release(&text);
}

static void ended(struct run *r, int status)
{
    char path[SWEEP_PATH];
    r->pid = 0;
    r->state = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? DONE : FAILED;
    if (r->state == FAILED) {
        read_why(r, status);
    } else if (log_path(r, path) == TACIT_OK) {
        unlink(path);
    }
}

struct tally {
    size_t n[4]; /* by enum run_state */
};

/* Take leave of the children that have ended, then count. */
static struct tally look_around(struct sweeping *s)
{
    struct tally t = {{0}};
    for (size_t i = 0; i < s->n_runs; i++) {
        struct run *r = &s->runs[i];
        int status = 0;
        if (r->state == RUNNING && waitpid(r->pid, &status, WNOHANG) == r->pid)
            ended(r, status);
        t.n[r->state]++;
    }
    return t;
}

static void signal_all(const struct sweeping *s, int number)
{
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].state == RUNNING) kill(s->runs[i].pid, number);
}

/* Ask the children to stop; those that do not within PATIENCE_MS are killed. */
static void stop_all(struct sweeping *s)
{
    const struct timespec nap = {0, 20000000};
    int64_t start_ms = tick_ns() / 1000000;
    int killed = 0;
    signal_all(s, SIGTERM);
    while (look_around(s).n[RUNNING] > 0) {
        nanosleep(&nap, NULL);
        if (killed || tick_ns() / 1000000 - start_ms < PATIENCE_MS) continue;
        signal_all(s, SIGKILL);
        killed = 1;
    }
}

static void show(struct progress *p, size_t n_before, const struct tally *t)
{
    char detail[96];
    snprintf(detail, sizeof detail, "%zu running%s", t->n[RUNNING],
             t->n[FAILED] ? ", some failed" : "");
    progress_update(p, t->n[DONE] + t->n[FAILED] - n_before, detail);
}

static enum tacit_err run_all(struct sweeping *s)
{
    const struct timespec nap = {0, 20000000};
    struct progress p;
    struct tally t = look_around(s);
    size_t before = t.n[DONE], next = 0;
    enum tacit_err err = TACIT_OK;
    progress_begin(&p, sim_is_quiet(s->o) ? PROGRESS_QUIET : PROGRESS_AUTO,
                   "sweeping", "runs", s->n_runs - before);
    while (!err && !sim_stop && t.n[WAITING] + t.n[RUNNING] > 0) {
        while (s->runs[next].state != WAITING && next + 1 < s->n_runs) next++;
        if (t.n[RUNNING] < s->n_jobs && t.n[WAITING] > 0)
            err = start(s, &s->runs[next]);
        else
            nanosleep(&nap, NULL);
        t = look_around(s);
        show(&p, before, &t);
    }
    stop_all(s);
    progress_end(&p);
    return err;
}

/* ---- after -------------------------------------------------------------- */

static json_t *failed_json(const struct sweeping *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].state == FAILED)
            json_array_append_new(list, json_pack("{s:s, s:s}", "folder",
                                                  s->runs[i].folder, "why",
                                                  s->runs[i].why));
    return list;
}

static enum tacit_err write_json(const struct sweeping *s, json_t *data)
{
    char path[SWEEP_PATH];
    TRY(file_join(path, sizeof path, s->folder, "sweep.json"));
    char *text = json_dumps(data, JSON_INDENT(2));
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = file_write(path, text, strlen(text), 0644);
    free(text);
    return err;
}

/* The axes are columns even where one of their values is all there is. */
static void name_columns(const struct sweeping *s, struct compare *c)
{
    for (size_t a = 0; a < s->sweep.n_axes; a++) {
        const struct sweep_axis *axis = &s->sweep.axis[a];
        if (strchr("[{", axis->value[0][0])) continue; /* not one value */
        snprintf(c->key[c->n_keys++], COMPARE_VALUE, "%s", axis->key);
    }
}

/* Table, page and sweep.json of the runs that are finished. */
static enum tacit_err tell(const struct sweeping *s, struct compare *c,
                           const struct tally *t)
{
    char page[SWEEP_PATH];
    size_t reused = 0;
    for (size_t i = 0; i < s->n_runs; i++) {
        if (s->runs[i].state == DONE) TRY(compare_add(c, s->runs[i].folder));
        reused += s->runs[i].was_done != 0;
    }
    name_columns(s, c);
    TRY(compare_group(c));
    TRY(file_join(page, sizeof page, s->folder, "compare.html"));
    TRY(compare_page(c, page));
    json_t *data = compare_json(c);
    if (!data) return fail(TACIT_NOMEM, "out of memory");
    json_object_set_new(data, "out", json_string(s->folder));
    json_object_set_new(data, "finished", json_integer((json_int_t)t->n[DONE]));
    json_object_set_new(data, "reused", json_integer((json_int_t)reused));
    json_object_set_new(data, "failed", failed_json(s));
    json_object_set_new(data, "page", json_string(page));
    enum tacit_err err = write_json(s, data);
    if (!err && options_flag(s->o, "json")) {
        if (t->n[DONE] == s->n_runs)
            return json_print_ok(stdout, data); /* else: the error's */
    } else if (!err) {
        compare_print(stdout, c);
        terminal_say(stdout, 0, "%zu of %zu runs finished%s; %s", t->n[DONE],
                     s->n_runs, reused ? ", some by an earlier sweep" : "",
                     page);
    }
    json_decref(data);
    return err;
}

static enum tacit_err finish(struct sweeping *s)
{
    struct compare c;
    double target = NAN;
    struct tally t = look_around(s);
    const struct run *first = NULL;
    TRY(sim_target(s->o, &target));
    for (size_t i = 0; i < s->n_runs; i++) {
        const struct run *r = &s->runs[i];
        if (r->state != FAILED || sim_stop) continue;
        if (!first) first = r;
        if (!options_flag(s->o, "json"))
            fprintf(stderr, "failed: %s: %s\n", r->folder, r->why);
    }
    if (t.n[DONE]) {
        TRY(compare_init(&c, target));
        enum tacit_err err = tell(s, &c, &t);
        compare_release(&c);
        if (err) return err;
    }
    if (sim_stop)
        return fail_as(E_INTERRUPTED,
                       "stopped with %zu of %zu runs finished; the same "
                       "command goes on from there",
                       t.n[DONE], s->n_runs);
    if (first)
        return fail(TACIT_STATE, "%zu of %zu runs failed; %s: %s", t.n[FAILED],
                    s->n_runs, first->folder, first->why);
    return TACIT_OK;
}

enum tacit_err sim_sweep(const struct options *o)
{
    struct sweeping s = {.o = o};
    double target = NAN;
    sim_catch_signals();
    enum tacit_err err = sim_target(o, &target);
    if (!err) err = prepare(&s);
    if (!err && !sim_is_quiet(o))
        fprintf(stderr, "%zu variants, %u seeds each, %zu runs at once\n",
                s.sweep.n_variants, s.sweep.n_seeds, s.n_jobs);
    if (!err) err = run_all(&s);
    if (!err) err = finish(&s);
    free(s.runs);
    sweep_release(&s.sweep);
    return err;
}
