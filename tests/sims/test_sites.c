#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "sims/sites.h"
#include "sims/story.h"
#include "sims/world.h"
#include "tests/sims/page.h"

enum { PATH_BYTES = 512 };

/* Raw ages, so that a row can be told from another. */
static const char plan_format[] =
    "name: small\n"
    "task: classify\n"
    "model: {kind: logistic}\n"
    "data:\n"
    "  source: patients\n"
    "  label: disease\n"
    "  columns: [{name: age}, {name: thalach}, {name: chol}]\n"
    "  standardise: none\n"
    "  holdout: 0.3\n"
    "rounds: 1\n"
    "cohort: {size: 2, min_reports: 2}\n"
    "sim: {clients: %u, rows: %u, partition: %s}\n";

static struct plan *plan_of(unsigned clients, unsigned rows, const char *way)
{
    char text[1024];
    struct plan *p = NULL;
    int n = snprintf(text, sizeof text, plan_format, clients, rows, way);
    check_ok(plan_parse("small.yaml", text, (size_t)n, &p));
    return p;
}

static void put(const char *folder, const char *name, const char *text)
{
    char path[PATH_BYTES];
    check_ok(file_join(path, sizeof path, folder, name));
    FILE *f = fopen(path, "w");
    check(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* ---- the invented world ------------------------------------------------- */

/* Row number i of a client, wherever the split has put it. */
static const float *row_at(const struct plan *p, const struct dataset *d,
                           uint64_t i)
{
    size_t n = 0;
    int held = examples_held_out(p, i);
    for (uint64_t k = 0; k < i; k++) n += examples_held_out(p, k) == held;
    const struct examples *e = held ? &d->test : &d->train;
    check(n < e->n_rows && e->x_dim == 3);
    return e->x + 3 * n;
}

static int is_patient(const float *x, uint64_t seed, size_t site, uint64_t row)
{
    struct world_patient w;
    world_patient(seed, site, row, &w);
    return x[0] == (float)w.age && x[1] == (float)w.thalach &&
           x[2] == (float)w.chol;
}

static void by_site_each_client_has_rows_of_its_site_alone(void **state)
{
    (void)state;
    struct plan *p = plan_of(9, 20, "sites");
    struct sites s;
    check_ok(sites_invent(p, &s));
    check(s.n == 9);
    for (size_t i = 0; i < s.n; i++) {
        char name[SITES_NAME_MAX];
        const struct dataset *d = &s.data[i];
        snprintf(name, sizeof name, "%s-%zu", world_site_name(i % 4), i / 4);
        assert_string_equal(s.name[i], name);
        check(d->train.n_rows + d->test.n_rows == 20 && d->n_dropped == 0);
        for (uint64_t r = 0; r < 20; r++)
            check(is_patient(row_at(p, d, r), p->seed, i % 4, i / 4 * 20 + r));
    }
    sites_release(&s);
    plan_free(p);
}

static void iid_each_client_has_rows_of_all_sites(void **state)
{
    (void)state;
    struct plan *p = plan_of(5, 60, "iid");
    struct sites s;
    check_ok(sites_invent(p, &s));
    for (size_t i = 0; i < s.n; i++) {
        unsigned seen = 0;
        for (uint64_t r = 0; r < 60; r++) {
            unsigned from = 0;
            for (size_t k = 0; k < WORLD_SITES; k++)
                if (is_patient(row_at(p, &s.data[i], r), p->seed, k,
                               i * 60 + r))
                    from |= 1U << k;
            check(from != 0);
            seen |= from;
        }
        check(seen == 0xf);
    }
    sites_release(&s);
    plan_free(p);
}

static void the_same_plan_invents_the_same_rows(void **state)
{
    (void)state;
    static const char *const ways[] = {"sites", "iid"};
    for (size_t w = 0; w < 2; w++) {
        struct plan *p = plan_of(6, 25, ways[w]);
        struct sites a, b;
        check_ok(sites_invent(p, &a));
        check_ok(sites_invent(p, &b));
        for (size_t i = 0; i < a.n; i++) {
            const struct examples *x = &a.data[i].train, *y = &b.data[i].train;
            check(x->n_rows == y->n_rows);
            check(memcmp(x->x, y->x, x->n_rows * 3 * sizeof(float)) == 0);
            check(memcmp(x->y, y->y, x->n_rows * sizeof(float)) == 0);
        }
        sites_release(&a);
        sites_release(&b);
        plan_free(p);
    }
}

static void what_cannot_be_invented_is_said(void **state)
{
    (void)state;
    struct sites s = {.n = 7};
    struct plan *p = NULL;
    check_ok(plan_load("sims/clinic/retriever.yaml", &p));
    check(sites_invent(p, &s) == TACIT_UNSUPPORTED);
    check(strstr(err_message(), "--data") != NULL);
    err_clear();
    plan_free(p);
    p = plan_of(SITES_MAX + 1, 2, "sites");
    check_err(sites_invent(p, &s), TACIT_LIMIT);
    plan_free(p);
    /* A column that no patient has. */
    p = plan_of(2, 20, "sites");
    snprintf(p->columns[1].name, sizeof p->columns[1].name, "thalak");
    check(sites_invent(p, &s) == TACIT_FORMAT);
    check(strstr(err_message(), "thalak") && strstr(err_message(), "--data"));
    check_code(TACIT_FORMAT, E_CSV_COLUMN);
    plan_free(p);
    check(s.n == 7);
}

/* ---- a folder ----------------------------------------------------------- */

static const char table[] = "age,thalach,chol,disease,split\n"
                            "40,150,200,0,train\n"
                            "50,140,210,1,train\n"
                            "60,130,220,1,test\n"
                            "61,,220,1,test\n";

static void each_csv_of_a_folder_is_a_client_in_order_of_name(void **state)
{
    (void)state;
    char folder[256];
    struct plan *p = plan_of(2, 10, "sites");
    struct sites s;
    check_tmpdir(folder);
    put(folder, "west.csv", table);
    put(folder, "east.csv", table);
    put(folder, ".hidden.csv", "not a table");
    put(folder, "notes.txt", "nor this");
    put(folder, ".csv", "nor this");
    check_ok(sites_load(p, folder, &s));
    check(s.n == 2);
    assert_string_equal(s.name[0], "east.csv");
    assert_string_equal(s.name[1], "west.csv");
    for (size_t i = 0; i < 2; i++) {
        check(s.data[i].train.n_rows == 2 && s.data[i].test.n_rows == 1);
        check(s.data[i].n_dropped == 1 && s.data[i].train.x[3] == 50);
    }
    sites_release(&s);
    plan_free(p);
    check_tmpdir_remove(folder);
}

static void a_folder_that_will_not_do_says_why(void **state)
{
    (void)state;
    char folder[256];
    struct plan *p = plan_of(2, 10, "sites");
    struct sites s = {.n = 7};
    check_tmpdir(folder);
    check_err(sites_load(p, "sims/clinic/no-such-folder", &s), TACIT_IO);
    check_err(sites_load(p, folder, &s), TACIT_NOTFOUND);
    put(folder, "a.csv", table);
    check(sites_load(p, folder, &s) == TACIT_NOTFOUND);
    check(strstr(err_message(), "1 clients") && strstr(err_message(), ".csv"));
    err_clear();
    put(folder, "b.csv", "age,thalach,chol,disease\n40,150,much,1\n");
    check(sites_load(p, folder, &s) == TACIT_FORMAT);
    check(strstr(err_message(), "b.csv:2") && strstr(err_message(), "chol"));
    check_code(TACIT_FORMAT, E_CSV_VALUE);
    check(s.n == 7);
    plan_free(p);
    check_tmpdir_remove(folder);
}

static void a_retriever_client_is_a_folder_of_documents_and_questions(
    void **state)
{
    (void)state;
    static const char *const names[] = {"harbour", "hillcrest", "lakeside",
                                        "northgate"};
    struct plan *p = NULL;
    struct sites s;
    check_ok(plan_load("sims/clinic/retriever.yaml", &p));
    check_ok(sites_load(p, "sims/clinic", &s));
    check(s.n == 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(s.name[i], names[i]);
        check(s.data[i].test.n_rows == 25 && s.data[i].train.n_rows >= 50);
        check(s.data[i].test.n_pool > 80);
    }
    sites_release(&s);
    plan_free(p);
}

static void documents_without_questions_name_the_missing_file(void **state)
{
    (void)state;
    char folder[256], path[PATH_BYTES];
    struct plan *p = NULL;
    struct sites s = {.n = 7};
    check_tmpdir(folder);
    check_ok(plan_load("sims/clinic/retriever.yaml", &p));
    check_ok(file_join(path, sizeof path, folder, "ward/documents"));
    check_ok(file_mkdirs(path, 0700));
    put(path, "a.md", "# Keys\n\nThe key hangs at the gate.\n");
    check(sites_load(p, folder, &s) == TACIT_NOTFOUND);
    check(strstr(err_message(), "questions.csv") != NULL);
    err_clear();
    check(s.n == 7);
    plan_free(p);
    check_tmpdir_remove(folder);
}

/* ---- the story of a federation ------------------------------------------ */

#define OK "{\"schema_version\":1,\"status\":\"ok\",\"data\":"

static const char rounds[] =
    OK "{\"rounds\":["
       "{\"plan\":\"risk\",\"round\":1,\"state\":\"committed\",\"loss\":0.6,"
       "\"metric\":0.7,\"duration_ms\":5},"
       "{\"plan\":\"risk\",\"round\":2,\"state\":\"aborted\",\"loss\":9,"
       "\"metric\":9,\"duration_ms\":900},"
       "{\"plan\":\"risk\",\"round\":2,\"state\":\"committed\",\"loss\":0.5,"
       "\"metric\":0.8,\"duration_ms\":7},"
       "{\"plan\":\"retriever\",\"round\":1,\"state\":\"committed\","
       "\"loss\":2,\"metric\":0.3,\"duration_ms\":6}]}}";
static const char trained[] =
    OK "{\"n_train\":46,\"local\":{\"metric\":0.8},"
       "\"initial\":{\"metric\":0.1},\"federated\":{\"metric\":0.9}}}";
static const char answer[] =
    OK "{\"sentences\":[{\"text\":\"Keys hang <there>.\",\"citation\":1}],"
       "\"citations\":[{\"number\":1,\"title\":\"Keys & \\\"locks\\\"\","
       "\"heading\":\"Gate\",\"path\":\"/a/b/keys.md\",\"lines\":[7,9]}]}}";
static const char audit[] =
    OK "{\"releases\":[{\"min_cohort\":3},{\"min_cohort\":3}],"
       "\"bytes\":4096,\"chain_ok\":true}}";

static void put_story(const char *folder)
{
    put(folder, "rounds.json", rounds);
    put(folder, "train-risk-harbour.json", trained);
    put(folder, "train-retriever-harbour.json", trained);
    put(folder, "ask-1-harbour.json", answer);
    put(folder, "ask-1-harbour.txt", "where is the <key>?\nsecond line\n");
    put(folder, "ask-2-lakeside.json",
        "{\"schema_version\":1,\"status\":\"error\",\"error\":{}}");
    put(folder, "ask-2-lakeside.txt", "who won?");
    put(folder, "audit-harbour.json", audit);
}

static void a_folder_of_results_is_told_whole(void **state)
{
    (void)state;
    char folder[256];
    struct report r;
    static const char *const wanted[] = {
        "<b>1</b>\n<span>sites",
        "<b>3</b>\n<span>secure sums",
        "<b>6 ms</b>",
        "<td>harbour</td>\n<td class=\"n\">46</td>\n"
        "<td class=\"n\">0.800</td>\n<td class=\"n\">0.900</td>\n"
        "<td class=\"n\">+0.100</td>",
        "<td class=\"n\">+0.800</td>",
        "where is the &lt;key&gt;?</b>",
        "Keys hang &lt;there&gt;. [1]",
        "[1] Keys &amp; &quot;locks&quot; &gt; Gate (keys.md, line 7)",
        "<b>who won?</b>\n<div>Nothing here answers this.</div>",
        "<td class=\"n\">2</td>\n<td class=\"n\">4096</td>\n"
        "<td>at least 3</td>",
        "<td>whole</td>"};
    check_tmpdir(folder);
    put_story(folder);
    check_ok(story_tell(folder, &r));
    page_check(&r.out);
    const char *text = buf_cstr(&r.out);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!strstr(text, wanted[i])) fail_msg("no %s", wanted[i]);
    check(strstr(text, "second line") == NULL);
    /* One retriever round is no curve; the risk plan has two. */
    check(strstr(text, "Risk model: loss") && !strstr(text, "Search model: l"));
    report_release(&r);
    check_tmpdir_remove(folder);
}

/* Three groups of round 1, two of round 2: two points, each the mean by weight,
 * drawn as the same curves as of rounds of one sum. */
static void the_groups_of_a_round_are_one_point(void **state)
{
    (void)state;
    static const char grouped[] =
        OK "{\"rounds\":["
           "{\"plan\":\"risk\",\"round\":1,\"group\":1,\"weight\":3,"
           "\"state\":\"committed\",\"loss\":0.75,\"metric\":0.5},"
           "{\"plan\":\"risk\",\"round\":1,\"group\":2,\"weight\":1,"
           "\"state\":\"committed\",\"loss\":0.25,\"metric\":0.75},"
           "{\"plan\":\"risk\",\"round\":1,\"group\":3,\"weight\":9,"
           "\"state\":\"aborted\",\"loss\":9,\"metric\":9},"
           "{\"plan\":\"risk\",\"round\":2,\"group\":2,\"weight\":1,"
           "\"state\":\"committed\",\"loss\":0.25,\"metric\":0.75},"
           "{\"plan\":\"risk\",\"round\":2,\"group\":1,\"weight\":1,"
           "\"state\":\"committed\",\"loss\":0.75,\"metric\":0.25}]}}";
    static const char merged[] =
        OK "{\"rounds\":["
           "{\"plan\":\"risk\",\"round\":1,\"state\":\"committed\","
           "\"loss\":0.625,\"metric\":0.5625},"
           "{\"plan\":\"risk\",\"round\":2,\"state\":\"committed\","
           "\"loss\":0.5,\"metric\":0.5}]}}";
    const char *const both[] = {grouped, merged};
    char folder[256], *curves[2] = {NULL, NULL};
    check_tmpdir(folder);
    for (int i = 0; i < 2; i++) {
        struct report r;
        put(folder, "rounds.json", both[i]);
        check_ok(story_tell(folder, &r));
        page_check(&r.out);
        const char *from = strstr(buf_cstr(&r.out), "Risk model: loss");
        check(from != NULL);
        curves[i] = strdup(from);
        report_release(&r);
    }
    assert_string_equal(curves[0], curves[1]);
    free(curves[0]);
    free(curves[1]);
    check_tmpdir_remove(folder);
}

static void what_is_missing_or_damaged_is_left_out(void **state)
{
    (void)state;
    char folder[256];
    struct report r;
    check_tmpdir(folder);
    check_err(story_tell("sims/clinic/no-such-folder", &r), TACIT_IO);
    check_err(story_tell(folder, &r), TACIT_NOTFOUND);
    put(folder, "rounds.json", OK "{\"rounds\":7}}");
    check(story_tell(folder, &r) == TACIT_NOTFOUND);
    check(strstr(err_message(), "rounds.json") != NULL);
    err_clear();
    put(folder, "rounds.json", OK "{\"rounds\":[]}}");
    check_ok(story_tell(folder, &r));
    page_check(&r.out);
    check(strstr(buf_cstr(&r.out), "<table") == NULL);
    report_release(&r);
    put(folder, "train-risk-a.json", "{");
    put(folder, "audit-b.json", "[]");
    put(folder, "ask-1.json", OK "{\"sentences\":{},\"citations\":3}}");
    put(folder, "train-risk-.json", trained);
    check_ok(story_tell(folder, &r));
    page_check(&r.out);
    check(strstr(buf_cstr(&r.out), "<td>BROKEN</td>") != NULL);
    report_release(&r);
    check_tmpdir_remove(folder);
}

static void more_than_fits_is_cut_and_still_a_page(void **state)
{
    (void)state;
    char folder[256], name[80];
    struct report r;
    struct buf b;
    check_tmpdir(folder);
    put_story(folder);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "audit-%03d.json", i);
        put(folder, name, audit);
        snprintf(name, sizeof name, "train-risk-%03d.json", i);
        put(folder, name, trained);
    }
    /* Thirty sources of two-byte letters do not fit into one line. */
    buf_init(&b, 0);
    buf_printf(&b, OK "{\"sentences\":[],\"citations\":[");
    for (int i = 0; i < 30; i++)
        buf_printf(&b, "%s{\"number\":1,\"title\":\"%.*sääääääääää\"}",
                   i ? "," : "", i % 3, "xyz");
    buf_printf(&b, "]}}");
    put(folder, "ask-0-lakeside.json", buf_cstr(&b));
    buf_release(&b);
    check_ok(story_tell(folder, &r));
    page_check(&r.out);
    report_release(&r);
    check_tmpdir_remove(folder);
}

/* Any one byte of any file changed, or the file cut there. */
static void damaged_results_still_make_a_page(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
    } files[] = {{"rounds.json", rounds},
                 {"train-risk-harbour.json", trained},
                 {"ask-1-harbour.json", answer},
                 {"audit-harbour.json", audit}};
    static const char bytes[] = "\"{}[],:-9e<\xff\x01";
    char folder[256], text[1024];
    struct rng rng;
    rng_init(&rng, 31, 0, 0);
    check_tmpdir(folder);
    put_story(folder);
    for (int i = 0; i < 400; i++) {
        size_t f = (size_t)i % 4, n = strlen(files[f].text);
        struct report r;
        memcpy(text, files[f].text, n + 1);
        size_t at = (size_t)rng_below(&rng, n);
        text[at] = bytes[rng_below(&rng, sizeof bytes)]; /* or its NUL */
        put(folder, files[f].name, text);
        enum tacit_err err = story_tell(folder, &r);
        if (err)
            check_err(err, TACIT_NOTFOUND);
        else {
            page_check(&r.out);
            report_release(&r);
        }
        put(folder, files[f].name, files[f].text);
    }
    check_tmpdir_remove(folder);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_site_each_client_has_rows_of_its_site_alone),
        cmocka_unit_test(iid_each_client_has_rows_of_all_sites),
        cmocka_unit_test(the_same_plan_invents_the_same_rows),
        cmocka_unit_test(what_cannot_be_invented_is_said),
        cmocka_unit_test(each_csv_of_a_folder_is_a_client_in_order_of_name),
        cmocka_unit_test(a_folder_that_will_not_do_says_why),
        cmocka_unit_test(
            a_retriever_client_is_a_folder_of_documents_and_questions),
        cmocka_unit_test(documents_without_questions_name_the_missing_file),
        cmocka_unit_test(a_folder_of_results_is_told_whole),
        cmocka_unit_test(the_groups_of_a_round_are_one_point),
        cmocka_unit_test(what_is_missing_or_damaged_is_left_out),
        cmocka_unit_test(more_than_fits_is_cut_and_still_a_page),
        cmocka_unit_test(damaged_results_still_make_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
