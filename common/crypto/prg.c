#include "common/crypto/prg.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum { BLOCK = 4096 /* coordinates */ };

static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];

static uint32_t load24(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static void add32(uint32_t *y, const uint8_t *stream, size_t n, int subtract)
{
    uint32_t v[16];
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        memcpy(v, stream + 4 * i, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        for (int k = 0; k < 16; k++) v[k] = __builtin_bswap32(v[k]);
#endif
        if (subtract)
            for (int k = 0; k < 16; k++) y[i + (size_t)k] -= v[k];
        else
            for (int k = 0; k < 16; k++) y[i + (size_t)k] += v[k];
    }
    for (; i < n; i++) {
        const uint8_t *p = stream + 4 * i;
        uint32_t w = load24(p) | (uint32_t)p[3] << 24;
        y[i] += subtract ? 0u - w : w;
    }
}

static void add24(uint32_t *y, const uint8_t *stream, size_t n, int subtract)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t w = load24(stream + 3 * i);
        y[i] = (y[i] + (subtract ? 0u - w : w)) & 0xffffffu;
    }
}

void prg_apply(const struct prg_mask *masks, size_t n_masks, uint32_t *y,
               size_t n, uint32_t ring_bits)
{
    _Alignas(64) uint8_t stream[BLOCK * 4];
    size_t width = ring_bits / 8;
    assert(ring_bits == 24 || ring_bits == 32);
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t count = n - at < BLOCK ? n - at : BLOCK;
        uint32_t counter = (uint32_t)(at / BLOCK * (BLOCK * width / 64));
        for (size_t k = 0; k < n_masks; k++) {
            memset(stream, 0, count * width);
            crypto_stream_chacha20_ietf_xor_ic(stream, stream, count * width,
                                               nonce, counter, masks[k].key);
            if (width == 4)
                add32(y + at, stream, count, masks[k].subtract);
            else
                add24(y + at, stream, count, masks[k].subtract);
        }
    }
    sodium_memzero(stream, sizeof stream);
}
