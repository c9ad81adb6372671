/* What searches keep for one another changes how fast they are, and nothing
 * else: an index that keeps beside one that does not, with the same writes. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "tests/retrieval/memory_store.h"

enum { DIM = 48, BEST = 10, ROWS = 4000, CENTRES = 120 };

enum rows_by { BY_SEGMENT, BY_PART };

struct twin {
    struct memory_store m[2]; /* the first keeps */
    struct ivf *ix[2];
    struct rng r;
    float centre[CENTRES][DIM];
};

static void twin_open(struct twin *t, enum ivf_metric metric, enum rows_by rows)
{
    memset(t, 0, sizeof *t);
    rng_init(&t->r, 8, (uint64_t)metric, 0);
    for (size_t i = 0; i < CENTRES; i++)
        for (size_t k = 0; k < DIM; k++) t->centre[i][k] = rng_normal(&t->r);
    struct ivf_settings set = {.dim = DIM,
                               .columns = 2,
                               .metric = metric,
                               .segment_bytes = 2048,
                               .seed = 3};
    for (size_t i = 0; i < 2; i++) {
        memory_store_init(&t->m[i]);
        if (rows == BY_PART) memory_store_parts(&t->m[i]);
        if (i == 0) memory_store_stamps(&t->m[i]);
        check_ok(ivf_create(&t->m[i].store, &set));
        check_ok(ivf_open(&t->m[i].store, &t->ix[i]));
    }
}

static void twin_close(struct twin *t)
{
    for (size_t i = 0; i < 2; i++) {
        ivf_close(t->ix[i]);
        memory_store_release(&t->m[i]);
    }
}

static void draw(struct twin *t, float *v)
{
    const float *c = t->centre[rng_below(&t->r, CENTRES)];
    for (size_t k = 0; k < DIM; k++) v[k] = c[k] + 0.6F * rng_normal(&t->r);
}

static void put(struct twin *t, int64_t id)
{
    float v[DIM];
    int64_t words[2] = {id % 100, id % 7};
    draw(t, v);
    for (size_t i = 0; i < 2; i++)
        check_ok(ivf_insert(t->ix[i], 1, id, v, words));
}

static void fill(struct twin *t)
{
    for (int64_t id = 0; id < ROWS; id++) put(t, id);
}

/* Both find the same, to the last bit. Returns the best. */
static int64_t ask(struct twin *t, struct ivf_query q, const float *v)
{
    struct ivf_hit hits[2][BEST];
    size_t n[2];
    q.v = v;
    q.k = BEST;
    for (size_t i = 0; i < 2; i++)
        check_ok(ivf_search(t->ix[i], &q, hits[i], &n[i], NULL));
    check(n[0] == n[1]);
    for (size_t i = 0; i < n[0]; i++)
        check(hits[0][i].id == hits[1][i].id &&
              memcmp(&hits[0][i].distance, &hits[1][i].distance,
                     sizeof(float)) == 0);
    return n[0] > 0 ? hits[0][0].id : -1;
}

static enum tacit_err thirds(void *arg, int64_t id, bool *keep)
{
    (void)arg;
    *keep = id % 3 == 0;
    return TACIT_OK;
}

static void ask_all_ways(struct twin *t, const float *v)
{
    static const int64_t some[] = {3, 5, 500, 501, 502, 503, 504, 1000, 2000};
    int64_t many[ROWS / 2];
    struct ivf_term terms[] = {{.column = 0, .lo = 3, .hi = 9},
                               {.column = 1, .negate = true}};
    struct ivf_filter words = {.terms = terms, .n_terms = 2};
    struct ivf_filter verified = {.terms = terms,
                                  .n_terms = 1,
                                  .verify = thirds};
    struct ivf_filter few = {.ids = some, .n_ids = sizeof some / sizeof *some};
    struct ivf_filter half = {.ids = many, .n_ids = ROWS / 2};
    for (int64_t i = 0; i < ROWS / 2; i++) many[i] = 2 * i;
    const struct ivf_filter *filters[] = {NULL, &words, &verified, &few, &half};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        (void)ask(t, (struct ivf_query){.filter = filters[i]}, v);
        (void)ask(t, (struct ivf_query){.filter = filters[i], .probes = 5}, v);
        (void)ask(t,
                  (struct ivf_query){.filter = filters[i], .mode = IVF_EXACT},
                  v);
    }
}

static void a_search_finds_the_same_in_what_was_kept(void **state)
{
    (void)state;
    for (int metric = IVF_COSINE; metric <= IVF_DOT; metric++)
        for (int rows = BY_SEGMENT; rows <= BY_PART; rows++) {
            struct twin t;
            float v[20][DIM];
            twin_open(&t, (enum ivf_metric)metric, (enum rows_by)rows);
            fill(&t);
            size_t calls[4] = {0};
            for (size_t i = 0; i < 20; i++) draw(&t, v[i]);
            for (size_t round = 0; round < 3; round++)
                for (size_t i = 0; i < 20; i++) {
                    size_t before = t.m[0].calls;
                    (void)ask(&t, (struct ivf_query){.part = NULL}, v[i]);
                    calls[round] += t.m[0].calls - before;
                }
            check(calls[2] < calls[0] && calls[2] <= calls[1]);
            for (size_t i = 0; i < 20; i++) ask_all_ways(&t, v[i]);
            twin_close(&t);
        }
}

static void what_was_written_is_found_at_once(void **state)
{
    (void)state;
    struct twin t;
    float v[DIM];
    twin_open(&t, IVF_COSINE, BY_PART);
    fill(&t);
    for (int64_t round = 0; round < 60; round++) {
        draw(&t, v);
        for (int i = 0; i < 3; i++) (void)ask(&t, (struct ivf_query){0}, v);
        int64_t best = ask(&t, (struct ivf_query){0}, v);
        int64_t words[2] = {0}, id = ROWS + round;
        for (size_t i = 0; i < 2; i++)
            check_ok(ivf_insert(t.ix[i], 1, id, v, words));
        check(ask(&t, (struct ivf_query){0}, v) == id);
        check(ask(&t, (struct ivf_query){0}, v) == id);
        for (size_t i = 0; i < 2; i++) check_ok(ivf_delete(t.ix[i], id));
        check(ask(&t, (struct ivf_query){0}, v) == best);
        for (size_t i = 0; i < 2; i++) check_ok(ivf_delete(t.ix[i], best));
        check(ask(&t, (struct ivf_query){0}, v) != best);
        ask_all_ways(&t, v);
    }
    twin_close(&t);
}

/* Only a search that follows a search, with no write between them, keeps. */
static void where_writes_and_searches_alternate_nothing_is_kept(void **state)
{
    (void)state;
    struct twin t;
    float v[DIM];
    twin_open(&t, IVF_COSINE, BY_SEGMENT);
    fill(&t);
    draw(&t, v);
    (void)ask(&t, (struct ivf_query){0}, v);
    size_t bytes = ivf_bytes(t.ix[0]), kept;
    for (int64_t i = 0; i < 30; i++) {
        put(&t, ROWS + i);
        (void)ask(&t, (struct ivf_query){0}, v);
    }
    check(ivf_bytes(t.ix[0]) < bytes + bytes / 8);
    bytes = ivf_bytes(t.ix[0]);
    (void)ask(&t, (struct ivf_query){.recall = 1}, v);
    kept = ivf_bytes(t.ix[0]) - bytes;
    /* bits, scalars and two words of each row */
    check(kept > ROWS * (DIM / 8 + 4 + 16) && kept < ROWS * 64);
    twin_close(&t);
}

static void an_error_while_a_list_is_read_keeps_nothing_of_it(void **state)
{
    (void)state;
    struct twin t;
    float v[DIM];
    twin_open(&t, IVF_COSINE, BY_PART);
    fill(&t);
    draw(&t, v);
    (void)ask(&t, (struct ivf_query){0}, v);
    for (size_t at = 1; at < 200; at += 3) {
        struct ivf_query q = {.v = v, .k = BEST, .recall = 0.99F};
        struct ivf_hit hits[BEST];
        size_t n;
        t.m[0].fail_at = t.m[0].calls + at;
        enum tacit_err e = ivf_search(t.ix[0], &q, hits, &n, NULL);
        check(e == TACIT_OK || e == TACIT_IO);
        err_clear();
        t.m[0].fail_at = 0;
        (void)ask(&t, (struct ivf_query){0}, v);
    }
    ask_all_ways(&t, v);
    twin_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_finds_the_same_in_what_was_kept),
        cmocka_unit_test(what_was_written_is_found_at_once),
        cmocka_unit_test(where_writes_and_searches_alternate_nothing_is_kept),
        cmocka_unit_test(an_error_while_a_list_is_read_keeps_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
