/*
 * net_train: a network learns within a budget of memory.
 *
 *   net_train_new ─> [ net_train_begin ─> net_hidden … loss ─> net_train_end ]*
 *
 *   frozen numbers | parameters, gradient, moments | what stays of each block
 *   | one block, worked out and back | gradients that go round | head | scratch
 *
 * Before anything is allocated, the memory of the largest batch is counted from
 * the network's shape (net_train_estimate). Under a budget, blocks are worked
 * out again on the way back instead of kept, the first ones first, and as many
 * are kept whole as fit; the gradients have the same bits either way. Where
 * even none fits, the error says by how much and what would help. The tapes
 * keep to what was counted: a batch that wants more is LIMIT, not more memory.
 *
 * Products are in bf16 where the processor has it (AMX-BF16, AVX512-BF16), sums
 * and parameters in f32; losses stay within a hundredth of those in f32 (near
 * the end of an encoder's training, of what it began with).
 *
 * Thread rule: one thread, which may not be a worker of the pool.
 */
#ifndef TACIT_MODEL_NET_TRAIN_H
#define TACIT_MODEL_NET_TRAIN_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/model/net.h"
#include "common/tensor/optim.h"

struct pool;

/* The largest batch. */
struct net_load {
    size_t rows;      /* tokens of all sequences */
    size_t sequences; /* 0: 1 */
    size_t labels;    /* of net_lm_loss(); 0: none */
};

enum net_train_numbers {
    NET_TRAIN_FAST, /* bf16 where the processor multiplies it, else f32 */
    NET_TRAIN_F32
};

struct net_train_options {
    struct net_load load;
    struct optim_config optim;
    enum net_train_numbers numbers;
    size_t budget_bytes; /* 0: keep everything, whatever it takes */
    size_t beside_bytes; /* that the caller holds for it: counted, no more */
    struct pool *pool;   /* borrowed; NULL: the caller's thread alone */
};

/* In bytes. */
struct net_memory {
    size_t weights; /* frozen: mapped, or packed when the file was opened */
    size_t learned; /* parameters, their gradient, the optimiser's moments */
    size_t kept;    /* what the way back needs of all blocks and around them */
    size_t block;   /* one block that is worked out again; 0: all are kept */
    size_t scratch; /* of the products, by threads; and what is beside */
    size_t total;
    size_t n_kept; /* blocks that are kept whole */
};

/* What training takes that keeps the last n_kept blocks whole. It is not less
 * than what the process grows by, and up to a quarter more. */
void net_train_estimate(const struct net *n, const struct net_train_options *o,
                        size_t n_kept, struct net_memory *out);

/* The same of a forward pass alone: parameters without gradient or moments,
 * and one block, which the next takes the place of. */
void net_forward_estimate(const struct net *n,
                          const struct net_train_options *o,
                          struct net_memory *out);

/* As many blocks kept whole as the budget has room for. LIMIT (E_TRAIN_MEMORY)
 * when it is too small, with what would fit. */
TACIT_CHECKED enum tacit_err net_train_plan(const struct net *n,
                                            const struct net_train_options *o,
                                            struct net_memory *out);
/* What products are in on this processor: GEMM_BF16 or GEMM_F32. */
enum gemm_numbers net_train_multiplies(enum net_train_numbers numbers);

struct net_train; /* owned */

/* The network is borrowed. LIMIT (E_TRAIN_MEMORY) when the budget is too small;
 * UNSUPPORTED for an optimiser that is not known; NOMEM. */
TACIT_CHECKED enum tacit_err net_train_new(struct net *n,
                                           const struct net_train_options *o,
                                           struct net_train **out);
void net_train_free(struct net_train *t);
const struct net_memory *net_train_memory(const struct net_train *t);
/* Bytes of tapes, gradient and moments now. */
size_t net_train_bytes(const struct net_train *t);
/* What its products are in: GEMM_BF16 or GEMM_F32. */
enum gemm_numbers net_train_in(const struct net_train *t);

/* A step: the gradient is zero and the tapes are empty. The run is borrowed
 * until net_train_end(). LIMIT when the batch is larger than the load. */
TACIT_CHECKED enum tacit_err net_train_begin(struct net_train *t,
                                             const struct net_batch *b,
                                             const struct net_run **out);
/* Back from the loss [1, 1], and one step of the optimiser. Returns the tape's
 * error where an op has failed; nothing is learned then. */
TACIT_CHECKED enum tacit_err net_train_end(struct net_train *t,
                                           struct var *loss);
/* [n_flat of the network's parameters] of the last step. */
const float *net_train_gradient(const struct net_train *t);

#endif
