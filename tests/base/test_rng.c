/* rng: streams replay (tests/golden/rng_golden.py), and look as they should. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"

static void streams_are_chacha20_under_blake2b(void **state)
{
    (void)state;
    /* Words 0, 1, 7, 8 and 15: two blocks. */
    static const struct {
        uint64_t seed, a, b, words[5];
    } golden[] = {
        {0,
         0,
         0,
         {0x8743779738b67d43, 0x45adbc27516e4cc7, 0x8ab453bee2355051,
          0x2adf9157a8cf74ef, 0x9e8be641f837cebd}},
        {42,
         7,
         1,
         {0xcdf0871ebb31720b, 0x2f7cc2994ff3b4bd, 0x4834f4e58ca1c7ec,
          0x56d4493e184dcaec, 0x9ba626c9d51d198d}},
        {UINT64_MAX,
         0,
         3,
         {0xc6a3a6065fbdf5ff, 0xe70f0feda48ddded, 0xb7ed0dbb3578f5e6,
          0xc897fd9e024cbd9b, 0x789a283c6e58ffcd}},
    };
    static const size_t at[5] = {0, 1, 7, 8, 15};
    for (size_t g = 0; g < 3; g++) {
        struct rng r;
        size_t next = 0;
        rng_init(&r, golden[g].seed, golden[g].a, golden[g].b);
        for (size_t i = 0; i < 16; i++) {
            uint64_t v = rng_u64(&r);
            if (i == at[next]) check(v == golden[g].words[next++]);
        }
    }
}

static void a_stream_is_a_function_of_its_name(void **state)
{
    (void)state;
    struct rng one, two, copy;
    rng_init(&one, 42, 3, 4);
    rng_init(&two, 42, 3, 4);
    for (int i = 0; i < 100; i++) {
        check(rng_u64(&one) == rng_u64(&two));
        check(rng_normal(&one) == rng_normal(&two));
        check(rng_below(&one, 10) == rng_below(&two, 10));
    }
    copy = one; /* a copy goes on alike */
    check(rng_f64(&copy) == rng_f64(&one));
    static const uint64_t other[][3] = {
        {43, 3, 4}, {42, 4, 3}, {42, 3, 5}, {42, 0, 4}, {3, 42, 4}};
    rng_init(&one, 42, 3, 4);
    uint64_t first = rng_u64(&one);
    for (size_t i = 0; i < 5; i++) {
        rng_init(&two, other[i][0], other[i][1], other[i][2]);
        check(rng_u64(&two) != first);
    }
}

static void below_is_uniform_and_within_bounds(void **state)
{
    (void)state;
    enum { N = 70000 };
    static const uint64_t sides[] = {1, 2, 3, 7, 10};
    struct rng r;
    rng_init(&r, 1, 0, 0);
    for (size_t s = 0; s < 5; s++) {
        uint64_t n = sides[s];
        unsigned count[10] = {0};
        double chi = 0, want = (double)N / (double)n;
        for (int i = 0; i < N; i++) {
            uint64_t v = rng_below(&r, n);
            check(v < n);
            count[v]++;
        }
        for (uint64_t i = 0; i < n; i++)
            chi += (count[i] - want) * (count[i] - want) / want;
        check(chi < 30); /* 9 degrees of freedom: p < 0.001 */
    }
    for (int i = 0; i < 1000; i++) {
        check(rng_below(&r, UINT64_MAX) < UINT64_MAX);
        check(rng_below(&r, (1ULL << 63) + 1) <= 1ULL << 63);
    }
}

static void fractions_lie_in_the_half_open_unit(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct rng r;
    double sum = 0, squares = 0;
    rng_init(&r, 2, 0, 0);
    for (int i = 0; i < N; i++) {
        float f = rng_f32(&r);
        double d = rng_f64(&r);
        check(f >= 0 && f < 1 && d >= 0 && d < 1);
        sum += d;
        squares += d * d;
    }
    check_near(sum / N, 0.5, 0.005);
    check_near(squares / N, 1.0 / 3, 0.005);
}

static void normals_have_the_moments_of_a_normal(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct rng r;
    double m[5] = {0};
    rng_init(&r, 3, 0, 0);
    for (int i = 0; i < N; i++) {
        double v = (double)rng_normal(&r);
        check(isfinite(v));
        for (int k = 1; k < 5; k++) m[k] += pow(v, k) / N;
    }
    check_near(m[1], 0, 0.02);
    check_near(m[2], 1, 0.03);
    check_near(m[3], 0, 0.06);
    check_near(m[4], 3, 0.2);
}

static void a_shuffle_is_a_fair_permutation(void **state)
{
    (void)state;
    enum { N = 60000 };
    struct rng r;
    unsigned count[3][3] = {{0}};
    rng_init(&r, 4, 0, 0);
    for (int i = 0; i < N; i++) {
        uint32_t idx[3] = {0, 1, 2};
        rng_shuffle(&r, idx, 3);
        check(idx[0] + idx[1] + idx[2] == 3 && (idx[0] ^ idx[1] ^ idx[2]) == 3);
        for (size_t k = 0; k < 3; k++) count[k][idx[k]]++;
    }
    for (size_t k = 0; k < 9; k++)
        check_near(count[k / 3][k % 3], N / 3, N / 60);
    rng_shuffle(&r, NULL, 0);
}

static void secure_bytes_differ(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    rng_setup();
    rng_setup();
    rng_secure(a, sizeof a);
    rng_secure(b, sizeof b);
    check(memcmp(a, b, sizeof a) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_chacha20_under_blake2b),
        cmocka_unit_test(a_stream_is_a_function_of_its_name),
        cmocka_unit_test(below_is_uniform_and_within_bounds),
        cmocka_unit_test(fractions_lie_in_the_half_open_unit),
        cmocka_unit_test(normals_have_the_moments_of_a_normal),
        cmocka_unit_test(a_shuffle_is_a_fair_permutation),
        cmocka_unit_test(secure_bytes_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
