/* Directions of signs, rebuilding along them, and slopes by two looks. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/tensor/mezo.h"

/* Printed by tests/golden/mezo_golden.py. */
#define GOLDEN                                                                 \
 "1a203b19dc32e39c9ec99387dfb90013ff67a5f2bf4043594d653185b00c359b"

enum { N = 40000, K = 130 };

static float w[N], v[N], z[N];

/* The signs of a direction, as numbers. */
static void signs(uint64_t direction, float *out, size_t n)
{
    memset(out, 0, n * sizeof *out);
    mezo_move(direction, 1, out, n);
}

static void a_direction_is_signs_as_many_of_each_and_like_no_other(void **state)
{
    (void)state;
    double sum = 0, product = 0;
    signs(mezo_direction(7, 0), z, N);
    signs(mezo_direction(7, 1), v, N);
    for (size_t i = 0; i < N; i++) {
        check(fabsf(z[i]) == 1 && fabsf(v[i]) == 1);
        sum += (double)z[i];
        product += (double)z[i] * (double)v[i];
    }
    /* Five standard deviations of N coins. */
    check(fabs(sum) < 5 * sqrt(N));
    check(fabs(product) < 5 * sqrt(N));
    signs(mezo_direction(8, 0), v, N);
    check(memcmp(z, v, sizeof z) != 0);
}

static void a_part_of_the_weights_has_the_signs_of_the_whole(void **state)
{
    (void)state;
    static const size_t parts[] = {0, 1, 31, 32, 63, 64, 65, 1000, N - 1};
    signs(mezo_direction(1, 2), z, N);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        signs(mezo_direction(1, 2), v, N);
        memset(v, 0, sizeof v);
        mezo_move(mezo_direction(1, 2), 1, v, parts[i]);
        check(memcmp(v, z, parts[i] * sizeof *v) == 0);
        for (size_t k = parts[i]; k < N; k++) check(v[k] == 0);
    }
}

static void rebuilding_adds_the_directions_in_their_order_to_the_bit(void **s)
{
    (void)s;
    float by[K];
    struct rng r;
    rng_init(&r, 3, 0, 0);
    for (size_t j = 0; j < K; j++) by[j] = j % 5 ? 1e-2f * rng_normal(&r) : 0;
    for (size_t i = 0; i < N; i++) w[i] = v[i] = rng_normal(&r);
    mezo_rebuild(11, by, K, w, N);
    for (size_t j = 0; j < K; j++) {
        signs(mezo_direction(11, j), z, N);
        for (size_t i = 0; i < N; i++) v[i] += by[j] * z[i];
    }
    check(memcmp(w, v, sizeof w) == 0);
}

static void the_bits_of_a_rebuilt_model_are_those_of_every_machine(void **state)
{
    (void)state;
    float by[K];
    struct digest d;
    char hex[DIGEST_HEX];
    for (size_t j = 0; j < K; j++) by[j] = 1.0f / (float)(3 + j);
    for (size_t i = 0; i < N; i++) w[i] = 1.0f / (float)(1 + i);
    mezo_rebuild(42, by, K, w, N);
    digest_of(&d, w, sizeof w);
    hex_encode(hex, d.b, DIGEST_BYTES);
    assert_string_equal(hex, GOLDEN);
}

/* ---- slopes ------------------------------------------------------------- */

enum { M = 50 };

static float matrix[M], place[M];

/* sum a_i w_i^2 / 2 + w_0 w_1. */
static enum tacit_err quadratic(void *ctx, float *loss)
{
    const float *x = ctx;
    double sum = (double)x[0] * (double)x[1];
    for (size_t i = 0; i < M; i++)
        sum += 0.5 * (double)matrix[i] * (double)x[i] * (double)x[i];
    *loss = (float)sum;
    return TACIT_OK;
}

static void two_looks_find_the_slope_along_a_direction(void **state)
{
    (void)state;
    struct rng r;
    struct mezo_found found;
    float before[M];
    const struct mezo_loss loss = {quadratic, place};
    rng_init(&r, 5, 0, 0);
    for (size_t i = 0; i < M; i++) {
        matrix[i] = 1 + rng_f32(&r);
        place[i] = rng_normal(&r);
    }
    memcpy(before, place, sizeof before);
    for (uint64_t j = 0; j < 20; j++) {
        uint64_t at = mezo_direction(1, j);
        double want = 0;
        signs(at, z, M);
        for (size_t i = 0; i < M; i++)
            want += (double)z[i] * (double)matrix[i] * (double)place[i];
        want +=
            (double)z[0] * (double)place[1] + (double)z[1] * (double)place[0];
        check_ok(mezo_look(&loss, at, 1e-2f, place, M, &found));
        check(fabs(found.slope - want) < 2e-3 * (1 + fabs(want)));
    }
    /* Looking about leaves it where it was. */
    for (size_t i = 0; i < M; i++) check(fabsf(place[i] - before[i]) < 1e-5f);
}

static void walking_down_slopes_reaches_the_bottom(void **state)
{
    (void)state;
    struct mezo_found found;
    const struct mezo_loss loss = {quadratic, place};
    float first = 0, last = 0;
    for (size_t i = 0; i < M; i++) {
        matrix[i] = 1 + (float)(i % 3);
        place[i] = 1;
    }
    check_ok(quadratic(place, &first));
    for (uint64_t j = 0; j < 2000; j++) {
        uint64_t at = mezo_direction(2, j);
        check_ok(mezo_look(&loss, at, 1e-3f, place, M, &found));
        mezo_move(at, (float)(-0.005 * found.slope), place, M);
    }
    check_ok(quadratic(place, &last));
    check(last < 1e-3f * first);
}

static enum tacit_err broken(void *ctx, float *loss)
{
    (void)ctx;
    (void)loss;
    return fail(TACIT_SHAPE, "no such row");
}

static void a_look_that_fails_says_why_and_moves_nothing(void **state)
{
    (void)state;
    struct mezo_found found;
    const struct mezo_loss loss = {broken, NULL};
    float x[3] = {1, 2, 4};
    check_err(mezo_look(&loss, 9, 0.5f, x, 3, &found), TACIT_SHAPE);
    check(x[0] == 1 && x[1] == 2 && x[2] == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_direction_is_signs_as_many_of_each_and_like_no_other),
        cmocka_unit_test(a_part_of_the_weights_has_the_signs_of_the_whole),
        cmocka_unit_test(
            rebuilding_adds_the_directions_in_their_order_to_the_bit),
        cmocka_unit_test(
            the_bits_of_a_rebuilt_model_are_those_of_every_machine),
        cmocka_unit_test(two_looks_find_the_slope_along_a_direction),
        cmocka_unit_test(walking_down_slopes_reaches_the_bottom),
        cmocka_unit_test(a_look_that_fails_says_why_and_moves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
