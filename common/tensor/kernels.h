/*
 * kernels: the few f32 products that everything is made of, row-major.
 *
 *   gemm_nn  C [m, n] (+)= A [m, k]   B [k, n]
 *   gemm_nt  C [m, n] (+)= A [m, k]   B [n, k]^T
 *   gemm_tn  C [m, n] (+)= A [k, m]^T B [k, n]
 *
 * Register tiles for AVX-512, AVX2 or the base, chosen at run time
 * (kernel_set.h); at the sizes of these models they are as fast as a BLAS, with
 * no locks, threads or start-up of its own. Every result is a pure function of
 * its inputs, the same on all processors with AVX2 and FMA: nothing depends on
 * the number of threads. No fast-math. Nothing here allocates.
 */
#ifndef TACIT_TENSOR_KERNELS_H
#define TACIT_TENSOR_KERNELS_H

#include <stddef.h>

enum gemm_mode { GEMM_SET, GEMM_ADD };
/* GEMM_BF16: A and B are rounded to bf16 as they are read, and the sums stay
 * f32, where the processor multiplies pairs of bf16: by tiles (AMX-BF16, five
 * to ten times as fast as f32) or by pairs (AVX512-BF16, faster or slower, as
 * the processor is). Both sum in one order (kernel_pairs.h) and give the same
 * bits where a processor has both, for any number of threads. Elsewhere it is
 * as GEMM_F32, from which it differs by some 2^-9 of the numbers. */
enum gemm_numbers { GEMM_F32, GEMM_BF16 };

/* C [m, n] (+)= A [m, k] B [k, n] in any layout: a_il = a[i a_row + l a_col];
 * b_lj = b[l b_row + j b_col], of which one is 1; c_ij = c[i c_row + j]. */
struct gemm {
    size_t m, n, k;
    const float *a;
    size_t a_row, a_col;
    const float *b;
    size_t b_row, b_col;
    float *c;
    size_t c_row;
    enum gemm_mode mode;
};
void gemm_run(const struct gemm *g);
/* The same, k > 0, where each row of C begins as `start` [n], whatever the
 * mode: a bias costs no pass of its own, and the bits are those of one. */
void gemm_run_from(const struct gemm *g, const float *start);
void gemm_run_in(enum gemm_numbers numbers, const struct gemm *g);

void gemm_nn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode);
void gemm_nt(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode);
void gemm_tn(float *c, const float *a, const float *b, size_t m, size_t n,
             size_t k, enum gemm_mode mode);

/* Products with a window that slides over a plane, for convolutions, or with
 * rows that lie apart: row l of B begins at b + offset[l] (floats).
 *   correlate  c[i c_row + p]  = sum_l a[i a_row + l] b[offset[l] + p]
 *   reduce     c[i c_row + l] += sum_p a[i a_row + p] b[offset[l] + p], and
 *              over n_images that lie a_image and b_image apart
 *   descend    c[i c_row + p] -= rate (g + decay c), g what correlate gives: a
 *              step of gradient descent that leaves the gradient in registers
 * for i < rows, l < n_offsets, p < n_points. correlate reads and writes whole
 * vectors: up to WINDOW_SLACK floats past the last point must be there, and be
 * numbers. */
enum { WINDOW_SLACK = 16 };
struct kernel_window {
    size_t rows, n_offsets, n_points;
    const float *a;
    size_t a_row;
    const float *b;
    const ptrdiff_t *offset;
    float *c;
    size_t c_row;
    size_t n_images, a_image, b_image; /* reduce */
    /* reduce: rows in the layout of a that come from memory meanwhile, because
     * they are wanted next; NULL: none. */
    const float *ahead;
    float rate, decay; /* descend */
};
void kernel_correlate(const struct kernel_window *w);
void kernel_reduce(const struct kernel_window *w);
void kernel_descend(const struct kernel_window *w);

/* sum x_i y_i, in sixteen partial sums, so that it can be vectorised. */
float kernel_dot(const float *x, const float *y, size_t n);
/* y += a x. */
void kernel_axpy(float *y, float a, const float *x, size_t n);
/* Scale x to length 1; returns its former length. A zero vector stays. */
float kernel_normalise(float *x, size_t n);

#endif
