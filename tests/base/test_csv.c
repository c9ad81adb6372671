#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/csv.h"
#include "common/base/file.h"
#include "common/base/rng.h"

/* A table from text, with the arena that holds it. */
struct sheet {
    struct arena a;
    struct csv t;
};

static enum tacit_err sheet_read(struct sheet *s, const char *text, size_t n)
{
    char *copy = NULL;
    arena_init(&s->a, 0);
    check_ok(arena_alloc(&s->a, n + 1, 1, &copy));
    memcpy(copy, text, n);
    return csv_parse("t.csv", copy, n, &s->a, &s->t);
}

static void sheet_open(struct sheet *s, const char *text)
{
    check_ok(sheet_read(s, text, strlen(text)));
}

static void sheet_close(struct sheet *s)
{
    arena_release(&s->a);
}

static void refused(const char *text, size_t n, const char *message)
{
    struct sheet s;
    enum tacit_err err = sheet_read(&s, text, n);
    check(err != TACIT_OK);
    assert_string_equal(err_message(), message);
    check_code(err, E_CSV_SYNTAX);
    sheet_close(&s);
}

#define REFUSED(text, message) refused((text), sizeof(text) - 1, (message))

static void check_cell(const struct csv *t, size_t row, size_t col,
                       const char *want)
{
    check(row < t->n_rows && col < t->n_columns);
    assert_string_equal(csv_cell(t, row, col), want);
}

static void a_plain_table_has_its_header_rows_and_lines(void **state)
{
    (void)state;
    struct sheet s;
    sheet_open(&s, "age,sex\n63,1\n\n37,0");
    assert_int_equal(s.t.n_columns, 2);
    assert_int_equal(s.t.n_rows, 2);
    assert_string_equal(s.t.header[1], "sex");
    check_cell(&s.t, 0, 0, "63");
    check_cell(&s.t, 1, 1, "0");
    assert_int_equal(s.t.line[0], 2);
    assert_int_equal(s.t.line[1], 4);
    sheet_close(&s);
}

static void quotes_hold_commas_quotes_and_line_ends(void **state)
{
    (void)state;
    struct sheet s;
    sheet_open(&s, "a,b\n\"x, y\",\"he said \"\"no\"\"\"\n"
                   "\"two\nlines\",\"\"\nlast,\"q\"");
    assert_int_equal(s.t.n_rows, 3);
    check_cell(&s.t, 0, 0, "x, y");
    check_cell(&s.t, 0, 1, "he said \"no\"");
    check_cell(&s.t, 1, 0, "two\nlines");
    check_cell(&s.t, 1, 1, "");
    check_cell(&s.t, 2, 1, "q");
    assert_int_equal(s.t.line[1], 3);
    assert_int_equal(s.t.line[2], 5); /* the row before took two lines */
    sheet_close(&s);
}

static void crlf_ends_lines_and_stays_inside_quotes(void **state)
{
    (void)state;
    struct sheet s;
    sheet_open(&s, "a,b\r\n1,2\r\n\r\n\"x\r\ny\",\"3\"\r\n");
    assert_int_equal(s.t.n_rows, 2);
    assert_string_equal(s.t.header[1], "b");
    check_cell(&s.t, 0, 1, "2");
    check_cell(&s.t, 1, 0, "x\r\ny");
    check_cell(&s.t, 1, 1, "3");
    sheet_close(&s);
}

static void a_byte_order_mark_is_no_part_of_the_first_name(void **state)
{
    (void)state;
    struct sheet s;
    size_t col;
    sheet_open(&s, "\xef\xbb\xbf"
                   "age,sex\n1,2\n");
    check_ok(csv_column(&s.t, "age", &col));
    assert_int_equal(col, 0);
    sheet_close(&s);
}

static void empty_cells_are_kept(void **state)
{
    (void)state;
    struct sheet s;
    sheet_open(&s, "a,b,c\n,,\n1,,3\n");
    assert_int_equal(s.t.n_rows, 2);
    check_cell(&s.t, 0, 2, "");
    check_cell(&s.t, 1, 1, "");
    check_cell(&s.t, 1, 2, "3");
    sheet_close(&s);
}

static void a_table_of_a_header_alone_has_no_rows(void **state)
{
    (void)state;
    struct sheet s;
    sheet_open(&s, "a,b");
    assert_int_equal(s.t.n_rows, 0);
    assert_int_equal(s.t.n_columns, 2);
    sheet_close(&s);
}

static void ragged_rows_name_their_line(void **state)
{
    (void)state;
    REFUSED("a,b\n1,2\n3\n", "t.csv:3: 1 value; the header names 2");
    REFUSED("a,b\n1,2\n3,4,5\n", "t.csv:3: more values than the header names");
    REFUSED("a,b\n\"x\ny\",1,2\n",
            "t.csv:2: more values than the header names");
}

static void broken_quotes_name_their_line(void **state)
{
    (void)state;
    REFUSED("a,b\n1,\"2\n", "t.csv:2: a quote is not closed");
    REFUSED("a,b\n1,2\"3\n", "t.csv:2: a quote inside a bare value");
    REFUSED("a,b\n\"1\"x,2\n", "t.csv:2: text behind a closing quote");
}

static void an_empty_file_is_no_table(void **state)
{
    (void)state;
    REFUSED("", "t.csv: the file is empty");
    REFUSED("\xef\xbb\xbf", "t.csv: the file is empty");
}

static void bytes_that_are_not_utf_8_are_refused_with_their_place(void **state)
{
    (void)state;
    REFUSED("a,b\n1,\xe9t\n", "t.csv: byte 6 is not UTF-8 text; save the table "
                              "as CSV in UTF-8");
    REFUSED("a\0b,c\n", "t.csv: byte 1 is not UTF-8 text; save the table as "
                        "CSV in UTF-8");
}

static void a_missing_column_names_the_nearest(void **state)
{
    (void)state;
    struct sheet s;
    size_t col = 99;
    sheet_open(&s, "age,cholesterol\n1,2\n");
    enum tacit_err err = csv_column(&s.t, "cholestrol", &col);
    assert_string_equal(err_message(),
                        "t.csv: no column \"cholestrol\"; did you mean "
                        "\"cholesterol\"? It has age, cholesterol");
    check_code(err, E_CSV_COLUMN);
    err = csv_column(&s.t, "thalassaemia", &col);
    assert_string_equal(err_message(), "t.csv: no column \"thalassaemia\"; it "
                                       "has age, cholesterol");
    check_code(err, E_CSV_COLUMN);
    assert_int_equal(col, 99);
    assert_int_equal(csv_find(&s.t, "age"), 0);
    assert_int_equal(csv_find(&s.t, "Age"), -1);
    sheet_close(&s);
}

static void names_without_room_are_left_out(void **state)
{
    (void)state;
    struct sheet s;
    char text[4000] = "", all[CSV_NAMES_BYTES];
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), 20, "%scolumn-%d", i ? "," : "", i);
    strcat(text, "\n");
    sheet_open(&s, text);
    csv_names(&s.t, all);
    assert_memory_equal(all, "column-0, column-1, ", 20);
    assert_string_equal(all + strlen(all) - 8, "-21, …");
    sheet_close(&s);
    memset(text, 'a', 300);
    strcpy(text + 300, ",b\n");
    sheet_open(&s, text);
    assert_string_equal(csv_names(&s.t, all), "…");
    sheet_close(&s);
}

static void a_column_that_is_there_twice_cannot_be_used(void **state)
{
    (void)state;
    struct sheet s;
    size_t col;
    sheet_open(&s, "note,age,note,age\n,1,,2\n");
    enum tacit_err err = csv_column(&s.t, "age", &col);
    assert_string_equal(err_message(), "t.csv: column \"age\" is there twice");
    check_code(err, E_CSV_COLUMN);
    sheet_close(&s);
}

static void numbers_are_read_and_unknown_ones_said(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
        int known;
    } cases[] = {{"12", 12, 1},      {"-3.5e2", -350, 1}, {" 7 ", 7, 1},
                 {"+0.25", 0.25, 1}, {".5", 0.5, 1},      {"", 0, 0},
                 {"?", 0, 0},        {"  ", 0, 0},        {" ? ", 0, 0},
                 {"1e-400", 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sheet s;
        char text[64];
        double v = 99;
        int known = 99;
        snprintf(text, sizeof text, "a,b\n%s,1\n", cases[i].text);
        sheet_open(&s, text);
        check_ok(csv_number(&s.t, 0, 0, &v, &known));
        check_near(v, cases[i].want, 0);
        assert_int_equal(known, cases[i].known);
        sheet_close(&s);
    }
}

static void what_is_no_finite_number_names_line_and_column(void **state)
{
    (void)state;
    static const char *const cases[] = {"high", "1,5",  "12 mg", "nan", "NaN",
                                        "inf",  "-inf", "1e999", "--3", "0x1A",
                                        "1e5x", "NULL", "??"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sheet s;
        char text[64];
        double v = 99;
        int known = 1;
        snprintf(text, sizeof text, "id,dose\n1,2\n2,\"%s\"\n", cases[i]);
        sheet_open(&s, text);
        enum tacit_err err = csv_number(&s.t, 1, 1, &v, &known);
        check_near(v, 99, 0);
        if (!err) fail_msg("\"%s\" was taken for a number", cases[i]);
        assert_string_equal(err_message(),
                            "t.csv:3: column \"dose\" holds no number");
        check_code(err, E_CSV_VALUE);
        sheet_close(&s);
    }
}

static void too_many_columns_are_refused(void **state)
{
    (void)state;
    struct sheet s;
    struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < CSV_COLUMNS_MAX; i++) buf_put(&text, "c,", 2);
    check_ok(buf_end(&text));
    /* The last comma opens one more. */
    enum tacit_err err = sheet_read(&s, (const char *)text.data, text.len);
    assert_string_equal(err_message(), "t.csv:1: more than 1024 columns");
    check_code(err, E_CSV_SYNTAX);
    sheet_close(&s);
    check_ok(sheet_read(&s, (const char *)text.data, text.len - 1));
    assert_int_equal(s.t.n_columns, CSV_COLUMNS_MAX);
    sheet_close(&s);
    buf_release(&text);
}

/* Memory follows the bytes of the file, not columns times lines. */
static void many_empty_lines_below_many_columns_cost_little(void **state)
{
    (void)state;
    struct sheet s;
    struct buf text;
    buf_init(&text, 0);
    for (int i = 1; i < CSV_COLUMNS_MAX; i++) buf_put(&text, "c,", 2);
    buf_put(&text, "c", 1);
    uint8_t *lines = buf_extend(&text, 1 << 20);
    check(lines != NULL);
    memset(lines, '\n', 1 << 20);
    check_ok(buf_end(&text));
    check_ok(sheet_read(&s, (const char *)text.data, text.len));
    assert_int_equal(s.t.n_rows, 0);
    check(s.a.used_bytes < (size_t)32 << 20);
    sheet_close(&s);
    buf_release(&text);
}

static void over_4194304_lines_are_refused(void **state)
{
    (void)state;
    struct sheet s;
    struct buf text;
    buf_init(&text, 0);
    uint8_t *p = buf_extend(&text, CSV_ROWS_MAX + 2);
    check(p != NULL);
    memset(p, '\n', CSV_ROWS_MAX + 2);
    p[0] = 'a';
    check_ok(buf_end(&text));
    enum tacit_err err = sheet_read(&s, (const char *)text.data, text.len);
    assert_string_equal(err_message(), "t.csv: over 4194304 rows");
    check_err(err, TACIT_LIMIT);
    sheet_close(&s);
    buf_release(&text);
}

static void a_file_is_read_or_says_why_not(void **state)
{
    (void)state;
    char dir[256], path[300];
    struct arena a;
    struct csv t;
    arena_init(&a, 0);
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/x.csv", dir);
    check_err(csv_load(path, &a, &t), TACIT_NOTFOUND);
    check_ok(file_write(path, "a,b\n1,2", 7, 0600));
    check_ok(csv_load(path, &a, &t));
    check_cell(&t, 0, 1, "2");
    check_ok(file_write(path, "a,b\n1,\"2", 8, 0600));
    enum tacit_err err = csv_load(path, &a, &t);
    check(strstr(err_message(), path) != NULL);
    check_code(err, E_CSV_SYNTAX);
    check_err(csv_load(dir, &a, &t), TACIT_UNSUPPORTED);
    arena_release(&a);
    check_tmpdir_remove(dir);
}

/* ---- write, then parse: the same cells come back ---- */

enum { CELL_MAX = 12 };

static void random_cell(struct rng *rng, char out[CELL_MAX + 4])
{
    static const char *const bits[] = {"a",
                                       "7",
                                       ",",
                                       "\"",
                                       "\n",
                                       "\r\n",
                                       " ",
                                       "?",
                                       ".",
                                       "é",
                                       "\xf0\x9f\xa9\xba"};
    size_t n = 0, k = (size_t)rng_below(rng, 6);
    for (size_t i = 0; i < k && n < CELL_MAX - 4; i++) {
        const char *bit = bits[rng_below(rng, sizeof bits / sizeof *bits)];
        memcpy(out + n, bit, strlen(bit));
        n += strlen(bit);
    }
    out[n] = '\0';
}

static void write_cell(struct rng *rng, struct buf *b, const char *cell)
{
    if (!strpbrk(cell, ",\"\r\n") && rng_below(rng, 2)) {
        buf_put(b, cell, strlen(cell));
        return;
    }
    buf_put(b, "\"", 1);
    for (const char *p = cell; *p; p++) {
        if (*p == '"') buf_put(b, "\"", 1);
        buf_put(b, p, 1);
    }
    buf_put(b, "\"", 1);
}

static void what_is_written_is_what_is_read(void **state)
{
    (void)state;
    enum { ROWS = 6, COLUMNS = 5 };
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct rng rng;
        struct buf text;
        struct sheet s;
        char cells[ROWS][COLUMNS][CELL_MAX + 4];
        rng_init(&rng, seed, 0, 0);
        size_t rows = 1 + (size_t)rng_below(&rng, ROWS);
        size_t columns = 2 + (size_t)rng_below(&rng, COLUMNS - 1);
        buf_init(&text, 0);
        for (size_t r = 0; r < rows; r++) {
            for (size_t c = 0; c < columns; c++) {
                random_cell(&rng, cells[r][c]);
                if (c) buf_put(&text, ",", 1);
                write_cell(&rng, &text, cells[r][c]);
            }
            if (r + 1 == rows && rng_below(&rng, 2)) continue;
            const char *end = rng_below(&rng, 2) ? "\r\n" : "\n";
            buf_put(&text, end, strlen(end));
        }
        check_ok(buf_end(&text));
        check_ok(sheet_read(&s, (const char *)text.data, text.len));
        assert_int_equal(s.t.n_columns, columns);
        assert_int_equal(s.t.n_rows, rows - 1);
        for (size_t c = 0; c < columns; c++)
            assert_string_equal(s.t.header[c], cells[0][c]);
        for (size_t r = 1; r < rows; r++)
            for (size_t c = 0; c < columns; c++)
                check_cell(&s.t, r - 1, c, cells[r][c]);
        sheet_close(&s);
        buf_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_table_has_its_header_rows_and_lines),
        cmocka_unit_test(quotes_hold_commas_quotes_and_line_ends),
        cmocka_unit_test(crlf_ends_lines_and_stays_inside_quotes),
        cmocka_unit_test(a_byte_order_mark_is_no_part_of_the_first_name),
        cmocka_unit_test(empty_cells_are_kept),
        cmocka_unit_test(a_table_of_a_header_alone_has_no_rows),
        cmocka_unit_test(ragged_rows_name_their_line),
        cmocka_unit_test(broken_quotes_name_their_line),
        cmocka_unit_test(an_empty_file_is_no_table),
        cmocka_unit_test(bytes_that_are_not_utf_8_are_refused_with_their_place),
        cmocka_unit_test(a_missing_column_names_the_nearest),
        cmocka_unit_test(names_without_room_are_left_out),
        cmocka_unit_test(a_column_that_is_there_twice_cannot_be_used),
        cmocka_unit_test(numbers_are_read_and_unknown_ones_said),
        cmocka_unit_test(what_is_no_finite_number_names_line_and_column),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(many_empty_lines_below_many_columns_cost_little),
        cmocka_unit_test(over_4194304_lines_are_refused),
        cmocka_unit_test(a_file_is_read_or_says_why_not),
        cmocka_unit_test(what_is_written_is_what_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
