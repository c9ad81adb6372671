/*
 * sessions: who is there. One row in memory per member: its stored state, when
 * it was last heard, and its held POLL.
 *
 *   authenticated X25519 key --sessions_find--> member --> seat in a round
 *
 * Two devices with one identity (a copied home): their requests alternate
 * between two live links. Each of them is told once per sighting; in a round
 * the first to show its round keys keeps the seat.
 *
 * Thread rule: the server's owner thread.
 */
#ifndef TACIT_COORDINATOR_SESSIONS_H
#define TACIT_COORDINATOR_SESSIONS_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/wire/link.h"
#include "common/wire/messages.h"
#include "coordinator/store.h"

enum {
    SESSIONS_LIVE_MS = 2 * WIRE_POLL_HOLD_MS, /* silent longer: not there */
    SESSIONS_ROSTER_ROW = KEYS_ID + KEYS_PUBLIC
};

struct session {
    struct store_member member;
    uint32_t rank; /* in the order of enrolment, of all members ever; those
                      * of one second by name */
    uint64_t sum;  /* serial of the secure sum it sits in (sums.h); 0 = none */
    int64_t seen_ms; /* monotonic, last request; -1 = not since the start */
    int64_t seen_s;  /* wall, not yet in the store; 0 = nothing new */
    /* The held POLL. */
    int polling;
    uint64_t token;
    int64_t poll_until_ms;
    struct msg_poll poll;
    /* What it was told or said. */
    enum message_idle told;      /* the last IDLE's reason */
    struct digest declined_plan; /* it did not want this one … */
    int64_t declined_until_ms;   /* … until then */
    /* Links it polled on: this one, and the one before. */
    uint64_t link, link_before;
    unsigned n_clones; /* warnings still to give */
};

struct sessions {
    struct session *list; /* [n], sorted by X25519 key, owned */
    size_t n;
};

void sessions_init(struct sessions *s);
void sessions_release(struct sessions *s);
/* Read the members again; keeps what is known of those still there. */
TACIT_CHECKED enum tacit_err sessions_reload(struct sessions *s,
                                             struct store *store);
/* Borrowed until the next reload; NULL when unknown. */
struct session *sessions_find(struct sessions *s,
                              const uint8_t dh[KEYS_PUBLIC]);
/* Note a POLL on a link; 1 when it shows that two devices use this identity
 * and this one is to be told. */
int sessions_note_link(struct session *m, const struct link_peer *peer);
/* The approved members as the roster's bytes: id | Ed25519 key, ascending id.
 * Its hash is the roster_hash of a round. */
void sessions_roster(const struct sessions *s, struct buf *out);
size_t sessions_n_approved(const struct sessions *s);
/* Write "last seen" for those heard since the last time. */
TACIT_CHECKED enum tacit_err sessions_save_seen(struct sessions *s,
                                                struct store *store);

#endif
