/*
 * schema: the tables of documents, passages and vectors in the device's one
 * SQLite file. The device's own migrations follow these (client/device.c).
 *
 *   document ──1:n──> chunk ──1:1──> chunk_fts (FTS5)
 *                        └────1:1──> passage_vector (tacit_vec, vecindex.h)
 *
 * A passage without any word the encoder knows has no vector.
 *
 * New stores have pages of SCHEMA_PAGE_BYTES, others keep theirs; the vectors'
 * segments fill a page, also of a store that is sealed later, whose pages are
 * 40 bytes shorter: what a segment of 256 numbers leaves free is more.
 */
#ifndef TACIT_RETRIEVAL_SCHEMA_H
#define TACIT_RETRIEVAL_SCHEMA_H

#include "common/base/db.h"

/* A store of documents alone takes all in order. The device's store was begun
 * when there were CORPUS_N_FIRST of them: what came later stands behind its own
 * (client/device.c), up to CORPUS_N_SECOND before its folders, so that a store
 * keeps the numbers that it has counted. */
enum { CORPUS_N_FIRST = 1, CORPUS_N_SECOND = 2, CORPUS_N_MIGRATIONS = 3 };
/* The table of vectors, for the built-in encoder; corpus_fit() makes another
 * for another. */
#define SCHEMA_VECTORS                                                         \
 "CREATE VIRTUAL TABLE passage_vector USING tacit_vec("                        \
 "v float[256] metric=cosine);"
enum { SCHEMA_PAGE_BYTES = 8192 };
extern const char *const corpus_migrations[CORPUS_N_MIGRATIONS];

/* db_open_with() with what the tables need; page_bytes and prepare are set
 * here. */
TACIT_CHECKED enum tacit_err schema_open_with(struct db *db, const char *path,
                                              const struct db_opening *how);
/* A store of documents alone. */
TACIT_CHECKED enum tacit_err schema_open(struct db *db, const char *path,
                                         enum db_mode mode,
                                         const struct db_vfs *vfs);

#endif
