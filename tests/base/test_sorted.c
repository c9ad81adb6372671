#include "tests/check.h"

#include "common/base/sorted.h"

static void each_number_is_found_in_its_place_and_no_other(void **state)
{
    static const int64_t list[] = {INT64_MIN, -3, 0, 2, 7, 90, INT64_MAX};
    enum { N = sizeof list / sizeof *list };
    (void)state;
    for (size_t n = 0; n <= N; n++) {
        for (size_t i = 0; i < N; i++)
            check(sorted_find(list, n, list[i]) == (i < n ? i : n));
        for (size_t i = 1; i < N - 1; i++)
            check(sorted_find(list, n, list[i] + 1) == n);
    }
    check(sorted_find(NULL, 0, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_is_found_in_its_place_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
