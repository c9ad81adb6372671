/*
 * decoder: a network that goes on with a prompt, token by token.
 *
 *   prompt ─known prefix?─> [ rest, piece by piece ] ─> logits ─sampler─> token
 *             memory, disk          keys, values ^                         │
 *                                                └──── guesses (draft.h) <─┘
 *
 * A prompt is read in pieces that end at its cuts and at every DECODER_PIECE
 * tokens. What is known already is taken over only up to such an edge, so that
 * an answer has the same bits whether its prefix was worked out, kept from the
 * prompt before, or read from disk (prompt_cache.h). Guesses change no bit
 * either: see net_batch.cache.
 *
 * Several prompts may be gone on with at once:
 *
 *   queue ─next─> seat 0  prompt ─> t t t t t end ──> next prompt …
 *                 seat 1  prompt ─────> t t t t t t t t …
 *                 seat 2  prompt ─────────> t t end ─> …
 *                                           └ one pass: the weights are read
 *                                             once for a token of each
 *
 * Each has its own keys and values, sampler and end, and says what it would say
 * alone. A prompt is read by itself; what it has in common with one that any
 * seat has read, up to an edge of both, is copied from there.
 *
 * Marks that end nothing (another turn's beginning) are never drawn.
 *
 * Thread rule: one thread at a time.
 */
#ifndef TACIT_MODEL_DECODER_H
#define TACIT_MODEL_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/model/chat.h"
#include "common/model/prompt_cache.h"
#include "common/model/sampler.h"
#include "common/model/vocab.h"
#include "common/tensor/quant.h"

enum {
    DECODER_PIECE = 256,
    DECODER_CUTS_MAX = 4,
    DECODER_CONTEXT = 4096, /* where nothing else is said */
    DECODER_CONTEXT_MAX = 1 << 17,
    DECODER_ANSWER_MAX = 1 << 14,
    DECODER_SEQUENCES_MAX = 64
};

struct decoder_model {
    const char *name, *path; /* borrowed until decoder_open() returns */
    struct digest hash;      /* of its file */
    size_t context;          /* tokens of prompt and answer; 0: its own, at most
                                DECODER_CONTEXT */
    uint64_t memory;         /* bytes that may be taken; 0: what is free */
    size_t sequences;      /* at once, at most; fewer where memory ends; 0: 1 */
    enum quant_type cache; /* of keys and values: F32, F16 or Q8_0 */
    unsigned threads;      /* 0: one for each core */
    /* What was learnt of it, as tuned.h lays it out; NULL: it is as its file
     * has it. All borrowed until decoder_open() returns. */
    const struct model_base *base;
    const float *learnt; /* [n_learnt] */
    size_t n_learnt;
};

struct decoder; /* owned */
struct model_base;

/* What it takes, all at its largest. */
struct decoder_need {
    uint64_t weights, cache, work, all, free;
    size_t sequences; /* that it has room for, of those that were wanted */
};

/* E_MODEL_MEMORY, with figures, when it would not fit; UNSUPPORTED for an
 * encoder; LIMIT when the context is longer than its own; the file's errors. */
TACIT_CHECKED enum tacit_err decoder_open(const struct decoder_model *m,
                                          struct decoder **out);
void decoder_close(struct decoder *d);
const struct vocab *decoder_vocab(const struct decoder *d);
enum chat_family decoder_chat(const struct decoder *d);
size_t decoder_context(const struct decoder *d);
/* Of its file, and of what was learnt beside it. */
const struct digest *decoder_hash(const struct decoder *d);
const struct decoder_need *decoder_need(const struct decoder *d);

enum decoder_end {
    DECODER_MARK,    /* the network ended its turn */
    DECODER_LENGTH,  /* n_max tokens */
    DECODER_CONTENT, /* take() had enough */
};

struct decoder_report {
    size_t n_prompt, n_kept, n_read; /* of it: from memory, from disk */
    size_t n_tokens;                 /* drawn, the last mark not counted */
    size_t n_guessed, n_right;
    int64_t prefill_ns, decode_ns;
    enum decoder_end end;
};

struct decoder_job {
    const uint32_t *prompt; /* [n_prompt], at least 1 */
    size_t n_prompt;
    size_t cut[DECODER_CUTS_MAX], n_cuts; /* rising: prefixes worth keeping */
    size_t n_max;                         /* tokens of the answer */
    struct sampling sampling;
    unsigned guesses;                 /* 0 to DRAFT_MAX */
    const struct prompt_cache *cache; /* NULL: memory alone */
    void *ctx;
    /* What may not come next gets -INFINITY; NULL: nothing. */
    void (*forbid)(void *ctx, float *logits);
    /* A token was drawn; *enough ends the answer. */
    enum tacit_err (*take)(void *ctx, uint32_t token, int *enough);
    /* Asked before each pass; an error of it ends the work. NULL: never. */
    enum tacit_err (*go_on)(void *ctx);
};

/* LIMIT when prompt and answer do not fit into the context; E_MODEL_MEMORY. */
TACIT_CHECKED enum tacit_err decoder_generate(struct decoder *d,
                                              const struct decoder_job *job,
                                              struct decoder_report *out);

/* Many, as many at once as the decoder has sequences: one that ends makes room
 * for the next. What each says is what it would say alone, to the bit. */
struct decoder_queue {
    void *ctx;
    /* The next, which stays where it is until its end; NULL: none now. It is
     * asked again after each pass while any is under way. An error ends all. */
    enum tacit_err (*next)(void *ctx, const struct decoder_job **job);
    /* One that next() gave is over, once, in whichever order they end: err as
     * decoder_generate() would give it, its message recorded. The others go
     * on, unless this gives an error: then it is the end of all, with it. */
    enum tacit_err (*end)(void *ctx, const struct decoder_job *job,
                          const struct decoder_report *report,
                          enum tacit_err err);
};
TACIT_CHECKED enum tacit_err decoder_generate_all(
    struct decoder *d, const struct decoder_queue *q);

#endif
