/* Drawn numbers for tests of products. */
#ifndef TACIT_TESTS_TENSOR_DRAWN_H
#define TACIT_TESTS_TENSOR_DRAWN_H

#include <stdlib.h>

#include "common/base/rng.h"
#include "tests/check.h"

static inline void *memory(size_t n)
{
    void *p = malloc(n ? n : 1);
    check(p != NULL);
    return p;
}

/* [n], to be freed. */
static inline float *numbers(struct rng *r, size_t n)
{
    float *v = memory(n * sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = rng_normal(r);
    return v;
}

#endif
