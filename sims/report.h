/*
 * report: one self-contained HTML page with SVG curves, bars and tables; no
 * script, nothing fetched, light and dark, printable.
 *
 *   report_begin -> sections in any order -> report_end -> bytes in r->out
 *
 * Text is escaped here, and what could fool a reader is replaced (utf8.h).
 * Numbers that are not finite are left out of curves and bars.
 * Errors stick in r->out and surface in report_end().
 */
#ifndef TACIT_SIMS_REPORT_H
#define TACIT_SIMS_REPORT_H

#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum { REPORT_SERIES_MAX = 6, REPORT_COLUMNS_MAX = 20 };

struct report {
    struct buf out;
    int cards; /* open row of figures */
};

struct report_series {
    const char *name;
    size_t n;
    const double *x, *y; /* [n], borrowed */
};

/* [n] of its series, borrowed; both NULL for no band. */
struct report_band {
    const double *low, *high;
};

struct report_bar {
    const char *label;
    double value[REPORT_SERIES_MAX];
};

void report_begin(struct report *r, const char *title, const char *summary);
TACIT_CHECKED enum tacit_err report_end(struct report *r);
void report_release(struct report *r);

/* A heading and an optional paragraph. */
void report_section(struct report *r, const char *title, const char *text);
/* A large number with a caption; neighbours share a row. */
void report_figure(struct report *r, const char *value, const char *caption);
void report_curves(struct report *r, const char *title, const char *x_label,
                   const struct report_series *series, size_t n_series);
/* The same, with a band around each curve whose low and high are given. */
void report_bands(struct report *r, const char *title, const char *x_label,
                  const struct report_series *series,
                  const struct report_band *bands, size_t n_series);
/* Grouped bars in [0, top], cut there; names [n_series] label the colours. */
void report_bars(struct report *r, const char *title, double top,
                 const char *const *names, size_t n_series,
                 const struct report_bar *bars, size_t n_bars);
/* cells [n_rows][n_columns]; a column whose cells are numbers is aligned right;
 * columns beyond REPORT_COLUMNS_MAX are left out. */
void report_table(struct report *r, const char *const *header, size_t n_columns,
                  const char *const *cells, size_t n_rows);
/* A question with its answer and where it came from; source may be NULL. */
void report_answer(struct report *r, const char *place, const char *question,
                   const char *answer, const char *source);

#endif
