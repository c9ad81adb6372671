#include "common/model/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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
    if (bytes) munmap((void *)(uintptr_t)bytes, n);
}
