#include "common/tensor/vectorise.h"

#include "common/tensor/maps.h"

#include <stdint.h>
#include <string.h>

#include "common/tensor/kernel_set.h"

enum { STRANDS = 16 };

/* 2^n exp r: x = n log 2 + r, |r| <= log(2) / 2. Adding 1.5 * 2^23 rounds to a
 * whole number and leaves it in the low bits. Not a number stays none. */
static inline float exp_of(float x)
{
    const float round = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + round, n = shifted - round;
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits - 0x4b400000u + 127u) << 23;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static inline float sigmoid_of(float x)
{
    return 1.0f / (1.0f + exp_of(-x));
}

static inline float tanh_of(float x)
{
    float size = x < 0 ? -x : x, z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * z * x + x;
    float e = exp_of(-2.0f * size);
    float far = (1.0f - e) / (1.0f + e);
    far = x < 0 ? -far : far;
    return size < 0.625f ? p : far;
}

MANY_TARGETS
void map_relu(float *y, const float *x, size_t n)
{
    /* Not a number passes: a broken weight must not hide. */
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

MANY_TARGETS
void map_tanh(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = tanh_of(x[i]);
}

MANY_TARGETS
void map_sigmoid(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = sigmoid_of(x[i]);
}

void map_gelu(float *y, const float *x, size_t n)
{
    kernel_set_best()->gelu(y, x, n);
}

void map_gelu_slope(float *y, float *x, size_t n)
{
    kernel_set_best()->gelu_slope(y, x, n);
}

void map_gelu_backward(float *gx, const float *gy, const float *x, size_t n)
{
    kernel_set_best()->gelu_backward(gx, gy, x, n);
}

float map_soften(float *x, float by, float *top, size_t n)
{
    return kernel_set_best()->soften(x, by, top, n);
}

MANY_TARGETS
void map_exp(float *y, const float *x, float shift, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = exp_of(x[i] - shift);
}

MANY_TARGETS
void map_softmax_slope(float *s, float *g, float scale, float level, float d,
                       size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float p = exp_of(s[i] * scale - level);
        s[i] = p;
        g[i] = p * (g[i] - d) * scale;
    }
}

MANY_TARGETS
void map_add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

MANY_TARGETS
void map_scale(float *y, const float *x, float by, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] * by;
}

MANY_TARGETS
float map_max(const float *x, size_t n)
{
    float top[STRANDS], most = x[0];
    size_t i = 0;
    for (size_t k = 0; k < STRANDS; k++) top[k] = x[0];
    for (; i + STRANDS <= n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++)
            top[k] = x[i + k] > top[k] ? x[i + k] : top[k];
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    for (size_t k = 0; k < STRANDS; k++) most = top[k] > most ? top[k] : most;
    return most;
}

MANY_TARGETS
double map_sum(const float *x, size_t n)
{
    double part[STRANDS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + STRANDS <= n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) part[k] += (double)x[i + k];
    for (; i < n; i++) sum += (double)x[i];
    for (size_t k = 0; k < STRANDS; k++) sum += part[k];
    return sum;
}

MANY_TARGETS
double map_squares(const float *x, double from, size_t n)
{
    double part[STRANDS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + STRANDS <= n; i += STRANDS)
        for (size_t k = 0; k < STRANDS; k++) {
            double d = (double)x[i + k] - from;
            part[k] += d * d;
        }
    for (; i < n; i++) {
        double d = (double)x[i] - from;
        sum += d * d;
    }
    for (size_t k = 0; k < STRANDS; k++) sum += part[k];
    return sum;
}

MANY_TARGETS
int map_finite(const float *x, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

MANY_TARGETS
void map_add_rows(float *out, const float *x, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) out[c] += x[r * cols + c];
}

MANY_TARGETS
void map_relu_backward(float *gx, const float *gy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) gx[i] += x[i] > 0 ? gy[i] : 0;
}

MANY_TARGETS
void map_tanh_backward(float *gx, const float *gy, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) gx[i] += gy[i] * (1 - y[i] * y[i]);
}
