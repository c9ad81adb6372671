#include "client/pairs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/feedback.h"
#include "common/base/codes.h"
#include "common/model/vocab.h"
#include "common/tensor/kernels.h"

#define NO_GROUP UINT32_MAX

/* What answers a question: a section of a document, or all of it. */
struct group {
    const char *path, *heading; /* arena; heading NULL: the whole document */
};

struct pair {
    const char *question;
    const char *document, *heading; /* heading NULL: anywhere in it */
    const char *passage;            /* NULL: by document */
    uint32_t line;                  /* in the CSV; 0: from feedback */
    int held;
};

struct loading {
    const struct plan *plan;
    const char *csv_path; /* for messages */
    const struct encoder *encoder;
    size_t dim; /* of the encoder's vectors */
    struct dataset *d;
    struct arena scratch;
    struct vocab_ids ids; /* of the questions of one side, with a base */
    struct pair *pairs;   /* owned */
    size_t n_pairs, cap_pairs;
    int by_document;      /* some pair names no heading: groups are documents */
    struct group *groups; /* owned */
    size_t n_groups, cap_groups;
    float *pool;     /* [n_pool, dim], owned */
    uint32_t *group; /* [n_pool], owned */
    size_t n_pool, cap_pool, cap_group;
};

static enum tacit_err grow(void *list_ptr, size_t *cap, size_t n, size_t size)
{
    void *list;
    memcpy(&list, list_ptr, sizeof list);
    if (n < *cap) return TACIT_OK;
    size_t more = *cap ? 2 * *cap : 256;
    void *p = realloc(list, more * size);
    if (!p) return fail(TACIT_NOMEM, "no memory for %zu examples", more);
    memcpy(list_ptr, &p, sizeof p);
    *cap = more;
    /* cppcheck-suppress memleak ; the caller's list has it */
    return TACIT_OK;
}

/* ---- the pool: every passage of the site ---- */

static enum tacit_err copy_text(struct loading *l, const char *s,
                                const char **out)
{
    char *copy = NULL;
    TRY(arena_strdup(&l->d->arena, s, strlen(s), &copy));
    *out = copy;
    return TACIT_OK;
}

static enum tacit_err add_to_pool(struct loading *l, const float *v,
                                  uint32_t group)
{
    TRY(grow(&l->pool, &l->cap_pool, l->n_pool, l->dim * sizeof *l->pool));
    TRY(grow(&l->group, &l->cap_group, l->n_pool, sizeof *l->group));
    memcpy(l->pool + l->n_pool * l->dim, v, l->dim * sizeof *v);
    l->group[l->n_pool++] = group;
    return TACIT_OK;
}

static enum tacit_err add_group(struct loading *l, const char *path,
                                const char *heading)
{
    struct group g = {0};
    TRY(grow(&l->groups, &l->cap_groups, l->n_groups, sizeof *l->groups));
    if (path) TRY(copy_text(l, path, &g.path));
    if (heading) TRY(copy_text(l, heading, &g.heading));
    assert(l->groups);
    l->groups[l->n_groups++] = g;
    return TACIT_OK;
}

/* Passages come in order of their place, so groups are runs. */
static enum tacit_err take_passage(const struct corpus_passage *p, void *ctx)
{
    struct loading *l = ctx;
    const struct group *last = l->n_groups ? &l->groups[l->n_groups - 1] : NULL;
    if (!last || strcmp(last->path, p->path) != 0 ||
        (!l->by_document && strcmp(last->heading, p->heading) != 0))
        TRY(add_group(l, p->path, l->by_document ? NULL : p->heading));
    return add_to_pool(l, p->vector, (uint32_t)l->n_groups - 1);
}

/* ---- the pairs ---- */

static enum tacit_err add_pair(struct loading *l, const struct pair *p)
{
    if (l->n_pairs == PAIRS_MAX)
        return fail(TACIT_LIMIT, "over %d question-passage pairs", PAIRS_MAX);
    TRY(grow(&l->pairs, &l->cap_pairs, l->n_pairs, sizeof *l->pairs));
    l->by_document |= !p->passage && (!p->heading || !*p->heading);
    l->pairs[l->n_pairs++] = *p;
    return TACIT_OK;
}

static const char *cell_at(const struct csv *t, size_t row, long column)
{
    return column < 0 ? NULL : csv_cell(t, row, (size_t)column);
}

struct columns {
    size_t question;
    long document, heading, passage, split; /* -1: none */
};

static enum tacit_err optional(const struct csv *t, const char *name, long *out)
{
    size_t at = 0;
    *out = csv_find(t, name);
    return *out < 0 ? TACIT_OK : csv_column(t, name, &at);
}

static enum tacit_err find_columns(const struct csv *t, struct columns *c)
{
    size_t document;
    TRY(csv_column(t, "question", &c->question));
    TRY(optional(t, "passage", &c->passage));
    TRY(optional(t, "heading", &c->heading));
    TRY(optional(t, "split", &c->split));
    c->document = -1;
    if (c->passage >= 0) return TACIT_OK;
    TRY(csv_column(t, "document", &document));
    c->document = (long)document;
    return TACIT_OK;
}

static int is_unknown(const char *cell)
{
    return !cell || *cell == '\0' || strcmp(cell, "?") == 0;
}

static enum tacit_err take_csv(struct loading *l, struct arena *text)
{
    struct csv t;
    struct columns c;
    TRY(csv_load(l->csv_path, text, &t));
    TRY(find_columns(&t, &c));
    for (size_t i = 0; i < t.n_rows; i++) {
        const char *side = cell_at(&t, i, c.split);
        struct pair p = {.question = csv_cell(&t, i, c.question),
                         .document = cell_at(&t, i, c.document),
                         .heading = cell_at(&t, i, c.heading),
                         .passage = cell_at(&t, i, c.passage),
                         .line = t.line[i],
                         .held = side ? strcmp(side, "test") == 0
                                      : examples_held_out(l->plan, i)};
        if (side && !p.held && strcmp(side, "train") != 0)
            return fail_as(E_CSV_VALUE,
                           "%s:%u: column \"split\" must hold train or test",
                           l->csv_path, t.line[i]);
        if (is_unknown(p.question) ||
            is_unknown(p.passage ? p.passage : p.document))
            l->d->n_dropped++;
        else
            TRY(add_pair(l, &p));
    }
    return TACIT_OK;
}

/* Feedback rows are numbered far from a file's, so that both keep their side.
 */
static enum tacit_err take_feedback(const struct feedback_pair *f, void *ctx)
{
    struct loading *l = ctx;
    struct pair p = {0};
    if (f->verdict != FEEDBACK_GOOD) return TACIT_OK;
    TRY(copy_text(l, f->question, &p.question));
    TRY(copy_text(l, f->path, &p.document));
    TRY(copy_text(l, f->heading, &p.heading));
    p.held = examples_held_out(l->plan, UINT64_MAX - (uint64_t)f->answer);
    return add_pair(l, &p);
}

/* "a/b.md" names the document whose path ends in it, at a slash. */
static int names_path(const char *name, const char *path)
{
    size_t n = strlen(name), m = strlen(path);
    if (n == 0 || n > m || strcmp(path + m - n, name) != 0) return 0;
    return n == m || name[0] == '/' || path[m - n - 1] == '/';
}

/* ---- vectors ---- */

static enum tacit_err ambiguous(const struct loading *l, const struct pair *p)
{
    return fail_as(E_CSV_VALUE,
                   "%s:%u: column \"document\" could name more than one "
                   "document; write more of its path",
                   l->csv_path, p->line);
}

/* A whole path is that document; the end of one must fit a single document. */
static enum tacit_err find_group(const struct loading *l, const struct pair *p,
                                 uint32_t *out)
{
    uint32_t by_end = NO_GROUP, whole = NO_GROUP;
    int several = 0; /* documents */
    for (size_t i = 0; i < l->n_groups && whole == NO_GROUP; i++) {
        const struct group *g = &l->groups[i];
        if (!g->path || !names_path(p->document, g->path)) continue;
        if (!l->by_document && strcmp(g->heading, p->heading) != 0) continue;
        if (strcmp(p->document, g->path) == 0) whole = (uint32_t)i;
        if (by_end == NO_GROUP)
            by_end = (uint32_t)i;
        else
            several |= strcmp(l->groups[by_end].path, g->path) != 0;
    }
    *out = whole;
    /* What feedback names is there whole or not at all. */
    if (whole != NO_GROUP || p->line == 0) return TACIT_OK;
    if (several) return ambiguous(l, p);
    *out = by_end;
    return TACIT_OK;
}

/* The passage of a group that is nearest to the question. */
static const float *nearest(const struct loading *l, uint32_t group,
                            const float *q)
{
    const float *best = NULL;
    float most = 0;
    for (size_t i = 0; i < l->n_pool; i++) {
        const float *v = l->pool + i * l->dim;
        if (l->group[i] != group) continue;
        float s = kernel_dot(q, v, l->dim);
        if (best && s <= most) continue;
        best = v;
        most = s;
    }
    return best;
}

static enum tacit_err embed(struct loading *l, const char *text, float *out)
{
    arena_reset(&l->scratch);
    return encoder_embed(l->encoder, &l->scratch, text, strlen(text), out);
}

/* The row's vectors and group; NO_GROUP when its document is not indexed here.
 * A passage given as text joins the pool as a group of its own. */
static enum tacit_err fill_row(struct loading *l, const struct pair *p,
                               float *x, float *y, uint32_t *group)
{
    TRY(embed(l, p->question, x));
    if (p->passage) {
        TRY(embed(l, p->passage, y));
        TRY(add_group(l, NULL, NULL));
        *group = (uint32_t)l->n_groups - 1;
        return add_to_pool(l, y, *group);
    }
    TRY(find_group(l, p, group));
    if (*group == NO_GROUP) return TACIT_OK;
    const float *v = nearest(l, *group, x);
    assert(v); /* a group begins with a passage */
    memcpy(y, v, l->dim * sizeof *y);
    return TACIT_OK;
}

/* The tokens of row n's question; a question without words is left out. */
static enum tacit_err take_tokens(struct loading *l, const char *question,
                                  uint32_t *start, size_t n, uint32_t *group)
{
    size_t was = l->ids.n;
    if (!start || *group == NO_GROUP) return TACIT_OK;
    TRY(encoder_tokens(l->encoder, question, strlen(question), &l->ids));
    if (l->ids.n - was > l->plan->length) l->ids.n = was + l->plan->length;
    if (l->ids.n == was) *group = NO_GROUP;
    start[n + 1] = (uint32_t)l->ids.n;
    return TACIT_OK;
}

static enum tacit_err keep_tokens(struct loading *l, const uint32_t *start,
                                  const struct token_rows **out)
{
    struct token_rows *rows = NULL;
    uint32_t *token = NULL;
    TRY(arena_alloc(&l->d->arena, 1, sizeof *rows, &rows));
    TRY(arena_alloc(&l->d->arena, l->ids.n + 1, sizeof *token, &token));
    for (size_t i = 0; i < l->ids.n; i++) token[i] = (uint32_t)l->ids.id[i];
    *rows = (struct token_rows){.token = token, .start = start};
    *out = rows;
    return TACIT_OK;
}

/* Rows of one side into `out`. */
static enum tacit_err fill_side(struct loading *l, int held,
                                struct examples *out)
{
    float *x = NULL, *y = NULL;
    uint32_t *group = NULL, *start = NULL;
    const struct token_rows *text = NULL;
    size_t n = 0, most = 0;
    l->ids.n = 0;
    for (size_t i = 0; i < l->n_pairs; i++) most += l->pairs[i].held == held;
    TRY(arena_alloc(&l->d->arena, most * l->dim + 1, sizeof *x, &x));
    TRY(arena_alloc(&l->d->arena, most * l->dim + 1, sizeof *y, &y));
    TRY(arena_alloc(&l->d->arena, most + 1, sizeof *group, &group));
    if (plan_has_base(l->plan))
        TRY(arena_alloc(&l->d->arena, most + 1, sizeof *start, &start));
    for (size_t i = 0; i < l->n_pairs; i++) {
        if (l->pairs[i].held != held) continue;
        TRY(fill_row(l, &l->pairs[i], x + n * l->dim, y + n * l->dim,
                     &group[n]));
        TRY(take_tokens(l, l->pairs[i].question, start, n, &group[n]));
        if (group[n] == NO_GROUP)
            l->d->n_dropped++;
        else
            n++;
    }
    if (start) TRY(keep_tokens(l, start, &text));
    *out = (struct examples){.n_rows = n,
                             .x_dim = l->dim,
                             .x = x,
                             .p = y,
                             .row_group = group,
                             .text = text};
    return TACIT_OK;
}

/* ---- hard negatives ---- */

/* Passages as near to the answer as this say the same: they are no mistake. */
#define SAME 0.95f

/* The n nearest passages that do not answer row i; how many there are. */
static size_t nearest_others(const struct loading *l, const struct examples *ex,
                             size_t i, size_t n, uint32_t *out)
{
    int alone = l->plan->privacy.record;
    const float *q = ex->x + i * ex->x_dim, *p = ex->p + i * ex->x_dim;
    float score[32];
    size_t have = 0;
    for (size_t k = 0; k < ex->n_pool; k++) {
        const float *v = ex->pool + k * ex->x_dim;
        if (ex->pool_group[k] == ex->row_group[i]) continue;
        /* Under privacy no other row may reach into this one's gradient. */
        if (alone && !l->groups[ex->pool_group[k]].path) continue;
        float s = kernel_dot(q, v, ex->x_dim);
        if (have == n && s <= score[n - 1]) continue;
        if (kernel_dot(p, v, ex->x_dim) > SAME) continue;
        size_t at = have < n ? have++ : n - 1;
        for (; at > 0 && score[at - 1] < s; at--) {
            score[at] = score[at - 1];
            out[at] = out[at - 1];
        }
        score[at] = s;
        out[at] = (uint32_t)k;
    }
    /* A small pool: the same ones again. */
    for (size_t k = have; k < n; k++) out[k] = have ? out[k % have] : 0;
    return have;
}

static enum tacit_err find_hard(struct loading *l, struct examples *ex)
{
    size_t n = l->plan->hard_negatives;
    uint32_t *hard = NULL;
    if (!n || ex->n_pool < 2) return TACIT_OK;
    TRY(arena_alloc(&l->d->arena, ex->n_rows * n + 1, sizeof *hard, &hard));
    size_t least = n;
    for (size_t i = 0; i < ex->n_rows; i++) {
        size_t have = nearest_others(l, ex, i, n, hard + i * n);
        if (have < least) least = have;
    }
    if (!least && l->plan->privacy.record) return TACIT_OK;
    ex->hard = hard;
    ex->n_hard = n;
    return TACIT_OK;
}

/* The pool moves into the dataset's arena once it is complete. */
static enum tacit_err fill(struct loading *l)
{
    struct dataset *d = l->d;
    float *pool = NULL;
    uint32_t *group = NULL;
    TRY(fill_side(l, 0, &d->train));
    TRY(fill_side(l, 1, &d->test));
    TRY(arena_alloc(&d->arena, l->n_pool * l->dim + 1, sizeof *pool, &pool));
    TRY(arena_alloc(&d->arena, l->n_pool + 1, sizeof *group, &group));
    if (l->n_pool) {
        memcpy(pool, l->pool, l->n_pool * l->dim * sizeof *pool);
        memcpy(group, l->group, l->n_pool * sizeof *group);
    }
    struct examples *sides[] = {&d->train, &d->test};
    for (int i = 0; i < 2; i++) {
        sides[i]->pool = pool;
        sides[i]->n_pool = l->n_pool;
        sides[i]->pool_group = group;
    }
    TRY(find_hard(l, &d->train));
    if (d->train.n_rows) return TACIT_OK;
    return fail_as(E_NO_EXAMPLES,
                   "plan %s: no question-passage pair to train on (%zu held "
                   "out; %zu without a question, or of documents that are not "
                   "indexed here)",
                   l->plan->name, d->test.n_rows, d->n_dropped);
}

enum tacit_err pairs_load(const struct plan *plan, const char *csv_path,
                          struct db *db, struct corpus *corpus,
                          const struct encoder *encoder, struct dataset *out)
{
    struct dataset d = {0};
    struct arena text;
    struct loading l = {.plan = plan,
                        .csv_path = csv_path,
                        .encoder = encoder,
                        .dim = encoder_dim(encoder),
                        .d = &d};
    if (!plan_has_base(plan) && plan->dim != l.dim)
        return fail(TACIT_UNSUPPORTED,
                    "plan %s trains vectors of %u numbers; this device's "
                    "encoder makes %zu",
                    plan->name, plan->dim, l.dim);
    arena_init(&d.arena, 0);
    arena_init(&l.scratch, 0);
    arena_init(&text, 0);
    enum tacit_err err = csv_path ? take_csv(&l, &text) : TACIT_OK;
    if (!err) err = feedback_pairs(db, take_feedback, &l);
    if (!err) err = corpus_passages(corpus, take_passage, &l);
    if (!err) err = fill(&l);
    vocab_ids_release(&l.ids);
    free(l.pairs);
    free(l.groups);
    free(l.pool);
    free(l.group);
    arena_release(&text);
    arena_release(&l.scratch);
    if (err)
        dataset_release(&d);
    else
        *out = d;
    return err;
}
