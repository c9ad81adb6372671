/*
 * ops_attend: attention over packed sequences, for encoders and decoders.
 *
 *   out_i = sum_j softmax_j(scale q_i . k_j) v_j    over the j that i sees
 *
 *           k  0 1 2 3 4 │ 0 1 2       sequences [0, 5) and [5, 8),
 *        q 0   x         │             causal, window 3
 *          1   x x       │
 *          2   x x x     │
 *          3     x x x   │
 *          4       x x x │
 *          ──────────────┼──────
 *          0             │ x
 *
 * Several heads of q may share a head of k and v (GQA: Ainslie et al. 2023).
 * Scores are never in memory as a whole: keys are walked in tiles while each
 * row keeps its largest score and its sum (online softmax: Milakov and
 * Gimelshein 2018). Only max + log sum is kept, and backward works the tiles
 * out again (Dao et al. 2022).
 *
 * A sequence may go on from a past that lies in a cache, of any number type:
 * its keys and values are fetched tile by tile. Such rows have no gradient.
 *
 * The heads of k, and the sequences, are shared out among the tape's workers.
 */
#ifndef TACIT_TENSOR_OPS_ATTEND_H
#define TACIT_TENSOR_OPS_ATTEND_H

#include "common/tensor/ops_block.h"

enum { ATTEND_WIDTH_MAX = 256, ATTEND_TILE = 128 };

enum attend_mask { ATTEND_ALL, ATTEND_CAUSAL };

/* What came before a sequence's first row: n keys and values. */
struct attend_past {
    size_t n;
    const void *ctx;
    /* Rows [from, from + n) of one head of k and v, [n, width] each; n is at
     * most ATTEND_TILE. Called from several threads at once. */
    void (*fetch)(const void *ctx, size_t head, size_t from, size_t n, float *k,
                  float *v);
};

struct op_attend {
    size_t heads, kv_heads; /* heads is a multiple of kv_heads */
    float scale;
    enum attend_mask mask;
    size_t window; /* i sees the last `window` rows, itself too; 0: all */
    struct op_segments segments;
    const struct attend_past *past; /* [segments.n], borrowed, or NULL */
};

/* q [T, heads w], k and v [T, kv_heads w] -> [T, heads w]. SHAPE; STATE for a
 * gradient through a past, or a window that is not causal. */
struct var *op_attend(struct tape *t, struct var *q, struct var *k,
                      struct var *v, const struct op_attend *how);
/* The same in q's memory where no gradient is wanted; q as y of op_add_over. */
struct var *op_attend_over(struct tape *t, struct var *q, struct var *k,
                           struct var *v, const struct op_attend *how);

#endif
