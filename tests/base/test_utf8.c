/* utf8: every code point, every way to write one wrongly, and nothing that
 * could fool a terminal or a log. */
#include "tests/check.h"

#include <string.h>

#include "common/base/rng.h"
#include "common/base/utf8.h"

static size_t encode(uint32_t u, char out[4])
{
    if (u < 0x80) {
        out[0] = (char)u;
        return 1;
    }
    size_t n = u < 0x800 ? 2 : u < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; u >>= 6) out[i] = (char)(0x80 | (u & 0x3f));
    out[0] = (char)(0xf00 >> n | u);
    return n;
}

static void every_code_point_round_trips(void **state)
{
    (void)state;
    for (uint32_t u = 0; u <= 0x11ffff; u++) {
        char text[4];
        uint32_t got = 0;
        size_t n = encode(u, text);
        int valid = u <= 0x10ffff && !(u >= 0xd800 && u <= 0xdfff);
        size_t taken = utf8_next(text, n, &got);
        if (taken != (valid ? n : 0) || (valid && got != u))
            fail_msg("U+%04X", u);
        /* A character that is cut off is no character. */
        if (n > 1 && utf8_next(text, n - 1, NULL) != 0) fail_msg("U+%04X", u);
    }
    check(utf8_next("a", 0, NULL) == 0);
}

static void wrong_bytes_are_found_where_they_stand(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf", /* too long */
                                      "\xe0\x9f\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf", /* surrogates */
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3(",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[16] = "ok\xc3\xa9";
        strcat(text, bad[i]);
        check(utf8_find_bad(text, strlen(text)) == 4);
    }
    check(utf8_find_bad("a\0b", 3) == 1);
    check(utf8_find_bad("", 0) == 0);
    check(utf8_find_bad("na\xc3\xafve \xf0\x9f\x98\x80", 11) == 11);
}

static void what_could_fool_a_reader_is_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } samples[] = {
        {"ward 3\n\tfake=1", "ward 3??fake=1"},
        {"\x1b[2J", "?[2J"},
        {"\x7f\xc2\x85\xc2\x9f", "???"},
        {"a\xe2\x80\xae"
         "b\xe2\x81\xa6"
         "c",
         "a?b?c"},
        {"caf\xc3\xa9 \xe6\xbc\xa2", "caf\xc3\xa9 \xe6\xbc\xa2"},
        {"\xff\xfe", "??"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        char out[64];
        size_t n = utf8_printable(out, sizeof out, samples[i].text);
        assert_string_equal(out, samples[i].shown);
        check(n == strlen(out));
    }
}

static void only_shortest_form_utf8_is_clean(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "plain", "éàü", "漢字", "🏥", "\xf4\x8f\xbf\xbf", "\xee\x80\x80"};
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\xaf",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "a\tb",
                                      "\xc2\x85",
                                      "\xe2\x80\xae",
                                      "\xe2\x81\xa6",
                                      "\xe6\xbc"};
    char out[16];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        check(utf8_is_clean(good[i], 64));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check(!utf8_is_clean(bad[i], 64));
        (void)utf8_printable(out, sizeof out, bad[i]);
        check(utf8_is_clean(out, sizeof out));
        check(strlen(out) > 0);
    }
    (void)utf8_printable(out, 4, "aaé"); /* é does not fit any more */
    assert_string_equal(out, "aa");
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char out[8];
    memset(out, 'x', sizeof out);
    check(utf8_printable(out, 0, "abc") == 0 && out[0] == 'x');
    check(utf8_printable(out, 1, "abc") == 0 && out[0] == '\0');
    check(utf8_printable(out, 3, "abc") == 2);
    assert_string_equal(out, "ab");
    check(utf8_printable(out, 3, "a\xc3\xa9") == 1);
    check(utf8_printable(out, 4, "a\xc3\xa9") == 3);
    assert_string_equal(out, "a\xc3\xa9");
}

static void random_bytes_come_out_as_text(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 8, 0, 0);
    for (int i = 0; i < 20000; i++) {
        char in[40], out[30];
        size_t n = rng_below(&r, sizeof in);
        for (size_t k = 0; k < n; k++) in[k] = (char)(1 + rng_below(&r, 255));
        in[n] = '\0';
        size_t got = utf8_printable(out, sizeof out, in);
        check(got < sizeof out && strlen(out) == got);
        check(utf8_find_bad(out, got) == got);
        for (size_t k = 0; k < got; k++) check((unsigned char)out[k] >= 0x20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_round_trips),
        cmocka_unit_test(wrong_bytes_are_found_where_they_stand),
        cmocka_unit_test(what_could_fool_a_reader_is_replaced),
        cmocka_unit_test(only_shortest_form_utf8_is_clean),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(random_bytes_come_out_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
