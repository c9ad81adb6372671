/*
 * ring: a clipped float update <-> ring coordinates, with the aggregates that
 * ride inside the same secure sum.
 *
 *   coords = [ params … | count | weight | metrics … | 4 linear checks ]
 *
 * x_i is first clipped to L2 norm `clip`, multiplied by w = weight/weight_max,
 * rounded to integers of q bits (q as large as the ring allows for n clients:
 * n * 2^(q-1) < 2^(ring_bits-1)), and stored modulo 2^ring_bits. The check
 * coordinates are sums r_j x_j with public r = PRG(T): a wrong unmasking does
 * not satisfy them (security notes: they detect bugs, they are not a MAC).
 */
#ifndef TACIT_PRIVACY_RING_H
#define TACIT_PRIVACY_RING_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"

enum { RING_CHECKS = 4, RING_METRICS_MAX = 8, RING_WEIGHT_MAX = 65535 };

struct ring_layout {
    uint32_t n_params;
    uint32_t n_metrics;
    uint32_t ring_bits;   /* 24 or 32 */
    uint32_t clients_max; /* the sum never wraps for this many */
    double clip;          /* L2 bound of an update */
    double metric_max;    /* |metric| bound; larger ones are clamped */
};

/* params + 2 + metrics + checks. */
uint32_t ring_coords(const struct ring_layout *l);
/* Largest magnitude of one client's coordinate: 2^(q-1) - 1. */
uint32_t ring_limit(const struct ring_layout *l);

struct ring_update {
    const float *delta;    /* [n_params] */
    uint32_t weight;       /* 1 … RING_WEIGHT_MAX: n_examples / cap, scaled */
    const double *metrics; /* [n_metrics], this client's means */
    /* [n_params] or NULL: in place of delta, whole numbers that were bounded
     * row by row and have their noise (rowsum.h); they are sent as they are */
    const int32_t *whole;
    int unclipped; /* a simulated attacker: not clipped, saturates instead */
    double norm;   /* out: L2 norm before clipping */
};

/* Clip, weigh, quantise, add aggregates and checks into y [ring_coords].
 * FORMAT for NaN or Inf. The integer norm is checked after rounding. */
TACIT_CHECKED enum tacit_err ring_encode(const struct ring_layout *l,
                                         struct ring_update *u,
                                         const struct digest *transcript,
                                         uint32_t *y);
struct ring_mean {
    uint32_t n_clients;
    uint64_t weight;                  /* sum */
    double metrics[RING_METRICS_MAX]; /* weighted means */
};
/* Sum [ring_coords] of n_clients inputs -> mean update [n_params]. AUTH when a
 * check coordinate or the count differs. */
TACIT_CHECKED enum tacit_err ring_decode(const struct ring_layout *l,
                                         const uint32_t *sum,
                                         uint32_t n_clients,
                                         const struct digest *transcript,
                                         float *mean, struct ring_mean *out);
/* sum += y modulo 2^ring_bits. */
void ring_add(uint32_t *sum, const uint32_t *y, size_t n, uint32_t ring_bits);
/* Pack/unpack coordinates to ring_bits/8 bytes each, little-endian. */
void ring_pack(uint8_t *out, const uint32_t *y, size_t n, uint32_t ring_bits);
void ring_unpack(uint32_t *y, const uint8_t *in, size_t n, uint32_t ring_bits);

#endif
