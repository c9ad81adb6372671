/* The vectors of passages: rows of a tacit_vec table (vecindex.h), which is in
 * the transaction of whoever reads or writes it. Nothing is kept outside. */
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/corpus_state.h"
#include "retrieval/vecindex.h"

_Static_assert(sizeof(float) == 4, "IEEE 754 single");

/* The table's own fault says how SQL repairs it; a person has a command. */
static enum tacit_err say_damaged(struct corpus *c)
{
    char why[256];
    snprintf(why, sizeof why, "%.200s", sqlite3_errmsg(c->db->sql));
    err_clear();
    return fail_as(E_INDEX_DAMAGED,
                   "%s: the index of vectors is damaged (%.*s); `tacit doctor "
                   "--index` makes it anew",
                   c->db->path, (int)strcspn(why, ";"), why);
}

static enum tacit_err run(struct corpus *c, enum corpus_stmt which)
{
    enum tacit_err err = corpus_run(c, which);
    if (err && sqlite3_extended_errcode(c->db->sql) == SQLITE_CORRUPT_VTAB)
        return say_damaged(c);
    return err;
}

int corpus_has_direction(const struct corpus *c, const float *v)
{
    for (size_t i = 0; i < c->dim; i++)
        if (v[i] != 0) return 1;
    return 0;
}

enum tacit_err corpus_vector_add(struct corpus *c, int64_t chunk_id,
                                 const float *v)
{
    sqlite3_stmt *st;
    if (!corpus_has_direction(c, v)) return TACIT_OK;
    TRY(corpus_statement(c, CORPUS_VECTOR_ADD, &st));
    sqlite3_bind_int64(st, 1, chunk_id);
    sqlite3_bind_blob(st, 2, v, (int)(c->dim * sizeof *v), SQLITE_STATIC);
    return run(c, CORPUS_VECTOR_ADD);
}

enum tacit_err corpus_vector_delete(struct corpus *c, int64_t chunk_id)
{
    sqlite3_stmt *st;
    TRY(corpus_statement(c, CORPUS_VECTOR_DELETE, &st));
    sqlite3_bind_int64(st, 1, chunk_id);
    return run(c, CORPUS_VECTOR_DELETE);
}

enum tacit_err corpus_vector(struct corpus *c, int64_t chunk_id, float *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(corpus_statement(c, CORPUS_VECTOR_READ, &st));
    sqlite3_bind_int64(st, 1, chunk_id);
    enum tacit_err err = db_step(c->db, st, &has_row);
    memset(out, 0, c->dim * sizeof *out);
    const void *blob = !err && has_row ? sqlite3_column_blob(st, 0) : NULL;
    if (blob && (size_t)sqlite3_column_bytes(st, 0) == c->dim * sizeof *out)
        memcpy(out, blob, c->dim * sizeof *out);
    if (err && sqlite3_extended_errcode(c->db->sql) == SQLITE_CORRUPT_VTAB)
        err = say_damaged(c);
    corpus_done(c, CORPUS_VECTOR_READ);
    return err;
}

/* ---- the nearest ----------------------------------------------------------
 */

/* Whether another encoder's vectors lie among those of this one: from the new
 * version's first start until `tacit reindex` is through. */
static enum tacit_err has_stale(struct corpus *c, int *has)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(corpus_statement(c, CORPUS_HAS_STALE, &st));
    sqlite3_bind_text(st, 1, c->enc_version, -1, SQLITE_STATIC);
    enum tacit_err err = db_step(c->db, st, &has_row);
    *has = !err && has_row && sqlite3_column_int(st, 0);
    corpus_done(c, CORPUS_HAS_STALE);
    return err;
}

/* The ids of this encoder's passages among `only` (NULL = all), rising. */
static enum tacit_err current_ids(struct corpus *c, const int64_t *only,
                                  size_t n_only, int64_t **out, size_t *n)
{
    sqlite3_stmt *st = NULL;
    int64_t most = 0, *ids = NULL;
    int has_row = 0;
    size_t at = 0;
    TRY(db_int(c->db, &most, "SELECT count(*) FROM chunk", ""));
    TRY(arena_alloc(&c->scratch, (size_t)most + 1, sizeof *ids, &ids));
    TRY(db_query(c->db, &st,
                 "SELECT chunk.id FROM chunk JOIN document"
                 " ON document.id = document_id WHERE enc_version = ?"
                 " ORDER BY chunk.id",
                 "s", c->enc_version));
    enum tacit_err err = db_step(c->db, st, &has_row);
    for (*n = 0; !err && has_row; err = db_step(c->db, st, &has_row)) {
        int64_t id = sqlite3_column_int64(st, 0);
        while (only && at < n_only && only[at] < id) at++;
        if (!only || (at < n_only && only[at] == id)) ids[(*n)++] = id;
    }
    db_finish(st);
    *out = ids;
    return err;
}

static enum tacit_err nearest(struct corpus *c, const struct ivf_query *query,
                              struct corpus_near *out, size_t *n)
{
    struct ivf_hit *hits = NULL;
    TRY(arena_alloc(&c->scratch, query->k, sizeof *hits, &hits));
    enum tacit_err err =
        vecindex_search(c->db->sql, "main", CORPUS_VECTORS, query, hits, n);
    if (err && err_id() == E_INDEX_DAMAGED) err = say_damaged(c);
    for (size_t i = 0; !err && i < *n; i++)
        out[i] = (struct corpus_near){hits[i].id, 1 - hits[i].distance};
    return err;
}

enum tacit_err corpus_nearest(struct corpus *c, const float *v, size_t k,
                              const int64_t *only, size_t n_only,
                              struct corpus_near *out, size_t *n)
{
    int is_mixed = 0;
    int64_t *current = NULL;
    struct ivf_filter filter = {.ids = only, .n_ids = n_only};
    struct ivf_query query = {.v = v, .k = k};
    *n = 0;
    if (!corpus_has_direction(c, v) || k == 0) return TACIT_OK;
    arena_reset(&c->scratch);
    TRY(has_stale(c, &is_mixed));
    if (is_mixed) {
        TRY(current_ids(c, only, n_only, &current, &filter.n_ids));
        filter.ids = current;
    }
    if (filter.ids && filter.n_ids == 0) return TACIT_OK;
    if (filter.ids) query.filter = &filter;
    return nearest(c, &query, out, n);
}
