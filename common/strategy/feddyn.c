/*
 * FedDyn: Acar et al., Federated Learning Based on Dynamic Regularization, ICLR
 * 2021 (arXiv 2111.04263), algorithm 1. s_i stands for the device's gradient of
 * its loss at its last minimum, h for the server's mean of them.
 *
 *   device: g <- g - s_i + alpha (w - x);  s_i+ = s_i - alpha (y - x)
 *   server: h <- h - alpha |S|/N mean(delta)
 *           x <- x + mean(delta) - h / alpha
 *
 * Differs in: K steps of the plan's optimiser stand for the exact minimum;
 * means are weighted as the plan says (uniform is the paper). There is no
 * server learning rate. h is the sum of all s_i over N only while no update
 * reaches the clip.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

static void gradient(const struct strategy_local *l, const float *w, float *g)
{
    float alpha = (float)l->c->alpha;
    for (size_t i = 0; i < l->n; i++)
        g[i] += alpha * (w[i] - l->global[i]) - l->state[i];
}

static void finish(const struct strategy_local *l, const float *w, float *up,
                   double *scalars)
{
    (void)scalars;
    for (size_t i = 0; i < l->n; i++) {
        double delta = (double)w[i] - (double)l->global[i];
        up[i] = (float)delta;
        l->next_state[i] = (float)((double)l->state[i] - l->c->alpha * delta);
    }
}

static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    double alpha = s->c->alpha;
    double share = (double)s->n_clients / (double)s->n_population;
    (void)scalars;
    for (size_t i = 0; i < s->n; i++) {
        double d = (double)mean[i];
        double h = (double)s->state[i] - alpha * share * d;
        s->state[i] = (float)h;
        s->weights[i] = (float)((double)s->weights[i] + d - h / alpha);
    }
}

const struct strategy strategy_feddyn = {
    .name = "feddyn",
    .paper = "Acar et al. 2021",
    .flags = STRATEGY_SUM,
    .n_up = 1,
    .n_client = 1,
    .n_server = 1,
    .gradient = gradient,
    .finish = finish,
    .apply = apply,
};
