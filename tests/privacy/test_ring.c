#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/privacy/ring.h"

enum { PARAMS = 300, METRICS = 3, COORDS = PARAMS + 2 + METRICS + RING_CHECKS };

static const struct digest transcript = {.b = {7, 1, 9}};

static struct ring_layout layout_of(uint32_t ring_bits)
{
    return (struct ring_layout){.n_params = PARAMS,
                                .n_metrics = METRICS,
                                .ring_bits = ring_bits,
                                .clients_max = 128,
                                .clip = 2.0,
                                .metric_max = 64};
}

/* Random values of this L2 norm. */
static void random_delta(struct rng *r, float *delta, size_t n, double norm)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        delta[i] = rng_normal(r);
        sum += (double)delta[i] * (double)delta[i];
    }
    for (size_t i = 0; i < n; i++)
        delta[i] = (float)((double)delta[i] * norm / sqrt(sum));
}

static double norm_of(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

static const double no_metrics[METRICS];

static enum tacit_err encode(const struct ring_layout *l, const float *delta,
                             uint32_t weight, const double *metrics,
                             uint32_t *y, double *norm)
{
    struct ring_update u = {.delta = delta,
                            .weight = weight,
                            .metrics = metrics};
    enum tacit_err err = ring_encode(l, &u, &transcript, y);
    if (norm) *norm = u.norm;
    return err;
}

static void the_sum_of_the_largest_cohort_cannot_wrap(void **state)
{
    (void)state;
    static const uint32_t clients[] = {2, 3, 32, 100, 127, 128};
    for (uint32_t bits = 24; bits <= 32; bits += 8)
        for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
            struct ring_layout l = layout_of(bits);
            l.clients_max = clients[i];
            uint64_t sum = (uint64_t)ring_limit(&l) * clients[i];
            uint64_t half = (uint64_t)1 << (bits - 1);
            check(sum < half);
            /* And it is used: one more bit would not fit, or is not there. */
            check(2 * (uint64_t)(ring_limit(&l) + 1) * clients[i] >= half ||
                  ring_limit(&l) == (1U << 24) - 1);
        }
    struct ring_layout l = layout_of(24);
    check(ring_coords(&l) == COORDS);
    check(ring_limit(&l) == 32767);
    l.ring_bits = 32;
    check(ring_limit(&l) == (1U << 23) - 1);
}

static void one_update_comes_back_within_half_a_step(void **state)
{
    (void)state;
    float delta[PARAMS], mean[PARAMS];
    uint32_t y[COORDS];
    struct ring_mean m;
    struct rng r;
    double norm;
    rng_init(&r, 1, 0, 0);
    for (uint32_t bits = 24; bits <= 32; bits += 8) {
        struct ring_layout l = layout_of(bits);
        double step = l.clip / ring_limit(&l);
        static const double metrics[METRICS] = {0.25, -3.5, 63.9};
        random_delta(&r, delta, PARAMS, 1.9);
        check_ok(encode(&l, delta, RING_WEIGHT_MAX, metrics, y, &norm));
        check_near(norm, 1.9, 1e-5);
        for (int i = 0; i < COORDS; i++) check(bits == 32 || y[i] <= 0xffffff);
        check_ok(ring_decode(&l, y, 1, &transcript, mean, &m));
        check_tensor(mean, delta, PARAMS, 0.5 * step + 1e-7);
        check(m.n_clients == 1 && m.weight == RING_WEIGHT_MAX);
        for (int i = 0; i < METRICS; i++)
            check_near(m.metrics[i], metrics[i], l.metric_max / ring_limit(&l));
    }
}

static void a_long_update_is_shortened_and_a_short_one_is_not(void **state)
{
    (void)state;
    static const double norms[] = {1e-3, 1.0, 1.99, 2.0, 2.01, 50, 1e6, 1e18};
    float delta[PARAMS], mean[PARAMS];
    uint32_t y[COORDS];
    struct ring_mean m;
    struct rng r;
    rng_init(&r, 2, 0, 0);
    for (uint32_t bits = 24; bits <= 32; bits += 8)
        for (size_t k = 0; k < sizeof norms / sizeof norms[0]; k++) {
            struct ring_layout l = layout_of(bits);
            double norm, step = l.clip / ring_limit(&l);
            double kept = norms[k] > l.clip ? l.clip / norms[k] : 1;
            random_delta(&r, delta, PARAMS, norms[k]);
            check_ok(encode(&l, delta, RING_WEIGHT_MAX, no_metrics, y, &norm));
            check_near(norm / norms[k], 1, 1e-5);
            check_ok(ring_decode(&l, y, 1, &transcript, mean, &m));
            check(norm_of(mean, PARAMS) <= l.clip * (1 + 1e-4));
            /* Half a step, and what rounding put over the bound was taken off
             * all of them alike. */
            double shrink = sqrt(PARAMS) / 2 / ring_limit(&l);
            for (int i = 0; i < PARAMS; i++) {
                double want = (double)delta[i] * kept;
                check_near(mean[i], want,
                           0.5 * step + fabs(want) * shrink + 1e-6);
            }
        }
}

/* Thousands of values that each round up would exceed the bound together. */
static void the_bound_holds_after_rounding_too(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    struct ring_layout l = layout_of(24);
    l.n_params = MANY;
    l.n_metrics = 0;
    float *delta = malloc(MANY * sizeof *delta);
    uint32_t *y = malloc((MANY + 2 + RING_CHECKS) * sizeof *y);
    check(delta && y);
    static const uint32_t weights[] = {1, 100, 5000, RING_WEIGHT_MAX};
    for (size_t k = 0; k < 4; k++)
        for (int jitter = 0; jitter < 8; jitter++) {
            double limit = ring_limit(&l), w = weights[k] / 65535.0, sum = 0;
            /* Just over half a step each, if the weight allows. */
            for (int i = 0; i < MANY; i++)
                delta[i] = (float)(l.clip / limit / w * (0.5 + 0.02 * jitter));
            check_ok(encode(&l, delta, weights[k], NULL, y, NULL));
            for (int i = 0; i < MANY; i++) {
                double v = y[i] < 1U << 23 ? y[i] : (double)y[i] - (1 << 24);
                sum += v * v;
            }
            check(sqrt(sum) <= limit * w + 0.5 + 1e-6);
        }
    free(delta);
    free(y);
}

static void the_mean_is_weighted_by_examples(void **state)
{
    (void)state;
    enum { CLIENTS = 5 };
    static const uint32_t weights[CLIENTS] = {65535, 30000, 1, 7777, 50000};
    float delta[PARAMS], mean[PARAMS], want[PARAMS] = {0};
    uint32_t y[COORDS], sum[COORDS] = {0};
    struct ring_mean m;
    struct rng r;
    rng_init(&r, 3, 0, 0);
    for (uint32_t bits = 24; bits <= 32; bits += 8) {
        struct ring_layout l = layout_of(bits);
        double total = 0, metric = 0;
        memset(sum, 0, sizeof sum);
        memset(want, 0, sizeof want);
        for (int c = 0; c < CLIENTS; c++) total += weights[c];
        for (int c = 0; c < CLIENTS; c++) {
            double part = weights[c] / total;
            double metrics[METRICS] = {c, -c, 1};
            random_delta(&r, delta, PARAMS, 1.5);
            check_ok(encode(&l, delta, weights[c], metrics, y, NULL));
            ring_add(sum, y, COORDS, bits);
            for (int i = 0; i < PARAMS; i++)
                want[i] += (float)((double)delta[i] * part);
            metric += c * part;
        }
        check_ok(ring_decode(&l, sum, CLIENTS, &transcript, mean, &m));
        double step = l.clip / ring_limit(&l) / (total / 65535);
        check_tensor(mean, want, PARAMS, 0.5 * CLIENTS * step + 1e-6);
        check(m.n_clients == CLIENTS && m.weight == (uint64_t)total);
        double metric_step =
            l.metric_max / ring_limit(&l) / (total / 65535) * CLIENTS;
        check_near(m.metrics[0], metric, metric_step);
        check_near(m.metrics[1], -metric, metric_step);
        check_near(m.metrics[2], 1, metric_step);
    }
}

/* 128 clients, all at the limit and of one sign. */
static void extremes_add_up_without_wrapping(void **state)
{
    (void)state;
    float delta[PARAMS] = {0}, mean[PARAMS];
    uint32_t y[COORDS], sum[COORDS];
    struct ring_mean m;
    for (uint32_t bits = 24; bits <= 32; bits += 8)
        for (int sign = -1; sign <= 1; sign += 2) {
            struct ring_layout l = layout_of(bits);
            double far[METRICS] = {sign * 1e9, sign * 64.0, -sign * 64.1};
            delta[0] = (float)(sign * l.clip);
            memset(sum, 0, sizeof sum);
            check_ok(encode(&l, delta, RING_WEIGHT_MAX, far, y, NULL));
            for (int c = 0; c < 128; c++) ring_add(sum, y, COORDS, bits);
            check_ok(ring_decode(&l, sum, 128, &transcript, mean, &m));
            check_near(mean[0], sign * l.clip, 1e-6);
            check_near(mean[1], 0, 0);
            check(m.weight == 128ULL * RING_WEIGHT_MAX);
            check_near(m.metrics[0], sign * 64.0, 1e-9);
            check_near(m.metrics[1], sign * 64.0, 1e-9);
            check_near(m.metrics[2], -sign * 64.0, 1e-9);
        }
}

/* Rounding to the nearest leans to no side: over many values the errors
 * cancel, and none is over half a step. */
static void rounding_leans_to_no_side(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct ring_layout l = layout_of(24);
    l.n_params = MANY;
    l.n_metrics = 0;
    float *delta = malloc(MANY * sizeof *delta);
    float *mean = malloc(MANY * sizeof *mean);
    uint32_t *y = malloc((MANY + 2 + RING_CHECKS) * sizeof *y);
    struct ring_mean m;
    struct rng r;
    double sum = 0, step = l.clip / ring_limit(&l);
    check(delta && mean && y);
    rng_init(&r, 4, 0, 0);
    random_delta(&r, delta, MANY, 1.9);
    check_ok(encode(&l, delta, RING_WEIGHT_MAX, NULL, y, NULL));
    check_ok(ring_decode(&l, y, 1, &transcript, mean, &m));
    check_tensor(mean, delta, MANY, 0.5 * step + 1e-7);
    for (int i = 0; i < MANY; i++) sum += (double)mean[i] - (double)delta[i];
    /* The mean of n errors, uniform in a step: sd step / sqrt(12 n). */
    check_near(sum / MANY, 0, 6 * step / sqrt(12.0 * MANY));
    free(delta);
    free(mean);
    free(y);
}

static void what_is_not_a_number_is_refused_and_nothing_is_written(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float delta[PARAMS] = {0};
    uint32_t y[COORDS], before[COORDS];
    struct ring_layout l = layout_of(32);
    double metrics[METRICS] = {0};
    rng_secure(before, sizeof before);
    memcpy(y, before, sizeof y);
    for (int k = 0; k < 3; k++) {
        for (int at = 0; at < PARAMS; at += PARAMS - 1) {
            delta[at] = bad[k];
            check_err(encode(&l, delta, 1, metrics, y, NULL), TACIT_FORMAT);
            delta[at] = 0;
        }
        metrics[METRICS - 1] = (double)bad[k];
        check_err(encode(&l, delta, 1, metrics, y, NULL), TACIT_FORMAT);
        metrics[METRICS - 1] = 0;
    }
    check_err(encode(&l, delta, 0, metrics, y, NULL), TACIT_LIMIT);
    check_err(encode(&l, delta, RING_WEIGHT_MAX + 1, metrics, y, NULL),
              TACIT_LIMIT);
    assert_memory_equal(y, before, sizeof y);
    /* The largest floats there are can still be clipped. */
    for (int i = 0; i < PARAMS; i++) delta[i] = 3.4e38F;
    check_ok(encode(&l, delta, 1, metrics, y, NULL));
}

static void a_sum_that_was_not_unmasked_rightly_is_refused(void **state)
{
    (void)state;
    float delta[PARAMS], mean[PARAMS];
    uint32_t y[COORDS];
    struct ring_mean m;
    struct rng r;
    struct digest other = transcript;
    rng_init(&r, 6, 0, 0);
    other.b[0] ^= 1;
    for (uint32_t bits = 24; bits <= 32; bits += 8) {
        struct ring_layout l = layout_of(bits);
        random_delta(&r, delta, PARAMS, 1);
        check_ok(encode(&l, delta, 999, no_metrics, y, NULL));
        for (int at = 0; at < COORDS; at++) {
            y[at] ^= 1;
            check_err(ring_decode(&l, y, 1, &transcript, mean, &m), TACIT_AUTH);
            y[at] ^= 1;
        }
        check_err(ring_decode(&l, y, 2, &transcript, mean, &m), TACIT_AUTH);
        check_err(ring_decode(&l, y, 1, &other, mean, &m), TACIT_AUTH);
        check_err(ring_decode(&l, y, 0, &transcript, mean, &m), TACIT_LIMIT);
        check_err(ring_decode(&l, y, 129, &transcript, mean, &m), TACIT_LIMIT);
        check_ok(ring_decode(&l, y, 1, &transcript, mean, &m));
        uint32_t noise[COORDS];
        for (int turn = 0; turn < 100; turn++) {
            rng_secure(noise, sizeof noise);
            check_err(ring_decode(&l, noise, 1, &transcript, mean, &m),
                      TACIT_AUTH);
        }
    }
}

/* A weight of zero, or more than clients can have, with checks that hold:
 * the sum of inputs by a device that does not keep to the rules. */
static void an_impossible_count_or_weight_is_refused(void **state)
{
    (void)state;
    float delta[PARAMS] = {0}, mean[PARAMS];
    uint32_t y[COORDS], twice[COORDS] = {0};
    struct ring_layout l = layout_of(32);
    struct ring_mean m;
    check_ok(encode(&l, delta, RING_WEIGHT_MAX, no_metrics, y, NULL));
    ring_add(twice, y, COORDS, 32);
    ring_add(twice, y, COORDS, 32);
    check_err(ring_decode(&l, twice, 1, &transcript, mean, &m), TACIT_AUTH);
    check_err(ring_decode(&l, twice, 3, &transcript, mean, &m), TACIT_AUTH);
    check_ok(ring_decode(&l, twice, 2, &transcript, mean, &m));
    memset(twice, 0, sizeof twice);
    check_err(ring_decode(&l, twice, 1, &transcript, mean, &m), TACIT_AUTH);
}

static void packed_coordinates_are_unpacked(void **state)
{
    (void)state;
    uint32_t y[COORDS], back[COORDS];
    uint8_t bytes[4 * COORDS];
    static const uint32_t some[3] = {0x01020304, 0xfffefdfc, 0x00a0b0c0};
    ring_pack(bytes, some, 3, 32);
    assert_memory_equal(bytes, "\4\3\2\1\xfc\xfd\xfe\xff\xc0\xb0\xa0\0", 12);
    ring_pack(bytes, some, 3, 24);
    assert_memory_equal(bytes, "\4\3\2\xfc\xfd\xfe\xc0\xb0\xa0", 9);
    for (uint32_t bits = 24; bits <= 32; bits += 8) {
        rng_secure(y, sizeof y);
        if (bits == 24)
            for (int i = 0; i < COORDS; i++) y[i] &= 0xffffff;
        ring_pack(bytes, y, COORDS, bits);
        ring_unpack(back, bytes, COORDS, bits);
        assert_memory_equal(y, back, sizeof y);
        /* x - x = 0 in the ring. */
        for (int i = 0; i < COORDS; i++) back[i] = 0U - back[i];
        ring_add(back, y, COORDS, bits);
        for (int i = 0; i < COORDS; i++) check(back[i] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_of_the_largest_cohort_cannot_wrap),
        cmocka_unit_test(one_update_comes_back_within_half_a_step),
        cmocka_unit_test(a_long_update_is_shortened_and_a_short_one_is_not),
        cmocka_unit_test(the_bound_holds_after_rounding_too),
        cmocka_unit_test(the_mean_is_weighted_by_examples),
        cmocka_unit_test(extremes_add_up_without_wrapping),
        cmocka_unit_test(rounding_leans_to_no_side),
        cmocka_unit_test(
            what_is_not_a_number_is_refused_and_nothing_is_written),
        cmocka_unit_test(a_sum_that_was_not_unmasked_rightly_is_refused),
        cmocka_unit_test(an_impossible_count_or_weight_is_refused),
        cmocka_unit_test(packed_coordinates_are_unpacked),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
