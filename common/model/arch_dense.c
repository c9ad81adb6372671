/* Dense layers: logistic, linear, mlp; softmax and cox in layouts of their
 * own. */
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

static enum tacit_err no_hidden(const struct model_spec *s)
{
    if (!s->n_hidden) return TACIT_OK;
    return fail(TACIT_UNSUPPORTED,
                "a %s model has no hidden layers; kind: mlp has", s->kind);
}

enum tacit_err arch_flat_layout(const struct model_spec *s, struct params *p)
{
    TRY(no_hidden(s));
    if (s->classes > 1)
        return fail(TACIT_UNSUPPORTED,
                    "a %s model has one output, not %u classes; kind: softmax "
                    "has",
                    s->kind, s->classes);
    return arch_dense_layout(s, p);
}

/* ---- softmax: x w^T + b, a row of w per class ---- */

enum tacit_err arch_softmax_layout(const struct model_spec *s, struct params *p)
{
    TRY(no_hidden(s));
    if (s->classes < 2)
        return fail(TACIT_LIMIT,
                    "a softmax model of %u classes; it takes two "
                    "or more (model: classes)",
                    s->classes);
    return arch_add_linear_rows(p, "layer0", s->n_inputs, s->classes);
}

/* Input by input, as the other dense models are drawn. */
void arch_softmax_init(const struct model_spec *s, struct params *p,
                       struct rng *r)
{
    float *w = params_data(p, &p->list[0]);
    float bound = 1 / sqrtf((float)s->n_inputs);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t c = 0; c < s->classes; c++)
            w[c * s->n_inputs + i] = (2 * rng_f32(r) - 1) * bound;
    arch_uniform(p, &p->list[1], bound, r);
}

struct var *arch_softmax_forward(const struct model_spec *s, struct tape *t,
                                 struct var *const *v, const struct batch *b)
{
    return op_linear_rows(t, tape_constant(t, b->x, b->n, s->n_inputs), v[0],
                          v[1]);
}

/* ---- cox: x w ---- */

enum tacit_err arch_cox_layout(const struct model_spec *s, struct params *p)
{
    const size_t w[] = {s->n_inputs, 1};
    TRY(no_hidden(s));
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
