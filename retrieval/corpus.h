/*
 * corpus: the only writer of documents. Walk A's first half:
 *
 *   path ─> document_read ─> chunker_next ─> embedder_embed ─> ONE transaction:
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

enum corpus_outcome { CORPUS_ADDED, CORPUS_UNCHANGED, CORPUS_REPLACED };

/* Index one file. NOTFOUND, IO, FORMAT (binary, not UTF-8, nothing to read:
 * E_DOCUMENT_…), LIMIT (too large), UNSUPPORTED (kind). Nothing is changed on
 * failure. */
TACIT_CHECKED enum tacit_err corpus_add(struct corpus *c, const char *path,
                                        enum corpus_outcome *outcome,
                                        size_t *n_chunks);
/* What was left out of the document that corpus_add() has just written: pages
 * over the limit, pages without text …; "" = nothing. Borrowed. */
const char *corpus_note(const struct corpus *c);
/* Remove the document at path, or all below it when it is a folder's path;
 * *n_removed may be 0. */
TACIT_CHECKED enum tacit_err corpus_remove(struct corpus *c, const char *path,
                                           size_t *n_removed);
/* Remove every document below `folder` whose file is gone. */
TACIT_CHECKED enum tacit_err corpus_prune(struct corpus *c, const char *folder,
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
/* Rows in all three indexes; they must agree (doctor). Stale documents are
 * those of corpus_stale(). */
struct corpus_counts {
    int64_t n_documents, n_chunks, n_fts, n_vectors, n_stale;
};
TACIT_CHECKED enum tacit_err corpus_count(struct corpus *c,
                                          struct corpus_counts *out);

/* All passages with their vectors, for training and measuring search: the
 * passage's document path, heading and vector [ENCODER_DIM]; in order of id. */
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
