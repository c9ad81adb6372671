#include "tests/check.h"

#include "common/base/codes.h"
#include "common/tensor/kernels.h"
#include "retrieval/answerer.h"
#include "retrieval/relevance.h"
#include "tests/retrieval/questions.h"
#include "tests/retrieval/shelf.h"

static const char licences[] = "/usr/share/common-licenses";

static enum tacit_err ask(struct shelf *s, const char *question,
                          struct answer *out)
{
    struct search_query q = {.text = question, .limit = 5};
    arena_reset(&s->a);
    return answerer_ask(s->corpus, &q, &s->a, out);
}

/* The bytes of a file that a citation points to, with blanks collapsed. */
static void read_range(const char *path, uint64_t first, uint64_t end,
                       char *out, size_t cap)
{
    struct buf b;
    size_t n = 0;
    buf_init(&b, 0);
    check_ok(file_read(path, 1 << 24, &b));
    assert_true(end <= b.len && first < end);
    for (uint64_t i = first; i < end && n + 1 < cap; i++) {
        char c = (char)b.data[i];
        if (c == '\n' || c == '\t' || c == '\r') c = ' ';
        if (c == ' ' && n && out[n - 1] == ' ') continue;
        out[n++] = c;
    }
    out[n] = '\0';
    buf_release(&b);
}

/* Every sentence stands, word by word, where its citation points. */
static void check_citations(const struct answer *a)
{
    static char range[65536];
    assert_in_range(a->n_sentences, 1, ANSWER_SENTENCES_MAX);
    assert_in_range(a->n_citations, 1, ANSWER_CITATIONS_MAX);
    for (size_t i = 0; i < a->n_sentences; i++) {
        const struct answer_sentence *s = &a->sentences[i];
        assert_in_range(s->citation, 1, a->n_citations);
        const struct answer_citation *c = &a->citations[s->citation - 1];
        assert_int_equal(c->number, s->citation);
        read_range(c->path, c->byte_first, c->byte_end, range, sizeof range);
        /* HTML has tags in between; test_document lays it beside its text. */
        if (!strstr(c->path, ".html") && !strstr(range, s->text))
            fail_msg("%s: \"%s\" is not in \"%s\"", c->path, s->text, range);
        assert_true(c->line_first >= 1 && c->line_first <= c->line_last);
        assert_true(strlen(c->snippet) > 0);
    }
}

static int have_licences(void)
{
    return file_exists("/usr/share/common-licenses/Apache-2.0") &&
           file_exists("/usr/share/common-licenses/BSD");
}

static void the_licences_that_grant_patents_are_cited(void **state)
{
    (void)state;
    struct shelf s;
    struct answer a;
    int apache = 0, gpl3 = 0;
    if (!have_licences()) skip_missing(licences);
    shelf_new(&s);
    shelf_add_all(&s, licences);
    check_ok(ask(&s, "may I use the contributors' patents?", &a));
    check_citations(&a);
    assert_true(a.confidence >= a.threshold);
    for (size_t i = 0; i < a.n_citations; i++) {
        const char *path = a.citations[i].path;
        struct buf text;
        buf_init(&text, 0);
        check_ok(file_read(path, 1 << 20, &text));
        if (!memmem(text.data, text.len, "atent", 5))
            fail_msg("%s says nothing on patents", path);
        buf_release(&text);
        apache |= strstr(path, "Apache-2.0") != NULL;
        gpl3 |= strstr(path, "GPL-3") != NULL;
    }
    assert_true(apache && gpl3);
    for (size_t i = 0; i < a.n_sentences; i++)
        assert_true(strstr(a.sentences[i].text, "patent") ||
                    strstr(a.sentences[i].text, "Patent"));
    shelf_free(&s);
}

static void what_the_licences_do_not_say_is_refused(void **state)
{
    (void)state;
    struct shelf s;
    struct answer a;
    static struct questions q;
    int n_answered = 0;
    if (!have_licences()) skip_missing(licences);
    shelf_new(&s);
    shelf_add_all(&s, licences);
    check_code(ask(&s, "what is the boiling point of tungsten?", &a),
               E_NOTHING_RELEVANT);
    assert_true(a.confidence < a.threshold);
    assert_int_equal(a.n_sentences, 0);
    check_code(ask(&s, "how do I renew my passport?", &a), E_NOTHING_RELEVANT);
    enum tacit_err err = ask(&s, "how do I renew my passport?", &a);
    assert_int_equal(err_exit(err), TACIT_EXIT_NOTHING);
    err_clear();
    check(questions_unanswerable("train", &q));
    for (size_t i = 0; i < q.n; i++) {
        n_answered += ask(&s, q.list[i].question, &a) == TACIT_OK;
        err_clear();
    }
    print_message("%d of %zu unanswerable questions answered\n", n_answered,
                  q.n);
    check((size_t)n_answered * 100 <= 5 * q.n);
    n_answered = 0;
    for (size_t i = 0; i < N_LICENCE_QUESTIONS; i++) {
        n_answered += ask(&s, licence_questions[i], &a) == TACIT_OK;
        if (!err_id()) check_citations(&a);
        err_clear();
    }
    print_message("%d of %d licence questions answered\n", n_answered,
                  (int)N_LICENCE_QUESTIONS);
    assert_true(n_answered >= (int)N_LICENCE_QUESTIONS - 1);
    shelf_free(&s);
}

static void an_empty_corpus_answers_nothing(void **state)
{
    (void)state;
    struct shelf s;
    struct answer a;
    shelf_new(&s);
    check_code(ask(&s, "anything?", &a), E_NOTHING_RELEVANT);
    assert_true(a.threshold > 0);
    check_code(ask(&s, "?!", &a), E_QUESTION_EMPTY);
    shelf_free(&s);
}

static void a_refusal_shows_less_than_what_was_needed(void **state)
{
    (void)state;
    enum tacit_err err = answerer_refuse(
        &(struct answer){.confidence = 0.2699, .threshold = 0.27});
    assert_non_null(strstr(err_message(), "confidence 0.26, needed 0.27"));
    check_code(err, E_NOTHING_RELEVANT);
}

static void equal_sentences_are_quoted_once(void **state)
{
    (void)state;
    struct shelf s;
    struct answer a;
    shelf_new(&s);
    shelf_add(&s, "a.md",
              "# Pumps\n\nThe syringe pump alarm means occlusion.\n");
    shelf_add(&s, "b.md",
              "# Pumps\n\nThe syringe pump alarm means occlusion.\n");
    shelf_add(&s, "c.md", "# Other\n\nLunch is at noon in the hall.\n");
    check_ok(ask(&s, "What does the syringe pump alarm mean?", &a));
    assert_int_equal(a.n_sentences, 1);
    assert_int_equal(a.n_citations, 1);
    check_citations(&a);
    shelf_free(&s);
}

static void a_note_of_a_few_words_is_an_answer(void **state)
{
    (void)state;
    struct shelf s;
    struct answer a;
    shelf_new(&s);
    shelf_add(&s, "warfarin.md", "# Warfarin\n\nDose: 5 mg\n");
    check_ok(ask(&s, "What is the dose of warfarin?", &a));
    assert_string_equal(a.sentences[0].text, "Dose: 5 mg");
    check_citations(&a);
    shelf_add(&s, "other.md",
              "# Warfarin\n\nThe dose of warfarin is 5 mg in the evening.\n");
    check_ok(ask(&s, "What is the dose of warfarin?", &a));
    assert_int_equal(a.n_sentences, 1);
    assert_string_equal(a.sentences[0].text,
                        "The dose of warfarin is 5 mg in the evening.");
    shelf_free(&s);
}

static void citations_point_into_markup_too(void **state)
{
    (void)state;
    struct shelf s;
    struct answer a;
    shelf_new(&s);
    const char *html = "<html><h1>Pumps</h1><p>Lunch is at noon.</p>"
                       "<p>First words. The <b>syringe&nbsp;pump</b> alarm "
                       "means occlusion &amp; pain. Last.</p></html>";
    shelf_add(&s, "a.html", html);
    check_ok(ask(&s, "What does the syringe pump alarm mean?", &a));
    const struct answer_citation *c = &a.citations[0];
    assert_string_equal(a.sentences[0].text,
                        "The syringe pump alarm means occlusion & pain.");
    assert_memory_equal(html + c->byte_first,
                        "The <b>syringe&nbsp;pump</b> alarm means occlusion "
                        "&amp; pain.",
                        c->byte_end - c->byte_first);
    shelf_free(&s);
}

/* W = q q' moves q by its length and what is square to q not at all; a random
 * question is moved by 1 / sqrt(dim). */
static void a_question_that_was_trained_on_gains_and_another_does_not(
    void **state)
{
    (void)state;
    struct shelf s;
    struct inquiry trained, other, plain;
    static float w[ENCODER_DIM * ENCODER_DIM];
    shelf_new(&s);
    shelf_add(&s, "a.md", "# Pumps\n\nThe syringe pump alarm is loud.\n");
    struct search_query q = {.text = "bag of blood went warm", .limit = 5};
    check_ok(relevance_inquire(s.corpus, &q, &s.a, &plain));
    assert_true(plain.gain == 0 && !plain.is_adapted);
    for (size_t i = 0; i < ENCODER_DIM; i++)
        for (size_t k = 0; k < ENCODER_DIM; k++)
            w[i * ENCODER_DIM + k] = plain.vector[i] * plain.vector[k];
    q.adapter = w;
    check_ok(relevance_inquire(s.corpus, &q, &s.a, &trained));
    check_near(trained.gain, 1, 1e-9); /* 16 - 1, cut to 1 */
    assert_true(trained.is_adapted);
    check_near(kernel_dot(trained.vector, plain.vector, ENCODER_DIM), 1, 1e-5);
    q.text = "boiling tungsten";
    check_ok(relevance_inquire(s.corpus, &q, &s.a, &other));
    check(other.gain < trained.gain);
    static const float zero[ENCODER_DIM * ENCODER_DIM];
    q.adapter = zero;
    check_ok(relevance_inquire(s.corpus, &q, &s.a, &other));
    check_near(other.gain, 0, 0);
    shelf_free(&s);
}

/* ---- the simulated sites --------------------------------------------------
 */

struct score {
    int n, n_found, n_answered, n_unanswerable, n_wrong;
};

static void score_site(const char *site, struct score *score)
{
    static struct questions q;
    struct shelf s;
    struct answer a;
    char path[256];
    shelf_new(&s);
    snprintf(path, sizeof path, "sims/clinic/%s/documents", site);
    shelf_add_all(&s, path);
    check(questions_of_site("sims/clinic", site, "train", &q));
    for (size_t i = 0; i < q.n; i++) {
        size_t n;
        int found = 0;
        arena_reset(&s.a);
        struct search_hit *hits =
            shelf_search(&s, q.list[i].question, NULL, 5, &n);
        for (size_t k = 0; k < n; k++)
            found |=
                questions_is_right(&q.list[i], hits[k].path, hits[k].heading);
        score->n++;
        score->n_found += found;
        score->n_answered += ask(&s, q.list[i].question, &a) == TACIT_OK;
        if (!err_id()) check_citations(&a);
        err_clear();
    }
    check(questions_unanswerable("train", &q));
    for (size_t i = 0; i < q.n; i++) {
        score->n_unanswerable++;
        score->n_wrong += ask(&s, q.list[i].question, &a) == TACIT_OK;
        err_clear();
    }
    check_code(ask(&s, "what is the boiling point of tungsten?", &a),
               E_NOTHING_RELEVANT);
    check_code(ask(&s, "how do I renew my passport?", &a), E_NOTHING_RELEVANT);
    shelf_free(&s);
}

/* The questions paraphrase: "stomach bug" for norovirus, and nobody has trained
 * yet. The floors lie a little under what was measured; what holds on the test
 * questions, and after training, is for bench_answers to say. */
static void the_training_questions_are_found_and_answered_as_often(void **state)
{
    (void)state;
    struct score sum = {0};
    if (!file_exists("sims/clinic/harbour/questions.csv"))
        skip_missing("sims/clinic");
    for (size_t i = 0; i < N_CLINIC_SITES; i++)
        score_site(clinic_sites[i], &sum);
    double recall = (double)sum.n_found / sum.n;
    double answered = (double)sum.n_answered / sum.n;
    double wrong = (double)sum.n_wrong / sum.n_unanswerable;
    print_message("%d questions: recall@5 %.3f, answered %.3f; unanswerable "
                  "ones answered %.3f\n",
                  sum.n, recall, answered, wrong);
    check(recall >= 0.57);
    check(answered >= 0.34);
    check(wrong <= 0.06);
}

static void a_row_of_another_value_is_not_quoted(void **state)
{
    (void)state;
    struct shelf s;
    struct answer out;
    struct filter f = {.n = 0};
    const double any = 0;
    struct search_query q = {.text = "which pump stands in the cellar?",
                             .filter = &f,
                             .limit = 5,
                             .threshold = &any};
    shelf_new(&s);
    shelf_add(&s, "c.csv",
              "pump,ward,place\nblue,4B,on the roof of the old wing\n"
              "red,2A,in the cellar below the stairs\n"
              "green,4B,beside the door of the kitchen\n");
    for (int i = 0; i < 2; i++) {
        f.n = 0;
        check_ok(filter_add_pair(&f, i ? "ward=2a" : "ward=4b"));
        arena_reset(&s.a);
        check_ok(answerer_ask(s.corpus, &q, &s.a, &out));
        assert_true(out.n_sentences > 0);
        for (size_t k = 0; k < out.n_sentences; k++)
            assert_int_equal(strstr(out.sentences[k].text, "cellar") != NULL,
                             i);
        assert_null(strstr(out.citations[0].snippet, i ? "4B" : "2A"));
        if (i) assert_int_equal(out.citations[0].line_first, 3);
    }
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_licences_that_grant_patents_are_cited),
        cmocka_unit_test(what_the_licences_do_not_say_is_refused),
        cmocka_unit_test(an_empty_corpus_answers_nothing),
        cmocka_unit_test(a_refusal_shows_less_than_what_was_needed),
        cmocka_unit_test(equal_sentences_are_quoted_once),
        cmocka_unit_test(a_note_of_a_few_words_is_an_answer),
        cmocka_unit_test(a_row_of_another_value_is_not_quoted),
        cmocka_unit_test(citations_point_into_markup_too),
        cmocka_unit_test(
            a_question_that_was_trained_on_gains_and_another_does_not),
        cmocka_unit_test(
            the_training_questions_are_found_and_answered_as_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
