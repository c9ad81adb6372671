/*
 * fusion: several rankings of the same passages -> one.
 *
 *   score(d) = sum over rankings r that hold d of w_r / (FUSION_K + rank_r(d))
 *
 * Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), k = 60: it needs
 * no scale of scores, so BM25 and cosines go together without training. Differs
 * in the weights w_r (there all 1): a ranking that is known to be worse than
 * another would only disturb it.
 */
#ifndef TACIT_RETRIEVAL_FUSION_H
#define TACIT_RETRIEVAL_FUSION_H

#include <stddef.h>
#include <stdint.h>

enum { FUSION_K = 60, FUSION_RANKINGS_MAX = 4 };

struct ranking {
    const int64_t *ids; /* best first, each once */
    size_t n;
    double weight;
};

struct fused {
    int64_t id;
    double score;
    int rank[FUSION_RANKINGS_MAX]; /* 1-based; 0 = not in that ranking */
};

/* Fuse n rankings into out [sum of their lengths]: larger score first, then
 * smaller id. Returns how many. */
size_t fusion_rrf(const struct ranking *rankings, size_t n, struct fused *out);

#endif
