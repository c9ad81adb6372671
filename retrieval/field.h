/*
 * field: what a document says of itself in the form KEY: VALUE.
 *
 *   From: Petra Holm <petra@example.org> | To: team@example.org    mail
 *   author: Mara Lindt | tags: diabetes, icu                       front matter
 *   name: Heparin | ward: 4B | dose: 5000 units                     CSV, JSONL
 *
 * The readers of documents write such rows as text of the passage; so they are
 * found, quoted, sealed and removed with it, and a condition reads them from
 * there. A cell ends at " | " or at the end of the line. Its value holds when
 * it is equal to the pattern or fits its * ? [], as a whole or as one element
 * of a list a, b, c. Letters of ASCII are compared without case.
 */
#ifndef TACIT_RETRIEVAL_FIELD_H
#define TACIT_RETRIEVAL_FIELD_H

#include <stddef.h>

#include "common/base/db.h"

enum {
    FIELD_KEY_MAX = 40,
    FIELD_VALUE_MAX = 1000, /* a longer one is cut */
    FIELD_WANTS_MAX = 16    /* of one row */
};

/* Whether text [n] has a cell of this key (NUL-terminated) whose value fits. */
int field_holds(const char *text, size_t n, const char *key,
                const char *pattern);
struct field_want {
    const char *key, *pattern;
};

/* The next line of text [n] from *at on whose cells hold all that is wanted;
 * *at is then behind it. A row of a table is a line. *len 0: there is none. */
const char *field_next_row(const char *text, size_t n,
                           const struct field_want *want, size_t n_want,
                           size_t *at, size_t *len);
/* Make `field_holds(text, key, pattern)` known to a connection, and the same of
 * any number of keys and patterns, which one row has to hold:
 * `field_row_holds(text, key, pattern …)`. */
TACIT_CHECKED enum tacit_err field_register(struct db *db);

#endif
