#include "common/model/lanes.h"

#include <stdlib.h>

struct lane {
    struct tape tape;
    enum tacit_err err;
};

enum tacit_err lanes_add(struct lanes *l, size_t n, size_t bytes_max)
{
    if (n <= l->n) return TACIT_OK;
    struct lane *more = realloc(l->list, n * sizeof *more);
    if (!more) return fail(TACIT_NOMEM, "out of memory");
    l->list = more;
    for (; l->n < n; l->n++) {
        more[l->n] = (struct lane){.err = TACIT_OK};
        tape_init(&more[l->n].tape, bytes_max);
    }
    return TACIT_OK;
}

struct job {
    struct lanes *l;
    lanes_batch *run;
    void *ctx;
};

static void run_in_lane(void *ctx, size_t i, unsigned worker)
{
    const struct job *j = ctx;
    struct lane *lane = &j->l->list[worker];
    if (lane->err) return;
    lane->err = j->run(j->ctx, i, &lane->tape);
    if (lane->err) err_clear();
}

enum tacit_err lanes_run(struct lanes *l, struct pool *pool, size_t n,
                         lanes_batch *run, void *ctx)
{
    struct job j = {l, run, ctx};
    for (size_t i = 0; i < l->n; i++) l->list[i].err = TACIT_OK;
    pool_run(pool, n, run_in_lane, &j);
    for (size_t i = 0; i < l->n; i++)
        if (l->list[i].err) return l->list[i].err;
    return TACIT_OK;
}

void lanes_release(struct lanes *l)
{
    for (size_t i = 0; i < l->n; i++) tape_release(&l->list[i].tape);
    free(l->list);
    *l = (struct lanes){.n = 0};
}
