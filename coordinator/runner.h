/*
 * runner: one round with all it needs and no socket: the protocol (round), the
 * sum (tally), the unmasking and the ring's self-check. The server and the
 * simulator both run rounds through it; they differ in where replies go and
 * what `commit` does.
 *
 *   message -> round_step -> replies
 *                         -> tally_put / tally_add
 *                         -> unmask -> ring_decode -> commit()
 *                                       (-> other sums -> runner_finish())
 */
#ifndef TACIT_COORDINATOR_RUNNER_H
#define TACIT_COORDINATOR_RUNNER_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/privacy/ring.h"
#include "common/wire/messages.h"
#include "coordinator/round.h"

struct runner; /* owned */

/* A round that came out right. */
struct runner_result {
    const float *update; /* [n_params] the weighted mean, borrowed */
    uint32_t n_params;
    uint32_t n_clients;
    struct ring_mean mean; /* weight and weighted mean metrics of the sum */
};

/* When a sum that came out right ends its round. */
enum runner_commit {
    RUNNER_AT_ONCE, /* with commit(): it has made the model */
    RUNNER_LATER    /* with runner_finish(): commit() only takes the mean, for
                     * the model needs other sums too; devices WAIT */
};

struct runner_config {
    struct round_config round;
    struct ring_layout layout; /* n_coords in round.task must fit it */
    const char *spool_dir;     /* NULL: uploads wait in memory */
    /* Answer the request `token`. Pointers in m are valid during the call. */
    void (*reply)(void *ctx, uint64_t token, const struct message *m);
    enum runner_commit when;
    /* Step to the new model, make it durable and fill what devices are told of
     * it (outcome, session, round and n_clients are set already); of
     * RUNNER_LATER only keep the mean. A failure aborts the round with its
     * message. */
    enum tacit_err (*commit)(void *ctx, const struct runner_result *result,
                             struct msg_over *over);
    void *ctx;
};

struct runner_peer {
    const uint8_t *id;       /* [KEYS_ID] */
    const uint8_t *identity; /* [KEYS_PUBLIC] */
};

TACIT_CHECKED enum tacit_err runner_new(const struct runner_config *c,
                                        int64_t now_ms, struct runner **out);
void runner_free(struct runner *r);
/* Take a message of the round's session, or a POLL of an eligible device.
 * Returns 1 when it was answered or will be; 0 when it is not for this round
 * (another session, or a POLL that gets no seat). */
int runner_message(struct runner *r, int64_t now_ms,
                   const struct runner_peer *peer, uint64_t token,
                   const struct message *m);
void runner_tick(struct runner *r, int64_t now_ms);
/* End it now; every waiting request is told. */
void runner_abort(struct runner *r, int64_t now_ms, unsigned code,
                  const char *reason);
/* End a round whose commit() came RUNNER_LATER: err OK commits it with *over
 * (its session is set here), any other aborts it with the recorded error. */
void runner_finish(struct runner *r, int64_t now_ms, enum tacit_err err,
                   const struct msg_over *over);
int64_t runner_next_ms(const struct runner *r);
/* COMMITTED or ABORTED. */
int runner_ended(const struct runner *r);
const struct round *runner_round(const struct runner *r);
/* How often two devices showed one identity in this round. */
unsigned runner_n_same_identity(const struct runner *r);

#endif
