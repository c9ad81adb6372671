/*
 * kernel_pairs: numbers rounded to bf16, two in a word, for the products of
 * GEMM_BF16 (kernels_bf16.c, kernels_amx.c). Who includes it has set its
 * instructions to AVX-512 with BF16.
 *
 * Both sum in one order, so that they give the same bits. Along k stand blocks
 * of 32 (KERNEL_BLOCK), the last filled up with zeros; e is what the first
 * sixteen products of a block come to, o the others, each from 0 with one
 * rounding a step and the second of two neighbours first (1, 0, 3, 2, ...):
 *
 *   c <- c + (e + o)
 *
 * Denormal numbers count as zeros, in what is read and in every sum. VDPBF16PS
 * and TDPBF16PS add so by their definition; the order makes their sums equal
 * (seen on Sapphire Rapids).
 */
#ifndef TACIT_TENSOR_KERNEL_PAIRS_H
#define TACIT_TENSOR_KERNEL_PAIRS_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define ALWAYS static inline __attribute__((always_inline))

enum { LANES = 16, KERNEL_BLOCK = 2 * LANES };

ALWAYS __mmask16 first(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xffffu : (1u << n) - 1);
}

/* Up to 32 numbers in a row, in order; what is missing is 0. */
ALWAYS __m512i pairs_of(const float *x, size_t n)
{
    __m512 low = _mm512_maskz_loadu_ps(first(n), x);
    __m512 high = n > LANES ? _mm512_maskz_loadu_ps(first(n - LANES), x + LANES)
                            : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Pairs of 16 numbers and 16 others. */
ALWAYS __m512i pairs_from(__m512 low, __m512 high)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9,
                         24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
                         16, 0);
    return _mm512_permutexvar_epi16(order,
                                    (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* Pairs of two rows of up to 16 numbers; NULL: zeros. */
ALWAYS __m512i pairs_across(const float *x, const float *y, __mmask16 mask)
{
    return pairs_from(x ? _mm512_maskz_loadu_ps(mask, x) : _mm512_setzero_ps(),
                      y ? _mm512_maskz_loadu_ps(mask, y) : _mm512_setzero_ps());
}

/* The rows of a 16 x 16 block of words become its columns. */
ALWAYS void turn_block(__m512i r[LANES])
{
    __m512i s[LANES];
#pragma GCC unroll 8
    for (size_t i = 0; i < LANES; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < LANES; i += 4) {
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0xdd);
    }
}

#endif
