/*
 * lines: the texts that a model is distilled with, a line of a .txt file each.
 *
 *   folder ──walk, by name──> *.txt ──> lines that have anything on them
 *
 * Thread rule: none, once read.
 */
#ifndef TACIT_CLIENT_LINES_H
#define TACIT_CLIENT_LINES_H

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/model/encoder.h"

struct lines {
    struct buf bytes;  /* all files one behind another */
    struct text *line; /* [n], without blanks around; in bytes; owned */
    size_t n;
    struct digest hash; /* of bytes */
};

/* A folder or a file. E_USAGE when it has no text; LIMIT over a gibibyte; IO.
 * lines_release() whatever comes back. */
TACIT_CHECKED enum tacit_err lines_read(const char *path, struct lines *out);
void lines_release(struct lines *l);

#endif
