#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "retrieval/flatindex.h"
#include "retrieval/flatscan.h"

enum { N_MAX = 3000, DIM_MAX = 200, K_MAX = 40 };

/* What the index should hold, and the scan it should equal. */
struct model {
    size_t n, dim;
    int64_t id[N_MAX];
    float v[N_MAX][DIM_MAX];
};
static struct model model;

static void draw(struct rng *rng, float *v, size_t dim, int kind)
{
    for (size_t k = 0; k < dim; k++) v[k] = rng_normal(rng);
    if (kind == 1) memset(v, 0, dim * sizeof *v);
    if (kind == 2)
        for (size_t k = 0; k < dim; k++) v[k] = (float)rng_below(rng, 3) - 1;
    if (kind == 3)
        for (size_t k = 0; k < dim; k++) v[k] *= 1e-12f;
    if (kind == 4) v[rng_below(rng, dim)] = 1e6f;
    if (kind == 0) kernel_normalise(v, dim);
}

static int by_score(const void *a, const void *b)
{
    const struct vec_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static size_t naive(const float *q, size_t k, const struct vec_filter *f,
                    struct vec_hit *out)
{
    static struct vec_hit all[N_MAX];
    size_t n = 0;
    for (size_t i = 0; i < model.n; i++) {
        int passes = !f;
        for (size_t j = 0; f && j < f->n; j++)
            passes |= f->ids[j] == model.id[i];
        if (!passes) continue;
        float padded[DIM_MAX + 32] = {0}, with[DIM_MAX + 32] = {0};
        size_t stride = (model.dim + 31) / 32 * 32;
        memcpy(padded, model.v[i], model.dim * sizeof *padded);
        memcpy(with, q, model.dim * sizeof *with);
        all[n++] =
            (struct vec_hit){model.id[i], kernel_dot(padded, with, stride)};
    }
    qsort(all, n, sizeof *all, by_score);
    if (n > k) n = k;
    memcpy(out, all, n * sizeof *all);
    return n;
}

static void check_equal(struct flatindex *ix, const float *q, size_t k,
                        const struct vec_filter *f)
{
    struct vec_hit got[K_MAX], want[K_MAX];
    size_t n_got, n_want = naive(q, k, f, want);
    check_ok(flatindex_search(ix, q, k, f, got, &n_got));
    assert_int_equal(n_got, n_want);
    for (size_t i = 0; i < n_got; i++) {
        assert_int_equal(got[i].id, want[i].id);
        if (got[i].score != want[i].score)
            fail_msg("score %zu: %.9g, want %.9g", i, (double)got[i].score,
                     (double)want[i].score);
    }
}

static void the_scan_equals_the_naive_one(void **state)
{
    (void)state;
    static const size_t dims[] = {1, 31, 32, 128, 200};
    struct rng rng;
    rng_init(&rng, 11, 0, 0);
    for (int round = 0; round < 25; round++) {
        struct flatindex *ix;
        float q[DIM_MAX];
        model.dim = dims[round % 5];
        model.n = rng_below(&rng, N_MAX);
        check_ok(flatindex_new(model.dim, &ix));
        for (size_t i = 0; i < model.n; i++) {
            model.id[i] = (int64_t)(7 * i) - 500;
            /* Some vectors occur twice, so that there are ties. */
            if (i && rng_below(&rng, 8) == 0)
                memcpy(model.v[i], model.v[i - 1], sizeof model.v[i]);
            else
                draw(&rng, model.v[i], model.dim,
                     round % 6 == 5 ? (int)rng_below(&rng, 5) : round % 6);
            check_ok(flatindex_insert(ix, model.id[i], model.v[i]));
        }
        for (int kind = 0; kind < 5; kind++) {
            draw(&rng, q, model.dim, kind);
            check_equal(ix, q, 1 + rng_below(&rng, K_MAX), NULL);
        }
        if (model.n) check_equal(ix, model.v[model.n / 2], 10, NULL);
        flatindex_free(ix);
    }
}

static void removal_and_replacement_leave_nothing_behind(void **state)
{
    (void)state;
    struct rng rng;
    struct flatindex *ix;
    float q[DIM_MAX];
    rng_init(&rng, 12, 0, 0);
    model.dim = 24;
    model.n = 0;
    check_ok(flatindex_new(model.dim, &ix));
    for (int step = 0; step < 6000; step++) {
        int64_t id = (int64_t)rng_below(&rng, 700);
        size_t at = 0;
        while (at < model.n && model.id[at] != id) at++;
        if (rng_below(&rng, 3)) {
            draw(&rng, model.v[at], model.dim, 0);
            model.id[at] = id;
            if (at == model.n) model.n++;
            check_ok(flatindex_insert(ix, id, model.v[at]));
        } else {
            flatindex_remove(ix, id);
            if (at == model.n) continue;
            model.n--;
            model.id[at] = model.id[model.n];
            memcpy(model.v[at], model.v[model.n], sizeof model.v[at]);
        }
        assert_int_equal(flatindex_count(ix), model.n);
        if (step % 200) continue;
        draw(&rng, q, model.dim, 0);
        check_equal(ix, q, 15, NULL);
    }
    flatindex_free(ix);
}

static void a_filter_lets_only_its_ids_through(void **state)
{
    (void)state;
    struct rng rng;
    struct flatindex *ix;
    float q[DIM_MAX];
    int64_t ids[300];
    rng_init(&rng, 13, 0, 0);
    model.dim = 64;
    model.n = 1000;
    check_ok(flatindex_new(model.dim, &ix));
    for (size_t i = 0; i < model.n; i++) {
        model.id[i] = (int64_t)i;
        draw(&rng, model.v[i], model.dim, 0);
        check_ok(flatindex_insert(ix, model.id[i], model.v[i]));
    }
    for (size_t i = 0; i < 300; i++) ids[i] = 5 * (int64_t)i; /* some absent */
    draw(&rng, q, model.dim, 0);
    check_equal(ix, q, 10, &(struct vec_filter){ids, 300});
    check_equal(ix, q, 10, &(struct vec_filter){ids, 3});
    check_equal(ix, q, 10, &(struct vec_filter){ids, 0});
    flatindex_free(ix);
}

static void ties_go_to_the_smaller_id(void **state)
{
    (void)state;
    struct flatindex *ix;
    struct vec_hit got[3];
    const float v[2] = {1, 0};
    size_t n;
    check_ok(flatindex_new(2, &ix));
    for (int64_t id = 9; id > 0; id--) check_ok(flatindex_insert(ix, id, v));
    check_ok(flatindex_search(ix, v, 3, NULL, got, &n));
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(got[i].id, i + 1);
    flatindex_free(ix);
}

static void bad_vectors_and_sizes_are_refused(void **state)
{
    (void)state;
    struct flatindex *ix;
    struct vec_hit got[2];
    float v[2] = {1, NAN};
    size_t n;
    check_err(flatindex_new(0, &ix), TACIT_SHAPE);
    check_err(flatindex_new(FLATINDEX_DIM_MAX + 1, &ix), TACIT_SHAPE);
    check_ok(flatindex_new(2, &ix));
    check_err(flatindex_insert(ix, 1, v), TACIT_FORMAT);
    check_err(flatindex_search(ix, v, 1, NULL, got, &n), TACIT_FORMAT);
    v[1] = INFINITY;
    check_err(flatindex_insert(ix, 1, v), TACIT_FORMAT);
    v[1] = 0;
    check_err(flatindex_search(ix, v, FLATINDEX_K_MAX + 1, NULL, got, &n),
              TACIT_LIMIT);
    check_ok(flatindex_search(ix, v, 2, NULL, got, &n));
    assert_int_equal(n, 0);
    flatindex_free(ix);
}

static void every_kernel_gives_the_same_bits(void **state)
{
    (void)state;
    enum { ROWS = 37, STRIDE = 2048 };
    static int8_t rows[ROWS * STRIDE];
    static int16_t q[STRIDE];
    int32_t want[ROWS], got[ROWS];
    const char *name;
    flatscan_fn *scan;
    struct rng rng;
    rng_init(&rng, 14, 0, 0);
    for (int round = 0; round < 4; round++) {
        size_t stride = round == 3 ? STRIDE : 32u << round;
        for (size_t i = 0; i < sizeof rows; i++)
            rows[i] = round == 3 ? 127 : (int8_t)(rng_below(&rng, 255) - 127u);
        for (size_t i = 0; i < STRIDE; i++)
            q[i] = round == 3 ? FLATSCAN_QUERY_MAX
                              : (int16_t)(rng_below(&rng, 16383) - 8191u);
        scan = flatscan_at(0, &name);
        scan(rows, stride, ROWS, q, want);
        for (size_t i = 1; (scan = flatscan_at(i, &name)) != NULL; i++) {
            scan(rows, stride, ROWS, q, got);
            assert_memory_equal(got, want, sizeof got);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scan_equals_the_naive_one),
        cmocka_unit_test(removal_and_replacement_leave_nothing_behind),
        cmocka_unit_test(a_filter_lets_only_its_ids_through),
        cmocka_unit_test(ties_go_to_the_smaller_id),
        cmocka_unit_test(bad_vectors_and_sizes_are_refused),
        cmocka_unit_test(every_kernel_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
