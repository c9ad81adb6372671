/*
 * synthetic: vectors from devices that differ in their model and in what they
 * see, each by a number of the plan (sim.a, sim.b).
 *
 *   u_k ~ N(0, a)    W_k ~ N(u_k, 1) [dim, classes]   c_k ~ N(u_k, 1) [classes]
 *   B_k ~ N(0, b)    v_k ~ N(B_k, 1) [dim]
 *   x ~ N(v_k, diag(j^-1.2))      y = argmax(x W_k + c_k)
 *
 * Li et al. 2020, "Federated Optimization in Heterogeneous Networks", section
 * 5.1. There dim is 60, classes 10, devices 30 and sizes lognormal(4, 2) + 50.
 * As in the authors' program, and unlike the text, a and b are standard
 * deviations. The iid set of the same program has one W and c ~ N(0, 1) for all
 * devices and v = 0. Numbers are drawn from our own streams, so that the rows
 * are others than theirs.
 *
 * Beyond the paper: one class is the sign of x w + c (y 0 or 1); regress has
 * y = x w + c + N(0, 0.1). So do all models of vectors have data.
 *
 * Row r of device k is a pure function of (seed, k, r).
 */
#ifndef TACIT_SIMS_SYNTHETIC_H
#define TACIT_SIMS_SYNTHETIC_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum synthetic_kind { SYNTHETIC_CLASSES, SYNTHETIC_SIGN, SYNTHETIC_VALUE };

struct synthetic_config {
    uint64_t seed;
    double a, b;
    int iid;
    enum synthetic_kind kind;
    size_t dim, classes; /* classes: 1 unless SYNTHETIC_CLASSES */
};

struct synthetic_device {
    const struct synthetic_config *c; /* borrowed */
    size_t number;
    float *w;    /* [dim, classes], arena */
    float *bias; /* [classes], arena */
    float *mean; /* [dim], arena */
};

/* Device number k. */
TACIT_CHECKED enum tacit_err synthetic_device(const struct synthetic_config *c,
                                              size_t k, struct arena *a,
                                              struct synthetic_device *out);
/* Its row r: x [dim], one y. */
void synthetic_row(const struct synthetic_device *d, uint64_t r, float *x,
                   float *y);
/* Rows of device k in the paper: lognormal(4, 2), cut to a whole number, and
 * 50. At most SYNTHETIC_ROWS_MAX. */
enum { SYNTHETIC_ROWS_MAX = 1 << 20 };
size_t synthetic_size(uint64_t seed, size_t k);

#endif
