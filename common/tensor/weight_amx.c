/*
 * Products of bytes with many rows, for processors with AMX: panels of 16 rows
 * meet a tile of W block by block in the processor's tiles,
 *
 *   tmm [16 rows][16 outputs] i32 = [16 rows][32] i8 x [8][16 outputs][4] i8
 *
 * for which both lie ready in memory; only the zero of W's bytes moves from
 * 128 or 8 to 0, once for several panels. Four tiles of W side by side meet a
 * panel, which comes from the second cache once for them, and leave 256 bytes
 * of a row together. A tile leaves through memory, where each of its rows
 * becomes f32, meets its scales and is added, in the order and with the
 * roundings of weight_avx512.c. The limit is that scaling, 48 steps of 16 lanes
 * on two ports or 24 cycles for a block; the tile itself takes 16, its way out
 * 16.
 */
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512vnni,avx2,fma,f16c")
# pragma GCC target("amx-tile,amx-int8")
# pragma GCC optimize("O3")
# include <immintrin.h>
# include <string.h>

# define ALWAYS static inline __attribute__((always_inline))

enum {
    STEPS = 8,
    ROW = 64, /* bytes of a register */
    PANEL_BLOCK = PANEL_ROWS * PANEL_ROW_BYTES
};

/* As LDTILECFG reads it. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

ALWAYS void make_signed(const uint8_t *q, int8_t *to, enum weight_form form)
{
    __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    __m512i top = _mm512_set1_epi8(-128);
    if (form == BYTES) {
        for (size_t g = 0; g < STEPS; g++)
            _mm512_store_si512(to + ROW * g,
                               _mm512_xor_si512(_mm512_loadu_si512(q + ROW * g),
                                                top));
        return;
    }
    for (size_t g = 0; g < STEPS / 2; g++) {
        __m512i both = _mm512_loadu_si512(q + ROW * g);
        __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        _mm512_store_si512(to + ROW * g,
                           _mm512_sub_epi8(_mm512_and_si512(both, low), eight));
        _mm512_store_si512(to + ROW * (g + STEPS / 2),
                           _mm512_sub_epi8(high, eight));
    }
}

/* Another tile of the chunk. */
ALWAYS void fill(const struct weight_tile *t, size_t b0, size_t n,
                 struct weight_chunk *c, enum weight_form form)
{
    size_t to = c->n_tiles++ * n;
    c->n_blocks = n;
    for (size_t b = 0; b < n; b++) {
        const uint8_t *scales = block_scales(t->data, b0 + b, form);
        make_signed(block_numbers(t->data, b0 + b, form), c->numbers[to + b],
                    form);
        _mm512_store_ps(c->scales[to + b], _mm512_cvtph_ps(_mm256_loadu_si256(
                                               (const __m256i_u *)scales)));
    }
}

static void fill_bytes(const struct weight_tile *t, size_t b, size_t n,
                       struct weight_chunk *c)
{
    fill(t, b, n, c, BYTES);
}

static void fill_nibbles(const struct weight_tile *t, size_t b, size_t n,
                         struct weight_chunk *c)
{
    fill(t, b, n, c, NIBBLES);
}

/* What the compiler does not know that tiles read. */
ALWAYS void memory_is_touched(void)
{
    __asm__ volatile("" ::: "memory");
}

/* A block of W by one of a panel, into the tile of step s. Odd and even steps
 * have tiles of their own, so that neither waits for the other. */
ALWAYS void multiply(const int8_t *w, const uint8_t *x, size_t s)
{
    if (s % 2) {
        _tile_zero(0);
        _tile_loadd(1, x, WEIGHT_BLOCK);
        _tile_loadd(2, w, ROW);
        _tile_dpbssd(0, 1, 2);
    } else {
        _tile_zero(4);
        _tile_loadd(5, x, WEIGHT_BLOCK);
        _tile_loadd(6, w, ROW);
        _tile_dpbssd(4, 5, 6);
    }
}

ALWAYS void leave(size_t s, int32_t *to)
{
    if (s % 2)
        _tile_stored(0, to, ROW);
    else
        _tile_stored(4, to, ROW);
}

ALWAYS float number(const uint8_t *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* sum [row] += what a block came to, dot [row], by its two scales. */
ALWAYS void scale(const int32_t *dot, const float *w, const uint8_t *x,
                  __m512 sum[PANEL_ROWS])
{
    __m512 d = _mm512_load_ps(w);
# pragma GCC unroll 16
    for (size_t r = 0; r < PANEL_ROWS; r++)
        sum[r] = _mm512_fmadd_ps(
            _mm512_cvtepi32_ps(_mm512_load_si512(dot + r * WEIGHT_TILE)),
            _mm512_mul_ps(d, _mm512_set1_ps(number(x + 4 * r))), sum[r]);
}

/* The blocks of all tiles are one row of steps: while step s is scaled, s + 1
 * leaves its tile and s + 2 is multiplied. */
static void run(const struct weight_chunk *c, const uint8_t *panel,
                const float *from, float *out)
{
    int32_t dots[2][PANEL_ROWS * WEIGHT_TILE] __attribute__((aligned(ROW)));
    __m512 sum[PANEL_ROWS];
    size_t n = c->n_blocks, end = c->n_tiles * n, next = 2 % n;
    memory_is_touched();
    multiply(c->numbers[0], panel, 0);
    leave(0, dots[0]);
    if (end > 1) multiply(c->numbers[1], panel + 1 % n * PANEL_BLOCK, 1);
    for (size_t s = 0, t = 0; t < CHUNK_WIDTH && s < end; t += WEIGHT_TILE) {
        const uint8_t *scales = panel + PANEL_ROWS * WEIGHT_BLOCK;
# pragma GCC unroll 16
        for (size_t r = 0; r < PANEL_ROWS; r++)
            sum[r] = from ? _mm512_load_ps(from + r * CHUNK_WIDTH + t)
                          : _mm512_setzero_ps();
        for (size_t b = 0; b < n; b++, s++, scales += PANEL_BLOCK) {
            if (s + 1 < end) leave(s + 1, dots[(s + 1) % 2]);
            if (s + 2 < end)
                multiply(c->numbers[s + 2], panel + next * PANEL_BLOCK, s);
            next = next + 1 < n ? next + 1 : 0;
            scale(dots[s % 2], c->scales[s], scales, sum);
        }
# pragma GCC unroll 16
        for (size_t r = 0; r < PANEL_ROWS; r++)
            _mm512_store_ps(out + r * CHUNK_WIDTH + t, sum[r]);
    }
}

static void put(float *y, size_t y_row, size_t n, const float *out,
                const float *to, size_t to_row)
{
    for (size_t r = 0; r < PANEL_ROWS; r++, y += y_row, out += CHUNK_WIDTH) {
        for (size_t i = 0; i < n; i += WEIGHT_TILE) {
            __mmask16 some =
                (__mmask16)(n - i < WEIGHT_TILE ? (1u << (n - i)) - 1 : 0xffff);
            __m512 v = _mm512_load_ps(out + i);
            if (to) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(some, to + i));
            _mm512_mask_storeu_ps(y + i, some, v);
        }
        if (to) to += to_row;
    }
}

static void begin(void)
{
    static const struct tile_config config = {
        .palette = 1,
        .row_bytes = {ROW, WEIGHT_BLOCK, ROW, 0, ROW, WEIGHT_BLOCK, ROW},
        .rows = {PANEL_ROWS, PANEL_ROWS, STEPS, 0, PANEL_ROWS, PANEL_ROWS,
                 STEPS}};
    _tile_loadconfig(&config);
}

static void end(void)
{
    _tile_release();
}

const struct weight_many weight_many_amx = {"amx",        begin, fill_bytes,
                                            fill_nibbles, run,   put,
                                            end};
#endif
