/*
 * FedAdagrad, FedYogi, FedAdam: Reddi et al., Adaptive Federated Optimization,
 * ICLR 2021 (arXiv 2003.00295), algorithm 2, D = sum_i p_i delta_i.
 *
 *   m <- beta1 m + (1 - beta1) D
 *   v <- v + D^2                                   FedAdagrad
 *   v <- v - (1 - beta2) D^2 sign(v - D^2)         FedYogi
 *   v <- beta2 v + (1 - beta2) D^2                 FedAdam
 *   x <- x + eta_g m / (sqrt(v) + tau)
 *
 * v starts at tau^2, m at 0; no bias correction, as in the paper.
 * Differs in: delta_i are weighted as the plan says (uniform is the paper) and
 * clipped to its bound. FedAdagrad's beta1 is 0 unless given, as in the paper.
 * Secure aggregation: yes.
 */
#include <math.h>

#include "common/strategy/rows.h"

typedef double second_moment(const struct strategy_config *c, double v,
                             double d2);

static void apply(struct strategy_server *s, const float *mean,
                  second_moment *next)
{
    const struct strategy_config *c = s->c;
    float *m = s->state, *v = s->state + s->n;
    for (size_t i = 0; i < s->n; i++) {
        double d = (double)mean[i];
        double old = s->round == 1 ? c->tau * c->tau : (double)v[i];
        double m1 = c->beta1 * (double)m[i] + (1 - c->beta1) * d;
        double v1 = next(c, old, d * d);
        m[i] = (float)m1;
        v[i] = (float)v1;
        s->weights[i] = (float)((double)s->weights[i] +
                                c->server_lr * m1 / (sqrt(v1) + c->tau));
    }
}

static double adagrad(const struct strategy_config *c, double v, double d2)
{
    (void)c;
    return v + d2;
}

static double yogi(const struct strategy_config *c, double v, double d2)
{
    double sign = v > d2 ? 1 : v < d2 ? -1 : 0;
    return v - (1 - c->beta2) * d2 * sign;
}

static double adam(const struct strategy_config *c, double v, double d2)
{
    return c->beta2 * v + (1 - c->beta2) * d2;
}

static void apply_adagrad(struct strategy_server *s, const float *mean,
                          const double *scalars)
{
    (void)scalars;
    apply(s, mean, adagrad);
}

static void apply_yogi(struct strategy_server *s, const float *mean,
                       const double *scalars)
{
    (void)scalars;
    apply(s, mean, yogi);
}

static void apply_adam(struct strategy_server *s, const float *mean,
                       const double *scalars)
{
    (void)scalars;
    apply(s, mean, adam);
}

const struct strategy strategy_fedadagrad = {
    .name = "fedadagrad",
    .paper = "Reddi et al. 2021",
    .flags = STRATEGY_SUM,
    .n_up = 1,
    .n_server = 2,
    .apply = apply_adagrad,
};
const struct strategy strategy_fedyogi = {
    .name = "fedyogi",
    .paper = "Reddi et al. 2021",
    .flags = STRATEGY_SUM,
    .n_up = 1,
    .n_server = 2,
    .apply = apply_yogi,
};
const struct strategy strategy_fedadam = {
    .name = "fedadam",
    .paper = "Reddi et al. 2021",
    .flags = STRATEGY_SUM,
    .n_up = 1,
    .n_server = 2,
    .apply = apply_adam,
};
