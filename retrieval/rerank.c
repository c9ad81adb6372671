#include "retrieval/rerank.h"

#include <assert.h>
#include <stdlib.h>

static int by_confidence(const void *a, const void *b)
{
    const struct passage *x = a, *y = b;
    if (x->log_odds != y->log_odds) return x->log_odds > y->log_odds ? -1 : 1;
    return (x->hit > y->hit) - (x->hit < y->hit);
}

enum tacit_err rerank(struct corpus *c, const struct inquiry *q,
                      const struct search_hit *hits, size_t n,
                      struct passage *out)
{
    assert(n <= RERANK_MAX);
    for (size_t i = 0; i < n; i++) TRY(relevance_read(c, q, &hits[i], &out[i]));
    if (n) qsort(out, n, sizeof *out, by_confidence);
    return TACIT_OK;
}
