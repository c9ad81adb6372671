#include "sims/synthetic.h"

#include <math.h>

#include "common/base/rng.h"

/* What a stream of random numbers is for. */
enum {
    FOR_DEVICE = 0x73796e64,
    FOR_ROWS = 0x73796e72,
    FOR_SIZES = 0x73796e73,
    FOR_ALL = 0x73796e61 /* the one model of the iid set */
};

static void fill(struct rng *rng, double mean, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(mean + (double)rng_normal(rng));
}

enum tacit_err synthetic_device(const struct synthetic_config *c, size_t k,
                                struct arena *a, struct synthetic_device *out)
{
    struct synthetic_device d = {.c = c, .number = k};
    struct rng rng;
    TRY(arena_alloc(a, c->dim * c->classes, sizeof *d.w, &d.w));
    TRY(arena_alloc(a, c->classes, sizeof *d.bias, &d.bias));
    TRY(arena_alloc(a, c->dim, sizeof *d.mean, &d.mean));
    if (c->iid)
        rng_init(&rng, c->seed, FOR_ALL, 0);
    else
        rng_init(&rng, c->seed, FOR_DEVICE, k);
    double u = c->a * (double)rng_normal(&rng);
    double b = c->b * (double)rng_normal(&rng);
    fill(&rng, c->iid ? 0 : u, d.w, c->dim * c->classes);
    fill(&rng, c->iid ? 0 : u, d.bias, c->classes);
    if (!c->iid) fill(&rng, b, d.mean, c->dim);
    *out = d;
    return TACIT_OK;
}

/* x W + c of class k. */
static double score(const struct synthetic_device *d, const float *x, size_t k)
{
    size_t n = d->c->classes;
    double sum = (double)d->bias[k];
    for (size_t j = 0; j < d->c->dim; j++)
        sum += (double)x[j] * (double)d->w[j * n + k];
    return sum;
}

void synthetic_row(const struct synthetic_device *d, uint64_t r, float *x,
                   float *y)
{
    const struct synthetic_config *c = d->c;
    struct rng rng;
    rng_init(&rng, c->seed ^ FOR_ROWS, d->number, r);
    for (size_t j = 0; j < c->dim; j++) {
        double sd = pow((double)(j + 1), -0.6); /* root of the variance */
        x[j] = (float)((double)d->mean[j] + sd * (double)rng_normal(&rng));
    }
    double best = score(d, x, 0);
    switch (c->kind) {
    case SYNTHETIC_SIGN: *y = best > 0; return;
    case SYNTHETIC_VALUE:
        *y = (float)(best + 0.1 * (double)rng_normal(&rng));
        return;
    case SYNTHETIC_CLASSES: break;
    }
    *y = 0;
    for (size_t k = 1; k < c->classes; k++) {
        double s = score(d, x, k);
        if (s <= best) continue;
        best = s;
        *y = (float)k;
    }
}

size_t synthetic_size(uint64_t seed, size_t k)
{
    struct rng rng;
    rng_init(&rng, seed, FOR_SIZES, k);
    double v = exp(4 + 2 * (double)rng_normal(&rng)) + 50;
    return v < SYNTHETIC_ROWS_MAX ? (size_t)v : SYNTHETIC_ROWS_MAX;
}
