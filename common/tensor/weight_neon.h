/*
 * weight_neon: products of bytes for 64-bit ARM. A register holds four outputs;
 * a quarter of a tile at a time. Included by weight_neon.c and, for processors
 * with the instruction of that name, weight_dotprod.c; they define
 *
 *   dot_step(sum, w, x)   sum of four outputs + products of signed w and x
 *
 * Bytes of W are signed here: -128 lies under them, and sums start at 0.
 * Nibbles, 0 to 15, are so as they are, and their sums start at -8 sum x.
 */
#ifndef TACIT_TENSOR_WEIGHT_NEON_H
#define TACIT_TENSOR_WEIGHT_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "common/tensor/half.h"
#include "common/tensor/weight_set.h"

#define ALWAYS static inline __attribute__((always_inline))

enum { STEPS = 8, ABREAST = 4, LANES = 4, QUARTER = 16 };

ALWAYS void load_block(const uint8_t *q, int8x16_t w[STEPS],
                       enum weight_form form)
{
    for (size_t g = 0; g < (form == NIBBLES ? STEPS / 2 : STEPS); g++) {
        uint8x16_t v = vld1q_u8(q + 64 * g);
        if (form == BYTES) {
            w[g] = vreinterpretq_s8_u8(veorq_u8(v, vdupq_n_u8(128)));
        } else {
            w[g] = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
            w[g + 4] = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
        }
    }
}

ALWAYS int32x4_t four(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return vdupq_n_s32(x);
}

ALWAYS float32x4_t scales_at(const uint8_t *p)
{
    uint16_t half[LANES];
    float x[LANES];
    memcpy(half, p, sizeof half);
    for (size_t i = 0; i < LANES; i++) x[i] = f16_decode(half[i]);
    return vld1q_f32(x);
}

ALWAYS void run_quarter(const struct weight_tile *t, const uint8_t *panel,
                        size_t rows, size_t at, float *out,
                        enum weight_form form)
{
    size_t abreast = rows < ABREAST ? rows : ABREAST;
    for (size_t b = 0; b < t->n_blocks; b++) {
        const uint8_t *q = block_numbers(t->data, b, form);
        const uint8_t *scale = panel + rows * WEIGHT_BLOCK;
        int8x16_t w[STEPS];
        load_block(q + QUARTER * at, w, form);
        float32x4_t d =
            scales_at(block_scales(t->data, b, form) + LANES * at * 2);
        for (size_t r0 = 0; r0 < rows; r0 += abreast) {
            int32x4_t dot[ABREAST];
            for (size_t r = 0; r < abreast; r++)
                dot[r] = form == NIBBLES ? four(scale + 8 * rows + 4 * (r0 + r))
                                         : vdupq_n_s32(0);
#pragma GCC unroll 8
            for (size_t g = 0; g < STEPS; g++)
#pragma GCC unroll 4
                for (size_t r = 0; r < abreast; r++)
                    dot[r] =
                        dot_step(dot[r], w[g],
                                 vreinterpretq_s8_s32(four(
                                     panel + WEIGHT_BLOCK * (r0 + r) + 4 * g)));
            for (size_t r = 0; r < abreast; r++) {
                float *to = out + (r0 + r) * WEIGHT_TILE + LANES * at;
                float32x4_t by =
                    vreinterpretq_f32_s32(four(scale + 4 * (r0 + r)));
                float32x4_t v = vcvtq_f32_s32(dot[r]);
                v = vfmaq_f32(vld1q_f32(to), v, vmulq_f32(d, by));
                vst1q_f32(to, v);
            }
        }
        panel += rows * PANEL_ROW_BYTES;
    }
}

ALWAYS void run(const struct weight_tile *t, const uint8_t *panel, size_t rows,
                float *out, enum weight_form form)
{
    memset(out, 0, rows * WEIGHT_TILE * sizeof *out);
    for (size_t at = 0; at < WEIGHT_TILE / LANES; at++)
        run_quarter(t, panel, rows, at, out, form);
}

#include "common/tensor/weight_body.h"

#endif
