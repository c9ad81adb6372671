/*
 * half: numbers of 16 bits, as files hold them.
 *
 *   f16   1 sign, 5 exponent, 10 fraction (IEEE binary16)
 *   bf16  1 sign, 8 exponent, 7 fraction: the upper half of an f32
 *
 * To f32 is exact. From f32 rounds to nearest, ties to even; what is too large
 * for f16 becomes infinite, and a NaN stays one. Plain integer arithmetic: the
 * same bits on every processor.
 */
#ifndef TACIT_TENSOR_HALF_H
#define TACIT_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float float_of_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float f16_decode(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
    /* The exponent lies 112 too low; the product mends that, also for the
     * numbers below the least normal one. No branch: loops become vectors. */
    uint32_t u = float_bits(float_of_bits(rest << 13) * 0x1p112f);
    uint32_t no_number = rest >= 0x7c00u ? 0x7f800000u : 0;
    return float_of_bits(sign | u | no_number);
}

static inline uint16_t f16_encode(float x)
{
    uint32_t u = float_bits(x), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (u < 0x38800000u) {
        /* Below the least normal number: adding 0.5 rounds at 2^-24. */
        uint32_t sum = float_bits(float_of_bits(u) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000u));
    }
    u += 0xfffu + (u >> 13 & 1u);
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

static inline float bf16_decode(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

static inline uint16_t bf16_encode(float x)
{
    uint32_t u = float_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

#endif
