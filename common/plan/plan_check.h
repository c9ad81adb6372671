/*
 * plan_check: what the checks of a plan's blocks share: ranges, choices and
 * durations, each with the line of its key in the message.
 */
#ifndef TACIT_PLAN_PLAN_CHECK_H
#define TACIT_PLAN_PLAN_CHECK_H

#include "common/base/faults.h"
#include "common/plan/plan.h"
#include "common/plan/plan_schema.h"

/* The file's name and text, for messages, the plan that is filled, and where
 * faults are collected. After a fault the checks go on with a value that may
 * stand there, so that each tells of its own fault only. */
struct check {
    const char *file, *text;
    size_t n;
    struct plan *plan;
    struct faults *faults;
};

/* "risk.yaml:9: clip is 0; ...": the line of the key, or of what should hold
 * it. */
enum tacit_err plan_wrong(const struct check *c, const char *key,
                          const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* v NULL: the key is absent and counts as fallback. */
TACIT_CHECKED enum tacit_err plan_integer(const struct check *c,
                                          const char *key, const int64_t *v,
                                          int64_t min, int64_t max,
                                          int64_t fallback, uint32_t *out);
TACIT_CHECKED enum tacit_err plan_real(const struct check *c, const char *key,
                                       const double *v, double min, double max,
                                       double fallback, double *out);
/* The index of text among names; the message names the nearest. */
TACIT_CHECKED enum tacit_err plan_choice(const struct check *c, const char *key,
                                         const char *text,
                                         const char *const *names, size_t n,
                                         size_t *out);
TACIT_CHECKED enum tacit_err plan_duration(const struct check *c,
                                           const char *key, const char *text,
                                           int64_t fallback_ms, int64_t *out);

/* The blocks that stand in files of their own. */
TACIT_CHECKED enum tacit_err plan_take_base(const struct check *c,
                                            const struct raw_plan *raw);
/* How such a plan multiplies, and in which memory. */
TACIT_CHECKED enum tacit_err plan_take_effort(const struct check *c,
                                              const struct raw_local *raw);
/* What such a plan learns from: `source` is taken already. */
TACIT_CHECKED enum tacit_err plan_take_texts(const struct check *c,
                                             const struct raw_data *raw);
/* Learning by forward passes, after the rest of `local` was taken. */
TACIT_CHECKED enum tacit_err plan_take_mezo(const struct check *c,
                                            const struct raw_plan *raw);
TACIT_CHECKED enum tacit_err plan_take_strategy(const struct check *c,
                                                const struct raw_plan *raw);
/* After all the others: most of what it says is about them. */
TACIT_CHECKED enum tacit_err plan_take_privacy(const struct check *c,
                                               const struct raw_plan *raw);
TACIT_CHECKED enum tacit_err plan_take_sim(const struct check *c,
                                           const struct raw_plan *raw);
/* … and this one after privacy. */
TACIT_CHECKED enum tacit_err plan_take_flora(const struct check *c,
                                             const struct raw_plan *raw);

#endif
