#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/base/nfkc.h"
#include "common/base/rng.h"
#include "common/base/utf8.h"

static const char *spell(const char *text)
{
    static char out[8192];
    size_t n = strlen(text), k = 0;
    for (size_t i = 0; i < n;) {
        size_t len = nfkc_segment(text + i, n - i);
        k += nfkc_spell(text + i, len, out + k);
        i += len;
    }
    out[k] = '\0';
    return out;
}

static void letters_that_mean_the_same_get_one_spelling(void **state)
{
    (void)state;
    assert_string_equal(spell("plain text, 5 mg"), "plain text, 5 mg");
    assert_string_equal(spell("\xef\xac\x81ne"), "fine");         /* ﬁ */
    assert_string_equal(spell("\xef\xbc\xa1\xef\xbc\x91"), "A1"); /* Ａ１ */
    assert_string_equal(spell("caf"
                              "e\xcc\x81"),
                        "caf\xc3\xa9");                   /* e + accent */
    assert_string_equal(spell("5 \xe3\x8e\x8e"), "5 mg"); /* ㎎ */
    assert_string_equal(spell("\xef\xbd\xb6\xef\xbe\x9e"),
                        "\xe3\x82\xac"); /* ｶﾞ -> ガ */
    assert_string_equal(spell("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8"),
                        "\xea\xb0\x81"); /* three letters -> 각 */
}

static void numbers_keep_their_meaning(void **state)
{
    (void)state;
    static const char *const kept[] = {
        "10\xe2\x81\xb9/l",         /* 10⁹/l, not 109/l */
        "5\xc2\xbd mg",             /* 5½ */
        "m\xc2\xb2",                /* m² */
        "CO\xe2\x82\x82",           /* CO₂ */
        "see \xe2\x91\xa0",         /* ① */
        "don\xc2\xb4t",             /* an accent for an apostrophe */
        "\xe8\x8d\xaf\xe3\x80\x82", /* 药。 */
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_string_equal(spell(kept[i]), kept[i]);
}

/* Whether the form and ours agree by design on this character. */
static int is_plain(uint32_t u)
{
    char one[5] = "", out[NFKC_BYTES_MAX];
    utf8proc_uint8_t *whole = NULL;
    utf8proc_ssize_t n =
        utf8proc_encode_char((utf8proc_int32_t)u, (utf8proc_uint8_t *)one);
    utf8proc_ssize_t k =
        utf8proc_map((utf8proc_uint8_t *)one, n, &whole,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    size_t len = nfkc_spell(one, (size_t)n, out);
    int same = k == (utf8proc_ssize_t)len && memcmp(whole, out, len) == 0;
    free(whole);
    return same;
}

/* utf8proc's own form of a whole text is the reference. */
static void segments_add_up_to_the_form(void **state)
{
    (void)state;
    static const uint32_t ranges[][2] = {
        {0x20, 0x7e},     {0xa1, 0x24f},    {0x300, 0x345},   {0x370, 0x52f},
        {0x5d0, 0x6d3},   {0x900, 0xdff},   {0x1100, 0x11ff}, {0x1e00, 0x1fff},
        {0x3041, 0x318e}, {0xac00, 0xac80}, {0xfb00, 0xfdc7}, {0xff01, 0xffdc},
    };
    struct rng rng;
    rng_init(&rng, 11, 0, 0);
    for (int round = 0; round < 3000; round++) {
        char text[256];
        size_t n = 0;
        while (n < 100) {
            const uint32_t *r = ranges[rng_below(&rng, 12)];
            uint32_t u = r[0] + (uint32_t)rng_below(&rng, r[1] - r[0] + 1);
            if (!is_plain(u)) continue;
            n += (size_t)utf8proc_encode_char((utf8proc_int32_t)u,
                                              (utf8proc_uint8_t *)text + n);
        }
        text[n] = '\0';
        utf8proc_uint8_t *want = NULL;
        utf8proc_ssize_t k =
            utf8proc_map((utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &want,
                         UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
        assert_true(k > 0);
        want = realloc(want, (size_t)k + 1);
        want[k] = 0;
        assert_string_equal(spell(text), (const char *)want);
        free(want);
    }
}

static void any_bytes_are_spelt_within_the_bound(void **state)
{
    (void)state;
    char out[NFKC_BYTES_MAX], text[400];
    struct rng rng;
    rng_init(&rng, 12, 0, 0);
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)rng_below(&rng, 256);
        for (size_t i = 0; i < sizeof text;) {
            size_t k = nfkc_segment(text + i, sizeof text - i);
            assert_true(k >= 1 && k <= sizeof text - i);
            assert_true(nfkc_spell(text + i, k, out) <= sizeof out);
            i += k;
        }
    }
    for (size_t i = 0; i + 3 <= sizeof text - 1; i += 3)
        memcpy(text + i, "\xef\xb7\xba", 3); /* the longest of all */
    assert_int_equal(nfkc_segment(text, 399), 3);
    assert_int_equal(nfkc_spell(text, 3, out), 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_that_mean_the_same_get_one_spelling),
        cmocka_unit_test(numbers_keep_their_meaning),
        cmocka_unit_test(segments_add_up_to_the_form),
        cmocka_unit_test(any_bytes_are_spelt_within_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
