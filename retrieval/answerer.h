/*
 * answerer: a question -> sentences taken word by word from the documents, each
 * with a numbered citation, or an honest "nothing here answers this".
 *
 *   search_hybrid ─> rerank, reread ─> passage_reader ─> threshold ─>
 *   struct answer_basis ─> a writer ─> sentences, [n] ─> citations with
 *   file, page, lines, heading, snippet
 *
 * A writer turns passages into text: extract.h quotes sentences and finds the
 * words that answer. One that generates is another row of the same kind: it
 * takes the basis and names the passage and sentence behind all it says.
 */
#ifndef TACIT_RETRIEVAL_ANSWERER_H
#define TACIT_RETRIEVAL_ANSWERER_H

#include "retrieval/rerank.h"
#include "retrieval/search.h"

enum { ANSWER_SENTENCES_MAX = 5, ANSWER_CITATIONS_MAX = 5 };

/* What an answer may be written from. Borrowed during the write. */
struct answer_basis {
    struct corpus *c;
    const struct search_query *q;
    const struct inquiry *inquiry;
    const struct passage *passages; /* [n], most confident first, all good
                                       enough to be quoted */
    size_t n;
};

/* One sentence as a writer gives it. */
struct answer_draft {
    size_t passage, sentence; /* of the basis: what it rests on */
    const char *text;         /* arena */
    double score;
};

struct answer_drafts {
    struct answer_draft list[ANSWER_SENTENCES_MAX]; /* in reading order */
    size_t n, n_more;     /* n_more: left out for length */
    const char *span;     /* arena; the few words that answer; "" = none */
    size_t span_sentence; /* index into list */
};

struct answer_writer {
    const char *name;
    enum tacit_err (*write)(const struct answer_basis *b, struct arena *a,
                            struct answer_drafts *out);
};

struct answer_sentence {
    const char *text; /* arena, NUL-terminated */
    int citation;     /* 1-based: index into citations + 1 */
    double score;
};

struct answer_citation {
    int number; /* the n of [n] */
    const char *path, *title, *heading;
    uint32_t page_first, page_last; /* 1-based; 0 = no pages */
    uint32_t line_first, line_last;
    uint64_t byte_first, byte_end; /* of the cited sentences, in the source */
    const char *snippet;           /* arena */
    int64_t chunk_first, chunk_last;
};

/* A passage that was looked at, most confident first. */
struct answer_passage {
    const struct search_hit *hit; /* arena */
    struct relevance relevance;
    double log_odds, confidence;
    int citation; /* 0 = not quoted */
};

struct answer {
    struct answer_sentence sentences[ANSWER_SENTENCES_MAX];
    size_t n_sentences;
    struct answer_citation citations[ANSWER_CITATIONS_MAX];
    size_t n_citations;
    const char *reader; /* who read the passages (passage_reader.h) */
    const char *span;   /* arena; the words that answer, "" = none stand out */
    int span_citation;
    double confidence, threshold; /* of the best passage */
    struct answer_passage passages[RERANK_MAX];
    size_t n_passages;
    size_t n_more; /* sentences that would do as well, left out for length */
    struct search_report report;
    int64_t search_ns, rerank_ns, write_ns;
};

/* What was found for a question, read closely. */
struct answer_found {
    struct inquiry inquiry;
    struct passage passages[RERANK_MAX]; /* most confident first */
    size_t n;
};

/* The first half of answerer_ask(), for who writes answers in another way: *out
 * gets passages, confidence and timings; *found (arena) and out borrow from
 * each other's arena. */
TACIT_CHECKED enum tacit_err answerer_find(struct corpus *c,
                                           const struct search_query *q,
                                           struct arena *a, struct answer *out,
                                           struct answer_found **found);
/* The refusal of an answer whose best passage is not good enough. */
TACIT_CHECKED enum tacit_err answerer_refuse(const struct answer *a);
/* E_NOTHING_RELEVANT (NOTFOUND, exit 6) when nothing passes the threshold; *out
 * is filled with confidence and threshold even then. Otherwise as
 * search_hybrid. */
TACIT_CHECKED enum tacit_err answerer_ask(struct corpus *c,
                                          const struct search_query *q,
                                          struct arena *a, struct answer *out);

#endif
