/*
 * memo: pure functions of libsodium that remember their results, so that a
 * test can play thousands of sessions with the same keys. The definitions here
 * take the place of the library's when they are linked in; all else is the
 * code under test, unchanged. Include it in one file of a program.
 *
 * X25519 is remembered by (secret, public key), an Ed25519 verification by
 * (hash of the statement, signature, public key): all bytes are compared, a
 * result is only ever given for the very same arguments. What was signed here
 * is remembered as verified.
 */
#ifndef TACIT_TESTS_CRYPTO_MEMO_H
#define TACIT_TESTS_CRYPTO_MEMO_H

#include <sodium.h>
#include <stdint.h>
#include <string.h>

enum { MEMO_SLOTS = 1 << 13, MEMO_PROBES = 16, MEMO_KEY = 160 };

/* Open addressing; where all probes are taken, the first gives way. */
struct memo {
    struct memo_entry {
        uint8_t key[MEMO_KEY], result[32];
        int rc, used;
    } entries[MEMO_SLOTS];
    unsigned long n_computed;
};

static struct memo memo_dh, memo_verify;

/* Forget all: the keys have changed. */
static inline void memo_clear(void)
{
    for (int i = 0; i < MEMO_SLOTS; i++)
        memo_dh.entries[i].used = memo_verify.entries[i].used = 0;
}

/* The entry with this key of n random-looking bytes, or one to fill in. */
static struct memo_entry *memo_find(struct memo *m, const uint8_t *key,
                                    size_t n)
{
    uint64_t a, b;
    struct memo_entry *e;
    memcpy(&a, key + 4, sizeof a);
    memcpy(&b, key + n - 12, sizeof b);
    uint32_t at = (uint32_t)((a + b * 0x9e3779b97f4a7c15) >> 40);
    for (uint32_t i = 0; i < MEMO_PROBES; i++) {
        e = &m->entries[(at + i) % MEMO_SLOTS];
        if (!e->used || memcmp(e->key, key, n) == 0) break;
    }
    if (e->used && memcmp(e->key, key, n) == 0) return e;
    if (e->used) e = &m->entries[at % MEMO_SLOTS];
    memcpy(e->key, key, n);
    e->used = 0;
    m->n_computed++;
    return e;
}

int crypto_scalarmult(unsigned char *q, const unsigned char *n,
                      const unsigned char *p)
{
    uint8_t key[64];
    memcpy(key, n, 32);
    memcpy(key + 32, p, 32);
    struct memo_entry *e = memo_find(&memo_dh, key, sizeof key);
    if (!e->used) e->rc = crypto_scalarmult_curve25519(e->result, n, p);
    e->used = 1;
    memcpy(q, e->result, sizeof e->result);
    return e->rc;
}

static struct memo_entry *memo_signature(const crypto_sign_state *state,
                                         const uint8_t *sig, const uint8_t *pk)
{
    uint8_t key[MEMO_KEY];
    crypto_hash_sha512_state copy = state->hs;
    crypto_hash_sha512_final(&copy, key);
    memcpy(key + 64, sig, 64);
    memcpy(key + 128, pk, 32);
    return memo_find(&memo_verify, key, sizeof key);
}

int crypto_sign_final_create(crypto_sign_state *state, unsigned char *sig,
                             unsigned long long *siglen_p,
                             const unsigned char *sk)
{
    crypto_sign_state before = *state;
    int rc = crypto_sign_ed25519ph_final_create(state, sig, siglen_p, sk);
    struct memo_entry *e = memo_signature(&before, sig, sk + 32);
    e->used = 1;
    e->rc = rc;
    return rc;
}

int crypto_sign_final_verify(crypto_sign_state *state, const unsigned char *sig,
                             const unsigned char *pk)
{
    struct memo_entry *e = memo_signature(state, sig, pk);
    if (!e->used) e->rc = crypto_sign_ed25519ph_final_verify(state, sig, pk);
    e->used = 1;
    return e->rc;
}

#endif
