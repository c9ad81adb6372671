/*
 * weight_set: the inner products of bytes of one instruction set, and what
 * the files of weights.h share.
 *
 * Rows of x that were turned into bytes stand in panels of 16, 8, 4, 2 or 1
 * rows (struct weight_panel), so that a tile of W, held in registers, meets
 * them in order:
 *
 *            tile: 16 outputs           panel of `rows` rows, per block of 32:
 *   block 0  [8][16][4] bytes   x       [rows][32] bytes, [rows] scales,
 *   block 1  …                          [rows] -128 sum, [rows] -8 sum
 *
 * The bytes of W are unsigned, as VNNI wants them: q + 128 or q + 8. A sum
 * therefore starts at -128 or -8 times the sum of the bytes of x.
 */
#ifndef TACIT_TENSOR_WEIGHT_SET_H
#define TACIT_TENSOR_WEIGHT_SET_H

#include "common/tensor/weights.h"

enum {
    WEIGHT_BLOCK = 32,
    PANEL_ROWS = 16,
    PANEL_ROW_BYTES = WEIGHT_BLOCK + 3 * 4 /* of a block */
};

struct weight_tile {
    const uint8_t *data;
    size_t n_blocks; /* plain types: 0 */
};
struct weight_tile weight_tile(const struct weight *w, size_t i);

/* How a tile holds its numbers. */
enum weight_form { BYTES, NIBBLES };
enum { PAIR_SCALES = 2 * WEIGHT_TILE * 2 /* bytes, of two blocks */ };

static inline size_t form_bytes(enum weight_form form)
{
    return WEIGHT_TILE * (form == NIBBLES ? 16 : 32);
}

/* The scales [16] f16 of block b of a tile, and its numbers. */
static inline const uint8_t *block_scales(const uint8_t *tile, size_t b,
                                          enum weight_form form)
{
    return tile + b / 2 * (PAIR_SCALES + 2 * form_bytes(form)) +
           b % 2 * (PAIR_SCALES / 2);
}

static inline const uint8_t *block_numbers(const uint8_t *tile, size_t b,
                                           enum weight_form form)
{
    return tile + b / 2 * (PAIR_SCALES + 2 * form_bytes(form)) + PAIR_SCALES +
           b % 2 * form_bytes(form);
}

/* Rows r0 to r1 of tile i, inputs j0 to j1 (whole blocks), decoded to dst, the
 * rows dst_row apart. */
void weight_tile_decode(const struct weight *w, size_t i, size_t r0, size_t r1,
                        size_t j0, size_t j1, float *dst, size_t dst_row);

/* Inputs j0 to j0 + n of tile i of a plain type: dst [n][16], dst_col apart. */
void weight_columns(const struct weight *w, size_t i, size_t j0, size_t n,
                    float *dst, size_t dst_col);

/* Rows l to l + k of W, columns j to j + n of those from column `j` of ctx on,
 * as a kernel_fill for pairs, for tiles (kernel_set.h); Q8_0 and Q4_0, columns
 * in whole blocks. */
struct weight_columns_at {
    const struct weight *w;
    size_t j;
};
void weight_back_pairs(const void *ctx, size_t l, size_t k, size_t j, size_t n,
                       uint32_t *out);
void weight_back_tiles(const void *ctx, size_t l, size_t k, size_t j, size_t n,
                       uint32_t *out);

/* weight_split.c, with KERNEL_AMXBF16 alone. Rows of x [n_rows, n_in] as tiles:
 * their bytes (64-byte aligned), how many groups of 16 there are, group i from
 * x; and rows [row, row + n_rows) of a job's y from these, of W's tiles
 * [tile, end). */
size_t split_bytes(size_t n_rows, size_t n_in);
size_t split_groups(size_t n_rows);
void split_fill(const float *x, size_t n_rows, size_t n_in, void *tiles,
                size_t i);
struct split_job {
    const struct weight_job *job;
    const void *tiles; /* of x */
    size_t row, n_rows;
};
void split_run(const struct split_job *s, size_t tile, size_t end);

/* out [16] = x [n_in] by tile i of a plain type. */
void weight_row(const struct weight *w, size_t i, const float *x, float *out);

/* Bytes of x [n_rows, n_in] in panels; panel_at: where the one of row i begins,
 * and how many rows it has. Panels of 16 first, then what is left by halves. */
size_t panel_bytes(size_t n_rows, size_t n_in);
struct weight_panel {
    size_t first, rows;
    const uint8_t *data;
};
size_t panel_count(size_t n_rows);
struct weight_panel panel_at(const void *panels, size_t n_rows, size_t n_in,
                             size_t i);

/* out [rows][16] = panel x tile; rows is 16, 8, 4, 2 or 1. */
typedef void (*weight_kernel)(const struct weight_tile *t, const uint8_t *panel,
                              size_t rows, float *out);
/* Blocks of a panel of `rows` from x, whose rows lie x_row apart. All give the
 * same bytes. */
typedef void panel_filler(const float *x, size_t x_row, size_t n_blocks,
                          uint8_t *panel, size_t rows);
panel_filler panel_fill_any;
struct weight_set {
    const char *name;
    weight_kernel q8_0, q4_0;
    panel_filler *fill;
};

/* Panel i from x. */
void panel_fill(const struct weight_set *set, const float *x, size_t n_rows,
                size_t n_in, void *panels, size_t i);

/*
 * For many rows: some tiles of W side by side are made ready a chunk at a time,
 * which panels of 16 rows then meet. A thread begins, fills and runs, and ends
 * before anything else.
 */
enum {
    CHUNK_BLOCKS = 12, /* with a panel's, they stay in the first cache */
    CHUNK_TILES = 4,
    CHUNK_WIDTH = CHUNK_TILES * WEIGHT_TILE
};
struct weight_chunk {
    size_t n_tiles, n_blocks; /* [n_tiles][n_blocks] of them: */
    float scales[CHUNK_TILES * CHUNK_BLOCKS][WEIGHT_TILE]
        __attribute__((aligned(64)));
    int8_t numbers[CHUNK_TILES * CHUNK_BLOCKS][WEIGHT_TILE * WEIGHT_BLOCK];
};
struct weight_many {
    const char *name;
    void (*begin)(void);
    /* Another tile of the chunk: n blocks from block b of one of Q8_0 or Q4_0;
     * all have as many. */
    void (*fill_bytes)(const struct weight_tile *t, size_t b, size_t n,
                       struct weight_chunk *c);
    void (*fill_nibbles)(const struct weight_tile *t, size_t b, size_t n,
                         struct weight_chunk *c);
    /* out [16][CHUNK_WIDTH] = from [16][CHUNK_WIDTH] + panel x chunk, of its
     * tiles; from NULL: zeros, out: it is 64-byte aligned. panel begins with
     * the block that the chunk has. */
    void (*run)(const struct weight_chunk *c, const uint8_t *panel,
                const float *from, float *out);
    /* y [16][n] = out + to; their rows lie y_row and to_row apart, to may be y,
     * or NULL: zeros. */
    void (*put)(float *y, size_t y_row, size_t n, const float *out,
                const float *to, size_t to_row);
    void (*end)(void);
};

extern const struct weight_set weight_set_base;
#if defined __x86_64__ && defined __GNUC__ && !defined __clang__
# define WEIGHT_SETS_X86 1
extern const struct weight_set weight_set_avx2;
extern const struct weight_set weight_set_avxvnni;
extern const struct weight_set weight_set_avx512;
extern const struct weight_many weight_many_amx;
#else
# define WEIGHT_SETS_X86 0
#endif
#if defined __aarch64__ && defined __GNUC__ && !defined __clang__
# define WEIGHT_SETS_ARM 1
extern const struct weight_set weight_set_neon;
extern const struct weight_set weight_set_dotprod;
#else
# define WEIGHT_SETS_ARM 0
#endif

/* Entry i of those that this processor has, best first; NULL past the end. */
const struct weight_set *weight_set_at(size_t i);

/* What takes panels of 16 rows faster than that one; NULL: nothing may. */
const struct weight_many *weight_many_best(void);

#endif
