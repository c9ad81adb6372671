/*
 * kernels: the few f32 products that everything is made of, row-major.
 *
 *   gemm_nn  C [m, n] (+)= A [m, k]   B [k, n]
 *   gemm_nt  C [m, n] (+)= A [m, k]   B [n, k]^T
 *   gemm_tn  C [m, n] (+)= A [k, m]^T B [k, n]
 *
 * Large products go to OpenBLAS where it was built in, on one thread; small
 * and thin ones to loops that the compiler vectorises, chosen at run time for
 * AVX-512, AVX2 or the base. Every result is a pure function of its inputs on
 * one machine: nothing depends on the number of threads. No fast-math.
 */
#ifndef TACIT_TENSOR_KERNELS_H
#define TACIT_TENSOR_KERNELS_H

#include <stddef.h>

enum gemm_mode { GEMM_SET, GEMM_ADD };

void gemm_nn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode);
void gemm_nt(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode);
void gemm_tn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode);
/* sum x_i y_i, in sixteen partial sums, so that it can be vectorised. */
float kernel_dot(const float *x, const float *y, size_t n);
/* y += a x. */
void kernel_axpy(float *y, float a, const float *x, size_t n);
/* Scale x to length 1; returns its former length. A zero vector stays. */
float kernel_normalise(float *x, size_t n);

#endif
