/*
 * sites: where simulated clients get their examples from.
 *
 *   sites_invent   made here: patients (world.h), vectors (synthetic.h), digits
 *                  (digits.h) or text (texts.h), as the plan's format says
 *   sites_load     the user's own: a folder with one CSV per client, one pooled
 *                  CSV, an IDX images file, .npy, .jsonl; or, for a retriever
 *                  plan, one folder per client with documents/, questions.csv
 *
 * Rows are dealt out as the plan's sim: block says (partition.h). Rows that are
 * no table are held once, in `pooled`, client by client; datasets borrow them.
 *
 * Held-out rows: of tables, vectors and text each client has its own (by
 * examples_held_out() of its own row numbers). Images have one test set for
 * all, in `test`: the one that came with the data, or the rows that
 * examples_held_out() takes from the pool. sim.held_out may say otherwise. A
 * client whose rows would all be held out keeps its first one to train on.
 */
#ifndef TACIT_SIMS_SITES_H
#define TACIT_SIMS_SITES_H

#include <stddef.h>

#include "client/examples.h"
#include "client/pooled.h"
#include "common/base/err.h"
#include "common/plan/plan.h"

enum { SITES_MAX = 100000, SITES_NAME_MAX = 64 };

struct sites {
    struct dataset *data;         /* [n], owned */
    char (*name)[SITES_NAME_MAX]; /* [n], owned */
    size_t n;
    struct pooled pooled; /* owns what datasets and `test` borrow */
    struct examples test; /* rows for all; n_rows 0 where each has its own */
};

void sites_release(struct sites *s);
/* plan->sim.clients clients. UNSUPPORTED for a retriever plan: documents are
 * not invented here. E_DEAL, LIMIT. */
TACIT_CHECKED enum tacit_err sites_invent(const struct plan *plan,
                                          struct sites *out);
/* As many clients as the data names (a folder; sim.partition column or sites),
 * else plan->sim.clients. E_DATA_…, E_CSV_…, E_DEAL, NOTFOUND, IO, LIMIT. */
TACIT_CHECKED enum tacit_err sites_load(const struct plan *plan,
                                        const char *path, struct sites *out);

#endif
