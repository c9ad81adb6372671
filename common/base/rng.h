/*
 * rng: secure random bytes, and seeded streams that replay.
 *
 * Secrets come from rng_secure() only (libsodium's randombytes). A `struct rng`
 * is a counter-based stream: ChaCha20 keyed by BLAKE2b(seed words), so that a
 * stream is a pure function of (seed, stream words...) for any thread order.
 */
#ifndef TACIT_BASE_RNG_H
#define TACIT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Initialise libsodium; aborts the process when it cannot. Idempotent. */
void rng_setup(void);
/* n secure random bytes. */
void rng_secure(void *out, size_t n);

struct rng {
    uint8_t key[32];
    uint64_t block;    /* next ChaCha20 block of 64 bytes */
    uint8_t pool[512]; /* several: the cipher makes them side by side */
    unsigned left;     /* unread bytes in pool */
    float spare;       /* second Box-Muller value */
    int has_spare;
};

/* The stream named by (seed, a, b): e.g. (run seed, round, client). */
void rng_init(struct rng *r, uint64_t seed, uint64_t a, uint64_t b);
/* The stream of a key: a secret one makes it as good as rng_secure(). */
void rng_keyed(struct rng *r, const uint8_t key[32]);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n), unbiased; n >= 1. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1) with 24 bits. */
float rng_f32(struct rng *r);
double rng_f64(struct rng *r);
/* Standard normal (Box-Muller on IEEE double libm). */
float rng_normal(struct rng *r);
/* Fisher-Yates over idx[n]. */
void rng_shuffle(struct rng *r, uint32_t *idx, size_t n);

#endif
