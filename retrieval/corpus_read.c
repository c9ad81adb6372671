#include <string.h>

#include "retrieval/chunker.h"
#include "retrieval/corpus_state.h"

static const char *text_column(sqlite3_stmt *st, int i)
{
    const char *s = (const char *)sqlite3_column_text(st, i);
    return s ? s : "";
}

enum tacit_err corpus_list(
    struct corpus *c,
    enum tacit_err (*visit)(const struct corpus_document *d, void *ctx),
    void *ctx)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(c->db, &st,
                 "SELECT id, path, title, kind, size_bytes, n_chunks, added_s,"
                 " note"
                 " FROM document ORDER BY path",
                 ""));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        struct corpus_document d = {
            .id = sqlite3_column_int64(st, 0),
            .path = text_column(st, 1),
            .title = text_column(st, 2),
            .kind = text_column(st, 3),
            .size_bytes = sqlite3_column_int64(st, 4),
            .n_chunks = sqlite3_column_int64(st, 5),
            .added_s = sqlite3_column_int64(st, 6),
            .note = text_column(st, 7),
        };
        err = visit(&d, ctx);
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}

#define IS_STALE "made_by <> ?1 OR enc_version <> ?2"

enum tacit_err corpus_stale(struct corpus *c, struct buf *out, size_t *n)
{
    sqlite3_stmt *st;
    int has_row = 0;
    *n = 0;
    TRY(db_query(c->db, &st,
                 "SELECT path FROM document WHERE " IS_STALE " ORDER BY path",
                 "is", (int64_t)CHUNKER_VERSION, c->enc_version));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        const char *path = text_column(st, 0);
        buf_put(out, path, strlen(path) + 1);
        ++*n;
        err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err ? err : buf_end(out);
}

enum tacit_err corpus_count(struct corpus *c, struct corpus_counts *out)
{
    struct corpus_counts n;
    TRY(db_int(c->db, &n.n_documents, "SELECT count(*) FROM document", ""));
    TRY(db_int(c->db, &n.n_chunks, "SELECT count(*) FROM chunk", ""));
    /* chunk_fts itself would count the rows of chunk. */
    TRY(db_int(c->db, &n.n_fts, "SELECT count(*) FROM chunk_fts_docsize", ""));
    TRY(db_int(c->db, &n.n_vectors, "SELECT count(*) FROM " CORPUS_VECTORS,
               ""));
    TRY(db_int(c->db, &n.n_stale,
               "SELECT count(*) FROM document WHERE " IS_STALE, "is",
               (int64_t)CHUNKER_VERSION, c->enc_version));
    *out = n;
    return TACIT_OK;
}

enum tacit_err corpus_passages(
    struct corpus *c,
    enum tacit_err (*visit)(const struct corpus_passage *p, void *ctx),
    void *ctx)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(c->db, &st,
                 "SELECT chunk.id, path, heading, text"
                 " FROM chunk JOIN document ON document.id = document_id"
                 " WHERE enc_version = ? ORDER BY chunk.id",
                 "s", c->enc_version));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        float v[ENCODER_DIM_MAX];
        const char *heading = text_column(st, 2);
        const char *innermost = strrchr(heading, CHUNK_HEADING_MARK);
        struct corpus_passage p = {
            .chunk_id = sqlite3_column_int64(st, 0),
            .path = text_column(st, 1),
            .heading = innermost ? innermost + 1 : heading,
            .text = text_column(st, 3),
            .text_len = (size_t)sqlite3_column_bytes(st, 3),
            .vector = v,
        };
        int has = 0;
        err = corpus_vector(c, p.chunk_id, v);
        has = !err && corpus_has_direction(c, v);
        if (!err && has) err = visit(&p, ctx);
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}
