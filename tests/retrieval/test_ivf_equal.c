/* Many vectors that are equal, or as good as equal: no list outgrows its limit,
 * no write does more than its share, nothing else is found less well. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "retrieval/ivf_state.h"
#include "tests/retrieval/memory_store.h"

enum {
    DIM = 48,
    BEST = 10,
    CENTRES = 20,
    WORDS = 100,
    WRITE_CALLS = 12000, /* of the store, by one write that splits a list */
    MEAN_CALLS = 80
};

/* ---- crowds -------------------------------------------------------------- */

struct crowd {
    struct memory_store m;
    struct ivf *ix;
    struct rng r;
    enum ivf_metric metric;
    size_t n;
    float (*v)[DIM];
    bool *there;
};

typedef void draw_fn(struct crowd *c, size_t i, float *v);

/* Near one of CENTRES. */
static void others(struct crowd *c, float *v)
{
    struct rng r;
    rng_init(&r, 3, 2, rng_below(&c->r, CENTRES));
    for (size_t k = 0; k < DIM; k++)
        v[k] = rng_normal(&r) + 0.5F * rng_normal(&c->r);
}

static void one_vector(struct crowd *c, size_t i, float *v)
{
    (void)c, (void)i;
    for (size_t k = 0; k < DIM; k++) v[k] = sinf(1 + (float)k);
}

/* Apart by what floats round away, and by what bytes do. */
static void hair_apart(struct crowd *c, size_t i, float *v)
{
    one_vector(c, i, v);
    for (size_t k = 0; k < DIM; k++) v[k] *= 1 + 1e-6F * rng_normal(&c->r);
}

static void step_apart(struct crowd *c, size_t i, float *v)
{
    one_vector(c, i, v);
    for (size_t k = 0; k < DIM; k++) v[k] += 2e-2F * rng_normal(&c->r);
}

static void nine_in_ten(struct crowd *c, size_t i, float *v)
{
    if (i % 10 == 9)
        others(c, v);
    else
        one_vector(c, i, v);
}

static void groups(struct crowd *c, size_t i, float *v)
{
    (void)c;
    struct rng r;
    rng_init(&r, 3, 1, i % 50);
    for (size_t k = 0; k < DIM; k++) v[k] = rng_normal(&r);
}

/* How far a crowd's write went beyond its share, and the sum of all. */
static void calls_check(struct crowd *c, size_t before, const char *what)
{
    if (c->m.calls - before > WRITE_CALLS)
        fail_msg("%s took %zu calls", what, c->m.calls - before);
}

static void crowd_open(struct crowd *c, enum ivf_metric metric, size_t n,
                       draw_fn *draw)
{
    memset(c, 0, sizeof *c);
    memory_store_init(&c->m);
    rng_init(&c->r, 9, (uint64_t)metric, n);
    c->metric = metric;
    c->v = calloc(n, sizeof *c->v);
    c->there = calloc(n, sizeof *c->there);
    struct ivf_settings set = {.dim = DIM,
                               .columns = 1,
                               .metric = metric,
                               .seed = 5};
    check_ok(ivf_create(&c->m.store, &set));
    check_ok(ivf_open(&c->m.store, &c->ix));
    for (; c->n < n; c->n++) {
        size_t i = c->n, before = c->m.calls;
        int64_t word = (int64_t)(i % WORDS);
        draw(c, i, c->v[i]);
        check_ok(ivf_insert(c->ix, 0, (int64_t)i, c->v[i], &word));
        c->there[i] = true;
        calls_check(c, before, "an insert");
    }
    check(c->m.calls < n * MEAN_CALLS);
}

static void crowd_close(struct crowd *c)
{
    ivf_close(c->ix);
    memory_store_release(&c->m);
    free(c->v);
    free(c->there);
}

/* Entries that a list holds, copies aside. */
static size_t list_live(const struct memory_list *l)
{
    size_t live = 0;
    for (size_t k = IVF_SEG_FIRST; k < l->n_segs; k++)
        if (l->segs[k].data != NULL) live += ivf_live(l->segs[k].data);
    return live;
}

/* Sound, no list over twice its limit, and few that hold little. */
static void crowd_check(struct crowd *c)
{
    struct ivf_report r;
    size_t there = 0;
    for (size_t i = 0; i < c->n; i++) there += c->there[i];
    check_ok(ivf_validate(c->ix, &r));
    if (r.problems != 0) fail_msg("%s", r.first);
    check(r.rows == there && r.entries == there);
    for (size_t l = 2; l < c->m.n_lists; l += 2)
        check(list_live(&c->m.lists[l]) <= 2 * IVF_LIST_MAX);
    check(r.lists <= 2 + there / 48);
}

static float distance(const struct crowd *c, const float *q, const float *v)
{
    float p = kernel_dot(q, v, DIM), d = 0;
    if (c->metric == IVF_DOT) return -p;
    if (c->metric == IVF_COSINE)
        return 1 -
               p / sqrtf(kernel_dot(q, q, DIM)) / sqrtf(kernel_dot(v, v, DIM));
    for (size_t i = 0; i < DIM; i++) d += (q[i] - v[i]) * (q[i] - v[i]);
    return sqrtf(d);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Share of the k nearest that are found; rows as far as the k-th count. */
static double recall(struct crowd *c, const float *q, size_t k)
{
    struct ivf_hit hits[BEST];
    size_t n, good = 0, live = 0;
    struct ivf_query query = {.v = q, .k = k, .part = &(int64_t){0}};
    float *d = malloc(c->n * sizeof *d);
    for (size_t i = 0; i < c->n; i++)
        if (c->there[i]) d[live++] = distance(c, q, c->v[i]);
    check_ok(ivf_search(c->ix, &query, hits, &n, NULL));
    check(n == (live < k ? live : k));
    qsort(d, live, sizeof *d, ascending);
    float limit = n > 0 ? d[n - 1] : 0;
    for (size_t i = 0; i < n; i++) {
        check(c->there[hits[i].id]);
        for (size_t j = 0; j < i; j++) check(hits[j].id != hits[i].id);
        float is = distance(c, q, c->v[hits[i].id]);
        float slack = c->metric == IVF_COSINE ? 2e-3F : 6e-2F; /* of bytes */
        good += is <= limit + slack * (1 + fabsf(limit));
    }
    free(d);
    return n > 0 ? (double)good / (double)n : 1;
}

/* Mean over queries near rows every `step`, of which some are of the crowd. */
static double recalls(struct crowd *c, size_t from, size_t step)
{
    double sum = 0;
    size_t asked = 0;
    for (size_t i = from; i < c->n; i += step, asked++) {
        float q[DIM];
        for (size_t k = 0; k < DIM; k++)
            q[k] = c->v[i][k] + 0.2F * rng_normal(&c->r);
        sum += recall(c, q, BEST);
    }
    return sum / (double)asked;
}

/* Delete all but one in `keep`. */
static void crowd_thin(struct crowd *c, size_t keep)
{
    size_t calls = c->m.calls, gone = 0;
    for (size_t i = 0; i < c->n; i++) {
        size_t before = c->m.calls;
        if (!c->there[i] || (keep > 0 && i % keep == keep - 1)) continue;
        check_ok(ivf_delete(c->ix, (int64_t)i));
        c->there[i] = false;
        gone++;
        calls_check(c, before, "a delete");
    }
    check(c->m.calls - calls < gone * MEAN_CALLS);
}

/* A life: all in, searched, most out, searched, optimised, all out. */
static void crowd_lives(enum ivf_metric metric, size_t n, draw_fn *draw)
{
    struct crowd c;
    bool done = false;
    const double least = 0.95;
    crowd_open(&c, metric, n, draw);
    crowd_check(&c);
    check(recalls(&c, 9, n / 40 / 10 * 10) >= least);
    for (int rounds = 0; !done; rounds++) {
        check(rounds < 1000);
        check_ok(ivf_optimise(c.ix, 4, &done));
    }
    crowd_check(&c);
    check(recalls(&c, 9, n / 40 / 10 * 10) >= least);
    crowd_thin(&c, 20);
    crowd_check(&c);
    check(recalls(&c, 19, n / 100) >= least);
    crowd_thin(&c, 0);
    struct ivf_report r;
    check_ok(ivf_validate(c.ix, &r));
    check(r.problems == 0 && r.blocks_bytes == 0 && r.lists <= 1);
    crowd_close(&c);
}

static void crowds_live(size_t n, draw_fn *draw)
{
    for (int metric = IVF_COSINE; metric <= IVF_DOT; metric++)
        crowd_lives((enum ivf_metric)metric, n, draw);
}

/* ---- tests --------------------------------------------------------------- */

static void twenty_thousand_equal_vectors_are_bounded_lists(void **state)
{
    (void)state;
    crowd_lives(IVF_COSINE, 20000, one_vector);
    crowd_lives(IVF_L2, 6000, one_vector);
    crowd_lives(IVF_DOT, 6000, one_vector);
}

static void vectors_apart_by_rounding_are_bounded_lists(void **state)
{
    (void)state;
    crowds_live(6000, hair_apart);
    crowds_live(6000, step_apart);
}

static void a_crowd_does_not_hide_the_others(void **state)
{
    (void)state;
    crowds_live(20000, nine_in_ten);
}

static void groups_of_equals_are_told_apart(void **state)
{
    (void)state;
    crowds_live(20000, groups);
}

static void k_of_many_equals_are_k_rows(void **state)
{
    (void)state;
    struct crowd c;
    struct ivf_hit hits[5 * WORDS];
    struct ivf_work w;
    size_t n;
    crowd_open(&c, IVF_COSINE, 20000, one_vector);
    struct ivf_query q = {.v = c.v[0], .k = BEST, .part = &(int64_t){0}};
    check(recall(&c, c.v[0], BEST) >= 1);
    check_ok(ivf_search(c.ix, &q, hits, &n, &w));
    check(n == BEST && w.rows < 2000);
    for (size_t i = 0; i < n; i++) check_near(hits[i].distance, 0, 1e-3);
    struct ivf_term word = {.lo = 7, .hi = 7};
    struct ivf_filter f = {.terms = &word, .n_terms = 1};
    q.filter = &f;
    q.k = 2 * WORDS; /* all that pass: 200 */
    check_ok(ivf_search(c.ix, &q, hits, &n, NULL));
    check(n == 2 * WORDS);
    for (size_t i = 0; i < n; i++) check(hits[i].id % WORDS == 7);
    q.k = 5 * WORDS;
    check_ok(ivf_search(c.ix, &q, hits, &n, NULL));
    check(n == 2 * WORDS);
    crowd_close(&c);
}

/* What is put in and out at the limit of a list does not split and merge it
 * each time. */
static void no_write_undoes_the_last_one(void **state)
{
    (void)state;
    struct crowd c;
    int64_t word = 0;
    crowd_open(&c, IVF_L2, 3000, one_vector);
    for (int64_t past = 0; past < 300; past++) {
        size_t calls = c.m.calls;
        for (int64_t i = 0; i < 20; i++)
            check_ok(ivf_insert(c.ix, 0, 100000 + i, c.v[0], &word));
        for (int64_t i = 0; i < 20; i++) check_ok(ivf_delete(c.ix, 100000 + i));
        check(c.m.calls - calls < 40 * MEAN_CALLS + WRITE_CALLS);
        check_ok(ivf_insert(c.ix, 0, 200000 + past, c.v[0], &word));
    }
    crowd_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_thousand_equal_vectors_are_bounded_lists),
        cmocka_unit_test(vectors_apart_by_rounding_are_bounded_lists),
        cmocka_unit_test(a_crowd_does_not_hide_the_others),
        cmocka_unit_test(groups_of_equals_are_told_apart),
        cmocka_unit_test(k_of_many_equals_are_k_rows),
        cmocka_unit_test(no_write_undoes_the_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
