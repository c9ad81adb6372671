/* sums_open: how a plan's sums are opened, and who sits where. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/wire/blob.h"
#include "coordinator/sums_parts.h"

static int is_async(const struct job *job)
{
    return (job->learned->strategy->flags & STRATEGY_ASYNC) != 0;
}

int sums_is_rooted(const struct job *job)
{
    return (job->learned->strategy->flags & STRATEGY_ROOTED) != 0;
}

int sums_is_trusted(const struct job *job, const struct session *m)
{
    return sums_is_rooted(job) && m->rank < job->plan->strategy.trusted;
}

unsigned sums_of_round(const struct plan *plan)
{
    return plan->strategy.groups ? plan->strategy.groups : 1;
}

uint32_t sums_fewest(const struct plan *plan)
{
    uint32_t n = plan->min_reports;
    return n < SECAGG_CLIENTS_MIN ? (uint32_t)SECAGG_CLIENTS_MIN : n;
}

int sums_is_eligible(const struct session *m, const struct job *job,
                     int64_t now_ms)
{
    if (m->member.state != MEMBER_APPROVED) return 0;
    return now_ms >= m->declined_until_ms ||
           !digest_equal(&m->declined_plan, &job->hash);
}

/* Sums that run now, and a buffer each for the versions that are missing: no
 * device works for a version that the plan does not want. */
int sums_has_room(const struct sums *s, const struct job *job)
{
    unsigned n_live = 0;
    if (!s->job) return 1;
    if (s->job != job || !is_async(job)) return 0;
    for (unsigned i = 0; i < s->n; i++) n_live += s->list[i].state != SUM_ENDED;
    return n_live < job->plan->strategy.concurrent &&
           n_live < job->plan->rounds - job->version.version;
}

/* ---- opening ------------------------------------------------------------ */

/* The roster as a blob, so that a device may fetch what the hash stands for. */
static enum tacit_err put_roster(struct sums *s, struct msg_task *task)
{
    const struct jobs_config *c = s->config;
    struct buf roster;
    buf_init(&roster, 0);
    sessions_roster(c->sessions, &roster);
    enum tacit_err err = buf_end(&roster);
    if (err == TACIT_OK) {
        digest_of(&task->roster_hash, roster.data, roster.len);
        if (!digest_equal(&task->roster_hash, &s->roster_hash))
            err =
                blob_put(c->blob_dir, roster.data, roster.len, &s->roster_hash);
    }
    buf_release(&roster);
    keys_sign(c->keys, "tacit roster v1", task->roster_hash.b, DIGEST_BYTES,
              task->roster_signature);
    return err;
}

static void pass_reply(void *ctx, uint64_t token, const struct message *m)
{
    const struct sum *sum = ctx;
    const struct jobs_config *c = sum->all->config;
    c->reply(c->ctx, token, m);
}

static uint32_t shared(uint32_t n, unsigned n_groups)
{
    uint32_t each = (n + n_groups - 1) / n_groups;
    return each < SECAGG_CLIENTS_MAX ? each : (uint32_t)SECAGG_CLIENTS_MAX;
}

/* What all sums of a round have in common. */
static enum tacit_err prepare(struct sums *s, const struct job *job,
                              struct runner_config *c)
{
    const struct plan *plan = job->plan;
    struct msg_task *task = &c->round.task;
    unsigned n = sums_of_round(plan);
    *c = (struct runner_config){.layout = job->learned->layout,
                                .spool_dir = s->config->spool_dir,
                                .reply = pass_reply,
                                .when = plan->strategy.groups ? RUNNER_LATER
                                                              : RUNNER_AT_ONCE,
                                .commit = sums_commit};
    models_task(plan, job->plan_bytes, &job->version, &c->layout, task);
    c->round.invite_max = shared(task_invite_max(plan), n);
    c->round.goal = plan->cohort_size / n;
    TRY(put_roster(s, task));
    return store_attempts(s->config->store, &job->hash, task->round,
                          &task->attempt);
}

/* Fill slot i with a fresh sum; not in the store yet. */
static enum tacit_err fill(struct sums *s, unsigned i, const struct job *job,
                           struct runner_config *c, int64_t now_ms)
{
    struct sum *sum = &s->list[i];
    struct msg_task *task = &c->round.task;
    sums_clear(sum);
    rng_secure(task->session, sizeof task->session);
    c->ctx = sum;
    TRY(runner_new(c, now_ms, &sum->runner));
    sum->all = s;
    sum->began_ns = tick_ns();
    sum->row = (struct store_round){
        .plan_hash = job->hash,
        .round = task->round,
        .attempt = task->attempt,
        .group = is_async(job) || job->plan->strategy.groups ? i + 1 : 0,
        .base = task->model_version,
        .started_s = tick_wall_s()};
    memcpy(sum->row.session, task->session, sizeof sum->row.session);
    return TACIT_OK;
}

/* The rows of slots first … first + n - 1, durably, in one transaction. */
static enum tacit_err begin_rows(struct sums *s, unsigned first, unsigned n)
{
    struct store_round **rows = malloc(n * sizeof *rows);
    if (!rows) return fail(TACIT_NOMEM, "%u sums", n);
    for (unsigned i = 0; i < n; i++) rows[i] = &s->list[first + i].row;
    enum tacit_err err = store_sums_begin(s->config->store, rows, n);
    free(rows);
    return err;
}

/* ---- who sits where ----------------------------------------------------- */

/* Offer a seat to a device that waits; 1 when it took it. */
static int offer(struct sum *sum, int64_t now_ms, struct session *m,
                 uint64_t token, const struct message *poll)
{
    struct runner_peer peer = {m->member.id, m->member.identity};
    if (!runner_message(sum->runner, now_ms, &peer, token, poll)) return 0;
    m->sum = sum->serial;
    return 1;
}

static int offer_waiting(struct sum *sum, int64_t now_ms, struct session *m)
{
    struct message poll = {.type = MSG_POLL};
    poll.u.poll = m->poll;
    if (!offer(sum, now_ms, m, m->token, &poll)) return 0;
    m->polling = 0;
    return 1;
}

/* Those who wait, in random order, so that no device is favoured; owned by the
 * caller. */
static struct session **shuffled(const struct sums *s, const struct job *job,
                                 int64_t now_ms, size_t *n)
{
    struct sessions *all = s->config->sessions;
    struct session **list = malloc((all->n ? all->n : 1) * sizeof *list);
    uint32_t *order = malloc((all->n ? all->n : 1) * sizeof *order);
    struct rng rng;
    uint64_t seed;
    *n = 0;
    if (!list || !order) {
        free(order);
        return list; /* nobody: the round ends at its deadline */
    }
    for (size_t i = 0; i < all->n; i++) {
        const struct session *m = &all->list[i];
        if (m->polling && sums_is_eligible(m, job, now_ms) &&
            !sums_has_seat(s, m))
            order[(*n)++] = (uint32_t)i;
    }
    rng_secure(&seed, sizeof seed);
    rng_init(&rng, seed, job->version.version, 0);
    rng_shuffle(&rng, order, *n);
    for (size_t i = 0; i < *n; i++) list[i] = &all->list[order[i]];
    free(order);
    return list;
}

/* Deal the devices to slots first … first + n - 1 in turn. The trusted group
 * gets its share first, of those who may sit there. */
static void deal(struct sums *s, unsigned first, unsigned n, int64_t now_ms)
{
    const struct job *job = s->job;
    size_t n_waiting, n_rooted = 0;
    struct session **list = shuffled(s, job, now_ms, &n_waiting);
    int rooted = sums_is_rooted(job);
    unsigned turn = 0, n_dealt = rooted ? n - 1 : n;
    assert(n_dealt > 0); /* a rooted plan has at least two groups */
    for (size_t i = 0; rooted && i < n_waiting; i++) {
        if (!sums_is_trusted(job, list[i]) || n_rooted * n >= n_waiting)
            continue;
        n_rooted += (size_t)offer_waiting(&s->list[first], now_ms, list[i]);
    }
    for (size_t i = 0; i < n_waiting; i++) {
        if (!list[i]->polling) continue;
        unsigned slot = first + (rooted ? 1 : 0) + turn % n_dealt;
        /* Dealt in turn, all are full as soon as one is. */
        if (!offer_waiting(&s->list[slot], now_ms, list[i])) break;
        turn++;
    }
    free(list);
}

enum tacit_err sums_open(struct sums *s, struct job *job, int64_t now_ms)
{
    struct runner_config c;
    unsigned n = sums_of_round(job->plan), first = 0;
    enum tacit_err err = prepare(s, job, &c);
    if (is_async(job)) {
        while (s->job && first < s->n && s->list[first].state != SUM_ENDED)
            first++;
    }
    for (unsigned i = 0; err == TACIT_OK && i < n; i++)
        err = fill(s, first + i, job, &c, now_ms);
    if (err == TACIT_OK) err = begin_rows(s, first, n);
    if (err != TACIT_OK) {
        for (unsigned i = 0; i < n; i++) sums_clear(&s->list[first + i]);
        return err;
    }
    if (!s->job)
        for (unsigned i = first + n; i < s->n; i++) sums_clear(&s->list[i]);
    if (!s->job || first + n > s->n) s->n = first + n;
    s->job = job;
    for (unsigned i = first; i < first + n; i++) {
        s->list[i].serial = ++s->serial;
        s->list[i].state = SUM_RUNS;
    }
    if (is_async(job)) job->waiting_since_ms = 0;
    deal(s, first, n, now_ms);
    return TACIT_OK;
}

/* Late, while a sum is open: into the one with the fewest. One that polls may
 * have adopted a newer version than an older buffer starts from. */
int sums_join(struct sums *s, int64_t now_ms, struct session *m, uint64_t token,
              const struct message *poll)
{
    struct sum *best = NULL;
    unsigned fewest = UINT32_MAX;
    int rooted = sums_is_rooted(s->job);
    if (!sums_is_eligible(m, s->job, now_ms)) return 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct sum *sum = &s->list[i];
        struct round_counts c;
        if (sum->state != SUM_RUNS ||
            round_state(runner_round(sum->runner)) != ROUND_OPEN ||
            sum->row.base != s->job->version.version ||
            (rooted && i == 0 && !sums_is_trusted(s->job, m)))
            continue;
        round_counts(runner_round(sum->runner), &c);
        if (c.n_invited >= fewest) continue;
        best = sum;
        fewest = c.n_invited;
    }
    return best && offer(best, now_ms, m, token, poll);
}
