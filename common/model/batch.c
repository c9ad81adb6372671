#include "common/model/batch.h"

#include <math.h>
#include <string.h>

#include "common/model/arch.h"

/* Where the caller's rows are: idx, or from `first` on. */
struct rows {
    const uint32_t *idx;
    size_t first, n;
};

static size_t row_at(const struct rows *r, size_t i)
{
    return r->idx ? r->idx[i] : r->first + i;
}

size_t batch_targets(const struct model_spec *s)
{
    switch (s->task) {
    case MODEL_COX: return 2;
    case MODEL_LM: return s->seq;
    case MODEL_RETRIEVER: return 0;
    default: return 1;
    }
}

static enum tacit_err whole_below(float v, size_t limit, const char *what,
                                  size_t row, uint32_t *out)
{
    if (!(v >= 0) || !(v < (float)limit) || v > floorf(v))
        return fail(TACIT_SHAPE, "row %zu: %s %g; there are 0 to %zu", row,
                    what, (double)v, limit - 1);
    *out = (uint32_t)v;
    return TACIT_OK;
}

static float *copy_rows(struct tape *t, const float *from, size_t dim,
                        const struct rows *r)
{
    /* Nothing writes to a constant of the tape. */
    if (!r->idx) return (float *)(uintptr_t)(from + r->first * dim);
    float *to = tape_raw(t, r->n * dim, sizeof *to);
    for (size_t i = 0; to && i < r->n; i++)
        memcpy(to + i * dim, from + r->idx[i] * dim, dim * sizeof *to);
    return to;
}

/* from [rows, T] as token numbers in the order of the model's rows. */
static enum tacit_err copy_tokens(struct tape *t, const struct model_spec *s,
                                  enum batch_order order, const float *from,
                                  const struct rows *r, uint32_t **out)
{
    size_t n = r->n, len = s->seq;
    uint32_t *to = tape_raw(t, n * len, sizeof *to);
    if (!to) return t->err;
    for (size_t i = 0; i < n; i++) {
        size_t row = row_at(r, i);
        for (size_t k = 0; k < len; k++)
            TRY(whole_below(
                from[row * len + k], s->classes, "token", row,
                &to[order == BATCH_BY_STEP ? k * n + i : i * len + k]));
    }
    *out = to;
    return TACIT_OK;
}

static enum tacit_err copy_classes(struct tape *t, const struct model_spec *s,
                                   const float *y, const struct rows *r,
                                   uint32_t **out)
{
    uint32_t *to = tape_raw(t, r->n, sizeof *to);
    if (!to) return t->err;
    for (size_t i = 0; i < r->n; i++) {
        size_t row = row_at(r, i);
        TRY(whole_below(y[row], s->classes, "class", row, &to[i]));
    }
    *out = to;
    return TACIT_OK;
}

enum tacit_err batch_classes(struct tape *t, const struct model_spec *s,
                             const struct examples *ex, const uint32_t *idx,
                             size_t n, uint32_t **out)
{
    const struct rows r = {.idx = idx, .n = n};
    return copy_classes(t, s, ex->y, &r, out);
}

enum tacit_err batch_check_hard(const struct examples *ex, size_t i)
{
    for (size_t k = 0; ex->hard && k < ex->n_hard; k++)
        if (ex->hard[i * ex->n_hard + k] >= ex->n_pool)
            return fail(TACIT_SHAPE, "row %zu: no passage %u", i,
                        ex->hard[i * ex->n_hard + k]);
    return TACIT_OK;
}

struct batch_passages batch_passages(struct tape *t, const struct examples *ex,
                                     const uint32_t *idx, size_t first,
                                     size_t n)
{
    const struct rows r = {idx, first, n};
    size_t d = ex->x_dim, n_hard = ex->hard ? ex->n_hard : 0;
    struct batch_passages p = {.n = n * (1 + n_hard)};
    if (!n_hard) {
        p.v = copy_rows(t, ex->p, d, &r);
        return p;
    }
    p.v = tape_raw(t, p.n * d, sizeof *p.v);
    for (size_t i = 0; p.v && i < n; i++) {
        size_t row = row_at(&r, i);
        memcpy(p.v + i * d, ex->p + row * d, d * sizeof *p.v);
        for (size_t k = 0; k < n_hard; k++)
            memcpy(p.v + (n + i * n_hard + k) * d,
                   ex->pool + ex->hard[row * n_hard + k] * d, d * sizeof *p.v);
    }
    return p;
}

static enum tacit_err copy_passages(struct tape *t, const struct examples *ex,
                                    const struct rows *r, struct batch *b)
{
    for (size_t i = 0; i < r->n; i++) TRY(batch_check_hard(ex, row_at(r, i)));
    b->p = batch_passages(t, ex, r->idx, r->first, r->n);
    return TACIT_OK;
}

static enum tacit_err copy_survival(struct tape *t, const float *y,
                                    const struct rows *r, struct batch *b)
{
    b->y = tape_raw(t, r->n, sizeof *b->y);
    b->event = tape_raw(t, r->n, sizeof *b->event);
    if (!b->y || !b->event) return t->err;
    for (size_t i = 0; i < r->n; i++) {
        size_t row = row_at(r, i);
        uint32_t event = 0;
        TRY(whole_below(y[2 * row + 1], 2, "event", row, &event));
        if (!isfinite(y[2 * row]))
            return fail(TACIT_SHAPE, "row %zu: the time is not a number", row);
        b->y[i] = y[2 * row];
        b->event[i] = (float)event;
    }
    return TACIT_OK;
}

enum tacit_err batch_gather(struct tape *t, const struct model_spec *s,
                            enum batch_order order, const struct examples *ex,
                            const uint32_t *idx, size_t first, size_t n,
                            struct batch *out)
{
    const struct rows r = {idx, first, n};
    struct batch b = {.n = n};
    if (s->task == MODEL_READER) {
        TRY(arch_reader_gather(t, ex, idx, first, n, &b.texts));
    } else if (s->task == MODEL_LM) {
        TRY(copy_tokens(t, s, order, ex->x, &r, &b.token));
        TRY(copy_tokens(t, s, order, ex->y, &r, &b.class));
    } else {
        b.x = copy_rows(t, ex->x, ex->x_dim, &r);
        if (s->task == MODEL_RETRIEVER)
            TRY(copy_passages(t, ex, &r, &b));
        else if (s->task == MODEL_COX)
            TRY(copy_survival(t, ex->y, &r, &b));
        else if (s->classes > 1)
            TRY(copy_classes(t, s, ex->y, &r, &b.class));
        else
            b.y = copy_rows(t, ex->y, 1, &r);
    }
    if (t->err) return t->err;
    *out = b;
    return TACIT_OK;
}
