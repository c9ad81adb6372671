/*
 * fusion: several rankings of the same passages -> one.
 *
 *   by ranks    score(d) = sum over rankings r that hold d of
 *                          w_r / (FUSION_K + rank_r(d))
 *   by scores   score(d) = (1 - w) s(d) / max s + w (1 + c(d)) / (1 + max c)
 *               s: BM25, c: cosine; both of every candidate
 *
 * By scores, with a weight learnt from questions whose answers are known
 * (weight.h), or before that a half: the convex combination of Bruch, Gai
 * and Ingber 2022 (arXiv 2210.11934), each score divided from the least value
 * that it can have to the largest of this question. For an adapter's vectors,
 * until there is such a weight, by ranks: reciprocal rank fusion (Cormack,
 * Clarke and Buettcher 2009), k = 60: it needs no scale of scores. Differs in
 * the weights w_r (there all 1): a ranking that is known to be worse than
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
    double words, cosine;          /* for fusion_convex(): its scores */
    double share;                  /* out: what the words are of its score */
};

/* Fuse n rankings into out [sum of their lengths]: larger score first, then
 * smaller id. Returns how many. */
size_t fusion_rrf(const struct ranking *rankings, size_t n, struct fused *out);

/* Put n passages with their scores in order by the weight of the vectors, in
 * [0, 1]. */
void fusion_convex(double weight, struct fused *list, size_t n);

#endif
