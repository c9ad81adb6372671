#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/base/utf8.h"
#include "retrieval/document.h"
#include "retrieval/document_input.h"
#include "retrieval/entity.h"

static void parse(struct document *d, const char *name, const char *text)
{
    check_ok(document_open_bytes(d, name, text, strlen(text)));
    check_ok(document_parse(d));
}

static const char *text_at(const struct document *d, size_t i)
{
    static char text[4096];
    const struct block *b = &d->blocks[i];
    snprintf(text, sizeof text, "%.*s", (int)(b->text_end - b->text_first),
             (const char *)d->text.data + b->text_first);
    return text;
}

static const char *source_at(const struct document *d, size_t i)
{
    static char text[4096];
    const struct block *b = &d->blocks[i];
    struct place p = document_place(d, b->text_first, b->text_end);
    snprintf(text, sizeof text, "%.*s", (int)(p.byte_end - p.byte_first),
             (const char *)d->source.data + p.byte_first);
    return text;
}

static void check_block(const struct document *d, size_t i,
                        enum block_kind kind, unsigned level, const char *text,
                        const char *source)
{
    if (i >= d->n_blocks) fail_msg("only %zu blocks", d->n_blocks);
    assert_string_equal(text_at(d, i), text);
    assert_int_equal(d->blocks[i].kind, kind);
    assert_int_equal(d->blocks[i].level, level);
    assert_string_equal(source_at(d, i), source);
}

/* ---- plain text -----------------------------------------------------------
 */

static void text_is_split_at_blank_lines_with_its_places(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "/a/notes.txt", "First line\n  and second.\n\n\nNext one.\n");
    assert_int_equal(d.n_blocks, 2);
    check_block(&d, 0, BLOCK_PARAGRAPH, 0, "First line and second.",
                "First line\n  and second.");
    check_block(&d, 1, BLOCK_PARAGRAPH, 0, "Next one.", "Next one.");
    struct place p =
        document_place(&d, d.blocks[1].text_first, d.blocks[1].text_end);
    assert_int_equal(p.line_first, 5);
    assert_int_equal(p.line_last, 5);
    assert_string_equal(d.title, "notes.txt");
    assert_string_equal(document_kind(&d), "text");
    document_release(&d);
}

static void text_headings_are_found_where_they_are_plain(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "guide",
          "THE GUIDE\n\nFirst part\n----------\n1. Scope.\n\nText of it.\n\n"
          "2.1. Grants\n\n   3. Grant of Rights. You may go.\n\n"
          "1994 was a good year for all of us who were there.\n\n"
          "- one\n- two\n  goes on\n(a) three\n");
    size_t i = 0;
    check_block(&d, i++, BLOCK_HEADING, 1, "THE GUIDE", "THE GUIDE");
    check_block(&d, i++, BLOCK_HEADING, 2, "First part", "First part");
    check_block(&d, i++, BLOCK_HEADING, 2, "1. Scope.", "1. Scope.");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0, "Text of it.", "Text of it.");
    check_block(&d, i++, BLOCK_HEADING, 3, "2.1. Grants", "2.1. Grants");
    check_block(&d, i++, BLOCK_HEADING, 2, "3. Grant of Rights.",
                "3. Grant of Rights.");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0, "You may go.", "You may go.");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0,
                "1994 was a good year for all of us who were there.",
                "1994 was a good year for all of us who were there.");
    check_block(&d, i++, BLOCK_ITEM, 1, "- one", "- one");
    check_block(&d, i++, BLOCK_ITEM, 1, "- two goes on", "- two\n  goes on");
    check_block(&d, i++, BLOCK_ITEM, 1, "(a) three", "(a) three");
    assert_int_equal(d.n_blocks, i);
    assert_string_equal(d.title, "THE GUIDE");
    document_release(&d);
}

static void what_could_harm_a_terminal_is_gone(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "a.txt",
          "\xef\xbb\xbfred\x1b[31m and \xe2\x80\xaereverse\xe2\x80\xac "
          "so\xc2\xad"
          "ft \xc2\x9b"
          "x\x07"
          "y\n");
    check_block(&d, 0, BLOCK_PARAGRAPH, 0, "red [31m and reverse soft x y",
                "red\x1b[31m and \xe2\x80\xaereverse\xe2\x80\xac "
                "so\xc2\xad"
                "ft \xc2\x9b"
                "x\x07"
                "y");
    document_release(&d);
}

/* ---- Markdown -------------------------------------------------------------
 */

static void markdown_keeps_offsets_through_its_markup(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "x.md",
          "# Dose &amp; route\n\nGive **5&nbsp;mg** of `warf`\n"
          "[daily](http://x).\n\n> quoted\n> text\n\n"
          "- one\n- two\n  - nested\n    on\n\n"
          "| Drug | Dose |\n|---|---|\n| B&C | 5 |\n\n"
          "```c\nint x;\n  y\n```\n");
    size_t i = 0;
    check_block(&d, i++, BLOCK_HEADING, 1, "Dose & route", "Dose &amp; route");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0, "Give 5 mg of warf daily.",
                "Give **5&nbsp;mg** of `warf`\n[daily](http://x).");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0, "quoted text", "quoted\n> text");
    check_block(&d, i++, BLOCK_ITEM, 1, "one", "one");
    check_block(&d, i++, BLOCK_ITEM, 1, "two", "two");
    check_block(&d, i++, BLOCK_ITEM, 2, "nested on", "nested\n    on");
    check_block(&d, i++, BLOCK_ROW, 0, "Drug | Dose", "Drug | Dose");
    check_block(&d, i++, BLOCK_ROW, 0, "B&C | 5", "B&C | 5");
    check_block(&d, i++, BLOCK_CODE, 0, "int x;\n  y", "int x;\n  y");
    assert_int_equal(d.n_blocks, i);
    assert_string_equal(d.title, "Dose & route");
    document_release(&d);
}

static void html_inside_markdown_is_read_too(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "x.md",
          "Before\n\n<div><p>In&lt;side</p><script>no()</script></div>\n\n"
          "a<br>b <b>bold</b>\n");
    check_block(&d, 0, BLOCK_PARAGRAPH, 0, "Before", "Before");
    check_block(&d, 1, BLOCK_PARAGRAPH, 0, "In<side", "In&lt;side");
    check_block(&d, 2, BLOCK_PARAGRAPH, 0, "a b bold", "a<br>b <b>bold");
    assert_int_equal(d.n_blocks, 3);
    document_release(&d);
}

static void front_matter_gives_its_title_and_a_row_of_fields(void **state)
{
    (void)state;
    static const char text[] = "---\ntitle: \"Blood gas\"\ntags: [x, y]\n"
                               "# note\nauthors:\n  - Mara Lindt\n"
                               "  - 'Ed'\nnested:\n  a: 1\nempty:\n---\n"
                               "Text.\n";
    struct document d;
    parse(&d, "x.md", text);
    assert_string_equal(d.title, "Blood gas");
    assert_int_equal(d.n_blocks, 2);
    check_block(&d, 0, BLOCK_ROW, 0, "tags: x, y | authors: Mara Lindt, Ed",
                "tags: [x, y]\n# note\nauthors:\n  - Mara Lindt\n  - 'Ed");
    check_block(&d, 1, BLOCK_PARAGRAPH, 0, "Text.", "Text.");
    struct place at = document_place(&d, 27, 31); /* "Lind" */
    assert_memory_equal(text + at.byte_first, "Lind", 4);
    document_release(&d);
    /* No end, no front matter; nothing but a title, no row. */
    parse(&d, "x.md", "---\nauthor: a\nText.\n");
    assert_string_equal(d.title, "x.md");
    document_release(&d);
    parse(&d, "x.md", "---\ntitle: T\n---\nText.\n");
    assert_int_equal(d.n_blocks, 1);
    assert_string_equal(d.title, "T");
    document_release(&d);
    /* Items of dashes and blanks alone, which reach over their line's end. */
    parse(&d, "x.md", "---\ntags:\n  - - \t\n  -\n  - b\n---\nText.\n");
    assert_int_equal(d.n_blocks, 2);
    check_block(&d, 0, BLOCK_ROW, 0, "tags: b", "tags:\n  - - \t\n  -\n  - b");
    document_release(&d);
}

static void entities_become_characters(void **state)
{
    (void)state;
    char out[ENTITY_UTF8_MAX];
    assert_int_equal(entity_decode("&eacute;", 8, out), 2);
    assert_memory_equal(out, "\xc3\xa9", 2);
    assert_int_equal(entity_decode("&#x20AC;", 8, out), 3);
    assert_memory_equal(out, "\xe2\x82\xac", 3);
    assert_int_equal(entity_decode("&#65;", 5, out), 1);
    assert_int_equal(out[0], 'A');
    assert_int_equal(entity_decode("&nosuch;", 8, out), 0);
    assert_int_equal(entity_decode("&#xD800;", 8, out), 0);
    assert_int_equal(entity_decode("&#99999999999;", 14, out), 0);
    assert_int_equal(entity_decode("&;", 2, out), 0);
}

/* ---- HTML -----------------------------------------------------------------
 */

static void html_keeps_offsets_through_tags_and_entities(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "x.html",
          "<!doctype html><title>T &amp; U</title><nav>skip</nav>"
          "<h2>Big &eacute;&nbsp;head</h2><p>Hello <b>wor</b>ld &copyfoo "
          "R&D &amp;amp; x</p>\r\nfree <script>no</script>text"
          "<ul><li>one<li>two<ol><li>deep</ol></ul>"
          "<table><tr><th>Drug<th>Dose<tr><td>A<td><p>5 mg</table>"
          "<pre>\nl1\n  l2</pre>");
    size_t i = 0;
    check_block(&d, i++, BLOCK_HEADING, 2, "Big \xc3\xa9 head",
                "Big &eacute;&nbsp;head");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0,
                "Hello world \xc2\xa9"
                "foo R&D &amp; x",
                "Hello <b>wor</b>ld &copyfoo R&D &amp;amp; x");
    check_block(&d, i++, BLOCK_PARAGRAPH, 0, "free text",
                "free <script>no</script>text");
    check_block(&d, i++, BLOCK_ITEM, 1, "one", "one");
    check_block(&d, i++, BLOCK_ITEM, 1, "two", "two");
    check_block(&d, i++, BLOCK_ITEM, 2, "deep", "deep");
    check_block(&d, i++, BLOCK_ROW, 0, "Drug | Dose", "Drug<th>Dose");
    check_block(&d, i++, BLOCK_ROW, 0, "A | 5 mg", "A<td><p>5 mg");
    check_block(&d, i++, BLOCK_CODE, 0, "l1\n  l2", "l1\n  l2");
    assert_int_equal(d.n_blocks, i);
    assert_string_equal(d.title, "T & U");
    document_release(&d);
}

static void a_table_that_lays_out_a_page_is_not_a_row(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "x.htm", "<table><tr><td>menu<td><h1>Head</h1><p>Text.</table>");
    check_block(&d, 0, BLOCK_ROW, 0, "menu", "menu");
    check_block(&d, 1, BLOCK_HEADING, 1, "Head", "Head");
    check_block(&d, 2, BLOCK_PARAGRAPH, 0, "Text.", "Text.");
    assert_string_equal(d.title, "Head");
    document_release(&d);
}

/* n copies of a piece of text. */
static char *repeat(const char *piece, size_t n)
{
    size_t len = strlen(piece);
    char *s = malloc(n * len + 1);
    if (!s) fail_msg("out of memory");
    for (size_t i = 0; i < n; i++) memcpy(s + i * len, piece, len);
    s[n * len] = '\0';
    return s;
}

static void check_refused(const char *name, const char *piece, size_t n,
                          unsigned code)
{
    struct document d;
    char *s = repeat(piece, n);
    check_ok(document_open_bytes(&d, name, s, strlen(s)));
    check_code(document_parse(&d), code);
    document_release(&d);
    free(s);
}

static void deep_nesting_is_refused_without_recursion(void **state)
{
    (void)state;
    check_refused("x.html", "<div>a", 5000, E_DOCUMENT_NESTING);
    check_refused("x.html", "<div>", 2000000, E_DOCUMENT_NESTING);
    check_refused("x.html", "<b><table>x", 3000, E_DOCUMENT_NESTING);
}

static void deeply_quoted_markdown_is_read(void **state)
{
    (void)state;
    struct document d;
    char *s = repeat("> ", 100000);
    s[199998] = 'x';
    check_ok(document_open_bytes(&d, "x.md", s, strlen(s)));
    check_ok(document_parse(&d));
    document_release(&d);
    free(s);
}

static void a_table_that_multiplies_itself_is_refused(void **state)
{
    (void)state;
    struct document d;
    char *head = repeat("|a", 4000), *rule = repeat("|---", 4000);
    char *rows = repeat("|x\n", 20000);
    struct buf page;
    buf_init(&page, 0);
    buf_printf(&page, "%s|\n%s|\n%s", head, rule, rows);
    check_ok(buf_end(&page));
    check_ok(document_open_bytes(&d, "x.md", page.data, page.len));
    check_code(document_parse(&d), E_DOCUMENT_MARKUP);
    document_release(&d);
    buf_release(&page);
    free(head);
    free(rule);
    free(rows);
}

/* ---- bad input ------------------------------------------------------------
 */

static void each_bad_file_has_its_own_error(void **state)
{
    (void)state;
    struct document d;
    check_code(document_open_bytes(&d, "a.txt", "", 0), E_DOCUMENT_EMPTY);
    check_code(document_open_bytes(&d, "a.txt", " \n\t\n", 4),
               E_DOCUMENT_EMPTY);
    check_code(document_open_bytes(&d, "a.txt", "a\0b", 3), E_DOCUMENT_BINARY);
    check_code(document_open_bytes(&d, "a.txt", "caf\x81", 4),
               E_DOCUMENT_NOT_UTF8);
    check_code(document_open_bytes(&d, "a.exe", "x", 1), E_DOCUMENT_KIND);
    check_code(document_open_bytes(&d, "a.pdf", "", 0), E_DOCUMENT_EMPTY);
    check_code(document_open_bytes(&d, "a.eml", "", 0), E_DOCUMENT_EMPTY);
    check_code(document_open(&d, "/nonexistent/a.txt"), E_DOCUMENT_MISSING);
    check_code(document_open(&d, "/"), E_DOCUMENT_UNREADABLE);
    check_ok(document_open_bytes(&d, "a.html", "<script>x</script>", 18));
    check_code(document_parse(&d), E_DOCUMENT_EMPTY);
    document_release(&d);
}

static void what_is_not_western_is_refused_with_the_byte_and_a_way_out(
    void **state)
{
    (void)state;
    static const char *const texts[] = {
        "one\ntwo caf\xe9 na\xc3\xafve", /* UTF-8, damaged */
        "one\ntwo caf\xe9\x1b[2J",       /* a control character */
        "one\ntwo caf\xe9\x81",          /* no character there */
        "one\ntwo caf\xe9 \xcf\xf0\xe8\xe2\xe5\xf2 \xcc\xe8\xf0"
        " \xcc\xee\xf1\xea\xe2\xe0"}; /* Russian */
    struct document d;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        enum tacit_err err =
            document_open_bytes(&d, "a.txt", texts[i], strlen(texts[i]));
        assert_int_equal(err, TACIT_FORMAT);
        assert_non_null(strstr(err_message(), "byte 11 (line 2) is 0xe9"));
        assert_non_null(strstr(err_message(), "iconv -f"));
        err_clear();
    }
}

static void a_western_table_of_older_programs_is_read_and_said(void **state)
{
    (void)state;
    static const char table[] = "Name;Stra\xdf"
                                "e\r\nM\xfcller;\x84K\xf6nigsweg\x93\r\n";
    static const char ragged[] = "Name;Stra\xdf"
                                 "e\r\nM\xfcller\r\nNu\xf1o;B\r\n";
    struct document d;
    check_ok(document_open_bytes(&d, "a.csv", table, sizeof table - 1));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0),
                        "Name: M\xc3\xbcller | Stra\xc3\x9f"
                        "e: \xe2\x80\x9eK\xc3\xb6nigsweg\xe2\x80\x9c");
    assert_non_null(strstr(d.note, "read as windows-1252"));
    document_release(&d);
    check_ok(document_open_bytes(&d, "a.csv", ragged, sizeof ragged - 1));
    check_ok(document_parse(&d));
    assert_non_null(strstr(d.note, "1 row left out"));
    assert_non_null(strstr(d.note, "read as windows-1252"));
    document_release(&d);
}

static void text_in_utf16_is_read_by_its_mark(void **state)
{
    (void)state;
    static const char little[] = "\xff\xfe"
                                 "c\0a\0f\0\xe9\0\n\0b\0";
    static const char big[] = "\xfe\xff"
                              "\0c\0a\0f\0\xe9\0\n\0b";
    struct document d;
    check_ok(document_open_bytes(&d, "a.txt", little, sizeof little - 1));
    check_ok(document_parse(&d));
    check_block(&d, 0, BLOCK_PARAGRAPH, 0, "caf\xc3\xa9 b", "caf\xc3\xa9\nb");
    document_release(&d);
    check_ok(document_open_bytes(&d, "a.txt", big, sizeof big - 1));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0), "caf\xc3\xa9 b");
    document_release(&d);
    /* Half a character at its end. */
    check_ok(document_open_bytes(&d, "a.txt", little, sizeof little - 2));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0), "caf\xc3\xa9 \xef\xbf\xbd");
    document_release(&d);
}

static void a_page_may_name_its_charset(void **state)
{
    (void)state;
    static const char page[] = "<meta charset='iso-8859-1'><p>caf\xe9 5 \x80";
    static const char xml[] =
        "<?xml version='1.0' encoding='iso-8859-2'?><p>\xb3</p>";
    struct document d;
    check_ok(document_open_bytes(&d, "a.html", page, sizeof page - 1));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0), "caf\xc3\xa9 5 \xe2\x82\xac");
    assert_string_equal(d.note, "");
    document_release(&d);
    check_ok(document_open_bytes(&d, "a.html", xml, sizeof xml - 1));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0), "\xc5\x82");
    document_release(&d);
}

static void a_page_without_a_charset_is_read_as_browsers_do(void **state)
{
    (void)state;
    static const char *const pages[] = {
        "<p>caf\xe9 5 \x80",
        "<meta charset='x-evil//IGNORE'><p>caf\xe9 5 \x80"};
    static const char utf8[] = "<p>caf\xc3\xa9";
    static const char wrong[] = "<meta charset=utf-16le><p>caf\xc3\xa9 \xe9";
    static const char binary[] = "<p>caf\xe9\0";
    struct document d;
    for (size_t i = 0; i < 2; i++) {
        check_ok(document_open_bytes(&d, "a.html", pages[i], strlen(pages[i])));
        check_ok(document_parse(&d));
        assert_string_equal(text_at(&d, 0), "caf\xc3\xa9 5 \xe2\x82\xac");
        assert_non_null(strstr(d.note, "read as windows-1252"));
        document_release(&d);
    }
    check_ok(document_open_bytes(&d, "a.html", utf8, sizeof utf8 - 1));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0), "caf\xc3\xa9");
    assert_string_equal(d.note, "");
    document_release(&d);
    check_ok(document_open_bytes(&d, "a.html", wrong, sizeof wrong - 1));
    check_ok(document_parse(&d));
    assert_string_equal(text_at(&d, 0), "caf\xc3\xa9 \xef\xbf\xbd");
    document_release(&d);
    check_code(document_open_bytes(&d, "a.html", binary, sizeof binary - 1),
               E_DOCUMENT_BINARY);
}

static void text_gets_one_spelling_and_keeps_its_places(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "a.txt",
          "A \xef\xac\x81ne caf"
          "e\xcc\x81 at 10\xe2\x81\xb9/l.\n");
    check_block(&d, 0, BLOCK_PARAGRAPH, 0,
                "A fine caf\xc3\xa9 at 10\xe2\x81\xb9/l.",
                "A \xef\xac\x81ne caf"
                "e\xcc\x81 at 10\xe2\x81\xb9/l.");
    /* "fi" stems from the three bytes of the ligature, "n" from its own. */
    struct place p = document_place(&d, 2, 4);
    assert_int_equal(p.byte_first, 2);
    assert_int_equal(p.byte_end, 5);
    p = document_place(&d, 4, 5);
    assert_int_equal(p.byte_first, 5);
    assert_int_equal(p.byte_end, 6);
    p = document_place(&d, 10, 12); /* the accent and its letter */
    assert_int_equal(p.byte_first, 11);
    assert_int_equal(p.byte_end, 14);
    document_release(&d);
}

static void a_file_that_changes_after_it_was_hashed_is_said(void **state)
{
    (void)state;
    struct document d;
    char dir[256], path[300];
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/a.odt", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "not yet a container");
    fflush(f);
    check_ok(document_open(&d, path));
    fprintf(f, "; another program goes on");
    fclose(f);
    check_code(document_input_recheck(&d, "a.odt"), E_DOCUMENT_CHANGED);
    document_release(&d);
    check_tmpdir_remove(dir);
}

/* A hundred megabytes, and the limit within a character. */
static void of_a_long_page_the_beginning_is_read(void **state)
{
    static const char head[] = "<p>The gloves are here.</p><!--";
    _Static_assert(sizeof head % 2 == 0, "the limit is within a character");
    static const char fill[] = "\xc3\xa9";
    static char line[1 << 16];
    struct document d;
    char dir[256], path[300];
    (void)state;
    for (size_t i = 0; i < sizeof line; i++) line[i] = fill[i % 2];
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/long.html", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(head, f);
    for (size_t i = 0; i < (100 << 20) / sizeof line; i++)
        fwrite(line, 1, sizeof line, f);
    fputs("--><p>The end is not.</p>", f);
    fclose(f);
    check_ok(document_open(&d, path));
    check_ok(document_parse(&d));
    assert_int_equal(d.n_blocks, 1);
    assert_string_equal(text_at(&d, 0), "The gloves are here.");
    assert_string_equal(d.note, "only the first 32 MiB were read, the limit");
    document_release(&d);
    check_tmpdir_remove(dir);
}

static void unreadable_and_huge_files_are_named(void **state)
{
    (void)state;
    struct document d;
    char dir[256], path[300];
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/huge.txt", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(truncate(path, DOCUMENT_BYTES_MAX + 1), 0);
    check_code(document_open(&d, path), E_DOCUMENT_TOO_LARGE);
    snprintf(path, sizeof path, "%s/huge.html", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(truncate(path, DOCUMENT_FILE_MAX + 1L), 0);
    check_code(document_open(&d, path), E_DOCUMENT_TOO_LARGE);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() != 0)
        check_code(document_open(&d, path), E_DOCUMENT_UNREADABLE);
    check_tmpdir_remove(dir);
}

static void a_number_is_no_ending(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "/x/LGPL-2.1", "Text.\n");
    assert_string_equal(document_kind(&d), "text");
    document_release(&d);
    parse(&d, "/x/.hidden", "Text.\n");
    document_release(&d);
    parse(&d, "/x/README.MD", "# T\n\nText.\n");
    assert_string_equal(document_kind(&d), "markdown");
    document_release(&d);
}

/* ---- properties -----------------------------------------------------------
 */

/* Every run that says "byte by byte" is right, blanks aside, and every place
 * lies in the file. */
static void check_runs(const struct document *d)
{
    const char *text = (const char *)d->text.data;
    for (size_t i = 0; i < d->n_runs; i++) {
        const struct run *r = &d->runs[i];
        size_t end = i + 1 < d->n_runs ? d->runs[i + 1].text_at : d->text.len;
        if (i) assert_true(r->text_at > d->runs[i - 1].text_at);
        if (r->source_len == RUN_NOTHING) continue;
        assert_true((size_t)r->source_at + r->source_len <= d->source.len);
        if (r->source_len) continue;
        for (size_t k = r->text_at; k < end; k++) {
            size_t at = r->source_at + (k - r->text_at);
            if (text[k] == ' ' || text[k] == '\n') continue;
            if (text[k] != (char)d->source.data[at])
                fail_msg("text byte %zu is not source byte %zu", k, at);
        }
    }
    for (size_t i = 0; i < d->n_blocks; i++) {
        const struct block *b = &d->blocks[i];
        struct place p = document_place(d, b->text_first, b->text_end);
        assert_true(b->text_first < b->text_end);
        assert_true(p.byte_first < p.byte_end);
        assert_true(p.byte_end <= d->source.len);
        assert_true(p.line_first >= 1 && p.line_first <= p.line_last);
    }
    assert_int_equal(utf8_find_bad(text, d->text.len), d->text.len);
}

static void random_markup_keeps_text_and_source_together(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "<p>",      "</p>",         "<b>",         "</b>",
        "<table>",  "<tr>",         "<td>",        "</td>",
        "&amp;",    "&eacute;",     "&lt",         "& ",
        "&#65;",    "\n\n",         "# ",          "- ",
        "| ",       "> ",           "`",           "**",
        "word ",    "\xc3\xa9 ",    "x.",          "\r\n",
        "  ",       "<h1>",         "</h1>",       "<pre>",
        "</div>",   "<i a=1>",      "<!--",        "-->",
        "<select>", "\xe2\x80\x8b", "|---|---|\n", "[a](b)",
        "\n---\n",  "\nk: ",        "\n - ",
    };
    static const char *const names[] = {"a.txt", "a.md", "a.html"};
    struct rng rng;
    rng_init(&rng, 7, 0, 0);
    for (int round = 0; round < 600; round++) {
        char text[2048] = "";
        struct document d;
        memcpy(text, round % 4 ? "start " : "---\na:", 6);
        for (size_t k = 6; k < 1500;) {
            const char *p =
                pieces[rng_below(&rng, sizeof pieces / sizeof *pieces)];
            memcpy(text + k, p, strlen(p) + 1);
            k += strlen(p);
            if (rng_below(&rng, 60) == 0) break;
        }
        check_ok(document_open_bytes(&d, names[round % 3], text, strlen(text)));
        enum tacit_err err = document_parse(&d);
        if (err) check_code(err, E_DOCUMENT_EMPTY);
        check_runs(&d);
        document_release(&d);
    }
}

/* Found by fuzz_document: a sentence of characters that the parser had moved
 * away from their places. */
static void text_without_a_source_of_its_own_still_has_a_place(void **state)
{
    (void)state;
    struct document d;
    parse(&d, "/a/b.html",
          "<!doctype html><html><head><titl titletle e>Pumps</tli<>etst\t\t0<"
          "\t\t\t!doctype html><html><head><|itl\t\t\tends alone.\n\t!\t| ");
    for (size_t first = 0; first < d.blocks[0].text_end; first++)
        for (size_t end = first + 1; end <= d.blocks[0].text_end; end++) {
            struct place p = document_place(&d, first, end);
            assert_true(p.byte_first < p.byte_end);
            assert_true(p.byte_end <= d.source.len);
            assert_true(p.line_first >= 1 && p.line_first <= p.line_last);
        }
    document_release(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_split_at_blank_lines_with_its_places),
        cmocka_unit_test(text_headings_are_found_where_they_are_plain),
        cmocka_unit_test(what_could_harm_a_terminal_is_gone),
        cmocka_unit_test(markdown_keeps_offsets_through_its_markup),
        cmocka_unit_test(html_inside_markdown_is_read_too),
        cmocka_unit_test(front_matter_gives_its_title_and_a_row_of_fields),
        cmocka_unit_test(entities_become_characters),
        cmocka_unit_test(html_keeps_offsets_through_tags_and_entities),
        cmocka_unit_test(a_table_that_lays_out_a_page_is_not_a_row),
        cmocka_unit_test(deep_nesting_is_refused_without_recursion),
        cmocka_unit_test(deeply_quoted_markdown_is_read),
        cmocka_unit_test(a_table_that_multiplies_itself_is_refused),
        cmocka_unit_test(each_bad_file_has_its_own_error),
        cmocka_unit_test(
            what_is_not_western_is_refused_with_the_byte_and_a_way_out),
        cmocka_unit_test(a_western_table_of_older_programs_is_read_and_said),
        cmocka_unit_test(text_in_utf16_is_read_by_its_mark),
        cmocka_unit_test(a_page_may_name_its_charset),
        cmocka_unit_test(a_page_without_a_charset_is_read_as_browsers_do),
        cmocka_unit_test(text_gets_one_spelling_and_keeps_its_places),
        cmocka_unit_test(a_file_that_changes_after_it_was_hashed_is_said),
        cmocka_unit_test(of_a_long_page_the_beginning_is_read),
        cmocka_unit_test(unreadable_and_huge_files_are_named),
        cmocka_unit_test(a_number_is_no_ending),
        cmocka_unit_test(random_markup_keeps_text_and_source_together),
        cmocka_unit_test(text_without_a_source_of_its_own_still_has_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
