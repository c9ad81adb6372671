#include "common/tensor/vectorise.h"

#include "common/tensor/weights.h"

#include <assert.h>
#include <string.h>

#include "common/tensor/half.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/weight_set.h"
#if WEIGHT_SETS_X86
# include <immintrin.h>
#endif

enum { GROUP = 4 * WEIGHT_TILE }; /* numbers of a register */

static size_t up_to(size_t n, size_t whole)
{
    return (n + whole - 1) / whole * whole;
}

static bool in_blocks(enum quant_type type)
{
    return type == QUANT_Q8_0 || type == QUANT_Q4_0;
}

static enum weight_form form_of(enum quant_type type)
{
    return type == QUANT_Q8_0 ? BYTES : NIBBLES;
}

static size_t tile_bytes(enum quant_type type, size_t n_in)
{
    size_t n_blocks = n_in / WEIGHT_BLOCK;
    switch (type) {
    case QUANT_F32: return n_in * WEIGHT_TILE * 4;
    case QUANT_F16:
    case QUANT_BF16: return n_in * WEIGHT_TILE * 2;
    case QUANT_Q8_0:
    case QUANT_Q4_0:
        if (n_in % WEIGHT_BLOCK) return 0;
        return (n_blocks + 1) / 2 * PAIR_SCALES +
               n_blocks * form_bytes(form_of(type));
    default: return 0;
    }
}

size_t weight_bytes(enum quant_type type, size_t n_out, size_t n_in)
{
    if (n_out == 0 || n_out > WEIGHT_SIDE_MAX) return 0;
    if (n_in == 0 || n_in > WEIGHT_SIDE_MAX) return 0;
    return up_to(n_out, WEIGHT_TILE) / WEIGHT_TILE * tile_bytes(type, n_in);
}

struct weight_tile weight_tile(const struct weight *w, size_t i)
{
    const uint8_t *at = w->data + i * tile_bytes(w->type, w->n_in);
    return (struct weight_tile){at, in_blocks(w->type) ? w->n_in / WEIGHT_BLOCK
                                                       : 0};
}

/* ---- packing: a word is what one output row has of a group --------------- */

enum direction { PACK, UNPACK };

static void move(enum direction how, uint8_t *packed, uint8_t *plain, size_t n)
{
    if (how == PACK)
        memcpy(packed, plain, n);
    else
        memcpy(plain, packed, n);
}

/* Row r of a tile of a plain type. */
static void move_plain(enum direction how, const struct weight *w,
                       uint8_t *tile, size_t r, uint8_t *row)
{
    size_t size = quant_info(w->type)->bytes;
    for (size_t l = 0; l < w->n_in; l++)
        move(how, tile + (l * WEIGHT_TILE + r) * size, row + l * size, size);
}

/* Row r of a tile of blocks. Q8_0 moves the zero of its bytes by 128. */
static void move_blocks(enum direction how, const struct weight *w,
                        uint8_t *tile, size_t r, uint8_t *row)
{
    enum weight_form form = form_of(w->type);
    uint32_t zero = form == BYTES ? 0x80808080u : 0;
    for (size_t b = 0; b < w->n_in / WEIGHT_BLOCK; b++) {
        uint8_t *q = tile + (block_numbers(tile, b, form) - tile);
        uint8_t *scale = tile + (block_scales(tile, b, form) - tile) + 2 * r;
        move(how, scale, row, 2);
        row += 2;
        for (size_t g = 0; g < form_bytes(form) / GROUP; g++, row += 4) {
            uint8_t *at = q + (g * WEIGHT_TILE + r) * 4;
            uint32_t word;
            memcpy(&word, how == PACK ? row : at, sizeof word);
            word ^= zero;
            memcpy(how == PACK ? at : row, &word, sizeof word);
        }
    }
}

static void move_all(enum direction how, const struct weight *w,
                     uint8_t *packed, uint8_t *rows)
{
    size_t tile = tile_bytes(w->type, w->n_in);
    size_t row = quant_bytes(w->type, w->n_in);
    for (size_t i = 0; i < w->n_out; i++) {
        uint8_t *at = packed + i / WEIGHT_TILE * tile;
        (in_blocks(w->type) ? move_blocks : move_plain)(how, w, at,
                                                        i % WEIGHT_TILE,
                                                        rows + i * row);
    }
}

void weight_pack(enum quant_type type, size_t n_out, size_t n_in,
                 const void *rows, void *out)
{
    size_t n_bytes = weight_bytes(type, n_out, n_in);
    struct weight w = {type, n_out, n_in, out};
    assert(n_bytes > 0);
    memset(out, 0, n_bytes);
    move_all(PACK, &w, out, (uint8_t *)(uintptr_t)rows);
}

void weight_unpack(const struct weight *w, void *rows)
{
    assert(weight_bytes(w->type, w->n_out, w->n_in) > 0);
    move_all(UNPACK, w, (uint8_t *)(uintptr_t)w->data, rows);
}

/* ---- decoding ------------------------------------------------------------ */

/* n columns of 16 numbers of a tile of a plain type; dst_col apart. */
MANY_TARGETS
static void decode_columns(enum quant_type type, const uint8_t *src, size_t n,
                           float *dst, size_t dst_col)
{
    uint16_t half[WEIGHT_TILE];
    if (type == QUANT_F32)
        for (size_t l = 0; l < n; l++)
            memcpy(dst + l * dst_col, src + l * sizeof half * 2,
                   sizeof half * 2);
    if (type == QUANT_F16)
        for (size_t l = 0; l < n; l++) {
            memcpy(half, src + l * sizeof half, sizeof half);
            for (size_t r = 0; r < WEIGHT_TILE; r++)
                dst[l * dst_col + r] = f16_decode(half[r]);
        }
    if (type == QUANT_BF16)
        for (size_t l = 0; l < n; l++) {
            memcpy(half, src + l * sizeof half, sizeof half);
            for (size_t r = 0; r < WEIGHT_TILE; r++)
                dst[l * dst_col + r] = bf16_decode(half[r]);
        }
}

#if WEIGHT_SETS_X86
/* F16 by the processor's own conversion: the same numbers. */
__attribute__((target("avx2,f16c"))) static void decode_f16_avx2(
    const uint8_t *src, size_t n, float *dst, size_t dst_col)
{
    const __m128i_u *at = (const __m128i_u *)src;
    for (size_t l = 0; l < n; l++, at += 2, dst += dst_col) {
        _mm256_storeu_ps(dst, _mm256_cvtph_ps(_mm_loadu_si128(at)));
        _mm256_storeu_ps(dst + WEIGHT_TILE / 2,
                         _mm256_cvtph_ps(_mm_loadu_si128(at + 1)));
    }
}
#endif

void weight_columns(const struct weight *w, size_t i, size_t j0, size_t n,
                    float *dst, size_t dst_col)
{
    size_t size = quant_info(w->type)->bytes * WEIGHT_TILE;
    const uint8_t *src = weight_tile(w, i).data + j0 * size;
#if WEIGHT_SETS_X86
    if (w->type == QUANT_F16 && kernel_may(KERNEL_AVX2)) {
        decode_f16_avx2(src, n, dst, dst_col);
        return;
    }
#endif
    decode_columns(w->type, src, n, dst, dst_col);
}

static void decode_plain(const struct weight *w, struct weight_tile t,
                         size_t r0, size_t r1, size_t j0, size_t j1, float *dst,
                         size_t dst_row)
{
    size_t size = quant_info(w->type)->bytes;
    for (size_t j = j0; j < j1; j++) {
        float column[WEIGHT_TILE];
        decode_columns(w->type, t.data + j * WEIGHT_TILE * size, 1, column,
                       WEIGHT_TILE);
        for (size_t r = r0; r < r1; r++)
            dst[(r - r0) * dst_row + j - j0] = column[r];
    }
}

/* x [64] = d (q - zero); d is there once for each number. */
MANY_TARGETS
static void decode_group(const uint8_t *q, const float *d, int zero, float *x)
{
    for (size_t i = 0; i < GROUP; i++) x[i] = d[i] * (float)((int)q[i] - zero);
}

MANY_TARGETS
static void split_nibbles(const uint8_t *q, uint8_t *low, uint8_t *high)
{
    for (size_t i = 0; i < GROUP; i++) {
        low[i] = q[i] & 15;
        high[i] = q[i] >> 4;
    }
}

/* Four numbers of each of rows r0 to r1. */
static void put_group(const float *x, size_t r0, size_t r1, float *dst,
                      size_t dst_row)
{
    for (size_t r = r0; r < r1; r++)
        memcpy(dst + (r - r0) * dst_row, x + 4 * r, 4 * sizeof *dst);
}

static void decode_block(enum quant_type type, const uint8_t *scales,
                         const uint8_t *q, size_t r0, size_t r1, float *dst,
                         size_t dst_row)
{
    float d[GROUP], x[GROUP], column[WEIGHT_TILE];
    decode_columns(QUANT_F16, scales, 1, column, WEIGHT_TILE);
    for (size_t i = 0; i < GROUP; i++) d[i] = column[i / 4];
    if (type == QUANT_Q8_0) {
        for (size_t g = 0; g < 8; g++) {
            decode_group(q + g * GROUP, d, 128, x);
            put_group(x, r0, r1, dst + 4 * g, dst_row);
        }
        return;
    }
    for (size_t g = 0; g < 4; g++) {
        uint8_t low[GROUP], high[GROUP];
        split_nibbles(q + g * GROUP, low, high);
        decode_group(low, d, 8, x);
        put_group(x, r0, r1, dst + 4 * g, dst_row);
        decode_group(high, d, 8, x);
        put_group(x, r0, r1, dst + 16 + 4 * g, dst_row);
    }
}

void weight_tile_decode(const struct weight *w, size_t i, size_t r0, size_t r1,
                        size_t j0, size_t j1, float *dst, size_t dst_row)
{
    struct weight_tile t = weight_tile(w, i);
    if (!in_blocks(w->type)) {
        decode_plain(w, t, r0, r1, j0, j1, dst, dst_row);
        return;
    }
    enum weight_form form = form_of(w->type);
    for (size_t b = j0 / WEIGHT_BLOCK; b < j1 / WEIGHT_BLOCK; b++)
        decode_block(w->type, block_scales(t.data, b, form),
                     block_numbers(t.data, b, form), r0, r1,
                     dst + b * WEIGHT_BLOCK - j0, dst_row);
}

void weight_rows(const struct weight *w, size_t i0, size_t i1, float *dst)
{
    assert(i0 <= i1 && i1 <= w->n_out);
    while (i0 < i1) {
        size_t r0 = i0 % WEIGHT_TILE, n = WEIGHT_TILE - r0;
        n = n < i1 - i0 ? n : i1 - i0;
        weight_tile_decode(w, i0 / WEIGHT_TILE, r0, r0 + n, 0, w->n_in, dst,
                           w->n_in);
        dst += n * w->n_in;
        i0 += n;
    }
}
