/* quant: blocks against another reader of the format, and round trips. */
#include "tests/check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/half.h"
#include "common/tensor/quant.h"
#include "tests/golden/quant_golden.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct sample {
    enum quant_type type;
    const uint8_t *bytes;
    size_t n_bytes;
    const float *numbers;
    size_t n;
    const uint8_t *written;
    size_t n_written;
} samples[] = {
#define READ(TYPE, x)                                                          \
 QUANT_##TYPE, x##_bytes, sizeof x##_bytes, x##_numbers, COUNT(x##_numbers)
    {READ(Q8_0, q8_0), q8_0_written, sizeof q8_0_written},
    {READ(Q4_0, q4_0), q4_0_written, sizeof q4_0_written},
    {READ(Q4_1, q4_1), q4_1_written, sizeof q4_1_written},
    {READ(Q5_0, q5_0), q5_0_written, sizeof q5_0_written},
    {READ(Q5_1, q5_1), q5_1_written, sizeof q5_1_written},
    {READ(F16, f16), f16_written, sizeof f16_written},
    {READ(BF16, bf16), bf16_written, sizeof bf16_written},
    {READ(Q4_K, q4_k), NULL, 0},
    {READ(Q5_K, q5_k), NULL, 0},
    {READ(Q6_K, q6_k), NULL, 0},
};

static void blocks_decode_as_in_the_reference_reader(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++) {
        const struct sample *s = &samples[i];
        /* At an odd address, as files may have them. */
        uint8_t *at = malloc(s->n_bytes + 1);
        float *got = malloc(s->n * sizeof *got);
        check(at && got && quant_bytes(s->type, s->n) == s->n_bytes);
        memcpy(at + 1, s->bytes, s->n_bytes);
        quant_decode(s->type, at + 1, got, s->n);
        for (size_t k = 0; k < s->n; k++)
            check_near(got[k], s->numbers[k], 1e-6 * fabs(s->numbers[k]));
        free(at);
        free(got);
    }
}

static void rows_encode_to_the_bytes_of_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++) {
        const struct sample *s = &samples[i];
        uint8_t got[512];
        if (!s->written) continue;
        check(s->n_written <= sizeof got &&
              s->n_written == quant_bytes(s->type, COUNT(written_numbers)));
        check_ok(quant_encode(s->type, written_numbers, got,
                              COUNT(written_numbers)));
        for (size_t k = 0; k < s->n_written; k++)
            if (got[k] != s->written[k])
                fail_msg("%s: byte %zu is %u, want %u",
                         quant_info(s->type)->name, k, got[k], s->written[k]);
    }
}

/* Half a step of the scale, and what the scale lost as f16. */
static void a_number_comes_back_within_half_a_step(void **state)
{
    (void)state;
    static const struct {
        enum quant_type type;
        double step; /* over the largest of a block, or its span */
    } types[] = {{QUANT_F32, 0},          {QUANT_F16, 1.0 / 1024},
                 {QUANT_BF16, 1.0 / 128}, {QUANT_Q8_0, 1.0 / 127},
                 {QUANT_Q4_0, 2.0 / 8},   {QUANT_Q4_1, 2.0 / 15},
                 {QUANT_Q5_0, 2.0 / 16},  {QUANT_Q5_1, 2.0 / 31}};
    enum { N = 32 };
    struct rng r;
    rng_init(&r, 3, 0, 0);
    for (size_t t = 0; t < COUNT(types); t++)
        for (int k = 0; k < 300; k++) {
            float x[N], back[N], most = 0, scale = expf(2 * rng_normal(&r));
            uint8_t bytes[4 * N];
            for (size_t i = 0; i < N; i++) {
                x[i] = scale * rng_normal(&r);
                most = fmaxf(most, fabsf(x[i]));
            }
            check_ok(quant_encode(types[t].type, x, bytes, N));
            quant_decode(types[t].type, bytes, back, N);
            check_tensor(back, x, N,
                         (double)most * (types[t].step * .52 + 1e-3) *
                             (types[t].step > 0));
        }
}

static void what_was_decoded_encodes_to_itself(void **state)
{
    (void)state;
    static const enum quant_type types[] = {QUANT_Q8_0, QUANT_Q4_0, QUANT_F16,
                                            QUANT_BF16};
    enum { N = 64 };
    struct rng r;
    rng_init(&r, 4, 0, 0);
    for (size_t t = 0; t < COUNT(types); t++)
        for (int k = 0; k < 100; k++) {
            float x[N], once[N], twice[N];
            uint8_t bytes[4 * N];
            for (size_t i = 0; i < N; i++) x[i] = rng_normal(&r);
            check_ok(quant_encode(types[t], x, bytes, N));
            quant_decode(types[t], bytes, once, N);
            check_ok(quant_encode(types[t], once, bytes, N));
            quant_decode(types[t], bytes, twice, N);
            check_tensor(twice, once, N, 2e-3);
        }
}

static void a_row_is_added_as_if_it_were_decoded_first(void **state)
{
    (void)state;
    static const enum quant_type types[] = {QUANT_F32,  QUANT_F16,  QUANT_BF16,
                                            QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1,
                                            QUANT_Q5_0, QUANT_Q5_1};
    enum { N = 320 };
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (size_t t = 0; t < COUNT(types); t++)
        for (int k = 0; k < 20; k++) {
            float x[N], sum[N], want[N], a = rng_normal(&r);
            uint8_t bytes[4 * N + 1];
            for (size_t i = 0; i < N; i++) {
                x[i] = rng_normal(&r);
                want[i] = sum[i] = rng_normal(&r);
            }
            check_ok(quant_encode(types[t], x, bytes + 1, N));
            quant_decode(types[t], bytes + 1, x, N);
            for (size_t i = 0; i < N; i++) want[i] += a * x[i];
            quant_axpy(types[t], bytes + 1, a, sum, N);
            assert_memory_equal(sum, want, sizeof sum);
        }
}

static void every_half_goes_to_f32_and_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t half = (uint16_t)h;
        bool nan = (h & 0x7c00u) == 0x7c00u && (h & 0x3ffu);
        if (!nan) check(f16_encode(f16_decode(half)) == half);
        if (nan) check(isnan(f16_decode(half)));
        nan = (h & 0x7f80u) == 0x7f80u && (h & 0x7fu);
        if (!nan) check(bf16_encode(bf16_decode(half)) == half);
        if (nan) check(isnan(bf16_decode(bf16_encode(bf16_decode(half)))));
    }
    check(f16_decode(0x3c01) == 1 + 0x1p-10f && f16_decode(1) == 0x1p-24f);
    check(f16_decode(0xfbff) == -65504);
}

static void halves_round_to_nearest_and_ties_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h + 1 < 0x7c00u; h++) {
        float low = f16_decode((uint16_t)h), up = f16_decode((uint16_t)(h + 1));
        float mid = (low + up) / 2;
        check(f16_encode(mid) == (h & 1 ? h + 1 : h));
        check(f16_encode(nextafterf(mid, 1e9f)) == h + 1);
        check(f16_encode(-nextafterf(mid, -1)) == (h | 0x8000u));
    }
    check(f16_encode(65519.99f) == 0x7bff && f16_encode(65520) == 0x7c00);
    check(f16_encode(-FLT_MAX) == 0xfc00 && isnan(f16_decode(f16_encode(NAN))));
    check(bf16_encode(1 + 0x1p-8f) == 0x3f80);
    check(bf16_encode(1 + 0x3p-8f) == 0x3f82);
    check(bf16_encode(FLT_MAX) == 0x7f80);
}

static void what_does_not_fit_a_type_is_refused(void **state)
{
    (void)state;
    static const enum quant_type types[] = {QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1,
                                            QUANT_Q5_0, QUANT_Q5_1, QUANT_F16};
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e8f, -3e38f};
    uint8_t bytes[256 * 4];
    float x[256] = {1, 2, 3};
    for (size_t t = 0; t < COUNT(types); t++)
        for (size_t k = 0; k < COUNT(bad); k++) {
            x[40] = bad[k];
            check_err(quant_encode(types[t], x, bytes, 64), TACIT_LIMIT);
        }
    x[40] = FLT_MAX;
    check_err(quant_encode(QUANT_BF16, x, bytes, 64), TACIT_LIMIT);
    x[40] = -FLT_MAX, x[41] = FLT_MAX;
    check_err(quant_encode(QUANT_Q4_1, x, bytes, 64), TACIT_LIMIT);
    check_err(quant_encode(QUANT_Q4_K, x, bytes, 256), TACIT_UNSUPPORTED);
    check_err(quant_encode(QUANT_Q6_K, x, bytes, 256), TACIT_UNSUPPORTED);
}

static void tiny_numbers_become_zero(void **state)
{
    (void)state;
    static const enum quant_type types[] = {QUANT_Q8_0, QUANT_Q4_0, QUANT_Q4_1,
                                            QUANT_Q5_0, QUANT_Q5_1, QUANT_F16};
    for (size_t t = 0; t < COUNT(types); t++) {
        float x[32] = {1e-40f, -1e-40f, 1e-45f}, back[32], zero[32] = {0};
        uint8_t bytes[64];
        check_ok(quant_encode(types[t], x, bytes, 32));
        quant_decode(types[t], bytes, back, 32);
        check_tensor(back, zero, 32, 0);
    }
}

static void types_have_names_numbers_and_sizes(void **state)
{
    (void)state;
    check(quant_info(8)->bytes == 34 && quant_info(8)->block == 32);
    check(quant_info(8)->written && !quant_info(12)->written);
    check(quant_find("q4_k") == quant_info(QUANT_Q4_K));
    check(quant_info(4) == NULL && quant_info(9) == NULL);
    check(quant_info(UINT32_MAX) == NULL && quant_find("Q3_K") == NULL);
    check(quant_bytes(QUANT_Q8_0, 33) == 0);
    check(quant_bytes(QUANT_F32, SIZE_MAX / 2) == 0);
    check(quant_bytes(QUANT_Q6_K, 512) == 420);
    check(quant_bytes((enum quant_type)5, 32) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_decode_as_in_the_reference_reader),
        cmocka_unit_test(rows_encode_to_the_bytes_of_the_reference),
        cmocka_unit_test(a_number_comes_back_within_half_a_step),
        cmocka_unit_test(what_was_decoded_encodes_to_itself),
        cmocka_unit_test(a_row_is_added_as_if_it_were_decoded_first),
        cmocka_unit_test(every_half_goes_to_f32_and_back),
        cmocka_unit_test(halves_round_to_nearest_and_ties_to_even),
        cmocka_unit_test(what_does_not_fit_a_type_is_refused),
        cmocka_unit_test(tiny_numbers_become_zero),
        cmocka_unit_test(types_have_names_numbers_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
