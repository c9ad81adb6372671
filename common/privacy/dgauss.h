/*
 * dgauss: noise that a secure sum can carry: whole numbers from the discrete
 * Gaussian, exactly.
 *
 *   P(x) ~ e^(-x^2 / (2 s))        x whole, s = the variance, a whole number
 *
 * Canonne, Kamath, Steinke, The Discrete Gaussian for Differential Privacy,
 * NeurIPS 2020 (arXiv 2004.00010), algorithms 1 to 3: uniform integers and
 * comparisons of integers only, so that no rounding of a float gives a record
 * away (Mironov 2012; Jin et al. 2022). Differs in: s is whole, and below 2^40,
 * so that every product fits 128 bits.
 *
 * A draw takes as long as its rejections; whoever could time single draws would
 * learn of them (Jin et al.). A caller draws its whole vector before it looks
 * at a record, and tells nobody when.
 *
 * Thread rule: one stream, one thread.
 */
#ifndef TACIT_PRIVACY_DGAUSS_H
#define TACIT_PRIVACY_DGAUSS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"

#define DGAUSS_VARIANCE_MAX ((uint64_t)1 << 40)

/* out [n]. 1 <= variance <= DGAUSS_VARIANCE_MAX. The stream must be keyed by a
 * secret (rng_keyed) wherever the result protects anybody. */
void dgauss_draw(struct rng *r, uint64_t variance, int32_t *out, size_t n);
/* 1 with chance q, which counts in steps of 2^-53: a record's part in a Poisson
 * sample. */
int dgauss_chance(struct rng *r, double q);

#endif
