/*
 * params: a named list of f32 tensors and its flat vector, the thing that is
 * trained, sent and averaged.
 *
 *   "w" [13, 1]  "b" [1]   <->   flat [14], in list order, row-major
 *
 * The layout hash covers the names, shapes and order, so that an update for
 * another model is refused before any arithmetic.
 */
#ifndef TACIT_TENSOR_PARAMS_H
#define TACIT_TENSOR_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { PARAMS_MAX = 4096, PARAMS_NAME_MAX = 64, PARAMS_DIMS_MAX = 4 };

/* A statistic is averaged and sent like a weight, but follows the data, not a
 * gradient: optimisers leave it alone (model.h). */
enum param_role { PARAM_WEIGHT, PARAM_STATISTIC };

struct param {
    char name[PARAMS_NAME_MAX];
    enum param_role role;
    size_t n_dims;
    size_t dims[PARAMS_DIMS_MAX];
    size_t offset; /* into flat, in floats */
    size_t len;    /* product of dims */
};

struct params {
    struct param *list; /* [n_params], owned; moves while tensors are added */
    size_t n_params;
    size_t n_room; /* entries that list has memory for */
    size_t n_flat; /* floats in all */
    float *flat;   /* [n_flat], owned, 64-byte aligned; NULL until alloc */
};

void params_init(struct params *p);
void params_release(struct params *p);
/* Append a tensor; LIMIT when the list or the name is full, STATE once
 * allocated, SHAPE for a zero or overflowing size, NOMEM. */
TACIT_CHECKED enum tacit_err params_add(struct params *p, const char *name,
                                        const size_t *dims, size_t n_dims);
/* The same, for a running statistic. */
TACIT_CHECKED enum tacit_err params_add_statistic(struct params *p,
                                                  const char *name,
                                                  const size_t *dims,
                                                  size_t n_dims);
/* Allocate flat, zeroed. */
TACIT_CHECKED enum tacit_err params_alloc(struct params *p);
/* The tensor called name, or NULL. */
const struct param *params_find(const struct params *p, const char *name);
/* Pointer to its floats. */
float *params_data(struct params *p, const struct param *t);

#endif
