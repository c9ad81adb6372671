/* robust: what the robust rules share. */
#include <math.h>
#include <stdlib.h>

#include "common/strategy/rows.h"

/* Coordinates of a tile: 128 updates of them stay in the cache while every pair
 * is looked at. */
enum { TILE = 2048, LANES = 4 };

/* Lanes of their own need not wait for each other's sums. */
static double squared(const float *a, const float *b, size_t n)
{
    double lane[LANES] = {0}, sum = 0;
    size_t l = 0;
    for (; l + LANES <= n; l += LANES)
        for (size_t q = 0; q < LANES; q++) {
            double d = (double)a[l + q] - (double)b[l + q];
            lane[q] += d * d;
        }
    for (; l < n; l++) {
        double d = (double)a[l] - (double)b[l];
        sum += d * d;
    }
    for (size_t q = 0; q < LANES; q++) sum += lane[q];
    return sum;
}

/* Differences, not |a|^2 + |b|^2 - 2ab: near twins keep their distance. */
void strategy_distances(const struct strategy_updates *u, double *out)
{
    size_t k = u->k;
    for (size_t i = 0; i < k * k; i++) out[i] = 0;
    for (size_t l = 0; l < u->n; l += TILE) {
        size_t n = u->n - l < TILE ? u->n - l : TILE;
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < i; j++)
                out[i * k + j] += squared(u->row[i] + l, u->row[j] + l, n);
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < i; j++) out[j * k + i] = out[i * k + j];
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

double strategy_krum_score(const double *distance, const int *alive, size_t k,
                           size_t i, size_t n_near, double *scratch)
{
    size_t n = 0;
    double sum = 0;
    for (size_t j = 0; j < k; j++)
        if (j != i && alive[j]) scratch[n++] = distance[i * k + j];
    qsort(scratch, n, sizeof *scratch, ascending);
    for (size_t j = 0; j < n_near && j < n; j++) sum += scratch[j];
    return sum;
}

double strategy_norm(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

void strategy_shares(const struct strategy_updates *u, double *out)
{
    double sum = 0;
    for (size_t i = 0; i < u->k; i++) sum += u->weight[i];
    for (size_t i = 0; i < u->k; i++)
        out[i] = sum > 0 ? u->weight[i] / sum : 1 / (double)u->k;
}
