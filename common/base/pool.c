#include "common/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS_MAX = 64 };

struct pool {
    unsigned n_threads; /* the caller is number 0 */
    pthread_t threads[THREADS_MAX];
    struct worker {
        struct pool *pool;
        unsigned number;
    } workers[THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    unsigned generation; /* counts jobs; guarded by lock, as are the next two */
    unsigned n_busy;
    int stop;
    /* The job: written by the caller while no worker is busy. */
    void (*fn)(void *, size_t, unsigned);
    void *ctx;
    size_t n;
    atomic_size_t next;
};

static void work(struct pool *p, unsigned worker)
{
    for (;;) {
        size_t i = atomic_fetch_add(&p->next, 1);
        if (i >= p->n) return;
        p->fn(p->ctx, i, worker);
    }
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (p->generation == seen && !p->stop)
            pthread_cond_wait(&p->start, &p->lock);
        seen = p->generation;
        int stop = p->stop;
        pthread_mutex_unlock(&p->lock);
        if (stop) return NULL;
        work(p, w->number);
        pthread_mutex_lock(&p->lock);
        if (--p->n_busy == 0) pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

static unsigned usable_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

enum tacit_err pool_new(struct pool **out, unsigned n_threads)
{
    if (n_threads > THREADS_MAX)
        return fail(TACIT_LIMIT, "%u threads; the limit is %d", n_threads,
                    THREADS_MAX);
    struct pool *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "out of memory");
    unsigned want = n_threads ? n_threads : usable_cores();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    p->n_threads = 1;
    while (p->n_threads < want) {
        unsigned i = p->n_threads;
        p->workers[i] = (struct worker){p, i};
        if (pthread_create(&p->threads[i], NULL, worker_main, &p->workers[i]) !=
            0) {
            pool_free(p);
            return fail(TACIT_NOMEM, "cannot start thread %u", i);
        }
        p->n_threads++;
    }
    *out = p;
    return TACIT_OK;
}

void pool_free(struct pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 1; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->start);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

unsigned pool_threads(const struct pool *p)
{
    return p ? p->n_threads : 1;
}

void pool_run(struct pool *p, size_t n,
              void (*fn)(void *ctx, size_t i, unsigned worker), void *ctx)
{
    if (!p || p->n_threads == 1 || n < 2) {
        for (size_t i = 0; i < n; i++) fn(ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store(&p->next, 0);
    p->n_busy = p->n_threads - 1;
    p->generation++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->n_busy > 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
