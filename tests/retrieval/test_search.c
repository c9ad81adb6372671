#include "tests/check.h"

#include "common/base/codes.h"
#include "retrieval/evidence.h"
#include "retrieval/fusion.h"
#include "retrieval/question.h"
#include "tests/retrieval/shelf.h"

/* 1/61 + 1/62 and so on, to twelve places: Python's fractions. */
static void ranks_are_fused_by_their_reciprocals(void **state)
{
    (void)state;
    const int64_t a[] = {7, 3, 9}, b[] = {3, 5};
    const struct ranking rankings[] = {{a, 3, 1}, {b, 2, 1}};
    struct fused out[5];
    assert_int_equal(fusion_rrf(rankings, 2, out), 4);
    assert_int_equal(out[0].id, 3);
    check_near(out[0].score, 0.032522474881, 1e-12); /* 1/62 + 1/61 */
    assert_int_equal(out[0].rank[0], 2);
    assert_int_equal(out[0].rank[1], 1);
    assert_int_equal(out[1].id, 7);
    check_near(out[1].score, 0.016393442623, 1e-12); /* 1/61 */
    assert_int_equal(out[2].id, 5);
    check_near(out[2].score, 0.016129032258, 1e-12); /* 1/62 */
    assert_int_equal(out[3].id, 9);
    assert_int_equal(out[3].rank[1], 0);
    assert_int_equal(fusion_rrf(rankings, 0, out), 0);
}

static void weights_scale_and_ties_go_to_the_smaller_id(void **state)
{
    (void)state;
    const int64_t a[] = {8, 2}, b[] = {4};
    const struct ranking light[] = {{a, 2, 1}, {b, 1, 0.3}};
    const struct ranking equal[] = {{a, 1, 1}, {b, 1, 1}};
    struct fused out[3];
    assert_int_equal(fusion_rrf(light, 2, out), 3);
    assert_int_equal(out[2].id, 4);
    check_near(out[2].score, 0.3 / 61, 1e-12);
    assert_int_equal(fusion_rrf(equal, 2, out), 2);
    assert_int_equal(out[0].id, 4);
}

static void a_question_becomes_quoted_terms(void **state)
{
    (void)state;
    struct arena a;
    struct question q;
    arena_init(&a, 0);
    check_ok(question_read(&a, "May I use the contributors' patents?", &q));
    assert_string_equal(q.fts, "\"use\" OR \"contributors\" OR \"patents\"");
    check_ok(question_read(&a, "The HOSPITAL\xe2\x80\x99s wi-fi, wi-fi", &q));
    assert_string_equal(q.term[0], "hospital");
    assert_false(q.names_nothing);
    check_ok(question_read(&a, "who are you", &q));
    assert_true(q.n_terms > 0 && q.names_nothing);
    check_ok(question_read(&a, "Who is the WHO?", &q));
    assert_false(q.names_nothing);
    check_code(question_read(&a, "", &q), E_QUESTION_EMPTY);
    check_code(question_read(&a, " ?! ... \"*\" ", &q), E_QUESTION_EMPTY);
    static char longest[SEARCH_QUERY_MAX + 2];
    memset(longest, 'a', sizeof longest - 1);
    check_code(question_read(&a, longest, &q), E_QUESTION_LIMIT);
    arena_release(&a);
}

static void nothing_typed_becomes_syntax(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "\" OR 1 --",
        "text : apple",
        "NEAR(apple pie, 2)",
        "apple AND NOT pie",
        "apple*",
        "^apple",
        "{text} : apple",
        "chunk_fts MATCH 'apple'",
        "'; DROP TABLE chunk; --",
        "\"\"\"",
        "(((((",
        "apple\" \"",
        "apple + pie",
        "-apple",
        "\xff\xfe apple \xc3",
        "apple\x01\x1f",
        "\xe2\x80\xae"
        "apple",
        "a'b'c'd''''",
        "rank",
        "*",
    };
    struct shelf s;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "An apple pie is baked in the oven.\n");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct search_query q = {.text = hostile[i], .limit = 3};
        struct search_hit *hits;
        size_t n;
        enum tacit_err err = search_hybrid(s.corpus, &q, &s.a, &hits, &n);
        if (err) check_code(err, E_QUESTION_EMPTY);
        if (strstr(hostile[i], "apple")) {
            assert_int_equal(err, TACIT_OK);
            assert_int_equal(n, 1);
            assert_int_equal(hits[0].rank_words, 1);
        }
    }
    shelf_check(&s);
    shelf_free(&s);
}

static void words_match_by_their_stem_and_without_accents(void **state)
{
    (void)state;
    struct shelf s;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.txt",
              "Each Contributor hereby grants a patent license.\n");
    shelf_add(&s, "b.txt", "The caf\xc3\xa9 opens at nine.\n");
    struct search_hit *hits =
        shelf_search(&s, "contributors' patents", NULL, 1, &n);
    assert_non_null(strstr(hits[0].path, "a.txt"));
    assert_int_equal(hits[0].rank_words, 1);
    hits = shelf_search(&s, "cafe", NULL, 1, &n);
    assert_non_null(strstr(hits[0].path, "b.txt"));
    assert_int_equal(hits[0].rank_words, 1);
    shelf_free(&s);
}

static void a_path_filter_holds_in_both_searches(void **state)
{
    (void)state;
    struct shelf s;
    size_t n;
    shelf_new(&s);
    for (int i = 0; i < 120; i++) {
        char name[32], text[96];
        snprintf(name, sizeof name, "many%d.txt", i);
        snprintf(text, sizeof text, "Pumps are cleaned weekly, note %d.\n", i);
        shelf_add(&s, name, text);
    }
    shelf_add(&s, "rare.txt",
              "A long text on other things, in which the cleaning of pumps is "
              "mentioned only in passing and rather late.\n");
    struct search_hit *hits =
        shelf_search(&s, "how are pumps cleaned", "*/rare.txt", 5, &n);
    assert_int_equal(n, 1);
    assert_non_null(strstr(hits[0].path, "rare.txt"));
    assert_int_equal(hits[0].rank_words, 1);
    assert_int_equal(hits[0].rank_vectors, 1);
    shelf_search(&s, "how are pumps cleaned", "*/none.txt", 5, &n);
    assert_int_equal(n, 0);
    hits = shelf_search(&s, "how are pumps cleaned", "*many1?.txt", 20, &n);
    assert_int_equal(n, 10);
    shelf_free(&s);
}

static void hits_carry_their_place_and_ranks(void **state)
{
    (void)state;
    struct shelf s;
    size_t n;
    shelf_new(&s);
    const char *text = "# Guide\n\n## Care > more\n\n### Of wounds\n\n"
                       "Clean it with **water**.\n";
    shelf_add(&s, "g.md", text);
    struct search_hit *hits = shelf_search(&s, "clean wounds", NULL, 3, &n);
    assert_int_equal(n, 1);
    assert_string_equal(hits[0].title, "Guide");
    assert_string_equal(hits[0].heading, "Care > more > Of wounds");
    assert_string_equal(hits[0].text, "Clean it with water.");
    assert_int_equal(hits[0].text_len, strlen(hits[0].text));
    assert_int_equal(hits[0].line_first, 7);
    assert_memory_equal(text + hits[0].byte_first, "Clean it with **water**.",
                        hits[0].byte_end - hits[0].byte_first);
    assert_true(hits[0].cosine > 0);
    check_near(hits[0].score, 1, 1e-9); /* best both ways */
    shelf_free(&s);
}

static void limits_are_named(void **state)
{
    (void)state;
    struct shelf s;
    struct search_hit *hits;
    size_t n;
    static char glob[3000];
    memset(glob, '*', sizeof glob - 1);
    shelf_new(&s);
    struct search_query q = {.text = "x", .limit = 0};
    check_code(search_hybrid(s.corpus, &q, &s.a, &hits, &n), E_QUESTION_LIMIT);
    q.limit = SEARCH_LIMIT_MAX + 1;
    check_code(search_hybrid(s.corpus, &q, &s.a, &hits, &n), E_QUESTION_LIMIT);
    q = (struct search_query){.text = "x", .limit = 1, .diversity = 1.1};
    check_code(search_hybrid(s.corpus, &q, &s.a, &hits, &n), E_QUESTION_LIMIT);
    struct filter f = {.n = 0};
    check_code(filter_add(&f, "path", glob, FILTER_LIKE), E_FILTER);
    q.diversity = 0;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(n, 0); /* an empty corpus */
    shelf_free(&s);
}

/* By hand: words 4 of 8, 8 of 8, 0; (1 + c) / 1.6 of 0.6, 0.2, 0.6 - 1. */
static void scores_are_fused_by_their_weight(void **state)
{
    (void)state;
    struct fused f[] = {{.id = 1, .words = 4, .cosine = 0.6},
                        {.id = 2, .words = 8, .cosine = 0.2},
                        {.id = 3, .words = 0, .cosine = -0.4}};
    fusion_convex(0.25, f, 3);
    assert_int_equal(f[0].id, 2);
    check_near(f[0].score, 0.75 + 0.25 * 1.2 / 1.6, 1e-12);
    check_near(f[0].share, 0.75 / (0.75 + 0.25 * 1.2 / 1.6), 1e-12);
    assert_int_equal(f[1].id, 1);
    check_near(f[1].score, 0.75 * 0.5 + 0.25, 1e-12);
    check_near(f[2].score, 0.25 * 0.6 / 1.6, 1e-12);
    fusion_convex(1, f, 3);
    assert_int_equal(f[0].id, 1);
    fusion_convex(0, f, 3);
    assert_int_equal(f[0].id, 2);
    fusion_convex(0.5, f, 0);
}

static void each_way_of_searching_can_be_had_alone(void **state)
{
    (void)state;
    struct shelf s;
    struct search_hit *hits;
    struct search_report report;
    const double weight = 0.5;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "Pumps are cleaned weekly by the night nurse.\n");
    shelf_add(&s, "b.txt", "The kitchen closes at nine on Sundays.\n");
    struct search_query q = {.text = "cleaning of pumps",
                             .limit = 5,
                             .mode = SEARCH_WORDS,
                             .report = &report};
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(n, 1);
    assert_int_equal(hits[0].rank_vectors, 0);
    assert_true(hits[0].words > 0 && hits[0].cosine > 0);
    assert_int_equal(report.n_matching, 1);
    assert_int_equal(report.question.n_terms, 2);
    q.mode = SEARCH_VECTORS;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_true(n >= 1 && hits[0].rank_words == 0);
    assert_non_null(strstr(hits[0].path, "a.txt"));
    q.mode = SEARCH_HYBRID;
    q.weight = &weight;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_true(report.is_by_scores);
    check_near(report.weight, 0.5, 0);
    check_near(hits[0].score, 1, 1e-9); /* best both ways */
    check_near(hits[0].share, 0.5, 1e-9);
    q.mode = SEARCH_RANKS;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_false(report.is_by_scores);
    shelf_free(&s);
}

static void both_count_alike_until_a_weight_is_learnt(void **state)
{
    (void)state;
    static float none[ENCODER_DIM * ENCODER_DIM];
    struct shelf s;
    struct search_hit *hits;
    struct search_report report;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "Pumps are cleaned weekly by the night nurse.\n");
    shelf_add(&s, "b.txt", "The pumpen closes at nine on Sundays.\n");
    struct search_query q = {.text = "cleaned pumps",
                             .limit = 5,
                             .report = &report};
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_true(report.is_by_scores);
    check_near(report.weight, 0.5, 0);
    assert_non_null(strstr(hits[0].path, "a.txt"));
    check_near(hits[0].score, 1, 1e-9); /* best both ways */
    assert_true(n == 1 || hits[1].score < 0.5);
    /* What an adapter was trained for, its ranks tell. */
    q.adapter = none;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_false(report.is_by_scores);
    check_near(report.weight, 1, 0);
    shelf_free(&s);
}

static size_t count(struct shelf *s, struct filter *f)
{
    struct search_query q = {.text = "pumps Pumpen", .filter = f, .limit = 9};
    struct search_hit *hits;
    size_t n;
    check_ok(search_hybrid(s->corpus, &q, &s->a, &hits, &n));
    return n;
}

static size_t count_pair(struct shelf *s, const char *pair)
{
    struct filter f = {.n = 0};
    check_ok(filter_add_pair(&f, pair));
    return count(s, &f);
}

static void conditions_narrow_a_search(void **state)
{
    (void)state;
    struct shelf s;
    struct filter f = {.n = 0};
    shelf_new(&s);
    shelf_add(&s, "a.md", "# Pump care\n\n## Daily\n\nPumps are cleaned.\n");
    shelf_add(&s, "b.txt", "The pumps stand in the cellar of the house.\n");
    shelf_add(&s, "c.txt", "Die Pumpen stehen im Keller und sind alt.\n");
    assert_int_equal(count(&s, &f), 3);
    assert_int_equal(count_pair(&s, "kind=markdown"), 1);
    assert_int_equal(count_pair(&s, "kind=Markdown"), 1);
    assert_int_equal(count_pair(&s, "title=pump *"), 0);
    assert_int_equal(count_pair(&s, "title=Pump *"), 1);
    assert_int_equal(count_pair(&s, "heading=Daily"), 1);
    assert_int_equal(count_pair(&s, "lang=de"), 1);
    assert_int_equal(count_pair(&s, "lang=en"), 2);
    assert_int_equal(count_pair(&s, "lang=fr"), 0);
    check_ok(filter_add(&f, "date", "2020-02-29", FILTER_SINCE));
    assert_int_equal(count(&s, &f), 3);
    check_ok(filter_add(&f, "kind", "text", FILTER_LIKE));
    assert_int_equal(count(&s, &f), 2);
    check_ok(filter_add(&f, "date", "2020-03-01", FILTER_UNTIL));
    assert_int_equal(count(&s, &f), 0);
    /* The day itself belongs to both. */
    check_ok(db_exec(&s.db, "UPDATE document SET added_s = 1583020800"));
    assert_int_equal(count(&s, &f), 2); /* 2020-03-01T00:00:00 */
    assert_int_equal(count_pair(&s, "date=2020-03-01"), 3);
    assert_int_equal(count_pair(&s, "date=2020-02-29"), 0);
    shelf_free(&s);
}

static void fields_that_documents_have_are_conditions(void **state)
{
    (void)state;
    static const char row[] = "name: Heparin | ward: 4B | dose: 5,000 units\n"
                              "name: O'Neil | tags: 'a', \"b c\" | none:";
    static const struct {
        const char *key, *pattern;
        int holds;
    } cells[] = {
        {"ward", "4b", 1},          {"WARD", "4B", 1},     {"ward", "4", 0},
        {"ward", "4?", 1},          {"ward", "*", 1},      {"war", "*", 0},
        {"dose", "5,000 units", 1}, {"dose", "5*", 1},     {"tags", "b c", 1},
        {"tags", "a", 1},           {"tags", "c", 0},      {"none", "", 1},
        {"none", "x", 0},           {"name", "o'neil", 1}, {"name", "*4B*", 0},
        {"Heparin", "*", 0},        {"ward", "[", 0},      {"a", "*", 0},
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        if (field_holds(row, sizeof row - 1, cells[i].key, cells[i].pattern) !=
            cells[i].holds)
            fail_msg("%s=%s", cells[i].key, cells[i].pattern);
    struct shelf s;
    struct filter f = {.n = 0};
    int64_t *ids;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.md",
              "---\nauthor: Mara Lindt\ntags: [icu, x]\n---\n"
              "# Pumps\n\nPumps are cleaned.\n");
    shelf_add(&s, "b.md", "# Pumps\n\nPumps stand in the cellar.\n");
    shelf_add(&s, "c.csv", "pump,ward\nblue,4B\nred,2A\n");
    shelf_add(&s, "d.eml",
              "From: Petra <petra@example.org>\nSubject: Pumps\n"
              "\nPumps are new.\n");
    /* The fields themselves, and what they are said of. */
    assert_int_equal(count_pair(&s, "author=mara lindt"), 2);
    assert_int_equal(count_pair(&s, "tags=icu"), 2);
    assert_int_equal(count_pair(&s, "tags=ic"), 0);
    assert_int_equal(count_pair(&s, "ward=4b"), 1);
    assert_int_equal(count_pair(&s, "from=*@example.org>"), 1);
    check_ok(filter_add_pair(&f, "editor=x"));
    check_code(filter_ids(&s.db, &f, &s.a, &ids, &n), E_FILTER);
    shelf_free(&s);
}

static const char wards[] =
    "pump,ward,place\nblue,4B,on the roof of the old wing\n"
    "red,2A,in the cellar below the stairs\n"
    "green,4B,beside the door of the kitchen\n";

/* Rows of one passage: those that hold the value are found, and no others. */
static void a_row_of_another_value_is_not_let_through(void **state)
{
    (void)state;
    struct shelf s;
    struct search_hit *hits;
    struct filter f = {.n = 0};
    struct search_query q = {.text = "pump in the cellar",
                             .filter = &f,
                             .limit = 9};
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "c.csv", wards);
    check_ok(filter_add_pair(&f, "ward=4b"));
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(n, 1);
    assert_string_equal(
        hits[0].text,
        "pump: blue | ward: 4B | place: on the roof of the old wing\n"
        "pump: green | ward: 4B | place: beside the door of the kitchen");
    assert_int_equal(hits[0].text_len, strlen(hits[0].text));
    assert_int_equal(hits[0].line_first, 2);
    assert_int_equal(hits[0].line_last, 4);
    check_ok(filter_add_pair(&f, "pump=green"));
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(n, 1);
    assert_string_equal(
        hits[0].text,
        "pump: green | ward: 4B | place: beside the door of the kitchen");
    assert_int_equal(hits[0].line_first, 4);
    assert_memory_equal(wards + hits[0].byte_first, "green,4B", 8);
    /* No row has both, though the passage has. */
    f.n = 0;
    check_ok(filter_add_pair(&f, "ward=4b"));
    check_ok(filter_add_pair(&f, "pump=red"));
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(n, 0);
    shelf_free(&s);
}

static void a_condition_that_makes_no_sense_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "kind",
                                      "=x",
                                      "date=x",
                                      "date=2026-13-01",
                                      "date=2026-02-30",
                                      "date=2026-1-1",
                                      "lang=tlh",
                                      "kind=x",
                                      "date=2026-01-01x"};
    struct filter f = {.n = 0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_code(filter_add_pair(&f, bad[i]), E_FILTER);
    check_code(filter_add(&f, "kind", "x", FILTER_SINCE), E_FILTER);
    while (f.n < FILTER_RULES_MAX) check_ok(filter_add_pair(&f, "kind=pdf"));
    check_code(filter_add_pair(&f, "kind=pdf"), E_FILTER);
}

static void hits_that_say_the_same_make_room(void **state)
{
    (void)state;
    struct shelf s;
    struct search_hit *hits;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "Pumps are cleaned weekly with soap.\n");
    shelf_add(&s, "b.txt", "Pumps are cleaned weekly with hot soap.\n");
    shelf_add(&s, "c.txt", "In the cellar stand two pumps for the well.\n");
    struct search_query q = {.text = "pumps cleaned weekly", .limit = 2};
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_null(strstr(hits[1].path, "c.txt"));
    q.diversity = 0.6;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(n, 2);
    assert_non_null(strstr(hits[1].path, "c.txt"));
    shelf_free(&s);
}

/* A section of three passages: they come back as one. */
static void neighbours_of_a_section_are_one_hit(void **state)
{
    (void)state;
    struct shelf s;
    struct search_hit *hits;
    size_t n, at = 0;
    static char text[8192];
    at += (size_t)snprintf(text, sizeof text, "# Guide\n\n");
    for (int i = 0; i < 36; i++)
        at += (size_t)snprintf(
            text + at, sizeof text - at,
            "Pump %d is cleaned on day %d by the nurse who is on call then.%s",
            i, i, i % 6 == 5 ? "\n\n" : " ");
    shelf_new(&s);
    shelf_add(&s, "g.md", text);
    shelf_add(&s, "other.txt", "A nurse has cleaned the pump below.\n");
    struct search_query q = {.text = "pump cleaned nurse", .limit = 3};
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_int_equal(hits[0].n_joined, 1);
    q.neighbours = SEARCH_JOINED;
    check_ok(search_hybrid(s.corpus, &q, &s.a, &hits, &n));
    assert_in_range(n, 2, 3);
    assert_in_range(hits[0].n_joined, 2, SEARCH_JOINED_MAX);
    assert_int_equal(hits[n - 1].n_joined, 1);
    assert_non_null(strstr(hits[n - 1].path, "other.txt"));
    /* In the order of the file, nothing twice. */
    for (int i = 1; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "Pump %d is", i);
        const char *found = strstr(hits[0].text, name);
        if (found) assert_null(strstr(found + 1, name));
    }
    assert_memory_equal(text + hits[0].byte_first, hits[0].text, 40);
    shelf_free(&s);
}

static void evidence_points_at_the_matching_words(void **state)
{
    (void)state;
    struct shelf s;
    struct question q;
    static struct evidence_mark marks[EVIDENCE_MARKS_MAX];
    double weight[QUESTION_TERMS_MAX];
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.md",
              "# Tea pots\n\n## Boiling\n\nThe kettle boils. Warm pots.\n");
    shelf_add(&s, "b.md", "# Other\n\nNothing here but a kettle.\n");
    check_ok(question_read(&s.a, "boil a pot of tea", &q));
    assert_int_equal(q.n_terms, 3);
    check_ok(evidence_find(&s.db, &q, 1, marks, &n));
    const char *const columns[] = {"Tea pots", "Boiling",
                                   "The kettle boils. Warm pots."};
    static const char *const want[] = {"Tea", "pots", "Boiling", "boils",
                                       "pots"};
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++)
        assert_memory_equal(columns[marks[i].column] + marks[i].first, want[i],
                            marks[i].end - marks[i].first);
    assert_int_equal(marks[3].term, 0);
    check_ok(evidence_find(&s.db, &q, 2, marks, &n));
    assert_int_equal(n, 0);
    check_ok(question_read(&s.a, "kettle boil zebra", &q));
    check_ok(evidence_weights(&s.db, &s.a, &q, weight));
    check_near(weight[0], 0.182321556794, 1e-9); /* ln(3 / 2.5) */
    check_near(weight[1], 0.693147180560, 1e-9); /* ln(3 / 1.5) */
    check_near(weight[2], 1.791759469228, 1e-9); /* ln(3 / 0.5) */
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_fused_by_their_reciprocals),
        cmocka_unit_test(weights_scale_and_ties_go_to_the_smaller_id),
        cmocka_unit_test(a_question_becomes_quoted_terms),
        cmocka_unit_test(nothing_typed_becomes_syntax),
        cmocka_unit_test(words_match_by_their_stem_and_without_accents),
        cmocka_unit_test(a_path_filter_holds_in_both_searches),
        cmocka_unit_test(hits_carry_their_place_and_ranks),
        cmocka_unit_test(limits_are_named),
        cmocka_unit_test(scores_are_fused_by_their_weight),
        cmocka_unit_test(each_way_of_searching_can_be_had_alone),
        cmocka_unit_test(both_count_alike_until_a_weight_is_learnt),
        cmocka_unit_test(conditions_narrow_a_search),
        cmocka_unit_test(fields_that_documents_have_are_conditions),
        cmocka_unit_test(a_row_of_another_value_is_not_let_through),
        cmocka_unit_test(a_condition_that_makes_no_sense_is_named),
        cmocka_unit_test(hits_that_say_the_same_make_room),
        cmocka_unit_test(neighbours_of_a_section_are_one_hit),
        cmocka_unit_test(evidence_points_at_the_matching_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
