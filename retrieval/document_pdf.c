/*
 * PDF, by the program pdftotext (poppler-utils) as a confined child: a PDF is a
 * program for a printer, its readers have a history of holes, and none is in
 * C and small. It opens the very file that was hashed, as /dev/stdin.
 *
 * What it prints has no marks of headings. So the pages are read as plain text
 * is, after what runs along the top and bottom of the pages (titles, page
 * numbers) is blanked: a first or last line that is the same on many pages,
 * digits aside.
 */
#include "retrieval/document_pdf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/plural.h"
#include "retrieval/document_child.h"
#include "retrieval/document_text.h"

enum {
    CPU_S_MAX = 120,
    WALL_MS_MAX = 180000,
    MEMORY_MAX = 2047 << 20, /* the address space of the child */
    EDGE_LINES = 2,          /* at each end of a page that may run along */
    EDGE_BYTES_MAX = 160,
    RUNNING_PAGES_MIN = 3, /* that a running line stands on */
    RUNNING_SHARE = 4      /* and at least one page in four */
};

/* ---- running lines --------------------------------------------------------
 */

struct edge {
    uint64_t key; /* of the line, digits aside */
    size_t first, end;
    size_t page;
};

static int is_blank_byte(uint8_t c)
{
    return c <= ' ';
}

/* FNV-1a of the line with every digit as 0. */
static uint64_t key_of(const uint8_t *s, size_t first, size_t end)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (size_t i = first; i < end; i++) {
        uint8_t c = s[i] >= '0' && s[i] <= '9' ? '0' : s[i];
        if (c == '0' && i > first && s[i - 1] >= '0' && s[i - 1] <= '9')
            continue; /* page 9 and page 10 */
        h = (h ^ c) * 0x100000001b3U;
    }
    return h;
}

static size_t take_edge(const uint8_t *s, size_t first, size_t end,
                        struct edge *out)
{
    while (first < end && is_blank_byte(s[first])) first++;
    while (end > first && is_blank_byte(s[end - 1])) end--;
    if (first == end || end - first > EDGE_BYTES_MAX) return 0;
    *out = (struct edge){key_of(s, first, end), first, end, 0};
    return 1;
}

/* The lines at both ends of a page [first, end); their number. */
static size_t find_edges(const uint8_t *s, size_t first, size_t end,
                         struct edge *out)
{
    size_t n = 0, n_top = 0, at = first, stop = end;
    while (n_top < EDGE_LINES && at < end) {
        const uint8_t *nl = memchr(s + at, '\n', end - at);
        size_t line_end = nl ? (size_t)(nl - s) : end;
        n_top += take_edge(s, at, line_end, &out[n]);
        n += n_top > n;
        at = nl ? line_end + 1 : end;
    }
    for (size_t k = 0; k < EDGE_LINES && stop > at;) {
        size_t line = stop - 1;
        while (line > at && s[line - 1] != '\n') line--;
        size_t got = take_edge(s, line, stop, &out[n]);
        n += got;
        k += got;
        stop = line;
    }
    return n;
}

static int by_key(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* Blank every line that stands at the edge of many pages. A page of nothing
 * else keeps its lines: they are its text. `left` [n_pages] holds the number of
 * lines of each page. */
static void blank_running(uint8_t *s, struct edge *edges, size_t n,
                          uint32_t *left, size_t n_pages)
{
    size_t needed = n_pages / RUNNING_SHARE, n_running = 0;
    if (needed < RUNNING_PAGES_MIN) needed = RUNNING_PAGES_MIN;
    qsort(edges, n, sizeof *edges, by_key);
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && edges[k].key == edges[i].key;) k++;
        if (k - i < needed) continue;
        for (size_t e = i; e < k; e++) {
            left[edges[e].page]--;
            edges[n_running++] = edges[e];
        }
    }
    for (size_t i = 0; i < n_running; i++)
        if (left[edges[i].page] > 0)
            memset(s + edges[i].first, ' ', edges[i].end - edges[i].first);
}

/* ---- pages ----------------------------------------------------------------
 */

struct pages {
    size_t n, n_blank; /* that are kept; of them without text */
    size_t end;        /* of the last one that is kept */
    int more;
};

static void count_pages(const uint8_t *s, size_t n, struct pages *p)
{
    size_t first = 0;
    *p = (struct pages){0};
    while (first < n && p->n < DOCUMENT_PAGES_MAX) {
        const uint8_t *ff = memchr(s + first, '\f', n - first);
        size_t end = ff ? (size_t)(ff - s) : n, i = first;
        while (i < end && is_blank_byte(s[i])) i++;
        if (!ff && i == end) break; /* blanks behind the last page */
        p->n++;
        p->n_blank += i == end;
        first = p->end = ff ? end + 1 : n;
    }
    for (size_t i = first; i < n && !p->more; i++) p->more = s[i] == '\f';
}

/* Lines of s [first, end) that are not blank. */
static uint32_t count_lines(const uint8_t *s, size_t first, size_t end)
{
    uint32_t n = 0;
    int is_blank = 1;
    for (size_t i = first; i < end; i++) {
        if (s[i] == '\n') is_blank = 1;
        if (is_blank && !is_blank_byte(s[i])) is_blank = 0, n++;
    }
    return n;
}

static enum tacit_err drop_running(uint8_t *s, const struct pages *p)
{
    size_t n = 0, first = 0;
    struct edge *edges = calloc(p->n, 2 * EDGE_LINES * sizeof *edges);
    uint32_t *left = calloc(p->n, sizeof *left);
    for (size_t i = 0; edges && left && i < p->n && first < p->end; i++) {
        const uint8_t *ff = memchr(s + first, '\f', p->end - first);
        size_t end = ff ? (size_t)(ff - s) : p->end, was = n;
        left[i] = count_lines(s, first, end);
        n += find_edges(s, first, end, edges + n);
        while (was < n) edges[was++].page = i;
        first = end + 1;
    }
    if (edges && left) blank_running(s, edges, n, left, p->n);
    int ok = edges && left;
    free(edges);
    free(left);
    return ok ? TACIT_OK : fail(TACIT_NOMEM, "out of memory");
}

enum tacit_err document_pdf_pages(struct builder *b, const void *text, size_t n)
{
    struct document *d = b->d;
    struct pages p;
    size_t first = 0, end = 0;
    if (!builder_make(b, text, n, &first, &end))
        return b->err ? b->err : TACIT_OK;
    count_pages(d->made.data, d->made.len, &p);
    if (p.n == p.n_blank)
        return fail_as(E_DOCUMENT_SCANNED,
                       "%zu page%s without any text, as a scanner makes them; "
                       "add the text with ocrmypdf, then add the file again",
                       p.n, plural_s(p.n));
    if (p.more)
        builder_note(b, "only the first %d pages were read, the limit",
                     DOCUMENT_PAGES_MAX);
    if (p.n_blank)
        builder_note(b, "%zu of %zu pages hold no text (scanned or empty)",
                     p.n_blank, p.n);
    d->made.len = p.end;
    d->source.len = p.end;
    TRY(drop_running(d->made.data, &p));
    document_text_part(b, TEXT_PAGES, 0, d->source.len);
    return builder_end(b);
}

/* ---- the child ------------------------------------------------------------
 */

static int says(const struct child_result *r, const char *what)
{
    return strstr(r->message, what) != NULL;
}

/* Why nothing came out. */
static enum tacit_err refuse(const struct child_result *r)
{
    if (r->end == CHILD_TOO_LATE)
        return fail_as(E_DOCUMENT_MARKUP,
                       "no page was read within %d s; split it, or print it "
                       "to a new PDF",
                       CPU_S_MAX);
    if (says(r, "password"))
        return fail_as(E_DOCUMENT_ENCRYPTED,
                       "encrypted PDF; decrypt it first: qpdf --decrypt "
                       "--password=… OLD NEW");
    if (r->end == CHILD_EXITED && r->status == 3)
        return fail_as(E_DOCUMENT_ENCRYPTED,
                       "a PDF whose maker forbids taking text out of it");
    if (r->end == CHILD_KILLED || says(r, "Out of memory") ||
        says(r, "bad_alloc"))
        return fail_as(E_DOCUMENT_MARKUP,
                       "the PDF needs more than %d MiB to be read, or breaks "
                       "its reader; print it to a new PDF",
                       MEMORY_MAX >> 20);
    return fail_as(E_DOCUMENT_DAMAGED, "not a PDF, or a damaged one (%.120s)",
                   r->message[0] ? r->message : "no reason given");
}

static enum tacit_err print_pages(const struct document *d, struct buf *out,
                                  struct child_result *r)
{
    static const struct child_limits limits = {
        .cpu_s = CPU_S_MAX,
        .wall_ms = WALL_MS_MAX,
        .memory_bytes = MEMORY_MAX,
        .output_bytes = DOCUMENT_SOURCE_MAX - 2,
    };
    char program[CHILD_PATH_MAX], last[16];
    if (!child_find("pdftotext", program))
        return fail_as(E_DOCUMENT_HELPER,
                       "PDF is read by pdftotext, which is not here; install "
                       "the package poppler-utils");
    snprintf(last, sizeof last, "%d", DOCUMENT_PAGES_MAX + 1);
    const char *const argv[] = {program, "-enc",       "UTF-8", "-l",
                                last,    "/dev/stdin", "-",     NULL};
    return child_run(argv, d->handle, &limits, out, r);
}

static enum tacit_err read_pdf(struct builder *b, size_t first, size_t end)
{
    struct child_result r;
    struct buf pages;
    (void)first, (void)end;
    buf_init(&pages, DOCUMENT_SOURCE_MAX);
    enum tacit_err err = print_pages(b->d, &pages, &r);
    /* Of a child that was stopped, whole pages count. */
    int stopped = !err && (r.is_cut || r.end != CHILD_EXITED);
    while (stopped && pages.len && pages.data[pages.len - 1] != '\f')
        pages.len--;
    if (!err && pages.len == 0) err = refuse(&r);
    if (!err && stopped) {
        size_t n = 0;
        for (size_t i = 0; i < pages.len; i++) n += pages.data[i] == '\f';
        builder_note(b, "reading stopped at a limit behind page %zu", n);
    }
    if (!err) err = document_pdf_pages(b, pages.data, pages.len);
    buf_release(&pages);
    return err;
}

const struct document_reader document_pdf = {
    .kind = "pdf",
    .endings = " pdf ",
    .input = INPUT_HANDLE,
    .read = read_pdf,
};
