/*
 * examples: what a plan learns from, read on the device and never sent.
 *
 *   CSV + the plan's columns ──> x [n, n_features], y [n, 1] (cox: 2)
 *   IDX, .npy, .jsonl (pooled.h) ──> x [n, n_features], y [n, 1] (text: length)
 *   question–passage pairs and feedback ──> q, p [n, ENCODER_DIM]
 *
 * Rows are split once into train and held-out (test) rows: by the CSV's own
 * column `split` (train | test) where it has one, otherwise by
 * BLAKE2b(plan seed, row number), so that a row never changes sides. A row with
 * an unknown value (empty or ?) is left out and counted. Columns are centred
 * and scaled as the plan says; "site" takes mean and unbiased sd of the train
 * rows, of one-hot columns too, and makes a column that never varies there 0.
 *
 * The label is y as it is (regress), 1 above the plan's bound (classify), the
 * number of the class (classify with classes), or the time, with the event in
 * y's second column (cox).
 *
 * CSV of pairs: question, document and optionally heading (the passages that
 * answer are those of that section), or question and passage (its text).
 */
#ifndef TACIT_CLIENT_EXAMPLES_H
#define TACIT_CLIENT_EXAMPLES_H

#include "client/pooled.h"
#include "common/base/arena.h"
#include "common/base/csv.h"
#include "common/base/err.h"
#include "common/model/model.h"
#include "common/plan/plan.h"

enum {
    EXAMPLES_ROWS_MAX = 1 << 22,
    EXAMPLES_VALUES_MAX = 1 << 28 /* rows times features */
};

struct dataset {
    struct arena arena; /* owns everything below */
    struct examples train, test;
    size_t n_dropped; /* rows with an unknown value */
};

void dataset_release(struct dataset *d);

/* The examples of any plan but a retriever's: examples_table(), reader_sets.h,
 * or the reader of the plan's format and examples_from_pooled(). */
TACIT_CHECKED enum tacit_err examples_load(const struct plan *plan,
                                           const char *path,
                                           struct dataset *out);
/* Table of a classify, regress or cox plan. E_CSV_… name file, line and column;
 * E_NO_EXAMPLES when no train row is left; LIMIT. */
TACIT_CHECKED enum tacit_err examples_table(const struct plan *plan,
                                            const char *path,
                                            struct dataset *out);
/* The same from a table in memory (simulation). */
TACIT_CHECKED enum tacit_err examples_from_csv(const struct plan *plan,
                                               const struct csv *t,
                                               struct dataset *out);
/* The class that a row of a table counts as when rows are dealt out by label;
 * *known = 0 where the cell is unknown, and for regress. Cox: the event. */
TACIT_CHECKED enum tacit_err examples_class(const struct plan *plan,
                                            const struct csv *t, size_t row,
                                            uint32_t *out, int *known);
/* Split rows that were read: train rows first. The rows' memory moves from p to
 * out; p is empty afterwards, in every case. name is for messages. */
TACIT_CHECKED enum tacit_err examples_from_pooled(const struct plan *plan,
                                                  const char *name,
                                                  struct pooled *p,
                                                  struct dataset *out);
/* Under privacy a row that cannot be used is one that is not there, also where
 * it is the last one: else a plan could ask for values, and learn from who
 * declines. E_CSV_VALUE of a row: 1, and the error is gone; else 0. */
int examples_left_out(const struct plan *plan, enum tacit_err err);
/* 1 when row is held out: a pure function. */
int examples_held_out(const struct plan *plan, uint64_t row);

#endif
