/*
 * corpus_state: what corpus.c, corpus_vectors.c and search.c share of an open
 * corpus. Not for callers.
 */
#ifndef TACIT_RETRIEVAL_CORPUS_STATE_H
#define TACIT_RETRIEVAL_CORPUS_STATE_H

#include "retrieval/corpus.h"
#include "retrieval/document.h"
#include "retrieval/flatindex.h"

struct corpus {
    struct db *db;                 /* borrowed */
    const struct encoder *encoder; /* borrowed */
    char enc_version[ENCODER_VERSION_MAX];
    struct arena scratch;         /* of one embedding */
    char note[DOCUMENT_NOTE_MAX]; /* of the document added last */
    /* All vectors of enc_version as of `epoch`; NULL until the first search
     * and after a change that could not be followed. */
    struct flatindex *vectors;
    int64_t epoch;
};

/* A passage and its cosine to a question. */
struct corpus_near {
    int64_t id;
    float cosine;
};

/* The k passages nearest to v [ENCODER_DIM], of these ids alone (rising; NULL =
 * all), into out [k]: nearest first, then the smaller id. This is all that
 * searching sees of the index of vectors. */
TACIT_CHECKED enum tacit_err corpus_nearest(struct corpus *c, const float *v,
                                            size_t k, const int64_t *only,
                                            size_t n_only,
                                            struct corpus_near *out, size_t *n);
/* A passage's vector into out [ENCODER_DIM]; zeros when there is none of this
 * encoder's. */
TACIT_CHECKED enum tacit_err corpus_vector(struct corpus *c, int64_t chunk_id,
                                           float *out);

/* A passage's change in the index of vectors; v NULL = removed. */
struct vector_change {
    int64_t chunk_id;
    const float *v;
};

/* The index of vectors, loaded or brought up to date with the store. Borrowed
 * until the next write or search. */
TACIT_CHECKED enum tacit_err corpus_vectors(struct corpus *c,
                                            struct flatindex **out);
/* Follow a committed change from epoch - 1 to epoch. Cannot fail: what does not
 * succeed here is loaded again by the next search. */
void corpus_vectors_follow(struct corpus *c, int64_t epoch,
                           const struct vector_change *change, size_t n);
/* Within a write: count it; *epoch gets the new number. */
TACIT_CHECKED enum tacit_err corpus_next_epoch(struct corpus *c,
                                               int64_t *epoch);

/* The absolute path under which a file or folder is known: links and dots are
 * resolved as far as it exists. out[CORPUS_PATH_MAX]. E_DOCUMENT_PATH. */
TACIT_CHECKED enum tacit_err corpus_path(const char *path, char *out);

#endif
