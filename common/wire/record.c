#include "common/wire/record.h"

#include <assert.h>
#include <string.h>

#include "common/crypto/secret.h"

/* Where a record ends; 0 when it is not whole or of an impossible length. */
static size_t record_end(const uint8_t *p, size_t left)
{
    if (left < 2) return 0;
    size_t n = (size_t)p[0] | (size_t)p[1] << 8;
    if (n < 1 + NOISE_TAG || n > left - 2) return 0;
    return 2 + n;
}

/* Full records, then a last one; 0 when they are cut in any other way. */
static unsigned count_records(const uint8_t *p, size_t left)
{
    for (unsigned n = 1; n <= RECORDS_MAX; n++) {
        size_t end = record_end(p, left);
        if (end == 0) return 0;
        if (end == left) return n;
        if (end != 2 + WIRE_RECORD_MAX) return 0;
        p += end;
        left -= end;
    }
    return 0;
}

static int parse_body(struct packet *p, struct reader *r)
{
    switch (p->kind) {
    case PACKET_HELLO:
        p->version = reader_u8(r);
        p->enrol = reader_u8(r);
        p->token_id = reader_u64(r);
        if (p->enrol > 1 || (!p->enrol && p->token_id)) return 0;
        break;
    case PACKET_DATA:
        p->session = reader_take(r, LINK_SESSION);
        p->nonce = reader_u64(r);
        if (p->nonce == 0) return 0;
        break;
    case PACKET_RESET: p->reason = reader_u8(r); break;
    default: p->session = reader_take(r, LINK_SESSION); break;
    }
    p->len = r->left;
    p->body = reader_take(r, r->left);
    return r->err == TACIT_OK;
}

static int has_right_size(struct packet *p, size_t n)
{
    switch (p->kind) {
    case PACKET_HELLO: return n == PACKET_HELLO_BYTES;
    case PACKET_HELLO_OK: return n == PACKET_HELLO_OK_BYTES;
    case PACKET_FINISH: return n == PACKET_FINISH_BYTES;
    case PACKET_FINISH_OK:
        p->n_records = 1;
        return p->len == RECORD_OVERHEAD &&
               record_end(p->body, p->len) == p->len;
    case PACKET_DATA:
        p->n_records = count_records(p->body, p->len);
        return p->n_records > 0;
    case PACKET_RESET: return p->len == 0;
    }
    return 0;
}

enum tacit_err packet_parse(const uint8_t *bytes, size_t n, struct packet *out)
{
    struct reader r;
    struct packet p = {0};
    if (n == 0 || n > WIRE_PACKET_MAX)
        return fail(TACIT_PROTO, "packet of %zu bytes", n);
    reader_init(&r, bytes, n);
    uint8_t kind = reader_u8(&r);
    if (kind < PACKET_HELLO || kind > PACKET_RESET)
        return fail(TACIT_PROTO, "unknown packet kind %u", kind);
    p.kind = (enum packet_kind)kind;
    if (!parse_body(&p, &r) || !has_right_size(&p, n))
        return fail(TACIT_PROTO, "malformed packet of kind %u, %zu bytes", kind,
                    n);
    *out = p;
    return TACIT_OK;
}

void packet_put_reset(struct buf *out, enum packet_reset reason)
{
    buf_put_u8(out, PACKET_RESET);
    buf_put_u8(out, (uint8_t)reason);
}

void packet_prologue(uint8_t out[PACKET_PROLOGUE], uint8_t version,
                     uint8_t enrol, uint64_t token_id)
{
    static const char who[] = "tacit wire";
    memcpy(out, who, sizeof who - 1);
    out[10] = version;
    out[11] = enrol;
    le64_store(out + 12, token_id);
}

static void bond_bytes(uint8_t out[PACKET_AD], const struct record_bond *b)
{
    out[0] = (uint8_t)b->kind;
    memcpy(out + 1, b->session, LINK_SESSION);
    le64_store(out + 1 + LINK_SESSION, b->nonce);
    le64_store(out + 1 + LINK_SESSION + 8, b->request);
}

unsigned records_count(size_t n)
{
    return n == 0 ? 1 : (unsigned)((n + RECORD_BYTES - 1) / RECORD_BYTES);
}

enum tacit_err records_seal(struct noise *noise, const struct record_bond *bond,
                            const uint8_t *msg, size_t n, struct buf *out)
{
    uint8_t ad[PACKET_AD], plain[1 + RECORD_BYTES];
    unsigned n_records = records_count(n);
    enum tacit_err err = TACIT_OK;
    if (n > WIRE_MESSAGE_MAX)
        return fail(TACIT_LIMIT, "message of %zu bytes, the limit is %d", n,
                    WIRE_MESSAGE_MAX);
    bond_bytes(ad, bond);
    for (unsigned i = 0; i < n_records && err == TACIT_OK; i++) {
        size_t len = n < RECORD_BYTES ? n : RECORD_BYTES;
        plain[0] = i + 1 == n_records;
        if (len) memcpy(plain + 1, msg, len);
        buf_put_u16(out, (uint16_t)(1 + len + NOISE_TAG));
        uint8_t *to = buf_extend(out, 1 + len + NOISE_TAG);
        err = to ? noise_encrypt(noise, bond->nonce + i, ad, sizeof ad, plain,
                                 1 + len, to)
                 : buf_end(out);
        if (len) msg += len; /* an empty one may be NULL */
        n -= len;
    }
    secret_wipe(plain, sizeof plain);
    return err;
}

enum tacit_err records_open(struct noise *noise, const struct record_bond *bond,
                            const struct packet *p, struct buf *out)
{
    uint8_t ad[PACKET_AD], plain[1 + RECORD_BYTES];
    size_t was = out->len, left = p->len;
    const uint8_t *at = p->body;
    enum tacit_err err = TACIT_OK;
    assert(p->n_records > 0);
    bond_bytes(ad, bond);
    for (unsigned i = 0; i < p->n_records && err == TACIT_OK; i++) {
        size_t end = record_end(at, left), len = end - 2 - NOISE_TAG;
        err = noise_decrypt(noise, bond->nonce + i, ad, sizeof ad, at + 2,
                            end - 2, plain);
        if (err == TACIT_OK && plain[0] != (i + 1 == p->n_records))
            err = fail(TACIT_PROTO, "a message was cut short or joined");
        if (err == TACIT_OK) buf_put(out, plain + 1, len - 1);
        at += end;
        left -= end;
    }
    secret_wipe(plain, sizeof plain);
    if (err == TACIT_OK && out->len - was > WIRE_MESSAGE_MAX && !out->err)
        err = fail(TACIT_PROTO, "message of %zu bytes", out->len - was);
    if (err == TACIT_OK) err = buf_end(out);
    if (err != TACIT_OK) out->len = was;
    return err;
}
