/* digits: pictures that are whole, differ, and are as hard as they should. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "sims/data.h"
#include "sims/digits.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE };
static const struct digits_canvas canvas = {SIDE, SIDE};

static void a_picture_is_a_function_of_seed_writer_and_row(void **state)
{
    (void)state;
    static float a[PIXELS], b[PIXELS];
    for (uint64_t r = 0; r < 30; r++) {
        unsigned label = digits_label(4, 9, r, 10);
        check(label < 10 && digits_label(4, 9, r, 10) == label);
        digits_draw(4, 9, r, label, &canvas, a);
        digits_draw(4, 9, r, label, &canvas, b);
        check(memcmp(a, b, sizeof a) == 0);
        digits_draw(5, 9, r, label, &canvas, b);
        check(memcmp(a, b, sizeof a) != 0);
        digits_draw(4, 8, r, label, &canvas, b);
        check(memcmp(a, b, sizeof a) != 0);
        digits_draw(4, 9, r + 1, label, &canvas, b);
        check(memcmp(a, b, sizeof a) != 0);
    }
}

static void values_are_levels_of_a_scanner(void **state)
{
    (void)state;
    static float x[PIXELS];
    for (uint64_t r = 0; r < 200; r++) {
        double ink = 0;
        digits_draw(1, r, 0, (unsigned)r % 10, &canvas, x);
        for (size_t i = 0; i < PIXELS; i++) {
            float level = 255 * x[i];
            check(x[i] >= 0 && x[i] <= 1);
            check_near(level, floorf(level + 0.5F), 1e-4);
            ink += x[i] > 0.4F;
        }
        check(ink > 25 && ink < PIXELS / 2); /* neither empty nor black */
    }
}

static void any_canvas_is_filled_and_not_left(void **state)
{
    (void)state;
    static const struct digits_canvas sizes[] = {
        {DIGITS_SIDE_MIN, DIGITS_SIDE_MIN},
        {DIGITS_SIDE_MIN, DIGITS_SIDE_MAX},
        {DIGITS_SIDE_MAX, DIGITS_SIDE_MIN},
        {64, 48}};
    for (size_t s = 0; s < 4; s++) {
        size_t n = sizes[s].height * sizes[s].width;
        float *x = malloc((n + 1) * sizeof *x);
        check(x != NULL);
        for (uint64_t r = 0; r < 60; r++) {
            float most = 0;
            x[n] = 77;
            digits_draw(2, r, r, (unsigned)r % 10, &sizes[s], x);
            for (size_t i = 0; i < n; i++) most = fmaxf(most, x[i]);
            check(most > 0.4F && x[n] > 76);
        }
        free(x);
    }
}

static void labels_are_even(void **state)
{
    (void)state;
    size_t seen[10] = {0};
    for (uint64_t i = 0; i < 10000; i++) seen[digits_label(1, i % 7, i, 10)]++;
    for (size_t k = 0; k < 10; k++) check_near(seen[k], 1000, 150);
}

/* ---- how hard ----------------------------------------------------------- */

enum { TRAIN = 4000, TEST = 1000, EPOCHS = 6 };

/* Class scores of a picture, bias last. */
static size_t classify(const float *w, const float *x, double p[10])
{
    size_t best = 0;
    double sum = 0, most = -INFINITY;
    for (size_t k = 0; k < 10; k++) {
        float s = w[10 * PIXELS + k];
        for (size_t i = 0; i < PIXELS; i++) s += w[k * PIXELS + i] * x[i];
        p[k] = (double)s;
        if (p[k] > most) best = k;
        if (p[k] > most) most = p[k];
    }
    for (size_t k = 0; k < 10; k++) sum += p[k] = exp(p[k] - most);
    for (size_t k = 0; k < 10; k++) p[k] /= sum;
    return best;
}

static float *draw_set(uint64_t first_writer, size_t n)
{
    float *x = malloc(n * PIXELS * sizeof *x);
    check(x != NULL);
    for (size_t i = 0; i < n; i++)
        digits_draw(1, first_writer + i % 100, i, (unsigned)(i % 10), &canvas,
                    x + i * PIXELS);
    return x;
}

/* Softmax regression on 4,000 pictures, other writers' pictures as test: near
 * 88 %. A LeNet (6, 16, 120, 84) on 6,000 reaches 98 %. */
static void a_linear_model_learns_most_but_not_all(void **state)
{
    (void)state;
    float *x = draw_set(0, TRAIN), *t = draw_set(1000, TEST);
    float *w = calloc(10 * PIXELS + 10, sizeof *w);
    double p[10];
    size_t right = 0;
    check(w != NULL);
    for (size_t step = 0; step < (size_t)EPOCHS * TRAIN; step++) {
        size_t row = step * 7 % TRAIN;
        const float *v = x + row * PIXELS;
        classify(w, v, p);
        for (size_t k = 0; k < 10; k++) {
            float g = 0.01F * (float)(p[k] - (row % 10 == k));
            for (size_t i = 0; i < PIXELS; i++) w[k * PIXELS + i] -= g * v[i];
            w[10 * PIXELS + k] -= g;
        }
    }
    for (size_t i = 0; i < TEST; i++)
        right += classify(w, t + i * PIXELS, p) == i % 10;
    print_message("softmax: %zu of %d\n", right, TEST);
    check(right >= 800 && right <= 920);
    free(x);
    free(t);
    free(w);
}

/* ---- as data of a plan --------------------------------------------------- */

static struct plan *plan_of(const char *data, const char *sim)
{
    struct plan *p = NULL;
    char text[512];
    int n = snprintf(text, sizeof text,
                     "name: digits\ntask: classify\n"
                     "model: {kind: softmax, classes: 10}\n"
                     "data: {source: own, format: images%s}\n"
                     "cohort: {size: 3, min_reports: 3}\nsim: {%s}\n",
                     data, sim);
    check_ok(plan_parse("digits.yaml", text, (size_t)n, &p));
    return p;
}

static void rows_do_not_depend_on_how_many_or_on_threads(void **state)
{
    (void)state;
    struct plan *p =
        plan_of("", "clients: 3, rows: 50, partition: sites, threads: 1");
    struct plan *q =
        plan_of("", "clients: 4, rows: 90, partition: sites, threads: 4");
    struct pooled a, b;
    check_ok(data_invent(p, &a));
    check_ok(data_invent(q, &b));
    check(a.n_rows == 150 && a.x_dim == PIXELS && a.n_clients == 3);
    for (size_t k = 0; k < 3; k++) {
        check(memcmp(a.x + 50 * k * PIXELS, b.x + 90 * k * PIXELS,
                     50 * PIXELS * sizeof *a.x) == 0);
        check(memcmp(a.y + 50 * k, b.y + 90 * k, 50 * sizeof *a.y) == 0);
    }
    pooled_release(&a);
    pooled_release(&b);
    plan_free(p);
    plan_free(q);
    p = plan_of("", "clients: 3, rows: 50, threads: 1");
    q = plan_of("", "clients: 7, rows: 30, threads: 3");
    check_ok(data_invent(p, &a));
    check_ok(data_invent(q, &b));
    check(!a.client && a.n_clients == 0);
    check(memcmp(a.x, b.x, 150 * PIXELS * sizeof *a.x) == 0);
    pooled_release(&a);
    pooled_release(&b);
    plan_free(p);
    plan_free(q);
}

static void pictures_that_are_no_digits_are_refused(void **state)
{
    (void)state;
    static const char *const data[] = {", channels: 3", ", height: 7",
                                       ", width: 129"};
    for (size_t i = 0; i < 3; i++) {
        struct plan *p = plan_of(data[i], "clients: 3");
        struct pooled d;
        check(data_invent(p, &d) == TACIT_UNSUPPORTED);
        check(strstr(err_message(), "--data") != NULL);
        err_clear();
        plan_free(p);
    }
    struct plan *p = plan_of("", "clients: 3");
    struct pooled d;
    p->classes = 11;
    check_err(data_invent(p, &d), TACIT_UNSUPPORTED);
    p->classes = 10;
    p->sim.clients = 100000;
    p->sim.rows = 10000000;
    check_err(data_invent(p, &d), TACIT_LIMIT);
    plan_free(p);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_a_function_of_seed_writer_and_row),
        cmocka_unit_test(values_are_levels_of_a_scanner),
        cmocka_unit_test(any_canvas_is_filled_and_not_left),
        cmocka_unit_test(labels_are_even),
        cmocka_unit_test(a_linear_model_learns_most_but_not_all),
        cmocka_unit_test(rows_do_not_depend_on_how_many_or_on_threads),
        cmocka_unit_test(pictures_that_are_no_digits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
