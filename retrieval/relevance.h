/*
 * relevance: how sure a passage makes us that it answers a question.
 *
 *   question ─> terms with weights, vector, gain          struct inquiry
 *   passage  ─> where the terms stand, its sentences      struct passage
 *                        └─> sentence, passage, cosine, gain ─> confidence
 *
 *   sentence    best of its sentences: share of the question's weight that the
 *               sentence holds with the headings above it
 *   passage     share that the whole passage holds with its headings
 *   cosine      of the (adapted) question and the passage
 *   gain        how much more the trained adapter moves this question than a
 *               random one: |q W| sqrt(dim) / |W| - 1, from 0 to 1. Training
 *               moves what the staff ask; what nobody asked stays where it is.
 *               0 without an adapter.
 *
 *   log odds   = slopes . (sentence, passage, cosine, gain) + offset, which is
 *                another with an adapter: that it is about the question
 *   confidence = 1 / (1 + exp(-log odds)) x doubt.h: and that it answers it
 *
 * A logistic regression; relevance.c says on which questions it was fitted.
 */
#ifndef TACIT_RETRIEVAL_RELEVANCE_H
#define TACIT_RETRIEVAL_RELEVANCE_H

#include "common/model/span_reader.h"
#include "retrieval/chunker.h"
#include "retrieval/evidence.h"
#include "retrieval/search.h"

/* A question, ready to be compared with passages. */
struct inquiry {
    struct question question; /* arena */
    double weight[QUESTION_TERMS_MAX], weight_sum;
    float vector[ENCODER_DIM_MAX]; /* through the adapter */
    int is_adapted;
    double gain;
};

struct relevance {
    double sentence, passage, cosine, gain;
    double log_odds; /* that it is about the question */
    double answers;  /* chance that it then answers it (doubt.h) */
};

struct passage {
    const struct search_hit *hit; /* borrowed */
    struct evidence_mark marks[EVIDENCE_MARKS_MAX];
    size_t n_marks;
    struct chunk_sentence sentences[CHUNK_SENTENCES_MAX];
    size_t n_sentences, best; /* best: the sentence that holds most */
    struct span_found answer; /* is_read: words of it (passage_reader.h) */
    int is_read;
    struct relevance relevance;
    double log_odds; /* of relevance, less the doubt: the order of passages */
    double confidence;
};

/* What an answer needs. */
#define RELEVANCE_THRESHOLD 0.27

/* Errors as search_hybrid. */
TACIT_CHECKED enum tacit_err relevance_inquire(struct corpus *c,
                                               const struct search_query *q,
                                               struct arena *a,
                                               struct inquiry *out);
TACIT_CHECKED enum tacit_err relevance_read(struct corpus *c,
                                            const struct inquiry *q,
                                            const struct search_hit *hit,
                                            struct passage *out);

#endif
