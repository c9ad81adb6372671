/*
 * message_decode: any bytes give an error or a message whose encoding is those
 * very bytes, so each message has one form; and what it borrows lies in them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const uint8_t *p, size_t n, const uint8_t *data,
                         size_t size)
{
    if (n && (p < data || n > size || p > data + size - n)) abort();
}

static void check_borrowed(const struct message *m, const uint8_t *data,
                           size_t size)
{
    size_t n = 0;
    const uint8_t *p = NULL;
    switch (m->type) {
    case MSG_BLOB: p = m->u.blob.bytes, n = m->u.blob.len; break;
    case MSG_CHUNK_PUT: p = m->u.chunk_put.bytes, n = m->u.chunk_put.len; break;
    case MSG_SHARES:
        p = m->u.shares.sealed;
        n = (size_t)m->u.shares.n * SECAGG_SEALED;
        break;
    case MSG_PEER_SHARES:
        p = m->u.peer_shares.sealed;
        n = (size_t)m->u.peer_shares.n * SECAGG_SEALED;
        break;
    case MSG_SIGNATURES:
        p = m->u.signatures.signatures;
        n = (size_t)m->u.signatures.n * SECAGG_SIGNATURE;
        break;
    case MSG_CHUNKS_HELD:
        p = m->u.chunks_held.bitmap, n = m->u.chunks_held.bitmap_len;
        break;
    default: break;
    }
    check_inside(p, n, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message m;
    struct buf again;
    if (message_decode(data, size, &m) != TACIT_OK) {
        err_clear();
        return 0;
    }
    if (!message_name(m.type)) abort();
    check_borrowed(&m, data, size);
    buf_init(&again, 0);
    if (message_encode(&m, &again) != TACIT_OK) abort();
    if (again.len != size || memcmp(again.data, data, size) != 0) abort();
    buf_release(&again);
    return 0;
}
