/*
 * queue: the submitted plans that have rounds left, each with its newest model
 * in memory, in the order of submission.
 *
 * A plan that cannot be read now (a full disk, no memory) is tried again; one
 * that can never run is logged once and left out; the others go on. A plan that
 * has run is dropped: its model needs no memory any more.
 *
 * Thread rule: the server's owner thread.
 */
#ifndef TACIT_COORDINATOR_QUEUE_H
#define TACIT_COORDINATOR_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "coordinator/aggregate.h"
#include "coordinator/jobs.h"
#include "coordinator/models.h"

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

struct queue {
    const struct jobs_config *config; /* borrowed */
    struct job **list; /* [n], in the order of submission, owned; a job stays
                        * where it is until it is dropped */
    size_t n;
    size_t n_finished;
    size_t n_unread; /* plans to be tried again */
};

void queue_init(struct queue *q, const struct jobs_config *c);
void queue_release(struct queue *q);
/* Take in what was submitted. */
TACIT_CHECKED enum tacit_err queue_reload(struct queue *q);
int queue_is_done(const struct job *job);
/* Drop the plans that have run, all but `active` (NULL: none). */
void queue_drop_done(struct queue *q, const struct job *active);
/* 1 when every submitted plan has run (and there is one). */
int queue_all_finished(const struct queue *q);
/* A round of job failed: pause, longer each time. */
void queue_pause(struct job *job, int64_t now_ms);

#endif
