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

static uint32_t load32(const uint8_t *p)
{
    return load24(p) | (uint32_t)p[3] << 24;
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
        uint32_t w = load32(stream + 4 * i);
        y[i] += subtract ? 0u - w : w;
    }
}

/* Four coordinates from three words. What stands above their 24 bits carries
 * only upwards: keep24 clears it when all masks are on. */
static void add24(uint32_t *y, const uint8_t *stream, size_t n, int subtract)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32_t a = load32(stream + 3 * i), b = load32(stream + 3 * i + 4),
                 c = load32(stream + 3 * i + 8);
        uint32_t w[4] = {a, a >> 24 | b << 8, b >> 16 | c << 16, c >> 8};
        for (size_t k = 0; k < 4; k++) y[i + k] += subtract ? 0u - w[k] : w[k];
    }
    for (; i < n; i++) {
        uint32_t w = load24(stream + 3 * i);
        y[i] += subtract ? 0u - w : w;
    }
}

static void keep24(uint32_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] &= 0xffffffu;
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
        if (width == 3) keep24(y + at, count);
    }
    sodium_memzero(stream, sizeof stream);
}
