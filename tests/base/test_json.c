/* json: the envelope, and text that is not JSON or too much of it. */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/json.h"

static char text[4096];

/* What print(f) wrote. */
static void written(FILE *f)
{
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
}

static void good_text_is_parsed(void **state)
{
    (void)state;
    json_t *v = NULL;
    check_ok(json_parse("{\"a\":[1,2.5,\"x\"]}", 17, &v));
    check(json_array_size(json_object_get(v, "a")) == 3);
    json_decref(v);
    /* Only the n bytes given are looked at. */
    check_ok(json_parse("[]garbage", 2, &v));
    json_decref(v);
}

static void bad_text_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "{",
                                      "[1,]",     "{\"a\":1,\"a\":2}",
                                      "[] []",    "nan",
                                      "\"\xff\"", "{'a':1}",
                                      "[1e999]"};
    json_t *v = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_err(json_parse(bad[i], strlen(bad[i]), &v), TACIT_FORMAT);
    enum tacit_err e = json_parse("{\n \"a\": 1,\n \"b\": oops}", 22, &v);
    check(strstr(err_message(), "line 3") != NULL);
    check_err(e, TACIT_FORMAT);
    check(v == NULL);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP);
    json_t *v = NULL;
    check(deep != NULL);
    memset(deep, '[', DEEP);
    check_err(json_parse(deep, DEEP, &v), TACIT_FORMAT);
    free(deep);
}

static void too_much_text_is_refused_unread(void **state)
{
    (void)state;
    json_t *v = NULL;
    check_err(json_parse("[]", (size_t)JSON_BYTES_MAX + 1, &v), TACIT_LIMIT);
}

static void the_ok_envelope_holds_the_data(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    check(f != NULL);
    check_ok(json_print_ok(f, json_pack("{s:i}", "n", 3)));
    written(f);
    assert_string_equal(text, "{\"schema_version\":1,\"status\":\"ok\","
                              "\"data\":{\"n\":3}}\n");
}

static void the_error_envelope_holds_code_message_and_help(void **state)
{
    (void)state;
    json_t *v = NULL;
    FILE *f = tmpfile();
    check(f != NULL);
    json_print_error(f, fail_as(E_DISK_FULL, "notes \"x\""));
    err_clear();
    written(f);
    check_ok(json_parse(text, strlen(text), &v));
    const json_t *e = json_object_get(v, "error");
    assert_string_equal(json_string_value(json_object_get(v, "status")),
                        "error");
    assert_string_equal(json_string_value(json_object_get(e, "code")),
                        "TACIT-E0102");
    assert_string_equal(json_string_value(json_object_get(e, "message")),
                        "notes \"x\"");
    check(strlen(json_string_value(json_object_get(e, "help"))) > 10);
    json_decref(v);
    /* Without a message the class's own text and code stand there. */
    f = tmpfile();
    check(f != NULL);
    json_print_error(f, TACIT_TIMEOUT);
    written(f);
    check(strstr(text, "TACIT-E0009") && strstr(text, "took too long"));
}

static void a_full_disk_is_noticed(void **state)
{
    (void)state;
    FILE *f = fopen("/dev/full", "w");
    if (!f) skip_missing("/dev/full");
    check_err(json_print_ok(f, json_integer(1)), TACIT_IO);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_text_is_parsed),
        cmocka_unit_test(bad_text_is_refused_with_its_line),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(too_much_text_is_refused_unread),
        cmocka_unit_test(the_ok_envelope_holds_the_data),
        cmocka_unit_test(the_error_envelope_holds_code_message_and_help),
        cmocka_unit_test(a_full_disk_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
