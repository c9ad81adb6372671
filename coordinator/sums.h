/*
 * sums: the secure sums that are under way, all of one plan, and the step that
 * each of them, or all of them together, make to the next model.
 *
 *   one sum       one runner; its mean is the step
 *
 *   groups        G runners, same round and attempt, a session each
 *     devices that wait ──dealt at random──> group 1 … group G
 *     a group's mean ──> waits (RUNNER_LATER) ──> all have ended
 *       ──> the robust rule across the means ──> one model, told to all
 *
 *   buffers       up to `concurrent` runners (FedBuff), each opened when enough
 *                 devices wait, on the newest version of that moment
 *     a buffer's mean ──> at once a version of its own, with the staleness
 *                         newest - base
 *
 * A device sits in one sum only, also when that sum has failed while the others
 * of its round go on. A round in groups commits when at least half of its
 * groups, two at least, came out right (and as many as the rule wants); every
 * stage of every group has a deadline, so none waits for ever.
 *
 * Trusted group (FLTrust): the coordinator holds no examples, so the root is
 * the mean of group 1, in which only the first `strategy.trusted` devices that
 * ever enrolled may sit (those of one second by name). A revoked one is not
 * replaced. The round waits until min_reports of them are there, and is lost
 * with its trusted group.
 *
 * Memory: for each running sum one ring sum [n_coords] u32, and for each group
 * that waits its mean [n_up * n] float: O(groups * model).
 *
 * Thread rule: the server's owner thread.
 */
#ifndef TACIT_COORDINATOR_SUMS_H
#define TACIT_COORDINATOR_SUMS_H

#include <stdint.h>

#include "common/base/err.h"
#include "coordinator/queue.h"
#include "coordinator/runner.h"
#include "coordinator/sessions.h"

enum { SUMS_MAX = PLAN_GROUPS_MAX };

enum sum_state {
    SUM_ENDED, /* or never used; its runner still answers the late */
    SUM_RUNS,
    SUM_WAITS /* its mean is known; the other groups' are not */
};

struct sums;

struct sum {
    struct sums *all; /* borrowed */
    uint64_t serial;  /* session.sum of those who sit in it */
    enum sum_state state;
    struct runner *runner; /* owned */
    struct store_round row;
    int64_t began_ns;
    unsigned n_same_identity;
    const float *mean; /* [n_up * n] once it came out right */
    float *kept;       /* the same, owned, while it waits */
    struct ring_mean measured;
};

struct sums {
    const struct jobs_config *config; /* borrowed */
    struct job *job;  /* whose they are, borrowed; NULL: none runs */
    unsigned n;       /* of list, in use */
    struct sum *list; /* [SUMS_MAX], owned; a sum stays where it is */
    uint64_t serial;
    struct digest roster_hash; /* of the newest roster blob */
};

TACIT_CHECKED enum tacit_err sums_init(struct sums *s,
                                       const struct jobs_config *c);
void sums_release(struct sums *s);

/* How many sums a round of the plan has, and the fewest devices of each. */
unsigned sums_of_round(const struct plan *plan);
uint32_t sums_fewest(const struct plan *plan);
/* May this device sit in the trusted group, if the plan has one? */
int sums_is_trusted(const struct job *job, const struct session *m);
/* 1 when the device sits in a sum that runs, or whose round does. */
int sums_has_seat(const struct sums *s, const struct session *m);
/* Approved, and not one that has just declined this plan. */
int sums_is_eligible(const struct session *m, const struct job *job,
                     int64_t now_ms);
/* Has the plan another sum to open beside those that run? */
int sums_has_room(const struct sums *s, const struct job *job);

/* Open the next round of job, or its next buffer, and deal out the devices that
 * wait. Durable before the first TASK. */
TACIT_CHECKED enum tacit_err sums_open(struct sums *s, struct job *job,
                                       int64_t now_ms);
/* A round message, or a POLL; 1 when it was taken. */
int sums_message(struct sums *s, int64_t now_ms, struct session *m,
                 uint64_t token, const struct message *msg);
void sums_tick(struct sums *s, int64_t now_ms);
int64_t sums_next_ms(const struct sums *s);
/* Traffic of a device that sits in a sum. */
void sums_count_bytes(struct sums *s, const struct session *m, size_t in,
                      size_t out);
/* Abort them all; every waiting request is told. */
void sums_abort(struct sums *s, int64_t now_ms, unsigned code);

#endif
