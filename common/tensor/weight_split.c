/*
 * Products of F16 and BF16 with many rows, for processors with tiles of bf16
 * (AMX-BF16). A number of f32 is nearly the sum of two of bf16, one of f16
 * exactly:
 *
 *   x = xu + xl + e    |e| <= 2^-18 |x|          w = wu + wl (BF16: wl = 0)
 *   y = sum (xu wl + xu wu + xl wu)           in f32, a block of 32 at a time
 *
 * so three products of tiles (two for BF16) leave out xl wl and e w: less than
 * 2^-17 |x w| each time, and what f32 rounds. x becomes tiles once for all
 * matrices, W as it is multiplied, a slice of 32 outputs that the first cache
 * holds while all rows pass.
 */
#include "common/tensor/weight_set.h"

#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma,f16c")
# pragma GCC optimize("O3")
# include "common/tensor/kernel_pairs.h"

enum {
    TILE_WORDS = LANES * LANES,
    SLICE = 8,        /* blocks along k of W: 32 KiB of tiles */
    STRIP = 2 * LANES /* rows, or outputs, of a square */
};

static size_t blocks_of(size_t n_in)
{
    return (n_in + KERNEL_BLOCK - 1) / KERNEL_BLOCK;
}

ALWAYS size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Words from 16 rows of x to the next. */
static size_t group_words(size_t n_in)
{
    return blocks_of(n_in) * 2 * TILE_WORDS;
}

size_t split_bytes(size_t n_rows, size_t n_in)
{
    return split_groups(n_rows) * group_words(n_in) * sizeof(uint32_t);
}

size_t split_groups(size_t n_rows)
{
    return (n_rows + LANES - 1) / LANES;
}

/* What the upper half of 16 words is, as f32; and the lower half. */
ALWAYS __m512 above(__m512i words)
{
    return (__m512)_mm512_and_si512(words, _mm512_set1_epi32(-65536));
}

ALWAYS __m512 below(__m512i words)
{
    return (__m512)_mm512_slli_epi32(words, 16);
}

/* Two numbers to a word, and what rounding has left of them to another. */
ALWAYS void put_split(__m512 low, __m512 high, uint32_t *out)
{
    __m512i upper = pairs_from(low, high);
    _mm512_store_si512(out, upper);
    _mm512_store_si512(out + TILE_WORDS,
                       pairs_from(_mm512_sub_ps(low, below(upper)),
                                  _mm512_sub_ps(high, above(upper))));
}

/* 32 numbers of a row in order: word p has numbers 2 p and 2 p + 1. */
ALWAYS void put_row(__m512 low, __m512 high, uint32_t *out)
{
    __m512i upper = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    __m512 u = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(
                                             _mm512_castsi512_si256(upper)),
                                         16);
    __m512 v = (__m512)_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(upper, 1)), 16);
    _mm512_store_si512(out, upper);
    _mm512_store_si512(out + TILE_WORDS,
                       (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(high, v),
                                                    _mm512_sub_ps(low, u)));
}

void split_fill(const float *x, size_t n_rows, size_t n_in, void *tiles,
                size_t i)
{
    uint32_t *out = (uint32_t *)tiles + i * group_words(n_in);
    for (size_t r = 0; r < LANES; r++, out += LANES) {
        size_t rest = i * LANES + r < n_rows ? n_in : 0;
        const float *row = x + (i * LANES + r) * n_in;
        for (size_t b = 0; b < blocks_of(n_in); b++) {
            size_t l = b * KERNEL_BLOCK, n = rest > l ? rest - l : 0;
            __m512 low = n ? _mm512_maskz_loadu_ps(first(n), row + l)
                           : _mm512_setzero_ps();
            __m512 high = n > LANES ? _mm512_maskz_loadu_ps(first(n - LANES),
                                                            row + l + LANES)
                                    : _mm512_setzero_ps();
            put_row(low, high, out + b * 2 * TILE_WORDS);
        }
    }
}

/* Two inputs of 16 outputs, of which n are there. */
ALWAYS __m512i inputs_of(const uint8_t *at, size_t n)
{
    enum { INPUT = LANES * 2 };
    __m256i a = _mm256_setzero_si256(), b = a;
    if (n > 0) a = _mm256_loadu_si256((const __m256i_u *)at);
    if (n > 1) b = _mm256_loadu_si256((const __m256i_u *)(at + INPUT));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* One tile of W, inputs from block b on, `blocks` of them. */
ALWAYS void fill_f16(const struct weight *w, size_t tile, size_t b,
                     size_t blocks, uint32_t *out)
{
    const uint8_t *at = weight_tile(w, tile).data;
    for (size_t p = b * LANES; p < (b + blocks) * LANES; p++) {
        size_t n = w->n_in > 2 * p ? w->n_in - 2 * p : 0;
        __m512i both = inputs_of(at + p * 4 * LANES, n);
        put_split(_mm512_cvtph_ps(_mm512_castsi512_si256(both)),
                  _mm512_cvtph_ps(_mm512_extracti64x4_epi64(both, 1)), out);
        out += p % LANES < LANES - 1 ? LANES : LANES + TILE_WORDS;
    }
}

ALWAYS void fill_bf16(const struct weight *w, size_t tile, size_t b,
                      size_t blocks, uint32_t *out)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9,
                         24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
                         16, 0);
    const uint8_t *at = weight_tile(w, tile).data;
    for (size_t p = b * LANES; p < (b + blocks) * LANES; p++, out += LANES) {
        size_t n = w->n_in > 2 * p ? w->n_in - 2 * p : 0;
        _mm512_store_si512(out, _mm512_permutexvar_epi16(
                                    order, inputs_of(at + p * 4 * LANES, n)));
    }
}

/* Rows [row, row + n_rows) by the tiles of W that `square` has as its B: of two
 * tiles from `tile` on, inputs from block l on. */
static void strips_run(struct kernel_square square, const struct split_job *s,
                       size_t tile, size_t l)
{
    const struct weight_job *job = s->job;
    size_t at = tile * LANES, n_out = job->w->n_out;
    square.n = least(n_out - at, square.n);
    square.c_row = n_out;
    square.a_next = group_words(job->w->n_in);
    for (size_t i = 0; i < s->n_rows; i += STRIP) {
        square.m = least(s->n_rows - i, STRIP);
        square.a = (const uint32_t *)s->tiles + i / LANES * square.a_next +
                   l * 2 * TILE_WORDS;
        square.c = job->y + (s->row + i) * n_out + at;
        square.from = l || job->mode == GEMM_ADD ? square.c : NULL;
        square.from_row = n_out;
        if (!l && job->bias) {
            square.from = job->bias + at;
            square.from_row = 0;
        }
        kernel_square_run(&square);
    }
}

void split_run(const struct split_job *s, size_t tile, size_t end)
{
    uint32_t b[2 * SLICE * 2 * TILE_WORDS] __attribute__((aligned(64)));
    const struct weight *w = s->job->w;
    size_t n_blocks = blocks_of(w->n_in), n = (n_blocks + SLICE - 1) / SLICE;
    size_t most = (n_blocks + n - 1) / n; /* slices of nearly one size */
    int half = w->type == QUANT_F16;
    kernel_tiles_begin();
    for (; tile < end; tile += 2)
        for (size_t l = 0; l < n_blocks; l += most) {
            size_t blocks = least(n_blocks - l, most);
            size_t next = blocks * TILE_WORDS * (half ? 2 : 1);
            for (size_t i = 0; i < 2 && tile + i < end; i++)
                (half ? fill_f16 : fill_bf16)(w, tile + i, l, blocks,
                                              b + i * next);
            strips_run((struct kernel_square){.b = b,
                                              .b_next = next,
                                              .blocks = blocks,
                                              .n = least((end - tile) * LANES,
                                                         STRIP),
                                              .parts = half ? KERNEL_BOTH_SPLIT
                                                            : KERNEL_A_SPLIT},
                       s, tile, l);
        }
    kernel_tiles_end();
}
#else /* never asked for: weight_run.c */
size_t split_bytes(size_t n_rows, size_t n_in)
{
    (void)n_rows;
    (void)n_in;
    return 0;
}

size_t split_groups(size_t n_rows)
{
    (void)n_rows;
    return 0;
}

void split_fill(const float *x, size_t n_rows, size_t n_in, void *tiles,
                size_t i)
{
    (void)x;
    (void)n_rows;
    (void)n_in;
    (void)tiles;
    (void)i;
}

void split_run(const struct split_job *s, size_t tile, size_t end)
{
    (void)s;
    (void)tile;
    (void)end;
}
#endif
