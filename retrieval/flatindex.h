/*
 * flatindex: the vectors of all passages, and the k nearest to a question's.
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
#ifndef TACIT_RETRIEVAL_FLATINDEX_H
#define TACIT_RETRIEVAL_FLATINDEX_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum { FLATINDEX_DIM_MAX = 2048, FLATINDEX_K_MAX = 1024 };

struct flatindex; /* owned; about 5 bytes per number */

struct vec_hit {
    int64_t id;
    float score;
};

/* Only these ids, rising, each once. */
struct vec_filter {
    const int64_t *ids; /* borrowed */
    size_t n;
};

/* An empty index of vectors [dim]; 1 … FLATINDEX_DIM_MAX, else SHAPE. */
TACIT_CHECKED enum tacit_err flatindex_new(size_t dim, struct flatindex **out);
void flatindex_free(struct flatindex *ix);
size_t flatindex_count(const struct flatindex *ix);
/* Make room for n vectors in all. NOMEM. */
TACIT_CHECKED enum tacit_err flatindex_reserve(struct flatindex *ix, size_t n);
/* Add v [dim], or replace the one with this id. FORMAT when a number is not
 * finite; NOMEM. */
TACIT_CHECKED enum tacit_err flatindex_insert(struct flatindex *ix, int64_t id,
                                              const float *v);
/* Nothing happens when there is none. */
void flatindex_remove(struct flatindex *ix, int64_t id);
/* The k best for q [dim] into hits [k], their number into *n_hits; filter NULL
 * = all. LIMIT when k is over FLATINDEX_K_MAX, FORMAT when q is not finite. */
TACIT_CHECKED enum tacit_err flatindex_search(struct flatindex *ix,
                                              const float *q, size_t k,
                                              const struct vec_filter *filter,
                                              struct vec_hit *hits,
                                              size_t *n_hits);

#endif
