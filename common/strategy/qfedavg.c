/*
 * q-FedAvg: Li et al., Fair Resource Allocation in Federated Learning, ICLR
 * 2020 (arXiv 1905.10497), algorithm 2, with L = 1/eta and F_i the loss of x on
 * the device's rows.
 *
 *   Delta_i = L (x - y_i) = -L delta_i
 *   h_i = q F_i^(q-1) |Delta_i|^2 + L F_i^q
 *   x <- x - sum_i F_i^q Delta_i / sum_i h_i
 *      = x + sum_i F_i^q delta_i / sum_i (h_i / L)
 *
 * Differs in:
 * 1. both sums are divided by F_0^q, F_0 the loss of a model that knows nothing
 *    (log of the number of classes), so that they are of order 1 in the ring;
 *    the quotient is the same. Where F_i^q falls under the ring's resolution
 *    of about 1e-5, the round changes nothing: lower q;
 * 2. F_i is at least 1e-10;
 * 3. a server learning rate (1 is the paper);
 * 4. sums are weighted as the plan says (uniform is the paper).
 *
 * Secure aggregation: yes; h_i / (L F_0^q) rides as a scalar.
 */
#include <math.h>

#include "common/strategy/rows.h"

static void finish(const struct strategy_local *l, const float *w, float *up,
                   double *scalars)
{
    double q = l->c->q, f0 = l->c->loss_scale;
    double f = (l->loss > 1e-10 ? l->loss : 1e-10) / f0;
    double fq = pow(f, q), norm2 = 0;
    for (size_t i = 0; i < l->n; i++) {
        double delta = (double)w[i] - (double)l->global[i];
        up[i] = (float)(fq * delta);
        norm2 += delta * delta;
    }
    scalars[0] = q * pow(f, q - 1) * norm2 / (l->learning_rate * f0) + fq;
}

static void apply(struct strategy_server *s, const float *mean,
                  const double *scalars)
{
    double lr = scalars[0] > 0 ? s->c->server_lr / scalars[0] : 0;
    for (size_t i = 0; i < s->n; i++)
        s->weights[i] = (float)((double)s->weights[i] + lr * (double)mean[i]);
}

const struct strategy strategy_qfedavg = {
    .name = "qfedavg",
    .paper = "Li et al. 2020, q-FFL",
    .flags = STRATEGY_SUM | STRATEGY_PLAIN_SGD | STRATEGY_LOSS,
    .n_up = 1,
    .n_scalars = 1,
    .finish = finish,
    .apply = apply,
};
