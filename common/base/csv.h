/*
 * csv: a table of text cells from RFC 4180 bytes: commas, double quotes, line
 * ends \n or \r\n, a header line, UTF-8 with or without a mark.
 *
 * Thread rule: one thread per table.
 */
#ifndef TACIT_BASE_CSV_H
#define TACIT_BASE_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum {
    CSV_BYTES_MAX = 256 << 20,
    CSV_COLUMNS_MAX = 1024,
    CSV_ROWS_MAX = 1 << 22
};

struct csv {
    const char *name; /* for messages, borrowed */
    size_t n_columns, n_rows;
    const char *const *header; /* [n_columns], arena */
    const char *const *cells;  /* [n_rows, n_columns], arena */
    const uint32_t *line;      /* [n_rows], 1-based, arena */
};

/* Read a file into a table. NOTFOUND, IO, LIMIT; FORMAT (E_CSV_SYNTAX) names
 * file and line. */
TACIT_CHECKED enum tacit_err csv_load(const char *path, struct arena *a,
                                      struct csv *out);
/* The same from n bytes with room for one more, which stay valid as long as the
 * arena; they are overwritten. */
TACIT_CHECKED enum tacit_err csv_parse(const char *name, char *text, size_t n,
                                       struct arena *a, struct csv *out);
/* How a table is read that is not quite one. */
struct csv_how {
    char separator; /* between cells: ',', ';' or a tab */
    /* A row that does not fit is told, with its first line, and left out; NULL:
     * it is an error. Where its quotes do not fit the next row begins in the
     * next line. */
    void (*left_out)(void *ctx, uint32_t line, const char *why);
    void *ctx;
};
TACIT_CHECKED enum tacit_err csv_parse_by(const char *name, char *text,
                                          size_t n, const struct csv_how *how,
                                          struct arena *a, struct csv *out);
enum { CSV_NAMES_BYTES = 240 };
/* The names of the columns as a sentence lists them; "…" for those that have no
 * room. Returns out. */
const char *csv_names(const struct csv *t, char out[CSV_NAMES_BYTES]);
/* Column number by name; FORMAT (E_CSV_COLUMN) when it is there twice, or not:
 * then it names the nearest and all. */
TACIT_CHECKED enum tacit_err csv_column(const struct csv *t, const char *name,
                                        size_t *out);
/* The same, but -1 when there is none. */
long csv_find(const struct csv *t, const char *name);
static inline const char *csv_cell(const struct csv *t, size_t row, size_t col)
{
    return t->cells[row * t->n_columns + col];
}
/* A finite number; 0 for "unknown" (empty or ?), which sets *known = 0. FORMAT
 * (E_CSV_VALUE) names file, line and column. */
TACIT_CHECKED enum tacit_err csv_number(const struct csv *t, size_t row,
                                        size_t col, double *out, int *known);

#endif
