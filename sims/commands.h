/*
 * commands: the commands of tacit-sim; main.c is their table.
 *
 * Thread rule: the main thread.
 */
#ifndef TACIT_SIMS_COMMANDS_H
#define TACIT_SIMS_COMMANDS_H

#include <stdatomic.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/options.h"
#include "common/plan/plan.h"

enum { SIM_PATH = 4096, SIM_THREADS_MAX = 64 };

TACIT_CHECKED enum tacit_err sim_new(const struct options *o);
TACIT_CHECKED enum tacit_err sim_run(const struct options *o);
TACIT_CHECKED enum tacit_err sim_sweep(const struct options *o);
TACIT_CHECKED enum tacit_err sim_compare(const struct options *o);
TACIT_CHECKED enum tacit_err sim_data(const struct options *o);
TACIT_CHECKED enum tacit_err sim_patients(const struct options *o);
TACIT_CHECKED enum tacit_err sim_report(const struct options *o);

/* No progress and no hints: --json or --quiet. */
int sim_is_quiet(const struct options *o);
/* From here on Ctrl-C and SIGTERM only set sim_stop. */
void sim_catch_signals(void);
extern atomic_int sim_stop;

/* The plan of argument 0 with every --set of the command applied: its text
 * goes to *text, which is initialised here and released by the caller, also
 * after a failure. */
TACIT_CHECKED enum tacit_err sim_plan_text(const struct options *o,
                                           struct buf *text);
/* Set one key of a plan's text; an unknown key is refused by name. */
TACIT_CHECKED enum tacit_err sim_plan_set(const char *name, struct buf *text,
                                          const char *key, const char *value);
/* --target, or NaN. */
TACIT_CHECKED enum tacit_err sim_target(const struct options *o, double *out);

#endif
