/* yaml: every fault names its line, its key and what belongs there. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/yaml.h"

struct item {
    char *name;
    double *weight;
};
struct inner {
    bool on;
};
struct sample {
    char *name;
    int64_t *count;
    double *rate;
    struct inner *inner;
    struct item *items;
    unsigned n_items;
    int64_t *list;
    unsigned n_list;
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_field_t item_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct item, name, 1,
                           10),
    CYAML_FIELD_FLOAT_PTR("weight", OPTIONAL | CYAML_FLAG_STRICT, struct item,
                          weight),
    CYAML_FIELD_END};
static const cyaml_schema_value_t item = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct item, item_fields)};
static const cyaml_schema_value_t whole = {
    CYAML_VALUE_INT(CYAML_FLAG_STRICT, int64_t)};
static const cyaml_schema_field_t inner_fields[] = {
    CYAML_FIELD_BOOL("on", CYAML_FLAG_OPTIONAL, struct inner, on),
    CYAML_FIELD_END};

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct sample, name, 0,
                           20),
    CYAML_FIELD_INT_PTR("count", OPTIONAL | CYAML_FLAG_STRICT, struct sample,
                        count),
    CYAML_FIELD_FLOAT_PTR("learning_rate", OPTIONAL | CYAML_FLAG_STRICT,
                          struct sample, rate),
    CYAML_FIELD_MAPPING_PTR("inner", OPTIONAL, struct sample, inner,
                            inner_fields),
    CYAML_FIELD_SEQUENCE_COUNT("items", OPTIONAL, struct sample, items, n_items,
                               &item, 0, 3),
    CYAML_FIELD_SEQUENCE_COUNT("list", OPTIONAL, struct sample, list, n_list,
                               &whole, 2, 4),
    CYAML_FIELD_END};
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct sample, fields)};

static enum tacit_err load(const char *text, void **out)
{
    return yaml_load("risk.yaml", text, strlen(text), &schema, out);
}

static void a_good_file_becomes_a_struct(void **state)
{
    (void)state;
    void *v = NULL;
    check_ok(load("# a comment\n"
                  "---\n"
                  "name: \"heart: risk\"\n"
                  "count: -3\n"
                  "learning_rate: 1e-3\n"
                  "items:\n"
                  "  - {name: a, weight: 0.5}\n"
                  "  - name: b\n"
                  "list: [1, 2, 3]\n",
                  &v));
    const struct sample *s = v;
    assert_string_equal(s->name, "heart: risk");
    check(*s->count == -3 && *s->rate == 1e-3 && s->inner == NULL);
    check(s->n_items == 2 && *s->items[0].weight == 0.5);
    assert_string_equal(s->items[1].name, "b");
    check(s->items[1].weight == NULL && s->n_list == 3 && s->list[2] == 3);
    yaml_unload(&schema, v);
    yaml_unload(&schema, NULL);
}

struct fault {
    const char *text;
    unsigned code;
    const char *says; /* part of the message */
};

static const struct fault faults[] = {
    /* Keys. */
    {"name: a\nlearing_rate: 1\n", E_YAML_KEY,
     "risk.yaml:2: unknown key \"learing_rate\"; did you mean "
     "\"learning_rate\"?"},
    {"name: a\nzzzzzzzzz: 1\n", E_YAML_KEY,
     "risk.yaml:2: unknown key \"zzzzzzzzz\""},
    {"name: a\nitems:\n  - name: x\n    wieght: 1\n", E_YAML_KEY,
     "risk.yaml:4: unknown key \"wieght\"; did you mean \"weight\"?"},
    {"count: 1\n\n\ncount: 2\nname: a\n", E_YAML_KEY,
     "risk.yaml:4: the key \"count\" stands twice"},
    {"count: 1\n", E_YAML_KEY, "the key \"name\" is missing"},
    {"name: a\nitems:\n  - name: x\n  - weight: 2\n", E_YAML_KEY,
     "the key \"name\" is missing in items[2]"},
    /* Values. */
    {"name: a\ncount: many\n", E_YAML_VALUE,
     "risk.yaml:2: count: not a whole number"},
    {"name: a\ncount: 1.5\n", E_YAML_VALUE, "count: not a whole number"},
    {"name: a\ncount: 12 beds\n", E_YAML_VALUE, "count: not a whole number"},
    {"name: a\ncount: 010\n", E_YAML_VALUE, "count: not a whole number"},
    {"name: a\ncount: 0x10\n", E_YAML_VALUE, "count: not a whole number"},
    {"name: a\ncount: ' 1'\n", E_YAML_VALUE, "count: not a whole number"},
    {"name: a\nlist: [1, 2,\n 3O]\n", E_YAML_VALUE,
     "risk.yaml:3: list[3]: not a whole number"},
    {"name: a\nitems:\n  - {name: x, weight: 1}\n  - {weight: 0.5x, name: y}\n",
     E_YAML_VALUE, "risk.yaml:4: items[2].weight: not a number"},
    {"name: a\nlearning_rate: nan\n", E_YAML_VALUE, "learning_rate: not a "},
    {"name: a\nlearning_rate: -inf\n", E_YAML_VALUE, "not a number"},
    {"name: a\nlearning_rate: 0x1p3\n", E_YAML_VALUE, "not a number"},
    {"name: a\nlearning_rate: .\n", E_YAML_VALUE, "not a number"},
    {"name: a\nlearning_rate: 1e\n", E_YAML_VALUE, "not a number"},
    {"name: a\nlearning_rate: 1,5\n", E_YAML_VALUE, "not a number"},
    {"name: a\ncount: 99999999999999999999\n", E_YAML_VALUE, "count"},
    {"name: a\nlearning_rate: fast\n", E_YAML_VALUE,
     "risk.yaml:2: learning_rate: not a number"},
    {"name: a\ncount: [1]\n", E_YAML_VALUE,
     "count: a whole number belongs here"},
    {"name: a\nlearning_rate: {x: 1}\n", E_YAML_VALUE,
     "learning_rate: a number belongs here"},
    {"name: [a]\n", E_YAML_VALUE, "name: one text belongs here"},
    {"name: a\ninner: {on: 3}\n", E_YAML_VALUE,
     "inner.on: neither true nor false"},
    {"name: a\nlist: 3\n", E_YAML_VALUE, "list: a list in [ ] belongs here"},
    {"name: a\nlist: [1]\n", E_YAML_VALUE, "too few entries"},
    {"name: a\nlist: [1, 2, 3, 4, 5]\n", E_YAML_VALUE, "too many entries"},
    {"name: a\nitems:\n  - {name: a}\n  - {name: b}\n  - {name: c}\n"
     "  - {name: d}\n",
     E_YAML_VALUE, "items"},
    {"name: a\nitems:\n  - name: x\n  - name: ''\n", E_YAML_VALUE,
     "items[2].name: the text is too short"},
    {"name: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", E_YAML_VALUE,
     "name: the text is too long (the limit is 20 bytes)"},
    {"- a\n- b\n", E_YAML_VALUE, "keys with values belong here"},
    {"just text\n", E_YAML_VALUE, "keys with values belong here"},
    {"name: &x a\ncount: *x\n", E_YAML_VALUE, "*name"},
    /* Syntax. */
    {"name: a\n  count: 3\n", E_YAML_SYNTAX, "risk.yaml:2:"},
    {"name: a\nlist: [1\n", E_YAML_SYNTAX, "not valid YAML"},
    {"name: \"a\n", E_YAML_SYNTAX, "not valid YAML"},
    {"name:\ta\n\tcount: 1\n", E_YAML_SYNTAX, "not valid YAML"},
    {"", E_YAML_SYNTAX, "the file is empty"},
    {"# only a comment\n", E_YAML_SYNTAX, "the file is empty"},
    {"name: a\n---\nname: b\n", E_YAML_SYNTAX,
     "risk.yaml:2: a second document begins"},
    {"name: a\n...\ncount: 1\n", E_YAML_SYNTAX, "a second document begins"},
    {"name: caf\xe9\n", E_YAML_SYNTAX, "risk.yaml:1: not UTF-8 text (byte 9)"},
};

static void every_fault_is_explained(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const struct fault *f = &faults[i];
        void *v = NULL;
        enum tacit_err e = load(f->text, &v);
        if (!strstr(err_message(), f->says) || err_id() != f->code)
            print_error("fault %zu: %u \"%s\", want %u \"%s\"\n", i, err_id(),
                        err_message(), f->code, f->says);
        check(strstr(err_message(), f->says) != NULL);
        check_code(e, f->code);
        check(v == NULL);
    }
}

static void numbers_may_be_written_in_any_decimal_way(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } rates[] = {{"1", 1},   {"-0.5", -0.5}, {"+2", 2},      {".5", 0.5},
                 {"5.", 5},  {"1e3", 1000},  {"1E-3", 1e-3}, {"00.5", 0.5},
                 {"'7'", 7}, {"2.5e+1", 25}, {"0", 0}};
    char text[64];
    void *v = NULL;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        snprintf(text, sizeof text, "name: a\nlearning_rate: %s\n",
                 rates[i].text);
        check_ok(load(text, &v));
        check(*((const struct sample *)v)->rate == rates[i].value);
        yaml_unload(&schema, v);
    }
    check_ok(
        load("{count: -9223372036854775808, name: '0x10', list: [0, +1]}", &v));
    check(*((const struct sample *)v)->count == INT64_MIN);
    yaml_unload(&schema, v);
}

static void a_nul_byte_is_no_text(void **state)
{
    (void)state;
    void *v = NULL;
    check_code(yaml_load("x", "name: a\0b", 9, &schema, &v), E_YAML_SYNTAX);
}

static void a_file_over_the_limit_is_refused(void **state)
{
    (void)state;
    void *v = NULL;
    check_err(yaml_load("x", "name: a", (size_t)YAML_BYTES_MAX + 1, &schema,
                        &v),
              TACIT_LIMIT);
}

static void deep_nesting_ends(void **state)
{
    (void)state;
    enum { DEEP = 20000 };
    char *text = malloc(DEEP + 10);
    void *v = NULL;
    check(text != NULL);
    memcpy(text, "name: ", 6);
    memset(text + 6, '[', DEEP);
    enum tacit_err e = yaml_load("x", text, DEEP + 6, &schema, &v);
    check(e != TACIT_OK);
    err_clear();
    free(text);
}

static void the_nearest_word_is_near(void **state)
{
    (void)state;
    static const char *const words[] = {"rounds", "cohort", "clip"};
    assert_string_equal(yaml_nearest("round", words, 3), "rounds");
    assert_string_equal(yaml_nearest("chort", words, 3), "cohort");
    assert_string_equal(yaml_nearest("clipp", words, 3), "clip");
    assert_string_equal(yaml_nearest("clipping_norm", words, 3), "clip");
    check(yaml_nearest("temperature", words, 3) == NULL);
    check(yaml_nearest("lr", words, 3) == NULL);
    check(yaml_nearest("cup", words, 3) == NULL);
    check(yaml_nearest("", words, 3) == NULL);
    check(yaml_nearest("x", words, 0) == NULL);
}

static void distances_are_levenshteins(void **state)
{
    (void)state;
    char long_a[200], long_b[200];
    check(yaml_distance("kitten", "sitting") == 3);
    check(yaml_distance("", "abc") == 3 && yaml_distance("abc", "") == 3);
    check(yaml_distance("same", "same") == 0);
    check(yaml_distance("onw", "own") == 1 && yaml_distance("abc", "bca") == 2);
    memset(long_a, 'a', sizeof long_a);
    memset(long_b, 'b', sizeof long_b);
    long_a[199] = long_b[199] = '\0';
    check(yaml_distance(long_a, long_b) == 64);
}

static void the_line_of_a_value_is_found(void **state)
{
    (void)state;
    static const char text[] = "# size: 1\n"
                               "sim: {size: 9}\n"
                               "cohort:\n"
                               "  min_reports: 2  # size: 2\n"
                               "  size: 4\n"
                               "size: 5\n"
                               "columns:\n"
                               "  - {name: a}\n";
    size_t n = sizeof text - 1;
    check(yaml_line(text, n, "cohort.size") == 5);
    check(yaml_line(text, n, "size") == 6);
    check(yaml_line(text, n, "columns[1].name") == 8);
    check(yaml_line(text, n, "missing") == 0);
    check(yaml_line(text, n, "cohort.missing") == 0);
    check(yaml_line("", 0, "x") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_becomes_a_struct),
        cmocka_unit_test(every_fault_is_explained),
        cmocka_unit_test(numbers_may_be_written_in_any_decimal_way),
        cmocka_unit_test(a_nul_byte_is_no_text),
        cmocka_unit_test(a_file_over_the_limit_is_refused),
        cmocka_unit_test(deep_nesting_ends),
        cmocka_unit_test(the_nearest_word_is_near),
        cmocka_unit_test(distances_are_levenshteins),
        cmocka_unit_test(the_line_of_a_value_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
