/*
 * corpus_state: what corpus.c, corpus_vectors.c, shelve.c and search.c share of
 * an open corpus. Not for callers.
 */
#ifndef TACIT_RETRIEVAL_CORPUS_STATE_H
#define TACIT_RETRIEVAL_CORPUS_STATE_H

#include "common/model/span_reader.h"
#include "retrieval/chunker.h"
#include "retrieval/corpus.h"
#include "retrieval/document.h"
#include "retrieval/words_ahead.h"

/* Statements that a passage or a question needs: prepared once. */
enum corpus_stmt {
    CORPUS_DOCUMENT_ADD,
    CORPUS_DOCUMENT_FIND,
    CORPUS_CHUNK_ADD,
    CORPUS_WORDS_ADD,
    CORPUS_VECTOR_ADD,
    CORPUS_VECTOR_DELETE,
    CORPUS_VECTOR_READ,
    CORPUS_HAS_STALE,
    CORPUS_STMTS
};

struct corpus {
    struct db *db;                 /* borrowed */
    const struct encoder *encoder; /* borrowed */
    char enc_version[ENCODER_VERSION_MAX];
    size_t dim;                       /* of the encoder's vectors */
    struct chunk_sizes sizes;         /* zeros until a document is cut */
    sqlite3_stmt *stmt[CORPUS_STMTS]; /* owned, NULL until needed */
    struct span_reader *reader;       /* owned, NULL until needed */
    struct arena scratch;             /* of one embedding */
    char note[DOCUMENT_NOTE_MAX];     /* of the document added last */
    /* Documents that are read and wait to be written (corpus.c), oldest first;
     * owned. */
    struct prepared *first, *last;
    size_t n_gathered, gathered_bytes, gathered_passages;
    int64_t gathered_since_ns;
    int is_gathering, is_broken;
    int64_t words_from; /* passages from here on lack their words; 0 = none */
    struct words_ahead *ahead; /* their words; owned, NULL until needed */
};

/* Statement `which`, reset: bind, then step, then corpus_done(). */
TACIT_CHECKED enum tacit_err corpus_statement(struct corpus *c,
                                              enum corpus_stmt which,
                                              sqlite3_stmt **out);
/* Run a statement without rows. */
TACIT_CHECKED enum tacit_err corpus_run(struct corpus *c,
                                        enum corpus_stmt which);
/* Nothing stays active, and nothing borrowed stays bound. */
void corpus_done(struct corpus *c, enum corpus_stmt which);

/* ---- one passage (corpus_write.c) -----------------------------------------
 */

struct corpus_row {
    int64_t document_id;
    const char *title;
    const char *text;
    size_t text_len;
    const char *heading;
    struct place place;
    const void *places; /* [n_places] bytes: of its sentences (places.h) */
    size_t n_places;
    const uint8_t *print; /* [TWIN_PRINT] or NULL */
    const float *v;       /* [dim]; zeros: there are no words */
};
/* Write it, within a write; its words stand in the index from corpus_end() on.
 */
TACIT_CHECKED enum tacit_err corpus_write(struct corpus *c,
                                          const struct corpus_row *row);
/* Delete a document's rows everywhere, within a write. */
TACIT_CHECKED enum tacit_err corpus_erase(struct corpus *c,
                                          int64_t document_id);
/* The end of each write: the words of what it added, and count it. */
TACIT_CHECKED enum tacit_err corpus_end(struct corpus *c);
/* A write was rolled back: by us, or as SQLite says of whoever did. */
void corpus_forget(struct corpus *c);
/* The writes are over: the memory that was kept between them goes. */
void corpus_rest(struct corpus *c);

/* ---- vectors (corpus_vectors.c) -------------------------------------------
 */

/* The table of vectors: its rowids are those of the passages. */
#define CORPUS_VECTORS "passage_vector"

/* A passage and its cosine to a question. */
struct corpus_near {
    int64_t id;
    float cosine;
};

/* The k passages nearest to v [dim], of these ids alone (rising; NULL =
 * all), into out [k]: nearest first, then the smaller id. Within a transaction
 * of the caller. Recall is 0.95 or better; of up to a thousand ids, or among
 * few vectors, all are compared. This is all that searching sees of the index
 * of vectors. E_INDEX_DAMAGED. */
TACIT_CHECKED enum tacit_err corpus_nearest(struct corpus *c, const float *v,
                                            size_t k, const int64_t *only,
                                            size_t n_only,
                                            struct corpus_near *out, size_t *n);
/* A passage's vector, as close as it is kept, into out [dim]; zeros
 * when there is none. */
TACIT_CHECKED enum tacit_err corpus_vector(struct corpus *c, int64_t chunk_id,
                                           float *out);
/* Whether a vector [dim] is not all zeros. */
int corpus_has_direction(const struct corpus *c, const float *v);
/* Within a write: add a passage's vector, unless it is zero; delete it. */
TACIT_CHECKED enum tacit_err corpus_vector_add(struct corpus *c,
                                               int64_t chunk_id,
                                               const float *v);
TACIT_CHECKED enum tacit_err corpus_vector_delete(struct corpus *c,
                                                  int64_t chunk_id);

/* The absolute path under which a file or folder is known: links and dots are
 * resolved as far as it exists. out[CORPUS_PATH_MAX]. E_DOCUMENT_PATH. */
TACIT_CHECKED enum tacit_err corpus_path(const char *path, char *out);

#endif
