/* rng for tests/arm/run.sh: the functions of common/base/rng.h that the tensor
 * tests use, without a library. Other numbers, drawn as well (PCG). */
#include "common/base/rng.h"

#include <math.h>
#include <string.h>

static uint32_t draw(struct rng *r)
{
    uint64_t s;
    memcpy(&s, r, sizeof s);
    uint64_t next = s * 6364136223846793005u + 1442695040888963407u;
    memcpy(r, &next, sizeof next);
    uint32_t x = (uint32_t)((s >> 18 ^ s) >> 27), turn = (uint32_t)(s >> 59);
    return x >> turn | x << (-turn & 31u);
}

void rng_init(struct rng *r, uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t s = seed * 77 + a * 7 + b + 1;
    memset(r, 0, sizeof *r);
    memcpy(r, &s, sizeof s);
    draw(r);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t high = draw(r);
    return high << 32 | draw(r);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return draw(r) % n;
}

float rng_normal(struct rng *r)
{
    double u = (draw(r) + 1.0) / 4294967297.0, v = draw(r) / 4294967296.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}
