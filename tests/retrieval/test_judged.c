/* Judgements, runs and their figures: against trec_eval
 * (tests/golden/trec_eval.py), and every way a file can be wrong. */
#include "tests/check.h"

#include <string.h>

#include "common/base/codes.h"
#include "retrieval/judged.h"
#include "retrieval/measure.h"
#include "retrieval/squad.h"
#include "tests/golden/trec_eval.h"

enum {
    K = 10,
    DEEP = 100,
    N_WANTED = sizeof trec_wanted / sizeof *trec_wanted
};

static struct arena a;

static int setup(void **state)
{
    (void)state;
    arena_init(&a, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&a);
    return 0;
}

static enum tacit_err qrels(const char *text, struct judged_qrels *out)
{
    return judged_qrels_parse("q", text, strlen(text), &a, out);
}

static void measure(const struct judged_qrels *q, const struct judged_run *run,
                    const char *query, size_t k, struct measures *m)
{
    struct judged_rows rows = judged_of(q, query);
    struct judged_places p = judged_run_of(run, query);
    int grades[256], judged[256];
    assert_true(p.n <= 256 && rows.n > 0 && rows.n <= 256);
    for (size_t i = 0; i < p.n; i++)
        grades[i] = judged_grade(rows, p.list[i].document);
    for (size_t i = 0; i < rows.n; i++) judged[i] = rows.list[i].grade;
    check_ok(measure_ranking(grades, p.n, judged, rows.n, k, &a, m));
}

static void figures_are_those_of_trec_eval(void **state)
{
    (void)state;
    struct judged_qrels q;
    struct judged_run run;
    check_ok(qrels(trec_qrels, &q));
    check_ok(judged_run_parse("r", trec_run, strlen(trec_run), &a, &run));
    for (size_t i = 0; i < N_WANTED; i++) {
        const double *want = trec_wanted[i].value;
        struct measures m, deep;
        measure(&q, &run, trec_wanted[i].query, K, &m);
        measure(&q, &run, trec_wanted[i].query, DEEP, &deep);
        check_near(m.ndcg, want[0], 1e-9);
        check_near(m.recall, want[1], 1e-9);
        check_near(m.precision, want[2], 1e-9);
        check_near(m.mrr, want[3], 1e-9);
        check_near(m.map, want[4], 1e-9);
        check_near(deep.recall, want[5], 1e-9);
    }
}

static void a_tie_goes_to_the_later_id(void **state)
{
    (void)state;
    struct judged_run run;
    static const char text[] = "1 Q0 a 1 2.5 x\n1 Q0 c 9 2.5 x\n\n"
                               "1 Q0 b 2 3e0 x\r\n0 Q0 z 1 -1 x";
    check_ok(judged_run_parse("r", text, strlen(text), &a, &run));
    struct judged_places p = judged_run_of(&run, "1");
    assert_int_equal(p.n, 3);
    assert_string_equal(p.list[0].document, "b");
    assert_string_equal(p.list[1].document, "c");
    assert_string_equal(p.list[2].document, "a");
    assert_int_equal(judged_run_of(&run, "2").n, 0);
}

static void judgements_are_read_in_both_forms(void **state)
{
    (void)state;
    struct judged_qrels q;
    check_ok(qrels("query-id\tcorpus-id\tscore\n7\ta b\t1\n2\tx\t0\n", &q));
    assert_int_equal(q.n, 2);
    assert_int_equal(judged_grade(judged_of(&q, "7"), "a b"), 1);
    assert_int_equal(judged_grade(judged_of(&q, "7"), "x"), 0);
    check_ok(qrels("\xef\xbb\xbf"
                   "7 0 a 2\n7 Q0 b -1\n",
                   &q));
    assert_int_equal(judged_grade(judged_of(&q, "7"), "a"), 2);
    assert_int_equal(judged_grade(judged_of(&q, "7"), "b"), -1);
    check_ok(qrels("", &q));
    assert_int_equal(q.n, 0);
}

static void what_is_wrong_with_a_file_has_its_line(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "1 a\n",       "1 0 a x\n",     "1 0 a 1.5\n",        "1 0 a 1e9\n",
        "1 0 a nan\n", "1 0 a 1 1 1\n", "1 0 a 1\n1 0 a 0\n", "\xff 0 a 1\n",
    };
    static const char *const bad_runs[] = {"1 Q0 a 1 0.5\n", "1 Q0 a 1 inf x\n",
                                           "1 Q0 a 1 0.5 x y\n",
                                           "1 Q0 a 1 2 x\n1 Q0 a 2 1 x\n"};
    static const char *const bad_queries[] = {
        "{", "[]", "{\"text\": \"no id\"}", "{\"_id\": 1, \"text\": \"x\"}",
        "{\"_id\": \"1\", \"text\": \"x\"}\n{\"_id\": \"1\", \"text\": \"y\"}"};
    struct judged_qrels q;
    struct judged_run r;
    struct judged_queries u;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_code(qrels(bad[i], &q), E_JUDGED_SYNTAX);
    for (size_t i = 0; i < sizeof bad_runs / sizeof *bad_runs; i++)
        check_code(judged_run_parse("r", bad_runs[i], strlen(bad_runs[i]), &a,
                                    &r),
                   E_JUDGED_SYNTAX);
    for (size_t i = 0; i < sizeof bad_queries / sizeof *bad_queries; i++)
        check_code(judged_queries_parse("u", bad_queries[i],
                                        strlen(bad_queries[i]), &a, &u),
                   E_JUDGED_SYNTAX);
    assert_int_equal(qrels("1 0 a 1\n\n1 0 b x\n", &q), TACIT_FORMAT);
    assert_non_null(strstr(err_message(), "q:3:"));
    err_clear();
    check_err(judged_qrels_read("/nowhere/q.tsv", &a, &q), TACIT_NOTFOUND);
}

static void queries_keep_their_order(void **state)
{
    (void)state;
    struct judged_queries u;
    static const char text[] =
        "{\"_id\": \"9\", \"text\": \"na\\u00efve?\", \"metadata\": {}}\n"
        "{\"_id\": \"1\", \"text\": \"\"}\n";
    check_ok(judged_queries_parse("u", text, strlen(text), &a, &u));
    assert_int_equal(u.n, 2);
    assert_string_equal(u.list[0].id, "9");
    assert_string_equal(u.list[0].text, "na\xc3\xafve?");
}

static void answers_are_compared_as_squad_does(void **state)
{
    (void)state;
    static const struct {
        const char *got, *want;
        double exact, f1;
    } pairs[] = {
        {"The  Clara Schumann.", "clara schumann", 1, 1},
        {"Clara", "Clara Schumann", 0, 2.0 / 3},
        {"a b b", "b b c", 0, 4.0 / 5}, /* the article goes */
        {"", "x", 0, 0},
        {"the", "an", 1, 1},
        {"re-entry", "reentry", 1, 1},
        {"x y", "z", 0, 0},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *got, *want;
        double exact, f1;
        check_ok(measure_normalise(&a, pairs[i].got, &got));
        check_ok(measure_normalise(&a, pairs[i].want, &want));
        check_ok(measure_answer(&a, got, want, &exact, &f1));
        check_near(exact, pairs[i].exact, 0);
        check_near(f1, pairs[i].f1, 1e-12);
    }
}

static void auroc_counts_pairs(void **state)
{
    (void)state;
    const struct measure_scored some[] = {
        {0.9, 1}, {0.1, 0}, {0.5, 1}, {0.5, 0}, {0.2, 1}};
    double area;
    /* 6 pairs: 5 won, of them 0.5/0.5 by half; 0.2 beats 0.1 alone. */
    check_ok(measure_auroc(some, 5, &a, &area));
    check_near(area, 4.5 / 6, 1e-12);
    check_ok(measure_auroc(some, 1, &a, &area));
    check_near(area, 0.5, 0);
    check_ok(measure_auroc(some, 0, &a, &area));
    check_near(area, 0.5, 0);
}

static void squad_is_read_with_what_nothing_answers(void **state)
{
    (void)state;
    struct squad s;
    static const char text[] =
        "{\"data\": [{\"title\": \"T\", \"paragraphs\": [{\"context\": \"C\","
        " \"qas\": [{\"id\": \"1\", \"question\": \"Q?\", \"answers\":"
        " [{\"text\": \"C\", \"answer_start\": 0}]}, {\"id\": \"2\","
        " \"question\": \"R?\", \"is_impossible\": true,"
        " \"answers\": []}]}]}]}";
    static const char *const bad[] = {
        "",
        "{}",
        "{\"data\": [{}]}",
        "{\"data\": [{\"paragraphs\": []}]}",
        "{\"data\": [{\"title\": \"T\", \"paragraphs\": [{\"qas\": []}]}]}",
        "{\"data\": [{\"title\": \"T\", \"paragraphs\": [{\"context\": 1,"
        " \"qas\": []}]}]}"};
    check_ok(squad_parse("s", text, strlen(text), &a, &s));
    assert_int_equal(s.n_paragraphs, 1);
    assert_int_equal(s.n_questions, 2);
    assert_int_equal(s.questions[0].n_answers, 1);
    assert_string_equal(s.questions[0].answers[0], "C");
    assert_int_equal(s.questions[1].n_answers, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_code(squad_parse("s", bad[i], strlen(bad[i]), &a, &s),
                   E_JUDGED_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_trec_eval),
        cmocka_unit_test(a_tie_goes_to_the_later_id),
        cmocka_unit_test(judgements_are_read_in_both_forms),
        cmocka_unit_test(what_is_wrong_with_a_file_has_its_line),
        cmocka_unit_test(queries_keep_their_order),
        cmocka_unit_test(answers_are_compared_as_squad_does),
        cmocka_unit_test(auroc_counts_pairs),
        cmocka_unit_test(squad_is_read_with_what_nothing_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
