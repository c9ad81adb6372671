#include "common/privacy/accountant.h"

#include <math.h>

/* A Gaussian's tail behind so many deviations is below a double's last bit of
 * what lies before it. */
#define TAIL 13.0

/* A moment's sum is known to that; no release costs nothing. */
#define ROUNDING 1e-15

enum { TENTHS = 99, WHOLES = 52, FIRST_WHOLE = 12 };

double account_order(size_t i)
{
    static const double far[] = {64, 72, 80, 96, 128, 192, 256, 384, 512};
    if (i < TENTHS) return 1 + (double)(i + 1) / 10;
    i -= TENTHS;
    return i < WHOLES ? (double)(FIRST_WHOLE + i) : far[i - WHOLES];
}

/* log(e^a + e^b) */
static double log_add(double a, double b)
{
    double top = a > b ? a : b, low = a > b ? b : a;
    return isinf(low) && low < 0 ? top : top + log1p(exp(low - top));
}

/* lgamma() would write the process's signgam, and threads account at once. */
static double log_factorial(double n)
{
    int sign;
    return lgamma_r(n + 1, &sign);
}

/* log sum_k C(n, k) (1 - q)^(n - k) q^k e^(k (k - 1) / (2 z^2)) */
static double log_moment_whole(double q, double z, unsigned n)
{
    double sum = -INFINITY, all = log_factorial(n);
    for (unsigned k = 0; k <= n; k++) {
        double i = (double)k, left = (double)(n - k);
        sum = log_add(sum, all - log_factorial(i) - log_factorial(left) +
                               i * log(q) + left * log1p(-q) +
                               i * (i - 1) / (2 * z * z));
    }
    return sum;
}

/* The integrand's logarithm at x, without the normal's constant. */
static double log_integrand(double q, double z, double order, double x)
{
    double both = log_add(log1p(-q), log(q) + (2 * x - 1) / (2 * z * z));
    return order * both - x * x / (2 * z * z);
}

/* By the trapezoidal rule. The integrand's mass lies between 0 and `order`; it
 * has poles pi z^2 off the real line, which bound the step. */
static double log_moment(double q, double z, double order)
{
    double step = fmin(z / 4, 0.4 * z * z);
    double from = -TAIL * z, to = order + TAIL * z, sum = -INFINITY;
    size_t n = (size_t)ceil((to - from) / step);
    for (size_t i = 0; i <= n; i++)
        sum = log_add(sum, log_integrand(q, z, order, from + (double)i * step));
    return sum + log(step) - log(z) - log(2 * M_PI) / 2;
}

double account_release(double q, double z, double order)
{
    if (!(z > 0)) return INFINITY;
    if (q >= 1) return order / (2 * z * z);
    double whole = nearbyint(order);
    double moment = fabs(order - whole) < 1e-9
                        ? log_moment_whole(q, z, (unsigned)whole)
                        : log_moment(q, z, order);
    return fmax(moment, ROUNDING) / (order - 1);
}

void account_add(struct account *a, double q, double z, uint64_t times)
{
    if (times == 0) return;
    for (size_t i = 0; i < ACCOUNT_ORDERS; i++)
        a->spent[i] += (double)times * account_release(q, z, account_order(i));
}

void account_join(struct account *a, const struct account *b)
{
    for (size_t i = 0; i < ACCOUNT_ORDERS; i++) a->spent[i] += b->spent[i];
}

double account_epsilon(const struct account *a, double delta)
{
    double least = INFINITY;
    if (!(a->spent[0] > 0)) return 0;
    for (size_t i = 0; i < ACCOUNT_ORDERS; i++) {
        double order = account_order(i);
        double e = a->spent[i] + log((order - 1) / order) -
                   log(delta * order) / (order - 1);
        if (e < least) least = e;
    }
    return least > 0 ? least : 0;
}

double account_epsilon_of(double q, double z, uint64_t times, double delta)
{
    struct account a = {{0}};
    account_add(&a, q, z, times);
    return account_epsilon(&a, delta);
}

enum tacit_err account_noise(double epsilon, double delta, double q,
                             uint64_t times, double *z)
{
    double low = 0, high = ACCOUNT_NOISE_MIN;
    while (account_epsilon_of(q, high, times, delta) > epsilon) {
        low = high;
        high *= 2;
        if (high > ACCOUNT_NOISE_MAX)
            return fail(TACIT_LIMIT,
                        "epsilon %g at delta %g wants noise of over %g times "
                        "the clip",
                        epsilon, delta, ACCOUNT_NOISE_MAX);
    }
    while (high - low > 1e-4 && low > 0) {
        double mid = (low + high) / 2;
        if (account_epsilon_of(q, mid, times, delta) > epsilon)
            low = mid;
        else
            high = mid;
    }
    *z = high;
    return TACIT_OK;
}
