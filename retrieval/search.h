/*
 * search: hybrid search, walk A's second half.
 *
 *   question ─┬─> FTS5 BM25, n_candidates ───────────┐
 *             └─> encoder ─> adapter ─> flatindex ────┴─> sum_r 1/(60 + rank_r)
 *
 * Reciprocal rank fusion: Cormack, Clarke and Buettcher 2009 (k = 60). The
 * filter is a WHERE over documents, applied inside both searches, so that a
 * narrow filter still finds limit results.
 */
#ifndef TACIT_RETRIEVAL_SEARCH_H
#define TACIT_RETRIEVAL_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "retrieval/corpus.h"

enum { SEARCH_LIMIT_MAX = 100, SEARCH_QUERY_MAX = 8192 };

struct search_query {
    const char *text;
    const float *adapter;  /* [ENCODER_DIM, ENCODER_DIM] or NULL */
    const char *path_glob; /* SQLite GLOB over document paths, or NULL */
    size_t limit;          /* 1 … SEARCH_LIMIT_MAX */
};

struct search_hit {
    int64_t chunk_id;
    const char *path, *title, *heading; /* arena; heading "A > B" */
    const char *text;                   /* the passage, arena */
    size_t text_len;
    uint32_t line_first, line_last; /* 1-based, in the file */
    uint64_t byte_first, byte_end;  /* [first, end) in the file */
    double score;                   /* fused */
    float cosine;                   /* of the adapted question */
    int rank_words, rank_vectors;   /* 1-based; 0 = not found that way */
};

/* Best first. *n_hits may be 0. LIMIT; FORMAT for a question without any word.
 */
TACIT_CHECKED enum tacit_err search_hybrid(struct corpus *c,
                                           const struct search_query *q,
                                           struct arena *a,
                                           struct search_hit **hits,
                                           size_t *n_hits);

#endif
