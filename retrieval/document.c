#include "retrieval/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "retrieval/document_builder.h"
#include "retrieval/document_input.h"

enum { LINE_STEP = 256 };

/* The formats. The first is also for files whose name has no ending. */
static const struct document_reader *const readers[] = {
    &document_text,  &document_markdown, &document_html, &document_pdf,
    &document_docx,  &document_odt,      &document_epub, &document_csv,
    &document_jsonl, &document_email,    &document_mbox,
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
                   "PDF or HTML",
                   path, ending);
}

static enum tacit_err begin(struct document *d, const char *path)
{
    const struct document_reader *reader;
    TRY(find_reader(path, &reader));
    *d = (struct document){.reader = reader, .handle = -1};
    buf_init(&d->file, DOCUMENT_FILE_MAX + 1);
    buf_init(&d->made, DOCUMENT_SOURCE_MAX);
    /* Separators and a few entities are longer than what they stand for. */
    buf_init(&d->text, 2 * (size_t)DOCUMENT_SOURCE_MAX);
    document_set_title(d, file_name(path), strlen(file_name(path)));
    d->path = strdup(path);
    return d->path ? TACIT_OK : fail(TACIT_NOMEM, "out of memory");
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

static enum tacit_err keep(struct document *d, struct document *got,
                           enum tacit_err err)
{
    if (err)
        document_release(got);
    else
        *d = *got;
    return err;
}

enum tacit_err document_open(struct document *d, const char *path)
{
    struct document got;
    TRY(refuse_folder(path));
    TRY(begin(&got, path));
    return keep(d, &got, document_input_read(&got, path));
}

enum tacit_err document_open_bytes(struct document *d, const char *path,
                                   const void *bytes, size_t n)
{
    struct document got;
    TRY(begin(&got, path));
    return keep(d, &got, document_input_copy(&got, path, bytes, n));
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

/* Where each page of a PDF's text begins: behind the form feeds. */
static enum tacit_err mark_pages(struct document *d)
{
    const uint8_t *s = d->source.data;
    size_t n = 1;
    if (d->reader != &document_pdf) return TACIT_OK;
    for (size_t i = 0; i + 1 < d->source.len; i++) n += s[i] == '\f';
    d->page_at = calloc(n, sizeof *d->page_at);
    if (!d->page_at) return fail(TACIT_NOMEM, "out of memory");
    d->n_pages = 1;
    for (size_t i = 0; i + 1 < d->source.len; i++)
        if (s[i] == '\f') d->page_at[d->n_pages++] = (uint32_t)i + 1;
    return TACIT_OK;
}

enum tacit_err document_settle(struct document *d)
{
    TRY(mark_lines(d));
    return mark_pages(d);
}

static void note_guess(struct document *d)
{
    size_t n = strlen(d->note);
    if (d->guess)
        snprintf(d->note + n, sizeof d->note - n, "%s%s", n ? "; " : "",
                 d->guess);
}

enum tacit_err document_parse(struct document *d)
{
    struct builder b = {.d = d};
    size_t end = d->source.data ? d->source.len : d->file.len;
    enum tacit_err err = d->reader->read(&b, document_mark_length(d), end);
    if (!err) err = builder_end(&b);
    if (!err) err = document_settle(d);
    if (err) return err_context(err, "%s", d->path);
    TRY(document_input_recheck(d, d->path));
    note_guess(d);
    if (d->n_blocks == 0)
        return fail_as(E_DOCUMENT_EMPTY, "%s: holds no text, only markup",
                       d->path);
    return TACIT_OK;
}

void document_release(struct document *d)
{
    if (d->handle >= 0) close(d->handle);
    free(d->path);
    buf_release(&d->file);
    buf_release(&d->made);
    buf_release(&d->text);
    free(d->blocks);
    free(d->runs);
    free(d->line_marks);
    free(d->page_at);
    *d = (struct document){.handle = -1};
}

const char *document_kind(const struct document *d)
{
    return d->reader->kind;
}

const char *document_kind_at(size_t i)
{
    return i < N_READERS ? readers[i]->kind : NULL;
}

/* 1-based page of a source byte; 0 without pages. */
static uint32_t page_at(const struct document *d, size_t at)
{
    size_t low = 0, high = d->n_pages;
    if (high == 0) return 0;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (d->page_at[mid] <= at)
            low = mid;
        else
            high = mid;
    }
    return (uint32_t)low + 1;
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
                          .line_last = line_at(d, to - 1),
                          .page_first = page_at(d, from),
                          .page_last = page_at(d, to - 1)};
}
