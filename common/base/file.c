#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"

enum {
    PATH_BYTES = 4096,
    DEPTH_MAX = 64,
    STEP = 1 << 16 /* bytes read at a time */
};

enum tacit_err file_failed(const char *path, const char *doing)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        return fail_as(E_DISK_FULL, "%s: %s: %s", path, doing, strerror(e));
    if (e == ENOMEM)
        return fail(TACIT_NOMEM, "%s: %s: out of memory", path, doing);
    if (e == ENOENT || e == ENOTDIR)
        return fail(TACIT_NOTFOUND, "%s: %s", path, strerror(e));
    return fail(TACIT_IO, "%s: %s: %s", path, doing, strerror(e));
}

/* read() that goes on after a signal. */
static ssize_t read_some(int fd, void *out, size_t n)
{
    ssize_t got;
    do got = read(fd, out, n);
    while (got < 0 && errno == EINTR);
    return got;
}

static enum tacit_err read_all(int fd, const char *path, size_t max_bytes,
                               struct buf *out)
{
    for (size_t left = max_bytes; left > 0;) {
        size_t step = left < STEP ? left : STEP;
        uint8_t *p = buf_extend(out, step);
        if (!p) return err_context(buf_end(out), "%s", path);
        ssize_t n = read_some(fd, p, step);
        out->len -= step - (n > 0 ? (size_t)n : 0);
        if (n < 0) return file_failed(path, "cannot read");
        if (n == 0) return TACIT_OK;
        left -= (size_t)n;
    }
    uint8_t more; /* the file may have grown since fstat() */
    ssize_t n = read_some(fd, &more, 1);
    if (n < 0) return file_failed(path, "cannot read");
    if (n == 0) return TACIT_OK;
    return fail(TACIT_LIMIT, "%s: larger than the limit of %zu bytes", path,
                max_bytes);
}

enum tacit_err file_read(const char *path, size_t max_bytes, struct buf *out)
{
    struct stat st;
    size_t was = out->len;
    /* O_NONBLOCK: a pipe without a writer must not stop us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return file_failed(path, "cannot open");
    enum tacit_err err = TACIT_OK;
    if (fstat(fd, &st) != 0)
        err = file_failed(path, "cannot read");
    else if (!S_ISREG(st.st_mode))
        err = fail(TACIT_UNSUPPORTED, "%s: not a regular file", path);
    else if (st.st_size > 0 && (uintmax_t)st.st_size > max_bytes)
        err = fail(TACIT_LIMIT, "%s: %jd bytes, the limit is %zu", path,
                   (intmax_t)st.st_size, max_bytes);
    else
        err = read_all(fd, path, max_bytes, out);
    close(fd);
    if (err) out->len = was;
    return err;
}

static enum tacit_err write_all(int fd, const char *path, const uint8_t *p,
                                size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return file_failed(path, "cannot write");
        p += w;
        n -= (size_t)w;
    }
    if (fsync(fd) != 0) return file_failed(path, "cannot write");
    return TACIT_OK;
}

enum tacit_err file_folder(char *out, size_t cap, const char *path)
{
    const char *slash = strrchr(path, '/');
    int n = slash ? (int)(slash - path) : 1;
    int len = snprintf(out, cap, "%.*s", n ? n : 1, slash ? path : ".");
    if (len < 0 || (size_t)len >= cap)
        return fail(TACIT_LIMIT, "%s: path too long", path);
    return TACIT_OK;
}

enum tacit_err file_sync_folder(const char *path)
{
    char folder[PATH_BYTES];
    TRY(file_folder(folder, sizeof folder, path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return file_failed(folder, "cannot open");
    int rc = fsync(fd);
    close(fd);
    return rc == 0 ? TACIT_OK : file_failed(folder, "cannot write");
}

enum tacit_err file_write(const char *path, const void *bytes, size_t n,
                          unsigned mode)
{
    char temporary[PATH_BYTES];
    int len = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (len < 0 || (size_t)len >= sizeof temporary)
        return fail(TACIT_LIMIT, "%s: path too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) return file_failed(path, "cannot create");
    enum tacit_err err = fchmod(fd, (mode_t)mode) == 0
                             ? write_all(fd, path, bytes, n)
                             : file_failed(path, "cannot set permissions");
    close(fd);
    if (!err && rename(temporary, path) != 0)
        err = file_failed(path, "cannot replace");
    if (err) {
        unlink(temporary);
        return err;
    }
    return file_sync_folder(path);
}

enum tacit_err file_mkdirs(const char *path, unsigned mode)
{
    char part[PATH_BYTES];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return fail(TACIT_LIMIT, "\"%s\": not a usable path", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, (mode_t)mode) == 0 || errno == EEXIST) continue;
        if (file_exists(part)) continue; /* e.g. EROFS above a mount */
        return file_failed(part, "cannot create");
    }
    struct stat st;
    if (stat(path, &st) != 0) return file_failed(path, "cannot create");
    if (!S_ISDIR(st.st_mode))
        return fail(TACIT_IO, "%s: is not a folder", path);
    return TACIT_OK;
}

enum tacit_err file_join(char *out, size_t cap, const char *a, const char *b)
{
    size_t n = strlen(a);
    const char *slash = n && a[n - 1] != '/' ? "/" : "";
    int len = snprintf(out, cap, "%s%s%s", a, slash, b);
    if (len < 0 || (size_t)len >= cap)
        return fail(TACIT_LIMIT, "%s/%s: path too long", a, b);
    return TACIT_OK;
}

int file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

enum tacit_err file_home(char *out, size_t cap, const char *flag,
                         const char *env, const char *name)
{
    const char *set = flag && *flag ? flag : env ? getenv(env) : NULL;
    if (set && *set) {
        if (strlen(set) >= cap)
            return fail(TACIT_LIMIT, "%s: path too long", set);
        memcpy(out, set, strlen(set) + 1);
        return TACIT_OK;
    }
    const char *xdg = getenv("XDG_DATA_HOME");
    if (xdg && *xdg == '/') return file_join(out, cap, xdg, name);
    const char *home = getenv("HOME");
    if (!home || !*home)
        return fail(TACIT_STATE, "HOME is not set; pass --home DIR");
    char base[PATH_BYTES];
    TRY(file_join(base, sizeof base, home, ".local/share"));
    return file_join(out, cap, base, name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* Folders still to be visited, deepest last. */
struct walk {
    char *path;
    struct dirent **list;
    int n, at;
};

static enum tacit_err walk_open(struct walk *w, const char *path)
{
    *w = (struct walk){.path = strdup(path)};
    if (!w->path) return fail(TACIT_NOMEM, "out of memory");
    w->n = scandir(path, &w->list, is_shown, by_name);
    if (w->n >= 0) return TACIT_OK;
    enum tacit_err err = file_failed(path, "cannot list");
    free(w->path);
    *w = (struct walk){0};
    return err;
}

static void walk_close(struct walk *w)
{
    for (int i = 0; i < w->n; i++) free(w->list[i]);
    free(w->list);
    free(w->path);
    *w = (struct walk){0};
}

/* Go into a folder. One that cannot be listed is visited like a file: reading
 * it fails with the reason, so the visitor counts it among its other faults and
 * goes on. */
static enum tacit_err walk_folder(struct walk *stack, int *depth,
                                  const char *path,
                                  enum tacit_err (*visit)(const char *, void *),
                                  void *ctx)
{
    if (*depth == DEPTH_MAX) return visit(path, ctx);
    enum tacit_err err = walk_open(&stack[*depth], path);
    if (!err) ++*depth;
    if (!err || err == TACIT_NOMEM) return err;
    err_clear();
    return visit(path, ctx);
}

/* Visit one entry of the deepest folder, or leave it when it is done. */
static enum tacit_err walk_next(struct walk *stack, int *depth,
                                enum tacit_err (*visit)(const char *, void *),
                                void *ctx)
{
    struct walk *w = &stack[*depth - 1];
    if (w->at >= w->n) {
        walk_close(w);
        (*depth)--;
        return TACIT_OK;
    }
    char path[PATH_BYTES];
    struct stat link, target;
    TRY(file_join(path, sizeof path, w->path, w->list[w->at++]->d_name));
    if (lstat(path, &link) != 0) return TACIT_OK; /* vanished meanwhile */
    if (S_ISDIR(link.st_mode))
        return walk_folder(stack, depth, path, visit, ctx);
    /* A link to a file counts, a link to a folder could be a circle. */
    if (stat(path, &target) != 0 || !S_ISREG(target.st_mode)) return TACIT_OK;
    return visit(path, ctx);
}

enum tacit_err file_walk(const char *path,
                         enum tacit_err (*visit)(const char *path, void *ctx),
                         void *ctx)
{
    struct stat st;
    if (stat(path, &st) != 0) return file_failed(path, "cannot open");
    if (!S_ISDIR(st.st_mode)) return visit(path, ctx);
    struct walk *stack = calloc(DEPTH_MAX, sizeof *stack);
    if (!stack) return fail(TACIT_NOMEM, "out of memory");
    int depth = 0;
    enum tacit_err err = walk_folder(stack, &depth, path, visit, ctx);
    while (!err && depth > 0) err = walk_next(stack, &depth, visit, ctx);
    while (depth > 0) walk_close(&stack[--depth]);
    free(stack);
    return err;
}
