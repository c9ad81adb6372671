/*
 * reader_sets: what the built-in reader learns from: a CSV file with the
 * columns question, passage and answer, and optionally `split` (train, test).
 *
 *   "Who signed?","It was signed by Lang in 1846.","Lang"
 *   "Who refused?","It was signed by Lang in 1846.",""     nothing answers it
 *
 * An answer stands word by word in its passage. A row with an unknown value, or
 * whose answer does not stand in its passage, is left out and counted.
 */
#ifndef TACIT_CLIENT_READER_SETS_H
#define TACIT_CLIENT_READER_SETS_H

#include "client/examples.h"

/* E_CSV_… name file, line and column; E_NO_EXAMPLES; LIMIT. */
TACIT_CHECKED enum tacit_err reader_sets_load(const struct plan *plan,
                                              const char *path,
                                              struct dataset *out);

#endif
