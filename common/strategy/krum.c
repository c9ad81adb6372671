/*
 * Krum and multi-Krum: Blanchard et al., Machine Learning with Adversaries:
 * Byzantine Tolerant Gradient Descent, NeurIPS 2017 (arXiv 1703.02757),
 * sections 4 and 6.
 *
 *   score(i) = sum of the k - f - 2 smallest |delta_i - delta_j|^2
 *   krum       the update of the smallest score
 *   multikrum  the mean of the m updates of the smallest scores (m = k - f
 *              unless the plan says keep)
 *
 * Wants k >= 2f + 3. Of equal scores the first row wins. Example counts are
 * ignored, as in the paper. Where fewer than `keep` updates came, all of them
 * are averaged.
 * Differs in: updates of K steps stand for the paper's gradients.
 * Secure aggregation: across the means of groups.
 */
#include <stdlib.h>

#include "common/base/codes.h"
#include "common/strategy/rows.h"

struct scored {
    double score;
    size_t row;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static void mean_of(const struct strategy_updates *u, const struct scored *best,
                    size_t m, float *mean)
{
    for (size_t l = 0; l < u->n; l++) {
        double sum = 0;
        for (size_t i = 0; i < m; i++) sum += (double)u->row[best[i].row][l];
        mean[l] = (float)(sum / (double)m);
    }
}

static enum tacit_err krum_mean(const struct strategy_config *c,
                                const struct strategy_updates *u, size_t m,
                                float *mean)
{
    size_t k = u->k, f = c->byzantine;
    if (k < 2 * f + 3)
        return fail_as(E_STRATEGY_FEW,
                       "krum: %zu updates cannot stand %zu attackers; it wants "
                       "2f + 3 = %zu",
                       k, f, 2 * f + 3);
    double *distance = malloc((k * k + k) * sizeof *distance);
    struct scored *list = malloc(k * sizeof *list);
    int *alive = malloc(k * sizeof *alive);
    enum tacit_err err = TACIT_OK;
    if (!distance || !list || !alive) {
        err = fail(TACIT_NOMEM, "%zu updates", k);
    } else {
        strategy_distances(u, distance);
        for (size_t i = 0; i < k; i++) alive[i] = 1;
        for (size_t i = 0; i < k; i++)
            list[i] = (struct scored){strategy_krum_score(distance, alive, k, i,
                                                          k - f - 2,
                                                          distance + k * k),
                                      i};
        qsort(list, k, sizeof *list, by_score);
        mean_of(u, list, m, mean);
    }
    free(distance);
    free(list);
    free(alive);
    return err;
}

static enum tacit_err krum(const struct strategy_config *c,
                           const struct strategy_updates *u, float *mean)
{
    return krum_mean(c, u, 1, mean);
}

static enum tacit_err multikrum(const struct strategy_config *c,
                                const struct strategy_updates *u, float *mean)
{
    size_t f = c->byzantine < u->k ? c->byzantine : u->k - 1;
    size_t m = c->keep ? c->keep : u->k - f;
    return krum_mean(c, u, m < u->k ? m : u->k, mean);
}

const struct strategy strategy_krum = {
    .name = "krum",
    .paper = "Blanchard et al. 2017",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = krum,
};
const struct strategy strategy_multikrum = {
    .name = "multikrum",
    .paper = "Blanchard et al. 2017",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = multikrum,
};
