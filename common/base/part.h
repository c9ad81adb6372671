/*
 * part: a file or folder beside its place, under a name of its own, until it is
 * whole.
 *
 *   part_begin ─> .tacit-part-XXXXXX ─ whoever writes it ─ part_commit ─> path
 *                 held (flock)                │
 *                                             └── part_release: it is gone
 *
 * A killed process can take nothing away. What it left is held by nobody: the
 * next part_begin in that folder removes it.
 *
 * Thread rule: one writer of a part.
 */
#ifndef TACIT_BASE_PART_H
#define TACIT_BASE_PART_H

#include "common/base/err.h"

enum { PART_PATH = 4096 };
enum part_kind { PART_FILE, PART_FOLDER };

struct part {
    char path[PART_PATH]; /* "": there is none, or it has its name */
    int fd; /* a file's, to write to; of a folder only to hold it; -1: none */
};

/* Makes an empty one in that folder, for the owner alone. IO, NOTFOUND,
 * E_DISK_FULL, LIMIT. After an error there is none. */
TACIT_CHECKED enum tacit_err part_begin(struct part *p, const char *folder,
                                        enum part_kind kind);
/* Gives it its name, durably: instead of a file that had it, never of a folder
 * with something in it (IO). mode e.g. 0644. What a file holds is its writer's
 * to sync. */
TACIT_CHECKED enum tacit_err part_commit(struct part *p, const char *path,
                                         unsigned mode);
/* Removes what has no name yet; also after errors. */
void part_release(struct part *p);

#endif
