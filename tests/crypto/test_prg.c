#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/crypto/prg.h"

enum { N = 10000 };

static void set_key(struct prg_mask *m)
{
    for (int i = 0; i < PRG_KEY; i++) m->key[i] = (uint8_t)i;
}

static uint32_t ring_of(uint32_t bits)
{
    return bits == 32 ? UINT32_MAX : 0xffffff;
}

/* Values of tests/crypto/golden.py. */
static void the_stream_is_chacha20_cut_into_coordinates(void **state)
{
    (void)state;
    static const size_t at[] = {0, 1, 4095, 4096, 8192, 9999};
    static const uint32_t want[2][6] = {{0x7d2bfd39, 0x6a19c5d9, 0x7096311a,
                                         0xc3241118, 0x694ceed7, 0x907a2893},
                                        {0x2bfd39, 0xc5d97d, 0x85c2ae, 0xa00a82,
                                         0x6ebf90, 0xee6f08}};
    static const uint32_t sums[2] = {0xa5dbcef2, 0xa52547};
    uint32_t *y = calloc(N, sizeof *y);
    check(y != NULL);
    for (int k = 0; k < 2; k++) {
        uint32_t bits = k ? 24 : 32, sum = 0;
        struct prg_mask m = {.subtract = 0};
        set_key(&m);
        memset(y, 0, N * sizeof *y);
        prg_apply(&m, 1, y, N, bits);
        for (size_t i = 0; i < 6; i++) check(y[at[i]] == want[k][i]);
        for (size_t i = 0; i < N; i++) sum += y[i];
        check((sum & ring_of(bits)) == sums[k]);
    }
    free(y);
}

static void what_is_added_is_taken_away_again_at_every_length(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,    1,    15,   16,   17,  31,
                                     4095, 4096, 4097, 8192, 9999};
    uint32_t *x = calloc(N, sizeof *x), *y = calloc(N, sizeof *y);
    struct prg_mask m[3];
    check(x && y);
    for (uint32_t bits = 24; bits <= 32; bits += 8)
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            size_t n = lengths[i];
            rng_secure(m, sizeof m);
            rng_secure(x, N * sizeof *x);
            for (size_t k = 0; k < N; k++) x[k] &= ring_of(bits);
            memcpy(y, x, N * sizeof *y);
            m[0].subtract = m[1].subtract = 0;
            m[2].subtract = 1;
            prg_apply(m, 3, y, n, bits);
            if (n > 15) check(memcmp(x, y, n * sizeof *x) != 0);
            /* Nothing past the end is touched, nothing leaves the ring. */
            check(memcmp(x + n, y + n, (N - n) * sizeof *x) == 0);
            for (size_t k = 0; k < n; k++) check(y[k] <= ring_of(bits));
            /* In another order, one by one. */
            for (int k = 2; k >= 0; k--) {
                m[k].subtract = !m[k].subtract;
                prg_apply(&m[k], 1, y, n, bits);
            }
            assert_memory_equal(x, y, N * sizeof *x);
        }
    free(x);
    free(y);
}

static void a_coordinate_does_not_depend_on_the_vectors_length(void **state)
{
    (void)state;
    uint32_t *whole = calloc(N, sizeof *whole), *part = calloc(N, sizeof *part);
    struct prg_mask m = {.subtract = 1};
    check(whole && part);
    rng_secure(m.key, sizeof m.key);
    for (uint32_t bits = 24; bits <= 32; bits += 8) {
        memset(whole, 0, N * sizeof *whole);
        prg_apply(&m, 1, whole, N, bits);
        for (size_t n = 1; n < N; n = 2 * n + 1) {
            memset(part, 0, N * sizeof *part);
            prg_apply(&m, 1, part, n, bits);
            assert_memory_equal(whole, part, n * sizeof *part);
        }
    }
    free(whole);
    free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stream_is_chacha20_cut_into_coordinates),
        cmocka_unit_test(what_is_added_is_taken_away_again_at_every_length),
        cmocka_unit_test(a_coordinate_does_not_depend_on_the_vectors_length),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
