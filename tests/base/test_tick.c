/* tick: clocks go forward, dates are UTC, and a test can turn them. */
#include "tests/check.h"

#include "common/base/tick.h"

static int64_t three(void *ctx)
{
    return *(const int64_t *)ctx;
}

static int64_t four(void *ctx)
{
    return *(const int64_t *)ctx + 1;
}

static void monotonic_clocks_never_go_back(void **state)
{
    (void)state;
    int64_t ms = tick_ms(), ns = tick_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t ms2 = tick_ms(), ns2 = tick_ns();
        check(ms2 >= ms && ns2 >= ns);
        ms = ms2;
        ns = ns2;
    }
    check(tick_wall_s() > 1700000000);
}

static void a_clock_can_be_replaced_and_restored(void **state)
{
    (void)state;
    int64_t value = 3;
    tick_override(three, four, &value);
    check(tick_ms() == 3 && tick_wall_s() == 4);
    tick_override(NULL, NULL, NULL);
    check(tick_wall_s() > 1700000000);
}

static void dates_are_utc(void **state)
{
    (void)state;
    static const struct {
        int64_t s;
        const char *text;
    } dates[] = {{0, "1970-01-01T00:00:00Z"},
                 {951827696, "2000-02-29T12:34:56Z"},
                 {253402300799, "9999-12-31T23:59:59Z"},
                 {-1, "1969-12-31T23:59:59Z"}};
    char out[21];
    for (size_t i = 0; i < 4; i++) {
        tick_iso8601(dates[i].s, out);
        assert_string_equal(out, dates[i].text);
    }
    tick_iso8601(253402300800, out);
    assert_string_equal(out, "-");
    tick_iso8601(INT64_MAX, out);
    assert_string_equal(out, "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_clocks_never_go_back),
        cmocka_unit_test(a_clock_can_be_replaced_and_restored),
        cmocka_unit_test(dates_are_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
