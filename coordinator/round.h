/*
 * round: one attempt at one round of secure aggregation, as a pure step
 * function: no socket, no clock, no file. The same code runs behind the server
 * and under the simulator's virtual clock.
 *
 *            ADVERT        SHARES          INPUT          CONSISTENCY    REVEAL
 *   OPEN ------------> SHARES -------> INPUT ----------> CONSISTENCY --> REVEAL
 *     | all invited      | all of R0     | all of U2,      | all of U3    |
 *     | or deadline      | or deadline   | goal, deadline  | or deadline  | ok
 *     v                  v               v                 v               v
 *   ABORTED <---- fewer than the stage needs ---------- FAILED <--- FINISHING
 *                                                                         |
 *                                       COMMITTED <--- the host's commit -+
 *
 * The host turns what happens into events and carries out the actions in the
 * order given, before the next step. A request is answered when its stage
 * closes, at the latest after WIRE_POLL_HOLD_MS with WAIT. A repeat of a
 * request gets the same answer. A device that polls again in the middle has
 * lost its session secrets (they never touch its disk), so nobody waits for it.
 * FINISHING lasts as long as the host's commit does: the sum of a group waits
 * there for the other groups, and its devices get WAIT.
 *
 * Over-selection: up to invite_max devices join; once `goal` inputs are there
 * the stage closes, and the others have lost only their own update.
 *
 * Thread rule: one owner thread.
 */
#ifndef TACIT_COORDINATOR_ROUND_H
#define TACIT_COORDINATOR_ROUND_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/secagg.h"
#include "common/wire/messages.h"

enum { ROUND_ACTIONS_MAX = SECAGG_CLIENTS_MAX + 8 };

enum round_state {
    ROUND_OPEN = STAGE_ADVERT,
    ROUND_SHARES = STAGE_SHARES,
    ROUND_INPUT = STAGE_INPUT,
    ROUND_CONSISTENCY = STAGE_CONSISTENCY,
    ROUND_REVEAL = STAGE_REVEAL,
    ROUND_FINISHING, /* the host unmasks, checks and commits */
    ROUND_COMMITTED,
    ROUND_ABORTED
};

struct round_config {
    /* What an invited device is told; its session, hashes, sizes, u_min and
     * deadlines bind the round. */
    struct msg_task task;
    uint32_t invite_max; /* ceil(cohort.size * over_select), at most 128 */
    uint32_t goal;       /* cohort.size: inputs that are enough */
};

struct round; /* owned */

enum round_event_kind {
    ROUND_MESSAGE, /* id, identity, token, message */
    ROUND_TICK,
    ROUND_ADDED,   /* id, token: its input is in the sum */
    ROUND_REFUSED, /* id, token, code, reason: its input could not be used */
    ROUND_DONE,    /* over: the new model is durable */
    ROUND_FAILED   /* code, reason: abort from any state */
};

struct round_event {
    enum round_event_kind kind;
    int64_t now_ms;
    const uint8_t *id;       /* [KEYS_ID] authenticated device */
    const uint8_t *identity; /* [KEYS_PUBLIC] its Ed25519 key as enrolled */
    uint64_t token;          /* the request; opaque to the round */
    const struct message *message;
    const struct msg_over *over;
    unsigned code;
    const char *reason;
};

enum round_action_kind {
    ROUND_REPLY,     /* send round_message() of this action to `token` */
    ROUND_ADD_INPUT, /* add seat's upload (hash in `input`) to the sum, then
                        step with ROUND_ADDED or ROUND_REFUSED */
    ROUND_FINISH, /* unmask, check, commit; then ROUND_DONE or ROUND_FAILED */
    ROUND_SAME_IDENTITY, /* seat's identity is shown by two devices: tell the
                            operator; the reply follows as its own action */
    ROUND_END /* COMMITTED or ABORTED; later requests still get OVER */
};

struct round_action {
    enum round_action_kind kind;
    uint64_t token;
    unsigned seat;          /* place in the round, < invite_max */
    enum message_type say;  /* ROUND_REPLY */
    uint8_t stage;          /* ROUND_REPLY with WAIT */
    unsigned code;          /* ERROR and a late device's OVER; 0 = the end */
    struct msg_input input; /* ROUND_ADD_INPUT */
};

struct round_actions {
    unsigned n;
    struct round_action list[ROUND_ACTIONS_MAX];
};

/* Open a round at now_ms. LIMIT when the numbers cannot work. */
TACIT_CHECKED enum tacit_err round_new(const struct round_config *c,
                                       int64_t now_ms, struct round **out);
void round_free(struct round *r);
/* Take one event; *out is overwritten. A POLL that is not answered (no action)
 * stays with the host. */
void round_step(struct round *r, const struct round_event *ev,
                struct round_actions *out);
/* Build the reply of an action; pointers in *out borrow from r until the next
 * call. */
void round_message(struct round *r, const struct round_action *a,
                   struct message *out);
/* When the next ROUND_TICK is due; INT64_MAX when the round is over. */
int64_t round_next_ms(const struct round *r);

/* What the host may look at. */
struct round_counts {
    unsigned n_invited, n_declined, n_advertised, n_shared, n_inputs,
        n_signatures, n_reveals;
};
enum round_state round_state(const struct round *r);
void round_counts(const struct round *r, struct round_counts *out);
/* The device's seat, or -1. */
int round_seat(const struct round *r, const uint8_t id[KEYS_ID]);
/* 1 when this seat's chunks are wanted now; 2 when its input is in already. */
int round_wants_chunks(const struct round *r, unsigned seat);
/* How the round ended; valid once COMMITTED or ABORTED. */
const struct msg_over *round_over(const struct round *r);
struct secagg_server *round_secagg(struct round *r);
const struct msg_task *round_task(const struct round *r);
/* Session of a message that carries one, or NULL. */
const uint8_t *round_message_session(const struct message *m);

#endif
