/*
 * prompt: what a decoder reads before it answers.
 *
 *   system      answer from the passages alone, name each as [n]
 *   user        an earlier question      ┐ without passages: each question
 *   assistant   its answer               ┘ gets its own
 *   user        [1] title > heading
 *               text …                       most confident first, as many as
 *               [2] …                        fit beside the answer
 *               Question: …
 *                        └ cut   └ cut       prefixes worth keeping
 *
 * The frame is that of the model's chat template (chat.h); a model without one
 * gets the same as plain text. What documents and people say is text: marks of
 * the vocabulary are not read in it, marks that a template spells with plain
 * letters ([INST], <<SYS>>) lose their brackets, and so does a number in
 * brackets, which would look like a citation of ours.
 */
#ifndef TACIT_RETRIEVAL_PROMPT_H
#define TACIT_RETRIEVAL_PROMPT_H

#include "common/base/arena.h"
#include "common/model/chat.h"
#include "retrieval/relevance.h"

enum { PROMPT_PASSAGES_MAX = 5, PROMPT_TURNS_MAX = 64, PROMPT_CUTS = 2 };

struct prompt_turn {
    const char *question, *answer; /* borrowed */
};

struct prompt_source {
    const struct vocab *vocab;
    enum chat_family chat;
    const char *question;
    const struct prompt_turn *turns; /* [n_turns] oldest first */
    size_t n_turns;
    const struct passage *passages; /* [n_passages] */
    size_t n_passages;
    size_t room; /* tokens */
};

struct prompt {
    uint32_t *token; /* [n], arena */
    size_t n;
    size_t cut[PROMPT_CUTS], n_cuts; /* rising: behind the system's words,
                                        behind the passages */
    size_t n_passages;               /* that are in it: the first ones */
    size_t n_turns;                  /* that are in it: the last ones */
    int is_cut;                      /* the only passage lost its end */
};

/* E_PROMPT_ROOM when not even the question fits. */
TACIT_CHECKED enum tacit_err prompt_build(const struct prompt_source *s,
                                          struct arena *a, struct prompt *out);

#endif
