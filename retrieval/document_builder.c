#include "retrieval/document_builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/nfkc.h"
#include "common/base/utf8.h"
#include "retrieval/document_charset.h"

enum look { LOOK_KEEP, LOOK_BLANK, LOOK_DROP };

/* What becomes of the character of `n` bytes at p. */
static enum look look_at(uint32_t u)
{
    if (u <= 0x20 || (u >= 0x7f && u <= 0xa0)) return LOOK_BLANK;
    if (u < 0xad) return LOOK_KEEP;
    if (u == 0xad) return LOOK_DROP; /* soft hyphen */
    if (u < 0x2000) return LOOK_KEEP;
    if (u <= 0x200a || u == 0x2028 || u == 0x2029 || u == 0x202f ||
        u == 0x205f || u == 0x3000)
        return LOOK_BLANK;
    /* Zero width, direction marks, byte-order mark. */
    if (u <= 0x200f || (u >= 0x202a && u <= 0x202e) ||
        (u >= 0x2060 && u <= 0x2069) || u == 0xfeff)
        return LOOK_DROP;
    return LOOK_KEEP;
}

/* The list with room for one element behind its n: twice the size, `max` at
 * most. NULL, with the builder's error, when there is no memory. */
static void *with_room(struct builder *b, void *list, size_t n, size_t *cap,
                       size_t size, size_t max)
{
    if (list && n < *cap) return list;
    size_t wanted = *cap ? 2 * *cap : 64;
    if (wanted > max) wanted = max;
    void *p = realloc(list, wanted * size);
    if (p)
        *cap = wanted;
    else
        b->err = fail(TACIT_NOMEM, "out of memory");
    return p;
}

static void add_run(struct builder *b, struct run r)
{
    struct document *d = b->d;
    if (d->runs && d->n_runs) {
        const struct run *last = &d->runs[d->n_runs - 1];
        if (!last->source_len && !r.source_len &&
            r.text_at - last->text_at == r.source_at - last->source_at)
            return; /* goes on where the last one is */
        if (r.source_len && last->source_len == r.source_len &&
            last->source_at == r.source_at)
            return; /* more of the same unit */
    }
    if (d->n_runs == DOCUMENT_RUNS_MAX) {
        builder_refuse(b, "broken into too many pieces");
        return;
    }
    struct run *runs = with_room(b, d->runs, d->n_runs, &d->cap_runs,
                                 sizeof *runs, DOCUMENT_RUNS_MAX);
    if (!runs) return;
    d->runs = runs;
    runs[d->n_runs++] = r;
}

/* Append text as it is; `unit` as in struct run. */
static void emit_run(struct builder *b, const char *text, size_t n, size_t at,
                     uint32_t unit)
{
    struct buf *out = &b->d->text;
    if (b->err || n == 0) return;
    add_run(b, (struct run){.text_at = (uint32_t)out->len,
                            .source_at = (uint32_t)at,
                            .source_len = unit});
    buf_put(out, text, n);
}

/* Append text byte by byte from the source, but what has another spelling. */
static void emit_spelt(struct builder *b, const char *text, size_t n, size_t at)
{
    char out[NFKC_BYTES_MAX];
    size_t from = 0;
    for (size_t i = 0, k; i < n && !b->err; i += k) {
        k = nfkc_segment(text + i, n - i);
        if (k == 1) continue;
        size_t len = nfkc_spell(text + i, k, out);
        if (len == k && memcmp(out, text + i, k) == 0) continue;
        emit_run(b, text + from, i - from, at + from, 0);
        emit_run(b, out, len, at + i, (uint32_t)k);
        from = i + k;
    }
    emit_run(b, text + from, n - from, at + from, 0);
}

/* Append text that stands for one unit of the source. */
static void emit_unit(struct builder *b, const char *text, size_t n, size_t at,
                      uint32_t unit)
{
    char out[NFKC_BYTES_MAX];
    size_t from = 0;
    for (size_t i = 0, k; i < n && !b->err; i += k) {
        k = nfkc_segment(text + i, n - i);
        if (k == 1) continue;
        size_t len = nfkc_spell(text + i, k, out);
        if (len == k && memcmp(out, text + i, k) == 0) continue;
        emit_run(b, text + from, i - from, at, unit);
        emit_run(b, out, len, at, unit);
        from = i + k;
    }
    emit_run(b, text + from, n - from, at, unit);
}

/* The blank that is due; one within a unit belongs to it. */
static void emit_blank(struct builder *b)
{
    struct document *d = b->d;
    const struct run *last =
        d->runs && d->n_runs ? &d->runs[d->n_runs - 1] : NULL;
    if (!last || last->source_len == 0 || last->source_at != b->blank_at)
        add_run(b, (struct run){.text_at = (uint32_t)d->text.len,
                                .source_at = (uint32_t)b->blank_at});
    buf_put_u8(&d->text, ' ');
}

static void refuse_length(struct builder *b)
{
    err_clear();
    b->err = fail_as(E_DOCUMENT_TOO_LARGE,
                     "more than %d MiB of text; split the file",
                     2 * DOCUMENT_SOURCE_MAX >> 20);
}

/* Visible text: n bytes that stand for source [at, at + len). */
static void emit(struct builder *b, const char *text, size_t n, size_t at,
                 size_t len)
{
    struct buf *out = &b->d->text;
    if (b->err || n == 0) return;
    if (!b->is_open) builder_open(b, BLOCK_PARAGRAPH, 0);
    if (b->has_blank && builder_length(b) > 0) emit_blank(b);
    b->has_blank = 0;
    if (len == n)
        emit_spelt(b, text, n, at);
    else
        emit_unit(b, text, n, at, len == 0 ? RUN_NOTHING : (uint32_t)len);
    if (out->err && !b->err) refuse_length(b);
}

static void blank(struct builder *b, size_t at)
{
    if (b->has_blank) return;
    b->has_blank = 1;
    b->blank_at = at;
}

void builder_open(struct builder *b, enum block_kind kind, unsigned level)
{
    builder_close(b);
    b->is_open = 1;
    b->has_blank = 0;
    b->block = (struct block){.kind = kind,
                              .level = level,
                              .text_first = b->d->text.len};
}

size_t builder_length(const struct builder *b)
{
    return b->is_open ? b->d->text.len - b->block.text_first : 0;
}

/* In code, lines and indentation are kept, but not at either end. */
static int is_kept_blank(const struct builder *b, char c)
{
    return b->is_open && b->block.kind == BLOCK_CODE && builder_length(b) > 0 &&
           (c == '\n' || c == ' ' || c == '\t');
}

void builder_source(struct builder *b, size_t at, size_t n)
{
    const char *s = (const char *)b->d->source.data;
    size_t from = at, end = at + n;
    for (size_t i = at, k; i < end && !b->err; i += k) {
        uint32_t u = 0;
        k = utf8_next(s + i, end - i, &u);
        if (k == 0) k = 1, u = ' '; /* half a character at a cut */
        enum look look = look_at(u);
        if (look == LOOK_KEEP) continue;
        emit(b, s + from, i - from, from, i - from);
        from = i + k;
        if (is_kept_blank(b, s[i]))
            emit(b, s[i] == '\n' ? "\n" : " ", 1, i, 1);
        else if (look == LOOK_BLANK)
            blank(b, i);
    }
    if (from < end) emit(b, s + from, end - from, from, end - from);
    b->source_at = end;
}

void builder_piece(struct builder *b, const char *text, size_t n, size_t at,
                   size_t len)
{
    size_t from = 0;
    for (size_t i = 0, k; i < n && !b->err; i += k) {
        uint32_t u = 0;
        k = utf8_next(text + i, n - i, &u);
        if (k == 0) k = 1, u = ' ';
        enum look look = look_at(u);
        if (look == LOOK_KEEP) continue;
        emit(b, text + from, i - from, at, len);
        from = i + k;
        if (is_kept_blank(b, text[i]))
            emit(b, text[i] == '\n' ? "\n" : " ", 1, at, len);
        else if (look == LOOK_BLANK)
            blank(b, at);
    }
    emit(b, text + from, n - from, at, len);
    b->source_at = at + len;
}

static void show(struct builder *b)
{
    b->d->source.data = b->d->made.data;
    b->d->source.len = b->d->made.len;
}

/* Whether n bytes more fit into the made source; when not, that is said. */
static int has_room(struct builder *b, size_t n)
{
    if (b->is_full || b->err) return 0;
    if (n + 1 < DOCUMENT_SOURCE_MAX - b->d->made.len) return 1;
    b->is_full = 1;
    builder_note(b, "only the first %d MiB of text were read",
                 DOCUMENT_SOURCE_MAX >> 20);
    return 0;
}

/* The made source goes on in a new line. */
static void make_line(struct builder *b)
{
    struct buf *made = &b->d->made;
    if (made->len && made->data[made->len - 1] != '\n') buf_put_u8(made, '\n');
}

void builder_add(struct builder *b, const char *text, size_t n)
{
    struct buf *made = &b->d->made;
    if (n == 0 || !has_room(b, n)) return;
    if (!b->is_open) builder_open(b, BLOCK_PARAGRAPH, 0);
    if (builder_length(b) == 0) make_line(b);
    size_t at = made->len;
    buf_put(made, text, n);
    if (made->err)
        b->err = buf_end(made);
    else
        show(b);
    if (!b->err) builder_source(b, at, n);
}

int builder_make(struct builder *b, const void *bytes, size_t n, size_t *first,
                 size_t *end)
{
    struct buf *made = &b->d->made;
    builder_close(b);
    if (!has_room(b, n)) return 0;
    make_line(b);
    *first = made->len;
    document_charset(made, "utf-8", bytes, n);
    if (made->err) { /* what is not UTF-8 grew over the limit */
        err_clear();
        made->err = TACIT_OK;
        made->len = *first;
        has_room(b, DOCUMENT_SOURCE_MAX);
        return 0;
    }
    for (size_t i = *first; i < made->len; i++)
        if (made->data[i] == '\0') made->data[i] = ' ';
    *end = made->len;
    show(b);
    return 1;
}

struct builder_mark builder_mark(struct builder *b)
{
    builder_close(b);
    return (struct builder_mark){b->d->n_blocks, b->d->n_runs, b->d->text.len,
                                 b->d->made.len};
}

void builder_back(struct builder *b, struct builder_mark to)
{
    builder_close(b);
    b->d->n_blocks = to.n_blocks;
    b->d->n_runs = to.n_runs;
    b->d->text.len = to.n_text;
    b->d->made.len = to.n_made;
    show(b);
}

void builder_note(struct builder *b, const char *fmt, ...)
{
    va_list args;
    if (b->d->note[0]) return;
    va_start(args, fmt);
    vsnprintf(b->d->note, sizeof b->d->note, fmt, args);
    va_end(args);
}

/* Add the block at the end of the text, which gets its '\n'. */
static void add_block(struct builder *b)
{
    struct document *d = b->d;
    if (d->n_blocks == DOCUMENT_BLOCKS_MAX) {
        b->err = fail_as(E_DOCUMENT_TOO_LARGE,
                         "more than %d paragraphs; split the file",
                         DOCUMENT_BLOCKS_MAX);
        return;
    }
    struct block *blocks = with_room(b, d->blocks, d->n_blocks, &d->cap_blocks,
                                     sizeof *blocks, DOCUMENT_BLOCKS_MAX);
    if (!blocks) return;
    d->blocks = blocks;
    b->block.text_end = d->text.len;
    blocks[d->n_blocks++] = b->block;
    buf_put_u8(&d->text, '\n');
    if (d->text.err) refuse_length(b);
}

void builder_close(struct builder *b)
{
    struct document *d = b->d;
    if (!b->is_open) return;
    while (builder_length(b) > 0 && (d->text.data[d->text.len - 1] == ' ' ||
                                     d->text.data[d->text.len - 1] == '\n'))
        d->text.len--;
    while (d->n_runs && d->runs[d->n_runs - 1].text_at >= d->text.len)
        d->n_runs--;
    if (builder_length(b) > 0 && !b->err) add_block(b);
    b->is_open = 0;
}

void builder_refuse(struct builder *b, const char *why)
{
    if (b->err) return;
    b->err =
        fail_as(E_DOCUMENT_MARKUP, "%s; convert it to text, or split it", why);
}

enum tacit_err builder_end(struct builder *b)
{
    builder_close(b);
    return b->err;
}

void document_set_title(struct document *d, const char *text, size_t n)
{
    size_t used = 0;
    int due = 0;
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t u = 0;
        k = utf8_next(text + i, n - i, &u);
        if (k == 0) k = 1, u = ' ';
        enum look look = look_at(u);
        if (look == LOOK_BLANK) due = used > 0;
        if (look != LOOK_KEEP) continue;
        if (used + (size_t)due + k >= sizeof d->title) break;
        if (due) d->title[used++] = ' ';
        due = 0;
        memcpy(d->title + used, text + i, k);
        used += k;
    }
    if (used) d->title[used] = '\0';
}
