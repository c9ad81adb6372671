/*
 * runlog: what is known of one run: what was run, and how each round went. The
 * writer (outputs.h) fills it, the readers (report, sweep, compare) take it
 * from a run's folder.
 *
 *   run.json        what was run, its state, its last figures
 *   metrics.jsonl   a line for each round      both ──> struct runlog
 *
 * One table (runlog_columns) names every figure of a round; CSV, JSON lines,
 * SQLite and TensorBoard are all written from it, so that they agree.
 */
#ifndef TACIT_SIMS_RUNLOG_H
#define TACIT_SIMS_RUNLOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/plan/plan.h"
#include "common/task/task.h"
#include "sims/fleet.h"

enum { RUNLOG_ROUNDS_MAX = 1 << 20, RUNLOG_TEXT = 256 };

enum runlog_state {
    RUNLOG_RUNNING, /* or killed: nothing tells them apart */
    RUNLOG_FINISHED,
    RUNLOG_INTERRUPTED,
    RUNLOG_FAILED
};

struct runlog {
    enum runlog_state state;
    char plan[PLAN_NAME_MAX], task[PLAN_NAME_MAX], strategy[PLAN_NAME_MAX];
    char metric[PLAN_NAME_MAX]; /* "accuracy" … */
    int lower_is_better;
    char plan_hash[DIGEST_HEX];
    uint64_t seed;
    size_t n_clients;
    uint32_t n_planned; /* rounds */
    char started[24], ended[24];
    char data[RUNLOG_TEXT]; /* the folder of the user's own data, or "" */
    char error[RUNLOG_TEXT];
    char privacy[TASK_PRIVACY_TEXT];
    char *plan_text; /* owned */
    size_t plan_bytes;
    struct fleet_round *rounds; /* [n_rounds], owned */
    size_t n_rounds, rounds_cap;
    int has_pooled; /* some round measured all held-out rows */
};

/* The last figures of a run. A value that a run does not have is NaN. */
struct runlog_summary {
    double final, best, worst, personal, loss;
    uint32_t best_round;
    double bytes_up, bytes_down; /* of all devices */
    double energy_j, virtual_s, wall_s;
    /* Until the metric first reached the target; NaN when it never did. */
    double target_rounds, target_virtual_s;
};

struct runlog_column {
    const char *name;
    const char *tag; /* TensorBoard's; NULL: not shown there */
    int is_integer;
};

/* Column i, or NULL past the end. */
const struct runlog_column *runlog_column_at(size_t i);
/* 1 and the figure, or 0 where this round has none. */
int runlog_value(const struct fleet_round *r, size_t column, double *out);

const char *runlog_state_name(enum runlog_state s);
/* What struct model_metrics.metric is, for this plan's task. */
const char *runlog_metric_name(const struct plan *p);

/* From a plan, without rounds. data may be NULL. */
TACIT_CHECKED enum tacit_err runlog_of_plan(const struct plan *p,
                                            const char *text, size_t n_bytes,
                                            const char *data, size_t n_clients,
                                            struct runlog *out);
TACIT_CHECKED enum tacit_err runlog_add(struct runlog *r,
                                        const struct fleet_round *round);
void runlog_release(struct runlog *r);

/* One JSON line for a round, with its line end. */
void runlog_put_line(struct buf *out, const struct fleet_round *r);
/* folder/run.json and the rounds of metrics.jsonl, or of its unfinished form:
 * a last line that is not whole is no round. NOTFOUND, FORMAT, LIMIT. */
TACIT_CHECKED enum tacit_err runlog_read(const char *folder,
                                         struct runlog *out);

/* The headline figure of round i: on all held-out rows where that was measured,
 * else the weighted mean from the secure sum; 0 where this round has none. */
int runlog_metric(const struct runlog *r, size_t i, double *out);
/* target NaN: none. */
void runlog_sum_up(const struct runlog *r, double target,
                   struct runlog_summary *out);

#endif
