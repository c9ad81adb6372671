/* FLoRA under a sum: of what devices of different ranks send, only the mean is
 * looked at, and it has to give back the mean of their products. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/strategy/rows.h"
#include "common/tensor/params.h"
#include "common/tensor/svd.h"

enum { OUT = 72, IN = 60, HEAD = 5, DEVICES_MAX = 8, PARTS = 4 };

static struct params layout;
static struct strategy_config numbers;
static float *global;                         /* [n] */
static double exact[IN * OUT], got[IN * OUT]; /* by columns of OUT */
static double v[IN * IN], sigma[IN];

static size_t size(void)
{
    return layout.n_flat;
}

/* One pair of this rank and a head; values of size 1 in A, `scale` in B. */
static void lay_out(size_t rank, double scale)
{
    const size_t a[] = {rank, IN}, b[] = {OUT, rank}, h[] = {HEAD};
    struct rng rng;
    params_init(&layout);
    check_ok(params_add(&layout, "blk.0.q.weight.lora_a", a, 2));
    check_ok(params_add(&layout, "blk.0.q.weight.lora_b", b, 2));
    check_ok(params_add(&layout, "head.bias", h, 1));
    check_ok(params_alloc(&layout));
    global = layout.flat;
    rng_init(&rng, 1, rank, 0);
    for (size_t i = 0; i < size(); i++)
        global[i] = rng_normal(&rng) * (i < rank * IN ? 1 : (float)scale);
    numbers =
        (struct strategy_config){.server_lr = 1, .seed = 7, .layout = &layout};
}

static int teardown(void **state)
{
    (void)state;
    params_release(&layout);
    return 0;
}

/* to += by * B A of the first `rank` directions of w. */
static void add_product(double *to, double by, const float *w, size_t rank)
{
    const float *a = w, *b = w + layout.list[1].offset;
    size_t width = layout.list[0].dims[0];
    for (size_t i = 0; i < IN; i++)
        for (size_t o = 0; o < OUT; o++)
            for (size_t r = 0; r < rank; r++)
                to[i * OUT + o] +=
                    by * (double)b[o * width + r] * (double)a[r * IN + i];
}

static double length(const double *x)
{
    return sqrt(svd_dot(x, x, (size_t)IN * OUT));
}

static double distance(const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < (size_t)IN * OUT; i++)
        sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sqrt(sum);
}

/* What device k of this rank sends, after a step along what it may move. */
static void train(uint32_t k, uint32_t rank, float *w, float *up)
{
    struct rng rng;
    float *g = malloc(size() * sizeof *g);
    const struct strategy_local l = {
        .c = &numbers, .n = size(), .global = global, .round = 3, .rank = rank};
    assert_true(g != NULL);
    memcpy(w, global, size() * sizeof *w);
    rng_init(&rng, 2, k, rank);
    for (size_t i = 0; i < size(); i++) g[i] = rng_normal(&rng);
    strategy_flora.gradient(&l, w, g);
    for (size_t i = 0; i < size(); i++) w[i] -= 0.3f * g[i];
    strategy_finish(&strategy_flora, &l, w, up, NULL);
    free(g);
}

/* A round of devices of these ranks and weights: exact is the model's product
 * and the mean change, got the one that was published. */
static void go(const uint32_t *rank, const double *weight, size_t n)
{
    float *w = malloc(size() * sizeof *w);
    float *up = malloc(PARTS * size() * sizeof *up);
    double *sum = calloc(PARTS * size(), sizeof *sum), all = 0;
    assert_true(w && up && sum);
    memset(exact, 0, sizeof exact);
    memset(got, 0, sizeof got);
    add_product(exact, 1, global, layout.list[0].dims[0]);
    for (size_t k = 0; k < n; k++) all += weight[k];
    for (uint32_t k = 0; k < n; k++) {
        double p = weight[k] / all;
        train(k, rank[k], w, up);
        for (size_t i = 0; i < PARTS * size(); i++) sum[i] += p * (double)up[i];
        add_product(exact, p, w, layout.list[0].dims[0]);
        add_product(exact, -p, global, layout.list[0].dims[0]);
    }
    for (size_t i = 0; i < PARTS * size(); i++) up[i] = (float)sum[i];
    struct strategy_server s = {.c = &numbers,
                                .n = size(),
                                .weights = global,
                                .round = 3};
    check_ok(strategy_apply(&strategy_flora, &s, up, NULL));
    add_product(got, 1, global, layout.list[0].dims[0]);
    free(w);
    free(up);
    free(sum);
}

/* Length of what the best approximation of this rank leaves of exact. */
static double tail(size_t rank)
{
    static double copy[IN * OUT];
    double sum = 0;
    memcpy(copy, exact, sizeof copy);
    svd_turn(copy, OUT, IN, v, sigma);
    for (size_t k = rank; k < IN; k++) sum += sigma[k] * sigma[k];
    return sqrt(sum);
}

static const double weights[DEVICES_MAX] = {3, 1, 2, 5, 1, 1, 4, 2};

static void devices_of_ranks_4_8_and_16_have_the_mean_of_their_products(
    void **state)
{
    (void)state;
    lay_out(32, 0); /* B 0: nothing is learnt yet, and all directions fit */
    go((const uint32_t[]){4, 8, 16}, weights, 3);
    print_message("relative error %.2g\n",
                  distance(got, exact) / length(exact));
    check(distance(got, exact) < 1e-5 * length(exact));
}

static void what_does_not_fit_is_cut_to_the_best_of_the_plans_rank(void **state)
{
    (void)state;
    lay_out(16, 0.1);
    go((const uint32_t[]){4, 8, 16}, weights, 3);
    double best = tail(16);
    print_message("left %.6g, the best leaves %.6g\n", distance(got, exact),
                  best);
    check(best > 0.01 * length(exact));
    check(distance(got, exact) < best * (1 + 1e-5));
}

static void a_mean_of_more_directions_than_fit_is_within_twice_the_best(
    void **state)
{
    (void)state;
    lay_out(4, 1);
    go((const uint32_t[]){4, 4, 4, 4, 4, 4, 4, 4}, weights, 8);
    double best = tail(4);
    print_message("left %.6g, the best leaves %.6g\n", distance(got, exact),
                  best);
    check(best > 0.01 * length(exact));
    check(distance(got, exact) < 2 * best);
}

static void what_a_device_does_not_train_stays(void **state)
{
    (void)state;
    enum { RANK = 8, OWN = 3 };
    lay_out(RANK, 1);
    float *w = malloc(size() * sizeof *w);
    float *up = malloc(PARTS * size() * sizeof *up);
    assert_true(w && up);
    train(0, OWN, w, up);
    const size_t outer = layout.list[1].offset;
    for (size_t i = 0; i < RANK * IN; i++)
        check((w[i] == global[i]) == (i < (RANK - OWN) * IN));
    for (size_t i = outer; i < outer + OUT * RANK; i++)
        check((w[i] == global[i]) == ((i - outer) % RANK < RANK - OWN));
    free(w);
    free(up);
    go((const uint32_t[]){OWN}, weights, 1);
    /* Of its rank and the model's together: all of it can be told. */
    check(distance(got, exact) < tail(RANK) * (1 + 1e-4) + 1e-5);
}

/* What leaves is of the product: whoever had one device's update would not know
 * its pair from others that come to the same. */
static void pairs_of_one_product_send_the_same(void **state)
{
    (void)state;
    enum { RANK = 8 };
    lay_out(RANK, 1);
    float *w = malloc(size() * sizeof *w), *u = malloc(size() * sizeof *u);
    float *up = malloc(2 * PARTS * size() * sizeof *up);
    assert_true(w && u && up);
    train(0, RANK, w, up);
    memcpy(u, w, size() * sizeof *u);
    size_t at = layout.list[1].offset;
    for (size_t r = 0; r < RANK; r++) { /* turned about, and of other lengths */
        size_t to = RANK - 1 - r;
        for (size_t i = 0; i < IN; i++) u[to * IN + i] = w[r * IN + i] * 4;
        for (size_t o = 0; o < OUT; o++)
            u[at + o * RANK + to] = w[at + o * RANK + r] / 4;
    }
    const struct strategy_local l = {.c = &numbers,
                                     .n = size(),
                                     .global = global,
                                     .round = 3};
    strategy_finish(&strategy_flora, &l, u, up + PARTS * size(), NULL);
    check_tensor(up + PARTS * size(), up, PARTS * size(), 1e-6);
    free(w);
    free(u);
    free(up);
}

static void a_round_without_change_leaves_every_bit(void **state)
{
    (void)state;
    lay_out(4, 1);
    float *before = malloc(size() * sizeof *before);
    float *up = calloc(PARTS * size(), sizeof *up);
    assert_true(before && up);
    memcpy(before, global, size() * sizeof *before);
    struct strategy_server s = {.c = &numbers,
                                .n = size(),
                                .weights = global,
                                .round = 1};
    check_ok(strategy_apply(&strategy_flora, &s, up, NULL));
    check(memcmp(before, global, size() * sizeof *before) == 0);
    free(before);
    free(up);
}

/* Else a direction without a length would never learn again. */
static void directions_that_are_free_are_drawn_anew(void **state)
{
    (void)state;
    lay_out(8, 0);
    go((const uint32_t[]){2}, weights, 1);
    const float *b = global + layout.list[1].offset;
    double last = HUGE_VAL;
    for (size_t r = 0; r < 8; r++) {
        double in = 0, out = 0;
        for (size_t i = 0; i < IN; i++)
            in += pow((double)global[r * IN + i], 2);
        for (size_t o = 0; o < OUT; o++) out += pow((double)b[o * 8 + r], 2);
        /* As long as drawn rows are, in falling order of what they do. */
        check(in > 0.15 && in < 0.6);
        check(out <= last);
        if (r >= 4) check(out < 1e-9);
        last = out;
    }
    check(distance(got, exact) < 1e-5 * length(exact));
}

static void what_is_in_no_pair_is_averaged(void **state)
{
    (void)state;
    lay_out(4, 1);
    float *up = calloc(PARTS * size(), sizeof *up), before[HEAD];
    assert_true(up != NULL);
    size_t at = layout.list[2].offset;
    memcpy(before, global + at, sizeof before);
    for (size_t i = 0; i < HEAD; i++) up[at + i] = (float)i;
    numbers.server_lr = 0.5;
    struct strategy_server s = {.c = &numbers,
                                .n = size(),
                                .weights = global,
                                .round = 1};
    check_ok(strategy_apply(&strategy_flora, &s, up, NULL));
    for (size_t i = 0; i < HEAD; i++)
        check_near(global[at + i], before[i] + 0.5f * (float)i, 1e-6);
    free(up);
}

static void a_sketch_is_about_as_long_as_the_change(void **state)
{
    (void)state;
    lay_out(16, 1);
    float *w = malloc(size() * sizeof *w);
    float *up = malloc(PARTS * size() * sizeof *up);
    assert_true(w && up);
    train(0, 16, w, up);
    memset(exact, 0, sizeof exact);
    add_product(exact, 1, w, 16);
    add_product(exact, -1, global, 16);
    size_t head = layout.list[2].offset;
    double sum = 0;
    for (size_t i = 0; i < PARTS * size(); i++)
        if (i < head || i >= size()) sum += (double)up[i] * (double)up[i];
    double ratio = sqrt(sum) / length(exact);
    check(ratio > 1.2 && ratio < 1.65); /* Y and W: the root of 2 */
    free(w);
    free(up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            devices_of_ranks_4_8_and_16_have_the_mean_of_their_products,
            teardown),
        cmocka_unit_test_teardown(
            what_does_not_fit_is_cut_to_the_best_of_the_plans_rank, teardown),
        cmocka_unit_test_teardown(
            a_mean_of_more_directions_than_fit_is_within_twice_the_best,
            teardown),
        cmocka_unit_test_teardown(what_a_device_does_not_train_stays, teardown),
        cmocka_unit_test_teardown(pairs_of_one_product_send_the_same, teardown),
        cmocka_unit_test_teardown(a_round_without_change_leaves_every_bit,
                                  teardown),
        cmocka_unit_test_teardown(directions_that_are_free_are_drawn_anew,
                                  teardown),
        cmocka_unit_test_teardown(what_is_in_no_pair_is_averaged, teardown),
        cmocka_unit_test_teardown(a_sketch_is_about_as_long_as_the_change,
                                  teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
