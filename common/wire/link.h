/*
 * link: authenticated sessions as pure byte transformations, no sockets.
 *
 *   device                                   coordinator
 *   HELLO      version, enrol, token_id, e, es ->
 *                                              <- HELLO_OK   session, e, ee
 *   FINISH     session, s, se (, psk)          ->
 *                                              <- FINISH_OK  session, record
 *   DATA       session, nonce, records         <-> both ways, then
 *                                              <- RESET      reason
 *
 * The bytes stand in record.h. The device starts with XK, or with XKpsk3 and
 * the token of its invite; the prologue binds the version and all of HELLO's
 * own fields. Session identifiers are chosen by the coordinator.
 *
 * Each DATA packet has one nonce per record; each direction starts at 1 and
 * only rises. A reply's records also bind the request's nonce, so that no
 * reply can be taken for the answer to another request. A repeat of the last
 * request (a transport that sent twice) is delivered again while it waits for
 * its answer, and gets the kept reply afterwards; anything older is refused.
 *
 * RESET is in clear, anyone on the path can send it. It says "handshake
 * again", costs a handshake and grants nothing. A packet that does not verify
 * changes no state: who holds no key cannot disturb a session.
 */
#ifndef TACIT_WIRE_LINK_H
#define TACIT_WIRE_LINK_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/crypto/noise.h"

enum { LINK_SESSION = 16, LINK_TOKEN = 16 };

/* tacit:HOST:PORT#base64url(dh_public 32 | token_id 8 | token 16 | check 4)
 * check = start of BLAKE2b over the address and the 56 bytes before it, so that
 * a slip of the hand is not taken for a false coordinator. */
struct link_invite {
    char address[256];                /* "tcp://HOST:PORT" */
    uint8_t coordinator[KEYS_PUBLIC]; /* X25519 key to expect */
    uint64_t token_id;                /* random, not secret */
    uint8_t token[LINK_TOKEN];        /* one-time secret */
};
/* E_INVITE_FORMAT; spaces around it are skipped. */
TACIT_CHECKED enum tacit_err link_invite_parse(const char *text,
                                               struct link_invite *out);
TACIT_CHECKED enum tacit_err link_invite_format(const struct link_invite *in,
                                                char *out, size_t cap);
/* psk = BLAKE2b-256("tacit enrol psk v1" || token). */
void link_token_psk(uint8_t out[32], const uint8_t token[LINK_TOKEN]);

/* ---- device ---- */
struct link_client; /* guarded */

struct link_client_config {
    const struct keys *keys; /* borrowed */
    uint8_t coordinator[KEYS_PUBLIC];
    int enrol; /* 1: XKpsk3 with the two below */
    uint64_t token_id;
    uint8_t token[LINK_TOKEN];
};
TACIT_CHECKED enum tacit_err link_client_new(const struct link_client_config *c,
                                             struct link_client **out);
void link_client_free(struct link_client *l);
/* 1 when DATA may be sent. */
int link_client_ready(const struct link_client *l);
/* Drop the session; the next packet is a HELLO. */
void link_client_reset(struct link_client *l);
/* The next handshake packet to send (not ready). Called again without an answer
 * in between, it starts a new handshake. */
TACIT_CHECKED enum tacit_err link_client_hello(struct link_client *l,
                                               struct buf *out);
/* Take the answer to it; any failure drops the handshake. AUTH: the other side
 * does not hold the pinned key (E_WRONG_COORDINATOR; nothing was sent to it),
 * the invite is not accepted (E_INVITE_REFUSED, E_INVITE_USED,
 * E_INVITE_EXPIRED), this device is unknown (E_NOT_A_MEMBER). UNSUPPORTED
 * (E_WIRE_VERSION). STATE (E_NO_SESSION): it was too slow or busy, begin
 * again. PROTO: bytes that make no sense. */
TACIT_CHECKED enum tacit_err link_client_answer(struct link_client *l,
                                                const uint8_t *packet,
                                                size_t n);
/* One request; the reply to the one before it can then no more be opened. STATE
 * when not ready; LIMIT over WIRE_MESSAGE_MAX. */
TACIT_CHECKED enum tacit_err link_client_seal(struct link_client *l,
                                              const uint8_t *msg, size_t n,
                                              struct buf *out);
/* The reply to the request last sealed, appended to out_msg. STATE
 * (E_NO_SESSION) when the coordinator answered RESET: handshake and repeat.
 * AUTH or PROTO when it is not a reply to that request; then, too. */
TACIT_CHECKED enum tacit_err link_client_open(struct link_client *l,
                                              const uint8_t *packet, size_t n,
                                              struct buf *out_msg);
/* [64] handshake hash for channel binding; NULL without a session. */
const uint8_t *link_client_hash(const struct link_client *l);

/* ---- coordinator: a bounded table of sessions ---- */
struct link_server;

struct link_server_config {
    const struct keys *keys; /* borrowed */
    /* Find the PSK of a token that may still be used; otherwise NOTFOUND,
     * E_INVITE_USED or E_INVITE_EXPIRED (the device is told which). */
    enum tacit_err (*token_psk)(void *ctx, uint64_t token_id, uint8_t psk[32]);
    /* May this key have a session (XK; it has proved to hold it)? Any failure
     * refuses it. NULL: every key may, and NOT_A_MEMBER is said later. */
    enum tacit_err (*admit)(void *ctx, const uint8_t dh_public[KEYS_PUBLIC]);
    void *ctx;
};
TACIT_CHECKED enum tacit_err link_server_new(const struct link_server_config *c,
                                             struct link_server **out);
void link_server_free(struct link_server *l);

enum link_event {
    LINK_REPLY,  /* out holds a packet to send back now; of the peer only
                    `proven` is known */
    LINK_MESSAGE /* out holds a plain request; answer with link_server_seal */
};
struct link_peer {
    uint32_t slot; /* handle of the session for link_server_seal */
    uint32_t generation;
    int enrol; /* an XKpsk3 session: only ENROL may follow */
    uint64_t token_id;
    uint8_t dh_public[KEYS_PUBLIC]; /* authenticated */
    const uint8_t *hash; /* [64] handshake hash, borrowed until the next call */
    uint64_t request;    /* nonce of this request, for link_server_seal */
    int repeat;          /* 1: delivered before, not yet answered */
    int proven;          /* 1: these bytes show the key, for the first time */
};
/* Take one packet from the transport. Never fails for what a peer sent: bad
 * packets give LINK_REPLY with RESET. Errors are ours (NOMEM). now_ms expires
 * handshakes and idle sessions. */
TACIT_CHECKED enum tacit_err link_server_receive(
    struct link_server *l, int64_t now_ms, const uint8_t *packet, size_t n,
    enum link_event *event, struct link_peer *peer, struct buf *out);
/* Seal the reply to that request; NOTFOUND when the session is gone or has sent
 * another request since (drop the reply; no message is recorded). */
TACIT_CHECKED enum tacit_err link_server_seal(struct link_server *l,
                                              const struct link_peer *peer,
                                              const uint8_t *msg, size_t n,
                                              struct buf *out);
size_t link_server_sessions(const struct link_server *l);

#endif
