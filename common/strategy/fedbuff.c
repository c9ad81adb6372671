/*
 * FedBuff: Nguyen et al., Federated Learning with Buffered Asynchronous
 * Aggregation, AISTATS 2022 (arXiv 2106.06639), algorithm 1.
 *
 *   x <- x + eta_g mean(delta) / (1 + s)^a,   a = 1/2
 *
 * s counts the versions that were made since the one the buffer trained on.
 * Differs in: a buffer is one secure sum of devices that began together, as its
 * masks ask for; several are under way at once, and s is the buffer's, not each
 * device's.
 * Secure aggregation: yes.
 */
#include <math.h>

#include "common/strategy/rows.h"

static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    double lr =
        s->c->server_lr / pow(1.0 + (double)s->staleness, s->c->staleness);
    (void)scalars;
    for (size_t i = 0; i < s->n; i++)
        s->weights[i] = (float)((double)s->weights[i] + lr * (double)mean[i]);
}

const struct strategy strategy_fedbuff = {
    .name = "fedbuff",
    .paper = "Nguyen et al. 2022",
    .flags = STRATEGY_SUM | STRATEGY_ASYNC,
    .n_up = 1,
    .apply = apply,
};
