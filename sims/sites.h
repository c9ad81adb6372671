/*
 * sites: where simulated clients get their examples from.
 *
 *   sites_invent   patients of the invented world (world.h), dealt out as the
 *                  plan's sim: block says: by site, or mixed (iid)
 *   sites_load     a folder of the user's own: one CSV per client, or, for a
 *                  retriever plan, one folder per client with documents/ and
 *                  questions.csv
 */
#ifndef TACIT_SIMS_SITES_H
#define TACIT_SIMS_SITES_H

#include <stddef.h>

#include "client/examples.h"
#include "common/base/err.h"
#include "common/plan/plan.h"

enum { SITES_MAX = 100000, SITES_NAME_MAX = 64 };

struct sites {
    struct dataset *data;         /* [n], owned */
    char (*name)[SITES_NAME_MAX]; /* [n], owned */
    size_t n;
};

void sites_release(struct sites *s);
/* plan->sim.clients clients of plan->sim.rows patients each. UNSUPPORTED for a
 * retriever plan: documents are not invented here. */
TACIT_CHECKED enum tacit_err sites_invent(const struct plan *plan,
                                          struct sites *out);
TACIT_CHECKED enum tacit_err sites_load(const struct plan *plan,
                                        const char *folder, struct sites *out);

#endif
