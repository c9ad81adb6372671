/*
 * cite: citations in a text that is being written: which are in it, and which
 * token would make one of a passage that is not there.
 *
 *   " … at night [1" + "2] Give"      forbidden where there are 9 passages
 *                     ^ tokens are read byte by byte: however a network's
 *                       vocabulary cuts "[12]", it cannot be written
 *
 * A citation is a bracket that begins with a digit: [2], [1, 3], [2-4]. Each
 * number in it is from 1 to the number of passages, without a zero in front.
 *
 * Thread rule: one thread.
 */
#ifndef TACIT_RETRIEVAL_CITE_H
#define TACIT_RETRIEVAL_CITE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/vocab.h"

enum { CITE_BYTES_MAX = 64 };

/* Where in a citation a text ends. */
struct cite_state {
    int is_open;     /* behind a bracket */
    int is_citation; /* that a digit has followed */
    unsigned number; /* the digits so far; 0: none */
};

/* Go on by bytes. 0 when they name a passage that is not among n_passages. */
int cite_follow(struct cite_state *s, unsigned n_passages, const char *bytes,
                size_t n);

struct cite_guard; /* owned */
TACIT_CHECKED enum tacit_err cite_guard_new(const struct vocab *v,
                                            struct cite_guard **out);
void cite_guard_free(struct cite_guard *g);
/* -INFINITY for each token that would, behind s, name a passage that is not
 * among n_passages. */
void cite_forbid(const struct cite_guard *g, const struct cite_state *s,
                 unsigned n_passages, float *logits);

/* The citation at text[n], which begins with its bracket: its length, 0 when
 * there is none. Bit i of *cited is passage i + 1, of the first 64. */
size_t cite_read(const char *text, size_t n, uint64_t *cited);

#endif
