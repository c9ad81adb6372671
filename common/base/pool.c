#include "common/base/pool.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
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
        atomic_bool inside;  /* a job */
        atomic_bool brought; /* to the caller's core */
        cpu_set_t home;      /* where it was before */
    } workers[THREADS_MAX];
    atomic_int stop, caller_core;
    /* The job: written by the caller while the gate is shut and nobody is
     * inside. */
    void (*fn)(void *, size_t, unsigned);
    void *ctx;
    struct range {
        _Alignas(LINE) atomic_size_t next;
        size_t end;
    } ranges[THREADS_MAX];
    _Alignas(LINE) atomic_uint gate;
    atomic_uint n_asleep[CALLER + 1];
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

typedef bool gate_test(unsigned gate, unsigned want);

/* Looks for a while whether test(gate, want) holds. */
static bool look(struct pool *p, gate_test *test, unsigned want, unsigned *gate)
{
    int64_t until = p->look_ns ? tick_ns() + p->look_ns : 0;
    do {
        for (int i = 0; i < LOOKS; i++) {
            *gate = atomic_load(&p->gate);
            if (test(*gate, want)) return true;
            relax();
        }
    } while (p->look_ns && tick_ns() < until);
    return false;
}

/* The gate once the test holds. */
static unsigned sleep_until(struct pool *p, gate_test *test, unsigned want,
                            enum sleeper who)
{
    atomic_fetch_add(&p->n_asleep[who], 1);
    unsigned now = atomic_load(&p->gate);
    for (; !test(now, want); now = atomic_load(&p->gate))
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

/* Its own range, then what is left of the others'. */
static void work(struct pool *p, unsigned worker)
{
    for (unsigned k = 0; k < p->n_threads; k++) {
        struct range *r = &p->ranges[(worker + k) % p->n_threads];
        while (atomic_load(&r->next) < r->end) {
            size_t i = atomic_fetch_add(&r->next, 1);
            if (i < r->end) p->fn(p->ctx, i, worker);
        }
    }
}

/* ---- who is kept from running ---- */

static int64_t cpu_ns(pthread_t thread)
{
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) != 0 ||
        clock_gettime(clock, &t) != 0)
        return -1;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* To this core, which the caller is about to leave. */
static void bring(struct worker *w, pthread_t thread)
{
    int here = sched_getcpu();
    cpu_set_t only;
    if (here < 0 || atomic_load(&w->brought)) return;
    CPU_ZERO(&only);
    CPU_SET((size_t)here, &only);
    if (pthread_getaffinity_np(thread, sizeof w->home, &w->home) != 0 ||
        pthread_setaffinity_np(thread, sizeof only, &only) != 0)
        return;
    atomic_store(&w->brought, true);
}

/* Workers whose time stands still within a job wait for a core: something else
 * has theirs, for milliseconds. They get the caller's. */
static bool bring_late(struct pool *p)
{
    int64_t before[THREADS_MAX] = {0};
    unsigned gate;
    for (unsigned i = 1; i < p->n_threads; i++)
        before[i] =
            atomic_load(&p->workers[i].inside) ? cpu_ns(p->threads[i]) : -1;
    if (look(p, is_empty, 0, &gate)) return true;
    for (unsigned i = 1; i < p->n_threads; i++)
        if (before[i] >= 0 && atomic_load(&p->workers[i].inside) &&
            cpu_ns(p->threads[i]) == before[i])
            bring(&p->workers[i], p->threads[i]);
    return false;
}

/* From this core to another that the thread may use, where it may wait; false
 * without one. */
static bool leave_core(const cpu_set_t *home)
{
    cpu_set_t others = *home;
    int here = sched_getcpu();
    if (here >= 0) CPU_CLR((size_t)here, &others);
    bool left =
        CPU_COUNT(&others) > 0 &&
        pthread_setaffinity_np(pthread_self(), sizeof others, &others) == 0;
    (void)pthread_setaffinity_np(pthread_self(), sizeof *home, home);
    return left;
}

static void go_home(struct worker *w)
{
    if (!atomic_load(&w->brought)) return;
    (void)leave_core(&w->home);
    atomic_store(&w->brought, false);
}

/* The caller works on this very core: so not here. */
static bool make_way(struct pool *p)
{
    cpu_set_t home;
    int here = sched_getcpu();
    return p->look_ns && here >= 0 && here == atomic_load(&p->caller_core) &&
           pthread_getaffinity_np(pthread_self(), sizeof home, &home) == 0 &&
           leave_core(&home);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    unsigned last = 0, gate;
    for (;;) {
        if (!look(p, is_new, last, &gate))
            gate = sleep_until(p, is_new, last, WORKER);
        if (atomic_load(&p->stop)) return NULL;
        go_home(w);
        if (make_way(p)) continue;
        if (!atomic_compare_exchange_strong(&p->gate, &gate, gate + 1))
            continue;
        last = gate / NUMBER;
        atomic_store(&w->inside, true);
        work(p, w->number);
        atomic_store(&w->inside, false);
        gate = atomic_fetch_sub(&p->gate, 1) - 1;
        if (!(gate & OPEN) && is_empty(gate, 0)) gate_wake(p, 1, CALLER);
        go_home(w);
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
        p->workers[i] = (struct worker){.pool = p, .number = i};
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
    size_t each = n / p->n_threads, more = n % p->n_threads;
    for (size_t w = 0, at = 0; w < p->n_threads; w++) {
        atomic_store(&p->ranges[w].next, at);
        at += each + (w < more);
        p->ranges[w].end = at;
    }
    atomic_store(&p->caller_core, sched_getcpu());
    gate_open(p);
    gate_wake(p, n - 1 < THREADS_MAX ? (int)(n - 1) : THREADS_MAX, WORKER);
    work(p, 0);
    atomic_fetch_and(&p->gate, ~(unsigned)OPEN);
    unsigned gate;
    if (look(p, is_empty, 0, &gate)) return;
    if (p->look_ns && bring_late(p)) return;
    sleep_until(p, is_empty, 0, CALLER);
}
