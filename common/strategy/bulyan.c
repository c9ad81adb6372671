/*
 * Bulyan: El Mhamdi, Guerraoui, Rouault, The Hidden Vulnerability of
 * Distributed Learning in Byzantium, ICML 2018 (arXiv 1802.07927), section 4.
 *
 *   select theta = k - 2f updates, one at a time, each the Krum winner of those
 *   that are left; then for every coordinate the mean of the beta = theta - 2f
 *   selected values that lie nearest to their median
 *
 * Wants k >= 4f + 3. While fewer than f + 3 are left, Krum's sum takes at least
 * the one nearest. Of equal scores the first row wins, of values equally near
 * to the median the smaller. Example counts are ignored, as in the paper.
 * Differs in: updates of K steps stand for the paper's gradients.
 * Secure aggregation: across the means of groups.
 */
#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"
#include "common/strategy/rows.h"

static void select_rows(const struct strategy_updates *u, size_t f,
                        double *distance, int *alive, size_t *chosen,
                        size_t n_chosen)
{
    size_t k = u->k;
    strategy_distances(u, distance);
    for (size_t i = 0; i < k; i++) alive[i] = 1;
    for (size_t c = 0; c < n_chosen; c++) {
        size_t left = k - c, best = k;
        size_t n_near = left > f + 3 ? left - f - 2 : 1;
        double lowest = INFINITY;
        for (size_t i = 0; i < k; i++) {
            if (!alive[i]) continue;
            double s = strategy_krum_score(distance, alive, k, i, n_near,
                                           distance + k * k);
            if (best == k || s < lowest) {
                best = i;
                lowest = s;
            }
        }
        chosen[c] = best;
        alive[best] = 0;
    }
}

static int ascending(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Sorted values: the `keep` nearest to the median are neighbours, so a window
 * slides to the place where its far end is nearest. */
static double near_median(const float *sorted, size_t n, size_t keep)
{
    double median =
        n % 2 ? (double)sorted[n / 2]
              : ((double)sorted[n / 2 - 1] + (double)sorted[n / 2]) / 2;
    size_t first = 0;
    while (first + keep < n && (double)sorted[first + keep] - median <
                                   median - (double)sorted[first])
        first++;
    double sum = 0;
    for (size_t i = first; i < first + keep; i++) sum += (double)sorted[i];
    return sum / (double)keep;
}

static enum tacit_err bulyan(const struct strategy_config *c,
                             const struct strategy_updates *u, float *mean)
{
    size_t k = u->k, f = c->byzantine;
    if (k < 4 * f + 3)
        return fail_as(
            E_STRATEGY_FEW,
            "bulyan: %zu updates cannot stand %zu attackers; it wants "
            "4f + 3 = %zu",
            k, f, 4 * f + 3);
    size_t theta = k - 2 * f, beta = theta - 2 * f;
    double *distance = malloc((k * k + k) * sizeof *distance);
    int *alive = malloc(k * sizeof *alive);
    size_t *chosen = malloc(theta * sizeof *chosen);
    float *column = malloc(theta * sizeof *column);
    enum tacit_err err = TACIT_OK;
    if (!distance || !alive || !chosen || !column) {
        err = fail(TACIT_NOMEM, "%zu updates", k);
    } else {
        select_rows(u, f, distance, alive, chosen, theta);
        for (size_t l = 0; l < u->n; l++) {
            for (size_t i = 0; i < theta; i++) column[i] = u->row[chosen[i]][l];
            qsort(column, theta, sizeof *column, ascending);
            mean[l] = (float)near_median(column, theta, beta);
        }
    }
    free(distance);
    free(alive);
    free(chosen);
    free(column);
    return err;
}

const struct strategy strategy_bulyan = {
    .name = "bulyan",
    .paper = "El Mhamdi et al. 2018",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = bulyan,
};
