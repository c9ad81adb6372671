/*
 * private_round: a device's part of a round under a plan's privacy block: one
 * sum of clipped gradients with its noise, and nothing else.
 *
 *   secret ─> noise [n], drawn first
 *          ─> which rows take part, each with chance `sample`, alone
 *   their gradients, one row at a time ─> rowsum_add ─> rowsum_close ─> whole
 *
 * Abadi et al. 2016 (arXiv 1607.00133), with the noise in whole numbers and
 * shared by the devices of the sum (Kairouz, Liu, Steinke 2021, arXiv
 * 2102.06387). Losses and metrics are of rows too, and are not sent: all zeros.
 *
 * What a row is: one row of the training data of the plan's task. A retriever's
 * row is a question with its passage; its negatives are passages of indexed
 * documents (client/pairs.c), which are no rows.
 */
#ifndef TACIT_CLIENT_PRIVATE_ROUND_H
#define TACIT_CLIENT_PRIVATE_ROUND_H

#include "client/trainer.h"

/* As trainer_run(), for a plan with privacy: fills out->whole. */
TACIT_CHECKED enum tacit_err private_round(const struct trainer_task *t,
                                           struct model *m,
                                           const struct dataset *d,
                                           struct trained *out);

#endif
