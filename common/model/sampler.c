#include "common/model/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"

struct ranked {
    uint32_t id;
    double z; /* logit, over the temperature */
};

struct sampler {
    struct sampling how;
    struct rng rng;
    size_t vocab;
    float *z;            /* [vocab] after repetition */
    uint8_t *seen;       /* [vocab] 0 between calls */
    struct ranked *list; /* [vocab] */
    struct sampled *out; /* [vocab] */
};

static enum tacit_err check(const struct sampling *s, size_t vocab)
{
    if (!vocab || vocab > UINT32_MAX)
        return fail(TACIT_LIMIT, "a vocabulary of %zu", vocab);
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return fail(TACIT_LIMIT, "a temperature of %g; 0 to 100",
                    s->temperature);
    if (!(s->top_p >= 0 && s->top_p <= 1))
        return fail(TACIT_LIMIT, "top-p of %g; 0 to 1", s->top_p);
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return fail(TACIT_LIMIT, "min-p of %g; 0 to 1", s->min_p);
    if (!(s->repetition >= 0 && s->repetition <= 10))
        return fail(TACIT_LIMIT, "a repetition penalty of %g; 0 to 10",
                    s->repetition);
    return TACIT_OK;
}

enum tacit_err sampler_new(const struct sampling *how, size_t vocab,
                           struct sampler **out)
{
    TRY(check(how, vocab));
    struct sampler *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "out of memory for a sampler");
    s->how = *how;
    s->vocab = vocab;
    s->z = calloc(vocab, sizeof *s->z);
    s->seen = calloc(vocab, sizeof *s->seen);
    s->list = calloc(vocab, sizeof *s->list);
    s->out = calloc(vocab, sizeof *s->out);
    if (!s->z || !s->seen || !s->list || !s->out) {
        sampler_free(s);
        return fail(TACIT_NOMEM, "out of memory for %zu chances", vocab);
    }
    rng_init(&s->rng, how->seed, 0x73616d706c65, 0);
    *out = s;
    return TACIT_OK;
}

void sampler_free(struct sampler *s)
{
    if (!s) return;
    free(s->z);
    free(s->seen);
    free(s->list);
    free(s->out);
    free(s);
}

/* Each token of the window counts once, however often it stands there. */
static enum tacit_err penalise(struct sampler *s, const uint32_t *recent,
                               size_t n)
{
    double r = s->how.repetition;
    size_t from = s->how.window && n > s->how.window ? n - s->how.window : 0;
    for (size_t i = 0; i < n; i++)
        if (recent[i] >= s->vocab)
            return fail(TACIT_FORMAT, "token %u of a vocabulary of %zu",
                        recent[i], s->vocab);
    if (!(r > 0)) return TACIT_OK;
    for (size_t i = from; i < n; i++) {
        float *z = &s->z[recent[i]];
        if (s->seen[recent[i]]) continue;
        s->seen[recent[i]] = 1;
        *z = (float)(*z > 0 ? (double)*z / r : (double)*z * r);
    }
    for (size_t i = from; i < n; i++) s->seen[recent[i]] = 0;
    return TACIT_OK;
}

static int likelier(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->z > y->z) return -1;
    if (x->z < y->z) return 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* All tokens at most `depth` below the best, in order. */
static size_t gather(struct sampler *s, double top, double depth)
{
    double by = s->how.temperature > 0 ? s->how.temperature : 1;
    size_t n = 0;
    for (size_t i = 0; i < s->vocab; i++) {
        double z = (double)s->z[i] / by;
        if (z >= top - depth) s->list[n++] = (struct ranked){(uint32_t)i, z};
    }
    qsort(s->list, n, sizeof *s->list, likelier);
    return n;
}

/* How many of the n best stay; 0: more than these must be looked at. `all` is
 * the sum over the whole vocabulary of exp(z - top). */
static size_t cut(const struct sampler *s, size_t n, double top, double all)
{
    const struct sampling *how = &s->how;
    size_t most = n;
    int complete = n == s->vocab;
    if (how->top_k && how->top_k <= most) {
        most = how->top_k;
        complete = 1;
        all = 0;
        for (size_t i = 0; i < most; i++) all += exp(s->list[i].z - top);
    } else if (how->top_k && how->top_k < s->vocab && !complete) {
        return 0;
    }
    double sum = 0;
    for (size_t i = 0; i < most; i++) {
        double e = exp(s->list[i].z - top);
        if (i && e < how->min_p) return i;
        sum += e;
        if (how->top_p < 1 && sum >= how->top_p * all) return i + 1;
    }
    return complete ? most : 0;
}

static enum tacit_err best_of(const struct sampler *s, double *top, double *all,
                              uint32_t *at)
{
    double by = s->how.temperature > 0 ? s->how.temperature : 1;
    int any = 0;
    for (size_t i = 0; i < s->vocab; i++) {
        double z = (double)s->z[i] / by;
        if (isfinite(z) && (!any || z > *top)) {
            *top = z;
            *at = (uint32_t)i;
            any = 1;
        }
    }
    if (!any) return fail(TACIT_FORMAT, "no logit is a number");
    *all = 0;
    for (size_t i = 0; i < s->vocab; i++)
        *all += exp((double)s->z[i] / by - *top);
    return TACIT_OK;
}

enum tacit_err sampler_rank(struct sampler *s, const float *logits,
                            const uint32_t *recent, size_t n_recent,
                            const struct sampled **out, size_t *out_n)
{
    double top = 0, all = 0, sum = 0;
    uint32_t at = 0;
    /* What is no number is never drawn. */
    for (size_t i = 0; i < s->vocab; i++)
        s->z[i] = isfinite(logits[i]) ? logits[i] : -INFINITY;
    TRY(penalise(s, recent, n_recent));
    TRY(best_of(s, &top, &all, &at));
    *out = s->out;
    if (!(s->how.temperature > 0)) {
        s->out[0] = (struct sampled){at, 1};
        *out_n = 1;
        return TACIT_OK;
    }
    /* Few tokens lie near the best, and few are worth sorting. */
    int some = s->how.top_k || s->how.min_p > 0 || s->how.top_p < 1;
    size_t n = 0;
    for (double depth = 8; some && !n && depth < 1000; depth *= 4)
        n = cut(s, gather(s, top, depth), top, all);
    if (!n) {
        n = gather(s, top, INFINITY);
        size_t keep = cut(s, n, top, all);
        n = keep ? keep : n;
    }
    for (size_t i = 0; i < n; i++) sum += exp(s->list[i].z - top);
    for (size_t i = 0; i < n; i++)
        s->out[i] = (struct sampled){s->list[i].id,
                                     (float)(exp(s->list[i].z - top) / sum)};
    *out_n = n;
    return TACIT_OK;
}

enum tacit_err sampler_pick(struct sampler *s, const float *logits,
                            const uint32_t *recent, size_t n_recent,
                            uint32_t *out)
{
    const struct sampled *list;
    size_t n;
    TRY(sampler_rank(s, logits, recent, n_recent, &list, &n));
    double u = n > 1 ? rng_f64(&s->rng) : 0, sum = 0;
    size_t i = 0;
    for (; i + 1 < n; i++) {
        sum += (double)list[i].chance;
        if (u < sum) break;
    }
    *out = list[i].id;
    return TACIT_OK;
}
