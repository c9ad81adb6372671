/*
 * Geometric median: Pillutla, Kakade, Harchaoui, Robust Aggregation for
 * Federated Learning (RFA), IEEE TSP 2022 (arXiv 1912.13445), algorithm 2, the
 * smoothed Weiszfeld iteration.
 *
 *   v <- sum_i b_i delta_i / sum_i b_i,   b_i = p_i / max(nu, |v - delta_i|)
 *
 * from v = sum_i p_i delta_i, `iterations` times; nu = 1e-6.
 * Differs in: distances are seen in the clear. The paper's protocol has devices
 * compute b_i, so that one secure sum does each iteration; here the rule runs
 * once, across the means of groups.
 * Secure aggregation: across the means of groups.
 */
#include <math.h>
#include <stdlib.h>

#include "common/strategy/rows.h"

#define NU 1e-6

static double distance(const float *a, const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - v[i];
        sum += d * d;
    }
    return sqrt(sum);
}

static void weighted(const struct strategy_updates *u, const double *b,
                     double *v)
{
    double sum = 0;
    for (size_t i = 0; i < u->k; i++) sum += b[i];
    for (size_t l = 0; l < u->n; l++) {
        double x = 0;
        for (size_t i = 0; i < u->k; i++) x += b[i] * (double)u->row[i][l];
        v[l] = x / sum;
    }
}

static enum tacit_err geomedian(const struct strategy_config *c,
                                const struct strategy_updates *u, float *mean)
{
    double *v = malloc(u->n * sizeof *v);
    double *p = malloc(2 * u->k * sizeof *p), *b = p ? p + u->k : NULL;
    enum tacit_err err = TACIT_OK;
    if (!v || !p) {
        err = fail(TACIT_NOMEM, "%zu updates", u->k);
    } else {
        strategy_shares(u, p);
        weighted(u, p, v);
        for (uint32_t t = 0; t < c->iterations; t++) {
            for (size_t i = 0; i < u->k; i++) {
                double d = distance(u->row[i], v, u->n);
                b[i] = p[i] / (d > NU ? d : NU);
            }
            weighted(u, b, v);
        }
        for (size_t l = 0; l < u->n; l++) mean[l] = (float)v[l];
    }
    free(v);
    free(p);
    return err;
}

const struct strategy strategy_geomedian = {
    .name = "geomedian",
    .paper = "Pillutla et al. 2022",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = geomedian,
};
