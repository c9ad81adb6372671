/* The rows of documents: text, words and vectors, in the caller's write. */
#include "retrieval/corpus_state.h"
#include "retrieval/twin.h"
#include "retrieval/words.h"

/* ---- statements -----------------------------------------------------------
 */

static const char *const statements[CORPUS_STMTS] = {
    [CORPUS_DOCUMENT_ADD] =
        "INSERT INTO document(path, title, kind, hash, size_bytes, n_chunks,"
        " added_s, made_by, note, enc_version) VALUES(?,?,?,?,?,?,?,?,?,?)",
    [CORPUS_DOCUMENT_FIND] = "SELECT id, n_chunks,"
                             " hash = ?2 AND made_by = ?3 AND enc_version = ?4"
                             " FROM document WHERE path = ?1",
    [CORPUS_CHUNK_ADD] =
        "INSERT INTO chunk(document_id, heading, text, byte_first, byte_end,"
        " line_first, line_last, sentences, print) VALUES(?,?,?,?,?,?,?,?,?)",
    [CORPUS_WORDS_ADD] = "INSERT INTO chunk_fts(rowid, title, heading, text)"
                         " VALUES(?,?,?,?)",
    [CORPUS_VECTOR_ADD] =
        "INSERT INTO " CORPUS_VECTORS "(rowid, v) VALUES(?,?)",
    [CORPUS_VECTOR_DELETE] = "DELETE FROM " CORPUS_VECTORS " WHERE rowid = ?",
    [CORPUS_VECTOR_READ] = "SELECT v FROM " CORPUS_VECTORS " WHERE rowid = ?",
    [CORPUS_HAS_STALE] = "SELECT (SELECT min(enc_version) FROM document) <> ?1"
                         " OR (SELECT max(enc_version) FROM document) <> ?1",
};

enum tacit_err corpus_statement(struct corpus *c, enum corpus_stmt which,
                                sqlite3_stmt **out)
{
    if (!c->stmt[which])
        TRY(db_prepare(c->db, statements[which], SQLITE_PREPARE_PERSISTENT,
                       &c->stmt[which]));
    *out = c->stmt[which];
    return TACIT_OK;
}

void corpus_done(struct corpus *c, enum corpus_stmt which)
{
    sqlite3_reset(c->stmt[which]);
    sqlite3_clear_bindings(c->stmt[which]);
}

enum tacit_err corpus_run(struct corpus *c, enum corpus_stmt which)
{
    int has_row;
    enum tacit_err err = db_step(c->db, c->stmt[which], &has_row);
    corpus_done(c, which);
    return err;
}

/* ---- passages -------------------------------------------------------------
 */

static enum tacit_err write_chunk(struct corpus *c,
                                  const struct corpus_row *row)
{
    sqlite3_stmt *st;
    TRY(corpus_statement(c, CORPUS_CHUNK_ADD, &st));
    sqlite3_bind_int64(st, 1, row->document_id);
    sqlite3_bind_text(st, 2, row->heading, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, row->text, (int)row->text_len, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, (int64_t)row->place.byte_first);
    sqlite3_bind_int64(st, 5, (int64_t)row->place.byte_end);
    sqlite3_bind_int64(st, 6, row->place.line_first);
    sqlite3_bind_int64(st, 7, row->place.line_last);
    if (row->n_places)
        sqlite3_bind_blob64(st, 8, row->places, row->n_places, SQLITE_STATIC);
    else
        sqlite3_bind_zeroblob(st, 8, 0);
    if (row->print)
        sqlite3_bind_blob(st, 9, row->print, TWIN_PRINT, SQLITE_STATIC);
    return corpus_run(c, CORPUS_CHUNK_ADD);
}

/* ---- words ----------------------------------------------------------------
 */

static enum tacit_err add_words(struct corpus *c, sqlite3_stmt *passage)
{
    sqlite3_stmt *st;
    TRY(corpus_statement(c, CORPUS_WORDS_ADD, &st));
    for (int i = 0; i < 4; i++)
        sqlite3_bind_value(st, i + 1, sqlite3_column_value(passage, i));
    return corpus_run(c, CORPUS_WORDS_ADD);
}

/* When all their vectors are written: each finds its own data in the
 * processor's caches. */
static enum tacit_err insert_words(struct corpus *c)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(c->db, &st,
                 "SELECT id, title, heading, text FROM chunk_content"
                 " WHERE id >= ? ORDER BY id",
                 "i", c->words_from));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        err = add_words(c, st);
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}

/* The words of a write's passages so far: a second thread made them, or they
 * are few. */
static enum tacit_err write_words(struct corpus *c)
{
    int are_in = 0;
    if (!c->words_from) return TACIT_OK;
    if (c->ahead) TRY(words_ahead_adopt(c->ahead, c->words_from, &are_in));
    if (!are_in) TRY(insert_words(c));
    c->words_from = 0;
    return TACIT_OK;
}

static enum tacit_err give_words(struct corpus *c, int64_t id,
                                 const struct corpus_row *row)
{
    if (!c->ahead) {
        TRY(words_make_room(c->db));
        TRY(words_ahead_new(c->db, &c->ahead));
    }
    if (!c->words_from) {
        words_ahead_begin(c->ahead);
        c->words_from = id;
    }
    words_ahead_give(c->ahead, &(struct words_text){.id = id,
                                                    .title = row->title,
                                                    .heading = row->heading,
                                                    .text = row->text,
                                                    .text_len = row->text_len});
    return words_ahead_is_full(c->ahead) ? write_words(c) : TACIT_OK;
}

void corpus_forget(struct corpus *c)
{
    c->words_from = 0;
}

void corpus_rest(struct corpus *c)
{
    words_ahead_free(c->ahead);
    c->ahead = NULL;
}

enum tacit_err corpus_write(struct corpus *c, const struct corpus_row *row)
{
    TRY(write_chunk(c, row));
    int64_t id = sqlite3_last_insert_rowid(c->db->sql);
    TRY(corpus_vector_add(c, id, row->v));
    return give_words(c, id, row);
}

/* ---- documents ------------------------------------------------------------
 */

static enum tacit_err erase_vectors(struct corpus *c, int64_t document_id)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(c->db, &st, "SELECT id FROM chunk WHERE document_id = ?", "i",
                 document_id));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        err = corpus_vector_delete(c, sqlite3_column_int64(st, 0));
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}

enum tacit_err corpus_erase(struct corpus *c, int64_t document_id)
{
    static const char *const all[] = {
        "INSERT INTO chunk_fts(chunk_fts, rowid, title, heading, text)"
        " SELECT 'delete', id, title, heading, text FROM chunk_content"
        " WHERE id IN (SELECT id FROM chunk WHERE document_id = ?)",
        "DELETE FROM chunk WHERE document_id = ?",
        "DELETE FROM document WHERE id = ?",
    };
    TRY(write_words(c)); /* what is not in the index cannot leave it */
    TRY(erase_vectors(c, document_id));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        TRY(db_run(c->db, all[i], "i", document_id));
    return TACIT_OK;
}

enum tacit_err corpus_end(struct corpus *c)
{
    TRY(write_words(c));
    return db_run(c->db, "UPDATE corpus_state SET epoch = epoch + 1", "");
}
