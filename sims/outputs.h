/*
 * outputs: the files of a run, written while it goes on.
 *
 *   outputs_open            run.json "running"; what an earlier run left goes
 *     outputs_round …       metrics.jsonl.part, events.out.tfevents.N.part
 *   outputs_close           the names without .part; metrics.csv,
 *                           metrics.sqlite, model.safetensors, report.html;
 *                           last of all run.json with how it ended
 *
 * A killed run leaves run.json at "running" and every finished round in the
 * files that end in .part. A file without that ending is whole. Each small file
 * is replaced at once (file_write), the database is made under another name.
 *
 * Thread rule: one caller.
 */
#ifndef TACIT_SIMS_OUTPUTS_H
#define TACIT_SIMS_OUTPUTS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "sims/runlog.h"

struct outputs; /* owned */

/* Takes over what *record owns, also on failure. The folder is made. */
TACIT_CHECKED enum tacit_err outputs_open(const char *folder,
                                          struct runlog *record,
                                          struct outputs **out);
/* The round is in the files when this returns. */
TACIT_CHECKED enum tacit_err outputs_round(struct outputs *o,
                                           const struct fleet_round *r);
/* Finish every file. model: the newest model's file, NULL when there is none.
 * With RUNLOG_FAILED the recorded message becomes part of run.json. */
TACIT_CHECKED enum tacit_err outputs_close(struct outputs *o,
                                           enum runlog_state state,
                                           const struct buf *model);
void outputs_free(struct outputs *o);
/* What was written so far; borrowed. */
const struct runlog *outputs_record(const struct outputs *o);

#endif
