/* terminal: lines that fit the window, and whole lines elsewhere. */
#include "tests/base/window.h"

#include <string.h>

#include "common/base/options.h"
#include "common/base/terminal.h"

static char text[4096];

/* What terminal_wrap() makes of s. */
static const char *wrapped(const char *s, size_t at, size_t indent,
                           size_t columns)
{
    FILE *f = tmpfile();
    check(f != NULL);
    terminal_wrap(f, s, at, indent, columns);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void lines_break_between_words(void **state)
{
    (void)state;
    assert_string_equal(wrapped("one two three", 0, 0, 7), "one two\nthree");
    assert_string_equal(wrapped("one two three", 4, 2, 8),
                        "one\n  two\n  three");
    assert_string_equal(wrapped("one two", 0, 0, 7), "one two");
    assert_string_equal(wrapped("a\nb", 0, 0, 9), "a b");
    assert_string_equal(wrapped("", 0, 0, 9), "");
}

static void a_long_word_stays_whole(void **state)
{
    (void)state;
    assert_string_equal(wrapped("see /a/long/path now", 0, 2, 8),
                        "see\n  /a/long/path\n  now");
    assert_string_equal(wrapped("/a/long/path", 0, 2, 8), "/a/long/path");
}

static void without_a_terminal_nothing_changes(void **state)
{
    (void)state;
    const char *s = "two  spaces\nand a line that is not broken";
    assert_string_equal(wrapped(s, 70, 4, 0), s);
    FILE *f = tmpfile();
    check(f != NULL && terminal_columns(fileno(f)) == 0);
    terminal_say(f, 2, "%0100d %d", 1, 2);
    rewind(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    check(n == 2 + 100 + 2 + 1 && text[n - 1] == '\n');
    fclose(f);
    check(terminal_columns(-1) == 0);
}

static void columns_are_what_is_drawn(void **state)
{
    (void)state;
    size_t used = 0;
    check(terminal_fit("Grüße", 99, &used) == 7 && used == 5);
    check(terminal_fit("e\xcc\x81t\xc3\xa9", 99, &used) == 6 && used == 3);
    check(terminal_fit("\xe6\x97\xa5\xe6\x9c\xac", 3, &used) == 3 && used == 2);
    check(terminal_fit("a\xff\xff", 2, &used) == 2 && used == 2);
    check(terminal_fit("", 9, &used) == 0 && used == 0);
    /* Colours take no room. */
    assert_string_equal(wrapped("\033[1mone\033[0m two", 0, 0, 7),
                        "\033[1mone\033[0m two");
}

static void a_message_fits_the_window(void **state)
{
    (void)state;
    struct window w;
    setenv("NO_COLOR", "1", 1);
    window_begin(&w, 40);
    terminal_say(stderr, 4, "%s", "the quick brown fox jumps over the dog");
    (void)fail(TACIT_IO, "a message that is longer than the window is wide");
    options_print_error(stderr, "tacit", TACIT_IO);
    window_end(&w, text, sizeof text);
    err_clear();
    check(strstr(text, "    the quick brown fox jumps over the\n    dog\n"));
    check(strstr(text, "a message that is longer than the\nwindow is"));
    check(window_widest(text) <= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_break_between_words),
        cmocka_unit_test(a_long_word_stays_whole),
        cmocka_unit_test(without_a_terminal_nothing_changes),
        cmocka_unit_test(columns_are_what_is_drawn),
        cmocka_unit_test(a_message_fits_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
