#include "retrieval/document_builder.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"

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

static void *grow(void *old, size_t *cap, size_t size, size_t max)
{
    size_t wanted = *cap ? 2 * *cap : 64;
    if (wanted > max) wanted = max;
    void *p = realloc(old, wanted * size);
    if (p) *cap = wanted;
    return p;
}

static void add_run(struct builder *b, struct run r)
{
    struct document *d = b->d;
    if (d->n_runs) {
        const struct run *last = &d->runs[d->n_runs - 1];
        if (!last->source_len && !r.source_len &&
            r.text_at - last->text_at == r.source_at - last->source_at)
            return; /* goes on where the last one is */
    }
    if (d->n_runs == DOCUMENT_RUNS_MAX) {
        builder_refuse(b, "broken into too many pieces");
        return;
    }
    if (d->n_runs == d->cap_runs) {
        struct run *p =
            grow(d->runs, &d->cap_runs, sizeof *p, DOCUMENT_RUNS_MAX);
        if (!p) {
            b->err = fail(TACIT_NOMEM, "out of memory");
            return;
        }
        d->runs = p;
    }
    d->runs[d->n_runs++] = r;
}

/* Visible text: n bytes that stand for source [at, at + len). */
static void emit(struct builder *b, const char *text, size_t n, size_t at,
                 size_t len)
{
    struct buf *out = &b->d->text;
    if (b->err || n == 0) return;
    if (!b->is_open) builder_open(b, BLOCK_PARAGRAPH, 0);
    if (b->has_blank && builder_length(b) > 0) {
        add_run(b, (struct run){.text_at = (uint32_t)out->len,
                                .source_at = (uint32_t)b->blank_at});
        buf_put_u8(out, ' ');
    }
    b->has_blank = 0;
    uint32_t unit = len == n ? 0 : len == 0 ? RUN_NOTHING : (uint32_t)len;
    add_run(b, (struct run){.text_at = (uint32_t)out->len,
                            .source_at = (uint32_t)at,
                            .source_len = unit});
    buf_put(out, text, n);
    if (out->err) b->err = buf_end(out);
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
    if (d->n_blocks == d->cap_blocks) {
        struct block *p =
            grow(d->blocks, &d->cap_blocks, sizeof *p, DOCUMENT_BLOCKS_MAX);
        if (!p) {
            b->err = fail(TACIT_NOMEM, "out of memory");
            return;
        }
        d->blocks = p;
    }
    b->block.text_end = d->text.len;
    d->blocks[d->n_blocks++] = b->block;
    buf_put_u8(&d->text, '\n');
    if (d->text.err) b->err = buf_end(&d->text);
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
