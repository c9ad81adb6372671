/*
 * engine_sites: a retriever's adapter, trained by sites together or by one that
 * has all their rows; recall@5 of each site's held-out questions.
 *
 *   engine_sites together|alone|each|without PLAN BASE FOLDER
 *                                                       (for sites_table.py)
 *
 * A line of JSON for every site at the start and after every sixth of the
 * rounds: the place of each held-out question's answer among the site's own
 * passages, and among those of all sites. Alone, the one that has all rows
 * makes as many steps between these as half of the sites together, in batches
 * of the plan's size. A plan with privacy says what it cost. Under finetune the
 * last lines are of each site's own model; each: what these steps come to
 * without the others. Without: for every site, what the others make together.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/pool.h"
#include "common/model/model.h"
#include "common/task/task.h"
#include "sims/fleet.h"
#include "sims/sites.h"

struct bench {
    struct plan *plan;
    struct buf text;
    struct sites sites;
    struct examples all; /* the passages of all sites, numbered anew */
    uint32_t *first;     /* [sites] a site's first group of them */
    struct arena arena;
    struct model *model;
    size_t n_learn; /* sites that train: the first ones */
    size_t told;    /* the first site that lines are of */
    uint32_t every; /* rounds */
    uint32_t own_steps;
};

enum whose { SHARED, OWN };

static enum tacit_err say_places(struct bench *b, const struct examples *x,
                                 const char *name)
{
    float *place = malloc((x->n_rows + 1) * sizeof *place);
    if (!place) return fail(TACIT_NOMEM, "no memory");
    enum tacit_err err = model_predict(b->model, x, place);
    printf(", \"%s\": [", name);
    for (size_t k = 0; !err && k < x->n_rows; k++)
        printf("%s%.0f", k ? ", " : "", (double)place[k]);
    printf("]");
    free(place);
    return err;
}

static enum tacit_err say_among_all(struct bench *b, size_t i)
{
    struct examples x = b->sites.data[i].test;
    uint32_t *group = malloc((x.n_rows + 1) * sizeof *group);
    if (!group) return fail(TACIT_NOMEM, "no memory");
    for (size_t k = 0; k < x.n_rows; k++)
        group[k] = x.row_group[k] + b->first[i];
    x.row_group = group;
    x.pool = b->all.pool;
    x.pool_group = b->all.pool_group;
    x.n_pool = b->all.n_pool;
    enum tacit_err err = say_places(b, &x, "among_all");
    free(group);
    return err;
}

static enum tacit_err say_site(struct bench *b, size_t i, uint32_t round,
                               enum whose whose)
{
    const struct dataset *d = &b->sites.data[i];
    printf("{\"round\": %u, \"own\": %d, \"site\": \"%s\", \"n_train\": %zu",
           round, whose == OWN, b->sites.name[i], d->train.n_rows);
    TRY(say_places(b, &d->test, "place"));
    TRY(say_among_all(b, i));
    printf("}\n");
    return TACIT_OK;
}

static enum tacit_err say_round(struct bench *b, uint32_t round)
{
    for (size_t i = b->told; i < b->sites.n; i++)
        TRY(say_site(b, i, round, SHARED));
    fflush(stdout);
    return TACIT_OK;
}

static enum tacit_err say_privacy(const struct bench *b)
{
    const struct strategy *s;
    struct strategy_config numbers;
    struct ring_layout l;
    struct task_privacy v;
    const struct params *p = model_params(b->model);
    TRY(task_strategy(b->plan, p, &s, &numbers));
    task_layout(b->plan, s, p->n_flat, &l);
    TRY(task_privacy(b->plan, &l, &v));
    if (v.record)
        printf("{\"noise\": %.4f, \"epsilon\": %.4f, \"delta\": %g, "
               "\"weights\": %zu}\n",
               v.noise, v.epsilon, b->plan->privacy.delta, p->n_flat);
    return TACIT_OK;
}

/* What site i makes of its rows from where b->model stands, as a device does
 * under this plan (client/trainer.c). */
static enum tacit_err train_own(struct bench *b, size_t i, uint32_t round)
{
    const struct plan *p = b->plan;
    struct model_training how;
    struct examples rows = b->sites.data[i].train;
    task_training(p, &how);
    how.steps = b->own_steps;
    how.round = round;
    how.client = i;
    if (p->privacy.record) {
        rows.hard = NULL;
        rows.n_hard = 0;
    }
    return model_train(b->model, &how, &rows);
}

static enum tacit_err say_own(struct bench *b, uint32_t round)
{
    struct params *p = model_params(b->model);
    size_t bytes = p->n_flat * sizeof *p->flat;
    float *start = malloc(bytes);
    if (!start) return fail(TACIT_NOMEM, "no memory");
    memcpy(start, p->flat, bytes);
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < b->sites.n; i++) {
        memcpy(p->flat, start, bytes);
        err = train_own(b, i, round);
        if (!err) err = say_site(b, i, round, OWN);
    }
    free(start);
    return err;
}

static int has_own(const struct bench *b)
{
    return !b->told && strcmp(b->plan->strategy.kind, "finetune") == 0;
}

static enum tacit_err federated(struct bench *b)
{
    const struct fleet_config c = {.plan = b->plan,
                                   .plan_text = (const char *)b->text.data,
                                   .plan_bytes = b->text.len,
                                   .data = b->sites.data,
                                   .n_clients = b->n_learn};
    struct fleet *f = NULL;
    enum tacit_err err = fleet_new(&c, &f);
    if (!err) err = say_privacy(b);
    for (uint32_t i = 1; !err && i <= b->plan->rounds; i++) {
        struct fleet_round r;
        struct params *p = model_params(b->model);
        const float *w = model_params(fleet_model(f))->flat;
        int is_last = i == b->plan->rounds;
        /* A device's own model goes on from the one that its last round had. */
        if (is_last && has_own(b))
            memcpy(p->flat, w, p->n_flat * sizeof *p->flat);
        err = fleet_round(f, &r);
        if (!err && is_last && has_own(b)) err = say_own(b, i);
        if (err || (i % b->every && !is_last)) continue;
        w = model_params(fleet_model(f))->flat;
        memcpy(p->flat, w, p->n_flat * sizeof *p->flat);
        err = say_round(b, i);
    }
    fleet_free(f);
    return err;
}

static void swap(struct bench *b, size_t i, size_t j)
{
    struct dataset d = b->sites.data[i];
    char name[SITES_NAME_MAX];
    uint32_t first = b->first[i];
    memcpy(name, b->sites.name[i], sizeof name);
    memcpy(b->sites.name[i], b->sites.name[j], sizeof name);
    memcpy(b->sites.name[j], name, sizeof name);
    b->sites.data[i] = b->sites.data[j];
    b->sites.data[j] = d;
    b->first[i] = b->first[j];
    b->first[j] = first;
}

/* Each site in turn is the last, and the last is told of alone. */
static enum tacit_err without_each(struct bench *b)
{
    size_t last = b->sites.n - 1;
    enum tacit_err err = TACIT_OK;
    b->n_learn = b->told = last;
    b->every = b->plan->rounds;
    b->plan->cohort_size = b->plan->min_reports = (uint32_t)last;
    for (size_t i = 0; !err && i <= last; i++) {
        swap(b, i, last);
        err = federated(b);
        swap(b, i, last);
    }
    return err;
}

/* ---- all rows in one place ---------------------------------------------- */

/* What all sites have, one behind another. */
struct joined {
    struct examples ex;
    struct token_rows text;
    float *x, *p, *pool;
    uint32_t *hard, *token, *start;
};

static void count(const struct bench *b, struct joined *j, size_t *n_token)
{
    *n_token = 0;
    for (size_t i = 0; i < b->sites.n; i++) {
        const struct examples *x = &b->sites.data[i].train;
        j->ex.n_rows += x->n_rows;
        j->ex.n_pool += x->n_pool;
        if (x->text) *n_token += x->text->start[x->n_rows];
    }
    j->ex.x_dim = b->sites.data[0].train.x_dim;
    j->ex.n_hard = b->sites.data[0].train.n_hard;
}

static void add(struct joined *j, const struct examples *x, size_t n,
                size_t n_pool)
{
    size_t d = x->x_dim, h = x->n_hard;
    memcpy(j->x + n * d, x->x, x->n_rows * d * sizeof *j->x);
    memcpy(j->p + n * d, x->p, x->n_rows * d * sizeof *j->p);
    memcpy(j->pool + n_pool * d, x->pool, x->n_pool * d * sizeof *j->pool);
    for (size_t k = 0; k < x->n_rows * h; k++)
        j->hard[n * h + k] = x->hard[k] + (uint32_t)n_pool;
    if (!x->text) return;
    uint32_t at = j->start[n];
    memcpy(j->token + at, x->text->token,
           x->text->start[x->n_rows] * sizeof *j->token);
    for (size_t k = 0; k < x->n_rows; k++)
        j->start[n + k + 1] = at + x->text->start[k + 1];
}

static enum tacit_err join(const struct bench *b, struct arena *a,
                           struct joined *j)
{
    struct examples *ex = &j->ex;
    size_t n_token, n = 0, n_pool = 0;
    count(b, j, &n_token);
    size_t d = ex->x_dim;
    TRY(arena_alloc(a, ex->n_rows * d, sizeof *j->x, &j->x));
    TRY(arena_alloc(a, ex->n_rows * d, sizeof *j->p, &j->p));
    TRY(arena_alloc(a, ex->n_pool * d, sizeof *j->pool, &j->pool));
    TRY(arena_alloc(a, ex->n_rows * ex->n_hard + 1, sizeof *j->hard, &j->hard));
    TRY(arena_alloc(a, n_token + 1, sizeof *j->token, &j->token));
    TRY(arena_alloc(a, ex->n_rows + 1, sizeof *j->start, &j->start));
    for (size_t i = 0; i < b->sites.n; i++) {
        const struct examples *x = &b->sites.data[i].train;
        add(j, x, n, n_pool);
        n += x->n_rows;
        n_pool += x->n_pool;
    }
    j->text = (struct token_rows){.token = j->token, .start = j->start};
    ex->x = j->x;
    ex->p = j->p;
    ex->pool = j->pool;
    ex->hard = ex->n_hard ? j->hard : NULL;
    ex->text = n_token ? &j->text : NULL;
    return TACIT_OK;
}

static enum tacit_err centralised(struct bench *b)
{
    const struct plan *p = b->plan;
    struct arena a;
    struct joined all = {0};
    arena_init(&a, 0);
    enum tacit_err err = join(b, &a, &all);
    struct model_training how;
    task_training(p, &how);
    model_init(b->model, p->seed);
    for (uint32_t i = 0; !err && i < p->rounds; i += b->every) {
        uint32_t n = p->rounds - i < b->every ? p->rounds - i : b->every;
        how.steps = n * p->local_steps * (uint32_t)b->sites.n / 2;
        how.round = i;
        err = model_train(b->model, &how, &all.ex);
        if (!err) err = say_round(b, i + n);
    }
    arena_release(&a);
    return err;
}

/* ---- what is searched ---------------------------------------------------- */

static enum tacit_err gather_passages(struct bench *b)
{
    size_t n = 0, at = 0, d = b->sites.data[0].test.x_dim;
    uint32_t n_group = 0;
    float *pool;
    uint32_t *group;
    for (size_t i = 0; i < b->sites.n; i++) n += b->sites.data[i].test.n_pool;
    TRY(arena_alloc(&b->arena, n * d + 1, sizeof *pool, &pool));
    TRY(arena_alloc(&b->arena, n + 1, sizeof *group, &group));
    TRY(arena_alloc(&b->arena, b->sites.n + 1, sizeof *b->first, &b->first));
    for (size_t i = 0; i < b->sites.n; i++) {
        const struct examples *x = &b->sites.data[i].test;
        b->first[i] = n_group;
        memcpy(pool + at * d, x->pool, x->n_pool * d * sizeof *pool);
        for (size_t k = 0; k < x->n_pool; k++) {
            group[at] = x->pool_group[k] + b->first[i];
            if (group[at] >= n_group) n_group = group[at] + 1;
            at++;
        }
    }
    b->all = (struct examples){.pool = pool, .pool_group = group, .n_pool = n};
    return TACIT_OK;
}

static enum tacit_err run(struct bench *b, char **argv)
{
    struct model_spec spec;
    buf_init(&b->text, 0);
    arena_init(&b->arena, 0);
    TRY(file_read(argv[2], PLAN_BYTES_MAX, &b->text));
    TRY(plan_load(argv[2], &b->plan));
    b->plan->base.where = argv[3];
    TRY(sites_load(b->plan, argv[4], &b->sites));
    TRY(gather_passages(b));
    b->own_steps = b->plan->local_steps;
    /* A noisy sum knows nothing of them: one is as good in the rounds whose own
     * models are not measured. */
    if (b->plan->privacy.record) b->plan->local_steps = 1;
    b->every = b->plan->rounds > 6 ? b->plan->rounds / 6 : 1;
    task_spec(b->plan, &spec);
    TRY(model_new(&spec, &b->model));
    model_init(b->model, b->plan->seed);
    b->n_learn = b->sites.n;
    TRY(say_round(b, 0));
    if (strcmp(argv[1], "each") == 0) return say_own(b, b->plan->rounds);
    if (strcmp(argv[1], "without") == 0) return without_each(b);
    return strcmp(argv[1], "alone") == 0 ? centralised(b) : federated(b);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    if (argc != 5) {
        fprintf(stderr, "engine_sites together|alone|each|without PLAN BASE "
                        "FOLDER\n");
        return 4;
    }
    enum tacit_err err = run(&b, argv);
    if (err) fprintf(stderr, "engine_sites: %s\n", err_message());
    model_free(b.model);
    sites_release(&b.sites);
    arena_release(&b.arena);
    plan_free(b.plan);
    buf_release(&b.text);
    return err ? 1 : 0;
}
