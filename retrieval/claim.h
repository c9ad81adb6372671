/*
 * claim: does a passage say what a sentence says?
 *
 *   "Give 2 mg to the elderly [1]."   terms: give 2 mg elderly   weights of
 *                                     relevance.h, stemmed as in the index
 *   support = the share of their weight that the cited passages hold
 *
 * A claim is supported when its support reaches CLAIM_SUPPORT, one sentence of
 * a cited passage holds CLAIM_CLOSE of it, no number and no name in it is
 * missing there, and it denies just when that sentence does (doubt.h; in
 * English alone). This is a check of words: a true sentence in other words is
 * not seen to be supported, and a false one made of the passage's own words can
 * be. It errs by asking for too much.
 *
 * A claim that cites nothing is compared with each passage that was read, and
 * gets the citation of the first that supports it.
 */
#ifndef TACIT_RETRIEVAL_CLAIM_H
#define TACIT_RETRIEVAL_CLAIM_H

#include "retrieval/relevance.h"

#define CLAIM_SUPPORT 0.5
#define CLAIM_CLOSE   0.33

struct claim {
    const char *text;   /* arena; without its citations */
    uint64_t cited;     /* bit i: passage i + 1 */
    uint64_t supported; /* those of them that support it, or together do */
    double support;     /* 0 to 1 */
    int is_claim;       /* it holds a word; what does not is not judged */
    int is_supported;
    int is_found; /* its citation was found here, not written */
};

/* The sentence text[n] of an answer, its citations in it, against the passages
 * hits [n_hits]. */
TACIT_CHECKED enum tacit_err claim_check(struct corpus *c, struct arena *a,
                                         const char *text, size_t n,
                                         const struct search_hit *const *hits,
                                         size_t n_hits, struct claim *out);

/* Length of the first whole sentence of text[n] with the citations behind it,
 * once something behind it shows that it is over; 0 until then. at_end: nothing
 * more comes. */
enum claim_more { CLAIM_GOES_ON, CLAIM_AT_END };
size_t claim_length(enum language language, const char *text, size_t n,
                    enum claim_more more);

#endif
