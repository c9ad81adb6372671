/*
 * Coordinate-wise median and trimmed mean: Yin et al., Byzantine-Robust
 * Distributed Learning: Towards Optimal Statistical Rates, ICML 2018 (arXiv
 * 1803.01498), definitions 1 and 2.
 *
 *   median   mean_l = median_i delta_i,l   (of an even number: the mean of two)
 *   trimmed  mean_l = mean of what is left after floor(trim k) of the largest
 *            and as many of the smallest are cut
 *
 * Example counts are ignored, as in the paper.
 * Differs in: updates of K steps stand for the paper's gradients.
 * Secure aggregation: across the means of groups.
 */
#include <stdlib.h>

#include "common/base/codes.h"
#include "common/strategy/rows.h"

static int ascending(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Mean of each coordinate without its n_cut largest and smallest values. */
static enum tacit_err trimmed_mean(const struct strategy_updates *u,
                                   size_t n_cut, float *mean)
{
    float *column = malloc(u->k * sizeof *column);
    if (!column) return fail(TACIT_NOMEM, "%zu updates", u->k);
    for (size_t l = 0; l < u->n; l++) {
        double sum = 0;
        for (size_t i = 0; i < u->k; i++) column[i] = u->row[i][l];
        qsort(column, u->k, sizeof *column, ascending);
        for (size_t i = n_cut; i < u->k - n_cut; i++) sum += (double)column[i];
        mean[l] = (float)(sum / (double)(u->k - 2 * n_cut));
    }
    free(column);
    return TACIT_OK;
}

static enum tacit_err median(const struct strategy_config *c,
                             const struct strategy_updates *u, float *mean)
{
    (void)c;
    return trimmed_mean(u, (u->k - 1) / 2, mean);
}

static enum tacit_err trimmed(const struct strategy_config *c,
                              const struct strategy_updates *u, float *mean)
{
    /* 0.29 of 100 is 28.999999999999996 in binary. */
    size_t n_cut = (size_t)(c->trim * (double)u->k + 1e-9);
    if (2 * n_cut >= u->k)
        return fail_as(
            E_STRATEGY_FEW,
            "trimmed: cutting %zu of %zu updates from each end leaves "
            "none; trim must stay under 0.5",
            n_cut, u->k);
    return trimmed_mean(u, n_cut, mean);
}

const struct strategy strategy_median = {
    .name = "median",
    .paper = "Yin et al. 2018",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = median,
};
const struct strategy strategy_trimmed = {
    .name = "trimmed",
    .paper = "Yin et al. 2018",
    .flags = STRATEGY_SINGLES,
    .n_up = 1,
    .combine = trimmed,
};
