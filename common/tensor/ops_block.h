/*
 * ops_block: what the blocks of a transformer are made of besides matrices
 * (ops_linear.h) and attention (ops_attend.h): rotary positions, gates, and
 * the pooling of an encoder. Norms stand in ops_norm.h.
 *
 * Sequences are packed, row after row, never padded: sequence s has rows
 * start[s] … start[s + 1] - 1.
 */
#ifndef TACIT_TENSOR_OPS_BLOCK_H
#define TACIT_TENSOR_OPS_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/tape.h"

/* Which two numbers of a head turn together: neighbours (2 j, 2 j + 1), or one
 * of each half (j, j + dims / 2). */
enum rope_layout { ROPE_PAIRS, ROPE_HALVES };

/* Rotary positions (Su et al. 2021): pair j of a token at position p turns by
 *   p scale base^(-2 j / dims) / factor_j */
struct op_rope {
    enum rope_layout layout;
    size_t dims;          /* numbers of a head that turn; even */
    double base, scale;   /* 10000, 1 */
    const float *factors; /* [dims / 2], or NULL */
};
/* The turns of n tokens, shared by all layers; in the tape's memory. */
struct op_turns;
const struct op_turns *op_turns_new(struct tape *t, const struct op_rope *r,
                                    const uint32_t *position, size_t n);
/* x [n, heads * width], width >= dims. SHAPE. */
struct var *op_turn(struct tape *t, struct var *x, const struct op_turns *turns,
                    size_t heads);

/* g s(g) u with s the sigmoid (Shazeer 2020, "SwiGLU"); shapes are equal. */
struct var *op_swiglu(struct tape *t, struct var *g, struct var *u);

/* One row of each sequence: their mean, or the first (CLS). start [n + 1],
 * borrowed, strictly rising from 0 to x->rows. SHAPE. */
enum op_pooling { POOL_MEAN, POOL_FIRST };
struct op_segments {
    const uint32_t *start;
    size_t n;
};
struct var *op_pool(struct tape *t, struct var *x, const struct op_segments *s,
                    enum op_pooling how);
/* 1 when the segments are in order and cover `rows` rows. */
int op_segments_fit(const struct op_segments *s, size_t rows);

#endif
