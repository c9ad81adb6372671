/*
 * model: what trainer, simulator and federation see of any trainable model: a
 * parameter vector, a loss with its gradient, and metrics.
 *
 * A model is built from a spec (a plan's `model:`), so every device builds the
 * same layout. The architectures are rows of one const table (arch.c):
 *
 *   logistic linear softmax cox mlp     tables    x [n, n_inputs]
 *   cnn                                 images    x [n, channels h w]
 *   gru lstm transformer                text      x [n, T] token numbers
 *   static                              retriever, the query-side adapter
 *   reader                              questions and passages (reader_text.h)
 *   net                                 texts, an imported network (tuned.h)
 *
 * Of any of them the weights may lie along directions that a seed names, and
 * the model be its place there (directions.h).
 *
 * A new model is a new row.
 *
 * Thread rule: one thread at a time per model; models share nothing mutable.
 */
#ifndef TACIT_MODEL_MODEL_H
#define TACIT_MODEL_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/tensor/params.h"

/* A labelled set, row-major: x [n_rows, x_dim], y [n_rows, y_dim]. By task:
 * - classify: y = 0 or 1, or the class number when the model has classes;
 * - regress: y = the value;
 * - cox: y_dim 2, time and event (1 seen, 0 censored);
 * - lm: x [n_rows, T] token numbers, y [n_rows, T] the next ones, y_dim T;
 * - retriever: x = frozen query vectors [n_rows, dim], y = NULL, p = frozen
 *   positive passage vectors [n_rows, dim]. Evaluation ranks all n_pool
 *   passages of the site; pool_group[i] == row_group[r] makes passage i an
 *   answer to row r. Without a pool, the rows' own passages are ranked.
 * - a network reads `text`, not x: lm predicts the second parts, a reader finds
 *   `span`, a retriever's rows are questions; classify has y as above.
 * - the built-in reader reads `read`, texts as they are.
 * Images are channel first, row by row, 0 to 1. Borrowed by every call. */
struct token_rows {
    const uint32_t *token;  /* of all rows, one behind another */
    const uint32_t *start;  /* [n_rows + 1] */
    const uint32_t *second; /* [n_rows] where in a row its second part begins:
                               an answer, a passage; NULL: 0 */
    const uint32_t *span;   /* [n_rows, 2] first and last token of the answer,
                               within the row; 0, 0: there is none */
};

struct reader_row {
    const char *question, *passage, *answer; /* "": the passage has none */
};

struct examples {
    size_t n_rows, x_dim;
    const float *x;
    const float *y;
    const float *p;
    const float *pool; /* [n_pool, x_dim] or NULL */
    size_t n_pool;
    const uint32_t *pool_group; /* [n_pool] */
    const uint32_t *row_group;  /* [n_rows] */
    const uint32_t *hard; /* [n_rows, n_hard] retriever: passages of the pool
                             that are near and wrong; NULL: none */
    size_t n_hard;
    size_t y_dim; /* 0 = 1 */
    const struct token_rows *text;
    const struct reader_row *read; /* [n_rows] */
};

struct model_metrics {
    double loss;   /* mean over the rows; cox: over the events */
    double metric; /* accuracy (classify, lm), RMSE (regress), c-index (cox),
                      recall@5 (retriever), exact spans (reader) */
    size_t n_rows;
    /* What was averaged, to merge sets without measuring again: sum of losses
     * over the rows; of hits, squared errors, or metric times rows. */
    double loss_sum, metric_sum;
};

struct model; /* opaque */

enum model_task {
    MODEL_CLASSIFY,
    MODEL_REGRESS,
    MODEL_RETRIEVER,
    MODEL_COX,
    MODEL_LM,
    MODEL_READER
};
enum { MODEL_HIDDEN_MAX = 8, MODEL_LAYERS_MAX = 4, MODEL_CLASSES_MAX = 65536 };

/* A network that others have trained, and what of it is trained on. */
enum model_adapter {
    MODEL_FFA,  /* pairs of low rank, of which only the outer one is trained */
    MODEL_LORA, /* pairs of low rank, whole */
    MODEL_FULL  /* every number */
};
struct model_base {
    /* Its GGUF file, or a folder of files that are named by their hash. */
    const char *where;
    const char *name;   /* for messages */
    struct digest hash; /* BLAKE2b-256 of the file */
    enum model_adapter adapter;
    uint32_t rank;
    double alpha;
    unsigned targets; /* enum net_target, or'ed [all] */
    uint64_t seed;    /* of what is drawn: the inner matrices */
    int fast;         /* train in bf16 where the processor has it [f32: the same
                         bits everywhere] */
    uint64_t memory_bytes; /* that a training may take [no bound] */
};

/* Directions of directions.h; n 0: the weights themselves are the model. */
struct model_along {
    uint32_t n;
    uint64_t seed; /* of the directions, and of the weights they start from */
};

/* Zero in a number means what stands in brackets. */
struct model_spec {
    const char *kind; /* a row of arch.c */
    enum model_task task;
    size_t n_inputs; /* features after one-hot; static: vector length; images
                        and text: [channels h w], [seq] */
    size_t n_hidden;
    /* mlp: widths. cnn: two convolutions' channels, then widths (LeNet: 6 16
     * 120 84). gru, lstm: width of a token, states. transformer: width. */
    uint32_t hidden[MODEL_HIDDEN_MAX];
    double temperature; /* static: contrastive loss [0.05] */
    uint32_t classes;   /* softmax, mlp, cnn [1: yes or no]; lm: tokens */
    uint32_t channels, height, width; /* cnn: image */
    uint32_t seq;                     /* lm: T, tokens of a row */
    uint32_t layers;                  /* gru, lstm, transformer [1] */
    uint32_t heads;                   /* transformer [1]; divides the width */
    const char *norm;       /* cnn: "none" | "batch" | "group" [NULL: none] */
    struct model_base base; /* net; where NULL: none is here */
    struct model_along along;
};

/* How to train locally; optimizer is "sgd" | "adam" | "adamw", or "mezo", which
 * needs no gradient and no memory for one (mezo.h). */
struct model_training {
    const char *optimizer;
    uint32_t steps, batch;
    double learning_rate, momentum, weight_decay;
    double epsilon; /* mezo: how far it looks along a direction [0.001] */
    uint64_t seed, round, client; /* name the batch order */
    /* Whole passes instead of steps: ceil(n / batch) * epochs [use steps]. */
    uint32_t epochs;
    /* After the gradient g [n_flat] of each batch at weights w, before the
     * optimiser's step: may add to g. NULL: nothing. */
    void (*gradient)(void *ctx, const float *w, float *g);
    void *ctx;
    /* Asked before each step: not 0 ends the training, with E_INTERRUPTED and
     * the weights that it began with. NULL: nobody asks. */
    int (*stopped)(const void *of);
    const void *of;
    /* Whose rows are wanted after these: they may come from memory meanwhile.
     * NULL: not known. No result depends on it. */
    const struct examples *next;
    uint32_t *out_steps; /* steps done; NULL: not wanted */
    /* Mean loss of the batches, each before its step, in the first and in the
     * second half of the steps (a middle one counts in both): what training has
     * at hand, so it costs no pass over the rows. NULL: not wanted. */
    double *out_losses; /* [2] */
};

TACIT_CHECKED enum tacit_err model_training_goes_on(
    const struct model_training *how, uint32_t step);

/* Build the model; its weights are zero until model_init or a load.
 * UNSUPPORTED for an unknown kind (names the nearest), SHAPE, LIMIT. */
TACIT_CHECKED enum tacit_err model_new(const struct model_spec *spec,
                                       struct model **out);
void model_free(struct model *m);
/* Workers for a network's products, borrowed until another call; the bits stay
 * the same. */
struct pool;
void model_use_pool(struct model *m, struct pool *pool);
/* Owned by the model. Its flat vector is the model; write it to load one. */
struct params *model_params(struct model *m);
/* The weights that it works with: the same, or what its place along directions
 * comes to; those are borrowed until it changes, and read only. */
const struct params *model_weights(struct model *m);
/* Draw initial weights from (seed), as PyTorch does by default:
 * U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weights and biases of dense layers and
 * convolutions; U(-1/sqrt(H), 1/sqrt(H)) for recurrent cells; N(0, 1) for
 * embeddings, N(0, 0.02^2) in a transformer (Radford et al. 2019); 1 and 0 for
 * norms. Cox: zero. The identity for the adapter, and a network as it came. */
void model_init(struct model *m, uint64_t seed);
/* Mean loss over rows idx[n] and its gradient into grad [n_flat]
 * (overwritten); UNSUPPORTED along directions. At running statistics
 * (PARAM_STATISTIC) it is their distance from the batch's; training moves them
 * a tenth of it per step, whatever the optimiser. SHAPE names a label that is
 * none. */
TACIT_CHECKED enum tacit_err model_gradient(struct model *m,
                                            const struct examples *ex,
                                            const uint32_t *idx, size_t n,
                                            float *grad, float *out_loss);
/* Does a gradient of any one row of so many tokens keep to the memory that a
 * base may take? E_TRAIN_MEMORY. */
TACIT_CHECKED enum tacit_err model_room(struct model *m,
                                        const struct examples *ex,
                                        size_t tokens);
/* That loss alone, in the memory of inference. */
TACIT_CHECKED enum tacit_err model_loss(struct model *m,
                                        const struct examples *ex,
                                        const uint32_t *idx, size_t n,
                                        float *out_loss);
TACIT_CHECKED enum tacit_err model_evaluate(struct model *m,
                                            const struct examples *ex,
                                            struct model_metrics *out);
/* One prediction per row: probability (classify), class number (classify with
 * classes), value (regress), log hazard (cox), next token (lm), place of the
 * answer among the site's passages, from 1 (retriever; infinite: none is one).
 * UNSUPPORTED for a reader, and a network of another task. */
TACIT_CHECKED enum tacit_err model_predict(struct model *m,
                                           const struct examples *ex,
                                           float *out /* [n_rows] */);

/* What a training over a base may take from now on; 0: no bound. */
void model_bound(struct model *m, uint64_t memory_bytes);
/* Whether this training keeps to spec.base.memory_bytes with the largest batch
 * of these rows, counted before anything runs: E_TRAIN_MEMORY, with what would
 * fit. *out_bytes: what it takes at most; 0 for what has no base. */
TACIT_CHECKED enum tacit_err model_fits(struct model *m,
                                        const struct model_training *how,
                                        const struct examples *ex,
                                        uint64_t *out_bytes);

/* Local training: `steps` optimiser steps on batches drawn without replacement
 * from shuffled epochs; the order is a pure function of (seed, round, client).
 * Updates the model's weights. LIMIT with E_LOSS_NAN when the loss is not
 * finite, E_INTERRUPTED (weights restored). */
TACIT_CHECKED enum tacit_err model_train(struct model *m,
                                         const struct model_training *how,
                                         const struct examples *ex);

#endif
