/*
 * secagg: SA-1, both halves. Secure aggregation with active security after
 * Bonawitz et al. (CCS 2017) and Bell et al. (2020/704), complete graph.
 *
 *   R0  client -> advert {P = mask key, C = transport key, signed}
 *       server -> roster {all adverts}
 *   R1  client: T = H(session, plan, model, roster); sealed Shamir shares of
 *               (s, b) for every peer
 *       server -> the shares meant for me; their senders are U2
 *   R2  client: y = x + PRG(b) + sum_j +-PRG(k_ij)   in Z_2^ring_bits
 *       server -> the survivor list U3
 *   R3  client: signature over (T, H(U3))
 *       server -> the signatures
 *   R4  client: after >= t valid signatures on the same U3, once: b-shares of
 *               U3, s-shares of U2 \ U3
 *       server: reconstructs, subtracts the masks, checks the sum
 *
 * Differs from the papers in: 1. Shamir over the ristretto255 scalar field with
 * libsodium's own arithmetic; 2. the model, plan and roster hashes stand in T
 * and so in every mask key; 3. linear check coordinates (privacy/ring.h).
 *
 * s is a ristretto255 scalar; the X25519 mask secret is BLAKE2b(s), so that the
 * server can rebuild P from a recovered s and detect a wrong share.
 * Secrets live in guarded memory, are wiped on all paths and never leave RAM.
 * Members are numbered 0..n-1 in ascending order of device id.
 */
#ifndef TACIT_CRYPTO_SECAGG_H
#define TACIT_CRYPTO_SECAGG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"

enum {
    SECAGG_CLIENTS_MIN = 2,
    SECAGG_CLIENTS_MAX = 128,
    SECAGG_ID = 16,
    SECAGG_KEY = 32,
    SECAGG_SIGNATURE = 64,
    SECAGG_SCALAR = 32,
    SECAGG_SEALED = 24 + 2 * 32 + 16 /* nonce, two shares, tag */
};

/* What every member signs up to; equal on all devices. */
struct secagg_terms {
    uint8_t session[32]; /* fresh, from the coordinator */
    struct digest plan_hash;
    struct digest model_hash;  /* of the model that training starts from */
    struct digest roster_hash; /* of the federation's signed roster */
    uint32_t round;
    uint32_t ring_bits; /* 24 or 32 */
    uint32_t n_coords;  /* ring coordinates in an input, checks included */
    uint32_t u_min;     /* fewest survivors; >= 2 */
};

/* A member's R0 message. */
struct secagg_advert {
    uint8_t id[SECAGG_ID];
    uint8_t identity[SECAGG_KEY];        /* Ed25519 public key of the device */
    uint8_t mask_key[SECAGG_KEY];        /* P, X25519 */
    uint8_t seal_key[SECAGG_KEY];        /* C, X25519 */
    uint8_t signature[SECAGG_SIGNATURE]; /* over terms, id, P, C */
};

enum secagg_share_kind {
    SECAGG_SHARE_SELF = 0 /* b */,
    SECAGG_SHARE_MASK = 1 /* s */
};

struct secagg_share {
    uint16_t owner; /* whose secret */
    uint8_t kind;   /* enum secagg_share_kind */
    uint8_t scalar[SECAGG_SCALAR];
};

/* A set of member numbers. */
struct secagg_set {
    uint64_t bits[SECAGG_CLIENTS_MAX / 64];
};
static inline int secagg_set_has(const struct secagg_set *s, unsigned i)
{
    return (int)(s->bits[i / 64] >> (i % 64) & 1);
}
static inline void secagg_set_add(struct secagg_set *s, unsigned i)
{
    s->bits[i / 64] |= (uint64_t)1 << (i % 64);
}
unsigned secagg_set_count(const struct secagg_set *s);

/* t = floor((n + c) / 2) + 1 with c = floor(n / 10), at most n. */
unsigned secagg_threshold(unsigned n);

/* ---- client: one object per session, one thread ---- */
struct secagg_client; /* guarded memory */

/* Fresh secrets for one session. identity_secret is the 64-byte Ed25519 secret
 * key, borrowed for the object's life. */
TACIT_CHECKED enum tacit_err secagg_client_new(const struct secagg_terms *terms,
                                               const uint8_t id[SECAGG_ID],
                                               const uint8_t *identity_secret,
                                               struct secagg_client **out);
void secagg_client_free(struct secagg_client *c); /* wipes */
/* R0. */
void secagg_client_advert(const struct secagg_client *c,
                          struct secagg_advert *out);
/* R1: verify every signature, ascending distinct ids, own advert present and
 * unchanged; then seal shares: out_sealed [n][SECAGG_SEALED], own row zero.
 * AUTH (bad signature), PROTO, LIMIT. identity keys must equal those the device
 * trusts: the caller checks them against the signed roster first. */
TACIT_CHECKED enum tacit_err secagg_client_share(
    struct secagg_client *c, const struct secagg_advert *roster, unsigned n,
    uint8_t *out_sealed);
/* R2a: take the sealed shares addressed to me; sealed[i] from senders[i]. U2 =
 * senders plus me. PROTO (fewer than max(t, u_min), repeated, unknown), AUTH. A
 * share that does not open counts as absent from that sender. */
TACIT_CHECKED enum tacit_err secagg_client_receive(struct secagg_client *c,
                                                   const uint16_t *senders,
                                                   const uint8_t *sealed,
                                                   unsigned n);
/* R2b: mask in place. y [n_coords] holds ring values in its low ring_bits.
 * Once only (STATE). */
TACIT_CHECKED enum tacit_err secagg_client_mask(struct secagg_client *c,
                                                uint32_t *y);
/* R3: check self in U3, U3 within U2, |U3| >= u_min and t; sign (T, H(U3)). */
TACIT_CHECKED enum tacit_err secagg_client_sign(
    struct secagg_client *c, const struct secagg_set *u3,
    uint8_t out_sig[SECAGG_SIGNATURE]);
/* R4: verify >= t distinct valid signatures of U3 members on the U3 signed in
 * R3; then, once, out [<= n] shares and *out_n. Wipes all secrets. A second
 * call, a different U3 or too few signatures: PROTO or AUTH, no share. */
TACIT_CHECKED enum tacit_err secagg_client_reveal(
    struct secagg_client *c, const uint16_t *signers, const uint8_t *signatures,
    unsigned n, struct secagg_share *out, unsigned *out_n);
/* T, after R1. */
void secagg_client_transcript(const struct secagg_client *c,
                              struct digest *out);

/* ---- server: holds public keys, sealed shares and, at the end, at most one
 * kind of share per member (invariant, asserted) ---- */
struct secagg_server;

TACIT_CHECKED enum tacit_err secagg_server_new(const struct secagg_terms *terms,
                                               struct secagg_server **out);
void secagg_server_free(struct secagg_server *s);
/* R0: AUTH for a wrong signature or an unusable key; STATE once closed; PROTO
 * when this id has already advertised other keys, or another id this one's. A
 * repeat of the same advert is OK. */
TACIT_CHECKED enum tacit_err secagg_server_advert(
    struct secagg_server *s, const struct secagg_advert *a);
/* Close R0: number the members. LIMIT when fewer than u_min. */
TACIT_CHECKED enum tacit_err secagg_server_close_adverts(
    struct secagg_server *s);
unsigned secagg_server_n(const struct secagg_server *s);
/* Borrowed [n], valid after close. */
const struct secagg_advert *secagg_server_roster(const struct secagg_server *s);
/* Number of the member with this id, or -1. */
int secagg_server_member(const struct secagg_server *s,
                         const uint8_t id[SECAGG_ID]);
/* R1: sealed [n][SECAGG_SEALED] from member i. Repeats are ignored. */
TACIT_CHECKED enum tacit_err secagg_server_shares(struct secagg_server *s,
                                                  unsigned i,
                                                  const uint8_t *sealed);
/* Close R1: fixes U2. */
TACIT_CHECKED enum tacit_err secagg_server_close_shares(
    struct secagg_server *s);
/* The shares for member i from U2 \ {i}: senders [*n], sealed [*n][…];
 * capacity SECAGG_CLIENTS_MAX. */
void secagg_server_shares_for(const struct secagg_server *s, unsigned i,
                              uint16_t *senders, uint8_t *sealed, unsigned *n);
/* R2: member i's masked input was added to the sum. PROTO outside U2. */
TACIT_CHECKED enum tacit_err secagg_server_input(struct secagg_server *s,
                                                 unsigned i);
/* Close R2: fixes U3. LIMIT when below u_min or t. */
TACIT_CHECKED enum tacit_err secagg_server_close_inputs(
    struct secagg_server *s);
const struct secagg_set *secagg_server_u2(const struct secagg_server *s);
const struct secagg_set *secagg_server_u3(const struct secagg_server *s);
/* R3: AUTH when the signature is not i's over (T, H(U3)). */
TACIT_CHECKED enum tacit_err secagg_server_signature(struct secagg_server *s,
                                                     unsigned i,
                                                     const uint8_t *sig);
unsigned secagg_server_n_signatures(const struct secagg_server *s);
/* All signatures so far: signers [*n], sigs [*n][SECAGG_SIGNATURE]. */
void secagg_server_signatures(const struct secagg_server *s, uint16_t *signers,
                              uint8_t *sigs, unsigned *n);
/* R4: member i's reveal. PROTO when a share is of the wrong kind or owner. */
TACIT_CHECKED enum tacit_err secagg_server_reveal(
    struct secagg_server *s, unsigned i, const struct secagg_share *shares,
    unsigned n);
/* 1 when every needed secret has >= t shares. */
int secagg_server_ready(const struct secagg_server *s);
/* Subtract the masks from sum [n_coords] in place. AUTH when the shares of some
 * member do not rebuild its public mask key. */
TACIT_CHECKED enum tacit_err secagg_server_unmask(struct secagg_server *s,
                                                  uint32_t *sum);
void secagg_server_transcript(const struct secagg_server *s,
                              struct digest *out);

#endif
