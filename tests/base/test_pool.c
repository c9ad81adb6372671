/* pool: every index once, for any number of threads, again and again. */
#include "tests/check.h"

#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* What the workers wrote is there when a job ends, and the next job, with other
 * arguments, is not mixed up with it: also when workers sleep in between. */
static void sum_up(void *ctx, size_t i, unsigned worker)
{
    size_t *v = ctx;
    (void)worker;
    v[i + 1] = v[0] * i;
}

static void jobs_do_not_mix(void **state)
{
    (void)state;
    static size_t v[2][N + 1];
    struct pool *p = NULL;
    check_ok(pool_new(&p, 3));
    for (size_t k = 1; k < 1500; k++) {
        size_t *now = v[k & 1], n = 1 + k * 37 % 90;
        now[0] = k;
        pool_run(p, n, sum_up, now);
        for (size_t i = 0; i < n; i++) check(now[i + 1] == k * i);
        if (k % 100 == 0) usleep(300);
    }
    pool_free(p);
}

/* One piece takes long: the others are done by whoever is free. */
static void wait_at_first(void *ctx, size_t i, unsigned worker)
{
    struct job *j = ctx;
    while (i == 0 && atomic_load(&j->seen[1]) < 40) sched_yield();
    if (i > 0) atomic_fetch_add(&j->seen[1], 1);
    atomic_fetch_add(&j->workers[worker], 1);
}

static void a_slow_piece_holds_up_no_other(void **state)
{
    (void)state;
    static struct job j;
    struct pool *p = NULL;
    check_ok(pool_new(&p, 2));
    for (int k = 0; k < 20; k++) {
        memset(&j, 0, sizeof j);
        pool_run(p, 41, wait_at_first, &j);
        check(atomic_load(&j.workers[0]) + atomic_load(&j.workers[1]) == 41);
        check(atomic_load(&j.workers[0]) > 0 && atomic_load(&j.workers[1]) > 0);
    }
    pool_free(p);
}

/* Masks of all threads of this process, one after the other. */
static size_t masks(char *out, size_t room)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    check(d != NULL);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[300], line[300];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f))
            if (strncmp(line, "Cpus_allowed:", 13) == 0)
                n += (size_t)snprintf(out + n, room - n, "%s", line);
        if (f) fclose(f);
    }
    closedir(d);
    return n;
}

/* The worker is within its index, and its time stands still. */
static void stand_still(void *ctx, size_t i, unsigned worker)
{
    atomic_int *entered = ctx;
    (void)i;
    if (worker > 0) {
        atomic_store(entered, 1);
        usleep(3000);
    }
    while (!atomic_load(entered)) sched_yield();
}

/* The caller has a worker that does not run moved to its own core; afterwards
 * that may run wherever it might before. */
static void a_moved_worker_is_free_again(void **state)
{
    (void)state;
    static char before[4096], after[4096];
    static struct job j;
    struct pool *p = NULL;
    check_ok(pool_new(&p, 2));
    size_t n = masks(before, sizeof before);
    for (size_t k = 0; k < 20; k++) {
        atomic_int entered = 0;
        pool_run(p, 2, stand_still, &entered);
    }
    int same = 0;
    for (int k = 0; !same && k < 5000; k++) {
        pool_run(p, 2, mark, &j);
        same = masks(after, sizeof after) == n && !memcmp(before, after, n);
        if (!same) usleep(1000);
    }
    check(same);
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_runs_once),
        cmocka_unit_test(many_short_jobs_finish),
        cmocka_unit_test(jobs_do_not_mix),
        cmocka_unit_test(a_slow_piece_holds_up_no_other),
        cmocka_unit_test(a_moved_worker_is_free_again),
        cmocka_unit_test(no_pool_means_this_thread),
        cmocka_unit_test(too_many_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
