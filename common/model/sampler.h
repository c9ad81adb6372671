/*
 * sampler: from the logits of a decoder's last row to its next token.
 *
 *   logits ─repetition─> ─temperature─> ─top k─> ─top p─> ─min p─> draw
 *
 *   repetition r   a token among the last ones: z / r when z > 0, else z r
 *                  (Keskar et al. 2019, "CTRL")
 *   top k          the k likeliest
 *   top p          the fewest likeliest that reach p together (Holtzman et al.
 *                  2020), of what top k left; one at least
 *   min p          those with at least min_p times the likeliest's chance
 *
 * Equal logits rank by number, and draws come from a named stream, so that a
 * seed gives the same answer everywhere the logits are the same.
 *
 * Thread rule: one thread at a time per sampler.
 */
#ifndef TACIT_MODEL_SAMPLER_H
#define TACIT_MODEL_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* Zeros: the likeliest token, always. */
struct sampling {
    double temperature; /* 0: greedy; the rest but repetition is unused then */
    uint32_t top_k;     /* 0: all */
    double top_p;       /* 1: all; 0: the likeliest */
    double min_p;       /* 0: all */
    double repetition;  /* 0 or 1: none */
    uint32_t window;    /* tokens that repetition looks back; 0: all */
    uint64_t seed;
};

struct sampler; /* owned */

struct sampled {
    uint32_t id;
    float chance;
};

/* LIMIT names the number that is out of its range; NOMEM. */
TACIT_CHECKED enum tacit_err sampler_new(const struct sampling *s, size_t vocab,
                                         struct sampler **out);
void sampler_free(struct sampler *s);
/* What it would draw from, likeliest first; the chances add to 1. *out is
 * borrowed until the next call. recent [n_recent]: the tokens so far, oldest
 * first. FORMAT when no logit is a number, or a recent token is none. */
TACIT_CHECKED enum tacit_err sampler_rank(
    struct sampler *s, const float *logits, const uint32_t *recent,
    size_t n_recent, const struct sampled **out, size_t *out_n);
/* Draw. */
TACIT_CHECKED enum tacit_err sampler_pick(struct sampler *s,
                                          const float *logits,
                                          const uint32_t *recent,
                                          size_t n_recent, uint32_t *out);

#endif
