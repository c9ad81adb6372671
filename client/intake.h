/*
 * intake: files and folders into the documents, one after the other, for the
 * command line and for the daemon.
 *
 *   path ─> file:   corpus_add
 *           folder: corpus_add for each file below, then those that are gone
 *                   are dropped
 *           gone:   corpus_remove (intake_changed alone)
 *
 * A file that cannot be read is told to `failed` and does not stop the others;
 * one that changes while it is read is tried again after a pause. What stops
 * everything: no memory, a full disk, a store that is damaged or held.
 *
 * What is missing below a remembered folder that is not there itself
 * (folders_away()) is kept: its disk is unplugged.
 *
 * Who may write into a folder could put a link to /etc into it. So a link is
 * read where a person named it; below a folder only where folders_may_follow()
 * says so. Links to folders are not gone into at all, as file_walk() does not.
 *
 * Thread rule: that of its corpus.
 */
#ifndef TACIT_CLIENT_INTAKE_H
#define TACIT_CLIENT_INTAKE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "retrieval/corpus.h"

/* How a path came here. */
enum intake_from {
    INTAKE_GIVEN,  /* a person named it */
    INTAKE_STORED, /* it is a document's */
    INTAKE_FOUND   /* below a folder: files of other kinds are passed over */
};

struct intake {
    struct corpus *corpus; /* borrowed */
    struct db *db;         /* borrowed; has the folders that are remembered */
    void *ctx;
    /* Each may be NULL. is_stopped: end before the next file. */
    int (*is_stopped)(void *ctx);
    void (*before)(const char *path, void *ctx);
    void (*after)(const char *path, enum corpus_outcome outcome, void *ctx);
    /* err_message() has the reason until this returns. */
    void (*failed)(const char *path, enum tacit_err err, void *ctx);
    /* Documents of a folder are missing, and kept, for its disk is away. */
    void (*away)(const char *path, void *ctx);
    /* A link that is not followed, and where it leads. */
    void (*leads_out)(const char *path, const char *to, void *ctx);

    size_t n_added, n_replaced, n_unchanged, n_skipped, n_failed, n_removed,
        n_passages, n_links, n_kept; /* missing, and kept */
    enum intake_from from;           /* the file that is read now */
    uint64_t disk; /* st_dev of the folder that is read now; 0 = none */
};

/* A file or a folder that a person named. E_INTERRUPTED when stopped. */
TACIT_CHECKED enum tacit_err intake_path(struct intake *k, const char *path);
/* The path of a document, to be read again. */
TACIT_CHECKED enum tacit_err intake_stored(struct intake *k, const char *path);
/* The same for one that a watch has told of: it may be gone, or no document. */
TACIT_CHECKED enum tacit_err intake_changed(struct intake *k, const char *path);

#endif
