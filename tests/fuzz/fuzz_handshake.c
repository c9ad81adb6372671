/*
 * Both ends of a link with the fuzzer as the network: the input is a script
 * that seals, delivers, keeps, repeats, cuts, changes and makes up packets.
 * However it plays, the coordinator is only handed requests that the device
 * sealed, each of them new at most once, and the device only the reply to its
 * last request.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/wire/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum operation {
    HELLO,
    ARRIVE,
    ANSWER,
    SEAL,
    REPLY,
    OPEN,
    CHANGE,
    CUT,
    MAKE_UP,
    KEEP,
    REPEAT,
    WAIT,
    RESTART,
    FORGET,
    HANDSHAKE,
    ASK,
    N_OPERATIONS
};
enum { STEPS_MAX = 60 };

struct play {
    struct keys device, coordinator;
    struct link_client *client;
    struct link_server *server;
    struct link_peer peer;
    struct buf wire, kept, plain;
    int64_t now_ms;
    uint32_t sealed, delivered; /* requests; each is its own number */
    uint32_t asked;             /* the request that a reply would answer */
};

/* Bytes that replay: a finding is the same in every run. */
static struct rng dice;

static const char *dice_name(void)
{
    return "dice";
}

static void dice_roll(void *const out, const size_t n)
{
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)rng_u64(&dice);
}

static uint32_t dice_u32(void)
{
    return (uint32_t)rng_u64(&dice);
}

static enum tacit_err token(void *ctx, uint64_t token_id, uint8_t psk[32])
{
    (void)ctx;
    if (token_id != 5) return fail(TACIT_NOTFOUND, "no such token");
    memset(psk, 9, 32);
    return TACIT_OK;
}

static void must(enum tacit_err err)
{
    if (err != TACIT_OK) abort();
}

static void new_server(struct play *p)
{
    struct link_server_config c = {.keys = &p->coordinator, .token_psk = token};
    link_server_free(p->server);
    must(link_server_new(&c, &p->server));
    p->peer = (struct link_peer){.slot = 1000000};
    p->delivered = p->sealed;
}

static void begin(struct play *p, int enrol)
{
    static struct randombytes_implementation fixed = {.implementation_name =
                                                          dice_name,
                                                      .random = dice_u32,
                                                      .buf = dice_roll};
    memset(p, 0, sizeof *p);
    rng_init(&dice, 1, 2, 3);
    randombytes_set_implementation(&fixed);
    must(keys_new(&p->device));
    must(keys_new(&p->coordinator));
    struct link_client_config c = {.keys = &p->device, .enrol = enrol};
    memcpy(c.coordinator, p->coordinator.dh_public, KEYS_PUBLIC);
    c.token_id = 5; /* its PSK never fits: the FINISH must be refused */
    must(link_client_new(&c, &p->client));
    buf_init(&p->wire, 0);
    buf_init(&p->kept, 0);
    buf_init(&p->plain, 0);
    new_server(p);
}

static void end(struct play *p)
{
    link_client_free(p->client);
    link_server_free(p->server);
    keys_release(&p->device);
    keys_release(&p->coordinator);
    buf_release(&p->wire);
    buf_release(&p->kept);
    buf_release(&p->plain);
    err_clear();
}

static void set(struct buf *to, const void *bytes, size_t n)
{
    buf_clear(to);
    buf_put(to, bytes, n);
    must(buf_end(to));
}

static void arrive(struct play *p)
{
    enum link_event event;
    struct link_peer peer = p->peer;
    buf_clear(&p->plain);
    must(link_server_receive(p->server, p->now_ms, p->wire.data, p->wire.len,
                             &event, &peer, &p->plain));
    if (event == LINK_REPLY) {
        set(&p->wire, p->plain.data, p->plain.len);
        return;
    }
    p->peer = peer;
    if (peer.enrol || p->plain.len != 4) abort();
    if (memcmp(peer.dh_public, p->device.dh_public, KEYS_PUBLIC) != 0) abort();
    uint32_t number = le32_load(p->plain.data);
    if (number == 0 || number > p->sealed) abort();
    if (!peer.repeat && number <= p->delivered) abort();
    p->delivered = number;
}

static void seal(struct play *p)
{
    uint8_t number[4];
    if (!link_client_ready(p->client)) return;
    le32_store(number, ++p->sealed);
    buf_clear(&p->wire);
    must(link_client_seal(p->client, number, sizeof number, &p->wire));
    p->asked = p->sealed;
}

/* The coordinator answers with the number of the request. */
static void reply(struct play *p)
{
    uint8_t number[4];
    struct buf out;
    buf_init(&out, 0);
    le32_store(number, p->delivered);
    enum tacit_err err =
        link_server_seal(p->server, &p->peer, number, sizeof number, &out);
    if (err == TACIT_OK) set(&p->wire, out.data, out.len);
    buf_release(&out);
}

static void open_reply(struct play *p)
{
    buf_clear(&p->plain);
    enum tacit_err err =
        link_client_open(p->client, p->wire.data, p->wire.len, &p->plain);
    if (err != TACIT_OK) {
        if (p->plain.len) abort();
        return;
    }
    if (p->plain.len != 4 || le32_load(p->plain.data) != p->asked) abort();
    p->asked = 0; /* answered once */
}

static void answer(struct play *p)
{
    if (link_client_answer(p->client, p->wire.data, p->wire.len) != TACIT_OK &&
        link_client_ready(p->client))
        abort();
}

static void hello(struct play *p)
{
    buf_clear(&p->wire);
    must(link_client_hello(p->client, &p->wire));
}

static void change(struct play *p, struct reader *r)
{
    uint16_t at = reader_u16(r);
    uint8_t flip = reader_u8(r);
    if (p->wire.len) p->wire.data[at % p->wire.len] ^= flip;
}

static void step(struct play *p, struct reader *r)
{
    size_t n;
    switch ((enum operation)(reader_u8(r) % N_OPERATIONS)) {
    case HELLO: hello(p); break;
    case ARRIVE: arrive(p); break;
    case ANSWER: answer(p); break;
    case SEAL: seal(p); break;
    case REPLY: reply(p); break;
    case OPEN: open_reply(p); break;
    case CHANGE: change(p, r); break;
    case CUT:
        n = reader_u16(r);
        if (n < p->wire.len) p->wire.len = n;
        break;
    case MAKE_UP:
        n = reader_u8(r);
        if (n > r->left) n = r->left;
        set(&p->wire, reader_take(r, n), n);
        break;
    case KEEP: set(&p->kept, p->wire.data, p->wire.len); break;
    case REPEAT: set(&p->wire, p->kept.data, p->kept.len); break;
    case WAIT: p->now_ms += 100 * reader_u16(r); break;
    case RESTART: new_server(p); break;
    case FORGET: link_client_reset(p->client); break;
    case HANDSHAKE:
        for (int i = 0; i < 2; i++) {
            hello(p);
            arrive(p);
            answer(p);
        }
        break;
    case ASK:
        seal(p);
        arrive(p);
        reply(p);
        open_reply(p);
        break;
    case N_OPERATIONS: break;
    }
    err_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct play p;
    struct reader r;
    reader_init(&r, data, size);
    begin(&p, reader_u8(&r) & 1);
    for (int i = 0; i < STEPS_MAX && r.left; i++) step(&p, &r);
    end(&p);
    return 0;
}
