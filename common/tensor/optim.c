#include "common/tensor/vectorise.h"

#include "common/tensor/optim.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct optim {
    void (*step)(struct optim *o, float *w, const float *g, size_t from,
                 size_t end);
    float lr, momentum, decay;
    int spares; /* numbers without a gradient keep their moments, of zero */
    int decays; /* and shrink all the same */
    size_t n;
    uint64_t t;
    float c1, c2; /* Adam: what its means are divided by in this step */
    float *m, *v; /* [n] in `room`; v for Adam */
    float *room[2];
};

MANY_TARGETS
static void shrink(struct optim *o, float *w, size_t from, size_t end)
{
    float lr = o->lr, decay = o->decay;
    for (size_t i = from; i < end; i++) w[i] -= lr * decay * w[i];
}

MANY_TARGETS
static void sgd_plain(struct optim *o, float *w, const float *g, size_t from,
                      size_t end)
{
    float lr = o->lr, decay = o->decay;
    for (size_t i = from; i < end; i++) w[i] -= lr * (g[i] + decay * w[i]);
}

MANY_TARGETS
static void sgd_momentum(struct optim *o, float *w, const float *g, size_t from,
                         size_t end)
{
    float lr = o->lr, decay = o->decay, momentum = o->momentum, *m = o->m;
    for (size_t i = from; i < end; i++) {
        m[i] = momentum * m[i] + (g[i] + decay * w[i]);
        w[i] -= lr * m[i];
    }
}

static void sgd(struct optim *o, float *w, const float *g, size_t from,
                size_t end)
{
    (o->momentum > 0 ? sgd_momentum : sgd_plain)(o, w, g, from, end);
}

MANY_TARGETS
static void adam_step(struct optim *o, float *w, const float *g, size_t from,
                      size_t end, float coupled, float decoupled)
{
    static const float b1 = 0.9f, b2 = 0.999f, epsilon = 1e-8f;
    float c1 = o->c1, c2 = o->c2, lr = o->lr, *m = o->m, *v = o->v;
    for (size_t i = from; i < end; i++) {
        float d = g[i] + coupled * w[i];
        m[i] = b1 * m[i] + (1 - b1) * d;
        v[i] = b2 * v[i] + (1 - b2) * d * d;
        w[i] -= lr * decoupled * w[i];
        w[i] -= lr * (m[i] / c1) / (sqrtf(v[i] / c2) + epsilon);
    }
}

static void adam(struct optim *o, float *w, const float *g, size_t from,
                 size_t end)
{
    adam_step(o, w, g, from, end, o->decay, 0);
}

static void adamw(struct optim *o, float *w, const float *g, size_t from,
                  size_t end)
{
    adam_step(o, w, g, from, end, 0, o->decay);
}

static const struct {
    const char *kind;
    void (*step)(struct optim *, float *, const float *, size_t, size_t);
} kinds[] = {{"sgd", sgd}, {"adam", adam}, {"adamw", adamw}};

size_t optim_moments(const struct optim_config *c)
{
    if (strcmp(c->kind, "sgd") != 0) return 2;
    return c->momentum > 0 ? 1 : 0;
}

float *optim_zeros(size_t n, float **all)
{
    *all = calloc((n ? n : 1) + OPTIM_CHUNK, sizeof **all);
    if (!*all) return NULL;
    size_t over = (uintptr_t)*all / sizeof **all % OPTIM_CHUNK;
    return *all + (over ? OPTIM_CHUNK - over : 0);
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
    o->m = optim_zeros(k > 0 || c->momentum > 0 ? n : 1, &o->room[0]);
    o->v = optim_zeros(k > 0 ? n : 1, &o->room[1]);
    if (!o->m || !o->v) {
        optim_free(o);
        return fail(TACIT_NOMEM, "out of memory");
    }
    o->step = kinds[k].step;
    o->n = n;
    o->lr = (float)c->learning_rate;
    o->momentum = (float)c->momentum;
    o->decay = (float)c->weight_decay;
    o->spares = k == 2 || !(o->decay > 0);
    o->decays = k == 2 && o->decay > 0;
    *out = o;
    return TACIT_OK;
}

void optim_free(struct optim *o)
{
    if (!o) return;
    free(o->room[0]);
    free(o->room[1]);
    free(o);
}

static void begin_step(struct optim *o)
{
    double t = (double)++o->t;
    o->c1 = (float)(1 - pow(0.9, t));
    o->c2 = (float)(1 - pow(0.999, t));
}

void optim_step(struct optim *o, float *w, const float *g)
{
    begin_step(o);
    o->step(o, w, g, 0, o->n);
}

void optim_step_where(struct optim *o, float *w, const float *g,
                      const uint8_t *reached)
{
    size_t n_chunks = (o->n + OPTIM_CHUNK - 1) / OPTIM_CHUNK;
    begin_step(o);
    for (size_t i = 0, next; i < n_chunks; i = next) {
        for (next = i + 1; next < n_chunks && !reached[next] == !reached[i];)
            next++;
        size_t from = i * OPTIM_CHUNK, end = next * OPTIM_CHUNK;
        if (end > o->n) end = o->n;
        if (reached[i] || !o->spares)
            o->step(o, w, g, from, end);
        else if (o->decays)
            shrink(o, w, from, end);
    }
}
