/*
 * kernel_body: the register tiles of one instruction set. Included once by each
 * kernels_*.c, which defines
 *
 *   vec, LANES            a vector of LANES floats
 *   vec_load              unaligned
 *   vec_load_n, vec_store_n   the first n lanes, 1 <= n <= LANES; others are 0
 *   vec_all, vec_fma      broadcast; a * b + c
 *   vec_max, vec_min      of two; the second where either is not a number
 *   vec_keep              load once: it crosses cache lines, so not per use
 *   ROWS, COLUMNS         a tile: ROWS x (COLUMNS LANES) sums in registers; 6
 *   UNIT_ROWS, UNIT_COLUMNS   a tile of reduce: sums of 16 lanes each
 *   KERNEL_SET            name of the table that is defined last
 *
 *          B  COLUMNS vectors of row l
 *            ─────────────
 *   A  a_il │ C += a_il b_l     for l = 0 … k - 1, then C leaves the registers
 *    ROWS   │
 */
#ifndef TACIT_TENSOR_KERNEL_BODY_H
#define TACIT_TENSOR_KERNEL_BODY_H

#include <string.h>

enum {
    DEPTH = 256, /* rows of a packed panel of B */
    PANEL = COLUMNS * LANES,
    TALL = 12, /* rows of a tile of one vector */
    STRANDS = 16,
    UNIT = STRANDS / LANES
};

#define ALWAYS static inline __attribute__((always_inline))

struct tile {
    size_t k, last; /* lanes in use of the last vector */
    const float *a; /* a[i * a_row + l * a_col] */
    size_t a_row, a_col;
    const float *b; /* row l at l * b_row, or at offset[l] */
    size_t b_row;
    const ptrdiff_t *offset;
    const float *from; /* what the sums begin with; NULL: zeros */
    size_t from_row;
    float *c;
    size_t c_row;
    float rate, decay; /* descend */
};

/* By its place alone, through offsets, or through them to a step of descent. */
enum tile_kind { BY_ROW, BY_OFFSET, DESCEND };

ALWAYS void tile_run(const struct tile *t, size_t rows, size_t cols,
                     enum tile_kind kind)
{
    vec sum[TALL][COLUMNS];
    const float *a = t->a, *b = t->b;
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (size_t j = 0; j < cols; j++)
            sum[i][j] = t->from
                            ? vec_load_n(t->from + i * t->from_row + j * LANES,
                                         j + 1 < cols ? LANES : t->last)
                            : vec_all(0);
    for (size_t l = 0; l < t->k; l++, a += t->a_col) {
        vec right[COLUMNS];
        const float *from =
            kind == BY_ROW ? b + l * t->b_row : b + t->offset[l];
#pragma GCC unroll 16
        for (size_t j = 0; j + 1 < cols; j++)
            right[j] = vec_load(from + j * LANES);
        right[cols - 1] = kind == BY_OFFSET
                              ? vec_load(from + (cols - 1) * LANES)
                              : vec_load_n(from + (cols - 1) * LANES, t->last);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; i++) {
            vec left = vec_all(a[i * t->a_row]);
#pragma GCC unroll 16
            for (size_t j = 0; j < cols; j++)
                sum[i][j] = vec_fma(left, right[j], sum[i][j]);
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 16
        for (size_t j = 0; j < cols; j++) {
            float *c = t->c + i * t->c_row + j * LANES;
            size_t n = j + 1 < cols ? LANES : t->last;
            if (kind == DESCEND) {
                vec now = vec_load_n(c, n);
                sum[i][j] = now - vec_all(t->rate) *
                                      (sum[i][j] + vec_all(t->decay) * now);
            }
            vec_store_n(c, sum[i][j], n);
        }
}

/* Every height of a tile is its own function, so that its sums have names. */
#define TILE(rows, cols)                                                       \
 static void row_##rows##_##cols(const struct tile *t)                         \
 {                                                                             \
  tile_run(t, rows, cols, BY_ROW);                                             \
 }                                                                             \
 static void offset_##rows##_##cols(const struct tile *t)                      \
 {                                                                             \
  tile_run(t, rows, cols, BY_OFFSET);                                          \
 }                                                                             \
 static void descend_##rows##_##cols(const struct tile *t)                     \
 {                                                                             \
  tile_run(t, rows, cols, DESCEND);                                            \
 }
#define TILES(cols)                                                            \
 TILE(1, cols)                                                                 \
 TILE(2, cols)                                                                 \
 TILE(3, cols)                                                                 \
 TILE(4, cols)                                                                 \
 TILE(5, cols)                                                                 \
 TILE(6, cols)
#define LIST(how, cols)                                                        \
 how##_1_##cols, how##_2_##cols, how##_3_##cols, how##_4_##cols,               \
     how##_5_##cols, how##_6_##cols
/* One vector wide leaves registers for twice the height. */
#define LIST_TALL(how)                                                         \
 LIST(how, 1), how##_7_1, how##_8_1, how##_9_1, how##_10_1, how##_11_1,        \
     how##_12_1

TILES(1)
TILE(7, 1)
TILE(8, 1)
TILE(9, 1)
TILE(10, 1)
TILE(11, 1)
TILE(12, 1)
TILES(2)
#if COLUMNS > 2
TILES(3)
TILES(4)
#endif

typedef void (*tile_function)(const struct tile *);
static const tile_function by_row[COLUMNS][TALL] = {
    {LIST_TALL(row)},
    {LIST(row, 2)},
#if COLUMNS > 2
    {LIST(row, 3)},
    {LIST(row, 4)},
#endif
};
static const tile_function by_offset[COLUMNS][TALL] = {
    {LIST_TALL(offset)},
    {LIST(offset, 2)},
#if COLUMNS > 2
    {LIST(offset, 3)},
    {LIST(offset, 4)},
#endif
};
static const tile_function to_descend[COLUMNS][TALL] = {
    {LIST_TALL(descend)},
    {LIST(descend, 2)},
#if COLUMNS > 2
    {LIST(descend, 3)},
    {LIST(descend, 4)},
#endif
};

/* Walk m rows in tiles of nearly the same height. */
static void walk_rows(struct tile *t, size_t m, size_t cols,
                      const tile_function with[][TALL])
{
    size_t most = cols == 1 ? TALL : ROWS, n_tiles = (m + most - 1) / most;
    const float *a = t->a, *from = t->from;
    float *c = t->c;
    for (size_t i = 0, done = 0; i < n_tiles; i++) {
        size_t rows = (m - done + n_tiles - i - 1) / (n_tiles - i);
        t->a = a + done * t->a_row;
        t->c = c + done * t->c_row;
        if (from) t->from = from + done * t->from_row;
        with[cols - 1][rows - 1](t);
        done += rows;
    }
}

typedef float quad __attribute__((vector_size(16)));

/* The rows of a 4 x 4 block become its columns. */
ALWAYS void turn_quads(quad r[4])
{
    quad s[4];
    s[0] = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    s[1] = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    s[2] = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    s[3] = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(s[0], s[1], 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(s[0], s[1], 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(s[2], s[3], 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(s[2], s[3], 2, 3, 6, 7);
}

/* out [4 rows of PANEL] = the 4 x 4 block at b, turned. */
ALWAYS void turn_4x4(float *out, const float *b, size_t b_col)
{
    quad r[4];
    for (size_t i = 0; i < 4; i++) memcpy(&r[i], b + i * b_col, sizeof r[i]);
    turn_quads(r);
    for (size_t i = 0; i < 4; i++) memcpy(out + i * PANEL, &r[i], sizeof r[i]);
}

/* panel [k, PANEL] = k rows of B from b, n columns; turned: b_row is 1. */
static void pack_turned(float *panel, const float *b, size_t b_col, size_t k,
                        size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        size_t l = 0;
        if (j + 4 <= n)
            for (; l + 4 <= k; l += 4)
                turn_4x4(panel + l * PANEL + j, b + j * b_col + l, b_col);
        for (size_t i = j; i < n && i < j + 4; i++)
            for (size_t r = l; r < k; r++)
                panel[r * PANEL + i] = b[i * b_col + r];
    }
}

static void pack_rows(float *panel, const float *b, size_t b_row, size_t k,
                      size_t n)
{
    for (size_t l = 0; l < k; l++)
        memcpy(panel + l * PANEL, b + l * b_row, n * sizeof *b);
}

/* What columns from j on begin with, before the products from l on. */
static void tile_from(struct tile *t, const struct gemm *g, const float *start,
                      size_t l, size_t j)
{
    if (l > 0 || (!start && g->mode == GEMM_ADD)) {
        t->from = g->c + j;
        t->from_row = g->c_row;
    } else if (start) {
        t->from = start + j;
    }
}

static void gemm(const struct gemm *g, const float *start)
{
    float panel[DEPTH * PANEL] __attribute__((aligned(64)));
    /* Rows far apart share few cache sets: worth packing when used often. */
    int turned = g->b_col != 1;
    int packed = turned || (g->b_row > 2 * PANEL && g->m > 4 * ROWS);
    if (g->k == 0 && g->mode == GEMM_SET)
        for (size_t i = 0; i < g->m; i++)
            memset(g->c + i * g->c_row, 0, g->n * sizeof *g->c);
    for (size_t l = 0; l < g->k; l += DEPTH) {
        size_t k = g->k - l < DEPTH ? g->k - l : DEPTH;
        for (size_t j = 0; j < g->n; j += PANEL) {
            size_t n = g->n - j < PANEL ? g->n - j : PANEL;
            size_t cols = (n + LANES - 1) / LANES;
            const float *b = g->b + l * g->b_row + j * g->b_col;
            struct tile t = {.k = k,
                             .last = n - (cols - 1) * LANES,
                             .a = g->a + l * g->a_col,
                             .a_row = g->a_row,
                             .a_col = g->a_col,
                             .b = packed ? panel : b,
                             .b_row = packed ? PANEL : g->b_row,
                             .c = g->c + j,
                             .c_row = g->c_row};
            tile_from(&t, g, start, l, j);
            if (turned)
                pack_turned(panel, b, g->b_col, k, n);
            else if (packed)
                pack_rows(panel, b, g->b_row, k, n);
            walk_rows(&t, g->m, cols, by_row);
        }
    }
}

static void correlate(const struct kernel_window *w)
{
    size_t n_vectors = (w->n_points + LANES - 1) / LANES;
    for (size_t j = 0; j < n_vectors; j += COLUMNS) {
        size_t cols = n_vectors - j < COLUMNS ? n_vectors - j : COLUMNS;
        struct tile t = {.k = w->n_offsets,
                         .last = LANES,
                         .a = w->a,
                         .a_row = w->a_row,
                         .a_col = 1,
                         .b = w->b + j * LANES,
                         .offset = w->offset,
                         .c = w->c + j * LANES,
                         .c_row = w->c_row};
        walk_rows(&t, w->rows, cols, by_offset);
    }
}

static void descend(const struct kernel_window *w)
{
    for (size_t j = 0; j < w->n_points; j += PANEL) {
        size_t n = w->n_points - j < PANEL ? w->n_points - j : PANEL;
        size_t cols = (n + LANES - 1) / LANES;
        struct tile t = {.k = w->n_offsets,
                         .last = n - (cols - 1) * LANES,
                         .a = w->a,
                         .a_row = w->a_row,
                         .a_col = 1,
                         .b = w->b + j,
                         .offset = w->offset,
                         .c = w->c + j,
                         .c_row = w->c_row,
                         .rate = w->rate,
                         .decay = w->decay};
        walk_rows(&t, w->rows, cols, to_descend);
    }
}

/* Sixteen strands to four: halves on halves. */
ALWAYS quad strands_quad(const vec *v)
{
    quad q[STRANDS / 4];
    memcpy(q, v, sizeof q);
    return (q[0] + q[2]) + (q[1] + q[3]);
}

/* c += the strands of each sum. Four sums at a time go on from four strands to
 * one, halves on halves again. */
ALWAYS void strands_add(float *c, size_t c_row, vec sum[][UNIT_COLUMNS][UNIT],
                        size_t rows, size_t cols)
{
    size_t all = rows * cols;
#pragma GCC unroll 8
    for (size_t at = 0; at < all; at += 4) {
        quad r[4] = {{0}};
        float add[4];
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++)
            if (at + k < all)
                r[k] = strands_quad(sum[(at + k) / cols][(at + k) % cols]);
        turn_quads(r);
        r[0] = (r[0] + r[2]) + (r[1] + r[3]);
        memcpy(add, r, sizeof add);
#pragma GCC unroll 4
        for (size_t k = 0; k < 4; k++)
            if (at + k < all)
                c[(at + k) / cols * c_row + (at + k) % cols] += add[k];
    }
}

/* The sums of points p to p + STRANDS, or of the first n of them. */
ALWAYS void reduce_step(vec sum[][UNIT_COLUMNS][UNIT], const float *a,
                        size_t a_row, const float *b, const ptrdiff_t *offset,
                        size_t rows, size_t cols, size_t n)
{
#pragma GCC unroll 4
    for (size_t u = 0; u < UNIT; u++) {
        vec left[UNIT_ROWS];
        size_t at = u * LANES;
        size_t lanes = n >= at + LANES ? LANES : n - at;
        if (n <= at) return;
#pragma GCC unroll 32
        for (size_t i = 0; i < rows; i++)
            left[i] = vec_load_n(a + i * a_row + at, lanes);
#pragma GCC unroll 32
        for (size_t l = 0; l < cols; l++) {
            vec right = vec_load_n(b + offset[l] + at, lanes);
            vec_keep(right);
#pragma GCC unroll 32
            for (size_t i = 0; i < rows; i++)
                sum[i][l][u] = vec_fma(left[i], right, sum[i][l][u]);
        }
    }
}

/* Rows of a tile's share of `ahead` to fetch at offset l0: spread evenly, they
 * come in the time of the products. */
struct share {
    size_t first, end;
};

ALWAYS struct share share_of(const struct kernel_window *w, size_t l0,
                             size_t rows)
{
    size_t next = (l0 + UNIT_COLUMNS) * rows / w->n_offsets;
    if (!w->ahead) return (struct share){0, 0};
    return (struct share){l0 * rows / w->n_offsets, next < rows ? next : rows};
}

ALWAYS void reduce_tile(const struct kernel_window *w, size_t i0, size_t l0,
                        size_t rows, size_t cols)
{
    vec sum[UNIT_ROWS][UNIT_COLUMNS][UNIT];
    size_t whole = w->n_points / STRANDS * STRANDS;
    struct share ahead = share_of(w, l0, rows);
#pragma GCC unroll 32
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 32
        for (size_t l = 0; l < cols; l++)
#pragma GCC unroll 4
            for (size_t u = 0; u < UNIT; u++) sum[i][l][u] = vec_all(0);
    for (size_t image = 0; image < w->n_images; image++) {
        const float *a = w->a + image * w->a_image + i0 * w->a_row;
        const float *b = w->b + image * w->b_image;
        for (size_t p = 0; p < whole; p += STRANDS) {
            for (size_t i = ahead.first; i < ahead.end; i++)
                __builtin_prefetch(w->ahead + (i0 + i) * w->a_row + p, 0, 2);
            reduce_step(sum, a + p, w->a_row, b + p, w->offset + l0, rows, cols,
                        STRANDS);
        }
        if (whole < w->n_points)
            reduce_step(sum, a + whole, w->a_row, b + whole, w->offset + l0,
                        rows, cols, w->n_points - whole);
    }
    strands_add(w->c + i0 * w->c_row + l0, w->c_row, sum, rows, cols);
}

/* Tiles of `rows` rows from row i, over all offsets. */
ALWAYS void reduce_rows(const struct kernel_window *w, size_t i, size_t rows)
{
    size_t l = 0;
    for (; l + UNIT_COLUMNS <= w->n_offsets; l += UNIT_COLUMNS)
        reduce_tile(w, i, l, rows, UNIT_COLUMNS);
    for (; l < w->n_offsets; l++) reduce_tile(w, i, l, rows, 1);
}

static void reduce(const struct kernel_window *w)
{
    size_t n_tiles = (w->rows + UNIT_ROWS - 1) / UNIT_ROWS;
    for (size_t i = 0, done = 0; i < n_tiles; i++) {
        size_t rows = (w->rows - done + n_tiles - i - 1) / (n_tiles - i);
        switch (rows) {
        case 1: reduce_rows(w, done, 1); break;
#if UNIT_ROWS > 1
        case 2: reduce_rows(w, done, 2); break;
#endif
#if UNIT_ROWS > 2
        case 3: reduce_rows(w, done, 3); break;
        default: reduce_rows(w, done, 4); break;
#endif
        }
        done += rows;
    }
}

#include "common/tensor/kernel_maps.h"

const struct kernel_set KERNEL_SET = {KERNEL_NAME, gemm,          correlate,
                                      reduce,      descend,       gelu,
                                      gelu_slope,  gelu_backward, soften};

#endif
