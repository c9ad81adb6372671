#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/privacy/dgauss.h"

enum { DRAWS = 200000, SIDE = 400 };

static const uint8_t key[32] = {3, 1, 4, 1, 5, 9, 2, 6};

static void draw(uint64_t variance, int32_t *out, size_t n)
{
    struct rng r;
    rng_keyed(&r, key);
    dgauss_draw(&r, variance, out, n);
}

/* Chi-square over the values that are expected at least 10 times, tails
 * together, against sum_x e^(-x^2 / 2s). The stream is fixed: no luck. */
static double chi_square(uint64_t variance, const int32_t *x, unsigned *cells)
{
    static double seen[2 * SIDE + 1], want[2 * SIDE + 1];
    double all = 0, sum = 0, rest = DRAWS, rest_seen = DRAWS;
    for (int i = 0; i <= 2 * SIDE; i++) {
        double v = i - SIDE;
        seen[i] = 0;
        want[i] = exp(-v * v / (2 * (double)variance));
        all += want[i];
    }
    for (size_t i = 0; i < DRAWS; i++)
        if (abs(x[i]) <= SIDE) seen[x[i] + SIDE]++;
    *cells = 0;
    for (int i = 0; i <= 2 * SIDE; i++) {
        double w = want[i] / all * DRAWS;
        if (w < 10) continue;
        sum += (seen[i] - w) * (seen[i] - w) / w;
        rest -= w;
        rest_seen -= seen[i];
        (*cells)++;
    }
    if (rest > 1) sum += (rest_seen - rest) * (rest_seen - rest) / rest;
    return sum;
}

static void draws_follow_the_discrete_gaussian(void **state)
{
    (void)state;
    static const uint64_t variances[] = {1, 2, 9, 100, 1000};
    static int32_t x[DRAWS];
    for (size_t i = 0; i < 5; i++) {
        unsigned cells;
        draw(variances[i], x, DRAWS);
        double chi = chi_square(variances[i], x, &cells);
        /* Four deviations of chi-square with so many cells. */
        check(cells >= 5);
        check(chi < cells + 4 * sqrt(2.0 * cells));
    }
}

/* The test above can see: it refuses a neighbour's distribution. */
static void a_wrong_variance_is_seen(void **state)
{
    (void)state;
    static int32_t x[DRAWS];
    unsigned cells;
    draw(100, x, DRAWS);
    check(chi_square(104, x, &cells) > cells + 4 * sqrt(2.0 * cells));
}

static void large_variances_have_their_moments(void **state)
{
    (void)state;
    static const uint64_t variances[] = {1 << 20, (uint64_t)1 << 33,
                                         DGAUSS_VARIANCE_MAX};
    static int32_t x[DRAWS];
    for (size_t i = 0; i < 3; i++) {
        double sum = 0, two = 0, four = 0, s = (double)variances[i];
        draw(variances[i], x, DRAWS);
        for (size_t k = 0; k < DRAWS; k++) {
            double v = (double)x[k] / sqrt(s);
            sum += v;
            two += v * v;
            four += v * v * v * v;
        }
        check(fabs(sum / DRAWS) < 4 / sqrt(DRAWS));
        check(fabs(two / DRAWS - 1) < 4 * sqrt(2.0 / DRAWS));
        check(fabs(four / DRAWS - 3) < 4 * sqrt(96.0 / DRAWS));
    }
}

/* No draw lies further out than the ring has room for. */
static void draws_stay_within_sixty_four_scales(void **state)
{
    (void)state;
    static int32_t x[DRAWS];
    draw(DGAUSS_VARIANCE_MAX, x, DRAWS);
    for (size_t i = 0; i < DRAWS; i++)
        check(llabs(x[i]) <= 64 * ((1LL << 20) + 1));
}

static void a_stream_replays_and_another_key_is_another(void **state)
{
    (void)state;
    int32_t a[64], b[64], c[64];
    uint8_t other[32] = {1};
    struct rng r;
    draw(1000, a, 64);
    draw(1000, b, 64);
    rng_keyed(&r, other);
    dgauss_draw(&r, 1000, c, 64);
    check(memcmp(a, b, sizeof a) == 0);
    check(memcmp(a, c, sizeof a) != 0);
}

static void a_chance_is_kept(void **state)
{
    (void)state;
    static const double qs[] = {1e-3, 0.25, 0.5, 0.999};
    struct rng r;
    rng_keyed(&r, key);
    for (size_t i = 0; i < 4; i++) {
        double n = 0, q = qs[i];
        for (int k = 0; k < DRAWS; k++) n += dgauss_chance(&r, q);
        check(fabs(n - q * DRAWS) < 4 * sqrt(DRAWS * q * (1 - q)));
    }
    for (int k = 0; k < 1000; k++) check(dgauss_chance(&r, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_discrete_gaussian),
        cmocka_unit_test(a_wrong_variance_is_seen),
        cmocka_unit_test(large_variances_have_their_moments),
        cmocka_unit_test(draws_stay_within_sixty_four_scales),
        cmocka_unit_test(a_stream_replays_and_another_key_is_another),
        cmocka_unit_test(a_chance_is_kept),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
