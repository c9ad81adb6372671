#include "tests/check.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/yaml_edit.h"
#include "common/plan/plan_schema.h"

static const char text[] = "# é: a plan\n"
                           "name: \"x\"   # ours\n"
                           "model:\n"
                           "  kind: mlp  # small\n"
                           "  hidden: [16, 8]\n"
                           "cohort: {size: 4}\n"
                           "data:\n"
                           "  columns:\n"
                           "    - {name: é}\n"
                           "    - name: b\n"
                           "sim: {}\n"
                           "seed:\n";

static void check_set(const char *path, const char *value, const char *old,
                      const char *new)
{
    struct buf out, want;
    buf_init(&out, 0);
    buf_init(&want, 0);
    const char *at = strstr(text, old);
    check(at != NULL);
    buf_printf(&want, "%.*s%s%s", (int)(at - text), text, new,
               at + strlen(old));
    check_ok(yaml_set("t", text, strlen(text), path, value, &out));
    assert_string_equal(buf_cstr(&out), buf_cstr(&want));
    buf_release(&out);
    buf_release(&want);
}

static void a_value_is_replaced_and_all_else_stays(void **state)
{
    (void)state;
    check_set("name", "y", "\"x\"", "y");
    check_set("model.kind", "cnn", "mlp", "cnn");
    check_set("model.hidden", "[32]", "[16, 8]", "[32]");
    check_set("model.hidden[2]", "9", "8]", "9]");
    check_set("cohort.size", "12", "4", "12");
    check_set("cohort", "{size: 3}", "{size: 4}", "{size: 3}");
    check_set("data.columns[1].name", "a", "é}", "a}");
    check_set("data.columns[2].name", "a", ": b", ": a");
    check_set("seed", "7", "seed:", "seed: 7");
    check_set("model", "{kind: cnn}", "kind: mlp  # small\n  hidden: [16, 8]",
              "{kind: cnn}");
}

static void what_is_missing_is_put_in(void **state)
{
    (void)state;
    check_set("rounds", "3", "seed:", "seed:\nrounds: 3");
    check_set("cohort.min", "2", "4}", "4, min: 2}");
    check_set("sim.alpha", "0.1", "{}", "{alpha: 0.1}");
    check_set("sim.attack.kind", "nan", "{}", "{attack: {kind: nan}}");
    check_set("model.classes", "3", "8]", "8]\n  classes: 3");
    check_set("local.lr", "1", "seed:", "seed:\nlocal: {lr: 1}");
    check_set("data.columns[2].sd", "1", "name: b", "name: b\n      sd: 1");
    check_set("data.width", "1", "name: b", "name: b\n  width: 1");
}

static void a_last_line_may_end_in_many_ways(void **state)
{
    static const struct {
        const char *before, *after;
    } ways[] = {
        {"a: 1", "a: 1\nb: 2"},
        {"a: 1 # one", "a: 1 # one\nb: 2"},
        {"a: 1\n\n# end\n", "a: 1\nb: 2\n\n# end\n"},
        {"a: 1\n...\n", "a: 1\nb: 2\n...\n"},
        {"a: 1\r\n", "a: 1\r\nb: 2\n"},
        {"a: |\n  x\n  y\n", "a: |\n  x\n  y\nb: 2\n"},
        {"a: 'x\n  y' # z\n", "a: 'x\n  y' # z\nb: 2\n"},
        {"a: [1,\n 2]\n", "a: [1,\n 2]\nb: 2\n"},
        {"a:\n", "a:\nb: 2\n"},
        {"a:\n  - {x: 1}\n", "a:\n  - {x: 1}\nb: 2\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct buf out;
        const char *t = ways[i].before;
        buf_init(&out, 0);
        check_ok(yaml_set("t", t, strlen(t), "b", "2", &out));
        assert_string_equal(buf_cstr(&out), ways[i].after);
        buf_release(&out);
    }
}

static void a_value_that_is_more_than_one_is_refused(void **state)
{
    static const char *const bad[] = {"4, min: 2",  "4}", "4 # x", "",
                                      "4\nseed: 1", "{",  "a: b",  "4 ",
                                      " 4",         "[1", "*x"};
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_code(yaml_set("t", text, strlen(text), "cohort.size", bad[i],
                            &out),
                   E_YAML_VALUE);
        check(out.len == 0);
    }
    check_code(yaml_set("t", text, strlen(text), "name.x", "1", &out),
               E_YAML_VALUE);
    check_code(yaml_set("t", text, strlen(text), "data.columns[3].x", "1",
                        &out),
               E_YAML_VALUE);
    check_code(yaml_set("t", "a: [", 4, "a", "1", &out), E_YAML_SYNTAX);
    buf_release(&out);
}

static void put_leaf(void *ctx, const char *path, const char *value)
{
    buf_printf(ctx, "%s=%s;", path, value);
}

static void leaves_come_in_order_with_their_paths(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    check_ok(yaml_leaves("t", text, strlen(text), put_leaf, &out));
    assert_string_equal(buf_cstr(&out),
                        "name=x;model.kind=mlp;model.hidden[1]=16;"
                        "model.hidden[2]=8;cohort.size=4;"
                        "data.columns[1].name=é;data.columns[2].name=b;seed=;");
    buf_release(&out);
}

static void check_unknown(const char *path, const char *near)
{
    enum tacit_err err = yaml_known(&plan_schema, path);
    check(err == TACIT_FORMAT && err_id() == E_YAML_KEY);
    check(!near || strstr(err_message(), near));
    err_clear();
}

static void an_unknown_path_names_the_nearest(void **state)
{
    (void)state;
    check_ok(yaml_known(&plan_schema, "strategy.kind"));
    check_ok(yaml_known(&plan_schema, "sim.attack"));
    check_ok(yaml_known(&plan_schema, "seed"));
    check_ok(yaml_known(&plan_schema, "data.columns[3].sd"));
    check_ok(yaml_known(&plan_schema, "model.hidden[1]"));
    check_unknown("strategy.knd", "\"strategy.kind\"");
    check_unknown("learning_rate", "\"local.learning_rate\"");
    check_unknown("sim.learning_rte", "learning_rate\"");
    check_unknown("zzzzzz", NULL);
    check_unknown("", NULL);
    check_unknown("seed.x", NULL);
    check_unknown("data.columns[].sd", NULL);
    check_unknown("data.columns[1]x", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_replaced_and_all_else_stays),
        cmocka_unit_test(what_is_missing_is_put_in),
        cmocka_unit_test(a_last_line_may_end_in_many_ways),
        cmocka_unit_test(a_value_that_is_more_than_one_is_refused),
        cmocka_unit_test(leaves_come_in_order_with_their_paths),
        cmocka_unit_test(an_unknown_path_names_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
