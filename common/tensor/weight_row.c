/*
 * One row by a tile of a plain type, in the order in which it lies. Four sums
 * for each output, so that none waits for the last step. Products and sums are
 * rounded each, in one order: the same bits on every processor.
 */
#include "common/tensor/vectorise.h"

#include <string.h>

#include "common/tensor/half.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/weight_set.h"
#if WEIGHT_SETS_X86
# include <immintrin.h>
#endif

enum { STRANDS = 4, COLUMNS = 32 };

/* out [16] = the sums of four strands. */
static void add_up(float sum[STRANDS][WEIGHT_TILE], float *out)
{
    for (size_t r = 0; r < WEIGHT_TILE; r++)
        out[r] = (sum[0][r] + sum[2][r]) + (sum[1][r] + sum[3][r]);
}

/* The loops are written out for each type: what is called or inlined into a
 * function of MANY_TARGETS is compiled for the least of them. */
MANY_TARGETS
static void row_f32(const uint8_t *src, const float *x, size_t n, float *out)
{
    float sum[STRANDS][WEIGHT_TILE] = {{0}}, w[WEIGHT_TILE];
    for (size_t l = 0; l < n; l++) {
        memcpy(w, src + l * sizeof w, sizeof w);
        for (size_t r = 0; r < WEIGHT_TILE; r++)
            sum[l % STRANDS][r] += w[r] * x[l];
    }
    add_up(sum, out);
}

/* Two steps, and a number of steps that it cannot know: only so does the
 * compiler make vectors of both. */
MANY_TARGETS
static void row_f16(const uint8_t *src, const float *x, size_t n, float *out)
{
    float sum[STRANDS][WEIGHT_TILE] = {{0}}, w[COLUMNS * WEIGHT_TILE] = {0};
    uint16_t half[COLUMNS * WEIGHT_TILE];
    for (size_t l = 0; l < n; l += COLUMNS) {
        size_t cols = n - l < COLUMNS ? n - l : COLUMNS;
        size_t many = cols * WEIGHT_TILE;
        memcpy(half, src + l * WEIGHT_TILE * sizeof *half, many * sizeof *half);
        for (size_t i = 0; i < many; i++) w[i] = f16_decode(half[i]);
        for (size_t s = 0; s < cols; s++)
            for (size_t r = 0; r < WEIGHT_TILE; r++)
                sum[s % STRANDS][r] += w[s * WEIGHT_TILE + r] * x[l + s];
    }
    add_up(sum, out);
}

#if WEIGHT_SETS_X86
/* sum + w x, each rounded. */
# define STEP(sum, w, x) _mm256_add_ps(sum, _mm256_mul_ps(w, x))

/* The same with the processor's own conversion, five times as fast. */
__attribute__((target("avx2,f16c"))) static void row_f16_avx2(
    const uint8_t *src, const float *x, size_t n, float *out)
{
    float sum[STRANDS][WEIGHT_TILE];
    __m256 low[STRANDS], high[STRANDS];
    for (size_t s = 0; s < STRANDS; s++) low[s] = high[s] = _mm256_setzero_ps();
    size_t l = 0;
    for (; l + STRANDS <= n; l += STRANDS)
# pragma GCC unroll 4
        for (size_t s = 0; s < STRANDS; s++) {
            const __m128i_u *at = (const __m128i_u *)src + 2 * (l + s);
            __m256 by = _mm256_set1_ps(x[l + s]);
            low[s] = STEP(low[s], _mm256_cvtph_ps(_mm_loadu_si128(at)), by);
            high[s] =
                STEP(high[s], _mm256_cvtph_ps(_mm_loadu_si128(at + 1)), by);
        }
    for (size_t s = 0; l < n; s++, l++) {
        const __m128i_u *at = (const __m128i_u *)src + 2 * l;
        __m256 by = _mm256_set1_ps(x[l]);
        low[s] = STEP(low[s], _mm256_cvtph_ps(_mm_loadu_si128(at)), by);
        high[s] = STEP(high[s], _mm256_cvtph_ps(_mm_loadu_si128(at + 1)), by);
    }
    for (size_t s = 0; s < STRANDS; s++) {
        _mm256_storeu_ps(sum[s], low[s]);
        _mm256_storeu_ps(sum[s] + WEIGHT_TILE / 2, high[s]);
    }
    add_up(sum, out);
}
#endif

MANY_TARGETS
static void row_bf16(const uint8_t *src, const float *x, size_t n, float *out)
{
    float sum[STRANDS][WEIGHT_TILE] = {{0}};
    uint16_t w[WEIGHT_TILE];
    for (size_t l = 0; l < n; l++) {
        memcpy(w, src + l * sizeof w, sizeof w);
        for (size_t r = 0; r < WEIGHT_TILE; r++)
            sum[l % STRANDS][r] += bf16_decode(w[r]) * x[l];
    }
    add_up(sum, out);
}

void weight_row(const struct weight *w, size_t i, const float *x, float *out)
{
    const uint8_t *src = weight_tile(w, i).data;
#if WEIGHT_SETS_X86
    if (w->type == QUANT_F16 && kernel_may(KERNEL_AVX2)) {
        row_f16_avx2(src, x, w->n_in, out);
        return;
    }
#endif
    if (w->type == QUANT_F32)
        row_f32(src, x, w->n_in, out);
    else if (w->type == QUANT_F16)
        row_f16(src, x, w->n_in, out);
    else
        row_bf16(src, x, w->n_in, out);
}
