/* Signs that a passage is about a question and does not answer it. */
#include "tests/check.h"

#include <math.h>

#include "retrieval/doubt.h"
#include "tests/retrieval/shelf.h"

static const char treaty[] =
    "# Peace\n\nThe treaty of Muenster was signed by Oxenstierna in 1648. It "
    "was not printed before the winter. Forty ships waited in the harbour of "
    "Bremen.\n";

struct desk {
    struct shelf s;
    double x[N_DOUBTS], answers;
    size_t best;
};

static void desk_open(struct desk *d)
{
    *d = (struct desk){0};
    shelf_new(&d->s);
    shelf_add(&d->s, "treaty.md", treaty);
}

static void ask(struct desk *d, const char *question)
{
    static struct passage p;
    struct inquiry *q = NULL;
    struct search_query query = {.text = question, .limit = 1};
    size_t n;
    struct search_hit *hits = shelf_search(&d->s, question, NULL, 1, &n);
    assert_int_equal(n, 1);
    check_ok(arena_alloc(&d->s.a, 1, sizeof *q, &q));
    check_ok(relevance_inquire(d->s.corpus, &query, &d->s.a, q));
    check_ok(relevance_read(d->s.corpus, q, &hits[0], &p));
    d->best = p.best;
    doubt_signs(q, &p, p.best, d->x);
    d->answers = p.relevance.answers;
    check_near(d->answers, doubt_chance(d->x), 1e-12);
    check_near(p.confidence, d->answers / (1 + exp(-p.relevance.log_odds)),
               1e-12);
    check_near(p.log_odds, p.relevance.log_odds + log(d->answers), 1e-12);
}

static void a_question_whose_words_are_all_there_is_not_doubted(void **state)
{
    (void)state;
    struct desk d;
    desk_open(&d);
    ask(&d, "Who signed the treaty of Muenster?");
    assert_int_equal(d.best, 0);
    check_near(d.x[DOUBT_SENTENCE], 1, 1e-9);
    check_near(d.x[DOUBT_PASSAGE], 1, 1e-9);
    check_near(d.x[DOUBT_MISSING], 0, 1e-9);
    check_near(d.x[DOUBT_TERMS], 3, 0);
    check_near(d.x[DOUBT_WORDS], 6, 0);
    check_near(d.x[DOUBT_NAME] + d.x[DOUBT_NUMBER] + d.x[DOUBT_NEGATED], 0, 0);
    assert_true(d.answers > 0.5);
    shelf_free(&d.s);
}

static void names_and_numbers_that_are_missing_are_doubts(void **state)
{
    (void)state;
    struct desk d;
    desk_open(&d);
    ask(&d, "Who signed the treaty of Muenster?");
    double sure = d.answers;
    ask(&d, "Who signed the treaty of Uppsala?");
    check_near(d.x[DOUBT_NAME], 1, 0);
    check_near(d.x[DOUBT_NUMBER], 0, 0);
    assert_true(d.x[DOUBT_MISSING] > 0.2 && d.answers < sure);
    ask(&d, "Who signed the treaty of Muenster in 1650?");
    check_near(d.x[DOUBT_NUMBER], 1, 0);
    assert_true(d.answers < sure);
    /* A word in lower case, or that begins the question, is no name. */
    ask(&d, "Uppsala: who signed the treaty?");
    check_near(d.x[DOUBT_NAME], 0, 0);
    ask(&d, "Who signed the treaty in uppsala?");
    check_near(d.x[DOUBT_NAME], 0, 0);
    /* One that stands elsewhere in the passage is not missing in it. */
    ask(&d, "Who signed the treaty in Bremen?");
    check_near(d.x[DOUBT_NAME], 0, 0);
    check_near(d.x[DOUBT_PASSAGE], 1, 1e-9);
    assert_true(d.x[DOUBT_SENTENCE] < 1);
    shelf_free(&d.s);
}

static void a_denial_counts_unless_the_sentence_denies_too(void **state)
{
    (void)state;
    static const char *const denials[] = {
        "Who did not sign the treaty?", "Who didn't sign the treaty?",
        "Who never signed the treaty?", "WITHOUT whom was the treaty signed?"};
    struct desk d;
    desk_open(&d);
    ask(&d, "Who signed the treaty?");
    double sure = d.answers;
    for (size_t i = 0; i < sizeof denials / sizeof *denials; i++) {
        ask(&d, denials[i]);
        check_near(d.x[DOUBT_NEGATED], 1, 0);
        assert_true(d.answers < sure);
    }
    ask(&d, "When was it not printed before winter?");
    assert_int_equal(d.best, 1);
    check_near(d.x[DOUBT_NEGATED], 0, 0);
    ask(&d, "Who noted the knot of the treaty?"); /* no word of denial */
    check_near(d.x[DOUBT_NEGATED], 0, 0);
    shelf_free(&d.s);
}

static void a_question_of_any_bytes_has_finite_signs(void **state)
{
    (void)state;
    struct desk d;
    char text[400];
    struct rng r;
    desk_open(&d);
    rng_init(&r, 11, 0, 0);
    for (int round = 0; round < 200; round++) {
        size_t n = 1 + rng_below(&r, sizeof text - 10);
        for (size_t i = 0; i < n; i++) text[i] = (char)(1 + rng_below(&r, 255));
        memcpy(text + n, " treaty", 8);
        ask(&d, text);
        for (size_t i = 0; i < N_DOUBTS; i++) assert_true(isfinite(d.x[i]));
        assert_true(d.answers > 0 && d.answers < 1);
    }
    shelf_free(&d.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_whose_words_are_all_there_is_not_doubted),
        cmocka_unit_test(names_and_numbers_that_are_missing_are_doubts),
        cmocka_unit_test(a_denial_counts_unless_the_sentence_denies_too),
        cmocka_unit_test(a_question_of_any_bytes_has_finite_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
