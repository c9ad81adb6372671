/* ivf: what stands in the store of an index, one after the other; a walk that
 * was begun is ended, whatever comes of it. */
#include "retrieval/ivf_state.h"

/* What has been begun, whatever became of it. */
static enum tacit_err walk(const struct ivf_store *s, enum tacit_err begun,
                           enum tacit_err (*next)(void *ctx, uint32_t *number,
                                                  const void **data, size_t *n),
                           ivf_visit *visit, void *ctx)
{
    enum tacit_err e = begun;
    while (e == TACIT_OK) {
        uint32_t number;
        const void *data;
        size_t n;
        e = next(s->ctx, &number, &data, &n);
        if (e != TACIT_OK || data == NULL) break;
        e = visit(ctx, number, data, n);
    }
    return e;
}

enum tacit_err ivf_heads_walk(const struct ivf_store *s, const int64_t *part,
                              ivf_visit *visit, void *ctx)
{
    enum tacit_err e =
        walk(s, s->heads_begin(s->ctx, part), s->heads_next, visit, ctx);
    s->heads_end(s->ctx);
    return e;
}

enum tacit_err ivf_segs_walk(const struct ivf_store *s, uint32_t run,
                             ivf_visit *visit, void *ctx)
{
    enum tacit_err e =
        walk(s, s->segs_begin(s->ctx, run), s->segs_next, visit, ctx);
    s->segs_end(s->ctx);
    return e;
}
