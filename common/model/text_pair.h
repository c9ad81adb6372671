/*
 * text_pair: two texts as one sequence, as BERT's pair template has them: a
 * question and a passage that may answer it, for cross-encoders.
 *
 *   [CLS] question [SEP] passage [SEP]
 *   |--- type 0 --------||- type 1 --|
 *                        ^ second
 *
 * Where both are too long for the network, the passage loses its end; only a
 * question that would leave it less than a quarter of the room loses its own.
 * Equal to tokenizers' template with truncation `only_second`.
 *
 * Thread rule: as the vocabulary.
 */
#ifndef TACIT_MODEL_TEXT_PAIR_H
#define TACIT_MODEL_TEXT_PAIR_H

#include "common/model/encoder.h"
#include "common/model/vocab.h"

enum { TEXT_PAIR_MIN = 8 };

struct text_pair_parts {
    size_t second; /* where the passage begins, from the sequence's first */
    size_t n_cut;  /* tokens that were left out */
};

/* Append the sequence, at most `most` (TEXT_PAIR_MIN or more) tokens, to
 * *out. A passage without n is none: the question alone, between its marks.
 * LIMIT, NOMEM. */
TACIT_CHECKED enum tacit_err text_pair_encode(const struct vocab *v,
                                              struct text question,
                                              struct text passage, size_t most,
                                              struct vocab_ids *out,
                                              struct text_pair_parts *parts);

#endif
