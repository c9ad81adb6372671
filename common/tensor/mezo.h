/*
 * mezo: learning by forward passes alone.
 *
 *   slope = (L(w + e z) - L(w - e z)) / 2e      z: signs that a number names
 *   w     <- w - rate slope z
 *
 * Malladi et al. 2023 (MeZO), after Spall 1992: nothing is kept for a way back,
 * and z is drawn again wherever it is wanted, so the memory is that of
 * inference. All that a step has learnt is (name of z, one number); many steps
 * along K directions are K numbers (Qin et al. 2024, FedKSeed).
 *
 * Differs from MeZO: z is of signs, not normal numbers. So moving along it is
 * additions alone, each weight has them in the order of the directions, and a
 * model that is rebuilt from numbers has the same bits on every machine.
 *
 * Thread rule: pure functions of their arguments.
 */
#ifndef TACIT_TENSOR_MEZO_H
#define TACIT_TENSOR_MEZO_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* The name of direction `number` among those of `seed`. */
uint64_t mezo_direction(uint64_t seed, uint64_t number);
/* w[i] += by * z[i], i < n. */
void mezo_move(uint64_t direction, float by, float *w, size_t n);
/* w += sum over j < k of by[j] z_j, direction j being mezo_direction(seed, j).
 * Where by[j] is 0 nothing is done. */
void mezo_rebuild(uint64_t seed, const float *by, size_t k, float *w, size_t n);

/* A loss at whatever stands in w. */
struct mezo_loss {
    enum tacit_err (*at)(void *ctx, float *loss);
    void *ctx;
};
struct mezo_found {
    double slope;
    float loss; /* the mean of the two */
};
/* Two looks; w is as it was but for rounding. */
TACIT_CHECKED enum tacit_err mezo_look(const struct mezo_loss *l,
                                       uint64_t direction, float epsilon,
                                       float *w, size_t n,
                                       struct mezo_found *out);

#endif
