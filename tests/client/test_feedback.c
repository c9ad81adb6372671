/* feedback: what was answered, what people said of it, and what is kept. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "client/feedback.h"
#include "common/base/codes.h"

enum { NOW = 1700000000 };

static char dir[256], path[300];
static struct db db;

static void reopen(void)
{
    if (db.sql) db_close(&db);
    const char *migrations[] = {feedback_migrations[0], feedback_later[0]};
    check_ok(db_open(&db, path, DB_CREATE, migrations, 2));
}

static int begin(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/tacit.db", dir);
    reopen();
    return 0;
}

static int end(void **state)
{
    (void)state;
    db_close(&db);
    check_tmpdir_remove(dir);
    return 0;
}

static const struct feedback_source two[] = {{"/docs/a.md", "Dose", 0, 7},
                                             {"/docs/b.md", "", 3, 1}};

static int64_t answer(const char *question)
{
    int64_t id = -1;
    check_ok(feedback_answer(&db, NOW, question, two, 2, &id));
    return id;
}

static int64_t number(const char *sql)
{
    int64_t v = -1;
    check_ok(db_int(&db, &v, sql, ""));
    return v;
}

/* What feedback_pairs shows, one line each. */
struct shown {
    char text[1024];
    size_t n;
};

static enum tacit_err show(const struct feedback_pair *p, void *ctx)
{
    struct shown *s = ctx;
    s->n += (size_t)snprintf(s->text + s->n, sizeof s->text - s->n,
                             "%d %s|%s|%s|%s\n", (int)p->answer, p->question,
                             p->path, p->heading,
                             p->verdict == FEEDBACK_GOOD ? "good" : "bad");
    return TACIT_OK;
}

static void check_pairs(const char *want)
{
    struct shown s = {.n = 0};
    check_ok(feedback_pairs(&db, show, &s));
    assert_string_equal(s.text, want);
}

static void answers_alone_are_no_pairs(void **state)
{
    (void)state;
    assert_int_equal(answer("How much?"), 1);
    assert_int_equal(answer("How often?"), 2);
    check_pairs("");
}

static void a_word_on_a_citation_becomes_a_pair_of_its_question(void **state)
{
    (void)state;
    int64_t first = answer("How much?"), second = answer("How often?");
    check_ok(feedback_give(&db, NOW, second, 2, FEEDBACK_BAD));
    check_ok(feedback_give(&db, NOW, second, 1, FEEDBACK_GOOD));
    check_ok(feedback_give(&db, NOW, first, 2, FEEDBACK_GOOD));
    reopen();
    check_pairs("1 How much?|/docs/b.md||good\n"
                "2 How often?|/docs/a.md|Dose|good\n"
                "2 How often?|/docs/b.md||bad\n");
}

static void a_later_word_replaces_an_earlier_one(void **state)
{
    (void)state;
    int64_t id = answer("How much?");
    check_ok(feedback_give(&db, NOW, id, 1, FEEDBACK_GOOD));
    check_ok(feedback_give(&db, NOW + 1, id, 1, FEEDBACK_GOOD));
    check_pairs("1 How much?|/docs/a.md|Dose|good\n");
    check_ok(feedback_give(&db, NOW + 2, id, 1, FEEDBACK_BAD));
    check_pairs("1 How much?|/docs/a.md|Dose|bad\n");
    assert_int_equal(number("SELECT time_s FROM feedback"), NOW + 2);
}

static void an_unknown_answer_or_citation_is_named(void **state)
{
    (void)state;
    static const struct {
        int64_t answer;
        int number;
        const char *message;
    } cases[] = {{1, 3, "answer 1 has no citation [3]; "},
                 {1, 0, "answer 1 has no citation [0]; "},
                 {1, -1, "answer 1 has no citation [-1]; "},
                 {2, 1, "answer 2 has no citation [1]; "},
                 {0, 1, "answer 0 has no citation [1]; "},
                 {INT64_MIN, 1,
                  "answer -9223372036854775808 has no citation [1]; "}};
    answer("How much?");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[200];
        enum tacit_err err = feedback_give(&db, NOW, cases[i].answer,
                                           cases[i].number, FEEDBACK_GOOD);
        snprintf(want, sizeof want, "%s`tacit ask` prints the answer's number",
                 cases[i].message);
        assert_string_equal(err_message(), want);
        check_code(err, E_NO_CITATION);
    }
    check_pairs("");
}

static void an_answer_without_citations_takes_no_feedback(void **state)
{
    (void)state;
    int64_t id = -1;
    check_ok(feedback_answer(&db, NOW, "Why?", NULL, 0, &id));
    assert_int_equal(id, 1);
    check_err(feedback_give(&db, NOW, id, 1, FEEDBACK_GOOD), TACIT_NOTFOUND);
}

static void text_of_any_kind_comes_back_as_it_was(void **state)
{
    (void)state;
    static const struct feedback_source odd = {"/d/'); DROP TABLE answer;--",
                                               "\"x\"\n\xc3\xa9 %s ?1", 0, 1};
    int64_t id = -1;
    check_ok(feedback_answer(&db, NOW, "', NULL); --%n\n", &odd, 1, &id));
    check_ok(feedback_give(&db, NOW, id, 1, FEEDBACK_GOOD));
    check_pairs("1 ', NULL); --%n\n|/d/'); DROP TABLE answer;--|"
                "\"x\"\n\xc3\xa9 %s ?1|good\n");
}

static void only_the_last_answers_are_kept_but_all_feedback(void **state)
{
    (void)state;
    enum { MORE = 7 };
    check_ok(db_exec(&db, "PRAGMA synchronous = OFF"));
    int64_t first = answer("The first?"), last = 0;
    check_ok(feedback_give(&db, NOW, first, 1, FEEDBACK_GOOD));
    for (int i = 0; i < FEEDBACK_ANSWERS_KEPT + MORE - 1; i++)
        last = answer("Another?");
    assert_int_equal(last, FEEDBACK_ANSWERS_KEPT + MORE);
    assert_int_equal(number("SELECT count(*) FROM answer"),
                     FEEDBACK_ANSWERS_KEPT);
    assert_int_equal(number("SELECT count(*) FROM citation"),
                     2 * FEEDBACK_ANSWERS_KEPT);
    check_err(feedback_give(&db, NOW, MORE, 1, FEEDBACK_GOOD), TACIT_NOTFOUND);
    check_ok(feedback_give(&db, NOW, MORE + 1, 1, FEEDBACK_GOOD));
    check_pairs("1 The first?|/docs/a.md|Dose|good\n"
                "8 Another?|/docs/a.md|Dose|good\n");
}

/* A number that stood for one answer never stands for another. */
static void an_answers_number_is_never_used_again(void **state)
{
    (void)state;
    answer("One?");
    answer("Two?");
    check_ok(db_exec(&db, "DELETE FROM answer"));
    reopen();
    assert_int_equal(answer("Three?"), 3);
}

static void the_last_answer_tells_its_sources(void **state)
{
    (void)state;
    struct feedback_source at;
    char found[300], small[4];
    enum tacit_err err = feedback_last(&db, 1, found, sizeof found, &at);
    check(strstr(err_message(), "`tacit ask` first") != NULL);
    check_code(err, E_NO_CITATION);
    answer("Where?");
    check_ok(feedback_last(&db, 2, found, sizeof found, &at));
    assert_string_equal(found, "/docs/b.md");
    assert_int_equal(at.page, 3);
    assert_int_equal(at.line, 1);
    err = feedback_last(&db, 3, found, sizeof found, &at);
    check(strstr(err_message(), "no source [3]; it has 2") != NULL);
    check_code(err, E_NO_CITATION);
    check_err(feedback_last(&db, 1, small, sizeof small, &at), TACIT_LIMIT);
}

static void a_failed_answer_leaves_nothing(void **state)
{
    (void)state;
    static const struct feedback_source broken[] = {{"/docs/a.md", "Dose", 0,
                                                     7},
                                                    {NULL, NULL, 0, 0}};
    int64_t id = 55;
    check_err(feedback_answer(&db, NOW, "How?", broken, 2, &id), TACIT_STATE);
    assert_int_equal(id, 55);
    assert_int_equal(number("SELECT count(*) FROM answer"), 0);
    assert_int_equal(number("SELECT count(*) FROM citation"), 0);
    assert_int_equal(answer("How?"), 1);
}

static enum tacit_err stop(const struct feedback_pair *p, void *ctx)
{
    (void)p;
    (*(int *)ctx)++;
    return fail(TACIT_LIMIT, "enough");
}

static void a_visit_that_fails_ends_the_walk(void **state)
{
    (void)state;
    int n = 0;
    int64_t id = answer("How?");
    check_ok(feedback_give(&db, NOW, id, 1, FEEDBACK_GOOD));
    check_ok(feedback_give(&db, NOW, id, 2, FEEDBACK_GOOD));
    check_err(feedback_pairs(&db, stop, &n), TACIT_LIMIT);
    assert_int_equal(n, 1);
    assert_int_equal(answer("The store is free again?"), 2);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        ROW(answers_alone_are_no_pairs),
        ROW(a_word_on_a_citation_becomes_a_pair_of_its_question),
        ROW(a_later_word_replaces_an_earlier_one),
        ROW(an_unknown_answer_or_citation_is_named),
        ROW(an_answer_without_citations_takes_no_feedback),
        ROW(text_of_any_kind_comes_back_as_it_was),
        ROW(only_the_last_answers_are_kept_but_all_feedback),
        ROW(an_answers_number_is_never_used_again),
        ROW(the_last_answer_tells_its_sources),
        ROW(a_failed_answer_leaves_nothing),
        ROW(a_visit_that_fails_ends_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
