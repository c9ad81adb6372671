/*
 * failing: memory that runs out on purpose, in the one test program that
 * includes this.
 *
 * malloc and its kin are defined here, in the program, so that the libraries
 * call them too; sodium_malloc as well. While armed, the n-th request of this
 * thread fails (or that and every later one), and what is taken and given back
 * is counted.
 *
 *   failing_arm(n, FAIL_ONCE); e = run(); r = failing_disarm();
 *   r.fired: was there an n-th request?  r.live: blocks not given back.
 *
 * failing_begin() is the group's setup. Where the test itself needs memory
 * meanwhile, was = failing_hold() … failing_go(was) leave its requests out.
 */
#ifndef TACIT_TESTS_FAULT_FAILING_H
#define TACIT_TESTS_FAULT_FAILING_H

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum failing_mode { FAIL_ONCE, FAIL_FROM_HERE };

struct failing_result {
    int fired;
    long live;
    long requests;
};

#if defined __SANITIZE_ADDRESS__
# define REAL(name) __interceptor_##name
/* Their strdup() and scandir() do not come by here, their free() does; they
 * look for leaks themselves. */
enum { COUNTS_LIVE = 0 };
#else
# define REAL(name) __libc_##name
enum { COUNTS_LIVE = 1 };
#endif
extern void *REAL(malloc)(size_t n);
extern void *REAL(calloc)(size_t n, size_t size);
extern void *REAL(realloc)(void *p, size_t n);
extern void *REAL(memalign)(size_t align, size_t n);
extern void REAL(free)(void *p);

static _Thread_local struct {
    int armed;
    enum failing_mode mode;
    long at;
    struct failing_result result;
} memory;

static void failing_arm(long n, enum failing_mode mode)
{
    memory.result = (struct failing_result){0};
    memory.at = n;
    memory.mode = mode;
    memory.armed = 1;
}

static struct failing_result failing_disarm(void)
{
    memory.armed = 0;
    return memory.result;
}

static inline int failing_hold(void)
{
    int was = memory.armed;
    memory.armed = 0;
    return was;
}

static inline void failing_go(int was)
{
    memory.armed = was;
}

#ifndef __SANITIZE_THREAD__ /* it needs its own malloc before ours can run */

/* 1 when this request must fail. */
static int refuses(void)
{
    if (!memory.armed) return 0;
    long n = ++memory.result.requests;
    if (n != memory.at && !(n > memory.at && memory.mode == FAIL_FROM_HERE))
        return 0;
    memory.result.fired = 1;
    errno = ENOMEM;
    return 1;
}

static void *taken(void *p)
{
    if (memory.armed && p) memory.result.live++;
    return p;
}

static void given_back(const void *p)
{
    if (memory.armed && p) memory.result.live--;
}

void *malloc(size_t n)
{
    return refuses() ? NULL : taken(REAL(malloc)(n));
}

void *calloc(size_t n, size_t size)
{
    return refuses() ? NULL : taken(REAL(calloc)(n, size));
}

void *realloc(void *p, size_t n)
{
    if (refuses()) return NULL;
    if (!p) return taken(REAL(realloc)(p, n));
    if (n == 0) given_back(p);
    return REAL(realloc)(p, n);
}

void *memalign(size_t align, size_t n)
{
    return refuses() ? NULL : taken(REAL(memalign)(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = memalign(align, n);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    given_back(p);
    REAL(free)(p);
}

/* libsodium's guarded memory comes from mmap. */
void *sodium_malloc(size_t n);
void sodium_free(void *p);

/* A function pointer out of dlsym's void pointer, as POSIX means it. */
static void find(const char *name, void *out)
{
    void *p = dlsym(RTLD_NEXT, name);
    if (!p) abort();
    memcpy(out, &p, sizeof p);
}

static void *(*next_malloc)(size_t);
static void (*next_free)(void *);

static int failing_begin(void **state)
{
    (void)state;
    find("sodium_malloc", &next_malloc);
    find("sodium_free", &next_free);
    return 0;
}

void *sodium_malloc(size_t n)
{
    return refuses() ? NULL : taken(next_malloc(n));
}

void sodium_free(void *p)
{
    given_back(p);
    next_free(p);
}

#else

static int failing_begin(void **state)
{
    (void)state;
    return 0;
}

#endif

#endif
