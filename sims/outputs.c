#include "sims/outputs.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/tick.h"
#include "sims/outputs_sqlite.h"
#include "sims/run_page.h"
#include "sims/tfevents.h"

enum { PATH_BYTES = 4096, NAME_BYTES = 64 };

static const char events_prefix[] = "events.out.tfevents.";
static const char part[] = ".part";

struct outputs {
    char folder[PATH_BYTES];
    struct runlog record;
    FILE *lines; /* metrics.jsonl.part, owned */
    struct tfevents events;
    char events_name[NAME_BYTES];
};

const struct runlog *outputs_record(const struct outputs *o)
{
    return &o->record;
}

static enum tacit_err path_of(const struct outputs *o, const char *name,
                              const char *ending, char out[PATH_BYTES])
{
    char whole[2 * NAME_BYTES];
    snprintf(whole, sizeof whole, "%s%s", name, ending);
    return file_join(out, PATH_BYTES, o->folder, whole);
}

/* ---- run.json ----------------------------------------------------------- */

static void set_figure(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, isfinite(v) ? json_real(v) : json_null());
}

static json_t *summary_json(const struct runlog *r)
{
    struct runlog_summary s;
    json_t *o = json_object();
    runlog_sum_up(r, NAN, &s);
    set_figure(o, "metric", s.final);
    set_figure(o, "best", s.best);
    json_object_set_new(o, "best_round", json_integer(s.best_round));
    set_figure(o, "loss", s.loss);
    set_figure(o, "worst_clients", s.worst);
    set_figure(o, "personal", s.personal);
    set_figure(o, "bytes_up", s.bytes_up);
    set_figure(o, "bytes_down", s.bytes_down);
    set_figure(o, "energy_j", s.energy_j);
    set_figure(o, "virtual_s", s.virtual_s);
    set_figure(o, "wall_s", s.wall_s);
    return o;
}

static json_t *run_json(const struct runlog *r)
{
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:s, "
        "s:s, s:s, s:s, s:s, s:o, s:s}",
        "schema_version", 1, "state", runlog_state_name(r->state), "plan",
        r->plan, "task", r->task, "strategy", r->strategy, "metric", r->metric,
        "lower_is_better", r->lower_is_better, "plan_hash", r->plan_hash,
        "seed", (json_int_t)r->seed, "clients", (json_int_t)r->n_clients,
        "rounds", (json_int_t)r->n_rounds, "rounds_planned",
        (json_int_t)r->n_planned, "started", r->started, "ended", r->ended,
        "data", r->data, "error", r->error, "privacy", r->privacy, "summary",
        summary_json(r), "plan_text", r->plan_text);
}

static enum tacit_err write_run(const struct outputs *o)
{
    char path[PATH_BYTES];
    TRY(path_of(o, "run.json", "", path));
    json_t *run = run_json(&o->record);
    char *text = run ? json_dumps(run, JSON_INDENT(2)) : NULL;
    enum tacit_err err = text ? file_write(path, text, strlen(text), 0644)
                              : fail(TACIT_NOMEM, "%s: out of memory", path);
    free(text);
    json_decref(run);
    return err;
}

/* ---- opening ------------------------------------------------------------ */

static int is_ours(const char *name)
{
    static const char *const names[] = {"metrics.jsonl",
                                        "metrics.jsonl.part",
                                        "metrics.csv",
                                        "metrics.sqlite",
                                        "metrics.sqlite.part",
                                        "metrics.sqlite.part-wal",
                                        "metrics.sqlite.part-shm",
                                        "model.safetensors",
                                        "report.html"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return 1;
    return strncmp(name, events_prefix, sizeof events_prefix - 1) == 0;
}

/* What an earlier run left would be taken for this one's. */
static enum tacit_err remove_old(const struct outputs *o)
{
    DIR *d = opendir(o->folder);
    if (!d) return fail(TACIT_IO, "%s: %s", o->folder, strerror(errno));
    enum tacit_err err = TACIT_OK;
    for (struct dirent *e; !err && (e = readdir(d));) {
        if (!is_ours(e->d_name)) continue;
        if (unlinkat(dirfd(d), e->d_name, 0) != 0)
            err = fail(TACIT_IO, "%s/%s: cannot remove: %s", o->folder,
                       e->d_name, strerror(errno));
    }
    closedir(d);
    return err;
}

static enum tacit_err begin(struct outputs *o)
{
    char path[PATH_BYTES];
    tick_iso8601(tick_wall_s(), o->record.started);
    TRY(file_mkdirs(o->folder, 0755));
    TRY(write_run(o));
    TRY(remove_old(o));
    TRY(path_of(o, "metrics.jsonl", part, path));
    o->lines = fopen(path, "wbe");
    if (!o->lines) return fail(TACIT_IO, "%s: %s", path, strerror(errno));
    snprintf(o->events_name, sizeof o->events_name, "%s%lld.tacit",
             events_prefix, (long long)tick_wall_s());
    TRY(path_of(o, o->events_name, part, path));
    return tfevents_open(&o->events, path);
}

enum tacit_err outputs_open(const char *folder, struct runlog *record,
                            struct outputs **out)
{
    struct outputs *o = calloc(1, sizeof *o);
    enum tacit_err err = TACIT_OK;
    if (!o) {
        runlog_release(record);
        return fail(TACIT_NOMEM, "out of memory");
    }
    o->record = *record;
    memset(record, 0, sizeof *record);
    int n = snprintf(o->folder, sizeof o->folder, "%s", folder);
    if (n < 1 || (size_t)n >= sizeof o->folder)
        err = fail(TACIT_LIMIT, "\"%s\": not a usable path", folder);
    if (!err) err = begin(o);
    if (err)
        outputs_free(o);
    else
        *out = o;
    return err;
}

void outputs_free(struct outputs *o)
{
    if (!o) return;
    if (o->lines) fclose(o->lines);
    tfevents_drop(&o->events);
    runlog_release(&o->record);
    free(o);
}

/* ---- a round ------------------------------------------------------------ */

static enum tacit_err lines_failed(const struct outputs *o)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        return fail_as(E_DISK_FULL, "%s/metrics.jsonl: cannot write: %s",
                       o->folder, strerror(e));
    return fail(TACIT_IO, "%s/metrics.jsonl: cannot write: %s", o->folder,
                strerror(e));
}

static enum tacit_err put_event(struct outputs *o, const struct fleet_round *r)
{
    struct tfevents_scalar scalars[TFEVENTS_SCALARS_MAX];
    struct timeval now;
    size_t n = 0;
    for (size_t i = 0; n < TFEVENTS_SCALARS_MAX; i++) {
        const struct runlog_column *c = runlog_column_at(i);
        if (!c) break;
        if (!c->tag || !runlog_value(r, i, &scalars[n].value)) continue;
        scalars[n++].tag = c->tag;
    }
    gettimeofday(&now, NULL);
    return tfevents_add(&o->events,
                        (double)now.tv_sec + (double)now.tv_usec * 1e-6,
                        r->round, scalars, n);
}

enum tacit_err outputs_round(struct outputs *o, const struct fleet_round *r)
{
    struct buf line;
    buf_init(&line, 0);
    runlog_put_line(&line, r);
    enum tacit_err err = buf_end(&line);
    if (!err && (fwrite(line.data, 1, line.len, o->lines) != line.len ||
                 fflush(o->lines) != 0))
        err = lines_failed(o);
    buf_release(&line);
    if (!err) err = put_event(o, r);
    return err ? err : runlog_add(&o->record, r);
}

/* ---- closing ------------------------------------------------------------ */

static enum tacit_err write_csv(const struct outputs *o)
{
    char path[PATH_BYTES];
    struct buf b;
    const struct runlog_column *c;
    buf_init(&b, 0);
    for (size_t i = 0; (c = runlog_column_at(i)); i++)
        buf_printf(&b, "%s%s", i ? "," : "", c->name);
    buf_printf(&b, "\n");
    for (size_t k = 0; k < o->record.n_rounds; k++) {
        double v;
        for (size_t i = 0; (c = runlog_column_at(i)); i++) {
            if (i) buf_printf(&b, ",");
            if (!runlog_value(&o->record.rounds[k], i, &v)) continue;
            buf_printf(&b, c->is_integer ? "%.0f" : "%.9g", v);
        }
        buf_printf(&b, "\n");
    }
    enum tacit_err err = buf_end(&b);
    if (!err) err = path_of(o, "metrics.csv", "", path);
    if (!err) err = file_write(path, b.data, b.len, 0644);
    buf_release(&b);
    return err;
}

/* The name that says the file is whole. */
static enum tacit_err complete(const struct outputs *o, const char *name)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    TRY(path_of(o, name, part, from));
    TRY(path_of(o, name, "", to));
    if (rename(from, to) == 0) return TACIT_OK;
    return fail(TACIT_IO, "%s: cannot rename: %s", from, strerror(errno));
}

static enum tacit_err close_streams(struct outputs *o)
{
    FILE *f = o->lines;
    o->lines = NULL;
    int ok = fflush(f) == 0 && fsync(fileno(f)) == 0;
    enum tacit_err err = ok ? TACIT_OK : lines_failed(o);
    if (fclose(f) != 0 && !err) err = lines_failed(o);
    if (err) return err;
    TRY(tfevents_close(&o->events));
    TRY(complete(o, "metrics.jsonl"));
    return complete(o, o->events_name);
}

static enum tacit_err write_sqlite(const struct outputs *o)
{
    char path[PATH_BYTES];
    TRY(path_of(o, "metrics.sqlite", part, path));
    TRY(outputs_sqlite(&o->record, path));
    return complete(o, "metrics.sqlite");
}

static enum tacit_err write_page(const struct outputs *o)
{
    char path[PATH_BYTES];
    struct buf page;
    if (o->record.n_rounds == 0) return TACIT_OK;
    TRY(path_of(o, "report.html", "", path));
    buf_init(&page, 0);
    enum tacit_err err = run_page(&o->record, &page);
    if (!err) err = file_write(path, page.data, page.len, 0644);
    buf_release(&page);
    return err;
}

static enum tacit_err finish(struct outputs *o, const struct buf *model)
{
    char path[PATH_BYTES];
    TRY(close_streams(o));
    TRY(write_csv(o));
    TRY(write_sqlite(o));
    TRY(write_page(o));
    if (model) {
        TRY(path_of(o, "model.safetensors", "", path));
        TRY(file_write(path, model->data, model->len, 0644));
    }
    return write_run(o);
}

enum tacit_err outputs_close(struct outputs *o, enum runlog_state state,
                             const struct buf *model)
{
    o->record.state = state;
    tick_iso8601(tick_wall_s(), o->record.ended);
    if (state == RUNLOG_FAILED)
        snprintf(o->record.error, sizeof o->record.error, "%s", err_message());
    return finish(o, model);
}
