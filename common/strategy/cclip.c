/*
 * Centred clipping: Karimireddy, He, Jaggi, Learning from History for Byzantine
 * Robust Optimization, ICML 2021 (arXiv 2012.10333), equation CClip.
 *
 *   v <- v + 1/k sum_i (delta_i - v) min(1, bound / |delta_i - v|)
 *
 * `iterations` times, from the last round's mean (0 before the first). Example
 * counts are ignored, as in the paper.
 * Differs in: updates of K steps stand for the paper's momentum vectors, and
 * devices keep no momentum between rounds.
 * Secure aggregation: across the means of groups.
 */
#include <math.h>
#include <stdlib.h>

#include "common/strategy/rows.h"

static double share_kept(const float *row, const double *v, size_t n,
                         double bound)
{
    double sum = 0;
    for (size_t l = 0; l < n; l++) {
        double d = (double)row[l] - v[l];
        sum += d * d;
    }
    double norm = sqrt(sum);
    return norm > bound ? bound / norm : 1;
}

static enum tacit_err cclip(const struct strategy_config *c,
                            const struct strategy_updates *u, float *mean)
{
    double *v = malloc(u->n * sizeof *v);
    double *s = malloc(u->k * sizeof *s);
    enum tacit_err err = TACIT_OK;
    if (!v || !s) {
        err = fail(TACIT_NOMEM, "%zu updates", u->k);
    } else {
        for (size_t l = 0; l < u->n; l++)
            v[l] = u->centre ? (double)u->centre[l] : 0;
        for (uint32_t t = 0; t < c->iterations; t++) {
            for (size_t i = 0; i < u->k; i++)
                s[i] = share_kept(u->row[i], v, u->n, c->bound);
            for (size_t l = 0; l < u->n; l++) {
                double step = 0;
                for (size_t i = 0; i < u->k; i++)
                    step += s[i] * ((double)u->row[i][l] - v[l]);
                v[l] += step / (double)u->k;
            }
        }
        for (size_t l = 0; l < u->n; l++) mean[l] = (float)v[l];
    }
    free(v);
    free(s);
    return err;
}

/* The state is the centre of the next round. */
static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    (void)scalars;
    for (size_t i = 0; i < s->n; i++) {
        s->state[i] = mean[i];
        s->weights[i] =
            (float)((double)s->weights[i] + s->c->server_lr * (double)mean[i]);
    }
}

const struct strategy strategy_cclip = {
    .name = "cclip",
    .paper = "Karimireddy et al. 2021",
    .flags = STRATEGY_SINGLES | STRATEGY_CENTRED,
    .n_up = 1,
    .n_server = 1,
    .apply = apply,
    .combine = cclip,
};
