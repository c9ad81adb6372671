#include "tests/check.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "common/crypto/shamir.h"

/* A random scalar below 2^248, so below the group's order. */
static void random_scalar(uint8_t out[SHAMIR_SCALAR])
{
    rng_secure(out, SHAMIR_SCALAR);
    out[SHAMIR_SCALAR - 1] = 0;
}

/* The secret from the shares of these members. */
static void combine(const uint16_t *members, unsigned t, const uint8_t *shares,
                    uint8_t out[SHAMIR_SCALAR])
{
    static uint8_t lambda[SHAMIR_MAX * SHAMIR_SCALAR];
    static uint8_t theirs[SHAMIR_MAX * SHAMIR_SCALAR];
    for (unsigned i = 0; i < t; i++)
        memcpy(theirs + (size_t)i * SHAMIR_SCALAR,
               shares + (size_t)members[i] * SHAMIR_SCALAR, SHAMIR_SCALAR);
    shamir_weights(members, t, lambda);
    shamir_combine(lambda, theirs, t, out);
}

static void any_t_of_n_rebuild_and_fewer_do_not(void **state)
{
    (void)state;
    uint8_t secret[SHAMIR_SCALAR], got[SHAMIR_SCALAR];
    uint8_t shares[7 * SHAMIR_SCALAR];
    for (unsigned n = 1; n <= 7; n++)
        for (unsigned t = 1; t <= n; t++) {
            random_scalar(secret);
            shamir_split(secret, t, n, shares);
            for (unsigned set = 1; set < 1U << n; set++) {
                uint16_t members[7];
                unsigned k = 0;
                for (unsigned i = n; i-- > 0;) /* in any order: downwards */
                    if (set >> i & 1) members[k++] = (uint16_t)i;
                combine(members, k, shares, got);
                check((memcmp(secret, got, sizeof got) == 0) == (k >= t));
            }
        }
}

static void the_largest_cohort_rebuilds_from_random_members(void **state)
{
    (void)state;
    enum { T = 71 };
    static uint8_t shares[SHAMIR_MAX * SHAMIR_SCALAR];
    uint8_t secret[SHAMIR_SCALAR], got[SHAMIR_SCALAR];
    uint32_t order[SHAMIR_MAX];
    uint16_t members[SHAMIR_MAX];
    struct rng r;
    rng_init(&r, 1, 2, 3);
    random_scalar(secret);
    shamir_split(secret, T, SHAMIR_MAX, shares);
    for (int turn = 0; turn < 5; turn++) {
        for (uint32_t i = 0; i < SHAMIR_MAX; i++) order[i] = i;
        rng_shuffle(&r, order, SHAMIR_MAX);
        for (int i = 0; i < SHAMIR_MAX; i++) members[i] = (uint16_t)order[i];
        combine(members, T, shares, got);
        assert_memory_equal(secret, got, sizeof got);
        combine(members, T - 1, shares, got);
        assert_memory_not_equal(secret, got, sizeof got);
    }
    combine(members, SHAMIR_MAX, shares, got);
    assert_memory_equal(secret, got, sizeof got);
}

/* f(1), f(2), f(3) weigh 3, -3, 1 at 0; l - 3 in little-endian. */
static void the_weights_are_lagranges(void **state)
{
    (void)state;
    static const uint16_t members[3] = {0, 1, 2};
    static const uint8_t minus_three[SHAMIR_SCALAR] = {
        0xea, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
        0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    uint8_t lambda[3 * SHAMIR_SCALAR], three[SHAMIR_SCALAR] = {3},
                                       one[SHAMIR_SCALAR] = {1};
    shamir_weights(members, 3, lambda);
    assert_memory_equal(lambda, three, SHAMIR_SCALAR);
    assert_memory_equal(lambda + SHAMIR_SCALAR, minus_three, SHAMIR_SCALAR);
    assert_memory_equal(lambda + 2 * SHAMIR_SCALAR, one, SHAMIR_SCALAR);
}

/* What t - 1 members see of two very different secrets has one distribution:
 * each byte of a share is uniform, whatever the secret. */
static void shares_of_too_few_look_the_same_for_every_secret(void **state)
{
    (void)state;
    enum { TRIES = 20000, T = 3, N = 5 };
    uint8_t secret[SHAMIR_SCALAR], shares[N * SHAMIR_SCALAR];
    for (int which = 0; which < 2; which++) {
        double count[T - 1][256] = {{0}};
        memset(secret, which ? 0x55 : 0, sizeof secret);
        secret[SHAMIR_SCALAR - 1] = 0;
        for (int i = 0; i < TRIES; i++) {
            shamir_split(secret, T, N, shares);
            for (int m = 0; m < T - 1; m++)
                count[m][shares[m * SHAMIR_SCALAR]] += 1;
        }
        /* Chi-square with 255 degrees of freedom: mean 255, sd 22.6. */
        for (int m = 0; m < T - 1; m++) {
            double chi = 0, each = TRIES / 256.0;
            for (int v = 0; v < 256; v++)
                chi += (count[m][v] - each) * (count[m][v] - each) / each;
            check_near(chi, 255, 8 * 22.6);
        }
    }
}

/* Distinct members are the caller's promise: a broken one stops the process
 * and never gives a wrong secret. */
static void a_repeated_member_stops_the_process(void **state)
{
    (void)state;
    static const uint16_t members[3] = {4, 2, 4};
    int status = 0;
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        uint8_t lambda[3 * SHAMIR_SCALAR];
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        close(2);
        shamir_weights(members, 3, lambda);
        _exit(0);
    }
    check(waitpid(pid, &status, 0) == pid);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_t_of_n_rebuild_and_fewer_do_not),
        cmocka_unit_test(the_largest_cohort_rebuilds_from_random_members),
        cmocka_unit_test(the_weights_are_lagranges),
        cmocka_unit_test(shares_of_too_few_look_the_same_for_every_secret),
        cmocka_unit_test(a_repeated_member_stops_the_process),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
