/*
 * policy: the site's last word. policy.yaml lies in the device's home and is
 * enforced on the device, whatever the coordinator asks.
 *
 *   tasks: [classify, regress, retriever]   # what may be learnt here
 *   data:                                   # a plan's data.source -> a file
 *     - {source: patients, file: /srv/export/patients.csv}
 *   min_cohort: 3        # fewest devices in a sum
 *   clip_max: 10         # largest L2 norm of an update
 *   budget: {updates: 1000, updates_per_day: 500}
 *   privacy: {epsilon_max: 8, epsilon_per_day: 2, delta: 1e-5}   # of one row
 *   hours: "20:00-06:00" # local time; always when left out
 *   memory_mib: 2048     # most that training an adapter may take
 *   adapter_rank_max: 8  # … and the highest rank of its pairs
 *
 * A key that is left out has its default: every task, no data, the numbers
 * above. `budget: {updates: 0}` lets nothing out.
 *
 * Secure aggregation is not a setting: there is no other way out.
 */
#ifndef TACIT_CLIENT_POLICY_H
#define TACIT_CLIENT_POLICY_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/plan/plan.h"
#include "common/privacy/accountant.h"
#include "common/task/task.h"

enum { POLICY_SOURCES_MAX = 32, POLICY_PATH_MAX = 1024, POLICY_DAY_S = 86400 };

/* Epsilon is stated at this, unless the file says otherwise. */
#define POLICY_DELTA 1e-5

struct policy_source {
    char name[PLAN_NAME_MAX];
    char path[POLICY_PATH_MAX];
};

struct policy {
    unsigned tasks; /* bit 1 << enum plan_task */
    struct policy_source sources[POLICY_SOURCES_MAX];
    size_t n_sources;
    uint32_t min_cohort;
    double clip_max;
    uint64_t updates, updates_per_day;
    /* Of one row, at delta; epsilon_max 0: no bound, and rounds without noise
     * may run. epsilon_per_day 0: none. */
    double epsilon_max, epsilon_per_day, delta;
    int from_minute, to_minute; /* of the local day; equal = always */
    uint32_t memory_mib;        /* 0: no bound */
    uint32_t adapter_rank_max;  /* 0: no bound */
};

/* What has left already. */
struct policy_spent {
    uint64_t updates, updates_today; /* ever; in the last POLICY_DAY_S */
};

/* … and what it tells about a row at most (ledger_epsilon). */
struct policy_epsilon {
    struct account all, today; /* of the releases with noise */
    uint64_t uploads;          /* of the plan in hand */
    uint64_t noised, open;     /* releases with noise; without any */
};

/* The text of a new device's file. */
extern const char policy_default[];

/* FORMAT names file, line and key. */
TACIT_CHECKED enum tacit_err policy_load(const char *path, struct policy *out);
TACIT_CHECKED enum tacit_err policy_parse(const char *name, const char *text,
                                          size_t n, struct policy *out);
/* The file of a plan's source; NULL when the policy names none. */
const char *policy_path(const struct policy *p, const char *source);
/* Most that training over the plan's base may take, by the plan and the policy
 * [MiB]; 0: neither says. */
uint32_t policy_memory_mib(const struct policy *p, const struct plan *plan);
/* May this device take part in a round of the plan with at least u_min
 * devices, now? E_POLICY_REFUSED names the rule, E_BUDGET_SPENT. local_minute:
 * minute of the local day. */
TACIT_CHECKED enum tacit_err policy_allow(const struct policy *p,
                                          const struct plan *plan,
                                          uint32_t u_min,
                                          const struct policy_spent *spent,
                                          int local_minute);
/* … and one more update with this noise? E_EPSILON_SPENT names what there was.
 * A plan without privacy: OK. */
TACIT_CHECKED enum tacit_err policy_allow_private(
    const struct policy *p, const struct plan *plan,
    const struct task_privacy *v, const struct policy_epsilon *spent);

#endif
