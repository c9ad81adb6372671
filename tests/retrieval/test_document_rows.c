#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/document.h"
#include "tests/retrieval/blocks.h"

static enum tacit_err read(struct document *d, const char *name,
                           const char *text)
{
    check_ok(document_open_bytes(d, name, text, strlen(text)));
    return document_parse(d);
}

/* ---- CSV ------------------------------------------------------------------
 */

static void a_row_names_its_cells_and_keeps_its_place(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "/a/drugs.csv",
                  "drug,dose,note\r\nWarfarin,5 mg,\"at \"\"night\"\",\nonly\""
                  "\r\nHeparin,,none\n"));
    assert_string_equal(
        blocks_of(&d),
        "R drug: Warfarin | dose: 5 mg | note: at \"night\", only\n"
        "R drug: Heparin | note: none\n");
    assert_string_equal(source_of(&d, 0),
                        "Warfarin,5 mg,\"at \"\"night\"\",\nonly\"");
    assert_string_equal(source_of(&d, 1), "Heparin,,none");
    assert_int_equal(place_of(&d, 0).line_first, 2);
    assert_int_equal(place_of(&d, 1).line_first, 4);
    assert_string_equal(document_kind(&d), "csv");
    document_release(&d);
}

static void semicolons_tabs_and_a_lone_header_are_read(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "a.csv",
                  "\xef\xbb\xbf"
                  "a;\"b, c\"\n1,5;2\n"));
    assert_string_equal(blocks_of(&d), "R a: 1,5 | b, c: 2\n");
    document_release(&d);
    check_ok(read(&d, "a.tsv", "a\tb\n1\t2\n"));
    assert_string_equal(blocks_of(&d), "R a: 1 | b: 2\n");
    document_release(&d);
    check_ok(read(&d, "a.csv", "name,age\n"));
    assert_string_equal(blocks_of(&d), "R name | age\n");
    document_release(&d);
}

static void a_row_that_does_not_fit_is_left_out_and_listed(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "b.csv",
                  "a,b\n1,2\n3\n\"x\ny\",5,6\n7,\"8\n9,\"1\n0\"\nq\"r,s\n"
                  "\"s\"t,u\n"
                  "11,12\n"));
    assert_string_equal(blocks_of(&d), "R a: 1 | b: 2\nR a: 9 | b: 1 0\n"
                                       "R a: 11 | b: 12\n");
    assert_string_equal(d.note,
                        "5 rows left out: line 3: 1 value; the header names "
                        "2; line 4: more values than the header names; line "
                        "6: text behind a closing quote; …");
    assert_string_equal(source_of(&d, 1), "9,\"1\n0\"");
    assert_int_equal(place_of(&d, 1).line_first, 7);
    assert_int_equal(place_of(&d, 2).line_first, 11);
    document_release(&d);
    check_ok(read(&d, "b.csv", "a,b\n1,2\n3,\"4\n5,6\n"));
    assert_string_equal(blocks_of(&d), "R a: 1 | b: 2\nR a: 5 | b: 6\n");
    assert_string_equal(d.note,
                        "1 row left out: line 3: a quote is not closed");
    document_release(&d);
}

static void a_table_without_a_row_that_fits_is_refused(void **state)
{
    (void)state;
    struct document d;
    enum tacit_err err = read(&d, "/a/b.csv", "a,b\n\n3\n");
    assert_non_null(strstr(err_message(), "b.csv: line 3: 1 value"));
    check_code(err, E_DOCUMENT_DAMAGED);
    document_release(&d);
    check_code(read(&d, "b.csv", "a,b\n1,\"2\n"), E_DOCUMENT_DAMAGED);
    document_release(&d);
    check_code(read(&d, "b.csv", "a,\"b\n1,2\n"), E_DOCUMENT_DAMAGED);
    document_release(&d);
}

/* ---- lines of JSON --------------------------------------------------------
 */

static void a_line_of_json_is_a_row_of_its_members(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "a.jsonl",
                  "{\"drug\":\"Warf\\u0061rin\",\"dose\":{\"mg\":5,\"at\":"
                  "\"night\"},\"tags\":[\"a\",\"b\"],\"x\":null}\r\n\n"
                  "{\"ok\":true,\"rows\":[{\"n\":1.5},{\"n\":2}]}\n"));
    assert_string_equal(
        blocks_of(&d),
        "R drug: Warfarin | dose.mg: 5 | dose.at: night | tags: a, b\n"
        "R ok: yes | rows.n: 1.5 | rows.n: 2\n");
    assert_string_equal(source_of(&d, 1),
                        "{\"ok\":true,\"rows\":[{\"n\":1.5},{\"n\":2}]}");
    assert_int_equal(place_of(&d, 1).line_first, 3);
    document_release(&d);
}

static void a_bad_line_of_json_is_left_out_and_listed(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "a.ndjson",
                  "{\"a\":1}\n{\"a\":\n\n{\"a\":\"\x1b\"}\n"
                  "{\"a\":2}"));
    assert_string_equal(blocks_of(&d), "R a: 1\nR a: 2\n");
    assert_non_null(strstr(d.note, "2 rows left out: line 2: column "));
    assert_non_null(strstr(d.note, "; line 4: column "));
    assert_null(strchr(d.note, '\x1b'));
    document_release(&d);
    enum tacit_err err = read(&d, "a.ndjson", "\n{\"a\":\n");
    assert_non_null(strstr(err_message(), "line 2:"));
    check_code(err, E_DOCUMENT_DAMAGED);
    document_release(&d);
    static char deep[10000];
    memset(deep, '[', sizeof deep - 1);
    check_code(read(&d, "a.jsonl", deep), E_DOCUMENT_DAMAGED);
    document_release(&d);
}

static void a_line_of_countless_members_is_cut_and_said(void **state)
{
    (void)state;
    struct document d;
    struct buf line;
    buf_init(&line, 0);
    buf_printf(&line, "{\"a\":[0");
    for (int i = 0; i < 9000; i++) buf_printf(&line, ",%d", i);
    buf_printf(&line, "]}\n");
    check_ok(read(&d, "a.jsonl", buf_cstr(&line)));
    assert_non_null(strstr(d.note, "line 1 has more than 4096 members"));
    document_release(&d);
    buf_release(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_names_its_cells_and_keeps_its_place),
        cmocka_unit_test(semicolons_tabs_and_a_lone_header_are_read),
        cmocka_unit_test(a_row_that_does_not_fit_is_left_out_and_listed),
        cmocka_unit_test(a_table_without_a_row_that_fits_is_refused),
        cmocka_unit_test(a_line_of_json_is_a_row_of_its_members),
        cmocka_unit_test(a_bad_line_of_json_is_left_out_and_listed),
        cmocka_unit_test(a_line_of_countless_members_is_cut_and_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
