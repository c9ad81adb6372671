/*
 * buf: a growing byte string, and sticky little-endian readers and writers.
 *
 * A writer remembers its first error: write every field, then check once with
 * buf_end(). A reader does the same and reader_end() also rejects trailing
 * bytes. Reads after an error yield zeros and never touch memory.
 */
#ifndef TACIT_BASE_BUF_H
#define TACIT_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct buf {
    uint8_t *data; /* owned; NULL when cap == 0 */
    size_t len;
    size_t cap;
    size_t max;         /* refuse to grow past this; 0 = SIZE_MAX/2 */
    enum tacit_err err; /* sticky */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);
/* Wipe the content, then release: for buffers that held secrets. Growing may
 * leave a copy behind: buf_extend() such a buffer to its full size first. */
void buf_wipe(struct buf *b);
void buf_clear(struct buf *b); /* len = 0, err = OK; keeps memory */

/* Appending never fails at once; the error sticks until buf_end(). */
void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_f32(struct buf *b, float v);
/* u16 length, then the bytes (at most 65535, or LIMIT). */
void buf_put_str(struct buf *b, const char *s);
/* printf without the NUL. */
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Append n uninitialised bytes and return them (borrowed until the next
 * append), or NULL after an error. */
uint8_t *buf_extend(struct buf *b, size_t n);
/* NUL-terminate (not counted in len) and return the text, or NULL. */
const char *buf_cstr(struct buf *b);
/* The first error, recorded with a message, or OK. */
TACIT_CHECKED enum tacit_err buf_end(struct buf *b);

struct reader {
    const uint8_t *p; /* borrowed */
    size_t left;
    enum tacit_err err; /* sticky: OK or FORMAT */
};

void reader_init(struct reader *r, const void *bytes, size_t n);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* Copy n bytes to out (zeros after an error). */
void reader_copy(struct reader *r, void *out, size_t n);
/* Borrow n bytes, or NULL after an error. */
const uint8_t *reader_take(struct reader *r, size_t n);
/* A buf_put_str() string into out[cap], NUL-terminated; a longer one, or one
 * with a NUL inside, is an error. */
void reader_str(struct reader *r, char *out, size_t cap);
/* OK when every read succeeded and nothing is left, else FORMAT; `what` names
 * the thing in the message. */
TACIT_CHECKED enum tacit_err reader_end(struct reader *r, const char *what);

/* Little-endian helpers for files and wire. */
static inline void le32_store(uint8_t out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(v >> (8 * i));
}

static inline uint32_t le32_load(const uint8_t in[4])
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

static inline void le64_store(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(v >> (8 * i));
}

static inline uint64_t le64_load(const uint8_t in[8])
{
    return (uint64_t)le32_load(in) | (uint64_t)le32_load(in + 4) << 32;
}

#endif
