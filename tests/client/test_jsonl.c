/* data_jsonl: lines of text become windows of characters, client by client. */
#include "tests/client/samples.h"

#include <stdlib.h>

#include "client/data_jsonl.h"
#include "client/examples.h"
#include "common/base/rng.h"

static struct plan *text_plan(const char *sim)
{
    struct plan *p = NULL;
    char text[512];
    int n =
        snprintf(text, sizeof text,
                 "name: text\ntask: lm\nmodel: {kind: gru, hidden: [8]}\n"
                 "data: {source: own, format: text, length: 3, holdout: 0}\n"
                 "cohort: {size: 2, min_reports: 2}\n%s",
                 sim);
    check_ok(plan_parse("text.yaml", text, (size_t)n, &p));
    return p;
}

static enum tacit_err read_text(const struct plan *p, const char *text,
                                struct pooled *out)
{
    struct buf b;
    buf_init(&b, 0);
    buf_put(&b, text, strlen(text));
    enum tacit_err err = jsonl_parse(p, "t.jsonl", &b, out);
    buf_release(&b);
    return err;
}

static void check_row(const struct pooled *d, size_t row, const char *x,
                      const char *y)
{
    for (size_t i = 0; i < 3; i++) {
        check_near(d->x[3 * row + i], jsonl_token((uint8_t)x[i]), 0);
        check_near(d->y[3 * row + i], jsonl_token((uint8_t)y[i]), 0);
    }
}

static void characters_have_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(jsonl_token(' '), 0);
    assert_int_equal(jsonl_token('!'), 1);
    assert_int_equal(jsonl_token('A'), 33);
    assert_int_equal(jsonl_token('~'), 94);
    assert_int_equal(jsonl_token('\n'), 95);
    assert_int_equal(jsonl_token(0x7f), 95);
    assert_int_equal(jsonl_token(0xe4), 95);
    assert_int_equal(jsonl_token(0x10ffff), 95);
    assert_int_equal(PLAN_VOCABULARY, 96);
}

static void windows_follow_one_another(void **state)
{
    (void)state;
    struct plan *p = text_plan("");
    struct pooled d;
    check_ok(read_text(p, "{\"text\": \"abcdefgh\"}\n", &d));
    check(d.n_rows == 2 && d.x_dim == 3 && d.y_dim == 3);
    check(!d.client && d.n_clients == 0);
    check_row(&d, 0, "abc", "bcd");
    check_row(&d, 1, "def", "efg");
    pooled_release(&d);
    /* The last character of a window's y is enough. */
    check_ok(read_text(p, "{\"text\": \"abcdefg\"}", &d));
    check(d.n_rows == 2);
    pooled_release(&d);
    check_ok(read_text(p, "{\"text\": \"abcdef\"}", &d));
    check(d.n_rows == 1);
    pooled_release(&d);
    plan_free(p);
}

static void texts_stand_behind_one_another_with_a_newline(void **state)
{
    (void)state;
    struct plan *p = text_plan("");
    struct pooled d;
    check_ok(read_text(p,
                       "{\"text\": \"ab\"}\n\n  \r\n{\"x\": [1], \"text\": "
                       "\"c\\u00e4\\ud83d\\ude00\"}\r\n{\"text\": \"\"}\n"
                       "{\"text\": \"z\"}",
                       &d));
    check(d.n_rows == 2);
    check_row(&d, 0, "ab\n", "b\nc");
    check_row(&d, 1, "c\n\n", "\n\n\n");
    pooled_release(&d);
    plan_free(p);
}

static void each_client_keeps_its_own_text(void **state)
{
    (void)state;
    struct plan *p = text_plan("");
    struct pooled d;
    check_ok(read_text(p,
                       "{\"client\": \"B\", \"text\": \"abcd\"}\n"
                       "{\"client\": \"A\", \"text\": \"stuvwxy\"}\n"
                       "{\"client\": \"B\", \"text\": \"efg\"}\n",
                       &d));
    check(d.n_clients == 2 && d.n_rows == 4);
    assert_string_equal(d.client_name[0], "B");
    assert_string_equal(d.client_name[1], "A");
    check_row(&d, 0, "abc", "bcd");
    check_row(&d, 1, "d\ne", "\nef");
    check_row(&d, 2, "stu", "tuv");
    check_row(&d, 3, "vwx", "wxy");
    for (size_t i = 0; i < 4; i++) check(d.client[i] == i / 2);
    pooled_release(&d);
    plan_free(p);
}

static void the_plan_may_name_the_clients_key(void **state)
{
    (void)state;
    struct plan *p =
        text_plan("sim: {partition: column, column: who, clients: 2}\n");
    struct pooled d;
    check_ok(read_text(p,
                       "{\"who\": \"a\", \"client\": 7, \"text\": \"abcd\"}\n"
                       "{\"who\": \"b\", \"client\": 7, \"text\": \"abcd\"}\n",
                       &d));
    check(d.n_clients == 2);
    pooled_release(&d);
    plan_free(p);
}

static void a_line_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned id;
        const char *message;
    } rows[] = {
        {"", E_DATA_ENDS, "t.jsonl: no line of text"},
        {"\n \n", E_DATA_ENDS, "t.jsonl: no line of text"},
        {"{\"text\": \"abcd\"}\n{\"text\": \"ab", E_DATA_ENDS,
         "t.jsonl:2: the file ends early, inside a line"},
        {"{\"text\": \"abcd\"}\n{\"text\": \"ab\n{\"text\": \"cd\"}",
         E_DATA_KIND, "t.jsonl:2: not one JSON object"},
        {"{\"text\": \"abcd\"} {\"text\": \"abcd\"}", E_DATA_KIND,
         "t.jsonl:1: not one JSON object"},
        {"{\"text\": \"a\\u0000b\"}", E_DATA_KIND,
         "t.jsonl:1: not one JSON object"},
        {"{\"text\": \"\xff\"}", E_DATA_KIND, "t.jsonl:1: not one JSON object"},
        {"[\"abcd\"]", E_DATA_KIND, "t.jsonl:1: not a JSON object"},
        {"{\"txt\": \"abcd\"}", E_DATA_VALUE,
         "t.jsonl:1: no \"text\" that is text"},
        {"{\"text\": 5}", E_DATA_VALUE, "t.jsonl:1: no \"text\" that is text"},
        {"{\"text\": \"abcd\", \"client\": 5}", E_DATA_VALUE,
         "t.jsonl:1: all lines name their \"client\" as text, or none does"},
        {"{\"text\": \"abcd\", \"client\": \"a\"}\n{\"text\": \"abcd\"}",
         E_DATA_VALUE,
         "t.jsonl:2: all lines name their \"client\" as text, or none does"},
        {"{\"text\": \"abcd\"}\n{\"text\": \"abcd\", \"client\": \"a\"}",
         E_DATA_VALUE,
         "t.jsonl:2: all lines name their \"client\" as text, or none does"},
        {"{\"text\": \"abc\"}", E_DATA_SHAPE,
         "t.jsonl: no client has the 4 characters that a window of "
         "data.length 3 takes"},
    };
    struct plan *p = text_plan("");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pooled d = {.n_rows = 77};
        data_refused(read_text(p, rows[i].text, &d), rows[i].id,
                     rows[i].message);
        check(d.n_rows == 77);
    }
    plan_free(p);
}

static void a_file_becomes_examples(void **state)
{
    (void)state;
    struct plan *p = text_plan("");
    char folder[256], path[512];
    struct buf b;
    struct dataset d;
    check_tmpdir(folder);
    buf_init(&b, 0);
    buf_printf(&b, "{\"text\": \"abcdefghijklmnopqrstuvwxyz\"}\n");
    data_put(folder, "t.jsonl", &b, path);
    check_ok(examples_load(p, path, &d));
    check(d.train.n_rows == 8 && d.train.y_dim == 3 && d.train.x_dim == 3);
    dataset_release(&d);
    buf_clear(&b);
    buf_printf(&b, "text\nabc\n");
    data_put(folder, "t.csv", &b, path);
    check(examples_load(p, path, &d) == TACIT_FORMAT);
    check(strstr(err_message(), "wanted is .jsonl for format: text") != NULL);
    check_code(TACIT_FORMAT, E_DATA_KIND);
    buf_release(&b);
    check_tmpdir_remove(folder);
    plan_free(p);
}

/* Each row is a piece of the client's text, and its y one character on. */
static void rows_are_cut_from_the_text(void **state)
{
    (void)state;
    struct plan *p = text_plan("");
    struct rng rng;
    rng_init(&rng, 3, 0, 0);
    for (int i = 0; i < 200; i++) {
        char text[2048], whole[4][512];
        size_t n = 0, have[4] = {0}, lines = 1 + rng_below(&rng, 12);
        size_t want = 0;
        struct pooled d;
        for (size_t k = 0; k < lines; k++) {
            size_t who = rng_below(&rng, 4), len = rng_below(&rng, 30);
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "{\"client\": \"%zu\", \"text\": \"", who);
            for (size_t c = 0; c < len; c++)
                text[n++] = whole[who][have[who]++] =
                    (char)('a' + rng_below(&rng, 26));
            whole[who][have[who]++] = '\n';
            n += (size_t)snprintf(text + n, sizeof text - n, "\"}\n");
        }
        for (size_t w = 0; w < 4; w++)
            want += have[w] > 1 ? (have[w] - 2) / 3 : 0;
        enum tacit_err err = read_text(p, text, &d);
        if (want == 0) {
            check_code(err, E_DATA_SHAPE);
            continue;
        }
        check_ok(err);
        check(d.n_rows == want);
        size_t at[4] = {0};
        for (size_t row = 0; row < want; row++) {
            size_t w = (size_t)(d.client_name[d.client[row]][0] - '0');
            check_row(&d, row, whole[w] + at[w], whole[w] + at[w] + 1);
            at[w] += 3;
        }
        pooled_release(&d);
    }
    plan_free(p);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_have_their_numbers),
        cmocka_unit_test(windows_follow_one_another),
        cmocka_unit_test(texts_stand_behind_one_another_with_a_newline),
        cmocka_unit_test(each_client_keeps_its_own_text),
        cmocka_unit_test(the_plan_may_name_the_clients_key),
        cmocka_unit_test(a_line_that_cannot_be_used_is_named),
        cmocka_unit_test(a_file_becomes_examples),
        cmocka_unit_test(rows_are_cut_from_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
