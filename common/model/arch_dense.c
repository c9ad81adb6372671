/* Dense layers: logistic, linear, mlp, and cox in a layout of its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/model/arch.h"
#include "common/tensor/ops.h"

static size_t width(const struct model_spec *s, size_t layer)
{
    if (layer == 0) return s->n_inputs;
    return layer <= s->n_hidden ? s->hidden[layer - 1] : arch_outputs(s);
}

enum tacit_err arch_dense_layout(const struct model_spec *s, struct params *p)
{
    for (size_t i = 0; i <= s->n_hidden; i++) {
        char name[PARAMS_NAME_MAX];
        snprintf(name, sizeof name, "layer%zu", i);
        TRY(arch_add_linear(p, name, width(s, i), width(s, i + 1)));
    }
    return TACIT_OK;
}

void arch_dense_init(const struct model_spec *s, struct params *p,
                     struct rng *r)
{
    for (size_t i = 0; i < p->n_params; i++)
        arch_uniform(p, &p->list[i], 1 / sqrtf((float)width(s, i / 2)), r);
}

struct var *arch_dense_forward(const struct model_spec *s, struct tape *t,
                               struct var *const *v, const struct batch *b)
{
    struct var *h = tape_constant(t, b->x, b->n, s->n_inputs);
    for (size_t i = 0; i <= s->n_hidden; i++) {
        h = op_linear(t, h, v[2 * i], v[2 * i + 1]);
        if (i < s->n_hidden) h = op_relu(t, h);
    }
    return h;
}

enum tacit_err arch_no_hidden(const struct model_spec *s)
{
    if (!s->n_hidden) return TACIT_OK;
    return fail(TACIT_UNSUPPORTED,
                "a %s model has no hidden layers; kind: mlp has", s->kind);
}

enum tacit_err arch_flat_layout(const struct model_spec *s, struct params *p)
{
    TRY(arch_no_hidden(s));
    if (s->classes > 1)
        return fail(TACIT_UNSUPPORTED,
                    "a %s model has one output, not %u classes; kind: softmax "
                    "has",
                    s->kind, s->classes);
    return arch_dense_layout(s, p);
}

/* ---- cox: x w ---- */

enum tacit_err arch_cox_layout(const struct model_spec *s, struct params *p)
{
    const size_t w[] = {s->n_inputs, 1};
    TRY(arch_no_hidden(s));
    return params_add(p, "layer0.w", w, 2);
}

void arch_cox_init(const struct model_spec *s, struct params *p, struct rng *r)
{
    (void)s;
    (void)r;
    memset(p->flat, 0, p->n_flat * sizeof *p->flat);
}

struct var *arch_cox_forward(const struct model_spec *s, struct tape *t,
                             struct var *const *v, const struct batch *b)
{
    return op_matmul(t, tape_constant(t, b->x, b->n, s->n_inputs), v[0]);
}
