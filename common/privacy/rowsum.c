#include "common/privacy/rowsum.h"

#include <math.h>

enum { UNIT_MIN = 256, UNIT_MAX = 65536, PER_ROOT = 8 };

uint32_t rowsum_unit(size_t n)
{
    uint32_t unit = UNIT_MIN;
    while (unit < UNIT_MAX && unit < PER_ROOT * sqrt((double)n)) unit *= 2;
    return unit;
}

/* Integer L2 norm, squared; below 2^53, so that no order of the sum rounds. */
static double quantise(const float *g, size_t n, double factor, int32_t *out)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double v = nearbyint((double)g[i] * factor);
        out[i] = (int32_t)v;
        sum += v * v;
    }
    return sum;
}

double rowsum_add(const struct rowsum_bounds *b, const float *g, size_t n,
                  int32_t *scratch, int64_t *sum)
{
    double squares = 0, unit = (double)b->unit;
    for (size_t i = 0; i < n; i++) squares += (double)g[i] * (double)g[i];
    double norm = sqrt(squares);
    if (!isfinite(norm)) return NAN;
    double factor = unit / (norm > b->clip ? norm : b->clip);
    double got = quantise(g, n, factor, scratch);
    /* Rounding may push it over: shorter until it holds. */
    for (int i = 0; got > unit * unit && i < 64; i++) {
        factor *= unit / sqrt(got) * (1 - 1e-6);
        got = quantise(g, n, factor, scratch);
    }
    if (got > unit * unit) return norm;
    for (size_t i = 0; i < n; i++) sum[i] += scratch[i];
    return norm;
}

void rowsum_close(const struct rowsum_bounds *b, const int64_t *sum, size_t n,
                  int32_t *noise)
{
    for (size_t i = 0; i < n; i++) {
        int64_t s = sum[i];
        if (s > b->limit) s = b->limit;
        if (s < -b->limit) s = -b->limit;
        noise[i] = (int32_t)((int64_t)noise[i] - s);
    }
}
