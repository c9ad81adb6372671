#include "common/tensor/vectorise.h"

#include "common/tensor/quant.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "common/tensor/half.h"

enum { BLOCK = 32, SUPER = 256 };

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static void put16(uint8_t *p, uint16_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

static void put32(uint8_t *p, uint32_t x)
{
    put16(p, (uint16_t)x);
    put16(p + 2, (uint16_t)(x >> 16));
}

static float get_half(const uint8_t *p)
{
    return f16_decode(get16(p));
}

/* A scale to f16; false when it is too large for one. */
static bool put_half(uint8_t *p, float x)
{
    uint16_t h = f16_encode(x);
    put16(p, h);
    return (h & 0x7c00u) != 0x7c00u;
}

/* ---- plain types ---------------------------------------------------------
 * decode_x and encode_x do one block. encode_x: false when a number is over
 * the limits of the type. */

static void decode_f32(const uint8_t *src, float *dst)
{
    *dst = float_of_bits(get32(src));
}

static bool encode_f32(const float *src, uint8_t *dst)
{
    put32(dst, float_bits(*src));
    return true;
}

static bool encode_f16(const float *src, uint8_t *dst)
{
    return put_half(dst, *src);
}

static bool encode_bf16(const float *src, uint8_t *dst)
{
    uint16_t h = bf16_encode(*src);
    put16(dst, h);
    return (h & 0x7f80u) != 0x7f80u;
}

/* ---- blocks of 32 -------------------------------------------------------- */

/* 1 / d. What is below the least normal number is 0 as f16 in any case. */
static float inverse(float d)
{
    return fabsf(d) >= FLT_MIN ? 1 / d : 0;
}

static float largest(const float *x)
{
    float most = 0;
    for (size_t i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    return most;
}

static void decode_q8_0(const uint8_t *src, float *dst)
{
    float d = get_half(src);
    for (size_t i = 0; i < BLOCK; i++) dst[i] = d * (float)(int8_t)src[2 + i];
}

static bool encode_q8_0(const float *src, uint8_t *dst)
{
    float d = fabsf(largest(src)) / 127, to = inverse(d);
    if (!put_half(dst, d)) return false;
    for (size_t i = 0; i < BLOCK; i++)
        dst[2 + i] = (uint8_t)(int8_t)roundf(src[i] * to);
    return true;
}

/* The two numbers of a byte of nibbles and, where fifth is not 0, their fifth
 * bits, which stand at i and i + 16. */
static int lower(uint8_t q, uint32_t fifth, size_t i)
{
    return (int)((q & 15u) | (fifth >> i & 1u) << 4);
}

static int upper(uint8_t q, uint32_t fifth, size_t i)
{
    return (int)(q >> 4 | (fifth >> (i + 16) & 1u) << 4);
}

/* x = d (q - zero) */
static void decode_centred(const uint8_t *q, uint32_t fifth, float d, int zero,
                           float *dst)
{
    for (size_t i = 0; i < BLOCK / 2; i++) {
        dst[i] = d * (float)(lower(q[i], fifth, i) - zero);
        dst[i + BLOCK / 2] = d * (float)(upper(q[i], fifth, i) - zero);
    }
}

/* x = d q + m */
static void decode_shifted(const uint8_t *q, uint32_t fifth, float d, float m,
                           float *dst)
{
    for (size_t i = 0; i < BLOCK / 2; i++) {
        dst[i] = d * (float)lower(q[i], fifth, i) + m;
        dst[i + BLOCK / 2] = d * (float)upper(q[i], fifth, i) + m;
    }
}

/* q = (x - m) to + half, cut to 0 … top: nibbles, and fifth bits returned. */
static uint32_t encode_nibbles(const float *x, float m, float to, float half,
                               int top, uint8_t *q)
{
    uint32_t fifth = 0;
    for (size_t i = 0; i < BLOCK / 2; i++) {
        int low = (int)((x[i] - m) * to + half);
        int high = (int)((x[i + BLOCK / 2] - m) * to + half);
        low = low > top ? top : low;
        high = high > top ? top : high;
        q[i] = (uint8_t)((low & 15) | (high & 15) << 4);
        fifth |= (uint32_t)(low >> 4 & 1) << i;
        fifth |= (uint32_t)(high >> 4 & 1) << (i + 16);
    }
    return fifth;
}

static void span_of(const float *x, float *least, float *most)
{
    *least = *most = x[0];
    for (size_t i = 1; i < BLOCK; i++) {
        if (x[i] < *least) *least = x[i];
        if (x[i] > *most) *most = x[i];
    }
}

static void decode_q4_0(const uint8_t *src, float *dst)
{
    decode_centred(src + 2, 0, get_half(src), 8, dst);
}

static bool encode_q4_0(const float *src, uint8_t *dst)
{
    float d = largest(src) / -8;
    if (!put_half(dst, d)) return false;
    encode_nibbles(src, 0, inverse(d), 8.5f, 15, dst + 2);
    return true;
}

static void decode_q5_0(const uint8_t *src, float *dst)
{
    decode_centred(src + 6, get32(src + 2), get_half(src), 16, dst);
}

static bool encode_q5_0(const float *src, uint8_t *dst)
{
    float d = largest(src) / -16;
    if (!put_half(dst, d)) return false;
    put32(dst + 2, encode_nibbles(src, 0, inverse(d), 16.5f, 31, dst + 6));
    return true;
}

static void decode_q4_1(const uint8_t *src, float *dst)
{
    decode_shifted(src + 4, 0, get_half(src), get_half(src + 2), dst);
}

static bool encode_q4_1(const float *src, uint8_t *dst)
{
    float least, most;
    span_of(src, &least, &most);
    float d = (most - least) / 15;
    if (!put_half(dst, d) || !put_half(dst + 2, least)) return false;
    encode_nibbles(src, least, inverse(d), 0.5f, 15, dst + 4);
    return true;
}

static void decode_q5_1(const uint8_t *src, float *dst)
{
    decode_shifted(src + 8, get32(src + 4), get_half(src), get_half(src + 2),
                   dst);
}

static bool encode_q5_1(const float *src, uint8_t *dst)
{
    float least, most;
    span_of(src, &least, &most);
    float d = (most - least) / 31;
    if (!put_half(dst, d) || !put_half(dst + 2, least)) return false;
    put32(dst + 4, encode_nibbles(src, least, inverse(d), 0.5f, 31, dst + 8));
    return true;
}

/* ---- blocks of 256 ------------------------------------------------------- */

/* Pair j of eight 6-bit pairs in twelve bytes: the first four lie in the lower
 * six bits of bytes j and j + 4; of the others four bits each share byte j + 4
 * and the upper two lie above the first four. */
static void six_bits(const uint8_t *p, size_t j, int *s, int *t)
{
    if (j < 4) {
        *s = p[j] & 63;
        *t = p[j + 4] & 63;
    } else {
        *s = (p[j + 4] & 15) | (p[j - 4] >> 6) << 4;
        *t = p[j + 4] >> 4 | (p[j] >> 6) << 4;
    }
}

/* fifth NULL: none. Sub-block j is 32 nibbles: the lower ones of bytes
 * 32 (j / 2) on when j is even, else the upper ones. */
static void decode_k(const uint8_t *src, const uint8_t *fifth, const uint8_t *q,
                     float *dst)
{
    float d = get_half(src), m = get_half(src + 2);
    for (size_t j = 0; j < SUPER / BLOCK; j++) {
        int s, t;
        six_bits(src + 4, j, &s, &t);
        float scale = d * (float)s, shift = m * (float)t;
        for (size_t i = 0; i < BLOCK; i++) {
            int x = q[BLOCK * (j / 2) + i] >> 4 * (j & 1) & 15;
            if (fifth) x |= (fifth[i] >> j & 1) << 4;
            dst[BLOCK * j + i] = scale * (float)x - shift;
        }
    }
}

static void decode_q4_k(const uint8_t *src, float *dst)
{
    decode_k(src, NULL, src + 16, dst);
}

static void decode_q5_k(const uint8_t *src, float *dst)
{
    decode_k(src, src + 16, src + 48, dst);
}

/* Numbers 32 j + i of a half of 128 (j < 4): nibbles at 32 (j & 1) + i, lower
 * ones for j < 2; upper bits in pair j of byte i. */
static void decode_q6_k(const uint8_t *src, float *dst)
{
    float d = get_half(src + 208);
    for (size_t half = 0; half < 2; half++) {
        const uint8_t *low = src + 64 * half, *high = src + 128 + 32 * half;
        const uint8_t *scale = src + 192 + 8 * half;
        for (size_t j = 0; j < 4; j++)
            for (size_t i = 0; i < BLOCK; i++) {
                int x = low[BLOCK * (j & 1) + i] >> 4 * (j >> 1) & 15;
                x |= (high[i] >> 2 * j & 3) << 4;
                float s = d * (float)(int8_t)scale[2 * j + i / 16];
                dst[128 * half + BLOCK * j + i] = s * (float)(x - 32);
            }
    }
}

/* ---- the table ----------------------------------------------------------- */

static const struct codec {
    struct quant_info info;
    /* NULL: decode_halves() does whole rows. */
    void (*decode)(const uint8_t *src, float *dst);
    bool (*encode)(const float *src, uint8_t *dst);
} codecs[] = {
    {{QUANT_F32, "F32", 1, 4, true}, decode_f32, encode_f32},
    {{QUANT_F16, "F16", 1, 2, true}, NULL, encode_f16},
    {{QUANT_BF16, "BF16", 1, 2, true}, NULL, encode_bf16},
    {{QUANT_Q8_0, "Q8_0", BLOCK, 34, true}, decode_q8_0, encode_q8_0},
    {{QUANT_Q4_0, "Q4_0", BLOCK, 18, true}, decode_q4_0, encode_q4_0},
    {{QUANT_Q4_1, "Q4_1", BLOCK, 20, true}, decode_q4_1, encode_q4_1},
    {{QUANT_Q5_0, "Q5_0", BLOCK, 22, true}, decode_q5_0, encode_q5_0},
    {{QUANT_Q5_1, "Q5_1", BLOCK, 24, true}, decode_q5_1, encode_q5_1},
    {{QUANT_Q4_K, "Q4_K", SUPER, 144, false}, decode_q4_k, NULL},
    {{QUANT_Q5_K, "Q5_K", SUPER, 176, false}, decode_q5_k, NULL},
    {{QUANT_Q6_K, "Q6_K", SUPER, 210, false}, decode_q6_k, NULL},
};
enum { N_CODECS = sizeof codecs / sizeof codecs[0] };

static const struct codec *codec_of(unsigned type)
{
    for (size_t i = 0; i < N_CODECS; i++)
        if ((unsigned)codecs[i].info.type == type) return &codecs[i];
    return NULL;
}

const struct quant_info *quant_info(unsigned type)
{
    const struct codec *c = codec_of(type);
    return c ? &c->info : NULL;
}

const struct quant_info *quant_find(const char *name)
{
    for (size_t i = 0; i < N_CODECS; i++)
        if (strcasecmp(codecs[i].info.name, name) == 0) return &codecs[i].info;
    return NULL;
}

size_t quant_bytes(enum quant_type type, size_t n)
{
    const struct codec *c = codec_of(type);
    if (!c || n % c->info.block) return 0;
    n /= c->info.block;
    return n > SIZE_MAX / c->info.bytes ? 0 : n * c->info.bytes;
}

/* Whole rows of 16 bits: a cache's keys and values are read so for every
 * token. */
MANY_TARGETS
static void decode_halves(enum quant_type type, const uint8_t *src, float *dst,
                          size_t n)
{
    enum { PIECE = 64 };
    for (size_t at = 0; at < n; at += PIECE) {
        uint16_t half[PIECE];
        size_t some = n - at < PIECE ? n - at : PIECE;
        for (size_t i = 0; i < some; i++)
            half[i] =
                (uint16_t)(src[2 * (at + i)] | src[2 * (at + i) + 1] << 8);
        if (type == QUANT_F16)
            for (size_t i = 0; i < some; i++) dst[at + i] = f16_decode(half[i]);
        else
            for (size_t i = 0; i < some; i++)
                dst[at + i] = bf16_decode(half[i]);
    }
}

void quant_decode(enum quant_type type, const void *src, float *dst, size_t n)
{
    const struct codec *c = codec_of(type);
    assert(c && n % c->info.block == 0);
    const uint8_t *p = src;
    if (type == QUANT_F16 || type == QUANT_BF16) {
        decode_halves(type, src, dst, n);
        return;
    }
    for (size_t i = 0; i < n; i += c->info.block, p += c->info.bytes)
        c->decode(p, dst + i);
}

/* The nibbles of a block, and half of its numbers. */
typedef uint8_t half_block __attribute__((vector_size(BLOCK / 2)));
typedef int32_t half_ints __attribute__((vector_size(2 * BLOCK)));
typedef float half_row __attribute__((vector_size(2 * BLOCK)));

/* The built-in encoder reads a row for each word of a text: nibbles are added
 * as they are decoded, 16 at once. */
MANY_TARGETS
static void axpy_q4_0(const uint8_t *src, float a, float *y, size_t n)
{
    for (; n; n -= BLOCK, src += 18, y += BLOCK) {
        float d = get_half(src);
        half_block q;
        half_row lower, upper;
        memcpy(&q, src + 2, sizeof q);
        memcpy(&lower, y, sizeof lower);
        memcpy(&upper, y + BLOCK / 2, sizeof upper);
        half_ints low = __builtin_convertvector(q & 15, half_ints) - 8;
        half_ints high = __builtin_convertvector(q / 16, half_ints) - 8;
        lower += a * (d * __builtin_convertvector(low, half_row));
        upper += a * (d * __builtin_convertvector(high, half_row));
        memcpy(y, &lower, sizeof lower);
        memcpy(y + BLOCK / 2, &upper, sizeof upper);
    }
}

void quant_axpy(enum quant_type type, const void *src, float a, float *y,
                size_t n)
{
    const struct codec *c = codec_of(type);
    assert(c && n % c->info.block == 0);
    const uint8_t *p = src;
    float x[SUPER];
    if (type == QUANT_Q4_0) {
        axpy_q4_0(src, a, y, n);
        return;
    }
    for (size_t at = 0, some; at < n; at += some) {
        some = n - at < SUPER ? n - at : SUPER;
        quant_decode(type, p, x, some);
        for (size_t i = 0; i < some; i++) y[at + i] += a * x[i];
        p += some / c->info.block * c->info.bytes;
    }
}

static bool all_finite(const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = float_bits(x[i]) & 0x7fffffffu;
        most = u > most ? u : most;
    }
    return most < 0x7f800000u;
}

enum tacit_err quant_encode(enum quant_type type, const float *src, void *dst,
                            size_t n)
{
    const struct codec *c = codec_of(type);
    assert(c && n % c->info.block == 0);
    if (!c->encode)
        return fail(TACIT_UNSUPPORTED,
                    "%s is read, not written; choose Q8_0, Q4_0 or F16",
                    c->info.name);
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i += c->info.block, p += c->info.bytes)
        if (!all_finite(src + i, c->info.block) || !c->encode(src + i, p))
            return fail(TACIT_LIMIT,
                        "number %zu is not finite, or too large for %s", i,
                        c->info.name);
    return TACIT_OK;
}
