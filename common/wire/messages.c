/*
 * Each body is described once, by a function that names its fields in wire
 * order with their ranges. The same description writes and reads, so the two
 * cannot drift apart.
 */
#include "common/wire/messages.h"

#include <assert.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"
#include "common/wire/blob.h"

enum {
    MESSAGES_MAX = 79, /* types are below this */
    RETRY_MS_MAX = 24 * 3600 * 1000,
    STAGE_MS_MAX = 7 * 24 * 3600 * 1000,
    ROUNDS_MAX = 1000000,
    INPUT_CHUNKS_MAX =
        (int)((int64_t)WIRE_PARAMS_MAX * 4 / WIRE_CHUNK_MAX) /* 32-bit ring */
};
_Static_assert(WIRE_NAME_MAX <= WIRE_TEXT_MAX, "one buffer cleans both");

struct codec {
    struct buf *out;     /* encoding, else NULL */
    struct reader *in;   /* decoding, else NULL */
    const char *bad;     /* first field that is out of range */
    const char *unclean; /* first of our own names that is not clean text */
};

/* A range of ours that does not hold is a bug; a peer's is an error. */
static void check_field(struct codec *c, int holds, const char *name)
{
    assert(holds || c->in);
    if (!holds && !c->bad) c->bad = name;
}

static void field_u8(struct codec *c, uint8_t *v, uint8_t max, const char *name)
{
    if (c->out) buf_put_u8(c->out, *v);
    if (c->in) *v = reader_u8(c->in);
    check_field(c, *v <= max, name);
}

static void field_u16(struct codec *c, uint16_t *v)
{
    if (c->out) buf_put_u16(c->out, *v);
    if (c->in) *v = reader_u16(c->in);
}

static void field_u32(struct codec *c, uint32_t *v, uint32_t min, uint32_t max,
                      const char *name)
{
    if (c->out) buf_put_u32(c->out, *v);
    if (c->in) *v = reader_u32(c->in);
    check_field(c, *v >= min && *v <= max, name);
}

static void field_u64(struct codec *c, uint64_t *v, uint64_t min, uint64_t max,
                      const char *name)
{
    if (c->out) buf_put_u64(c->out, *v);
    if (c->in) *v = reader_u64(c->in);
    check_field(c, *v >= min && *v <= max, name);
}

static void field_bytes(struct codec *c, void *bytes, size_t n)
{
    if (c->out) buf_put(c->out, bytes, n);
    if (c->in) reader_copy(c->in, bytes, n);
}

static void field_digest(struct codec *c, struct digest *d)
{
    field_bytes(c, d->b, sizeof d->b);
}

static void field_session(struct codec *c, uint8_t session[32])
{
    field_bytes(c, session, 32);
}

/* n bytes that stay where they are. */
static void field_borrowed(struct codec *c, const uint8_t **bytes, size_t n)
{
    if (c->out) buf_put(c->out, *bytes, n);
    if (c->in) *bytes = reader_take(c->in, n);
}

/* The number of things that follow; a wrong one reads as none. */
static void field_count(struct codec *c, uint16_t *n, uint16_t min,
                        const char *name)
{
    field_u16(c, n);
    int holds = *n >= min && *n <= SECAGG_CLIENTS_MAX;
    check_field(c, holds, name);
    if (!holds) *n = 0;
}

/* A name: refused when it is not clean, on either side. */
static void field_name(struct codec *c, char name[WIRE_NAME_MAX],
                       size_t min_bytes, const char *what)
{
    if (c->in) reader_str(c->in, name, WIRE_NAME_MAX);
    int clean = utf8_is_clean(name, WIRE_NAME_MAX) &&
                strnlen(name, WIRE_NAME_MAX) >= min_bytes;
    if (!clean && c->out && !c->unclean) c->unclean = what;
    if (!clean && c->in && !c->bad) c->bad = what;
    if (c->out && clean) buf_put_str(c->out, name);
}

/* Text for a person: ours is cleaned on the way out, since it may quote
 * something; a peer's must be clean. */
static void field_text(struct codec *c, char text[WIRE_TEXT_MAX])
{
    if (c->out) {
        char clean[WIRE_TEXT_MAX], whole[WIRE_TEXT_MAX + 1];
        memcpy(whole, text, WIRE_TEXT_MAX);
        whole[WIRE_TEXT_MAX] = '\0';
        (void)utf8_printable(clean, sizeof clean, whole);
        buf_put_str(c->out, clean);
    }
    if (!c->in) return;
    reader_str(c->in, text, WIRE_TEXT_MAX);
    check_field(c, utf8_is_clean(text, WIRE_TEXT_MAX), "text");
}

static void field_advert(struct codec *c, struct secagg_advert *a)
{
    field_bytes(c, a->id, sizeof a->id);
    field_bytes(c, a->identity, sizeof a->identity);
    field_bytes(c, a->mask_key, sizeof a->mask_key);
    field_bytes(c, a->seal_key, sizeof a->seal_key);
    field_bytes(c, a->signature, sizeof a->signature);
}

static void field_chunk(struct codec *c, uint32_t *index, uint32_t *n_chunks,
                        uint32_t max)
{
    field_u32(c, index, 0, max - 1, "index");
    field_u32(c, n_chunks, 1, max, "n_chunks");
    check_field(c, *index < *n_chunks, "index");
}

/* Member numbers of n senders or signers. */
static void field_members(struct codec *c, uint16_t *list, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        field_u16(c, &list[i]);
        check_field(c, list[i] < SECAGG_CLIENTS_MAX, "member");
    }
}

/* ---- bodies, in the order of messages.h --------------------------------- */

static void body_enrol(struct codec *c, struct message *m)
{
    struct msg_enrol *b = &m->u.enrol;
    field_name(c, b->name, 1, "name");
    field_bytes(c, b->identity, sizeof b->identity);
    field_bytes(c, b->signature, sizeof b->signature);
    field_name(c, b->software, 0, "software");
}

static void body_enrolled(struct codec *c, struct message *m)
{
    struct msg_enrolled *b = &m->u.enrolled;
    field_bytes(c, b->id, sizeof b->id);
    field_name(c, b->federation, 1, "federation");
    field_bytes(c, b->sign_public, sizeof b->sign_public);
    field_u8(c, &b->approved, 1, "approved");
}

static void body_poll(struct codec *c, struct message *m)
{
    struct msg_poll *b = &m->u.poll;
    field_session(c, b->last_session);
    field_u32(c, &b->hold_ms, 0, UINT32_MAX, "hold_ms");
    field_u8(c, &b->model_version_known, 1, "model_version_known");
    field_u32(c, &b->model_version, 0, ROUNDS_MAX, "model_version");
    field_digest(c, &b->model_plan);
}

static void body_idle(struct codec *c, struct message *m)
{
    struct msg_idle *b = &m->u.idle;
    field_u8(c, &b->why, IDLE_FINISHED, "why");
    field_u32(c, &b->retry_ms, 0, RETRY_MS_MAX, "retry_ms");
}

static void body_task(struct codec *c, struct message *m)
{
    struct msg_task *b = &m->u.task;
    field_session(c, b->session);
    field_digest(c, &b->plan_hash);
    field_digest(c, &b->model_hash);
    field_digest(c, &b->roster_hash);
    field_u32(c, &b->plan_bytes, 1, WIRE_BLOB_MAX, "plan_bytes");
    field_u64(c, &b->model_bytes, 1, WIRE_BLOB_MAX, "model_bytes");
    field_u32(c, &b->round, 1, ROUNDS_MAX, "round");
    field_u32(c, &b->n_rounds, 1, ROUNDS_MAX, "n_rounds");
    check_field(c, b->round <= b->n_rounds, "round");
    field_u32(c, &b->attempt, 0, UINT32_MAX, "attempt");
    field_u32(c, &b->model_version, 0, ROUNDS_MAX, "model_version");
    check_field(c, b->model_version == b->round - 1, "model_version");
    field_u32(c, &b->ring_bits, 24, 32, "ring_bits");
    check_field(c, b->ring_bits == 24 || b->ring_bits == 32, "ring_bits");
    field_u32(c, &b->n_coords, 1, WIRE_PARAMS_MAX, "n_coords");
    field_u32(c, &b->u_min, SECAGG_CLIENTS_MIN, SECAGG_CLIENTS_MAX, "u_min");
    field_u32(c, &b->stage_ms, 1, STAGE_MS_MAX, "stage_ms");
    field_u32(c, &b->train_ms, 1, STAGE_MS_MAX, "train_ms");
    field_bytes(c, b->roster_signature, sizeof b->roster_signature);
}

static void body_blob_get(struct codec *c, struct message *m)
{
    field_digest(c, &m->u.blob_get.hash);
    field_u32(c, &m->u.blob_get.index, 0, blob_n_chunks(WIRE_BLOB_MAX) - 1,
              "index");
}

static void body_blob(struct codec *c, struct message *m)
{
    struct msg_blob *b = &m->u.blob;
    field_digest(c, &b->hash);
    field_u64(c, &b->total_bytes, 1, WIRE_BLOB_MAX, "total_bytes");
    field_chunk(c, &b->index, &b->n_chunks, blob_n_chunks(WIRE_BLOB_MAX));
    check_field(c, b->n_chunks == blob_n_chunks(b->total_bytes), "n_chunks");
    field_u32(c, &b->len, 1, WIRE_CHUNK_MAX, "len");
    check_field(c, b->len == blob_chunk_len(b->total_bytes, b->index), "len");
    field_borrowed(c, &b->bytes, b->len);
}

static void body_advert(struct codec *c, struct message *m)
{
    field_session(c, m->u.advert.session);
    field_advert(c, &m->u.advert.advert);
}

static void body_roster(struct codec *c, struct message *m)
{
    struct msg_roster *b = &m->u.roster;
    field_session(c, b->session);
    field_count(c, &b->n, SECAGG_CLIENTS_MIN, "n");
    for (uint16_t i = 0; i < b->n; i++) field_advert(c, &b->list[i]);
}

static void body_shares(struct codec *c, struct message *m)
{
    struct msg_shares *b = &m->u.shares;
    field_session(c, b->session);
    field_count(c, &b->n, SECAGG_CLIENTS_MIN, "n");
    field_borrowed(c, &b->sealed, (size_t)b->n * SECAGG_SEALED);
}

static void body_peer_shares(struct codec *c, struct message *m)
{
    struct msg_peer_shares *b = &m->u.peer_shares;
    field_session(c, b->session);
    field_count(c, &b->n, 0, "n");
    field_members(c, b->senders, b->n);
    field_borrowed(c, &b->sealed, (size_t)b->n * SECAGG_SEALED);
}

static void body_chunk_put(struct codec *c, struct message *m)
{
    struct msg_chunk_put *b = &m->u.chunk_put;
    field_session(c, b->session);
    field_chunk(c, &b->index, &b->n_chunks, INPUT_CHUNKS_MAX);
    field_digest(c, &b->hash);
    field_u32(c, &b->len, 1, WIRE_CHUNK_MAX, "len");
    field_borrowed(c, &b->bytes, b->len);
}

static void body_chunk_ok(struct codec *c, struct message *m)
{
    field_session(c, m->u.chunk_ok.session);
    field_u32(c, &m->u.chunk_ok.index, 0, INPUT_CHUNKS_MAX - 1, "index");
}

static void body_input(struct codec *c, struct message *m)
{
    field_session(c, m->u.input.session);
    field_u32(c, &m->u.input.n_chunks, 1, INPUT_CHUNKS_MAX, "n_chunks");
    field_digest(c, &m->u.input.hash);
}

static void body_survivors(struct codec *c, struct message *m)
{
    struct secagg_set *u3 = &m->u.survivors.u3;
    field_session(c, m->u.survivors.session);
    for (size_t i = 0; i < sizeof u3->bits / sizeof u3->bits[0]; i++)
        field_u64(c, &u3->bits[i], 0, UINT64_MAX, "u3");
}

static void body_consistency(struct codec *c, struct message *m)
{
    field_session(c, m->u.consistency.session);
    field_bytes(c, m->u.consistency.signature,
                sizeof m->u.consistency.signature);
}

static void body_signatures(struct codec *c, struct message *m)
{
    struct msg_signatures *b = &m->u.signatures;
    field_session(c, b->session);
    field_count(c, &b->n, 0, "n");
    field_members(c, b->signers, b->n);
    field_borrowed(c, &b->signatures, (size_t)b->n * SECAGG_SIGNATURE);
}

static void body_reveal(struct codec *c, struct message *m)
{
    struct msg_reveal *b = &m->u.reveal;
    field_session(c, b->session);
    field_count(c, &b->n, 0, "n");
    for (uint16_t i = 0; i < b->n; i++) {
        struct secagg_share *s = &b->shares[i];
        field_members(c, &s->owner, 1);
        field_u8(c, &s->kind, SECAGG_SHARE_MASK, "kind");
        field_bytes(c, s->scalar, sizeof s->scalar);
    }
}

static void body_await(struct codec *c, struct message *m)
{
    field_session(c, m->u.await.session);
    field_u8(c, &m->u.await.stage, STAGE_REVEAL, "stage");
}

static void body_input_status(struct codec *c, struct message *m)
{
    field_session(c, m->u.input_status.session);
}

static void body_chunks_held(struct codec *c, struct message *m)
{
    struct msg_chunks_held *b = &m->u.chunks_held;
    field_session(c, b->session);
    field_u32(c, &b->n_chunks, 0, INPUT_CHUNKS_MAX, "n_chunks");
    field_u32(c, &b->bitmap_len, 0, (INPUT_CHUNKS_MAX + 7) / 8, "bitmap_len");
    int fits = b->n_chunks <= INPUT_CHUNKS_MAX &&
               b->bitmap_len == (b->n_chunks + 7) / 8;
    check_field(c, fits, "bitmap_len");
    field_borrowed(c, &b->bitmap, b->bitmap_len);
    /* The last byte has no bits past the end. */
    if (fits && b->n_chunks % 8 && b->bitmap)
        check_field(c, b->bitmap[b->n_chunks / 8] >> b->n_chunks % 8 == 0,
                    "bitmap");
}

static void body_over(struct codec *c, struct message *m)
{
    struct msg_over *b = &m->u.over;
    field_session(c, b->session);
    field_u8(c, &b->outcome, OUTCOME_ABORTED, "outcome");
    field_u16(c, &b->code);
    field_text(c, b->reason);
    field_u32(c, &b->round, 0, ROUNDS_MAX, "round");
    field_u32(c, &b->model_version, 0, ROUNDS_MAX, "model_version");
    field_u32(c, &b->n_clients, 0, SECAGG_CLIENTS_MAX, "n_clients");
    field_u64(c, &b->model_bytes, 0, WIRE_BLOB_MAX, "model_bytes");
    field_digest(c, &b->plan_hash);
    field_digest(c, &b->parent_hash);
    field_digest(c, &b->model_hash);
    field_bytes(c, b->signature, sizeof b->signature);
}

static void body_wait(struct codec *c, struct message *m)
{
    field_session(c, m->u.wait.session);
    field_u8(c, &m->u.wait.stage, STAGE_REVEAL, "stage");
}

static void body_error(struct codec *c, struct message *m)
{
    field_u16(c, &m->u.error.code);
    field_text(c, m->u.error.text);
}

static void body_empty(struct codec *c, struct message *m)
{
    (void)c;
    (void)m;
}

static const struct {
    const char *name;
    void (*body)(struct codec *c, struct message *m);
} rows[MESSAGES_MAX] = {
    [MSG_ENROL] = {"ENROL", body_enrol},
    [MSG_POLL] = {"POLL", body_poll},
    [MSG_BLOB_GET] = {"BLOB_GET", body_blob_get},
    [MSG_ADVERT] = {"ADVERT", body_advert},
    [MSG_SHARES] = {"SHARES", body_shares},
    [MSG_CHUNK_PUT] = {"CHUNK_PUT", body_chunk_put},
    [MSG_INPUT] = {"INPUT", body_input},
    [MSG_CONSISTENCY] = {"CONSISTENCY", body_consistency},
    [MSG_REVEAL] = {"REVEAL", body_reveal},
    [MSG_AWAIT] = {"AWAIT", body_await},
    [MSG_INPUT_STATUS] = {"INPUT_STATUS", body_input_status},
    [MSG_LEAVE] = {"LEAVE", body_empty},
    [MSG_ENROLLED] = {"ENROLLED", body_enrolled},
    [MSG_IDLE] = {"IDLE", body_idle},
    [MSG_TASK] = {"TASK", body_task},
    [MSG_BLOB] = {"BLOB", body_blob},
    [MSG_ROSTER] = {"ROSTER", body_roster},
    [MSG_PEER_SHARES] = {"PEER_SHARES", body_peer_shares},
    [MSG_CHUNK_OK] = {"CHUNK_OK", body_chunk_ok},
    [MSG_SURVIVORS] = {"SURVIVORS", body_survivors},
    [MSG_SIGNATURES] = {"SIGNATURES", body_signatures},
    [MSG_OVER] = {"OVER", body_over},
    [MSG_WAIT] = {"WAIT", body_wait},
    [MSG_CHUNKS_HELD] = {"CHUNKS_HELD", body_chunks_held},
    [MSG_LEFT] = {"LEFT", body_empty},
    [MSG_ERROR] = {"ERROR", body_error},
};

static int is_known(unsigned type)
{
    return type < MESSAGES_MAX && rows[type].body;
}

const char *message_name(enum message_type t)
{
    return is_known((unsigned)t) ? rows[t].name : "unknown";
}

enum tacit_err message_encode(const struct message *m, struct buf *out)
{
    assert(is_known((unsigned)m->type));
    struct message copy = *m;
    struct codec c = {.out = out};
    size_t start = out->len;
    buf_put_u8(out, WIRE_VERSION);
    buf_put_u8(out, (uint8_t)m->type);
    rows[m->type].body(&c, &copy);
    if (c.unclean) {
        out->len = start;
        return fail(TACIT_FORMAT,
                    "%s: %s is empty, too long, or not plain UTF-8 text",
                    rows[m->type].name, c.unclean);
    }
    assert(out->err || out->len - start <= WIRE_MESSAGE_MAX);
    return buf_end(out);
}

enum tacit_err message_decode(const uint8_t *bytes, size_t n,
                              struct message *out)
{
    struct reader r;
    reader_init(&r, bytes, n);
    uint8_t version = reader_u8(&r), type = reader_u8(&r);
    if (r.err) return fail(TACIT_PROTO, "message of %zu bytes", n);
    if (version != WIRE_VERSION)
        return fail(TACIT_PROTO, "message version %u, this is version %d",
                    version, WIRE_VERSION);
    if (!is_known(type))
        return fail(TACIT_PROTO, "unknown message type %u", type);
    struct message m = {.type = (enum message_type)type};
    struct codec c = {.in = &r};
    rows[type].body(&c, &m);
    if (r.err)
        return fail(TACIT_PROTO, "%s: ends too early or holds a bad string",
                    rows[type].name);
    if (c.bad)
        return fail(TACIT_PROTO, "%s: %s is out of range", rows[type].name,
                    c.bad);
    if (r.left)
        return fail(TACIT_PROTO, "%s: %zu bytes too many", rows[type].name,
                    r.left);
    *out = m;
    return TACIT_OK;
}

void msg_task_terms(const struct msg_task *t, struct secagg_terms *out)
{
    *out = (struct secagg_terms){.plan_hash = t->plan_hash,
                                 .model_hash = t->model_hash,
                                 .roster_hash = t->roster_hash,
                                 .round = t->round,
                                 .ring_bits = t->ring_bits,
                                 .n_coords = t->n_coords,
                                 .u_min = t->u_min};
    memcpy(out->session, t->session, sizeof out->session);
}

void msg_over_statement(const struct msg_over *o,
                        uint8_t out[MSG_STATEMENT_BYTES])
{
    memcpy(out, o->plan_hash.b, 32);
    le32_store(out + 32, o->round);
    le32_store(out + 36, o->model_version);
    memcpy(out + 40, o->parent_hash.b, 32);
    memcpy(out + 72, o->model_hash.b, 32);
    le32_store(out + 104, o->n_clients);
}
