/*
 * digest: BLAKE2b-256, the one content hash of the project (documents, plans,
 * models, chunks, layouts), and hexadecimal text for it.
 */
#ifndef TACIT_BASE_DIGEST_H
#define TACIT_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { DIGEST_BYTES = 32, DIGEST_HEX = 2 * DIGEST_BYTES + 1 };

struct digest {
    uint8_t b[DIGEST_BYTES];
};

/* BLAKE2b-256 of n bytes. */
void digest_of(struct digest *out, const void *bytes, size_t n);

/* Incremental form. The state is opaque: crypto_generichash_state. */
struct digest_state {
    _Alignas(64) unsigned char opaque[384];
};
void digest_begin(struct digest_state *s);
void digest_add(struct digest_state *s, const void *bytes, size_t n);
void digest_end(struct digest_state *s, struct digest *out);

/* Constant-time equality. */
int digest_equal(const struct digest *a, const struct digest *b);
/* Lower-case hex of n bytes into out[2n+1]. */
void hex_encode(char *out, const uint8_t *bytes, size_t n);
/* Exactly n bytes of hex; FORMAT otherwise, then out holds anything. */
TACIT_CHECKED enum tacit_err hex_decode(uint8_t *out, size_t n,
                                        const char *hex);
/* URL-safe base64 without padding; out needs 4*n/3+3 bytes. */
void base64url_encode(char *out, size_t cap, const uint8_t *bytes, size_t n);
/* Decode into out[cap]; *out_n gets the length; FORMAT otherwise, then out
 * holds anything. */
TACIT_CHECKED enum tacit_err base64url_decode(uint8_t *out, size_t cap,
                                              size_t *out_n, const char *text);

#endif
