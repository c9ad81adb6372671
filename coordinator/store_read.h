/*
 * store_read: how store.c and store_rounds.c read rows. Nobody else includes
 * it.
 */
#ifndef TACIT_COORDINATOR_STORE_READ_H
#define TACIT_COORDINATOR_STORE_READ_H

#include "coordinator/store.h"

/* Column col as exactly n bytes; FORMAT otherwise. */
TACIT_CHECKED enum tacit_err store_blob(sqlite3_stmt *st, int col, void *out,
                                        size_t n);
/* Column col as text, cut to fit. */
void store_text(sqlite3_stmt *st, int col, char *out, size_t cap);
typedef enum tacit_err store_row_fn(void *ctx, sqlite3_stmt *st);
/* Call row for every row, then finish st. The first error ends it. */
TACIT_CHECKED enum tacit_err store_each(struct store *s, sqlite3_stmt *st,
                                        store_row_fn *row, void *ctx);

#endif
