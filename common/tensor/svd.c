#include "common/tensor/vectorise.h"

#include "common/tensor/svd.h"

#include <math.h>
#include <string.h>

/* Some ten are needed; the bound is for what is no number. */
enum { SWEEPS_MAX = 60, LANES = 16 };

/* Cosine of two columns that counts as a right angle. */
#define RIGHT 1e-15
/* A column this much shorter than the whole matrix is rounding. */
#define NOTHING 1e-16

MANY_TARGETS
double svd_dot(const double *x, const double *y, size_t n)
{
    double sum[LANES] = {0}, rest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) sum[k] += x[i + k] * y[i + k];
    for (; i < n; i++) rest += x[i] * y[i];
    for (size_t k = 0; k < LANES; k++) rest += sum[k];
    return rest;
}

MANY_TARGETS
static void turn(double *p, double *q, size_t n, double c, double s)
{
    for (size_t i = 0; i < n; i++) {
        double x = p[i], y = q[i];
        p[i] = c * x - s * y;
        q[i] = s * x + c * y;
    }
}

/* Columns p and q to a right angle; 0 when they had one. pp, qq: squares of
 * their lengths, which follow. */
static int turn_pair(double *p, double *q, size_t m, double *pp, double *qq,
                     double *c, double *s)
{
    double pq = svd_dot(p, q, m);
    if (!(fabs(pq) > RIGHT * sqrt(*pp) * sqrt(*qq))) return 0;
    double z = (*qq - *pp) / (2 * pq);
    double t = copysign(1 / (fabs(z) + sqrt(1 + z * z)), z);
    *c = 1 / sqrt(1 + t * t);
    *s = *c * t;
    turn(p, q, m, *c, *s);
    *pp -= t * pq;
    *qq += t * pq;
    return 1;
}

static void squares(const double *a, size_t m, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) out[i] = svd_dot(a + i * m, a + i * m, m);
}

static void swap(double *p, double *q, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x = p[i];
        p[i] = q[i];
        q[i] = x;
    }
}

static void sort(double *a, size_t m, size_t n, double *v, double *sigma)
{
    squares(a, m, n, sigma);
    for (size_t i = 0; i < n; i++) sigma[i] = sqrt(sigma[i]);
    for (size_t i = 0; i < n; i++) {
        size_t most = i;
        for (size_t k = i + 1; k < n; k++)
            if (sigma[k] > sigma[most]) most = k;
        if (most == i) continue;
        swap(sigma + i, sigma + most, 1);
        swap(a + i * m, a + most * m, m);
        if (v) swap(v + i * n, v + most * n, n);
    }
}

void svd_turn(double *a, size_t m, size_t n, double *v, double *sigma)
{
    double nothing = svd_dot(a, a, m * n) * NOTHING * NOTHING;
    int turned = 1;
    if (v) memset(v, 0, n * n * sizeof *v);
    for (size_t i = 0; v && i < n; i++) v[i * n + i] = 1;
    for (int sweep = 0; turned && sweep < SWEEPS_MAX; sweep++) {
        turned = 0;
        squares(a, m, n, sigma);
        for (size_t p = 0; p + 1 < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                double c, s;
                if (!(sigma[p] > nothing && sigma[q] > nothing) ||
                    !turn_pair(a + p * m, a + q * m, m, sigma + p, sigma + q,
                               &c, &s))
                    continue;
                if (v) turn(v + p * n, v + q * n, n, c, s);
                turned = 1;
            }
    }
    sort(a, m, n, v, sigma);
}
