/* synthetic: vectors with the spreads of the paper, and rows that do not depend
 * on how many there are. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "sims/data.h"
#include "sims/synthetic.h"

enum { DIM = 60, CLASSES = 10 };

static struct synthetic_config config_of(double a, double b)
{
    return (struct synthetic_config){.seed = 3,
                                     .a = a,
                                     .b = b,
                                     .kind = SYNTHETIC_CLASSES,
                                     .dim = DIM,
                                     .classes = CLASSES};
}

/* Mean and variance of n numbers. */
static void moments(const double *v, size_t n, double *mean, double *variance)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (v[i] - *mean) * (v[i] - *mean);
    *variance = squares / (double)n;
}

static void inputs_have_the_papers_spread(void **state)
{
    (void)state;
    enum { ROWS = 4000 };
    static double column[ROWS];
    struct synthetic_config c = config_of(0, 0);
    struct synthetic_device d;
    struct arena a;
    arena_init(&a, 0);
    check_ok(synthetic_device(&c, 4, &a, &d));
    for (size_t j = 0; j < DIM; j += 13) {
        double mean, variance;
        for (size_t r = 0; r < ROWS; r++) {
            float x[DIM], y;
            synthetic_row(&d, r, x, &y);
            column[r] = (double)x[j];
        }
        moments(column, ROWS, &mean, &variance);
        double want = pow((double)j + 1, -1.2);
        check_near(mean, (double)d.mean[j], 5 * sqrt(want / ROWS));
        check_near(variance / want, 1, 0.12);
    }
    arena_release(&a);
}

/* a spreads the models' means over devices, b those of the inputs. */
static void a_and_b_are_standard_deviations(void **state)
{
    (void)state;
    enum { N = 1500 };
    static double u[N], v[N];
    static const double pairs[][2] = {{0, 0}, {0.5, 0.5}, {1, 1}, {0, 2}};
    for (size_t k = 0; k < 4; k++) {
        struct synthetic_config c = config_of(pairs[k][0], pairs[k][1]);
        double mean, variance;
        for (size_t i = 0; i < N; i++) {
            struct arena a;
            struct synthetic_device d;
            arena_init(&a, 0);
            check_ok(synthetic_device(&c, i, &a, &d));
            u[i] = v[i] = 0;
            for (size_t j = 0; j < DIM * CLASSES; j++)
                u[i] += (double)d.w[j] / (DIM * CLASSES);
            for (size_t j = 0; j < DIM; j++) v[i] += (double)d.mean[j] / DIM;
            arena_release(&a);
        }
        double a2 = c.a * c.a + 1. / (DIM * CLASSES), b2 = c.b * c.b + 1. / DIM;
        moments(u, N, &mean, &variance);
        check_near(mean, 0, 5 * sqrt(a2 / N));
        check_near(variance / a2, 1, 0.18);
        moments(v, N, &mean, &variance);
        check_near(mean, 0, 5 * sqrt(b2 / N));
        check_near(variance / b2, 1, 0.18);
    }
}

static void the_label_is_the_devices_own_argmax(void **state)
{
    (void)state;
    struct synthetic_config c = config_of(1, 1);
    struct arena a;
    arena_init(&a, 0);
    size_t seen[CLASSES] = {0};
    for (size_t k = 0; k < 30; k++) {
        struct synthetic_device d;
        check_ok(synthetic_device(&c, k, &a, &d));
        for (uint64_t r = 0; r < 20; r++) {
            float x[DIM], y;
            double best = -INFINITY;
            size_t at = 0;
            synthetic_row(&d, r, x, &y);
            for (size_t i = 0; i < CLASSES; i++) {
                double s = (double)d.bias[i];
                for (size_t j = 0; j < DIM; j++)
                    s += (double)x[j] * (double)d.w[j * CLASSES + i];
                if (s > best) at = i;
                if (s > best) best = s;
            }
            check((size_t)y == at);
            seen[at]++;
        }
    }
    for (size_t i = 0; i < CLASSES; i++) check(seen[i] > 0);
    arena_release(&a);
}

static void iid_devices_are_one(void **state)
{
    (void)state;
    struct synthetic_config c = config_of(1, 1);
    struct synthetic_device d, e;
    struct arena a;
    float x[DIM], z[DIM], y, w;
    arena_init(&a, 0);
    c.iid = 1;
    check_ok(synthetic_device(&c, 1, &a, &d));
    check_ok(synthetic_device(&c, 2, &a, &e));
    check(memcmp(d.w, e.w, DIM * CLASSES * sizeof *d.w) == 0);
    for (size_t j = 0; j < DIM; j++) check_near(d.mean[j], 0, 0);
    synthetic_row(&d, 0, x, &y);
    synthetic_row(&e, 0, z, &w);
    check(memcmp(x, z, sizeof x) != 0); /* each with rows of its own */
    arena_release(&a);
}

static void one_output_is_a_sign_or_a_value(void **state)
{
    (void)state;
    struct synthetic_config c = config_of(0, 0);
    struct synthetic_device d;
    struct arena a;
    size_t ones = 0;
    arena_init(&a, 0);
    c.classes = 1;
    c.kind = SYNTHETIC_SIGN;
    check_ok(synthetic_device(&c, 1, &a, &d));
    for (uint64_t r = 0; r < 200; r++) {
        float x[DIM], y;
        synthetic_row(&d, r, x, &y);
        double s = (double)d.bias[0];
        for (size_t j = 0; j < DIM; j++) s += (double)x[j] * (double)d.w[j];
        check_near(y, s > 0, 0);
        ones += y > 0;
        c.kind = SYNTHETIC_VALUE;
        synthetic_row(&d, r, x, &y);
        check_near(y, s, 0.6);
        c.kind = SYNTHETIC_SIGN;
    }
    check(ones < 200);
    arena_release(&a);
}

static void sizes_are_those_of_the_paper(void **state)
{
    (void)state;
    enum { N = 4000 };
    static double v[N];
    double mean, variance;
    for (size_t k = 0; k < N; k++) {
        size_t n = synthetic_size(8, k);
        check(n >= 50 && n <= SYNTHETIC_ROWS_MAX);
        v[k] = log((double)n - 50 + 0.5); /* cut to a whole number */
    }
    moments(v, N, &mean, &variance);
    check_near(mean, 4, 0.15);
    check_near(sqrt(variance), 2, 0.12);
}

/* ---- as data of a plan --------------------------------------------------- */

static struct plan *plan_of(const char *sim)
{
    struct plan *p = NULL;
    char text[512];
    int n = snprintf(text, sizeof text,
                     "name: vectors\ntask: classify\n"
                     "model: {kind: softmax, classes: 10}\n"
                     "data: {source: own, format: vectors, width: 60}\n"
                     "cohort: {size: 3, min_reports: 3}\nsim: {%s}\n",
                     sim);
    check_ok(plan_parse("vectors.yaml", text, (size_t)n, &p));
    return p;
}

static void rows_do_not_depend_on_how_many_there_are(void **state)
{
    (void)state;
    struct plan *p = plan_of("clients: 3, rows: 100, threads: 1");
    struct plan *q = plan_of("clients: 5, rows: 170, threads: 3");
    struct pooled a, b;
    check_ok(data_invent(p, &a));
    check_ok(data_invent(q, &b));
    check(a.n_rows == 300 && a.n_clients == 3 && a.x_dim == 60 && a.y_dim == 1);
    check(b.n_rows == 850 && b.n_clients == 5);
    for (size_t k = 0; k < 3; k++) {
        check(a.client[100 * k] == k && b.client[170 * k + 169] == k);
        check(memcmp(a.x + 100 * k * 60, b.x + 170 * k * 60, 100 * 60 * 4) ==
              0);
        check(memcmp(a.y + 100 * k, b.y + 170 * k, 100 * 4) == 0);
    }
    pooled_release(&a);
    pooled_release(&b);
    plan_free(p);
    plan_free(q);
}

static void power_sizes_of_devices_are_the_papers(void **state)
{
    (void)state;
    struct plan *p = plan_of("clients: 30, rows: 2, sizes: power, a: 1, b: 1");
    struct pooled d;
    size_t at = 0;
    check_ok(data_invent(p, &d));
    for (size_t k = 0; k < 30; k++) {
        size_t n = synthetic_size(p->seed, k);
        check(d.client[at] == k && d.client[at + n - 1] == k);
        at += n;
    }
    check(at == d.n_rows);
    pooled_release(&d);
    plan_free(p);
}

static void other_ways_take_rows_from_many_devices(void **state)
{
    (void)state;
    struct plan *p = plan_of("clients: 3, rows: 60, partition: dirichlet");
    struct synthetic_config c = config_of(0, 0);
    struct synthetic_device d;
    struct pooled rows;
    struct arena a;
    float x[60], y;
    arena_init(&a, 0);
    c.seed = p->seed;
    check_ok(data_invent(p, &rows));
    check(rows.n_rows == 180 && !rows.client && rows.n_clients == 0);
    check_ok(synthetic_device(&c, 7, &a, &d));
    synthetic_row(&d, 1, x, &y);
    check_tensor(rows.x + 107 * 60, x, 60, 0);
    check_near(rows.y[107], y, 0);
    pooled_release(&rows);
    arena_release(&a);
    plan_free(p);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_have_the_papers_spread),
        cmocka_unit_test(a_and_b_are_standard_deviations),
        cmocka_unit_test(the_label_is_the_devices_own_argmax),
        cmocka_unit_test(iid_devices_are_one),
        cmocka_unit_test(one_output_is_a_sign_or_a_value),
        cmocka_unit_test(sizes_are_those_of_the_paper),
        cmocka_unit_test(rows_do_not_depend_on_how_many_there_are),
        cmocka_unit_test(power_sizes_of_devices_are_the_papers),
        cmocka_unit_test(other_ways_take_rows_from_many_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
