#include "retrieval/weight.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/codes.h"
#include "retrieval/fusion.h"
#include "retrieval/measure.h"

enum { STEPS = 50, AT = 10, CANDIDATES = 100 };

struct question_scores {
    struct fused list[CANDIDATES]; /* rank[0] holds the grade */
    size_t n;
};

struct weight_fit {
    struct question_scores *list;
    size_t n, cap;
    struct arena scratch;
};

enum tacit_err weight_fit_new(struct weight_fit **out)
{
    struct weight_fit *f = calloc(1, sizeof *f);
    if (!f) return fail(TACIT_NOMEM, "out of memory");
    arena_init(&f->scratch, 0);
    *out = f;
    return TACIT_OK;
}

void weight_fit_free(struct weight_fit *f)
{
    if (!f) return;
    arena_release(&f->scratch);
    free(f->list);
    free(f);
}

static enum tacit_err make_room(struct weight_fit *f)
{
    if (f->n < f->cap) return TACIT_OK;
    size_t cap = f->cap ? 2 * f->cap : 64;
    void *list = realloc(f->list, cap * sizeof *f->list);
    if (!list) return fail(TACIT_NOMEM, "no memory for %zu questions", cap);
    f->list = list;
    f->cap = cap;
    return TACIT_OK;
}

enum tacit_err weight_fit_add(
    struct weight_fit *f, struct corpus *c, const struct search_query *q,
    int (*grade)(const struct search_hit *h, void *ctx), void *ctx)
{
    /* The candidates of both searches, not of one alone. */
    const double both = 0.5;
    struct search_query wide = *q;
    struct search_hit *hits = NULL;
    size_t n = 0, n_right = 0;
    if (f->n == WEIGHT_QUESTIONS_MAX) return TACIT_OK;
    wide.weight = &both;
    wide.limit = CANDIDATES;
    wide.mode = SEARCH_HYBRID;
    wide.neighbours = SEARCH_APART;
    wide.diversity = 0;
    wide.reread = NULL;
    arena_reset(&f->scratch);
    TRY(make_room(f));
    TRY(search_hybrid(c, &wide, &f->scratch, &hits, &n));
    struct question_scores *s = &f->list[f->n];
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        int g = grade(&hits[i], ctx);
        s->list[i] = (struct fused){.id = hits[i].chunk_id,
                                    .words = hits[i].words,
                                    .cosine = (double)hits[i].cosine,
                                    .rank = {g > 0 ? g : 0}};
        n_right += g > 0;
    }
    f->n += n_right > 0;
    return TACIT_OK;
}

/* nDCG of a question's candidates in the order of this weight. */
static enum tacit_err ndcg_at(struct weight_fit *f, struct question_scores *s,
                              double weight, double *out)
{
    int grades[CANDIDATES];
    struct measures m;
    fusion_convex(weight, s->list, s->n);
    for (size_t i = 0; i < s->n; i++) grades[i] = s->list[i].rank[0];
    arena_reset(&f->scratch);
    TRY(measure_ranking(grades, s->n, grades, s->n, AT, &f->scratch, &m));
    *out = m.ndcg;
    return TACIT_OK;
}

struct summary {
    double mean, gain, error; /* gain over the words, its standard error */
};

static enum tacit_err summarise(struct weight_fit *f, double weight,
                                const double *by_words, struct summary *out)
{
    double sum = 0, gain = 0, squares = 0, n = (double)f->n;
    for (size_t i = 0; i < f->n; i++) {
        double v;
        TRY(ndcg_at(f, &f->list[i], weight, &v));
        sum += v;
        gain += v - by_words[i];
        squares += (v - by_words[i]) * (v - by_words[i]);
    }
    out->mean = sum / n;
    out->gain = gain / n;
    out->error = sqrt(fmax(0, squares / n - out->gain * out->gain) / (n - 1));
    return TACIT_OK;
}

enum tacit_err weight_fit_end(struct weight_fit *f, struct weight_learnt *out)
{
    struct weight_learnt best = {.n_questions = f->n};
    if (f->n < WEIGHT_QUESTIONS_MIN)
        return fail_as(E_FEW_PAIRS,
                       "questions with a right document that search finds: "
                       "%zu; %d are needed",
                       f->n, WEIGHT_QUESTIONS_MIN);
    double *by_words = calloc(f->n, sizeof *by_words);
    if (!by_words) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; i < f->n && !err; i++) {
        err = ndcg_at(f, &f->list[i], 0, &by_words[i]);
        best.by_words += by_words[i] / (double)f->n;
    }
    best.ndcg = best.by_words;
    for (int step = 1; step <= STEPS && !err; step++) {
        struct summary s;
        double weight = (double)step / STEPS;
        err = summarise(f, weight, by_words, &s);
        if (err || s.mean <= best.ndcg || !(s.gain > s.error)) continue;
        best.weight = weight;
        best.ndcg = s.mean;
    }
    free(by_words);
    if (!err) *out = best;
    return err;
}
