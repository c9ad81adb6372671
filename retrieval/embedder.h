/*
 * embedder: a passage with what it stands under -> its vector.
 *
 *   v = normalise(e(text) + 0.5 e(headings) + 0.3 e(title))  [dim]
 *
 * with e() the unit vector of a table of words, built in or imported. A passage
 * that says "Give 5 mg at night" is about warfarin because its heading says so.
 * Apart from the text, a heading of three words is not lost among 150. (On the
 * training questions of the four simulated sites, recall@5 of the vectors alone
 * is 0.33 with these weights and 0.27 without title and headings.) A network
 * reads "title headings text" as one text, as it was trained to.
 */
#ifndef TACIT_RETRIEVAL_EMBEDDER_H
#define TACIT_RETRIEVAL_EMBEDDER_H

#include "common/model/adapter.h"
#include "common/model/encoder.h"
#include "retrieval/chunker.h"

/* Tokens of a network's context that are kept for marks, title and headings. */
enum { EMBEDDER_CONTEXT_TOKENS = 36 };

struct embedder_text {
    const char *title, *heading; /* "" for none */
    struct text text;
};
/* Vectors of n passages into out [n, dim]: together, since a network runs them
 * in batches on all cores. The arena is scratch and is reset. */
TACIT_CHECKED enum tacit_err embedder_passages(const struct encoder *e,
                                               struct arena *scratch,
                                               const struct embedder_text *list,
                                               size_t n, float *out);
/* Vector of one into out [dim]. */
TACIT_CHECKED enum tacit_err embedder_passage(const struct encoder *e,
                                              struct arena *scratch,
                                              const char *title,
                                              const char *heading,
                                              struct text text, float *out);
/* How long its passages are, in tokens of the encoder (borrowed); what is too
 * long for its context is made shorter. Errors as encoder_ready(). */
TACIT_CHECKED enum tacit_err embedder_sizes(const struct encoder *e,
                                            struct chunk_sizes *out);
/* Vector of a question, through the adapter w [dim, dim] (NULL = identity). */
TACIT_CHECKED enum tacit_err embedder_question(const struct encoder *e,
                                               struct arena *scratch,
                                               const char *question,
                                               const float *w, float *out);

#endif
