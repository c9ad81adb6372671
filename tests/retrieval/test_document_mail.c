#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/document.h"
#include "retrieval/document_mime.h"
#include "tests/retrieval/blocks.h"

static enum tacit_err read(struct document *d, const char *name,
                           const char *text)
{
    check_ok(document_open_bytes(d, name, text, strlen(text)));
    return document_parse(d);
}

static void a_message_has_its_subject_sender_and_text(void **state)
{
    (void)state;
    struct document d;
    check_ok(
        read(&d, "/a/b.eml",
             "Received: from x\r\nFrom: =?iso-8859-1?Q?J=F6rg_B?= "
             "<j@x.org>\r\nTo: a@x.org\r\nSubject: =?utf-8?B?Q2Fmw6k=?=\r\n"
             " =?utf-8?Q?_am_Abend?=\r\nDate: Mon, 2 Mar 2026 10:00:00 "
             "+0100\r\nContent-Type: text/plain; charset=\"windows-1252\""
             "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
             "Caf=E9 at =\r\nnoon costs 5 =80.\r\n\r\nBring cake.\r\n"));
    assert_string_equal(blocks_of(&d),
                        "H1 Caf\xc3\xa9 am Abend\n"
                        "P From: J\xc3\xb6rg B <j@x.org> | To: a@x.org | Date: "
                        "Mon, 2 Mar 2026 10:00:00 +0100\n"
                        "P Caf\xc3\xa9 at noon costs 5 \xe2\x82\xac.\n"
                        "P Bring cake.\n");
    assert_string_equal(d.title, "Caf\xc3\xa9 am Abend");
    assert_string_equal(document_kind(&d), "email");
    assert_string_equal(source_of(&d, 3), "Bring cake.");
    document_release(&d);
}

static const char mixed[] =
    "Subject: Parts\nContent-Type: multipart/mixed; boundary=\"A b\"\n\n"
    "preamble\n--A b\nContent-Type: multipart/alternative; boundary=C\n\n"
    "--C\nContent-Type: text/plain\n\n  \n--C\nContent-Type: text/html; "
    "charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    "PGgyPkRvc2U8L2gyPjxwPkdpdmUgNSZuYnNwO21nLjwvcD4=\n--C--\n"
    "--A b\nContent-Type: application/pdf; name=\"x.pdf\"\n"
    "Content-Disposition: attachment; "
    "filename*=utf-8''caf%C3%A9.pdf\nContent-Transfer-Encoding: base64\n\n"
    "AAAA\n--A b\nContent-Type: message/rfc822\n\nSubject: Inner\n\nInner "
    "text.\n--A b--\nepilogue\n";

static void parts_are_read_and_attachments_listed(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "b.eml", mixed));
    assert_string_equal(blocks_of(&d),
                        "H1 Parts\nH2 Dose\nP Give 5 mg.\n"
                        "I1 Attachment: caf\xc3\xa9.pdf (application/pdf)\n"
                        "H2 Inner\nP Inner text.\n");
    document_release(&d);
}

static void a_mailbox_is_its_messages(void **state)
{
    (void)state;
    struct document d;
    check_ok(read(&d, "/a/in.mbox",
                  "From a@x Mon Mar  2 10:00:00 2026\nSubject: One\n\nFirst. "
                  "\nFrom here on it is text.\n\nFrom b@x Mon Mar  2 10:00:01 "
                  "2026\nFrom: b@x\n\nSecond.\n"));
    assert_string_equal(blocks_of(&d),
                        "H1 One\nP First. From here on it is text.\n"
                        "H1 (no subject)\nP From: b@x\nP Second.\n");
    assert_string_equal(d.title, "in.mbox");
    document_release(&d);
}

static void one_unreadable_part_does_not_stop_a_mailbox(void **state)
{
    (void)state;
    struct document d;
    struct buf box;
    buf_init(&box, 0);
    buf_printf(&box, "From a\nSubject: Deep\nContent-Type: text/html\n\n");
    for (int i = 0; i < 5000; i++) buf_printf(&box, "<div>");
    buf_printf(&box, "\n\nFrom b\nSubject: Good\n\nText.\n");
    check_ok(read(&d, "in.mbox", buf_cstr(&box)));
    assert_non_null(strstr(blocks_of(&d), "H1 Good\nP Text.\n"));
    assert_string_equal(d.note, "1 HTML part could not be read");
    document_release(&d);
    buf_release(&box);
}

static void what_is_no_mail_is_refused(void **state)
{
    (void)state;
    struct document d;
    check_code(read(&d, "b.eml", "just some text\n"), E_DOCUMENT_DAMAGED);
    document_release(&d);
    check_code(read(&d, "b.mbox", "Subject: x\n\ntext\n"), E_DOCUMENT_DAMAGED);
    document_release(&d);
}

static void endless_nesting_of_parts_is_cut_and_said(void **state)
{
    (void)state;
    struct document d;
    struct buf mail;
    buf_init(&mail, 0);
    buf_printf(&mail, "Subject: Deep\n");
    for (int i = 0; i < 100; i++)
        buf_printf(&mail,
                   "Content-Type: multipart/mixed; boundary=b%d\n\n"
                   "--b%d\n",
                   i, i);
    buf_printf(&mail, "\ntext\n");
    check_ok(read(&d, "a.eml", buf_cstr(&mail)));
    assert_non_null(strstr(d.note, "nested more than 16 deep"));
    document_release(&d);
    buf_release(&mail);
}

static void parameters_are_found_in_any_spelling(void **state)
{
    (void)state;
    char out[64];
    assert_true(mime_parameter("text/plain; Charset = x; charset=\"a\\\"b;c\"",
                               "charset", out, sizeof out));
    assert_string_equal(out, "a\"b;c");
    assert_true(mime_parameter("a; name*0=\"one \"; name*1=two", "name", out,
                               sizeof out));
    assert_string_equal(out, "one two");
    assert_false(mime_parameter("a; namex=1", "name", out, sizeof out));
    assert_false(mime_parameter("a; name=12345678", "name", out, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_its_subject_sender_and_text),
        cmocka_unit_test(parts_are_read_and_attachments_listed),
        cmocka_unit_test(a_mailbox_is_its_messages),
        cmocka_unit_test(one_unreadable_part_does_not_stop_a_mailbox),
        cmocka_unit_test(what_is_no_mail_is_refused),
        cmocka_unit_test(endless_nesting_of_parts_is_cut_and_said),
        cmocka_unit_test(parameters_are_found_in_any_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
