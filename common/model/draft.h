/*
 * draft: guesses at the next tokens of a text that copies from itself, as
 * answers copy from the passages in their prompt.
 *
 *   … give 2 mg to the elderly … | The dose: give 2 mg
 *          [--------]                        [-------]   the last tokens, seen
 *                    to the elderly  <- the guess        before: what came next
 *
 * Prompt look-up (Saxena 2023; Yang et al. 2023, "Inference with reference"):
 * no second network. A guess costs nothing but its row of the next pass, which
 * reads the weights once for all rows; which token comes is decided by the
 * logits alone, so that the answer is the same with and without guesses.
 *
 * Where guesses fail they are left out for a while.
 */
#ifndef TACIT_MODEL_DRAFT_H
#define TACIT_MODEL_DRAFT_H

#include <stddef.h>
#include <stdint.h>

enum { DRAFT_MAX = 3, DRAFT_MATCH_MAX = 4, DRAFT_MATCH_MIN = 2 };

struct draft {
    unsigned most;  /* tokens of a guess, at most DRAFT_MAX; 0: none */
    unsigned pause; /* guesses to leave out */
    double worth;   /* running share of right tokens */
};

void draft_begin(struct draft *d, unsigned most);
/* Guess what follows token [n] into out [DRAFT_MAX]: how many. */
size_t draft_guess(struct draft *d, const uint32_t *token, size_t n,
                   uint32_t *out);
/* So many of them were right. */
void draft_judge(struct draft *d, size_t n, size_t n_right);

#endif
