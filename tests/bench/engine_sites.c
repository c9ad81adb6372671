/*
 * engine_sites: a retriever's adapter, trained by sites together or by one that
 * has all their rows; recall@5 of each site's held-out questions.
 *
 *   engine_sites together|alone PLAN BASE FOLDER   (sites_table.py calls it)
 *
 * A line of JSON for each site, and one for every sixth of the rounds. Alone,
 * the one that has all rows makes half the steps of all sites together, in
 * batches of the plan's size. A plan with privacy says what it cost.
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
    struct model *model;
    double *base, *trained; /* [sites] */
};

static enum tacit_err measure(struct bench *b, double *out, double *mean)
{
    double sum = 0;
    for (size_t i = 0; i < b->sites.n; i++) {
        struct model_metrics m;
        TRY(model_evaluate(b->model, &b->sites.data[i].test, &m));
        out[i] = m.metric;
        sum += m.metric;
    }
    *mean = sum / (double)b->sites.n;
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

static enum tacit_err federated(struct bench *b)
{
    const struct fleet_config c = {.plan = b->plan,
                                   .plan_text = (const char *)b->text.data,
                                   .plan_bytes = b->text.len,
                                   .data = b->sites.data,
                                   .n_clients = b->sites.n};
    struct fleet *f = NULL;
    uint32_t each = b->plan->rounds > 6 ? b->plan->rounds / 6 : 1;
    enum tacit_err err = fleet_new(&c, &f);
    if (!err) err = say_privacy(b);
    for (uint32_t i = 1; !err && i <= b->plan->rounds; i++) {
        struct fleet_round r;
        struct params *p = model_params(b->model);
        double mean;
        err = fleet_round(f, &r);
        if (err || (i % each && i != b->plan->rounds)) continue;
        memcpy(p->flat, model_params(fleet_model(f))->flat,
               p->n_flat * sizeof *p->flat);
        err = measure(b, b->trained, &mean);
        printf("{\"round\": %u, \"mean\": %.4f, \"loss\": %.4f}\n", i, mean,
               r.loss_after);
        fflush(stdout);
    }
    fleet_free(f);
    return err;
}

/* ---- all rows in one place ---------------------------------------------- */

static void join(const struct bench *b, struct arena *a, struct examples *out,
                 struct token_rows *rows)
{
    size_t n = 0, n_token = 0, n_pool = 0, d = b->sites.data[0].train.x_dim;
    size_t h = b->sites.data[0].train.text->n_hard;
    for (size_t i = 0; i < b->sites.n; i++) {
        const struct examples *x = &b->sites.data[i].train;
        n += x->n_rows;
        n_token += x->text->start[x->n_rows];
        n_pool += x->n_pool;
    }
    float *p = NULL, *pool = NULL;
    uint32_t *token = NULL, *start = NULL, *hard = NULL;
    if (arena_alloc(a, n * d, sizeof *p, &p) ||
        arena_alloc(a, n_pool * d, sizeof *pool, &pool) ||
        arena_alloc(a, n_token, sizeof *token, &token) ||
        arena_alloc(a, n + 1, sizeof *start, &start) ||
        arena_alloc(a, n * h + 1, sizeof *hard, &hard))
        abort();
    n = n_token = n_pool = 0;
    for (size_t i = 0; i < b->sites.n; i++) {
        const struct examples *x = &b->sites.data[i].train;
        memcpy(p + n * d, x->p, x->n_rows * d * sizeof *p);
        memcpy(pool + n_pool * d, x->pool, x->n_pool * d * sizeof *pool);
        memcpy(token + n_token, x->text->token,
               x->text->start[x->n_rows] * sizeof *token);
        for (size_t k = 0; k < x->n_rows * h; k++)
            hard[n * h + k] = x->hard[k] + (uint32_t)n_pool;
        for (size_t k = 0; k < x->n_rows; k++)
            start[n + k + 1] = (uint32_t)n_token + x->text->start[k + 1];
        n += x->n_rows;
        n_pool += x->n_pool;
        n_token += x->text->start[x->n_rows];
    }
    *rows = (struct token_rows){.token = token, .start = start};
    *out = (struct examples){.n_rows = n,
                             .x_dim = d,
                             .p = p,
                             .pool = pool,
                             .n_pool = n_pool,
                             .text = rows,
                             .hard = h ? hard : NULL,
                             .n_hard = h};
}

static enum tacit_err centralised(struct bench *b)
{
    const struct plan *p = b->plan;
    struct arena a;
    struct examples all;
    struct token_rows rows;
    double mean;
    arena_init(&a, 0);
    join(b, &a, &all, &rows);
    const struct model_training how = {.optimizer = p->optimizer,
                                       .steps = p->local_steps * p->rounds *
                                                (uint32_t)b->sites.n / 2,
                                       .batch = p->batch,
                                       .learning_rate = p->learning_rate,
                                       .seed = p->seed};
    model_init(b->model, p->seed);
    enum tacit_err err = model_train(b->model, &how, &all);
    if (!err) err = measure(b, b->trained, &mean);
    arena_release(&a);
    return err;
}

static enum tacit_err run(struct bench *b, char **argv)
{
    struct model_spec spec;
    double mean;
    buf_init(&b->text, 0);
    TRY(file_read(argv[2], PLAN_BYTES_MAX, &b->text));
    TRY(plan_load(argv[2], &b->plan));
    b->plan->base.where = argv[3];
    TRY(sites_load(b->plan, argv[4], &b->sites));
    b->base = calloc(2 * b->sites.n, sizeof *b->base);
    if (!b->base) return fail(TACIT_NOMEM, "no memory");
    b->trained = b->base + b->sites.n;
    task_spec(b->plan, &spec);
    TRY(model_new(&spec, &b->model));
    TRY(measure(b, b->base, &mean));
    printf("{\"round\": 0, \"mean\": %.4f, \"loss\": 0}\n", mean);
    fflush(stdout);
    TRY(strcmp(argv[1], "alone") == 0 ? centralised(b) : federated(b));
    for (size_t i = 0; i < b->sites.n; i++)
        printf("{\"site\": \"%s\", \"n_train\": %zu, \"n_test\": %zu, "
               "\"base\": %.4f, \"trained\": %.4f}\n",
               b->sites.name[i], b->sites.data[i].train.n_rows,
               b->sites.data[i].test.n_rows, b->base[i], b->trained[i]);
    return TACIT_OK;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    if (argc != 5) {
        fprintf(stderr, "engine_sites together|alone PLAN BASE FOLDER\n");
        return 4;
    }
    enum tacit_err err = run(&b, argv);
    if (err) fprintf(stderr, "engine_sites: %s\n", err_message());
    model_free(b.model);
    sites_release(&b.sites);
    plan_free(b.plan);
    buf_release(&b.text);
    free(b.base);
    return err ? 1 : 0;
}
