/*
 * document_zip: the door to libzip: the parts of a container (DOCX, ODT, EPUB)
 * by name, within bounds.
 *
 * Names only look parts up, they are never paths. A container in a container is
 * a part like any other, and is not opened. Bounds: entries, bytes of one part
 * and of all, and how much a part may grow by unpacking: text shrinks to a
 * tenth, a bomb to a thousandth. Sizes that the container claims are not
 * believed.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_ZIP_H
#define TACIT_RETRIEVAL_DOCUMENT_ZIP_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
    ZIP_ENTRIES_MAX = 10000,
    ZIP_PART_MAX = 64 << 20,
    ZIP_TOTAL_MAX = 256 << 20,
    ZIP_FREE_BYTES = 4 << 20, /* that any part may have */
    ZIP_RATIO_MAX = 200       /* beyond that, plain to packed */
};

struct archive; /* owned */

/* Over a handle, which stays the caller's. E_DOCUMENT_DAMAGED, _ENCRYPTED (an
 * encrypted DOCX is no container), _MARKUP (too many entries). */
TACIT_CHECKED enum tacit_err archive_open(int handle, struct archive **out);
void archive_close(struct archive *a);
int archive_has(const struct archive *a, const char *name);
/* Append a part's bytes to out. E_DOCUMENT_DAMAGED (also when it is not there),
 * _ENCRYPTED, _MARKUP (over a bound). */
TACIT_CHECKED enum tacit_err archive_read(struct archive *a, const char *name,
                                          struct buf *out);

#endif
