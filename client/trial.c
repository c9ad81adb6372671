#include "client/trial.h"

#include <math.h>
#include <string.h>

#include "common/task/task.h"

const char *const trial_migrations[TRIAL_N_MIGRATIONS] = {
    "CREATE TABLE trial("
    " plan_hash BLOB PRIMARY KEY, version INTEGER NOT NULL,"
    " n_rows INTEGER NOT NULL, untrained INTEGER NOT NULL,"
    " shared INTEGER NOT NULL, own INTEGER NOT NULL) STRICT;"};

static enum tacit_err hits(struct model *m, const struct examples *rows,
                           int64_t *out)
{
    struct model_metrics got;
    TRY(model_evaluate(m, rows, &got));
    *out = llround(got.metric_sum);
    return TACIT_OK;
}

static enum tacit_err try_each(struct device *d, const struct plan *plan,
                               struct model *m, const struct examples *rows,
                               struct trial *t)
{
    int has = 0;
    model_init(m, plan->seed);
    TRY(hits(m, rows, &t->hits[TRIAL_UNTRAINED]));
    TRY(device_weights(d, &plan->hash, model_params(m)));
    TRY(hits(m, rows, &t->hits[TRIAL_SHARED]));
    TRY(device_own(d, &plan->hash, model_params(m), &has));
    t->hits[TRIAL_OWN] = -1;
    return has ? hits(m, rows, &t->hits[TRIAL_OWN]) : TACIT_OK;
}

static enum tacit_err write_trial(struct device *d, const struct digest *hash,
                                  const struct trial *t)
{
    struct participate_known k;
    TRY(device_known(d, hash, &k));
    return db_run(&d->db,
                  "INSERT OR REPLACE INTO trial VALUES(?, ?, ?, ?, ?, ?)",
                  "biiiii", (const void *)hash->b, (size_t)DIGEST_BYTES,
                  (int64_t)k.version, t->n_rows, t->hits[TRIAL_UNTRAINED],
                  t->hits[TRIAL_SHARED], t->hits[TRIAL_OWN]);
}

enum tacit_err trial_hold(struct device *d, const struct plan *plan,
                          const struct examples *rows)
{
    struct trial t = {.n_rows = (int64_t)rows->n_rows};
    struct model_spec spec;
    struct model *m = NULL;
    if (plan->task != PLAN_RETRIEVER || plan_has_base(plan) || !t.n_rows)
        return TACIT_OK;
    task_spec(plan, &spec);
    TRY(model_new(&spec, &m));
    enum tacit_err err = try_each(d, plan, m, rows, &t);
    if (!err) err = write_trial(d, &plan->hash, &t);
    model_free(m);
    return err;
}

enum tacit_err trial_find(struct device *d, const struct digest *plan_hash,
                          struct trial *out)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    memset(out, 0, sizeof *out);
    TRY(db_query(&d->db, &st,
                 "SELECT n_rows, untrained, shared, own FROM trial"
                 " JOIN adopted USING(plan_hash, version) WHERE plan_hash = ?",
                 "b", (const void *)plan_hash->b, (size_t)DIGEST_BYTES));
    enum tacit_err err = db_step(&d->db, st, &has);
    if (!err && has) {
        out->n_rows = sqlite3_column_int64(st, 0);
        for (int i = 0; i < TRIAL_CHOICES; i++)
            out->hits[i] = sqlite3_column_int64(st, 1 + i);
    }
    db_finish(st);
    return err;
}

enum trial_choice trial_choose(const struct trial *t)
{
    enum trial_choice best = TRIAL_OWN;
    if (t->n_rows == 0) return best;
    for (enum trial_choice c = TRIAL_OWN; c-- > TRIAL_UNTRAINED;)
        if (t->hits[c] > t->hits[best]) best = c;
    return best;
}

const char *trial_name(enum trial_choice c)
{
    static const char *const name[TRIAL_CHOICES] = {"untrained", "shared",
                                                    "own"};
    return name[c];
}
