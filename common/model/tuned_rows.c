#include "common/model/tuned_rows.h"

#include <string.h>

#include "common/model/batch.h"
#include "common/model/tuned.h"

size_t tuned_outputs(const struct model_spec *s)
{
    if (s->task == MODEL_READER) return 2;
    return s->task == MODEL_CLASSIFY ? (s->classes > 1 ? s->classes : 1) : 0;
}

size_t tuned_row(const struct tuned_rows *r, size_t i)
{
    return r->idx ? r->idx[i] : r->first + i;
}

size_t tuned_row_tokens(const struct tuned_rows *r, size_t i)
{
    const uint32_t *start = r->ex->text->start + tuned_row(r, i);
    return start[1] - start[0];
}

static enum tacit_err check_row(const struct tuned_rows *rows, size_t i)
{
    const struct examples *ex = rows->ex;
    const struct token_rows *r = ex->text;
    const struct net_shape *s = net_shape(rows->net);
    enum model_task task = rows->spec->task;
    size_t most = s->context && s->context < TUNED_ROW_TOKENS_MAX
                      ? s->context
                      : TUNED_ROW_TOKENS_MAX;
    uint32_t from = r->start[i], end = r->start[i + 1], n = end - from;
    if (end <= from || n > most)
        return fail(TACIT_SHAPE, "row %zu has %u tokens; 1 to %zu are read", i,
                    end > from ? n : 0, most);
    for (uint32_t k = from; k < end; k++)
        if (r->token[k] >= s->vocab)
            return fail(TACIT_SHAPE, "row %zu: token %u of a vocabulary of %zu",
                        i, r->token[k], s->vocab);
    if (r->second && r->second[i] >= n)
        return fail(TACIT_SHAPE, "row %zu has no second part", i);
    if (task == MODEL_LM && n < 2)
        return fail(TACIT_SHAPE, "row %zu has no next token", i);
    if (task == MODEL_READER &&
        (r->span[2 * i] >= n || r->span[2 * i + 1] >= n))
        return fail(TACIT_SHAPE, "row %zu: the answer lies outside of it", i);
    size_t classes =
        tuned_outputs(rows->spec) > 1 ? tuned_outputs(rows->spec) : 2;
    if (task == MODEL_CLASSIFY && !(ex->y[i] >= 0 && ex->y[i] < (float)classes))
        return fail(TACIT_SHAPE, "row %zu: class %g of %zu", i,
                    (double)ex->y[i], classes);
    return batch_check_hard(ex, i);
}

enum tacit_err tuned_rows_gather(struct tuned_rows *r, struct tape *t)
{
    const struct token_rows *from = r->ex->text;
    size_t total = 0;
    for (size_t i = 0; i < r->n; i++) {
        size_t row = tuned_row(r, i);
        TRY(check_row(r, row));
        total += tuned_row_tokens(r, i);
    }
    uint32_t *token = tape_raw(t, total, sizeof *token);
    uint32_t *type = tape_scratch(t, total, sizeof *type);
    r->start = tape_scratch(t, r->n + 1, sizeof *r->start);
    if (!token || !type || !r->start)
        return t->err ? t->err : fail(TACIT_NOMEM, "no memory for a batch");
    for (size_t i = 0, at = 0; i < r->n; i++) {
        size_t row = tuned_row(r, i), n = tuned_row_tokens(r, i);
        size_t second = from->second ? from->second[row] : 0;
        memcpy(token + at, from->token + from->start[row], n * sizeof *token);
        for (size_t k = second; second && k < n; k++) type[at + k] = 1;
        at += n;
        r->start[i + 1] = (uint32_t)at;
    }
    r->batch = (struct net_batch){.token = token,
                                  .type = type,
                                  .n = total,
                                  .segments = {r->start, r->n}};
    return TACIT_OK;
}

struct var *tuned_rows_passages(const struct tuned_rows *r, struct tape *tape)
{
    size_t n;
    float *p = batch_passages(tape, r->ex, r->idx, r->first, r->n, &n);
    return p ? tape_constant(tape, p, n, r->spec->n_inputs) : NULL;
}

const uint32_t *tuned_rows_spans(const struct tuned_rows *r, struct tape *tape)
{
    uint32_t *span = tape_raw(tape, 2 * r->n, sizeof *span);
    for (size_t i = 0; span && i < r->n; i++)
        memcpy(span + 2 * i, r->ex->text->span + 2 * tuned_row(r, i),
               2 * sizeof *span);
    return span;
}

const uint32_t *tuned_rows_classes(const struct tuned_rows *r,
                                   struct tape *tape)
{
    uint32_t *y = tape_raw(tape, r->n, sizeof *y);
    for (size_t i = 0; y && i < r->n; i++)
        y[i] = (uint32_t)r->ex->y[tuned_row(r, i)];
    return y;
}

/* Yes or no: one output, whose sign says it. */
const float *tuned_rows_answers(const struct tuned_rows *r, struct tape *tape)
{
    float *y = tape_raw(tape, r->n, sizeof *y);
    for (size_t i = 0; y && i < r->n; i++)
        y[i] = r->ex->y[tuned_row(r, i)] >= 1 ? 1 : 0;
    return y;
}

size_t tuned_rows_first_label(const struct tuned_rows *r, size_t i)
{
    const uint32_t *second = r->ex->text->second;
    size_t at = second ? second[tuned_row(r, i)] : 0;
    return at ? at - 1 : 0;
}

enum tacit_err tuned_rows_labels(const struct tuned_rows *r, struct tape *tape,
                                 struct op_labels *out)
{
    uint32_t *row = tape_raw(tape, r->batch.n, sizeof *row);
    uint32_t *label = tape_raw(tape, r->batch.n, sizeof *label);
    size_t n = 0;
    if (!row || !label) return tape->err;
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = r->start[i] + tuned_rows_first_label(r, i);
             k + 1 < r->start[i + 1]; k++) {
            row[n] = (uint32_t)k;
            label[n++] = r->batch.token[k + 1];
        }
    *out = (struct op_labels){row, label, n};
    return TACIT_OK;
}
