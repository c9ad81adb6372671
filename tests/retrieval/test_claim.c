/* Whether a passage says what a sentence of an answer says. */
#include "tests/check.h"

#include <string.h>

#include "retrieval/claim.h"
#include "tests/retrieval/shelf.h"

static size_t length(const char *text)
{
    return claim_length(LANGUAGE_ENGLISH, text, strlen(text), CLAIM_GOES_ON);
}

static void a_sentence_ends_when_the_next_begins(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {
        {"Give 2 mg.", 0},
        {"Give 2 mg. [1", 0},
        {"Give 2 mg. [1] ", 0},
        {"Give 2 mg. [1] Then", 15},
        {"Give 2 mg [1]. Then", 15},
        {"Give 2 mg [1][2, 3]. Then", 21},
        {"Give 2 mg, e.g. at night. Then", 26},
        {"One line\n", 0},
        {"One line\nThe next", 9},
        {"\nGive 2 mg.", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (length(cases[i].text) != cases[i].n)
            fail_msg("\"%s\": %zu, not %zu", cases[i].text,
                     length(cases[i].text), cases[i].n);
    const char *last = "Give 2 mg. [1]";
    assert_int_equal(claim_length(LANGUAGE_ENGLISH, last, 14, CLAIM_AT_END),
                     14);
    /* Longer than any sentence, in pieces of at least one byte. */
    static char endless[30000];
    memset(endless, 'a', sizeof endless);
    for (size_t at = 0; at < sizeof endless;) {
        size_t n = claim_length(LANGUAGE_ENGLISH, endless + at,
                                sizeof endless - at, CLAIM_AT_END);
        check(n > 0 && n <= sizeof endless - at);
        at += n;
    }
}

static struct shelf s;
static const struct search_hit *hits[2];

static int begin(void **state)
{
    (void)state;
    size_t n = 0;
    shelf_new(&s);
    shelf_add(&s, "dose.md",
              "# Warfarin\n\nStart warfarin with 5 mg at night. Give 2 mg to "
              "the elderly. Do not give aspirin with it. Doctor Okafor sees "
              "the patients.\n");
    shelf_add(&s, "wound.md",
              "# Wounds\n\nClean the wound with saline. Change the dressing "
              "every second day.\n");
    for (int i = 0; i < 6; i++) {
        char name[32], text[160];
        snprintf(name, sizeof name, "other%d.md", i);
        snprintf(text, sizeof text,
                 "# Ward %d\n\nVisitors of the ward %d come in the afternoon "
                 "and leave before supper.\n",
                 i, i);
        shelf_add(&s, name, text);
    }
    hits[0] = shelf_search(&s, "warfarin", NULL, 1, &n);
    check(n == 1);
    hits[1] = shelf_search(&s, "wound dressing", NULL, 1, &n);
    check(n == 1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    shelf_free(&s);
    return 0;
}

static struct claim judged(const char *text)
{
    struct claim c;
    check_ok(claim_check(s.corpus, &s.a, text, strlen(text), hits, 2, &c));
    return c;
}

static void what_a_passage_says_is_supported(void **state)
{
    (void)state;
    struct claim c = judged("Give 2 mg to the elderly [1].");
    check(c.is_claim && c.is_supported && !c.is_found);
    assert_int_equal(c.supported, 1);
    assert_string_equal(c.text, "Give 2 mg to the elderly.");
    check_near(c.support, 1, 1e-9);
    /* In another form of its words. */
    check(judged("The elderly are given 2 mg [1].").is_supported);
    check(judged("Do not give aspirin [1].").is_supported);
    check(judged("Doctor Okafor sees patients [1].").is_supported);
    /* Two passages together. */
    c = judged("Clean the wound, and start warfarin with 5 mg [1, 2].");
    assert_int_equal(c.cited, 3);
}

static void what_it_does_not_say_is_not(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Give 4 mg to the elderly [1].",        /* a number */
        "Do not give 2 mg to the elderly [1].", /* a denial */
        "Give aspirin with it [1].",            /* a denial is missing */
        "Doctor Petrov sees the patients [1].", /* a name */
        "Bananas cure malaria [1].",
        "Give 2 mg to the elderly [2].", /* another passage says it */
        "Clean the wound with saline [1].",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct claim c = judged(wrong[i]);
        if (!c.is_claim || c.is_supported)
            fail_msg("\"%s\" is supported by %.2f", wrong[i], c.support);
    }
}

static void a_missing_citation_is_found(void **state)
{
    (void)state;
    struct claim c = judged("Change the dressing every second day.");
    check(c.is_supported && c.is_found);
    assert_int_equal(c.cited, 2);
    c = judged("Bananas cure malaria.");
    check(!c.is_supported && !c.is_found && !c.cited);
}

static void what_holds_no_word_is_no_claim(void **state)
{
    (void)state;
    check(!judged(" - \n").is_claim);
    check(!judged("[1]").is_claim);
    check(!judged("").is_claim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_ends_when_the_next_begins),
        cmocka_unit_test(what_a_passage_says_is_supported),
        cmocka_unit_test(what_it_does_not_say_is_not),
        cmocka_unit_test(a_missing_citation_is_found),
        cmocka_unit_test(what_holds_no_word_is_no_claim),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
