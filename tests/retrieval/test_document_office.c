#include "tests/check.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "common/base/codes.h"
#include "retrieval/document.h"
#include "retrieval/document_zip.h"
#include "tests/retrieval/blocks.h"
#include "tests/retrieval/made.h"

#define W                                                                      \
 "<w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/"   \
 "2006/main\" xmlns:mc=\"http://schemas.openxmlformats.org/"                   \
 "markup-compatibility/2006\"><w:body>"
#define W_END "</w:body></w:document>"

static enum tacit_err read_zip(struct document *d, const char *name,
                               struct made_zip *z)
{
    made_zip_end(z);
    check_ok(buf_end(&z->bytes));
    check_ok(document_open_bytes(d, name, z->bytes.data, z->bytes.len));
    buf_release(&z->bytes);
    return document_parse(d);
}

static enum tacit_err read_docx(struct document *d, const char *body)
{
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(&z, "word/document.xml", body);
    return read_zip(d, "/a/b.docx", &z);
}

/* ---- DOCX -----------------------------------------------------------------
 */

static const char docx_styles[] =
    "<w:styles xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/"
    "2006/main\">"
    "<w:style w:styleId=\"Titel\"><w:name w:val=\"Title\"/></w:style>"
    "<w:style w:styleId=\"berschrift1\"><w:name w:val=\"heading 1\"/>"
    "<w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr></w:style>"
    "<w:style w:styleId=\"Mine\"><w:name w:val=\"My head\"/>"
    "<w:basedOn w:val=\"berschrift1\"/></w:style>"
    "<w:style w:styleId=\"V1\"><w:name w:val=\"toc 1\"/></w:style>"
    "</w:styles>";

static void a_docx_has_headings_lists_and_rows(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(&z, "word/styles.xml", docx_styles);
    made_zip_text(
        &z, "word/document.xml",
        W "<w:p><w:pPr><w:pStyle w:val=\"V1\"/></w:pPr><w:r><w:t>Dose 3</w:t>"
          "</w:r></w:p>"
          "<w:p><w:pPr><w:pStyle w:val=\"Titel\"/></w:pPr><w:r><w:t>Ward "
          "guide</w:t></w:r></w:p>"
          "<w:p><w:pPr><w:pStyle w:val=\"Mine\"/></w:pPr><w:r><w:t>Do</w:t>"
          "</w:r><w:r><w:t>se</w:t></w:r></w:p>"
          "<w:p><w:r><w:t>Give 5</w:t><w:noBreakHyphen/><w:t>10 mg.</w:t>"
          "<w:br/><w:t xml:space=\"preserve\"> Not by day &amp; "
          "night.</w:t></w:r><w:del><w:r><w:delText>gone</w:delText><w:t>"
          "gone</w:t></w:r></w:del></w:p>"
          "<w:p><w:pPr><w:numPr><w:ilvl w:val=\"1\"/><w:numId w:val=\"3\"/>"
          "</w:numPr></w:pPr><w:r><w:t>deep item</w:t></w:r></w:p>"
          "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Drug</w:t></w:r></w:p></w:tc>"
          "<w:tc><w:p><w:r><w:t>Dose</w:t></w:r></w:p><w:p><w:r><w:t>daily"
          "</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
          "<w:p><mc:AlternateContent><mc:Choice><w:r><w:t>once</w:t></w:r>"
          "</mc:Choice><mc:Fallback><w:r><w:t>twice</w:t></w:r></mc:Fallback>"
          "</mc:AlternateContent></w:p>" W_END);
    made_zip_text(&z, "word/footnotes.xml",
                  "<w:footnotes xmlns:w=\"http://schemas.openxmlformats.org/"
                  "wordprocessingml/2006/main\"><w:footnote "
                  "w:type=\"separator\"><w:p><w:r><w:t>---</w:t></w:r></w:p>"
                  "</w:footnote><w:footnote><w:p><w:r><w:t>See page 2.</w:t>"
                  "</w:r></w:p></w:footnote></w:footnotes>");
    check_ok(read_zip(&d, "/a/b.docx", &z));
    assert_string_equal(blocks_of(&d),
                        "H1 Ward guide\nH1 Dose\n"
                        "P Give 5-10 mg. Not by day & night.\nI2 deep item\n"
                        "R Drug | Dose daily\nP once\nP See page 2.\n");
    assert_string_equal(d.title, "Ward guide");
    assert_string_equal(document_kind(&d), "docx");
    /* Line n of the source is paragraph n. */
    assert_int_equal(place_of(&d, 2).line_first, 3);
    assert_int_equal(place_of(&d, 6).line_first, 7);
    assert_string_equal(source_of(&d, 4), "Drug | Dose daily");
    document_release(&d);
}

#define STYLED(id, text)                                                       \
 "<w:p><w:pPr><w:pStyle w:val=\"" id "\"/></w:pPr><w:r><w:t>" text             \
 "</w:t></w:r></w:p>"
#define STYLE(id, name, rest)                                                  \
 "<w:style w:styleId=\"" id "\"><w:name w:val=\"" name "\"/>" rest "</w:style>"

static const char ids_of_styles[] = W STYLED("TOC1", "Dose 3")
    STYLED("TOCHeading", "Contents") STYLED("Title", "Ward guide")
        STYLED("Heading1", "Dose") STYLED("Heading9", "By night")
            STYLED("Heading10", "tenth") STYLED("TOC", "list")
                STYLED("Heading", "none") STYLED("Mine", "derived") W_END;

static void a_docx_without_styles_has_the_headings_of_its_ids(void **state)
{
    (void)state;
    struct document d;
    check_ok(read_docx(&d, ids_of_styles));
    assert_string_equal(blocks_of(&d),
                        "H1 Ward guide\nH1 Dose\nH6 By night\nP tenth\n"
                        "P list\nP none\nP derived\n");
    assert_string_equal(d.title, "Ward guide");
    document_release(&d);
}

static void a_style_of_another_language_is_known_by_its_id(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(
        &z, "word/styles.xml",
        "<w:styles xmlns:w=\"http://schemas.openxmlformats.org/"
        "wordprocessingml/2006/main\">" STYLE("Normal", "Standaard", "")
            STYLE("Title", "Titel", "<w:basedOn w:val=\"Normal\"/>")
                STYLE("TOC1", "Inhopg 1", "<w:basedOn w:val=\"Normal\"/>")
                    STYLE("Heading1", "Kop 1", "<w:basedOn w:val=\"Normal\"/>")
                        STYLE("Mine", "Kopje",
                              "<w:basedOn w:val=\"Heading2\"/>") "</w:styles>");
    made_zip_text(&z, "word/document.xml", ids_of_styles);
    check_ok(read_zip(&d, "/a/b.docx", &z));
    assert_string_equal(blocks_of(&d),
                        "H1 Ward guide\nH1 Dose\nH6 By night\nP tenth\n"
                        "P list\nP none\nH2 derived\n");
    document_release(&d);
}

static void what_a_style_says_counts_more_than_its_id(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(
        &z, "word/styles.xml",
        "<w:styles xmlns:w=\"http://schemas.openxmlformats.org/"
        "wordprocessingml/2006/main\">" STYLE(
            "Heading1", "Kop 1", "<w:pPr><w:outlineLvl w:val=\"9\"/></w:pPr>")
            STYLE("Heading2", "heading 3", "")
                STYLE("Heading3", "Kop 3", "<w:basedOn w:val=\"Fourth\"/>")
                    STYLE("Fourth", "Vierde",
                          "<w:pPr><w:outlineLvl w:val=\"3\"/></w:pPr>")
                        STYLE("TOC1", "heading 1", "") "</w:styles>");
    made_zip_text(&z, "word/document.xml",
                  W STYLED("Heading1", "one") STYLED("Heading2", "two")
                      STYLED("Heading3", "three") STYLED("TOC1", "four") W_END);
    check_ok(read_zip(&d, "/a/b.docx", &z));
    assert_string_equal(blocks_of(&d), "P one\nH3 two\nH4 three\nH1 four\n");
    document_release(&d);
}

static void a_row_that_lays_out_a_page_becomes_paragraphs(void **state)
{
    (void)state;
    struct document d;
    struct buf body;
    buf_init(&body, 0);
    buf_printf(&body, "%s<w:tbl><w:tr><w:tc>", W);
    for (int i = 0; i < 30; i++)
        buf_printf(&body,
                   "<w:p><w:r><w:t>Sentence %d of a page that lies in "
                   "one cell.</w:t></w:r></w:p>",
                   i);
    buf_printf(&body, "</w:tc></w:tr></w:tbl>%s", W_END);
    check_ok(read_docx(&d, buf_cstr(&body)));
    assert_true(d.n_blocks > 5);
    assert_int_equal(d.blocks[d.n_blocks - 1].kind, BLOCK_PARAGRAPH);
    document_release(&d);
    buf_release(&body);
}

/* ---- ODT ------------------------------------------------------------------
 */

static void an_odt_has_headings_lists_rows_and_notes(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(
        &z, "content.xml",
        "<office:document-content "
        "xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" "
        "xmlns:text=\"urn:oasis:names:tc:opendocument:xmlns:text:1.0\" "
        "xmlns:table=\"urn:oasis:names:tc:opendocument:xmlns:table:1.0\">"
        "<office:body><office:text>"
        "<text:table-of-content><text:p>Dose 3</text:p></text:table-of-content>"
        "<text:h text:outline-level=\"2\">Dose</text:h>"
        "<text:p>Give<text:s text:c=\"3\"/>5 mg<text:note><text:note-citation>1"
        "</text:note-citation><text:note-body><text:p>By mouth.</text:p>"
        "</text:note-body></text:note> at <text:span>night</text:span>."
        "</text:p>"
        "<text:list><text:list-item><text:p>one</text:p><text:list>"
        "<text:list-item><text:p>two</text:p></text:list-item></text:list>"
        "</text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>Drug</text:p>"
        "</table:table-cell><table:table-cell><text:p>Dose</text:p>"
        "</table:table-cell></table:table-row></table:table>"
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
        "</office:text></office:body></office:document-content>");
    made_zip_text(&z, "meta.xml",
                  "<m xmlns:dc=\"http://purl.org/dc/elements/1.1/\">"
                  "<dc:title>Ward guide</dc:title></m>");
    check_ok(read_zip(&d, "/a/b.odt", &z));
    assert_string_equal(blocks_of(&d),
                        "H2 Dose\nP Give 5 mg at night.\nP By mouth.\n"
                        "I1 one\nI2 two\nR Drug | Dose\n");
    assert_string_equal(d.title, "Ward guide");
    document_release(&d);
}

static void an_encrypted_odt_is_named(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(&z, "META-INF/manifest.xml",
                  "<m xmlns=\"urn:oasis:names:tc:opendocument:xmlns:manifest:"
                  "1.0\"><file-entry><encryption-data/></file-entry></m>");
    made_zip_text(&z, "content.xml", "\x01\x02\x03");
    check_code(read_zip(&d, "a.odt", &z), E_DOCUMENT_ENCRYPTED);
    document_release(&d);
    /* An encrypted DOCX is no container, but a compound file. */
    check_ok(document_open_bytes(&d, "a.docx",
                                 "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1........",
                                 16));
    check_code(document_parse(&d), E_DOCUMENT_ENCRYPTED);
    document_release(&d);
}

/* ---- EPUB -----------------------------------------------------------------
 */

static void put_book(struct made_zip *z, const char *second)
{
    made_zip_begin(z);
    made_zip_text(z, "mimetype", "application/epub+zip");
    made_zip_text(z, "META-INF/container.xml",
                  "<container><rootfiles><rootfile "
                  "full-path=\"OPS/book.opf\"/></rootfiles></container>");
    made_zip_text(
        z, "OPS/book.opf",
        "<package xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><metadata>"
        "<dc:title>The Book</dc:title></metadata><manifest>"
        "<item id=\"n\" href=\"nav.xhtml\" properties=\"nav\" "
        "media-type=\"application/xhtml+xml\"/>"
        "<item id=\"b\" href=\"two%20b.xhtml#x\" "
        "media-type=\"application/xhtml+xml\"/>"
        "<item id=\"a\" href=\"../OPS/./one.xhtml\" "
        "media-type=\"application/xhtml+xml\"/></manifest>"
        "<spine><itemref idref=\"n\"/><itemref idref=\"a\"/>"
        "<itemref idref=\"b\"/><itemref idref=\"a\"/><itemref idref=\"b\"/>"
        "</spine></package>"); /* what is listed again is read once */
    made_zip_text(z, "OPS/nav.xhtml", "<html><body>Contents</body></html>");
    made_zip_text(z, "OPS/two b.xhtml", second);
    made_zip_text(
        z, "OPS/one.xhtml",
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.1//EN\" "
        "\"http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd\">"
        "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/><script "
        "src=\"x\"/></head><body><h1>One <br/>day</h1><p>Text&nbsp;of <a "
        "id=\"y\"/>caf&eacute;.</p><ul><li>item<ul><li>deep</li></ul></li></ul>"
        "<table><tr><td>a</td><td><p>b</p></td></tr></table>"
        "<pre>x\n  y</pre></body></html>");
}

static void an_epub_is_read_in_the_order_of_its_spine(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    put_book(&z, "<html><body><h2>Two</h2><p>End.</p></body></html>");
    check_ok(read_zip(&d, "/a/b.epub", &z));
    assert_string_equal(blocks_of(&d),
                        "H1 One day\nP Text of caf\xc3\xa9.\nI1 item\nI2 deep\n"
                        "R a | b\nC x\n  y\nH2 Two\nP End.\n");
    assert_string_equal(d.title, "The Book");
    assert_string_equal(d.note, "");
    document_release(&d);
}

static void a_page_that_is_no_xml_is_read_as_html(void **state)
{
    (void)state;
    struct document d;
    struct made_zip z;
    put_book(&z, "<body><p>Not closed<p>and &copy; more");
    check_ok(read_zip(&d, "/a/b.epub", &z));
    assert_non_null(strstr(blocks_of(&d), "P Not closed\n"));
    assert_non_null(strstr(blocks_of(&d), "P and \xc2\xa9 more\n"));
    document_release(&d);
    put_book(&z, "\x01\x02 rubbish");
    check_ok(read_zip(&d, "/a/b.epub", &z));
    assert_string_equal(d.note, "1 of 2 pages are missing or damaged");
    document_release(&d);
}

/* ---- bad containers -------------------------------------------------------
 */

static void entities_are_refused_and_never_expanded(void **state)
{
    (void)state;
    struct document d;
    check_code(read_docx(&d,
                         "<!DOCTYPE d [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b "
                         "\"&a;&a;&a;&a;\">]><d>&b;</d>"),
               E_DOCUMENT_MARKUP);
    document_release(&d);
    check_code(read_docx(&d, "<!DOCTYPE d [<!ENTITY x SYSTEM "
                             "\"file:///etc/passwd\">]><d>&x;</d>"),
               E_DOCUMENT_MARKUP);
    document_release(&d);
}

static void deep_xml_is_refused_without_recursion(void **state)
{
    (void)state;
    struct document d;
    struct buf body;
    buf_init(&body, 0);
    for (int i = 0; i < 20000; i++) buf_printf(&body, "<a>");
    check_code(read_docx(&d, buf_cstr(&body)), E_DOCUMENT_NESTING);
    document_release(&d);
    buf_release(&body);
}

static void a_damaged_part_names_its_line(void **state)
{
    (void)state;
    struct document d;
    enum tacit_err err = read_docx(&d, "<a>\n<b>\n</a>");
    assert_non_null(strstr(err_message(), "word/document.xml, line 3"));
    check_code(err, E_DOCUMENT_DAMAGED);
    document_release(&d);
    check_ok(document_open_bytes(&d, "a.docx", "PK\3\4 cut off", 12));
    check_code(document_parse(&d), E_DOCUMENT_DAMAGED);
    document_release(&d);
    struct made_zip z;
    made_zip_begin(&z);
    made_zip_text(&z, "other.xml", "<a/>");
    check_code(read_zip(&d, "a.docx", &z), E_DOCUMENT_DAMAGED);
    document_release(&d);
}

/* A container whose one part of n zeros is packed well. */
static void pack(const char *path, const char *name, size_t n)
{
    int why = 0;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &why);
    char *zeros = calloc(n, 1);
    assert_non_null(zip);
    assert_non_null(zeros);
    zip_source_t *source = zip_source_buffer(zip, zeros, n, 1);
    assert_true(zip_file_add(zip, name, source, 0) >= 0);
    assert_int_equal(zip_close(zip), 0);
}

static void a_zip_bomb_is_stopped_at_its_bound(void **state)
{
    (void)state;
    struct document d;
    char dir[256], path[300];
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/bomb.docx", dir);
    pack(path, "word/document.xml", 40 << 20); /* 1000 to 1 */
    check_ok(document_open(&d, path));
    enum tacit_err err = document_parse(&d);
    assert_non_null(strstr(err_message(), "unpacks to more than"));
    check_code(err, E_DOCUMENT_MARKUP);
    document_release(&d);
    check_tmpdir_remove(dir);
}

static void a_container_of_too_many_entries_is_refused_unread(void **state)
{
    (void)state;
    struct document d;
    uint8_t end[22] = "PK\5\6";
    memset(end + 8, 0xff, 4); /* 65535 entries */
    check_ok(document_open_bytes(&d, "a.odt", end, sizeof end));
    check_code(document_parse(&d), E_DOCUMENT_MARKUP);
    document_release(&d);
}

/* A part may be a container: it is never opened, only a text that is not XML.
 */
static void containers_within_containers_are_not_opened(void **state)
{
    (void)state;
    struct document d;
    struct made_zip inner, outer;
    made_zip_begin(&inner);
    made_zip_text(&inner, "word/document.xml", W "<w:p/>" W_END);
    made_zip_end(&inner);
    made_zip_begin(&outer);
    made_zip_part(&outer, "word/embeddings/a.docx", inner.bytes.data,
                  inner.bytes.len);
    made_zip_text(&outer, "../../evil", "x");
    made_zip_text(&outer, "word/document.xml",
                  W "<w:p><w:r><w:t>Outer.</w:t></w:r></w:p>" W_END);
    check_ok(read_zip(&d, "a.docx", &outer));
    assert_string_equal(blocks_of(&d), "P Outer.\n");
    document_release(&d);
    buf_release(&inner.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_docx_has_headings_lists_and_rows),
        cmocka_unit_test(a_docx_without_styles_has_the_headings_of_its_ids),
        cmocka_unit_test(a_style_of_another_language_is_known_by_its_id),
        cmocka_unit_test(what_a_style_says_counts_more_than_its_id),
        cmocka_unit_test(a_row_that_lays_out_a_page_becomes_paragraphs),
        cmocka_unit_test(an_odt_has_headings_lists_rows_and_notes),
        cmocka_unit_test(an_encrypted_odt_is_named),
        cmocka_unit_test(an_epub_is_read_in_the_order_of_its_spine),
        cmocka_unit_test(a_page_that_is_no_xml_is_read_as_html),
        cmocka_unit_test(entities_are_refused_and_never_expanded),
        cmocka_unit_test(deep_xml_is_refused_without_recursion),
        cmocka_unit_test(a_damaged_part_names_its_line),
        cmocka_unit_test(a_zip_bomb_is_stopped_at_its_bound),
        cmocka_unit_test(a_container_of_too_many_entries_is_refused_unread),
        cmocka_unit_test(containers_within_containers_are_not_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
