/*
 * weight_vnni256: products of bytes with VNNI in registers of 256 bits, half a
 * tile at a time. Included by weight_avxvnni.c, for processors that have VNNI
 * without AVX-512, and by a test that runs it on those with both; they define
 *
 *   dot_step(sum, w, x)   sum + the products of unsigned w and signed x
 *
 * A block stays in eight registers while the rows of the panel pass, four at a
 * time; sums stand in `out` between blocks.
 */
#ifndef TACIT_TENSOR_WEIGHT_VNNI256_H
#define TACIT_TENSOR_WEIGHT_VNNI256_H

#include <immintrin.h>
#include <string.h>

#include "common/tensor/weight_set.h"

#define ALWAYS static inline __attribute__((always_inline))

enum { STEPS = 8, ABREAST = 4, LANES = 8, HALF = 32 };

ALWAYS __m256i four(const uint8_t *p)
{
    int x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

ALWAYS void load_block(const uint8_t *q, __m256i w[STEPS],
                       enum weight_form form)
{
    if (form == BYTES) {
#pragma GCC unroll 8
        for (size_t g = 0; g < STEPS; g++)
            w[g] = _mm256_loadu_si256((const __m256i_u *)(q + 64 * g));
        return;
    }
    __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (size_t g = 0; g < STEPS / 2; g++) {
        __m256i both = _mm256_loadu_si256((const __m256i_u *)(q + 64 * g));
        w[g] = _mm256_and_si256(both, low);
        w[g + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
}

ALWAYS void run_half(const struct weight_tile *t, const uint8_t *panel,
                     size_t rows, size_t h, float *out, enum weight_form form)
{
    size_t abreast = rows < ABREAST ? rows : ABREAST;
    for (size_t b = 0; b < t->n_blocks; b++) {
        const uint8_t *q = block_numbers(t->data, b, form) + HALF * h;
        const uint8_t *scales = block_scales(t->data, b, form) + LANES * 2 * h;
        const uint8_t *scale = panel + rows * WEIGHT_BLOCK;
        const uint8_t *start = scale + (form == NIBBLES ? 8 : 4) * rows;
        __m256i w[STEPS];
        load_block(q, w, form);
        __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)scales));
        for (size_t r0 = 0; r0 < rows; r0 += abreast) {
            __m256i dot[ABREAST];
#pragma GCC unroll 4
            for (size_t r = 0; r < abreast; r++)
                dot[r] = four(start + 4 * (r0 + r));
#pragma GCC unroll 8
            for (size_t g = 0; g < STEPS; g++)
#pragma GCC unroll 4
                for (size_t r = 0; r < abreast; r++)
                    dot[r] =
                        dot_step(dot[r], w[g],
                                 four(panel + WEIGHT_BLOCK * (r0 + r) + 4 * g));
#pragma GCC unroll 4
            for (size_t r = 0; r < abreast; r++) {
                float *to = out + (r0 + r) * WEIGHT_TILE + LANES * h;
                __m256 by = _mm256_castsi256_ps(four(scale + 4 * (r0 + r)));
                __m256 v = _mm256_cvtepi32_ps(dot[r]);
                v = _mm256_fmadd_ps(v, _mm256_mul_ps(d, by),
                                    _mm256_loadu_ps(to));
                _mm256_storeu_ps(to, v);
            }
        }
        panel += rows * PANEL_ROW_BYTES;
    }
}

ALWAYS void run(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                float *out, enum weight_form form)
{
    memset(out, 0, rows * WEIGHT_TILE * sizeof *out);
    for (size_t h = 0; h < 2; h++) run_half(t, panel, rows, h, out, form);
}

#include "common/tensor/weight_body.h"

#endif
