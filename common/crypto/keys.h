/*
 * keys: a device's or coordinator's long-term keys: Ed25519 (identity,
 * signatures) and X25519 (Noise static), in guarded memory and in a 0600 file.
 */
#ifndef TACIT_CRYPTO_KEYS_H
#define TACIT_CRYPTO_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum {
    KEYS_PUBLIC = 32,
    KEYS_SIGN_SECRET = 64,
    KEYS_DH_SECRET = 32,
    KEYS_SIGNATURE = 64,
    KEYS_ID = 16,
    KEYS_FINGERPRINT = 40 /* "K7QX-9F2M-…", eight groups, with NUL */
};

struct keys {
    uint8_t sign_public[KEYS_PUBLIC];
    uint8_t dh_public[KEYS_PUBLIC];
    uint8_t id[KEYS_ID];  /* first 16 bytes of BLAKE2b(sign_public) */
    uint8_t *sign_secret; /* [64], guarded, owned */
    uint8_t *dh_secret;   /* [32], guarded, owned */
};

/* Fresh keys in guarded memory. */
TACIT_CHECKED enum tacit_err keys_new(struct keys *out);
void keys_release(struct keys *k); /* wipes */
/* Durable file, mode 0600, with a checksum; never overwrites (STATE). */
TACIT_CHECKED enum tacit_err keys_save(const struct keys *k, const char *path);
/* AUTH when the file is readable by others; FORMAT when damaged. */
TACIT_CHECKED enum tacit_err keys_load(struct keys *out, const char *path);
void keys_id(uint8_t out[KEYS_ID], const uint8_t sign_public[KEYS_PUBLIC]);
/* Four-letter groups of a public key's hash, for people to compare. */
void keys_fingerprint(char out[KEYS_FINGERPRINT],
                      const uint8_t public_key[KEYS_PUBLIC]);
/* Ed25519 over domain || 0 || message; domain separates kinds of statement. */
void keys_sign(const struct keys *k, const char *domain, const void *msg,
               size_t n, uint8_t out[KEYS_SIGNATURE]);
/* The same with a bare secret key [64]. */
void keys_sign_with(const uint8_t *sign_secret, const char *domain,
                    const void *msg, size_t n, uint8_t out[KEYS_SIGNATURE]);
/* AUTH when it is not that key's signature over that domain and message. */
TACIT_CHECKED enum tacit_err keys_verify(const uint8_t sign_public[KEYS_PUBLIC],
                                         const char *domain, const void *msg,
                                         size_t n,
                                         const uint8_t sig[KEYS_SIGNATURE]);

#endif
