#include "retrieval/fusion.h"

#include <assert.h>
#include <stdlib.h>

static int by_id(const void *a, const void *b)
{
    const struct fused *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_score(const void *a, const void *b)
{
    const struct fused *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return by_id(a, b);
}

size_t fusion_rrf(const struct ranking *rankings, size_t n, struct fused *out)
{
    size_t n_all = 0, n_out = 0;
    assert(n <= FUSION_RANKINGS_MAX);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < rankings[r].n; i++) {
            struct fused *f = &out[n_all++];
            *f = (struct fused){.id = rankings[r].ids[i]};
            f->rank[r] = (int)i + 1;
        }
    if (n_all == 0) return 0;
    qsort(out, n_all, sizeof *out, by_id);
    for (size_t i = 0; i < n_all; n_out++) {
        struct fused merged = {.id = out[i].id};
        for (; i < n_all && out[i].id == merged.id; i++)
            for (size_t r = 0; r < n; r++)
                if (out[i].rank[r]) merged.rank[r] = out[i].rank[r];
        for (size_t r = 0; r < n; r++)
            if (merged.rank[r])
                merged.score +=
                    rankings[r].weight / (FUSION_K + merged.rank[r]);
        out[n_out] = merged;
    }
    qsort(out, n_out, sizeof *out, by_score);
    return n_out;
}

void fusion_convex(double weight, struct fused *list, size_t n)
{
    double most_words = 0, most_cosine = -1;
    for (size_t i = 0; i < n; i++) {
        if (list[i].words > most_words) most_words = list[i].words;
        if (list[i].cosine > most_cosine) most_cosine = list[i].cosine;
    }
    for (size_t i = 0; i < n; i++) {
        struct fused *f = &list[i];
        double words = most_words > 0 ? f->words / most_words : 0;
        double near =
            most_cosine > -1 ? (1 + f->cosine) / (1 + most_cosine) : 0;
        f->score = (1 - weight) * words + weight * near;
        f->share = f->score > 0 ? (1 - weight) * words / f->score : 0;
    }
    qsort(list, n, sizeof *list, by_score);
}
