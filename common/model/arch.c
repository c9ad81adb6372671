#include "common/model/arch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/yaml.h"
#include "common/model/adapter.h"
#include "common/tensor/ops.h"

#define TEMPERATURE 0.05

enum { WIDTH_MAX = 1 << 16 };

size_t arch_outputs(const struct model_spec *s)
{
    return s->classes > 1 ? s->classes : 1;
}

/* "NAME.w" of shape w and "NAME.b". */
static enum tacit_err add_layer(struct params *p, const char *name, size_t in,
                                size_t out, const size_t w[2])
{
    char full[PARAMS_NAME_MAX];
    const size_t b[] = {out};
    if (in == 0 || in > WIDTH_MAX || out == 0 || out > WIDTH_MAX)
        return fail(TACIT_LIMIT,
                    "a layer of %zu x %zu; each side must lie in 1 to %d", in,
                    out, WIDTH_MAX);
    snprintf(full, sizeof full, "%s.w", name);
    TRY(params_add(p, full, w, 2));
    snprintf(full, sizeof full, "%s.b", name);
    return params_add(p, full, b, 1);
}

enum tacit_err arch_add_linear(struct params *p, const char *name, size_t in,
                               size_t out)
{
    const size_t w[] = {in, out};
    return add_layer(p, name, in, out, w);
}

enum tacit_err arch_add_linear_rows(struct params *p, const char *name,
                                    size_t in, size_t out)
{
    const size_t w[] = {out, in};
    return add_layer(p, name, in, out, w);
}

void arch_uniform(struct params *p, const struct param *t, float bound,
                  struct rng *r)
{
    float *w = params_data(p, t);
    for (size_t i = 0; i < t->len; i++) w[i] = (2 * rng_f32(r) - 1) * bound;
}

void arch_normal(struct params *p, const struct param *t, float sd,
                 struct rng *r)
{
    float *w = params_data(p, t);
    for (size_t i = 0; i < t->len; i++) w[i] = rng_normal(r) * sd;
}

void arch_fill(struct params *p, const struct param *t, float value)
{
    float *w = params_data(p, t);
    for (size_t i = 0; i < t->len; i++) w[i] = value;
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

/* ---- the table ---- */

enum {
    CLASSIFY = 1 << MODEL_CLASSIFY,
    REGRESS = 1 << MODEL_REGRESS,
    RETRIEVE = 1 << MODEL_RETRIEVER,
    COX = 1 << MODEL_COX,
    LM = 1 << MODEL_LM,
    READ = 1 << MODEL_READER
};

#define DENSE arch_dense_init, arch_dense_forward, NULL
#define RECURRENT                                                              \
 arch_recurrent_layout, arch_recurrent_init, arch_recurrent_forward, NULL

static const struct arch archs[] = {
    {"logistic", CLASSIFY, BATCH_BY_ROW, arch_flat_layout, DENSE},
    {"linear", REGRESS, BATCH_BY_ROW, arch_flat_layout, DENSE},
    {"softmax", CLASSIFY, BATCH_BY_ROW, arch_softmax_layout, arch_softmax_init,
     arch_softmax_forward, arch_softmax_descend},
    {"cox", COX, BATCH_BY_ROW, arch_cox_layout, arch_cox_init, arch_cox_forward,
     NULL},
    {"mlp", CLASSIFY | REGRESS | COX, BATCH_BY_ROW, arch_dense_layout, DENSE},
    {"cnn", CLASSIFY | REGRESS | COX, BATCH_BY_ROW, arch_cnn_layout,
     arch_cnn_init, arch_cnn_forward, NULL},
    {"gru", LM, BATCH_BY_STEP, RECURRENT},
    {"lstm", LM, BATCH_BY_STEP, RECURRENT},
    {"transformer", LM, BATCH_BY_ROW, arch_transformer_layout,
     arch_transformer_init, arch_transformer_forward, NULL},
    {"static", RETRIEVE, BATCH_BY_ROW, adapter_layout, adapter_init,
     adapter_forward, NULL},
    {"reader", READ, BATCH_BY_ROW, arch_reader_layout, arch_reader_init,
     arch_reader_forward, NULL},
    /* tuned.c does the rest. */
    {"net", CLASSIFY | RETRIEVE | LM | READ, BATCH_BY_ROW, NULL, NULL, NULL,
     NULL},
};
enum { N_ARCHS = sizeof archs / sizeof *archs };

enum tacit_err arch_find(const char *kind, const struct arch **out)
{
    const char *names[N_ARCHS];
    char all[160] = "";
    for (size_t i = 0, at = 0; i < N_ARCHS; i++) {
        names[i] = archs[i].kind;
        if (strcmp(kind, archs[i].kind) == 0) {
            *out = &archs[i];
            return TACIT_OK;
        }
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s",
                               i == 0             ? ""
                               : i + 1 == N_ARCHS ? " and "
                                                  : ", ",
                               archs[i].kind);
    }
    const char *near = yaml_nearest(kind, names, N_ARCHS);
    return fail(TACIT_UNSUPPORTED,
                "no model kind \"%.40s\"%s%s%s; there are %s", kind,
                near ? "; did you mean \"" : "", near ? near : "",
                near ? "\"?" : "", all);
}

struct var *arch_loss(const struct model_spec *s, struct tape *t,
                      struct var *output, const struct batch *b)
{
    double temperature = s->temperature > 0 ? s->temperature : TEMPERATURE;
    switch (s->task) {
    case MODEL_CLASSIFY:
        return s->classes > 1 ? op_softmax_ce(t, output, b->class)
                              : op_bce(t, output, b->y);
    case MODEL_REGRESS: return op_mse(t, output, b->y);
    case MODEL_COX: return op_cox(t, output, b->y, b->event);
    case MODEL_LM: return op_softmax_ce(t, output, b->class);
    case MODEL_RETRIEVER:
        return op_contrastive(t, output,
                              tape_constant(t, b->p.v, b->p.n, s->n_inputs),
                              (float)temperature);
    case MODEL_READER:
        return op_span(t, output, &b->texts.segments, b->texts.span);
    }
    return NULL;
}
