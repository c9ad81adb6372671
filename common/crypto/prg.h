/*
 * prg: the mask stream. ChaCha20-IETF keystream, nonce 0, cut into ring
 * coordinates of ring_bits/8 bytes, little-endian, added to a vector.
 *
 *   y += sum_k sign_k * PRG(key_k)   modulo 2^ring_bits
 *
 * All keys are applied to one block of 4,096 coordinates before the next, so
 * that block and keystream stay in the first-level cache. One key serves at
 * most 2^32 blocks of 64 bytes, far above WIRE_PARAMS_MAX coordinates.
 */
#ifndef TACIT_CRYPTO_PRG_H
#define TACIT_CRYPTO_PRG_H

#include <stddef.h>
#include <stdint.h>

enum { PRG_KEY = 32 };

struct prg_mask {
    uint8_t key[PRG_KEY];
    int subtract; /* 0: added */
};

/* y [n], low ring_bits (24 or 32) used and kept. */
void prg_apply(const struct prg_mask *masks, size_t n_masks, uint32_t *y,
               size_t n, uint32_t ring_bits);

#endif
