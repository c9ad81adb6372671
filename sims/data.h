/*
 * data: rows made here for a plan that brings none, before they are dealt out.
 *
 *   vectors  synthetic.h    natural clients: devices
 *   images   digits.h       natural clients: writers
 *   text     texts.h        natural clients: speakers
 *
 * With sim.partition: sites each client is a natural one; its rows come in
 * order. Any other partition takes its rows from DATA_SOURCES natural ones in
 * turn and deals them out; iid vectors come from one device (the iid set of the
 * FedProx program).
 *
 * There are sim.clients times sim.rows rows. Under sites and sizes: power they
 * are spread by power law (partition.h); vectors then have the sizes of the
 * FedProx program, lognormal(4, 2) + 50, whatever sim.rows is.
 *
 * Rows are drawn by several threads; each is a function of its own number and
 * the seed alone.
 */
#ifndef TACIT_SIMS_DATA_H
#define TACIT_SIMS_DATA_H

#include "client/pooled.h"
#include "common/base/err.h"
#include "common/plan/plan.h"

enum { DATA_SOURCES = 100 };

/* UNSUPPORTED where the plan wants what cannot be made (pictures of another
 * kind); LIMIT. Not for tables. */
TACIT_CHECKED enum tacit_err data_invent(const struct plan *plan,
                                         struct pooled *out);

#endif
