/* Any bytes as a table: refused with a message, or cells that lie within the
 * text, numbers that are finite and examples that a model can use. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/examples.h"
#include "common/base/codes.h"
#include "common/base/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever failed says what, and is forgotten. */
static void check_refused(enum tacit_err err)
{
    assert(err == TACIT_FORMAT || err == TACIT_LIMIT || err == TACIT_STATE);
    assert(err_message()[0] != '\0' && err_id() != 0);
    err_clear();
}

static void check_cells(const struct csv *t, const char *text, size_t size)
{
    uint32_t line = 1;
    assert(t->n_columns >= 1 && t->n_columns <= CSV_COLUMNS_MAX);
    assert(t->n_rows <= CSV_ROWS_MAX);
    for (size_t row = 0; row < t->n_rows; row++) {
        assert(t->line[row] > line);
        line = t->line[row];
        for (size_t col = 0; col < t->n_columns; col++) {
            const char *cell = csv_cell(t, row, col);
            double v = NAN;
            int known = 2;
            assert(cell >= text && cell + strlen(cell) <= text + size);
            enum tacit_err err = csv_number(t, row, col, &v, &known);
            if (err)
                check_refused(err);
            else
                assert(isfinite(v) && (known == 1 || (known == 0 && v == 0)));
        }
    }
    for (size_t col = 0; col < t->n_columns; col++) {
        long found = csv_find(t, t->header[col]);
        size_t only = 0;
        assert(found >= 0 && (size_t)found <= col);
        enum tacit_err err = csv_column(t, t->header[col], &only);
        if (err)
            check_refused(err);
        else
            assert(only == col);
    }
}

static void check_examples(const struct csv *t)
{
    static struct plan_column columns[] = {
        {.name = "a", .mean = 1, .sd = 2},
        {.name = "b", .n_values = 3, .values = {0, 1, 2}, .sd = 1}};
    struct plan plan = {.name = "fuzz",
                        .task = PLAN_REGRESS,
                        .label = "y",
                        .n_columns = 2,
                        .columns = columns,
                        .n_features = 3,
                        .holdout = 0.3};
    for (int s = PLAN_STANDARDISE_SITE; s <= PLAN_STANDARDISE_NONE; s++) {
        struct dataset d;
        plan.standardise = (enum plan_standardise)s;
        enum tacit_err err = examples_from_csv(&plan, t, &d);
        if (err) {
            check_refused(err);
            continue;
        }
        assert(d.train.n_rows >= 1);
        assert(d.train.n_rows + d.test.n_rows + d.n_dropped == t->n_rows);
        for (size_t i = 0; i < d.train.n_rows * 3; i++)
            assert(isfinite(d.train.x[i]));
        for (size_t i = 0; i < d.test.n_rows * 3; i++)
            assert(isfinite(d.test.x[i]));
        dataset_release(&d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct csv t;
    char *text = malloc(size + 1);
    assert(text);
    if (size) memcpy(text, data, size);
    arena_init(&a, 64 << 20);
    enum tacit_err err = csv_parse("fuzz.csv", text, size, &a, &t);
    if (err) {
        check_refused(err);
    } else {
        check_cells(&t, text, size);
        check_examples(&t);
    }
    arena_release(&a);
    free(text);
    return 0;
}
