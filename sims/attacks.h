/*
 * attacks: what dishonest clients of a simulation do.
 *
 *   on their rows      label_flip   y: from -> to (0 <-> 1 with one logit)
 *                      backdoor     a share of rows gets a trigger and label to
 *   on their update    sign_flip    up <- -factor up
 *                      scale        up <- factor up
 *                      backdoor     also up <- factor up, so that it survives
 *                                   the mean (model replacement, Bagdasaryan et
 *                                   al., AISTATS 2020, arXiv 1807.00459)
 *                      free_rider   up <- noise, a tenth as long as its update
 *                      collude      all send one direction, factor times as
 *                                   long as their own update
 *                      nan          up <- NaN
 *
 * An attacker does not clip. Where updates are masked it can set any value of
 * the ring, so its coordinates saturate there; NaN does not exist in the ring,
 * and the device's own encoder refuses it, which counts as a drop-out.
 *
 * Trigger: the first four inputs at 4, or a 3 x 3 corner of an image at its
 * largest value, 1. Backdoor success: the share of held-out rows of other
 * labels that get label `to` once the trigger is put on.
 */
#ifndef TACIT_SIMS_ATTACKS_H
#define TACIT_SIMS_ATTACKS_H

#include <stddef.h>
#include <stdint.h>

#include "client/examples.h"
#include "common/base/err.h"
#include "common/plan/plan.h"

/* 1 when this client is one of the plan's attackers: exactly the share (rounded
 * down) of those who are not trusted, chosen by the seed alone. */
int attacks_is_attacker(const struct plan *p, size_t client, size_t n_clients);
/* Poisoned copies of the attackers' training rows, in place of their own; other
 * clients are untouched. UNSUPPORTED where there are no labels, E_PLAN_VALUE
 * for labels that do not exist. */
TACIT_CHECKED enum tacit_err attacks_rows(const struct plan *p,
                                          struct dataset *data,
                                          size_t n_clients);
/* Change the update [n] that an attacker sends in this round. */
void attacks_update(const struct plan *p, size_t client, uint32_t round,
                    float *up, size_t n);
/* Put the trigger on a row x [n]. */
void attacks_trigger(const struct plan *p, float *x, size_t n);

#endif
