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

/* ---- rows of x to bytes, as weight_panel.c has them ---------------------- */

enum { FOUR = 4 /* rows, whose scales are worked out together */ };

/* As whole numbers, which are in the order of sizes. */
ALWAYS __m512i sizes(const float *x)
{
    return _mm512_and_si512(_mm512_loadu_si512(x),
                            _mm512_set1_epi32(0x7fffffff));
}

/* The largest of each of n rows of a block; 0 of the others. */
ALWAYS __m128i most_of(const float *x, size_t x_row, size_t n)
{
    __m512i m[FOUR], a, b;
# pragma GCC unroll 4
    for (size_t k = 0; k < FOUR; k++)
        m[k] = k < n ? _mm512_max_epu32(sizes(x + k * x_row),
                                        sizes(x + k * x_row + 16))
                     : _mm512_setzero_si512();
    a = _mm512_max_epu32(_mm512_unpacklo_epi32(m[0], m[1]),
                         _mm512_unpackhi_epi32(m[0], m[1]));
    b = _mm512_max_epu32(_mm512_unpacklo_epi32(m[2], m[3]),
                         _mm512_unpackhi_epi32(m[2], m[3]));
    a = _mm512_max_epu32(_mm512_unpacklo_epi64(a, b),
                         _mm512_unpackhi_epi64(a, b));
    __m256i half = _mm256_max_epu32(_mm512_castsi512_si256(a),
                                    _mm512_extracti64x4_epi64(a, 1));
    return _mm_max_epu32(_mm256_castsi256_si128(half),
                         _mm256_extracti128_si256(half, 1));
}

/* 16 numbers to bytes. */
ALWAYS __m128i bytes_of(const float *x, __m512 by)
{
    const __m512 round = _mm512_set1_ps(0x1.8p23f);
    __m512 q = _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(x), by), round);
    return _mm512_cvtepi32_epi8(
        _mm512_sub_epi32(_mm512_castps_si512(q), _mm512_castps_si512(round)));
}

/* A row of a block to bytes; the sums of four parts of it. */
ALWAYS __m128i block_of(const float *x, uint8_t *q, float by)
{
    const __m128i one = _mm_set1_epi8(1);
    __m512 all = _mm512_set1_ps(by);
    __m128i low = bytes_of(x, all), high = bytes_of(x + 16, all);
    _mm_storeu_si128((__m128i_u *)q, low);
    _mm_storeu_si128((__m128i_u *)(q + 16), high);
    return _mm_dpbusd_epi32(_mm_dpbusd_epi32(_mm_setzero_si128(), one, low),
                            one, high);
}

/* Rows r to r + n of a block of a panel of `rows`, n up to 4. */
ALWAYS void fill_rows(const float *x, size_t x_row, size_t n, uint8_t *panel,
                      size_t rows, size_t r)
{
    const __m128 end = _mm_set1_ps(127);
    __m128i most = most_of(x, x_row, n), sum[FOUR], all;
    __m128 largest = _mm_castsi128_ps(most);
    __mmask8 some = (__mmask8)((1u << n) - 1);
    __mmask8 large =
        _mm_cmpgt_epu32_mask(most, _mm_castps_si128(_mm_set1_ps(0x1p-100f)));
    float by[FOUR];
    _mm_storeu_ps(by, _mm_maskz_div_ps(large, end, largest));
# pragma GCC unroll 4
    for (size_t k = 0; k < FOUR; k++)
        sum[k] = k < n ? block_of(x + k * x_row, panel + (r + k) * WEIGHT_BLOCK,
                                  by[k])
                       : _mm_setzero_si128();
    all = _mm_hadd_epi32(_mm_hadd_epi32(sum[0], sum[1]),
                         _mm_hadd_epi32(sum[2], sum[3]));
    all = _mm_sub_epi32(_mm_setzero_si128(), all);
    uint8_t *at = panel + rows * WEIGHT_BLOCK + 4 * r;
    _mm_mask_storeu_ps(at, some, _mm_div_ps(largest, end));
    _mm_mask_storeu_epi32(at + 4 * rows, some, _mm_slli_epi32(all, 7));
    _mm_mask_storeu_epi32(at + 8 * rows, some, _mm_slli_epi32(all, 3));
}

static void fill(const float *x, size_t x_row, size_t n_blocks, uint8_t *panel,
                 size_t rows)
{
    for (size_t b = 0; b < n_blocks; b++, x += WEIGHT_BLOCK) {
        size_t r = 0;
        for (; r + FOUR <= rows; r += FOUR)
            fill_rows(x + r * x_row, x_row, FOUR, panel, rows, r);
        if (r < rows) fill_rows(x, x_row, rows, panel, rows, 0);
        panel += rows * PANEL_ROW_BYTES;
    }
}

# define WEIGHT_SET  weight_set_avx512
# define WEIGHT_NAME "avx512"
# define WEIGHT_FILL fill
# include "common/tensor/weight_body.h"
#endif
