#include "retrieval/search.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "common/tensor/kernels.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/fusion.h"
#include "retrieval/reread.h"
#include "retrieval/search_read.h"
#include "retrieval/words.h"

enum {
    CANDIDATES_MIN = 50,
    CANDIDATES_PER_HIT = 5,
    /* As many at most, where most of them are copies of one another, or very
     * many are asked for. */
    CANDIDATES_WIDE = 4096,
    WIDER = 4
};
enum { BY_WORDS, BY_VECTORS, N_RANKINGS };

/* By scores, the weight of the vectors before one is learnt.
 * tests/bench/calibrate_weight.py chooses it on queries that no figure is
 * measured on: of the weights that lose no more than their standard error on
 * any collection, the one whose worst loss is least. */
#define PLAIN_SHARE 0.5
/* By ranks: the weight of the vectors beside the words, whose weight is 1.
 * Ranks do not say how near the nearest is, so that where words are the better
 * sign (SciFact's training claims) more than this loses by them, though lay
 * questions gain: recall@5 of the simulated sites' training questions is 0.63
 * with 0.05, 0.70 with 0.3 and 0.74 with 1. With an adapter the vectors are the
 * better sign there. */
#define PLAIN_WEIGHT   0.05
#define ADAPTED_WEIGHT 1.0

/* To 4 of 100 pairs of a claim and an abstract of SciFact, drawn at random, the
 * built-in encoder gives a larger cosine. */
#define CHANCE 0.25

/* A candidate's score, to be found by its id. */
struct known {
    int64_t id;
    double score;
};

struct searching {
    struct corpus *c;
    struct arena *a;
    const struct search_query *q;
    struct search_report *report;
    float vector[ENCODER_DIM_MAX];
    size_t n_candidates;
    int64_t *only; /* ids that pass the filter; NULL = all */
    size_t n_only;
    struct known *near; /* by the vectors, nearest first */
    size_t n_near;
    struct words_query words;
    int64_t *ids[N_RANKINGS];
    struct fused *fused;
    size_t n_fused;
};

static int by_id(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int compare_id(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double score_of(const struct known *list, size_t n, int64_t id)
{
    const struct known key = {.id = id};
    const struct known *found =
        n ? bsearch(&key, list, n, sizeof *list, by_id) : NULL;
    return found ? found->score : 0;
}

static enum tacit_err by_vectors(struct searching *s)
{
    struct corpus_near *near = NULL;
    size_t n = 0;
    TRY(arena_alloc(s->a, s->n_candidates, sizeof *near, &near));
    TRY(arena_alloc(s->a, s->n_candidates, sizeof *s->near, &s->near));
    TRY(corpus_nearest(s->c, s->vector, s->n_candidates, s->only, s->n_only,
                       near, &n));
    /* What has nothing in common with the question is not found. */
    while (n > 0 && !(near[n - 1].cosine > 0)) n--;
    for (size_t i = 0; i < n; i++) {
        s->near[i] = (struct known){near[i].id, (double)near[i].cosine};
        s->ids[BY_VECTORS][i] = near[i].id;
    }
    s->n_near = n;
    return TACIT_OK;
}

/* The best by words, and the words' scores of what the vectors found. */
static enum tacit_err by_words(struct searching *s)
{
    struct words_query *w = &s->words;
    int64_t *wanted = NULL;
    TRY(arena_alloc(s->a, s->n_near + 1, sizeof *wanted, &wanted));
    TRY(arena_alloc(s->a, s->n_near + 1, sizeof *w->wanted_score,
                    &w->wanted_score));
    TRY(arena_alloc(s->a, s->n_candidates, sizeof *w->best, &w->best));
    for (size_t i = 0; i < s->n_near; i++) wanted[i] = s->near[i].id;
    qsort(wanted, s->n_near, sizeof *wanted, compare_id);
    w->fts = s->report->question.fts;
    w->term = s->report->question.term;
    w->n_terms = s->report->question.n_terms;
    w->only = s->only;
    w->n_only = s->n_only;
    w->wanted = wanted;
    w->n_wanted = s->n_near;
    w->n_best = s->n_candidates;
    TRY(words_search(s->c->db, w));
    for (size_t i = 0; i < w->n_found; i++) s->ids[BY_WORDS][i] = w->best[i].id;
    s->report->n_matching = w->n_matching;
    return TACIT_OK;
}

/* Cosines of the candidates that the words alone found. */
static enum tacit_err compare_rest(struct searching *s, struct known *cosines,
                                   size_t *n_cosines)
{
    struct corpus_near *near = NULL;
    int64_t *rest = NULL;
    size_t n = 0, n_near = 0;
    TRY(arena_alloc(s->a, s->n_fused + 1, sizeof *rest, &rest));
    TRY(arena_alloc(s->a, s->n_fused + 1, sizeof *near, &near));
    for (size_t i = 0; i < s->n_fused; i++)
        if (!s->fused[i].rank[BY_VECTORS]) rest[n++] = s->fused[i].id;
    qsort(rest, n, sizeof *rest, compare_id);
    if (n) TRY(corpus_nearest(s->c, s->vector, n, rest, n, near, &n_near));
    for (size_t i = 0; i < s->n_near; i++) cosines[(*n_cosines)++] = s->near[i];
    for (size_t i = 0; i < n_near; i++)
        cosines[(*n_cosines)++] =
            (struct known){near[i].id, (double)near[i].cosine};
    qsort(cosines, *n_cosines, sizeof *cosines, by_id);
    return TACIT_OK;
}

/* Every candidate gets both its scores. */
static enum tacit_err complete(struct searching *s)
{
    const struct words_query *w = &s->words;
    struct known *words = NULL, *cosines = NULL;
    size_t n_words = 0, n_cosines = 0;
    TRY(arena_alloc(s->a, w->n_found + w->n_wanted + 1, sizeof *words, &words));
    TRY(arena_alloc(s->a, s->n_fused + s->n_near + 1, sizeof *cosines,
                    &cosines));
    for (size_t i = 0; i < w->n_found; i++)
        words[n_words++] = (struct known){w->best[i].id, w->best[i].score};
    for (size_t i = 0; i < w->n_wanted; i++)
        words[n_words++] = (struct known){w->wanted[i], w->wanted_score[i]};
    qsort(words, n_words, sizeof *words, by_id);
    TRY(compare_rest(s, cosines, &n_cosines));
    for (size_t i = 0; i < s->n_fused; i++) {
        struct fused *f = &s->fused[i];
        f->words = score_of(words, n_words, f->id);
        f->cosine = score_of(cosines, n_cosines, f->id);
    }
    return TACIT_OK;
}

/* The weight by scores; NULL: the order is that by ranks, or of one search. */
static const double *choose_weight(const struct search_query *q)
{
    static const double plain = PLAIN_SHARE;
    if (q->mode != SEARCH_HYBRID) return NULL;
    return q->weight || q->adapter ? q->weight : &plain;
}

/* Without a word in common the vectors must say more than chance does. */
static size_t beyond_chance(const struct searching *s)
{
    size_t n = s->n_near;
    if (s->q->mode != SEARCH_HYBRID || s->words.n_found > 0 || s->q->adapter ||
        !encoder_is_built_in(s->c->encoder))
        return n;
    while (n > 0 && s->near[n - 1].score < CHANCE) n--;
    return n;
}

static enum tacit_err fuse(struct searching *s)
{
    const double *weight = choose_weight(s->q);
    struct ranking rankings[N_RANKINGS] = {
        {s->ids[BY_WORDS], s->words.n_found, 1},
        {s->ids[BY_VECTORS], beyond_chance(s),
         s->q->adapter ? ADAPTED_WEIGHT : PLAIN_WEIGHT},
    };
    if (s->q->mode == SEARCH_WORDS) rankings[BY_VECTORS].n = 0;
    if (s->q->mode == SEARCH_VECTORS) rankings[BY_WORDS].n = 0;
    TRY(arena_alloc(s->a, N_RANKINGS * s->n_candidates, sizeof *s->fused,
                    &s->fused));
    s->n_fused = fusion_rrf(rankings, N_RANKINGS, s->fused);
    s->report->weight = rankings[BY_VECTORS].weight;
    TRY(complete(s));
    if (s->q->mode == SEARCH_WORDS || s->q->mode == SEARCH_VECTORS)
        fusion_convex(s->q->mode == SEARCH_VECTORS, s->fused, s->n_fused);
    if (!weight) return TACIT_OK;
    fusion_convex(*weight, s->fused, s->n_fused);
    s->report->is_by_scores = 1;
    s->report->weight = *weight;
    return TACIT_OK;
}

/* Maximal marginal relevance: the chosen ones move to the front. */
static enum tacit_err spread(struct searching *s)
{
    size_t n = s->n_fused, n_chosen = 2 * s->q->limit, dim = s->c->dim;
    double d = s->q->diversity, *near = NULL;
    float *v = NULL;
    if (!(d > 0) || n == 0) return TACIT_OK;
    double best = s->fused[0].score > 0 ? s->fused[0].score : 1;
    TRY(arena_alloc(s->a, n * dim, sizeof *v, &v));
    TRY(arena_alloc(s->a, n, sizeof *near, &near));
    for (size_t i = 0; i < n; i++)
        TRY(corpus_vector(s->c, s->fused[i].id, v + i * dim));
    for (size_t at = 0; at + 1 < n && at < n_chosen; at++) {
        size_t next = at;
        double most = -2;
        for (size_t i = at; i < n; i++) {
            double m = (1 - d) * s->fused[i].score / best - d * near[i];
            if (m > most) most = m, next = i;
        }
        struct fused chosen = s->fused[next];
        float u[ENCODER_DIM_MAX];
        memcpy(u, v + next * dim, dim * sizeof *u);
        /* Those passed over keep their order. */
        for (size_t i = next; i > at; i--) {
            s->fused[i] = s->fused[i - 1];
            near[i] = near[i - 1];
            memcpy(v + i * dim, v + (i - 1) * dim, dim * sizeof *u);
        }
        s->fused[at] = chosen;
        for (size_t i = at + 1; i < n; i++) {
            double cosine = (double)kernel_dot(u, v + i * dim, dim);
            if (cosine > near[i]) near[i] = cosine;
        }
    }
    return TACIT_OK;
}

static enum tacit_err check_query(const struct search_query *q)
{
    if (q->limit < 1 || q->limit > SEARCH_LIMIT_MAX)
        return fail_as(E_QUESTION_LIMIT,
                       "%zu results asked for; 1 to %d are possible", q->limit,
                       SEARCH_LIMIT_MAX);
    if (!(q->diversity >= 0 && q->diversity <= 1))
        return fail_as(E_QUESTION_LIMIT, "diversity is a number from 0 to 1");
    return TACIT_OK;
}

/* Nanoseconds since *from, which moves to now. */
static int64_t lap(int64_t *from)
{
    int64_t now = tick_ns(), took = now - *from;
    *from = now;
    return took;
}

/* One look at n_candidates of each ranking. *n_different: passages that say
 * something of their own. */
static enum tacit_err look(struct searching *s, struct search_hit **hits,
                           size_t *n_hits, size_t *n_different)
{
    struct search_report *r = s->report;
    int64_t from = tick_ns();
    for (int i = 0; i < N_RANKINGS; i++)
        TRY(arena_alloc(s->a, s->n_candidates, sizeof(int64_t), &s->ids[i]));
    if (s->q->mode != SEARCH_WORDS) TRY(by_vectors(s));
    r->vectors_ns += lap(&from);
    if (s->q->mode != SEARCH_VECTORS) TRY(by_words(s));
    r->words_ns += lap(&from);
    TRY(fuse(s));
    r->n_candidates = s->n_fused;
    TRY(spread(s));
    r->fuse_ns += lap(&from);
    struct search_found found = {.fused = s->fused,
                                 .n = s->n_fused,
                                 .only = s->only,
                                 .n_only = s->n_only};
    TRY(search_read(s->c, s->q, s->a, &found, hits, n_hits));
    r->read_ns += lap(&from);
    *n_different = found.n_different;
    return TACIT_OK;
}

/* Whether copies have crowded out what else there may be. */
static int is_crowded(const struct searching *s, size_t n_different)
{
    return n_different < s->q->limit && s->n_candidates < CANDIDATES_WIDE &&
           (s->n_near == s->n_candidates ||
            s->words.n_found == s->n_candidates);
}

static enum tacit_err search(struct searching *s, struct search_hit **hits,
                             size_t *n_hits)
{
    struct search_report *r = s->report;
    int64_t from = tick_ns();
    size_t n_different = 0;
    TRY(words_languages(s->c->db, &r->languages));
    if (s->q->filter && s->q->filter->n)
        TRY(filter_ids(s->c->db, s->q->filter, s->a, &s->only, &s->n_only));
    r->filter_ns = lap(&from);
    TRY(look(s, hits, n_hits, &n_different));
    while (is_crowded(s, n_different)) {
        s->n_candidates *= WIDER;
        if (s->n_candidates > CANDIDATES_WIDE)
            s->n_candidates = CANDIDATES_WIDE;
        TRY(look(s, hits, n_hits, &n_different));
    }
    return TACIT_OK;
}

static enum tacit_err find(struct corpus *c, const struct search_query *q,
                           struct arena *a, struct search_report *report,
                           struct search_hit **hits, size_t *n_hits)
{
    struct searching s = {.c = c, .a = a, .q = q, .report = report};
    int64_t from = tick_ns();
    *report = (struct search_report){0};
    TRY(question_read(a, q->text, &report->question));
    /* Words alone do without a network, and with a damaged one. */
    if (q->mode != SEARCH_WORDS || encoder_is_built_in(c->encoder))
        TRY(embedder_question(c->encoder, &c->scratch, q->text, q->adapter,
                              s.vector));
    report->embed_ns = lap(&from);
    s.n_candidates = CANDIDATES_PER_HIT * q->limit;
    if (s.n_candidates < CANDIDATES_MIN) s.n_candidates = CANDIDATES_MIN;
    if (s.n_candidates > CANDIDATES_WIDE) s.n_candidates = CANDIDATES_WIDE;
    /* All reads see one state of the store. */
    int is_ours = sqlite3_get_autocommit(c->db->sql);
    if (is_ours) TRY(db_exec(c->db, "BEGIN"));
    enum tacit_err err = search(&s, hits, n_hits);
    if (is_ours) db_rollback(c->db);
    return err;
}

enum tacit_err search_hybrid(struct corpus *c, const struct search_query *q,
                             struct arena *a, struct search_hit **hits,
                             size_t *n_hits)
{
    struct search_report own = {0};
    struct search_report *report = q->report ? q->report : &own;
    struct search_query wide = *q;
    TRY(check_query(q));
    if (q->reread && wide.limit < q->reread->n) wide.limit = q->reread->n;
    TRY(find(c, &wide, a, report, hits, n_hits));
    if (!q->reread) return TACIT_OK;
    TRY(reread_hits(q->reread, q->text, a, *hits, *n_hits, report));
    if (*n_hits > q->limit) *n_hits = q->limit;
    return TACIT_OK;
}
