/*
 * reading: what a command that answers questions has open: the store, the
 * encoder, the documents, the search adapter, the reranker, and what its
 * options say.
 *
 *   options ─reading_begin─> struct reading ─> search_hybrid, answerer_ask,
 *                                              generate_answer
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_READING_H
#define TACIT_CLIENT_READING_H

#include "client/device.h"
#include "client/readers.h"
#include "client/reranker.h"
#include "common/base/options.h"
#include "retrieval/answerer.h"
#include "retrieval/filter.h"
#include "retrieval/weight.h"

enum {
    READING_LIMIT = 5, /* hits of a search, unless it is told otherwise */
    READING_LIMIT_MAX = 100
};

/* What a question needs: store, encoder, documents, the adapter of the
 * newest retriever model, and who reads. */
struct reading {
    const struct options *options; /* borrowed */
    struct device d;
    struct encoder *encoder;
    struct corpus *corpus;
    float *adapter;
    struct reranker reranker; /* how.n 0: none reads */
    struct readers readers;
    struct arena arena;
    struct search_query query;
    struct filter filter;
    struct weight_learnt weight;
    double threshold; /* of an answer */
    struct search_report report;
    char *text; /* the words of the command line, joined; owned */
};

/* Open all of it, and read the options. reading_end() after success alone. */
TACIT_CHECKED enum tacit_err reading_begin(const struct options *o,
                                           struct reading *r);
void reading_end(struct reading *r);
/* Keep an answer to `question` with its sources; *id names it in `tacit
 * feedback`: 0 where it is not kept, for the store may only be read or the disk
 * is full, which is said. */
TACIT_CHECKED enum tacit_err reading_remember(struct reading *r,
                                              const char *question,
                                              const struct answer_citation *c,
                                              size_t n, int64_t *id);

#endif
