#include "common/tensor/vectorise.h"

#include <string.h>

#include "common/tensor/half.h"
#include "common/tensor/weight_set.h"

size_t panel_bytes(size_t n_rows, size_t n_in)
{
    return n_rows * (n_in / WEIGHT_BLOCK) * PANEL_ROW_BYTES;
}

size_t panel_count(size_t n_rows)
{
    size_t n = n_rows / PANEL_ROWS;
    for (size_t rest = n_rows % PANEL_ROWS; rest; rest &= rest - 1) n++;
    return n;
}

struct weight_panel panel_at(const void *panels, size_t n_rows, size_t n_in,
                             size_t i)
{
    size_t whole = n_rows / PANEL_ROWS;
    struct weight_panel p = {i * PANEL_ROWS, PANEL_ROWS, panels};
    if (i >= whole) {
        /* What is left: its bits, the highest first. */
        size_t rest = n_rows % PANEL_ROWS, rows = PANEL_ROWS / 2;
        p.first = whole * PANEL_ROWS;
        for (size_t left = i - whole;; rows /= 2) {
            if (!(rest & rows)) continue;
            if (left == 0) break;
            left--;
            p.first += rows;
        }
        p.rows = rows;
    }
    p.data += panel_bytes(p.first, n_in);
    return p;
}

/* Adding 1.5 x 2^23 rounds to a whole number, ties to even, and leaves it in
 * the low bits: no other way gives the same everywhere and NaN no say. */
#define ROUND      0x1.8p23f
#define ROUND_BITS 0x4b400000u

enum { ABREAST = 16 /* blocks whose scales are divided together */ };

/* The largest |x| of a block, as its bits. */
static inline __attribute__((always_inline)) uint32_t most_of(const float *x)
{
    uint32_t most = 0;
    for (size_t i = 0; i < WEIGHT_BLOCK; i++) {
        uint32_t u = float_bits(x[i]) & 0x7fffffffu;
        most = u > most ? u : most;
    }
    return most;
}

/* A block to bytes; returns their sum. */
static inline __attribute__((always_inline)) int bytes_of(const float *x,
                                                          uint8_t *q, float by)
{
    int sum = 0;
    for (size_t i = 0; i < WEIGHT_BLOCK; i++) {
        uint32_t u = float_bits(x[i] * by + ROUND) - ROUND_BITS;
        q[i] = (uint8_t)u;
        sum += (int8_t)(uint8_t)u;
    }
    return sum;
}

/* Up to ABREAST blocks of row r of a panel of `rows`. */
static inline __attribute__((always_inline)) void blocks_fill(
    const float *x, size_t n, uint8_t *panel, size_t rows, size_t r)
{
    uint32_t most[ABREAST] = {0};
    float by[ABREAST], scale[ABREAST];
    for (size_t b = 0; b < n; b++) most[b] = most_of(x + b * WEIGHT_BLOCK);
    for (size_t b = 0; b < ABREAST; b++) {
        float largest = float_of_bits(most[b]), to = 127 / largest;
        /* Too small to divide by: zeros. */
        by[b] = most[b] > float_bits(0x1p-100f) ? to : 0;
        scale[b] = largest / 127;
    }
    for (size_t b = 0; b < n; b++) {
        uint8_t *at = panel + b * rows * PANEL_ROW_BYTES;
        int sum = bytes_of(x + b * WEIGHT_BLOCK, at + r * WEIGHT_BLOCK, by[b]);
        int start[2] = {-128 * sum, -8 * sum};
        at += rows * WEIGHT_BLOCK + 4 * r;
        memcpy(at, &scale[b], 4);
        memcpy(at + 4 * rows, &start[0], 4);
        memcpy(at + 8 * rows, &start[1], 4);
    }
}

MANY_TARGETS
void panel_fill_any(const float *x, size_t x_row, size_t n_blocks,
                    uint8_t *panel, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < n_blocks; b += ABREAST)
            blocks_fill(x + r * x_row + b * WEIGHT_BLOCK,
                        n_blocks - b < ABREAST ? n_blocks - b : ABREAST,
                        panel + b * rows * PANEL_ROW_BYTES, rows, r);
}

void panel_fill(const struct weight_set *set, const float *x, size_t n_rows,
                size_t n_in, void *panels, size_t i)
{
    struct weight_panel p = panel_at(panels, n_rows, n_in, i);
    uint8_t *at = (uint8_t *)panels + panel_bytes(p.first, n_in);
    set->fill(x + p.first * n_in, n_in, n_in / WEIGHT_BLOCK, at, p.rows);
}
