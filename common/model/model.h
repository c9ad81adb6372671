/*
 * model: what trainer, simulator and federation see of any trainable model: a
 * parameter vector, a loss with its gradient, and metrics.
 *
 * A model is built from a spec (a plan's `model:`), so every device builds the
 * same layout. The architectures are rows of one const table (arch.c):
 * logistic, linear, mlp for tables; the query-side adapter of the static
 * encoder for `retriever`. A new model is a new row.
 *
 * Thread rule: one thread at a time per model; models share nothing mutable.
 */
#ifndef TACIT_MODEL_MODEL_H
#define TACIT_MODEL_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/tensor/params.h"

/* A labelled set, row-major. Tables: x [n_rows, x_dim], y [n_rows].
 * Retriever: x = frozen query vectors [n_rows, dim], y = NULL, p = frozen
 * positive passage vectors [n_rows, dim]. Evaluation ranks all n_pool passages
 * of the site; pool_group[i] == row_group[r] makes passage i an answer to row
 * r. Without a pool, the rows' own passages are ranked. Borrowed by every call
 * below. */
struct examples {
    size_t n_rows, x_dim;
    const float *x;
    const float *y;
    const float *p;
    const float *pool; /* [n_pool, x_dim] or NULL */
    size_t n_pool;
    const uint32_t *pool_group; /* [n_pool] */
    const uint32_t *row_group;  /* [n_rows] */
    size_t y_dim;               /* 0 = 1 */
};

struct model_metrics {
    double loss;   /* mean over the rows */
    double metric; /* accuracy (classify), RMSE (regress), recall@5
                      (retriever) */
    size_t n_rows;
};

struct model; /* opaque */

enum model_task {
    MODEL_CLASSIFY,
    MODEL_REGRESS,
    MODEL_RETRIEVER,
    MODEL_COX,
    MODEL_LM
};
enum { MODEL_HIDDEN_MAX = 8 };

struct model_spec {
    const char *kind; /* "logistic" | "linear" | "mlp" | "static" */
    enum model_task task;
    size_t n_inputs; /* features after one-hot; static: vector length */
    size_t n_hidden;
    uint32_t hidden[MODEL_HIDDEN_MAX]; /* mlp: widths */
    uint32_t classes, channels, height, width, seq, layers, heads;
    const char *norm;
    double temperature; /* static: contrastive loss, 0 = 0.05 */
};

/* How to train locally; optimizer is "sgd" | "adam" | "adamw". */
struct model_training {
    const char *optimizer;
    uint32_t steps, batch;
    double learning_rate, momentum, weight_decay;
    uint64_t seed, round, client; /* name the batch order */
    void (*gradient)(void *ctx, const float *w, float *g);
    void *ctx;
};

/* Build the model; its weights are zero until model_init or a load.
 * UNSUPPORTED for an unknown kind (names the nearest), SHAPE, LIMIT. */
TACIT_CHECKED enum tacit_err model_new(const struct model_spec *spec,
                                       struct model **out);
void model_free(struct model *m);
/* Owned by the model. Its flat vector is the model; write it to load one. */
struct params *model_params(struct model *m);
/* Draw initial weights from (seed): U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for
 * dense layers, the identity for the adapter. */
void model_init(struct model *m, uint64_t seed);
/* Mean loss over rows idx[n] and its gradient into grad [n_flat]
 * (overwritten). */
TACIT_CHECKED enum tacit_err model_gradient(struct model *m,
                                            const struct examples *ex,
                                            const uint32_t *idx, size_t n,
                                            float *grad, float *out_loss);
TACIT_CHECKED enum tacit_err model_evaluate(struct model *m,
                                            const struct examples *ex,
                                            struct model_metrics *out);
/* One prediction per row: probability (classify) or value (regress). */
TACIT_CHECKED enum tacit_err model_predict(struct model *m,
                                           const struct examples *ex,
                                           float *out /* [n_rows] */);

/* Local training: `steps` optimiser steps on batches drawn without replacement
 * from shuffled epochs; the order is a pure function of (seed, round, client).
 * Updates the model's weights. LIMIT with E_LOSS_NAN when the loss is not
 * finite (weights restored). */
TACIT_CHECKED enum tacit_err model_train(struct model *m,
                                         const struct model_training *how,
                                         const struct examples *ex);

#endif
