#include "client/agent.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __GLIBC__
# include <malloc.h>
#endif

#include "client/local.h"
#include "client/trial.h"
#include "common/base/codes.h"
#include "common/base/log.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/crypto/secret.h"
#include "common/wire/blob.h"
#include "common/wire/session.h"

enum { HANDSHAKE_MS = 1000 }; /* what a call may take beside the hold */

struct agent {
    struct device *d;
    struct policy policy;
    struct participate *part;  /* owned */
    struct wire_session *wire; /* owned */
    struct local *local;       /* owned; NULL between plans */
    struct buf reply, blob;    /* storage of the last reply and blob */
    struct message in;
    struct participate_event event;
    struct trained trained; /* owned, of `strategy` and n_trained weights */
    const struct strategy *strategy;
    size_t n_trained;
    char last_why[WIRE_TEXT_MAX]; /* said once, not every five seconds */
    int64_t news_ms;              /* last sign of progress */
    int call_ms_max;              /* of one call, by the caller's patience */
    atomic_int stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static enum tacit_err setup(struct agent *a)
{
    const struct device_federation *f = &a->d->federation;
    struct link_client_config link = {.keys = &a->d->keys};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&a->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&a->lock, NULL);
    buf_init(&a->reply, 0);
    buf_init(&a->blob, WIRE_BLOB_MAX);
    memcpy(link.coordinator, f->coordinator_dh, KEYS_PUBLIC);
    return session_open(f->address, &link, &a->wire);
}

enum tacit_err agent_new(struct device *d, struct agent **out)
{
    if (!d->joined)
        return fail_as(E_NOT_JOINED, "%s belongs to no federation", d->home);
    struct agent *a = calloc(1, sizeof *a);
    if (!a) return fail(TACIT_NOMEM, "no memory for the agent");
    a->d = d;
    enum tacit_err err = setup(a);
    if (err)
        agent_free(a);
    else
        *out = a;
    return err;
}

static void drop_trained(struct agent *a)
{
    if (a->strategy) trained_release(&a->trained, a->strategy, a->n_trained);
    a->strategy = NULL;
}

void agent_free(struct agent *a)
{
    if (!a) return;
    participate_free(a->part);
    session_close(a->wire);
    local_free(a->local);
    buf_release(&a->reply);
    buf_release(&a->blob);
    drop_trained(a);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void agent_stop(struct agent *a)
{
    atomic_store(&a->stop, 1);
    session_interrupt(a->wire);
    pthread_mutex_lock(&a->lock);
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

static int is_stopped(const void *of)
{
    const struct agent *a = of;
    return atomic_load(&a->stop);
}

static void wait_ms(struct agent *a, int64_t ms)
{
    struct timespec until;
    if (ms <= 0) return;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&a->lock);
    int late = 0;
    while (!is_stopped(a) && !late)
        late = pthread_cond_timedwait(&a->wake, &a->lock, &until) != 0;
    pthread_mutex_unlock(&a->lock);
}

/* ---- the wire ----------------------------------------------------------- */

static enum tacit_err call(struct agent *a, const struct message *m,
                           int timeout_ms)
{
    if (timeout_ms > a->call_ms_max) timeout_ms = a->call_ms_max;
    TRY(session_call(a->wire, m, &a->in, &a->reply, timeout_ms));
    a->event =
        (struct participate_event){.kind = PARTICIPATE_REPLY, .reply = &a->in};
    return TACIT_OK;
}

/* Chunk `index` of a blob into a->in.u.blob. */
static enum tacit_err get_chunk(struct agent *a, const struct digest *hash,
                                uint32_t index)
{
    struct message m = {.type = MSG_BLOB_GET};
    m.u.blob_get.hash = *hash;
    m.u.blob_get.index = index;
    TRY(call(a, &m, WIRE_CALL_MS));
    const struct msg_blob *b = &a->in.u.blob;
    if (a->in.type == MSG_BLOB && digest_equal(&b->hash, hash) &&
        b->index == index && b->len == blob_chunk_len(b->total_bytes, index))
        return TACIT_OK;
    return fail(TACIT_PROTO, "the coordinator sent another part of a blob");
}

/* The rest of a blob of several chunks; goes on where an earlier try ended. */
static enum tacit_err get_parts(struct agent *a, const struct digest *hash,
                                uint64_t total)
{
    struct blob_part *part = NULL;
    uint32_t n = blob_n_chunks(total), next;
    TRY(blob_part_open(a->d->blobs, hash, total, &part));
    enum tacit_err err = TACIT_OK;
    while (!err && (next = blob_part_next(part)) < n) {
        err = get_chunk(a, hash, next);
        if (!err && a->in.u.blob.total_bytes != total)
            err = fail(TACIT_PROTO, "a blob changed its size");
        if (!err)
            err = blob_part_write(part, next, a->in.u.blob.bytes,
                                  a->in.u.blob.len);
        a->news_ms = tick_ms();
    }
    if (!err) err = blob_part_finish(part);
    blob_part_close(part);
    return err;
}

static enum tacit_err get_blob(struct agent *a, const struct digest *hash,
                               uint64_t bytes_max)
{
    struct digest got;
    TRY(get_chunk(a, hash, 0));
    const struct msg_blob *b = &a->in.u.blob;
    if (b->total_bytes > bytes_max)
        return fail(TACIT_LIMIT, "a blob of %llu bytes; at most %llu here",
                    (unsigned long long)b->total_bytes,
                    (unsigned long long)bytes_max);
    if (b->total_bytes > b->len) return get_parts(a, hash, b->total_bytes);
    digest_of(&got, b->bytes, b->len);
    if (!digest_equal(&got, hash))
        return fail(TACIT_FORMAT, "a blob differs from its hash");
    return blob_put(a->d->blobs, b->bytes, b->len, &got);
}

static enum tacit_err fetch(struct agent *a, const struct participate_action *t)
{
    if (!blob_has(a->d->blobs, &t->hash))
        TRY(get_blob(a, &t->hash, t->bytes_max));
    buf_clear(&a->blob);
    enum tacit_err err =
        blob_get(a->d->blobs, &t->hash, t->bytes_max, &a->blob);
    if (err == TACIT_FORMAT) {
        /* Damaged on our disk: fetch it again. */
        err_clear();
        TRY(get_blob(a, &t->hash, t->bytes_max));
        buf_clear(&a->blob);
        err = blob_get(a->d->blobs, &t->hash, t->bytes_max, &a->blob);
    }
    TRY(err);
    TRY(buf_end(&a->blob));
    a->event = (struct participate_event){.kind = PARTICIPATE_FETCHED,
                                          .bytes = a->blob.data,
                                          .n_bytes = a->blob.len};
    return TACIT_OK;
}

/* ---- at home ------------------------------------------------------------ */

static enum tacit_err examples(struct agent *a, const struct plan *plan,
                               const struct dataset **out)
{
    if (!a->local) TRY(local_new(a->d, &a->local));
    return local_dataset(a->local, plan, &a->policy, out);
}

/* The examples are read before the round: a table that cannot be used, or that
 * there is no memory for, costs the others nothing, while a device lost after
 * sharing its keys may cost them the round. A plan that the policy does not
 * allow reads nothing. */
static enum tacit_err try_examples(struct agent *a,
                                   const struct participate_action *t,
                                   const struct participate_event *ev)
{
    const struct msg_task *task = participate_task(a->part);
    const struct dataset *d;
    uint64_t bytes;
    if (!task || policy_allow(&a->policy, t->plan, task->u_min, &ev->spent,
                              ev->local_minute)) {
        err_clear(); /* participate says why */
        return TACIT_OK;
    }
    TRY(examples(a, t->plan, &d));
    model_bound(t->model, (uint64_t)policy_memory_mib(&a->policy, t->plan)
                              << 20);
    return trainer_fits(t->plan, t->model, &d->train, &bytes);
}

static enum tacit_err consult(struct agent *a,
                              const struct participate_action *t)
{
    time_t now = (time_t)tick_wall_s();
    struct tm local;
    struct participate_event ev = {.kind = PARTICIPATE_CONSULTED};
    TRY(device_policy(a->d, &a->policy));
    TRY(ledger_spent(&a->d->db, now, &ev.spent));
    TRY(ledger_epsilon(&a->d->db, now, &t->hash, &ev.epsilon));
    TRY(device_known(a->d, &t->hash, &ev.known));
    if (localtime_r(&now, &local))
        ev.local_minute = local.tm_hour * 60 + local.tm_min;
    TRY(try_examples(a, t, &ev));
    a->event = ev;
    return TACIT_OK;
}

/* What this device has kept for a strategy that keeps something. */
static enum tacit_err load_state(struct agent *a,
                                 const struct participate_action *t, size_t n,
                                 float **out)
{
    *out = NULL;
    if (!t->strategy->n_client) return TACIT_OK;
    return device_state(a->d, &t->plan->hash, n * t->strategy->n_client, out);
}

static enum tacit_err train(struct agent *a, const struct participate_action *t)
{
    size_t n = model_params(t->model)->n_flat;
    float *state = NULL;
    if (a->strategy != t->strategy || a->n_trained != n) {
        drop_trained(a);
        TRY(trained_new(t->strategy, n, &a->trained));
        a->strategy = t->strategy;
        a->n_trained = n;
    }
    const struct dataset *d = NULL;
    TRY(examples(a, t->plan, &d));
    TRY(load_state(a, t, n, &state));
    uint8_t secret[32];
    rng_secure(secret, sizeof secret);
    const struct trainer_task task = {.plan = t->plan,
                                      .strategy = t->strategy,
                                      .numbers = t->numbers,
                                      .down = t->down,
                                      .state = state,
                                      .round = t->round,
                                      .client = le64_load(a->d->keys.id),
                                      .work = 1,
                                      .rank = a->policy.adapter_rank_max,
                                      .privacy = t->privacy,
                                      .secret = secret,
                                      .stopped = is_stopped,
                                      .of = a};
    /* A network's products are worth all cores; the bits are the same. */
    struct pool *pool = NULL;
    enum tacit_err err = plan_has_base(t->plan) ? pool_new(&pool, 0) : TACIT_OK;
    model_use_pool(t->model, pool);
    if (!err) err = trainer_run(&task, t->model, d, &a->trained);
    secret_wipe(secret, sizeof secret);
    model_use_pool(t->model, NULL);
    pool_free(pool);
    free(state);
    if (err) return err;
    char loss[32] = "none";
    if (!t->plan->privacy.record)
        snprintf(loss, sizeof loss, "%.6g",
                 a->trained.metrics[TASK_LOSS_AFTER]);
    log_event(LOG_INFO, "trained", "plan=%s round=%u examples=%zu loss=%s",
              t->plan->name, t->round, a->trained.n_examples, loss);
    /* Said here alone: what leaves is noise then, too. */
    if (t->plan->privacy.record &&
        (d->n_dropped || a->trained.n_left_out || !d->train.n_rows))
        log_event(LOG_WARN, "left_out",
                  "plan=%s rows=%zu unusable=%zu without_gradient=%zu",
                  t->plan->name, d->train.n_rows, d->n_dropped,
                  a->trained.n_left_out);
    if (a->trained.without_own)
        log_event(LOG_WARN, "no_own_model", "plan=%s round=%u rows=%zu",
                  t->plan->name, t->round, d->train.n_rows);
    a->event = (struct participate_event){.kind = PARTICIPATE_TRAINED,
                                          .trained = &a->trained,
                                          .now_s = tick_wall_s()};
    return TACIT_OK;
}

static enum tacit_err debit(struct agent *a, const struct participate_action *t)
{
    struct ledger_row row = t->debit;
    TRY(ledger_debit(&a->d->db, &row));
    char noise[64] = "none";
    if (row.noise > 0)
        snprintf(noise, sizeof noise, "%.4g sample=%g unit=record", row.noise,
                 row.sample);
    log_event(LOG_INFO, "debited",
              "plan=%s round=%u attempt=%u bytes=%llu norm=%.4g clip=%g "
              "noise=%s",
              row.plan, row.round, row.attempt, (unsigned long long)row.bytes,
              row.norm, row.clip, noise);
    a->event = (struct participate_event){.kind = PARTICIPATE_DEBITED};
    return TACIT_OK;
}

/* A model that could not be tried searches as one without held-out rows. */
static void hold_trial(struct agent *a, const struct plan *plan)
{
    const struct dataset *d = NULL;
    struct trial t = {0};
    if (plan->task != PLAN_RETRIEVER || plan_has_base(plan)) return;
    enum tacit_err err = examples(a, plan, &d);
    if (!err) err = trial_hold(a->d, plan, &d->test);
    if (!err) err = trial_find(a->d, &plan->hash, &t);
    if (err) {
        log_event(LOG_WARN, "not_tried", "plan=%s why=\"%s\"", plan->name,
                  err_message());
        err_clear();
    } else if (t.n_rows) {
        log_event(LOG_INFO, "tried",
                  "plan=%s held_out=%lld untrained=%lld shared=%lld own=%lld "
                  "searches=%s",
                  plan->name, (long long)t.n_rows,
                  (long long)t.hits[TRIAL_UNTRAINED],
                  (long long)t.hits[TRIAL_SHARED], (long long)t.hits[TRIAL_OWN],
                  trial_name(trial_choose(&t)));
    }
}

static enum tacit_err adopt(struct agent *a, const struct participate_action *t)
{
    /* What the strategy keeps belongs to the sum that was committed: it is
     * kept only where this device's update is in it. */
    int keeps = t->counted && a->strategy == t->strategy && a->strategy &&
                a->strategy->n_client && !a->trained.without_own;
    TRY(device_adopt(a->d, t->plan, &t->over,
                     keeps ? a->trained.next_state : NULL,
                     keeps ? a->n_trained * a->strategy->n_client : 0));
    log_event(LOG_INFO, "adopted", "plan=%s version=%u devices=%u",
              t->plan->name, t->over.model_version, t->over.n_clients);
    hold_trial(a, t->plan);
    a->event = (struct participate_event){.kind = PARTICIPATE_ADOPTED};
    return TACIT_OK;
}

/* ---- the loop ----------------------------------------------------------- */

static void say(struct agent *a, const struct participate_action *t)
{
    static const char *const name[] = {[PARTICIPATE_PENDING] =
                                           "waiting_for_approval",
                                       [PARTICIPATE_REVOKED] = "revoked",
                                       [PARTICIPATE_TASKED] = "task",
                                       [PARTICIPATE_DECLINED] = "declined",
                                       [PARTICIPATE_COMMITTED] =
                                           "round_committed",
                                       [PARTICIPATE_LOST] = "round_lost",
                                       [PARTICIPATE_BROKEN] = "failed"};
    char why[WIRE_TEXT_MAX + 16];
    int bad = t->news == PARTICIPATE_REVOKED ||
              t->news == PARTICIPATE_DECLINED || t->news == PARTICIPATE_BROKEN;
    if (t->news == PARTICIPATE_QUIET) return;
    if (t->news == PARTICIPATE_COMMITTED || t->news == PARTICIPATE_TASKED) {
        a->last_why[0] = '\0';
        a->news_ms = tick_ms();
        if (t->news == PARTICIPATE_COMMITTED) return; /* "adopted" says it */
    }
    snprintf(why, sizeof why, "%d %s", (int)t->news, t->why);
    if (t->news != PARTICIPATE_TASKED && strcmp(why, a->last_why) == 0) return;
    if (t->news != PARTICIPATE_TASKED)
        snprintf(a->last_why, sizeof a->last_why, "%.*s",
                 (int)sizeof a->last_why - 1, why);
    const struct msg_task *task = participate_task(a->part);
    if (task && t->news == PARTICIPATE_TASKED)
        log_event(LOG_INFO, "task", "round=%u rounds=%u attempt=%u",
                  task->round, task->n_rounds, task->attempt);
    else
        log_event(bad ? LOG_WARN : LOG_INFO, name[t->news], "reason=\"%s\"",
                  t->why);
}

/* A device that only polls is small: give back what rounds need, to the system
 * as well. The next task loads it again from the blobs on disk. */
static void rest(struct agent *a)
{
    participate_rest(a->part);
    local_free(a->local);
    a->local = NULL;
    drop_trained(a);
    buf_release(&a->reply);
    buf_release(&a->blob);
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* No work, or none that this device may do; else the next round follows. */
static int is_idle(const struct participate_action *t)
{
    return t->kind == PARTICIPATE_FINISHED || t->news == PARTICIPATE_QUIET ||
           t->pause_ms > 0;
}

/* Carry out one action; a->event tells what came of it. */
static enum tacit_err carry_out(struct agent *a,
                                const struct participate_action *t)
{
    switch (t->kind) {
    case PARTICIPATE_CALL: return call(a, t->message, t->timeout_ms);
    case PARTICIPATE_FETCH: return fetch(a, t);
    case PARTICIPATE_CONSULT: return consult(a, t);
    case PARTICIPATE_TRAIN: return train(a, t);
    case PARTICIPATE_DEBIT: return debit(a, t);
    case PARTICIPATE_ADOPT: return adopt(a, t);
    case PARTICIPATE_PAUSE:
    case PARTICIPATE_FINISHED:
        if (is_idle(t)) rest(a);
        wait_ms(a, t->pause_ms);
        a->event = (struct participate_event){.kind = PARTICIPATE_BEGIN};
        return TACIT_OK;
    case PARTICIPATE_STOP: break;
    }
    return TACIT_OK;
}

/* Has the caller's goal been reached, or become hopeless? */
static int is_done(struct agent *a, enum agent_until until, int64_t patience_ms,
                   const struct participate_action *t, enum tacit_err *err)
{
    if (is_stopped(a)) return 1;
    if (t->news == PARTICIPATE_REVOKED)
        return (*err = fail_as(E_REVOKED, "%s", t->why)) != TACIT_OK;
    if (until == AGENT_FOREVER) return 0;
    if (t->kind == PARTICIPATE_FINISHED) return 1;
    if (until == AGENT_ROUND && t->news == PARTICIPATE_COMMITTED) return 1;
    int declined = t->news == PARTICIPATE_DECLINED;
    if (declined && t->why_id == E_BUDGET_SPENT)
        *err = fail_as(E_BUDGET_SPENT, "%s", t->why);
    else if (declined && t->why_id == E_EPSILON_SPENT)
        *err = fail_as(E_EPSILON_SPENT, "%s", t->why);
    else if (t->kind == PARTICIPATE_PAUSE &&
             tick_ms() - a->news_ms > patience_ms)
        *err = fail(TACIT_TIMEOUT, "no round within %lld s%s%s",
                    (long long)patience_ms / 1000,
                    a->last_why[0] ? "; last: " : "",
                    a->last_why[0] ? a->last_why + 2 : "");
    return *err != TACIT_OK;
}

/* Whoever has little patience is not held longer than that by a poll, nor by
 * repeats towards a coordinator that is gone. */
static enum tacit_err begin(struct agent *a, enum agent_until until,
                            int64_t patience_ms)
{
    int64_t hold_ms = WIRE_POLL_HOLD_MS, call_ms = WIRE_CALL_MS;
    if (until != AGENT_FOREVER && patience_ms < hold_ms) hold_ms = patience_ms;
    if (until != AGENT_FOREVER && patience_ms < call_ms - HANDSHAKE_MS)
        call_ms = patience_ms + HANDSHAKE_MS;
    a->call_ms_max = (int)call_ms;
    const struct participate_config c = {.keys = &a->d->keys,
                                         .coordinator_sign =
                                             a->d->federation.coordinator_sign,
                                         .policy = &a->policy,
                                         .hold_ms = (int)hold_ms,
                                         .bases = a->d->blobs};
    participate_free(a->part);
    a->part = NULL;
    return participate_new(&c, &a->part);
}

enum tacit_err agent_run(struct agent *a, enum agent_until until,
                         int64_t patience_ms)
{
    enum tacit_err err = TACIT_OK;
    TRY(begin(a, until, patience_ms));
    struct participate_action *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "no memory for the agent");
    a->news_ms = tick_ms();
    a->event = (struct participate_event){.kind = PARTICIPATE_BEGIN};
    for (;;) {
        participate_step(a->part, &a->event, t);
        if (t->kind == PARTICIPATE_STOP) {
            err = err_record(TACIT_AUTH, err_id(), "%s", err_message());
            break;
        }
        say(a, t);
        if (is_done(a, until, patience_ms, t, &err)) break;
        if (carry_out(a, t) != TACIT_OK) {
            if (is_stopped(a)) break;
            a->event = (struct participate_event){.kind = PARTICIPATE_FAILED};
        }
    }
    if (is_stopped(a)) {
        err_clear();
        err = TACIT_OK;
    }
    free(t);
    return err;
}
