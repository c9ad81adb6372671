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
 * Passages are stored and indexed each for itself; a search folds them after
 * the fact (search_read.c). So whichever is removed, the others are found; and
 * a passage that a hundred documents repeat takes a hundred places among a
 * search's candidates.
 */
#ifndef TACIT_RETRIEVAL_TWIN_H
#define TACIT_RETRIEVAL_TWIN_H

#include <stddef.h>
#include <stdint.h>

enum { TWIN_PRINT = 16 };

void twin_print(const char *title, const char *heading, const char *text,
                size_t n, uint8_t out[TWIN_PRINT]);

#endif
