/*
 * secagg_transcript: what both halves of SA-1 derive alike: the statements that
 * are signed, the transcript T, the keys that hang on it. Every derivation has
 * its own domain text.
 *
 *   T     = H("transcript", terms, all adverts in member order)
 *   P     = X25519 public of H("mask secret", s)
 *   k_ij  = H_key=X25519(s_i, P_j)("mask", T, min(i,j), max(i,j))
 *   PRG_b = H("self mask", T, b)
 *   seal  = H_key=X25519(C_i, C_j)("share", T, from, to)
 */
#ifndef TACIT_CRYPTO_SECAGG_TRANSCRIPT_H
#define TACIT_CRYPTO_SECAGG_TRANSCRIPT_H

#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/crypto/secagg.h"

enum { SECAGG_TERMS_BYTES = 4 * 32 + 4 * 4 };

TACIT_CHECKED enum tacit_err secagg_terms_check(
    const struct secagg_terms *terms);
/* Sign and verify R0: terms, id, P, C. */
void secagg_advert_sign(const struct secagg_terms *terms,
                        const uint8_t *identity_secret,
                        struct secagg_advert *a);
TACIT_CHECKED enum tacit_err secagg_advert_verify(
    const struct secagg_terms *terms, const struct secagg_advert *a);
void secagg_transcript_of(const struct secagg_terms *terms,
                          const struct secagg_advert *roster, unsigned n,
                          struct digest *out);
/* The statement of R3: T and the survivors. */
enum { SECAGG_SURVIVORS_BYTES = 32 + 2 + SECAGG_CLIENTS_MAX / 8 };
void secagg_survivors_statement(const struct digest *transcript, unsigned n,
                                const struct secagg_set *u3,
                                uint8_t out[SECAGG_SURVIVORS_BYTES]);
#define SECAGG_SURVIVORS_DOMAIN "tacit sa-1 survivors v1"

/* X25519 secret of a member from its scalar s. */
void secagg_mask_secret(const uint8_t s[SECAGG_SCALAR], uint8_t out[32]);
/* AUTH for a key of small order. */
TACIT_CHECKED enum tacit_err secagg_pair_key(const struct digest *transcript,
                                             const uint8_t mask_secret[32],
                                             const uint8_t peer_key[SECAGG_KEY],
                                             unsigned i, unsigned j,
                                             uint8_t out[32]);
void secagg_self_key(const struct digest *transcript,
                     const uint8_t b[SECAGG_SCALAR], uint8_t out[32]);
TACIT_CHECKED enum tacit_err secagg_seal_key(const struct digest *transcript,
                                             const uint8_t secret[32],
                                             const uint8_t peer_key[SECAGG_KEY],
                                             unsigned from, unsigned to,
                                             uint8_t out[32]);

#endif
