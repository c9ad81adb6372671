/*
 * kernel_maps: the functions of maps.h that networks spend their time in, by
 * the vectors of kernel_body.h, which includes this. Polynomials alone, no
 * quotient:
 *
 *   2^t        = 2^n 2^f, n whole, |f| <= 1/2: degree 6, error 2e-9
 *   Phi(-a)    = 2^(g(a) - a^2 log2(e) / 2), a >= 0; g is nearly straight, its
 *                degree 10 over [0, 6], error 1e-7 max(1, a^2); above 6, where
 *                Phi is under 1e-9, it stays
 *   gelu(x)    = x Phi(x) = max(x, 0) - a Phi(-a), a = |x|
 *
 * Both are the least maximum of the weighted error (Lawson 1961).
 */
#ifndef TACIT_TENSOR_KERNEL_MAPS_H
#define TACIT_TENSOR_KERNEL_MAPS_H

#define LOG2_E 1.44269504f

typedef uint32_t bits __attribute__((vector_size(sizeof(vec))));

/* 2^t, t kept within [-126, 127]. Adding 1.5 x 2^23 rounds to a whole number
 * and leaves it in the low bits. Not a number stays none. */
ALWAYS vec power_of(vec t)
{
    const vec round = vec_all(0x1.8p23f);
    t = vec_min(vec_all(127), vec_max(vec_all(-126), t));
    vec shifted = t + round, f = t - (shifted - round);
    vec p = vec_all(1.53458119e-04f);
    p = vec_fma(p, f, vec_all(1.33999312e-03f));
    p = vec_fma(p, f, vec_all(9.61848896e-03f));
    p = vec_fma(p, f, vec_all(5.55032878e-02f));
    p = vec_fma(p, f, vec_all(2.40226469e-01f));
    p = vec_fma(p, f, vec_all(6.93147206e-01f));
    p = vec_fma(p, f, vec_all(1));
    return p * (vec)(((bits)shifted << 23) + 0x3f800000u);
}

/* exp(-a^2 / 2) 2^g */
ALWAYS vec bell_of(vec a, vec g)
{
    return power_of(vec_fma(a * vec_all(-0.5f * LOG2_E), a, g));
}

/* Phi(-a) */
ALWAYS vec tail_of(vec a)
{
    vec near = vec_min(vec_all(6), a), g = vec_all(-1.95430301e-08f);
    g = vec_fma(g, near, vec_all(6.19435023e-07f));
    g = vec_fma(g, near, vec_all(-8.38740527e-06f));
    g = vec_fma(g, near, vec_all(6.13559541e-05f));
    g = vec_fma(g, near, vec_all(-2.27453261e-04f));
    g = vec_fma(g, near, vec_all(-1.08734094e-04f));
    g = vec_fma(g, near, vec_all(7.08051520e-03f));
    g = vec_fma(g, near, vec_all(-5.25324920e-02f));
    g = vec_fma(g, near, vec_all(2.62157302e-01f));
    g = vec_fma(g, near, vec_all(-1.15110805e+00f));
    return bell_of(a, vec_fma(g, near, vec_all(-9.99999924e-01f)));
}

/* |x|; no more than 13, where Phi(-a) is the least number there is. */
ALWAYS vec size_of(vec x)
{
    return vec_min(vec_all(13), (vec)((bits)x & 0x7fffffffu));
}

/* a >= 0 with the sign of x */
ALWAYS vec signed_as(vec a, vec x)
{
    return (vec)((bits)a | ((bits)x & 0x80000000u));
}

ALWAYS vec gelu_of(vec x, vec a, vec tail)
{
    return vec_fma(-a, tail, vec_max(vec_all(0), x));
}

/* Phi(x) + x phi(x) */
ALWAYS vec slope_of(vec x, vec a, vec tail)
{
    vec phi = vec_all(0.39894228f) * bell_of(a, vec_all(0));
    vec cdf = vec_all(0.5f) + signed_as(vec_all(0.5f) - tail, x);
    return vec_fma(signed_as(a, x), phi, cdf);
}

static void gelu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t some = n - i < LANES ? n - i : LANES;
        vec v = vec_load_n(x + i, some), a = size_of(v);
        vec_store_n(y + i, gelu_of(v, a, tail_of(a)), some);
    }
}

static void gelu_slope(float *y, float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t some = n - i < LANES ? n - i : LANES;
        vec v = vec_load_n(x + i, some), a = size_of(v), tail = tail_of(a);
        vec_store_n(y + i, gelu_of(v, a, tail), some);
        vec_store_n(x + i, slope_of(v, a, tail), some);
    }
}

static void gelu_backward(float *gx, const float *gy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t some = n - i < LANES ? n - i : LANES;
        vec v = vec_load_n(x + i, some), a = size_of(v);
        vec g = vec_fma(vec_load_n(gy + i, some), slope_of(v, a, tail_of(a)),
                        vec_load_n(gx + i, some));
        vec_store_n(gx + i, g, some);
    }
}

/* The largest of x [n]: two vectors abreast, of which the last ones may have
 * been seen. */
ALWAYS float top_of(const float *x, size_t n)
{
    float most = x[0];
    if (n < LANES) {
        for (size_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
        return most;
    }
    vec top = vec_load(x), other = vec_load(x + n - LANES);
    size_t i = LANES;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        top = vec_max(vec_load(x + i), top);
        other = vec_max(vec_load(x + i + LANES), other);
    }
    if (i + LANES <= n) top = vec_max(vec_load(x + i), top);
    top = vec_max(top, other);
    for (size_t k = 0; k < LANES; k++) most = top[k] > most ? top[k] : most;
    return most;
}

static float soften(float *x, float by, float *top, size_t n)
{
    vec sum[1][UNIT_COLUMNS][UNIT];
    float most = by * top_of(x, n), all = 0;
    *top = most > *top ? most : *top;
    const vec scale = vec_all(by * LOG2_E), from = vec_all(*top * -LOG2_E);
#pragma GCC unroll 4
    for (size_t u = 0; u < UNIT; u++) sum[0][0][u] = vec_all(0);
    for (size_t i = 0; i < n; i += STRANDS)
#pragma GCC unroll 4
        for (size_t u = 0; u < UNIT; u++) {
            float *at = x + i + u * LANES;
            size_t some = n - i < u * LANES ? 0 : n - i - u * LANES;
            if (some >= LANES) {
                vec p = power_of(vec_fma(vec_load(at), scale, from));
                vec_store_n(at, p, LANES);
                sum[0][0][u] += p;
            } else if (some) {
                vec p = vec_fma(vec_load_n(at, some), scale, from);
                vec_store_n(at, power_of(p), some);
                sum[0][0][u] += vec_load_n(at, some);
            }
        }
    strands_add(&all, 1, sum, 1, 1);
    return all;
}

#endif
