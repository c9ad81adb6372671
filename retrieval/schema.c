#include "retrieval/schema.h"

/* A passage's text stands once, in chunk; chunk_fts keeps only the inverted
 * index and reads what it needs through the view. `sentences` holds the places
 * of the passage's sentences (places.h). `epoch` counts the changes, so that
 * another process sees that its copy of the vectors is old. `made_by` is the
 * chunker's version (0: before it was noted), `note` what was left out of a
 * document, `print` what equal passages have in common (twin.h; NULL: made
 * before there were any). */
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
};
