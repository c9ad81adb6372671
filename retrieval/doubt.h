/*
 * doubt: a passage is about what is asked; does it answer it, too?
 *
 *   "Who did not sign the treaty of 1648?"
 *   "The treaty was signed by Oxenstierna and Trauttmansdorff."
 *        |no "not"                         |1648 is missing
 *
 * What speaks against an answer, seen in the best sentence and around it:
 *
 *   sentence     share of the question's weight (evidence.h) in it, headings
 *                included
 *   passage      … in the passage
 *   missing      largest share of one term that the sentence lacks
 *   name         the passage lacks a name of the question
 *   number       … a number
 *   negated      the question says not, never, without …, the sentence does not
 *   terms, words of the question
 *
 * A logistic regression on SQuAD 2.0, half of whose questions have no answer
 * and were written to look as if they had one (Rajpurkar et al. 2018, arXiv
 * 1806.03822). Only the words of negation are English; the other signs know no
 * language.
 */
#ifndef TACIT_RETRIEVAL_DOUBT_H
#define TACIT_RETRIEVAL_DOUBT_H

#include "retrieval/relevance.h"

enum doubt_sign {
    DOUBT_SENTENCE,
    DOUBT_PASSAGE,
    DOUBT_MISSING,
    DOUBT_NAME,
    DOUBT_NUMBER,
    DOUBT_NEGATED,
    DOUBT_TERMS,
    DOUBT_WORDS,
    N_DOUBTS
};

/* The signs x [N_DOUBTS] of sentence `best` of p. */
void doubt_signs(const struct inquiry *q, const struct passage *p, size_t best,
                 double *x);
/* Whether a text says not, never, without, … */
int doubt_denies(const char *text, size_t n);
/* Whether a text writes this term of it with a capital, and not because it
 * begins with it. */
int doubt_is_name(const char *text, const char *term);
/* Chance that what is about the question answers it. */
double doubt_chance(const double *x);

#endif
