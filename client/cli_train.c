/* tacit train: learn on this device alone, and measure what the federation's
 * model gives beside it. Nothing leaves. */
#include <math.h>
#include <string.h>

#include "client/cli.h"
#include "client/local.h"
#include "client/networks.h"
#include "client/trainer.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"
#include "common/base/pool.h"
#include "common/model/safetensors.h"
#include "common/task/task.h"

struct job {
    const struct options *o;
    struct device d;
    struct plan *plan;
    struct policy policy;
    struct local *local;
    const struct dataset *data;
    struct model *model;
    struct pool *pool;           /* of a network's products */
    const struct examples *rows; /* what is measured on: held out, else train */
    struct model_metrics initial, alone, federated;
    int trained, has_federated;
    uint64_t memory_bytes; /* that training takes at most; 0: not counted */
    uint32_t version;
};

static const char *metric_name(const struct plan *p)
{
    switch (p->task) {
    case PLAN_REGRESS: return "rmse";
    case PLAN_RETRIEVER: return "recall_at_5";
    case PLAN_READER: return "exact_spans";
    default: return "accuracy";
    }
}

/* --data FILE stands in for the policy's line. */
static enum tacit_err find_data(struct job *j)
{
    const char *file = options_value(j->o, "data");
    struct policy_source *s = &j->policy.sources[0];
    TRY(device_policy(&j->d, &j->policy));
    if (!file) return TACIT_OK;
    j->policy.n_sources = 1;
    snprintf(s->name, sizeof s->name, "%s", j->plan->source);
    return cli_full_path(file, s->path, sizeof s->path);
}

/* Said before the first pass, which a large network takes long for. */
static enum tacit_err count_memory(struct job *j)
{
    uint32_t bound = policy_memory_mib(&j->policy, j->plan);
    char of[48] = "";
    TRY(trainer_fits(j->plan, j->model, &j->data->train, &j->memory_bytes));
    if (bound) snprintf(of, sizeof of, " of the %u that it may", bound);
    if (j->memory_bytes)
        cli_hint(j->o, "Training takes at most %.0f MiB of memory%s.",
                 (double)j->memory_bytes / (1 << 20), of);
    return TACIT_OK;
}

static enum tacit_err load_parts(struct job *j)
{
    struct model_spec spec;
    TRY(find_data(j));
    TRY(local_new(&j->d, &j->local));
    TRY(local_dataset(j->local, j->plan, &j->policy, &j->data));
    task_spec(j->plan, &spec);
    TRY(model_new(&spec, &j->model));
    model_bound(j->model, (uint64_t)policy_memory_mib(&j->policy, j->plan)
                              << 20);
    model_init(j->model, j->plan->seed);
    if (plan_has_base(j->plan)) TRY(pool_new(&j->pool, 0));
    model_use_pool(j->model, j->pool);
    j->rows = j->data->test.n_rows ? &j->data->test : &j->data->train;
    if (!options_flag(j->o, "eval")) TRY(count_memory(j));
    return model_evaluate(j->model, j->rows, &j->initial);
}

static enum tacit_err load(struct job *j)
{
    TRY(plan_load(options_value(j->o, "plan"), &j->plan));
    struct plan_base *base = &j->plan->base;
    base->where = j->d.blobs;
    return networks_explain_missing(&j->d, base->name, &base->hash,
                                    load_parts(j));
}

static int is_interrupted(const void *of)
{
    (void)of;
    return cli_interrupted();
}

/* As many steps as the federation makes, all on this site's rows. */
static enum tacit_err train_alone(struct job *j)
{
    const struct plan *p = j->plan;
    struct progress progress;
    struct model_training how;
    task_training(p, &how);
    how.steps = trainer_steps(p, j->data->train.n_rows, 1);
    how.client = le64_load(j->d.keys.id);
    how.stopped = is_interrupted;
    progress_begin(&progress, cli_progress(j->o), "training", "rounds",
                   p->rounds);
    enum tacit_err err = TACIT_OK;
    for (uint32_t r = 1; !err && r <= p->rounds; r++) {
        how.round = r;
        if (cli_interrupted())
            err = fail_as(E_INTERRUPTED, "stopped in round %u of %u", r,
                          p->rounds);
        if (!err) err = model_train(j->model, &how, &j->data->train);
        progress_update(&progress, r, NULL);
    }
    progress_end(&progress);
    if (!err) err = model_evaluate(j->model, j->rows, &j->alone);
    if (!err) j->trained = 1;
    return err;
}

static enum tacit_err save(struct job *j, const char *path)
{
    const char *const metadata[] = {"tacit.plan", j->plan->name,
                                    "tacit.trained", "on one device", NULL};
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err =
        safetensors_encode(model_weights(j->model), metadata, &b);
    if (!err) err = file_write(path, b.data, b.len, 0600);
    buf_release(&b);
    return err;
}

static enum tacit_err measure_federated(struct job *j)
{
    struct participate_known k;
    TRY(device_known(&j->d, &j->plan->hash, &k));
    if (k.version == 0) return TACIT_OK;
    TRY(device_weights(&j->d, &j->plan->hash, model_params(j->model)));
    TRY(model_evaluate(j->model, j->rows, &j->federated));
    j->version = k.version;
    j->has_federated = 1;
    return TACIT_OK;
}

static json_t *metrics_json(const struct model_metrics *m)
{
    return json_pack("{s:f, s:f, s:I}", "loss", m->loss, "metric", m->metric,
                     "rows", (json_int_t)m->n_rows);
}

static enum tacit_err print_json(const struct job *j)
{
    json_t *data =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "plan", j->plan->name,
                  "metric", metric_name(j->plan), "measured_on",
                  j->data->test.n_rows ? "held-out rows" : "training rows",
                  "n_train", (json_int_t)j->data->train.n_rows, "n_test",
                  (json_int_t)j->data->test.n_rows, "n_dropped",
                  (json_int_t)j->data->n_dropped, "initial",
                  metrics_json(&j->initial));
    if (j->trained) json_object_set_new(data, "local", metrics_json(&j->alone));
    if (j->memory_bytes)
        json_object_set_new(data, "memory_bytes",
                            json_integer((json_int_t)j->memory_bytes));
    if (j->has_federated) {
        json_t *f = metrics_json(&j->federated);
        json_object_set_new(f, "version", json_integer(j->version));
        json_object_set_new(data, "federated", f);
    }
    return json_print_ok(stdout, data);
}

static enum tacit_err print(const struct job *j)
{
    char name[64];
    if (cli_json(j->o)) return print_json(j);
    printf("plan %s: %zu row%s to train on, %zu held out, %zu left out\n",
           j->plan->name, j->data->train.n_rows,
           plural_s(j->data->train.n_rows), j->data->test.n_rows,
           j->data->n_dropped);
    printf("%-24s %12s %10s   (on %s rows)\n", "MODEL", metric_name(j->plan),
           "loss", j->data->test.n_rows ? "the held-out" : "its own training");
    printf("%-24s %12.3f %10.4f\n", "untrained", j->initial.metric,
           j->initial.loss);
    if (j->trained)
        printf("%-24s %12.3f %10.4f\n", "this device alone", j->alone.metric,
               j->alone.loss);
    if (j->has_federated) {
        snprintf(name, sizeof name, "federated, version %u", j->version);
        printf("%-24s %12.3f %10.4f\n", name, j->federated.metric,
               j->federated.loss);
    }
    return TACIT_OK;
}

static enum tacit_err run(struct job *j)
{
    const char *output = options_value(j->o, "output");
    TRY(load(j));
    if (!options_flag(j->o, "eval")) {
        TRY(train_alone(j));
        if (output) TRY(save(j, output));
    }
    TRY(measure_federated(j));
    return print(j);
}

enum tacit_err cli_train(const struct options *o)
{
    struct job j = {.o = o};
    if (!options_value(o, "plan"))
        return fail_as(E_USAGE, "train needs --plan FILE");
    cli_catch_interrupt();
    TRY(cli_open(o, &j.d));
    enum tacit_err err = run(&j);
    model_free(j.model);
    pool_free(j.pool);
    local_free(j.local);
    plan_free(j.plan);
    device_close(&j.d);
    return err;
}
