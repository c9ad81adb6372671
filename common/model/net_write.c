#include "common/model/net_write.h"

#include <stdlib.h>
#include <string.h>

#include "common/model/repack.h"
#include "common/tensor/kernels.h"
#include "common/tensor/weights.h"

static int find_pair(const struct net *net, const char *name,
                     struct net_pair *out)
{
    size_t n = net_n_pairs(net);
    for (size_t i = 0; i < n; i++) {
        net_pair_at(net, i, out);
        if (strcmp(out->name, name) == 0) return 1;
    }
    return 0;
}

static enum tacit_err no_step(void *ctx, uint64_t bytes)
{
    (void)ctx;
    (void)bytes;
    return TACIT_OK;
}

/* Rows of a tensor of any type, or packed, in f32. */
static void decode(const struct gguf_tensor *g, size_t rows, size_t cols,
                   float *to)
{
    if (g->type >= GGUF_PACKED) {
        const struct weight w = {(enum quant_type)(g->type - GGUF_PACKED), rows,
                                 cols, g->data};
        weight_rows(&w, 0, rows, to);
    } else {
        quant_decode((enum quant_type)g->type, g->data, to, rows * cols);
    }
}

/* The tensor of a plan with other numbers. */
static enum tacit_err write_numbers(const struct repack *r, const float *v,
                                    size_t n, const struct net_write *how,
                                    struct gguf_writer *w)
{
    struct gguf_tensor now = *r->from;
    struct repack own = *r;
    now.type = QUANT_F32;
    now.data = (const uint8_t *)v;
    now.bytes = n * sizeof *v;
    own.from = &now;
    return repack_write(&own, w, how->step, how->ctx);
}

/* W + scale up down. */
static enum tacit_err write_sum(const struct repack *r,
                                const struct net_pair *p,
                                const struct net_write *how,
                                struct gguf_writer *w)
{
    float *v = malloc(p->rows * p->cols * sizeof *v);
    float *up = malloc(p->rows * p->rank * sizeof *up);
    enum tacit_err err = TACIT_OK;
    if (!v || !up)
        err = fail(TACIT_NOMEM, "no memory for tensor %s", r->from->name);
    if (!err) {
        decode(r->from, p->rows, p->cols, v);
        for (size_t i = 0; i < p->rows * p->rank; i++)
            up[i] = p->scale * p->up[i];
        gemm_nn(v, up, p->down, p->rows, p->cols, p->rank, GEMM_ADD);
        err = write_numbers(r, v, p->rows * p->cols, how, w);
    }
    free(v);
    free(up);
    return err;
}

static enum tacit_err write_one(const struct repack *r, struct net *net,
                                const struct net_write *how,
                                struct gguf_writer *w)
{
    struct net_pair pair;
    struct params *p = net_params(net);
    const struct param *learnt = params_find(p, r->from->name);
    if (learnt)
        return write_numbers(r, params_data(p, learnt), learnt->len, how, w);
    if (find_pair(net, r->from->name, &pair))
        return write_sum(r, &pair, how, w);
    return repack_write(r, w, how->step, how->ctx);
}

static int is_other(const struct net_write *how, const char *name)
{
    for (size_t i = 0; i < how->n_other; i++)
        if (strcmp(how->other[i].name, name) == 0) return 1;
    return 0;
}

/* What becomes of each: the files' own, then the others. */
static enum tacit_err plan_all(const struct model_files *f,
                               const struct net_write *how, struct repack *plan,
                               size_t *n)
{
    for (size_t i = 0; i < model_files_n_tensors(f); i++) {
        const struct gguf_tensor *t = model_files_tensor_at(f, i);
        if (!is_other(how, t->name))
            TRY(repack_plan(t, how->type, REPACK_ROWS, &plan[(*n)++]));
    }
    for (size_t i = 0; i < how->n_other; i++)
        TRY(repack_plan(&how->other[i], REPACK_KEEP, REPACK_ROWS,
                        &plan[(*n)++]));
    return TACIT_OK;
}

enum tacit_err net_write(const struct model_files *f, struct net *net,
                         const struct net_write *how, struct gguf_writer *w)
{
    struct net_write own = *how;
    size_t n = 0;
    struct repack *plan =
        calloc(model_files_n_tensors(f) + how->n_other + 1, sizeof *plan);
    if (!own.step) own.step = no_step;
    enum tacit_err err = plan ? plan_all(f, how, plan, &n)
                              : fail(TACIT_NOMEM, "no memory for tensors");
    for (size_t i = 0; !err && i < n; i++) repack_announce(&plan[i], w);
    for (size_t i = 0; !err && i < n; i++)
        err = write_one(&plan[i], net, &own, w);
    free(plan);
    return err;
}
