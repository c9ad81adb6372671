#include "common/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Whoever waits looks again a while, leaving the processor to others in
 * between, before it sleeps: waking a thread takes longer than a short job. */
enum { THREADS_MAX = 64, LOOKS = 256 };

struct pool {
    unsigned n_threads; /* the caller is number 0 */
    pthread_t threads[THREADS_MAX];
    struct worker {
        struct pool *pool;
        unsigned number;
    } workers[THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    /* Changed under lock, so that a sleeper misses nothing. */
    atomic_uint generation; /* counts jobs */
    atomic_uint n_busy;
    atomic_int stop;
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

static int has_job(struct pool *p, unsigned seen)
{
    return atomic_load(&p->generation) != seen || atomic_load(&p->stop);
}

static void await_job(struct pool *p, unsigned seen)
{
    for (int i = 0; i < LOOKS; i++) {
        if (has_job(p, seen)) return;
        sched_yield();
    }
    pthread_mutex_lock(&p->lock);
    while (!has_job(p, seen)) pthread_cond_wait(&p->start, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void await_others(struct pool *p)
{
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load(&p->n_busy) == 0) return;
        sched_yield();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->n_busy) > 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        await_job(p, seen);
        if (atomic_load(&p->stop)) return NULL;
        seen = atomic_load(&p->generation);
        work(p, w->number);
        pthread_mutex_lock(&p->lock);
        if (atomic_fetch_sub(&p->n_busy, 1) == 1) pthread_cond_signal(&p->done);
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
    atomic_store(&p->stop, 1);
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
    atomic_store(&p->n_busy, p->n_threads - 1);
    atomic_fetch_add(&p->generation, 1);
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    await_others(p);
}
