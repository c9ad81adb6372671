/*
 * faults: all that is wrong with one file, in one message, so that a person
 * mends it once and not once for each line.
 *
 *   risk.yaml:4: unknown key "lr" (1 of 2); risk.yaml:9: clip is 0 (2 of 2)
 *
 * A check that fails records its failure as any other (err.h); the collector
 * takes it over, and the checks go on.
 */
#ifndef TACIT_BASE_FAULTS_H
#define TACIT_BASE_FAULTS_H

#include "common/base/err.h"

enum { FAULTS_MAX = 8, FAULTS_TEXT = 320 };

struct faults {
    unsigned n; /* found; the first FAULTS_MAX are kept */
    unsigned id[FAULTS_MAX];
    char text[FAULTS_MAX][FAULTS_TEXT];
};

/* Take over the failure recorded as err: OK, the checks may go on. Only what is
 * wrong with the data (FORMAT) is collected; any other err is returned. */
TACIT_CHECKED enum tacit_err faults_take(struct faults *f, enum tacit_err err);
/* OK when nothing was found; else everything, under the code of the first. */
TACIT_CHECKED enum tacit_err faults_end(const struct faults *f);

#endif
