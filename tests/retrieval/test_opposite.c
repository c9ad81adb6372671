/* Words that say the opposite of others. */
#include "tests/check.h"

#include <string.h>

#include "common/base/rng.h"
#include "retrieval/opposite.h"

static int holds(const char *word, const char *text)
{
    return opposite_in(word, text, strlen(text));
}

static void an_opposite_is_found_in_any_form_and_both_ways(void **state)
{
    (void)state;
    assert_true(holds("after", "It was signed BEFORE noon."));
    assert_true(holds("before", "after the war"));
    assert_true(holds("increased", "prices were reduced"));
    assert_true(holds("allowed", "They forbid it, and allow nothing."));
    assert_true(holds("largest", "the smallest of them"));
    assert_false(holds("after", "afterwards, below, it was signed"));
    assert_false(holds("after", "after"));
    assert_false(holds("after", ""));
    assert_false(holds("treaty", "before and after, first and last"));
}

static void a_prefix_denies(void **state)
{
    (void)state;
    assert_true(holds("known", "an unknown writer"));
    assert_true(holds("unknown", "a writer known to all"));
    assert_true(holds("legal", "It is illegal."));
    assert_true(holds("regular", "irregular verbs"));
    /* What is short, or differs in more, is another word. */
    assert_false(holds("it", "a unit"));
    assert_false(holds("known", "unknowns knowing"));
    assert_false(holds("form", "deform reform"));
}

static void endings_alone_do_not_make_another_word(void **state)
{
    (void)state;
    assert_true(opposite_is_same("signed", "signs"));
    assert_true(opposite_is_same("ship", "ships"));
    assert_false(opposite_is_same("ship", "shop"));
    assert_false(opposite_is_same("ship", "shipyards"));
    assert_true(opposite_is_same("", ""));
    assert_false(opposite_is_same("", "a"));
}

static void words_of_any_bytes_are_cut_where_they_are_long(void **state)
{
    (void)state;
    char text[300], word[OPPOSITE_WORD_MAX + 1];
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (int round = 0; round < 300; round++) {
        size_t n = rng_below(&r, sizeof text), i = 0, last = 0;
        for (size_t k = 0; k < n; k++) text[k] = (char)rng_below(&r, 256);
        while (opposite_next_word(text, n, &i, word)) {
            assert_true(i > last && i <= n);
            assert_in_range(strlen(word), 1, OPPOSITE_WORD_MAX);
            last = i;
        }
        opposite_in("after", text, n);
    }
    memset(text, 'a', sizeof text);
    size_t i = 0;
    assert_true(opposite_next_word(text, sizeof text, &i, word));
    assert_int_equal(strlen(word), OPPOSITE_WORD_MAX);
    assert_false(opposite_next_word(text, sizeof text, &i, word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_opposite_is_found_in_any_form_and_both_ways),
        cmocka_unit_test(a_prefix_denies),
        cmocka_unit_test(endings_alone_do_not_make_another_word),
        cmocka_unit_test(words_of_any_bytes_are_cut_where_they_are_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
