/* queue: see queue.h. */
#include "coordinator/queue.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/log.h"
#include "common/base/tick.h"
#include "common/wire/blob.h"

void queue_init(struct queue *q, const struct jobs_config *c)
{
    *q = (struct queue){.config = c};
}

static void job_empty(struct job *job)
{
    aggregate_free(job->learned);
    plan_free(job->plan);
    memset(job, 0, sizeof *job);
}

static void job_free(struct job *job)
{
    job_empty(job);
    free(job);
}

void queue_release(struct queue *q)
{
    for (size_t i = 0; i < q->n; i++) job_free(q->list[i]);
    free(q->list);
    memset(q, 0, sizeof *q);
}

/* ---- loading plans ------------------------------------------------------ */

static enum tacit_err job_first_version(struct queue *q, struct job *job)
{
    struct models_version v = {.plan_hash = job->hash,
                               .created_s = tick_wall_s()};
    TRY(models_seal(q->config->keys, q->config->blob_dir, job->plan,
                    &job->learned->file, &v));
    TRY(store_model_add(q->config->store, &v));
    job->version = v;
    return TACIT_OK;
}

static enum tacit_err job_load(struct queue *q, const struct store_plan *row,
                               struct job *job)
{
    struct buf text;
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err =
        blob_get(q->config->blob_dir, &row->hash, PLAN_BYTES_MAX, &text);
    job->plan_bytes = text.len;
    if (err == TACIT_OK)
        err = plan_parse(row->name, (const char *)text.data, text.len,
                         &job->plan);
    buf_release(&text);
    TRY(err);
    job->plan->base.where = q->config->blob_dir;
    TRY(task_production(job->plan));
    TRY(aggregate_new(job->plan, &job->learned));
    if (!row->has_model) return job_first_version(q, job);
    TRY(store_model_find(q->config->store, &row->hash, STORE_NEWEST,
                         &job->version));
    TRY(models_load(q->config->blob_dir, &job->version, &job->learned->file));
    TRY(models_load_state(q->config->blob_dir, &job->version,
                          &job->learned->state));
    aggregate_loaded(job->learned);
    return TACIT_OK;
}

/* Nothing is wrong with the plan: a full disk, no descriptor, no memory. */
static int may_pass(enum tacit_err err)
{
    return err == TACIT_IO || err == TACIT_NOMEM || err_id() == E_STORE_BUSY;
}

static enum tacit_err job_add(struct queue *q, const struct store_plan *row)
{
    if (row->has_model && row->version >= row->n_rounds) {
        q->n_finished++;
        return TACIT_OK;
    }
    for (size_t i = 0; i < q->n; i++)
        if (digest_equal(&q->list[i]->hash, &row->hash)) return TACIT_OK;
    struct job **list = realloc(q->list, (q->n + 1) * sizeof *list);
    if (!list) return fail(TACIT_NOMEM, "%zu plans", q->n + 1);
    q->list = list;
    struct job *job = calloc(1, sizeof *job);
    if (!job) return fail(TACIT_NOMEM, "%zu plans", q->n + 1);
    list[q->n++] = job;
    job->hash = row->hash;
    enum tacit_err err = job_load(q, row, job);
    if (err != TACIT_OK) {
        int later = may_pass(err);
        log_event(LOG_ERROR, later ? "plan_not_read" : "plan_refused",
                  "plan=%s error=\"%s\"", row->name, err_message());
        err_clear();
        job_empty(job);
        if (later) {
            free(job);
            q->n--;
            q->n_unread++;
            return TACIT_OK;
        }
        job->hash = row->hash;
        job->broken = 1;
        return TACIT_OK;
    }
    log_event(LOG_INFO, "plan_loaded", "plan=%s round=%u rounds=%u",
              job->plan->name, job->version.version + 1, job->plan->rounds);
    return TACIT_OK;
}

/* Rows are collected before any is loaded: loading writes to the store, which
 * an open query would get in the way of. */
struct plan_rows {
    struct store_plan *list;
    size_t n;
};

static enum tacit_err collect_plan(void *ctx, const struct store_plan *row)
{
    struct plan_rows *rows = ctx;
    struct store_plan *list = realloc(rows->list, (rows->n + 1) * sizeof *list);
    if (!list) return fail(TACIT_NOMEM, "%zu plans", rows->n + 1);
    rows->list = list;
    list[rows->n++] = *row;
    return TACIT_OK;
}

enum tacit_err queue_reload(struct queue *q)
{
    struct plan_rows rows = {0};
    enum tacit_err err = store_plans(q->config->store, collect_plan, &rows);
    if (err == TACIT_OK) q->n_finished = q->n_unread = 0;
    for (size_t i = 0; err == TACIT_OK && i < rows.n; i++)
        err = job_add(q, &rows.list[i]);
    free(rows.list);
    return err;
}

/* ---- going through it --------------------------------------------------- */

int queue_is_done(const struct job *job)
{
    return !job->broken && job->version.version >= job->plan->rounds;
}

void queue_drop_done(struct queue *q, const struct job *active)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++) {
        struct job *job = q->list[i];
        if (job != active && queue_is_done(job)) {
            job_free(job);
            q->n_finished++;
        } else {
            q->list[n++] = job;
        }
    }
    q->n = n;
}

int queue_all_finished(const struct queue *q)
{
    size_t n_open = 0;
    for (size_t i = 0; i < q->n; i++) n_open += !q->list[i]->broken;
    return n_open == 0 && q->n_unread == 0 && q->n_finished > 0;
}

void queue_pause(struct job *job, int64_t now_ms)
{
    unsigned shift = job->n_aborts < 16 ? job->n_aborts : 16;
    int64_t pause = (int64_t)JOBS_PAUSE_MIN_MS << shift;
    job->n_aborts++;
    job->not_before_ms =
        now_ms + (pause < JOBS_PAUSE_MAX_MS ? pause : JOBS_PAUSE_MAX_MS);
}
