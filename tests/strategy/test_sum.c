/* Strategies that need only the weighted mean: each against a round computed by
 * hand or the closed form of quadratic losses. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/strategy/rows.h"

enum { N = 2, DEVICES = 2 };

static const struct strategy *find(const char *name)
{
    const struct strategy *s = NULL;
    check_ok(strategy_find(name, &s));
    return s;
}

/* ---- the server alone ---------------------------------------------------- */

static float weights[N], down[N], state[2 * N];
static struct strategy_config numbers;

static int setup(void **unused)
{
    (void)unused;
    memset(weights, 0, sizeof weights);
    memset(down, 0, sizeof down);
    memset(state, 0, sizeof state);
    numbers = (struct strategy_config){.server_lr = 1,
                                       .learning_rate = 0.1,
                                       .loss_scale = 1,
                                       .steps = 10};
    return 0;
}

static void apply(const struct strategy *st, uint32_t round, const float *mean,
                  const double *scalars)
{
    struct strategy_server s = {.c = &numbers,
                                .n = N,
                                .weights = weights,
                                .down = down,
                                .state = state,
                                .round = round,
                                .n_clients = DEVICES,
                                .n_population = DEVICES};
    check_ok(strategy_apply(st, &s, mean, scalars));
}

static void check_weights(double a, double b, double tolerance)
{
    const float want[N] = {(float)a, (float)b};
    check_tensor(weights, want, N, tolerance);
}

static void fedavg_adds_the_scaled_mean(void **unused)
{
    (void)unused;
    const struct strategy *st = find("fedavg");
    weights[0] = 1;
    weights[1] = -2;
    apply(st, 1, (float[]){0.5f, 4}, NULL);
    check_weights(1.5, 2, 0);
    numbers.server_lr = 0.5;
    apply(st, 2, (float[]){0.5f, 4}, NULL);
    check_weights(1.75, 4, 0);
}

static void fedavgm_remembers_the_means_before(void **unused)
{
    (void)unused;
    const struct strategy *st = find("fedavgm");
    numbers.momentum = 0.5;
    numbers.server_lr = 2;
    apply(st, 1, (float[]){1, -2}, NULL); /* v = 1, -2 */
    check_weights(2, -4, 0);
    apply(st, 2, (float[]){1, 1}, NULL); /* v = 1.5, 0 */
    check_weights(5, -4, 0);
    apply(st, 3, (float[]){0, 0}, NULL); /* v = 0.75, 0 */
    check_weights(6.5, -4, 0);
    numbers.momentum = 0; /* then it is FedAvg */
    apply(st, 4, (float[]){1, 1}, NULL);
    check_weights(8.5, -2, 0);
}

/* Three rounds of D = 0.5, -0.25, 0.0625 in double precision: m, v and x of the
 * header's equations from m = 0, v = tau^2, x = 0. */
static void check_adaptive(const char *name, const double want[3])
{
    static const float d[3] = {0.5f, -0.25f, 0.0625f};
    numbers.beta1 = 0.9;
    numbers.beta2 = 0.99;
    numbers.tau = 0.001;
    numbers.server_lr = 0.1;
    for (uint32_t t = 0; t < 3; t++) {
        apply(find(name), t + 1, (float[]){d[t], -d[t]}, NULL);
        check_weights(want[t], -want[t], 1e-6);
    }
}

static void fedadam_takes_the_steps_by_hand(void **unused)
{
    (void)unused;
    /* m1 = 0.05, v1 = 0.99e-6 + 0.01 * 0.25 = 0.00250099,
     * x1 = 0.1 * 0.05 / (sqrt(0.00250099) + 0.001) = 0.0980202... */
    check_adaptive("fedadam", (double[]){0.09802019, 0.13330199, 0.17602672});
}

static void fedyogi_moves_its_second_moment_by_the_sign(void **unused)
{
    (void)unused;
    /* v grows while D^2 is over it: as Adam from v = 0, but additive; with
     * D3^2 = 0.0039 just over v2 = 0.0031 it still grows. */
    check_adaptive("fedyogi", (double[]){0.09801999, 0.13316281, 0.17551431});
    /* And shrinks by (1 - beta2) D^2 once it is over D^2. */
    float v = state[N];
    apply(find("fedyogi"), 4, (float[]){0.01f, 0.01f}, NULL);
    check_near(state[N], (double)v - 0.01 * 1e-4, 1e-9);
}

static void fedadagrad_sums_the_squares(void **unused)
{
    (void)unused;
    check_adaptive("fedadagrad",
                   (double[]){0.00998001, 0.01355133, 0.01785479});
    check_near(state[N], 1e-6 + 0.25 + 0.0625 + 0.00390625, 1e-7);
}

static void fedbuff_discounts_what_is_stale(void **unused)
{
    (void)unused;
    numbers.staleness = 0.5;
    struct strategy_server s = {.c = &numbers, .n = N, .weights = weights};
    const float mean[N] = {1, -2};
    const struct strategy *st = find("fedbuff");
    check_ok(strategy_apply(st, &s, mean, NULL)); /* fresh: as FedAvg */
    check_weights(1, -2, 0);
    s.staleness = 3; /* 1 / sqrt(1 + 3) */
    check_ok(strategy_apply(st, &s, mean, NULL));
    check_weights(1.5, -3, 0);
    numbers.staleness = 1;
    check_ok(strategy_apply(st, &s, mean, NULL));
    check_weights(1.75, -3.5, 0);
    numbers.staleness = 0; /* staleness ignored */
    check_ok(strategy_apply(st, &s, mean, NULL));
    check_weights(2.75, -5.5, 0);
}

/* ---- devices with quadratic losses --------------------------------------- */

/* F(w) = sum_l a_l / 2 (w_l - b_l)^2. */
struct device {
    double a[N], b[N];
    uint32_t steps;
    double share; /* p */
    float state[N], next[N];
    float up[2 * N];
    double scalars[STRATEGY_SCALARS_MAX];
};

static double loss_of(const struct device *d, const float *w)
{
    double sum = 0;
    for (int l = 0; l < N; l++) {
        double e = (double)w[l] - d->b[l];
        sum += d->a[l] / 2 * e * e;
    }
    return sum;
}

/* K steps of gradient descent with the strategy's hooks. */
static void train(const struct strategy *st, struct device *d, double momentum)
{
    float w[N], g[N], v[N] = {0};
    struct strategy_local l = {.c = &numbers,
                               .n = N,
                               .global = weights,
                               .down = down,
                               .state = d->state,
                               .next_state = d->next,
                               .learning_rate = numbers.learning_rate,
                               .momentum = momentum,
                               .steps = d->steps,
                               .loss = loss_of(d, weights)};
    memcpy(w, weights, sizeof w);
    if (st->begin) st->begin(&l, w);
    for (uint32_t k = 0; k < d->steps; k++) {
        for (int i = 0; i < N; i++)
            g[i] = (float)(d->a[i] * ((double)w[i] - d->b[i]));
        if (st->gradient) st->gradient(&l, w, g);
        for (int i = 0; i < N; i++) {
            v[i] = (float)momentum * v[i] + g[i];
            w[i] -= (float)(numbers.learning_rate * (double)v[i]);
        }
    }
    strategy_finish(st, &l, w, d->up, d->scalars);
}

/* One round with all devices; what they keep is kept. */
static void run_round(const struct strategy *st, struct device *d,
                      uint32_t round)
{
    float mean[2 * N] = {0};
    double scalars[STRATEGY_SCALARS_MAX] = {0};
    for (int i = 0; i < DEVICES; i++) {
        train(st, &d[i], 0);
        for (unsigned l = 0; l < st->n_up * N; l++)
            mean[l] += (float)d[i].share * d[i].up[l];
        for (unsigned k = 0; k < st->n_scalars; k++)
            scalars[k] += d[i].share * d[i].scalars[k];
        memcpy(d[i].state, d[i].next, sizeof d[i].state);
    }
    apply(st, round, mean, scalars);
}

static void two_devices(struct device d[DEVICES])
{
    d[0] =
        (struct device){.a = {1, 4}, .b = {3, -1}, .steps = 20, .share = 0.5};
    d[1] =
        (struct device){.a = {5, 1}, .b = {-1, 2}, .steps = 20, .share = 0.5};
}

/* argmin of p_0 F_0 + p_1 F_1. */
static void optimum(const struct device *d, double out[N])
{
    for (int l = 0; l < N; l++) {
        double up = 0, below = 0;
        for (int i = 0; i < DEVICES; i++) {
            up += d[i].share * d[i].a[l] * d[i].b[l];
            below += d[i].share * d[i].a[l];
        }
        out[l] = up / below;
    }
}

/* Where FedAvg ends: sum_i p_i (1 - (1 - eta a_i)^K_i) (b_i - x) = 0. */
static void fedavg_end(const struct device *d, double out[N])
{
    for (int l = 0; l < N; l++) {
        double up = 0, below = 0;
        for (int i = 0; i < DEVICES; i++) {
            double r =
                1 - pow(1 - numbers.learning_rate * d[i].a[l], d[i].steps);
            up += d[i].share * r * d[i].b[l];
            below += d[i].share * r;
        }
        out[l] = up / below;
    }
}

static void run(const char *name, struct device *d, uint32_t n_rounds)
{
    for (uint32_t t = 1; t <= n_rounds; t++) run_round(find(name), d, t);
}

static void fedavg_with_many_steps_ends_beside_the_optimum(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double best[N], end[N];
    two_devices(d);
    optimum(d, best);
    fedavg_end(d, end);
    run("fedavg", d, 200);
    check_weights(end[0], end[1], 1e-5);
    check(fabs(end[0] - best[0]) > 0.5 && fabs(end[1] - best[1]) > 0.5);
}

static void scaffold_ends_in_the_optimum(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double best[N];
    two_devices(d);
    optimum(d, best);
    numbers.learning_rate = 0.02;
    numbers.steps = 20;
    run("scaffold", d, 400);
    check_weights(best[0], best[1], 1e-4);
    /* There c is the whole gradient, zero, and each c_i its own. */
    for (int l = 0; l < N; l++) {
        check_near(down[l], 0, 1e-3);
        for (int i = 0; i < DEVICES; i++)
            check_near(d[i].state[l], d[i].a[l] * (best[l] - d[i].b[l]), 1e-2);
    }
}

static void scaffolds_first_round_is_fedavgs_with_controls(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    float fedavg[N];
    two_devices(d);
    run("fedavg", d, 1);
    memcpy(fedavg, weights, sizeof fedavg);
    setup(NULL);
    two_devices(d);
    numbers.steps = 7; /* cancels out */
    run("scaffold", d, 1);
    check_tensor(weights, fedavg, N, 1e-6);
    for (int l = 0; l < N; l++) {
        /* c_i = (x - y_i) / (K eta), c their mean. */
        double mean = 0;
        for (int i = 0; i < DEVICES; i++) {
            double c = -(double)d[i].up[l] / (20 * 0.1);
            check_near(d[i].state[l], c, 1e-5);
            mean += c / 2;
        }
        check_near(down[l], mean, 1e-5);
    }
}

static void scaffold_counts_those_who_were_not_there(void **unused)
{
    (void)unused;
    struct strategy_server s = {.c = &numbers,
                                .n = N,
                                .weights = weights,
                                .down = down,
                                .n_clients = 5,
                                .n_population = 20};
    const float mean[2 * N] = {1, 2, 4, -8};
    check_ok(strategy_apply(find("scaffold"), &s, mean, NULL));
    check_weights(1, 2, 0);
    /* 5/20 of the mean change, which was sent times K_ref eta = 1. */
    check_tensor(down, ((float[]){1, -2}), N, 1e-6);
}

static void scaffolds_controls_know_momentum(void **unused)
{
    (void)unused;
    /* With a constant gradient, a device's control is that gradient. */
    struct device d = {.a = {1e-6, 1e-6}, .b = {-2e6, 3e6}, .steps = 9};
    train(find("scaffold"), &d, 0.9);
    check_near(d.next[0], 2, 1e-3);
    check_near(d.next[1], -3, 1e-3);
}

static void fedprox_pulls_towards_the_global_weights(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    const struct strategy *st = find("fedprox");
    two_devices(d);
    d[0].steps = 2000; /* to the exact minimum (a b + mu x) / (a + mu) */
    numbers.mu = 2;
    weights[0] = 1;
    weights[1] = 1;
    train(st, &d[0], 0);
    check_near(d[0].up[0], (1 * 3.0 + 2 * 1) / 3 - 1, 1e-5);
    check_near(d[0].up[1], (4 * -1.0 + 2 * 1) / 6 - 1, 1e-5);
    numbers.mu = 0; /* then it is FedAvg */
    train(st, &d[0], 0);
    check_near(d[0].up[0], 2, 1e-5);
    check_near(d[0].up[1], -2, 1e-5);
}

/* ---- FedNova ------------------------------------------------------------- */

/* sum_k of how often gradient k counts in K steps with momentum rho. */
static double written_out(uint32_t steps, double rho)
{
    double sum = 0, v = 0;
    for (uint32_t k = 0; k < steps; k++) {
        v = rho * v + 1;
        sum += v;
    }
    return sum;
}

static void steps_with_momentum_add_up_as_written_out(void **unused)
{
    (void)unused;
    for (uint32_t k = 1; k < 200; k += 7) {
        check_near(strategy_steps(k, 0), k, 0);
        check_near(strategy_steps(k, 0.5), written_out(k, 0.5), 1e-9);
        check_near(strategy_steps(k, 0.99), written_out(k, 0.99), 1e-6);
    }
}

static void fednova_is_the_closed_form_for_unequal_steps(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double want[N];
    two_devices(d);
    d[0].steps = 1;
    d[0].share = 0.25;
    d[1].steps = 9;
    d[1].share = 0.75;
    numbers.server_lr = 0.5;
    weights[0] = 0.5;
    /* x + eta_g (sum p K) sum p delta / K,
     * delta = (1 - (1 - eta a)^K) (b - x). */
    for (int l = 0; l < N; l++) {
        double x = (double)weights[l], sum = 0, tau = 0;
        for (int i = 0; i < DEVICES; i++) {
            double r = 1 - pow(1 - 0.1 * d[i].a[l], d[i].steps);
            sum += d[i].share * r * (d[i].b[l] - x) / d[i].steps;
            tau += d[i].share * d[i].steps;
        }
        want[l] = x + 0.5 * tau * sum;
    }
    run("fednova", d, 1);
    check_weights(want[0], want[1], 1e-5);
}

static void fednova_keeps_the_objective_that_fedavg_bends(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double best[N], end[N];
    numbers.learning_rate = 1e-3; /* so that only the step counts matter */
    two_devices(d);
    d[0].steps = 2;
    d[1].steps = 20;
    optimum(d, best);
    fedavg_end(d, end);
    run("fednova", d, 2000);
    check_weights(best[0], best[1], 0.03);
    setup(NULL);
    numbers.learning_rate = 1e-3;
    run("fedavg", d, 2000);
    check_weights(end[0], end[1], 1e-3);
    check(fabs(end[0] - best[0]) > 0.5);
}

static void fednova_with_momentum_divides_by_what_it_adds_up_to(void **unused)
{
    (void)unused;
    struct device d = {.a = {1e-6, 1e-6}, .b = {-2e6, 3e6}, .steps = 9};
    train(find("fednova"), &d, 0.9);
    /* The same as K_ref steps of gradient 2 and -3, whatever K is. */
    double a = written_out(10, 0.9);
    check_near(d.up[0], -0.1 * 2 * a, 1e-3);
    check_near(d.up[1], 0.1 * 3 * a, 1e-3);
    check_near(d.scalars[0], written_out(9, 0.9) / a, 1e-6);
}

/* ---- FedDyn -------------------------------------------------------------- */

static void feddyn_ends_in_the_optimum_and_stays_there(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double best[N];
    two_devices(d);
    d[0].steps = d[1].steps = 300; /* as good as the exact minimum */
    numbers.alpha = 1;
    optimum(d, best);
    for (uint32_t t = 1; t <= 60; t++) {
        run_round(find("feddyn"), d, t);
        /* h is the mean of what the devices keep. */
        for (int l = 0; l < N; l++)
            check_near(state[l], (d[0].state[l] + d[1].state[l]) / 2, 1e-4);
    }
    check_weights(best[0], best[1], 1e-4);
    for (int l = 0; l < N; l++) {
        check_near(state[l], 0, 1e-3);
        for (int i = 0; i < DEVICES; i++)
            check_near(d[i].state[l], d[i].a[l] * (best[l] - d[i].b[l]), 1e-3);
    }
}

static void feddyns_first_round_is_by_hand(void **unused)
{
    (void)unused;
    /* Two of eight took part: h = -alpha 2/8 mean, x = mean - h / alpha. */
    numbers.alpha = 0.5;
    struct strategy_server s = {.c = &numbers,
                                .n = N,
                                .weights = weights,
                                .state = state,
                                .n_clients = 2,
                                .n_population = 8};
    check_ok(strategy_apply(find("feddyn"), &s, (float[]){4, -8}, NULL));
    check_tensor(state, ((float[]){-0.5f, 1}), N, 1e-6);
    check_weights(5, -10, 1e-6);
}

/* ---- q-FedAvg ------------------------------------------------------------ */

static void qfedavg_with_q_0_is_uniform_fedavg(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    float fedavg[N];
    two_devices(d);
    run("fedavg", d, 3);
    memcpy(fedavg, weights, sizeof fedavg);
    setup(NULL);
    run("qfedavg", d, 3);
    check_tensor(weights, fedavg, N, 1e-6);
}

static void qfedavg_is_the_paper_by_hand(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double q = 2, L = 1 / numbers.learning_rate, up[N] = {0}, h = 0;
    two_devices(d);
    numbers.q = q;
    for (int i = 0; i < DEVICES; i++) {
        double f = loss_of(&d[i], weights), norm2 = 0;
        train(find("fedavg"), &d[i], 0);
        for (int l = 0; l < N; l++) {
            double big = -L * (double)d[i].up[l]; /* Delta of the paper */
            up[l] += pow(f, q) * big;
            norm2 += big * big;
        }
        h += q * pow(f, q - 1) * norm2 + L * pow(f, q);
    }
    run("qfedavg", d, 1);
    check_weights(-up[0] / h, -up[1] / h, 1e-5);
    /* What both sums are divided by changes nothing. */
    setup(NULL);
    numbers.q = q;
    numbers.loss_scale = 17;
    run("qfedavg", d, 1);
    check_weights(-up[0] / h, -up[1] / h, 1e-5);
}

static void qfedavg_favours_the_device_that_fares_worse(void **unused)
{
    (void)unused;
    struct device d[DEVICES];
    double gap[2];
    for (int k = 0; k < 2; k++) {
        setup(NULL);
        two_devices(d);
        d[0].steps = d[1].steps = 1;
        numbers.q = k ? 5 : 0;
        run("qfedavg", d, 400);
        gap[k] = fabs(loss_of(&d[0], weights) - loss_of(&d[1], weights));
    }
    check(gap[1] < 0.5 * gap[0]);
}

static void qfedavg_survives_a_loss_of_zero(void **unused)
{
    (void)unused;
    struct device d = {.a = {1, 1}, .steps = 1, .share = 1};
    numbers.q = 0.5;
    train(find("qfedavg"), &d, 0);
    check(isfinite(d.scalars[0]) && isfinite(d.up[0]));
    apply(find("qfedavg"), 1, (float[]){0, 0}, (double[]){0});
    check_weights(0, 0, 0);
}

/* ---- the table ----------------------------------------------------------- */

static void every_row_says_what_the_hosts_need(void **unused)
{
    (void)unused;
    size_t n = 0;
    for (const struct strategy *s; (s = strategy_at(n)); n++) {
        const struct strategy *same = NULL;
        check_ok(strategy_find(s->name, &same));
        check(same == s);
        check(s->paper && *s->paper);
        check(s->n_up >= 1 && s->n_scalars <= STRATEGY_SCALARS_MAX);
        int compares = (s->flags & STRATEGY_SINGLES) != 0;
        check(compares != ((s->flags & STRATEGY_SUM) != 0));
        check(compares == (s->combine != NULL));
        /* What compares single updates sends one vector and no scalars. */
        check(!compares || (s->n_up == 1 && s->n_scalars == 0));
        check(!(s->flags & STRATEGY_CENTRED) || s->n_server == 1);
        check(!s->personal || s->flags & STRATEGY_PERSONAL);
    }
    check(n == 23);
    check(strategy_at(n) == NULL && strategy_at(999) == NULL);
}

static void an_unknown_strategy_names_the_nearest(void **unused)
{
    (void)unused;
    const struct strategy *s = NULL;
    enum tacit_err err = strategy_find("fedavgg", &s);
    assert_string_equal(err_message(),
                        "no strategy `fedavgg`; did you mean `fedavg`?");
    check_err(err, TACIT_NOTFOUND);
    check_err(strategy_find("", &s), TACIT_NOTFOUND);
    check_err(strategy_find("a name of more than thirty-two characters", &s),
              TACIT_NOTFOUND);
    check(s == NULL);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
        T(fedavg_adds_the_scaled_mean),
        T(fedavgm_remembers_the_means_before),
        T(fedadam_takes_the_steps_by_hand),
        T(fedyogi_moves_its_second_moment_by_the_sign),
        T(fedadagrad_sums_the_squares),
        T(fedbuff_discounts_what_is_stale),
        T(fedavg_with_many_steps_ends_beside_the_optimum),
        T(scaffold_ends_in_the_optimum),
        T(scaffolds_first_round_is_fedavgs_with_controls),
        T(scaffold_counts_those_who_were_not_there),
        T(scaffolds_controls_know_momentum),
        T(fedprox_pulls_towards_the_global_weights),
        T(steps_with_momentum_add_up_as_written_out),
        T(fednova_is_the_closed_form_for_unequal_steps),
        T(fednova_keeps_the_objective_that_fedavg_bends),
        T(fednova_with_momentum_divides_by_what_it_adds_up_to),
        T(feddyn_ends_in_the_optimum_and_stays_there),
        T(feddyns_first_round_is_by_hand),
        T(qfedavg_with_q_0_is_uniform_fedavg),
        T(qfedavg_is_the_paper_by_hand),
        T(qfedavg_favours_the_device_that_fares_worse),
        T(qfedavg_survives_a_loss_of_zero),
        T(every_row_says_what_the_hosts_need),
        T(an_unknown_strategy_names_the_nearest),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
