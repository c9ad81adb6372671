#include "client/examples.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/reader_sets.h"
#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/plural.h"

/* Below this share of the mean, 32-bit values cannot tell a spread. Not an
 * absolute floor: a column in mol/l may vary by 1e-9. */
#define SD_FLOOR 1e-7

void dataset_release(struct dataset *d)
{
    arena_release(&d->arena);
    memset(d, 0, sizeof *d);
}

int examples_held_out(const struct plan *plan, uint64_t row)
{
    uint8_t bytes[16];
    struct digest d;
    le64_store(bytes, plan->seed);
    le64_store(bytes + 8, row);
    digest_of(&d, bytes, sizeof bytes);
    /* 53 bits as a number in [0, 1). */
    return (double)(le64_load(d.b) >> 11) * 0x1p-53 < plan->holdout;
}

int examples_left_out(const struct plan *plan, enum tacit_err err)
{
    if (!err || !plan->privacy.record || err_id() != E_CSV_VALUE) return 0;
    err_clear();
    return 1;
}

struct table {
    const struct plan *plan;
    const struct csv *csv;
    size_t label, event;
    size_t y_dim;
    size_t *columns; /* [plan->n_columns] */
    long split;      /* column, or -1 */
};

static enum tacit_err find_label(struct table *t)
{
    t->y_dim = t->plan->task == PLAN_COX ? 2 : 1;
    TRY(csv_column(t->csv, t->plan->label, &t->label));
    if (t->plan->task != PLAN_COX) return TACIT_OK;
    return csv_column(t->csv, t->plan->event, &t->event);
}

static enum tacit_err find_columns(struct table *t, struct arena *a)
{
    TRY(find_label(t));
    TRY(arena_alloc(a, t->plan->n_columns, sizeof *t->columns, &t->columns));
    for (size_t i = 0; i < t->plan->n_columns; i++)
        TRY(csv_column(t->csv, t->plan->columns[i].name, &t->columns[i]));
    t->split = csv_find(t->csv, "split");
    /* Two of them would leave it open which one has the word. */
    size_t only;
    return t->split < 0 ? TACIT_OK : csv_column(t->csv, "split", &only);
}

/* Is this row held out? The table's own column has the word. */
static enum tacit_err row_side(const struct table *t, size_t row, int *held)
{
    if (t->split < 0) {
        *held = examples_held_out(t->plan, row);
        return TACIT_OK;
    }
    const char *s = csv_cell(t->csv, row, (size_t)t->split);
    *held = strcmp(s, "test") == 0;
    if (*held || strcmp(s, "train") == 0) return TACIT_OK;
    return fail_as(E_CSV_VALUE,
                   "%s:%u: column \"split\" must hold train or test",
                   t->csv->name, t->csv->line[row]);
}

/* One category as 0/1 features, the first one left out. */
static enum tacit_err put_category(const struct table *t, size_t row,
                                   size_t column, double v, float **x)
{
    const struct plan_column *c = &t->plan->columns[column];
    size_t k = 0;
    while (k < c->n_values && c->values[k] != v) k++;
    if (k == c->n_values)
        return fail_as(E_CSV_VALUE,
                       "%s:%u: column \"%s\" holds a value that the plan does "
                       "not list",
                       t->csv->name, t->csv->line[row], c->name);
    for (size_t i = 1; i < c->n_values; i++) *(*x)++ = i == k;
    return TACIT_OK;
}

/* A cell in the 32 bits that training sees: 1e39 is a number, but not there. */
static enum tacit_err put_number(const struct table *t, size_t row,
                                 const char *column, double v, float *out)
{
    if (fabs(v) > FLT_MAX)
        return fail_as(E_CSV_VALUE, "%s:%u: column \"%s\" is out of range",
                       t->csv->name, t->csv->line[row], column);
    *out = (float)v;
    return TACIT_OK;
}

static enum tacit_err wrong(const struct table *t, size_t row, size_t column,
                            const char *wanted)
{
    return fail_as(E_CSV_VALUE, "%s:%u: column \"%s\" must hold %s",
                   t->csv->name, t->csv->line[row], t->csv->header[column],
                   wanted);
}

/* y of a row; *known = 0 when it is missing. */
static enum tacit_err read_label(const struct table *t, size_t row, float *y,
                                 int *known)
{
    const struct plan *p = t->plan;
    char wanted[64];
    double v, event;
    TRY(csv_number(t->csv, row, t->label, &v, known));
    if (!*known) return TACIT_OK;
    if (p->task == PLAN_CLASSIFY && p->classes > 1 && !pooled_label_ok(p, v)) {
        snprintf(wanted, sizeof wanted, "a whole number from 0 to %u",
                 p->classes - 1);
        return wrong(t, row, t->label, wanted);
    }
    if (p->task == PLAN_CLASSIFY && p->classes <= 1)
        v = v > p->label_positive_above;
    TRY(put_number(t, row, p->label, v, y));
    if (p->task != PLAN_COX) return TACIT_OK;
    if (v < 0) return wrong(t, row, t->label, "a time, 0 or more");
    TRY(csv_number(t->csv, row, t->event, &event, known));
    if (event < 0 || event > 1 || event > floor(event))
        return wrong(t, row, t->event, "1 (it happened) or 0 (censored)");
    y[1] = (float)event;
    return TACIT_OK;
}

/* Features and label of a row; *known = 0 when one is missing. */
static enum tacit_err read_row(const struct table *t, size_t row, float *x,
                               float *y, int *known)
{
    const struct plan *p = t->plan;
    double v;
    for (size_t i = 0; i < p->n_columns; i++) {
        const struct plan_column *c = &p->columns[i];
        TRY(csv_number(t->csv, row, t->columns[i], &v, known));
        if (!*known) return TACIT_OK;
        if (c->n_values) {
            TRY(put_category(t, row, i, v, &x));
            continue;
        }
        if (p->standardise == PLAN_STANDARDISE_PLAN) v = (v - c->mean) / c->sd;
        TRY(put_number(t, row, c->name, v, x++));
    }
    return read_label(t, row, y, known);
}

/* Centre and scale every feature by the train rows' mean and sd. */
static void standardise_site(const struct plan *p, float *x, size_t n_train,
                             size_t n_all)
{
    size_t f = 0, d = p->n_features;
    for (size_t i = 0; i < p->n_columns; i++) {
        size_t width = p->columns[i].n_values ? p->columns[i].n_values - 1 : 1;
        for (size_t k = 0; k < width; k++, f++) {
            double sum = 0, squares = 0;
            for (size_t r = 0; r < n_train; r++) sum += (double)x[r * d + f];
            double mean = sum / (double)n_train;
            for (size_t r = 0; r < n_train; r++) {
                double e = (double)x[r * d + f] - mean;
                squares += e * e;
            }
            double sd = n_train > 1 ? sqrt(squares / (double)(n_train - 1)) : 0;
            /* A column that never varies in training says nothing, and would
             * blow up the first row that differs. */
            for (size_t r = 0; r < n_all; r++) {
                float *v = &x[r * d + f];
                *v = sd > SD_FLOOR * fabs(mean)
                         ? (float)(((double)*v - mean) / sd)
                         : 0;
            }
        }
    }
}

/* Train rows first, then the held-out ones, each in file order. */
static enum tacit_err fill(struct table *t, struct dataset *out)
{
    const struct plan *p = t->plan;
    size_t n = t->csv->n_rows, d = p->n_features, k = t->y_dim;
    size_t at[2] = {0, 0};
    float *x[2], *y[2];
    if (n > EXAMPLES_VALUES_MAX / d)
        return fail(TACIT_LIMIT,
                    "%s: %zu rows of %zu features; the limit is %d"
                    " values",
                    t->csv->name, n, d, EXAMPLES_VALUES_MAX);
    for (int s = 0; s < 2; s++) {
        TRY(arena_alloc(&out->arena, (s ? 1 : 2) * n * d + 1, sizeof **x,
                        &x[s]));
        TRY(arena_alloc(&out->arena, (s ? 1 : 2) * n * k + 1, sizeof **y,
                        &y[s]));
    }
    for (size_t row = 0; row < n; row++) {
        int held = 0, known = 0;
        TRY(row_side(t, row, &held));
        enum tacit_err err = read_row(t, row, x[held] + at[held] * d,
                                      y[held] + at[held] * k, &known);
        if (examples_left_out(p, err))
            known = 0;
        else
            TRY(err);
        if (known)
            at[held]++;
        else
            out->n_dropped++;
    }
    /* x[0] has room for both. */
    memcpy(x[0] + at[0] * d, x[1], at[1] * d * sizeof **x);
    memcpy(y[0] + at[0] * k, y[1], at[1] * k * sizeof **y);
    if (p->standardise == PLAN_STANDARDISE_SITE && at[0])
        standardise_site(p, x[0], at[0], at[0] + at[1]);
    const struct examples all = {.x_dim = d, .y_dim = k, .x = x[0], .y = y[0]};
    out->train = out->test = all;
    out->train.n_rows = at[0];
    out->test.n_rows = at[1];
    out->test.x = x[0] + at[0] * d;
    out->test.y = y[0] + at[0] * k;
    return TACIT_OK;
}

enum tacit_err examples_from_csv(const struct plan *plan, const struct csv *t,
                                 struct dataset *out)
{
    struct dataset d = {0};
    struct table table = {.plan = plan, .csv = t};
    arena_init(&d.arena, 0);
    enum tacit_err err =
        t->n_rows > EXAMPLES_ROWS_MAX
            ? fail(TACIT_LIMIT, "%s: over %d rows", t->name, EXAMPLES_ROWS_MAX)
            : TACIT_OK;
    if (!err) err = find_columns(&table, &d.arena);
    if (!err) err = fill(&table, &d);
    if (!err && d.train.n_rows == 0 && !plan->privacy.record)
        err = fail_as(E_NO_EXAMPLES,
                      "%s: no row to train on (%zu row%s, %zu with an unknown "
                      "value, %zu held out)",
                      t->name, t->n_rows, plural_s(t->n_rows), d.n_dropped,
                      d.test.n_rows);
    if (err)
        dataset_release(&d);
    else
        *out = d;
    return err;
}

enum tacit_err examples_table(const struct plan *plan, const char *path,
                              struct dataset *out)
{
    struct arena a;
    struct csv t;
    arena_init(&a, 0);
    enum tacit_err err = csv_load(path, &a, &t);
    if (!err) err = examples_from_csv(plan, &t, out);
    arena_release(&a);
    return err;
}

enum tacit_err examples_class(const struct plan *plan, const struct csv *t,
                              size_t row, uint32_t *out, int *known)
{
    struct table table = {.plan = plan, .csv = t};
    float y[2] = {0, 0};
    TRY(find_label(&table));
    TRY(read_label(&table, row, y, known));
    if (plan->task == PLAN_REGRESS) *known = 0;
    *out = (uint32_t)(*known ? y[plan->task == PLAN_COX] : 0);
    return TACIT_OK;
}

/* ---- rows that are no table --------------------------------------------- */

static int is_held(const struct plan *plan, const struct pooled *p, size_t row)
{
    return p->is_test ? p->is_test[row] : examples_held_out(plan, row);
}

static enum tacit_err split(const struct plan *plan, const char *name,
                            struct pooled *p, struct dataset *out)
{
    uint32_t *order = malloc((p->n_rows + 1) * sizeof *order);
    size_t n = 0, n_train = 0;
    if (!order) return fail(TACIT_NOMEM, "%s: %zu rows", name, p->n_rows);
    for (int held = 0; held < 2; held++) {
        for (size_t i = 0; i < p->n_rows; i++)
            if (is_held(plan, p, i) == held) order[n++] = (uint32_t)i;
        if (!held) n_train = n;
    }
    enum tacit_err err =
        n_train || plan->privacy.record
            ? pooled_order(p, order)
            : fail_as(E_NO_EXAMPLES,
                      "%s: no row to train on (%zu row%s, all held out)", name,
                      p->n_rows, plural_s(p->n_rows));
    free(order);
    if (err) return err;
    struct dataset d = {.arena = p->arena};
    pooled_view(p, 0, n_train, &d.train);
    pooled_view(p, n_train, p->n_rows - n_train, &d.test);
    *p = (struct pooled){0}; /* its memory is the dataset's now */
    *out = d;
    return TACIT_OK;
}

enum tacit_err examples_from_pooled(const struct plan *plan, const char *name,
                                    struct pooled *p, struct dataset *out)
{
    enum tacit_err err = split(plan, name, p, out);
    if (err) pooled_release(p);
    return err;
}

enum tacit_err examples_load(const struct plan *plan, const char *path,
                             struct dataset *out)
{
    struct pooled p;
    if (plan->task == PLAN_READER) return reader_sets_load(plan, path, out);
    if (plan->format == PLAN_TABLE) return examples_table(plan, path, out);
    TRY(pooled_load(plan, path, &p));
    return examples_from_pooled(plan, path, &p, out);
}
