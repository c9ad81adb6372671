#include "tests/check.h"

#include <math.h>

#include "common/privacy/accountant.h"
#include "tests/golden/accountant_golden.h"

enum {
    N_RELEASES = sizeof golden_releases / sizeof *golden_releases,
    N_SERIES = sizeof golden_series / sizeof *golden_series
};

static double apart(double a, double b)
{
    return fabs(a - b) / fabs(b);
}

static void a_release_costs_what_others_work_out(void **state)
{
    (void)state;
    check(N_RELEASES > 40);
    for (size_t i = 0; i < N_RELEASES; i++) {
        double got = account_release(golden_releases[i].q, golden_releases[i].z,
                                     golden_releases[i].order);
        check(apart(got, golden_releases[i].cost) < 1e-6);
    }
}

/* Where its series fails it leaves orders out and says more than need be; its
 * tight figure is below any bound by orders. */
static void epsilon_lies_between_the_tight_one_and_that_by_fewer_orders(
    void **state)
{
    (void)state;
    unsigned same = 0;
    for (size_t i = 0; i < N_SERIES; i++) {
        double e =
            account_epsilon_of(golden_series[i].q, golden_series[i].z,
                               golden_series[i].times, golden_series[i].delta);
        check(e <= golden_series[i].by_orders * (1 + 1e-6));
        check(e > golden_series[i].tight);
        same += apart(e, golden_series[i].by_orders) < 1e-6;
    }
    check(same >= N_SERIES / 2);
}

/* Opacus 1.5, tests/accountants_test.py: sample 0.04, noise 1.5, 2250 steps. */
static void epsilon_of_a_published_series_is_the_published_one(void **state)
{
    (void)state;
    check(fabs(account_epsilon_of(0.04, 1.5, 2250, 1e-5) - 7.32911117143) <
          1e-6);
}

static void without_sampling_a_release_costs_the_closed_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ACCOUNT_ORDERS; i++)
        check(apart(account_release(1, 1.7, account_order(i)),
                    account_order(i) / (2 * 1.7 * 1.7)) < 1e-12);
}

/* 1 + q^2 (e^(1 / z^2) - 1) */
static void at_order_two_a_release_costs_the_closed_form(void **state)
{
    (void)state;
    for (double q = 0.01; q < 1; q += 0.11)
        for (double z = 0.6; z < 5; z += 0.7)
            check(apart(account_release(q, z, 2),
                        log1p(q * q * expm1(1 / (z * z)))) < 1e-9);
}

/* The quadrature beside a whole order's binomial sum. */
static void costs_have_no_step_between_whole_and_broken_orders(void **state)
{
    (void)state;
    static const double qs[] = {0.001, 0.05, 0.5, 0.99}, zs[] = {0.4, 1, 4};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++)
            for (double order = 2; order < 9; order += 1) {
                double below = account_release(qs[i], zs[k], order - 1e-5);
                double at = account_release(qs[i], zs[k], order);
                double above = account_release(qs[i], zs[k], order + 1e-5);
                check(apart((below + above) / 2, at) < 1e-6);
                check(below <= at && at <= above);
            }
}

static void less_noise_more_rounds_or_rows_never_cost_less(void **state)
{
    (void)state;
    double last = 0;
    for (uint64_t n = 0; n < 300; n += 7) {
        double e = account_epsilon_of(0.1, 1.2, n, 1e-5);
        check(e >= last);
        last = e;
    }
    last = INFINITY;
    for (double z = 0.3; z < 20; z *= 1.2) {
        double e = account_epsilon_of(0.1, z, 40, 1e-5);
        check(e <= last);
        last = e;
    }
    last = 0;
    for (double q = 0.01; q <= 1; q += 0.03) {
        double e = account_epsilon_of(q, 2, 40, 1e-5);
        check(e >= last);
        last = e;
    }
    check(account_epsilon_of(0.1, 1, 40, 1e-7) >
          account_epsilon_of(0.1, 1, 40, 1e-5));
}

static void releases_of_different_plans_add_up_by_order(void **state)
{
    (void)state;
    struct account both = {{0}}, twice = {{0}};
    account_add(&both, 0.1, 1.3, 20);
    account_add(&both, 0.1, 1.3, 22);
    account_add(&twice, 0.1, 1.3, 42);
    check(apart(account_epsilon(&both, 1e-5), account_epsilon(&twice, 1e-5)) <
          1e-12);
    double before = account_epsilon(&both, 1e-5);
    account_add(&both, 1, 30, 1);
    check(account_epsilon(&both, 1e-5) > before);
    /* Never more than one epsilon and the other, at the sum of the deltas. */
    check(account_epsilon(&both, 2e-5) <
          before + account_epsilon_of(1, 30, 1, 1e-5));
}

/* The cost of a rare row in much noise is below what a sum can tell. */
static void no_release_costs_nothing(void **state)
{
    (void)state;
    for (double z = 1; z < ACCOUNT_NOISE_MAX; z *= 3)
        for (size_t i = 0; i < ACCOUNT_ORDERS; i++)
            check(account_release(1e-6, z, account_order(i)) > 0);
    check(account_epsilon_of(1e-6, 100, 1, 1e-8) > 0);
}

static void without_noise_nothing_is_bounded(void **state)
{
    (void)state;
    check(isinf(account_epsilon_of(0.5, 0, 1, 1e-5)));
    check(account_epsilon_of(0.5, 0, 0, 1e-5) <= 0);
}

static void the_noise_found_is_the_least_that_keeps_to_epsilon(void **state)
{
    (void)state;
    static const double epsilons[] = {0.5, 1, 8, 60};
    static const double qs[] = {0.01, 0.25, 1};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) {
            double z;
            check_ok(account_noise(epsilons[i], 1e-5, qs[k], 50, &z));
            check(account_epsilon_of(qs[k], z, 50, 1e-5) <= epsilons[i]);
            if (z > ACCOUNT_NOISE_MIN)
                check(account_epsilon_of(qs[k], z - 1.5e-4, 50, 1e-5) >
                      epsilons[i]);
        }
}

static void an_epsilon_that_no_noise_gives_is_refused(void **state)
{
    (void)state;
    double z;
    check_err(account_noise(1e-4, 1e-9, 1, 1000000, &z), TACIT_LIMIT);
    err_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_release_costs_what_others_work_out),
        cmocka_unit_test(
            epsilon_lies_between_the_tight_one_and_that_by_fewer_orders),
        cmocka_unit_test(epsilon_of_a_published_series_is_the_published_one),
        cmocka_unit_test(without_sampling_a_release_costs_the_closed_form),
        cmocka_unit_test(at_order_two_a_release_costs_the_closed_form),
        cmocka_unit_test(costs_have_no_step_between_whole_and_broken_orders),
        cmocka_unit_test(less_noise_more_rounds_or_rows_never_cost_less),
        cmocka_unit_test(releases_of_different_plans_add_up_by_order),
        cmocka_unit_test(no_release_costs_nothing),
        cmocka_unit_test(without_noise_nothing_is_bounded),
        cmocka_unit_test(the_noise_found_is_the_least_that_keeps_to_epsilon),
        cmocka_unit_test(an_epsilon_that_no_noise_gives_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
