/*
 * tuned: a network that others have trained, as a model of this project: what
 * is trained of it, on texts as tokens.
 *
 *   base file ─net─> hidden [T, d] ─┬ pool, scale ─ contrastive   retriever
 *      ^  and pairs B A             ├ head ──────── first, last   reader
 *      │                            ├ pool, head ── class         classify
 *      └─ trained, sent             └ logits ────── next token    lm
 *
 * Classes are told from one row of each text (net_pooled): their logits, or one
 * logit where the answer is yes or no. Of pairs of texts that is a cross-
 * encoder.
 *
 * The file is named by its hash, so that every device trains on exactly the
 * numbers that it infers with, quantised as they are. The model's parameters
 * are the pairs (and a head); the file's stay as they lie.
 *
 *   ffa    Sun et al. 2024 (FFA-LoRA): A is drawn from the plan's seed and the
 *          same everywhere, only B is trained: the mean of B A is exact
 *   lora   Hu et al. 2022: A and B are trained; averaging both is not the mean
 *          of their products
 *   full   every number of the network
 *
 * Rows of a batch are packed one behind another, never padded. Losses are
 * worked out at labels only: of lm at the tokens of the second part. A
 * retriever trains the side of the questions; passages keep the vectors of the
 * untrained network.
 *
 * A training keeps as many blocks of a batch whole as TUNED_KEPT_BYTES hold and
 * works the others out again on the way back; under spec.base.memory_bytes all
 * of it, base and optimiser included, keeps to that bound, counted for the
 * largest batch before anything runs, and for each before it does
 * (tuned_memory.h); measuring takes fewer rows at a time. The bits of what is
 * learnt are the same either way. They
 * are those of f32 unless spec.base.fast asks for bf16.
 *
 * Thread rule: as the model.
 */
#ifndef TACIT_MODEL_TUNED_H
#define TACIT_MODEL_TUNED_H

#include "common/model/model.h"
#include "common/model/net.h"
#include "common/model/tuned_memory.h"
#include "common/tensor/tape.h"

enum { TUNED_ROW_TOKENS_MAX = 8192, TUNED_KEPT_BYTES = 256 << 20 };

struct tuned; /* owned */
struct pool;

/* Opens the base, and lays out, allocates and fills p. E_BASE_MISSING when the
 * file is not here, FORMAT when it is not the one that was named, and errors of
 * net_open(). spec->n_inputs becomes the width. */
TACIT_CHECKED enum tacit_err tuned_new(struct model_spec *spec,
                                       struct params *p, struct tuned **out);
void tuned_free(struct tuned *t);
/* Workers of the tape that blocks are worked out again on. */
void tuned_use_pool(struct tuned *t, struct pool *pool);
void tuned_bound(struct tuned *t, uint64_t memory_bytes);
/* Pairs as they are drawn, and a head of zeros. With MODEL_FULL p is left as
 * it is. */
void tuned_init(const struct tuned *t, struct params *p);
/* SHAPE when the rows have no texts, or not this task's targets. A row that the
 * network cannot read is named (SHAPE) by the batch that it is in. */
TACIT_CHECKED enum tacit_err tuned_check(const struct tuned *t,
                                         const struct examples *ex);
/* As model_room(). */
TACIT_CHECKED enum tacit_err tuned_room(struct tuned *t,
                                        const struct tape *tape,
                                        const struct examples *ex,
                                        size_t tokens);
/* As model_fits(). */
TACIT_CHECKED enum tacit_err tuned_fits(struct tuned *t,
                                        const struct tape *tape,
                                        const struct examples *ex,
                                        enum tuned_way way, size_t batch,
                                        uint64_t *out_bytes);
/* As model_gradient(), model_loss() and model_evaluate(), at weights w. */
TACIT_CHECKED enum tacit_err tuned_gradient(struct tuned *t, struct tape *tape,
                                            const float *w,
                                            const struct examples *ex,
                                            const uint32_t *idx, size_t n,
                                            float *grad, float *out_loss);
TACIT_CHECKED enum tacit_err tuned_loss(struct tuned *t, struct tape *tape,
                                        const float *w,
                                        const struct examples *ex,
                                        const uint32_t *idx, size_t n,
                                        float *out_loss);
TACIT_CHECKED enum tacit_err tuned_evaluate(struct tuned *t, struct tape *tape,
                                            const float *w,
                                            const struct examples *ex,
                                            struct model_metrics *out);
/* A retriever: as model_predict(). */
TACIT_CHECKED enum tacit_err tuned_places(struct tuned *t, struct tape *tape,
                                          const float *w,
                                          const struct examples *ex,
                                          float *out /* [n_rows] */);

#endif
