/* kernels: every product against the sum of its definition in f64. */
#include "tests/check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/half.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/kernel_set.h"
#include "common/tensor/kernels.h"

#if KERNEL_SETS_X86
# include <immintrin.h>
#endif

enum { SIDE_MAX = 150 };

typedef void (*product)(float *c, const float *a, const float *b, size_t m,
                        size_t n, size_t k, enum gemm_mode mode);

static const struct kind {
    const char *name;
    product gemm;
    int a_turned, b_turned;
} kinds[] = {{"nn", gemm_nn, 0, 0},
             {"nt", gemm_nt, 0, 1},
             {"tn", gemm_tn, 1, 0}};

static float *numbers(struct rng *r, size_t n)
{
    float *v = malloc((n ? n : 1) * sizeof *v);
    check(v != NULL);
    for (size_t i = 0; i < n; i++) v[i] = rng_normal(r);
    return v;
}

static void check_product(const struct kind *q, struct rng *r, size_t m,
                          size_t n, size_t k, enum gemm_mode mode)
{
    float *a = numbers(r, m * k), *b = numbers(r, k * n);
    float *c = numbers(r, m * n), *want = malloc((m * n + 1) * sizeof *want);
    check(want != NULL);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = mode == GEMM_ADD ? (double)c[i * n + j] : 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)a[q->a_turned ? l * m + i : i * k + l] *
                       (double)b[q->b_turned ? j * k + l : l * n + j];
            want[i * n + j] = (float)sum;
            /* What is set may not depend on what was there. */
            if (mode == GEMM_SET) c[i * n + j] = NAN;
        }
    q->gemm(c, a, b, m, n, k, mode);
    check_tensor(c, want, m * n, 1e-5 * (1 + sqrt((double)k)));
    free(a);
    free(b);
    free(c);
    free(want);
}

static void products_of_all_small_shapes(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1, 0, 0);
    for (size_t q = 0; q < 3; q++)
        for (size_t m = 0; m <= 3; m++)
            for (size_t n = 0; n <= 3; n++)
                for (size_t k = 0; k <= 3; k++) {
                    check_product(&kinds[q], &r, m, n, k, GEMM_SET);
                    check_product(&kinds[q], &r, m, n, k, GEMM_ADD);
                }
}

static void products_of_random_shapes(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 2, 0, 0);
    for (int i = 0; i < 90; i++) {
        size_t m = 1 + rng_below(&r, SIDE_MAX), n = 1 + rng_below(&r, SIDE_MAX);
        size_t k = 1 + rng_below(&r, SIDE_MAX);
        check_product(&kinds[i % 3], &r, m, n, k, i & 1 ? GEMM_SET : GEMM_ADD);
    }
}

static void products_of_thin_and_deep_shapes(void **state)
{
    (void)state;
    /* Around whole tiles, more than one panel deep, and thin ones. */
    static const size_t shapes[][3] = {{64, 64, 63},  {64, 64, 64},
                                       {65, 64, 64},  {3, 4096, 64},
                                       {4, 4096, 64}, {2048, 1, 256},
                                       {1, 1, 9000},  {512, 4, 512}};
    struct rng r;
    rng_init(&r, 3, 0, 0);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (size_t q = 0; q < 3; q++) {
            const size_t *s = shapes[i];
            check_product(&kinds[q], &r, s[0], s[1], s[2], GEMM_SET);
            check_product(&kinds[q], &r, s[0], s[1], s[2], GEMM_ADD);
        }
}

static void a_product_replays_to_the_bit(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 4, 0, 0);
    for (size_t side = 5; side <= 125; side += 60) {
        size_t n = side * side;
        float *a = numbers(&r, n), *b = numbers(&r, n);
        float *c = numbers(&r, n), *d = numbers(&r, n);
        for (size_t q = 0; q < 3; q++) {
            kinds[q].gemm(c, a, b, side, side, side, GEMM_SET);
            kinds[q].gemm(d, a, b, side, side, side, GEMM_SET);
            check(memcmp(c, d, n * sizeof *c) == 0);
        }
        free(a);
        free(b);
        free(c);
        free(d);
    }
}

/* The sets that this processor can run. */
static size_t sets_here(const struct kernel_set *out[3])
{
    size_t n = 0;
    out[n++] = &kernel_set_base;
#if KERNEL_SETS_X86
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[n++] = &kernel_set_avx2;
    if (n == 2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512vl"))
        out[n++] = &kernel_set_avx512;
#endif
    return n;
}

static float cut_to_bf16(float x)
{
    return kernel_may(KERNEL_AVX512BF16) ? bf16_decode(bf16_encode(x)) : x;
}

/* Odd sizes, more than a panel deep, tall and wide; A and B lie both ways. */
static void bf16_products_are_those_of_cut_numbers(void **state)
{
    (void)state;
    static const size_t sides[][3] = {
        {1, 1, 1}, {5, 17, 33}, {50, 70, 300}, {61, 271, 131}, {7, 64, 513}};
    struct rng r;
    rng_init(&r, 9, 0, 0);
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int how = 0; how < 8; how++) {
            size_t m = sides[s][0], n = sides[s][1], k = sides[s][2];
            float *a = numbers(&r, m * k), *b = numbers(&r, k * n);
            float *c = numbers(&r, m * n), *want = numbers(&r, m * n);
            struct gemm g = {.m = m, .n = n, .k = k, .a = a, .b = b, .c = c};
            g.a_row = how & 1 ? 1 : k;
            g.a_col = how & 1 ? m : 1;
            g.b_row = how & 2 ? 1 : n;
            g.b_col = how & 2 ? k : 1;
            g.c_row = n;
            g.mode = how & 4 ? GEMM_ADD : GEMM_SET;
            for (size_t i = 0; i < m * n; i++) {
                size_t row = i / n, col = i % n;
                double sum = how & 4 ? (double)c[i] : 0;
                for (size_t l = 0; l < k; l++)
                    sum += (double)cut_to_bf16(a[row * g.a_row + l * g.a_col]) *
                           (double)cut_to_bf16(b[l * g.b_row + col * g.b_col]);
                want[i] = (float)sum;
                if (!(how & 4)) c[i] = NAN;
            }
            gemm_run_in(GEMM_BF16, &g);
            check_tensor(c, want, m * n, 1e-5 * (1 + sqrt((double)k)));
            /* A piece has the bits of the whole. */
            if (how & 4) memset(c, 0, m * n * sizeof *c);
            gemm_run_in(GEMM_BF16, &g);
            memcpy(want, c, m * n * sizeof *c);
            if (how & 4) memset(c, 0, m * n * sizeof *c);
            for (size_t j = 0; j < n; j += 13) {
                struct gemm piece = g;
                piece.b += j * g.b_col;
                piece.c += j;
                piece.n = n - j < 13 ? n - j : 13;
                gemm_run_in(GEMM_BF16, &piece);
            }
            check(memcmp(c, want, m * n * sizeof *c) == 0);
            free(a);
            free(b);
            free(c);
            free(want);
        }
}

#if KERNEL_SETS_X86
/* bf16 as the processor reads it: denormal numbers are zeros. */
static float taken(float x)
{
    return fabsf(x) < FLT_MIN ? 0 : bf16_decode(bf16_encode(x));
}

/* c + (e + o), the order of kernel_pairs.h, along k of one element of C. */
static float in_order(const struct gemm *g, size_t row, size_t col, float c)
{
    for (size_t l = 0; l < g->k; l += 32) {
        float sum[2] = {0};
        for (size_t i = 0; i < 32; i++) {
            size_t at = l + (i ^ 1);
            if (at >= g->k) continue;
            float a = g->a[row * g->a_row + at * g->a_col];
            float b = g->b[at * g->b_row + col * g->b_col];
            sum[i / 16] = fmaf(taken(a), taken(b), sum[i / 16]);
        }
        c += sum[0] + sum[1];
    }
    return c;
}

/* Numbers of every size whose products are finite, some of them denormal. */
static void spread(struct rng *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] =
            ldexpf(x[i], (int)rng_below(r, 80) - (rng_below(r, 4) ? 40 : 120));
}

static void check_order(void (*gemm)(const struct gemm *), const size_t side[3],
                        int how, struct rng *r)
{
    size_t m = side[0], n = side[1], k = side[2], a_row = k + 3, c_row = n + 5;
    float *a = numbers(r, (m + 3) * (k + 3)),
          *b = numbers(r, (n + 2) * (k + 2));
    float *c = numbers(r, m * c_row), *want = numbers(r, m * c_row);
    struct gemm g = {m, n, k,     a, a_row, 1,
                     b, 1, k + 2, c, c_row, how & 4 ? GEMM_ADD : GEMM_SET};
    if (how & 1) g.a_row = 1, g.a_col = m + 3;
    if (how & 2) g.b_row = n + 2, g.b_col = 1;
    spread(r, a, (m + 3) * (k + 3));
    spread(r, b, (n + 2) * (k + 2));
    spread(r, c, m * c_row);
    memcpy(want, c, m * c_row * sizeof *c);
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* denormal numbers are zeros */
    for (size_t i = 0; i < m * n; i++) {
        float *to = &want[i / n * c_row + i % n];
        *to = in_order(&g, i / n, i % n, how & 4 ? *to : 0);
    }
    _mm_setcsr(before);
    gemm(&g);
    check(_mm_getcsr() == before);
    check(memcmp(c, want, m * c_row * sizeof *c) == 0);
    free(a);
    free(b);
    free(c);
    free(want);
}

/* Whole tiles and parts, several strips and slices; what lies between the rows
 * of C stays. In which order a processor without tiles adds a pair is its own
 * affair. */
static void bf16_products_sum_in_one_order(void **state)
{
    (void)state;
    if (!kernel_has(KERNEL_AMXBF16)) skip();
    static const size_t sides[][3] = {{1, 1, 1},     {3, 2, 31},
                                      {16, 16, 32},  {17, 33, 15},
                                      {32, 32, 64},  {40, 70, 300},
                                      {5, 1200, 40}, {65, 48, 1300}};
    struct rng r;
    rng_init(&r, 10, 0, 0);
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int how = 0; how < 8; how++) {
            check_order(kernel_gemm_bf16, sides[s], how, &r);
            check_order(kernel_gemm_amx, sides[s], how, &r);
        }
}
#endif

/* k of more than one panel; A and B lie both ways. */
static void every_set_gives_the_same_product(void **state)
{
    (void)state;
    enum { M = 23, N = 71, K = 300, SPAN = 512 };
    static float a[SPAN * SPAN], b[SPAN * SPAN], c[3][M * N], d[3][M * K];
    static float e[3][M * N];
    static ptrdiff_t offset[K];
    const struct kernel_set *sets[3];
    size_t n_sets = sets_here(sets);
    struct rng r;
    rng_init(&r, 6, 0, 0);
    for (size_t i = 0; i < SPAN * SPAN; i++) {
        a[i] = rng_normal(&r);
        b[i] = rng_normal(&r);
    }
    for (size_t i = 0; i < K; i++) offset[i] = (ptrdiff_t)(7 * i % 400);
    for (int turned = 0; turned < 2; turned++)
        for (size_t s = 0; s < n_sets; s++) {
            struct gemm g = {M, N, K,    a, turned ? 1 : K, turned ? M : 1, b,
                             N, 1, c[s], N, GEMM_SET};
            if (turned) g.b_row = 1, g.b_col = K;
            struct kernel_window w = {.rows = M,
                                      .n_offsets = K,
                                      .n_points = turned ? 59 : 64,
                                      .a = a,
                                      .a_row = SPAN,
                                      .b = b,
                                      .offset = offset,
                                      .c = d[s],
                                      .c_row = K,
                                      .n_images = 3,
                                      .a_image = 16,
                                      .b_image = 64};
            memset(d[s], 0, sizeof d[s]);
            memset(e[s], 0, sizeof e[s]);
            sets[s]->gemm(&g, NULL);
            sets[s]->reduce(&w);
            w.n_offsets = 20;
            w.c = e[s];
            w.c_row = N;
            w.rate = 0.25f;
            w.decay = 0.5f;
            for (int step = 0; step < 3; step++) sets[s]->descend(&w);
            /* The base rounds twice; the others agree to the bit. */
            check_tensor(c[s], c[0], M * N, 2e-3);
            check_tensor(d[s], d[0], M * K, 2e-3);
            check_tensor(e[s], e[0], M * N, 2e-3);
            if (s < 2) continue;
            check(memcmp(c[s], c[1], sizeof c[s]) == 0);
            check(memcmp(d[s], d[1], sizeof d[s]) == 0);
            check(memcmp(e[s], e[1], sizeof e[s]) == 0);
        }
}

static void a_product_may_begin_with_a_row(void **state)
{
    (void)state;
    enum { M = 31, N = 150, K = 300 };
    static float a[M * K], b[K * N], start[N], c[M * N], d[M * N];
    const struct kernel_set *sets[3];
    size_t n_sets = sets_here(sets);
    struct rng r;
    rng_init(&r, 8, 0, 0);
    for (size_t i = 0; i < M * K; i++) a[i] = rng_normal(&r);
    for (size_t i = 0; i < K * N; i++) b[i] = rng_normal(&r);
    for (size_t i = 0; i < N; i++) start[i] = rng_normal(&r);
    for (int turned = 0; turned < 2; turned++)
        for (size_t s = 0; s < n_sets; s++) {
            struct gemm g = {M, N, K, a, K, 1, b, N, 1, c, N, GEMM_ADD};
            if (turned) g.b_row = 1, g.b_col = K;
            for (size_t i = 0; i < M; i++)
                memcpy(c + i * N, start, sizeof start);
            sets[s]->gemm(&g, NULL);
            for (int mode = 0; mode < 2; mode++) {
                g.c = d;
                g.mode = mode ? GEMM_ADD : GEMM_SET;
                for (size_t i = 0; i < M * N; i++) d[i] = NAN;
                sets[s]->gemm(&g, start);
                check(memcmp(c, d, sizeof c) == 0);
            }
        }
}

/* Units in the last place of the nearest f32. */
static double units_off(float y, long double want)
{
    double unit = ldexp(1, ilogb((double)want) - 23);
    return fabs((double)((long double)y - want)) / unit;
}

/* Above 0, down to -3, and down to -6, where it is 6e-9. */
static void check_gelu(const float *x, const float *y, size_t n)
{
    double most[3] = {0};
    for (size_t i = 0; i < n; i++) {
        long double v = x[i], want = v * 0.5L * erfcl(-v / sqrtl(2));
        size_t k = v > 0 ? 0 : v > -3 ? 1 : 2;
        check_near(y[i], want, 4e-7);
        if (v < -6 || x[i] == 0) continue;
        double off = units_off(y[i], want);
        most[k] = off > most[k] ? off : most[k];
    }
    check(most[0] < 3 && most[1] < 24 && most[2] < 80);
}

static void every_set_gives_the_same_gelu_and_softmax(void **state)
{
    (void)state;
    enum { N = 56003, SHORT = 70 };
    static float x[N], y[3][N], slope[3][N], add[3][N], soft[3][N];
    const struct kernel_set *sets[3];
    size_t n_sets = sets_here(sets);
    for (size_t i = 0; i < N; i++) x[i] = ((float)i - N / 2) * 5e-4f;
    for (size_t s = 0; s < n_sets; s++) {
        memcpy(slope[s], x, sizeof x);
        sets[s]->gelu(y[s], x, N);
        check_gelu(x, y[s], N);
        sets[s]->gelu_slope(add[s], slope[s], N);
        check(memcmp(add[s], y[s], sizeof x) == 0);
        memset(add[s], 0, sizeof x);
        sets[s]->gelu_backward(add[s], x, x, N);
        float *p = soft[s];
        for (size_t n = 1; n <= SHORT; p += n++) {
            float top = n % 3 ? -INFINITY : 40;
            double sum = 0;
            for (size_t i = 0; i < n; i++) p[i] = x[i * 7919 % N] * 2;
            p[n] = sets[s]->soften(p, 0.5f, &top, n);
            for (size_t i = 0; i < n; i++) {
                sum += (double)p[i];
                double e = exp((double)x[i * 7919 % N] - (double)top);
                check(fabs((double)p[i] / e - 1) < 4e-6);
            }
            check(fabs((double)p[n] / sum - 1) < 1e-6);
        }
        for (size_t i = 0; i < N; i++) {
            double v = (double)x[i], cdf = 0.5 * erfc(-v / sqrt(2));
            double want = cdf + v * exp(-v * v / 2) * 0.3989422804014327;
            check_near(slope[s][i], want, 5e-7);
            check_near(add[s][i], v * want, 7e-6);
        }
        /* The base rounds twice; the others agree to the bit. */
        if (s < 2) continue;
        check(memcmp(y[s], y[1], sizeof x) == 0);
        check(memcmp(slope[s], slope[1], sizeof x) == 0);
        check(memcmp(add[s], add[1], sizeof x) == 0);
        check(memcmp(soft[s], soft[1], sizeof x) == 0);
    }
}

static void gelu_and_softmax_pass_what_is_no_number(void **state)
{
    (void)state;
    const struct kernel_set *sets[3];
    size_t n_sets = sets_here(sets);
    for (size_t s = 0; s < n_sets; s++) {
        const float odd[] = {NAN, INFINITY, -INFINITY};
        float y[3], slope[3], top = 0, p[2] = {1, NAN};
        memcpy(slope, odd, sizeof odd);
        sets[s]->gelu_slope(y, slope, 3);
        check(isnan(y[0]) && isinf(y[1]) && fabsf(y[2]) < 1e-36f);
        check(isnan(slope[0]));
        check_near(slope[1], 1, 1e-6);
        check_near(slope[2], 0, 1e-6);
        check(isnan(sets[s]->soften(p, 1, &top, 2)) && isnan(p[1]));
    }
}

static void dot_and_axpy_of_every_short_length(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (size_t n = 0; n <= 70; n++) {
        float *x = numbers(&r, n), *y = numbers(&r, n);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
        check_near(kernel_dot(x, y, n), sum, 1e-4);
        float *want = numbers(&r, n);
        for (size_t i = 0; i < n; i++) want[i] = y[i] + -0.5F * x[i];
        kernel_axpy(y, -0.5F, x, n);
        check_tensor(y, want, n, 1e-6);
        free(x);
        free(y);
        free(want);
    }
}

static void normalise_makes_length_one(void **state)
{
    (void)state;
    float v[3] = {3, 0, 4}, zero[3] = {0};
    check_near(kernel_normalise(v, 3), 5, 1e-6);
    check_near(kernel_dot(v, v, 3), 1, 1e-6);
    check_near(v[2], 0.8, 1e-6);
    check(kernel_normalise(zero, 3) == 0);
    check(zero[0] == 0 && zero[1] == 0 && zero[2] == 0);
    check(kernel_normalise(v, 0) == 0);
    check_near(v[2], 0.8, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_all_small_shapes),
        cmocka_unit_test(products_of_random_shapes),
        cmocka_unit_test(products_of_thin_and_deep_shapes),
        cmocka_unit_test(a_product_replays_to_the_bit),
        cmocka_unit_test(bf16_products_are_those_of_cut_numbers),
#if KERNEL_SETS_X86
        cmocka_unit_test(bf16_products_sum_in_one_order),
#endif
        cmocka_unit_test(every_set_gives_the_same_product),
        cmocka_unit_test(a_product_may_begin_with_a_row),
        cmocka_unit_test(every_set_gives_the_same_gelu_and_softmax),
        cmocka_unit_test(gelu_and_softmax_pass_what_is_no_number),
        cmocka_unit_test(dot_and_axpy_of_every_short_length),
        cmocka_unit_test(normalise_makes_length_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
