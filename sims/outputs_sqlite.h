/*
 * outputs_sqlite: a run as a database, for those who ask in SQL.
 *
 *   runs    one row: plan, hash, seed, strategy, state, the plan's text …
 *   rounds  a row for each round: run, and the columns of runlog.h
 *
 * Several runs: ATTACH their files, or read the folders with tacit-sim compare.
 */
#ifndef TACIT_SIMS_OUTPUTS_SQLITE_H
#define TACIT_SIMS_OUTPUTS_SQLITE_H

#include "common/base/err.h"
#include "sims/runlog.h"

/* Create the database at path, which does not exist. */
TACIT_CHECKED enum tacit_err outputs_sqlite(const struct runlog *r,
                                            const char *path);

#endif
