/*
 * corpus: the only writer of documents. Walk A's first half:
 *
 *   path ─> document_read ─> chunker_next ─> embedder ─> ONE transaction:
 *           document row, chunk rows, FTS5 rows, vector rows
 *
 * A document is its absolute path. An unchanged file (same content hash, same
 * version of chunker and encoder) does nothing; a changed one is replaced
 * whole; a removed one disappears from all three indexes. A document that
 * cannot be read keeps its earlier state, and never stops the others.
 *
 * Thread rule: one thread per corpus (it owns a database connection's writes).
 */
#ifndef TACIT_RETRIEVAL_CORPUS_H
#define TACIT_RETRIEVAL_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/db.h"
#include "common/base/err.h"
#include "common/model/encoder.h"

enum { CORPUS_PATH_MAX = 4096, CORPUS_HEADING_MAX = 256 };

struct corpus; /* owned */

/* Over an open store (borrowed; corpus_migrations applied) and an encoder
 * (borrowed). */
TACIT_CHECKED enum tacit_err corpus_open(struct db *db,
                                         const struct encoder *encoder,
                                         struct corpus **out);
void corpus_close(struct corpus *c);
/* Within a write of the caller: the encoder is another one than before. Vectors
 * of another length are dropped, so that all documents are stale; those of the
 * same length wait beside each other for corpus_stale(). */
TACIT_CHECKED enum tacit_err corpus_fit(struct corpus *c);

enum corpus_outcome { CORPUS_ADDED, CORPUS_UNCHANGED, CORPUS_REPLACED };

/* Index one file. NOTFOUND, IO, FORMAT (binary, not UTF-8, nothing to read:
 * E_DOCUMENT_…), LIMIT (too large), UNSUPPORTED (kind). Nothing is changed on
 * failure. */
TACIT_CHECKED enum tacit_err corpus_add(struct corpus *c, const char *path,
                                        enum corpus_outcome *outcome,
                                        size_t *n_chunks);
/* From here on corpus_add() may write several documents in one transaction:
 * those of at most a tenth of a second, 128 documents or 8 MiB. What it has not
 * written is lost with the process, as if it had not been added yet. A failure
 * to write is that of all that waited: corpus_is_broken(). */
void corpus_gather(struct corpus *c);
/* Write what waits; each addition is a transaction again. */
TACIT_CHECKED enum tacit_err corpus_settle(struct corpus *c);
/* Whether the last write failed: not a document's fault, but the store's. */
int corpus_is_broken(const struct corpus *c);
/* What was left out of the document that corpus_add() has just written: pages
 * over the limit, pages without text …; "" = nothing. Borrowed. */
const char *corpus_note(const struct corpus *c);
/* Remove the document at path, or all below it when it is a folder's path;
 * *n_removed may be 0. */
TACIT_CHECKED enum tacit_err corpus_remove(struct corpus *c, const char *path,
                                           size_t *n_removed);
/* Whether what is gone may be removed: *may = 0 where it only seems to be, as
 * on a disk that is unplugged. Asked when the file was looked for. */
struct corpus_prune {
    enum tacit_err (*may_remove)(void *ctx, const char *path, int *may);
    void *ctx;
};
/* Remove every document below `folder` whose file is gone; prune may be NULL.
 */
TACIT_CHECKED enum tacit_err corpus_prune(struct corpus *c, const char *folder,
                                          const struct corpus_prune *prune,
                                          size_t *n_removed);

struct corpus_document {
    int64_t id;
    const char *path, *title, *kind, *note; /* borrowed during the visit */
    int64_t size_bytes, n_chunks, added_s;
};
/* Every document in order of path; a visit error ends it. */
TACIT_CHECKED enum tacit_err corpus_list(
    struct corpus *c,
    enum tacit_err (*visit)(const struct corpus_document *d, void *ctx),
    void *ctx);
/* The paths of all documents that another version of the chunker or of the
 * encoder has made: corpus_add() makes each of them again, in a transaction of
 * its own, so that whoever is interrupted goes on where he was. Into out, which
 * is empty, each with its NUL; *n of them. */
TACIT_CHECKED enum tacit_err corpus_stale(struct corpus *c, struct buf *out,
                                          size_t *n);
/* Rows in all three indexes; they must agree (doctor), but that a passage
 * without words has no vector. Stale documents are
 * those of corpus_stale(). */
struct corpus_counts {
    int64_t n_documents, n_chunks, n_fts, n_vectors, n_stale;
};
TACIT_CHECKED enum tacit_err corpus_count(struct corpus *c,
                                          struct corpus_counts *out);

/* Passages without a vector that are to have one (their text has words that the
 * encoder knows): counted, or embedded anew from their text, which gives the
 * vector that they had; vectors of passages that are gone are deleted. In
 * writes of bounded size. *n of them. */
enum corpus_mend { CORPUS_MEND_COUNT, CORPUS_MEND };
TACIT_CHECKED enum tacit_err corpus_mend(struct corpus *c, enum corpus_mend how,
                                         size_t *n);
/* Check the whole table of vectors and mend it: a damaged one is made anew from
 * its rows, or else empty, and what is missing is embedded. Then search with
 * some of its own vectors, approximately and exactly. Where the store may only
 * be read, what there is to mend is E_INDEX_DAMAGED. */
struct corpus_examined {
    uint64_t n_vectors, n_lists;
    int was_damaged;
    size_t n_embedded;
    size_t k, n_queries;
    double recall, search_ms, exact_ms; /* mean wall time of a query */
};
/* Told what is done now and how far it is; may be NULL. */
struct corpus_watch {
    void (*step)(void *ctx, const char *what, const char *unit, uint64_t done,
                 uint64_t total);
    void *ctx;
};
TACIT_CHECKED enum tacit_err corpus_examine(struct corpus *c,
                                            const struct corpus_watch *watch,
                                            struct corpus_examined *out);

/* All passages with their vectors, for training and measuring search: the
 * passage's document path, heading and vector [encoder_dim], as close as it is
 * kept (a byte per number); in order of id. Those without one are left out. */
struct corpus_passage {
    int64_t chunk_id;
    const char *path, *heading; /* heading = the innermost one, "" if none */
    const char *text;
    size_t text_len;
    const float *vector;
};
TACIT_CHECKED enum tacit_err corpus_passages(
    struct corpus *c,
    enum tacit_err (*visit)(const struct corpus_passage *p, void *ctx),
    void *ctx);

#endif
