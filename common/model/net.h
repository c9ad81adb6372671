/*
 * net: encoders and decoders from model files, for inference and training by
 * one definition.
 *
 *   tokens ─lookup─> h ─[ block ]─ … ─[ block ]─ norm ─> hidden rows
 *
 *   block of a decoder          h += attend(norm h);  h += feed(norm h)
 *   block of an encoder (BERT)  h = norm(h + attend h);  h = norm(h + feed h)
 *
 *   attend h = (attention of q = W h, k, v; q and k turned) W'
 *   feed h   = W' gelu(W h), or W' (silu(G h) * (W h))
 *
 *   head of an encoder          C tanh(P h_0), or C pool(h) without a P; of
 *                               pairs of texts a cross-encoder's score
 *                               (Nogueira and Cho 2019)
 *
 * A family is a row of a table in net_shape.c: which norm stands where, how a
 * token knows its place, which gate; biases are there when the file has them.
 *   bert    Devlin et al. 2019; MiniLM, BGE, E5
 *   llama   Touvron et al. 2023; also Llama 3 (its frequency factors), SmolLM2,
 *           Mistral (its sliding window is kept to)
 *   qwen2   the same with biases and halves instead of pairs
 *
 * Sequences are packed: row after row, never padded. What is trained lies in a
 * parameter list whose names are the file's: everything, or pairs of low rank
 * beside the matrices of the blocks, or nothing.
 *
 * Thread rule: an open network may be used by many threads, each with its own
 * tape, while nobody changes its parameters.
 */
#ifndef TACIT_MODEL_NET_H
#define TACIT_MODEL_NET_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/gguf.h"
#include "common/model/kv.h"
#include "common/model/model_files.h"
#include "common/tensor/ops_block.h"
#include "common/tensor/params.h"
#include "common/tensor/tape.h"

enum {
    NET_LAYERS_MAX = 512,
    NET_WIDTH_MAX = 1 << 16,
    NET_VOCAB_MAX = 1 << 22,
    NET_TOKENS_MAX = 1 << 20, /* in one batch */
    NET_STEPS_MAX = 4,        /* of a sequence: see net_batch.cache */
    NET_RANK_MAX = 512
};

enum net_training {
    NET_FROZEN,
    NET_FULL,
    NET_PAIRS,   /* both matrices of every pair */
    NET_PAIRS_UP /* the outer one; the inner is drawn once and stays (FFA-LoRA:
                    Sun et al. 2024), so that a mean of pairs is exact */
};

/* Matrices of a block, as bits: which of them have pairs. */
enum net_target {
    NET_Q = 1,
    NET_K = 2,
    NET_V = 4,
    NET_OUTPUT = 8,
    NET_GATE = 16,
    NET_UP = 32,
    NET_DOWN = 64,
    NET_TARGETS = 127
};

enum net_head {
    NET_HEAD_FRESH,  /* of zeros */
    NET_HEAD_CLASSES /* the file's own, where that has as many outputs */
};

struct net_options {
    enum net_training train;
    unsigned targets; /* enum net_target, or'ed; 0: all */
    size_t rank;      /* of the pairs */
    double alpha;     /* a pair counts alpha / rank times [rank] */
    uint64_t seed;
    size_t outputs; /* a trained head "head.weight" of so many; 0: none */
    enum net_head head;
};

struct net_shape {
    size_t layers, width, heads, kv_heads, head_width, feed, vocab;
    size_t context; /* tokens it was trained for; 0: not known */
    size_t window;  /* 0: none */
    double epsilon;
    struct op_rope rope; /* dims 0: learned positions */
    enum attend_mask mask;
    enum op_pooling pooling; /* of an encoder */
    size_t outputs;          /* of the file's own head; 0: it has none */
};

struct net; /* owned */

/* UNSUPPORTED, with what is read, unless the family (as files name it) is. */
TACIT_CHECKED enum tacit_err net_knows(const char *family);
/* The files must stay open as long as the network: matrices that are packed in
 * them are used as they lie. UNSUPPORTED: a family that is not read, by name;
 * SHAPE: a tensor that is missing or has another shape; LIMIT, NOMEM. */
TACIT_CHECKED enum tacit_err net_open(const struct model_files *c,
                                      const struct net_options *options,
                                      struct net **out);
/* The same from one GGUF file, which may be in memory. */
TACIT_CHECKED enum tacit_err net_open_gguf(const struct gguf *file,
                                           const struct net_options *options,
                                           struct net **out);
void net_close(struct net *n);
const struct net_shape *net_shape(const struct net *n);
const char *net_family_name(const struct net *n);
/* 1 when a network of this family and shape has a tensor of that name, 0 when
 * it would be left out. */
int net_reads(const struct net *n, const char *tensor);
/* What is trained; empty when frozen. */
struct params *net_params(struct net *n);
/* The pairs one by one: what they are added to, and their numbers (borrowed).
 *   W + scale up down */
struct net_pair {
    char name[PARAMS_NAME_MAX]; /* of W in the file */
    size_t rows, cols, rank;
    const float *down; /* [rank, cols] */
    const float *up;   /* [rows, rank] */
    float scale;
};
size_t net_n_pairs(const struct net *n);
void net_pair_at(const struct net *n, size_t i, struct net_pair *out);
/* 1 when it predicts next tokens, 0 for an encoder. */
int net_is_decoder(const struct net *n);

/* A network at work on a tape. grad [n_flat of its parameters] gets gradients;
 * NULL: inference, in the memory of one layer. With a second tape, training
 * keeps the blocks' inputs alone and works each block out again on the way back
 * (Chen et al. 2016), but for the last `keep`: up to one more forward pass, in
 * the memory of one layer. The gradients have the same bits. A tape whose
 * `numbers` are GEMM_BF16 trains with products in bf16 where the processor has
 * them. Both tapes are borrowed until the way back is done. net_train.h sets
 * all of this within a budget of memory. */
struct net_run {
    const struct net *net;
    struct tape *tape;
    float *grad;
    struct tape *again; /* NULL: keep everything */
    size_t keep;        /* blocks that are kept whole all the same */
};

/* Borrowed until the tape is reset. */
struct net_batch {
    const uint32_t *token;       /* [n] */
    size_t n;                    /* rows of all sequences */
    struct op_segments segments; /* where each begins */
    const uint32_t *position;    /* [n]; NULL: 0, 1, … after the cache */
    const uint32_t *type;        /* [n] BERT's token types; NULL: 0 */
    struct kv *const *cache;     /* [segments.n] of decoders; NULL: none. Each
                                    gets the rows of its sequence. In a batch
                                    of sequences of at most NET_STEPS_MAX
                                    tokens each all rows have the bits that
                                    they would have had one at a time, and one
                                    sequence at a time. */
};

/* Hidden rows [n, width], after the last norm. Errors stick in the tape. */
struct var *net_hidden(const struct net_run *r, const struct net_batch *b);
/* Logits of some of the hidden rows, [n_rows, vocab]; NULL: of all. STATE for
 * an encoder. */
struct var *net_logits(const struct net_run *r, struct var *hidden,
                       const uint32_t *row, size_t n_rows);
/* Mean cross-entropy at labelled rows, [1, 1]. STATE for an encoder. */
struct op_labels;
struct var *net_lm_loss(const struct net_run *r, struct var *hidden,
                        const struct op_labels *labels);
/* The same, learnt from a teacher's next tokens, too. */
struct op_teacher;
struct var *net_taught_loss(const struct net_run *r, struct var *hidden,
                            const struct op_labels *labels,
                            const struct op_teacher *teacher);
/* One unit vector of each sequence: pooled as the file says, then scaled. */
struct var *net_embedding(const struct net_run *r, struct var *hidden,
                          const struct op_segments *s);
/* One row of each sequence [s->n, width], as a head of classes reads it: its
 * first through the file's pooler (dense and tanh), where the file has one,
 * else pooled as the file says. */
struct var *net_pooled(const struct net_run *r, struct var *hidden,
                       const struct op_segments *s);
/* What the file's own head makes of each sequence [s->n, shape.outputs]:
 * classes, or the score of a cross-encoder. STATE when there is none. */
struct var *net_classes(const struct net_run *r, struct var *hidden,
                        const struct op_segments *s);
/* The trained head: outputs of every row (spans), or of net_pooled() rows
 * (classes, a cross-encoder's score). STATE when there is none. */
struct var *net_outputs(const struct net_run *r, struct var *rows);

#endif
