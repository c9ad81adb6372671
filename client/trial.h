/*
 * trial: does an adopted search model find this device's own answers? The site
 * has the last word: what finds fewer of its held-out questions' answers than
 * nothing learnt does not search here.
 *
 *   adopted, plan's held-out pairs ─> hits among the first five ─> table trial
 *      nothing learnt · the shared model · this device's own
 *   device_adapter: that with the most; of equals the one learnt the longer
 *
 * Of the built-in encoder's adapters (task retriever, no base). Nothing of it
 * leaves: what a round sends does not depend on it, and the device goes on
 * learning. Held when a model is adopted; pairs that come later are for the
 * next one.
 */
#ifndef TACIT_CLIENT_TRIAL_H
#define TACIT_CLIENT_TRIAL_H

#include "client/device.h"
#include "common/model/model.h"

enum { TRIAL_N_MIGRATIONS = 1 };
extern const char *const trial_migrations[TRIAL_N_MIGRATIONS];

enum trial_choice {
    TRIAL_UNTRAINED,
    TRIAL_SHARED,
    TRIAL_OWN, /* where there is one, else the shared one */
    TRIAL_CHOICES
};

struct trial {
    int64_t n_rows;              /* 0: none was held */
    int64_t hits[TRIAL_CHOICES]; /* of n_rows; -1: there is no own model */
};

/* Try the newest adopted model of a plan on held-out rows (of the plan's
 * width). Without rows, or for another kind of model, nothing is held. */
TACIT_CHECKED enum tacit_err trial_hold(struct device *d,
                                        const struct plan *plan,
                                        const struct examples *rows);
/* The trial of the newest adopted version of a plan. */
TACIT_CHECKED enum tacit_err trial_find(struct device *d,
                                        const struct digest *plan_hash,
                                        struct trial *out);
enum trial_choice trial_choose(const struct trial *t);
/* "untrained", "shared", "own"; static */
const char *trial_name(enum trial_choice c);

#endif
