#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/wire/blob.h"
#include "common/wire/messages.h"

static const enum message_type types[] = {
    MSG_ENROL,      MSG_POLL,        MSG_BLOB_GET,     MSG_ADVERT,
    MSG_SHARES,     MSG_CHUNK_PUT,   MSG_INPUT,        MSG_CONSISTENCY,
    MSG_REVEAL,     MSG_AWAIT,       MSG_INPUT_STATUS, MSG_LEAVE,
    MSG_ENROLLED,   MSG_IDLE,        MSG_TASK,         MSG_BLOB,
    MSG_ROSTER,     MSG_PEER_SHARES, MSG_CHUNK_OK,     MSG_SURVIVORS,
    MSG_SIGNATURES, MSG_OVER,        MSG_WAIT,         MSG_CHUNKS_HELD,
    MSG_LEFT,       MSG_ERROR};
enum { N_TYPES = sizeof types / sizeof types[0] };

static uint8_t pool[WIRE_CHUNK_MAX]; /* what borrowed pointers show */

static void random_bytes(struct rng *r, void *out, size_t n)
{
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)rng_u64(r);
}

static uint32_t between(struct rng *r, uint32_t min, uint32_t max)
{
    return min + (uint32_t)rng_below(r, (uint64_t)max - min + 1);
}

static void random_text(struct rng *r, char *out, size_t cap, size_t min)
{
    static const char *const some[] = {"a", "Z", "0", " ", "é", "ß", "漢", "🏥"};
    size_t n = 0, want = min + rng_below(r, cap - min);
    for (;;) {
        const char *c = some[rng_below(r, 8)];
        if (n + strlen(c) > want || n + strlen(c) >= cap) break;
        memcpy(out + n, c, strlen(c));
        n += strlen(c);
    }
    if (n < min) out[n++] = 'x';
    out[n] = '\0';
}

static void random_task(struct rng *r, struct msg_task *t)
{
    t->plan_bytes = between(r, 1, WIRE_BLOB_MAX);
    t->model_bytes = between(r, 1, WIRE_BLOB_MAX);
    t->round = between(r, 1, 1000);
    t->n_rounds = between(r, t->round, 100000);
    t->model_version = t->round - 1;
    t->ring_bits = rng_below(r, 2) ? 24 : 32;
    t->n_coords = between(r, 1, WIRE_PARAMS_MAX);
    t->u_min = between(r, SECAGG_CLIENTS_MIN, SECAGG_CLIENTS_MAX);
    t->stage_ms = between(r, 1, 60000);
    t->train_ms = between(r, 1, 600000);
}

static void random_blob(struct rng *r, struct msg_blob *b)
{
    b->total_bytes = between(r, 1, 3 * WIRE_CHUNK_MAX);
    b->n_chunks = blob_n_chunks(b->total_bytes);
    b->index = between(r, 0, b->n_chunks - 1);
    b->len = blob_chunk_len(b->total_bytes, b->index);
    b->bytes = pool;
}

static void random_device(struct rng *r, struct message *m)
{
    switch (m->type) {
    case MSG_ENROL:
        random_text(r, m->u.enrol.name, WIRE_NAME_MAX, 1);
        random_text(r, m->u.enrol.software, WIRE_NAME_MAX, 0);
        break;
    case MSG_POLL:
        m->u.poll.model_version_known = (uint8_t)rng_below(r, 2);
        m->u.poll.model_version = between(r, 0, 1000);
        break;
    case MSG_BLOB_GET: m->u.blob_get.index = between(r, 0, 4095); break;
    case MSG_SHARES:
        m->u.shares.n = (uint16_t)between(r, 2, SECAGG_CLIENTS_MAX);
        m->u.shares.sealed = pool;
        break;
    case MSG_CHUNK_PUT:
        m->u.chunk_put.n_chunks = between(r, 1, 1024);
        m->u.chunk_put.index = between(r, 0, m->u.chunk_put.n_chunks - 1);
        m->u.chunk_put.len = between(r, 1, WIRE_CHUNK_MAX);
        m->u.chunk_put.bytes = pool;
        break;
    case MSG_INPUT: m->u.input.n_chunks = between(r, 1, 1024); break;
    case MSG_REVEAL:
        m->u.reveal.n = (uint16_t)between(r, 0, SECAGG_CLIENTS_MAX);
        for (int i = 0; i < SECAGG_CLIENTS_MAX; i++) {
            m->u.reveal.shares[i].owner = (uint16_t)between(r, 0, 127);
            m->u.reveal.shares[i].kind = (uint8_t)rng_below(r, 2);
        }
        break;
    case MSG_AWAIT: m->u.await.stage = (uint8_t)between(r, 0, 4); break;
    default: break;
    }
}

static void random_coordinator(struct rng *r, struct message *m)
{
    switch (m->type) {
    case MSG_ENROLLED:
        random_text(r, m->u.enrolled.federation, WIRE_NAME_MAX, 1);
        m->u.enrolled.approved = (uint8_t)rng_below(r, 2);
        break;
    case MSG_IDLE:
        m->u.idle.why = (uint8_t)between(r, 0, 3);
        m->u.idle.retry_ms = between(r, 0, 86400000);
        break;
    case MSG_TASK: random_task(r, &m->u.task); break;
    case MSG_BLOB: random_blob(r, &m->u.blob); break;
    case MSG_ROSTER:
        m->u.roster.n = (uint16_t)between(r, 2, SECAGG_CLIENTS_MAX);
        break;
    case MSG_PEER_SHARES:
        m->u.peer_shares.n = (uint16_t)between(r, 0, SECAGG_CLIENTS_MAX);
        for (int i = 0; i < SECAGG_CLIENTS_MAX; i++)
            m->u.peer_shares.senders[i] = (uint16_t)between(r, 0, 127);
        m->u.peer_shares.sealed = pool;
        break;
    case MSG_CHUNK_OK: m->u.chunk_ok.index = between(r, 0, 1023); break;
    case MSG_SIGNATURES:
        m->u.signatures.n = (uint16_t)between(r, 0, SECAGG_CLIENTS_MAX);
        for (int i = 0; i < SECAGG_CLIENTS_MAX; i++)
            m->u.signatures.signers[i] = (uint16_t)between(r, 0, 127);
        m->u.signatures.signatures = pool;
        break;
    case MSG_OVER:
        m->u.over.outcome = (uint8_t)rng_below(r, 2);
        random_text(r, m->u.over.reason, WIRE_TEXT_MAX, 0);
        m->u.over.round = between(r, 0, 1000);
        m->u.over.model_version = between(r, 0, 1000);
        m->u.over.n_clients = between(r, 0, SECAGG_CLIENTS_MAX);
        m->u.over.model_bytes = between(r, 0, WIRE_BLOB_MAX);
        break;
    case MSG_WAIT: m->u.wait.stage = (uint8_t)between(r, 0, 4); break;
    case MSG_CHUNKS_HELD: {
        static uint8_t bits[128];
        uint32_t n = between(r, 0, 1024);
        random_bytes(r, bits, sizeof bits);
        if (n % 8) bits[n / 8] &= (uint8_t)((1U << n % 8) - 1);
        m->u.chunks_held.n_chunks = n;
        m->u.chunks_held.bitmap_len = (n + 7) / 8;
        m->u.chunks_held.bitmap = bits;
        break;
    }
    case MSG_ERROR: random_text(r, m->u.error.text, WIRE_TEXT_MAX, 0); break;
    default: break;
    }
}

/* A message of this type with every field in range, the rest random. */
static void random_message(struct rng *r, enum message_type type,
                           struct message *m)
{
    random_bytes(r, &m->u, sizeof m->u);
    m->type = type;
    random_device(r, m);
    random_coordinator(r, m);
}

static void encode(const struct message *m, struct buf *out)
{
    buf_clear(out);
    check_ok(message_encode(m, out));
}

static void what_is_encoded_is_decoded_for_random_messages(void **state)
{
    (void)state;
    struct rng r;
    struct buf a, b;
    struct message *m = malloc(sizeof *m), *back = malloc(sizeof *back);
    check(m && back);
    rng_init(&r, 1, 2, 3);
    buf_init(&a, 0);
    buf_init(&b, 0);
    random_bytes(&r, pool, sizeof pool);
    for (int turn = 0; turn < 40; turn++)
        for (int i = 0; i < N_TYPES; i++) {
            random_message(&r, types[i], m);
            encode(m, &a);
            check(a.len <= WIRE_MESSAGE_MAX);
            check_ok(message_decode(a.data, a.len, back));
            check(back->type == types[i]);
            /* Equal bytes again: no field was lost on the way. */
            encode(back, &b);
            check(a.len == b.len);
            check(memcmp(a.data, b.data, a.len) == 0);
        }
    buf_release(&a);
    buf_release(&b);
    free(m);
    free(back);
}

static void the_fields_of_a_task_arrive_where_they_were(void **state)
{
    (void)state;
    struct rng r;
    struct buf a;
    struct message m, back;
    rng_init(&r, 7, 0, 0);
    buf_init(&a, 0);
    random_message(&r, MSG_TASK, &m);
    encode(&m, &a);
    check_ok(message_decode(a.data, a.len, &back));
    const struct msg_task *x = &m.u.task, *y = &back.u.task;
    check(memcmp(x->session, y->session, 32) == 0);
    check(digest_equal(&x->plan_hash, &y->plan_hash));
    check(digest_equal(&x->model_hash, &y->model_hash));
    check(digest_equal(&x->roster_hash, &y->roster_hash));
    check(x->plan_bytes == y->plan_bytes && x->model_bytes == y->model_bytes);
    check(x->round == y->round && x->n_rounds == y->n_rounds);
    check(x->attempt == y->attempt && x->model_version == y->model_version);
    check(x->ring_bits == y->ring_bits && x->n_coords == y->n_coords);
    check(x->u_min == y->u_min && x->stage_ms == y->stage_ms);
    check(x->train_ms == y->train_ms);
    check(memcmp(x->roster_signature, y->roster_signature, 64) == 0);
    buf_release(&a);
}

/* Bodies start with version and type; the golden bytes pin both. */
static void the_smallest_messages_have_their_golden_bytes(void **state)
{
    (void)state;
    struct buf a;
    struct message m = {.type = MSG_IDLE};
    buf_init(&a, 0);
    m.u.idle.why = IDLE_REVOKED;
    m.u.idle.retry_ms = 0x01020304;
    encode(&m, &a);
    static const uint8_t idle[] = {1, 66, 2, 4, 3, 2, 1};
    check(a.len == sizeof idle && memcmp(a.data, idle, a.len) == 0);
    m = (struct message){.type = MSG_ERROR};
    m.u.error.code = 450;
    strcpy(m.u.error.text, "no");
    encode(&m, &a);
    static const uint8_t error[] = {1, 78, 0xc2, 1, 2, 0, 'n', 'o'};
    check(a.len == sizeof error && memcmp(a.data, error, a.len) == 0);
    m = (struct message){.type = MSG_LEAVE};
    encode(&m, &a);
    static const uint8_t leave[] = {1, 12};
    check(a.len == sizeof leave && memcmp(a.data, leave, a.len) == 0);
    buf_release(&a);
}

static void every_truncation_and_every_trailing_byte_is_refused(void **state)
{
    (void)state;
    struct rng r;
    struct buf a;
    struct message *m = malloc(sizeof *m), *back = malloc(sizeof *back);
    check(m && back);
    rng_init(&r, 9, 0, 0);
    buf_init(&a, 0);
    for (int i = 0; i < N_TYPES; i++) {
        random_message(&r, types[i], m);
        if (types[i] == MSG_CHUNK_PUT) m->u.chunk_put.len = 100;
        if (types[i] == MSG_BLOB) {
            m->u.blob.total_bytes = m->u.blob.len = 100;
            m->u.blob.index = 0;
            m->u.blob.n_chunks = 1;
        }
        if (types[i] == MSG_ROSTER) m->u.roster.n = 3;
        if (types[i] == MSG_SHARES) m->u.shares.n = 3;
        if (types[i] == MSG_PEER_SHARES) m->u.peer_shares.n = 3;
        encode(m, &a);
        for (size_t n = 0; n < a.len; n++) {
            /* A block of its own, so that ASan sees a read behind it. */
            uint8_t *cut = malloc(n ? n : 1);
            check(cut != NULL);
            memcpy(cut, a.data, n);
            check_err(message_decode(cut, n, back), TACIT_PROTO);
            free(cut);
        }
        buf_put_u8(&a, 0);
        check_err(message_decode(a.data, a.len, back), TACIT_PROTO);
    }
    buf_release(&a);
    free(m);
    free(back);
}

static void wrong_versions_and_unknown_types_are_refused(void **state)
{
    (void)state;
    struct message m;
    for (unsigned v = 0; v < 256; v++) {
        uint8_t bytes[2] = {(uint8_t)v, MSG_LEAVE};
        if (v == WIRE_VERSION)
            check_ok(message_decode(bytes, 2, &m));
        else
            check_err(message_decode(bytes, 2, &m), TACIT_PROTO);
    }
    for (unsigned t = 0; t < 256; t++) {
        uint8_t bytes[2] = {WIRE_VERSION, (uint8_t)t};
        int known = 0;
        for (int i = 0; i < N_TYPES; i++) known |= types[i] == t;
        check(known ==
              (strcmp(message_name((enum message_type)t), "unknown") != 0));
        if (t == MSG_LEAVE || t == MSG_LEFT)
            check_ok(message_decode(bytes, 2, &m));
        else
            check_err(message_decode(bytes, 2, &m), TACIT_PROTO);
    }
}

/* One byte (or more) of an encoded message is changed to a value that the field
 * may not have. */
struct bad_field {
    enum message_type type;
    size_t at, n;
    uint64_t value;
};

static void each_field_out_of_range_is_refused(void **state)
{
    (void)state;
    enum { S = 2 + 32 }; /* version, type, session */
    static const struct bad_field bad[] = {
        {MSG_POLL, 2 + 32 + 4, 1, 2},
        {MSG_POLL, 2 + 32 + 5, 4, 1000001},
        {MSG_IDLE, 2, 1, 4},
        {MSG_IDLE, 3, 4, 86400001},
        {MSG_TASK, S + 96, 4, 0},
        {MSG_TASK, S + 96, 4, WIRE_BLOB_MAX + 1u},
        {MSG_TASK, S + 100, 8, 0},
        {MSG_TASK, S + 100, 8, WIRE_BLOB_MAX + 1u},
        {MSG_TASK, S + 108, 4, 0},      /* round */
        {MSG_TASK, S + 108, 4, 100001}, /* beyond n_rounds */
        {MSG_TASK, S + 112, 4, 0},      /* n_rounds */
        {MSG_TASK, S + 112, 4, 0xffffffff},
        {MSG_TASK, S + 120, 4, 5000}, /* not round - 1 */
        {MSG_TASK, S + 124, 4, 16},   /* ring_bits */
        {MSG_TASK, S + 124, 4, 25},
        {MSG_TASK, S + 128, 4, 0}, /* n_coords */
        {MSG_TASK, S + 128, 4, WIRE_PARAMS_MAX + 1u},
        {MSG_TASK, S + 132, 4, 1}, /* u_min */
        {MSG_TASK, S + 132, 4, 129},
        {MSG_TASK, S + 136, 4, 0},          /* stage_ms */
        {MSG_TASK, S + 140, 4, 0xffffffff}, /* train_ms */
        {MSG_BLOB_GET, 34, 4, 4096},
        {MSG_BLOB, 34, 8, 0},
        {MSG_BLOB, 34, 8, WIRE_BLOB_MAX + 1u},
        {MSG_BLOB, 42, 4, 7},  /* index >= n_chunks */
        {MSG_BLOB, 46, 4, 9},  /* n_chunks of another size */
        {MSG_BLOB, 50, 4, 99}, /* a short chunk */
        {MSG_BLOB, 50, 4, WIRE_CHUNK_MAX + 1u},
        {MSG_ROSTER, S, 2, 1},
        {MSG_ROSTER, S, 2, 129},
        {MSG_SHARES, S, 2, 0},
        {MSG_SHARES, S, 2, 0xffff},
        {MSG_PEER_SHARES, S, 2, 129},
        {MSG_PEER_SHARES, S + 2, 2, 128},
        {MSG_CHUNK_PUT, S, 4, 2000},
        {MSG_CHUNK_PUT, S + 4, 4, 0},
        {MSG_CHUNK_PUT, S + 4, 4, 1025},
        {MSG_CHUNK_PUT, S + 40, 4, 0},
        {MSG_CHUNK_PUT, S + 40, 4, WIRE_CHUNK_MAX + 1u},
        {MSG_CHUNK_OK, S, 4, 1024},
        {MSG_INPUT, S, 4, 0},
        {MSG_INPUT, S, 4, 1025},
        {MSG_SIGNATURES, S, 2, 200},
        {MSG_SIGNATURES, S + 2, 2, 500},
        {MSG_REVEAL, S, 2, 129},
        {MSG_REVEAL, S + 2, 2, 128},
        {MSG_REVEAL, S + 4, 1, 2},
        {MSG_AWAIT, S, 1, 5},
        {MSG_WAIT, S, 1, 5},
        {MSG_CHUNKS_HELD, S, 4, 1025},
        {MSG_CHUNKS_HELD, S + 4, 4, 3},
        {MSG_CHUNKS_HELD, S + 8 + 1, 1, 0xff}, /* bits past the end */
        {MSG_OVER, S, 1, 2},
        {MSG_OVER, S + 5 + 2, 4, 1000001},
        {MSG_OVER, S + 5 + 2 + 8, 4, 129},
        {MSG_OVER, S + 5 + 2 + 12, 8, WIRE_BLOB_MAX + 1u},
        {MSG_ENROLLED, 2 + 16 + 2 + 2 + 32, 1, 2},
    };
    struct rng r;
    struct buf a;
    struct message *m = malloc(sizeof *m), *back = malloc(sizeof *back);
    check(m && back);
    buf_init(&a, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct bad_field *b = &bad[i];
        rng_init(&r, 11, i, 0);
        random_message(&r, b->type, m);
        if (b->type == MSG_PEER_SHARES) m->u.peer_shares.n = 2;
        if (b->type == MSG_SIGNATURES) m->u.signatures.n = 2;
        if (b->type == MSG_REVEAL) m->u.reveal.n = 2;
        if (b->type == MSG_OVER) strcpy(m->u.over.reason, "ab");
        if (b->type == MSG_ENROLLED) strcpy(m->u.enrolled.federation, "ab");
        if (b->type == MSG_CHUNKS_HELD) {
            static const uint8_t bits[2] = {0xff, 1};
            m->u.chunks_held.n_chunks = 9;
            m->u.chunks_held.bitmap_len = 2;
            m->u.chunks_held.bitmap = bits;
        }
        if (b->type == MSG_BLOB) {
            m->u.blob.total_bytes = WIRE_CHUNK_MAX + 100;
            m->u.blob.n_chunks = 2;
            m->u.blob.index = 0;
            m->u.blob.len = WIRE_CHUNK_MAX;
        }
        encode(m, &a);
        check_ok(message_decode(a.data, a.len, back));
        for (size_t k = 0; k < b->n; k++)
            a.data[b->at + k] = (uint8_t)(b->value >> 8 * k);
        if (message_decode(a.data, a.len, back) != TACIT_PROTO)
            print_error("row %zu was taken\n", i);
        check_err(message_decode(a.data, a.len, back), TACIT_PROTO);
    }
    buf_release(&a);
    free(m);
    free(back);
}

/* Its message ends with the bitmap, so a length that lies points past it. */
static void a_bitmap_shorter_than_its_chunks_is_refused_unread(void **state)
{
    (void)state;
    struct message m;
    uint8_t head[2 + 32 + 4 + 4] = {WIRE_VERSION, MSG_CHUNKS_HELD};
    for (uint32_t n_chunks = 0; n_chunks <= 1024; n_chunks += 37)
        for (uint32_t len = 0; len < (n_chunks + 7) / 8; len++) {
            /* Exactly sized, so that a read past its end is seen. */
            uint8_t *bytes = calloc(1, sizeof head + len);
            check(bytes != NULL);
            le32_store(head + 34, n_chunks);
            le32_store(head + 38, len);
            memcpy(bytes, head, sizeof head);
            check_err(message_decode(bytes, sizeof head + len, &m),
                      TACIT_PROTO);
            free(bytes);
        }
    /* So many that their count of bytes wraps. */
    le32_store(head + 34, UINT32_MAX - 3);
    le32_store(head + 38, 0);
    check_err(message_decode(head, sizeof head, &m), TACIT_PROTO);
}

static void random_bytes_never_upset_a_decoder(void **state)
{
    (void)state;
    struct rng r;
    struct message *back = malloc(sizeof *back);
    check(back != NULL);
    rng_init(&r, 13, 0, 0);
    for (int i = 0; i < 20000; i++) {
        size_t n = rng_below(&r, 400);
        uint8_t *bytes = malloc(n + 2);
        check(bytes != NULL);
        random_bytes(&r, bytes, n + 2);
        bytes[0] = WIRE_VERSION;
        bytes[1] = (uint8_t)types[rng_below(&r, N_TYPES)];
        if (message_decode(bytes, n + 2, back) != TACIT_OK) err_clear();
        free(bytes);
    }
    free(back);
}

static void names_must_be_clean_text_on_both_sides(void **state)
{
    (void)state;
    struct buf a;
    struct message m = {.type = MSG_ENROL}, back;
    buf_init(&a, 0);
    strcpy(m.u.enrol.name, "Nord\nklinik");
    buf_put_u8(&a, 42);
    check_err(message_encode(&m, &a), TACIT_FORMAT);
    check(a.len == 1); /* nothing half-written stays */
    m.u.enrol.name[0] = '\0';
    check_err(message_encode(&m, &a), TACIT_FORMAT);
    memset(m.u.enrol.name, 'x', WIRE_NAME_MAX); /* no NUL */
    check_err(message_encode(&m, &a), TACIT_FORMAT);
    strcpy(m.u.enrol.name, "Nord klinik");
    encode(&m, &a);
    check_ok(message_decode(a.data, a.len, &back));
    static const unsigned char bad[] = {0, '\n', 0x1b, 0x7f, 0x80, 0xff, 0xc0};
    for (size_t i = 0; i < sizeof bad; i++) {
        a.data[4 + 4] = bad[i];
        check_err(message_decode(a.data, a.len, &back), TACIT_PROTO);
    }
    buf_release(&a);
}

static void an_error_that_quotes_something_is_cleaned(void **state)
{
    (void)state;
    struct buf a;
    struct message m = {.type = MSG_ERROR}, back;
    buf_init(&a, 0);
    snprintf(m.u.error.text, WIRE_TEXT_MAX, "line\n%s\x1b[31m \xff end", "ä");
    encode(&m, &a);
    check_ok(message_decode(a.data, a.len, &back));
    assert_string_equal(back.u.error.text, "line?ä?[31m ? end");
    memset(m.u.error.text, 'y', WIRE_TEXT_MAX); /* no NUL: cut */
    encode(&m, &a);
    check_ok(message_decode(a.data, a.len, &back));
    check(strlen(back.u.error.text) == WIRE_TEXT_MAX - 1);
    buf_release(&a);
}

static void a_statement_covers_every_part_of_a_committed_model(void **state)
{
    (void)state;
    struct rng r;
    struct message m;
    uint8_t was[MSG_STATEMENT_BYTES], now[MSG_STATEMENT_BYTES];
    rng_init(&r, 17, 0, 0);
    random_message(&r, MSG_OVER, &m);
    msg_over_statement(&m.u.over, was);
    struct msg_over *o = &m.u.over;
    uint8_t *parts[] = {o->plan_hash.b,
                        o->parent_hash.b,
                        o->model_hash.b,
                        (uint8_t *)&o->round,
                        (uint8_t *)&o->model_version,
                        (uint8_t *)&o->n_clients};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        parts[i][0] ^= 1;
        msg_over_statement(o, now);
        check(memcmp(was, now, sizeof was) != 0);
        parts[i][0] ^= 1;
    }
    check(le32_load(was + 32) == o->round);
    check(le32_load(was + 104) == o->n_clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded_for_random_messages),
        cmocka_unit_test(the_fields_of_a_task_arrive_where_they_were),
        cmocka_unit_test(the_smallest_messages_have_their_golden_bytes),
        cmocka_unit_test(every_truncation_and_every_trailing_byte_is_refused),
        cmocka_unit_test(wrong_versions_and_unknown_types_are_refused),
        cmocka_unit_test(each_field_out_of_range_is_refused),
        cmocka_unit_test(a_bitmap_shorter_than_its_chunks_is_refused_unread),
        cmocka_unit_test(random_bytes_never_upset_a_decoder),
        cmocka_unit_test(names_must_be_clean_text_on_both_sides),
        cmocka_unit_test(an_error_that_quotes_something_is_cleaned),
        cmocka_unit_test(a_statement_covers_every_part_of_a_committed_model),
    };
    rng_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
