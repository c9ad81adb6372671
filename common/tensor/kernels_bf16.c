/*
 * gemm with numbers rounded to bf16 and sums in f32, for processors that
 * multiply pairs of them (AVX512-BF16): twice the work of a step in f32.
 *
 * Both operands are rounded as they are packed, two neighbours along k in a
 * word:
 *
 *   A  a few rows x DEPTH, as they lie: [rows][pairs] or [pairs][rows]
 *   B  DEPTH x PANEL columns, [pairs][PANEL]
 *
 * A sum goes along k in order, whatever the shape of the piece it is part of.
 */
#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")
# pragma GCC optimize("O3")
# include <immintrin.h>
# include <stdint.h>
# include <string.h>

# define ALWAYS static inline __attribute__((always_inline))

enum {
    LANES = 16,
    ROWS = 6,
    COLUMNS = 4,
    PANEL = COLUMNS * LANES,
    DEPTH = 384,
    PAIRS = DEPTH / 2,
    TALL = 48, /* rows of A packed at a time */
    WIDE = 512 /* columns of B: with its DEPTH a quarter of the second cache */
};

ALWAYS __mmask16 first(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xffffu : (1u << n) - 1);
}

/* Pairs from up to 32 numbers in a row; what is missing is 0. */
ALWAYS __m512i pairs_of(const float *x, size_t n)
{
    __m512 low = _mm512_maskz_loadu_ps(first(n), x);
    __m512 high = n > LANES ? _mm512_maskz_loadu_ps(first(n - LANES), x + LANES)
                            : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Pairs of two rows of up to 16 numbers. */
ALWAYS __m512i pairs_across(const float *x, const float *y, __mmask16 mask)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9,
                         24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
                         16, 0);
    __m512 low = _mm512_maskz_loadu_ps(mask, x);
    __m512 high = y ? _mm512_maskz_loadu_ps(mask, y) : _mm512_setzero_ps();
    return _mm512_permutexvar_epi16(order,
                                    (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* out [n][PAIRS] from rows of k numbers. */
static void pack_along(uint32_t *out, const float *x, size_t x_row, size_t n,
                       size_t k)
{
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < k; l += 2 * LANES)
            _mm512_store_si512(out + i * PAIRS + l / 2,
                               pairs_of(x + i * x_row + l, k - l));
}

/* out [pairs][out_row] from k rows of n numbers. */
static void pack_across(uint32_t *out, size_t out_row, const float *x,
                        size_t x_row, size_t n, size_t k)
{
    for (size_t l = 0; l < k; l += 2) {
        const float *at = x + l * x_row;
        const float *next = l + 1 < k ? at + x_row : NULL;
        for (size_t j = 0; j < n; j += LANES)
            _mm512_store_si512(out + l / 2 * out_row + j,
                               pairs_across(at + j, next ? next + j : NULL,
                                            first(n - j)));
    }
}

/* The rows of a 16 x 16 block of words become its columns. */
ALWAYS void turn_block(__m512i r[LANES])
{
    __m512i s[LANES];
# pragma GCC unroll 8
    for (size_t i = 0; i < LANES; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
# pragma GCC unroll 4
    for (size_t i = 0; i < LANES; i += 4) {
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
# pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
# pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0xdd);
    }
}

/* out [pairs][PANEL] from n columns of k numbers each. */
static void pack_turned(uint32_t *out, const float *x, size_t x_col, size_t n,
                        size_t k)
{
    for (size_t j = 0; j < n; j += LANES)
        for (size_t l = 0; l < k; l += 2 * LANES) {
            __m512i r[LANES];
# pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++)
                r[i] = j + i < n ? pairs_of(x + (j + i) * x_col + l, k - l)
                                 : _mm512_setzero_si512();
            turn_block(r);
# pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++)
                _mm512_store_si512(out + (l / 2 + i) * PANEL + j, r[i]);
        }
}

struct tile {
    size_t pairs, last; /* lanes in use of the last vector */
    const uint32_t *a;
    size_t a_row, a_col;
    const uint32_t *b; /* [pairs][PANEL] */
    float *c;
    size_t c_row;
    enum gemm_mode mode;
};

ALWAYS void tile_run(const struct tile *t, size_t rows, size_t cols)
{
    __m512 sum[ROWS][COLUMNS];
    const uint32_t *a = t->a, *b = t->b;
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            sum[i][j] =
                t->mode == GEMM_SET
                    ? _mm512_setzero_ps()
                    : _mm512_maskz_loadu_ps(first(j + 1 < cols ? LANES
                                                               : t->last),
                                            t->c + i * t->c_row + j * LANES);
    for (size_t p = 0; p < t->pairs; p++, a += t->a_col, b += PANEL) {
        __m512bh right[COLUMNS];
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            right[j] = (__m512bh)_mm512_load_si512(b + j * LANES);
# pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            __m512bh left = (__m512bh)_mm512_set1_epi32((int)a[i * t->a_row]);
# pragma GCC unroll 8
            for (size_t j = 0; j < cols; j++)
                sum[i][j] = _mm512_dpbf16_ps(sum[i][j], left, right[j]);
        }
    }
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            _mm512_mask_storeu_ps(t->c + i * t->c_row + j * LANES,
                                  first(j + 1 < cols ? LANES : t->last),
                                  sum[i][j]);
}

/* Every size of a tile is its own function, so that its sums have names. */
# define TILE(rows, cols)                                                      \
  static void tile_##rows##_##cols(const struct tile *t)                       \
  {                                                                            \
   tile_run(t, rows, cols);                                                    \
  }
# define TILES(cols)                                                           \
  TILE(1, cols)                                                                \
  TILE(2, cols)                                                                \
  TILE(3, cols)                                                                \
  TILE(4, cols)                                                                \
  TILE(5, cols)                                                                \
  TILE(6, cols)
# define LIST(cols)                                                            \
  {                                                                            \
   tile_1_##cols, tile_2_##cols, tile_3_##cols, tile_4_##cols, tile_5_##cols,  \
       tile_6_##cols                                                           \
  }
TILES(1)
TILES(2)
TILES(3)
TILES(4)
static void (*const tiles[COLUMNS][ROWS])(const struct tile *) = {LIST(1),
                                                                  LIST(2),
                                                                  LIST(3),
                                                                  LIST(4)};

/* Packed rows [m] and a packed panel of n columns. */
static void run_panel(struct tile t, size_t m, size_t n)
{
    size_t cols = (n + LANES - 1) / LANES, n_tiles = (m + ROWS - 1) / ROWS;
    t.last = n - (cols - 1) * LANES;
    for (size_t i = 0, left = m; i < n_tiles; i++) {
        size_t rows = (left + n_tiles - i - 1) / (n_tiles - i);
        tiles[cols - 1][rows - 1](&t);
        t.a += rows * t.a_row;
        t.c += rows * t.c_row;
        left -= rows;
    }
}

static void pack_b(uint32_t *b, const struct gemm *g, size_t l, size_t k,
                   size_t j0, size_t n)
{
    for (size_t j = 0; j < n; j += PANEL, b += PAIRS * PANEL) {
        const float *from = g->b + l * g->b_row + (j0 + j) * g->b_col;
        size_t some = n - j < PANEL ? n - j : PANEL;
        if (g->b_col == 1)
            pack_across(b, PANEL, from, g->b_row, some, k);
        else
            pack_turned(b, from, g->b_col, some, k);
    }
}

/* All rows of A by columns [j0, j0 + n) of B, inputs [l, l + k). */
static void run_slice(const struct gemm *g, const uint32_t *b, size_t l,
                      size_t k, size_t j0, size_t n)
{
    uint32_t a[TALL * PAIRS] __attribute__((aligned(64)));
    int along = g->a_col == 1;
    for (size_t i = 0; i < g->m; i += TALL) {
        size_t m = g->m - i < TALL ? g->m - i : TALL;
        const float *from = g->a + i * g->a_row + l * g->a_col;
        if (along)
            pack_along(a, from, g->a_row, m, k);
        else
            pack_across(a, TALL, from, g->a_col, m, k);
        for (size_t j = 0; j < n; j += PANEL)
            run_panel((struct tile){.pairs = (k + 1) / 2,
                                    .a = a,
                                    .a_row = along ? PAIRS : 1,
                                    .a_col = along ? 1 : TALL,
                                    .b = b + j * PAIRS,
                                    .c = g->c + i * g->c_row + j0 + j,
                                    .c_row = g->c_row,
                                    .mode = l ? GEMM_ADD : g->mode},
                      m, n - j < PANEL ? n - j : PANEL);
    }
}

void kernel_gemm_bf16(const struct gemm *g)
{
    uint32_t b[WIDE * PAIRS] __attribute__((aligned(64)));
    for (size_t l = 0; l < g->k; l += DEPTH) {
        size_t k = g->k - l < DEPTH ? g->k - l : DEPTH;
        for (size_t j = 0; j < g->n; j += WIDE) {
            size_t n = g->n - j < WIDE ? g->n - j : WIDE;
            pack_b(b, g, l, k, j, n);
            run_slice(g, b, l, k, j, n);
        }
    }
}
#endif
