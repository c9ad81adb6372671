#include "retrieval/schema.h"

#include <math.h>
#include <string.h>

#include "common/model/encoder.h"
#include "retrieval/vecindex.h"

/* A unit vector's squared length, however it was rounded. */
#define LENGTH2_MIN 0.5
#define LENGTH2_MAX 2.0

/* A passage's text stands once, in chunk; chunk_fts keeps only the inverted
 * index and reads what it needs through the view. `sentences` holds the places
 * of the passage's sentences (places.h). `epoch` counts the changes, so that
 * who has read the passages sees that there are others. `made_by` is the
 * chunker's version (0: before it was noted), `note` what was left out of a
 * document, `print` what equal passages have in common (twin.h; NULL: made
 * before there were any), `enc_version` the encoder's that made the document's
 * vectors ('': more than one, so that it is made anew). The last step takes the
 * vectors over but those of length zero: they were nearest to nothing. */
const char *const corpus_migrations[CORPUS_N_MIGRATIONS] = {
    "CREATE TABLE document("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " path TEXT NOT NULL UNIQUE,"
    " title TEXT NOT NULL,"
    " kind TEXT NOT NULL,"
    " hash BLOB NOT NULL,"
    " size_bytes INTEGER NOT NULL,"
    " n_chunks INTEGER NOT NULL,"
    " added_s INTEGER NOT NULL);"

    "CREATE TABLE chunk("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " document_id INTEGER NOT NULL REFERENCES document(id),"
    " heading TEXT NOT NULL,"
    " text TEXT NOT NULL,"
    " byte_first INTEGER NOT NULL,"
    " byte_end INTEGER NOT NULL,"
    " line_first INTEGER NOT NULL,"
    " line_last INTEGER NOT NULL,"
    " sentences BLOB NOT NULL);"
    "CREATE INDEX chunk_by_document ON chunk(document_id);"

    "CREATE VIEW chunk_content AS"
    " SELECT chunk.id AS id, document.title AS title,"
    "  chunk.heading AS heading, chunk.text AS text"
    " FROM chunk JOIN document ON document.id = chunk.document_id;"
    "CREATE VIRTUAL TABLE chunk_fts USING fts5("
    " title, heading, text, content='chunk_content', content_rowid='id',"
    " tokenize='porter unicode61 remove_diacritics 2');"

    "CREATE TABLE vector("
    " chunk_id INTEGER PRIMARY KEY REFERENCES chunk(id),"
    " enc_version TEXT NOT NULL,"
    " v BLOB NOT NULL);" /* f32, little-endian, [ENCODER_DIM] */

    "CREATE TABLE corpus_state("
    " one INTEGER PRIMARY KEY CHECK(one = 1),"
    " epoch INTEGER NOT NULL);"
    "INSERT INTO corpus_state VALUES(1, 0);",

    "ALTER TABLE document ADD COLUMN made_by INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE document ADD COLUMN note TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE chunk ADD COLUMN print BLOB;"
    "CREATE INDEX chunk_by_print ON chunk(print) WHERE print IS NOT NULL;",

    "ALTER TABLE document ADD COLUMN enc_version TEXT NOT NULL DEFAULT '';"
    "UPDATE document SET enc_version = coalesce("
    " (SELECT CASE WHEN min(v.enc_version) = max(v.enc_version)"
    "  AND count(*) = n_chunks THEN min(v.enc_version) END"
    "  FROM chunk JOIN vector AS v ON v.chunk_id = chunk.id"
    "  WHERE chunk.document_id = document.id), '');"
    "CREATE INDEX document_by_encoder ON document(enc_version);" SCHEMA_VECTORS
    "INSERT INTO passage_vector(rowid, v)"
    " SELECT chunk_id, v FROM vector WHERE schema_has_direction(v);"
    "DROP TABLE vector;",
};
_Static_assert((int)ENCODER_DIM == 256, "the last step says so");

/* Whether bytes are a vector that the table takes. */
static void has_direction(sqlite3_context *ctx, int n, sqlite3_value **values)
{
    float v[ENCODER_DIM];
    double length2 = 0;
    const void *bytes = sqlite3_value_blob(values[0]);
    (void)n;
    if (bytes && sqlite3_value_bytes(values[0]) == (int)sizeof v) {
        memcpy(v, bytes, sizeof v);
        for (size_t i = 0; i < ENCODER_DIM; i++)
            length2 += (double)v[i] * (double)v[i];
    }
    sqlite3_result_int(ctx, isfinite(length2) && length2 > LENGTH2_MIN &&
                                length2 < LENGTH2_MAX);
}

static enum tacit_err prepare(struct db *db)
{
    TRY(vecindex_register(db->sql));
    return db_error(db,
                    sqlite3_create_function(db->sql, "schema_has_direction", 1,
                                            SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                            NULL, has_direction, NULL, NULL),
                    "cannot add a function");
}

enum tacit_err schema_open_with(struct db *db, const char *path,
                                const struct db_opening *how)
{
    struct db_opening all = *how;
    all.page_bytes = SCHEMA_PAGE_BYTES;
    all.prepare = prepare;
    return db_open_with(db, path, &all);
}

enum tacit_err schema_open(struct db *db, const char *path, enum db_mode mode,
                           const struct db_vfs *vfs)
{
    const struct db_opening how = {.mode = mode,
                                   .vfs = vfs,
                                   .migrations = corpus_migrations,
                                   .n = CORPUS_N_MIGRATIONS};
    return schema_open_with(db, path, &how);
}
