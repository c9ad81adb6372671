/*
 * search: hybrid search, walk A's second half.
 *
 *   question ─┬─> words.h: BM25, the best n ─────────┐ fusion.h: by scores,
 *             └─> encoder ─> adapter ─> nearest n ───┤ with an adapter and no
 *   filter.h ──> ids, for both                       │ learnt weight by ranks
 *                                                    v
 *   hits <── neighbours joined <── diversity <── candidates, each with both
 *    |       (search_read.c)       (MMR)         scores
 *    └─ reread.h: the best of them by a cross-encoder, where there is one
 *
 * Diversity is Carbonell and Goldstein's maximal marginal relevance (1998): the
 * next hit is the one with the largest
 *
 *   (1 - diversity) score / best score - diversity max cosine to a hit before
 */
#ifndef TACIT_RETRIEVAL_SEARCH_H
#define TACIT_RETRIEVAL_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "retrieval/corpus.h"
#include "retrieval/filter.h"
#include "retrieval/question.h"

enum {
    SEARCH_LIMIT_MAX = 1000,
    SEARCH_QUERY_MAX = 8192,
    SEARCH_JOINED_MAX = 3, /* passages of one hit */
    SEARCH_ALSO_MAX = 32   /* documents named that hold the same passage */
};

enum search_mode {
    SEARCH_HYBRID,
    SEARCH_WORDS,
    SEARCH_VECTORS,
    SEARCH_RANKS /* both, by ranks whatever is learnt */
};
enum search_neighbours { SEARCH_APART, SEARCH_JOINED };

struct search_report;
struct reread;

struct passage_reader;
struct search_query {
    const char *text;
    const float *adapter;        /* [dim, dim] of the encoder, or NULL */
    const double *weight;        /* of the vectors, learnt, or NULL */
    const struct filter *filter; /* NULL = everything */
    size_t limit;                /* 1 … SEARCH_LIMIT_MAX */
    enum search_mode mode;
    enum search_neighbours neighbours;
    double diversity;            /* 0 … 1 */
    const double *threshold;     /* of an answer; NULL = the calibrated one */
    const struct reread *reread; /* who reads the best again, or NULL */
    const struct passage_reader *reader; /* NULL = the built-in one */
    struct search_report *report;        /* NULL, or filled */
};

/* How the hits came about (arena). */
struct search_report {
    struct question question;
    uint32_t languages; /* bits (stem.h) that the words were stemmed in */
    int is_by_scores;   /* fused by scores with `weight` */
    double weight;      /* of the vectors */
    size_t n_matching;  /* passages that hold a word of the question */
    size_t n_candidates;
    size_t n_reread, n_reread_cut; /* read again (reread.h); lost their end */
    int64_t filter_ns, embed_ns, words_ns, vectors_ns, fuse_ns, read_ns,
        reread_ns;
};

struct search_hit {
    int64_t chunk_id;
    const char *path, *title, *kind, *heading; /* arena; heading "A > B" */
    const char *text;                          /* the passage, arena */
    size_t text_len;
    /* A filter lets rows through: text is these, one to a line, of a passage of
     * whole_len bytes. n_rows 0: it is the whole (arena). */
    const struct filter_row *rows;
    size_t n_rows, whole_len;
    uint32_t page_first, page_last; /* 1-based; 0 = no pages */
    uint32_t line_first, line_last; /* 1-based, in the file */
    uint64_t byte_first, byte_end;  /* [first, end) in the file */
    int64_t added_s;
    double score;                 /* fused */
    double words;                 /* BM25; 0 = holds no word */
    double share;                 /* by scores: what the words are of it */
    float cosine;                 /* of the adapted question */
    int rank_words, rank_vectors; /* 1-based; 0 = not among the candidates */
    double rerank;                /* what a cross-encoder gave it */
    int rank_before;              /* 1-based place before that; 0 = not read */
    size_t n_joined;              /* passages in it */
    /* Passages that say the same (twin.h) are one hit: the best of them, and
     * the other documents that hold it or what is folded into it, those of
     * equal passages first, each in order of path; n_also counts all of them,
     * also[] (arena) has at most SEARCH_ALSO_MAX. A filter holds for these as
     * well. */
    const char **also;
    size_t n_also;
};

/* Where bytes [*first, *end) of the whole passage stand in a hit's text; 0: the
 * filter left them out. Only of a hit of one passage. */
int search_hit_place(const struct search_hit *h, uint32_t *first,
                     uint32_t *end);

/* Best first. *n_hits may be 0. LIMIT; FORMAT for a question without any word.
 */
TACIT_CHECKED enum tacit_err search_hybrid(struct corpus *c,
                                           const struct search_query *q,
                                           struct arena *a,
                                           struct search_hit **hits,
                                           size_t *n_hits);

#endif
