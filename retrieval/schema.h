/*
 * schema: the tables of documents, passages and vectors in the device's one
 * SQLite file. The device's own migrations follow these (client/device.c).
 *
 *   document ──1:n──> chunk ──1:1──> chunk_fts (FTS5)
 *                        └────1:1──> vector
 */
#ifndef TACIT_RETRIEVAL_SCHEMA_H
#define TACIT_RETRIEVAL_SCHEMA_H

enum { CORPUS_N_MIGRATIONS = 1 };
extern const char *const corpus_migrations[CORPUS_N_MIGRATIONS];

#endif
