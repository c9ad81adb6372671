/* sums: see sums.h. How they are opened is in sums_open.c. */
#include "coordinator/sums.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/log.h"
#include "common/base/tick.h"
#include "common/wire/blob.h"
#include "coordinator/sums_parts.h"

enum tacit_err sums_init(struct sums *s, const struct jobs_config *c)
{
    *s = (struct sums){.config = c};
    s->list = calloc(SUMS_MAX, sizeof *s->list);
    return s->list ? TACIT_OK : fail(TACIT_NOMEM, "%d sums", SUMS_MAX);
}

void sums_release(struct sums *s)
{
    for (unsigned i = 0; s->list && i < s->n; i++) sums_clear(&s->list[i]);
    free(s->list);
    memset(s, 0, sizeof *s);
}

void sums_clear(struct sum *sum)
{
    runner_free(sum->runner);
    free(sum->kept);
    memset(sum, 0, sizeof *sum);
}

static void drop_mean(struct sum *sum)
{
    free(sum->kept);
    sum->kept = NULL;
    sum->mean = NULL;
}

/* ---- the next model ----------------------------------------------------- */

static void count_row(struct sum *sum)
{
    struct round_counts c;
    round_counts(runner_round(sum->runner), &c);
    sum->row.n_invited = c.n_invited;
    sum->row.n_advertised = c.n_advertised;
    sum->row.n_inputs = c.n_inputs;
    sum->row.duration_ms = (tick_ns() - sum->began_ns) / 1000000;
}

/* What the strategy kept at the version before is of no more use. */
static void drop_state(const struct sums *s, const struct digest *old,
                       const struct digest *new)
{
    static const struct digest none;
    char path[512];
    if (digest_equal(old, &none) || digest_equal(old, new)) return;
    if (blob_path(s->config->blob_dir, old, path, sizeof path) == TACIT_OK)
        unlink(path); /* one that stays costs only room */
    else
        err_clear();
}

/* Take the means in the order of the groups, so that who was first to answer
 * changes nothing; each is let go as soon as it is taken. */
static enum tacit_err step(struct sums *s, uint32_t round, uint32_t staleness)
{
    struct aggregate *a = s->job->learned;
    const struct aggregate_step how = {.round = round,
                                       .n_population =
                                           (uint32_t)sessions_n_approved(
                                               s->config->sessions),
                                       .staleness = staleness};
    for (unsigned i = 0; i < s->n; i++) {
        struct sum *sum = &s->list[i];
        if (!sum->mean) continue;
        TRY(aggregate_take(a, sum->mean, &sum->measured, i == 0));
        drop_mean(sum);
    }
    return aggregate_step(a, &how);
}

/* The rows of the n sums that made v: one transaction with it. */
static enum tacit_err end_rows(struct sums *s, struct sum *const *made,
                               unsigned n, const struct models_version *v)
{
    struct store_round *rows = malloc(n * sizeof *rows);
    if (!rows) return fail(TACIT_NOMEM, "%u sums", n);
    for (unsigned i = 0; i < n; i++) {
        count_row(made[i]);
        struct store_round *row = &rows[i];
        const struct ring_mean *mean = &made[i]->measured;
        *row = made[i]->row;
        snprintf(row->state, sizeof row->state, "committed");
        row->round = v->round; /* a buffer learns only now which it is */
        row->weight = (double)mean->weight / RING_WEIGHT_MAX;
        memcpy(row->metrics, mean->metrics, sizeof row->metrics);
    }
    enum tacit_err err = store_sums_end(s->config->store, rows, n, v);
    for (unsigned i = 0; err == TACIT_OK && i < n; i++) made[i]->row = rows[i];
    free(rows);
    return err;
}

/* The new model: blobs, then one transaction for its row and the sums'. */
static enum tacit_err make_model(struct sums *s, struct sum *const *made,
                                 unsigned n)
{
    struct job *job = s->job;
    struct aggregate *a = job->learned;
    uint32_t before = job->version.version, next = before + 1;
    TRY(step(s, next, before - made[0]->row.base));
    struct models_version v = {.plan_hash = job->hash,
                               .parent_hash = job->version.model_hash,
                               .version = next,
                               .round = next,
                               .n_clients = a->n_clients,
                               .created_s = tick_wall_s()};
    memcpy(v.session, made[0]->row.session, sizeof v.session);
    TRY(models_put_state(s->config->blob_dir, &a->state2, &v));
    TRY(models_seal(s->config->keys, s->config->blob_dir, job->plan, &a->next,
                    &v));
    TRY(end_rows(s, made, n, &v));
    drop_state(s, &job->version.state_hash, &v.state_hash);
    job->version = v;
    aggregate_adopt(a);
    return TACIT_OK;
}

/* Devices are told the catalogue's words; paths and causes stay in our log. */
static enum tacit_err commit(struct sums *s, struct sum *const *made,
                             unsigned n, struct msg_over *over)
{
    enum tacit_err err = make_model(s, made, n);
    if (err == TACIT_OK) {
        models_over(&s->job->version, over);
        return TACIT_OK;
    }
    aggregate_drop(s->job->learned);
    log_event(LOG_ERROR, "commit_failed", "error=\"%s\"", err_message());
    unsigned id = err_id();
    const struct err_code *code = err_code_find(id);
    err_clear();
    return fail_as(id, "%s", code ? code->title : err_text(err));
}

enum tacit_err sums_commit(void *ctx, const struct runner_result *result,
                           struct msg_over *over)
{
    struct sum *sum = ctx;
    size_t bytes = (size_t)result->n_params * sizeof *sum->kept;
    sum->measured = result->mean;
    sum->mean = result->update;
    if (!sum->all->job->plan->strategy.groups) {
        enum tacit_err err = commit(sum->all, &sum, 1, over);
        sum->mean = NULL;
        return err;
    }
    sum->mean = NULL;
    sum->kept = malloc(bytes);
    if (!sum->kept) return fail(TACIT_NOMEM, "the mean of a group");
    memcpy(sum->kept, result->update, bytes);
    sum->mean = sum->kept;
    sum->state = SUM_WAITS;
    return TACIT_OK;
}

/* ---- a sum ends --------------------------------------------------------- */

static void log_committed(const struct sums *s, const struct store_round *r)
{
    const struct job *job = s->job;
    log_event(LOG_INFO, "round_committed",
              "plan=%s round=%u attempt=%u group=%u clients=%u loss=%.6g "
              "metric=%.6g ms=%" PRId64,
              job->plan->name, r->round, r->attempt, r->group, r->n_inputs,
              r->metrics[0],
              r->metrics[3] > 0 ? r->metrics[2] / r->metrics[3] : 0,
              r->duration_ms);
}

static void record_abort(struct sums *s, struct sum *sum)
{
    const struct msg_over *over = round_over(runner_round(sum->runner));
    struct store_round *row = &sum->row;
    count_row(sum);
    drop_mean(sum);
    sum->state = SUM_ENDED;
    snprintf(row->state, sizeof row->state, "aborted");
    row->code = over->code;
    snprintf(row->reason, sizeof row->reason, "%s", over->reason);
    log_event(LOG_WARN, "round_aborted",
              "plan=%s round=%u attempt=%u group=%u code=E%04u reason=\"%s\"",
              s->job->plan->name, row->round, row->attempt, row->group,
              over->code, over->reason);
    if (store_round_end(s->config->store, row, NULL) != TACIT_OK) {
        log_event(LOG_ERROR, "store_failed", "error=\"%s\"", err_message());
        err_clear();
    }
}

static void round_succeeded(struct sums *s)
{
    struct job *job = s->job;
    job->n_aborts = 0;
    job->waiting_since_ms = 0;
    if (queue_is_done(job))
        log_event(LOG_INFO, "plan_finished", "plan=%s rounds=%u",
                  job->plan->name, job->plan->rounds);
}

static void look_at(struct sums *s, struct sum *sum, int64_t now_ms)
{
    unsigned clones = runner_n_same_identity(sum->runner);
    if (clones != sum->n_same_identity)
        log_event(LOG_WARN, "same_identity",
                  "plan=%s round=%u hint=\"a device's home was copied\"",
                  s->job->plan->name, sum->row.round);
    sum->n_same_identity = clones;
    if (!runner_ended(sum->runner)) return;
    if (round_state(runner_round(sum->runner)) == ROUND_COMMITTED) {
        sum->state = SUM_ENDED;
        log_committed(s, &sum->row);
        round_succeeded(s);
        return;
    }
    record_abort(s, sum);
    if (!s->job->plan->strategy.groups) queue_pause(s->job, now_ms);
}

/* ---- a round in groups ends --------------------------------------------- */

static unsigned groups_wanted(const struct plan *plan)
{
    unsigned half = (plan->strategy.groups + 1) / 2;
    return half > 2 ? half : 2;
}

static void abort_live(struct sums *s, int64_t now_ms, unsigned code,
                       const char *reason)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct sum *sum = &s->list[i];
        if (sum->state == SUM_ENDED) continue;
        runner_abort(sum->runner, now_ms, code, reason);
        record_abort(s, sum);
    }
}

static void commit_groups(struct sums *s, int64_t now_ms)
{
    struct sum *made[SUMS_MAX] = {NULL};
    struct msg_over over;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (s->list[i].state == SUM_WAITS) made[n++] = &s->list[i];
    if (commit(s, made, n, &over) != TACIT_OK) {
        char reason[WIRE_TEXT_MAX];
        unsigned code = err_id();
        snprintf(reason, sizeof reason, "%s", err_message());
        err_clear();
        abort_live(s, now_ms, code, reason);
        queue_pause(s->job, now_ms);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        made[i]->state = SUM_ENDED;
        runner_finish(made[i]->runner, now_ms, TACIT_OK, &over);
        log_committed(s, &made[i]->row);
    }
    round_succeeded(s);
}

/* Has the round of the groups come to its end? */
static void settle_groups(struct sums *s, int64_t now_ms)
{
    const struct plan *plan = s->job->plan;
    unsigned n_live = 0, n_waits = 0, want = groups_wanted(plan);
    for (unsigned i = 0; i < s->n; i++) {
        n_live += s->list[i].state != SUM_ENDED;
        n_waits += s->list[i].state == SUM_WAITS;
    }
    int rootless = sums_is_rooted(s->job) && s->list[0].state == SUM_ENDED;
    char reason[WIRE_TEXT_MAX];
    if (n_live >= want && !rootless) {
        if (n_waits == n_live) commit_groups(s, now_ms);
        return;
    }
    if (rootless)
        snprintf(reason, sizeof reason, "the trusted group was lost");
    else
        snprintf(reason, sizeof reason,
                 "%u of %u groups are left; %u are needed", n_live,
                 plan->strategy.groups, want);
    abort_live(s, now_ms, E_ROUND_TOO_FEW, reason);
    queue_pause(s->job, now_ms);
}

static int is_live(const struct sums *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->list[i].state != SUM_ENDED) return 1;
    return 0;
}

/* After anything that may have moved a sum. */
static void look_after(struct sums *s, int64_t now_ms)
{
    if (!s->job) return;
    for (unsigned i = 0; i < s->n; i++)
        if (s->list[i].state == SUM_RUNS) look_at(s, &s->list[i], now_ms);
    if (s->job->plan->strategy.groups) settle_groups(s, now_ms);
    if (!is_live(s)) s->job = NULL;
}

/* ---- outside ------------------------------------------------------------ */

/* The sum this device sits in, ended or not; NULL when in none. */
static struct sum *sum_of(const struct sums *s, const struct session *m)
{
    if (m->sum == 0) return NULL;
    for (unsigned i = 0; i < s->n; i++)
        if (s->list[i].serial == m->sum) return &s->list[i];
    return NULL;
}

int sums_has_seat(const struct sums *s, const struct session *m)
{
    const struct sum *sum = s->job ? sum_of(s, m) : NULL;
    if (!sum) return 0;
    return sum->state != SUM_ENDED || s->job->plan->strategy.groups > 0;
}

static unsigned n_declined(const struct sum *sum)
{
    struct round_counts c;
    round_counts(runner_round(sum->runner), &c);
    return c.n_declined;
}

static int deliver(struct sum *sum, int64_t now_ms, struct session *m,
                   uint64_t token, const struct message *msg)
{
    struct sums *s = sum->all;
    struct runner_peer peer = {m->member.id, m->member.identity};
    unsigned before = n_declined(sum);
    int taken = runner_message(sum->runner, now_ms, &peer, token, msg);
    if (s->job && n_declined(sum) != before) {
        m->declined_plan = s->job->hash;
        m->declined_until_ms = now_ms + JOBS_DECLINE_MS;
    }
    look_after(s, now_ms);
    return taken;
}

int sums_message(struct sums *s, int64_t now_ms, struct session *m,
                 uint64_t token, const struct message *msg)
{
    if (msg->type == MSG_POLL) {
        struct sum *mine = sums_has_seat(s, m) ? sum_of(s, m) : NULL;
        if (mine)
            return mine->state != SUM_ENDED &&
                   deliver(mine, now_ms, m, token, msg);
        return s->job && sums_join(s, now_ms, m, token, msg);
    }
    const uint8_t *session = round_message_session(msg);
    for (unsigned i = 0; session && i < s->n; i++) {
        struct sum *sum = &s->list[i];
        if (sum->runner &&
            memcmp(session, sum->row.session, sizeof sum->row.session) == 0)
            return deliver(sum, now_ms, m, token, msg);
    }
    return 0;
}

void sums_tick(struct sums *s, int64_t now_ms)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct sum *sum = &s->list[i];
        if (sum->state != SUM_ENDED && now_ms >= runner_next_ms(sum->runner))
            runner_tick(sum->runner, now_ms);
    }
    look_after(s, now_ms);
}

int64_t sums_next_ms(const struct sums *s)
{
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < s->n; i++) {
        if (s->list[i].state == SUM_ENDED) continue;
        int64_t own = runner_next_ms(s->list[i].runner);
        if (own < next) next = own;
    }
    return next;
}

void sums_count_bytes(struct sums *s, const struct session *m, size_t in,
                      size_t out)
{
    struct sum *sum = sum_of(s, m);
    if (!sum || sum->state == SUM_ENDED) return;
    sum->row.bytes_in += (int64_t)in;
    sum->row.bytes_out += (int64_t)out;
}

void sums_abort(struct sums *s, int64_t now_ms, unsigned code)
{
    if (!s->job) return;
    abort_live(s, now_ms, code, err_code_find(code)->title);
    s->job = NULL;
}
