/*
 * directions: a model whose weights lie along directions that everybody can
 * draw, and training by forward passes.
 *
 *   seed ─> z_1 … z_K        w = start + sum_j s_j z_j
 *
 *   device: w, rows ─two looks along some z_j─> s_j   only s [K] travels, is
 *   coordinator: mean of s, signed ──> all            averaged, kept, adopted
 *
 * Qin et al. 2024 (FedKSeed), over mezo.h. To the rest of the program s is the
 * model: a round sends and brings 4 K bytes whatever the network is, and the
 * secure sum, dropouts, a restart and a device that comes late are as for any
 * other model. Every party rebuilds w from s to the bit.
 *
 * The directions are the plan's for all of its rounds, not a round's: those
 * who missed rounds then need the newest s alone. What can be learnt lies in
 * K dimensions.
 *
 * Thread rule: as the model.
 */
#ifndef TACIT_MODEL_DIRECTIONS_H
#define TACIT_MODEL_DIRECTIONS_H

#include "common/model/model.h"

#define DIRECTIONS_NAME "mezo.scalars"

struct directions; /* owned */

/* The model of spec without spec->along, at the weights that a plan starts
 * from, and the layout of s in p. spec->n_inputs as model_new() sets it. */
TACIT_CHECKED enum tacit_err directions_new(const struct model_spec *spec,
                                            struct params *p,
                                            struct directions **out);
void directions_free(struct directions *d);
/* That model with the weights of s [K]; borrowed, and worked out anew only
 * where s differs from the last. */
struct model *directions_at(struct directions *d, const float *s);
/* Without moving it. */
struct model *directions_inner(struct directions *d);

/* model_train() by forward passes: of m's weights along ever new directions,
 * or, where d is given, of s [K] along its own (m is directions_at(d, s)). */
TACIT_CHECKED enum tacit_err directions_train(struct model *m,
                                              const struct model_training *how,
                                              const struct examples *ex,
                                              const struct directions *d,
                                              float *s);

#endif
