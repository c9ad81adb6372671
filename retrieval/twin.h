/*
 * twin: what equal passages have in common, so that a search shows one of them
 * and names the documents that hold the others.
 *
 *   "Drug", "Dose", "Give  5 mg\nat Noon." ─> drug ‖ 0 ‖ dose ‖ 0 ‖ give 5 mg
 *                                             at noon. ─BLAKE2b─> 16 bytes
 *
 * Equal are passages with the same title (unless that is only the file's name),
 * the same heading and the same text of their own
 * (behind the overlap), but for blanks and the case of A-Z. Nothing more is
 * folded: in a near copy one "not" or one digit may be all that matters, and a
 * passage that is not shown cannot be read.
 *
 * A passage is also folded when all its words stand in a better one, in their
 * order and without others between them, below the same title and heading: a
 * copy in another format, with other quotation marks, cut elsewhere. Words are
 * compared as numbers; case of A-Z and what only separates is left out, but a
 * sign before a digit, a point in a number, < > = % and ? are words.
 *
 * Passages are stored and indexed each for itself; a search folds them after
 * the fact (search_read.c), and looks at more candidates when too few are left
 * (search.c). So whichever is removed, the others are found, each with the
 * place where it stands in its file. Text kept once for all copies would save
 * 8.6 % of it on MedQuAD (36,050 passages, 11 % of them equal) and nothing on
 * SciFact; their vectors differ with title, headings and overlap.
 */
#ifndef TACIT_RETRIEVAL_TWIN_H
#define TACIT_RETRIEVAL_TWIN_H

#include <stddef.h>
#include <stdint.h>

enum { TWIN_PRINT = 16 };

void twin_print(const char *title, const char *heading, const char *text,
                size_t n, uint8_t out[TWIN_PRINT]);
/* The words of text [n] into out [n]; their number is returned. */
size_t twin_words(const char *text, size_t n, uint32_t *out);
/* Whether words b stand in a, one behind the other. */
int twin_holds(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b);

#endif
