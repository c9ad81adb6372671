/*
 * ops_seq: operations on sequences of T steps. A whole sequence is one node of
 * the tape, forward and backward.
 *
 * Recurrent ops take and give rows step by step (row t B + b, "time-major"), so
 * that one step of all sequences lies together; attention takes them sequence
 * by sequence (row b T + t). The state before the first step is zero.
 */
#ifndef TACIT_TENSOR_OPS_SEQ_H
#define TACIT_TENSOR_OPS_SEQ_H

#include <stdint.h>

#include "common/tensor/tape.h"

/* Rows id[n] of table [V, d] -> [n, d]; id is borrowed. SHAPE when one is
 * outside the table. */
struct var *op_embedding(struct tape *t, struct var *table, const uint32_t *id,
                         size_t n);

/* The weights of a recurrent layer with H states and G gates. */
struct op_cell {
    struct var *w; /* [in, G H] input to gates */
    struct var *u; /* [H, G H] state to gates */
    struct var *b; /* [1, G H] */
    struct var *c; /* [1, G H], GRU only: the state's own bias */
};
/* Gated recurrent unit, gates r z n as PyTorch and cuDNN order them (Cho et al.
 * 2014, with the reset after the product):
 *   r = s(x Wr + br + h Ur + cr)      z = s(x Wz + bz + h Uz + cz)
 *   n = tanh(x Wn + bn + r (h Un + cn))
 *   h' = (1 - z) n + z h
 * x [T B, in] -> h' [T B, H]. */
struct var *op_gru(struct tape *t, struct var *x, const struct op_cell *cell,
                   size_t steps);
/* Long short-term memory, gates i f g o (Hochreiter and Schmidhuber 1997, with
 * the forget gate of Gers et al. 2000):
 *   i, f, o = s(x W + h U + b)      g = tanh(x W + h U + b)
 *   c' = f c + i g                  h' = o tanh(c') */
struct var *op_lstm(struct tape *t, struct var *x, const struct op_cell *cell,
                    size_t steps);

/* Causal self-attention (Vaswani et al. 2017): qkv [B T, 3 d] holds queries,
 * keys and values, each cut into `heads` pieces of d / heads:
 *   out_i = sum_{j <= i} softmax_j(q_i . k_j / sqrt(d / heads)) v_j
 * -> [B T, d]. */
struct var *op_attention(struct tape *t, struct var *qkv, size_t steps,
                         size_t heads);

#endif
