/*
 * ivf_mover: the entries of one list on their way to it, to its other half, and
 * to the lists beside it.
 *
 *   ivf_split.c   which list, its halves, and how they are written
 *   ivf_mover.c   its entries and copies: where each belongs
 *   ivf_pull.c    entries of the neighbours that belong to it now
 *
 * A split of list L into L and a new list:
 *
 *   rows of L  --2-means-->  c0, c1          (the larger half keeps L's number)
 *   each row   --nearest of c0, c1 and L's neighbours-->  its list(s)
 *   entries of the neighbours, by estimate clearly nearer to c0 or c1 than to
 *   their own centroid --row read, exact--> move
 *
 * Work is bounded: the rows of one list, the codes of IVF_NEIGHBOURS lists,
 * IVF_PULL_MAX more rows, PUSH_MAX entries added elsewhere.
 *
 * Where distances are equal within rounding, as with many equal vectors, "the
 * nearest" is chance, the same chance for all: there an entry stays on its side
 * of the cut, a neighbour gets it for being nearer by more than that, and of
 * the lists that take in what is left of another the emptiest does.
 *
 * Everything lies in ix->arena until the next change.
 */
#ifndef TACIT_RETRIEVAL_IVF_MOVER_H
#define TACIT_RETRIEVAL_IVF_MOVER_H

#include "retrieval/ivf_state.h"

enum { IVF_NEIGHBOURS = 16, IVF_PULL_MAX = 128, IVF_NOWHERE = 0xff };

/* The lists that entries may go to, with their centroids. */
struct ivf_choice {
    size_t n, own; /* the first `own` are written as a whole */
    uint32_t list[IVF_NEIGHBOURS + 2];
    float *c; /* [n, width] */
    float norm2[IVF_NEIGHBOURS + 2];
    size_t slots[IVF_NEIGHBOURS + 2]; /* how far it reaches, once known; or 0 */
};

struct ivf_mover {
    struct ivf *ix;
    struct ivf_tree *tree;
    uint32_t list; /* that is split or merged */
    struct ivf_choice to;
    struct ivf_gather g;  /* its entries, then those pulled from neighbours */
    size_t n_old;         /* of the list's own */
    float *x;             /* [room, width] */
    uint32_t (*place)[2]; /* [n_old] */
    uint8_t *half;        /* [room]: own list that it goes to, or IVF_NOWHERE */
    uint8_t *copy; /* [room]: own list that gets a copy, or IVF_NOWHERE */
    uint8_t *side; /* [n_old]: of the cut; NULL: there was none */
    bool cut;      /* the sides stand, whatever the distances */
    struct ivf_gather copies; /* of the list */
    float *x_copies;          /* [copies.n, width] */
    size_t pushed, sought;
    const float *before; /* [width]: the list's centroid as it was */
    float before2;       /* its squared length */
    float far;           /* squared distance from which a home is sought */
};

void ivf_choice_add(struct ivf_mover *m, uint32_t list, const float *c);
/* Squared distance of the centroids of two lists of the choice. */
float ivf_choice_between(const struct ivf_mover *m, size_t a, size_t b);
/* The neighbours of a point c [width], other than the lists that are there
 * already. */
void ivf_choice_neighbours(struct ivf_mover *m, const float *c);

/* Entries and copies of the list, with their vectors and places, and room for
 * `spare` more entries. E_INDEX_DAMAGED. */
TACIT_CHECKED enum tacit_err ivf_mover_start(struct ivf_mover *m, size_t spare);
/* The vectors of the list's copies, which lie with their first lists. */
TACIT_CHECKED enum tacit_err ivf_mover_copies(struct ivf_mover *m);
/* Each entry of the list to where it belongs. */
TACIT_CHECKED enum tacit_err ivf_mover_move(struct ivf_mover *m);
/* Entries of the neighbours that are nearer to the list's own halves. */
TACIT_CHECKED enum tacit_err ivf_mover_pull(struct ivf_mover *m);

/* The words of entry i: [columns]. */
const int64_t *ivf_mover_words(const struct ivf_mover *m, size_t i);
/* The lists of an id; E_INDEX_DAMAGED when it has none. */
TACIT_CHECKED enum tacit_err ivf_mover_place(struct ivf *ix, int64_t id,
                                             uint32_t place[2]);
/* Squared distance of x to the centroid of any list. */
float ivf_mover_d2(struct ivf_mover *m, uint32_t list, const float *x);
/* The nearest of the list's own halves to x, at *d2. */
size_t ivf_mover_own(const struct ivf_mover *m, const float *x, float *d2);
/* Put a copy into a list with centroid c; *added as of ivf_list_copy(). */
TACIT_CHECKED enum tacit_err ivf_mover_copy(struct ivf_mover *m, uint32_t list,
                                            const float *c, const float *x,
                                            int64_t id, const int64_t *words,
                                            bool *added);

#endif
