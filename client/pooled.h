/*
 * pooled: the rows of a data file as they were read, before they are split into
 * train and held-out rows or dealt out to simulated clients.
 *
 *   images   IDX (MNIST family) or .npy ─┐
 *   vectors  .npy ───────────────────────┼─> x [n_rows, x_dim]
 *   text     .jsonl ─────────────────────┘   y [n_rows, y_dim]
 *
 * Which reader it is, the file's first bytes say, not its name. One block of
 * memory holds all rows; pooled_order() moves them in place, so that datasets
 * can borrow runs of them without a copy.
 */
#ifndef TACIT_CLIENT_POOLED_H
#define TACIT_CLIENT_POOLED_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"

enum {
    POOLED_BYTES_MAX = 1 << 30,  /* of a file */
    POOLED_ROWS_MAX = 1 << 22,   /* rows */
    POOLED_VALUES_MAX = 1 << 28, /* rows times features */
    POOLED_CLIENTS_MAX = 1000000
};

struct pooled {
    struct arena arena; /* owns everything below */
    size_t n_rows, x_dim, y_dim;
    float *x, *y;
    uint32_t *client; /* [n_rows] whose the row is, below n_clients; or NULL */
    size_t n_clients; /* clients that the data itself names; 0 = none */
    const char **client_name; /* [n_clients], or NULL */
    uint8_t *is_test; /* [n_rows], or NULL: 1 = of a test set that came along */
};

void pooled_release(struct pooled *p);
/* Take room for n_rows rows. LIMIT names what. */
TACIT_CHECKED enum tacit_err pooled_new(const char *what, size_t n_rows,
                                        size_t x_dim, size_t y_dim,
                                        struct pooled *out);
/* Read path as the plan's format says. E_DATA_… name file and row; NOTFOUND,
 * IO; LIMIT. Not for tables. */
TACIT_CHECKED enum tacit_err pooled_load(const struct plan *plan,
                                         const char *path, struct pooled *out);
/* Put row order[i] at place i, for all i. order is a permutation of the rows;
 * it is used up. */
TACIT_CHECKED enum tacit_err pooled_order(struct pooled *p, uint32_t *order);
/* Rows [first, first + n) as examples; borrowed. */
void pooled_view(const struct pooled *p, size_t first, size_t n,
                 struct examples *out);
/* A label as the plan's model wants it: any finite number for regress, else a
 * whole number below the classes (0 or 1 where there is one logit). 0 when it
 * is not. */
int pooled_label_ok(const struct plan *plan, double v);

#endif
