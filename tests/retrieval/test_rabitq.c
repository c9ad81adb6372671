/* Codes of one bit per number: rotation, rows of bytes, estimates, kernels. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "retrieval/rabitq.h"

static const size_t dims[] = {1,   3,    16,   17,   100,  384, 513,
                              768, 1000, 1025, 2048, 2049, 4096};
enum { N_DIMS = sizeof dims / sizeof *dims };

static void fill(struct rng *r, float *v, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++) v[i] = scale * rng_normal(r);
}

static float *floats(size_t n)
{
    float *v = calloc(n, sizeof *v);
    check(v != NULL);
    return v;
}

static void a_rotation_keeps_lengths_and_products(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1, 0, 0);
    for (size_t d = 0; d < N_DIMS; d++) {
        struct rabitq *rq;
        check_ok(rabitq_new(dims[d], rabitq_seed(dims[d], 7), &rq));
        size_t n = dims[d], width = rabitq_width_for(n);
        check(width % RABITQ_STEP == 0 && width >= n &&
              width < n + RABITQ_STEP);
        float *a = floats(n), *b = floats(n), *x = floats(width);
        float *y = floats(width);
        fill(&r, a, n, 1);
        fill(&r, b, n, 1);
        rabitq_rotate(rq, a, x);
        rabitq_rotate(rq, b, y);
        float size = kernel_dot(a, a, n);
        check_near(kernel_dot(x, x, width), size, 1e-5 * size);
        check_near(kernel_dot(x, y, width), kernel_dot(a, b, n),
                   1e-5 * size + 1e-5);
        rabitq_unrotate(rq, x, y);
        check_tensor(y, a, n, 1e-5);
        free(a), free(b), free(x), free(y);
        rabitq_free(rq);
    }
}

/* What makes one bit per number enough: no number of a rotated vector stands
 * out, whatever the vector was. */
static void a_rotation_spreads_single_numbers(void **state)
{
    (void)state;
    for (size_t d = 3; d < N_DIMS; d++) {
        struct rabitq *rq;
        check_ok(rabitq_new(dims[d], rabitq_seed(dims[d], 3), &rq));
        size_t n = dims[d], width = rabitq_width_for(n);
        float *v = floats(n), *x = floats(width);
        for (size_t i = 0; i < n; i += 1 + n / 5) {
            float sum = 0;
            memset(v, 0, n * sizeof *v);
            v[i] = 1;
            rabitq_rotate(rq, v, x);
            for (size_t k = 0; k < width; k++) {
                check(fabsf(x[k]) < 7 / sqrtf((float)width));
                sum += fabsf(x[k]);
            }
            /* of a normal vector: sqrt(2 / pi) */
            check_near(sum / sqrtf((float)width), 0.798, 0.15);
        }
        free(v), free(x);
        rabitq_free(rq);
    }
}

/* The signs of the format: splitmix64. */
static float sign_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) >> 63 ? 1.0F : -1.0F;
}

/* Pair after pair, scaled behind the numbers that are 8 apart. */
static void hadamard_plain(float *x, size_t n, float scale)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i++) {
            if (i & half) continue;
            float a = x[i], b = x[i + half], by = half == 8 ? scale : 1;
            x[i] = (a + b) * by;
            x[i + half] = (a - b) * by;
        }
}

static void mix_plain(float *x, size_t width)
{
    const float half = 0.70710678F;
    for (size_t i = 0; i < width / 2; i++) {
        float a = x[i], b = x[i + width / 2];
        x[i] = (a + b) * half;
        x[i + width / 2] = (a - b) * half;
    }
}

/* x [width rounded up from dim] in the place of its first dim numbers. */
static void rotate_plain(float *x, size_t dim, uint64_t seed)
{
    static float signs[6 * RABITQ_DIM_MAX];
    uint64_t state = seed ^ (uint64_t)dim << 32;
    size_t width = rabitq_width_for(dim), reach = 16;
    while (reach * 2 <= width) reach *= 2;
    float scale = 1 / sqrtf((float)reach);
    bool mixes = seed >> 63;
    for (size_t i = 0; i < 6 * width; i++) signs[i] = sign_next(&state);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < width; i++) x[i] *= signs[round * width + i];
        hadamard_plain(x, reach, scale);
        for (size_t i = 0; mixes && i < width; i++)
            x[i] *= signs[(3 + round) * width + i];
        if (reach < width) hadamard_plain(x + width - reach, reach, scale);
        if (mixes) mix_plain(x, width);
    }
}

static void a_rotation_is_that_of_the_format_to_the_bit(void **state)
{
    (void)state;
    static float v[RABITQ_DIM_MAX], x[RABITQ_DIM_MAX], want[RABITQ_DIM_MAX];
    struct rng r;
    rng_init(&r, 19, 0, 0);
    for (size_t d = 0; d < 2 * N_DIMS; d++) {
        struct rabitq *rq;
        size_t dim = dims[d / 2];
        uint64_t seed = d % 2 ? 5 | RABITQ_MIXING : 5;
        check_ok(rabitq_new(dim, seed, &rq));
        fill(&r, v, dim, 1);
        memset(want, 0, sizeof want);
        memcpy(want, v, dim * sizeof *v);
        rotate_plain(want, dim, seed);
        rabitq_rotate(rq, v, x);
        assert_memory_equal(x, want, rabitq_width_for(dim) * sizeof *x);
        rabitq_free(rq);
    }
}

/* A table of these widths has the bytes that it always had. */
static void a_power_of_two_and_half_as_much_again_need_no_mixing(void **state)
{
    static const size_t without[] = {1,    64,   128,  384,  768, 1024,
                                     1536, 2048, 3072, 4096, 0};
    static const size_t with[] = {80, 300, 513, 640, 1000, 1025, 2560, 4000, 0};
    (void)state;
    for (size_t i = 0; without[i]; i++) check(rabitq_seed(without[i], 9) == 9);
    for (size_t i = 0; with[i]; i++)
        check(rabitq_seed(with[i], 9) == (9 | RABITQ_MIXING));
}

static void a_dimension_out_of_range_is_refused(void **state)
{
    (void)state;
    struct rabitq *rq;
    check_err(rabitq_new(0, 1, &rq), TACIT_SHAPE);
    check_err(rabitq_new(RABITQ_DIM_MAX + 1, 1, &rq), TACIT_SHAPE);
}

static void a_row_of_bytes_gives_distances_without_bias(void **state)
{
    (void)state;
    enum { WIDTH = 384, N = 400 };
    float x[WIDTH], q[WIDTH];
    int8_t codes[WIDTH];
    struct rng r;
    double sum = 0, square = 0;
    rng_init(&r, 2, 0, 0);
    for (size_t i = 0; i < N; i++) {
        fill(&r, x, WIDTH, 1 / sqrtf(WIDTH));
        for (size_t k = 0; k < WIDTH; k++)
            q[k] = x[k] + 0.5F * rng_normal(&r) / sqrtf(WIDTH);
        struct rabitq_row row = rabitq_row_encode(x, WIDTH, codes);
        double exact = 0, product = 0;
        for (size_t k = 0; k < WIDTH; k++) {
            exact += (double)(q[k] - x[k]) * (q[k] - x[k]);
            product += (double)q[k] * row.scale * codes[k];
        }
        double d = row.norm2 + kernel_dot(q, q, WIDTH) - 2 * product - exact;
        sum += d;
        square += d * d;
    }
    check_near(sum / N, 0, 5e-5);
    check(sqrt(square / N) < 6e-4);
}

static void a_row_of_zeros_stays_zero(void **state)
{
    (void)state;
    float x[16] = {0};
    int8_t codes[16];
    struct rabitq_row row = rabitq_row_encode(x, 16, codes);
    check(row.scale >= 0 && row.scale <= 0 && row.norm2 <= 0);
    for (size_t i = 0; i < 16; i++) check(codes[i] == 0);
}

/* Put an entry into a block as ivf does. */
static void block_put(uint8_t *block, size_t width, size_t i,
                      const uint8_t *bits, struct rabitq_entry e)
{
    for (size_t j = 0; j < width / 8; j++) block[16 * j + i] = bits[j];
    memcpy(block + 2 * width + 2 * i, &e.add, 2);
    memcpy(block + 2 * width + 2 * (16 + i), &e.mul, 2);
}

struct trial {
    double bias, spread; /* of errors in units of what is promised */
};

/* Entries of the first `part` of the numbers, or of all. */
static struct trial estimates_try(enum rabitq_metric metric, size_t width,
                                  size_t part)
{
    enum { ROUNDS = 60 };
    struct rng r;
    struct trial t = {0, 0};
    struct rabitq_query *q;
    const struct rabitq_kernels *k = rabitq_kernels();
    float *v = floats(width), *c = floats(width), *x = floats(16 * width);
    uint8_t *block = calloc(1, 2 * width + 64), bits[RABITQ_DIM_MAX / 8];
    uint8_t tables[RABITQ_DIM_MAX * 4];
    float estimate[16], lower[16];
    rng_init(&r, 3, width, 0);
    check_ok(rabitq_query_new(width, &q));
    for (size_t round = 0; round < ROUNDS; round++) {
        float unit = 1 / sqrtf((float)width);
        fill(&r, v, width, unit);
        fill(&r, c, width, unit);
        rabitq_query_set(q, v);
        for (size_t i = 0; i < 16; i++) {
            float *o = x + i * width;
            for (size_t j = 0; j < width; j++)
                o[j] = c[j] + 0.7F * unit * rng_normal(&r);
            struct rabitq_entry e =
                part < width ? rabitq_encode_part(o, c, width, part, bits)
                             : rabitq_encode(metric, o, c, width, bits);
            block_put(block, part, i, bits, e);
        }
        float qc = kernel_dot(v, c, width), cc = kernel_dot(c, c, width);
        float d2 = q->norm2 + cc - 2 * qc;
        struct rabitq_scan s = {q->tables,
                                width,
                                q->gain,
                                q->offset,
                                metric == RABITQ_L2 ? d2 : -qc,
                                RABITQ_DEVIATION * sqrtf(d2),
                                INFINITY};
        if (part < width) {
            s.offset = rabitq_query_part(q, part, tables);
            s.tables = tables;
            s.width = part;
        }
        check(k->scan(&s, block, estimate, lower) == 0xffff);
        for (size_t i = 0; i < 16; i++) {
            float *o = x + i * width, p = kernel_dot(v, o, width);
            float exact = metric == RABITQ_L2
                              ? q->norm2 + kernel_dot(o, o, width) - 2 * p
                              : -p;
            double error = (double)(estimate[i] - exact) /
                           (double)(estimate[i] - lower[i]);
            t.bias += error / (16 * ROUNDS);
            t.spread += error * error / (16 * ROUNDS);
        }
    }
    rabitq_query_free(q);
    free(v), free(c), free(x), free(block);
    return t;
}

static void an_estimate_errs_as_its_bound_says(void **state)
{
    (void)state;
    static const size_t widths[] = {64, 384, 1024};
    for (size_t i = 0; i < 3; i++)
        for (int metric = RABITQ_L2; metric <= RABITQ_DOT; metric++) {
            struct trial t =
                estimates_try((enum rabitq_metric)metric, widths[i], widths[i]);
            check_near(t.bias, 0, 0.12);
            check_near(sqrt(t.spread), 1, 0.12);
        }
}

/* The bound takes twice the error of the signs, which the choice of numbers
 * does not fill. */
static void a_part_of_the_bits_estimates_the_whole_distance(void **state)
{
    (void)state;
    static const size_t widths[] = {256, 384, 1024};
    for (size_t i = 0; i < 3; i++) {
        struct trial t = estimates_try(RABITQ_L2, widths[i], widths[i] / 4);
        check_near(t.bias, 0, 0.12);
        check_near(sqrt(t.spread), 0.77, 0.12);
    }
}

static void an_entry_on_its_centroid_is_live(void **state)
{
    (void)state;
    float x[16] = {1, 2, 3};
    uint8_t bits[2];
    struct rabitq_entry e = rabitq_encode(RABITQ_L2, x, x, 16, bits);
    check(e.mul != 0);
    check(bf16_decode(e.mul) >= 0 && bf16_decode(e.mul) < 1e-30F);
}

static void every_kernel_gives_the_same_bits(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 4, 0, 0);
    for (size_t width = 16; width <= 4096; width += width < 160 ? 16 : 496) {
        uint8_t *block = malloc(2 * width + 64), *tables = malloc(4 * width);
        int8_t *rows = malloc(3 * width);
        int16_t *q16 = malloc(width * sizeof *q16);
        for (int round = 0; round < 6; round++) {
            for (size_t i = 0; i < 2 * width + 64; i++)
                block[i] = (uint8_t)rng_u64(&r);
            for (size_t i = 0; i < 4 * width; i++)
                tables[i] = round == 0 ? 127 : (uint8_t)rng_below(&r, 128);
            if (round == 0) memset(block, 0xff, 2 * width);
            for (size_t i = 0; i < 16; i++) {
                /* scalars of the usual sizes; some slots empty */
                uint16_t add = (uint16_t)(0x3e00 + rng_below(&r, 0x200));
                uint16_t mul = (uint16_t)(0x3a00 + rng_below(&r, 0x200));
                if (rng_below(&r, 4) == 0) mul = 0;
                memcpy(block + 2 * width + 2 * i, &add, 2);
                memcpy(block + 2 * width + 32 + 2 * i, &mul, 2);
            }
            for (size_t i = 0; i < 3 * width; i++)
                rows[i] = round == 0 ? 127 : (int8_t)rng_below(&r, 255);
            for (size_t i = 0; i < width; i++)
                q16[i] = round == 0 ? RABITQ_QUERY_MAX
                                    : (int16_t)(rng_below(&r, 8191) - 4095);
            struct rabitq_scan s = {tables, width, 0.01F, -3.3F,
                                    1.5F,   0.4F,  1.4F};
            float want[2][16], got[2][16];
            int32_t dots[3], same[3];
            const struct rabitq_kernels *k = rabitq_kernels_at(0);
            uint32_t mask = k->scan(&s, block, want[0], want[1]);
            k->dots(rows, width, 3, q16, width, dots);
            for (size_t v = 1; (k = rabitq_kernels_at(v)) != NULL; v++) {
                memset(got, 0, sizeof got);
                check(k->scan(&s, block, got[0], got[1]) == mask);
                assert_memory_equal(got, want, sizeof got);
                k->dots(rows, width, 3, q16, width, same);
                assert_memory_equal(same, dots, sizeof dots);
            }
        }
        free(block), free(tables), free(rows), free(q16);
    }
}

static void an_empty_slot_never_passes(void **state)
{
    (void)state;
    enum { WIDTH = 64 };
    uint8_t block[2 * WIDTH + 64] = {0}, tables[4 * WIDTH] = {0};
    float estimate[16], lower[16];
    struct rabitq_scan s = {tables, WIDTH, 1, 0, -5, 0, INFINITY};
    const struct rabitq_kernels *k;
    for (size_t v = 0; (k = rabitq_kernels_at(v)) != NULL; v++)
        check(k->scan(&s, block, estimate, lower) == 0);
}

static void a_query_of_zeros_is_defined(void **state)
{
    (void)state;
    struct rabitq_query *q;
    float x[32] = {0};
    check_ok(rabitq_query_new(32, &q));
    rabitq_query_set(q, x);
    check(q->norm2 <= 0);
    for (size_t i = 0; i < 32; i++) check(q->q16[i] == 0);
    rabitq_query_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotation_keeps_lengths_and_products),
        cmocka_unit_test(a_rotation_spreads_single_numbers),
        cmocka_unit_test(a_rotation_is_that_of_the_format_to_the_bit),
        cmocka_unit_test(a_power_of_two_and_half_as_much_again_need_no_mixing),
        cmocka_unit_test(a_dimension_out_of_range_is_refused),
        cmocka_unit_test(a_row_of_bytes_gives_distances_without_bias),
        cmocka_unit_test(a_row_of_zeros_stays_zero),
        cmocka_unit_test(an_estimate_errs_as_its_bound_says),
        cmocka_unit_test(a_part_of_the_bits_estimates_the_whole_distance),
        cmocka_unit_test(an_entry_on_its_centroid_is_live),
        cmocka_unit_test(every_kernel_gives_the_same_bits),
        cmocka_unit_test(an_empty_slot_never_passes),
        cmocka_unit_test(a_query_of_zeros_is_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
