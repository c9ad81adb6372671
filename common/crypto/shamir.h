/*
 * shamir: t-of-n secret sharing (Shamir 1979) over the scalar field of
 * ristretto255, Z_l with l = 2^252 + 27742317777372353535851937790883648493,
 * with libsodium's own constant-time arithmetic.
 *
 *   f(X) = secret + a_1 X + … + a_{t-1} X^{t-1},   share of member i = f(i + 1)
 *   secret = sum_i share_i * lambda_i, lambda_i = prod_{j != i} x_j/(x_j - x_i)
 */
#ifndef TACIT_CRYPTO_SHAMIR_H
#define TACIT_CRYPTO_SHAMIR_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { SHAMIR_SCALAR = 32, SHAMIR_MAX = 128 };

/* Shares of members 0..n-1 into out [n][32]; 1 <= t <= n <= SHAMIR_MAX. */
void shamir_split(const uint8_t secret[SHAMIR_SCALAR], unsigned t, unsigned n,
                  uint8_t *out);
/* Weights lambda [t][32] for the distinct members[t]. */
void shamir_weights(const uint16_t *members, unsigned t, uint8_t *lambda);
/* Secret from shares [t][32] (in the order of the weights' members). */
void shamir_combine(const uint8_t *lambda, const uint8_t *shares, unsigned t,
                    uint8_t out[SHAMIR_SCALAR]);

#endif
