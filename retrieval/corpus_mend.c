/* Repair of the vectors: from the rows of their table where these can be read,
 * else from the text of the passages, of which they are made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/db_mend.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/schema.h"
#include "retrieval/vecindex.h"

enum { PER_WRITE = 1000, RECALL_QUERIES = 100, RECALL_K = 10 };

/* One piece of work, and who is told of it. */
struct telling {
    const struct corpus_watch *watch; /* or NULL */
    const char *what, *unit;
    uint64_t done, total;
};

static const char checking[] = "checking the index";

static void tell(struct telling *t)
{
    if (t->watch)
        t->watch->step(t->watch->ctx, t->what, t->unit, t->done, t->total);
}

static void tell_step(void *ctx, uint64_t done, uint64_t total)
{
    struct telling *t = ctx;
    t->done = done;
    t->total = total;
    tell(t);
}

/* ---- passages without a vector --------------------------------------------
 */

/* Those that are to have one and have none, from `after` on, at most PER_WRITE.
 * *after moves to the last of them. */
static enum tacit_err mend_some(struct corpus *c, enum corpus_mend how,
                                struct telling *t, int64_t *after,
                                size_t *n_seen, size_t *n)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    *n_seen = 0;
    TRY(db_query(c->db, &st,
                 "SELECT chunk.id, title, heading, text FROM chunk"
                 " JOIN document ON document.id = document_id"
                 " WHERE chunk.id > ?1 AND enc_version = ?2 AND NOT EXISTS("
                 "  SELECT 1 FROM " CORPUS_VECTORS " WHERE rowid = chunk.id)"
                 " ORDER BY chunk.id LIMIT ?3",
                 "isi", *after, c->enc_version, (int64_t)PER_WRITE));
    enum tacit_err err = db_step(c->db, st, &has_row);
    for (; !err && has_row; ++*n_seen) {
        float v[ENCODER_DIM_MAX];
        const char *title = (const char *)sqlite3_column_text(st, 1);
        const char *heading = (const char *)sqlite3_column_text(st, 2);
        struct text text = {.s = (const char *)sqlite3_column_text(st, 3),
                            .n = (size_t)sqlite3_column_bytes(st, 3)};
        *after = sqlite3_column_int64(st, 0);
        err = title && heading && text.s
                  ? embedder_passage(c->encoder, &c->scratch, title, heading,
                                     text, v)
                  : fail(TACIT_NOMEM, "out of memory");
        if (!err) *n += (size_t)corpus_has_direction(c, v);
        if (!err && how == CORPUS_MEND) err = corpus_vector_add(c, *after, v);
        t->done++;
        tell(t);
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}

static enum tacit_err write_some(struct corpus *c, struct telling *t,
                                 int64_t *after, size_t *n_seen, size_t *n)
{
    TRY(db_begin(c->db));
    enum tacit_err err = mend_some(c, CORPUS_MEND, t, after, n_seen, n);
    if (!err) err = db_commit(c->db);
    if (err) db_rollback(c->db);
    return err;
}

static enum tacit_err mend_all(struct corpus *c, enum corpus_mend how,
                               struct telling *t, size_t *n)
{
    int64_t after = INT64_MIN;
    size_t n_seen = PER_WRITE;
    *n = 0;
    if (how == CORPUS_MEND)
        TRY(db_exec(c->db, "DELETE FROM " CORPUS_VECTORS
                           " WHERE rowid NOT IN (SELECT id FROM chunk)"));
    while (n_seen == PER_WRITE)
        TRY(how == CORPUS_MEND ? write_some(c, t, &after, &n_seen, n)
                               : mend_some(c, how, t, &after, &n_seen, n));
    return TACIT_OK;
}

enum tacit_err corpus_mend(struct corpus *c, enum corpus_mend how, size_t *n)
{
    struct telling nobody = {0};
    return mend_all(c, how, &nobody, n);
}

/* ---- the table ------------------------------------------------------------
 */

static enum tacit_err make_table(struct corpus *c)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "DROP TABLE IF EXISTS " CORPUS_VECTORS
             "; CREATE VIRTUAL TABLE " CORPUS_VECTORS " USING tacit_vec("
             "v float[%zu] metric=cosine);",
             c->dim);
    return db_exec(c->db, sql);
}

/* Numbers of the vectors that the table takes; 0 when there is none. */
static enum tacit_err table_dim(struct corpus *c, size_t *out)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    TRY(db_query(c->db, &st, "SELECT sql FROM sqlite_schema WHERE name = ?",
                 "s", CORPUS_VECTORS));
    enum tacit_err err = db_step(c->db, st, &has_row);
    const char *sql =
        !err && has_row ? (const char *)sqlite3_column_text(st, 0) : NULL;
    const char *at = sql ? strstr(sql, "float[") : NULL;
    *out = at ? strtoul(at + strlen("float["), NULL, 10) : 0;
    db_finish(st);
    return err;
}

enum tacit_err corpus_fit(struct corpus *c)
{
    size_t dim = 0;
    TRY(table_dim(c, &dim));
    if (dim != c->dim) {
        TRY(make_table(c));
        TRY(db_exec(c->db, "UPDATE document SET enc_version = ''"));
    }
    return corpus_end(c);
}

static enum tacit_err make_in(struct db *db, void *ctx)
{
    (void)db;
    return make_table(ctx);
}

/* OK with *is_sound 0 where the table is damaged, whatever shows it. */
static enum tacit_err check(struct corpus *c, struct ivf_report *r,
                            int *is_sound)
{
    enum tacit_err err = vecindex_check(c->db->sql, "main", CORPUS_VECTORS, r);
    *is_sound = !err && !r->problems;
    if (err != TACIT_NOTFOUND && err_id() != E_INDEX_DAMAGED) return err;
    err_clear();
    return TACIT_OK;
}

static enum tacit_err refuse_mending(const struct corpus *c)
{
    return fail_as(E_INDEX_DAMAGED,
                   "%s: the vector index is damaged, and the store may only be "
                   "read here: copy the home to where it may be written, and "
                   "run `tacit doctor --index` there",
                   c->db->path);
}

static enum tacit_err make_sound(struct corpus *c, struct telling *t,
                                 struct ivf_report *r, int *was_damaged)
{
    int is_sound;
    TRY(check(c, r, &is_sound));
    *was_damaged = !is_sound;
    if (is_sound) return TACIT_OK;
    if (c->db->is_readonly) return refuse_mending(c);
    t->what = "making the index anew";
    if (vecindex_rebuild(c->db->sql, "main", CORPUS_VECTORS)) err_clear();
    t->what = checking;
    TRY(check(c, r, &is_sound));
    if (is_sound) return TACIT_OK;
    TRY(db_make_anew(c->db, &(struct db_made){CORPUS_VECTORS, make_in, c}));
    TRY(check(c, r, &is_sound));
    if (is_sound) return TACIT_OK;
    return fail_as(E_INDEX_DAMAGED, "%s: %s", c->db->path, r->first);
}

static enum tacit_err examine(struct corpus *c, struct telling *t,
                              struct corpus_examined *out)
{
    struct corpus_examined x = {0};
    struct ivf_report r = {0};
    struct vecindex_recall m = {0};
    struct corpus_counts n;
    TRY(make_sound(c, t, &r, &x.was_damaged));
    TRY(corpus_count(c, &n));
    struct telling embedding = {.watch = t->watch,
                                .what = "embedding again",
                                .unit = "passages",
                                .total =
                                    (uint64_t)(n.n_chunks > n.n_vectors
                                                   ? n.n_chunks - n.n_vectors
                                                   : 0)};
    TRY(mend_all(c, c->db->is_readonly ? CORPUS_MEND_COUNT : CORPUS_MEND,
                 &embedding, &x.n_embedded));
    if (c->db->is_readonly && x.n_embedded) return refuse_mending(c);
    t->what = checking;
    TRY(vecindex_check(c->db->sql, "main", CORPUS_VECTORS, &r));
    t->what = "measuring recall";
    t->unit = "queries";
    TRY(vecindex_measure(c->db->sql, "main", CORPUS_VECTORS, RECALL_QUERIES,
                         RECALL_K, &(struct vecindex_watch){tell_step, t}, &m));
    x.n_vectors = r.rows;
    x.n_lists = r.lists;
    x.k = m.k;
    x.n_queries = m.n_queries;
    x.recall = m.recall;
    x.search_ms = m.search_ms;
    x.exact_ms = m.exact_ms;
    *out = x;
    return TACIT_OK;
}

enum tacit_err corpus_examine(struct corpus *c,
                              const struct corpus_watch *watch,
                              struct corpus_examined *out)
{
    struct telling t = {.watch = watch, .what = checking, .unit = "lists"};
    TRY(vecindex_watch(c->db->sql, (struct vecindex_watch){tell_step, &t}));
    enum tacit_err err = examine(c, &t, out);
    /* It cannot fail now that it has not; t ends here. */
    if (vecindex_watch(c->db->sql, (struct vecindex_watch){NULL, NULL}))
        err_clear();
    return err;
}
