#include "common/base/buf.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    if (max == 0 || max > SIZE_MAX / 2) max = SIZE_MAX / 2;
    *b = (struct buf){.max = max};
}

void buf_release(struct buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_wipe(struct buf *b)
{
    if (b->data) sodium_memzero(b->data, b->cap);
    buf_release(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->err = TACIT_OK;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
    if (b->err) return NULL;
    /* A zeroed struct is an empty buffer without a limit. */
    if (b->max == 0) b->max = SIZE_MAX / 2;
    if (n > b->max || b->len > b->max - n) {
        b->err = TACIT_LIMIT;
        return NULL;
    }
    if (b->cap - b->len < n || !b->data) {
        size_t cap = b->cap ? 2 * b->cap : 64;
        while (cap < b->len + n) cap *= 2;
        uint8_t *data = realloc(b->data, cap);
        if (!data) {
            b->err = TACIT_NOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    b->len += n;
    return b->data + b->len - n;
}

void buf_put(struct buf *b, const void *bytes, size_t n)
{
    uint8_t *p = buf_extend(b, n);
    if (p && n) memcpy(p, bytes, n);
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    uint8_t le[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    buf_put(b, le, sizeof le);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    uint8_t le[4];
    le32_store(le, v);
    buf_put(b, le, sizeof le);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    uint8_t le[8];
    le64_store(le, v);
    buf_put(b, le, sizeof le);
}

void buf_put_f32(struct buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    buf_put_u32(b, bits);
}

void buf_put_str(struct buf *b, const char *s)
{
    size_t n = strlen(s);
    if (n > UINT16_MAX) {
        if (!b->err) b->err = TACIT_LIMIT;
        return;
    }
    buf_put_u16(b, (uint16_t)n);
    buf_put(b, s, n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) {
        if (!b->err) b->err = TACIT_FORMAT;
        return;
    }
    if ((size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
        return;
    }
    /* One byte more for the NUL that vsnprintf writes, given back at once. */
    uint8_t *p = buf_extend(b, (size_t)n + 1);
    if (!p) return;
    va_start(ap, fmt);
    vsnprintf((char *)p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len--;
}

const char *buf_cstr(struct buf *b)
{
    uint8_t *p = buf_extend(b, 1);
    if (!p) return NULL;
    *p = 0;
    b->len--;
    return (const char *)b->data;
}

enum tacit_err buf_end(struct buf *b)
{
    if (b->err == TACIT_LIMIT)
        return fail(TACIT_LIMIT, "over the limit of %zu bytes", b->max);
    if (b->err) return fail(b->err, "%s", err_text(b->err));
    return TACIT_OK;
}

void reader_init(struct reader *r, const void *bytes, size_t n)
{
    *r = (struct reader){.p = bytes, .left = n};
}

const uint8_t *reader_take(struct reader *r, size_t n)
{
    if (r->err || n > r->left) {
        r->err = TACIT_FORMAT;
        return NULL;
    }
    const uint8_t *p = r->p;
    if (n) r->p += n;
    r->left -= n;
    return p;
}

void reader_copy(struct reader *r, void *out, size_t n)
{
    const uint8_t *p = reader_take(r, n);
    if (!n) return;
    if (p)
        memcpy(out, p, n);
    else
        memset(out, 0, n);
}

uint8_t reader_u8(struct reader *r)
{
    uint8_t v;
    reader_copy(r, &v, 1);
    return v;
}

uint16_t reader_u16(struct reader *r)
{
    uint8_t le[2];
    reader_copy(r, le, sizeof le);
    return (uint16_t)(le[0] | le[1] << 8);
}

uint32_t reader_u32(struct reader *r)
{
    uint8_t le[4];
    reader_copy(r, le, sizeof le);
    return le32_load(le);
}

uint64_t reader_u64(struct reader *r)
{
    uint8_t le[8];
    reader_copy(r, le, sizeof le);
    return le64_load(le);
}

void reader_str(struct reader *r, char *out, size_t cap)
{
    size_t n = reader_u16(r);
    const uint8_t *p = reader_take(r, n);
    out[0] = '\0';
    if (!p) return;
    if (n >= cap || memchr(p, 0, n)) {
        r->err = TACIT_FORMAT;
        return;
    }
    memcpy(out, p, n);
    out[n] = '\0';
}

enum tacit_err reader_end(struct reader *r, const char *what)
{
    if (r->err) return fail(TACIT_FORMAT, "%s: ends too early", what);
    if (r->left)
        return fail(TACIT_FORMAT, "%s: %zu bytes too many", what, r->left);
    return TACIT_OK;
}
