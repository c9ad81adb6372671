/*
 * maps: elementwise functions over arrays, in loops that become vectors. exp,
 * and what is made of it, is a polynomial of our own (Cephes, Moshier 1989:
 * expf, tanhf), because a call per number costs ten times as much. They use
 * nothing but sums, products and quotients in a fixed order, so they give the
 * same bits on every machine. GELU and the softmax of attention are written
 * for each set of instructions (kernel_maps.h): the same bits on every
 * processor with AVX2 and FMA. GELU is within 4e-7 and, above 0, 3 units in the
 * last place, within 24 down to -3 and 80 down to -6, where it is 6e-9.
 *
 * y and x may be one array, but may not overlap otherwise. Backward functions
 * add to gx [n].
 */
#ifndef TACIT_TENSOR_MAPS_H
#define TACIT_TENSOR_MAPS_H

#include <stddef.h>

void map_relu(float *y, const float *x, size_t n);
void map_tanh(float *y, const float *x, size_t n);
void map_sigmoid(float *y, const float *x, size_t n);
void map_gelu(float *y, const float *x, size_t n);
/* The same; x becomes the slope there. */
void map_gelu_slope(float *y, float *x, size_t n);
/* y = exp(x - shift); under about -87 the result is 1e-38. */
void map_exp(float *y, const float *x, float shift, size_t n);
/* Of softmax. x [n], n >= 1, to exp(by x - top), by > 0, once top is no less
 * than by x anywhere; returns their sum, in 16 strands. */
float map_soften(float *x, float by, float *top, size_t n);
/* Scores s to p = exp(scale s - level), slopes g of what they weigh to
 * p (g - d) scale. */
void map_softmax_slope(float *s, float *g, float scale, float level, float d,
                       size_t n);
/* y = a + b; y may be either. */
void map_add(float *y, const float *a, const float *b, size_t n);
void map_scale(float *y, const float *x, float by, size_t n);
/* The largest of x [n], n >= 1. */
float map_max(const float *x, size_t n);
/* Sum of x [n], and of its squared distances from `from`, in 16 strands of
 * f64. */
double map_sum(const float *x, size_t n);
double map_squares(const float *x, double from, size_t n);
/* 1 when every x [n] is finite. */
int map_finite(const float *x, size_t n);
/* out [cols] += the rows of x [rows, cols]. */
void map_add_rows(float *out, const float *x, size_t rows, size_t cols);

/* gy [n] is the gradient of y = f(x). */
void map_relu_backward(float *gx, const float *gy, const float *x, size_t n);
void map_tanh_backward(float *gx, const float *gy, const float *y, size_t n);
void map_gelu_backward(float *gx, const float *gy, const float *x, size_t n);

#endif
