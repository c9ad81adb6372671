#include "retrieval/words.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/db_mend.h"
#include "retrieval/stem.h"
#include "retrieval/words_ahead.h"
#include "retrieval/words_merge.h"
#include "retrieval/words_rank.h"
#include "retrieval/words_scan.h"

enum {
    ROOM_BYTES = 16 << 20 /* of the words of one transaction, at most */
};
static const char pointer_type[] = "tacit-words";

/* One search, while FTS5 goes through the rows. */
struct by_fts5 {
    struct words_ranking rank;
    int is_ready;
};

/* ---- by FTS5, row by row --------------------------------------------------
 */

static int count_row(const Fts5ExtensionApi *api, Fts5Context *fts, void *ctx)
{
    (void)api, (void)fts;
    ++*(int64_t *)ctx;
    return SQLITE_OK;
}

static int prepare(const Fts5ExtensionApi *api, Fts5Context *fts,
                   struct by_fts5 *by)
{
    struct words_ranking *r = &by->rank;
    sqlite3_int64 n_rows = 0, n_words = 0;
    int rc = api->xRowCount(fts, &n_rows);
    if (rc == SQLITE_OK) rc = api->xColumnTotalSize(fts, -1, &n_words);
    r->n_terms = (size_t)api->xPhraseCount(fts);
    if (r->n_terms > QUESTION_TERMS_MAX) r->n_terms = QUESTION_TERMS_MAX;
    for (size_t i = 0; i < r->n_terms && rc == SQLITE_OK; i++) {
        int64_t n = 0;
        rc = api->xQueryPhrase(fts, (int)i, &n, count_row);
        words_rank_term(r, i, (double)n_rows, (double)n);
    }
    words_rank_scale(r, (double)n_rows, (double)n_words);
    by->is_ready = rc == SQLITE_OK;
    return rc;
}

/* Weighted occurrences of each phrase into row->f. */
static int count_terms(const Fts5ExtensionApi *api, Fts5Context *fts,
                       const struct words_ranking *r, struct words_held *row)
{
    double *f = row->f;
    for (size_t i = 0; i < r->n_terms; i++) {
        Fts5PhraseIter it;
        int col = -1, at = 0;
        f[i] = 0;
        int rc = api->xPhraseFirst(fts, (int)i, &it, &col, &at);
        if (rc != SQLITE_OK) return rc;
        for (; col >= 0; api->xPhraseNext(fts, &it, &col, &at))
            f[i] += col < WORDS_COLUMNS ? words_weight[col] : 0;
    }
    return SQLITE_OK;
}

static int rank_row(const Fts5ExtensionApi *api, Fts5Context *fts,
                    struct by_fts5 *by)
{
    struct words_ranking *r = &by->rank;
    double most, f[QUESTION_TERMS_MAX];
    struct words_held row = {.id = api->xRowid(fts), .f = f};
    int n_words = 0, rc = SQLITE_OK;
    if (!by->is_ready) rc = prepare(api, fts, by);
    if (rc != SQLITE_OK || !words_rank_lets(r, row.id)) return rc;
    rc = count_terms(api, fts, r, &row);
    if (rc != SQLITE_OK || !words_rank_needs(r, &row, &most)) return rc;
    rc = api->xColumnSize(fts, -1, &n_words);
    if (rc == SQLITE_OK) words_rank_take(r, &row, (double)n_words);
    return rc;
}

static void words_rank(const Fts5ExtensionApi *api, Fts5Context *fts,
                       sqlite3_context *ctx, int n_args, sqlite3_value **args)
{
    struct by_fts5 *by =
        n_args == 1 ? sqlite3_value_pointer(args[0], pointer_type) : NULL;
    if (!by) {
        sqlite3_result_error(ctx, "words_rank() is for tacit alone", -1);
        return;
    }
    int rc = rank_row(api, fts, by);
    if (rc != SQLITE_OK) sqlite3_result_error_code(ctx, rc);
}

static enum tacit_err search_by_fts5(struct db *db, struct words_query *q)
{
    struct by_fts5 by = {.is_ready = 0};
    sqlite3_stmt *st;
    int has_row = 0;
    words_rank_begin(&by.rank, q);
    TRY(db_query(db, &st,
                 "SELECT words_rank(chunk_fts, ?2) FROM chunk_fts"
                 " WHERE chunk_fts MATCH ?1",
                 "s", q->fts));
    enum tacit_err err =
        db_error(db, sqlite3_bind_pointer(st, 2, &by, pointer_type, NULL),
                 "cannot bind");
    if (!err) err = db_step(db, st, &has_row);
    while (!err && has_row) err = db_step(db, st, &has_row);
    db_finish(st);
    words_rank_end(&by.rank);
    return err;
}

enum tacit_err words_search(struct db *db, struct words_query *q)
{
    int is_done = 0;
    enum tacit_err err = words_scan(db, q, &is_done);
    if (!err && !is_done) err = search_by_fts5(db, q);
    return err_id() == E_STORE_DAMAGED
               ? err_context(err, "the word index (`tacit doctor --index`)")
               : err;
}

/* ---- the index -----------------------------------------------------------
 */

enum tacit_err words_languages(struct db *db, uint32_t *out)
{
    uint32_t found = 1u << LANGUAGE_ENGLISH;
    sqlite3_stmt *st;
    TRY(db_query(db, &st,
                 "SELECT 1 FROM chunk_fts WHERE chunk_fts MATCH ?1 LIMIT 1",
                 ""));
    enum tacit_err err = TACIT_OK;
    for (unsigned i = LANGUAGE_ENGLISH + 1; i < N_LANGUAGES && !err; i++) {
        char quoted[STEM_MARK_BYTES + 3] = "\"";
        int has_row = 0;
        stem_mark(i, quoted + 1);
        quoted[STEM_MARK_BYTES + 1] = '"';
        quoted[STEM_MARK_BYTES + 2] = '\0';
        sqlite3_reset(st);
        sqlite3_bind_text(st, 1, quoted, -1, SQLITE_TRANSIENT);
        err = db_step(db, st, &has_row);
        if (!err && has_row) found |= 1u << i;
    }
    db_finish(st);
    if (!err) err = stem_ask_in(db, found);
    if (!err) *out = found;
    return err;
}

static enum tacit_err is_current(struct db *db, int64_t *out)
{
    return db_int(db, out,
                  "SELECT count(*) FROM sqlite_schema WHERE name = 'chunk_fts'"
                  " AND instr(sql, '" STEM_TOKENIZER "') > 0",
                  "");
}

/* FTS5 keeps it with the index, so one look is what this costs from then on. */
static enum tacit_err set_up(struct db *db, const char *key, int64_t value)
{
    int64_t n = 0;
    TRY(db_int(db, &n,
               "SELECT count(*) FROM chunk_fts_config WHERE k = ? AND v = ?",
               "si", key, value));
    if (n) return TACIT_OK;
    return db_run(db, "INSERT INTO chunk_fts(chunk_fts, rank) VALUES(?, ?)",
                  "si", key, value);
}

enum tacit_err words_make_room(struct db *db)
{
    TRY(set_up(db, "hashsize", ROOM_BYTES));
    return set_up(db, "usermerge", WORDS_MERGED);
}

static enum tacit_err make(struct db *db)
{
    TRY(db_exec(db, WORDS_TABLE));
    TRY(words_make_room(db));
    return db_exec(db, "INSERT INTO chunk_fts(chunk_fts) VALUES('rebuild')");
}

static enum tacit_err replace(struct db *db)
{
    int64_t current = 0;
    TRY(is_current(db, &current)); /* another process may have been first */
    if (current) return TACIT_OK;
    TRY(db_exec(db, "DROP TABLE IF EXISTS chunk_fts"));
    return make(db);
}

enum tacit_err words_open(struct db *db)
{
    fts5_api *api;
    int64_t current = 0;
    TRY(stem_register(db));
    TRY(stem_fts5(db, &api));
    TRY(db_error(db,
                 api->xCreateFunction(api, "words_rank", NULL, words_rank,
                                      NULL),
                 "cannot add a function"));
    TRY(is_current(db, &current));
    if (current) return TACIT_OK;
    TRY(db_begin(db));
    enum tacit_err err = replace(db);
    if (!err) err = db_commit(db);
    if (err) db_rollback(db);
    return err;
}

static enum tacit_err integrity(struct db *db)
{
    int64_t n_missing = 0;
    TRY(db_exec(db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                    " VALUES('integrity-check', 1)"));
    TRY(db_int(db, &n_missing,
               "SELECT (SELECT count(*) FROM chunk_content) -"
               " (SELECT count(*) FROM chunk_fts_docsize)",
               ""));
    if (!n_missing) return TACIT_OK;
    return fail_as(E_STORE_DAMAGED, "%lld passages are missing",
                   (long long)n_missing);
}

enum tacit_err words_check(struct db *db)
{
    enum tacit_err err = integrity(db);
    if (!db_may_be_damage(err)) return err;
    err_clear();
    return fail_as(E_STORE_DAMAGED,
                   "the word index is damaged: `tacit doctor --index` makes it "
                   "anew");
}

static enum tacit_err make_in(struct db *db, void *ctx)
{
    (void)ctx;
    return make(db);
}

enum tacit_err words_mend(struct db *db, int *was_damaged)
{
    enum tacit_err err = integrity(db);
    *was_damaged = db_may_be_damage(err);
    if (!*was_damaged) return err;
    err_clear();
    TRY(db_make_anew(db, &(struct db_made){"chunk_fts", make_in, NULL}));
    return words_check(db);
}
