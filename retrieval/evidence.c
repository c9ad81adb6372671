#include "retrieval/evidence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/stem.h"

/* What one call of question_marks() collects. */
struct marks {
    struct evidence_mark mark[EVIDENCE_MARKS_MAX];
    size_t n;
    size_t from;  /* marks of the column at hand: mark[from, n) */
    int at_token; /* tokens of it seen so far */
    uint32_t token_first[EVIDENCE_MARKS_MAX]; /* of mark i, as token numbers */
    uint32_t token_last[EVIDENCE_MARKS_MAX];
};

static int on_token(void *ctx, int flags, const char *token, int n, int first,
                    int end)
{
    struct marks *m = ctx;
    (void)token, (void)n;
    if (flags & FTS5_TOKEN_COLOCATED) return SQLITE_OK;
    uint32_t at = (uint32_t)m->at_token++;
    for (size_t i = m->from; i < m->n; i++) {
        if (m->token_first[i] == at) m->mark[i].first = (uint32_t)first;
        if (m->token_last[i] == at) m->mark[i].end = (uint32_t)end;
    }
    return SQLITE_OK;
}

static int mark_column(const Fts5ExtensionApi *api, Fts5Context *fts, int col,
                       struct marks *m)
{
    const char *text = NULL;
    int n = 0, n_inst = 0;
    m->from = m->n;
    m->at_token = 0;
    int rc = api->xInstCount(fts, &n_inst);
    for (int i = 0; i < n_inst && rc == SQLITE_OK; i++) {
        int phrase, in_col, at;
        rc = api->xInst(fts, i, &phrase, &in_col, &at);
        if (rc != SQLITE_OK || in_col != col || m->n == EVIDENCE_MARKS_MAX)
            continue;
        int size = api->xPhraseSize(fts, phrase);
        m->mark[m->n] = (struct evidence_mark){.term = (uint32_t)phrase,
                                               .column = (uint32_t)col};
        m->token_first[m->n] = (uint32_t)at;
        m->token_last[m->n] = (uint32_t)(at + (size > 0 ? size - 1 : 0));
        m->n++;
    }
    if (rc == SQLITE_OK && m->n > m->from)
        rc = api->xColumnText(fts, col, &text, &n);
    if (rc == SQLITE_OK && text) rc = api->xTokenize(fts, text, n, m, on_token);
    return rc;
}

static void question_marks(const Fts5ExtensionApi *api, Fts5Context *fts,
                           sqlite3_context *ctx, int n_args,
                           sqlite3_value **args)
{
    (void)n_args, (void)args;
    struct marks *m = sqlite3_malloc(sizeof *m);
    if (!m) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    m->n = 0;
    int rc = SQLITE_OK;
    for (int col = COLUMN_TITLE; col <= COLUMN_TEXT && rc == SQLITE_OK; col++)
        rc = mark_column(api, fts, col, m);
    if (rc == SQLITE_OK)
        sqlite3_result_blob(ctx, m->mark, (int)(m->n * sizeof *m->mark),
                            SQLITE_TRANSIENT);
    else
        sqlite3_result_error_code(ctx, rc);
    sqlite3_free(m);
}

enum tacit_err evidence_register(struct db *db)
{
    fts5_api *api;
    TRY(stem_fts5(db, &api));
    return db_error(db,
                    api->xCreateFunction(api, "question_marks", NULL,
                                         question_marks, NULL),
                    "cannot add a function");
}

enum tacit_err evidence_find(struct db *db, const struct question *q,
                             int64_t chunk_id, struct evidence_mark *out,
                             size_t *n)
{
    sqlite3_stmt *st;
    int has_row = 0;
    *n = 0;
    TRY(db_query(db, &st,
                 "SELECT question_marks(chunk_fts) FROM chunk_fts"
                 " WHERE chunk_fts MATCH ?1 AND rowid = ?2",
                 "si", q->fts, chunk_id));
    enum tacit_err err = db_step(db, st, &has_row);
    const void *blob = !err && has_row ? sqlite3_column_blob(st, 0) : NULL;
    size_t size = blob ? (size_t)sqlite3_column_bytes(st, 0) : 0;
    if (size <= EVIDENCE_MARKS_MAX * sizeof *out && size > 0) {
        memcpy(out, blob, size);
        *n = size / sizeof *out;
    }
    db_finish(st);
    return err;
}

enum tacit_err evidence_weights(struct db *db, struct arena *a,
                                const struct question *q, double *weight)
{
    int64_t n_all, n;
    TRY(db_int(db, &n_all, "SELECT count(*) FROM chunk", ""));
    for (size_t i = 0; i < q->n_terms; i++) {
        const char *quoted;
        TRY(question_quote(a, q->term[i], &quoted));
        TRY(db_int(db, &n,
                   "SELECT count(*) FROM (SELECT 1 FROM chunk_fts"
                   " WHERE chunk_fts MATCH ?1 LIMIT ?2)",
                   "si", quoted, (int64_t)EVIDENCE_COUNT_MAX));
        weight[i] = log(((double)n_all + 1) / ((double)n + 0.5));
        if (!(weight[i] > 0)) weight[i] = 0;
    }
    return TACIT_OK;
}
