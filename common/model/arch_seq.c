/*
 * Next-token models.
 *
 *   gru, lstm     token ─embedding─ cell ─ cell … ─ dense ─> tokens
 *   transformer   token + position ─[ x + attention(norm x);
 *                 x + dense(gelu(dense(norm x))) ] per layer ─ norm ─ dense ─>
 *
 * The transformer normalises before each part and widens four times (Radford et
 * al. 2019, in small); the last dense layer is not tied to the embedding.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/model/arch.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_norm.h"
#include "common/tensor/ops_seq.h"

enum { SEQ_MAX = 4096, STATES_MAX = 4096, HEADS_MAX = 64 };

static size_t n_layers(const struct model_spec *s)
{
    return s->layers ? s->layers : 1;
}

static enum tacit_err check_spec(const struct model_spec *s, size_t n_hidden)
{
    if (s->seq < 1 || s->seq > SEQ_MAX)
        return fail(TACIT_LIMIT, "rows of %u tokens; 1 to %d (model: seq)",
                    s->seq, SEQ_MAX);
    if (s->classes < 2)
        return fail(TACIT_LIMIT,
                    "%u different tokens; at least 2 (model: "
                    "classes)",
                    s->classes);
    if (s->n_hidden != n_hidden)
        return fail(TACIT_LIMIT,
                    "a %s model takes hidden: [%s], not %zu "
                    "numbers",
                    s->kind, n_hidden == 2 ? "token width, states" : "width",
                    s->n_hidden);
    for (size_t i = 0; i < n_hidden; i++)
        if (!s->hidden[i] || s->hidden[i] > STATES_MAX)
            return fail(TACIT_LIMIT, "a width of %u; 1 to %d", s->hidden[i],
                        STATES_MAX);
    if (n_layers(s) > MODEL_LAYERS_MAX)
        return fail(TACIT_LIMIT, "%u layers; at most %d", s->layers,
                    MODEL_LAYERS_MAX);
    return TACIT_OK;
}

/* ---- gru, lstm ---- */

static int is_gru(const struct model_spec *s)
{
    return strcmp(s->kind, "gru") == 0;
}

enum tacit_err arch_recurrent_layout(const struct model_spec *s,
                                     struct params *p)
{
    TRY(check_spec(s, 2));
    size_t in = s->hidden[0], h = s->hidden[1], g = is_gru(s) ? 3 * h : 4 * h;
    const size_t table[] = {s->classes, in};
    TRY(params_add(p, "embedding", table, 2));
    for (size_t i = 0; i < n_layers(s); i++, in = h) {
        static const char *const parts[] = {"w", "u", "b", "c"};
        const size_t dims[4][2] = {{in, g}, {h, g}, {g}, {g}};
        for (size_t k = 0; k < (is_gru(s) ? 4 : 3); k++) {
            char name[PARAMS_NAME_MAX];
            snprintf(name, sizeof name, "%s%zu.%s", s->kind, i, parts[k]);
            TRY(params_add(p, name, dims[k], k < 2 ? 2 : 1));
        }
    }
    return arch_add_linear(p, "head", h, s->classes);
}

void arch_recurrent_init(const struct model_spec *s, struct params *p,
                         struct rng *r)
{
    /* Cells and head have the same fan-in: the states. */
    float bound = 1 / sqrtf((float)s->hidden[1]);
    arch_normal(p, &p->list[0], 1, r);
    for (size_t i = 1; i < p->n_params; i++)
        arch_uniform(p, &p->list[i], bound, r);
}

struct var *arch_recurrent_forward(const struct model_spec *s, struct tape *t,
                                   struct var *const *v, const struct batch *b)
{
    struct var *h = op_embedding(t, *v++, b->token, b->n * s->seq);
    for (size_t i = 0; i < n_layers(s); i++) {
        struct op_cell cell = {v[0], v[1], v[2], is_gru(s) ? v[3] : NULL};
        h = is_gru(s) ? op_gru(t, h, &cell, s->seq)
                      : op_lstm(t, h, &cell, s->seq);
        v += is_gru(s) ? 4 : 3;
    }
    return op_linear(t, h, v[0], v[1]);
}

/* ---- transformer ---- */

enum { WIDEN = 4 };

static enum tacit_err add_norm(struct params *p, const char *name, size_t d)
{
    char full[PARAMS_NAME_MAX];
    const size_t dims[] = {d};
    snprintf(full, sizeof full, "%s.gain", name);
    TRY(params_add(p, full, dims, 1));
    snprintf(full, sizeof full, "%s.bias", name);
    return params_add(p, full, dims, 1);
}

static size_t n_heads(const struct model_spec *s)
{
    return s->heads ? s->heads : 1;
}

static enum tacit_err add_block(struct params *p, size_t i, size_t d)
{
    static const struct {
        const char *name;
        size_t in, out; /* times d; 0: a norm */
    } parts[] = {{"norm1", 0, 0}, {"qkv", 1, 3},       {"mix", 1, 1},
                 {"norm2", 0, 0}, {"widen", 1, WIDEN}, {"narrow", WIDEN, 1}};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        char name[PARAMS_NAME_MAX - 8];
        snprintf(name, sizeof name, "block%zu.%s", i, parts[k].name);
        if (parts[k].in)
            TRY(arch_add_linear(p, name, parts[k].in * d, parts[k].out * d));
        else
            TRY(add_norm(p, name, d));
    }
    return TACIT_OK;
}

enum tacit_err arch_transformer_layout(const struct model_spec *s,
                                       struct params *p)
{
    TRY(check_spec(s, 1));
    size_t d = s->hidden[0];
    if (n_heads(s) > HEADS_MAX || d % n_heads(s))
        return fail(TACIT_LIMIT,
                    "model.heads is %zu; it may be up to %d, and must "
                    "divide the width %zu (model.hidden)",
                    (size_t)n_heads(s), HEADS_MAX, d);
    const size_t table[] = {s->classes, d}, places[] = {s->seq, d};
    TRY(params_add(p, "embedding", table, 2));
    TRY(params_add(p, "position", places, 2));
    for (size_t i = 0; i < n_layers(s); i++) TRY(add_block(p, i, d));
    TRY(add_norm(p, "norm", d));
    return arch_add_linear(p, "head", d, s->classes);
}

void arch_transformer_init(const struct model_spec *s, struct params *p,
                           struct rng *r)
{
    float bound = 0;
    (void)s;
    arch_normal(p, &p->list[0], 0.02f, r);
    arch_normal(p, &p->list[1], 0.02f, r);
    for (size_t i = 2; i < p->n_params; i++) {
        const struct param *t = &p->list[i];
        if (strstr(t->name, "norm")) {
            arch_fill(p, t, strstr(t->name, ".gain") ? 1 : 0);
            continue;
        }
        if (t->n_dims == 2) bound = 1 / sqrtf((float)t->dims[0]);
        arch_uniform(p, t, bound, r);
    }
}

/* Positions 0 … T - 1 for each row of the batch. */
static uint32_t *positions(struct tape *t, size_t n, size_t seq)
{
    uint32_t *id = tape_raw(t, n * seq, sizeof *id);
    for (size_t i = 0; id && i < n * seq; i++) id[i] = (uint32_t)(i % seq);
    return id;
}

struct var *arch_transformer_forward(const struct model_spec *s, struct tape *t,
                                     struct var *const *v,
                                     const struct batch *b)
{
    uint32_t *places = positions(t, b->n, s->seq);
    if (!places) return NULL;
    struct var *h = op_add(t, op_embedding(t, v[0], b->token, b->n * s->seq),
                           op_embedding(t, v[1], places, b->n * s->seq));
    v += 2;
    for (size_t i = 0; i < n_layers(s); i++, v += 12) {
        struct var *a = op_layer_norm(t, h, v[0], v[1]);
        a = op_attention(t, op_linear(t, a, v[2], v[3]), s->seq, n_heads(s));
        h = op_add(t, h, op_linear(t, a, v[4], v[5]));
        a = op_layer_norm(t, h, v[6], v[7]);
        a = op_gelu(t, op_linear(t, a, v[8], v[9]));
        h = op_add(t, h, op_linear(t, a, v[10], v[11]));
    }
    h = op_layer_norm(t, h, v[0], v[1]);
    return op_linear(t, h, v[2], v[3]);
}
