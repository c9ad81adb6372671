/*
 * tuning: how much the vectors count beside the words in this device's search,
 * learnt here (weight.h) and kept with the model that it was learnt for: a
 * newer search model begins without one (search.h).
 *
 *   good feedback, pairs of a CSV file ─> weight_fit ─> table search_weight
 */
#ifndef TACIT_CLIENT_TUNING_H
#define TACIT_CLIENT_TUNING_H

#include "common/base/db.h"
#include "common/model/encoder.h"
#include "retrieval/weight.h"

enum { TUNING_N_MIGRATIONS = 1 };
extern const char *const tuning_migrations[TUNING_N_MIGRATIONS];

/* What a weight belongs to. */
struct tuning_model {
    const struct encoder *encoder;
    const float *adapter; /* [ENCODER_DIM, ENCODER_DIM] or NULL: another
                             encoder has none */
};

/* The weight of this model: *found = 0 when none was learnt. */
TACIT_CHECKED enum tacit_err tuning_weight(struct db *db,
                                           const struct tuning_model *m,
                                           struct weight_learnt *out,
                                           int *found);
TACIT_CHECKED enum tacit_err tuning_keep(struct db *db,
                                         const struct tuning_model *m,
                                         const struct weight_learnt *w,
                                         int64_t now_s);
/* Learn from all good feedback and, when csv_path is not NULL, from its columns
 * question, document and (or not) heading, as pairs.h reads them. Pairs marked
 * `test` in a column split are left out. E_FEW_PAIRS, E_CSV_…. */
TACIT_CHECKED enum tacit_err tuning_learn(struct db *db, struct corpus *corpus,
                                          const struct tuning_model *m,
                                          const char *csv_path,
                                          struct weight_learnt *out);

#endif
