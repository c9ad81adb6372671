/*
 * noise: Noise_XK and Noise_XKpsk3 (and, for the published vectors, every other
 * pattern of the suite) over 25519_ChaChaPoly_BLAKE2b, Noise specification
 * revision 34.
 *
 *   XK:  <- s  …  -> e, es   <- e, ee   -> s, se      (XKpsk3: … s, se, psk)
 *
 * HKDF is HMAC-BLAKE2b-512 (block 128), keys are its first 32 bytes; nonces are
 * 4 zero bytes and a 64-bit little-endian counter; an all-zero DH is refused.
 * A transport message is at most 65,535 bytes.
 */
#ifndef TACIT_CRYPTO_NOISE_H
#define TACIT_CRYPTO_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
    NOISE_KEY = 32,
    NOISE_TAG = 16,
    NOISE_HASH = 64,
    NOISE_MESSAGE_MAX = 65535
};

enum noise_role { NOISE_INITIATOR, NOISE_RESPONDER };

struct noise_config {
    const char *pattern; /* "XK", "XKpsk3", … */
    enum noise_role role;
    const uint8_t *s_secret;  /* [32] own static, or NULL */
    const uint8_t *rs_public; /* [32] known remote static, or NULL */
    const uint8_t *psk;       /* [32] or NULL; a responder may set it later */
    const uint8_t *prologue;
    size_t prologue_len;
    const uint8_t *e_secret; /* [32] fixed ephemeral: test vectors only */
};

struct noise; /* handshake or transport state, guarded, owned */

TACIT_CHECKED enum tacit_err noise_new(const struct noise_config *cfg,
                                       struct noise **out);
void noise_free(struct noise *n); /* wipes; NULL is fine */
/* A responder's PSK, chosen after reading message 1. */
void noise_set_psk(struct noise *n, const uint8_t psk[NOISE_KEY]);
/* Next handshake message; appended to out. STATE when it is not our turn. */
TACIT_CHECKED enum tacit_err noise_write(struct noise *n, const void *payload,
                                         size_t len, struct buf *out);
/* AUTH when anything does not verify; the state is then unusable. */
TACIT_CHECKED enum tacit_err noise_read(struct noise *n, const uint8_t *msg,
                                        size_t len, struct buf *out_payload);
int noise_done(const struct noise *n); /* handshake finished */
/* Handshake hash, for channel binding; after noise_done. */
const uint8_t *noise_hash(const struct noise *n);          /* [64] borrowed */
const uint8_t *noise_remote_static(const struct noise *n); /* [32] or NULL */
/* Transport, explicit nonce: the link layer numbers records. out gets
 * len + 16 bytes (encrypt) or len - 16 (decrypt). */
TACIT_CHECKED enum tacit_err noise_encrypt(struct noise *n, uint64_t nonce,
                                           const void *ad, size_t ad_len,
                                           const uint8_t *in, size_t len,
                                           uint8_t *out);
TACIT_CHECKED enum tacit_err noise_decrypt(struct noise *n, uint64_t nonce,
                                           const void *ad, size_t ad_len,
                                           const uint8_t *in, size_t len,
                                           uint8_t *out);

#endif
