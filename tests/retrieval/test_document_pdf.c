#include "tests/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"
#include "retrieval/document_child.h"
#include "retrieval/document_pdf.h"
#include "tests/retrieval/made.h"

static const char *text_at(const struct document *d, size_t i)
{
    static char text[4096];
    if (i >= d->n_blocks) fail_msg("only %zu blocks", d->n_blocks);
    const struct block *b = &d->blocks[i];
    snprintf(text, sizeof text, "%.*s", (int)(b->text_end - b->text_first),
             (const char *)d->text.data + b->text_first);
    return text;
}

static struct place place_of(const struct document *d, size_t i)
{
    return document_place(d, d->blocks[i].text_first, d->blocks[i].text_end);
}

static enum tacit_err read_pages(struct document *d, const char *const *pages,
                                 size_t n, const char *encrypt)
{
    struct buf pdf;
    made_pdf(&pdf, pages, n, encrypt);
    check_ok(buf_end(&pdf));
    check_ok(document_open_bytes(d, "/a/b.pdf", pdf.data, pdf.len));
    buf_release(&pdf);
    return document_parse(d);
}

static int has_pdftotext(void)
{
    char path[CHILD_PATH_MAX];
    return child_find("pdftotext", path);
}

static void a_pdf_is_read_with_its_page_numbers(void **state)
{
    (void)state;
    static const char *const pages[] = {
        "1. Dosing\n\nGive five milligrams\nof warfarin at night.",
        "Stop it before surgery.",
        "2. Reversal\n\nGive vitamin K.",
    };
    struct document d;
    if (!has_pdftotext()) skip_missing("pdftotext");
    check_ok(read_pages(&d, pages, 3, NULL));
    assert_string_equal(document_kind(&d), "pdf");
    assert_int_equal(d.n_pages, 3);
    int found = 0;
    for (size_t i = 0; i < d.n_blocks; i++) {
        struct place p = place_of(&d, i);
        assert_int_equal(p.page_first, p.page_last);
        if (strstr(text_at(&d, i), "milligrams of warfarin"))
            found |= p.page_first == 1;
        if (strcmp(text_at(&d, i), "Stop it before surgery.") == 0)
            found |= (p.page_first == 2) << 1;
        if (strstr(text_at(&d, i), "vitamin K"))
            found |= (p.page_first == 3) << 2;
    }
    assert_int_equal(found, 7);
    assert_string_equal(d.note, "");
    document_release(&d);
}

static void an_encrypted_pdf_says_how_to_decrypt_it(void **state)
{
    (void)state;
    static const char *const pages[] = {"Secret."};
    struct document d;
    if (!has_pdftotext()) skip_missing("pdftotext");
    enum tacit_err err = read_pages(
        &d, pages, 1,
        "<</Filter/Standard/V 1/R 2/P -4/O<"
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f>/U<"
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f>>>"
        "/ID[<00><00>]");
    assert_non_null(strstr(err_message(), "qpdf --decrypt"));
    check_code(err, E_DOCUMENT_ENCRYPTED);
    document_release(&d);
}

static void scanned_pages_are_told_from_empty_files(void **state)
{
    (void)state;
    static const char *const pages[] = {"", "", ""};
    static const char *const mixed[] = {"", "Text here.", ""};
    struct document d;
    if (!has_pdftotext()) skip_missing("pdftotext");
    enum tacit_err err = read_pages(&d, pages, 3, NULL);
    assert_non_null(strstr(err_message(), "3 pages"));
    assert_non_null(strstr(err_message(), "ocrmypdf"));
    check_code(err, E_DOCUMENT_SCANNED);
    document_release(&d);
    check_ok(read_pages(&d, mixed, 3, NULL));
    assert_string_equal(d.note, "2 of 3 pages hold no text (scanned or empty)");
    assert_int_equal(place_of(&d, 0).page_first, 2);
    document_release(&d);
}

static void what_is_no_pdf_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const broken[] = {"%PDF-1.4\nrubbish", "plain text",
                                         "%PDF-1.7\n1 0 obj<<"};
    struct document d;
    if (!has_pdftotext()) skip_missing("pdftotext");
    for (size_t i = 0; i < 3; i++) {
        check_ok(
            document_open_bytes(&d, "x.pdf", broken[i], strlen(broken[i])));
        check_code(document_parse(&d), E_DOCUMENT_DAMAGED);
        document_release(&d);
    }
}

static void without_pdftotext_its_package_is_named(void **state)
{
    (void)state;
    struct document d;
    char *path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin");
    check_ok(document_open_bytes(&d, "x.pdf", "%PDF-1.4", 8));
    setenv("PATH", "/nonexistent:relative", 1);
    enum tacit_err err = document_parse(&d);
    setenv("PATH", path, 1);
    free(path);
    assert_non_null(strstr(err_message(), "poppler-utils"));
    check_code(err, E_DOCUMENT_HELPER);
    document_release(&d);
}

/* ---- the pages' text ------------------------------------------------------
 */

static enum tacit_err take_pages(struct document *d, const char *text, size_t n)
{
    check_ok(document_open_bytes(d, "x.pdf", "%PDF", 4));
    struct builder b = {.d = d};
    return document_pdf_pages(&b, text, n);
}

static void words_divided_at_a_lines_end_are_joined(void **state)
{
    (void)state;
    static const char text[] = "The infor-\nmation is for in-house and X-\nray "
                               "use.\n\f";
    struct document d;
    check_ok(take_pages(&d, text, sizeof text - 1));
    assert_string_equal(text_at(&d, 0),
                        "The information is for in-house and X- ray use.");
    document_release(&d);
}

static void a_paragraph_goes_on_behind_a_pages_end(void **state)
{
    (void)state;
    static const char text[] =
        "Guide for Wards\n\nGive it at night and\n\n"
        "Page 9\n\fGuide for Wards\n\nnever by day. Then "
        "stop.\n\nPage 10\n\fGuide for Wards\n\nNew "
        "paragraph.\n\nPage 11\n\f";
    struct document d;
    check_ok(take_pages(&d, text, sizeof text - 1));
    assert_int_equal(d.n_blocks, 2);
    assert_string_equal(text_at(&d, 0),
                        "Give it at night and never by day. Then stop.");
    assert_string_equal(text_at(&d, 1), "New paragraph.");
    document_release(&d);
}

static void pages_over_the_limit_are_cut_and_said(void **state)
{
    (void)state;
    struct document d;
    struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < DOCUMENT_PAGES_MAX + 1; i++)
        buf_printf(&text, "Leaf %d is about number %d.\n\f", i, i);
    check_ok(take_pages(&d, (const char *)text.data, text.len));
    assert_string_equal(d.note,
                        "only the first 10000 pages were read, the limit");
    assert_string_equal(text_at(&d, d.n_blocks - 1),
                        "Leaf 9999 is about number 9999.");
    document_release(&d);
    buf_release(&text);
}

/* ---- the child ------------------------------------------------------------
 */

static const struct child_limits small = {.cpu_s = 2,
                                          .wall_ms = 700,
                                          .memory_bytes = 256 << 20,
                                          .output_bytes = 1000};

static enum tacit_err shell(const char *script, struct buf *out,
                            struct child_result *r)
{
    const char *const argv[] = {"/bin/bash", "--norc", "-c", script, NULL};
    buf_init(out, 0);
    return child_run(argv, 0, &small, out, r);
}

static void a_child_can_print_and_nothing_else(void **state)
{
    (void)state;
    struct buf out;
    struct child_result r;
    char dir[256], script[600];
    check_tmpdir(dir);
    check_ok(shell("echo heard; echo said >&2", &out, &r));
    assert_int_equal(r.end, CHILD_EXITED);
    assert_memory_equal(out.data, "heard\n", 6);
    assert_non_null(strstr(r.message, "said"));
    buf_release(&out);
    /* No files, no processes, no network, no signals to others. */
    snprintf(script, sizeof script, "echo x > %s/made; echo $?", dir);
    check_ok(shell(script, &out, &r));
    assert_memory_equal(out.data, "1\n", 2);
    buf_release(&out);
    snprintf(script, sizeof script, "%s/made", dir);
    assert_int_not_equal(access(script, F_OK), 0);
    check_ok(shell("/bin/true & echo started", &out, &r));
    assert_non_null(strstr(r.message, "fork"));
    buf_release(&out);
    check_ok(shell("echo x > /dev/tcp/127.0.0.1/9 || echo refused", &out, &r));
    assert_memory_equal(out.data, "refused\n", 8);
    assert_null(strstr(r.message, "Connection"));
    buf_release(&out);
    snprintf(script, sizeof script, "kill -0 %d || echo refused",
             (int)getpid());
    check_ok(shell(script, &out, &r));
    assert_memory_equal(out.data, "refused\n", 8);
    buf_release(&out);
    check_tmpdir_remove(dir);
}

static void a_child_that_does_not_end_is_stopped(void **state)
{
    (void)state;
    struct buf out;
    struct child_result r;
    check_ok(shell("echo one; while :; do :; done", &out, &r));
    assert_int_equal(r.end, CHILD_TOO_LATE);
    assert_memory_equal(out.data, "one\n", 4);
    buf_release(&out);
    check_ok(shell("exec >&- 2>&-; while :; do :; done", &out, &r));
    assert_int_equal(r.end, CHILD_TOO_LATE);
    buf_release(&out);
    check_ok(shell("while :; do echo 0123456789; done", &out, &r));
    assert_true(r.is_cut);
    assert_int_equal(out.len, 1000);
    buf_release(&out);
    const char *const argv[] = {"/nonexistent/program", NULL};
    buf_init(&out, 0);
    check_err(child_run(argv, 0, &small, &out, &r), TACIT_IO);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pdf_is_read_with_its_page_numbers),
        cmocka_unit_test(an_encrypted_pdf_says_how_to_decrypt_it),
        cmocka_unit_test(scanned_pages_are_told_from_empty_files),
        cmocka_unit_test(what_is_no_pdf_is_refused_with_a_reason),
        cmocka_unit_test(without_pdftotext_its_package_is_named),
        cmocka_unit_test(words_divided_at_a_lines_end_are_joined),
        cmocka_unit_test(a_paragraph_goes_on_behind_a_pages_end),
        cmocka_unit_test(pages_over_the_limit_are_cut_and_said),
        cmocka_unit_test(a_child_can_print_and_nothing_else),
        cmocka_unit_test(a_child_that_does_not_end_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
