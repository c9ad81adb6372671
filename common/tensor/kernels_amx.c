/*
 * gemm with numbers rounded to bf16 and sums in f32, for processors with tiles
 * (AMX-BF16): 16 x 16 sums take 32 products each in one instruction.
 *
 *   A  16 rows x 32 along k     one tile, [16 rows][16 words]
 *   B  32 along k x 16 columns  one tile, [16 words][16 columns]
 *   C  2 x 2 tiles of sums, so that each tile read serves two products
 *
 * An instruction adds what the lower halves of the words come to, and the upper
 * ones, each from 0 in order, to C. Word p of a block of 32 numbers has number
 * p ^ 1 below and 16 + (p ^ 1) above: that makes the order of kernel_pairs.h.
 */
#include "common/tensor/kernel_set.h"

#if KERNEL_SETS_X86
# pragma GCC target("avx512f,avx512vl,avx512bw,avx512bf16,avx2,fma")
# pragma GCC target("amx-tile,amx-bf16")
# pragma GCC optimize("O3")
# include "common/tensor/kernel_pairs.h"

enum {
    TILE_WORDS = LANES * LANES,
    TILE_ROW = LANES * 4, /* bytes */
    DEPTH = 384, /* along k at a time: a strip of A stays in the first cache */
    BLOCKS = DEPTH / KERNEL_BLOCK,
    WIDE = 576,        /* columns of B: with its DEPTH in the second cache */
    STRIP = 2 * LANES, /* rows, or columns, of four tiles */
    TALL = 2 * STRIP   /* rows of A packed at a time */
};

ALWAYS size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many of `whole` hold n. */
ALWAYS size_t up(size_t n, size_t whole)
{
    return (n + whole - 1) / whole;
}

/* What the compiler has not been told that the tiles read and write. */
ALWAYS void memory_is_shared(void)
{
    __asm__ volatile("" ::: "memory");
}

/* As pairs_of(), number p ^ 1 beside 16 + (p ^ 1). */
ALWAYS __m512i halves_of(const float *x, size_t n)
{
    const __m512i order =
        _mm512_set_epi16(30, 14, 31, 15, 28, 12, 29, 13, 26, 10, 27, 11, 24, 8,
                         25, 9, 22, 6, 23, 7, 20, 4, 21, 5, 18, 2, 19, 3, 16, 0,
                         17, 1);
    return _mm512_permutexvar_epi16(order, pairs_of(x, n));
}

/* Lines of an operand: rows of A or columns of B; number l of line i is
 * x[i line + l step], of which one is 1. */
struct lines {
    const float *x;
    size_t line, step;
};
enum side { ROWS_OF_A, COLUMNS_OF_B };
enum lie { ALONG, ACROSS }; /* step is 1; line is 1 */

/* One tile from up to 16 lines, up to 32 along k. */
ALWAYS void pack_part(uint32_t *out, const struct lines *a, size_t n, size_t k,
                      enum side side, enum lie lie)
{
    __m512i r[LANES];
# pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++) {
        size_t l = i ^ 1, h = l + LANES;
        if (lie == ALONG)
            r[i] = i < n ? halves_of(a->x + i * a->line, k)
                         : _mm512_setzero_si512();
        else
            r[i] = pairs_across(l < k ? a->x + l * a->step : NULL,
                                h < k ? a->x + h * a->step : NULL, first(n));
    }
    if ((lie == ALONG) == (side == COLUMNS_OF_B)) turn_block(r);
# pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++)
        _mm512_store_si512(out + i * LANES, r[i]);
}

/* The same; of a whole one the compiler knows the size. */
ALWAYS void pack_tile(uint32_t *out, const struct lines *a, size_t n, size_t k,
                      enum side side, enum lie lie)
{
    if (n >= LANES && k >= KERNEL_BLOCK)
        pack_part(out, a, LANES, KERNEL_BLOCK, side, lie);
    else
        pack_part(out, a, n, least(k, KERNEL_BLOCK), side, lie);
}

/* out [groups of 16 lines][blocks along k][TILE_WORDS], read as it lies. */
ALWAYS void pack_all(uint32_t *out, const struct lines *a, size_t n, size_t k,
                     enum side side, enum lie lie)
{
    size_t groups = up(n, LANES), blocks = up(k, KERNEL_BLOCK);
    for (size_t t = 0; t < groups * blocks; t++) {
        size_t g = lie == ALONG ? t / blocks : t % groups;
        size_t b = lie == ALONG ? t % blocks : t / groups;
        size_t i = g * LANES, l = b * KERNEL_BLOCK;
        const struct lines at = {a->x + i * a->line + l * a->step, a->line,
                                 a->step};
        pack_tile(out + (g * blocks + b) * TILE_WORDS, &at, n - i, k - l, side,
                  lie);
    }
}

static void pack_rows(uint32_t *out, struct lines a, size_t n, size_t k)
{
    if (a.step == 1)
        pack_all(out, &a, n, k, ROWS_OF_A, ALONG);
    else
        pack_all(out, &a, n, k, ROWS_OF_A, ACROSS);
}

static void pack_columns(uint32_t *out, struct lines b, size_t n, size_t k)
{
    if (b.step == 1)
        pack_all(out, &b, n, k, COLUMNS_OF_B, ALONG);
    else
        pack_all(out, &b, n, k, COLUMNS_OF_B, ACROSS);
}

/* 2 x 2 tiles of C or what is left of them, all blocks of a slice. */

/* Tile i of C goes by a buffer where it is not whole, and so does what it is
 * added to. */
enum { C_TILES = 4 };
struct corner {
    const float *from; /* NULL: zeros */
    float *at;         /* NULL: no tile */
    size_t m, n;
};

static struct corner corner_of(const struct kernel_square *s, size_t i)
{
    size_t down = i / 2 * LANES, right = i % 2 * LANES;
    if (down >= s->m || right >= s->n) return (struct corner){0};
    return (
        struct corner){s->from ? s->from + down * s->from_row + right : NULL,
                       s->c + down * s->c_row + right,
                       least(s->m - down, LANES), least(s->n - right, LANES)};
}

static int is_whole(const struct corner *c)
{
    return c->m == LANES && c->n == LANES;
}

/* Where the tile is read; *bytes: from row to row. */
static const float *fetch(const struct corner *c, size_t row, float *buffer,
                          size_t *bytes)
{
    *bytes = row * sizeof *c->from;
    if (!c->at || is_whole(c)) return c->from;
    *bytes = TILE_ROW;
    for (size_t i = 0; i < LANES; i++)
        _mm512_store_ps(buffer + i * LANES,
                        i < c->m ? _mm512_maskz_loadu_ps(first(c->n),
                                                         c->from + i * row)
                                 : _mm512_setzero_ps());
    return buffer;
}

static void put_back(const struct corner *c, size_t row, const float *buffer)
{
    for (size_t i = 0; i < c->m; i++)
        _mm512_mask_storeu_ps(c->at + i * row, first(c->n),
                              _mm512_load_ps(buffer + i * LANES));
}

/* Which of the four tiles of C there are. */
struct there {
    int right, below;
};

/* Tiles 4 and 5 are A. */
ALWAYS void read_a(const struct kernel_square *s, const uint32_t *a,
                   struct there is)
{
    _tile_loadd(4, a, TILE_ROW);
    if (is.below) _tile_loadd(5, a + s->a_next, TILE_ROW);
}

/* Tiles 6 and 7 are B. */
ALWAYS void read_b(const struct kernel_square *s, const uint32_t *b,
                   struct there is)
{
    _tile_loadd(6, b, TILE_ROW);
    if (is.right) _tile_loadd(7, b + s->b_next, TILE_ROW);
}

/* Tiles 0 to 3 are C. */
ALWAYS void multiply(struct there is)
{
    _tile_dpbf16ps(0, 4, 6);
    if (is.right) _tile_dpbf16ps(1, 4, 7);
    if (is.below) _tile_dpbf16ps(2, 5, 6);
    if (is.right && is.below) _tile_dpbf16ps(3, 5, 7);
}

/* All blocks; a number's lower part stands a tile behind its upper one. */
ALWAYS void sum_blocks(const struct kernel_square *s, struct there is,
                       enum kernel_parts parts)
{
    size_t a_step = parts == KERNEL_WHOLE ? TILE_WORDS : 2 * TILE_WORDS;
    size_t b_step = parts == KERNEL_BOTH_SPLIT ? 2 * TILE_WORDS : TILE_WORDS;
    const uint32_t *a = s->a, *b = s->b;
    for (size_t l = 0; l < s->blocks; l++, a += a_step, b += b_step) {
        read_a(s, a, is);
        if (parts == KERNEL_BOTH_SPLIT) {
            read_b(s, b + TILE_WORDS, is);
            multiply(is);
        }
        read_b(s, b, is);
        multiply(is);
        if (parts == KERNEL_WHOLE) continue;
        read_a(s, a + TILE_WORDS, is);
        multiply(is);
    }
}

/* What the tiles begin with. */
ALWAYS void read_c(const struct kernel_square *s,
                   const struct corner c[C_TILES],
                   float buffer[C_TILES][TILE_WORDS], struct there is)
{
    const float *from[C_TILES];
    size_t bytes[C_TILES];
    for (size_t i = 0; i < C_TILES; i++)
        from[i] = fetch(&c[i], s->from_row, buffer[i], &bytes[i]);
    memory_is_shared();
    _tile_loadd(0, from[0], bytes[0]);
    if (is.right) _tile_loadd(1, from[1], bytes[1]);
    if (is.below) _tile_loadd(2, from[2], bytes[2]);
    if (is.right && is.below) _tile_loadd(3, from[3], bytes[3]);
}

ALWAYS void write_c(const struct kernel_square *s,
                    const struct corner c[C_TILES],
                    float buffer[C_TILES][TILE_WORDS], struct there is)
{
    float *to[C_TILES];
    size_t bytes[C_TILES];
    for (size_t i = 0; i < C_TILES; i++) {
        to[i] = is_whole(&c[i]) ? c[i].at : buffer[i];
        bytes[i] = is_whole(&c[i]) ? s->c_row * sizeof *s->c : TILE_ROW;
    }
    _tile_stored(0, to[0], bytes[0]);
    if (is.right) _tile_stored(1, to[1], bytes[1]);
    if (is.below) _tile_stored(2, to[2], bytes[2]);
    if (is.right && is.below) _tile_stored(3, to[3], bytes[3]);
    memory_is_shared();
    for (size_t i = 0; i < C_TILES; i++)
        if (c[i].at && !is_whole(&c[i])) put_back(&c[i], s->c_row, buffer[i]);
}

void kernel_square_run(const struct kernel_square *s)
{
    float buffer[C_TILES][TILE_WORDS] __attribute__((aligned(64)));
    struct corner corner[C_TILES];
    const struct there is = {s->n > LANES, s->m > LANES};
    for (size_t i = 0; i < C_TILES; i++) corner[i] = corner_of(s, i);
    memory_is_shared();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (s->from) read_c(s, corner, buffer, is);
    switch (s->parts) {
    case KERNEL_WHOLE: sum_blocks(s, is, KERNEL_WHOLE); break;
    case KERNEL_A_SPLIT: sum_blocks(s, is, KERNEL_A_SPLIT); break;
    case KERNEL_BOTH_SPLIT: sum_blocks(s, is, KERNEL_BOTH_SPLIT); break;
    }
    write_c(s, corner, buffer, is);
}

/* All rows of A by columns [j0, j0 + n) of B, inputs [l, l + k). */
static void run_slice(const struct gemm *g, const uint32_t *b, size_t l,
                      size_t k, size_t j0, size_t n)
{
    uint32_t a[TALL / LANES * BLOCKS * TILE_WORDS] __attribute__((aligned(64)));
    size_t line = up(k, KERNEL_BLOCK) * TILE_WORDS / LANES; /* packed */
    for (size_t i = 0; i < g->m; i += STRIP) {
        if (i % TALL == 0)
            pack_rows(a,
                      (struct lines){g->a + i * g->a_row + l * g->a_col,
                                     g->a_row, g->a_col},
                      least(g->m - i, TALL), k);
        for (size_t j = 0; j < n; j += STRIP) {
            float *c = g->c + i * g->c_row + j0 + j;
            kernel_square_run(
                &(struct kernel_square){.a = a + i % TALL * line,
                                        .b = b + j * line,
                                        .a_next = line * LANES,
                                        .b_next = line * LANES,
                                        .blocks = up(k, KERNEL_BLOCK),
                                        .from =
                                            l || g->mode == GEMM_ADD ? c : NULL,
                                        .from_row = g->c_row,
                                        .c = c,
                                        .c_row = g->c_row,
                                        .m = least(g->m - i, STRIP),
                                        .n = least(n - j, STRIP)});
        }
    }
}

/* Eight tiles of 16 rows of 64 bytes. */
struct tile_shapes {
    uint8_t palette, start, unused[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

void kernel_tiles_begin(void)
{
    struct tile_shapes t = {.palette = 1};
    for (size_t i = 0; i < 8; i++) {
        t.row_bytes[i] = TILE_ROW;
        t.rows[i] = LANES;
    }
    memory_is_shared();
    _tile_loadconfig(&t);
}

void kernel_tiles_end(void)
{
    _tile_release(); /* or the kernel would save 8 KiB for this thread */
}

void kernel_gemm_amx_filled(const struct gemm *g, kernel_fill *fill,
                            const void *ctx)
{
    uint32_t b[WIDE / LANES * BLOCKS * TILE_WORDS] __attribute__((aligned(64)));
    kernel_tiles_begin();
    for (size_t l = 0; l < g->k; l += DEPTH) {
        size_t k = least(g->k - l, DEPTH);
        for (size_t j = 0; j < g->n; j += WIDE) {
            size_t n = least(g->n - j, WIDE);
            fill(ctx, l, k, j, n, b);
            run_slice(g, b, l, k, j, n);
        }
    }
    kernel_tiles_end();
}

static void fill_from_memory(const void *ctx, size_t l, size_t k, size_t j,
                             size_t n, uint32_t *tiles)
{
    const struct gemm *g = ctx;
    pack_columns(tiles,
                 (struct lines){g->b + l * g->b_row + j * g->b_col, g->b_col,
                                g->b_row},
                 n, k);
}

void kernel_gemm_amx(const struct gemm *g)
{
    kernel_gemm_amx_filled(g, fill_from_memory, g);
}
#endif
