/*
 * folders: the folders that were given to `tacit add`. The daemon keeps the
 * documents in step with them (keeper.h), until `tacit rm` forgets them.
 */
#ifndef TACIT_CLIENT_FOLDERS_H
#define TACIT_CLIENT_FOLDERS_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/db.h"
#include "common/base/err.h"

enum { FOLDERS_N_FIRST = 1, FOLDERS_N_MIGRATIONS = 3 };
enum { FOLDERS_MAX = 4096, FOLDER_PATH_MAX = 4096 };
enum folder_links { FOLDER_LINKS_INSIDE, FOLDER_ALL_LINKS };
extern const char *const folders_migrations[FOLDERS_N_MIGRATIONS];

/* The path under which a folder is known: its real one, into
 * out[FOLDER_PATH_MAX]. E_DOCUMENT_MISSING. */
TACIT_CHECKED enum tacit_err folders_path(const char *path, char *out);
/* Remember a folder (folders_path()); once more changes its links alone. LIMIT.
 */
TACIT_CHECKED enum tacit_err folders_remember(struct db *db, const char *path,
                                              enum folder_links links,
                                              int64_t now_s);
/* *may = 1 when the link at `path` may be read, which leads to `real`: that
 * lies below a folder that is remembered, or the link below one that is with
 * FOLDER_ALL_LINKS. */
TACIT_CHECKED enum tacit_err folders_may_follow(struct db *db, const char *path,
                                                const char *real, int *may);
/* 1 when a folder is there, and *device is the disk that it lies on. 0 when its
 * disk is unplugged: there is no folder, or one without anything in it on
 * another disk than *device (0 = not known), the place where that was mounted.
 */
int folders_is_there(const char *path, int64_t *device);
extern const char folders_why_away[]; /* said of it to a person */
/* The disk of a remembered folder when it was read last; 0 = not known. */
TACIT_CHECKED enum tacit_err folders_device(struct db *db, const char *path,
                                            int64_t *device);
/* A folder was read: if it is a remembered one, its disk is remembered too. */
TACIT_CHECKED enum tacit_err folders_was_read(struct db *db, const char *path);
/* Another disk holds the folder of a file that was found: the place where it is
 * mounted is remembered as a folder of its own, so that folders_away() misses
 * it. `disk`: st_dev of what is above it. LIMIT. */
TACIT_CHECKED enum tacit_err folders_found_disk(struct db *db, const char *file,
                                                uint64_t disk, int64_t now_s);
/* *is_away = 1 when a remembered folder at or above `path` is not there: what
 * is missing below it has not been deleted. */
TACIT_CHECKED enum tacit_err folders_away(struct db *db, const char *path,
                                          int *is_away);
/* Forget a folder and those below it; *n of them. */
TACIT_CHECKED enum tacit_err folders_forget(struct db *db, const char *path,
                                            size_t *n);
/* All of them, in order, into out, which is empty: each with its NUL. */
TACIT_CHECKED enum tacit_err folders_list(struct db *db, struct buf *out);

#endif
