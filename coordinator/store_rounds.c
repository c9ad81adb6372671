/* store: plans, rounds and models. */
#include <stdio.h>
#include <string.h>

#include "coordinator/store.h"
#include "coordinator/store_read.h"

/* ---- plans -------------------------------------------------------------- */

#define PLAN_COLUMNS                                                           \
 "SELECT hash, name, n_rounds, submitted_s,"                                   \
 " (SELECT max(version) FROM models WHERE plan = plans.hash) FROM plans "

static enum tacit_err plan_read(sqlite3_stmt *st, struct store_plan *p)
{
    memset(p, 0, sizeof *p);
    TRY(store_blob(st, 0, p->hash.b, DIGEST_BYTES));
    store_text(st, 1, p->name, sizeof p->name);
    p->n_rounds = (uint32_t)sqlite3_column_int64(st, 2);
    p->submitted_s = sqlite3_column_int64(st, 3);
    p->has_model = sqlite3_column_type(st, 4) != SQLITE_NULL;
    p->version = (uint32_t)sqlite3_column_int64(st, 4);
    return TACIT_OK;
}

enum tacit_err store_plan_add(struct store *s, const struct plan *plan,
                              int64_t now_s, int *again)
{
    TRY(db_run(&s->db,
               "INSERT OR IGNORE INTO plans(hash, name, n_rounds, submitted_s)"
               " VALUES(?, ?, ?, ?)",
               "bsii", plan->hash.b, (size_t)DIGEST_BYTES, plan->name,
               (int64_t)plan->rounds, now_s));
    *again = sqlite3_changes(s->db.sql) == 0;
    return TACIT_OK;
}

struct plan_visit {
    store_plan_fn *fn;
    void *ctx;
};

static enum tacit_err plan_row(void *ctx, sqlite3_stmt *st)
{
    struct plan_visit *v = ctx;
    struct store_plan p;
    TRY(plan_read(st, &p));
    return v->fn(v->ctx, &p);
}

enum tacit_err store_plans(struct store *s, store_plan_fn *fn, void *ctx)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st, PLAN_COLUMNS "ORDER BY seq", ""));
    return store_each(s, st, plan_row, &(struct plan_visit){fn, ctx});
}

enum tacit_err store_plan_find(struct store *s, const char *who,
                               struct store_plan *out)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    TRY(db_query(&s->db, &st,
                 PLAN_COLUMNS
                 "WHERE ?1 IS NULL OR name = ?1 OR (length(?1) >= 4 AND"
                 " substr(lower(hex(hash)), 1, length(?1)) = lower(?1))"
                 " ORDER BY seq DESC LIMIT 1",
                 "s", who));
    enum tacit_err err = db_step(&s->db, st, &has_row);
    if (err == TACIT_OK && !has_row)
        err = who ? fail(TACIT_NOTFOUND,
                         "no plan `%.64s`; `rounds` shows the plans", who)
                  : fail(TACIT_NOTFOUND,
                         "no plan was submitted yet; use `plan submit FILE`");
    if (err == TACIT_OK) err = plan_read(st, out);
    db_finish(st);
    return err;
}

/* ---- rounds ------------------------------------------------------------- */

/* The model a committed row made is its plan's version of that round. */
#define ROUND_COLUMNS                                                          \
 "SELECT n, rounds.plan, plans.name, plans.n_rounds, round, attempt,"          \
 " session, rounds.state, code, reason, started_s, duration_ms, n_invited,"    \
 " n_advertised, n_inputs, weight, m0, m1, m2, m3, m4, m5, m6, bytes_in,"      \
 " bytes_out, model, (SELECT parent FROM models WHERE models.plan ="           \
 " rounds.plan AND version = rounds.round AND rounds.model IS NOT NULL),"      \
 " part, base, ended FROM rounds JOIN plans ON plans.hash = rounds.plan "

static uint32_t column_u32(sqlite3_stmt *st, int col)
{
    return (uint32_t)sqlite3_column_int64(st, col);
}

static enum tacit_err round_read(sqlite3_stmt *st, struct store_round *r)
{
    memset(r, 0, sizeof *r);
    r->n = sqlite3_column_int64(st, 0);
    TRY(store_blob(st, 1, r->plan_hash.b, DIGEST_BYTES));
    store_text(st, 2, r->plan_name, sizeof r->plan_name);
    r->n_rounds = column_u32(st, 3);
    r->round = column_u32(st, 4);
    r->attempt = column_u32(st, 5);
    TRY(store_blob(st, 6, r->session, sizeof r->session));
    store_text(st, 7, r->state, sizeof r->state);
    r->code = column_u32(st, 8);
    store_text(st, 9, r->reason, sizeof r->reason);
    r->started_s = sqlite3_column_int64(st, 10);
    r->duration_ms = sqlite3_column_int64(st, 11);
    r->n_invited = column_u32(st, 12);
    r->n_advertised = column_u32(st, 13);
    r->n_inputs = column_u32(st, 14);
    r->weight = sqlite3_column_double(st, 15);
    for (int i = 0; i < TASK_METRICS; i++)
        r->metrics[i] = sqlite3_column_double(st, 16 + i);
    r->bytes_in = sqlite3_column_int64(st, 23);
    r->bytes_out = sqlite3_column_int64(st, 24);
    if (sqlite3_column_type(st, 25) != SQLITE_NULL)
        TRY(store_blob(st, 25, r->model_hash.b, DIGEST_BYTES));
    if (sqlite3_column_type(st, 26) != SQLITE_NULL)
        TRY(store_blob(st, 26, r->parent_hash.b, DIGEST_BYTES));
    r->group = column_u32(st, 27);
    r->base = column_u32(st, 28);
    r->ended = sqlite3_column_int64(st, 29);
    return TACIT_OK;
}

enum tacit_err store_attempts(struct store *s, const struct digest *plan,
                              uint32_t round, uint32_t *out)
{
    int64_t n = 0;
    TRY(db_int(&s->db, &n,
               "SELECT coalesce(max(attempt) + 1, 0) FROM rounds"
               " WHERE plan = ? AND round = ? AND state <> 'running'",
               "bi", plan->b, (size_t)DIGEST_BYTES, (int64_t)round));
    *out = (uint32_t)n;
    return TACIT_OK;
}

enum tacit_err store_round_begin(struct store *s, struct store_round *r)
{
    TRY(db_run(&s->db,
               "INSERT INTO rounds(plan, round, attempt, session, state,"
               " started_s, part, base) VALUES(?, ?, ?, ?, 'running', ?, ?, ?)",
               "biibiii", r->plan_hash.b, (size_t)DIGEST_BYTES,
               (int64_t)r->round, (int64_t)r->attempt, r->session,
               sizeof r->session, r->started_s, (int64_t)r->group,
               (int64_t)r->base));
    r->n = sqlite3_last_insert_rowid(s->db.sql);
    return TACIT_OK;
}

enum tacit_err store_sums_begin(struct store *s,
                                struct store_round *const *list, size_t n)
{
    TRY(db_begin(&s->db));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; err == TACIT_OK && i < n; i++)
        err = store_round_begin(s, list[i]);
    if (err == TACIT_OK) err = db_commit(&s->db);
    if (err != TACIT_OK) db_rollback(&s->db);
    return err;
}

static enum tacit_err model_write(struct store *s,
                                  const struct models_version *v)
{
    return db_run(&s->db, "INSERT INTO models VALUES(?,?,?,?,?,?,?,?,?,?,?)",
                  "biibbiiibbb", v->plan_hash.b, (size_t)DIGEST_BYTES,
                  (int64_t)v->version, (int64_t)v->round, v->model_hash.b,
                  (size_t)DIGEST_BYTES, v->parent_hash.b, (size_t)DIGEST_BYTES,
                  (int64_t)v->bytes, (int64_t)v->n_clients, v->created_s,
                  v->session, sizeof v->session, v->signature,
                  sizeof v->signature, v->state_hash.b, (size_t)DIGEST_BYTES);
}

static enum tacit_err sum_end_write(struct store *s,
                                    const struct store_round *r,
                                    const struct models_version *v)
{
    return db_run(
        &s->db,
        "UPDATE rounds SET state = ?, round = ?, code = ?, reason = ?,"
        " duration_ms = ?, n_invited = ?, n_advertised = ?,"
        " n_inputs = ?, weight = ?, m0 = ?, m1 = ?, m2 = ?, m3 = ?, m4 = ?,"
        " m5 = ?, m6 = ?, bytes_in = ?, bytes_out = ?, model = nullif(?, x''),"
        " ended = (SELECT max(ended) + 1 FROM rounds) WHERE n = ?",
        "siisiiiiddddddddiibi", r->state, (int64_t)r->round, (int64_t)r->code,
        r->reason, r->duration_ms, (int64_t)r->n_invited,
        (int64_t)r->n_advertised, (int64_t)r->n_inputs, r->weight,
        r->metrics[0], r->metrics[1], r->metrics[2], r->metrics[3],
        r->metrics[4], r->metrics[5], r->metrics[6], r->bytes_in, r->bytes_out,
        v ? v->model_hash.b : NULL, v ? (size_t)DIGEST_BYTES : 0, r->n);
}

enum tacit_err store_sums_end(struct store *s, const struct store_round *list,
                              size_t n, const struct models_version *v)
{
    TRY(db_begin(&s->db));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; err == TACIT_OK && i < n; i++)
        err = sum_end_write(s, &list[i], v);
    if (err == TACIT_OK && v) err = model_write(s, v);
    if (err == TACIT_OK) err = db_commit(&s->db);
    if (err != TACIT_OK) db_rollback(&s->db);
    return err;
}

enum tacit_err store_round_end(struct store *s, const struct store_round *r,
                               const struct models_version *v)
{
    return store_sums_end(s, r, 1, v);
}

enum tacit_err store_rounds_abort(struct store *s, unsigned code,
                                  const char *reason, int *n)
{
    TRY(db_run(&s->db,
               "UPDATE rounds SET state = 'aborted', code = ?, reason = ?,"
               " ended = (SELECT max(ended) + 1 FROM rounds)"
               " WHERE state = 'running'",
               "is", (int64_t)code, reason));
    *n = sqlite3_changes(s->db.sql);
    return TACIT_OK;
}

enum tacit_err store_round_by_session(struct store *s,
                                      const uint8_t session[32],
                                      struct store_round *out)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    TRY(db_query(&s->db, &st, ROUND_COLUMNS "WHERE session = ?", "b", session,
                 (size_t)32));
    enum tacit_err err = db_step(&s->db, st, &has_row);
    if (err == TACIT_OK && !has_row)
        err = fail(TACIT_NOTFOUND, "no round of that session");
    if (err == TACIT_OK) err = round_read(st, out);
    db_finish(st);
    return err;
}

struct round_visit {
    store_round_fn *fn;
    void *ctx;
};

static enum tacit_err round_row(void *ctx, sqlite3_stmt *st)
{
    struct round_visit *v = ctx;
    struct store_round r;
    TRY(round_read(st, &r));
    return v->fn(v->ctx, &r);
}

enum tacit_err store_rounds(struct store *s, const struct digest *plan,
                            store_round_fn *fn, void *ctx)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st,
                 ROUND_COLUMNS
                 "WHERE length(?1) = 0 OR rounds.plan = ?1 ORDER BY n",
                 "b", plan ? plan->b : NULL, plan ? (size_t)DIGEST_BYTES : 0));
    return store_each(s, st, round_row, &(struct round_visit){fn, ctx});
}

enum tacit_err store_rounds_ended(struct store *s, int64_t after,
                                  store_round_fn *fn, void *ctx)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st, ROUND_COLUMNS "WHERE ended > ? ORDER BY ended, n",
                 "i", after));
    return store_each(s, st, round_row, &(struct round_visit){fn, ctx});
}

/* ---- models ------------------------------------------------------------- */

#define MODEL_COLUMNS                                                          \
 "SELECT plan, version, round, models.hash, parent, bytes, n_clients,"         \
 " created_s, session, signature, models.state FROM models "

static enum tacit_err model_read(sqlite3_stmt *st, struct models_version *v)
{
    memset(v, 0, sizeof *v);
    TRY(store_blob(st, 0, v->plan_hash.b, DIGEST_BYTES));
    v->version = column_u32(st, 1);
    v->round = column_u32(st, 2);
    TRY(store_blob(st, 3, v->model_hash.b, DIGEST_BYTES));
    TRY(store_blob(st, 4, v->parent_hash.b, DIGEST_BYTES));
    v->bytes = (uint64_t)sqlite3_column_int64(st, 5);
    v->n_clients = column_u32(st, 6);
    v->created_s = sqlite3_column_int64(st, 7);
    TRY(store_blob(st, 8, v->session, sizeof v->session));
    if (sqlite3_column_type(st, 10) != SQLITE_NULL)
        TRY(store_blob(st, 10, v->state_hash.b, DIGEST_BYTES));
    return store_blob(st, 9, v->signature, sizeof v->signature);
}

enum tacit_err store_model_add(struct store *s, const struct models_version *v)
{
    return model_write(s, v);
}

static enum tacit_err model_one(struct store *s, sqlite3_stmt *st,
                                struct models_version *out)
{
    int has_row = 0;
    enum tacit_err err = db_step(&s->db, st, &has_row);
    if (err == TACIT_OK && !has_row)
        err = fail(TACIT_NOTFOUND,
                   "there is no such model yet; `models` lists the committed "
                   "ones");
    if (err == TACIT_OK) err = model_read(st, out);
    db_finish(st);
    return err;
}

enum tacit_err store_model_find(struct store *s, const struct digest *plan,
                                int64_t version, struct models_version *out)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st,
                 MODEL_COLUMNS "WHERE plan = ?1 AND (?2 < 0 OR version = ?2)"
                               " ORDER BY version DESC LIMIT 1",
                 "bi", plan->b, (size_t)DIGEST_BYTES, version));
    return model_one(s, st, out);
}

enum tacit_err store_model_by_session(struct store *s,
                                      const uint8_t session[32],
                                      struct models_version *out)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st, MODEL_COLUMNS "WHERE session = ?", "b", session,
                 (size_t)32));
    return model_one(s, st, out);
}

struct model_visit {
    store_model_fn *fn;
    void *ctx;
};

static enum tacit_err model_row(void *ctx, sqlite3_stmt *st)
{
    struct model_visit *v = ctx;
    struct models_version m;
    TRY(model_read(st, &m));
    return v->fn(v->ctx, &m);
}

enum tacit_err store_models(struct store *s, const struct digest *plan,
                            store_model_fn *fn, void *ctx)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(
        &s->db, &st,
        MODEL_COLUMNS
        "JOIN plans ON plans.hash = models.plan"
        " WHERE length(?1) = 0 OR models.plan = ?1 ORDER BY seq, version",
        "b", plan ? plan->b : NULL, plan ? (size_t)DIGEST_BYTES : 0));
    return store_each(s, st, model_row, &(struct model_visit){fn, ctx});
}
