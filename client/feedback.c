#include "client/feedback.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/codes.h"

const char *const feedback_migrations[FEEDBACK_N_MIGRATIONS] = {
    "CREATE TABLE answer("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, time_s INTEGER NOT NULL,"
    " question TEXT NOT NULL) STRICT;"
    "CREATE TABLE citation("
    " answer INTEGER NOT NULL REFERENCES answer(id) ON DELETE CASCADE,"
    " number INTEGER NOT NULL, path TEXT NOT NULL, heading TEXT NOT NULL,"
    " PRIMARY KEY(answer, number)) STRICT;"
    "CREATE TABLE feedback("
    " answer INTEGER NOT NULL, number INTEGER NOT NULL,"
    " time_s INTEGER NOT NULL, question TEXT NOT NULL, path TEXT NOT NULL,"
    " heading TEXT NOT NULL, good INTEGER NOT NULL,"
    " PRIMARY KEY(answer, number)) STRICT;"};

const char *const feedback_later[FEEDBACK_N_LATER] = {
    "CREATE TABLE citation_place("
    " answer INTEGER NOT NULL, number INTEGER NOT NULL,"
    " page INTEGER NOT NULL, line INTEGER NOT NULL,"
    " PRIMARY KEY(answer, number),"
    " FOREIGN KEY(answer, number) REFERENCES citation(answer, number)"
    "  ON DELETE CASCADE) STRICT;"};

static enum tacit_err insert(struct db *db, int64_t now_s, const char *question,
                             const struct feedback_source *s, size_t n,
                             int64_t *id)
{
    TRY(db_run(db, "INSERT INTO answer(time_s, question) VALUES(?, ?)", "is",
               now_s, question));
    *id = sqlite3_last_insert_rowid(db->sql);
    for (size_t i = 0; i < n; i++) {
        TRY(db_run(db, "INSERT INTO citation VALUES(?, ?, ?, ?)", "iiss", *id,
                   (int64_t)i + 1, s[i].path, s[i].heading));
        TRY(db_run(db, "INSERT INTO citation_place VALUES(?, ?, ?, ?)", "iiii",
                   *id, (int64_t)i + 1, (int64_t)s[i].page,
                   (int64_t)s[i].line));
    }
    return db_run(db, "DELETE FROM answer WHERE id <= ?", "i",
                  *id - FEEDBACK_ANSWERS_KEPT);
}

enum tacit_err feedback_answer(struct db *db, int64_t now_s,
                               const char *question,
                               const struct feedback_source *s, size_t n,
                               int64_t *out_id)
{
    int64_t id = 0;
    TRY(db_begin(db));
    enum tacit_err err = insert(db, now_s, question, s, n, &id);
    if (!err) err = db_commit(db);
    if (err)
        db_rollback(db);
    else
        *out_id = id;
    return err;
}

static enum tacit_err no_source(struct db *db, int number)
{
    int64_t n = 0;
    TRY(db_int(db, &n,
               "SELECT count(*) FROM citation"
               " WHERE answer = (SELECT max(id) FROM answer)",
               ""));
    if (n == 0)
        return fail_as(E_NO_CITATION,
                       "the last answer has no sources, or there is none yet; "
                       "`tacit ask` first");
    return fail_as(E_NO_CITATION,
                   "the last answer has no source [%d]; it has %" PRId64,
                   number, n);
}

enum tacit_err feedback_last(struct db *db, int number, char *path, size_t cap,
                             struct feedback_source *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(db, &st,
                 "SELECT path, page, line FROM citation JOIN citation_place"
                 " USING(answer, number)"
                 " WHERE answer = (SELECT max(id) FROM answer) AND number = ?",
                 "i", (int64_t)number));
    enum tacit_err err = db_step(db, st, &has_row);
    if (!err && !has_row) err = no_source(db, number);
    if (!err) {
        const char *at = (const char *)sqlite3_column_text(st, 0);
        if (snprintf(path, cap, "%s", at ? at : "") >= (int)cap)
            err = fail(TACIT_LIMIT, "the source's path is too long");
    }
    if (!err)
        *out =
            (struct feedback_source){.page =
                                         (uint32_t)sqlite3_column_int64(st, 1),
                                     .line =
                                         (uint32_t)sqlite3_column_int64(st, 2)};
    db_finish(st);
    return err;
}

enum tacit_err feedback_give(struct db *db, int64_t now_s, int64_t answer,
                             int number, enum feedback_verdict v)
{
    TRY(db_run(db,
               "INSERT OR REPLACE INTO feedback SELECT a.id, c.number, ?, "
               "a.question, c.path, c.heading, ? FROM answer a JOIN citation c "
               "ON c.answer = a.id WHERE a.id = ? AND c.number = ?",
               "iiii", now_s, (int64_t)v, answer, (int64_t)number));
    if (sqlite3_changes(db->sql)) return TACIT_OK;
    return fail_as(E_NO_CITATION,
                   "answer %lld has no citation [%d]; `tacit ask` prints the "
                   "answer's number",
                   (long long)answer, number);
}

enum tacit_err feedback_pairs(
    struct db *db,
    enum tacit_err (*visit)(const struct feedback_pair *p, void *ctx),
    void *ctx)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    TRY(db_query(db, &st,
                 "SELECT answer, question, path, heading, good FROM feedback "
                 "ORDER BY answer, number",
                 ""));
    enum tacit_err err;
    while (!(err = db_step(db, st, &has)) && has) {
        const struct feedback_pair p = {
            .answer = sqlite3_column_int64(st, 0),
            .question = (const char *)sqlite3_column_text(st, 1),
            .path = (const char *)sqlite3_column_text(st, 2),
            .heading = (const char *)sqlite3_column_text(st, 3),
            .verdict =
                sqlite3_column_int(st, 4) ? FEEDBACK_GOOD : FEEDBACK_BAD};
        err = visit(&p, ctx);
        if (err) break;
    }
    db_finish(st);
    return err;
}
