/* robust: what the robust rules share. */
#include <math.h>
#include <stdlib.h>

#include "common/strategy/rows.h"

void strategy_distances(const struct strategy_updates *u, double *out)
{
    for (size_t i = 0; i < u->k; i++) {
        out[i * u->k + i] = 0;
        for (size_t j = 0; j < i; j++) {
            double sum = 0;
            for (size_t l = 0; l < u->n; l++) {
                double d = (double)u->row[i][l] - (double)u->row[j][l];
                sum += d * d;
            }
            out[i * u->k + j] = out[j * u->k + i] = sum;
        }
    }
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
