/*
 * vecindex: the vectors of all passages, and the k nearest to a question's.
 * Callers see insert, remove, search; what stands behind is an exact scan.
 *
 *   pass 1   codes  [n, dim] int8   a_i = s_i s_q <c_i, q>, 12.8 MB for 100,000
 *            bounds |<v_i, q> - a_i| <= b_i, so that a_i - b_i and a_i + b_i
 *            frame the true value; tau = k-th largest a_i - b_i
 *   pass 2   vectors [n, dim] f32   the exact product where a_i + b_i >= tau
 *
 * The result is the exact top k of kernel_dot(), ties included: a vector among
 * the k best is >= tau, so its upper bound is, too. With v = s c + e and
 * q = s_q d + f the bound is |e| |q| + |s c| |f| (Cauchy-Schwarz), plus the
 * rounding of an f32 product. One byte instead of four per number is what one
 * core can read four times as fast.
 *
 * Order: larger product first, then smaller id. Products of unit vectors are
 * cosines. Thread rule: one thread at a time; searching allocates nothing.
 */
#ifndef TACIT_RETRIEVAL_VECINDEX_H
#define TACIT_RETRIEVAL_VECINDEX_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { VECINDEX_DIM_MAX = 2048, VECINDEX_K_MAX = 1024 };

struct vecindex; /* owned; about 5 bytes per number */

struct vec_hit {
    int64_t id;
    float score;
};

/* Only these ids, rising, each once. */
struct vec_filter {
    const int64_t *ids; /* borrowed */
    size_t n;
};

/* An empty index of vectors [dim]; 1 … VECINDEX_DIM_MAX, else SHAPE. */
TACIT_CHECKED enum tacit_err vecindex_new(size_t dim, struct vecindex **out);
void vecindex_free(struct vecindex *ix);
size_t vecindex_count(const struct vecindex *ix);
/* Make room for n vectors in all. NOMEM. */
TACIT_CHECKED enum tacit_err vecindex_reserve(struct vecindex *ix, size_t n);
/* Add v [dim], or replace the one with this id. FORMAT when a number is not
 * finite; NOMEM. */
TACIT_CHECKED enum tacit_err vecindex_insert(struct vecindex *ix, int64_t id,
                                             const float *v);
/* Nothing happens when there is none. */
void vecindex_remove(struct vecindex *ix, int64_t id);
/* The k best for q [dim] into hits [k], their number into *n_hits; filter NULL
 * = all. LIMIT when k is over VECINDEX_K_MAX, FORMAT when q is not finite. */
TACIT_CHECKED enum tacit_err vecindex_search(struct vecindex *ix,
                                             const float *q, size_t k,
                                             const struct vec_filter *filter,
                                             struct vec_hit *hits,
                                             size_t *n_hits);

#endif
