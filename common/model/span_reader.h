/*
 * span_reader: a question and a passage -> the few words of it that answer, and
 * how far they are ahead of there being no answer.
 *
 *   reader_text.h ─> arch_reader.c ─> best first and last row, less row 0
 *
 * The built-in one: weights that are part of the program (built_in.h;
 * models/README.md says how they were made), or those that a federation has
 * learnt from them.
 *
 * Thread rule: one thread at a time per reader.
 */
#ifndef TACIT_MODEL_SPAN_READER_H
#define TACIT_MODEL_SPAN_READER_H

#include "common/model/reader_text.h"

struct span_reader; /* owned */

struct span_found {
    size_t first, end; /* bytes of the passage; equal: it has no words */
    float margin;      /* of the best words' score over that of none */
};

/* w [n]: weights as model_params() of the architecture "reader" has them;
 * NULL: those of the program. SHAPE, NOMEM. */
TACIT_CHECKED enum tacit_err span_reader_new(const float *w, size_t n,
                                             struct span_reader **out);
void span_reader_free(struct span_reader *r);
TACIT_CHECKED enum tacit_err span_reader_read(struct span_reader *r,
                                              const struct reader_pair *p,
                                              struct span_found *out);

#endif
