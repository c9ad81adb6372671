/* pairs: which question goes with which passage, by the end of a path, by a
 * section, by a text or by what people said of an answer. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "client/feedback.h"
#include "client/pairs.h"
#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "retrieval/schema.h"

enum { NOW = 1700000000 };

static struct encoder *encoder;
static char dir[256], csv[300];
static struct db db;
static struct corpus *corpus;
static struct plan *plan;

static struct plan *retriever(const char *data, const char *more)
{
    struct plan *p = NULL;
    char text[256];
    snprintf(text, sizeof text,
             "name: guide\ntask: retriever\nmodel: {kind: static%s}\n"
             "data: {source: pairs, %s}\n",
             more, data);
    check_ok(plan_parse("guide.yaml", text, strlen(text), &p));
    return p;
}

static int begin_all(void **state)
{
    (void)state;
    rng_setup();
    check_ok(encoder_new(&encoder));
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    encoder_free(encoder);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    const char *migrations[CORPUS_N_MIGRATIONS + FEEDBACK_N_MIGRATIONS +
                           FEEDBACK_N_LATER];
    char path[300];
    size_t n = 0;
    for (size_t i = 0; i < CORPUS_N_MIGRATIONS; i++)
        migrations[n++] = corpus_migrations[i];
    for (size_t i = 0; i < FEEDBACK_N_MIGRATIONS; i++)
        migrations[n++] = feedback_migrations[i];
    for (size_t i = 0; i < FEEDBACK_N_LATER; i++)
        migrations[n++] = feedback_later[i];
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/tacit.db", dir);
    snprintf(csv, sizeof csv, "%s/q.csv", dir);
    const struct db_opening how = {.mode = DB_CREATE,
                                   .migrations = migrations,
                                   .n = n};
    check_ok(schema_open_with(&db, path, &how));
    check_ok(corpus_open(&db, encoder, &corpus));
    plan = retriever("holdout: 0", "");
    return 0;
}

static int end(void **state)
{
    (void)state;
    plan_free(plan);
    corpus_close(corpus);
    db_close(&db);
    check_tmpdir_remove(dir);
    return 0;
}

/* Index a document at <dir>/name; returns its path (static). */
static const char *add(const char *name, const char *text)
{
    static char path[600];
    enum corpus_outcome outcome;
    size_t n;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    char folder[600];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path),
             path);
    check_ok(file_mkdirs(folder, 0700));
    check_ok(file_write(path, text, strlen(text), 0600));
    check_ok(corpus_add(corpus, path, &outcome, &n));
    return path;
}

static void add_guides(void)
{
    add("guides/warfarin.md", "# Warfarin\n\n## Dose\n\nFive milligrams in "
                              "the evening.\n\n## Bleeding\n\nStop it and "
                              "give vitamin K.\n");
    add("guides/heparin.md", "# Heparin\n\n## Dose\n\nEighty units for each "
                             "kilogram of weight.\n");
}

static enum tacit_err load(const char *text, struct dataset *out)
{
    check_ok(file_write(csv, text, strlen(text), 0600));
    return pairs_load(plan, csv, &db, corpus, encoder, out);
}

static void check_refused(const char *text, unsigned id, const char *message)
{
    struct dataset d = {.n_dropped = 77};
    enum tacit_err err = load(text, &d);
    if (!err) fail_msg("taken: %s", text);
    const char *got = err_message();
    size_t n = strlen(csv);
    /* The path of the file is another one each time. */
    assert_string_equal(strncmp(got, csv, n) == 0 ? got + n : got, message);
    check_code(err, id);
    assert_int_equal(d.n_dropped, 77);
}

static void embed(const char *text, float out[ENCODER_DIM])
{
    struct arena a;
    arena_init(&a, 0);
    check_ok(encoder_embed(encoder, &a, text, strlen(text), out));
    arena_release(&a);
}

/* Row i of the examples asks `question` and is answered by the passage of
 * the pool that has the vector of `passage`. */
static void check_row(const struct examples *e, size_t i, const char *question,
                      const char *passage)
{
    float q[ENCODER_DIM], p[ENCODER_DIM];
    check(i < e->n_rows);
    embed(question, q);
    embed(passage, p);
    check_tensor(e->x + i * ENCODER_DIM, q, ENCODER_DIM, 0);
    check_tensor(e->p + i * ENCODER_DIM, p, ENCODER_DIM, 0);
    size_t n = 0;
    for (size_t k = 0; k < e->n_pool; k++)
        if (e->pool_group[k] == e->row_group[i] &&
            memcmp(e->pool + k * ENCODER_DIM, p, sizeof p) == 0)
            n++;
    assert_int_equal(n, 1);
}

/* The vector that the index has of a document's only or n-th passage. */
struct sought {
    const char *end, *word;
    float *out;
    int found;
};

static enum tacit_err seek(const struct corpus_passage *p, void *ctx)
{
    struct sought *s = ctx;
    size_t n = strlen(p->path), m = strlen(s->end);
    if (n < m || strcmp(p->path + n - m, s->end) != 0) return TACIT_OK;
    if (!memmem(p->text, p->text_len, s->word, strlen(s->word)))
        return TACIT_OK;
    memcpy(s->out, p->vector, ENCODER_DIM * sizeof *s->out);
    s->found++;
    return TACIT_OK;
}

static void check_positive(const struct examples *e, size_t i, const char *end,
                           const char *word)
{
    float p[ENCODER_DIM];
    struct sought s = {end, word, p, 0};
    check(i < e->n_rows);
    check_ok(corpus_passages(corpus, seek, &s));
    assert_int_equal(s.found, 1);
    check_tensor(e->p + i * ENCODER_DIM, p, ENCODER_DIM, 0);
}

static size_t pool_of_group(const struct examples *e, uint32_t group)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_pool; i++) n += e->pool_group[i] == group;
    return n;
}

/* ---- documents ----------------------------------------------------------- */

static void a_document_is_named_by_the_end_of_its_path_at_a_slash(void **state)
{
    (void)state;
    struct dataset d;
    char text[1024];
    add_guides();
    snprintf(text, sizeof text,
             "question,document\n"
             "How much heparin?,heparin.md\n"
             "How much heparin?,guides/heparin.md\n"
             "How much heparin?,/guides/heparin.md\n"
             "How much heparin?,%s/guides/heparin.md\n",
             dir);
    check_ok(load(text, &d));
    assert_int_equal(d.train.n_rows, 4);
    assert_int_equal(d.n_dropped, 0);
    for (size_t i = 0; i < 4; i++)
        check_positive(&d.train, i, "heparin.md", "Eighty");
    dataset_release(&d);
}

static void a_document_that_is_not_indexed_is_left_out_and_counted(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    check_ok(load("question,document\nHow much?,heparin.md\n"
                  "How?,parin.md\nHow?,es/heparin.md\nHow?,heparin\n"
                  "How?,HEPARIN.md\nHow?,x/guides/heparin.md\nHow?,.md\n"
                  "How?,/\n",
                  &d));
    assert_int_equal(d.train.n_rows, 1);
    assert_int_equal(d.n_dropped, 7);
    dataset_release(&d);
    check_refused("question,document\nHow?,x.md\nHow?,y.md\n", E_NO_EXAMPLES,
                  "plan guide: no question-passage pair to train on (0 held "
                  "out; 2 without a question, or of documents that are not "
                  "indexed here)");
}

static void a_name_that_fits_two_documents_is_refused_with_its_line(
    void **state)
{
    (void)state;
    struct dataset d;
    static const char message[] =
        ":3: column \"document\" could name more than one document; write more "
        "of its path";
    add("a/dose.md", "# Dose\n\n## Warfarin\n\nFive milligrams.\n");
    add("b/dose.md", "# Dose\n\n## Heparin\n\nEighty units.\n");
    check_refused("question,document\nHow?,a/dose.md\nHow?,dose.md\n",
                  E_CSV_VALUE, message);
    check_refused("question,document,heading\nHow?,a/dose.md,\nHow?,dose.md,\n",
                  E_CSV_VALUE, message);
    check_ok(load("question,document\nHow?,a/dose.md\nHow?,b/dose.md\n", &d));
    check_positive(&d.train, 0, "a/dose.md", "Five");
    check_positive(&d.train, 1, "b/dose.md", "Eighty");
    dataset_release(&d);
    /* Only one of the two has that section. */
    check_ok(load("question,document,heading\nHow?,dose.md,Heparin\n", &d));
    check_positive(&d.train, 0, "b/dose.md", "Eighty");
    dataset_release(&d);
}

static void a_whole_path_is_that_document_even_if_another_ends_so(void **state)
{
    (void)state;
    struct dataset d;
    char text[900], inner[600];
    snprintf(inner, sizeof inner, "a%s/dose.md", dir);
    add(inner, "Five milligrams.\n"); /* <dir>/a<dir>/dose.md */
    add("dose.md", "Eighty units.\n");
    snprintf(text, sizeof text, "question,document\nHow?,%s/dose.md\n", dir);
    check_ok(load(text, &d));
    check_positive(&d.train, 0, "/dose.md", "Eighty");
    dataset_release(&d);
}

/* ---- sections and texts -------------------------------------------------- */

static void a_heading_names_the_section_that_answers(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    check_ok(load("question,document,heading\n"
                  "What if it bleeds?,warfarin.md,Dose\n"
                  "How much?,warfarin.md,Bleeding\n"
                  "How much?,warfarin.md,Nothing\n"
                  "How much?,heparin.md,Bleeding\n",
                  &d));
    assert_int_equal(d.train.n_rows, 2);
    assert_int_equal(d.n_dropped, 2);
    assert_int_equal(d.train.n_pool, 3);
    check_positive(&d.train, 0, "warfarin.md", "Five");
    check_positive(&d.train, 1, "warfarin.md", "vitamin");
    check(d.train.row_group[0] != d.train.row_group[1]);
    assert_int_equal(pool_of_group(&d.train, d.train.row_group[0]), 1);
    dataset_release(&d);
}

static void without_a_heading_any_passage_of_the_document_answers(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    check_ok(load("question,document\n"
                  "Is vitamin K given?,warfarin.md\n"
                  "Five milligrams in the evening?,warfarin.md\n",
                  &d));
    /* The nearest to the question is the positive. */
    check_positive(&d.train, 0, "warfarin.md", "vitamin");
    check_positive(&d.train, 1, "warfarin.md", "Five");
    assert_int_equal(d.train.row_group[0], d.train.row_group[1]);
    assert_int_equal(pool_of_group(&d.train, d.train.row_group[0]), 2);
    for (size_t i = 0; i < 2; i++) {
        const float *x = d.train.x + i * ENCODER_DIM;
        float positive =
            kernel_dot(x, d.train.p + i * ENCODER_DIM, ENCODER_DIM);
        for (size_t k = 0; k < d.train.n_pool; k++)
            if (d.train.pool_group[k] == d.train.row_group[i])
                check(kernel_dot(x, d.train.pool + k * ENCODER_DIM,
                                 ENCODER_DIM) <= positive);
    }
    dataset_release(&d);
}

/* Under privacy what one row says may change nothing of another: neither which
 * passage is its answer nor which ones count as one. */
static void under_privacy_rows_do_not_reach_into_each_other(void **state)
{
    (void)state;
    static const char one[] = "question,document,heading\n"
                              "Is vitamin K given?,warfarin.md,Dose\n"
                              "How much?,warfarin.md,Nothing\n";
    struct dataset d;
    char more[256];
    add_guides();
    plan->privacy.record = 1;
    snprintf(more, sizeof more, "%sHow much heparin?,heparin.md,\n", one);
    for (int i = 0; i < 2; i++) {
        check_ok(load(i ? more : one, &d));
        assert_int_equal(d.train.n_rows, 1 + i);
        assert_int_equal(d.n_dropped, 1);
        check_positive(&d.train, 0, "warfarin.md", "Five");
        assert_int_equal(pool_of_group(&d.train, d.train.row_group[0]), 2);
        if (i) check_positive(&d.train, 1, "heparin.md", "Eighty");
        dataset_release(&d);
    }
}

static void a_passage_given_as_text_joins_the_pool(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    check_ok(load("question,passage,document\n"
                  "Who may enter?,Only staff of the ward.,heparin.md\n"
                  "When?,\"At night, never.\",\n",
                  &d));
    assert_int_equal(d.train.n_rows, 2);
    assert_int_equal(d.train.n_pool, 5);
    check_row(&d.train, 0, "Who may enter?", "Only staff of the ward.");
    check_row(&d.train, 1, "When?", "At night, never.");
    check(d.train.row_group[0] != d.train.row_group[1]);
    assert_int_equal(pool_of_group(&d.train, d.train.row_group[1]), 1);
    dataset_release(&d);
}

static void wrong_passages_near_a_question_are_found_on_request(void **state)
{
    (void)state;
    static const char rows[] = "question,passage,document\n"
                               "Who may enter?,Only staff.,\n"
                               "What is heparin for?,It thins the blood.,\n";
    struct plan *was = plan;
    struct dataset d;
    add_guides();
    check_ok(load(rows, &d));
    check(!d.train.hard && !d.train.n_hard);
    dataset_release(&d);
    plan = retriever("holdout: 0}\nlocal: {hard_negatives: 2", "");
    check_ok(load(rows, &d));
    assert_int_equal(d.train.n_hard, 2);
    for (size_t i = 0; i < 4; i++) {
        check(d.train.hard[i] < d.train.n_pool);
        check(d.train.pool_group[d.train.hard[i]] != d.train.row_group[i / 2]);
    }
    check(d.train.hard[0] != d.train.hard[1]);
    dataset_release(&d);
    plan_free(plan);
    /* Under privacy they are of documents: no other row's passage. */
    plan = retriever("holdout: 0}\nlocal: {hard_negatives: 4}\n"
                     "privacy: {sample: 0.5",
                     "");
    check_ok(load(rows, &d));
    for (size_t i = 0; i < 8; i++)
        check(d.train.hard[i] < d.train.n_pool - d.train.n_rows);
    dataset_release(&d);
    plan_free(plan);
    plan = was;
}

static void pairs_need_no_indexed_document(void **state)
{
    (void)state;
    struct dataset d;
    check_ok(load("question,passage\nWho?,Staff.\n", &d));
    assert_int_equal(d.train.n_pool, 1);
    check_row(&d.train, 0, "Who?", "Staff.");
    dataset_release(&d);
}

static void empty_cells_are_left_out_and_counted(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    check_ok(load("question,passage\n,Staff.\nWho?,\n?,Staff.\nWho?,?\n"
                  "Who?,Staff.\n",
                  &d));
    assert_int_equal(d.n_dropped, 4);
    assert_int_equal(d.train.n_rows, 1);
    dataset_release(&d);
    check_ok(load("question,document\n,heparin.md\nHow?,\nHow?,?\n"
                  "How?,heparin.md\n",
                  &d));
    assert_int_equal(d.n_dropped, 3);
    assert_int_equal(d.train.n_rows, 1);
    dataset_release(&d);
}

/* ---- sides --------------------------------------------------------------- */

static void the_split_column_has_the_word(void **state)
{
    (void)state;
    struct dataset d;
    check_ok(load("question,passage,split\nA?,One.,test\nB?,Two.,train\n"
                  "C?,Three.,test\n",
                  &d));
    assert_int_equal(d.train.n_rows, 1);
    assert_int_equal(d.test.n_rows, 2);
    check_row(&d.train, 0, "B?", "Two.");
    check_row(&d.test, 0, "A?", "One.");
    check_row(&d.test, 1, "C?", "Three.");
    /* Both sides rank the same passages. */
    check(d.train.pool == d.test.pool && d.train.n_pool == 3);
    dataset_release(&d);
    check_refused("question,passage,split\nA?,One.,train\nA?,One.,dev\n",
                  E_CSV_VALUE, ":3: column \"split\" must hold train or test");
}

static void rows_are_held_out_by_their_number(void **state)
{
    (void)state;
    enum { ROWS = 40 };
    struct dataset d;
    char text[2048] = "question,passage\n";
    size_t n = strlen(text), held = 0, at[2] = {0, 0};
    plan_free(plan);
    plan = retriever("holdout: 0.4", "");
    for (int i = 0; i < ROWS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "Question %d?,Passage %d.\n", i, i);
    check_ok(load(text, &d));
    for (uint64_t i = 0; i < ROWS; i++) {
        char q[32], p[32];
        int side = examples_held_out(plan, i);
        snprintf(q, sizeof q, "Question %d?", (int)i);
        snprintf(p, sizeof p, "Passage %d.", (int)i);
        check_row(side ? &d.test : &d.train, at[side]++, q, p);
        held += (size_t)side;
    }
    assert_int_equal(d.test.n_rows, held);
    check(held > 5 && held < 35);
    dataset_release(&d);
}

/* ---- faults -------------------------------------------------------------- */

static void columns_that_are_missing_or_there_twice_are_named(void **state)
{
    (void)state;
    check_refused("questoin,document\nA?,a.md\n", E_CSV_COLUMN,
                  ": no column \"question\"; did you mean \"questoin\"? It "
                  "has questoin, document");
    check_refused("question,documents\nA?,a.md\n", E_CSV_COLUMN,
                  ": no column \"document\"; did you mean \"documents\"? It "
                  "has question, documents");
    check_refused("question,passage,passage\nA?,a,b\n", E_CSV_COLUMN,
                  ": column \"passage\" is there twice");
    check_refused("question,document,heading,heading\nA?,a,b,c\n", E_CSV_COLUMN,
                  ": column \"heading\" is there twice");
    check_refused("split,question,passage,split\ntrain,A?,a,test\n",
                  E_CSV_COLUMN, ": column \"split\" is there twice");
    check_refused("question,document\nA?\n", E_CSV_SYNTAX,
                  ":2: 1 value; the header names 2");
    struct dataset d;
    check_err(pairs_load(plan, "/nowhere/q.csv", &db, corpus, encoder, &d),
              TACIT_NOTFOUND);
}

static void vectors_of_another_length_are_refused(void **state)
{
    (void)state;
    struct dataset d;
    struct plan *other = retriever("holdout: 0", ", dim: 64");
    enum tacit_err err = pairs_load(other, NULL, &db, corpus, encoder, &d);
    assert_string_equal(err_message(),
                        "plan guide trains vectors of 64 numbers; this "
                        "device's encoder makes 256");
    check_err(err, TACIT_UNSUPPORTED);
    plan_free(other);
}

static void more_pairs_than_the_limit_are_refused(void **state)
{
    (void)state;
    struct buf b;
    struct dataset d;
    buf_init(&b, 0);
    buf_printf(&b, "question,document\n");
    for (int i = 0; i <= PAIRS_MAX; i++) buf_put(&b, "q,d\n", 4);
    check_ok(buf_end(&b));
    check_ok(file_write(csv, b.data, b.len, 0600));
    buf_release(&b);
    enum tacit_err err = pairs_load(plan, csv, &db, corpus, encoder, &d);
    assert_string_equal(err_message(), "over 100000 question-passage pairs");
    check_err(err, TACIT_LIMIT);
}

/* ---- feedback ------------------------------------------------------------ */

static int64_t answered(const char *question, const char *path,
                        const char *heading)
{
    const struct feedback_source s = {path, heading, 0, 1};
    int64_t id = 0;
    check_ok(feedback_answer(&db, NOW, question, &s, 1, &id));
    return id;
}

static void good_feedback_becomes_pairs_and_bad_does_not(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    char warfarin[300], heparin[300];
    snprintf(warfarin, sizeof warfarin, "%s/guides/warfarin.md", dir);
    snprintf(heparin, sizeof heparin, "%s/guides/heparin.md", dir);
    int64_t a = answered("How much?", warfarin, "Dose");
    int64_t b = answered("And heparin?", heparin, "Dose");
    int64_t c = answered("It bleeds?", warfarin, "Bleeding");
    answered("Nobody said?", warfarin, "Dose");
    check_ok(feedback_give(&db, NOW, a, 1, FEEDBACK_GOOD));
    check_ok(feedback_give(&db, NOW, b, 1, FEEDBACK_BAD));
    check_ok(feedback_give(&db, NOW, c, 1, FEEDBACK_GOOD));
    check_ok(pairs_load(plan, NULL, &db, corpus, encoder, &d));
    assert_int_equal(d.train.n_rows, 2);
    check_positive(&d.train, 0, "warfarin.md", "Five");
    check_positive(&d.train, 1, "warfarin.md", "vitamin");
    dataset_release(&d);
    /* A changed mind counts, and a CSV adds to it. */
    check_ok(feedback_give(&db, NOW, a, 1, FEEDBACK_BAD));
    check_ok(load("question,document,heading\nSo?,heparin.md,Dose\n", &d));
    assert_int_equal(d.train.n_rows, 2);
    check_positive(&d.train, 0, "heparin.md", "Eighty");
    check_positive(&d.train, 1, "warfarin.md", "vitamin");
    dataset_release(&d);
}

static void feedback_on_a_removed_document_is_left_out(void **state)
{
    (void)state;
    struct dataset d;
    char path[300], inner[600];
    size_t n;
    snprintf(path, sizeof path, "%s", add("dose.md", "Eighty units.\n"));
    snprintf(inner, sizeof inner, "a%s/dose.md", dir);
    add(inner, "Five milligrams.\n"); /* its path ends in the other's */
    int64_t id = answered("How much?", path, "");
    check_ok(feedback_give(&db, NOW, id, 1, FEEDBACK_GOOD));
    check_ok(pairs_load(plan, NULL, &db, corpus, encoder, &d));
    check_positive(&d.train, 0, "dose.md", "Eighty");
    dataset_release(&d);
    check_ok(corpus_remove(corpus, path, &n));
    assert_int_equal(n, 1);
    check_code(pairs_load(plan, NULL, &db, corpus, encoder, &d), E_NO_EXAMPLES);
}

static void without_a_file_and_without_feedback_there_is_nothing(void **state)
{
    (void)state;
    struct dataset d;
    add_guides();
    enum tacit_err err = pairs_load(plan, NULL, &db, corpus, encoder, &d);
    assert_string_equal(err_message(),
                        "plan guide: no question-passage pair to train on (0 "
                        "held out; 0 without a question, or of documents that "
                        "are not indexed here)");
    check_code(err, E_NO_EXAMPLES);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        ROW(a_document_is_named_by_the_end_of_its_path_at_a_slash),
        ROW(a_document_that_is_not_indexed_is_left_out_and_counted),
        ROW(a_name_that_fits_two_documents_is_refused_with_its_line),
        ROW(a_whole_path_is_that_document_even_if_another_ends_so),
        ROW(a_heading_names_the_section_that_answers),
        ROW(without_a_heading_any_passage_of_the_document_answers),
        ROW(under_privacy_rows_do_not_reach_into_each_other),
        ROW(a_passage_given_as_text_joins_the_pool),
        ROW(wrong_passages_near_a_question_are_found_on_request),
        ROW(pairs_need_no_indexed_document),
        ROW(empty_cells_are_left_out_and_counted),
        ROW(the_split_column_has_the_word),
        ROW(rows_are_held_out_by_their_number),
        ROW(columns_that_are_missing_or_there_twice_are_named),
        ROW(vectors_of_another_length_are_refused),
        ROW(more_pairs_than_the_limit_are_refused),
        ROW(good_feedback_becomes_pairs_and_bad_does_not),
        ROW(feedback_on_a_removed_document_is_left_out),
        ROW(without_a_file_and_without_feedback_there_is_nothing),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
