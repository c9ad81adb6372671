/*
 * cross: a cross-encoder. It reads a question and a passage together and says
 * by one number how well the passage answers it (Nogueira and Cho 2019).
 *
 *   question ─┐ text_pair.h                   ┌─ lane 0: tape, net ─┐
 *   passages ─┴─────> sequences ─> batches ────┤                     ├─> scores
 *                                              └─ lane 1 …           ┘
 *
 *   score   the logit as the file's head gives it: any number, larger is
 *           better. No chance of anything is claimed
 *
 * The file is a network of the family bert with a head of one output
 * (net_classes()): a BertForSequenceClassification that was imported, or one
 * that `tacit model merge` made. Batches hold at most CROSS_BATCH_TOKENS (or
 * one longer sequence), packed, never padded; a batch is one lane's work, so
 * that what is needed is counted before the first: one layer's rows of a batch
 * for each lane, beside the weights.
 *
 * Thread rule: one thread at a time.
 */
#ifndef TACIT_MODEL_CROSS_H
#define TACIT_MODEL_CROSS_H

#include "common/model/encoder.h"

enum { CROSS_BATCH_TOKENS = 512, CROSS_PASSAGES_MAX = 100 };

struct cross; /* owned */

struct cross_model {
    const char *name; /* for messages */
    const char *path; /* GGUF file or folder */
    uint64_t memory;  /* bytes that may be taken; 0: what is free */
    unsigned threads; /* 0: one for each usable core */
};

/* E_NOT_A_RERANKER when the network does not score pairs; E_MODEL_MEMORY, with
 * figures, when it would not fit; IO, FORMAT, SHAPE, UNSUPPORTED: its file. */
TACIT_CHECKED enum tacit_err cross_open(const struct cross_model *m,
                                        struct cross **out);
void cross_close(struct cross *c);
/* Outputs of a file's head for pairs; 0: it has none. */
struct gguf;
uint64_t cross_outputs(const struct gguf *g);
/* OK for a file whose head cross_open() could use; else E_NOT_A_RERANKER. */
TACIT_CHECKED enum tacit_err cross_fits(const struct gguf *g);
/* Scores [n] of n passages, at most CROSS_PASSAGES_MAX; *n_cut of them lost
 * their end. Bits depend on nothing but the pair. LIMIT, NOMEM; FORMAT when a
 * score is no number. */
TACIT_CHECKED enum tacit_err cross_scores(struct cross *c, struct text question,
                                          const struct text *passages, size_t n,
                                          float *out, size_t *n_cut);

#endif
