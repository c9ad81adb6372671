/* examples: which rows are trained on, what a model sees of them, and that a
 * cell that cannot be used is named by file, line and column. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/examples.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"

/* A plan with these lines below data. */
static struct plan *plan_of(const char *task, const char *data)
{
    struct plan *p = NULL;
    char text[1024];
    int classify = strcmp(task, "classify") == 0;
    snprintf(text, sizeof text,
             "name: risk\ntask: %s\nmodel: {kind: %s}\n"
             "data:\n  source: patients\n%s"
             "seed: 7\n",
             task, classify ? "logistic" : "linear", data);
    check_ok(plan_parse("risk.yaml", text, strlen(text), &p));
    return p;
}

#define TWO_COLUMNS                                                            \
 "  label: sick\n"                                                             \
 "  columns: [{name: age}, {name: dose}]\n"

static struct plan *plain(void)
{
    return plan_of("regress", TWO_COLUMNS "  standardise: none\n"
                                          "  holdout: 0\n");
}

/* The examples of a text under a plan. */
static enum tacit_err read_text(const struct plan *p, const char *text,
                                struct dataset *out)
{
    struct arena a;
    struct csv t;
    char *copy = NULL;
    size_t n = strlen(text);
    arena_init(&a, 0);
    check_ok(arena_alloc(&a, n + 1, 1, &copy));
    memcpy(copy, text, n);
    check_ok(csv_parse("t.csv", copy, n, &a, &t));
    enum tacit_err err = examples_from_csv(p, &t, out);
    arena_release(&a);
    return err;
}

static void check_refused(const struct plan *p, const char *text, unsigned id,
                          const char *message)
{
    struct dataset d = {.n_dropped = 77};
    enum tacit_err err = read_text(p, text, &d);
    if (!err) fail_msg("taken: %s", text);
    assert_string_equal(err_message(), message);
    check_code(err, id);
    assert_int_equal(d.n_dropped, 77);
}

/* A plan may ask for values that a row lacks: who then declined would tell. */
static void under_privacy_no_value_stops_the_others(void **state)
{
    (void)state;
    struct plan *p =
        plan_of("classify", "  label: sick\n"
                            "  columns: [{name: sex, values: [0, 1]}, "
                            "{name: dose, mean: 0, sd: 1e-9}]\n"
                            "  standardise: plan\n  holdout: 0\n");
    struct dataset d;
    p->privacy.record = 1;
    check_ok(read_text(p,
                       "sex,dose,sick\n0,1,1\n2,1,0\n1,1e38,0\n"
                       "high,1,0\n1,3,0\n",
                       &d));
    assert_int_equal(d.train.n_rows, 2);
    assert_int_equal(d.n_dropped, 3);
    dataset_release(&d);
    check_ok(read_text(p, "sex,dose,sick\n2,1,0\n", &d));
    assert_int_equal(d.train.n_rows, 0);
    dataset_release(&d);
    p->privacy.record = 0;
    check_refused(p, "sex,dose,sick\n0,1,1\n2,1,0\n", E_CSV_VALUE,
                  "t.csv:3: column \"sex\" holds a value that the plan does "
                  "not list");
    plan_free(p);
}

/* ---- rows and features --------------------------------------------------- */

static void rows_come_in_order_with_the_plans_columns(void **state)
{
    (void)state;
    struct plan *p = plain();
    struct dataset d;
    check_ok(read_text(p,
                       "note,dose,sick,age\n"
                       "x,0.5,1,63\n"
                       "y,-1e2,-2.25,37\n",
                       &d));
    static const float x[] = {63, 0.5F, 37, -100};
    static const float y[] = {1, -2.25F};
    assert_int_equal(d.train.n_rows, 2);
    assert_int_equal(d.train.x_dim, 2);
    assert_int_equal(d.test.n_rows, 0);
    assert_int_equal(d.n_dropped, 0);
    check_tensor(d.train.x, x, 4, 0);
    check_tensor(d.train.y, y, 2, 0);
    dataset_release(&d);
    plan_free(p);
}

static void a_label_above_the_bound_is_one(void **state)
{
    (void)state;
    struct plan *p =
        plan_of("classify", "  label: sick\n  positive_above: 0.5\n"
                            "  columns: [{name: age}]\n"
                            "  standardise: none\n  holdout: 0\n");
    struct dataset d;
    check_ok(
        read_text(p, "age,sick\n1,0\n2,0.5\n3,0.51\n4,4\n5,-1\n6,1e300\n", &d));
    static const float y[] = {0, 0, 1, 1, 0, 1};
    check_tensor(d.train.y, y, 6, 0);
    dataset_release(&d);
    plan_free(p);
}

/* A plan over age alone, with this model and label. */
static struct plan *plan_for(const char *task, const char *model,
                             const char *label)
{
    struct plan *p = NULL;
    char text[512];
    snprintf(text, sizeof text,
             "name: risk\ntask: %s\nmodel: {%s}\n"
             "data: {source: patients, %s, columns: [{name: age}],\n"
             "       standardise: none, holdout: 0}\n",
             task, model, label);
    check_ok(plan_parse("risk.yaml", text, strlen(text), &p));
    return p;
}

static void a_label_of_many_classes_is_the_number_of_one(void **state)
{
    (void)state;
    static const char *const wrong[] = {"3", "-1", "0.5", "1e300"};
    struct plan *p =
        plan_for("classify", "kind: softmax, classes: 3", "label: stage");
    struct dataset d;
    check_ok(read_text(p, "age,stage\n1,0\n2,2\n3,?\n4,1.0\n", &d));
    static const float y[] = {0, 2, 1};
    assert_int_equal(d.n_dropped, 1);
    assert_int_equal(d.train.y_dim, 1);
    check_tensor(d.train.y, y, 3, 0);
    dataset_release(&d);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[64];
        snprintf(text, sizeof text, "age,stage\n1,0\n2,%s\n", wrong[i]);
        check_refused(p, text, E_CSV_VALUE,
                      "t.csv:3: column \"stage\" must hold a whole number from "
                      "0 to 2");
    }
    plan_free(p);
}

static void survival_takes_a_time_and_an_event(void **state)
{
    (void)state;
    struct plan *p = plan_for("cox", "kind: cox", "label: days, event: died");
    struct dataset d;
    check_ok(read_text(p,
                       "died,age,days,split\n1,50,12.5,train\n0,60,0,test\n"
                       "0,61,400,train\n,62,3,train\n1,63,?,train\n",
                       &d));
    static const float train[] = {12.5F, 1, 400, 0}, test[] = {0, 0};
    assert_int_equal(d.n_dropped, 2);
    check(d.train.n_rows == 2 && d.test.n_rows == 1);
    check(d.train.y_dim == 2 && d.test.y_dim == 2);
    check_tensor(d.train.y, train, 4, 0);
    check_tensor(d.test.y, test, 2, 0);
    dataset_release(&d);
    check_refused(p, "age,days,died\n1,-1,1\n", E_CSV_VALUE,
                  "t.csv:2: column \"days\" must hold a time, 0 or more");
    check_refused(p, "age,days,died\n1,1,2\n", E_CSV_VALUE,
                  "t.csv:2: column \"died\" must hold 1 (it happened) or 0 "
                  "(censored)");
    check_refused(p, "age,days,died\n1,1,0.5\n", E_CSV_VALUE,
                  "t.csv:2: column \"died\" must hold 1 (it happened) or 0 "
                  "(censored)");
    check_refused(p, "age,days\n1,1\n", E_CSV_COLUMN,
                  "t.csv: no column \"died\"; it has age, days");
    plan_free(p);
}

static void categories_become_features_without_the_first(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", "  label: sick\n"
                                        "  columns:\n"
                                        "    - {name: cp, values: [1, 2, 4]}\n"
                                        "    - {name: age}\n"
                                        "  standardise: none\n  holdout: 0\n");
    struct dataset d;
    check_ok(read_text(p, "cp,age,sick\n1,50,0\n2.0,51,0\n4,52,0\n", &d));
    static const float x[] = {0, 0, 50, 1, 0, 51, 0, 1, 52};
    assert_int_equal(d.train.x_dim, 3);
    check_tensor(d.train.x, x, 9, 0);
    dataset_release(&d);
    check_refused(p, "cp,age,sick\n1,50,0\n3,51,0\n", E_CSV_VALUE,
                  "t.csv:3: column \"cp\" holds a value that the plan does not "
                  "list");
    plan_free(p);
}

static void rows_with_an_unknown_value_are_left_out_and_counted(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", "  label: sick\n"
                                        "  columns: [{name: age}, "
                                        "{name: cp, values: [1, 2]}]\n"
                                        "  standardise: none\n  holdout: 0\n");
    struct dataset d;
    check_ok(read_text(p,
                       "age,cp,sick,note\n1,1,1,\n,1,1,x\n3,?,1,x\n"
                       "4,2, ? ,x\n?,?,?,?\n6,2,1,?\n",
                       &d));
    static const float x[] = {1, 0, 6, 1};
    assert_int_equal(d.n_dropped, 4);
    assert_int_equal(d.train.n_rows, 2);
    check_tensor(d.train.x, x, 4, 0);
    dataset_release(&d);
    plan_free(p);
}

static void a_table_without_a_row_to_train_on_says_what_became_of_all(
    void **state)
{
    (void)state;
    struct plan *p = plain();
    check_refused(p, "age,dose,sick\n", E_NO_EXAMPLES,
                  "t.csv: no row to train on (0 rows, 0 with an unknown value, "
                  "0 held out)");
    check_refused(p,
                  "age,dose,sick,split\n?,1,1,train\n1,1,1,test\n2,2,,train\n",
                  E_NO_EXAMPLES,
                  "t.csv: no row to train on (3 rows, 2 with an unknown value, "
                  "1 held out)");
    plan_free(p);
}

/* ---- faults -------------------------------------------------------------- */

static void a_cell_that_cannot_be_used_names_its_place(void **state)
{
    (void)state;
    struct plan *p = plain();
    check_refused(p, "age,dose,sick\n1,2,3\n\n1,high,3\n", E_CSV_VALUE,
                  "t.csv:4: column \"dose\" holds no number");
    check_refused(p, "age,dose,sick\n1,2,nan\n", E_CSV_VALUE,
                  "t.csv:2: column \"sick\" holds no number");
    check_refused(
        p, "agee,dose,sick\n1,2,3\n", E_CSV_COLUMN,
        "t.csv: no column \"age\"; did you mean \"agee\"? It has agee, "
        "dose, sick");
    check_refused(p, "age,dose\n1,2\n", E_CSV_COLUMN,
                  "t.csv: no column \"sick\"; it has age, dose");
    check_refused(p, "age,dose,sick,age\n1,2,3,4\n", E_CSV_COLUMN,
                  "t.csv: column \"age\" is there twice");
    check_refused(p, "age,dose,sick,split\n1,2,3,train\n1,2,3,valid\n",
                  E_CSV_VALUE,
                  "t.csv:3: column \"split\" must hold train or test");
    check_refused(p, "age,dose,sick,split\n1,2,3,\n", E_CSV_VALUE,
                  "t.csv:2: column \"split\" must hold train or test");
    check_refused(p, "split,age,dose,sick,split\ntest,1,2,3,train\n",
                  E_CSV_COLUMN, "t.csv: column \"split\" is there twice");
    plan_free(p);
}

/* Infinity in training would turn the whole column, or the model, to nothing.
 */
static void a_number_beyond_32_bits_is_refused(void **state)
{
    (void)state;
    struct plan *p = plain();
    struct dataset d;
    check_refused(p, "age,dose,sick\n1,2,3\n1,1e39,3\n", E_CSV_VALUE,
                  "t.csv:3: column \"dose\" is out of range");
    check_refused(p, "age,dose,sick\n1,2,-1e300\n", E_CSV_VALUE,
                  "t.csv:2: column \"sick\" is out of range");
    check_ok(read_text(p, "age,dose,sick\n1,3.4e38,-3.4e38\n", &d));
    check(isfinite(d.train.x[1]) && isfinite(d.train.y[0]));
    dataset_release(&d);
    plan_free(p);
    p = plan_of("regress", "  label: sick\n"
                           "  columns: [{name: age, mean: 0, sd: 0.001}]\n"
                           "  standardise: plan\n  holdout: 0\n");
    check_refused(p, "age,sick\n1e36,3\n", E_CSV_VALUE,
                  "t.csv:2: column \"age\" is out of range");
    plan_free(p);
}

static void more_values_than_the_limit_are_refused_before_memory_is_taken(
    void **state)
{
    (void)state;
    struct plan *p = plain();
    const char *const header[] = {"age", "dose", "sick"};
    struct dataset d;
    struct csv t = {.name = "t.csv",
                    .n_columns = 3,
                    .n_rows = EXAMPLES_ROWS_MAX + 1,
                    .header = header};
    check_err(examples_from_csv(p, &t, &d), TACIT_LIMIT);
    /* As many rows as may be, but a plan of very many features. */
    t.n_rows = EXAMPLES_ROWS_MAX;
    p->n_features = EXAMPLES_VALUES_MAX / EXAMPLES_ROWS_MAX + 1;
    check_err(examples_from_csv(p, &t, &d), TACIT_LIMIT);
    plan_free(p);
}

/* ---- held out ------------------------------------------------------------ */

static void the_split_column_has_the_word(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", TWO_COLUMNS "  standardise: none\n"
                                                    "  holdout: 0.5\n");
    struct dataset d;
    check_ok(read_text(p,
                       "age,dose,sick,split\n1,0,1,train\n2,0,2,test\n"
                       "3,0,3,test\n4,0,4,train\n5,0,5,train\n",
                       &d));
    static const float train[] = {1, 4, 5}, test[] = {2, 3};
    assert_int_equal(d.train.n_rows, 3);
    assert_int_equal(d.test.n_rows, 2);
    assert_int_equal(d.test.x_dim, 2);
    check_tensor(d.train.y, train, 3, 0);
    check_tensor(d.test.y, test, 2, 0);
    check_near(d.test.x[0], 2, 0);
    check_near(d.test.x[2], 3, 0);
    dataset_release(&d);
    plan_free(p);
}

static void the_holdout_is_a_pure_function_of_seed_and_row(void **state)
{
    (void)state;
    struct plan p = {.seed = 7, .holdout = 0.3};
    int other_seed = 0, n = 0;
    for (uint64_t row = 0; row < 20000; row++) {
        int held = examples_held_out(&p, row);
        assert_int_equal(held, examples_held_out(&p, row));
        n += held;
        p.seed = 8;
        other_seed += held != examples_held_out(&p, row);
        p.seed = 7;
    }
    /* Four standard deviations of a fair draw. */
    check_near(n, 0.3 * 20000, 4 * sqrt(20000 * 0.3 * 0.7));
    check_near(other_seed, 0.42 * 20000, 4 * sqrt(20000 * 0.42 * 0.58));
    p.holdout = 0;
    for (uint64_t row = 0; row < 1000; row++)
        check(!examples_held_out(&p, row));
}

/* A row that is held out at a small share is so at every larger one. */
static void a_larger_holdout_keeps_the_rows_of_a_smaller_one(void **state)
{
    (void)state;
    struct plan p = {.seed = 99};
    for (uint64_t row = 0; row < 2000; row++) {
        int before = 0;
        for (p.holdout = 0; p.holdout < 1; p.holdout += 0.1) {
            int held = examples_held_out(&p, row);
            check(held >= before);
            before = held;
        }
    }
}

/* Golden: Python's hashlib.blake2b over seed and row, 8 bytes each and
 * little-endian, digest_size=32; the first 8 bytes >> 11 below 0.34 * 2^53. */
static void the_holdout_of_known_rows_never_moves(void **state)
{
    (void)state;
    struct plan p = {.seed = 42, .holdout = 0.34};
    static const char want[] =
        "1010000110001011001110011110101000000000010100010010001000111010";
    for (uint64_t row = 0; row < sizeof want - 1; row++)
        assert_int_equal(examples_held_out(&p, row), want[row] == '1');
}

static void an_unknown_value_moves_no_other_row(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", TWO_COLUMNS "  standardise: none\n"
                                                    "  holdout: 0.5\n");
    char whole[1024] = "age,dose,sick\n", gaps[1024] = "age,dose,sick\n";
    size_t a = strlen(whole), b = strlen(gaps);
    for (int i = 0; i < 40; i++) {
        a += (size_t)snprintf(whole + a, sizeof whole - a, "%d,0,1\n", i);
        b += (size_t)snprintf(gaps + b, sizeof gaps - b,
                              i % 3 ? "%d,0,1\n" : "%d,?,1\n", i);
    }
    struct dataset d, e;
    check_ok(read_text(p, whole, &d));
    check_ok(read_text(p, gaps, &e));
    assert_int_equal(e.n_dropped, 14);
    for (size_t i = 0; i < e.train.n_rows; i++)
        check(!examples_held_out(p, (uint64_t)e.train.x[2 * i]));
    for (size_t i = 0; i < e.test.n_rows; i++)
        check(examples_held_out(p, (uint64_t)e.test.x[2 * i]));
    assert_int_equal(d.train.n_rows + d.test.n_rows, 40);
    assert_int_equal(e.train.n_rows + e.test.n_rows, 26);
    dataset_release(&d);
    dataset_release(&e);
    plan_free(p);
}

/* ---- standardise --------------------------------------------------------- */

static void a_site_standardises_by_its_train_rows_only(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", TWO_COLUMNS "  standardise: site\n"
                                                    "  holdout: 0\n");
    struct dataset d;
    check_ok(read_text(p,
                       "age,dose,sick,split\n1,10,0,train\n1000,-7,0,test\n"
                       "2,20,0,train\n3,60,0,train\n",
                       &d));
    /* age: mean 2, sd 1; dose: mean 30, unbiased sd sqrt(700). */
    const float s = (float)sqrt(700);
    const float train[] = {-1, -20 / s, 0, -10 / s, 1, 30 / s};
    const float test[] = {998, -37 / s};
    check_tensor(d.train.x, train, 6, 1e-6);
    check_tensor(d.test.x, test, 2, 1e-6);
    dataset_release(&d);
    plan_free(p);
}

static void a_column_that_never_varies_is_zero_everywhere(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", TWO_COLUMNS "  standardise: site\n"
                                                    "  holdout: 0\n");
    static const char *const constants[] = {"0", "0.1", "-3e30", "16777217"};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        struct dataset d;
        char text[512] = "age,dose,sick,split\n9,4,0,test\n";
        size_t n = strlen(text);
        for (int row = 0; row < 9; row++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s,%d,0,train\n",
                                  constants[i], row);
        check_ok(read_text(p, text, &d));
        for (size_t row = 0; row < 9; row++)
            check_near(d.train.x[2 * row], 0, 0);
        check_near(d.test.x[0], 0, 0);
        check_near(d.test.x[1], 0, 1e-6);
        dataset_release(&d);
    }
    struct dataset d;
    check_ok(read_text(p, "age,dose,sick\n5,6,1\n", &d)); /* one row */
    check_near(d.train.x[0], 0, 0);
    dataset_release(&d);
    plan_free(p);
}

static void a_column_of_tiny_numbers_keeps_its_spread(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", TWO_COLUMNS "  standardise: site\n"
                                                    "  holdout: 0\n");
    struct dataset d;
    static const float want[] = {-1, 0, 1};
    check_ok(read_text(p, "age,dose,sick\n1e-9,1,0\n2e-9,1,0\n3e-9,1,0\n", &d));
    for (size_t i = 0; i < 3; i++) check_near(d.train.x[2 * i], want[i], 1e-6);
    dataset_release(&d);
    plan_free(p);
}

static void a_plan_standardises_by_its_own_numbers(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", "  label: sick\n"
                                        "  columns:\n"
                                        "    - {name: age, mean: 54, sd: 9}\n"
                                        "    - {name: cp, values: [1, 2]}\n"
                                        "    - {name: dose}\n"
                                        "  standardise: plan\n  holdout: 0\n");
    struct dataset d;
    check_ok(read_text(p,
                       "age,cp,dose,sick,split\n63,2,8,0,train\n"
                       "45,1,9,0,test\n",
                       &d));
    static const float train[] = {1, 1, 8}, test[] = {-1, 0, 9};
    check_tensor(d.train.x, train, 3, 0);
    check_tensor(d.test.x, test, 3, 0);
    dataset_release(&d);
    plan_free(p);
}

/* After standardising, train columns have mean 0 and unbiased sd 1. */
static void train_columns_end_with_mean_0_and_sd_1(void **state)
{
    (void)state;
    struct plan *p = plan_of("regress", TWO_COLUMNS "  standardise: site\n"
                                                    "  holdout: 0.3\n");
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rng rng;
        struct dataset d;
        char *text = malloc(1 << 16);
        check(text != NULL);
        size_t n = (size_t)snprintf(text, 1 << 16, "age,dose,sick\n");
        rng_init(&rng, seed, 0, 0);
        for (int i = 0; i < 200; i++)
            n += (size_t)snprintf(text + n, (1 << 16) - n, "%.9g,%.9g,0\n",
                                  1e4 + 50 * rng_f64(&rng),
                                  -1e-3 * rng_f64(&rng));
        check_ok(read_text(p, text, &d));
        for (size_t f = 0; f < 2; f++) {
            double sum = 0, squares = 0, k = (double)d.train.n_rows;
            for (size_t i = 0; i < d.train.n_rows; i++) {
                double v = (double)d.train.x[2 * i + f];
                sum += v;
                squares += v * v;
            }
            check_near(sum / k, 0, 1e-4);
            check_near(squares / (k - 1), 1, 1e-4);
        }
        dataset_release(&d);
        free(text);
    }
    plan_free(p);
}

/* ---- files --------------------------------------------------------------- */

static void a_file_is_read_or_named(void **state)
{
    (void)state;
    struct plan *p = plain();
    char dir[256], path[300];
    static const char good[] = "age,dose,sick\n1,2,3\n";
    struct dataset d;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/t.csv", dir);
    enum tacit_err err = examples_table(p, path, &d);
    check(strstr(err_message(), path) != NULL);
    check_err(err, TACIT_NOTFOUND);
    check_ok(file_write(path, good, sizeof good - 1, 0600));
    check_ok(examples_table(p, path, &d));
    assert_int_equal(d.train.n_rows, 1);
    dataset_release(&d);
    check_ok(file_write(path, "age,dose,sick\n1,2\n", 18, 0600));
    err = examples_table(p, path, &d);
    check(strstr(err_message(), "t.csv:2: 2 values; the header names 3"));
    check_code(err, E_CSV_SYNTAX);
    check_tmpdir_remove(dir);
    plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_privacy_no_value_stops_the_others),
        cmocka_unit_test(rows_come_in_order_with_the_plans_columns),
        cmocka_unit_test(a_label_above_the_bound_is_one),
        cmocka_unit_test(a_label_of_many_classes_is_the_number_of_one),
        cmocka_unit_test(survival_takes_a_time_and_an_event),
        cmocka_unit_test(categories_become_features_without_the_first),
        cmocka_unit_test(rows_with_an_unknown_value_are_left_out_and_counted),
        cmocka_unit_test(
            a_table_without_a_row_to_train_on_says_what_became_of_all),
        cmocka_unit_test(a_cell_that_cannot_be_used_names_its_place),
        cmocka_unit_test(a_number_beyond_32_bits_is_refused),
        cmocka_unit_test(
            more_values_than_the_limit_are_refused_before_memory_is_taken),
        cmocka_unit_test(the_split_column_has_the_word),
        cmocka_unit_test(the_holdout_is_a_pure_function_of_seed_and_row),
        cmocka_unit_test(a_larger_holdout_keeps_the_rows_of_a_smaller_one),
        cmocka_unit_test(the_holdout_of_known_rows_never_moves),
        cmocka_unit_test(an_unknown_value_moves_no_other_row),
        cmocka_unit_test(a_site_standardises_by_its_train_rows_only),
        cmocka_unit_test(a_column_that_never_varies_is_zero_everywhere),
        cmocka_unit_test(a_column_of_tiny_numbers_keeps_its_spread),
        cmocka_unit_test(a_plan_standardises_by_its_own_numbers),
        cmocka_unit_test(train_columns_end_with_mean_0_and_sd_1),
        cmocka_unit_test(a_file_is_read_or_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
