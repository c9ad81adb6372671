#include "common/tensor/params.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, FIRST_ROOM = 16, FLAT_MAX = 1 << 28 };

void params_init(struct params *p)
{
    memset(p, 0, sizeof *p);
}

void params_release(struct params *p)
{
    free(p->list);
    free(p->flat);
    memset(p, 0, sizeof *p);
}

static enum tacit_err grow(struct params *p)
{
    size_t room = p->n_room ? 2 * p->n_room : FIRST_ROOM;
    struct param *list = realloc(p->list, room * sizeof *list);
    if (!list) return fail(TACIT_NOMEM, "out of memory for %zu tensors", room);
    p->list = list;
    p->n_room = room;
    return TACIT_OK;
}

enum tacit_err params_add(struct params *p, const char *name,
                          const size_t *dims, size_t n_dims)
{
    size_t len = 1;
    if (p->flat) return fail(TACIT_STATE, "the parameters are allocated");
    if (p->n_params == PARAMS_MAX || strlen(name) >= PARAMS_NAME_MAX ||
        n_dims > PARAMS_DIMS_MAX)
        return fail(TACIT_LIMIT,
                    "parameter %s: over the limit of %d tensors, "
                    "%d letters or %d dimensions",
                    name, PARAMS_MAX, PARAMS_NAME_MAX - 1, PARAMS_DIMS_MAX);
    for (size_t i = 0; i < n_dims; i++) {
        if (dims[i] == 0 || dims[i] > FLAT_MAX / len)
            return fail(TACIT_SHAPE, "parameter %s: size zero or too large",
                        name);
        len *= dims[i];
    }
    if (len > FLAT_MAX - p->n_flat)
        return fail(TACIT_SHAPE, "the model has more than %d weights",
                    FLAT_MAX);
    if (p->n_params == p->n_room) TRY(grow(p));
    struct param *t = &p->list[p->n_params++];
    memset(t, 0, sizeof *t);
    memcpy(t->name, name, strlen(name));
    for (size_t i = 0; i < n_dims; i++) t->dims[i] = dims[i];
    t->n_dims = n_dims;
    t->offset = p->n_flat;
    t->len = len;
    p->n_flat += len;
    return TACIT_OK;
}

enum tacit_err params_add_statistic(struct params *p, const char *name,
                                    const size_t *dims, size_t n_dims)
{
    TRY(params_add(p, name, dims, n_dims));
    p->list[p->n_params - 1].role = PARAM_STATISTIC;
    return TACIT_OK;
}

enum tacit_err params_alloc(struct params *p)
{
    size_t bytes = (p->n_flat * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
    p->flat = aligned_alloc(ALIGN, bytes ? bytes : ALIGN);
    if (!p->flat)
        return fail(TACIT_NOMEM, "out of memory for %zu weights", p->n_flat);
    memset(p->flat, 0, bytes);
    return TACIT_OK;
}

const struct param *params_find(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->n_params; i++)
        if (strcmp(p->list[i].name, name) == 0) return &p->list[i];
    return NULL;
}

float *params_data(struct params *p, const struct param *t)
{
    return p->flat + t->offset;
}
