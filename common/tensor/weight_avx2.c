/*
 * Products of bytes for processors with AVX2: half a tile, eight outputs, at a
 * time.
 *
 * Bytes: maddubs wants one unsigned factor and adds two products in 16 bits. So
 * |w| times x with the sign of w: at most 2 x 128 x 127, which fits.
 * Nibbles are unsigned as they are, and all eight steps of a block fit 16 bits:
 * 16 x 15 x 127.
 */
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_X86
# pragma GCC target("avx2,fma,f16c")
# pragma GCC optimize("O3")
# include <immintrin.h>
# include <string.h>

# define ALWAYS static inline __attribute__((always_inline))

enum { STEPS = 8, ABREAST = 8, LANES = 8, HALF = 32 };

ALWAYS __m256i four(const uint8_t *p)
{
    int x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

ALWAYS __m256i bytes_at(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

/* dot [n] = sums of a block for eight outputs and n rows of x. */
ALWAYS void dot_bytes(const uint8_t *q, const uint8_t *x, size_t n,
                      __m256i dot[ABREAST])
{
    __m256i ones = _mm256_set1_epi16(1), zero = _mm256_set1_epi8(-128);
# pragma GCC unroll 8
    for (size_t r = 0; r < n; r++) dot[r] = _mm256_setzero_si256();
# pragma GCC unroll 8
    for (size_t g = 0; g < STEPS; g++) {
        __m256i w = _mm256_xor_si256(bytes_at(q + 64 * g), zero);
        __m256i size = _mm256_abs_epi8(w);
# pragma GCC unroll 8
        for (size_t r = 0; r < n; r++) {
            __m256i v = four(x + WEIGHT_BLOCK * r + 4 * g);
            v = _mm256_maddubs_epi16(size, _mm256_sign_epi8(v, w));
            dot[r] = _mm256_add_epi32(dot[r], _mm256_madd_epi16(v, ones));
        }
    }
}

ALWAYS void dot_nibbles(const uint8_t *q, const uint8_t *x,
                        const uint8_t *start, size_t n, __m256i dot[ABREAST])
{
    __m256i ones = _mm256_set1_epi16(1), mask = _mm256_set1_epi8(15);
# pragma GCC unroll 8
    for (size_t r = 0; r < n; r++) dot[r] = _mm256_setzero_si256();
# pragma GCC unroll 4
    for (size_t g = 0; g < STEPS / 2; g++) {
        __m256i both = bytes_at(q + 64 * g);
        __m256i low = _mm256_and_si256(both, mask);
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
# pragma GCC unroll 8
        for (size_t r = 0; r < n; r++) {
            const uint8_t *at = x + WEIGHT_BLOCK * r + 4 * g;
            __m256i a = _mm256_maddubs_epi16(low, four(at));
            __m256i b = _mm256_maddubs_epi16(high, four(at + 16));
            dot[r] = _mm256_add_epi16(dot[r], _mm256_add_epi16(a, b));
        }
    }
# pragma GCC unroll 8
    for (size_t r = 0; r < n; r++)
        dot[r] = _mm256_add_epi32(_mm256_madd_epi16(dot[r], ones),
                                  four(start + 4 * r));
}

/* Half h of the tile with rows r0 to r0 + n of the panel; out is where the sums
 * stand in between: registers are for one block. */
ALWAYS void run_half(const struct weight_tile *t, const uint8_t *panel,
                     size_t rows, size_t r0, size_t n, size_t h, float *out,
                     enum weight_form form)
{
    out += r0 * WEIGHT_TILE + h * LANES;
# pragma GCC unroll 8
    for (size_t r = 0; r < n; r++)
        _mm256_storeu_ps(out + r * WEIGHT_TILE, _mm256_setzero_ps());
    for (size_t b = 0; b < t->n_blocks; b++) {
        const uint8_t *q = block_numbers(t->data, b, form) + HALF * h;
        const uint8_t *scales = block_scales(t->data, b, form) + LANES * 2 * h;
        const uint8_t *scale = panel + rows * WEIGHT_BLOCK + 4 * r0;
        const uint8_t *x = panel + r0 * WEIGHT_BLOCK;
        __m256i dot[ABREAST];
        if (form == BYTES)
            dot_bytes(q, x, n, dot);
        else
            dot_nibbles(q, x, scale + 8 * rows, n, dot);
        __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)scales));
# pragma GCC unroll 8
        for (size_t r = 0; r < n; r++) {
            float *to = out + r * WEIGHT_TILE;
            __m256 by = _mm256_castsi256_ps(four(scale + 4 * r));
            __m256 v = _mm256_cvtepi32_ps(dot[r]);
            v = _mm256_fmadd_ps(v, _mm256_mul_ps(d, by), _mm256_loadu_ps(to));
            _mm256_storeu_ps(to, v);
        }
        panel += rows * PANEL_ROW_BYTES;
    }
}

ALWAYS void run(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                float *out, enum weight_form form)
{
    size_t abreast = rows < ABREAST ? rows : ABREAST;
    for (size_t r0 = 0; r0 < rows; r0 += abreast)
        for (size_t h = 0; h < 2; h++)
            run_half(t, panel, rows, r0, abreast, h, out, form);
}

# define WEIGHT_SET  weight_set_avx2
# define WEIGHT_NAME "avx2"
# include "common/tensor/weight_body.h"
#endif
