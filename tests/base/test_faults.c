#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/faults.h"

static enum tacit_err add(struct faults *f, unsigned i)
{
    return faults_take(f, fail_as(E_PLAN_VALUE, "risk.yaml:%u: wrong", i));
}

static void nothing_found_is_no_failure(void **state)
{
    (void)state;
    struct faults f = {0};
    check_ok(faults_end(&f));
    check_ok(faults_take(&f, TACIT_OK));
    check_ok(faults_end(&f));
}

static void one_fault_stays_as_it_is(void **state)
{
    (void)state;
    struct faults f = {0};
    check_ok(add(&f, 3));
    assert_string_equal(err_message(), "");
    check(faults_end(&f) == TACIT_FORMAT);
    check(err_id() == E_PLAN_VALUE);
    assert_string_equal(err_message(), "risk.yaml:3: wrong");
    err_clear();
}

static void several_are_counted_under_the_code_of_the_first(void **state)
{
    (void)state;
    struct faults f = {0};
    check_ok(faults_take(&f, fail_as(E_YAML_KEY, "a:1: no key")));
    check_ok(add(&f, 2));
    check(faults_end(&f) == TACIT_FORMAT);
    check(err_id() == E_YAML_KEY);
    assert_string_equal(err_message(),
                        "a:1: no key (1 of 2); risk.yaml:2: wrong (2 of 2)");
    err_clear();
}

static void what_is_no_fault_of_the_file_is_passed_on(void **state)
{
    (void)state;
    struct faults f = {0};
    check(faults_take(&f, fail(TACIT_NOMEM, "no memory")) == TACIT_NOMEM);
    assert_string_equal(err_message(), "no memory");
    err_clear();
    check(f.n == 0);
}

static void more_than_fit_are_cut_between_two(void **state)
{
    (void)state;
    struct faults f = {0};
    char last[64];
    for (unsigned i = 0; i < 1000; i++)
        check_ok(faults_take(&f, fail_as(E_PLAN_VALUE, "%0300u", i)));
    check(faults_end(&f) == TACIT_FORMAT);
    snprintf(last, sizeof last, "(2 of 1000)");
    const char *at = strstr(err_message(), last);
    check(at && at[strlen(last)] == '\0');
    err_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_found_is_no_failure),
        cmocka_unit_test(one_fault_stays_as_it_is),
        cmocka_unit_test(several_are_counted_under_the_code_of_the_first),
        cmocka_unit_test(what_is_no_fault_of_the_file_is_passed_on),
        cmocka_unit_test(more_than_fit_are_cut_between_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
