/* weight_vnni256: the products for processors with AVX-VNNI, run on those that
 * have its instruction through AVX-512 instead. */
#include "tests/check.h"

#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_X86
# pragma GCC push_options
# pragma GCC target("avx2,fma,f16c,avx512f,avx512vl,avx512vnni")
# include <immintrin.h>
# define dot_step    _mm256_dpbusd_epi32
# define WEIGHT_SET  weight_set_evex
# define WEIGHT_NAME "evex"
extern const struct weight_set weight_set_evex;
# include "common/tensor/weight_vnni256.h"
# pragma GCC pop_options

static void half_width_products_equal_those_of_the_base(void **state)
{
    (void)state;
    enum { BLOCKS = 7, N_IN = 32 * BLOCKS };
    if (!kernel_has(KERNEL_AVX512VNNI)) skip();
    struct rng r;
    rng_init(&r, 1, 0, 0);
    for (int k = 0; k < 300; k++) {
        static uint8_t data[(64 + 512 * BLOCKS) * 2];
        static uint8_t panel[PANEL_ROWS * BLOCKS * PANEL_ROW_BYTES];
        float x[PANEL_ROWS * N_IN], want[256], got[256];
        size_t rows = (size_t)1 << k % 5;
        struct weight w = {k % 2 ? QUANT_Q8_0 : QUANT_Q4_0, 16, N_IN, data};
        struct weight_tile t = weight_tile(&w, 0);
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)rng_below(&r, 256);
        /* Scales are numbers. */
        for (size_t b = 0; b < BLOCKS; b++)
            for (size_t i = 1; i < 32; i += 2)
                data[block_scales(data, b, k % 2 ? BYTES : NIBBLES) - data +
                     (ptrdiff_t)i] &= 0xbf;
        for (size_t i = 0; i < rows * N_IN; i++) x[i] = rng_normal(&r);
        panel_fill(&weight_set_base, x, rows, N_IN, panel, 0);
        weight_kernel base =
            k % 2 ? weight_set_base.q8_0 : weight_set_base.q4_0;
        weight_kernel ours =
            k % 2 ? weight_set_evex.q8_0 : weight_set_evex.q4_0;
        base(&t, panel, rows, want);
        ours(&t, panel, rows, got);
        check(memcmp(got, want, rows * 16 * sizeof *got) == 0);
    }
}
#else
static void half_width_products_equal_those_of_the_base(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_width_products_equal_those_of_the_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
