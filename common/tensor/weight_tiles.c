/*
 * Q8_0 and Q4_0 to the pairs that kernels_bf16.c and the tiles that
 * kernels_amx.c multiplies, for the way back: no f32 of W is ever in memory.
 * A word of pairs has two neighbouring outputs. A tile of W^T's product is 32
 * outputs by 16 inputs, [16 words][16 inputs]; its word p has output p ^ 1 of
 * one tile of W below, and that of the next tile above.
 */
#include "common/tensor/weight_set.h"

#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")
# pragma GCC optimize("O3")
# include "common/tensor/kernel_pairs.h"

enum {
    TILE_WORDS = LANES * LANES,
    LINE = 64,
    AHEAD = 3072 /* bytes of W: it comes from memory, and is read but once */
};

/* 16 inputs of each of 16 outputs: lane i of row[k] has those of output
 * 4 i + k, as signed bytes. */
struct bytes {
    __m512i row[4];
    float scale[WEIGHT_TILE]; /* of an output; 0 past the last */
};

/* Words of four groups of inputs, together for each output. */
ALWAYS void turn_words(const __m512i g[4], __m512i row[4])
{
    __m512i a = _mm512_unpacklo_epi32(g[0], g[1]);
    __m512i b = _mm512_unpackhi_epi32(g[0], g[1]);
    __m512i c = _mm512_unpacklo_epi32(g[2], g[3]);
    __m512i d = _mm512_unpackhi_epi32(g[2], g[3]);
    row[0] = _mm512_unpacklo_epi64(a, c);
    row[1] = _mm512_unpackhi_epi64(a, c);
    row[2] = _mm512_unpacklo_epi64(b, d);
    row[3] = _mm512_unpackhi_epi64(b, d);
}

/* Both halves of a block of a tile of W; of the tile `rows` outputs count. */
ALWAYS void read_block(const uint8_t *tile, size_t block, enum weight_form form,
                       size_t rows, struct bytes half[2])
{
    const uint8_t *q = block_numbers(tile, block, form);
    const __m512i middle = _mm512_set1_epi8(form == BYTES ? -128 : 8);
    const __m512i low = _mm512_set1_epi8(15);
    __m512i g[8];
    for (size_t i = 0; i < (form == BYTES ? 8 : 4); i++)
        g[i] = _mm512_loadu_si512(q + i * sizeof g[i]);
    if (form == NIBBLES)
        for (size_t i = 0; i < 4; i++) {
            g[4 + i] = _mm512_and_si512(_mm512_srli_epi16(g[i], 4), low);
            g[i] = _mm512_and_si512(g[i], low);
        }
    for (size_t i = 0; i < 8; i++) g[i] = _mm512_sub_epi8(g[i], middle);
    __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256(
        (const __m256i *)(const void *)block_scales(tile, block, form)));
    for (size_t h = 0; h < 2; h++) {
        turn_words(g + 4 * h, half[h].row);
        _mm512_storeu_ps(half[h].scale,
                         _mm512_maskz_mov_ps(first(rows), scale));
    }
}

/* 16 inputs of output r. */
ALWAYS __m512 numbers_of(const struct bytes *b, size_t r)
{
    __m128i lane[4];
    _mm512_storeu_si512(lane, b->row[r % 4]);
    __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(lane[r / 4]));
    return _mm512_mul_ps(_mm512_set1_ps(b->scale[r]), q);
}

/* Two tiles of 16 inputs each from a block of two tiles of W (rows[i] outputs
 * of each count); they are `next` words apart. */
ALWAYS void tile_pair(const uint8_t *const tile[2], const size_t rows[2],
                      size_t block, enum weight_form form, uint32_t *out,
                      size_t next)
{
    struct bytes b[2][2] = {0};
    for (size_t i = 0; i < 2; i++)
        if (rows[i]) read_block(tile[i], block, form, rows[i], b[i]);
    for (size_t h = 0; h < 2; h++)
# pragma GCC unroll 16
        for (size_t p = 0; p < LANES; p++)
            _mm512_store_si512(out + h * next + p * LANES,
                               pairs_from(numbers_of(&b[0][h], p ^ 1),
                                          numbers_of(&b[1][h], p ^ 1)));
}

/* 16 outputs of a tile of W (`rows` of which count) by a block of inputs, as
 * pairs of outputs. */
ALWAYS void tile_pairs(const uint8_t *tile, size_t rows, size_t block,
                       enum weight_form form, uint32_t *out)
{
    struct bytes b[2];
    for (size_t i = 0; i < form_bytes(form) + PAIR_SCALES / 2; i += LINE)
        __builtin_prefetch(tile + i + AHEAD +
                           (block_numbers(tile, block, form) - tile));
    read_block(tile, block, form, rows, b);
# pragma GCC unroll 8
    for (size_t p = 0; p < LANES / 2; p++)
# pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++)
            _mm512_store_si512(out + p * KERNEL_PANEL + h * LANES,
                               pairs_from(numbers_of(&b[h], 2 * p),
                                          numbers_of(&b[h], 2 * p + 1)));
}

void weight_back_pairs(const void *ctx, size_t l, size_t k, size_t j, size_t n,
                       uint32_t *out)
{
    const struct weight_columns_at *at = ctx;
    const struct weight *w = at->w;
    for (size_t i = 0; i < k; i += LANES) {
        const uint8_t *tile = weight_tile(w, (l + i) / LANES).data;
        size_t rows = k - i < LANES ? k - i : LANES;
        for (size_t c = 0; c < n; c += WEIGHT_BLOCK) {
            uint32_t *to = out +
                           c / KERNEL_PANEL * KERNEL_PAIRS * KERNEL_PANEL +
                           i / 2 * KERNEL_PANEL + c % KERNEL_PANEL;
            size_t block = (at->j + j + c) / WEIGHT_BLOCK;
            if (w->type == QUANT_Q8_0)
                tile_pairs(tile, rows, block, BYTES, to);
            else
                tile_pairs(tile, rows, block, NIBBLES, to);
        }
    }
}

void weight_back_tiles(const void *ctx, size_t l, size_t k, size_t j, size_t n,
                       uint32_t *out)
{
    const struct weight_columns_at *at = ctx;
    const struct weight *w = at->w;
    size_t blocks = (k + KERNEL_BLOCK - 1) / KERNEL_BLOCK;
    for (size_t b = 0; b < blocks; b++) {
        size_t i = l + b * KERNEL_BLOCK, left = w->n_out - i;
        const size_t rows[] = {left < LANES ? left : LANES,
                               left < LANES ? 0 : left - LANES};
        const uint8_t *const tile[] = {weight_tile(w, i / LANES).data,
                                       rows[1]
                                           ? weight_tile(w, i / LANES + 1).data
                                           : NULL};
        for (size_t c = 0; c < n; c += WEIGHT_BLOCK) {
            uint32_t *to = out + (c / LANES * blocks + b) * TILE_WORDS;
            size_t block = (at->j + j + c) / WEIGHT_BLOCK;
            if (w->type == QUANT_Q8_0)
                tile_pair(tile, rows, block, BYTES, to, blocks * TILE_WORDS);
            else
                tile_pair(tile, rows, block, NIBBLES, to, blocks * TILE_WORDS);
        }
    }
}
#endif
