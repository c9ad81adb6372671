#include "client/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/folders.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"

enum {
    QUIET_MS = 1000,          /* a program writes a file in several steps */
    PATIENCE_MS = 10000,      /* but one that never ends is not waited for */
    PART_MS = 10 * 60 * 1000, /* what cannot be watched is walked */
    DEPTH_MAX = 64,           /* as file_walk() */
    PATH_BYTES = 4096
};
#define TELL_OF                                                                \
 (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE |       \
  IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW |    \
  IN_EXCL_UNLINK)

/* Folders by number, as the system numbers them. */
struct spot {
    int wd;
    char *path; /* owned */
};

struct root {
    char *path; /* owned */
    int64_t device;
    int is_there;
    int is_part; /* not all below it could be watched */
};

struct watch {
    int fd;
    struct spot *spots; /* rising wd */
    size_t n_spots, cap_spots;
    struct root *roots;
    size_t n_roots, cap_roots;
    char *noted[WATCH_PATHS_MAX]; /* owned, rising */
    size_t n_noted;
    int64_t first_ms, last_ms; /* of what is noted */
    int64_t part_ms;           /* when the rest was noted last */
    void (*told)(const char *path, int is_there, void *ctx);
    void *told_ctx;
};

enum tacit_err watch_new(struct watch **out)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w) return fail(TACIT_NOMEM, "no memory to watch folders");
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        enum tacit_err err =
            fail_as(E_WATCH_LIMIT,
                    "folders cannot be watched: %s; raise "
                    "fs.inotify.max_user_instances, as to 1024",
                    strerror(errno));
        free(w);
        return err;
    }
    w->part_ms = tick_ms();
    *out = w;
    return TACIT_OK;
}

void watch_tell(struct watch *w,
                void (*told)(const char *path, int is_there, void *ctx),
                void *ctx)
{
    w->told = told;
    w->told_ctx = ctx;
}

static void drop_noted(struct watch *w)
{
    for (size_t i = 0; i < w->n_noted; i++) free(w->noted[i]);
    w->n_noted = 0;
}

void watch_free(struct watch *w)
{
    if (!w) return;
    drop_noted(w);
    for (size_t i = 0; i < w->n_spots; i++) free(w->spots[i].path);
    for (size_t i = 0; i < w->n_roots; i++) free(w->roots[i].path);
    free(w->spots);
    free(w->roots);
    close(w->fd);
    free(w);
}

/* 1 when path is `folder` or lies below it. */
static int is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (strcmp(folder, "/") == 0) return 1;
    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static struct root *find_root(const struct watch *w, const char *path)
{
    for (size_t i = 0; i < w->n_roots; i++)
        if (strcmp(w->roots[i].path, path) == 0) return &w->roots[i];
    return NULL;
}

int watch_has(const struct watch *w, const char *path)
{
    return find_root(w, path) != NULL;
}

/* ---- what is noted ------------------------------------------------------ */

static size_t place_of(const struct watch *w, const char *path)
{
    size_t low = 0, high = w->n_noted;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(w->noted[mid], path) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static enum tacit_err put_noted(struct watch *w, const char *path)
{
    size_t at = place_of(w, path);
    int64_t now = tick_ms();
    if (w->n_noted == 0) w->first_ms = now;
    w->last_ms = now;
    if (at < w->n_noted && strcmp(w->noted[at], path) == 0) return TACIT_OK;
    char *copy = strdup(path);
    if (!copy) return fail(TACIT_NOMEM, "no memory to watch folders");
    memmove(w->noted + at + 1, w->noted + at,
            (w->n_noted - at) * sizeof *w->noted);
    w->noted[at] = copy;
    w->n_noted++;
    return TACIT_OK;
}

static enum tacit_err note_roots(struct watch *w)
{
    drop_noted(w);
    for (size_t i = 0; i < w->n_roots && i < WATCH_PATHS_MAX - 1; i++)
        if (w->roots[i].is_there) TRY(put_noted(w, w->roots[i].path));
    return TACIT_OK;
}

enum tacit_err watch_note(struct watch *w, const char *path)
{
    int64_t first_ms = w->first_ms;
    if (w->n_noted < WATCH_PATHS_MAX - 1) return put_noted(w, path);
    TRY(note_roots(w));
    w->first_ms = first_ms;
    return TACIT_OK;
}

/* ---- what is watched ---------------------------------------------------- */

static size_t place_of_spot(const struct watch *w, int wd)
{
    size_t low = 0, high = w->n_spots;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->spots[mid].wd < wd)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void remove_spot(struct watch *w, size_t at)
{
    free(w->spots[at].path);
    w->n_spots--;
    memmove(w->spots + at, w->spots + at + 1,
            (w->n_spots - at) * sizeof *w->spots);
}

/* A folder that is moved keeps its number, so a known one gets its new path. */
static enum tacit_err put_spot(struct watch *w, int wd, const char *path)
{
    size_t at = place_of_spot(w, wd);
    char *copy = strdup(path);
    if (!copy) return fail(TACIT_NOMEM, "no memory to watch folders");
    if (at < w->n_spots && w->spots[at].wd == wd) {
        free(w->spots[at].path);
        w->spots[at].path = copy;
        return TACIT_OK;
    }
    if (w->n_spots == w->cap_spots) {
        size_t cap = w->cap_spots ? 2 * w->cap_spots : 64;
        struct spot *more = realloc(w->spots, cap * sizeof *more);
        if (!more) {
            free(copy);
            return fail(TACIT_NOMEM, "no memory to watch folders");
        }
        w->spots = more;
        w->cap_spots = cap;
    }
    memmove(w->spots + at + 1, w->spots + at,
            (w->n_spots - at) * sizeof *w->spots);
    w->spots[at].wd = wd;
    w->spots[at].path = copy;
    w->n_spots++;
    return TACIT_OK;
}

static void drop_below(struct watch *w, const char *folder)
{
    for (size_t i = w->n_spots; i-- > 0;) {
        if (!is_below(w->spots[i].path, folder)) continue;
        inotify_rm_watch(w->fd, w->spots[i].wd);
        remove_spot(w, i);
    }
}

/* What the system allows now, for the hint; 0 = unknown. */
static long system_limit(void)
{
    long n = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
    if (!f) return 0;
    if (fscanf(f, "%ld", &n) != 1) n = 0;
    fclose(f);
    return n;
}

static enum tacit_err refuse(const struct watch *w, const char *path)
{
    if (w->n_spots >= WATCH_FOLDERS_MAX)
        return fail_as(E_WATCH_LIMIT,
                       "%s: more than %d folders; the rest is looked through "
                       "every 10 minutes",
                       path, WATCH_FOLDERS_MAX);
    long limit = system_limit();
    return fail_as(E_WATCH_LIMIT,
                   "%s: the system lets its users watch %ld folders, and %zu "
                   "are watched here; raise fs.inotify.max_user_watches, as "
                   "to %d. The rest is looked through every 10 minutes",
                   path, limit, w->n_spots, 1 << 19);
}

/* One folder. *is_new = 0 when it cannot be watched for a reason that is its
 * own (gone, not readable): reading it will say so. */
static enum tacit_err watch_one(struct watch *w, const char *path, int *is_new)
{
    *is_new = 0;
    if (w->n_spots >= WATCH_FOLDERS_MAX) return refuse(w, path);
    int wd = inotify_add_watch(w->fd, path, TELL_OF);
    if (wd < 0 && errno == ENOSPC) return refuse(w, path);
    if (wd < 0 && errno == ENOMEM)
        return fail(TACIT_NOMEM, "no memory to watch %s", path);
    if (wd < 0) return TACIT_OK;
    *is_new = 1;
    return put_spot(w, wd, path);
}

static int is_folder(const char *path, const struct dirent *e)
{
    struct stat st;
    if (e->d_type != DT_UNKNOWN) return e->d_type == DT_DIR;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder and all below it. It is watched before it is listed, so that what is
 * made in it meanwhile is either listed or told of. */
static enum tacit_err watch_below(struct watch *w, const char *path, int depth)
{
    int is_new;
    TRY(watch_one(w, path, &is_new));
    DIR *dir = is_new && depth < DEPTH_MAX ? opendir(path) : NULL;
    if (!dir) return TACIT_OK;
    enum tacit_err err = TACIT_OK;
    for (struct dirent *e; !err && (e = readdir(dir));) {
        char below[PATH_BYTES];
        if (e->d_name[0] == '.') continue;
        if (file_join(below, sizeof below, path, e->d_name)) {
            err_clear(); /* file_walk() names it */
            continue;
        }
        if (is_folder(below, e)) err = watch_below(w, below, depth + 1);
    }
    closedir(dir);
    return err;
}

static void set_there(struct watch *w, struct root *r, int is_there)
{
    if (r->is_there != is_there && w->told)
        w->told(r->path, is_there, w->told_ctx);
    r->is_there = is_there;
}

static enum tacit_err watch_root(struct watch *w, struct root *r)
{
    set_there(w, r, folders_is_there(r->path, &r->device));
    if (!r->is_there) return TACIT_OK;
    enum tacit_err err = watch_below(w, r->path, 0);
    r->is_part = err == TACIT_LIMIT;
    return err;
}

enum tacit_err watch_folder(struct watch *w, const char *path, int64_t device)
{
    if (find_root(w, path)) return TACIT_OK;
    if (w->n_roots == w->cap_roots) {
        size_t cap = w->cap_roots ? 2 * w->cap_roots : 8;
        struct root *more = realloc(w->roots, cap * sizeof *more);
        if (!more) return fail(TACIT_NOMEM, "no memory to watch folders");
        w->roots = more;
        w->cap_roots = cap;
    }
    char *copy = strdup(path);
    if (!copy) return fail(TACIT_NOMEM, "no memory to watch folders");
    w->roots[w->n_roots] =
        (struct root){.path = copy, .device = device, .is_there = 1};
    return watch_root(w, &w->roots[w->n_roots++]);
}

/* Whether another root still wants a folder. */
static int is_wanted(const struct watch *w, const char *path)
{
    for (size_t i = 0; i < w->n_roots; i++)
        if (is_below(path, w->roots[i].path)) return 1;
    return 0;
}

void watch_forget(struct watch *w, const char *path)
{
    struct root *r = find_root(w, path);
    if (!r) return;
    free(r->path);
    *r = w->roots[--w->n_roots];
    for (size_t i = w->n_spots; i-- > 0;) {
        if (is_wanted(w, w->spots[i].path)) continue;
        inotify_rm_watch(w->fd, w->spots[i].wd);
        remove_spot(w, i);
    }
}

/* ---- what happens ------------------------------------------------------- */

/* Something happened to a folder below a root: it came, or it went. */
static enum tacit_err folder_event(struct watch *w, const char *path,
                                   uint32_t mask)
{
    if (mask & (IN_MOVED_FROM | IN_DELETE)) drop_below(w, path);
    if (mask & (IN_MOVED_TO | IN_CREATE | IN_ATTRIB)) {
        enum tacit_err err = watch_below(w, path, 1);
        for (size_t i = 0; err == TACIT_LIMIT && i < w->n_roots; i++)
            if (is_below(path, w->roots[i].path)) w->roots[i].is_part = 1;
        if (err == TACIT_LIMIT)
            err_clear();
        else
            TRY(err);
    }
    return watch_note(w, path);
}

/* A file that a program has just made is told of again when it is closed; a
 * link is whole at once. */
static int is_unfinished(const char *path, uint32_t mask)
{
    struct stat st;
    return mask & IN_CREATE && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_nlink < 2;
}

/* The watched folder itself. */
static void self_event(struct watch *w, size_t at, uint32_t mask)
{
    struct root *r = find_root(w, w->spots[at].path);
    if (r && mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_UNMOUNT | IN_IGNORED)) {
        set_there(w, r, 0); /* looked for at the next wait */
        drop_below(w, r->path);
    } else if (mask & IN_IGNORED) {
        remove_spot(w, at);
    }
}

static enum tacit_err take_event(struct watch *w, const struct inotify_event *e)
{
    char path[PATH_BYTES];
    if (e->mask & IN_Q_OVERFLOW) {
        /* Folders may have come as well: watch everything once more. */
        for (size_t i = 0; i < w->n_roots; i++) {
            enum tacit_err err = watch_root(w, &w->roots[i]);
            if (err == TACIT_LIMIT)
                err_clear();
            else
                TRY(err);
        }
        return note_roots(w);
    }
    size_t at = place_of_spot(w, e->wd);
    if (at == w->n_spots || w->spots[at].wd != e->wd) return TACIT_OK;
    if (e->len == 0) {
        self_event(w, at, e->mask);
        return TACIT_OK;
    }
    if (e->name[0] == '.') return TACIT_OK;
    if (file_join(path, sizeof path, w->spots[at].path, e->name)) {
        err_clear();
        return TACIT_OK;
    }
    if (e->mask & IN_ISDIR) return folder_event(w, path, e->mask);
    return is_unfinished(path, e->mask) ? TACIT_OK : watch_note(w, path);
}

static enum tacit_err read_events(struct watch *w)
{
    _Alignas(struct inotify_event) char bytes[16384];
    for (;;) {
        ssize_t n = read(w->fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return TACIT_OK;
        for (size_t at = 0; at < (size_t)n;) {
            const void *here = bytes + at;
            const struct inotify_event *e = here;
            TRY(take_event(w, e));
            at += sizeof *e + e->len;
        }
    }
}

/* Folders that are back, and those that are watched in part. */
static enum tacit_err look_around(struct watch *w)
{
    int64_t now = tick_ms();
    int is_time = now - w->part_ms >= PART_MS;
    if (is_time) w->part_ms = now;
    for (size_t i = 0; i < w->n_roots; i++) {
        struct root *r = &w->roots[i];
        if (r->is_there && !(r->is_part && is_time)) continue;
        enum tacit_err err = watch_root(w, r);
        if (err == TACIT_LIMIT)
            err_clear();
        else
            TRY(err);
        if (r->is_there) TRY(watch_note(w, r->path));
    }
    return TACIT_OK;
}

/* Milliseconds until what is noted is due. */
static int64_t due_in(const struct watch *w)
{
    int64_t now = tick_ms();
    int64_t quiet = w->last_ms + QUIET_MS - now;
    int64_t patience = w->first_ms + PATIENCE_MS - now;
    int64_t left = quiet < patience ? quiet : patience;
    if (w->n_noted == 0) return INT_MAX;
    return left > 0 ? left : 0;
}

enum tacit_err watch_wait(struct watch *w, int fd, int timeout_ms, int *is_due)
{
    int64_t end = tick_ms() + timeout_ms;
    *is_due = 0;
    TRY(look_around(w));
    for (;;) {
        struct pollfd fds[2] = {{.fd = w->fd, .events = POLLIN},
                                {.fd = fd, .events = POLLIN}};
        int64_t left = end - tick_ms(), due = due_in(w);
        if (due == 0) break;
        if (left <= 0) return TACIT_OK;
        int n = poll(fds, 2, (int)(left < due ? left : due));
        if (n < 0 && errno == EINTR) return TACIT_OK;
        if (n < 0)
            return fail(TACIT_IO, "watching folders: %s", strerror(errno));
        if (fds[1].revents) return TACIT_OK;
        if (fds[0].revents) TRY(read_events(w));
    }
    *is_due = 1;
    return TACIT_OK;
}

enum tacit_err watch_take(struct watch *w,
                          enum tacit_err (*visit)(const char *path, void *ctx),
                          void *ctx)
{
    enum tacit_err err = TACIT_OK;
    size_t at = 0;
    const char *whole = NULL; /* the folder visited last */
    while (at < w->n_noted) {
        struct stat st;
        const char *path = w->noted[at];
        if (!whole || !is_below(path, whole)) {
            err = visit(path, ctx);
            if (err) break;
            if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) whole = path;
        }
        at++;
    }
    for (size_t i = 0; i < at; i++) free(w->noted[i]);
    w->n_noted -= at;
    memmove(w->noted, w->noted + at, w->n_noted * sizeof *w->noted);
    return err;
}
