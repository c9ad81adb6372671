/*
 * limits: every maximum and every time-out of the federation wire, in one
 * table. Nothing waits without a bound; nothing grows without one.
 */
#ifndef TACIT_WIRE_LIMITS_H
#define TACIT_WIRE_LIMITS_H

#include "common/crypto/secagg.h"

enum {
    WIRE_VERSION = 1,

    /* Sizes, bytes. */
    WIRE_CHUNK_MAX = 256 << 10,               /* content chunk */
    WIRE_MESSAGE_MAX = WIRE_CHUNK_MAX + 4096, /* plain application message */
    WIRE_RECORD_MAX = 65535,                  /* Noise transport message */
    WIRE_REPLY_KEPT_MAX = 4096, /* sealed reply kept for a repeat */
    WIRE_PACKET_MAX = WIRE_MESSAGE_MAX + 1024, /* on nng; RECVMAXSZ */
    WIRE_HANDSHAKE_MAX = 512,                  /* before authentication */
    WIRE_BLOB_MAX = 1 << 30,                   /* model or plan */
    WIRE_NAME_MAX = 64,
    WIRE_TEXT_MAX = 256,

    /* Counts. */
    WIRE_SESSIONS_MAX = 12288,    /* live Noise sessions on a coordinator: each
                                     has its keys between guard pages, and a
                                     process may have 65,530 mappings */
    WIRE_HANDSHAKES_MAX = 1024,   /* unfinished handshakes */
    WIRE_SESSIONS_PER_KEY = 8,    /* of one device key; then its oldest goes */
    WIRE_CONNECTIONS_MAX = 16384, /* TCP connections; one more is closed */
    WIRE_REPLIES_MAX = 4,    /* unsent replies to one connection; then closed */
    WIRE_INBOX_SMALL = 4096, /* a packet up to this needs no reservation, nor
                                a peer that has shown a key … */
    WIRE_INBOX_BYTES = 32 << 20, /* … larger ones share this; then they wait
                                    in the kernel */
    WIRE_PARAMS_MAX = 64 << 20,  /* coordinates in one update */

    /* Time-outs, milliseconds: what happens when they pass. */
    WIRE_DIAL_MS = 5000,      /* device: error, back off, dial again */
    WIRE_CALL_MS = 30000,     /* device: new handshake, repeat the request */
    WIRE_HANDSHAKE_MS = 5000, /* coordinator: forget the handshake; close a
                                    connection that has not greeted */
    WIRE_PACKET_MS = 30000,   /* coordinator: a packet begun must be whole, a
                                    reply be taken; else close */
    WIRE_PROOF_MS = 30000,    /* coordinator: close a connection whose peer has
                                    not shown a key by then */
    WIRE_SESSION_IDLE_MS = 15 * 60 * 1000, /* coordinator: forget; device
                                              handshakes again */
    WIRE_POLL_HOLD_MS = 10000,   /* coordinator: answers WAIT or IDLE at last */
    WIRE_BACKOFF_MIN_MS = 200,   /* device: between failed calls, doubled … */
    WIRE_BACKOFF_MAX_MS = 30000, /* … up to this */
    WIRE_REKEY_RECORDS = 1 << 20 /* then a new handshake */
};

_Static_assert(WIRE_MESSAGE_MAX >= SECAGG_CLIENTS_MAX * SECAGG_SEALED + 1024,
               "a share message fits");
_Static_assert(WIRE_MESSAGE_MAX >=
                   SECAGG_CLIENTS_MAX * (int)sizeof(struct secagg_advert) +
                       1024,
               "a roster message fits");

#endif
