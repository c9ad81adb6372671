#include "common/base/rng.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

void rng_setup(void)
{
    if (sodium_init() >= 0) return;
    /* Nothing may go on without a source of secrets. */
    fputs("fatal: libsodium cannot be initialised\n", stderr);
    abort();
}

void rng_secure(void *out, size_t n)
{
    randombytes_buf(out, n);
}

void rng_init(struct rng *r, uint64_t seed, uint64_t a, uint64_t b)
{
    uint8_t words[24];
    le64_store(words, seed);
    le64_store(words + 8, a);
    le64_store(words + 16, b);
    r->block = 0;
    r->left = 0;
    r->has_spare = 0;
    crypto_generichash(r->key, sizeof r->key, words, sizeof words, NULL, 0);
}

void rng_keyed(struct rng *r, const uint8_t key[32])
{
    *r = (struct rng){.block = 0};
    memcpy(r->key, key, sizeof r->key);
}

static void refill(struct rng *r)
{
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    memset(r->pool, 0, sizeof r->pool);
    crypto_stream_chacha20_xor_ic(r->pool, r->pool, sizeof r->pool, nonce,
                                  r->block, r->key);
    r->block += sizeof r->pool / 64;
    r->left = sizeof r->pool;
}

uint64_t rng_u64(struct rng *r)
{
    if (r->left < 8) refill(r);
    uint64_t v = le64_load(r->pool + sizeof r->pool - r->left);
    r->left -= 8;
    return v;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    /* Reject the last, incomplete multiple of n. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t v;
    do v = rng_u64(r);
    while (v >= limit);
    return v % n;
}

float rng_f32(struct rng *r)
{
    return (float)(rng_u64(r) >> 40) * 0x1p-24f;
}

double rng_f64(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

float rng_normal(struct rng *r)
{
    if (r->has_spare) {
        r->has_spare = 0;
        return r->spare;
    }
    double u = 1.0 - rng_f64(r); /* (0, 1] */
    double angle = 6.283185307179586 * rng_f64(r);
    double radius = sqrt(-2.0 * log(u));
    r->spare = (float)(radius * sin(angle));
    r->has_spare = 1;
    return (float)(radius * cos(angle));
}

void rng_shuffle(struct rng *r, uint32_t *idx, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(r, i);
        uint32_t t = idx[i - 1];
        idx[i - 1] = idx[j];
        idx[j] = t;
    }
}
