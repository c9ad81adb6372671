/* progress: plain lines off a terminal, at most one in 5 s, none when quiet;
 * under a clock that the test turns. */
#include "tests/base/capture.h"
#include "tests/base/window.h"

#include <string.h>

#include "common/base/progress.h"
#include "common/base/tick.h"

static int64_t now_ms;
static char text[8192];

static int64_t test_ms(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static int begin(void **state)
{
    (void)state;
    now_ms = 1000;
    tick_override(test_ms, NULL, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    tick_override(NULL, NULL, NULL);
    return 0;
}

/* 100 items, one each 200 ms: 20 s. */
static void run(enum progress_mode mode, uint64_t total, const char *detail)
{
    struct progress p;
    struct capture c;
    capture_begin(&c);
    progress_begin(&p, mode, "indexing", "files", total);
    for (uint64_t i = 1; i <= 100; i++) {
        now_ms += 200;
        progress_update(&p, i, detail);
    }
    progress_end(&p);
    capture_end(&c, text, sizeof text);
}

static unsigned lines(void)
{
    unsigned n = 0;
    for (const char *p = text; (p = strchr(p, '\n')); p++) n++;
    return n;
}

static void long_work_writes_a_line_in_five_seconds(void **state)
{
    (void)state;
    run(PROGRESS_AUTO, 100, "ward.md");
    check(lines() == 5); /* 5, 10, 15, 20 s and the end */
    check(strchr(text, '\r') == NULL && strchr(text, '\033') == NULL);
    check(strstr(text, "25 %") != NULL && strstr(text, "25/100 files"));
    check(strstr(text, "5.0/s") && strstr(text, "15 s left"));
    check(strstr(text, "ward.md") != NULL);
    check(strstr(text, "100 %") != NULL);
}

static void what_was_done_before_is_no_part_of_the_rate(void **state)
{
    (void)state;
    struct progress p;
    struct capture c;
    capture_begin(&c);
    progress_begin(&p, PROGRESS_AUTO, "asking the teacher", "texts", 100);
    progress_update(&p, 40, NULL); /* of the run that was interrupted */
    now_ms += 6000;
    progress_update(&p, 52, NULL);
    progress_end(&p);
    capture_end(&c, text, sizeof text);
    check(strstr(text, "52/100 texts  2.0/s  24 s left") != NULL);
}

static void an_unknown_total_counts(void **state)
{
    (void)state;
    run(PROGRESS_AUTO, 0, NULL);
    check(strstr(text, "indexing  25 files") != NULL);
    check(strchr(text, '%') == NULL);
}

static void work_without_a_measure_shows_its_time(void **state)
{
    (void)state;
    struct progress p;
    struct window w;
    struct capture c;
    window_begin(&w, 60);
    progress_begin(&p, PROGRESS_AUTO, "checking", NULL, 0);
    now_ms += 3000;
    progress_update(&p, 0, NULL);
    window_end(&w, text, sizeof text);
    const char *first = strstr(text, "checking  0 s");
    check(first && strstr(first, "checking  3 s"));
    check(strchr(text, '/') == NULL);
    capture_begin(&c); /* off a terminal as long work writes */
    progress_begin(&p, PROGRESS_AUTO, "checking", NULL, 0);
    for (int i = 0; i < 12; i++) {
        now_ms += 1000;
        progress_update(&p, 0, NULL);
    }
    progress_end(&p);
    capture_end(&c, text, sizeof text);
    assert_string_equal(text,
                        "checking  5 s\nchecking  10 s\nchecking  12 s\n");
}

static void short_work_and_quiet_work_write_nothing(void **state)
{
    (void)state;
    struct progress p;
    struct capture c;
    run(PROGRESS_QUIET, 100, NULL);
    assert_string_equal(text, "");
    capture_begin(&c);
    progress_begin(&p, PROGRESS_AUTO, "indexing", "files", 2);
    progress_update(&p, 2, "a");
    progress_end(&p);
    capture_end(&c, text, sizeof text);
    assert_string_equal(text, "");
}

static void a_hostile_name_is_shown_harmlessly(void **state)
{
    (void)state;
    run(PROGRESS_AUTO, 100, "a\n\033[2Jb");
    check(strstr(text, "a??[2Jb") != NULL);
    check(lines() == 5);
}

static void more_than_the_total_is_no_harm(void **state)
{
    (void)state;
    run(PROGRESS_AUTO, 3, NULL);
    check(strstr(text, "25/3 files") != NULL);
    check(strstr(text, "left") == NULL);
}

/* Eight draws in a window of so many columns. */
static void run_in_window(unsigned short columns, const char *detail)
{
    struct progress p;
    struct window w;
    window_begin(&w, columns);
    progress_begin(&p, PROGRESS_AUTO, "simulating", "rounds", 30);
    for (uint64_t i = 1; i <= 8; i++) {
        now_ms += 200;
        progress_update(&p, i, detail);
    }
    progress_end(&p);
    window_end(&w, text, sizeof text);
}

static void a_redrawn_line_is_never_wider_than_the_window(void **state)
{
    (void)state;
    static const unsigned short windows[] = {20, 40, 60, 80, 100, 200};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        run_in_window(windows[i], "loss 0.4651  accuracy 0.768, and more");
        check(strstr(text, "simulating") && lines() == 0);
        check(window_widest(text) < windows[i]);
    }
}

static void the_bar_gives_way_before_what_is_said(void **state)
{
    (void)state;
    run_in_window(80, "loss 0.4651  accuracy 0.768");
    check(strstr(text, "8/30 rounds") &&
          strstr(text, "loss 0.4651  accuracy 0.768"));
    check(strstr(text, "░▏") && !strstr(text, "5.0/s"));
    run_in_window(120, "loss 0.4651");
    check(strstr(text, "loss 0.4651") && strstr(text, "5.0/s"));
    run_in_window(60, "\xe6\x97\xa5\xe6\x9c\xac loss 0.4651");
    check(strstr(text, "8/30 rounds") && !strstr(text, "0.4651"));
}

static void a_file_is_not_coloured(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    check(f != NULL);
    check(progress_colour(fileno(f)) == 0);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(long_work_writes_a_line_in_five_seconds,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            what_was_done_before_is_no_part_of_the_rate, begin, end),
        cmocka_unit_test_setup_teardown(an_unknown_total_counts, begin, end),
        cmocka_unit_test_setup_teardown(work_without_a_measure_shows_its_time,
                                        begin, end),
        cmocka_unit_test_setup_teardown(short_work_and_quiet_work_write_nothing,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_hostile_name_is_shown_harmlessly,
                                        begin, end),
        cmocka_unit_test_setup_teardown(more_than_the_total_is_no_harm, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            a_redrawn_line_is_never_wider_than_the_window, begin, end),
        cmocka_unit_test_setup_teardown(the_bar_gives_way_before_what_is_said,
                                        begin, end),
        cmocka_unit_test(a_file_is_not_coloured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
