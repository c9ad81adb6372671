/*
 * messages: every byte between a device and the coordinator.
 *
 * A message is  u8 version | u8 type | body  with little-endian fields in the
 * order below; strings are u16 length + bytes; it travels inside an
 * authenticated link (link.h). The device asks, the coordinator answers; one
 * request has one reply. Every request may be repeated: its key is
 * (session, device, type), and a repeat gets the same answer.
 *
 *   device                                coordinator
 *   ENROL (XKpsk3 only)               ->  ENROLLED
 *   POLL                              ->  TASK | IDLE        (held up to 10 s)
 *   BLOB_GET {hash, index}            ->  BLOB               (plan, model)
 *   ADVERT            R0              ->  ROSTER | WAIT | OVER
 *   SHARES            R1              ->  PEER_SHARES | WAIT | OVER
 *   CHUNK_PUT …, INPUT  R2            ->  CHUNK_OK | SURVIVORS | WAIT | OVER
 *   CONSISTENCY       R3              ->  SIGNATURES | WAIT | OVER
 *   REVEAL            R4              ->  OVER | WAIT
 *   AWAIT {session, stage}            ->  what the stage's reply would be
 *   INPUT_STATUS                      ->  CHUNKS_HELD        (resume an upload)
 *   LEAVE                             ->  LEFT
 *   any                               ->  ERROR {code, text}
 *
 * WAIT means "held as long as allowed; ask again with AWAIT". OVER ends the
 * session: committed (with the new model) or aborted (with the reason).
 */
#ifndef TACIT_WIRE_MESSAGES_H
#define TACIT_WIRE_MESSAGES_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/crypto/keys.h"
#include "common/crypto/secagg.h"
#include "common/wire/limits.h"

enum message_type {
    /* device -> coordinator */
    MSG_ENROL = 1,
    MSG_POLL = 2,
    MSG_BLOB_GET = 3,
    MSG_ADVERT = 4,
    MSG_SHARES = 5,
    MSG_CHUNK_PUT = 6,
    MSG_INPUT = 7,
    MSG_CONSISTENCY = 8,
    MSG_REVEAL = 9,
    MSG_AWAIT = 10,
    MSG_INPUT_STATUS = 11,
    MSG_LEAVE = 12,
    /* coordinator -> device */
    MSG_ENROLLED = 65,
    MSG_IDLE = 66,
    MSG_TASK = 67,
    MSG_BLOB = 68,
    MSG_ROSTER = 69,
    MSG_PEER_SHARES = 70,
    MSG_CHUNK_OK = 71,
    MSG_SURVIVORS = 72,
    MSG_SIGNATURES = 73,
    MSG_OVER = 74,
    MSG_WAIT = 75,
    MSG_CHUNKS_HELD = 76,
    MSG_LEFT = 77,
    MSG_ERROR = 78
};

enum message_idle {
    IDLE_NO_WORK = 0,
    IDLE_PENDING = 1, /* waits for the operator's approval */
    IDLE_REVOKED = 2,
    IDLE_FINISHED = 3 /* every submitted plan has run */
};

enum message_stage {
    STAGE_ADVERT = 0,
    STAGE_SHARES = 1,
    STAGE_INPUT = 2,
    STAGE_CONSISTENCY = 3,
    STAGE_REVEAL = 4
};

enum message_outcome { OUTCOME_COMMITTED = 0, OUTCOME_ABORTED = 1 };

struct msg_enrol {
    char name[WIRE_NAME_MAX];          /* site name, from the invite */
    uint8_t identity[KEYS_PUBLIC];     /* Ed25519 */
    uint8_t signature[KEYS_SIGNATURE]; /* "tacit enrol v1" over the link's
                                             handshake hash */
    char software[WIRE_NAME_MAX];
};
struct msg_enrolled {
    uint8_t id[KEYS_ID];
    char federation[WIRE_NAME_MAX];
    uint8_t sign_public[KEYS_PUBLIC]; /* coordinator's Ed25519 */
    uint8_t approved;                 /* 0 = waits for the operator */
};
struct msg_poll {
    uint8_t last_session[32];    /* last session this device ended, or zeros */
    uint32_t hold_ms;            /* longest it wants to be held */
    uint8_t model_version_known; /* 1: the field below is meant */
    uint32_t model_version;      /* newest committed version it has adopted of
                                 model_plan (all plans start at 0) */
    struct digest model_plan; /* plan hash the version belongs to, or zeros */
};
struct msg_idle {
    uint8_t why;       /* enum message_idle */
    uint32_t retry_ms; /* ask again after */
};
/* An invitation to a round; everything in it is bound by T. */
struct msg_task {
    uint8_t session[32];
    struct digest plan_hash;
    struct digest model_hash;
    struct digest roster_hash;
    uint32_t plan_bytes;
    uint64_t model_bytes;
    uint32_t round; /* 1-based */
    uint32_t n_rounds;
    uint32_t attempt;       /* of this round, 0-based */
    uint32_t model_version; /* = round - 1 */
    uint32_t ring_bits, n_coords, u_min;
    uint32_t stage_ms, train_ms; /* deadlines of a stage, of training */
    uint8_t roster_signature[KEYS_SIGNATURE]; /* coordinator over roster_hash */
};
struct msg_blob_get {
    struct digest hash; /* of the whole content */
    uint32_t index;
};
struct msg_blob {
    struct digest hash;
    uint64_t total_bytes;
    uint32_t index, n_chunks;
    uint32_t len;
    const uint8_t *bytes; /* [len], borrowed from the decoded message */
};
struct msg_advert {
    uint8_t session[32];
    struct secagg_advert advert;
};
struct msg_roster {
    uint8_t session[32];
    uint16_t n;
    struct secagg_advert list[SECAGG_CLIENTS_MAX];
};
struct msg_shares {
    uint8_t session[32];
    uint16_t n;            /* members; own row is zero */
    const uint8_t *sealed; /* [n][SECAGG_SEALED], borrowed */
};
struct msg_peer_shares {
    uint8_t session[32];
    uint16_t n;
    uint16_t senders[SECAGG_CLIENTS_MAX];
    const uint8_t *sealed; /* [n][SECAGG_SEALED], borrowed */
};
/* One chunk of the packed masked input. */
struct msg_chunk_put {
    uint8_t session[32];
    uint32_t index, n_chunks;
    struct digest hash; /* of this chunk */
    uint32_t len;
    const uint8_t *bytes; /* borrowed */
};
struct msg_chunk_ok {
    uint8_t session[32];
    uint32_t index;
};
struct msg_input {
    uint8_t session[32];
    uint32_t n_chunks;
    struct digest hash; /* of the whole packed input */
};
struct msg_survivors {
    uint8_t session[32];
    struct secagg_set u3;
};
struct msg_consistency {
    uint8_t session[32];
    uint8_t signature[SECAGG_SIGNATURE];
};
struct msg_signatures {
    uint8_t session[32];
    uint16_t n;
    uint16_t signers[SECAGG_CLIENTS_MAX];
    const uint8_t *signatures; /* [n][SECAGG_SIGNATURE], borrowed */
};
struct msg_reveal {
    uint8_t session[32];
    uint16_t n;
    struct secagg_share shares[SECAGG_CLIENTS_MAX];
};
struct msg_await {
    uint8_t session[32];
    uint8_t stage; /* enum message_stage */
};
struct msg_input_status {
    uint8_t session[32];
};
struct msg_chunks_held {
    uint8_t session[32];
    uint32_t n_chunks;
    uint32_t bitmap_len;
    const uint8_t *bitmap; /* bit i = chunk i held; borrowed */
};
/* The end of a session. When committed, the new model's signed statement. */
struct msg_over {
    uint8_t session[32];
    uint8_t outcome; /* enum message_outcome */
    uint16_t code;   /* catalogue id when aborted */
    char reason[WIRE_TEXT_MAX];
    uint32_t round;
    uint32_t model_version;
    uint32_t n_clients;
    uint64_t model_bytes;
    struct digest plan_hash;
    struct digest parent_hash; /* model the round started from */
    struct digest model_hash;
    uint8_t signature[KEYS_SIGNATURE]; /* see msg_over_statement */
};
struct msg_wait {
    uint8_t session[32];
    uint8_t stage;
};
struct msg_error {
    uint16_t code; /* catalogue id, 0 = none */
    char text[WIRE_TEXT_MAX];
};

struct message {
    enum message_type type;
    union {
        struct msg_enrol enrol;
        struct msg_enrolled enrolled;
        struct msg_poll poll;
        struct msg_idle idle;
        struct msg_task task;
        struct msg_blob_get blob_get;
        struct msg_blob blob;
        struct msg_advert advert;
        struct msg_roster roster;
        struct msg_shares shares;
        struct msg_peer_shares peer_shares;
        struct msg_chunk_put chunk_put;
        struct msg_chunk_ok chunk_ok;
        struct msg_input input;
        struct msg_survivors survivors;
        struct msg_consistency consistency;
        struct msg_signatures signatures;
        struct msg_reveal reveal;
        struct msg_await await;
        struct msg_input_status input_status;
        struct msg_chunks_held chunks_held;
        struct msg_over over;
        struct msg_wait wait;
        struct msg_error error;
    } u;
};

/* Append the encoded message; asserts our own limits. */
TACIT_CHECKED enum tacit_err message_encode(const struct message *m,
                                            struct buf *out);
/* PROTO for a wrong version, an unknown type, a field out of range or
 * trailing bytes. Pointers in *out borrow from bytes. */
TACIT_CHECKED enum tacit_err message_decode(const uint8_t *bytes, size_t n,
                                            struct message *out);
const char *message_name(enum message_type t);

/* What the secure sum of a task binds: both ends must have it alike. */
void msg_task_terms(const struct msg_task *t, struct secagg_terms *out);
/* The bytes that a coordinator signs ("tacit model v1") for a committed model:
 * plan_hash, round, version, parent_hash, model_hash, n_clients. */
enum { MSG_STATEMENT_BYTES = 3 * 32 + 3 * 4 };
void msg_over_statement(const struct msg_over *o,
                        uint8_t out[MSG_STATEMENT_BYTES]);

#endif
