/*
 * flatscan: the inner loop of the vector scan, in scalar C, AVX2 and AVX-512;
 * the machine's best is chosen at run time. Integers, so all give equal bits.
 */
#ifndef TACIT_RETRIEVAL_FLATSCAN_H
#define TACIT_RETRIEVAL_FLATSCAN_H

#include <stddef.h>
#include <stdint.h>

enum {
    FLATSCAN_STEP = 32, /* a row's length is a multiple of it; 64-aligned */
    /* A code is at most 127, a query at most this, so that 2048 products fit
     * 32 bits: 2048 * 127 * 8191 < 2^31. */
    FLATSCAN_QUERY_MAX = 8191
};

/* out[i] = <rows[i], q>; rows [n, stride] int8, q [stride] int16. */
typedef void flatscan_fn(const int8_t *rows, size_t stride, size_t n,
                         const int16_t *q, int32_t *out);

/* The best this machine runs. */
flatscan_fn *flatscan_best(void);
/* Version i of them (0 = scalar), or NULL past the last this machine runs;
 * *name gets its name. */
flatscan_fn *flatscan_at(size_t i, const char **name);

#endif
