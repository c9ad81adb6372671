/*
 * record: the bytes of a link: packets, and the cutting of a message into Noise
 * records. Internal to link_client.c and link_server.c.
 *
 *   packet = u8 kind | …
 *     HELLO     u8 version | u8 enrol | u64 token_id | noise message 1 [48]
 *     HELLO_OK  session[16] | noise message 2 [48]
 *     FINISH    session[16] | noise message 3 [64]
 *     FINISH_OK session[16] | one record of nothing, nonce 0
 *     DATA      session[16] | u64 nonce | records, nonce, nonce + 1, …
 *     RESET     u8 reason
 *   record   = u16 length | Noise ciphertext;  plain = u8 last | bytes
 *   every record but the last is full, so a message has one encoding
 *   ad       = u8 kind | session[16] | u64 nonce | u64 request
 *
 * request is 0 in a request and the request's nonce in its reply. The prologue
 * of the handshake is "tacit wire" and HELLO's own fields, so that none of them
 * can be changed on the way.
 */
#ifndef TACIT_WIRE_RECORD_H
#define TACIT_WIRE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/noise.h"
#include "common/wire/limits.h"
#include "common/wire/link.h"

enum packet_kind {
    PACKET_HELLO = 1,
    PACKET_HELLO_OK = 2,
    PACKET_FINISH = 3,
    PACKET_FINISH_OK = 4,
    PACKET_DATA = 5,
    PACKET_RESET = 6
};

enum packet_reset {
    RESET_SESSION = 1,        /* no such session */
    RESET_PACKET = 2,         /* malformed, or it does not verify */
    RESET_KEY = 3,            /* HELLO is not for this coordinator's key */
    RESET_VERSION = 4,        /* another WIRE_VERSION */
    RESET_INVITE = 5,         /* no such invite, or another token */
    RESET_INVITE_USED = 6,    /* … */
    RESET_INVITE_EXPIRED = 7, /* … */
    RESET_STRANGER = 8,       /* this device may have no session */
    RESET_REPEAT = 9,         /* answered before, the reply is not kept */
    RESET_REKEY = 10          /* the session has lived long enough */
};

enum {
    PACKET_HELLO_BYTES = 1 + 1 + 1 + 8 + 48,
    PACKET_HELLO_OK_BYTES = 1 + LINK_SESSION + 48,
    PACKET_FINISH_BYTES = 1 + LINK_SESSION + 64,
    PACKET_PROLOGUE = 10 + 1 + 1 + 8,
    PACKET_AD = 1 + LINK_SESSION + 8 + 8,
    RECORD_OVERHEAD = 2 + 1 + NOISE_TAG,
    RECORD_BYTES = WIRE_RECORD_MAX - NOISE_TAG - 1, /* of the message */
    RECORDS_MAX = WIRE_MESSAGE_MAX / RECORD_BYTES + 1,
    PACKET_DATA_HEAD = 1 + LINK_SESSION + 8
};
_Static_assert(PACKET_HELLO_BYTES <= (int)WIRE_HANDSHAKE_MAX &&
                   PACKET_FINISH_BYTES <= (int)WIRE_HANDSHAKE_MAX,
               "a handshake is small");
_Static_assert(PACKET_DATA_HEAD + RECORDS_MAX * RECORD_OVERHEAD <=
                   WIRE_PACKET_MAX - WIRE_MESSAGE_MAX,
               "a sealed message fits a packet");

/* A packet taken apart; pointers borrow from its bytes. */
struct packet {
    enum packet_kind kind;
    uint8_t version, enrol; /* HELLO */
    uint64_t token_id;      /* HELLO */
    uint8_t reason;         /* RESET */
    const uint8_t *session; /* [16], the others */
    uint64_t nonce;         /* DATA, first record */
    unsigned n_records;     /* DATA, FINISH_OK */
    const uint8_t *body;    /* noise message or records */
    size_t len;
};
/* PROTO when it is none of the above. The version is not judged. */
TACIT_CHECKED enum tacit_err packet_parse(const uint8_t *bytes, size_t n,
                                          struct packet *out);
void packet_put_reset(struct buf *out, enum packet_reset reason);
void packet_prologue(uint8_t out[PACKET_PROLOGUE], uint8_t version,
                     uint8_t enrol, uint64_t token_id);

/* What a packet's records are bound to. */
struct record_bond {
    enum packet_kind kind;
    const uint8_t *session; /* [16] */
    uint64_t nonce, request;
};
/* Records that a message of n bytes takes. */
unsigned records_count(size_t n);
/* Append the records of msg. LIMIT over WIRE_MESSAGE_MAX. */
TACIT_CHECKED enum tacit_err records_seal(struct noise *noise,
                                          const struct record_bond *bond,
                                          const uint8_t *msg, size_t n,
                                          struct buf *out);
/* Append the message to out; AUTH or PROTO leave it as it was. p must come from
 * packet_parse. */
TACIT_CHECKED enum tacit_err records_open(struct noise *noise,
                                          const struct record_bond *bond,
                                          const struct packet *p,
                                          struct buf *out);

#endif
