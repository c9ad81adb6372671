/*
 * vecindex: vectors in an SQLite table that finds the nearest ones. The table
 * is `tacit_vec`; this header puts it into a connection and looks after one.
 *
 *   CREATE VIRTUAL TABLE v USING tacit_vec(
 *       embedding float[384] metric=cosine, dept int filter,
 *       lang text filter, tenant text partition key, +chunk text);
 *   SELECT rowid, distance FROM v
 *    WHERE embedding MATCH :q AND k = 10 AND dept IN (3, 4);
 *
 *   SQL ──> vecindex.c        methods of the module
 *            ├ _args.c        what CREATE says
 *            ├ _plan.c        which conditions a search takes over (xBestIndex)
 *            ├ _filter.c      those conditions, with their values (xFilter)
 *            ├ _cursor.c      rows and columns
 *            ├ _write.c       INSERT, UPDATE, DELETE; commands
 *            ├ _value.c       vectors and filter words from SQL values
 *            ├ _import.c      tables of sqlite-vec
 *            └ _check.c       integrity, rebuilding, measuring; functions
 *                 └> ivf (lists, probing; no SQL) ──> rabitq
 *   shadow tables <── _store.c (struct ivf_store) ── _sql.c (statements)
 *                      └ _ahead.c: the disk is asked for pages early
 *
 * Shadow tables of v; all integers are rowids:
 *
 *   v_info   id, value           1 = ivf's meta blob
 *   v_list   id, part, head      a list's centroid
 *   v_seg    id, data            list << 20 | segment: a list's entries and its
 *                                vectors are neighbours, a page each
 *   v_place  id, list, second    where a vector lies: one row each
 *   v_part   id, p0 …            partitions by their keys   (if there are any)
 *   v_aux    id, p0 … f0 … a0 …  the other columns          (if there are any)
 *
 * What counts is the vectors in v_seg, and v_aux; all else is made from them
 * again by INSERT INTO v(v) VALUES ('rebuild').
 *
 * Transactions are SQLite's: every change is made by statements inside the
 * caller's. Outside SQLite there are only centroids, which are dropped by any
 * rollback and when another connection has changed them, and what the caller's
 * transaction inserted last (ivf_held.c), which is written before anything else
 * of it and dropped by a rollback. No statement stays
 * active between calls, so nothing holds back a checkpoint. Where a change
 * breaks off midway and SQLite does not take it back by itself, the table is
 * locked until the transaction is rolled back (it can't be committed).
 *
 * Thread rule: that of the connection.
 */
#ifndef TACIT_RETRIEVAL_VECINDEX_H
#define TACIT_RETRIEVAL_VECINDEX_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "retrieval/ivf.h"
#include "retrieval/vecindex_sqlite.h"

/* Make `tacit_vec` and its functions known to db, unless they are. UNSUPPORTED:
 * an SQLite older than VECINDEX_SQLITE_MIN. */
TACIT_CHECKED enum tacit_err vecindex_register(sqlite3 *db);

/* ivf_search() of schema.table, for who has no SQL values but arrays. The
 * caller holds a transaction, so that all reads see one state. NOTFOUND: no
 * such tacit_vec table; E_VECTOR_VALUE, E_INDEX_DAMAGED, LIMIT. */
TACIT_CHECKED enum tacit_err vecindex_search(sqlite3 *db, const char *schema,
                                             const char *table,
                                             const struct ivf_query *query,
                                             struct ivf_hit *hits, size_t *n);

/* Whom what takes long on a connection tells how far it is. Kept until another
 * is given; step NULL: nobody. */
struct vecindex_watch {
    void (*step)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};
/* NOTFOUND: tacit_vec is not known to db. */
TACIT_CHECKED enum tacit_err vecindex_watch(sqlite3 *db,
                                            struct vecindex_watch watch);

/* Check the whole index of schema.table. NOTFOUND: no such tacit_vec table. */
TACIT_CHECKED enum tacit_err vecindex_check(sqlite3 *db, const char *schema,
                                            const char *table,
                                            struct ivf_report *report);

/* Make the index anew from its vectors. NOTFOUND; the errors of a write. */
TACIT_CHECKED enum tacit_err vecindex_rebuild(sqlite3 *db, const char *schema,
                                              const char *table);

struct vecindex_recall {
    size_t n_queries, k;
    double recall;              /* of the exact k nearest, the share found */
    double search_ms, exact_ms; /* mean wall time of a query */
};
/* Search with `n` of the table's own vectors, spread over it, approximately and
 * exactly. n = 0 in the result: the table is empty. NOTFOUND; LIMIT: k. */
TACIT_CHECKED enum tacit_err vecindex_measure(
    sqlite3 *db, const char *schema, const char *table, size_t n, size_t k,
    const struct vecindex_watch *watch, struct vecindex_recall *out);

#endif
