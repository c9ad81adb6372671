/*
 * model_parts: what model.c (its life, losses and measures) and model_train.c
 * (local training) share. Private to them.
 */
#ifndef TACIT_MODEL_MODEL_PARTS_H
#define TACIT_MODEL_MODEL_PARTS_H

#include "common/model/model.h"
#include "common/tensor/params.h"
#include "common/tensor/tape.h"

struct arch;
struct directions;
struct tuned;

/* Memory of a training, kept for the next one. */
struct workspace {
    uint32_t *order; /* [rows_max] */
    size_t rows_max;
    float *grad;          /* [n_flat] */
    float *before;        /* [n_flat], to go back to */
    float *kept;          /* [n_statistics] their values after the step */
    const float *ahead;   /* borrowed during a step: what to fetch in it */
    const float *fetched; /* end of rows that came during the last training */
};

struct model {
    struct model_spec spec;
    const struct arch *arch;
    struct tuned *tuned;      /* owned: a network; NULL for all else */
    struct directions *along; /* owned: p is a place along them, and the rest
                                 of this is empty; NULL for all else */
    struct params p;
    struct tape tape;
    struct var *vars[PARAMS_MAX];
    struct workspace work;
};

/* What works: m, or the model that its place along directions comes to. */
struct model *model_at_work(struct model *m);
/* SHAPE, LIMIT: rows that this model cannot read or learn from. */
TACIT_CHECKED enum tacit_err model_check_examples(const struct model *m,
                                                  const struct examples *ex);

#endif
