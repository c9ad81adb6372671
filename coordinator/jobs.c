/* jobs: see jobs.h. */
#include "coordinator/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/wire/blob.h"
#include "coordinator/aggregate.h"
#include "coordinator/models.h"
#include "coordinator/runner.h"

/* A submitted plan that has rounds left. */
struct job {
    struct digest hash;
    struct plan *plan; /* owned */
    size_t plan_bytes;
    struct aggregate *learned;     /* owned: the newest version's weights */
    struct models_version version; /* … and its statement */
    int broken;                    /* could not be loaded: said once, skipped */
    int64_t not_before_ms;         /* pause after an abort */
    unsigned n_aborts;             /* in a row */
    int64_t waiting_since_ms; /* enough devices have waited since; 0 = not */
};

struct jobs {
    struct jobs_config config;
    struct job *list; /* [n], in the order of submission, owned */
    size_t n;
    size_t n_finished;
    int64_t started_ms;
    /* The running round, or the last one (it still answers the late). */
    struct runner *runner;
    int running;
    size_t active; /* index into list while running */
    struct store_round row;
    int64_t round_ns;
    unsigned n_same_identity;
    struct digest roster_hash; /* of the newest roster blob */
    size_t n_unread;           /* plans to be tried again … */
    int64_t reload_ms;         /* … at this time */
};

static void job_release(struct job *job)
{
    aggregate_free(job->learned);
    plan_free(job->plan);
    memset(job, 0, sizeof *job);
}

/* ---- loading plans ------------------------------------------------------ */

static enum tacit_err job_first_version(struct jobs *j, struct job *job)
{
    struct models_version v = {.plan_hash = job->hash,
                               .created_s = tick_wall_s()};
    TRY(models_seal(j->config.keys, j->config.blob_dir, job->plan,
                    &job->learned->file, &v));
    TRY(store_model_add(j->config.store, &v));
    job->version = v;
    return TACIT_OK;
}

static enum tacit_err job_load(struct jobs *j, const struct store_plan *row,
                               struct job *job)
{
    struct buf text;
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err =
        blob_get(j->config.blob_dir, &row->hash, PLAN_BYTES_MAX, &text);
    job->plan_bytes = text.len;
    if (err == TACIT_OK)
        err = plan_parse(row->name, (const char *)text.data, text.len,
                         &job->plan);
    buf_release(&text);
    TRY(err);
    TRY(task_production(job->plan));
    TRY(aggregate_new(job->plan, &job->learned));
    if (!row->has_model) return job_first_version(j, job);
    TRY(store_model_find(j->config.store, &row->hash, STORE_NEWEST,
                         &job->version));
    TRY(models_load(j->config.blob_dir, &job->version, &job->learned->file));
    TRY(models_load_state(j->config.blob_dir, &job->version,
                          &job->learned->state));
    aggregate_loaded(job->learned);
    return TACIT_OK;
}

/* Nothing is wrong with the plan: a full disk, no descriptor, no memory. */
static int may_pass(enum tacit_err err)
{
    return err == TACIT_IO || err == TACIT_NOMEM || err_id() == E_STORE_BUSY;
}

static enum tacit_err job_add(struct jobs *j, const struct store_plan *row)
{
    if (row->has_model && row->version >= row->n_rounds) {
        j->n_finished++;
        return TACIT_OK;
    }
    for (size_t i = 0; i < j->n; i++)
        if (digest_equal(&j->list[i].hash, &row->hash)) return TACIT_OK;
    struct job *list = realloc(j->list, (j->n + 1) * sizeof *list);
    if (!list) return fail(TACIT_NOMEM, "%zu plans", j->n + 1);
    j->list = list;
    struct job *job = &list[j->n++];
    *job = (struct job){.hash = row->hash};
    enum tacit_err err = job_load(j, row, job);
    if (err != TACIT_OK) {
        int later = may_pass(err);
        log_event(LOG_ERROR, later ? "plan_not_read" : "plan_refused",
                  "plan=%s error=\"%s\"", row->name, err_message());
        err_clear();
        job_release(job);
        if (later) {
            j->n--;
            j->n_unread++;
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

static int is_running(const struct jobs *j, size_t i)
{
    return j->running && j->active == i;
}

static int is_done(const struct job *job)
{
    return !job->broken && job->version.version >= job->plan->rounds;
}

/* Drop the plans that have run: their models need no memory any more. */
static void drop_done(struct jobs *j)
{
    for (size_t i = 0; i < j->n;) {
        if (!is_done(&j->list[i]) || is_running(j, i)) {
            i++;
            continue;
        }
        job_release(&j->list[i]);
        j->n--;
        memmove(&j->list[i], &j->list[i + 1], (j->n - i) * sizeof *j->list);
        if (j->running && j->active > i) j->active--;
        j->n_finished++;
    }
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

enum tacit_err jobs_reload(struct jobs *j)
{
    struct plan_rows rows = {0};
    enum tacit_err err = store_plans(j->config.store, collect_plan, &rows);
    if (err == TACIT_OK) j->n_finished = j->n_unread = 0;
    for (size_t i = 0; err == TACIT_OK && i < rows.n; i++)
        err = job_add(j, &rows.list[i]);
    free(rows.list);
    return err;
}

enum tacit_err jobs_new(const struct jobs_config *c, int64_t now_ms,
                        struct jobs **out)
{
    int n = 0;
    TRY(store_rounds_abort(c->store, E_ROUND_RESTARTED,
                           err_code_find(E_ROUND_RESTARTED)->title, &n));
    if (n) log_event(LOG_WARN, "rounds_aborted", "n=%d reason=restart", n);
    struct jobs *j = calloc(1, sizeof *j);
    if (!j) return fail(TACIT_NOMEM, "the plan queue");
    j->config = *c;
    j->started_ms = now_ms;
    enum tacit_err err = jobs_reload(j);
    if (err != TACIT_OK) {
        jobs_free(j);
        return err;
    }
    *out = j;
    return TACIT_OK;
}

void jobs_free(struct jobs *j)
{
    if (!j) return;
    runner_free(j->runner);
    for (size_t i = 0; i < j->n; i++) job_release(&j->list[i]);
    free(j->list);
    free(j);
}

int jobs_all_finished(const struct jobs *j)
{
    size_t n_open = 0;
    for (size_t i = 0; i < j->n; i++) n_open += !j->list[i].broken;
    return n_open == 0 && j->n_unread == 0 && j->n_finished > 0;
}

/* ---- a round ends ------------------------------------------------------- */

static void row_count(struct jobs *j)
{
    struct round_counts c;
    round_counts(runner_round(j->runner), &c);
    j->row.n_invited = c.n_invited;
    j->row.n_advertised = c.n_advertised;
    j->row.n_inputs = c.n_inputs;
    j->row.duration_ms = (tick_ns() - j->round_ns) / 1000000;
}

static uint32_t n_members(const struct jobs *j)
{
    const struct sessions *s = j->config.sessions;
    uint32_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->list[i].member.state == MEMBER_APPROVED;
    return n;
}

/* What the strategy kept at the version before is of no more use. */
static void drop_state(struct jobs *j, const struct digest *old,
                       const struct digest *new)
{
    static const struct digest none;
    char path[512];
    if (digest_equal(old, &none) || digest_equal(old, new)) return;
    if (blob_path(j->config.blob_dir, old, path, sizeof path) == TACIT_OK)
        unlink(path); /* one that stays costs only room */
    else
        err_clear();
}

/* The new model: blobs, then one transaction for its row and the round's. */
static enum tacit_err commit_model(struct jobs *j,
                                   const struct runner_result *result,
                                   struct msg_over *over)
{
    struct job *job = &j->list[j->active];
    struct aggregate *a = job->learned;
    const struct aggregate_step step = {.round = job->version.version + 1,
                                        .n_population = n_members(j)};
    TRY(aggregate_take(a, result->update, &result->mean, 0));
    TRY(aggregate_step(a, &step));
    struct models_version v = {.plan_hash = job->hash,
                               .parent_hash = job->version.model_hash,
                               .version = job->version.version + 1,
                               .round = over->round,
                               .n_clients = result->n_clients,
                               .created_s = tick_wall_s()};
    memcpy(v.session, over->session, sizeof v.session);
    TRY(models_put_state(j->config.blob_dir, &a->state2, &v));
    TRY(models_seal(j->config.keys, j->config.blob_dir, job->plan, &a->next,
                    &v));
    row_count(j);
    struct store_round row = j->row;
    snprintf(row.state, sizeof row.state, "committed");
    row.weight = (double)result->mean.weight / RING_WEIGHT_MAX;
    memcpy(row.metrics, result->mean.metrics, sizeof row.metrics);
    TRY(store_round_end(j->config.store, &row, &v));
    j->row = row;
    drop_state(j, &job->version.state_hash, &v.state_hash);
    job->version = v;
    aggregate_adopt(a);
    models_over(&v, over);
    return TACIT_OK;
}

/* Devices are told the catalogue's words; paths and causes stay in our log. */
static enum tacit_err commit(void *ctx, const struct runner_result *result,
                             struct msg_over *over)
{
    struct jobs *j = ctx;
    enum tacit_err err = commit_model(j, result, over);
    if (err == TACIT_OK) return TACIT_OK;
    aggregate_drop(j->list[j->active].learned);
    log_event(LOG_ERROR, "commit_failed", "error=\"%s\"", err_message());
    unsigned id = err_id();
    const struct err_code *code = err_code_find(id);
    err_clear();
    return fail_as(id, "%s", code ? code->title : err_text(err));
}

static void log_committed(const struct jobs *j, const struct job *job)
{
    const struct store_round *r = &j->row;
    log_event(LOG_INFO, "round_committed",
              "plan=%s round=%u attempt=%u clients=%u loss=%.6g metric=%.6g "
              "ms=%" PRId64,
              job->plan->name, r->round, r->attempt, r->n_inputs, r->metrics[0],
              r->metrics[3] > 0 ? r->metrics[2] / r->metrics[3] : 0,
              r->duration_ms);
    if (is_done(job))
        log_event(LOG_INFO, "plan_finished", "plan=%s rounds=%u",
                  job->plan->name, job->plan->rounds);
}

static void record_abort(struct jobs *j, struct job *job, int64_t now_ms)
{
    const struct msg_over *over = round_over(runner_round(j->runner));
    unsigned shift = job->n_aborts < 16 ? job->n_aborts : 16;
    int64_t pause = (int64_t)JOBS_PAUSE_MIN_MS << shift;
    job->n_aborts++;
    job->not_before_ms =
        now_ms + (pause < JOBS_PAUSE_MAX_MS ? pause : JOBS_PAUSE_MAX_MS);
    row_count(j);
    snprintf(j->row.state, sizeof j->row.state, "aborted");
    j->row.code = over->code;
    snprintf(j->row.reason, sizeof j->row.reason, "%s", over->reason);
    log_event(LOG_WARN, "round_aborted",
              "plan=%s round=%u attempt=%u code=E%04u reason=\"%s\"",
              job->plan->name, j->row.round, j->row.attempt, over->code,
              over->reason);
    if (store_round_end(j->config.store, &j->row, NULL) != TACIT_OK) {
        log_event(LOG_ERROR, "store_failed", "error=\"%s\"", err_message());
        err_clear();
    }
}

/* After anything that may have moved the round. */
static void look_after(struct jobs *j, int64_t now_ms)
{
    if (!j->running) return;
    unsigned clones = runner_n_same_identity(j->runner);
    if (clones != j->n_same_identity)
        log_event(LOG_WARN, "same_identity",
                  "plan=%s round=%u hint=\"a device's home was copied\"",
                  j->list[j->active].plan->name, j->row.round);
    j->n_same_identity = clones;
    if (!runner_ended(j->runner)) return;
    struct job *job = &j->list[j->active];
    j->running = 0;
    if (round_state(runner_round(j->runner)) == ROUND_COMMITTED) {
        job->n_aborts = 0;
        job->waiting_since_ms = 0;
        log_committed(j, job);
    } else {
        record_abort(j, job, now_ms);
    }
    drop_done(j);
}

/* ---- a round starts ----------------------------------------------------- */

static int is_eligible(const struct session *m, const struct job *job,
                       int64_t now_ms)
{
    if (m->member.state != MEMBER_APPROVED) return 0;
    return now_ms >= m->declined_until_ms ||
           !digest_equal(&m->declined_plan, &job->hash);
}

/* May this plan's next round open now? */
static int can_start(struct jobs *j, struct job *job, int64_t now_ms)
{
    if (job->broken || is_done(job) || now_ms < job->not_before_ms) return 0;
    const struct sessions *s = j->config.sessions;
    size_t n_waiting = 0, n_eligible = 0, n_near = 0;
    int fresh = now_ms < j->started_ms + JOBS_START_MS;
    for (size_t i = 0; i < s->n; i++) {
        const struct session *m = &s->list[i];
        if (!is_eligible(m, job, now_ms)) continue;
        int seen = m->seen_ms >= 0;
        n_eligible++;
        n_waiting += m->polling != 0;
        n_near += seen ? now_ms - m->seen_ms < SESSIONS_LIVE_MS : fresh;
    }
    size_t most = task_invite_max(job->plan);
    size_t all = n_eligible < most ? n_eligible : most;
    uint32_t fewest = job->plan->min_reports;
    if (fewest < SECAGG_CLIENTS_MIN) fewest = SECAGG_CLIENTS_MIN;
    if (n_waiting < fewest) {
        job->waiting_since_ms = 0;
        return 0;
    }
    if (n_waiting >= all || n_waiting >= n_near) return 1;
    if (job->waiting_since_ms == 0) job->waiting_since_ms = now_ms;
    return now_ms >= job->waiting_since_ms + (fresh ? (int64_t)JOBS_START_MS
                                                    : (int64_t)JOBS_GRACE_MS);
}

/* The roster as a blob, so that a device may fetch what the hash stands for. */
static enum tacit_err put_roster(struct jobs *j, struct msg_task *task)
{
    struct buf roster;
    buf_init(&roster, 0);
    sessions_roster(j->config.sessions, &roster);
    enum tacit_err err = buf_end(&roster);
    if (err == TACIT_OK) {
        digest_of(&task->roster_hash, roster.data, roster.len);
        if (!digest_equal(&task->roster_hash, &j->roster_hash))
            err = blob_put(j->config.blob_dir, roster.data, roster.len,
                           &j->roster_hash);
    }
    buf_release(&roster);
    keys_sign(j->config.keys, "tacit roster v1", task->roster_hash.b,
              DIGEST_BYTES, task->roster_signature);
    return err;
}

static void pass_reply(void *ctx, uint64_t token, const struct message *m)
{
    const struct jobs *j = ctx;
    j->config.reply(j->config.ctx, token, m);
}

static enum tacit_err open_round(struct jobs *j, size_t i, int64_t now_ms)
{
    struct job *job = &j->list[i];
    struct runner_config c = {.layout = job->learned->layout,
                              .spool_dir = j->config.spool_dir,
                              .reply = pass_reply,
                              .commit = commit,
                              .ctx = j};
    struct msg_task *task = &c.round.task;
    models_task(job->plan, job->plan_bytes, &job->version, &c.layout, task);
    rng_secure(task->session, sizeof task->session);
    c.round.invite_max = task_invite_max(job->plan);
    c.round.goal = job->plan->cohort_size;
    TRY(put_roster(j, task));
    TRY(store_attempts(j->config.store, &job->hash, task->round,
                       &task->attempt));
    struct store_round row = {.plan_hash = job->hash,
                              .round = task->round,
                              .attempt = task->attempt,
                              .started_s = tick_wall_s()};
    memcpy(row.session, task->session, sizeof row.session);
    struct runner *runner = NULL;
    TRY(runner_new(&c, now_ms, &runner));
    enum tacit_err err = store_round_begin(j->config.store, &row);
    if (err != TACIT_OK) {
        runner_free(runner);
        return err;
    }
    runner_free(j->runner);
    j->runner = runner;
    j->running = 1;
    j->active = i;
    j->row = row;
    j->round_ns = tick_ns();
    j->n_same_identity = 0;
    return TACIT_OK;
}

/* Offer the round to one waiting device. */
static void offer(struct jobs *j, struct session *m, int64_t now_ms)
{
    struct message poll = {.type = MSG_POLL};
    poll.u.poll = m->poll;
    struct runner_peer peer = {m->member.id, m->member.identity};
    if (runner_message(j->runner, now_ms, &peer, m->token, &poll))
        m->polling = 0;
}

/* Invite who waits, in random order, so that no device is favoured. */
static void invite(struct jobs *j, const struct job *job, int64_t now_ms)
{
    struct sessions *s = j->config.sessions;
    uint32_t *order = malloc((s->n ? s->n : 1) * sizeof *order);
    size_t n = 0;
    if (!order) return; /* the round ends at its deadline */
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].polling && is_eligible(&s->list[i], job, now_ms))
            order[n++] = (uint32_t)i;
    uint64_t seed;
    struct rng rng;
    rng_secure(&seed, sizeof seed);
    rng_init(&rng, seed, j->row.round, j->row.attempt);
    rng_shuffle(&rng, order, n);
    for (size_t i = 0; i < n; i++) offer(j, &s->list[order[i]], now_ms);
    free(order);
}

static void start_next(struct jobs *j, int64_t now_ms)
{
    for (size_t i = 0; i < j->n && !j->running; i++) {
        struct job *job = &j->list[i];
        if (!can_start(j, job, now_ms)) continue;
        if (open_round(j, i, now_ms) != TACIT_OK) {
            log_event(LOG_ERROR, "round_not_opened", "plan=%s error=\"%s\"",
                      job->plan->name, err_message());
            err_clear();
            job->not_before_ms = now_ms + JOBS_GRACE_MS;
            continue;
        }
        invite(j, job, now_ms);
    }
}

/* ---- outside ------------------------------------------------------------ */

static unsigned n_declined(const struct jobs *j)
{
    struct round_counts c;
    round_counts(runner_round(j->runner), &c);
    return c.n_declined;
}

int jobs_message(struct jobs *j, int64_t now_ms, struct session *m,
                 uint64_t token, const struct message *msg)
{
    if (!j->runner) return 0;
    if (msg->type == MSG_POLL &&
        (!j->running || !is_eligible(m, &j->list[j->active], now_ms)))
        return 0;
    struct runner_peer peer = {m->member.id, m->member.identity};
    unsigned before = n_declined(j);
    int taken = runner_message(j->runner, now_ms, &peer, token, msg);
    if (j->running && n_declined(j) != before) {
        m->declined_plan = j->list[j->active].hash;
        m->declined_until_ms = now_ms + JOBS_DECLINE_MS;
    }
    look_after(j, now_ms);
    return taken;
}

void jobs_tick(struct jobs *j, int64_t now_ms)
{
    if (j->running && now_ms >= runner_next_ms(j->runner)) {
        runner_tick(j->runner, now_ms);
        look_after(j, now_ms);
    }
    if (j->n_unread && now_ms >= j->reload_ms) {
        j->reload_ms = now_ms + JOBS_GRACE_MS;
        if (jobs_reload(j) != TACIT_OK) {
            log_event(LOG_ERROR, "plans_not_read", "error=\"%s\"",
                      err_message());
            err_clear();
        }
    }
    if (!j->running) start_next(j, now_ms);
}

int64_t jobs_next_ms(const struct jobs *j)
{
    return j->running ? runner_next_ms(j->runner) : INT64_MAX;
}

void jobs_count_bytes(struct jobs *j, size_t in, size_t out)
{
    if (!j->running) return;
    j->row.bytes_in += (int64_t)in;
    j->row.bytes_out += (int64_t)out;
}

void jobs_stop(struct jobs *j, int64_t now_ms)
{
    if (!j->running) return;
    runner_abort(j->runner, now_ms, E_COORDINATOR_STOPPING,
                 err_code_find(E_COORDINATOR_STOPPING)->title);
    look_after(j, now_ms);
}
