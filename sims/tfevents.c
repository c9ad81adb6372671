#include "sims/tfevents.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"

static const char version[] = "brain.Event:2";
#define POLYNOMIAL 0x82f63b78u /* reflected */

uint32_t tfevents_crc32c(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    }
    return ~crc;
}

static uint32_t masked(const void *bytes, size_t n)
{
    uint32_t crc = tfevents_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers, as far as they are needed ------------------------ */

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(struct buf *b, uint64_t v)
{
    for (; v >= 128; v >>= 7) buf_put_u8(b, (uint8_t)(v | 128));
    buf_put_u8(b, (uint8_t)v);
}

static void put_field(struct buf *b, unsigned number, enum wire wire)
{
    put_varint(b, (uint64_t)number << 3 | (uint64_t)wire);
}

static void put_bytes(struct buf *b, unsigned number, const void *p, size_t n)
{
    put_field(b, number, BYTES);
    put_varint(b, n);
    buf_put(b, p, n);
}

static void put_double(struct buf *b, unsigned number, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_field(b, number, FIXED64);
    buf_put_u64(b, bits);
}

static void put_value(struct buf *summary, const struct tfevents_scalar *s)
{
    struct buf value;
    size_t n = strnlen(s->tag, TFEVENTS_TAG_MAX);
    buf_init(&value, 0);
    put_bytes(&value, 1, s->tag, n);
    put_field(&value, 2, FIXED32);
    buf_put_f32(&value, (float)s->value);
    if (value.err)
        summary->err = value.err;
    else
        put_bytes(summary, 1, value.data, value.len);
    buf_release(&value);
}

/* ---- records ------------------------------------------------------------ */

static enum tacit_err failed(const struct tfevents *t)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT || e == EFBIG)
        return fail_as(E_DISK_FULL, "%s: cannot write: %s", t->path,
                       strerror(e));
    return fail(TACIT_IO, "%s: cannot write: %s", t->path, strerror(e));
}

static enum tacit_err put_record(struct tfevents *t, struct buf *event)
{
    uint8_t head[12], tail[4];
    TRY(buf_end(event));
    le64_store(head, event->len);
    le32_store(head + 8, masked(head, 8));
    le32_store(tail, masked(event->data, event->len));
    if (fwrite(head, 1, sizeof head, t->file) != sizeof head ||
        fwrite(event->data, 1, event->len, t->file) != event->len ||
        fwrite(tail, 1, sizeof tail, t->file) != sizeof tail ||
        fflush(t->file) != 0)
        return failed(t);
    return TACIT_OK;
}

enum tacit_err tfevents_open(struct tfevents *t, const char *path)
{
    struct buf event;
    if (strlen(path) >= sizeof t->path)
        return fail(TACIT_LIMIT, "%s: path too long", path);
    snprintf(t->path, sizeof t->path, "%s", path);
    t->file = fopen(path, "wbe");
    if (!t->file) return failed(t);
    buf_init(&event, 0);
    put_double(&event, 1, 0);
    put_bytes(&event, 3, version, sizeof version - 1);
    enum tacit_err err = put_record(t, &event);
    buf_release(&event);
    if (err) tfevents_drop(t);
    return err;
}

enum tacit_err tfevents_add(struct tfevents *t, double wall_time, int64_t step,
                            const struct tfevents_scalar *scalars, size_t n)
{
    struct buf event, summary;
    if (n > TFEVENTS_SCALARS_MAX)
        return fail(TACIT_LIMIT, "%zu scalars in an event; at most %d", n,
                    TFEVENTS_SCALARS_MAX);
    buf_init(&event, 0);
    buf_init(&summary, 0);
    for (size_t i = 0; i < n; i++) put_value(&summary, &scalars[i]);
    put_double(&event, 1, wall_time);
    put_field(&event, 2, VARINT);
    put_varint(&event, (uint64_t)step);
    enum tacit_err err = buf_end(&summary);
    if (!err) put_bytes(&event, 5, summary.data, summary.len);
    if (!err) err = put_record(t, &event);
    buf_release(&event);
    buf_release(&summary);
    return err;
}

enum tacit_err tfevents_close(struct tfevents *t)
{
    FILE *f = t->file;
    if (!f) return TACIT_OK;
    t->file = NULL;
    int ok = fflush(f) == 0 && fsync(fileno(f)) == 0;
    enum tacit_err err = ok ? TACIT_OK : failed(t);
    if (fclose(f) != 0 && !err) err = failed(t);
    return err;
}

void tfevents_drop(struct tfevents *t)
{
    if (t->file) fclose(t->file);
    t->file = NULL;
}
