/*
 * link: authenticated sessions as pure byte transformations, no sockets.
 *
 *   packet = u8 kind | …
 *     HELLO   u8 enrol | u64 token_id (enrol only, else 0) | noise message 1
 *     HELLO_OK  session[16] | noise message 2
 *     FINISH  session[16] | noise message 3          (payload empty)
 *     FINISH_OK session[16] | one empty record       (key confirmation)
 *     DATA    session[16] | u64 nonce | records      both directions
 *     RESET   u8 reason     in clear: "handshake again"; costs a handshake,
 *                           grants nothing
 *     record  = u16 length | Noise ciphertext; plain = u8 last | bytes
 *
 * The device starts with XK, or with XKpsk3 and the token of its invite. The
 * nonce of DATA counts records; each direction starts at 1 and must increase;
 * a repeat of the last request (a transport that sent twice) gets the last
 * reply again; anything older is refused. The prologue binds WIRE_VERSION.
 */
#ifndef TACIT_WIRE_LINK_H
#define TACIT_WIRE_LINK_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/crypto/noise.h"

enum { LINK_SESSION = 16, LINK_TOKEN = 16 };

/* tacit:HOST:PORT#base64url(dh_public 32 | token_id 8 | token 16) */
struct link_invite {
    char address[256];             /* "tcp://HOST:PORT" */
    uint8_t coordinator[KEYS_PUBLIC]; /* X25519 key to expect */
    uint64_t token_id;             /* random, not secret */
    uint8_t token[LINK_TOKEN];     /* one-time secret */
};
TACIT_CHECKED enum tacit_err link_invite_parse(const char *text,
                                               struct link_invite *out);
TACIT_CHECKED enum tacit_err link_invite_format(const struct link_invite *in,
                                                char *out, size_t cap);
/* psk = BLAKE2b-256("tacit enrol psk v1" || token). */
void link_token_psk(uint8_t out[32], const uint8_t token[LINK_TOKEN]);

/* ---- device ---- */
struct link_client; /* guarded */

struct link_client_config {
    const struct keys *keys;       /* borrowed */
    uint8_t coordinator[KEYS_PUBLIC];
    int enrol;                     /* 1: XKpsk3 with the two below */
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
/* The next handshake packet to send (not ready). */
TACIT_CHECKED enum tacit_err link_client_hello(struct link_client *l,
                                               struct buf *out);
/* Take the answer to it. AUTH (E_WRONG_COORDINATOR) when the other side does
 * not hold the pinned key: nothing may be sent to it. */
TACIT_CHECKED enum tacit_err link_client_answer(struct link_client *l,
                                                const uint8_t *packet,
                                                size_t n);
TACIT_CHECKED enum tacit_err link_client_seal(struct link_client *l,
                                              const uint8_t *msg, size_t n,
                                              struct buf *out);
/* STATE when the coordinator answered RESET: handshake and repeat. */
TACIT_CHECKED enum tacit_err link_client_open(struct link_client *l,
                                              const uint8_t *packet, size_t n,
                                              struct buf *out_msg);
/* [64] handshake hash for channel binding; valid when ready. */
const uint8_t *link_client_hash(const struct link_client *l);

/* ---- coordinator: a bounded table of sessions ---- */
struct link_server;

struct link_server_config {
    const struct keys *keys; /* borrowed */
    /* Find the PSK of a token that may still be used; NOTFOUND otherwise. */
    enum tacit_err (*token_psk)(void *ctx, uint64_t token_id, uint8_t psk[32]);
    void *ctx;
};
TACIT_CHECKED enum tacit_err link_server_new(const struct link_server_config *c,
                                             struct link_server **out);
void link_server_free(struct link_server *l);

enum link_event {
    LINK_REPLY,  /* out holds a packet to send back now */
    LINK_MESSAGE /* out holds a plain request; answer with link_server_seal */
};
struct link_peer {
    uint32_t slot;      /* handle of the session for link_server_seal */
    uint32_t generation;
    int enrol;          /* an XKpsk3 session: only ENROL may follow */
    uint64_t token_id;
    uint8_t dh_public[KEYS_PUBLIC]; /* authenticated */
    const uint8_t *hash; /* [64] handshake hash, borrowed until the next call */
};
/* Take one packet from the transport. Never fails for what a peer sent: bad
 * packets give LINK_REPLY with RESET. Errors are ours (NOMEM). now_ms expires
 * handshakes and idle sessions. */
TACIT_CHECKED enum tacit_err
link_server_receive(struct link_server *l, int64_t now_ms,
                    const uint8_t *packet, size_t n, enum link_event *event,
                    struct link_peer *peer, struct buf *out);
/* Seal the reply to the request last received on that session; NOTFOUND when
 * the session is gone (drop the reply). */
TACIT_CHECKED enum tacit_err link_server_seal(struct link_server *l,
                                              const struct link_peer *peer,
                                              const uint8_t *msg, size_t n,
                                              struct buf *out);
size_t link_server_sessions(const struct link_server *l);

#endif
