/*
 * trials: an adopted search model and held-out questions that it is tried on,
 * for tests of what comes of it.
 */
#ifndef TACIT_TESTS_CLIENT_TRIALS_H
#define TACIT_TESTS_CLIENT_TRIALS_H

#include "tests/client/home.h"

#include <stdio.h>
#include <string.h>

enum { DIM = 16, N_ROWS = 8, N_WEIGHTS = DIM * DIM };

/* Question i lies along axis i, its answer along the next one: an adapter of
 * `turn` times that shift finds it, an untrained one does not. */
struct held {
    float x[N_ROWS * DIM], pool[DIM * DIM];
    uint32_t row_group[N_ROWS], pool_group[DIM];
    struct examples rows;
};

static inline void make_held(struct held *h)
{
    memset(h, 0, sizeof *h);
    for (uint32_t i = 0; i < N_ROWS; i++) {
        h->x[i * DIM + i] = 1;
        h->row_group[i] = i + 1;
    }
    for (uint32_t i = 0; i < DIM; i++) {
        h->pool[i * DIM + i] = 1;
        h->pool_group[i] = i;
    }
    h->rows = (struct examples){.n_rows = N_ROWS,
                                .x_dim = DIM,
                                .x = h->x,
                                .p = h->x,
                                .pool = h->pool,
                                .n_pool = DIM,
                                .pool_group = h->pool_group,
                                .row_group = h->row_group};
}

/* Finds the answers to the first n questions; the others' are where they would
 * be without it, behind more than five equals. */
static inline void shift(float *w, uint32_t n)
{
    memset(w, 0, N_WEIGHTS * sizeof *w);
    for (uint32_t i = 0; i < n; i++) w[i * DIM + i + 1] = 3;
}

/* The strategy decides whether the device keeps a model of its own. */
static inline struct plan *plan_of(struct device *d, const char *strategy)
{
    return home_put_plan(d, "static, dim: 16", strategy);
}

static inline void adopt(struct device *d, const struct plan *p,
                         uint32_t version, const float *shared,
                         const float *own)
{
    struct msg_over over = {.plan_hash = p->hash,
                            .model_version = version,
                            .n_clients = 4};
    struct model *m = NULL;
    const struct model_spec spec = {.kind = "static",
                                    .task = MODEL_RETRIEVER,
                                    .n_inputs = DIM};
    check_ok(model_new(&spec, &m));
    memcpy(model_params(m)->flat, shared, N_WEIGHTS * sizeof *shared);
    over.model_hash = home_put_model(d, m);
    check_ok(device_adopt(d, p, &over, own, own ? N_WEIGHTS : 0));
    model_free(m);
}

#endif
