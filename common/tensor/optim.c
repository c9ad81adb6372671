#include "common/tensor/vectorise.h"

#include "common/tensor/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct optim {
    void (*step)(struct optim *o, float *w, const float *g);
    float lr, momentum, decay;
    size_t n;
    uint64_t t;
    float *m, *v; /* [n], owned; v for Adam */
};

MANY_TARGETS
static void sgd_plain(struct optim *o, float *w, const float *g)
{
    float lr = o->lr, decay = o->decay;
    for (size_t i = 0; i < o->n; i++) w[i] -= lr * (g[i] + decay * w[i]);
}

MANY_TARGETS
static void sgd_momentum(struct optim *o, float *w, const float *g)
{
    float lr = o->lr, decay = o->decay, momentum = o->momentum, *m = o->m;
    for (size_t i = 0; i < o->n; i++) {
        m[i] = momentum * m[i] + (g[i] + decay * w[i]);
        w[i] -= lr * m[i];
    }
}

static void sgd(struct optim *o, float *w, const float *g)
{
    (o->momentum > 0 ? sgd_momentum : sgd_plain)(o, w, g);
}

MANY_TARGETS
static void adam_step(struct optim *o, float *w, const float *g, float coupled,
                      float decoupled)
{
    static const float b1 = 0.9f, b2 = 0.999f, epsilon = 1e-8f;
    double t = (double)++o->t;
    float c1 = (float)(1 - pow(0.9, t)), c2 = (float)(1 - pow(0.999, t));
    float lr = o->lr, *m = o->m, *v = o->v;
    for (size_t i = 0; i < o->n; i++) {
        float d = g[i] + coupled * w[i];
        m[i] = b1 * m[i] + (1 - b1) * d;
        v[i] = b2 * v[i] + (1 - b2) * d * d;
        w[i] -= lr * decoupled * w[i];
        w[i] -= lr * (m[i] / c1) / (sqrtf(v[i] / c2) + epsilon);
    }
}

static void adam(struct optim *o, float *w, const float *g)
{
    adam_step(o, w, g, o->decay, 0);
}

static void adamw(struct optim *o, float *w, const float *g)
{
    adam_step(o, w, g, 0, o->decay);
}

static const struct {
    const char *kind;
    void (*step)(struct optim *, float *, const float *);
} kinds[] = {{"sgd", sgd}, {"adam", adam}, {"adamw", adamw}};

size_t optim_moments(const struct optim_config *c)
{
    if (strcmp(c->kind, "sgd") != 0) return 2;
    return c->momentum > 0 ? 1 : 0;
}

enum tacit_err optim_new(const struct optim_config *c, size_t n,
                         struct optim **out)
{
    size_t k = 0;
    while (k < 3 && strcmp(kinds[k].kind, c->kind) != 0) k++;
    if (k == 3)
        return fail(TACIT_UNSUPPORTED,
                    "optimizer \"%s\"; there are sgd, adam and adamw", c->kind);
    struct optim *o = calloc(1, sizeof *o);
    if (!o) return fail(TACIT_NOMEM, "out of memory");
    /* Plain descent keeps nothing. */
    o->m = calloc((k > 0 || c->momentum > 0) && n ? n : 1, sizeof *o->m);
    o->v = calloc(k > 0 && n ? n : 1, sizeof *o->v);
    if (!o->m || !o->v) {
        optim_free(o);
        return fail(TACIT_NOMEM, "out of memory");
    }
    o->step = kinds[k].step;
    o->n = n;
    o->lr = (float)c->learning_rate;
    o->momentum = (float)c->momentum;
    o->decay = (float)c->weight_decay;
    *out = o;
    return TACIT_OK;
}

void optim_free(struct optim *o)
{
    if (!o) return;
    free(o->m);
    free(o->v);
    free(o);
}

void optim_step(struct optim *o, float *w, const float *g)
{
    o->step(o, w, g);
}
