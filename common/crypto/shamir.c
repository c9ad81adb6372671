#include "common/crypto/shamir.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

_Static_assert(crypto_core_ristretto255_SCALARBYTES == SHAMIR_SCALAR,
               "scalar size");

static void small(uint8_t out[SHAMIR_SCALAR], unsigned v)
{
    memset(out, 0, SHAMIR_SCALAR);
    out[0] = (uint8_t)v;
    out[1] = (uint8_t)(v >> 8);
}

void shamir_split(const uint8_t secret[SHAMIR_SCALAR], unsigned t, unsigned n,
                  uint8_t *out)
{
    uint8_t a[SHAMIR_MAX][SHAMIR_SCALAR], x[SHAMIR_SCALAR];
    assert(t >= 1 && t <= n && n <= SHAMIR_MAX);
    memcpy(a[0], secret, SHAMIR_SCALAR);
    for (unsigned k = 1; k < t; k++)
        crypto_core_ristretto255_scalar_random(a[k]);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *y = out + (size_t)i * SHAMIR_SCALAR;
        small(x, i + 1);
        memcpy(y, a[t - 1], SHAMIR_SCALAR);
        /* Horner. */
        for (unsigned k = t - 1; k-- > 0;) {
            crypto_core_ristretto255_scalar_mul(y, y, x);
            crypto_core_ristretto255_scalar_add(y, y, a[k]);
        }
    }
    sodium_memzero(a, sizeof a);
}

/* x[n] -> 1/x[n] with one inversion, the costly step, for all of them
 * (Montgomery): the inverse of the whole product, taken apart from its end. */
static void invert_all(uint8_t (*x)[SHAMIR_SCALAR], unsigned n)
{
    uint8_t product[SHAMIR_MAX][SHAMIR_SCALAR]; /* of x[0..i] */
    uint8_t inverse[SHAMIR_SCALAR];
    memcpy(product[0], x[0], SHAMIR_SCALAR);
    for (unsigned i = 1; i < n; i++)
        crypto_core_ristretto255_scalar_mul(product[i], product[i - 1], x[i]);
    int rc = crypto_core_ristretto255_scalar_invert(inverse, product[n - 1]);
    assert(rc == 0); /* none of them is zero */
    (void)rc;
    for (unsigned i = n - 1; i > 0; i--) {
        uint8_t xi[SHAMIR_SCALAR];
        memcpy(xi, x[i], SHAMIR_SCALAR);
        crypto_core_ristretto255_scalar_mul(x[i], inverse, product[i - 1]);
        crypto_core_ristretto255_scalar_mul(inverse, inverse, xi);
    }
    memcpy(x[0], inverse, SHAMIR_SCALAR);
}

void shamir_weights(const uint16_t *members, unsigned t, uint8_t *lambda)
{
    uint8_t den[SHAMIR_MAX][SHAMIR_SCALAR];
    uint8_t xi[SHAMIR_SCALAR], xj[SHAMIR_SCALAR], d[SHAMIR_SCALAR];
    assert(t >= 1 && t <= SHAMIR_MAX);
    for (unsigned i = 0; i < t; i++) {
        uint8_t *num = lambda + (size_t)i * SHAMIR_SCALAR;
        small(num, 1);
        small(den[i], 1);
        small(xi, members[i] + 1u);
        for (unsigned j = 0; j < t; j++) {
            if (j == i) continue;
            small(xj, members[j] + 1u);
            crypto_core_ristretto255_scalar_mul(num, num, xj);
            crypto_core_ristretto255_scalar_sub(d, xj, xi);
            crypto_core_ristretto255_scalar_mul(den[i], den[i], d);
        }
    }
    invert_all(den, t); /* distinct members: no difference is zero */
    for (unsigned i = 0; i < t; i++)
        crypto_core_ristretto255_scalar_mul(lambda + (size_t)i * SHAMIR_SCALAR,
                                            lambda + (size_t)i * SHAMIR_SCALAR,
                                            den[i]);
}

void shamir_combine(const uint8_t *lambda, const uint8_t *shares, unsigned t,
                    uint8_t out[SHAMIR_SCALAR])
{
    uint8_t sum[SHAMIR_SCALAR] = {0}, term[SHAMIR_SCALAR];
    for (unsigned i = 0; i < t; i++) {
        size_t at = (size_t)i * SHAMIR_SCALAR;
        crypto_core_ristretto255_scalar_mul(term, lambda + at, shares + at);
        crypto_core_ristretto255_scalar_add(sum, sum, term);
    }
    memcpy(out, sum, SHAMIR_SCALAR);
    sodium_memzero(sum, sizeof sum);
    sodium_memzero(term, sizeof term);
}
