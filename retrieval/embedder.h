/*
 * embedder: a passage with what it stands under -> its vector.
 *
 *   title + headings + text ──encoder──> v [ENCODER_DIM], |v| = 1
 *
 * A passage on "Give 5 mg at night" is about warfarin because its heading says
 * so; hence the title and the headings are embedded with it.
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
