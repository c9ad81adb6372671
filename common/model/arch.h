/*
 * arch: the table of architectures. A new model is a new row: how its
 * parameters are laid out, initialised, and turned into a prediction and a
 * loss on the tape.
 */
#ifndef TACIT_MODEL_ARCH_H
#define TACIT_MODEL_ARCH_H

#include "common/base/rng.h"
#include "common/model/model.h"
#include "common/tensor/tape.h"

/* A batch that the forward pass reads: rows gathered from the examples. */
struct batch {
    size_t n;
    float *x; /* [n, x_dim] */
    float *y; /* [n], tables */
    float *p; /* [n, x_dim], retriever */
};

struct arch {
    const char *kind;
    unsigned tasks; /* bit 1 << enum model_task: what it can be trained for */
    /* Add the parameters. SHAPE, LIMIT. */
    enum tacit_err (*layout)(const struct model_spec *s, struct params *p);
    void (*init)(const struct model_spec *s, struct params *p, struct rng *r);
    /* Output of the batch: logits or values [n, 1], or vectors [n, x_dim].
     * v[i] stands for parameter number i. */
    struct var *(*forward)(const struct model_spec *s, struct tape *t,
                           struct var *const *v, const struct batch *b);
};

/* The row for a kind; UNSUPPORTED names the nearest. */
TACIT_CHECKED enum tacit_err arch_find(const char *kind,
                                       const struct arch **out);
/* The mean loss of an output under the spec's task, [1, 1]. */
struct var *arch_loss(const struct model_spec *s, struct tape *t,
                      struct var *output, const struct batch *b);

#endif
