/*
 * shelve: texts that are no files into a store, each one passage: a test
 * collection's documents, the paragraphs that questions are asked about.
 *
 *   name, title, text ─sentence.h─> places ─embedder.h─> rows as corpus.h's
 *
 * Their place is in the text itself: bytes from 0, line 1.
 */
#ifndef TACIT_RETRIEVAL_SHELVE_H
#define TACIT_RETRIEVAL_SHELVE_H

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "retrieval/corpus.h"

/* `path` stands where a document's path does. Within a write of the caller, who
 * ends with shelve_end(), or rolls back and closes the corpus. STATE when there
 * is one of this name. */
TACIT_CHECKED enum tacit_err shelve_text(struct corpus *c, const char *path,
                                         const char *title, const char *text);
/* The same of n texts, which are embedded together. */
struct shelve_row {
    const char *path, *title, *text;
};
TACIT_CHECKED enum tacit_err shelve_texts(struct corpus *c,
                                          const struct shelve_row *rows,
                                          size_t n);
/* What is made of a text before the store is locked, as prepared.h does of a
 * file: its hash, and where its sentences stand (places.h). Owned. */
struct shelve_cut {
    struct digest hash;
    struct buf places;
};
TACIT_CHECKED enum tacit_err shelve_cut(const char *text,
                                        struct shelve_cut *out);
void shelve_cut_release(struct shelve_cut *cut);
/* As shelve_text() with that and the passage's vector [dim] given. */
TACIT_CHECKED enum tacit_err shelve_vector(struct corpus *c,
                                           const struct shelve_row *row,
                                           const struct shelve_cut *cut,
                                           const float *v);
/* Within the same write: the words of what was added, and count the change. */
TACIT_CHECKED enum tacit_err shelve_end(struct corpus *c);

#endif
