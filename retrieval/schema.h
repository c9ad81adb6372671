/*
 * schema: the tables of documents, passages and vectors in the device's one
 * SQLite file. The device's own migrations follow these (client/device.c).
 *
 *   document ──1:n──> chunk ──1:1──> chunk_fts (FTS5)
 *                        └────1:1──> vector
 */
#ifndef TACIT_RETRIEVAL_SCHEMA_H
#define TACIT_RETRIEVAL_SCHEMA_H

/* A store of documents alone takes all in order. The device's store was begun
 * when there were CORPUS_N_FIRST of them: what came later stands behind its own
 * (client/device.c), so that a store keeps the numbers that it has counted. */
enum { CORPUS_N_FIRST = 1, CORPUS_N_MIGRATIONS = 2 };
extern const char *const corpus_migrations[CORPUS_N_MIGRATIONS];

#endif
