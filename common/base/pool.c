#include "common/base/pool.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/tick.h"

enum {
    THREADS_MAX = 64,
    LOOK_NS = 20000, /* waking a thread takes about as long */
    LOOKS = 64,      /* between two readings of the clock */
    LINE = 64        /* bytes of a cache line */
};

/* The gate; who sleeps on it, as bits of the futex. */
enum { INSIDE = 0xff, OPEN = 0x100, NUMBER = 0x200 };
enum sleeper { WORKER = 1, CALLER = 2 };

/* What is written while others look has a cache line of its own.
 * NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct pool {
    unsigned n_threads; /* the caller is number 0 */
    int64_t look_ns;
    pthread_t threads[THREADS_MAX];
    struct worker {
        struct pool *pool;
        unsigned number;
    } workers[THREADS_MAX];
    atomic_int stop;
    /* The job: written by the caller while the gate is shut and nobody is
     * inside. */
    void (*fn)(void *, size_t, unsigned);
    void *ctx;
    size_t n;
    _Alignas(LINE) atomic_uint gate;
    atomic_uint n_asleep[CALLER + 1];
    _Alignas(LINE) atomic_size_t next;
};

static_assert((unsigned)THREADS_MAX <= (unsigned)INSIDE,
              "the gate counts all workers");

/* Until the gate is no longer `seen`, or for no reason. */
static void gate_sleep(struct pool *p, unsigned seen, enum sleeper who)
{
    syscall(SYS_futex, &p->gate, FUTEX_WAIT_BITSET_PRIVATE, seen, NULL, NULL,
            (unsigned)who);
}

static void gate_wake(struct pool *p, int n, enum sleeper who)
{
    /* Who goes to sleep after this look sees the changed gate first. */
    if (atomic_load(&p->n_asleep[who]) == 0) return;
    syscall(SYS_futex, &p->gate, FUTEX_WAKE_BITSET_PRIVATE, n, NULL, NULL,
            (unsigned)who);
}

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ __volatile__("isb");
#endif
}

/* The gate once done(gate, want) holds; sleeps after a while. */
static unsigned await(struct pool *p, bool (*done)(unsigned, unsigned),
                      unsigned want, enum sleeper who)
{
    int64_t until = p->look_ns ? tick_ns() + p->look_ns : 0;
    do {
        for (int i = 0; i < LOOKS; i++) {
            unsigned now = atomic_load(&p->gate);
            if (done(now, want)) return now;
            relax();
        }
    } while (p->look_ns && tick_ns() < until);
    atomic_fetch_add(&p->n_asleep[who], 1);
    unsigned now = atomic_load(&p->gate);
    for (; !done(now, want); now = atomic_load(&p->gate))
        gate_sleep(p, now, who);
    atomic_fetch_sub(&p->n_asleep[who], 1);
    return now;
}

/* A job that this worker has not seen. */
static bool is_new(unsigned gate, unsigned last)
{
    return (gate & OPEN) && gate / NUMBER != last;
}

static bool is_empty(unsigned gate, unsigned unused)
{
    (void)unused;
    return (gate & INSIDE) == 0;
}

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
    unsigned last = 0;
    for (;;) {
        unsigned gate = await(p, is_new, last, WORKER);
        if (atomic_load(&p->stop)) return NULL;
        if (!atomic_compare_exchange_strong(&p->gate, &gate, gate + 1))
            continue;
        last = gate / NUMBER;
        work(p, w->number);
        gate = atomic_fetch_sub(&p->gate, 1) - 1;
        if (!(gate & OPEN) && is_empty(gate, 0)) gate_wake(p, 1, CALLER);
    }
}

/* Open the gate for another job; numbers are never 0, which workers begin
 * with. */
static void gate_open(struct pool *p)
{
    unsigned number =
        (atomic_load(&p->gate) / NUMBER + 1) % (UINT_MAX / NUMBER);
    if (number == 0) number = 1;
    atomic_store(&p->gate, number * NUMBER | OPEN);
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
    struct pool *p = aligned_alloc(LINE, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "out of memory");
    *p = (struct pool){.n_threads = 1};
    unsigned cores = usable_cores(), want = n_threads ? n_threads : cores;
    p->look_ns = want <= cores ? LOOK_NS : 0;
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
    atomic_store(&p->stop, 1);
    gate_open(p);
    gate_wake(p, INT_MAX, WORKER);
    for (unsigned i = 1; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
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
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store(&p->next, 0);
    gate_open(p);
    gate_wake(p, n - 1 < THREADS_MAX ? (int)(n - 1) : THREADS_MAX, WORKER);
    work(p, 0);
    atomic_fetch_and(&p->gate, ~(unsigned)OPEN);
    await(p, is_empty, 0, CALLER);
}
