/*
 * watch: which paths below some folders may have changed (Linux: inotify).
 *
 *   inotify ──> noted paths ──1 s without news, or 10 s──> visit(path) each
 *   overflow, too many paths ──> the folders themselves, to be walked
 *
 * A path that is visited is a file or folder that was written, made, moved or
 * removed: the visitor looks what is there now. Nothing is missed but what
 * happens where the system cannot watch (network drives changed by others, a
 * link's target outside, folders over the system's limit: those are visited
 * again every ten minutes). Hidden entries and links to folders are passed
 * over, as file_walk() does, so that a circle of links is no circle here.
 *
 * A watched folder that is away (folders_is_there(): its disk may be unplugged)
 * is not visited: it is looked for at every wait, and visited whole when it is
 * back. Both are told.
 *
 * Thread rule: one thread per watch.
 */
#ifndef TACIT_CLIENT_WATCH_H
#define TACIT_CLIENT_WATCH_H

#include <stdint.h>

#include "common/base/err.h"

enum {
    WATCH_FOLDERS_MAX = 1 << 16, /* with all below them */
    WATCH_PATHS_MAX = 4096       /* noted; more, and all is visited */
};

struct watch; /* owned */

TACIT_CHECKED enum tacit_err watch_new(struct watch **out);
/* Be told when a watched folder goes away and when it is back. */
void watch_tell(struct watch *w,
                void (*told)(const char *path, int is_there, void *ctx),
                void *ctx);
void watch_free(struct watch *w);
/* Watch a folder (an absolute path without links) and all below it, which lies
 * on that disk (folders_device()); once more does nothing. E_WATCH_LIMIT: it is
 * watched in part, and visited from time to time. */
TACIT_CHECKED enum tacit_err watch_folder(struct watch *w, const char *path,
                                          int64_t device);
int watch_has(const struct watch *w, const char *path);
void watch_forget(struct watch *w, const char *path);
/* Visit this path with the next ones. */
TACIT_CHECKED enum tacit_err watch_note(struct watch *w, const char *path);
/* Wait until paths are due, fd (-1 = none) is readable, a signal came, or
 * timeout_ms are over; *is_due tells the first from the rest. */
TACIT_CHECKED enum tacit_err watch_wait(struct watch *w, int fd, int timeout_ms,
                                        int *is_due);
/* Visit what is noted and forget it. A visit error ends it, and what was not
 * visited yet stays noted; the visitor may not use the watch. */
TACIT_CHECKED enum tacit_err watch_take(
    struct watch *w, enum tacit_err (*visit)(const char *path, void *ctx),
    void *ctx);

#endif
