/*
 * passage_reader: who reads a passage closely for the words that answer.
 *
 *   rerank ─> the READING_PASSAGES most confident ─read─> words of each
 *                                                         └─> extract.h
 *
 * The built-in reader (span_reader.h) unless the query brings another one: what
 * a federation made of it, or an imported network with a head for spans.
 *
 * How sure a passage makes us stays what relevance.h and doubt.h say: a
 * reader's margin over "no answer" is another number for every reader, and the
 * threshold of an answer is not measured for it.
 */
#ifndef TACIT_RETRIEVAL_PASSAGE_READER_H
#define TACIT_RETRIEVAL_PASSAGE_READER_H

#include "common/model/span_reader.h"
#include "retrieval/relevance.h"

enum { READING_PASSAGES = 4 };

struct passage_reader {
    const char *name; /* for people */
    void *ctx;
    enum tacit_err (*read)(void *ctx, const struct reader_pair *p,
                           struct span_found *out);
};

/* Read the first of passages [n]. Errors of the reader. */
TACIT_CHECKED enum tacit_err passage_reader_run(struct corpus *c,
                                                const struct search_query *q,
                                                const struct inquiry *inquiry,
                                                struct passage *passages,
                                                size_t n);
/* Who reads for this query. */
const char *passage_reader_name(const struct search_query *q);

#endif
