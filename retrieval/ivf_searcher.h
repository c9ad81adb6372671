/*
 * ivf_searcher: what the files of a search share. Not for callers of ivf.h.
 *
 *   lists --ivf_probe--> in order, until enough
 *     | ivf_search: every entry's estimate and lower bound
 *     v
 *   candidates --ivf_pool--> rows, best first, until none can be better
 *     v
 *   the k best
 */
#ifndef TACIT_RETRIEVAL_IVF_SEARCHER_H
#define TACIT_RETRIEVAL_IVF_SEARCHER_H

#include "retrieval/ivf_state.h"

struct ivf_candidate {
    float estimate, lower;
    int64_t id;
    uint32_t list, slot; /* slot: NO_SLOT for a copy */
    bool is_named;       /* id is set; else the row has it */
};
#define IVF_NO_SLOT UINT32_MAX

/* A list that may be read. */
struct ivf_probe {
    float key;  /* an estimate of base, then the distance of the query to the
                   plane between the first list and this */
    float base; /* squared distance, or - product */
    float d2;   /* squared distance */
    uint32_t list, at;
};

struct ivf_scratch {
    size_t room_pool, n_pool, room_hits, n_hits, room_probes, n_probes;
    size_t n_judged;              /* of the pool: see ivf_likely_read() */
    struct ivf_candidate *pool;   /* [room_pool] */
    struct ivf_candidate *likely; /* [room_pool] */
    struct ivf_hit *hits;         /* a heap: the worst first */
    struct ivf_probe *probes;
};

struct ivf_searcher {
    struct ivf *ix;
    const struct ivf_query *q;
    struct ivf_scratch *s;
    const struct ivf_tree *tree; /* NULL: any */
    struct ivf_work work;
    float bound; /* deviations of an estimate that are allowed for */
    float recall;
    float tried, passed;     /* entries that the filter's words saw */
    float asked, kept;       /* candidates that its ids and its verifier saw */
    bool learns;             /* a candidate's `lower` is its list's plane */
    float worst;             /* a better estimate is learnt from */
    float heading;           /* of the list being read: ivf_hardness() */
    float first;             /* base of the nearest list */
    float reach, reach_rank; /* as far as a search of this rank goes */
    bool expects;            /* the store is told what is read next: the first
                                search of a partition */
    size_t n_expected;       /* probes that it has been told */
    /* the segment of rows that was read last; borrowed */
    const uint8_t *rows;
    uint32_t rows_list, rows_seg;
};

/* ---- ivf_pool.c ---- */
/* The scratch of ix, empty, with room for k hits. */
TACIT_CHECKED enum tacit_err ivf_scratch_get(struct ivf *ix, size_t k,
                                             struct ivf_scratch **out);
/* What a vector has to beat. */
float ivf_limit(const struct ivf_searcher *s);
/* The `want` best estimates come first, in no order. */
void ivf_candidates_select(struct ivf_candidate *c, size_t n, size_t want);
int ivf_candidate_compare(const void *a, const void *b);
TACIT_CHECKED enum tacit_err ivf_candidate_read(struct ivf_searcher *s,
                                                const struct ivf_candidate *c);
/* The pool is full while a list is read: the better half stays of what may be
 * among the best. */
void ivf_pool_halve(struct ivf_searcher *s);
/* Read the rows of those new candidates whose estimate beats the k-th best:
 * whatever follows, they would be read. */
TACIT_CHECKED enum tacit_err ivf_likely_read(struct ivf_searcher *s);
/* Read the rows of all that may be among the best. */
TACIT_CHECKED enum tacit_err ivf_possible_read(struct ivf_searcher *s);

/* ---- ivf_probe.c ---- */
/* The lists of one partition, by estimate. */
TACIT_CHECKED enum tacit_err ivf_probes_start(struct ivf_searcher *s,
                                              int64_t part);
/* Those from … to are the next by estimate, in their order. */
void ivf_probes_order(struct ivf_searcher *s, size_t from, size_t to);
/* What the rule is learnt of, for the i-th list of n, whose plane is at h. */
float ivf_hardness(float h, size_t i, size_t n);
/* Whether the i-th list, whose plane is at h, and those after it are unlikely
 * to hold one of the k best. */
bool ivf_enough(struct ivf_searcher *s, float h, size_t i);
/* Tell the store of lists that are read soon: of probes i … ready. */
void ivf_probes_expect(struct ivf_searcher *s, size_t i, size_t ready);
/* What h is measured in, where the k-th best is at d2. */
float ivf_ball(const struct ivf *ix, float d2);
/* Count a neighbour in the list whose h is so many balls. */
void ivf_level_add(float *levels, float share);
/* Count one in the first list, as long as such are no more than half: of a set
 * in which most rows are equal, what is learnt is about the others. */
void ivf_level_rest(float *levels);

#endif
