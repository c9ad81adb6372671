/*
 * engine_cross: a cross-encoder trained from an encoder, in one place.
 *
 *   engine_cross PLAN BASE CSV OUT      (cross_table.py calls it)
 *
 * PLAN is one with `task: classify` over a base, CSV its labelled pairs. Trains
 * plan.rounds times plan.local.steps steps, the learning rate falling in a
 * straight line. After each round a line of JSON is printed, and the network
 * with its head stands in OUT, as GGUF.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/adapters.h"
#include "client/token_sets.h"
#include "common/base/pool.h"
#include "common/model/repack.h"
#include "common/task/task.h"

struct bench {
    struct adapter_found found; /* what is merged */
    struct dataset data;
    struct pool *pool;
};

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static enum tacit_err train_round(struct bench *b, uint32_t round)
{
    const struct plan *p = b->found.plan;
    double losses[2], left = 1 - (double)round / p->rounds;
    struct model_metrics held = {0};
    struct model_training how;
    task_training(p, &how);
    how.steps = p->local_steps;
    how.learning_rate *= left;
    how.round = round;
    how.out_losses = losses;
    TRY(model_train(b->found.model, &how, &b->data.train));
    if (b->data.test.n_rows && round + 1 == p->rounds)
        TRY(model_evaluate(b->found.model, &b->data.test, &held));
    printf("{\"round\": %u, \"loss\": %.4f, \"cpu_s\": %.0f}\n", round + 1,
           losses[1], cpu_s());
    if (held.n_rows)
        printf("{\"held_loss\": %.4f, \"held_accuracy\": %.4f}\n", held.loss,
               held.metric);
    fflush(stdout);
    return TACIT_OK;
}

static enum tacit_err run(struct bench *b, char **argv)
{
    struct adapter_found *a = &b->found;
    TRY(plan_load(argv[1], &a->plan));
    a->plan->base.where = argv[2];
    a->version = a->plan->rounds;
    TRY(token_sets_load(a->plan, argv[3], &b->data));
    task_spec(a->plan, &a->spec);
    TRY(model_new(&a->spec, &a->model));
    model_init(a->model, a->plan->seed);
    TRY(pool_new(&b->pool, 0));
    model_use_pool(a->model, b->pool);
    printf("{\"train\": %zu, \"held_out\": %zu, \"left_out\": %zu}\n",
           b->data.train.n_rows, b->data.test.n_rows, b->data.n_dropped);
    fflush(stdout);
    for (uint32_t i = 0; i < a->plan->rounds; i++) {
        TRY(train_round(b, i));
        unlink(argv[4]);
        TRY(adapters_merge(a, argv[4],
                           &(struct net_write){.type = REPACK_KEEP}));
    }
    return TACIT_OK;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    if (argc != 5) {
        fprintf(stderr, "engine_cross PLAN BASE CSV OUT\n");
        return 4;
    }
    enum tacit_err err = run(&b, argv);
    if (err) fprintf(stderr, "engine_cross: %s\n", err_message());
    dataset_release(&b.data);
    adapters_release(&b.found);
    pool_free(b.pool);
    return err ? 1 : 0;
}
