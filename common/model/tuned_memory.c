#include "common/model/tuned_memory.h"

#include <stdlib.h>

#include "common/base/codes.h"
#include "common/model/tuned.h"

/* What the model has of what is trained, beside the network's own: its flat
 * vector, and with pairs the drawn ones; what a training goes back to, or its
 * gradient, which stays. */
static size_t copies(const struct model_spec *s)
{
    return s->base.adapter == MODEL_FULL ? 2 : 3;
}

size_t tuned_passages_bytes(const struct tuned_count *c,
                            const struct tuned_batch *b)
{
    if (c->spec->task != MODEL_RETRIEVER) return 0;
    return b->rows * (1 + b->hard) * (2 * c->spec->n_inputs + 4 * b->rows) *
           sizeof(float);
}

static struct net_train_options options_of(const struct tuned_count *c,
                                           const struct tuned_batch *b)
{
    const struct model_base *base = &c->spec->base;
    int is_lm = c->spec->task == MODEL_LM;
    return (struct net_train_options){
        .load = {b->tokens, b->rows, is_lm ? b->labels : 0},
        .optim = {.kind = "adamw"}, /* the most that one keeps */
        .numbers = base->fast && b->way == TUNED_LEARNS ? NET_TRAIN_FAST
                                                        : NET_TRAIN_F32,
        .budget_bytes = base->memory_bytes,
        .beside_bytes =
            tuned_passages_bytes(c, b) +
            copies(c->spec) * net_params(c->net)->n_flat * sizeof(float),
        .pool = c->pool};
}

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

static enum tacit_err look(const struct tuned_count *c,
                           const struct tuned_batch *b,
                           const struct net_train_options *o,
                           struct net_memory *out)
{
    net_forward_estimate(c->net, o, out);
    if (!o->budget_bytes || out->total <= o->budget_bytes) return TACIT_OK;
    return fail_as(E_TRAIN_MEMORY,
                   "a forward pass over %zu rows of %zu tokens takes %.0f MiB, "
                   "of which %.0f are the model itself; the bound is %.0f MiB",
                   b->rows, b->tokens, mib(out->total),
                   mib(out->weights + out->learned + out->scratch),
                   mib(o->budget_bytes));
}

enum tacit_err tuned_count_batch(const struct tuned_count *c,
                                 const struct tuned_batch *b,
                                 struct net_memory *out)
{
    const struct net_train_options o = options_of(c, b);
    if (b->way == TUNED_LOOKS) return look(c, b, &o, out);
    if (o.budget_bytes) return net_train_plan(c->net, &o, out);
    net_train_estimate(c->net, &o, net_shape(c->net)->layers, out);
    while (out->n_kept && out->kept > TUNED_KEPT_BYTES)
        net_train_estimate(c->net, &o, out->n_kept - 1, out);
    return TACIT_OK;
}

/* ---- the largest batch -------------------------------------------------- */

/* How many rows have so many tokens; longer ones are no row's. */
static uint32_t *lengths(const struct examples *ex)
{
    uint32_t *n = calloc(TUNED_ROW_TOKENS_MAX + 1, sizeof *n);
    for (size_t i = 0; n && i < ex->n_rows; i++) {
        uint32_t from = ex->text->start[i], end = ex->text->start[i + 1];
        if (end > from && end - from <= TUNED_ROW_TOKENS_MAX) n[end - from]++;
    }
    return n;
}

/* Tokens of the `rows` longest. */
static size_t longest(const uint32_t *n, size_t rows)
{
    size_t tokens = 0;
    for (size_t k = TUNED_ROW_TOKENS_MAX; k > 0 && rows; k--) {
        size_t some = n[k] < rows ? n[k] : rows;
        tokens += some * k;
        rows -= some;
    }
    return tokens;
}

static struct tuned_batch of_rows(const struct tuned_batch *b,
                                  const uint32_t *n, size_t rows)
{
    struct tuned_batch some = *b;
    some.rows = rows;
    some.tokens = some.labels = longest(n, rows);
    return some;
}

/* How many rows fit, from fewer than `rows` down; 0: none. */
static size_t rows_that_fit(const struct tuned_count *c,
                            const struct tuned_batch *b, const uint32_t *n,
                            size_t rows)
{
    struct net_memory m;
    while (--rows > 0) {
        struct tuned_batch some = of_rows(b, n, rows);
        if (!tuned_count_batch(c, &some, &m)) break;
        err_clear();
    }
    return rows;
}

static enum tacit_err count(const struct tuned_count *c,
                            const struct tuned_batch *b, const uint32_t *n,
                            size_t rows, struct net_memory *out)
{
    const struct tuned_batch all = of_rows(b, n, rows);
    const char *base = c->spec->base.name ? c->spec->base.name : "";
    double bound = mib(c->spec->base.memory_bytes);
    if (!all.tokens || !tuned_count_batch(c, &all, out)) return TACIT_OK;
    err_clear();
    size_t fit = rows_that_fit(c, b, n, rows);
    double whole = mib(out->total);
    if (fit)
        return fail_as(E_TRAIN_MEMORY,
                       "learning on %s takes up to %.0f MiB with batches of "
                       "%zu rows of these lengths; the bound (memory_mib) is "
                       "%.0f MiB: a local.batch of %zu fits",
                       base, whole, rows, bound, fit);
    const struct tuned_batch one = of_rows(b, n, 1);
    if (!tuned_count_batch(c, &one, out)) return TACIT_OK;
    err_clear();
    return fail_as(E_TRAIN_MEMORY,
                   "learning on %s takes %.0f MiB even with one row of %zu "
                   "tokens, of which %.0f are the model itself; the bound "
                   "(memory_mib) is %.0f MiB",
                   base, mib(out->total), one.tokens,
                   mib(out->weights + out->learned + out->scratch), bound);
}

enum tacit_err tuned_count_largest(const struct tuned_count *c,
                                   const struct tuned_batch *b,
                                   const struct examples *ex,
                                   struct net_memory *out)
{
    size_t rows = b->rows < ex->n_rows ? b->rows : ex->n_rows;
    *out = (struct net_memory){0};
    if (!rows) return TACIT_OK;
    uint32_t *n = lengths(ex);
    if (!n) return fail(TACIT_NOMEM, "no memory to count rows");
    enum tacit_err err = count(c, b, n, rows, out);
    free(n);
    return err;
}
