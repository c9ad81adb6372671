/*
 * arch: the table of architectures. A new model is a new row: how its
 * parameters are laid out, initialised, and turned into a prediction and a
 * loss on the tape. arch_dense.c, arch_softmax.c, arch_cnn.c and arch_seq.c
 * hold the functions of their family, arch.c the table.
 */
#ifndef TACIT_MODEL_ARCH_H
#define TACIT_MODEL_ARCH_H

#include "common/base/rng.h"
#include "common/model/batch.h"
#include "common/model/model.h"
#include "common/tensor/tape.h"

/* The rows of a batch, idx [n], and how far to go. */
struct arch_step {
    const struct examples *ex;
    const uint32_t *idx;
    size_t n;
    float rate, decay;
};

struct arch {
    const char *kind;
    unsigned tasks; /* bit 1 << enum model_task: what it can be trained for */
    enum batch_order order; /* of a sequence model's output rows */
    /* Add the parameters. SHAPE, LIMIT, UNSUPPORTED. */
    enum tacit_err (*layout)(const struct model_spec *s, struct params *p);
    void (*init)(const struct model_spec *s, struct params *p, struct rng *r);
    /* Output of the batch: logits [n, classes], values [n, 1], logits
     * [n T, tokens] or vectors [n, x_dim]. v[i] stands for parameter i. */
    struct var *(*forward)(const struct model_spec *s, struct tape *t,
                           struct var *const *v, const struct batch *b);
    /* A step of plain gradient descent in one go: the bits of forward, loss,
     * backward and sgd, without a gradient in memory. NULL: there is none. */
    enum tacit_err (*descend)(const struct model_spec *s, struct tape *t,
                              struct params *p, const struct arch_step *step,
                              float *loss);
};

/* The row for a kind; UNSUPPORTED names the nearest. */
TACIT_CHECKED enum tacit_err arch_find(const char *kind,
                                       const struct arch **out);
/* The mean loss of an output under the spec's task, [1, 1]. */
struct var *arch_loss(const struct model_spec *s, struct tape *t,
                      struct var *output, const struct batch *b);

/* ---- what the families share ---- */

/* Numbers per row of a dense model's output: classes, or 1. */
size_t arch_outputs(const struct model_spec *s);
/* Add "NAME.w" [in, out] and "NAME.b" [out]. LIMIT. */
TACIT_CHECKED enum tacit_err arch_add_linear(struct params *p, const char *name,
                                             size_t in, size_t out);
/* The same with a row of w per output, [out, in], for op_linear_rows(). */
TACIT_CHECKED enum tacit_err arch_add_linear_rows(struct params *p,
                                                  const char *name, size_t in,
                                                  size_t out);
/* Fill parameter t: U(-bound, bound), N(0, sd^2), or one value. */
void arch_uniform(struct params *p, const struct param *t, float bound,
                  struct rng *r);
void arch_normal(struct params *p, const struct param *t, float sd,
                 struct rng *r);
void arch_fill(struct params *p, const struct param *t, float value);

/* ---- the rows' functions ---- */

#define ARCH_FAMILY(name)                                                      \
 enum tacit_err arch_##name##_layout(const struct model_spec *s,               \
                                     struct params *p);                        \
 void arch_##name##_init(const struct model_spec *s, struct params *p,         \
                         struct rng *r);                                       \
 struct var *arch_##name##_forward(const struct model_spec *s, struct tape *t, \
                                   struct var *const *v,                       \
                                   const struct batch *b);
ARCH_FAMILY(dense)
ARCH_FAMILY(softmax)
enum tacit_err arch_softmax_descend(const struct model_spec *s, struct tape *t,
                                    struct params *p,
                                    const struct arch_step *step, float *loss);
ARCH_FAMILY(cnn)
ARCH_FAMILY(recurrent)
ARCH_FAMILY(transformer)
ARCH_FAMILY(reader)
/* The texts of a batch. FORMAT, LIMIT. */
TACIT_CHECKED enum tacit_err arch_reader_gather(struct tape *t,
                                                const struct examples *ex,
                                                const uint32_t *idx,
                                                size_t first, size_t n,
                                                struct batch_texts *out);
/* Weights as they are drawn before any training; arch_reader_init() takes those
 * that are part of the program. */
void arch_reader_draw(struct params *p, struct rng *r);
/* UNSUPPORTED when the spec has hidden layers. */
TACIT_CHECKED enum tacit_err arch_no_hidden(const struct model_spec *s);
/* Dense without hidden layers. */
enum tacit_err arch_flat_layout(const struct model_spec *s, struct params *p);
/* One weight per input and no bias, which a partial likelihood cannot see. */
enum tacit_err arch_cox_layout(const struct model_spec *s, struct params *p);
void arch_cox_init(const struct model_spec *s, struct params *p, struct rng *r);
struct var *arch_cox_forward(const struct model_spec *s, struct tape *t,
                             struct var *const *v, const struct batch *b);

#endif
