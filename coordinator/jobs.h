/*
 * jobs: which plan runs next, and when does its round open?
 *
 *   queue: plans, oldest first -> the first that can start -> sums -> commit
 *
 * One plan runs at a time: its round is one secure sum, or one for each group;
 * a plan of asynchronous buffers (FedBuff) has several rounds under way.
 *
 * A round opens when enough eligible devices wait in POLL: at once when all
 * that can come are there (or as many as may be invited), else after a short
 * grace, never below min_reports for each of its sums. An aborted round is
 * tried again after a pause that doubles up to JOBS_PAUSE_MAX_MS; meanwhile
 * another plan may run.
 *
 * A sum's row is durable before its first TASK, its model before any OVER.
 *
 * Thread rule: the server's owner thread.
 */
#ifndef TACIT_COORDINATOR_JOBS_H
#define TACIT_COORDINATOR_JOBS_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/wire/messages.h"
#include "coordinator/sessions.h"
#include "coordinator/store.h"

enum {
    JOBS_GRACE_MS = 2000,      /* wait for a device that was here lately */
    JOBS_START_MS = 3000,      /* after a start, wait for those never seen */
    JOBS_PAUSE_MIN_MS = 200,   /* after an aborted round … */
    JOBS_PAUSE_MAX_MS = 30000, /* … doubled up to this */
    JOBS_DECLINE_MS = 60000    /* do not ask a device again that declined */
};

struct jobs_config {
    struct store *store; /* all borrowed for the life of the jobs */
    struct sessions *sessions;
    const struct keys *keys;
    const char *blob_dir, *spool_dir;
    void (*reply)(void *ctx, uint64_t token, const struct message *m);
    void *ctx;
};

struct jobs; /* owned */

/* Aborts in the store what an earlier process left running. */
TACIT_CHECKED enum tacit_err jobs_new(const struct jobs_config *c,
                                      int64_t now_ms, struct jobs **out);
/* Tell every waiting device that the coordinator stops. */
void jobs_stop(struct jobs *j, int64_t now_ms);
void jobs_free(struct jobs *j);
/* Take in newly submitted plans. A plan that cannot be loaded is logged and
 * left out; the others go on. */
TACIT_CHECKED enum tacit_err jobs_reload(struct jobs *j);
/* A member's round message, or its POLL; 1 when it was taken. */
int jobs_message(struct jobs *j, int64_t now_ms, struct session *m,
                 uint64_t token, const struct message *msg);
/* Deadlines, and the next round when one can start. */
void jobs_tick(struct jobs *j, int64_t now_ms);
int64_t jobs_next_ms(const struct jobs *j);
/* Traffic of a device in the running round. */
void jobs_count_bytes(struct jobs *j, const struct session *m, size_t in,
                      size_t out);
/* 1 when every submitted plan has run (and there is one). */
int jobs_all_finished(const struct jobs *j);

#endif
