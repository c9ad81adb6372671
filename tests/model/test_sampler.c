/* What a sampler draws from, against chances worked out by hand, and how often
 * it draws each. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/sampler.h"

enum { N = 5 };
/* Chances 0.4, 0.3, 0.15, 0.1, 0.05 of tokens 2, 0, 4, 1, 3. */
static const double chance[N] = {0.3, 0.1, 0.4, 0.05, 0.15};

static void logits_of(float *z)
{
    for (size_t i = 0; i < N; i++) z[i] = (float)(log(chance[i]) + 3);
}

static void check_rank(const struct sampling *how, const uint32_t *recent,
                       size_t n_recent, const uint32_t *id, const double *want,
                       size_t n)
{
    struct sampler *s;
    const struct sampled *got;
    size_t n_got;
    float z[N];
    logits_of(z);
    check_ok(sampler_new(how, N, &s));
    check_ok(sampler_rank(s, z, recent, n_recent, &got, &n_got));
    check(n_got == n);
    for (size_t i = 0; i < n; i++) {
        check(got[i].id == id[i]);
        check_near(got[i].chance, want[i], 1e-5);
    }
    sampler_free(s);
}

static const uint32_t order[N] = {2, 0, 4, 1, 3};

static void each_way_leaves_what_its_formula_leaves(void **state)
{
    (void)state;
    static const double all[] = {0.4, 0.3, 0.15, 0.1, 0.05};
    static const double three[] = {0.4 / 0.85, 0.3 / 0.85, 0.15 / 0.85};
    static const double two[] = {0.4 / 0.7, 0.3 / 0.7};
    struct sampling how = {.temperature = 1, .top_p = 1};
    check_rank(&how, NULL, 0, order, all, N);
    how.top_k = 3;
    check_rank(&how, NULL, 0, order, three, 3);
    how.top_k = 100;
    check_rank(&how, NULL, 0, order, all, N);
    how.top_k = 0;
    how.top_p = 0.84; /* 0.7 is too little */
    check_rank(&how, NULL, 0, order, three, 3);
    how.top_p = 0.69;
    check_rank(&how, NULL, 0, order, two, 2);
    /* Of the three that are left, two hold 0.82. */
    how.top_k = 3;
    how.top_p = 0.8;
    check_rank(&how, NULL, 0, order, two, 2);
    how.top_p = 0; /* one at least */
    check_rank(&how, NULL, 0, order, (double[]){1}, 1);
    how = (struct sampling){.temperature = 1, .top_p = 1, .min_p = 0.3};
    check_rank(&how, NULL, 0, order, three, 3);
    how.min_p = 1;
    check_rank(&how, NULL, 0, order, (double[]){1}, 1);
}

static void temperature_is_a_power_of_the_chances(void **state)
{
    (void)state;
    double want[N], sum = 0;
    for (size_t i = 0; i < N; i++) sum += sqrt(chance[i]);
    for (size_t i = 0; i < N; i++) want[i] = sqrt(chance[order[i]]) / sum;
    check_rank(&(struct sampling){.temperature = 2, .top_p = 1}, NULL, 0, order,
               want, N);
    check_rank(&(struct sampling){0}, NULL, 0, order, (double[]){1}, 1);
}

static void what_was_said_is_less_likely(void **state)
{
    (void)state;
    /* All logits are positive. */
    static const uint32_t recent[] = {2, 2, 4, 2};
    float z[N];
    logits_of(z);
    z[2] /= 2;
    z[4] /= 2;
    double sum = 0;
    for (size_t i = 0; i < N; i++) sum += exp((double)z[i]);
    double p[N];
    for (size_t i = 0; i < N; i++) p[i] = exp((double)z[i]) / sum;
    struct sampling how = {.temperature = 1, .top_p = 1, .repetition = 2};
    struct sampler *s;
    const struct sampled *got;
    size_t n;
    float raw[N];
    logits_of(raw);
    check_ok(sampler_new(&how, N, &s));
    check_ok(sampler_rank(s, raw, recent, 4, &got, &n));
    check(n == N);
    for (size_t i = 0; i < n; i++)
        check_near(got[i].chance, p[got[i].id], 1e-5);
    /* A negative logit moves down too. */
    raw[2] = -1;
    check_ok(sampler_rank(s, raw, recent, 1, &got, &n));
    double ratio = 0;
    for (size_t i = 0; i < n; i++)
        if (got[i].id == 2) ratio = (double)got[i].chance;
    sum = exp(-2.0);
    for (size_t i = 0; i < N; i++)
        if (i != 2) sum += exp((double)raw[i]);
    check_near(ratio, exp(-2.0) / sum, 1e-6);
    sampler_free(s);
    /* A window of one: the 2 alone. */
    how.window = 1;
    check_ok(sampler_new(&how, N, &s));
    logits_of(raw);
    check_ok(sampler_rank(s, raw, recent, 4, &got, &n));
    sum = 0;
    for (size_t i = 0; i < N; i++)
        sum += exp((double)raw[i] / (i == 2 ? 2 : 1));
    for (size_t i = 0; i < n; i++)
        if (got[i].id == 4)
            check_near(got[i].chance, exp((double)raw[4]) / sum, 1e-5);
    sampler_free(s);
}

static void draws_are_as_frequent_as_likely(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    const struct sampling how = {.temperature = 1, .top_p = 1, .seed = 4};
    struct sampler *s, *same;
    double count[N] = {0}, off = 0;
    float z[N];
    logits_of(z);
    check_ok(sampler_new(&how, N, &s));
    check_ok(sampler_new(&how, N, &same));
    for (int i = 0; i < DRAWS; i++) {
        uint32_t a, b;
        check_ok(sampler_pick(s, z, NULL, 0, &a));
        check_ok(sampler_pick(same, z, NULL, 0, &b));
        check(a < N && a == b);
        count[a]++;
    }
    for (size_t i = 0; i < N; i++) {
        double d = count[i] - DRAWS * chance[i];
        off += d * d / (DRAWS * chance[i]);
    }
    check(off < 18.5); /* chi-square, 4 degrees: one in a thousand */
    sampler_free(s);
    sampler_free(same);
}

/* Ranking looks at few tokens; sorting everything must give the same. */
static void large_vocabularies_are_cut_as_small_ones(void **state)
{
    (void)state;
    enum { V = 5000 };
    static float z[V];
    struct rng r;
    rng_init(&r, 3, 0, 0);
    for (size_t i = 0; i < V; i++) z[i] = 4 * rng_normal(&r);
    static const struct sampling ways[] = {
        {.temperature = 1, .top_p = 1},
        {.temperature = 1, .top_p = 0},
        {.temperature = 0.5, .top_p = 0.9},
        {.temperature = 3, .top_p = 0.999},
        {.temperature = 1, .top_k = 40, .top_p = 1},
        {.temperature = 0.1, .top_k = 4000, .top_p = 0.99999},
        {.temperature = 1, .top_p = 1, .min_p = 0.001},
        {.temperature = 2, .top_k = 500, .top_p = 0.8, .min_p = 0.01},
    };
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        const struct sampling *how = &ways[w];
        struct sampler *s;
        const struct sampled *got;
        size_t n, k = how->top_k ? how->top_k : V, keep = 0;
        check_ok(sampler_new(how, V, &s));
        check_ok(sampler_rank(s, z, NULL, 0, &got, &n));
        double all = 0, sum = 0, kept = 0, total = 0;
        static double p[V];
        /* By selection, the slow way. */
        for (size_t i = 0; i < V; i++)
            p[i] = exp((double)z[i] / how->temperature);
        static uint32_t rank[V];
        for (uint32_t i = 0; i < V; i++) rank[i] = i;
        for (size_t i = 0; i < n + 1 && i < V; i++)
            for (size_t j = i + 1; j < V; j++)
                if (p[rank[j]] > p[rank[i]]) {
                    uint32_t t = rank[i];
                    rank[i] = rank[j];
                    rank[j] = t;
                }
        if (k < V) {
            static double copy[V];
            memcpy(copy, p, sizeof copy);
            for (size_t i = 0; i < k; i++) {
                size_t at = 0;
                for (size_t j = 1; j < V; j++)
                    if (copy[j] > copy[at]) at = j;
                all += copy[at];
                copy[at] = 0;
            }
        } else {
            for (size_t i = 0; i < V; i++) all += p[i];
        }
        while (keep < k) {
            double e = p[rank[keep]];
            if (keep && e < how->min_p * p[rank[0]]) break;
            sum += e;
            keep++;
            if (how->top_p < 1 && sum >= how->top_p * all) break;
            if (keep > n) break;
        }
        check(keep == n);
        for (size_t i = 0; i < n; i++) kept += p[rank[i]];
        for (size_t i = 0; i < n; i++) {
            check(got[i].id == rank[i]);
            check_near(got[i].chance, p[rank[i]] / kept, 1e-5);
            total += (double)got[i].chance;
        }
        check_near(total, 1, 1e-4);
        sampler_free(s);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const struct sampling bad[] = {{.temperature = -1},
                                          {.temperature = NAN},
                                          {.top_p = 1.5},
                                          {.min_p = 2},
                                          {.repetition = INFINITY}};
    struct sampler *s = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_err(sampler_new(&bad[i], N, &s), TACIT_LIMIT);
    check_err(sampler_new(&bad[0], 0, &s), TACIT_LIMIT);
    check_ok(sampler_new(&(struct sampling){.temperature = 1}, N, &s));
    float z[N] = {NAN, NAN, -INFINITY, INFINITY, NAN};
    uint32_t out = 7;
    static const uint32_t outside[] = {N};
    check_err(sampler_pick(s, z, NULL, 0, &out), TACIT_FORMAT);
    check(out == 7);
    z[1] = -3;
    check_ok(sampler_pick(s, z, NULL, 0, &out));
    check(out == 1);
    check_err(sampler_pick(s, z, outside, 1, &out), TACIT_FORMAT);
    sampler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_leaves_what_its_formula_leaves),
        cmocka_unit_test(temperature_is_a_power_of_the_chances),
        cmocka_unit_test(what_was_said_is_less_likely),
        cmocka_unit_test(draws_are_as_frequent_as_likely),
        cmocka_unit_test(large_vocabularies_are_cut_as_small_ones),
        cmocka_unit_test(what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
