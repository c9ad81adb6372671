#include "sims/outputs_sqlite.h"

#include "common/base/buf.h"
#include "common/base/db.h"

static const char runs_table[] =
    "CREATE TABLE runs (run INTEGER PRIMARY KEY, plan TEXT NOT NULL, "
    "plan_hash TEXT NOT NULL, seed INTEGER NOT NULL, task TEXT NOT NULL, "
    "strategy TEXT NOT NULL, metric TEXT NOT NULL, state TEXT NOT NULL, "
    "clients INTEGER NOT NULL, rounds INTEGER NOT NULL, "
    "rounds_planned INTEGER NOT NULL, started TEXT NOT NULL, "
    "ended TEXT NOT NULL, data TEXT NOT NULL, error TEXT NOT NULL, "
    "plan_text TEXT NOT NULL) STRICT";

static enum tacit_err make_tables(struct db *db)
{
    struct buf sql;
    const struct runlog_column *c;
    buf_init(&sql, 0);
    buf_printf(&sql, "CREATE TABLE rounds (run INTEGER NOT NULL "
                     "REFERENCES runs(run)");
    for (size_t i = 0; (c = runlog_column_at(i)); i++)
        buf_printf(&sql, ", %s %s%s", c->name,
                   c->is_integer ? "INTEGER" : "REAL", i ? "" : " NOT NULL");
    buf_printf(&sql, ", PRIMARY KEY (run, round)) STRICT, WITHOUT ROWID");
    enum tacit_err err = buf_end(&sql);
    if (!err) err = db_exec(db, runs_table);
    if (!err) err = db_exec(db, buf_cstr(&sql));
    buf_release(&sql);
    return err;
}

static enum tacit_err put_run(struct db *db, const struct runlog *r)
{
    return db_run(db,
                  "INSERT INTO runs VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                  "?, ?, ?, ?, ?)",
                  "ssissssiiisssss", r->plan, r->plan_hash, (int64_t)r->seed,
                  r->task, r->strategy, r->metric, runlog_state_name(r->state),
                  (int64_t)r->n_clients, (int64_t)r->n_rounds,
                  (int64_t)r->n_planned, r->started, r->ended, r->data,
                  r->error, r->plan_text);
}

static int bind_round(sqlite3_stmt *st, const struct fleet_round *r)
{
    const struct runlog_column *c;
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && (c = runlog_column_at(i)); i++) {
        double v;
        int at = (int)i + 1;
        if (!runlog_value(r, i, &v))
            rc = sqlite3_bind_null(st, at);
        else if (c->is_integer)
            rc = sqlite3_bind_int64(st, at, (int64_t)v);
        else
            rc = sqlite3_bind_double(st, at, v);
    }
    return rc;
}

static enum tacit_err put_rounds(struct db *db, const struct runlog *r)
{
    struct buf sql;
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    buf_init(&sql, 0);
    buf_printf(&sql, "INSERT INTO rounds VALUES (1");
    for (size_t i = 0; runlog_column_at(i); i++) buf_printf(&sql, ", ?");
    buf_printf(&sql, ")");
    enum tacit_err err = buf_end(&sql);
    if (!err) err = db_query(db, &st, buf_cstr(&sql), "");
    for (size_t i = 0; !err && i < r->n_rounds; i++) {
        int rc = bind_round(st, &r->rounds[i]);
        err = rc == SQLITE_OK ? db_step(db, st, &has_row)
                              : db_error(db, rc, "a round");
        sqlite3_reset(st);
    }
    db_finish(st);
    buf_release(&sql);
    return err;
}

enum tacit_err outputs_sqlite(const struct runlog *r, const char *path)
{
    struct db db = {0};
    TRY(db_open(&db, path, DB_CREATE, NULL, 0));
    enum tacit_err err = db_begin(&db);
    if (!err) err = make_tables(&db);
    if (!err) err = put_run(&db, r);
    if (!err) err = put_rounds(&db, r);
    if (!err)
        err = db_commit(&db);
    else
        db_rollback(&db);
    /* One file, which can be copied and read where nobody may write. */
    if (!err) err = db_exec(&db, "PRAGMA journal_mode = DELETE");
    db_close(&db);
    return err;
}
