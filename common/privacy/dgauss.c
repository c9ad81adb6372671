#include "common/privacy/dgauss.h"

#include <assert.h>

__extension__ typedef unsigned __int128 wide;

/* Uniform in [0, n), n >= 1. */
static wide below(struct rng *r, wide n)
{
    if (n <= UINT64_MAX) return rng_below(r, (uint64_t)n);
    wide top = n - 1, mask = top;
    for (unsigned by = 1; by < 128; by *= 2) mask |= mask >> by;
    for (;;) {
        wide x = ((wide)rng_u64(r) << 64 | rng_u64(r)) & mask;
        if (x <= top) return x;
    }
}

/* 1 with chance e^(-a / b), a <= b: the first k at which a coin of chance
 * a / (b k) falls wrong is odd as often. */
static int falls_short(struct rng *r, wide a, wide b)
{
    unsigned k = 1;
    while (below(r, b * k) < a) k++;
    return k % 2;
}

/* 1 with chance e^(-a / b). */
static int falls(struct rng *r, wide a, wide b)
{
    for (; a > b; a -= b)
        if (!falls_short(r, 1, 1)) return 0;
    return falls_short(r, a, b);
}

/* P(x) ~ e^(-|x| / t) */
static int64_t laplace(struct rng *r, uint64_t t)
{
    for (;;) {
        uint64_t u = rng_below(r, t), v = 0;
        if (!falls_short(r, u, t)) continue;
        while (falls_short(r, 1, 1)) v++;
        int64_t x = (int64_t)(u + t * v);
        if (!(rng_u64(r) & 1)) return x;
        if (x) return -x;
    }
}

static uint64_t root(uint64_t s)
{
    uint64_t x = 0;
    for (uint64_t bit = (uint64_t)1 << 20; bit; bit >>= 1)
        if ((x | bit) * (x | bit) <= s) x |= bit;
    return x;
}

static int32_t one(struct rng *r, uint64_t s, uint64_t t)
{
    for (;;) {
        int64_t y = laplace(r, t);
        uint64_t size = (uint64_t)(y < 0 ? -y : y);
        /* Further out than a double can tell from never; it bounds what
         * follows to 128 bits, and the noise to the ring's room. */
        if (size > 64 * t) continue;
        wide at = (wide)size * t;
        wide gap = at > s ? at - s : s - at;
        if (falls(r, gap * gap, (wide)2 * s * t * t)) return (int32_t)y;
    }
}

void dgauss_draw(struct rng *r, uint64_t variance, int32_t *out, size_t n)
{
    assert(variance >= 1 && variance <= DGAUSS_VARIANCE_MAX);
    uint64_t t = root(variance) + 1;
    for (size_t i = 0; i < n; i++) out[i] = one(r, variance, t);
}

int dgauss_chance(struct rng *r, double q)
{
    const uint64_t all = (uint64_t)1 << 53;
    return rng_below(r, all) < (uint64_t)(q * (double)all);
}
