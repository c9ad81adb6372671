/*
 * generate: a question -> an answer that a decoder writes from the passages
 * that were found, each sentence compared with what it cites.
 *
 *   answerer_find ─> prompt ─> decoder ─token─> cite: no [n] that is not there
 *                                 │
 *                                 v
 *                     text ─sentence by sentence─> claim_check ─> shown, and
 *                                                                 judged
 *
 *   GENERATE_MARK   text is shown as it comes; judge() follows each sentence
 *   GENERATE_DROP   a sentence is shown once it is supported, or never
 *
 * Nothing is generated where answerer_find() finds no passage that is good
 * enough. What is shown holds no control characters and is valid UTF-8.
 */
#ifndef TACIT_RETRIEVAL_GENERATE_H
#define TACIT_RETRIEVAL_GENERATE_H

#include "common/model/decoder.h"
#include "retrieval/answerer.h"
#include "retrieval/claim.h"
#include "retrieval/prompt.h"

enum {
    GENERATE_CLAIMS_MAX = 64, /* sentences of an answer */
    GENERATE_TOKENS = 256     /* where nothing else is said */
};

enum generate_unsupported { GENERATE_MARK, GENERATE_DROP };

struct cite_guard;

struct generate_job {
    struct corpus *c;
    struct decoder *decoder;
    const struct cite_guard *guard; /* of its vocabulary */
    const struct search_query *q;   /* what is searched for */
    const char *question;           /* what the decoder is asked */
    const struct prompt_turn *turns;
    size_t n_turns;
    struct sampling sampling;
    size_t n_max; /* tokens of the answer, at most half of the context */
    unsigned guesses;
    enum generate_unsupported unsupported;
    const struct prompt_cache *cache; /* NULL: none */
    void *ctx;                        /* of these, each of which may be NULL: */
    void (*show)(void *ctx, const char *text, size_t n);
    void (*judge)(void *ctx, const struct claim *claim);
    enum tacit_err (*go_on)(void *ctx);
};

struct generated {
    struct answer found; /* passages, confidence, timings; no sentences */
    const char *text;    /* arena: what was shown */
    struct claim claims[GENERATE_CLAIMS_MAX];
    size_t n_claims, n_supported;
    struct answer_citation sources[PROMPT_PASSAGES_MAX]; /* [n_passages] */
    uint64_t cited;    /* bit i: source i + 1, by what was shown */
    size_t n_passages; /* that were read */
    size_t n_offered;  /* that were good enough */
    size_t n_turns;    /* of the conversation, that were read: the last */
    size_t n_said;     /* turns of the conversation */
    int is_cut;        /* the passage that was read lost its end */
    size_t prompt_tokens, context;
    struct decoder_report report;
};

/* Many, written at once as decoder_generate_all() does: each with what it would
 * have alone. */
struct generate_order {
    const struct generate_job *job; /* NULL: none now */
    struct arena *a;
    struct generated *out;
};
struct generate_queue {
    struct decoder *decoder; /* of every job */
    void *ctx;
    /* As decoder_queue's: what it gives stays where it is until its end. */
    enum tacit_err (*next)(void *ctx, struct generate_order *out);
    /* err as generate_answer() would give it. */
    enum tacit_err (*end)(void *ctx, const struct generate_order *order,
                          enum tacit_err err);
};
TACIT_CHECKED enum tacit_err generate_all(const struct generate_queue *q);

/* E_NOTHING_RELEVANT: nothing was found to answer from; E_UNSUPPORTED_ANSWER:
 * no sentence that was written is supported; *out is filled for both.
 * E_PROMPT_ROOM; what go_on() returns. */
TACIT_CHECKED enum tacit_err generate_answer(const struct generate_job *job,
                                             struct arena *a,
                                             struct generated *out);

#endif
