/*
 * rowsum: the sum of many rows' gradients in which no row counts for more than
 * `unit`, and the noise that hides which rows were there.
 *
 *   g of one row ──clip to L2 <= clip──> whole numbers, L2 <= unit ──┐
 *   g of one row ──            …                                ──> + ──> limit
 *                                             discrete Gaussian ──> + ──> ring
 *
 * A row's numbers are rounded alone and their integer norm is checked, so that
 * the sum of whole numbers moves by at most `unit` when one row comes or goes:
 * no allowance for rounding is needed (where a rounded sum would want
 * unit + sqrt(n)). `limit` cuts single coordinates of a device's sum, which
 * moves no two sums further apart; a sum over the ring's end would wrap, which
 * is a function of the noisy sum and tells nothing more.
 *
 * A gradient that is no number counts as zeros: whether a row gives one may not
 * be seen either.
 */
#ifndef TACIT_PRIVACY_ROWSUM_H
#define TACIT_PRIVACY_ROWSUM_H

#include <stddef.h>
#include <stdint.h>

struct rowsum_bounds {
    double clip;       /* L2, of a row's gradient */
    uint32_t unit;     /* L2, of its whole numbers */
    int32_t limit;     /* of a coordinate of a device's sum */
    uint64_t variance; /* of a device's noise per coordinate */
};

/* Fine enough that rounding is small beside one row's gradient of n numbers: a
 * power of two, 256 to 65536. */
uint32_t rowsum_unit(size_t n);
/* sum [n] += the row's whole numbers. Its L2 norm before clipping; NaN when it
 * is no number. scratch [n]. */
double rowsum_add(const struct rowsum_bounds *b, const float *g, size_t n,
                  int32_t *scratch, int64_t *sum);
/* noise [n], drawn before: noise -= the limited sum, for a step downhill. */
void rowsum_close(const struct rowsum_bounds *b, const int64_t *sum, size_t n,
                  int32_t *noise);

#endif
