/*
 * E-mail: one message (.eml, RFC 5322) or a mailbox of them (mbox, RFC 4155).
 *
 *   heading    the subject; of a message within a message, one level deeper
 *   paragraph  From: … | To: … | Date: …
 *   text       text/plain, or text/html where there is no plain one
 *   item       Attachment: name (type); attachments are not read
 *
 * The made source is what was decoded, part after part. A message that cannot
 * be read never stops the others: its part is left out, and said.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/codes.h"
#include "common/base/plural.h"
#include "retrieval/document_charset.h"
#include "retrieval/document_html.h"
#include "retrieval/document_mime.h"
#include "retrieval/document_text.h"

enum {
    MESSAGES_MAX = 200000, /* of a mailbox */
    PARTS_MAX = 1000,      /* of a message */
    DEPTH_MAX = 16,        /* of parts and messages within each other */
    BOUNDARY_MAX = 80,
    NAME_MAX_BYTES = 200,
    HEADER_BYTES_MAX = 1 << 18,
    HTML_CPU_S = 60 /* of all messages together */
};

struct mail {
    struct builder *b;
    struct buf bytes; /* of the part that is being decoded */
    struct buf text;  /* the same in UTF-8 */
    size_t n_parts;   /* of this message */
    size_t n_unread;  /* HTML parts that could not be read */
    unsigned level;   /* of the message's heading */
};

static void add_words(struct mail *m, const char *text)
{
    buf_clear(&m->text);
    mime_words(&m->text, text, strlen(text));
    builder_add(m->b, (const char *)m->text.data, m->text.len);
}

static void add_plain(struct builder *b, const char *text)
{
    builder_add(b, text, strlen(text));
}

static void add_header(struct mail *m, const struct mime_part *p)
{
    static const char *const names[] = {"From", "To", "Cc", "Date"};
    char field[MIME_FIELD_MAX];
    struct builder *b = m->b;
    builder_open(b, BLOCK_HEADING, m->level < 6 ? m->level : 6);
    if (mime_field(p, "Subject", field))
        add_words(m, field);
    else
        add_plain(b, "(no subject)");
    builder_close(b);
    builder_open(b, BLOCK_PARAGRAPH, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!mime_field(p, names[i], field)) continue;
        if (builder_length(b) > 0) add_plain(b, " | ");
        add_plain(b, names[i]);
        add_plain(b, ": ");
        add_words(m, field);
    }
    builder_close(b);
}

/* ---- parts ----------------------------------------------------------------
 */

static void list_attachment(struct mail *m, const char *name, const char *type)
{
    struct builder *b = m->b;
    builder_open(b, BLOCK_ITEM, 1);
    add_plain(b, "Attachment: ");
    add_plain(b, name[0] ? name : "without a name");
    add_plain(b, " (");
    add_plain(b, type);
    add_plain(b, ")");
    builder_close(b);
}

/* HTML that cannot be read is left out; the mail is not. */
static void add_html(struct mail *m, size_t first, size_t end)
{
    struct builder *b = m->b;
    document_html_part(b, first, end);
    if (b->err && b->err != TACIT_NOMEM) {
        err_clear();
        b->err = TACIT_OK;
        m->n_unread++;
    }
    builder_close(b);
}

static void add_body(struct mail *m, const struct mime_part *p,
                     const char *field, int is_html)
{
    char charset[64] = "us-ascii", coding[MIME_FIELD_MAX];
    size_t first = 0, end = 0;
    mime_field(p, "Content-Transfer-Encoding", coding);
    mime_parameter(field, "charset", charset, sizeof charset);
    buf_clear(&m->bytes);
    buf_clear(&m->text);
    mime_decode(&m->bytes, mime_coding(coding), p->body, p->n_body);
    document_charset(&m->text, charset, m->bytes.data, m->bytes.len);
    if (m->bytes.err || m->text.err) { /* larger than any text */
        builder_note(m->b, "a part over %d MiB was not read",
                     DOCUMENT_SOURCE_MAX >> 20);
        return;
    }
    if (m->text.len == 0 ||
        !builder_make(m->b, m->text.data, m->text.len, &first, &end))
        return;
    if (is_html)
        add_html(m, first, end);
    else
        document_text_part(m->b, TEXT_MAIL, first, end);
}

static void add_message(struct mail *m, const char *s, size_t n,
                        unsigned depth);

struct look {
    char field[MIME_FIELD_MAX]; /* Content-Type */
    char type[MIME_WORD_MAX], name[NAME_MAX_BYTES];
    int is_attached;
};

static void look_at(const struct mime_part *p, struct look *l)
{
    char disposition[MIME_FIELD_MAX], how[MIME_WORD_MAX];
    l->name[0] = '\0';
    mime_field(p, "Content-Type", l->field);
    mime_field(p, "Content-Disposition", disposition);
    mime_type(l->field, l->type);
    mime_type(disposition, how);
    if (!mime_parameter(disposition, "filename", l->name, sizeof l->name))
        mime_parameter(l->field, "name", l->name, sizeof l->name);
    if (!strchr(l->type, '/')) snprintf(l->type, sizeof l->type, "text/plain");
    l->is_attached = strcmp(how, "attachment") == 0;
}

/* The parts between the lines "--boundary". */
struct parts {
    const char *s;
    size_t n, at;
    char boundary[BOUNDARY_MAX + 4]; /* with its dashes */
    size_t n_boundary;
};

/* The line at p->at is the boundary: 1; the last one: 2. */
static int at_boundary(const struct parts *p)
{
    const char *line = p->s + p->at;
    size_t left = p->n - p->at;
    if (left < p->n_boundary || memcmp(line, p->boundary, p->n_boundary) != 0)
        return 0;
    line += p->n_boundary;
    left -= p->n_boundary;
    if (left >= 2 && line[0] == '-' && line[1] == '-') return 2;
    return left == 0 || strchr(" \t\r\n", *line) ? 1 : 0;
}

static void next_line(struct parts *p)
{
    const char *nl = memchr(p->s + p->at, '\n', p->n - p->at);
    p->at = nl ? (size_t)(nl - p->s) + 1 : p->n;
}

static int parts_begin(struct parts *p, const struct mime_part *of,
                       const char *field)
{
    char name[BOUNDARY_MAX];
    *p = (struct parts){.s = of->body, .n = of->n_body};
    if (!mime_parameter(field, "boundary", name, sizeof name)) return 0;
    p->n_boundary =
        (size_t)snprintf(p->boundary, sizeof p->boundary, "--%s", name);
    while (p->at < p->n && at_boundary(p) != 1) next_line(p);
    return p->at < p->n;
}

/* The next part; 0 at the end. */
static int parts_next(struct parts *p, struct mime_part *out)
{
    if (p->at >= p->n || at_boundary(p) != 1) return 0;
    next_line(p);
    size_t first = p->at;
    while (p->at < p->n && !at_boundary(p)) next_line(p);
    *out = mime_split(p->s + first, p->at - first);
    return 1;
}

static void add_part(struct mail *m, const struct mime_part *p,
                     const char *usual, unsigned depth);

/* Of alternatives, the plain text; else the first that is text, or parts. */
static void add_alternative(struct mail *m, const struct mime_part *of,
                            const char *field, unsigned depth)
{
    struct parts parts;
    struct mime_part p, best = {0};
    struct look l;
    int best_rank = 0;
    if (!parts_begin(&parts, of, field)) return;
    while (parts_next(&parts, &p)) {
        look_at(&p, &l);
        int rank = strcmp(l.type, "text/plain") == 0        ? 3
                   : strncmp(l.type, "multipart/", 10) == 0 ? 2
                   : strcmp(l.type, "text/html") == 0       ? 2
                                                            : 1;
        int is_blank = 1;
        for (size_t i = 0; i < p.n_body && is_blank; i++)
            is_blank = (unsigned char)p.body[i] <= ' ';
        if (is_blank || rank <= best_rank) continue;
        best = p;
        best_rank = rank;
    }
    if (best_rank) add_part(m, &best, "text/plain", depth + 1);
}

static void add_parts(struct mail *m, const struct mime_part *of,
                      const char *field, const char *usual, unsigned depth)
{
    struct parts parts;
    struct mime_part p;
    if (!parts_begin(&parts, of, field)) return;
    while (parts_next(&parts, &p)) add_part(m, &p, usual, depth + 1);
}

/* Recursion stops at DEPTH_MAX and PARTS_MAX. */
static void add_part(struct mail *m, const struct mime_part *p,
                     const char *usual, unsigned depth)
{
    struct look l;
    if (m->b->err || m->b->is_full) return;
    if (depth > DEPTH_MAX || ++m->n_parts > PARTS_MAX) {
        builder_note(m->b,
                     "a message of more than %d parts, or nested more "
                     "than %d deep, was not read whole",
                     PARTS_MAX, DEPTH_MAX);
        return;
    }
    look_at(p, &l);
    if (!l.field[0]) snprintf(l.type, sizeof l.type, "%s", usual);
    if (l.is_attached)
        list_attachment(m, l.name, l.type);
    else if (strcmp(l.type, "multipart/alternative") == 0)
        add_alternative(m, p, l.field, depth);
    else if (strncmp(l.type, "multipart/", 10) == 0)
        add_parts(m, p, l.field,
                  strcmp(l.type, "multipart/digest") == 0 ? "message/rfc822"
                                                          : "text/plain",
                  depth);
    else if (strcmp(l.type, "message/rfc822") == 0)
        add_message(m, p->body, p->n_body, depth + 1);
    else if (strcmp(l.type, "text/plain") == 0)
        add_body(m, p, l.field, 0);
    else if (strcmp(l.type, "text/html") == 0)
        add_body(m, p, l.field, 1);
    else
        list_attachment(m, l.name, l.type);
}

static void add_message(struct mail *m, const char *s, size_t n, unsigned depth)
{
    while (n && (*s == '\n' || *s == '\r')) s++, n--;
    struct mime_part p = mime_split(s, n);
    if (p.n_header > HEADER_BYTES_MAX) p.n_header = HEADER_BYTES_MAX;
    m->level++;
    add_header(m, &p);
    add_part(m, &p, "text/plain", depth);
    m->level--;
}

/* ---- files ----------------------------------------------------------------
 */

static void mail_init(struct mail *m, struct builder *b)
{
    struct timespec t;
    *m = (struct mail){.b = b};
    buf_init(&m->bytes, DOCUMENT_SOURCE_MAX);
    buf_init(&m->text, DOCUMENT_SOURCE_MAX);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    b->cpu_deadline_ns =
        ((int64_t)t.tv_sec + HTML_CPU_S) * 1000000000 + t.tv_nsec;
}

static enum tacit_err mail_end(struct mail *m)
{
    if (m->n_unread)
        builder_note(m->b, "%zu HTML part%s could not be read", m->n_unread,
                     plural_s(m->n_unread));
    buf_release(&m->bytes);
    buf_release(&m->text);
    return builder_end(m->b);
}

/* A message has a field before its first blank line. */
static int looks_like_mail(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && i < 80 && s[i] > ' ' && s[i] < 0x7f && s[i] != ':') i++;
    return i > 0 && i < n && s[i] == ':';
}

static enum tacit_err read_email(struct builder *b, size_t first, size_t end)
{
    const char *s = (const char *)b->d->file.data;
    struct mail m;
    char subject[MIME_FIELD_MAX];
    (void)first;
    if (!looks_like_mail(s, end))
        return fail_as(E_DOCUMENT_DAMAGED, "not an e-mail: no header at its "
                                           "beginning");
    mail_init(&m, b);
    const struct mime_part p = mime_split(s, end);
    if (mime_field(&p, "Subject", subject)) {
        mime_words(&m.text, subject, strlen(subject));
        document_set_title(b->d, (const char *)m.text.data, m.text.len);
    }
    add_message(&m, s, end, 0);
    return mail_end(&m);
}

/* Whether a message begins at the line s[at]. */
static int begins_message(const char *s, size_t at, size_t end)
{
    if (end - at < 5 || memcmp(s + at, "From ", 5) != 0) return 0;
    return at == 0 || (at >= 2 && s[at - 1] == '\n' &&
                       (s[at - 2] == '\n' ||
                        (at >= 3 && s[at - 2] == '\r' && s[at - 3] == '\n')));
}

static size_t line_behind(const char *s, size_t at, size_t end)
{
    const char *nl = memchr(s + at, '\n', end - at);
    return nl ? (size_t)(nl - s) + 1 : end;
}

static enum tacit_err read_mbox(struct builder *b, size_t first, size_t end)
{
    const char *s = (const char *)b->d->file.data;
    struct mail m;
    size_t n = 0;
    if (!begins_message(s, 0, end))
        return fail_as(E_DOCUMENT_DAMAGED,
                       "not a mailbox: it does not begin with \"From \"");
    mail_init(&m, b);
    for (size_t at = first; at < end && !b->err && !b->is_full;) {
        size_t from = line_behind(s, at, end), stop = from;
        while (stop < end && !begins_message(s, stop, end))
            stop = line_behind(s, stop, end);
        if (n++ == MESSAGES_MAX) {
            builder_note(b, "only the first %d messages were read",
                         MESSAGES_MAX);
            break;
        }
        m.n_parts = 0;
        add_message(&m, s + from, stop - from, 0);
        at = stop;
    }
    return mail_end(&m);
}

const struct document_reader document_email = {
    .kind = "email",
    .endings = " eml ",
    .input = INPUT_BYTES,
    .read = read_email,
};

const struct document_reader document_mbox = {
    .kind = "mbox",
    .endings = " mbox mbx ",
    .input = INPUT_BYTES,
    .read = read_mbox,
};
