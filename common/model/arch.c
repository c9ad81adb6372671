#include "common/model/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/yaml.h"
#include "common/model/adapter.h"
#include "common/tensor/ops.h"

#define TEMPERATURE 0.05

enum { WIDTH_MAX = 1 << 16 };

/* ---- dense layers: logistic, linear, mlp ---- */

static size_t width(const struct model_spec *s, size_t layer)
{
    if (layer == 0) return s->n_inputs;
    return layer <= s->n_hidden ? s->hidden[layer - 1] : 1;
}

static enum tacit_err dense_layout(const struct model_spec *s, struct params *p)
{
    for (size_t i = 0; i <= s->n_hidden; i++) {
        char name[PARAMS_NAME_MAX];
        const size_t w[] = {width(s, i), width(s, i + 1)};
        const size_t b[] = {w[1]};
        if (w[0] == 0 || w[0] > WIDTH_MAX || w[1] == 0 || w[1] > WIDTH_MAX)
            return fail(TACIT_LIMIT,
                        "a layer of %zu x %zu; each side must lie "
                        "in 1 to %d",
                        w[0], w[1], WIDTH_MAX);
        snprintf(name, sizeof name, "layer%zu.w", i);
        TRY(params_add(p, name, w, 2));
        snprintf(name, sizeof name, "layer%zu.b", i);
        TRY(params_add(p, name, b, 1));
    }
    return TACIT_OK;
}

/* U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weights and biases. */
static void dense_init(const struct model_spec *s, struct params *p,
                       struct rng *r)
{
    for (size_t i = 0; i < p->n_params; i++) {
        float bound = 1 / sqrtf((float)width(s, i / 2));
        float *w = params_data(p, &p->list[i]);
        for (size_t j = 0; j < p->list[i].len; j++)
            w[j] = (2 * rng_f32(r) - 1) * bound;
    }
}

static struct var *dense_forward(const struct model_spec *s, struct tape *t,
                                 struct var *const *v, const struct batch *b)
{
    struct var *h = tape_constant(t, b->x, b->n, s->n_inputs);
    for (size_t i = 0; i <= s->n_hidden; i++) {
        h = op_add_bias(t, op_matmul(t, h, v[2 * i]), v[2 * i + 1]);
        if (i < s->n_hidden) h = op_relu(t, h);
    }
    return h;
}

static enum tacit_err flat_layout(const struct model_spec *s, struct params *p)
{
    if (s->n_hidden)
        return fail(TACIT_UNSUPPORTED,
                    "a %s model has no hidden layers; "
                    "kind: mlp has",
                    s->kind);
    return dense_layout(s, p);
}

/* ---- static: the query-side adapter ---- */

static enum tacit_err adapter_layout(const struct model_spec *s,
                                     struct params *p)
{
    const size_t w[] = {s->n_inputs, s->n_inputs};
    if (s->n_inputs == 0 || s->n_inputs > WIDTH_MAX)
        return fail(TACIT_LIMIT, "vectors of %zu numbers; 1 to %d are possible",
                    s->n_inputs, WIDTH_MAX);
    return params_add(p, ADAPTER_PARAM, w, 2);
}

static void adapter_init(const struct model_spec *s, struct params *p,
                         struct rng *r)
{
    (void)s;
    (void)r;
    memset(p->flat, 0, p->n_flat * sizeof *p->flat);
}

static struct var *adapter_forward(const struct model_spec *s, struct tape *t,
                                   struct var *const *v, const struct batch *b)
{
    struct var *q = tape_constant(t, b->x, b->n, s->n_inputs);
    return op_normalise(t, op_add(t, q, op_matmul(t, q, v[0])));
}

enum {
    CLASSIFY = 1 << MODEL_CLASSIFY,
    REGRESS = 1 << MODEL_REGRESS,
    RETRIEVE = 1 << MODEL_RETRIEVER
};

static const struct arch archs[] = {
    {"logistic", CLASSIFY, flat_layout, dense_init, dense_forward},
    {"linear", REGRESS, flat_layout, dense_init, dense_forward},
    {"mlp", CLASSIFY | REGRESS, dense_layout, dense_init, dense_forward},
    {"static", RETRIEVE, adapter_layout, adapter_init, adapter_forward},
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

enum tacit_err arch_find(const char *kind, const struct arch **out)
{
    const char *names[N_ARCHS];
    for (size_t i = 0; i < N_ARCHS; i++) {
        names[i] = archs[i].kind;
        if (strcmp(kind, archs[i].kind) != 0) continue;
        *out = &archs[i];
        return TACIT_OK;
    }
    const char *near = yaml_nearest(kind, names, N_ARCHS);
    return fail(TACIT_UNSUPPORTED,
                "no model kind \"%.40s\"%s%s%s; there are logistic, linear, "
                "mlp and static",
                kind, near ? "; did you mean \"" : "", near ? near : "",
                near ? "\"?" : "");
}

struct var *arch_loss(const struct model_spec *s, struct tape *t,
                      struct var *output, const struct batch *b)
{
    double temperature = s->temperature > 0 ? s->temperature : TEMPERATURE;
    switch (s->task) {
    case MODEL_CLASSIFY: return op_bce(t, output, b->y);
    case MODEL_REGRESS: return op_mse(t, output, b->y);
    case MODEL_COX:
    case MODEL_LM: return NULL;
    case MODEL_RETRIEVER:
        return op_contrastive(t, output,
                              tape_constant(t, b->p, b->n, s->n_inputs),
                              (float)temperature);
    }
    return NULL;
}
