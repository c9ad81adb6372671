/*
 * prepared: a document that is read, cut and embedded, which is most of an
 * addition's time, before the store is locked to write it.
 *
 *   file ──document──> text ──chunker──> passages ──embedder──> vectors
 *                                        kept, so that it is cut once
 */
#ifndef TACIT_RETRIEVAL_PREPARED_H
#define TACIT_RETRIEVAL_PREPARED_H

#include "common/base/buf.h"
#include "retrieval/chunker.h"
#include "retrieval/corpus.h"
#include "retrieval/document.h"

enum { PREPARED_PASSAGES_MAX = 1 << 17 };

/* What is kept of a chunk. */
struct passage {
    size_t text_first, text_end, own_first; /* of the document's text */
    struct place place;
    size_t heading;          /* where it begins among the headings */
    size_t places, n_places; /* of its sentences: where, how many bytes */
};

struct prepared {
    struct prepared *next; /* for the owner's list */
    char path[CORPUS_PATH_MAX];
    struct document d;
    size_t n;                    /* passages */
    struct buf passages;         /* struct passage [n] */
    struct buf headings;         /* each with its NUL, once for neighbours */
    struct buf places;           /* places.h */
    struct buf vectors;          /* f32 [n, dim], filled by the owner */
    enum corpus_outcome outcome; /* of writing it; the owner's */
};

/* Open a file; owned. dim: of the vectors. Errors of corpus_path() and
 * document_open(). */
TACIT_CHECKED enum tacit_err prepared_new(const char *path, size_t dim,
                                          struct prepared **out);
/* Cut what document_parse() has read. E_DOCUMENT_TOO_LARGE, NOMEM. */
TACIT_CHECKED enum tacit_err prepared_cut(struct prepared *p,
                                          const struct chunk_sizes *sizes);
/* i below p->n; borrowed. */
const struct passage *prepared_passage(const struct prepared *p, size_t i);
/* Joined by CHUNK_HEADING_MARK; borrowed. */
const char *prepared_heading(const struct prepared *p,
                             const struct passage *one);
void prepared_free(struct prepared *p);

#endif
