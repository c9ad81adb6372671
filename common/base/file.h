/*
 * file: whole-file reads with a size bound, atomic durable writes, directories.
 */
#ifndef TACIT_BASE_FILE_H
#define TACIT_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* An error of the file, by errno: E_DISK_FULL, NOMEM, NOTFOUND or IO. */
enum tacit_err file_failed(const char *path, const char *doing);
/* Append the file's content to out. IO (names path and reason), NOTFOUND when
 * it does not exist, LIMIT over max_bytes, UNSUPPORTED when not a regular
 * file. */
TACIT_CHECKED enum tacit_err file_read(const char *path, size_t max_bytes,
                                       struct buf *out);
/* Replace path atomically and durably: temporary beside it, fsync, rename,
 * fsync of the folder. mode e.g. 0600. A full disk gives E_DISK_FULL and
 * leaves the old file. */
TACIT_CHECKED enum tacit_err file_write(const char *path, const void *bytes,
                                        size_t n, unsigned mode);
/* mkdir -p. */
TACIT_CHECKED enum tacit_err file_mkdirs(const char *path, unsigned mode);
/* "a/b" into out[cap]; LIMIT when it does not fit. */
TACIT_CHECKED enum tacit_err file_join(char *out, size_t cap, const char *a,
                                       const char *b);
/* The folder that path lies in, "." for a bare name, into out[cap]; LIMIT when
 * it does not fit. */
TACIT_CHECKED enum tacit_err file_folder(char *out, size_t cap,
                                         const char *path);
/* A rename to path is durable once its folder is: fsync of that. IO. */
TACIT_CHECKED enum tacit_err file_sync_folder(const char *path);
int file_exists(const char *path);
/* The user's data folder for a program: flag, else $env, else
 * $XDG_DATA_HOME/name, else ~/.local/share/name. */
TACIT_CHECKED enum tacit_err file_home(char *out, size_t cap, const char *flag,
                                       const char *env, const char *name);

/* Call visit(path, ctx) for each regular file below `path` (or for path
 * itself), in byte order of names; hidden entries and symbolic links to
 * folders are skipped. A folder that cannot be listed or lies more than 64 deep
 * is visited too, so that reading it names the fault. A visit error ends the
 * walk. */
TACIT_CHECKED enum tacit_err file_walk(const char *path,
                                       enum tacit_err (*visit)(const char *path,
                                                               void *ctx),
                                       void *ctx);

#endif
