/*
 * embedder: a passage with what it stands under -> its vector.
 *
 *   v = normalise(e(text) + 0.5 e(headings) + 0.3 e(title))  [ENCODER_DIM]
 *
 * with e() the encoder's unit vector. A passage that says "Give 5 mg at night"
 * is about warfarin because its heading says so. Apart from the text, a heading
 * of three words is not lost among 150. (On the training questions of the four
 * simulated sites, recall@5 of the vectors alone is 0.33 with these weights and
 * 0.27 without title and headings.)
 */
#ifndef TACIT_RETRIEVAL_EMBEDDER_H
#define TACIT_RETRIEVAL_EMBEDDER_H

#include "common/model/adapter.h"
#include "common/model/encoder.h"

/* Vector of a passage into out [ENCODER_DIM]. The arena is scratch and is
 * reset. */
TACIT_CHECKED enum tacit_err embedder_passage(const struct encoder *e,
                                              struct arena *scratch,
                                              const char *title,
                                              const char *heading,
                                              struct text text, float *out);
/* Vector of a question, through the adapter w [dim, dim] (NULL = identity). */
TACIT_CHECKED enum tacit_err embedder_question(const struct encoder *e,
                                               struct arena *scratch,
                                               const char *question,
                                               const float *w, float *out);

#endif
