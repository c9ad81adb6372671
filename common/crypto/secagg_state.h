/*
 * secagg_state: what the two halves of SA-1 remember between messages. Internal
 * to secagg_client.c and secagg_server.c; apart from them so that the test of
 * all drop patterns can go back to a stage and play on from there.
 *
 *   client  FRESH -share-> SHARED -receive-> RECEIVED -mask-> MASKED -sign->
 *           SIGNED -reveal-> SPENT
 *   server  ADVERTS -close-> SHARES -close-> INPUTS -close-> SIGNATURES
 */
#ifndef TACIT_CRYPTO_SECAGG_STATE_H
#define TACIT_CRYPTO_SECAGG_STATE_H

#include <stdint.h>

#include "common/base/digest.h"
#include "common/crypto/secagg.h"

enum secagg_step { FRESH, SHARED, RECEIVED, MASKED, SIGNED, SPENT };

/* Lives in guarded memory as a whole. */
struct secagg_client {
    enum secagg_step step;
    struct secagg_terms terms;
    struct secagg_advert own;
    const uint8_t *identity_secret; /* borrowed */
    uint8_t s[SECAGG_SCALAR], b[SECAGG_SCALAR];
    uint8_t mask_secret[32], seal_secret[32];
    unsigned n, t, me;
    struct digest transcript;
    struct secagg_set u2, u3, held; /* held: whose shares were opened */
    struct secagg_advert roster[SECAGG_CLIENTS_MAX];
    uint8_t shares[SECAGG_CLIENTS_MAX][2 * SECAGG_SCALAR]; /* s_i, b_i for me */
};

enum secagg_stage { ADVERTS, SHARES, INPUTS, SIGNATURES };

struct secagg_server {
    enum secagg_stage stage;
    struct secagg_terms terms;
    unsigned n, t;
    struct digest transcript;
    struct secagg_set shared, input, signed_by, revealed_by; /* U2 U3 … */
    struct secagg_advert roster[SECAGG_CLIENTS_MAX];
    uint8_t signatures[SECAGG_CLIENTS_MAX][SECAGG_SIGNATURE];
    uint8_t *sealed; /* [n from][n to][SECAGG_SEALED], owned */
    /* Revealed shares of each member's one secret, in order of arrival. */
    struct secagg_owner {
        unsigned n;
        uint16_t from[SECAGG_CLIENTS_MAX];
        uint8_t scalar[SECAGG_CLIENTS_MAX][SECAGG_SCALAR];
    } * owners; /* [n], owned */
};

#endif
