/*
 * noise_symmetric: CipherState and SymmetricState of the Noise specification
 * (revision 34, sections 5.1 and 5.2) for ChaChaPoly and BLAKE2b.
 */
#ifndef TACIT_CRYPTO_NOISE_SYMMETRIC_H
#define TACIT_CRYPTO_NOISE_SYMMETRIC_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { SYMMETRIC_HASH = 64, SYMMETRIC_KEY = 32, SYMMETRIC_TAG = 16 };

struct symmetric {
    uint8_t ck[SYMMETRIC_HASH]; /* chaining key */
    uint8_t h[SYMMETRIC_HASH];  /* handshake hash */
    uint8_t k[SYMMETRIC_KEY];
    uint64_t n; /* next nonce */
    int has_key;
};

void symmetric_init(struct symmetric *s, const char *protocol_name);
void symmetric_mix_hash(struct symmetric *s, const void *data, size_t n);
void symmetric_mix_key(struct symmetric *s, const uint8_t *ikm, size_t n);
void symmetric_mix_key_and_hash(struct symmetric *s, const uint8_t *ikm,
                                size_t n);
/* out gets n bytes, and SYMMETRIC_TAG more once there is a key: the number is
 * returned. */
size_t symmetric_encrypt(struct symmetric *s, const void *plain, size_t n,
                         uint8_t *out);
/* *out_n plain bytes from n; AUTH. */
TACIT_CHECKED enum tacit_err symmetric_decrypt(struct symmetric *s,
                                               const uint8_t *in, size_t n,
                                               uint8_t *out, size_t *out_n);
/* The two transport keys, initiator's first. */
void symmetric_split(const struct symmetric *s, uint8_t first[SYMMETRIC_KEY],
                     uint8_t second[SYMMETRIC_KEY]);

/* ChaCha20-Poly1305 with Noise's nonce: 4 zero bytes, 64-bit LE counter. */
void symmetric_seal(const uint8_t key[SYMMETRIC_KEY], uint64_t nonce,
                    const void *ad, size_t ad_len, const void *plain, size_t n,
                    uint8_t *out);
TACIT_CHECKED enum tacit_err symmetric_open(const uint8_t key[SYMMETRIC_KEY],
                                            uint64_t nonce, const void *ad,
                                            size_t ad_len, const uint8_t *in,
                                            size_t n, uint8_t *out);

#endif
