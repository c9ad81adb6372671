#include "tests/check.h"

#include "common/base/codes.h"
#include "retrieval/answerer.h"
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
    for (size_t i = 0; i < N_EVERYDAY_QUESTIONS; i++) {
        n_answered += ask(&s, everyday_questions[i], &a) == TACIT_OK;
        err_clear();
    }
    print_message("%d of %d everyday questions answered\n", n_answered,
                  (int)N_EVERYDAY_QUESTIONS);
    assert_true(n_answered * 100 <= 10 * (int)N_EVERYDAY_QUESTIONS);
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

/* ---- the simulated sites --------------------------------------------------
 */

struct row {
    char question[512], document[128], heading[256], split[16];
};

/* One field of an RFC 4180 line. */
static const char *field(const char *p, char *out, size_t cap)
{
    size_t n = 0;
    int quoted = *p == '"';
    if (quoted) p++;
    while (*p && *p != '\n' && *p != '\r' && (quoted || *p != ',')) {
        if (quoted && *p == '"') {
            if (p[1] != '"') break;
            p++;
        }
        if (n + 1 < cap) out[n++] = *p;
        p++;
    }
    out[n] = '\0';
    if (quoted && *p == '"') p++;
    return *p == ',' ? p + 1 : p;
}

struct score {
    int n, n_found, n_answered, n_everyday;
};

static int is_right(const struct search_hit *h, const struct row *r)
{
    const char *name = strrchr(h->path, '/');
    size_t n = strlen(h->heading), k = strlen(r->heading);
    return name && strcmp(name + 1, r->document) == 0 && n >= k &&
           strcmp(h->heading + n - k, r->heading) == 0;
}

static void score_site(const char *site, struct score *score)
{
    struct shelf s;
    struct answer a;
    struct row r;
    char path[256], line[2048];
    shelf_new(&s);
    snprintf(path, sizeof path, "sims/clinic/%s/documents", site);
    shelf_add_all(&s, path);
    snprintf(path, sizeof path, "sims/clinic/%s/questions.csv", site);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        const char *p = field(line, r.question, sizeof r.question);
        p = field(p, r.document, sizeof r.document);
        p = field(p, r.heading, sizeof r.heading);
        field(p, r.split, sizeof r.split);
        if (strcmp(r.split, "train") != 0) continue;
        size_t n;
        arena_reset(&s.a);
        struct search_hit *hits = shelf_search(&s, r.question, NULL, 5, &n);
        int found = 0;
        for (size_t i = 0; i < n; i++) found |= is_right(&hits[i], &r);
        score->n++;
        score->n_found += found;
        score->n_answered += ask(&s, r.question, &a) == TACIT_OK;
        if (!err_id()) check_citations(&a);
        err_clear();
    }
    fclose(f);
    for (size_t i = 0; i < N_EVERYDAY_QUESTIONS; i++) {
        score->n_everyday += ask(&s, everyday_questions[i], &a) == TACIT_OK;
        err_clear();
    }
    check_code(ask(&s, "what is the boiling point of tungsten?", &a),
               E_NOTHING_RELEVANT);
    check_code(ask(&s, "how do I renew my passport?", &a), E_NOTHING_RELEVANT);
    shelf_free(&s);
}

/* The questions paraphrase: "stomach bug" for norovirus. Only the training
 * split is looked at; the floors lie a little under what was measured. */
static void recall_on_the_sites_does_not_fall(void **state)
{
    (void)state;
    static const char *const sites[] = {"harbour", "hillcrest", "lakeside",
                                        "northgate"};
    struct score sum = {0};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "sims/clinic/%s/questions.csv", sites[i]);
        if (!file_exists(path)) skip_missing(path);
        score_site(sites[i], &sum);
    }
    double recall = (double)sum.n_found / sum.n;
    double answered = (double)sum.n_answered / sum.n;
    double wrong = (double)sum.n_everyday / (4 * N_EVERYDAY_QUESTIONS);
    print_message("%d questions: recall@5 %.3f, answered %.3f; everyday "
                  "questions answered %.3f\n",
                  sum.n, recall, answered, wrong);
    assert_true(recall >= 0.50);
    assert_true(answered >= 0.35);
    assert_true(wrong <= 0.10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_licences_that_grant_patents_are_cited),
        cmocka_unit_test(what_the_licences_do_not_say_is_refused),
        cmocka_unit_test(an_empty_corpus_answers_nothing),
        cmocka_unit_test(equal_sentences_are_quoted_once),
        cmocka_unit_test(citations_point_into_markup_too),
        cmocka_unit_test(recall_on_the_sites_does_not_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
