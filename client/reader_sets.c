#include "client/reader_sets.h"

#include <string.h>

#include "common/base/codes.h"

enum { ROWS_MAX = 1 << 20 };

struct columns {
    size_t question, passage, answer;
    long split;
};

static const char *cell(const struct csv *t, size_t row, size_t column)
{
    const char *s = csv_cell(t, row, column);
    return strcmp(s, "?") == 0 ? "" : s;
}

static enum tacit_err find_columns(const struct csv *t, struct columns *c)
{
    TRY(csv_column(t, "question", &c->question));
    TRY(csv_column(t, "passage", &c->passage));
    TRY(csv_column(t, "answer", &c->answer));
    c->split = csv_find(t, "split");
    size_t only;
    return c->split < 0 ? TACIT_OK : csv_column(t, "split", &only);
}

static enum tacit_err find_side(const struct plan *plan, const struct csv *t,
                                size_t row, long split, int *held)
{
    const char *s = split < 0 ? "" : csv_cell(t, row, (size_t)split);
    *held = split < 0 ? examples_held_out(plan, row) : strcmp(s, "test") == 0;
    if (split < 0 || *held || strcmp(s, "train") == 0) return TACIT_OK;
    return fail_as(E_CSV_VALUE,
                   "%s:%u: column \"split\" must hold train or test", t->name,
                   t->line[row]);
}

/* Rows of both sides; their texts are the table's. */
static enum tacit_err take_rows(const struct plan *plan, const struct csv *t,
                                struct dataset *d)
{
    struct columns c;
    struct reader_row *side[2];
    size_t n[2] = {0, 0};
    TRY(find_columns(t, &c));
    if (t->n_rows > ROWS_MAX)
        return fail(TACIT_LIMIT, "%s: %zu rows; at most %d", t->name, t->n_rows,
                    ROWS_MAX);
    for (int i = 0; i < 2; i++)
        TRY(arena_alloc(&d->arena, t->n_rows + 1, sizeof *side[i], &side[i]));
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct reader_row row = {cell(t, i, c.question),
                                       cell(t, i, c.passage),
                                       cell(t, i, c.answer)};
        int held = 0;
        TRY(find_side(plan, t, i, c.split, &held));
        if (*row.question && *row.passage && strstr(row.passage, row.answer))
            side[held][n[held]++] = row;
        else
            d->n_dropped++;
    }
    d->train = (struct examples){.n_rows = n[0], .read = side[0]};
    d->test = (struct examples){.n_rows = n[1], .read = side[1]};
    if (n[0] || plan->privacy.record) return TACIT_OK;
    return fail_as(E_NO_EXAMPLES,
                   "%s: no row to train on (%zu held out, %zu left out)",
                   t->name, n[1], d->n_dropped);
}

enum tacit_err reader_sets_load(const struct plan *plan, const char *path,
                                struct dataset *out)
{
    struct dataset d = {0};
    struct csv t;
    arena_init(&d.arena, 0);
    enum tacit_err err = csv_load(path, &d.arena, &t);
    if (!err) err = take_rows(plan, &t, &d);
    if (err)
        dataset_release(&d);
    else
        *out = d;
    return err;
}
