/*
 * story: the report of a real federation, told from the JSON that its commands
 * printed into one folder:
 *
 *   rounds.json                 tacit-coordinator rounds --json
 *   train-PLAN-SITE.json        tacit train --plan … --json, on each device
 *   ask-N-SITE.json, .txt       tacit ask … --json, and the question
 *   audit-SITE.json             tacit audit --json
 *
 * What is missing is left out.
 */
#ifndef TACIT_SIMS_STORY_H
#define TACIT_SIMS_STORY_H

#include "common/base/err.h"
#include "sims/report.h"

enum { STORY_FILES_MAX = 256, STORY_NAME_MAX = 64 };

/* A finished report (report_release it). NOTFOUND without rounds.json. */
TACIT_CHECKED enum tacit_err story_tell(const char *folder, struct report *out);

#endif
