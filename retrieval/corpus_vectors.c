#include <string.h>

#include "retrieval/corpus_state.h"

enum { VECTOR_BYTES = ENCODER_DIM * 4 };
_Static_assert(sizeof(float) == 4, "IEEE 754 single");

static enum tacit_err add_row(struct flatindex *ix, sqlite3_stmt *st)
{
    float v[ENCODER_DIM];
    int64_t id = sqlite3_column_int64(st, 0);
    const void *blob = sqlite3_column_blob(st, 1);
    if (!blob || sqlite3_column_bytes(st, 1) != VECTOR_BYTES)
        return fail(TACIT_FORMAT, "passage %lld: its vector is damaged",
                    (long long)id);
    memcpy(v, blob, sizeof v);
    return flatindex_insert(ix, id, v);
}

static enum tacit_err load_rows(struct corpus *c, struct flatindex *ix)
{
    sqlite3_stmt *st;
    int has_row = 0;
    int64_t n;
    TRY(db_int(c->db, &n, "SELECT count(*) FROM vector", ""));
    TRY(flatindex_reserve(ix, (size_t)n));
    TRY(db_query(c->db, &st,
                 "SELECT chunk_id, v FROM vector WHERE enc_version = ?"
                 " ORDER BY chunk_id",
                 "s", c->enc_version));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        err = add_row(ix, st);
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}

static enum tacit_err read_epoch(struct corpus *c, int64_t *epoch)
{
    return db_int(c->db, epoch, "SELECT epoch FROM corpus_state", "");
}

static enum tacit_err load(struct corpus *c, int64_t epoch)
{
    struct flatindex *ix;
    TRY(flatindex_new(ENCODER_DIM, &ix));
    enum tacit_err err = load_rows(c, ix);
    if (err) {
        flatindex_free(ix);
        return err;
    }
    flatindex_free(c->vectors);
    c->vectors = ix;
    c->epoch = epoch;
    return TACIT_OK;
}

/* The epoch is read before the rows: a change in between is then loaded once
 * more, never missed. */
enum tacit_err corpus_vectors(struct corpus *c, struct flatindex **out)
{
    int64_t epoch;
    TRY(read_epoch(c, &epoch));
    if (!c->vectors || epoch != c->epoch) TRY(load(c, epoch));
    *out = c->vectors;
    return TACIT_OK;
}

enum tacit_err corpus_next_epoch(struct corpus *c, int64_t *epoch)
{
    TRY(db_run(c->db, "UPDATE corpus_state SET epoch = epoch + 1", ""));
    return read_epoch(c, epoch);
}

void corpus_vectors_follow(struct corpus *c, int64_t epoch,
                           const struct vector_change *change, size_t n)
{
    enum tacit_err err = TACIT_OK;
    if (!c->vectors) return;
    if (epoch != c->epoch + 1) err = TACIT_STATE; /* another process wrote */
    for (size_t i = 0; i < n && !err; i++) {
        if (!change[i].v)
            flatindex_remove(c->vectors, change[i].chunk_id);
        else
            err = flatindex_insert(c->vectors, change[i].chunk_id, change[i].v);
    }
    c->epoch = epoch;
    if (!err) return;
    if (err != TACIT_STATE) err_clear();
    flatindex_free(c->vectors);
    c->vectors = NULL;
}

enum tacit_err corpus_nearest(struct corpus *c, const float *v, size_t k,
                              const int64_t *only, size_t n_only,
                              struct corpus_near *out, size_t *n)
{
    struct flatindex *ix;
    struct vec_hit *hits;
    struct vec_filter filter = {.ids = only, .n = n_only};
    TRY(corpus_vectors(c, &ix));
    arena_reset(&c->scratch);
    TRY(arena_alloc(&c->scratch, k + 1, sizeof *hits, &hits));
    TRY(flatindex_search(ix, v, k, only ? &filter : NULL, hits, n));
    for (size_t i = 0; i < *n; i++)
        out[i] = (struct corpus_near){hits[i].id, hits[i].score};
    return TACIT_OK;
}

enum tacit_err corpus_vector(struct corpus *c, int64_t chunk_id, float *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(c->db, &st,
                 "SELECT v FROM vector WHERE chunk_id = ? AND enc_version = ?",
                 "is", chunk_id, c->enc_version));
    enum tacit_err err = db_step(c->db, st, &has_row);
    memset(out, 0, VECTOR_BYTES);
    const void *blob = !err && has_row ? sqlite3_column_blob(st, 0) : NULL;
    if (blob && sqlite3_column_bytes(st, 0) == VECTOR_BYTES)
        memcpy(out, blob, VECTOR_BYTES);
    db_finish(st);
    return err;
}
