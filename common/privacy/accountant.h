/*
 * accountant: what a series of noised sums tells about one record at most, as
 * (epsilon, delta).
 *
 * One release: every record joins the sum with chance q, alone and in secret
 * (Poisson sampling), adds a vector of L2 norm <= D, and the sum gets Gaussian
 * noise of standard deviation z D. Neighbours differ by one record that is
 * there or is not. At order a > 1 the release costs
 *
 *   R(a) = log E[((1 - q) + q e^((2 x - 1) / (2 z^2)))^a] / (a - 1),
 *          x ~ N(0, z^2)
 *
 * Mironov, Talwar, Zhang 2019 (arXiv 1908.10530), equation for the dominating
 * direction: a whole a by the binomial sum, any other by the trapezoidal rule,
 * whose error on such an integrand falls exponentially with the step (the
 * paper's series can fail at large q). Releases add up order by order;
 *
 *   epsilon = min over a of R(a) + log((a - 1) / a) - log(delta a) / (a - 1)
 *
 * Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), proposition 12.
 *
 * An upper bound, and what budgets are kept by. Monotone: less noise, more
 * releases, a higher q or a smaller delta never make epsilon smaller.
 *
 * Thread rule: pure functions of their arguments.
 */
#ifndef TACIT_PRIVACY_ACCOUNTANT_H
#define TACIT_PRIVACY_ACCOUNTANT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* 1.1, 1.2 … 10.9, 12, 13 … 63, and nine up to 512. */
enum { ACCOUNT_ORDERS = 99 + 52 + 9 };
#define ACCOUNT_NOISE_MIN 0.2
#define ACCOUNT_NOISE_MAX 4096.0

/* What was released so far; zeros: nothing. */
struct account {
    double spent[ACCOUNT_ORDERS];
};

double account_order(size_t i);
/* R(order) of one release; infinite where z is not above 0. 0 < q <= 1. */
double account_release(double q, double z, double order);
/* `times` releases more. */
void account_add(struct account *a, double q, double z, uint64_t times);
/* All that b holds, too. */
void account_join(struct account *a, const struct account *b);
/* 0 < delta < 1; 0 when nothing was released, infinite without noise. */
double account_epsilon(const struct account *a, double delta);
/* Of `times` equal releases. */
double account_epsilon_of(double q, double z, uint64_t times, double delta);
/* The least noise z, to 1e-4 above it, with which `times` releases stay within
 * epsilon. LIMIT when that is over ACCOUNT_NOISE_MAX. */
TACIT_CHECKED enum tacit_err account_noise(double epsilon, double delta,
                                           double q, uint64_t times, double *z);

#endif
