/*
 * Products of bytes for processors with AVX-512 and VNNI.
 *
 * A block of the tile stays in eight registers while the rows of the panel
 * pass; the sums of four rows run at a time, so that none waits for its last
 * step.
 */
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512vnni,avx2,fma,f16c")
# pragma GCC optimize("O3")
# include <immintrin.h>
# include <string.h>

# define ALWAYS static inline __attribute__((always_inline))

enum { STEPS = 8, ABREAST = 4 };

ALWAYS int word(const uint8_t *p)
{
    int x;
    memcpy(&x, p, sizeof x);
    return x;
}

ALWAYS float number(const uint8_t *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

ALWAYS void load_block(const uint8_t *q, __m512i w[STEPS],
                       enum weight_form form)
{
    if (form == BYTES) {
# pragma GCC unroll 8
        for (size_t g = 0; g < STEPS; g++)
            w[g] = _mm512_loadu_si512(q + 64 * g);
        return;
    }
    __m512i low = _mm512_set1_epi8(15);
# pragma GCC unroll 4
    for (size_t g = 0; g < STEPS / 2; g++) {
        __m512i both = _mm512_loadu_si512(q + 64 * g);
        w[g] = _mm512_and_si512(both, low);
        w[g + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
}

ALWAYS void run(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                float *out, enum weight_form form)
{
    __m512 sum[PANEL_ROWS];
    size_t abreast = rows < ABREAST ? rows : ABREAST;
# pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
    for (size_t b = 0; b < t->n_blocks; b++) {
        const uint8_t *q = block_numbers(t->data, b, form);
        const uint8_t *scales = block_scales(t->data, b, form);
        __m512i w[STEPS];
        load_block(q, w, form);
        __m512 d =
            _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)scales));
        const uint8_t *scale = panel + rows * WEIGHT_BLOCK;
        const uint8_t *start = scale + (form == NIBBLES ? 8 : 4) * rows;
# pragma GCC unroll 4
        for (size_t r0 = 0; r0 < rows; r0 += abreast) {
            __m512i dot[ABREAST];
# pragma GCC unroll 4
            for (size_t r = 0; r < abreast; r++)
                dot[r] = _mm512_set1_epi32(word(start + 4 * (r0 + r)));
# pragma GCC unroll 8
            for (size_t g = 0; g < STEPS; g++)
# pragma GCC unroll 4
                for (size_t r = 0; r < abreast; r++)
                    dot[r] = _mm512_dpbusd_epi32(
                        dot[r], w[g],
                        _mm512_set1_epi32(
                            word(panel + WEIGHT_BLOCK * (r0 + r) + 4 * g)));
# pragma GCC unroll 4
            for (size_t r = 0; r < abreast; r++) {
                __m512 by = _mm512_set1_ps(number(scale + 4 * (r0 + r)));
                __m512 x = _mm512_cvtepi32_ps(dot[r]);
                sum[r0 + r] =
                    _mm512_fmadd_ps(x, _mm512_mul_ps(d, by), sum[r0 + r]);
            }
        }
        panel += rows * PANEL_ROW_BYTES;
    }
# pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++)
        _mm512_storeu_ps(out + r * WEIGHT_TILE, sum[r]);
}

# define WEIGHT_SET  weight_set_avx512
# define WEIGHT_NAME "avx512"
# include "common/tensor/weight_body.h"
#endif
