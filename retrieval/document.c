#include "retrieval/document.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/utf8.h"
#include "retrieval/document_builder.h"

enum { LINE_STEP = 4096 };

/* The formats. The first is also for files whose name has no ending. */
static const struct document_reader *const readers[] = {
    &document_text,
    &document_markdown,
    &document_html,
};
enum { N_READERS = sizeof readers / sizeof *readers };

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The ending of a file's name in lower case, "" for none. "LGPL-2.1" has none:
 * an ending begins with a letter. */
static void ending_of(const char *path, char out[16])
{
    const char *name = file_name(path), *dot = strrchr(name, '.');
    size_t n = dot && dot != name ? strlen(dot + 1) : 0;
    out[0] = '\0';
    if (n == 0 || (dot[1] >= '0' && dot[1] <= '9')) return;
    for (size_t i = 0; i < 15 && i < n; i++) {
        char c = dot[1 + i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        out[i + 1] = '\0';
    }
}

static enum tacit_err find_reader(const char *path,
                                  const struct document_reader **out)
{
    char ending[16], padded[20];
    ending_of(path, ending);
    if (!ending[0]) {
        *out = readers[0];
        return TACIT_OK;
    }
    snprintf(padded, sizeof padded, " %s ", ending);
    for (size_t i = 0; i < N_READERS; i++) {
        if (!strstr(readers[i]->endings, padded)) continue;
        *out = readers[i];
        return TACIT_OK;
    }
    return fail_as(E_DOCUMENT_KIND,
                   "%s: files of kind .%s are not read; convert it to text, "
                   "Markdown or HTML",
                   path, ending);
}

static size_t mark_length(const struct buf *s)
{
    return s->len >= 3 && memcmp(s->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static enum tacit_err refuse_bytes(const char *path, const struct buf *s,
                                   size_t bad)
{
    size_t line = 1;
    for (size_t i = 0; i < bad; i++) line += s->data[i] == '\n';
    if (s->len >= 2 && (memcmp(s->data, "\xff\xfe", 2) == 0 ||
                        memcmp(s->data, "\xfe\xff", 2) == 0))
        return fail_as(E_DOCUMENT_NOT_UTF8,
                       "%s: text in UTF-16, not UTF-8; convert it: iconv -f "
                       "UTF-16 -t UTF-8",
                       path);
    if (memchr(s->data, '\0', s->len))
        return fail_as(E_DOCUMENT_BINARY,
                       "%s: binary data, not text (a zero byte at byte %zu)",
                       path,
                       (size_t)((const uint8_t *)memchr(s->data, '\0', s->len) -
                                s->data));
    return fail_as(E_DOCUMENT_NOT_UTF8,
                   "%s: not UTF-8: byte %zu (line %zu) is 0x%02x; if it is "
                   "Latin-1, convert it: iconv -f LATIN1 -t UTF-8",
                   path, bad, line, s->data[bad]);
}

static enum tacit_err check_source(const char *path, const struct buf *s)
{
    size_t mark = mark_length(s), bad = mark;
    const char *text = (const char *)s->data;
    if (s->len > mark) bad = mark + utf8_find_bad(text + mark, s->len - mark);
    if (bad < s->len) return refuse_bytes(path, s, bad);
    for (size_t i = mark; i < s->len; i++)
        if (!strchr(" \t\r\n\f\v", text[i])) return TACIT_OK;
    return fail_as(E_DOCUMENT_EMPTY, "%s: the file is %s", path,
                   s->len ? "blank" : "empty");
}

static enum tacit_err begin(struct document *d, const char *path)
{
    const struct document_reader *reader;
    TRY(find_reader(path, &reader));
    *d = (struct document){.reader = reader};
    buf_init(&d->source, DOCUMENT_BYTES_MAX + 1);
    /* Separators and a few entities are longer than what they stand for. */
    buf_init(&d->text, 2 * (size_t)DOCUMENT_BYTES_MAX);
    document_set_title(d, file_name(path), strlen(file_name(path)));
    return TACIT_OK;
}

/* Say the reason of file_read() under a document's own code. */
static enum tacit_err refuse_file(enum tacit_err err, const char *path)
{
    char why[768];
    snprintf(why, sizeof why, "%s", err_message());
    err_clear();
    switch (err) {
    case TACIT_NOTFOUND: return fail_as(E_DOCUMENT_MISSING, "%s", why);
    case TACIT_IO: return fail_as(E_DOCUMENT_UNREADABLE, "%s", why);
    case TACIT_UNSUPPORTED: return fail_as(E_DOCUMENT_KIND, "%s", why);
    case TACIT_LIMIT:
        return fail_as(E_DOCUMENT_TOO_LARGE,
                       "%s: larger than %d MiB; split it into parts", path,
                       DOCUMENT_BYTES_MAX >> 20);
    default: return fail(err, "%s", why);
    }
}

/* What walks folders hands over those that it cannot go into. */
static enum tacit_err refuse_folder(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return TACIT_OK;
    return fail_as(E_DOCUMENT_UNREADABLE, "%s: a folder %s", path,
                   access(path, R_OK | X_OK) == 0
                       ? "that lies too deep; add it by its own path"
                       : "that may not be listed; change its permissions");
}

enum tacit_err document_open(struct document *d, const char *path)
{
    struct document got;
    TRY(refuse_folder(path));
    TRY(begin(&got, path));
    enum tacit_err err = file_read(path, DOCUMENT_BYTES_MAX, &got.source);
    if (err) err = refuse_file(err, path);
    if (!err) err = check_source(path, &got.source);
    if (err) {
        document_release(&got);
        return err;
    }
    *d = got;
    return TACIT_OK;
}

enum tacit_err document_open_bytes(struct document *d, const char *path,
                                   const void *bytes, size_t n)
{
    struct document got;
    if (n > DOCUMENT_BYTES_MAX)
        return fail_as(E_DOCUMENT_TOO_LARGE, "%s: larger than %d MiB", path,
                       DOCUMENT_BYTES_MAX >> 20);
    TRY(begin(&got, path));
    buf_put(&got.source, bytes, n);
    enum tacit_err err = buf_end(&got.source);
    if (!err) err = check_source(path, &got.source);
    if (err) {
        document_release(&got);
        return err;
    }
    *d = got;
    return TACIT_OK;
}

/* Lines before every LINE_STEP bytes, so that a line number costs one step. */
static enum tacit_err mark_lines(struct document *d)
{
    uint32_t line = 0;
    d->line_marks = calloc(d->source.len / LINE_STEP + 1, sizeof(uint32_t));
    if (!d->line_marks) return fail(TACIT_NOMEM, "out of memory");
    for (size_t i = 0; i < d->source.len; i++) {
        if (i % LINE_STEP == 0) d->line_marks[i / LINE_STEP] = line;
        line += d->source.data[i] == '\n';
    }
    return TACIT_OK;
}

enum tacit_err document_parse(struct document *d)
{
    struct builder b = {.d = d};
    char name[DOCUMENT_TITLE_MAX];
    memcpy(name, d->title, sizeof name);
    TRY(mark_lines(d));
    enum tacit_err err =
        d->reader->read(&b, mark_length(&d->source), d->source.len);
    if (!err) err = builder_end(&b);
    if (err) return err_context(err, "%s", name);
    if (d->n_blocks == 0)
        return fail_as(E_DOCUMENT_EMPTY, "%s: holds no text, only markup",
                       name);
    return TACIT_OK;
}

void document_release(struct document *d)
{
    buf_release(&d->source);
    buf_release(&d->text);
    free(d->blocks);
    free(d->runs);
    free(d->line_marks);
    *d = (struct document){0};
}

const char *document_kind(const struct document *d)
{
    return d->reader->kind;
}

/* 1-based line of a source byte. */
static uint32_t line_at(const struct document *d, size_t at)
{
    size_t mark = at / LINE_STEP;
    uint32_t line = d->line_marks[mark] + 1;
    for (size_t i = mark * LINE_STEP; i < at; i++)
        line += d->source.data[i] == '\n';
    return line;
}

/* The run that text byte `at` belongs to. */
static size_t find_run(const struct document *d, size_t at)
{
    size_t low = 0, high = d->n_runs;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (d->runs[mid].text_at <= at)
            low = mid;
        else
            high = mid;
    }
    return low;
}

struct place document_place(const struct document *d, size_t first, size_t end)
{
    size_t from = SIZE_MAX, to = 0;
    /* HTML that moves text (out of a broken table) has falling offsets, so
     * every run of the range counts, not the two at its ends. */
    for (size_t i = find_run(d, first); i < d->n_runs; i++) {
        const struct run *r = &d->runs[i];
        if (r->text_at >= end) break;
        if (r->source_len == RUN_NOTHING) continue;
        size_t stop = i + 1 < d->n_runs ? d->runs[i + 1].text_at : end;
        size_t skip = first > r->text_at ? first - r->text_at : 0;
        size_t low = r->source_at, high = low + r->source_len;
        if (r->source_len == 0) {
            high = low + ((stop < end ? stop : end) - r->text_at);
            low += skip;
        }
        if (low < from) from = low;
        if (high > to) to = high;
    }
    if (to == 0) { /* nothing but marks: the place where they stand */
        from = d->runs[find_run(d, first)].source_at;
        to = from + 1;
    }
    if (to > d->source.len) to = d->source.len;
    if (from >= to) from = to - 1;
    return (struct place){.byte_first = from,
                          .byte_end = to,
                          .line_first = line_at(d, from),
                          .line_last = line_at(d, to - 1)};
}
