/* pool: every index once, for any number of threads, again and again. */
#include "tests/check.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/pool.h"

enum { N = 3000 };

struct job {
    atomic_uint seen[N];
    atomic_uint workers[64];
};

static void mark(void *ctx, size_t i, unsigned worker)
{
    struct job *j = ctx;
    atomic_fetch_add(&j->seen[i], 1);
    atomic_fetch_add(&j->workers[worker], 1);
}

static void every_index_runs_once(void **state)
{
    (void)state;
    static const unsigned threads[] = {1, 2, 3, 8, 64};
    static const size_t sizes[] = {0, 1, 2, 63, N};
    for (size_t t = 0; t < 5; t++) {
        struct pool *p = NULL;
        check_ok(pool_new(&p, threads[t]));
        check(pool_threads(p) == threads[t]);
        for (size_t s = 0; s < 5; s++) {
            static struct job j;
            memset(&j, 0, sizeof j);
            pool_run(p, sizes[s], mark, &j);
            size_t ran = 0;
            for (size_t i = 0; i < N; i++) {
                unsigned want = i < sizes[s];
                check(atomic_load(&j.seen[i]) == want);
            }
            for (size_t w = 0; w < 64; w++) {
                unsigned n = atomic_load(&j.workers[w]);
                check(w < threads[t] || n == 0);
                ran += n;
            }
            check(ran == sizes[s]);
        }
        pool_free(p);
    }
}

static void many_short_jobs_finish(void **state)
{
    (void)state;
    static struct job j;
    struct pool *p = NULL;
    check_ok(pool_new(&p, 4));
    memset(&j, 0, sizeof j);
    for (int k = 0; k < 2000; k++) pool_run(p, 3, mark, &j);
    check(atomic_load(&j.seen[0]) == 2000 && atomic_load(&j.seen[2]) == 2000);
    pool_free(p);
}

static void no_pool_means_this_thread(void **state)
{
    (void)state;
    static struct job j;
    memset(&j, 0, sizeof j);
    pool_run(NULL, 10, mark, &j);
    check(atomic_load(&j.workers[0]) == 10);
    check(pool_threads(NULL) == 1);
    pool_free(NULL);
}

static void too_many_threads_are_refused(void **state)
{
    (void)state;
    struct pool *p = NULL;
    check_err(pool_new(&p, 65), TACIT_LIMIT);
    check(p == NULL);
    check_ok(pool_new(&p, 0));
    check(pool_threads(p) >= 1 && pool_threads(p) <= 64);
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_runs_once),
        cmocka_unit_test(many_short_jobs_finish),
        cmocka_unit_test(no_pool_means_this_thread),
        cmocka_unit_test(too_many_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
