#include "tests/check.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "retrieval/corpus_state.h"
#include "retrieval/twin.h"
#include "tests/retrieval/shelf.h"

static void added_unchanged_changed_and_removed(void **state)
{
    (void)state;
    struct shelf s;
    size_t n, n_hits;
    shelf_new(&s);
    assert_int_equal(shelf_add(&s, "a.md", "# Tea\n\nBoil the kettle first.\n"),
                     CORPUS_ADDED);
    assert_int_equal(shelf_add(&s, "b.txt", "Coffee needs a filter.\n"),
                     CORPUS_ADDED);
    struct corpus_counts c = shelf_check(&s);
    assert_int_equal(c.n_documents, 2);
    assert_int_equal(c.n_chunks, 2);
    shelf_search(&s, "kettle", NULL, 5, &n_hits);
    assert_int_equal(n_hits, 2);

    assert_int_equal(shelf_add(&s, "a.md", "# Tea\n\nBoil the kettle first.\n"),
                     CORPUS_UNCHANGED);
    assert_int_equal(shelf_add(&s, "a.md",
                               "# Tea\n\nWarm the pot.\n\n# Cups\n\nTwo.\n"),
                     CORPUS_REPLACED);
    c = shelf_check(&s);
    assert_int_equal(c.n_documents, 2);
    assert_int_equal(c.n_chunks, 3);
    struct search_hit *hits = shelf_search(&s, "kettle", NULL, 5, &n_hits);
    for (size_t i = 0; i < n_hits; i++) assert_int_equal(hits[i].rank_words, 0);
    hits = shelf_search(&s, "warm pot", NULL, 5, &n_hits);
    assert_int_equal(hits[0].rank_words, 1);
    assert_string_equal(hits[0].text, "Warm the pot.");

    check_ok(corpus_remove(s.corpus, shelf_write(&s, "a.md", "x"), &n));
    assert_int_equal(n, 1);
    c = shelf_check(&s);
    assert_int_equal(c.n_documents, 1);
    assert_int_equal(c.n_chunks, 1);
    shelf_search(&s, "warm pot", NULL, 5, &n_hits);
    assert_true(n_hits <= 1);
    check_ok(corpus_remove(s.corpus, "/no/such/file", &n));
    assert_int_equal(n, 0);
    shelf_free(&s);
}

static void a_document_that_fails_keeps_its_earlier_state(void **state)
{
    (void)state;
    struct shelf s;
    enum corpus_outcome outcome;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "All is well here.\n");
    check_code(corpus_add(s.corpus, shelf_write(&s, "a.txt", "caf\x81\n"),
                          &outcome, &n),
               E_DOCUMENT_NOT_UTF8);
    struct corpus_counts c = shelf_check(&s);
    assert_int_equal(c.n_documents, 1);
    shelf_search(&s, "well", NULL, 5, &n);
    assert_int_equal(n, 1);
    check_code(corpus_add(s.corpus, "/no/such/file.txt", &outcome, &n),
               E_DOCUMENT_MISSING);
    check_code(corpus_add(s.corpus, "/tmp/caf\xe9.txt", &outcome, &n),
               E_DOCUMENT_PATH);
    check_code(corpus_add(s.corpus, "", &outcome, &n), E_DOCUMENT_PATH);
    shelf_free(&s);
}

static enum tacit_err add_or_count(const char *path, void *ctx)
{
    struct {
        struct shelf *s;
        int n_failed;
    } *c = ctx;
    enum corpus_outcome outcome;
    size_t n;
    if (corpus_add(c->s->corpus, path, &outcome, &n)) {
        c->n_failed++;
        err_clear();
    }
    return TACIT_OK;
}

static void one_damaged_file_never_stops_the_others(void **state)
{
    (void)state;
    struct shelf s;
    struct {
        struct shelf *s;
        int n_failed;
    } ctx = {&s, 0};
    char folder[300];
    shelf_new(&s);
    snprintf(folder, sizeof folder, "%s/docs", s.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    shelf_write(&s, "docs/a.txt", "First of them.\n");
    shelf_write(&s, "docs/b.txt", "");
    shelf_write(&s, "docs/c.pdf", "%PDF-1.4");
    shelf_write(&s, "docs/d.md", "\xff\xff");
    shelf_write(&s, "docs/e.html", "<p>Last of them.");
    check_ok(file_walk(folder, add_or_count, &ctx));
    assert_int_equal(ctx.n_failed, 3);
    assert_int_equal(shelf_check(&s).n_documents, 2);
    shelf_free(&s);
}

static void a_link_is_the_document_it_points_to(void **state)
{
    (void)state;
    struct shelf s;
    enum corpus_outcome outcome;
    char link[300], file[512], dotted[320];
    size_t n;
    shelf_new(&s);
    snprintf(file, sizeof file, "%s", shelf_write(&s, "v2.txt", "The text.\n"));
    snprintf(link, sizeof link, "%s/latest.txt", s.folder);
    snprintf(dotted, sizeof dotted, "%s/./v2.txt", s.folder);
    assert_int_equal(symlink(file, link), 0);
    check_ok(corpus_add(s.corpus, file, &outcome, &n));
    check_ok(corpus_add(s.corpus, link, &outcome, &n));
    assert_int_equal(outcome, CORPUS_UNCHANGED);
    check_ok(corpus_add(s.corpus, dotted, &outcome, &n));
    assert_int_equal(outcome, CORPUS_UNCHANGED);
    assert_int_equal(shelf_check(&s).n_documents, 1);
    shelf_free(&s);
}

static void folders_are_removed_and_pruned(void **state)
{
    (void)state;
    struct shelf s;
    char folder[300], beside[300], file[512];
    size_t n;
    shelf_new(&s);
    snprintf(folder, sizeof folder, "%s/docs", s.folder);
    snprintf(beside, sizeof beside, "%s/docs-old", s.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mkdir(beside, 0700), 0);
    shelf_add(&s, "docs/a.txt", "One.\n");
    shelf_add(&s, "docs/b.txt", "Two.\n");
    shelf_add(&s, "docs-old/c.txt", "Three.\n");
    check_ok(corpus_prune(s.corpus, folder, NULL, &n));
    assert_int_equal(n, 0);
    assert_int_equal(unlink(shelf_write(&s, "docs/a.txt", "")), 0);
    check_ok(corpus_prune(s.corpus, folder, NULL, &n));
    assert_int_equal(n, 1);
    assert_int_equal(shelf_check(&s).n_documents, 2);
    /* Where a document was there is a folder now. */
    snprintf(file, sizeof file, "%s", shelf_write(&s, "docs-old/c.txt", ""));
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    check_ok(corpus_prune(s.corpus, beside, NULL, &n));
    assert_int_equal(n, 1);
    assert_int_equal(rmdir(file), 0);
    shelf_add(&s, "docs-old/c.txt", "Three.\n");
    /* The folder itself is gone; its documents can still be removed. */
    assert_int_equal(unlink(shelf_write(&s, "docs/b.txt", "")), 0);
    assert_int_equal(rmdir(folder), 0);
    check_ok(corpus_remove(s.corpus, folder, &n));
    assert_int_equal(n, 1);
    struct corpus_counts c = shelf_check(&s);
    assert_int_equal(c.n_documents, 1);
    assert_int_equal(c.n_fts, 1);
    shelf_free(&s);
}

static void equal_is_what_differs_only_in_blanks_and_case(void **state)
{
    (void)state;
    uint8_t a[TWIN_PRINT], b[TWIN_PRINT];
    static const struct {
        const char *title, *heading, *text;
        int is_equal;
    } other[] = {
        {"Drug", "Dose", " give\t5 MG\n\nat noon.\n", 1},
        {"DRUG", " Dose ", "Give 5 mg at noon.", 1},
        {"Drug", "Dose", "Give 50 mg at noon.", 0},
        {"Drug", "Dose", "Give 5 mg at noon!", 0},
        {"Drug", "Dose", "Give 5 mg at no on.", 0},
        {"Drug", "", "Dose Give 5 mg at noon.", 0},
        {"Drug Dose", "", "Give 5 mg at noon.", 0},
        {"Other", "Dose", "Give 5 mg at noon.", 0},
    };
    const char *text = "Give 5 mg at noon.";
    twin_print("Drug", "Dose", text, strlen(text), a);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        twin_print(other[i].title, other[i].heading, other[i].text,
                   strlen(other[i].text), b);
        assert_int_equal(memcmp(a, b, sizeof a) == 0, other[i].is_equal);
    }
    /* Longer than one step of the reading, wherever a blank falls. */
    char one[2000], two[2000];
    for (size_t i = 0; i < sizeof one; i++)
        one[i] = i % 7 == 3 ? ' ' : (char)('a' + i % 26);
    for (size_t i = 0; i < sizeof one; i++)
        two[i] = one[i] == ' ' ? '\n' : (char)(one[i] - 32);
    twin_print("", "", one, sizeof one, a);
    twin_print("", "", two, sizeof two, b);
    assert_memory_equal(a, b, sizeof a);
}

static void many_copies_are_one_hit(void **state)
{
    (void)state;
    struct shelf s;
    char name[32];
    size_t n;
    shelf_new(&s);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "%02d.txt", i);
        shelf_add(&s, name, "The ward is closed on Sunday.\n");
    }
    shelf_add(&s, "other.txt",
              "The ward is open on Monday and has a garden.\n");
    struct search_hit *hits = shelf_search(&s, "ward Sunday", NULL, 5, &n);
    assert_int_equal(n, 2);
    assert_int_equal(hits[0].n_also, 39);
    for (size_t i = 0; i < SEARCH_ALSO_MAX; i++)
        assert_non_null(strstr(hits[0].also[i], ".txt"));
    assert_int_equal(hits[1].n_also, 0);
    shelf_free(&s);
}

static void words_are_compared_without_what_only_separates(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int holds;
    } cases[] = {
        {"Give 5 mg at noon.",
         "give \xe2\x80\x9c"
         "5 mg\xe2\x80\x9d, at Noon!",
         1},
        {"Give 5 mg at noon. Stop at night.", "5 mg at noon", 1},
        {"5 mg at noon", "Give 5 mg at noon", 0},
        {"Give 5 mg at noon", "Give 50 mg at noon", 0},
        {"Give 5 mg at noon", "Give 5.0 mg at noon", 0},
        {"Give 1.5 mg", "Give 15 mg", 0},
        {"Give 1.5 mg", "Give 1, 5 mg", 0},
        {"below -5 degrees", "below 5 degrees", 0},
        {"a pressure < 90", "a pressure 90", 0},
        {"a pressure < 90", "a pressure > 90", 0},
        {"90 % of them", "90 of them", 0},
        {"Is it safe?", "It is safe", 0},
        {"It is safe.", "It is not safe.", 0},
        {"It is not safe.", "It is safe.", 0},
        {"stra\xc3\x9f"
         "e",
         "strae", 0},
        {"anything", "", 0},
        {"ward 3-5", "ward 3 5", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t a[64], b[64];
        size_t n_a = twin_words(cases[i].a, strlen(cases[i].a), a);
        size_t n_b = twin_words(cases[i].b, strlen(cases[i].b), b);
        if (twin_holds(a, n_a, b, n_b) != cases[i].holds)
            fail_msg("\"%s\" and \"%s\"", cases[i].a, cases[i].b);
    }
}

static void near_copies_are_one_hit_and_all_are_named(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "# Dose\n\nThe ward is closed on Sunday, and open \"from\" 8 on.\n",
        "# Dose\n\nThe ward is closed on Sunday and open from 8 on!\n",
        "# Dose\n\nThe ward is closed on Sunday.\n",
        "# Dose\n\nThe ward is not closed on Sunday, and open from 8 on.\n",
        "# Dose\n\nThe ward is closed on Sunday, and open from 9 on.\n",
        "# Other\n\nThe ward is closed on Sunday, and open from 8 on.\n",
    };
    struct shelf s;
    size_t n, n_also = 0;
    shelf_new(&s);
    for (int copy = 0; copy < 3; copy++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            char name[32];
            snprintf(name, sizeof name, "%zu-%d.md", i, copy);
            shelf_add(&s, name, texts[i]);
        }
    struct search_hit *hits =
        shelf_search(&s, "is the ward closed on Sunday from 8", NULL, 9, &n);
    for (size_t i = 0; i < n; i++) n_also += hits[i].n_also;
    /* The short one stands in the long, when that one is the better. */
    assert_true(n == 4 || n == 5);
    assert_int_equal(n_also, 18 - n);
    shelf_free(&s);
}

static void copies_do_not_crowd_out_the_rest(void **state)
{
    (void)state;
    enum { COPIES = 300, OTHERS = 4 };
    struct shelf s;
    char name[32], text[100];
    enum corpus_outcome outcome;
    size_t n, n_chunks;
    shelf_new(&s);
    corpus_gather(s.corpus);
    for (int i = 0; i < COPIES + OTHERS; i++) {
        snprintf(name, sizeof name, "%03d.txt", i);
        if (i < COPIES)
            snprintf(text, sizeof text, "The ward is closed on Sunday.\n");
        else
            snprintf(text, sizeof text,
                     "The ward has a garden with %d trees.\n", i);
        check_ok(corpus_add(s.corpus, shelf_write(&s, name, text), &outcome,
                            &n_chunks));
    }
    check_ok(corpus_settle(s.corpus));
    struct search_hit *hits = shelf_search(&s, "ward Sunday", NULL, 5, &n);
    assert_int_equal(n, 1 + OTHERS);
    assert_int_equal(hits[0].n_also, COPIES - 1);
    shelf_free(&s);
}

/* What a program with an earlier built-in encoder has left. */
static void age(struct shelf *s)
{
    check_ok(db_exec(&s->db, "UPDATE document"
                             " SET enc_version = 'static-1-4379beb478'"));
}

static void another_encoder_makes_rows_stale_until_added_again(void **state)
{
    (void)state;
    struct shelf s;
    size_t n;
    shelf_new(&s);
    shelf_add(&s, "a.txt", "Some words to find again.\n");
    age(&s);
    shelf_close(&s);
    shelf_open(&s);
    struct corpus_counts c = shelf_check(&s);
    assert_int_equal(c.n_stale, 1);
    struct search_hit *hits = shelf_search(&s, "find words", NULL, 5, &n);
    assert_int_equal(n, 1);
    assert_int_equal(hits[0].rank_vectors, 0); /* an old vector is not used */
    assert_int_equal(shelf_add(&s, "a.txt", "Some words to find again.\n"),
                     CORPUS_REPLACED);
    assert_int_equal(shelf_check(&s).n_stale, 0);
    hits = shelf_search(&s, "find words", NULL, 5, &n);
    assert_int_equal(hits[0].rank_vectors, 1);
    shelf_free(&s);
}

/* What one program writes, the other finds at once. */
static void vectors_follow_the_store(void **state)
{
    (void)state;
    struct shelf s, other;
    size_t n;
    shelf_new(&s);
    other = s;
    shelf_open(&other);
    shelf_add(&s, "a.txt", "Alpha text.\n");
    for (int i = 0; i < 20; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "f%d.txt", i % 7);
        snprintf(text, sizeof text, "Version %d of it.\n", i);
        shelf_add(&s, name, text);
        struct search_hit *hits = shelf_search(&other, text, NULL, 20, &n);
        assert_true(n >= 1);
        assert_int_equal(hits[0].rank_vectors, 1);
        assert_non_null(strstr(hits[0].path, name));
    }
    shelf_add(&other, "g.txt", "From elsewhere.\n");
    shelf_add(&other, "g.txt", "From elsewhere, changed.\n");
    shelf_add(&s, "h.txt", "Here.\n");
    struct search_hit *hits = shelf_search(&s, "elsewhere", NULL, 3, &n);
    assert_non_null(strstr(hits[0].text, "changed"));
    shelf_close(&other);
    arena_release(&other.a);
    shelf_free(&s);
}

struct listing {
    int n_documents, n_passages;
    char last[512];
};

static enum tacit_err count_document(const struct corpus_document *d, void *ctx)
{
    struct listing *l = ctx;
    assert_true(strcmp(l->last, d->path) < 0);
    snprintf(l->last, sizeof l->last, "%s", d->path);
    assert_true(d->n_chunks > 0 && d->size_bytes > 0 && d->added_s > 0);
    l->n_documents++;
    return TACIT_OK;
}

static enum tacit_err count_passage(const struct corpus_passage *p, void *ctx)
{
    struct listing *l = ctx;
    double length = 0;
    for (size_t i = 0; i < ENCODER_DIM; i++)
        length += (double)p->vector[i] * (double)p->vector[i];
    assert_true(length > 0.99 && length < 1.01);
    assert_string_equal(p->heading, "Inner");
    assert_int_equal(strlen(p->text), p->text_len);
    l->n_passages++;
    return l->n_passages == 2 ? TACIT_LIMIT : TACIT_OK;
}

static void documents_and_passages_can_be_visited(void **state)
{
    (void)state;
    struct shelf s;
    struct listing l = {0};
    shelf_new(&s);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "%c.md", 'c' - i);
        shelf_add(&s, name, "# Outer\n\n## Inner\n\nSome words.\n");
    }
    check_ok(corpus_list(s.corpus, count_document, &l));
    assert_int_equal(l.n_documents, 3);
    check_err(corpus_passages(s.corpus, count_passage, &l), TACIT_LIMIT);
    assert_int_equal(l.n_passages, 2);
    shelf_free(&s);
}

/* A text that takes some time to add. */
static void write_long(const struct shelf *s, int version)
{
    char *text = malloc(400000);
    size_t n = 0;
    if (!text) fail_msg("out of memory");
    for (int i = 0; n < 390000; i++)
        n += (size_t)snprintf(text + n, 400000 - n,
                              "Sentence %d of version %d has its words.%s", i,
                              version, i % 9 ? " " : "\n\n");
    shelf_write(s, "long.txt", text);
    free(text);
}

static void killed_in_the_middle_the_indexes_still_agree(void **state)
{
    (void)state;
    struct shelf s;
    int n_killed = 0;
    shelf_new(&s);
    shelf_add(&s, "small.txt", "This one stays.\n");
    shelf_close(&s);
    for (int round = 0; round < 8; round++) {
        write_long(&s, round);
        pid_t child = fork();
        if (child == 0) {
            enum corpus_outcome outcome;
            char path[512];
            size_t n;
            snprintf(path, sizeof path, "%s/long.txt", s.folder);
            shelf_open(&s);
            _exit(corpus_add(s.corpus, path, &outcome, &n) ? 1 : 0);
        }
        assert_true(child > 0);
        struct timespec pause = {0, (10 + 14 * round) * 1000000L};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        n_killed += WIFSIGNALED(status);
        shelf_open(&s);
        struct corpus_counts c = shelf_check(&s);
        assert_true(c.n_documents == 1 || c.n_documents == 2);
        size_t n;
        shelf_search(&s, "stays", NULL, 1, &n);
        assert_int_equal(n, 1);
        shelf_close(&s);
    }
    print_message("%d of 8 additions were cut short\n", n_killed);
    shelf_open(&s);
    assert_int_equal(shelf_visit(shelf_write(&s, "end.txt", "Done.\n"), &s), 0);
    shelf_check(&s);
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_unchanged_changed_and_removed),
        cmocka_unit_test(a_document_that_fails_keeps_its_earlier_state),
        cmocka_unit_test(one_damaged_file_never_stops_the_others),
        cmocka_unit_test(a_link_is_the_document_it_points_to),
        cmocka_unit_test(folders_are_removed_and_pruned),
        cmocka_unit_test(another_encoder_makes_rows_stale_until_added_again),
        cmocka_unit_test(equal_is_what_differs_only_in_blanks_and_case),
        cmocka_unit_test(many_copies_are_one_hit),
        cmocka_unit_test(words_are_compared_without_what_only_separates),
        cmocka_unit_test(near_copies_are_one_hit_and_all_are_named),
        cmocka_unit_test(copies_do_not_crowd_out_the_rest),
        cmocka_unit_test(vectors_follow_the_store),
        cmocka_unit_test(documents_and_passages_can_be_visited),
        cmocka_unit_test(killed_in_the_middle_the_indexes_still_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
