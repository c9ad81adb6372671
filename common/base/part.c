#include "common/base/part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

enum { TRIES = 16, FOLDERS_OPEN = 8 };
#define PREFIX ".tacit-part-"

/* ---- what is there ------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind,
                      struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

/* Of a folder, also what is in it; where a link points to is left alone. */
static void take_away(const char *path)
{
    (void)nftw(path, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
}

/* -1: it is neither file nor folder, or not ours. Some file systems lock a file
 * only for who may write it. */
static int open_any(const char *path)
{
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, O_RDWR | flags);
    return fd < 0 && errno == EISDIR
               ? open(path, O_RDONLY | O_DIRECTORY | flags)
               : fd;
}

/* What killed processes left: those of our name that nobody holds. */
static void sweep(const char *folder)
{
    char path[PART_PATH];
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strlen(e->d_name) != strlen(PREFIX "XXXXXX") ||
            strncmp(e->d_name, PREFIX, strlen(PREFIX)) != 0)
            continue;
        if (file_join(path, sizeof path, folder, e->d_name)) {
            err_clear();
            continue;
        }
        int fd = open_any(path);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) take_away(path);
        if (fd >= 0) close(fd);
    }
    closedir(dir);
}

/* ---- its life ------------------------------------------------------------ */

static enum tacit_err create(struct part *p, const char *folder,
                             enum part_kind kind)
{
    enum tacit_err err =
        file_join(p->path, sizeof p->path, folder, PREFIX "XXXXXX");
    if (!err && kind == PART_FILE)
        p->fd = mkostemp(p->path, O_CLOEXEC);
    else if (!err && mkdtemp(p->path))
        p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!err && p->fd < 0) err = file_failed(folder, "cannot write into it");
    if (err) p->path[0] = '\0';
    return err;
}

/* Held as long as it is unfinished. Before it was held another process may have
 * taken it for what a killed one left: 0. */
static int hold(const struct part *p)
{
    struct stat st;
    if (flock(p->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return 0;
    return fstat(p->fd, &st) != 0 || st.st_nlink > 0;
}

enum tacit_err part_begin(struct part *p, const char *folder,
                          enum part_kind kind)
{
    *p = (struct part){.fd = -1};
    sweep(folder);
    for (int i = 0; i < TRIES; i++) {
        TRY(create(p, folder, kind));
        if (hold(p)) return TACIT_OK;
        part_release(p);
    }
    return fail(TACIT_IO,
                "%s: what is written here is removed by another process; try "
                "again when it has ended",
                folder);
}

enum tacit_err part_commit(struct part *p, const char *path, unsigned mode)
{
    if (fchmod(p->fd, (mode_t)mode) != 0)
        return file_failed(p->path, "cannot set permissions");
    if (rename(p->path, path) != 0)
        return file_failed(p->path, "cannot rename");
    p->path[0] = '\0';
    return file_sync_folder(path);
}

void part_release(struct part *p)
{
    if (p->path[0]) take_away(p->path);
    if (p->fd >= 0) close(p->fd);
    *p = (struct part){.fd = -1};
}
