/* jobs: see jobs.h. */
#include "coordinator/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/log.h"
#include "coordinator/queue.h"
#include "coordinator/sums.h"

struct jobs {
    struct jobs_config config;
    struct queue queue;
    struct sums sums;
    int64_t started_ms;
    int64_t reload_ms; /* unread plans are tried again then */
};

enum tacit_err jobs_reload(struct jobs *j)
{
    return queue_reload(&j->queue);
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
    queue_init(&j->queue, &j->config);
    enum tacit_err err = sums_init(&j->sums, &j->config);
    if (err == TACIT_OK) err = jobs_reload(j);
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
    sums_release(&j->sums);
    queue_release(&j->queue);
    free(j);
}

int jobs_all_finished(const struct jobs *j)
{
    return queue_all_finished(&j->queue);
}

/* ---- a round starts ----------------------------------------------------- */

/* Who could sit in this plan's next sums. */
struct crowd {
    size_t n_eligible, n_waiting, n_near, n_trusted; /* … that wait */
    int fresh; /* the coordinator itself has just come up */
};

static void count_crowd(const struct jobs *j, const struct job *job,
                        int64_t now_ms, struct crowd *c)
{
    const struct sessions *s = j->config.sessions;
    *c = (struct crowd){.fresh = now_ms < j->started_ms + JOBS_START_MS};
    for (size_t i = 0; i < s->n; i++) {
        const struct session *m = &s->list[i];
        if (!sums_is_eligible(m, job, now_ms) || sums_has_seat(&j->sums, m))
            continue;
        int seen = m->seen_ms >= 0;
        c->n_eligible++;
        c->n_near += seen ? now_ms - m->seen_ms < SESSIONS_LIVE_MS : c->fresh;
        if (!m->polling) continue;
        c->n_waiting++;
        c->n_trusted += (size_t)sums_is_trusted(job, m);
    }
}

/* May this plan's next round, or buffer, open now? */
static int can_start(const struct jobs *j, struct job *job, int64_t now_ms)
{
    struct crowd c;
    if (job->broken || queue_is_done(job) || now_ms < job->not_before_ms ||
        !sums_has_room(&j->sums, job))
        return 0;
    count_crowd(j, job, now_ms, &c);
    size_t most = task_invite_max(job->plan);
    size_t all = c.n_eligible < most ? c.n_eligible : most;
    size_t each = sums_fewest(job->plan);
    if (c.n_waiting < each * sums_of_round(job->plan) ||
        (job->plan->strategy.trusted && c.n_trusted < each)) {
        job->waiting_since_ms = 0;
        return 0;
    }
    if (c.n_waiting >= all || c.n_waiting >= c.n_near) return 1;
    if (job->waiting_since_ms == 0) job->waiting_since_ms = now_ms;
    return now_ms >= job->waiting_since_ms + (c.fresh ? (int64_t)JOBS_START_MS
                                                      : (int64_t)JOBS_GRACE_MS);
}

/* Open what can be opened: the first plan's round, or more of its buffers. */
static void start_next(struct jobs *j, int64_t now_ms)
{
    for (size_t i = 0; i < j->queue.n; i++) {
        struct job *job = j->queue.list[i];
        while (can_start(j, job, now_ms)) {
            if (sums_open(&j->sums, job, now_ms) == TACIT_OK) continue;
            log_event(LOG_ERROR, "round_not_opened", "plan=%s error=\"%s\"",
                      job->plan->name, err_message());
            err_clear();
            job->not_before_ms = now_ms + JOBS_GRACE_MS;
        }
    }
}

/* ---- outside ------------------------------------------------------------ */

int jobs_message(struct jobs *j, int64_t now_ms, struct session *m,
                 uint64_t token, const struct message *msg)
{
    int taken = sums_message(&j->sums, now_ms, m, token, msg);
    queue_drop_done(&j->queue, j->sums.job);
    return taken;
}

void jobs_tick(struct jobs *j, int64_t now_ms)
{
    if (now_ms >= sums_next_ms(&j->sums)) {
        sums_tick(&j->sums, now_ms);
        queue_drop_done(&j->queue, j->sums.job);
    }
    if (j->queue.n_unread && now_ms >= j->reload_ms) {
        j->reload_ms = now_ms + JOBS_GRACE_MS;
        if (jobs_reload(j) != TACIT_OK) {
            log_event(LOG_ERROR, "plans_not_read", "error=\"%s\"",
                      err_message());
            err_clear();
        }
    }
    start_next(j, now_ms);
}

int64_t jobs_next_ms(const struct jobs *j)
{
    return sums_next_ms(&j->sums);
}

void jobs_count_bytes(struct jobs *j, const struct session *m, size_t in,
                      size_t out)
{
    sums_count_bytes(&j->sums, m, in, out);
}

void jobs_stop(struct jobs *j, int64_t now_ms)
{
    sums_abort(&j->sums, now_ms, E_COORDINATOR_STOPPING);
}
