/*
 * distill_lm: a decoder that learns from a larger one with the same tokens.
 *
 *   tokens ─rows─┬─ teacher ─> its likeliest next tokens, and how likely ─┐
 *                └─ student ─> hidden ── head ── loss <───────────────────┘
 *
 *   loss = (1 - share) ce(the text's next token) + share ce(the teacher's)
 *
 * Hinton, Vinyals and Dean 2015, at temperature 1, of the k likeliest tokens,
 * their shares made to sum to one: what lies behind them is too little to pay
 * for. All numbers of the student are trained, in the budget of net_train.h.
 * One row in 50 is held out: it says how far the two agree on text that was
 * not learnt from.
 *
 * Thread rule: one thread; the same seed, tokens and networks give the same
 * numbers for any number of workers on machines with the same instructions.
 */
#ifndef TACIT_MODEL_DISTILL_LM_H
#define TACIT_MODEL_DISTILL_LM_H

#include "common/model/net.h"

enum { DISTILL_LM_LIKELIEST_MAX = 256, DISTILL_LM_TOKENS_MAX = 1 << 28 };

struct distill_lm_config {
    size_t row;          /* tokens of a row, at least 2 */
    size_t batch;        /* rows of a step */
    size_t epochs;       /* times that each row is seen */
    size_t likeliest;    /* k */
    double rate;         /* of AdamW */
    double share;        /* of the loss, 0 to 1 */
    size_t budget_bytes; /* of training the student; 0: whatever it takes */
    uint64_t seed;       /* of the order of rows */
};
extern const struct distill_lm_config distill_lm_usual;

struct distill_lm_report {
    size_t epoch;         /* 0: before the first step */
    double loss;          /* mean of the epoch; of nothing before it */
    double nats;          /* cross-entropy of held-out tokens */
    double agreement;     /* share of them whose likeliest is the teacher's */
    uint64_t done, total; /* tokens */
};
struct distill_lm_job {
    struct net *student;       /* opened with NET_FULL; learns in place */
    const struct net *teacher; /* frozen, the same vocabulary */
    const uint32_t *token;     /* [n] texts one behind another; borrowed */
    size_t n;
    struct pool *pool; /* borrowed, or NULL */
    /* At times; an error of it ends the work. */
    enum tacit_err (*step)(void *ctx, const struct distill_lm_report *r);
    void *ctx;
};

/* SHAPE: too few tokens for two rows, or vocabularies that differ; LIMIT
 * (E_TRAIN_MEMORY); an error of step. */
TACIT_CHECKED enum tacit_err distill_lm_train(const struct distill_lm_config *c,
                                              const struct distill_lm_job *job,
                                              struct distill_lm_report *out);

#endif
