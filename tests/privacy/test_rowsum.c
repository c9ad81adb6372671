#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/privacy/rowsum.h"

enum { N = 500, ROWS = 40 };

static const struct rowsum_bounds bounds = {.clip = 1.5,
                                            .unit = 256,
                                            .limit = 1 << 20,
                                            .variance = 100};

static float *gradients(double scale)
{
    static float g[ROWS * N];
    struct rng r;
    rng_init(&r, 7, 0, 0);
    for (size_t i = 0; i < ROWS; i++) {
        double own = scale * exp(2 * (double)rng_normal(&r));
        for (size_t k = 0; k < N; k++)
            g[i * N + k] = (float)(own * (double)rng_normal(&r));
    }
    return g;
}

static void add_all(const struct rowsum_bounds *b, const float *g,
                    size_t without, int64_t *sum)
{
    int32_t scratch[N];
    memset(sum, 0, N * sizeof *sum);
    for (size_t i = 0; i < ROWS; i++)
        if (i != without) (void)rowsum_add(b, g + i * N, N, scratch, sum);
}

static double apart(const int32_t *a, const int32_t *b)
{
    double sum = 0;
    for (size_t k = 0; k < N; k++) {
        double d = (double)a[k] - (double)b[k];
        sum += d * d;
    }
    return sqrt(sum);
}

/* The sensitivity that all noise is measured by: on the very numbers that the
 * ring adds, limits included, whatever the row. */
static void one_row_moves_the_sum_by_at_most_the_unit(void **state)
{
    (void)state;
    static const double scales[] = {1e-4, 0.05, 30};
    static const int32_t limits[] = {1 << 20, 60, 1};
    for (size_t s = 0; s < 3; s++) {
        const float *g = gradients(scales[s]);
        double most = 0;
        for (size_t l = 0; l < 3; l++) {
            struct rowsum_bounds b = bounds;
            int64_t sum[N];
            int32_t all[N] = {0};
            b.limit = limits[l];
            add_all(&b, g, ROWS, sum);
            rowsum_close(&b, sum, N, all);
            for (size_t i = 0; i < ROWS; i++) {
                int32_t less[N] = {0};
                add_all(&b, g, i, sum);
                rowsum_close(&b, sum, N, less);
                most = fmax(most, apart(all, less));
            }
        }
        check(most <= bounds.unit);
        check(s == 0 || most > 0.9 * bounds.unit);
    }
}

static void a_short_gradient_keeps_its_length(void **state)
{
    (void)state;
    float g[N] = {0};
    int32_t scratch[N], out[N] = {0};
    int64_t sum[N] = {0};
    g[3] = 0.75f;
    check_near(rowsum_add(&bounds, g, N, scratch, sum), 0.75, 1e-12);
    assert_int_equal(sum[3], 128);
    g[3] = -30;
    check_near(rowsum_add(&bounds, g, N, scratch, sum), 30, 1e-12);
    assert_int_equal(sum[3], 128 - 256);
    rowsum_close(&bounds, sum, N, out);
    assert_int_equal(out[3], 128);
}

static void what_is_no_number_counts_as_zeros(void **state)
{
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t i = 0; i < 4; i++) {
        float g[N] = {1};
        int32_t scratch[N];
        int64_t sum[N] = {0}, none[N] = {0};
        g[5] = g[6] = wrong[i];
        double norm = rowsum_add(&bounds, g, N, scratch, sum);
        check(isnan(norm) || norm > 1e38);
        if (isnan(norm)) check(memcmp(sum, none, sizeof sum) == 0);
    }
}

static void noise_is_kept_and_coordinates_are_limited(void **state)
{
    (void)state;
    struct rowsum_bounds b = bounds;
    int64_t sum[2] = {1LL << 40, -5};
    int32_t noise[2] = {17, -3};
    b.limit = 1000;
    rowsum_close(&b, sum, 2, noise);
    assert_int_equal(noise[0], 17 - 1000);
    assert_int_equal(noise[1], -3 + 5);
}

/* Rounding may not eat a gradient that is spread over all weights. */
static void the_unit_grows_with_the_root_of_the_weights(void **state)
{
    (void)state;
    static const size_t ns[] = {1, 1000, 20000, 1000000, 60000000};
    for (size_t i = 0; i < 5; i++) {
        uint32_t unit = rowsum_unit(ns[i]);
        check(unit >= 256 && unit <= 65536 && !(unit & (unit - 1)));
        check(unit >= 8 * sqrt((double)ns[i]) || unit == 65536);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_row_moves_the_sum_by_at_most_the_unit),
        cmocka_unit_test(a_short_gradient_keeps_its_length),
        cmocka_unit_test(what_is_no_number_counts_as_zeros),
        cmocka_unit_test(noise_is_kept_and_coordinates_are_limited),
        cmocka_unit_test(the_unit_grows_with_the_root_of_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
