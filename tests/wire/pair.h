/*
 * pair: a device's and a coordinator's end of one link, joined by hand: what
 * one seals is in `wire`, where a test may look at it, change it or lose it
 * before the other takes it.
 */
#ifndef TACIT_TESTS_WIRE_PAIR_H
#define TACIT_TESTS_WIRE_PAIR_H

#include "tests/check.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/wire/link.h"
#include "common/wire/record.h"

enum token_state { TOKEN_GOOD, TOKEN_OTHER, TOKEN_USED, TOKEN_EXPIRED };

struct pair {
    struct keys device, coordinator;
    struct link_client_config config;
    struct link_client *client;
    struct link_server *server;
    enum token_state token; /* what the coordinator thinks of the invite */
    int admits;             /* may an XK device come in? */
    int n_tokens_asked;
    int64_t now_ms;
    struct link_peer peer; /* of the last request */
    struct buf wire;       /* the packet on its way */
    struct buf plain;      /* what came out of it */
};

static inline enum tacit_err pair_token(void *ctx, uint64_t token_id,
                                        uint8_t psk[32])
{
    struct pair *p = ctx;
    p->n_tokens_asked++;
    if (p->token == TOKEN_USED) return fail_as(E_INVITE_USED, "used");
    if (p->token == TOKEN_EXPIRED) return fail_as(E_INVITE_EXPIRED, "expired");
    if (token_id != p->config.token_id) return fail(TACIT_NOTFOUND, "none");
    link_token_psk(psk, p->config.token);
    if (p->token == TOKEN_OTHER) psk[7] ^= 1;
    return TACIT_OK;
}

static inline enum tacit_err pair_admit(void *ctx,
                                        const uint8_t dh_public[KEYS_PUBLIC])
{
    struct pair *p = ctx;
    check(memcmp(dh_public, p->device.dh_public, KEYS_PUBLIC) == 0);
    return p->admits ? TACIT_OK : fail_as(E_NOT_A_MEMBER, "stranger");
}

static inline void pair_new_client(struct pair *p)
{
    link_client_free(p->client);
    check_ok(link_client_new(&p->config, &p->client));
}

static inline void pair_new_server(struct pair *p)
{
    struct link_server_config c = {.keys = &p->coordinator,
                                   .token_psk = pair_token,
                                   .admit = pair_admit,
                                   .ctx = p};
    link_server_free(p->server);
    check_ok(link_server_new(&c, &p->server));
}

/* enrol: 0 = XK, 1 = XKpsk3. */
static inline void pair_open(struct pair *p, int enrol)
{
    memset(p, 0, sizeof *p);
    check_ok(keys_new(&p->device));
    check_ok(keys_new(&p->coordinator));
    p->config.keys = &p->device;
    p->config.enrol = enrol;
    p->config.token_id = 0x1122334455667788;
    memcpy(p->config.coordinator, p->coordinator.dh_public, KEYS_PUBLIC);
    rng_secure(p->config.token, sizeof p->config.token);
    p->admits = 1;
    p->now_ms = 1000;
    buf_init(&p->wire, 0);
    buf_init(&p->plain, 0);
    pair_new_client(p);
    pair_new_server(p);
}

static inline void pair_close(struct pair *p)
{
    link_client_free(p->client);
    link_server_free(p->server);
    keys_release(&p->device);
    keys_release(&p->coordinator);
    buf_release(&p->wire);
    buf_release(&p->plain);
}

/* The coordinator takes the packet in wire. Its reply packet takes the place of
 * the packet; a request goes to plain. */
static inline enum link_event pair_arrive(struct pair *p)
{
    enum link_event event;
    buf_clear(&p->plain);
    check_ok(link_server_receive(p->server, p->now_ms, p->wire.data,
                                 p->wire.len, &event, &p->peer, &p->plain));
    if (event == LINK_REPLY) {
        buf_clear(&p->wire);
        buf_put(&p->wire, p->plain.data, p->plain.len);
        buf_clear(&p->plain);
        check_ok(buf_end(&p->wire));
    }
    return event;
}

/* wire holds a RESET with this reason. */
static inline int pair_is_reset(const struct pair *p, enum packet_reset reason)
{
    return p->wire.len == 2 && p->wire.data[0] == PACKET_RESET &&
           p->wire.data[1] == reason;
}

/* The device's next handshake packet, into wire. */
static inline void pair_hello(struct pair *p)
{
    buf_clear(&p->wire);
    check_ok(link_client_hello(p->client, &p->wire));
}

/* The device takes the packet in wire as the answer to its handshake. */
static inline enum tacit_err pair_answer(struct pair *p)
{
    return link_client_answer(p->client, p->wire.data, p->wire.len);
}

/* A whole handshake; the device's first failure. */
static inline enum tacit_err pair_handshake(struct pair *p)
{
    for (int message = 0; message < 2; message++) {
        pair_hello(p);
        check(pair_arrive(p) == LINK_REPLY);
        TRY(pair_answer(p));
    }
    return TACIT_OK;
}

static inline void pair_seal(struct pair *p, const void *msg, size_t n)
{
    buf_clear(&p->wire);
    check_ok(link_client_seal(p->client, msg, n, &p->wire));
}

/* The coordinator's reply to the request that arrived last, into wire. */
static inline void pair_reply(struct pair *p, const void *msg, size_t n)
{
    buf_clear(&p->wire);
    check_ok(link_server_seal(p->server, &p->peer, msg, n, &p->wire));
}

/* The device takes the packet in wire as a reply. */
static inline enum tacit_err pair_open_reply(struct pair *p)
{
    buf_clear(&p->plain);
    return link_client_open(p->client, p->wire.data, p->wire.len, &p->plain);
}

static inline int pair_got(const struct pair *p, const void *msg, size_t n)
{
    return p->plain.len == n && (n == 0 || memcmp(p->plain.data, msg, n) == 0);
}

/* There and back. */
static inline void pair_ask(struct pair *p, const void *request, size_t n,
                            const void *reply, size_t m)
{
    pair_seal(p, request, n);
    check(pair_arrive(p) == LINK_MESSAGE);
    check(pair_got(p, request, n));
    pair_reply(p, reply, m);
    check_ok(pair_open_reply(p));
    check(pair_got(p, reply, m));
}

#endif
