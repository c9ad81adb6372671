/*
 * optim: optimisers over a flat parameter vector.
 *
 *   sgd    m <- momentum m + (g + wd w);  w <- w - lr m
 *   adam   Kingma and Ba 2015, algorithm 1 (weight decay added to g)
 *   adamw  Loshchilov and Hutter 2019, algorithm 2 (decay apart from g; as
 *          everywhere in practice, the decay is multiplied by lr)
 *
 * beta1 0.9, beta2 0.999, epsilon 1e-8. State is allocated once.
 */
#ifndef TACIT_TENSOR_OPTIM_H
#define TACIT_TENSOR_OPTIM_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct optim; /* owned */

struct optim_config {
    const char *kind; /* "sgd" | "adam" | "adamw" */
    double learning_rate, momentum, weight_decay;
};

/* Numbers that it keeps of each weight: 0, 1 or 2. */
size_t optim_moments(const struct optim_config *c);
/* For n weights. UNSUPPORTED for an unknown kind. */
TACIT_CHECKED enum tacit_err optim_new(const struct optim_config *c, size_t n,
                                       struct optim **out);
void optim_free(struct optim *o);
/* One step: w [n] from gradient g [n]. */
void optim_step(struct optim *o, float *w, const float *g);
/* The same where only some numbers ever had a gradient: chunk i of OPTIM_CHUNK
 * is one of them when reached[i]; of the others the gradient is zero and has
 * been in every step. Their moments are neither read nor written, and take no
 * memory (but for what a decay that is part of the gradient reaches). The bits
 * are those of optim_step(). */
enum { OPTIM_CHUNK = 1024 }; /* numbers: a page */
void optim_step_where(struct optim *o, float *w, const float *g,
                      const uint8_t *reached);

/* n zeros that begin with a page, and take memory when they are first written
 * to. The caller frees *all, not them. NULL when there is no memory. */
float *optim_zeros(size_t n, float **all);

#endif
