/*
 * answerer: a question -> sentences taken word by word from the documents, each
 * with a numbered citation, or an honest "nothing here answers this".
 *
 *   search_hybrid ─> confidence of each hit (relevance.h) ─> threshold ─> score
 *   the sentences of the best hits by the words and vector they share with the
 *   question ─> at most ANSWER_SENTENCES_MAX, best passage first, with [n]
 */
#ifndef TACIT_RETRIEVAL_ANSWERER_H
#define TACIT_RETRIEVAL_ANSWERER_H

#include "retrieval/search.h"

enum { ANSWER_SENTENCES_MAX = 5, ANSWER_CITATIONS_MAX = 5 };

struct answer_sentence {
    const char *text; /* arena, NUL-terminated */
    int citation;     /* 1-based: index into citations + 1 */
    double score;
};

struct answer_citation {
    int number; /* the n of [n] */
    const char *path, *title, *heading;
    uint32_t line_first, line_last;
    uint32_t page_first, page_last; /* 0 = a kind without pages */
    uint64_t byte_first, byte_end;  /* of the cited sentences, in the source */
    const char *snippet;            /* arena */
};

struct answer {
    struct answer_sentence sentences[ANSWER_SENTENCES_MAX];
    size_t n_sentences;
    struct answer_citation citations[ANSWER_CITATIONS_MAX];
    size_t n_citations;
    double confidence, threshold; /* of the best passage */
};

/* E_NOTHING_RELEVANT (NOTFOUND, exit 6) when nothing passes the threshold; *out
 * is filled with confidence and threshold even then. Otherwise as
 * search_hybrid. */
TACIT_CHECKED enum tacit_err answerer_ask(struct corpus *c,
                                          const struct search_query *q,
                                          struct arena *a, struct answer *out);

#endif
