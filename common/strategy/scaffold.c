/*
 * SCAFFOLD: Karimireddy et al., Stochastic Controlled Averaging for Federated
 * Learning, ICML 2020 (arXiv 1910.06378), algorithm 1, option II.
 *
 *   device: y <- y - eta (g + c - c_i), K times
 *           c_i+ = c_i - c + (x - y) / (K eta)
 *           up = [ y - x | K_ref eta (c_i+ - c_i) ]
 *   server: x <- x + eta_g mean(delta);  c <- c + |S|/N mean(c_i+ - c_i)
 *
 * Differs in:
 * 1. the second half of the uplink is scaled by K_ref eta, which both sides
 *    know from the plan, so that both halves are of one size under one clip;
 * 2. with momentum, what K steps add up to (FedNova's a_i) stands for K;
 * 3. means are weighted as the plan says (uniform is the paper).
 *
 * c is the mean of all c_i only while no update reaches the clip.
 * Secure aggregation: yes, with an uplink of two vectors.
 */
#include "common/strategy/rows.h"

static void gradient(const struct strategy_local *l, const float *w, float *g)
{
    (void)w;
    for (size_t i = 0; i < l->n; i++) g[i] += l->down[i] - l->state[i];
}

static void finish(const struct strategy_local *l, const float *w, float *up,
                   double *scalars)
{
    double k_eta = strategy_steps(l->steps, l->momentum) * l->learning_rate;
    double scale = (double)l->c->steps * l->c->learning_rate;
    (void)scalars;
    for (size_t i = 0; i < l->n; i++) {
        double delta = (double)w[i] - (double)l->global[i];
        double change = -(double)l->down[i] - delta / k_eta;
        up[i] = (float)delta;
        up[l->n + i] = (float)(change * scale);
        l->next_state[i] = (float)((double)l->state[i] + change);
    }
}

static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    double share = (double)s->n_clients / (double)s->n_population;
    double unscale = share / ((double)s->c->steps * s->c->learning_rate);
    (void)scalars;
    for (size_t i = 0; i < s->n; i++) {
        s->weights[i] =
            (float)((double)s->weights[i] + s->c->server_lr * (double)mean[i]);
        s->down[i] =
            (float)((double)s->down[i] + unscale * (double)mean[s->n + i]);
    }
}

const struct strategy strategy_scaffold = {
    .name = "scaffold",
    .paper = "Karimireddy et al. 2020",
    .flags = STRATEGY_SUM | STRATEGY_PLAIN_SGD,
    .n_up = 2,
    .n_down = 1,
    .n_client = 1,
    .gradient = gradient,
    .finish = finish,
    .apply = apply,
};
