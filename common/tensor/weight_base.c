/* Products of bytes for any processor: what the others must equal. */
#include "common/tensor/vectorise.h"

#include <string.h>

#include "common/tensor/half.h"
#include "common/tensor/weight_set.h"

#define ALWAYS static inline __attribute__((always_inline))

/* Byte i of what output r of a tile has in a block: q + 128 or q + 8. */
ALWAYS int number(const uint8_t *q, size_t r, size_t i, enum weight_form form)
{
    if (form == BYTES) return q[(i / 4 * WEIGHT_TILE + r) * 4 + i % 4];
    uint8_t both = q[(i % 16 / 4 * WEIGHT_TILE + r) * 4 + i % 4];
    return i < 16 ? both & 15 : both >> 4;
}

/* a b + c, rounded once, also where no instruction does so: the product fits a
 * double, and a sum rounded to odd may be rounded again (Boldo and Melquiond
 * 2008). */
ALWAYS float multiply_add(float a, float b, float c)
{
    double p = (double)a * (double)b, sum = p + (double)c, back = sum - p;
    double lost = (p - (sum - back)) + ((double)c - back);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((lost < 0 || lost > 0) && !(bits & 1))
        bits = (lost > 0) == (sum > 0) ? bits + 1 : bits - 1;
    memcpy(&sum, &bits, sizeof sum);
    return (float)sum;
}

ALWAYS void run(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                float *out, enum weight_form form)
{
    memset(out, 0, rows * WEIGHT_TILE * sizeof *out);
    for (size_t b = 0; b < t->n_blocks; b++, panel += rows * PANEL_ROW_BYTES) {
        const uint8_t *q = block_numbers(t->data, b, form);
        const uint8_t *scales = block_scales(t->data, b, form);
        const uint8_t *after = panel + rows * WEIGHT_BLOCK;
        for (size_t i = 0; i < WEIGHT_TILE; i++) {
            int w[WEIGHT_BLOCK];
            uint16_t half;
            memcpy(&half, scales + 2 * i, 2);
            for (size_t k = 0; k < WEIGHT_BLOCK; k++)
                w[k] = number(q, i, k, form);
            for (size_t r = 0; r < rows; r++) {
                int sum;
                float scale;
                memcpy(&scale, after + 4 * r, 4);
                memcpy(&sum, after + (form == NIBBLES ? 8 : 4) * rows + 4 * r,
                       4);
                for (size_t k = 0; k < WEIGHT_BLOCK; k++)
                    sum += w[k] * (int8_t)panel[r * WEIGHT_BLOCK + k];
                float *to = &out[r * WEIGHT_TILE + i];
                *to = multiply_add((float)sum, f16_decode(half) * scale, *to);
            }
        }
    }
}

static void q8_0(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                 float *out)
{
    run(t, panel, rows, out, BYTES);
}

static void q4_0(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                 float *out)
{
    run(t, panel, rows, out, NIBBLES);
}

const struct weight_set weight_set_base = {"base", q8_0, q4_0, panel_fill_any};
