/* The weight of the vectors: learnt where they help, zero where they do not. */
#include "tests/check.h"

#include "common/base/codes.h"
#include "retrieval/shelve.h"
#include "retrieval/weight.h"
#include "tests/retrieval/shelf.h"

enum { TEXTS = 60 };

static int is_named(const struct search_hit *h, void *ctx)
{
    return strcmp(h->path, ctx) == 0;
}

/* Text i holds a word of its own. */
static void fill(struct shelf *s)
{
    check_ok(db_begin(&s->db));
    for (int i = 0; i < TEXTS; i++) {
        char path[16], text[256];
        snprintf(path, sizeof path, "%d", i);
        snprintf(text, sizeof text,
                 "The substance zanthoprim%cil%c is given at night.",
                 'a' + i % 26, 'a' + i / 26);
        check_ok(shelve_text(s->corpus, path, "", text));
    }
    check_ok(shelve_end(s->corpus));
    check_ok(db_commit(&s->db));
}

/* Asked with the word as it stands, or misspelt. */
static void learn(struct shelf *s, const char *spelling, int n,
                  struct weight_fit *f)
{
    for (int i = 0; i < n; i++) {
        char path[16], text[96];
        snprintf(path, sizeof path, "%d", i);
        snprintf(text, sizeof text, "substance zantho%s%cil%c", spelling,
                 'a' + i % 26, 'a' + i / 26);
        struct search_query q = {.text = text, .limit = 1};
        check_ok(weight_fit_add(f, s->corpus, &q, is_named, path));
    }
}

static void vectors_count_where_words_are_misspelt(void **state)
{
    (void)state;
    struct shelf s;
    struct weight_fit *f;
    struct weight_learnt w;
    shelf_new(&s);
    fill(&s);
    check_ok(weight_fit_new(&f));
    learn(&s, "prrim", TEXTS, f);
    check_ok(weight_fit_end(f, &w));
    assert_int_equal(w.n_questions, TEXTS);
    assert_true(w.weight > 0 && w.weight <= 1);
    assert_true(w.ndcg > w.by_words);
    weight_fit_free(f);
    shelf_free(&s);
}

static void vectors_count_nothing_where_words_suffice(void **state)
{
    (void)state;
    struct shelf s;
    struct weight_fit *f;
    struct weight_learnt w;
    shelf_new(&s);
    fill(&s);
    check_ok(weight_fit_new(&f));
    learn(&s, "prim", TEXTS, f);
    check_ok(weight_fit_end(f, &w));
    check_near(w.weight, 0, 0);
    check_near(w.ndcg, 1, 1e-9);
    weight_fit_free(f);
    shelf_free(&s);
}

static void a_few_questions_teach_nothing(void **state)
{
    (void)state;
    struct shelf s;
    struct weight_fit *f;
    struct weight_learnt w;
    shelf_new(&s);
    fill(&s);
    check_ok(weight_fit_new(&f));
    learn(&s, "prim", WEIGHT_QUESTIONS_MIN - 1, f);
    struct search_query q = {.text = "substance", .limit = 1};
    char nowhere[] = "nowhere";
    check_ok(weight_fit_add(f, s.corpus, &q, is_named, nowhere));
    check_code(weight_fit_end(f, &w), E_FEW_PAIRS);
    weight_fit_free(f);
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_count_where_words_are_misspelt),
        cmocka_unit_test(vectors_count_nothing_where_words_suffice),
        cmocka_unit_test(a_few_questions_teach_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
