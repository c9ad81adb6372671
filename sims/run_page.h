/*
 * run_page: report.html of one run: its figures, curves over rounds and over
 * virtual time, how far the clients lie apart, what it cost, and what it says
 * about privacy.
 */
#ifndef TACIT_SIMS_RUN_PAGE_H
#define TACIT_SIMS_RUN_PAGE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "sims/runlog.h"

/* Append the page to out. The record has at least one round. */
TACIT_CHECKED enum tacit_err run_page(const struct runlog *r, struct buf *out);

/* Bytes, seconds and joules as a person reads them: "1.2 GB", "3.4 h". */
void page_bytes(char out[32], double bytes);
void page_seconds(char out[32], double seconds);
void page_joules(char out[32], double joules);

#endif
