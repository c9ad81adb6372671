/*
 * gemm with numbers rounded to bf16 and sums in f32, for processors that
 * multiply pairs of them (AVX512-BF16): two products in a step, which some
 * take in the time of one (Zen 4) and others in twice that (Sapphire Rapids).
 *
 * Both operands are rounded as they are packed, two neighbours along k in a
 * word:
 *
 *   A  a few rows x DEPTH, as they lie: [rows][pairs] or [pairs][rows]
 *   B  DEPTH x PANEL columns, [pairs][PANEL]
 *
 * A sum of C is two, of half a block of k each, in the order of
 * kernel_pairs.h, whatever the shape of the piece it is part of.
 */
#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")
# pragma GCC optimize("O3")
# include "common/tensor/kernel_pairs.h"

enum {
    ROWS = 4, /* sixteen sums at a time hide what a step takes */
    COLUMNS = KERNEL_PANEL / LANES,
    HALF = KERNEL_BLOCK / 4, /* pairs of half a block */
    PANEL = KERNEL_PANEL,
    PAIRS = KERNEL_PAIRS,
    DEPTH = 2 * PAIRS,
    TALL = 96, /* rows of A packed at a time, whole vectors of them */
    AHEAD = 8,
    WIDE = 768 /* columns of B packed at a time */
};

/* out [n][PAIRS] from rows of k numbers, which are too short for the processor
 * to ask for the next one by itself. */
static void pack_along(uint32_t *out, const float *x, size_t x_row, size_t n,
                       size_t k)
{
    for (size_t i = 0; i < n; i++) {
        const float *from = x + i * x_row;
        size_t ahead = (i + 2 < n ? 2 : 0) * x_row;
        for (size_t l = 0; l < k; l += 2 * LANES) {
            __builtin_prefetch(from + ahead + l);
            __builtin_prefetch(from + ahead + l + LANES);
            _mm512_store_si512(out + i * PAIRS + l / 2,
                               pairs_of(from + l, k - l));
        }
    }
}

/* out [pairs][out_row] from k rows of n numbers, asked for AHEAD rows early. */
static void pack_across(uint32_t *out, size_t out_row, const float *x,
                        size_t x_row, size_t n, size_t k)
{
    for (size_t l = 0; l < k; l += 2) {
        const float *at = x + l * x_row;
        const float *next = l + 1 < k ? at + x_row : NULL;
        const float *soon = l + AHEAD + 1 < k ? at + AHEAD * x_row : at;
        const float *and_next = next ? soon + x_row : soon;
        for (size_t j = 0; j < n; j += LANES) {
            __builtin_prefetch(soon + j);
            __builtin_prefetch(and_next + j);
            _mm512_store_si512(out + l / 2 * out_row + j,
                               pairs_across(at + j, next ? next + j : NULL,
                                            first(n - j)));
        }
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

/* sum + pairs of A by pairs of B, one row of A by up to PANEL columns. */
ALWAYS void add_pairs(__m512 sum[COLUMNS], uint32_t a, const uint32_t *b,
                      size_t cols)
{
    __m512bh left = (__m512bh)_mm512_set1_epi32((int)a);
# pragma GCC unroll 8
    for (size_t j = 0; j < cols; j++)
        sum[j] = _mm512_dpbf16_ps(sum[j], left,
                                  (__m512bh)_mm512_load_si512(b + j * LANES));
}

/* What a block of up to 2 HALF pairs adds to c. */
ALWAYS void block_run(const struct tile *t, const uint32_t *a,
                      const uint32_t *b, size_t pairs, __m512 c[ROWS][COLUMNS],
                      size_t rows, size_t cols)
{
    __m512 sum[2][ROWS][COLUMNS];
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            sum[0][i][j] = sum[1][i][j] = _mm512_setzero_ps();
    size_t n = pairs < HALF ? pairs : HALF, above = pairs - n;
    for (size_t p = 0; p < n; p++)
# pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++)
            add_pairs(sum[0][i], a[i * t->a_row + p * t->a_col], b + p * PANEL,
                      cols);
    a += HALF * t->a_col;
    b += HALF * PANEL;
    for (size_t p = 0; p < above; p++)
# pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++)
            add_pairs(sum[1][i], a[i * t->a_row + p * t->a_col], b + p * PANEL,
                      cols);
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            c[i][j] = _mm512_add_ps(c[i][j],
                                    _mm512_add_ps(sum[0][i][j], sum[1][i][j]));
}

/* C is kept here between blocks: what was stored under a mask is slow to read
 * again. That of the tile below is asked for. */
ALWAYS void tile_run(const struct tile *t, size_t rows, size_t cols)
{
    __m512 c[ROWS][COLUMNS];
    __mmask16 last = first(t->last);
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            __builtin_prefetch(t->c + (rows + i) * t->c_row + j * LANES);
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            c[i][j] =
                t->mode == GEMM_SET
                    ? _mm512_setzero_ps()
                    : _mm512_maskz_loadu_ps(j + 1 < cols ? first(LANES) : last,
                                            t->c + i * t->c_row + j * LANES);
    for (size_t p = 0; p < t->pairs; p += 2 * HALF)
        block_run(t, t->a + p * t->a_col, t->b + p * PANEL,
                  t->pairs - p < 2 * HALF ? t->pairs - p : 2 * HALF, c, rows,
                  cols);
# pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
# pragma GCC unroll 8
        for (size_t j = 0; j < cols; j++)
            _mm512_mask_storeu_ps(t->c + i * t->c_row + j * LANES,
                                  j + 1 < cols ? first(LANES) : last, c[i][j]);
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
  TILE(4, cols)
# define LIST(cols)                                                            \
  {                                                                            \
   tile_1_##cols, tile_2_##cols, tile_3_##cols, tile_4_##cols                  \
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

static void pack_from_memory(const void *ctx, size_t l, size_t k, size_t j0,
                             size_t n, uint32_t *b)
{
    const struct gemm *g = ctx;
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

void kernel_gemm_bf16_filled(const struct gemm *g, kernel_fill *fill,
                             const void *ctx)
{
    uint32_t b[WIDE * PAIRS] __attribute__((aligned(64)));
    unsigned rounding = _mm_getcsr();
    _mm_setcsr(rounding | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
    for (size_t l = 0; l < g->k; l += DEPTH) {
        size_t k = g->k - l < DEPTH ? g->k - l : DEPTH;
        for (size_t j = 0; j < g->n; j += WIDE) {
            size_t n = g->n - j < WIDE ? g->n - j : WIDE;
            fill(ctx, l, k, j, n, b);
            run_slice(g, b, l, k, j, n);
        }
    }
    _mm_setcsr(rounding);
}

void kernel_gemm_bf16(const struct gemm *g)
{
    kernel_gemm_bf16_filled(g, pack_from_memory, g);
}
#endif
