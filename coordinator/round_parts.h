/*
 * round_parts: what round.c (the steps) and round_view.c (what a host may see)
 * share. Private to them.
 */
#ifndef TACIT_COORDINATOR_ROUND_PARTS_H
#define TACIT_COORDINATOR_ROUND_PARTS_H

#include "coordinator/round.h"

/* One invited device. */
struct seat {
    uint8_t id[KEYS_ID];
    uint8_t identity[KEYS_PUBLIC];
    int member;    /* its number once R0 has closed, else -1 */
    unsigned done; /* bit s: its message of stage s was accepted */
    int declined;  /* ended the session without an advert */
    int gone;      /* nobody waits for it; a message brings it back */
    int held;      /* a request waits for `stage` to close */
    uint8_t stage; /* enum message_stage the request asked for */
    uint64_t token;
    int64_t hold_until_ms;
    uint8_t keys[2 * SECAGG_KEY]; /* of its first advert: mask, seal */
};

struct round {
    struct msg_task task;
    uint32_t invite_max, goal;
    struct secagg_server *secagg; /* owned */
    enum round_state state;
    int64_t deadline_ms; /* of the current stage */
    unsigned n_seats;
    struct seat seats[SECAGG_CLIENTS_MAX];
    struct msg_over over;
    /* What round_message() lends. */
    uint8_t sealed[SECAGG_CLIENTS_MAX * SECAGG_SEALED];
    uint8_t signatures[SECAGG_CLIENTS_MAX * SECAGG_SIGNATURE];
};

/* 1 once it is COMMITTED or ABORTED. */
int round_ended(const struct round *r);
/* 1 when its message of this stage (enum message_stage) was accepted. */
int round_did(const struct seat *s, unsigned stage);
unsigned round_count_done(const struct round *r, unsigned stage);

#endif
