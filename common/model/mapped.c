#include "common/model/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a file that is cut while it is mapped ------------------------------- */

enum { WATCHED_MAX = 64, EXIT_FAILED = 1 };

/* What is mapped, for the handler: it may interrupt anything, so it takes no
 * lock and allocates nothing. */
static struct watched {
    _Atomic(const uint8_t *) bytes; /* NULL: free */
    size_t n;
    char *path; /* owned */
} watched[WATCHED_MAX];
static pthread_mutex_t watched_lock = PTHREAD_MUTEX_INITIALIZER;

static void tell(const char *text)
{
    size_t n = strlen(text);
    for (ssize_t k; n > 0; n -= (size_t)k, text += k)
        if ((k = write(STDERR_FILENO, text, n)) <= 0) return;
}

/* The page is not there any more. What touched it cannot go on: the program
 * ends as after an error, and says which file it was. */
static void on_missing_page(int number, siginfo_t *info, void *context)
{
    const uint8_t *at = info->si_addr;
    (void)context;
    for (size_t i = 0; i < WATCHED_MAX; i++) {
        const uint8_t *from = atomic_load(&watched[i].bytes);
        if (!from || at < from || at >= from + watched[i].n) continue;
        tell(program_invocation_short_name);
        tell(": ");
        tell(watched[i].path);
        tell(": it was cut short while it was in use, or its disk cannot be "
             "read; put the whole file there again, or import the model "
             "again\n");
        _exit(EXIT_FAILED);
    }
    signal(number, SIG_DFL); /* the same access comes again */
}

static void catch_missing_pages(void)
{
    struct sigaction action = {.sa_sigaction = on_missing_page,
                               .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

/* Without room or memory the file is not watched: cut, it ends the program
 * without a word. */
static void watch(const char *path, const uint8_t *bytes, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, catch_missing_pages);
    pthread_mutex_lock(&watched_lock);
    for (size_t i = 0; i < WATCHED_MAX; i++) {
        if (atomic_load(&watched[i].bytes)) continue;
        watched[i].path = strdup(path);
        watched[i].n = n;
        if (watched[i].path) atomic_store(&watched[i].bytes, bytes);
        break;
    }
    pthread_mutex_unlock(&watched_lock);
}

static void unwatch(const uint8_t *bytes)
{
    pthread_mutex_lock(&watched_lock);
    for (size_t i = 0; i < WATCHED_MAX; i++) {
        if (atomic_load(&watched[i].bytes) != bytes) continue;
        atomic_store(&watched[i].bytes, NULL);
        free(watched[i].path);
        watched[i].path = NULL;
    }
    pthread_mutex_unlock(&watched_lock);
}

/* ---- mapping ------------------------------------------------------------- */

enum tacit_err mapped_open(const char *path, const uint8_t **out, size_t *out_n)
{
    struct stat st;
    /* A pipe would be waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail(errno == ENOENT ? TACIT_NOTFOUND : TACIT_IO, "%s: %s", path,
                    strerror(errno));
    enum tacit_err err = TACIT_OK;
    void *p = MAP_FAILED;
    if (fstat(fd, &st) != 0)
        err = fail(TACIT_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        err = fail(TACIT_FORMAT, "%s: not a file", path);
    else if (st.st_size == 0)
        err = fail(TACIT_FORMAT, "%s: empty", path);
    if (!err) {
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            err = fail(TACIT_IO, "%s: cannot map: %s", path, strerror(errno));
    }
    close(fd);
    if (err) return err;
    watch(path, p, (size_t)st.st_size);
    *out = p;
    *out_n = (size_t)st.st_size;
    return TACIT_OK;
}

void mapped_forget(const uint8_t *bytes, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)bytes + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)bytes + n) & ~(page - 1);
    if (from < end) (void)madvise((void *)from, end - from, MADV_DONTNEED);
}

void mapped_expect_all(const uint8_t *bytes, size_t n)
{
#ifdef MADV_HUGEPAGE
    (void)madvise((void *)(uintptr_t)bytes, n, MADV_HUGEPAGE);
#else
    (void)bytes;
    (void)n;
#endif
}

void mapped_close(const uint8_t *bytes, size_t n)
{
    if (!bytes) return;
    unwatch(bytes);
    munmap((void *)(uintptr_t)bytes, n);
}
